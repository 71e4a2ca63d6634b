// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/reciprocal_div.h>
#include <net/rtnetlink.h>
#include <net/sch_generic.h>
#include <net/sock.h>
#include <uapi/linux/wg_lane.h>

#include "device.h"
#include "inline.h"
#include "trunk.h"
#include "version.h"

#define BUCKETS		4096
#define NO_SLOT		U16_MAX

/* See slot_kept(). */
#define SLOT_TAG	0x4000U
#define SLOT_MASK	(WGT_TRUNK_LANES - 1U)

/* With one, nobody asks which it is to be; see trunk_select_queue(). */
#define QUEUES_MIN	2U

/**
 * struct table - what sending looks at; replaced when something changes
 * @rcu: for its end
 * @slots: one more than the highest in use
 * @active: lanes that send
 * @by_cpu: prefer the lane at home on the sender's CPU
 * @lane: of each slot that sends, else NULL
 * @bucket: slots, by hash
 * @at_home: slot of the lane at home on each CPU, or NO_SLOT
 */
struct table {
	struct rcu_head rcu;
	unsigned int slots;
	unsigned int active;
	bool by_cpu;
	struct wgt_device *lane[WGT_TRUNK_LANES];
	u8 bucket[BUCKETS];
	u16 at_home[];
};

/**
 * struct trunk - private part of the net_device
 * @dev: the rest of it
 * @table: see there
 * @choice: &enum wg_trunk_choice
 * @mtu: the last one that the lanes gave it, or the default; until somebody sets
 *	another, it follows them
 * @max_mtu: without lanes
 * @lane: all of them, by slot; under RTNL
 */
struct trunk {
	struct net_device *dev;
	struct table __rcu *table;
	u8 choice;
	unsigned int mtu;
	unsigned int max_mtu;
	struct wgt_device *lane[WGT_TRUNK_LANES];
};

/* --- the table --- */

/* Without carrier the namespace of its sockets has died. */
static bool sends(const struct wgt_device *wg)
{
	return wg && wg->lane.active && wg->lane.up && netif_carrier_ok(wg->dev);
}

/* How many buckets each lane is to have: in proportion, and all of them. */
static void share_out(const struct table *table, u16 *share)
{
	u64 all = 0, before = 0, given = 0, until;
	unsigned int i;

	for (i = 0; i < table->slots; i++)
		all += table->lane[i] ? table->lane[i]->lane.weight : 0;
	for (i = 0; i < table->slots; i++) {
		share[i] = 0;
		if (!table->lane[i])
			continue;
		before += table->lane[i]->lane.weight;
		until = div64_u64(before * BUCKETS, all);
		share[i] = until - given;
		given = until;
	}
}

/* A bucket keeps its lane as long as that has not its share yet. */
static void fill_buckets(struct table *table, const struct table *old)
{
	DECLARE_BITMAP(free, BUCKETS);
	u16 share[WGT_TRUNK_LANES];
	unsigned int i, slot;

	share_out(table, share);
	bitmap_zero(free, BUCKETS);
	for (i = 0; i < BUCKETS; i++) {
		slot = old && old->active ? old->bucket[i] : WGT_TRUNK_LANES;
		if (slot < table->slots && share[slot]) {
			share[slot]--;
			table->bucket[i] = slot;
		} else {
			__set_bit(i, free);
		}
	}
	slot = 0;
	for_each_set_bit(i, free, BUCKETS) {
		while (!share[slot])
			slot++;
		share[slot]--;
		table->bucket[i] = slot;
	}
}

static struct table *make_table(const struct trunk *trunk, const struct table *old)
{
	struct table *table = kzalloc(struct_size(table, at_home, nr_cpu_ids), GFP_KERNEL);
	unsigned int i;
	int home;

	if (!table)
		return NULL;
	table->by_cpu = trunk->choice == WG_TRUNK_CHOICE_CPU;
	for (i = 0; i < nr_cpu_ids; i++)
		table->at_home[i] = NO_SLOT;
	for (i = 0; i < WGT_TRUNK_LANES; i++) {
		if (trunk->lane[i])
			table->slots = i + 1;
		if (!sends(trunk->lane[i]))
			continue;
		table->lane[i] = trunk->lane[i];
		table->active++;
		home = READ_ONCE(trunk->lane[i]->home);
		if (home >= 0 && table->at_home[home] == NO_SLOT)
			table->at_home[home] = i;
	}
	if (table->active)
		fill_buckets(table, old);
	return table;
}

/* What senders see is as it should be; or an error, and as it was. RTNL is held. */
static int rebuild(struct trunk *trunk)
{
	struct table *old = rtnl_dereference(trunk->table), *table;
	struct net_device *dev = trunk->dev;
	unsigned int queues;
	int ret;

	table = make_table(trunk, old);
	if (!table)
		return -ENOMEM;
	queues = max(table->slots, QUEUES_MIN);
	/* Only an increase can fail. */
	ret = queues > dev->real_num_tx_queues ? netif_set_real_num_tx_queues(dev, queues) : 0;
	if (ret) {
		kfree(table);
		return ret;
	}
	rcu_assign_pointer(trunk->table, table);
	if (queues < dev->real_num_tx_queues)
		netif_set_real_num_tx_queues(dev, queues);
	kfree_rcu(old, rcu);
	if (table->active)
		netif_carrier_on(dev);
	else
		netif_carrier_off(dev);
	return 0;
}

/* --- sending --- */

static bool usable(const struct table *table, unsigned int slot)
{
	return slot < table->slots && READ_ONCE(table->lane[slot]);
}

/* The slot for a packet of which nothing is under way; there are active lanes. */
static unsigned int choose(const struct table *table, struct sk_buff *skb)
{
	unsigned int slot;

	if (table->by_cpu) {
		slot = table->at_home[raw_smp_processor_id()];
		if (slot != NO_SLOT)
			return slot;
	}
	/* All buckets are the same lane's: no need to look into the packet. */
	if (table->active == 1)
		return table->bucket[0];
	return table->bucket[reciprocal_scale(skb_get_hash(skb), BUCKETS)];
}

/* Nothing that this socket sent before is on its way still, so that order is no concern. */
static bool nothing_under_way(const struct sock *sk, const struct sk_buff *skb)
{
	return skb->ooo_okay || (!sk_is_tcp(sk) && sk_wmem_alloc_get(sk) <= skb->truesize);
}

/*
 * Which lane a socket's packets took is kept where devices keep their queue, and as a
 * number that no device has, so that an underlay's device chooses its own. Not read by
 * sk_tx_queue_get(), which on later kernels forgets after a second, under way or not.
 */
static unsigned int slot_kept(const struct sock *sk)
{
	unsigned int kept = READ_ONCE(sk->sk_tx_queue_mapping);

	return (kept & ~SLOT_MASK) == SLOT_TAG ? kept & SLOT_MASK : NO_SLOT;
}

static void keep_slot(struct sock *sk, unsigned int slot)
{
	sk_tx_queue_set(sk, SLOT_TAG | slot);
}

/* By CPU, a socket keeps its lane while there are packets in it, as with XPS. */
static u16 select_slot(struct net_device *dev, const struct table *table, struct sk_buff *skb)
{
	struct sock *sk = skb->sk;
	unsigned int slot, kept;

	if (unlikely(!table->active)) {
		/* Without carrier that is where it ends, and the device does not see it. */
		if (rcu_access_pointer(netdev_get_tx_queue(dev, 0)->qdisc) == &noop_qdisc)
			wgt_device_unreachable(skb);
		return 0;
	}
	if (!table->by_cpu || !sk || !sk_fullsock(sk))
		return choose(table, skb);
	kept = slot_kept(sk);
	if (usable(table, kept) && !nothing_under_way(sk, skb))
		return kept;
	slot = choose(table, skb);
	if (slot != kept && rcu_access_pointer(sk->sk_dst_cache))
		keep_slot(sk, slot);
	return slot;
}

/* A queue is a lane. Packet sockets that bypass queues come here with no lock at all. */
static u16 trunk_select_queue(struct net_device *dev, struct sk_buff *skb,
			      struct net_device *sb_dev)
{
	struct trunk *trunk = netdev_priv(dev);
	u16 slot;

	rcu_read_lock();
	slot = select_slot(dev, rcu_dereference(trunk->table), skb);
	rcu_read_unlock();
	return slot;
}

/* Which queue XPS gives a packet goes by the CPU that it says it comes from. */
static void pin_queue(struct sk_buff *skb, unsigned int cpu)
{
#if defined(CONFIG_NET_RX_BUSY_POLL) || defined(CONFIG_XPS)
	skb->sender_cpu = cpu + 1;
#endif
}

struct sock *wgt_trunk_save_slot(const struct wgt_device *wg, struct sk_buff *skb,
				 unsigned int *slot)
{
	int home = READ_ONCE(wg->home);
	struct sock *sk = skb->sk;

	if (!sk || !sk_fullsock(sk))
		return NULL;
	*slot = slot_kept(sk);
	if (*slot == NO_SLOT)
		return NULL;
	pin_queue(skb, home >= 0 ? home : *slot % nr_cpu_ids);
	/* The packet may be gone before its sending ends, and not all packets hold their socket. */
	return refcount_inc_not_zero(&sk->sk_wmem_alloc) ? sk : NULL;
}

void wgt_trunk_restore_slot(struct sock *sk, unsigned int slot)
{
	/* Else somebody else has chosen meanwhile. */
	if (slot_kept(sk) == NO_SLOT)
		keep_slot(sk, slot);
	sk_free(sk);
}

static struct wgt_device *any_lane(const struct table *table, struct sk_buff *skb)
{
	struct wgt_device *wg = NULL;
	unsigned int i;

	if (table->active)
		wg = READ_ONCE(table->lane[choose(table, skb)]);
	for (i = 0; !wg && i < table->slots; i++)
		wg = READ_ONCE(table->lane[i]);
	return wg;
}

static void count_sent(struct net_device *dev, unsigned int packets, unsigned int bytes)
{
	struct pcpu_sw_netstats *own = this_cpu_ptr(dev->tstats);

	u64_stats_update_begin(&own->syncp);
	u64_stats_add(&own->tx_packets, packets);
	u64_stats_add(&own->tx_bytes, bytes);
	u64_stats_update_end(&own->syncp);
}

static netdev_tx_t trunk_xmit(struct sk_buff *skb, struct net_device *dev)
{
	unsigned int packets = skb_is_gso(skb) ? skb_shinfo(skb)->gso_segs ?: 1 : 1;
	struct trunk *trunk = netdev_priv(dev);
	unsigned int bytes = skb->len;
	const struct table *table;
	struct wgt_device *wg;
	netdev_tx_t ret;

	rcu_read_lock();
	table = rcu_dereference(trunk->table);
	wg = READ_ONCE(table->lane[skb_get_queue_mapping(skb) % WGT_TRUNK_LANES]);
	/* The lane went while the packet came here. */
	if (unlikely(!wg))
		wg = any_lane(table, skb);
	if (unlikely(!wg)) {
		net_dbg_ratelimited("%s: No lane sends\n", dev->name);
		wgt_device_unreachable(skb);
		DEV_STATS_INC(dev, tx_errors);
		kfree_skb(skb);
		rcu_read_unlock();
		return -ENETUNREACH;
	}
	ret = wgt_device_xmit(wg, skb);
	if (likely(!ret))
		count_sent(dev, packets, bytes);
	else
		DEV_STATS_INC(dev, tx_errors);
	rcu_read_unlock();
	return ret;
}

void wgt_trunk_count_received(struct net_device *dev, unsigned int packets, unsigned int bytes)
{
	struct pcpu_sw_netstats *own = this_cpu_ptr(dev->tstats);

	u64_stats_update_begin(&own->syncp);
	u64_stats_add(&own->rx_packets, packets);
	u64_stats_add(&own->rx_bytes, bytes);
	u64_stats_update_end(&own->syncp);
}

/* --- lanes --- */

static unsigned int lowest_mtu(const struct trunk *trunk)
{
	unsigned int i, lowest = 0;

	for (i = 0; i < WGT_TRUNK_LANES; i++)
		if (trunk->lane[i] && (!lowest || trunk->lane[i]->dev->mtu < lowest))
			lowest = trunk->lane[i]->dev->mtu;
	return lowest;
}

/* Follows what the lanes have in common. RTNL is held. */
static void follow(struct trunk *trunk)
{
	struct net_device *dev = trunk->dev;
	unsigned int lowest = lowest_mtu(trunk);

	if (!lowest) {
		dev->max_mtu = trunk->max_mtu;
	} else if (lowest != dev->max_mtu) {
		bool follows = dev->mtu == trunk->mtu || dev->mtu > lowest;

		dev->max_mtu = lowest;
		trunk->mtu = lowest;
		if (follows && dev_set_mtu(dev, lowest))
			netdev_warn(dev, "could not take the lanes' MTU of %u\n", lowest);
	}
	netdev_update_features(dev);
}

static int trunk_add_slave(struct net_device *dev, struct net_device *slave,
			   struct netlink_ext_ack *extack)
{
	struct trunk *trunk = netdev_priv(dev);
	unsigned int slot, limit;
	struct wgt_device *wg;
	int ret;

	if (!wgt_device_is_ours(slave)) {
		NL_SET_ERR_MSG(extack, "only WireGuard interfaces can be lanes");
		return -EINVAL;
	}
	wg = netdev_priv(slave);
	/* Who made it may have wanted fewer queues. */
	limit = min(dev->num_tx_queues, WGT_TRUNK_LANES);
	for (slot = 0; slot < limit && trunk->lane[slot]; slot++)
		;
	if (slot == limit) {
		NL_SET_ERR_MSG(extack, "a trunk can have no more lanes");
		return -ENOSPC;
	}
	ret = netdev_master_upper_dev_link(slave, dev, NULL, NULL, extack);
	if (ret)
		return ret;
	wg->lane.slot = slot;
	wg->lane.up = netif_running(slave);
	wg->lane.active = true;
	wg->lane.weight = 1;
	trunk->lane[slot] = wg;
	ret = rebuild(trunk);
	if (ret) {
		trunk->lane[slot] = NULL;
		netdev_upper_dev_unlink(slave, dev);
		return ret;
	}
	rcu_assign_pointer(wg->lane.trunk, dev);
	follow(trunk);
	return 0;
}

/* At once, whether there is memory for a table without it or not. */
static void leave_out(struct trunk *trunk, struct wgt_device *wg)
{
	WRITE_ONCE(rtnl_dereference(trunk->table)->lane[wg->lane.slot], NULL);
	rebuild(trunk);
}

/* It neither sends nor receives for the trunk after the next grace period. */
static void release(struct trunk *trunk, struct wgt_device *wg)
{
	trunk->lane[wg->lane.slot] = NULL;
	RCU_INIT_POINTER(wg->lane.trunk, NULL);
	leave_out(trunk, wg);
	netdev_upper_dev_unlink(wg->dev, trunk->dev);
}

static int trunk_del_slave(struct net_device *dev, struct net_device *slave)
{
	struct trunk *trunk = netdev_priv(dev);

	release(trunk, netdev_priv(slave));
	follow(trunk);
	return 0;
}

static void release_all(struct trunk *trunk)
{
	unsigned int i;

	for (i = 0; i < WGT_TRUNK_LANES; i++)
		if (trunk->lane[i])
			release(trunk, trunk->lane[i]);
	trunk->dev->max_mtu = trunk->max_mtu;
	/* What lanes received for it, those that left before too, may be in GRO lists. */
	synchronize_net();
	wgt_inline_flush();
}

void wgt_trunk_lane_is_dead(struct wgt_device *wg)
{
	struct net_device *dev = rtnl_dereference(wg->lane.trunk);

	if (dev)
		leave_out(netdev_priv(dev), wg);
}

int wgt_trunk_lane_changed(struct wgt_device *wg)
{
	struct net_device *dev = rtnl_dereference(wg->lane.trunk);

	return dev ? rebuild(netdev_priv(dev)) : 0;
}

static int lane_event(struct net_device *dev, unsigned long event)
{
	struct wgt_device *wg = netdev_priv(dev);
	struct net_device *trunk = rtnl_dereference(wg->lane.trunk);

	if (!trunk)
		return NOTIFY_DONE;
	switch (event) {
	case NETDEV_UNREGISTER:
		trunk_del_slave(trunk, dev);
		break;
	case NETDEV_UP:
		wg->lane.up = true;
		if (rebuild(netdev_priv(trunk)))
			netdev_warn(trunk, "no memory to send through %s\n", dev->name);
		break;
	case NETDEV_GOING_DOWN:
		/* Who sends through it still is waited for when its sockets are closed. */
		wg->lane.up = false;
		leave_out(netdev_priv(trunk), wg);
		break;
	case NETDEV_CHANGEMTU:
	case NETDEV_FEAT_CHANGE:
		follow(netdev_priv(trunk));
		break;
	case NETDEV_PRE_TYPE_CHANGE:
		return NOTIFY_BAD;
	}
	return NOTIFY_DONE;
}

static int device_event(struct notifier_block *nb, unsigned long event, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);

	if (wgt_device_is_ours(dev))
		return lane_event(dev, event);
	/* Also where it moves to another namespace. */
	if (wgt_trunk_is_ours(dev) && event == NETDEV_UNREGISTER)
		release_all(netdev_priv(dev));
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = device_event };

/* --- the device --- */

static netdev_features_t trunk_fix_features(struct net_device *dev, netdev_features_t features)
{
	struct trunk *trunk = netdev_priv(dev);
	unsigned int i;

	for (i = 0; i < WGT_TRUNK_LANES; i++)
		if (trunk->lane[i])
			features &= trunk->lane[i]->dev->features | ~dev->hw_features;
	return features;
}

static int trunk_open(struct net_device *dev)
{
	wgt_device_configure_families(dev);
	return 0;
}

static void trunk_uninit(struct net_device *dev)
{
	release_all(netdev_priv(dev));
}

static const struct net_device_ops netdev_ops = {
	.ndo_open = trunk_open,
	.ndo_uninit = trunk_uninit,
	.ndo_start_xmit = trunk_xmit,
	.ndo_select_queue = trunk_select_queue,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_add_slave = trunk_add_slave,
	.ndo_del_slave = trunk_del_slave,
	.ndo_fix_features = trunk_fix_features,
};

bool wgt_trunk_is_ours(const struct net_device *dev)
{
	return dev->netdev_ops == &netdev_ops;
}

static void get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "wgtrunk", sizeof(info->driver));
	strscpy(info->version, WGT_VERSION, sizeof(info->version));
}

static const struct ethtool_ops ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
};

static void destruct(struct net_device *dev)
{
	struct trunk *trunk = netdev_priv(dev);

	/* Nobody sends any more. */
	kfree(rcu_dereference_protected(trunk->table, true));
	wgt_tstats_free(dev);
}

static void setup(struct net_device *dev)
{
	struct trunk *trunk = netdev_priv(dev);

	dev->netdev_ops = &netdev_ops;
	dev->ethtool_ops = &ethtool_ops;
	wgt_device_setup_link(dev);
	trunk->mtu = dev->mtu;
	trunk->max_mtu = dev->max_mtu;
}

static const struct nla_policy policy[IFLA_WGTRUNK_MAX + 1] = {
	[IFLA_WGTRUNK_CHOICE] = NLA_POLICY_MAX(NLA_U8, WG_TRUNK_CHOICE_MAX),
};

WGT_NEWLINK(newlink)
{
	struct trunk *trunk = netdev_priv(dev);
	struct table *table;
	int ret;

	trunk->dev = dev;
	if (data && data[IFLA_WGTRUNK_CHOICE])
		trunk->choice = nla_get_u8(data[IFLA_WGTRUNK_CHOICE]);
	table = make_table(trunk, NULL);
	if (!table)
		return -ENOMEM;
	RCU_INIT_POINTER(trunk->table, table);
	ret = wgt_tstats_alloc(dev);
	if (ret)
		goto free_table;
	ret = netif_set_real_num_tx_queues(dev, QUEUES_MIN);
	if (!ret)
		ret = register_netdevice(dev);
	if (ret)
		goto free_stats;
	dev->priv_destructor = destruct;
	dev->needs_free_netdev = true;
	netif_carrier_off(dev);
	return 0;

free_stats:
	wgt_tstats_free(dev);
free_table:
	kfree(table);
	return ret;
}

static int changelink(struct net_device *dev, struct nlattr *tb[], struct nlattr *data[],
		      struct netlink_ext_ack *extack)
{
	struct trunk *trunk = netdev_priv(dev);
	u8 before = trunk->choice;
	int ret;

	if (!data || !data[IFLA_WGTRUNK_CHOICE])
		return 0;
	trunk->choice = nla_get_u8(data[IFLA_WGTRUNK_CHOICE]);
	ret = rebuild(trunk);
	if (ret)
		trunk->choice = before;
	return ret;
}

static size_t get_size(const struct net_device *dev)
{
	return nla_total_size(sizeof(u8));
}

static int fill_info(struct sk_buff *skb, const struct net_device *dev)
{
	const struct trunk *trunk = netdev_priv(dev);

	return nla_put_u8(skb, IFLA_WGTRUNK_CHOICE, trunk->choice);
}

static unsigned int get_num_tx_queues(void)
{
	return WGT_TRUNK_LANES;
}

static struct rtnl_link_ops link_ops __read_mostly = {
	.kind = "wgtrunk",
	.priv_size = sizeof(struct trunk),
	.setup = setup,
	.maxtype = IFLA_WGTRUNK_MAX,
	.policy = policy,
	.newlink = newlink,
	.changelink = changelink,
	.get_size = get_size,
	.fill_info = fill_info,
	.get_num_tx_queues = get_num_tx_queues,
};

int wgt_trunk_module_init(void)
{
	int ret = register_netdevice_notifier(&notifier);

	if (ret)
		return ret;
	ret = rtnl_link_register(&link_ops);
	if (ret)
		unregister_netdevice_notifier(&notifier);
	return ret;
}

void wgt_trunk_module_exit(void)
{
	rtnl_link_unregister(&link_ops);
	unregister_netdevice_notifier(&notifier);
	rcu_barrier();
}
