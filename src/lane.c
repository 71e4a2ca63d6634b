// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/rtnetlink.h>
#include <net/genetlink.h>
#include <uapi/linux/wg_lane.h>

#include "device.h"
#include "lane.h"
#include "netlink.h"
#include "version.h"

static struct genl_family family;

static struct netlink_range_validation weights = { .min = 1, .max = WGT_LANE_WEIGHT_MAX };

static const struct nla_policy policy[WG_LANE_A_MAX + 1] = {
	[WG_LANE_A_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[WG_LANE_A_IFNAME] = { .type = NLA_NUL_STRING, .len = IFNAMSIZ - 1 },
	[WG_LANE_A_HOME_CPU] = NLA_POLICY_MIN(NLA_S32, -1),
	[WG_LANE_A_SUPERPACKETS_OUT] = NLA_POLICY_MAX(NLA_U8, 1),
	[WG_LANE_A_AGGREGATES_IN] = NLA_POLICY_MAX(NLA_U8, 1),
	[WG_LANE_A_ACTIVE] = NLA_POLICY_MAX(NLA_U8, 1),
	[WG_LANE_A_WEIGHT] = NLA_POLICY_FULL_RANGE(NLA_U32, &weights),
};

static struct wgt_device *find_device(struct net *net, struct nlattr **attrs,
				      struct netlink_ext_ack *extack)
{
	if (!attrs[WG_LANE_A_IFINDEX] == !attrs[WG_LANE_A_IFNAME]) {
		NL_SET_ERR_MSG(extack, "either an interface index or a name is needed");
		return ERR_PTR(-EINVAL);
	}
	return wgt_netlink_find(net, attrs[WG_LANE_A_IFINDEX], attrs[WG_LANE_A_IFNAME], extack);
}

static int put_name(struct sk_buff *skb, struct wgt_device *wg)
{
	return nla_put_u32(skb, WG_LANE_A_IFINDEX, wg->dev->ifindex) ||
	       nla_put_string(skb, WG_LANE_A_IFNAME, wg->dev->name);
}

static int put_trunk(struct sk_buff *skb, struct wgt_device *wg)
{
	const struct net_device *trunk = rtnl_dereference(wg->lane.trunk);

	return trunk && (nla_put_u32(skb, WG_LANE_A_TRUNK, trunk->ifindex) ||
			 nla_put_u8(skb, WG_LANE_A_ACTIVE, wg->lane.active) ||
			 nla_put_u32(skb, WG_LANE_A_WEIGHT, wg->lane.weight));
}

/* One message; -EMSGSIZE, and nothing of it, where there is no room. RTNL is held. */
static int put_lane(struct sk_buff *skb, struct wgt_device *wg, u32 portid, u32 seq, int flags)
{
	void *header = genlmsg_put(skb, portid, seq, &family, flags, WG_LANE_CMD_GET);

	if (!header)
		return -EMSGSIZE;
	if (put_name(skb, wg) || nla_put_s32(skb, WG_LANE_A_HOME_CPU, READ_ONCE(wg->home)) ||
	    nla_put_u8(skb, WG_LANE_A_SUPERPACKETS_OUT,
		       wgt_switched_on(wg, WGT_SUPERPACKETS_OUT)) ||
	    nla_put_u8(skb, WG_LANE_A_AGGREGATES_IN, wgt_switched_on(wg, WGT_AGGREGATES_IN)) ||
	    nla_put_string(skb, WG_LANE_A_MODULE_VERSION, WGT_VERSION) || put_trunk(skb, wg)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, header);
	return 0;
}

static int get(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *answer = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	struct wgt_device *wg;
	int ret;

	if (!answer)
		return -ENOMEM;
	rtnl_lock();
	wg = find_device(genl_info_net(info), info->attrs, info->extack);
	ret = IS_ERR(wg) ? PTR_ERR(wg) : put_lane(answer, wg, info->snd_portid, info->snd_seq, 0);
	rtnl_unlock();
	if (ret) {
		nlmsg_free(answer);
		return ret;
	}
	return genlmsg_reply(answer, info);
}

static int dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct net_device *dev;
	long done = 0;
	int ret = 0;

	rtnl_lock();
	cb->seq = READ_ONCE(sock_net(skb->sk)->dev_base_seq) ?: 1;
	for_each_netdev(sock_net(skb->sk), dev) {
		if (!wgt_device_is_ours(dev) || done++ < cb->args[0])
			continue;
		ret = put_lane(skb, netdev_priv(dev), NETLINK_CB(cb->skb).portid,
				 cb->nlh->nlmsg_seq, NLM_F_MULTI);
		if (ret)
			break;
		cb->args[0] = done;
		nl_dump_check_consistent(cb, nlmsg_hdr(skb));
	}
	rtnl_unlock();
	return skb->len ?: ret;
}

static int put_counters(struct sk_buff *skb, struct wgt_device *wg, int cpu)
{
	struct nlattr *nest = nla_nest_start(skb, WG_LANE_CPU_A_COUNTERS);
	int i;

	if (!nest)
		return -EMSGSIZE;
	for (i = WG_LANE_C_PAD + 1; i <= WG_LANE_C_MAX; i++)
		if (nla_put_u64_64bit(skb, i, wgt_counter_of(wg->counters, i, cpu), WG_LANE_C_PAD))
			return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int put_one_cpu(struct sk_buff *skb, struct wgt_device *wg, int cpu)
{
	const struct pcpu_sw_netstats *stats = per_cpu_ptr(wg->dev->tstats, cpu);
	u64 rx_packets, rx_bytes, tx_packets, tx_bytes;
	struct nlattr *nest;
	unsigned int seq;

	do {
		seq = u64_stats_fetch_begin(&stats->syncp);
		rx_packets = u64_stats_read(&stats->rx_packets);
		rx_bytes = u64_stats_read(&stats->rx_bytes);
		tx_packets = u64_stats_read(&stats->tx_packets);
		tx_bytes = u64_stats_read(&stats->tx_bytes);
	} while (u64_stats_fetch_retry(&stats->syncp, seq));

	nest = nla_nest_start(skb, WG_LANE_A_CPU);
	if (!nest || nla_put_u32(skb, WG_LANE_CPU_A_NUMBER, cpu) ||
	    nla_put_u64_64bit(skb, WG_LANE_CPU_A_RX_PACKETS, rx_packets, WG_LANE_CPU_A_PAD) ||
	    nla_put_u64_64bit(skb, WG_LANE_CPU_A_RX_BYTES, rx_bytes, WG_LANE_CPU_A_PAD) ||
	    nla_put_u64_64bit(skb, WG_LANE_CPU_A_TX_PACKETS, tx_packets, WG_LANE_CPU_A_PAD) ||
	    nla_put_u64_64bit(skb, WG_LANE_CPU_A_TX_BYTES, tx_bytes, WG_LANE_CPU_A_PAD) ||
	    put_counters(skb, wg, cpu))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

/* A message a CPU; args[0] is the next one. */
static int dump_counters(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct wgt_device *wg;
	void *header;
	int ret = 0;
	int cpu;

	rtnl_lock();
	wg = find_device(sock_net(skb->sk), wgt_dump_attrs(cb), cb->extack);
	if (IS_ERR(wg)) {
		rtnl_unlock();
		return PTR_ERR(wg);
	}
	for (cpu = cpumask_next(cb->args[0] - 1, cpu_possible_mask); cpu < nr_cpu_ids;
	     cpu = cpumask_next(cpu, cpu_possible_mask)) {
		header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &family,
				     NLM_F_MULTI, WG_LANE_CMD_GET_COUNTERS);
		if (!header || put_name(skb, wg) || put_one_cpu(skb, wg, cpu)) {
			if (header)
				genlmsg_cancel(skb, header);
			ret = -EMSGSIZE;
			break;
		}
		genlmsg_end(skb, header);
		cb->args[0] = cpu + 1;
	}
	rtnl_unlock();
	return skb->len ?: ret;
}

static int check_cpu(const struct nlattr *attr, struct netlink_ext_ack *extack)
{
	int cpu = attr ? nla_get_s32(attr) : -1;

	if (cpu < 0 || (cpu < nr_cpu_ids && cpu_possible(cpu)))
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, attr, "there can be no such CPU");
	return -EINVAL;
}

static u32 with_bit(u32 bits, int which, const struct nlattr *attr)
{
	if (!attr)
		return bits;
	return nla_get_u8(attr) ? bits | BIT(which) : bits & ~BIT(which);
}

static int check_lane(struct wgt_device *wg, struct nlattr **attrs, struct netlink_ext_ack *extack)
{
	if ((!attrs[WG_LANE_A_ACTIVE] && !attrs[WG_LANE_A_WEIGHT]) ||
	    rtnl_dereference(wg->lane.trunk))
		return 0;
	NL_SET_ERR_MSG(extack, "not a lane of a trunk");
	return -EINVAL;
}

/* Home CPU and place in the trunk: all, or nothing. */
static int set_lane(struct wgt_device *wg, struct nlattr **attrs)
{
	struct wgt_lane before = wg->lane;
	int ret, home = wg->home;

	if (attrs[WG_LANE_A_ACTIVE])
		wg->lane.active = nla_get_u8(attrs[WG_LANE_A_ACTIVE]);
	if (attrs[WG_LANE_A_WEIGHT])
		wg->lane.weight = nla_get_u32(attrs[WG_LANE_A_WEIGHT]);
	if (attrs[WG_LANE_A_HOME_CPU]) {
		WRITE_ONCE(wg->home_asked, jiffies);
		WRITE_ONCE(wg->home, nla_get_s32(attrs[WG_LANE_A_HOME_CPU]));
	}
	ret = wgt_trunk_lane_changed(wg);
	if (ret) {
		wg->lane.active = before.active;
		wg->lane.weight = before.weight;
		WRITE_ONCE(wg->home, home);
	}
	return ret;
}

static int set(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;
	struct wgt_device *wg;
	u32 switches;
	int ret;

	rtnl_lock();
	wg = find_device(genl_info_net(info), attrs, info->extack);
	ret = IS_ERR(wg) ? PTR_ERR(wg) : check_cpu(attrs[WG_LANE_A_HOME_CPU], info->extack);
	if (!ret)
		ret = check_lane(wg, attrs, info->extack);
	if (!ret)
		ret = set_lane(wg, attrs);
	if (ret)
		goto out;
	switches = READ_ONCE(wg->switches);
	switches = with_bit(switches, WGT_SUPERPACKETS_OUT, attrs[WG_LANE_A_SUPERPACKETS_OUT]);
	switches = with_bit(switches, WGT_AGGREGATES_IN, attrs[WG_LANE_A_AGGREGATES_IN]);
	if (switches != READ_ONCE(wg->switches))
		wgt_device_switch(wg, switches);
out:
	rtnl_unlock();
	return ret;
}

static const struct genl_ops operations[] = {
	{
		.cmd = WG_LANE_CMD_GET,
		.doit = get,
		.dumpit = dump,
	},
	{
		.cmd = WG_LANE_CMD_SET,
		.doit = set,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = WG_LANE_CMD_GET_COUNTERS,
		.dumpit = dump_counters,
	},
};

static struct genl_family family __ro_after_init = {
	.name = WG_LANE_GENL_NAME,
	.version = WG_LANE_GENL_VERSION,
	.module = THIS_MODULE,
	.maxattr = WG_LANE_A_MAX,
	.policy = policy,
	.ops = operations,
	.n_ops = ARRAY_SIZE(operations),
	.resv_start_op = WG_LANE_CMD_GET,
	.netnsok = true,
	.parallel_ops = true,
};

int __init wgt_lane_init(void)
{
	return genl_register_family(&family);
}

void wgt_lane_exit(void)
{
	genl_unregister_family(&family);
}
