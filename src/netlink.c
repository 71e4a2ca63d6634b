// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * WG_CMD_SET_DEVICE works in two passes over the message. The first one looks
 * at everything in it and changes nothing, so that a malformed message has no
 * effect. The second one applies it, beginning with what may fail.
 *
 * WG_CMD_GET_DEVICE is a dump of as many messages as it takes. Between two of
 * them it holds neither locks nor references, for the reader may never come
 * back for the rest. It remembers by value how far it got.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/rtnetlink.h>
#include <net/genetlink.h>

#include "allowedips.h"
#include "device.h"
#include "netlink.h"
#include "peer.h"
#include "pipeline.h"
#include "socket.h"

static struct genl_family family;

#define NUMBER(size)	{ .type = NLA_U##size }
#define EXACTLY(len)	NLA_POLICY_EXACT_LEN(len)
#define LISTED		{ .type = NLA_NESTED }

static const struct nla_policy device_policy[WGDEVICE_A_MAX + 1] = {
	[WGDEVICE_A_IFINDEX] = NUMBER(32),
	[WGDEVICE_A_IFNAME] = { .type = NLA_NUL_STRING, .len = IFNAMSIZ - 1 },
	[WGDEVICE_A_FLAGS] = NUMBER(32),
	[WGDEVICE_A_LISTEN_PORT] = NUMBER(16),
	[WGDEVICE_A_FWMARK] = NUMBER(32),
	[WGDEVICE_A_PRIVATE_KEY] = EXACTLY(WGT_KEY_LEN),
	[WGDEVICE_A_PUBLIC_KEY] = EXACTLY(WGT_KEY_LEN),
	[WGDEVICE_A_PEERS] = LISTED,
};

static const struct nla_policy peer_policy[WGPEER_A_MAX + 1] = {
	[WGPEER_A_PROTOCOL_VERSION] = NUMBER(32),
	[WGPEER_A_PUBLIC_KEY] = EXACTLY(WGT_KEY_LEN),
	[WGPEER_A_PRESHARED_KEY] = EXACTLY(WGT_PSK_LEN),
	[WGPEER_A_FLAGS] = NUMBER(32),
	[WGPEER_A_ENDPOINT] = NLA_POLICY_MIN_LEN(sizeof(struct sockaddr)),
	[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL] = NUMBER(16),
	[WGPEER_A_ALLOWEDIPS] = LISTED,
	/* Only sent, and accepted for the sake of who sends back what came. */
	[WGPEER_A_LAST_HANDSHAKE_TIME] = EXACTLY(sizeof(struct __kernel_timespec)),
	[WGPEER_A_RX_BYTES] = NUMBER(64),
	[WGPEER_A_TX_BYTES] = NUMBER(64),
};

static const struct nla_policy allowedip_policy[WGT_ALLOWEDIP_A_MAX + 1] = {
	[WGALLOWEDIP_A_FLAGS] = NUMBER(32),
	[WGALLOWEDIP_A_FAMILY] = NUMBER(16),
	[WGALLOWEDIP_A_IPADDR] = NLA_POLICY_MIN_LEN(sizeof(struct in_addr)),
	[WGALLOWEDIP_A_CIDR_MASK] = NUMBER(8),
};

struct wgt_device *wgt_netlink_find(struct net *net, const struct nlattr *number,
				    const struct nlattr *name, struct netlink_ext_ack *extack)
{
	struct net_device *dev;

	ASSERT_RTNL();
	if (number)
		dev = __dev_get_by_index(net, nla_get_u32(number));
	else
		dev = __dev_get_by_name(net, nla_data(name));
	if (!dev)
		return ERR_PTR(-ENODEV);
	if (!wgt_device_is_ours(dev)) {
		NL_SET_ERR_MSG(extack, "not a WireGuard interface");
		return ERR_PTR(-EOPNOTSUPP);
	}
	return netdev_priv(dev);
}

/* The device that a request names; RTNL is held. */
static struct wgt_device *find_device(struct net *net, struct nlattr **attrs,
				      struct netlink_ext_ack *extack)
{
	if (!attrs[WGDEVICE_A_IFINDEX] == !attrs[WGDEVICE_A_IFNAME]) {
		NL_SET_ERR_MSG(extack, "either an interface index or a name is needed");
		return ERR_PTR(-EBADR);
	}
	return wgt_netlink_find(net, attrs[WGDEVICE_A_IFINDEX], attrs[WGDEVICE_A_IFNAME], extack);
}

/* --- WG_CMD_GET_DEVICE --- */

/**
 * struct dump_cursor - how far a dump got
 * @ifindex: of the device
 * @begun: the device's own attributes were sent
 * @finished: everything was sent
 * @within_peer: some of the peer's prefixes were sent, the last one was @addr
 * @family: of @addr
 * @cidr: of @addr
 * @count: number of peers sent in full
 * @key: of the peer that comes next; unless @count is 0 or it is @finished
 * @addr: see @within_peer
 */
struct dump_cursor {
	int ifindex;
	bool begun;
	bool finished;
	bool within_peer;
	u8 cidr;
	int family;
	unsigned int count;
	u8 key[WGT_KEY_LEN];
	struct in6_addr addr;
};

static struct dump_cursor *cursor_of(struct netlink_callback *cb)
{
	return *(struct dump_cursor **)cb->ctx;
}

static int start_dump(struct netlink_callback *cb)
{
	struct dump_cursor *cursor;
	struct wgt_device *wg;

	cursor = kzalloc(sizeof(*cursor), GFP_KERNEL);
	if (!cursor)
		return -ENOMEM;
	rtnl_lock();
	wg = find_device(sock_net(cb->skb->sk), wgt_dump_attrs(cb), cb->extack);
	if (!IS_ERR(wg))
		cursor->ifindex = wg->dev->ifindex;
	rtnl_unlock();
	if (IS_ERR(wg)) {
		kfree(cursor);
		return PTR_ERR(wg);
	}
	*(struct dump_cursor **)cb->ctx = cursor;
	return 0;
}

static int finish_dump(struct netlink_callback *cb)
{
	kfree(cursor_of(cb));
	return 0;
}

static int put_identity(struct sk_buff *skb, struct wgt_device *wg)
{
	struct wgt_identity *identity = &wg->identity;
	int ret = 0;

	down_read(&identity->lock);
	if (identity->present &&
	    (nla_put(skb, WGDEVICE_A_PRIVATE_KEY, WGT_KEY_LEN, identity->private_key) ||
	     nla_put(skb, WGDEVICE_A_PUBLIC_KEY, WGT_KEY_LEN, identity->public_key)))
		ret = -EMSGSIZE;
	up_read(&identity->lock);
	return ret;
}

static int put_device_state(struct sk_buff *skb, struct wgt_device *wg, bool in_full)
{
	if (nla_put_string(skb, WGDEVICE_A_IFNAME, wg->dev->name))
		return -EMSGSIZE;
	if (!in_full)
		return 0;
	if (nla_put_u32(skb, WGDEVICE_A_IFINDEX, wg->dev->ifindex) ||
	    nla_put_u32(skb, WGDEVICE_A_FWMARK, wg->fwmark) ||
	    nla_put_u16(skb, WGDEVICE_A_LISTEN_PORT, wg->port))
		return -EMSGSIZE;
	return put_identity(skb, wg);
}

static int put_psk(struct sk_buff *skb, struct wgt_peer *peer)
{
	int ret;

	mutex_lock(&peer->handshake.lock);
	ret = nla_put(skb, WGPEER_A_PRESHARED_KEY, WGT_PSK_LEN, peer->handshake.psk);
	mutex_unlock(&peer->handshake.lock);
	return ret;
}

static int put_endpoint(struct sk_buff *skb, struct wgt_peer *peer)
{
	struct wgt_endpoint endpoint;

	wgt_peer_get_endpoint(peer, &endpoint);
	switch (endpoint.addr.sa_family) {
	case AF_INET:
		return nla_put(skb, WGPEER_A_ENDPOINT, sizeof(endpoint.addr4), &endpoint.addr4);
	case AF_INET6:
		return nla_put(skb, WGPEER_A_ENDPOINT, sizeof(endpoint.addr6), &endpoint.addr6);
	default:
		return 0;
	}
}

/* All of a peer but its key and its prefixes. */
static int put_peer_state(struct sk_buff *skb, struct wgt_peer *peer)
{
	const struct __kernel_timespec last = {
		.tv_sec = peer->last_handshake.tv_sec,
		.tv_nsec = peer->last_handshake.tv_nsec,
	};

	if (put_psk(skb, peer) || put_endpoint(skb, peer) ||
	    nla_put_u16(skb, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
			READ_ONCE(peer->persistent_keepalive)) ||
	    nla_put(skb, WGPEER_A_LAST_HANDSHAKE_TIME, sizeof(last), &last) ||
	    nla_put_u64_64bit(skb, WGPEER_A_TX_BYTES, atomic64_read(&peer->tx_bytes),
			      WGPEER_A_UNSPEC) ||
	    nla_put_u64_64bit(skb, WGPEER_A_RX_BYTES, atomic64_read(&peer->rx_bytes),
			      WGPEER_A_UNSPEC) ||
	    nla_put_u32(skb, WGPEER_A_PROTOCOL_VERSION, WG_GENL_VERSION))
		return -EMSGSIZE;
	return 0;
}

static int put_prefix(struct sk_buff *skb, struct wgt_allowedip *ip, struct dump_cursor *cursor)
{
	struct in6_addr addr;
	struct nlattr *nest;
	int ip_family;
	u8 cidr;

	ip_family = wgt_allowedip_read(ip, &addr, &cidr);
	nest = nla_nest_start(skb, 0);
	if (!nest)
		return -EMSGSIZE;
	if (nla_put_u8(skb, WGALLOWEDIP_A_CIDR_MASK, cidr) ||
	    nla_put_u16(skb, WGALLOWEDIP_A_FAMILY, ip_family) ||
	    nla_put(skb, WGALLOWEDIP_A_IPADDR,
		    ip_family == AF_INET ? sizeof(struct in_addr) : sizeof(addr), &addr)) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);

	cursor->within_peer = true;
	cursor->family = ip_family;
	cursor->cidr = cidr;
	cursor->addr = addr;
	return 0;
}

/* After the last one sent, or from the first where that is the peer's no more. */
static struct wgt_allowedip *next_prefix(struct wgt_peer *peer, const struct dump_cursor *cursor)
{
	struct wgt_device *wg = peer->wg;
	struct wgt_allowedip *last = NULL;

	if (cursor->within_peer)
		last = wgt_allowedip_get(&wg->allowedips, cursor->family, &cursor->addr,
					 cursor->cidr, peer, &wg->config);
	return last ? wgt_allowedip_next(peer, last) : wgt_allowedip_first(peer);
}

static int put_prefixes(struct sk_buff *skb, struct wgt_peer *peer, struct dump_cursor *cursor)
{
	struct wgt_allowedip *ip = next_prefix(peer, cursor);
	struct nlattr *nest;
	int ret = 0;

	if (!ip)
		return 0;
	nest = nla_nest_start(skb, WGPEER_A_ALLOWEDIPS);
	if (!nest)
		return -EMSGSIZE;
	while (ip && !ret) {
		ret = put_prefix(skb, ip, cursor);
		ip = wgt_allowedip_next(peer, ip);
	}
	nla_nest_end(skb, nest);
	return ret;
}

/* Returns 0, or -EMSGSIZE where there is more: then the cursor tells how much was put. */
static int put_peer(struct sk_buff *skb, struct wgt_peer *peer, struct dump_cursor *cursor)
{
	bool continued = cursor->within_peer;
	struct nlattr *nest;
	int ret;

	nest = nla_nest_start(skb, 0);
	if (!nest)
		return -EMSGSIZE;
	ret = nla_put(skb, WGPEER_A_PUBLIC_KEY, WGT_KEY_LEN, peer->handshake.remote_static);
	if (!ret && !continued)
		ret = put_peer_state(skb, peer);
	if (ret) {
		nla_nest_cancel(skb, nest);
		return ret;
	}
	ret = put_prefixes(skb, peer, cursor);
	/* With no prefix in it, it is as if it had not been begun. */
	if (ret && !cursor->within_peer)
		nla_nest_cancel(skb, nest);
	else
		nla_nest_end(skb, nest);
	return ret;
}

/*
 * The peer to go on with, or the list's head at the end. When the one that was
 * to be next is gone the position in the list has to do: the reader is told
 * that there were changes.
 */
static struct list_head *next_peer(struct wgt_device *wg, struct dump_cursor *cursor)
{
	struct list_head *at = wg->peers.next;
	struct wgt_peer *peer;
	unsigned int i;

	if (!cursor->count && !cursor->within_peer)
		return at;
	peer = wgt_pubkey_find(wg, cursor->key);
	if (peer) {
		/* In the list as long as the lock is held: no reference is needed. */
		at = &peer->list;
		wgt_peer_put(peer);
		return at;
	}
	cursor->within_peer = false;
	for (i = 0; i < cursor->count && at != &wg->peers; i++)
		at = at->next;
	return at;
}

static int put_peers(struct sk_buff *skb, struct wgt_device *wg, struct dump_cursor *cursor)
{
	struct list_head *at = next_peer(wg, cursor);
	struct wgt_peer *peer;
	struct nlattr *nest;

	cursor->finished = at == &wg->peers;
	if (cursor->finished)
		return 0;
	nest = nla_nest_start(skb, WGDEVICE_A_PEERS);
	if (!nest)
		return -EMSGSIZE;
	for (; at != &wg->peers; at = at->next) {
		peer = list_entry(at, struct wgt_peer, list);
		if (put_peer(skb, peer, cursor)) {
			memcpy(cursor->key, peer->handshake.remote_static, WGT_KEY_LEN);
			break;
		}
		cursor->within_peer = false;
		cursor->count++;
	}
	cursor->finished = at == &wg->peers;
	nla_nest_end(skb, nest);
	return 0;
}

static int put_message(struct sk_buff *skb, struct wgt_device *wg, struct netlink_callback *cb)
{
	struct dump_cursor *cursor = cursor_of(cb);
	void *header;

	lockdep_assert_held(&wg->config);
	cb->seq = wg->generation;
	header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &family,
			     NLM_F_MULTI, WG_CMD_GET_DEVICE);
	if (!header)
		return -EMSGSIZE;
	genl_dump_check_consistent(cb, header);
	if (put_device_state(skb, wg, !cursor->begun) || put_peers(skb, wg, cursor)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	cursor->begun = true;
	genlmsg_end(skb, header);
	return skb->len;
}

static int dump_device(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct dump_cursor *cursor = cursor_of(cb);
	struct net_device *dev;
	struct wgt_device *wg;
	int ret = -ENODEV;

	if (cursor->finished)
		return 0;
	rtnl_lock();
	dev = __dev_get_by_index(sock_net(cb->skb->sk), cursor->ifindex);
	if (dev && wgt_device_is_ours(dev)) {
		wg = netdev_priv(dev);
		mutex_lock(&wg->config);
		ret = put_message(skb, wg, cb);
		mutex_unlock(&wg->config);
	}
	rtnl_unlock();
	return ret;
}

/* --- WG_CMD_SET_DEVICE, first pass --- */

static int check_prefix(struct nlattr *attr, struct netlink_ext_ack *extack)
{
	struct nlattr *tb[WGT_ALLOWEDIP_A_MAX + 1];
	unsigned int len;
	int ret;

	ret = nla_parse_nested(tb, WGT_ALLOWEDIP_A_MAX, attr, allowedip_policy, extack);
	if (ret)
		return ret;
	if (!tb[WGALLOWEDIP_A_FAMILY] || !tb[WGALLOWEDIP_A_IPADDR] || !tb[WGALLOWEDIP_A_CIDR_MASK]) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "allowed IP without family, address or length");
		return -EINVAL;
	}
	if (tb[WGALLOWEDIP_A_FLAGS] &&
	    nla_get_u32(tb[WGALLOWEDIP_A_FLAGS]) & ~WGT_ALLOWEDIP_F_ALL) {
		NL_SET_ERR_MSG_ATTR(extack, tb[WGALLOWEDIP_A_FLAGS], "unknown allowed IP flag");
		return -EOPNOTSUPP;
	}
	switch (nla_get_u16(tb[WGALLOWEDIP_A_FAMILY])) {
	case AF_INET:
		len = sizeof(struct in_addr);
		break;
	case AF_INET6:
		len = sizeof(struct in6_addr);
		break;
	default:
		NL_SET_ERR_MSG_ATTR(extack, tb[WGALLOWEDIP_A_FAMILY], "neither IPv4 nor IPv6");
		return -EINVAL;
	}
	if (nla_len(tb[WGALLOWEDIP_A_IPADDR]) != len) {
		NL_SET_ERR_MSG_ATTR(extack, tb[WGALLOWEDIP_A_IPADDR], "address is not of its family");
		return -EINVAL;
	}
	if (nla_get_u8(tb[WGALLOWEDIP_A_CIDR_MASK]) > len * BITS_PER_BYTE) {
		NL_SET_ERR_MSG_ATTR(extack, tb[WGALLOWEDIP_A_CIDR_MASK], "prefix is too long");
		return -EINVAL;
	}
	return 0;
}

static int check_peer(struct nlattr *attr, struct netlink_ext_ack *extack)
{
	struct nlattr *tb[WGPEER_A_MAX + 1], *ip;
	int ret, left;

	ret = nla_parse_nested(tb, WGPEER_A_MAX, attr, peer_policy, extack);
	if (ret)
		return ret;
	if (!tb[WGPEER_A_PUBLIC_KEY]) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "peer without public key");
		return -EINVAL;
	}
	if (tb[WGPEER_A_FLAGS] && nla_get_u32(tb[WGPEER_A_FLAGS]) & ~WGT_PEER_F_ALL) {
		NL_SET_ERR_MSG_ATTR(extack, tb[WGPEER_A_FLAGS], "unknown peer flag");
		return -EOPNOTSUPP;
	}
	if (tb[WGPEER_A_PROTOCOL_VERSION] && nla_get_u32(tb[WGPEER_A_PROTOCOL_VERSION]) != 1) {
		NL_SET_ERR_MSG_ATTR(extack, tb[WGPEER_A_PROTOCOL_VERSION],
				    "unknown protocol version");
		return -EPFNOSUPPORT;
	}
	/* What else is said of a peer that is to go does not matter. */
	if (!tb[WGPEER_A_ALLOWEDIPS] ||
	    (tb[WGPEER_A_FLAGS] && nla_get_u32(tb[WGPEER_A_FLAGS]) & WGPEER_F_REMOVE_ME))
		return 0;
	nla_for_each_nested(ip, tb[WGPEER_A_ALLOWEDIPS], left) {
		ret = check_prefix(ip, extack);
		if (ret)
			return ret;
	}
	return 0;
}

static bool may_change_sockets(struct wgt_device *wg, struct sk_buff *skb)
{
	struct net *net;
	bool may;

	rcu_read_lock();
	net = rcu_dereference(wg->creating_net);
	may = net && netlink_ns_capable(skb, net->user_ns, CAP_NET_ADMIN);
	rcu_read_unlock();
	return may;
}

static int check_device(struct wgt_device *wg, struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr **attrs = info->attrs, *peer;
	int ret, left;

	if (attrs[WGDEVICE_A_FLAGS] && nla_get_u32(attrs[WGDEVICE_A_FLAGS]) & ~WGT_DEVICE_F_ALL) {
		NL_SET_ERR_MSG_ATTR(info->extack, attrs[WGDEVICE_A_FLAGS], "unknown device flag");
		return -EOPNOTSUPP;
	}
	if ((attrs[WGDEVICE_A_LISTEN_PORT] || attrs[WGDEVICE_A_FWMARK]) &&
	    !may_change_sockets(wg, skb)) {
		NL_SET_ERR_MSG(info->extack,
			       "port and mark belong to the namespace of the interface's birth");
		return -EPERM;
	}
	if (!attrs[WGDEVICE_A_PEERS])
		return 0;
	nla_for_each_nested(peer, attrs[WGDEVICE_A_PEERS], left) {
		ret = check_peer(peer, info->extack);
		if (ret)
			return ret;
	}
	return 0;
}

/* --- WG_CMD_SET_DEVICE, second pass --- */

static void forget_sources(struct wgt_device *wg)
{
	struct wgt_peer *peer;

	list_for_each_entry(peer, &wg->peers, list)
		wgt_peer_clear_source(peer);
}

static int set_port(struct wgt_device *wg, u16 port)
{
	int ret;

	if (port == wg->port)
		return 0;
	if (netif_running(wg->dev)) {
		ret = wgt_socket_open(wg, port);
		if (ret)
			return ret;
	} else {
		wg->port = port;
	}
	forget_sources(wg);
	return 0;
}

static void set_fwmark(struct wgt_device *wg, u32 fwmark)
{
	WRITE_ONCE(wg->fwmark, fwmark);
	forget_sources(wg);
}

/* Nobody is their own peer. */
static void remove_self(struct wgt_device *wg, const u8 private_key[WGT_KEY_LEN])
{
	u8 public_key[WGT_KEY_LEN];
	struct wgt_peer *peer;

	if (!curve25519_generate_public(public_key, private_key))
		return;
	peer = wgt_pubkey_find(wg, public_key);
	if (peer) {
		wgt_peer_remove(peer);
		wgt_peer_put(peer);
	}
}

/* Packets that waited for what is there now go, or begin a handshake. */
static void drain(struct wgt_peer *peer)
{
	rcu_read_lock();
	peer->wg->pipeline->drain(peer);
	rcu_read_unlock();
}

static void set_private_key(struct wgt_device *wg, const u8 wanted[WGT_KEY_LEN])
{
	struct wgt_identity *identity = &wg->identity;
	struct wgt_peer *peer;
	u8 key[WGT_KEY_LEN];

	memcpy(key, wanted, WGT_KEY_LEN);
	if (memchr_inv(key, 0, WGT_KEY_LEN))
		curve25519_clamp_secret(key);
	/* Sessions survive being told what is the case already. Only we write it. */
	if (!crypto_memneq(key, identity->private_key, WGT_KEY_LEN))
		goto out;

	/* Before the lock: removing waits for handshakes under way, which take it. */
	remove_self(wg, key);
	down_write(&identity->lock);
	wgt_identity_set(identity, key);
	list_for_each_entry(peer, &wg->peers, list) {
		wgt_handshake_precompute(peer);
		/* Whatever was tried under the old key, or without one, does not count. */
		atomic64_set(&peer->last_initiation_sent, 0);
	}
	wgt_cookie_checker_rekey(wg);
	up_write(&identity->lock);
	if (netif_running(wg->dev))
		list_for_each_entry(peer, &wg->peers, list)
			drain(peer);
out:
	memzero_explicit(key, WGT_KEY_LEN);
}

static int set_prefix(struct wgt_peer *peer, struct nlattr *attr)
{
	struct wgt_allowedips *table = &peer->wg->allowedips;
	struct nlattr *tb[WGT_ALLOWEDIP_A_MAX + 1];
	struct mutex *lock = &peer->wg->config;
	const void *addr;
	int ret, fam;
	u8 cidr;

	ret = nla_parse_nested(tb, WGT_ALLOWEDIP_A_MAX, attr, allowedip_policy, NULL);
	if (ret)
		return ret;
	fam = nla_get_u16(tb[WGALLOWEDIP_A_FAMILY]);
	addr = nla_data(tb[WGALLOWEDIP_A_IPADDR]);
	cidr = nla_get_u8(tb[WGALLOWEDIP_A_CIDR_MASK]);
	if (tb[WGALLOWEDIP_A_FLAGS] &&
	    nla_get_u32(tb[WGALLOWEDIP_A_FLAGS]) & WGALLOWEDIP_F_REMOVE_ME)
		return wgt_allowedips_remove(table, fam, addr, cidr, peer, lock);
	return wgt_allowedips_insert(table, fam, addr, cidr, peer, lock);
}

/* Anything but an address of either family is passed over: so it always was. */
static void set_endpoint(struct wgt_peer *peer, const struct nlattr *attr)
{
	struct wgt_endpoint endpoint = { };
	const struct sockaddr *addr = nla_data(attr);
	int len = nla_len(attr);

	if (addr->sa_family == AF_INET && len == sizeof(endpoint.addr4))
		memcpy(&endpoint.addr4, addr, sizeof(endpoint.addr4));
	else if (addr->sa_family == AF_INET6 && len == sizeof(endpoint.addr6))
		memcpy(&endpoint.addr6, addr, sizeof(endpoint.addr6));
	else
		return;
	wgt_peer_set_endpoint(peer, &endpoint);
}

static void set_keepalive(struct wgt_peer *peer, u16 interval)
{
	bool begins = interval && !peer->persistent_keepalive;

	WRITE_ONCE(peer->persistent_keepalive, interval);
	if (begins && netif_running(peer->wg->dev)) {
		rcu_read_lock();
		wgt_send_keepalive(peer);
		rcu_read_unlock();
	}
}

static int update_peer(struct wgt_peer *peer, struct nlattr **tb, u32 flags)
{
	struct wgt_device *wg = peer->wg;
	struct nlattr *ip;
	int ret, left;

	if (tb[WGPEER_A_PRESHARED_KEY])
		wgt_handshake_set_psk(peer, nla_data(tb[WGPEER_A_PRESHARED_KEY]));
	if (tb[WGPEER_A_ENDPOINT])
		set_endpoint(peer, tb[WGPEER_A_ENDPOINT]);
	if (flags & WGPEER_F_REPLACE_ALLOWEDIPS)
		wgt_allowedips_remove_peer(&wg->allowedips, peer, &wg->config);
	if (tb[WGPEER_A_ALLOWEDIPS])
		nla_for_each_nested(ip, tb[WGPEER_A_ALLOWEDIPS], left) {
			ret = set_prefix(peer, ip);
			if (ret)
				return ret;
		}
	if (tb[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL])
		set_keepalive(peer, nla_get_u16(tb[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL]));
	if (netif_running(wg->dev))
		drain(peer);
	return 0;
}

/* Returns a peer with a reference, NULL where there is to be none, or an ERR_PTR(). */
static struct wgt_peer *create_peer(struct wgt_device *wg, const u8 public_key[WGT_KEY_LEN],
				    const u8 *psk)
{
	struct wgt_identity *identity = &wg->identity;
	struct wgt_peer *peer = NULL;

	down_read(&identity->lock);
	if (!identity->present || memcmp(public_key, identity->public_key, WGT_KEY_LEN))
		peer = wgt_peer_create(wg, public_key, psk);
	up_read(&identity->lock);
	return IS_ERR_OR_NULL(peer) ? peer : wgt_peer_get(peer);
}

static int set_peer(struct wgt_device *wg, struct nlattr *attr)
{
	struct nlattr *tb[WGPEER_A_MAX + 1];
	struct wgt_peer *peer;
	u32 flags = 0;
	int ret;

	ret = nla_parse_nested(tb, WGPEER_A_MAX, attr, peer_policy, NULL);
	if (ret)
		return ret;
	if (tb[WGPEER_A_FLAGS])
		flags = nla_get_u32(tb[WGPEER_A_FLAGS]);

	peer = wgt_pubkey_find(wg, nla_data(tb[WGPEER_A_PUBLIC_KEY]));
	if (!peer && !(flags & (WGPEER_F_REMOVE_ME | WGPEER_F_UPDATE_ONLY)))
		/* With its pre-shared key from the first: it can be found at once. */
		peer = create_peer(wg, nla_data(tb[WGPEER_A_PUBLIC_KEY]),
				   tb[WGPEER_A_PRESHARED_KEY] ?
				   nla_data(tb[WGPEER_A_PRESHARED_KEY]) : NULL);
	if (IS_ERR_OR_NULL(peer))
		return PTR_ERR_OR_ZERO(peer);

	if (flags & WGPEER_F_REMOVE_ME)
		wgt_peer_remove(peer);
	else
		ret = update_peer(peer, tb, flags);
	wgt_peer_put(peer);
	return ret;
}

static int set_all(struct wgt_device *wg, struct nlattr **attrs)
{
	struct nlattr *peer;
	int ret, left;

	wg->generation++;
	if (attrs[WGDEVICE_A_LISTEN_PORT]) {
		ret = set_port(wg, nla_get_u16(attrs[WGDEVICE_A_LISTEN_PORT]));
		if (ret)
			return ret;
	}
	if (attrs[WGDEVICE_A_FWMARK])
		set_fwmark(wg, nla_get_u32(attrs[WGDEVICE_A_FWMARK]));
	if (attrs[WGDEVICE_A_FLAGS] &&
	    nla_get_u32(attrs[WGDEVICE_A_FLAGS]) & WGDEVICE_F_REPLACE_PEERS)
		wgt_peer_remove_all(wg);
	if (attrs[WGDEVICE_A_PRIVATE_KEY])
		set_private_key(wg, nla_data(attrs[WGDEVICE_A_PRIVATE_KEY]));
	if (attrs[WGDEVICE_A_PEERS])
		nla_for_each_nested(peer, attrs[WGDEVICE_A_PEERS], left) {
			ret = set_peer(wg, peer);
			if (ret)
				return ret;
		}
	return 0;
}

static void erase(struct nlattr *attr)
{
	memzero_explicit(nla_data(attr), nla_len(attr));
}

/* The message may live on in freed memory, or be sent back with an error. */
static void erase_secrets(struct nlattr **attrs)
{
	struct nlattr *peer, *attr;
	int peers_left, left;

	if (attrs[WGDEVICE_A_PRIVATE_KEY])
		erase(attrs[WGDEVICE_A_PRIVATE_KEY]);
	if (!attrs[WGDEVICE_A_PEERS])
		return;
	nla_for_each_nested(peer, attrs[WGDEVICE_A_PEERS], peers_left)
		nla_for_each_nested(attr, peer, left)
			if (nla_type(attr) == WGPEER_A_PRESHARED_KEY)
				erase(attr);
}

static int set_device(struct sk_buff *skb, struct genl_info *info)
{
	struct wgt_device *wg;
	int ret;

	rtnl_lock();
	wg = find_device(genl_info_net(info), info->attrs, info->extack);
	if (IS_ERR(wg)) {
		ret = PTR_ERR(wg);
		goto out;
	}
	mutex_lock(&wg->config);
	ret = check_device(wg, skb, info);
	if (!ret)
		ret = set_all(wg, info->attrs);
	mutex_unlock(&wg->config);
out:
	rtnl_unlock();
	erase_secrets(info->attrs);
	return ret;
}

static const struct genl_ops operations[] = {
	{
		.cmd = WG_CMD_GET_DEVICE,
		.start = start_dump,
		.dumpit = dump_device,
		.done = finish_dump,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = WG_CMD_SET_DEVICE,
		.doit = set_device,
		.flags = GENL_UNS_ADMIN_PERM,
	},
};

static struct genl_family family __ro_after_init = {
	.name = WG_GENL_NAME,
	.version = WG_GENL_VERSION,
	.module = THIS_MODULE,
	.maxattr = WGDEVICE_A_MAX,
	.policy = device_policy,
	.ops = operations,
	.n_ops = ARRAY_SIZE(operations),
	.resv_start_op = WG_CMD_SET_DEVICE + 1,
	.netnsok = true,
	.parallel_ops = true,
};

int __init wgt_netlink_init(void)
{
	return genl_register_family(&family);
}

void wgt_netlink_exit(void)
{
	genl_unregister_family(&family);
}
