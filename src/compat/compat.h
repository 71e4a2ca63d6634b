/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */
/*
 * All differences between the kernels that this module builds on. The sources
 * are written for the newest; here the older ones are given its names. What a
 * tree has is found out by ./probe, which defines WGT_HAVE_*.
 */
#ifndef WGT_COMPAT_H
#define WGT_COMPAT_H

#include <crypto/blake2s.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/timer.h>
#include <linux/wireguard.h>
#include <linux/workqueue.h>
#include <net/ipv6.h>
#include <net/rtnetlink.h>
#include <net/udp_tunnel.h>

#ifdef WGT_HAVE_CRYPTO_UTILS_H
#include <crypto/utils.h>
#else
#include <crypto/algapi.h>
#endif

#ifdef WGT_HAVE_NET_GSO_H
#include <net/gso.h>
#endif

#ifdef WGT_HAVE_UNALIGNED_H
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

/* BLAKE2s: the state was renamed and the arguments of the one-shot call put in another order. */
#ifdef WGT_HAVE_BLAKE2S_CTX
#define wgt_blake2s(out, outlen, in, inlen, key, keylen) \
	blake2s(key, keylen, in, inlen, out, outlen)
#else
#define blake2s_ctx blake2s_state
#define wgt_blake2s(out, outlen, in, inlen, key, keylen) \
	blake2s(out, in, key, outlen, inlen, keylen)
#endif

#ifndef WGT_HAVE_TIMER_CONTAINER_OF
#define timer_container_of(var, timer, field) from_timer(var, timer, field)
#endif

#ifndef WGT_HAVE_FRAGS_READABLE
static inline bool skb_frags_readable(const struct sk_buff *skb)
{
	return true;
}
#endif

#ifndef WGT_HAVE_WQ_PERCPU
#define WQ_PERCPU 0
#endif

/* A device that is driven without the transmit lock. */
static inline void wgt_set_lltx(struct net_device *dev)
{
#ifdef WGT_HAVE_LLTX_BIT
	dev->lltx = true;
#else
	dev->features |= NETIF_F_LLTX;
#endif
}

/* Per-CPU rx/tx statistics: newer cores allocate them by type. */
static inline int wgt_tstats_alloc(struct net_device *dev)
{
#ifdef WGT_HAVE_PCPU_STAT_TYPE
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	return 0;
#else
	dev->tstats = netdev_alloc_pcpu_stats(struct pcpu_sw_netstats);
	return dev->tstats ? 0 : -ENOMEM;
#endif
}

static inline void wgt_tstats_free(struct net_device *dev)
{
#ifndef WGT_HAVE_PCPU_STAT_TYPE
	free_percpu(dev->tstats);
	dev->tstats = NULL;
#endif
}

/* A net_device that only carries NAPI instances. */
static inline struct net_device *wgt_dummy_alloc(void)
{
#ifdef WGT_HAVE_DUMMY_ALLOC
	return alloc_netdev_dummy(0);
#else
	struct net_device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (dev)
		init_dummy_netdev(dev);
	return dev;
#endif
}

static inline void wgt_dummy_free(struct net_device *dev)
{
#ifdef WGT_HAVE_DUMMY_ALLOC
	free_netdev(dev);
#else
	kfree(dev);
#endif
}

/* rtnl_link_ops.newlink: define it by this macro, and get @net, @dev, @data and @extack. */
#ifdef WGT_HAVE_NEWLINK_PARAMS
#define WGT_NEWLINK(name)								\
	static int name##_in(struct net *net, struct net_device *dev,			\
			     struct nlattr **data, struct netlink_ext_ack *extack);	\
	static int name(struct net_device *dev, struct rtnl_newlink_params *params,	\
			struct netlink_ext_ack *extack)					\
	{										\
		return name##_in(rtnl_newlink_link_net(params), dev, params->data, extack); \
	}										\
	static int name##_in(struct net *net, struct net_device *dev,			\
			     struct nlattr **data, struct netlink_ext_ack *extack)
#else
#define WGT_NEWLINK(name)								\
	static int name##_in(struct net *net, struct net_device *dev,			\
			     struct nlattr **data, struct netlink_ext_ack *extack);	\
	static int name(struct net *net, struct net_device *dev, struct nlattr *tb[],	\
			struct nlattr *data[], struct netlink_ext_ack *extack)		\
	{										\
		return name##_in(net, dev, data, extack);				\
	}										\
	static int name##_in(struct net *net, struct net_device *dev,			\
			     struct nlattr **data, struct netlink_ext_ack *extack)
#endif

/* UDP tunnels: a socket became a sock, and flags for the control block came. */
static inline void wgt_tunnel_sock_setup(struct net *net, struct socket *sock,
					 struct udp_tunnel_sock_cfg *cfg)
{
#ifdef WGT_HAVE_TUNNEL_SETUP_SK
	setup_udp_tunnel_sock(net, sock->sk, cfg);
#else
	setup_udp_tunnel_sock(net, sock, cfg);
#endif
}

static inline void wgt_tunnel_sock_release(struct sock *sk)
{
#ifdef WGT_HAVE_TUNNEL_SETUP_SK
	udp_tunnel_sock_release(sk);
#else
	udp_tunnel_sock_release(sk->sk_socket);
#endif
}

/* GRO for a UDP socket: a bit field became atomic bits. */
static inline void wgt_udp_set_gro(struct sock *sk, bool on)
{
#ifdef WGT_HAVE_UDP_BITS
	if (on)
		udp_set_bit(GRO_ENABLED, sk);
	else
		udp_clear_bit(GRO_ENABLED, sk);
#else
	udp_sk(sk)->gro_enabled = on;
#endif
}

#ifdef WGT_HAVE_TUNNEL_CB_FLAGS
#define wgt_tunnel_xmit4(rt, sk, skb, src, dst, tos, ttl, df, sport, dport)	\
	udp_tunnel_xmit_skb(rt, sk, skb, src, dst, tos, ttl, df, sport, dport,	\
			    false, false, 0)
#define wgt_tunnel_xmit6(dst, sk, skb, dev, src, daddr, tos, ttl, sport, dport)	\
	udp_tunnel6_xmit_skb(dst, sk, skb, dev, src, daddr, tos, ttl, 0, sport,	\
			     dport, false, 0)
#else
#define wgt_tunnel_xmit4(rt, sk, skb, src, dst, tos, ttl, df, sport, dport)	\
	udp_tunnel_xmit_skb(rt, sk, skb, src, dst, tos, ttl, df, sport, dport,	\
			    false, false)
#define wgt_tunnel_xmit6(dst, sk, skb, dev, src, daddr, tos, ttl, sport, dport)	\
	udp_tunnel6_xmit_skb(dst, sk, skb, dev, src, daddr, tos, ttl, 0, sport,	\
			     dport, false)
#endif

#ifdef WGT_HAVE_IPV6_STUB
#include <net/ipv6_stubs.h>
#define wgt_route6(net, sk, fl) ipv6_stub->ipv6_dst_lookup_flow(net, sk, fl, NULL)
#else
#define wgt_route6(net, sk, fl) ip6_dst_lookup_flow(net, sk, fl, NULL)
#endif

/* Generic netlink: the attributes of the request that a dump answers. */
#ifdef WGT_HAVE_GENL_INFO_DUMP
#define wgt_dump_attrs(cb) (genl_info_dump(cb)->attrs)
#else
#define wgt_dump_attrs(cb) (genl_dumpit_info(cb)->attrs)
#endif

/*
 * UAPI of newer headers. Attribute 4 of an allowed IP and its only flag take a
 * prefix away again.
 */
#ifndef WGT_HAVE_ALLOWEDIP_FLAGS
#define WGALLOWEDIP_A_FLAGS		4
#define WGALLOWEDIP_F_REMOVE_ME		1
#endif
#define WGT_ALLOWEDIP_A_MAX		4
#define WGT_DEVICE_F_ALL		WGDEVICE_F_REPLACE_PEERS
#define WGT_PEER_F_ALL \
	(WGPEER_F_REMOVE_ME | WGPEER_F_REPLACE_ALLOWEDIPS | WGPEER_F_UPDATE_ONLY)
#define WGT_ALLOWEDIP_F_ALL		WGALLOWEDIP_F_REMOVE_ME

#endif /* WGT_COMPAT_H */
