// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ethtool.h>
#include <linux/icmp.h>
#include <linux/inetdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/suspend.h>
#include <net/addrconf.h>
#include <net/dst_metadata.h>
#include <net/icmp.h>
#include <net/inet_ecn.h>
#include <net/ip_tunnels.h>
#include <net/net_namespace.h>
#include <net/rtnetlink.h>

#include "allowedips.h"
#include "device.h"
#include "handshake.h"
#include "index.h"
#include "messages.h"
#include "peer.h"
#include "pipeline.h"
#include "ratelimit.h"
#include "seal.h"
#include "socket.h"
#include "superpacket.h"
#include "trace.h"
#include "version.h"

#define FEATURES	(NETIF_F_HW_CSUM | NETIF_F_RXCSUM | NETIF_F_SG | NETIF_F_FRAGLIST | \
			 NETIF_F_GSO | NETIF_F_GSO_SOFTWARE | NETIF_F_HIGHDMA)

/* Worst case of the outer side: IPv6, UDP, header and tag. */
#define OVERHEAD	(sizeof(struct ipv6hdr) + sizeof(struct udphdr) + WGT_DATA_OVERHEAD)

static DEFINE_MUTEX(devices_lock);
static LIST_HEAD(devices);

/*
 * The core makes NAPI instances threaded on request, and refuses where a device
 * has none. This one is never scheduled: it is there for the request to succeed.
 */
struct wgt_device_priv {
	struct wgt_device wg;
	struct napi_struct placeholder;
};

static int placeholder_poll(struct napi_struct *napi, int budget)
{
	napi_complete_done(napi, 0);
	return 0;
}

static void start_peer(struct wgt_peer *peer)
{
	rcu_read_lock();
	peer->wg->pipeline->drain(peer);
	if (peer->persistent_keepalive)
		wgt_send_keepalive(peer);
	rcu_read_unlock();
}

/* Redirects and link-local addresses make no sense without a link layer. */
void wgt_device_configure_families(struct net_device *dev)
{
	struct inet6_dev *v6 = __in6_dev_get(dev);
	struct in_device *v4 = __in_dev_get_rtnl(dev);

	if (v6)
		v6->cnf.addr_gen_mode = IN6_ADDR_GEN_MODE_NONE;
	if (!v4)
		return;
	/* Both must be off for none to be sent. */
	IN_DEV_CONF_SET(v4, SEND_REDIRECTS, false);
	IPV4_DEVCONF_ALL(dev_net(dev), SEND_REDIRECTS) = false;
}

static int wgt_open_dev(struct net_device *dev)
{
	struct wgt_device *wg = netdev_priv(dev);
	struct wgt_peer *peer;
	int ret;

	wgt_device_configure_families(dev);
	mutex_lock(&wg->config);
	ret = wgt_socket_open(wg, wg->port);
	if (ret)
		goto out;
	list_for_each_entry(peer, &wg->peers, list)
		start_peer(peer);
out:
	mutex_unlock(&wg->config);
	return ret;
}

static void erase_peer_keys(struct wgt_peer *peer)
{
	wgt_handshake_clear(peer);
	wgt_keypairs_clear(peer);
	/* The next initiation need not wait. */
	atomic64_set(&peer->last_initiation_sent, 0);
}

static int wgt_stop_dev(struct net_device *dev)
{
	struct wgt_device *wg = netdev_priv(dev);
	struct wgt_peer *peer;

	mutex_lock(&wg->config);
	wgt_socket_close(wg);
	/* That waited for senders, unless its namespace had taken the sockets away before. */
	if (!rcu_access_pointer(wg->creating_net))
		synchronize_net();
	wgt_handshake_device_stop(wg);
	/* What is under way might have handshakes begun that are stopped below. */
	wg->pipeline->quiesce(wg);
	list_for_each_entry(peer, &wg->peers, list) {
		wg->pipeline->purge(peer);
		wgt_peer_forget_routes(peer);
		wgt_timers_cancel(peer);
		/* Else one that is under way would leave secrets behind. */
		wgt_handshake_peer_stop(peer);
		erase_peer_keys(peer);
	}
	mutex_unlock(&wg->config);
	return 0;
}

/* What the sender of a packet that nobody is there for gets to know. */
void wgt_device_unreachable(struct sk_buff *skb)
{
	if (skb->protocol == htons(ETH_P_IP))
		icmp_ndo_send(skb, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0);
	else if (skb->protocol == htons(ETH_P_IPV6))
		icmpv6_ndo_send(skb, ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH, 0);
}

/* A GSO packet stays whole, or becomes its segments; or it is dropped, and this returns false. */
static bool prepare_gso(struct wgt_device *wg, struct sk_buff_head *batch)
{
	struct sk_buff *skb = skb_peek(batch);

	if (unlikely(!wgt_super_plain(skb))) {
		wgt_drop(wg, TX_NO_MEMORY, 1);
		goto drop;
	}
	if (wgt_switched_on(wg, WGT_SUPERPACKETS_OUT)) {
		wgt_cb(skb)->segments = wgt_super_segments(skb, wgt_cb(skb)->mtu);
		if (likely(wgt_cb(skb)->segments))
			return true;
	}
	if (likely(wgt_super_split(batch)))
		return true;
	wgt_drop(wg, TX_GSO, 1);
drop:
	DEV_STATS_INC(wg->dev, tx_dropped);
	kfree_skb(__skb_dequeue(batch));
	return false;
}

static int take(struct wgt_device *wg, struct sk_buff *skb, struct wgt_peer *peer)
{
	unsigned int mtu = skb_valid_dst(skb) ? dst_mtu(skb_dst(skb)) : wg->dev->mtu;
	struct sk_buff_head batch;
	unsigned int len = skb->len;

	skb = skb_share_check(skb, GFP_ATOMIC);
	if (unlikely(!skb)) {
		wgt_drop(wg, TX_NO_MEMORY, 1);
		DEV_STATS_INC(wg->dev, tx_dropped);
		return 0;
	}
	skb_dst_drop(skb);
	wgt_cb(skb)->mtu = mtu;
	wgt_cb(skb)->tos = ip_tunnel_ecn_encap(0, ip_hdr(skb), skb);
	wgt_cb(skb)->segments = 1;

	__skb_queue_head_init(&batch);
	__skb_queue_tail(&batch, skb);
	if (skb_is_gso(skb) && unlikely(!prepare_gso(wg, &batch)))
		return 0;
	trace_wgt_taken(wg->dev, max(skb_queue_len(&batch), wgt_cb(skb_peek(&batch))->segments),
			len);
	wg->pipeline->transmit(peer, &batch);
	return 0;
}

netdev_tx_t wgt_device_xmit(struct wgt_device *wg, struct sk_buff *skb)
{
	struct net_device *dev = wg->dev;
	struct wgt_peer *peer;
	int ret;

	if (unlikely(!skb->protocol || skb->protocol != ip_tunnel_parse_protocol(skb))) {
		net_dbg_ratelimited("%s: Packet is neither IPv4 nor IPv6\n", dev->name);
		wgt_drop(wg, TX_BAD_PROTOCOL, 1);
		ret = -EPROTONOSUPPORT;
		goto drop;
	}
	if (unlikely(!skb_frags_readable(skb))) {
		wgt_drop(wg, TX_UNREADABLE, 1);
		ret = -EFAULT;
		goto drop;
	}
	peer = wgt_allowedips_find_dst(&wg->allowedips, skb);
	if (unlikely(!peer)) {
		net_dbg_ratelimited("%s: No peer is allowed to receive this packet\n", dev->name);
		wgt_drop(wg, TX_NO_PEER, 1);
		ret = -ENOKEY;
		goto unreachable;
	}
	if (unlikely(READ_ONCE(peer->endpoint.addr.sa_family) == AF_UNSPEC)) {
		net_dbg_ratelimited("%s: No endpoint of peer %llu is known\n", dev->name, peer->id);
		wgt_drop(wg, TX_NO_ENDPOINT, 1);
		ret = -EDESTADDRREQ;
		goto unreachable;
	}
	return take(wg, skb, peer);

unreachable:
	wgt_device_unreachable(skb);
drop:
	DEV_STATS_INC(dev, tx_errors);
	kfree_skb(skb);
	return ret;
}

/* ndo_start_xmit; errors go back to a local sender, as its system call's result. */
static netdev_tx_t wgt_xmit(struct sk_buff *skb, struct net_device *dev)
{
	netdev_tx_t ret;

	rcu_read_lock();
	ret = wgt_device_xmit(netdev_priv(dev), skb);
	rcu_read_unlock();
	return ret;
}

static int wgt_init_dev(struct net_device *dev)
{
	struct wgt_device_priv *priv = netdev_priv(dev);

	netif_napi_add(dev, &priv->placeholder, placeholder_poll);
	napi_enable(&priv->placeholder);
	return 0;
}

/* RTNL is held; the device is down and nobody finds it any more. */
static void wgt_uninit_dev(struct net_device *dev)
{
	struct wgt_device_priv *priv = netdev_priv(dev);
	struct wgt_device *wg = &priv->wg;

	mutex_lock(&devices_lock);
	list_del_init(&wg->list);
	mutex_unlock(&devices_lock);

	mutex_lock(&wg->config);
	rcu_assign_pointer(wg->creating_net, NULL);
	wg->port = 0;
	wgt_socket_close(wg);
	wgt_handshake_device_stop(wg);
	wgt_peer_remove_all(wg);
	wgt_allowedips_free(&wg->allowedips, &wg->config);
	mutex_unlock(&wg->config);

	napi_disable(&priv->placeholder);
	netif_napi_del(&priv->placeholder);
}

static const struct net_device_ops netdev_ops = {
	.ndo_init = wgt_init_dev,
	.ndo_uninit = wgt_uninit_dev,
	.ndo_open = wgt_open_dev,
	.ndo_stop = wgt_stop_dev,
	.ndo_start_xmit = wgt_xmit,
	.ndo_get_stats64 = dev_get_tstats64,
};

static void get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	struct wgt_device *wg = netdev_priv(dev);

	strscpy(info->driver, KBUILD_MODNAME, sizeof(info->driver));
	strscpy(info->version, WGT_VERSION, sizeof(info->version));
	snprintf(info->bus_info, sizeof(info->bus_info), "wgtrunk-%s", wg->pipeline->name);
}

#define FIRST_COUNTER	WG_LANE_C_RX_MALFORMED

static const char switch_names[][ETH_GSTRING_LEN] = {
	[WGT_SUPERPACKETS_OUT] = "superpackets-out",
	[WGT_AGGREGATES_IN] = "aggregates-in",
};

static int get_sset_count(struct net_device *dev, int set)
{
	switch (set) {
	case ETH_SS_STATS:
		return WG_LANE_C_MAX + 1 - FIRST_COUNTER;
	case ETH_SS_PRIV_FLAGS:
		return ARRAY_SIZE(switch_names);
	default:
		return -EOPNOTSUPP;
	}
}

static void get_strings(struct net_device *dev, u32 set, u8 *data)
{
	int i;

	if (set == ETH_SS_PRIV_FLAGS)
		memcpy(data, switch_names, sizeof(switch_names));
	if (set != ETH_SS_STATS)
		return;
	for (i = FIRST_COUNTER; i <= WG_LANE_C_MAX; i++, data += ETH_GSTRING_LEN)
		strscpy(data, wgt_counter_name(i), ETH_GSTRING_LEN);
}

static void get_ethtool_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	struct wgt_device *wg = netdev_priv(dev);
	int i;

	for (i = FIRST_COUNTER; i <= WG_LANE_C_MAX; i++)
		*data++ = wgt_counter_sum(wg->counters, i);
}

/* ethtool --show-priv-flags, --set-priv-flags */
static u32 get_priv_flags(struct net_device *dev)
{
	struct wgt_device *wg = netdev_priv(dev);

	return READ_ONCE(wg->switches);
}

static int set_priv_flags(struct net_device *dev, u32 flags)
{
	struct wgt_device *wg = netdev_priv(dev);

	/* The core lets nothing through but what has a name. */
	wgt_device_switch(wg, flags);
	return 0;
}

static const struct ethtool_ops ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_priv_flags = get_priv_flags,
	.set_priv_flags = set_priv_flags,
	.get_link = ethtool_op_get_link,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
};

static const struct device_type device_type = { .name = "wireguard" };

void wgt_device_switch(struct wgt_device *wg, u32 switches)
{
	mutex_lock(&wg->config);
	WRITE_ONCE(wg->switches, switches);
	wgt_socket_aggregate(wg);
	mutex_unlock(&wg->config);
}

bool wgt_device_is_ours(const struct net_device *dev)
{
	return dev->netdev_ops == &netdev_ops;
}

static void free_parts(struct wgt_device *wg)
{
	wgt_handshake_device_destroy(wg);
	wgt_index_destroy(wg);
	free_percpu(wg->counters);
	wgt_ratelimit_put();
}

/* After the last reference; the net_device itself is freed by the core. */
static void destruct(struct net_device *dev)
{
	struct wgt_device *wg = netdev_priv(dev);

	/* Key pairs and peers on their way out through RCU look at the device no more. */
	free_parts(wg);
	wgt_tstats_free(dev);
	memzero_explicit(&wg->identity, sizeof(wg->identity));
	memzero_explicit(&wg->cookie_checker, sizeof(wg->cookie_checker));
	pr_debug("%s: Interface destroyed\n", dev->name);
}

void wgt_device_setup_link(struct net_device *dev)
{
	dev->header_ops = &ip_tunnel_header_ops;
	dev->type = ARPHRD_NONE;
	dev->flags = IFF_POINTOPOINT | IFF_NOARP;
	dev->priv_flags |= IFF_NO_QUEUE;
	dev->hard_header_len = 0;
	dev->addr_len = 0;
	dev->needed_headroom = WGT_HEADROOM + sizeof(struct wgt_msg_data);
	dev->needed_tailroom = WGT_PADDING + WGT_TAG_LEN;
	dev->mtu = ETH_DATA_LEN - OVERHEAD;
	/* Padding must not make it more than any packet can be. */
	dev->max_mtu = round_down(INT_MAX, WGT_PADDING) - OVERHEAD;
	dev->features |= FEATURES;
	dev->hw_features |= FEATURES;
	dev->hw_enc_features |= FEATURES;
	wgt_set_lltx(dev);
	netif_keep_dst(dev);
	netif_set_tso_max_size(dev, GSO_MAX_SIZE);
}

static void setup(struct net_device *dev)
{
	dev->netdev_ops = &netdev_ops;
	dev->ethtool_ops = &ethtool_ops;
	SET_NETDEV_DEVTYPE(dev, &device_type);
	wgt_device_setup_link(dev);
}

static int init_parts(struct wgt_device *wg)
{
	int ret;

	ret = wgt_ratelimit_get();
	if (ret)
		return ret;
	ret = -ENOMEM;
	wg->counters = wgt_counters_alloc();
	if (!wg->counters)
		goto put_ratelimit;
	ret = wgt_index_init(wg);
	if (ret)
		goto free_counters;
	ret = wgt_handshake_device_init(wg);
	if (ret)
		goto destroy_index;
	return 0;

destroy_index:
	wgt_index_destroy(wg);
free_counters:
	free_percpu(wg->counters);
put_ratelimit:
	wgt_ratelimit_put();
	return ret;
}

WGT_NEWLINK(newlink)
{
	struct wgt_device *wg = netdev_priv(dev);
	int ret;

	wg->dev = dev;
	wg->pipeline = &wgt_pipeline_inline;
	rcu_assign_pointer(wg->creating_net, net);
	init_rwsem(&wg->identity.lock);
	mutex_init(&wg->config);
	mutex_init(&wg->socket_update);
	INIT_LIST_HEAD(&wg->peers);
	wgt_allowedips_init(&wg->allowedips);
	wgt_cookie_checker_init(wg);
	wg->generation = 1;
	wg->switches = WGT_SWITCHES;
	wg->home = -1;
	wg->home_now = -1;

	ret = init_parts(wg);
	if (ret)
		return ret;
	ret = wgt_tstats_alloc(dev);
	if (ret)
		goto free_parts;

	/* Before it is registered: unregistering takes it off the list. */
	mutex_lock(&devices_lock);
	list_add_tail(&wg->list, &devices);
	mutex_unlock(&devices_lock);
	ret = register_netdevice(dev);
	if (ret < 0)
		goto unlist;
	/* From here on it cleans up after itself, and only from here on. */
	dev->priv_destructor = destruct;
	dev->needs_free_netdev = true;
	pr_debug("%s: Interface created\n", dev->name);
	return 0;

unlist:
	if (!list_empty(&wg->list)) {
		mutex_lock(&devices_lock);
		list_del_init(&wg->list);
		mutex_unlock(&devices_lock);
	}
	wgt_tstats_free(dev);
free_parts:
	free_parts(wg);
	return ret;
}

static struct rtnl_link_ops link_ops __read_mostly = {
	.kind = "wireguard",
	.priv_size = sizeof(struct wgt_device_priv),
	.setup = setup,
	.newlink = newlink,
};

/* The namespace of some devices' sockets goes before the devices, which were moved out. */
static void netns_pre_exit(struct net *net)
{
	struct wgt_device *wg;
	struct wgt_peer *peer;

	rtnl_lock();
	mutex_lock(&devices_lock);
	list_for_each_entry(wg, &devices, list) {
		if (rcu_access_pointer(wg->creating_net) != net)
			continue;
		pr_debug("%s: Namespace of its sockets goes, no more traffic\n", wg->dev->name);
		netif_carrier_off(wg->dev);
		wgt_trunk_lane_is_dead(wg);
		mutex_lock(&wg->config);
		rcu_assign_pointer(wg->creating_net, NULL);
		wgt_socket_close(wg);
		/* Routes in the cache would keep devices of that namespace. */
		list_for_each_entry(peer, &wg->peers, list)
			wgt_peer_forget_routes(peer);
		mutex_unlock(&wg->config);
	}
	mutex_unlock(&devices_lock);
	rtnl_unlock();
}

static struct pernet_operations pernet_ops = {
	.pre_exit = netns_pre_exit,
};

/* No key may be in an image of this machine's memory, and no nonce be used twice. */
static void erase_all_keys(void)
{
	struct wgt_device *wg;
	struct wgt_peer *peer;

	rtnl_lock();
	mutex_lock(&devices_lock);
	list_for_each_entry(wg, &devices, list) {
		mutex_lock(&wg->config);
		list_for_each_entry(peer, &wg->peers, list)
			erase_peer_keys(peer);
		mutex_unlock(&wg->config);
	}
	mutex_unlock(&devices_lock);
	rtnl_unlock();
	rcu_barrier();
}

static int pm_event(struct notifier_block *nb, unsigned long action, void *data)
{
	/* Phones suspend every few seconds; sessions there survive it. */
	if (IS_ENABLED(CONFIG_PM_AUTOSLEEP) || IS_ENABLED(CONFIG_PM_USERSPACE_AUTOSLEEP))
		return 0;
	if (action == PM_HIBERNATION_PREPARE || action == PM_SUSPEND_PREPARE)
		erase_all_keys();
	return 0;
}

static struct notifier_block pm_notifier = { .notifier_call = pm_event };

/* This machine is a copy of one that may be running still. */
static int vmfork_event(struct notifier_block *nb, unsigned long action, void *data)
{
	erase_all_keys();
	return 0;
}

static struct notifier_block vmfork_notifier = { .notifier_call = vmfork_event };

int wgt_device_module_init(void)
{
	int ret;

	ret = register_pm_notifier(&pm_notifier);
	if (ret)
		return ret;
	ret = register_random_vmfork_notifier(&vmfork_notifier);
	if (ret)
		goto no_vmfork;
	ret = register_pernet_device(&pernet_ops);
	if (ret)
		goto no_pernet;
	ret = rtnl_link_register(&link_ops);
	if (ret)
		goto no_link;
	return 0;

no_link:
	unregister_pernet_device(&pernet_ops);
no_pernet:
	unregister_random_vmfork_notifier(&vmfork_notifier);
no_vmfork:
	unregister_pm_notifier(&pm_notifier);
	return ret;
}

void wgt_device_module_exit(void)
{
	rtnl_link_unregister(&link_ops);
	unregister_pernet_device(&pernet_ops);
	unregister_random_vmfork_notifier(&vmfork_notifier);
	unregister_pm_notifier(&pm_notifier);
	rcu_barrier();
}
