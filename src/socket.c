// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/udp_tunnel.h>

#include "device.h"
#include "peer.h"
#include "pipeline.h"
#include "socket.h"

/* In front of a message: link layer, IPv6 and UDP headers. */
#define OUTER_HEADROOM	(LL_MAX_HEADER + sizeof(struct ipv6hdr) + sizeof(struct udphdr))

/* How often a free IPv4 port that turns out to be taken for IPv6 is given back. */
#define PORT_ATTEMPTS	100

int wgt_endpoint_from_skb(struct wgt_endpoint *endpoint, const struct sk_buff *skb)
{
	memset(endpoint, 0, sizeof(*endpoint));
	switch (skb->protocol) {
	case htons(ETH_P_IP):
		endpoint->addr4.sin_family = AF_INET;
		endpoint->addr4.sin_addr.s_addr = ip_hdr(skb)->saddr;
		endpoint->addr4.sin_port = udp_hdr(skb)->source;
		endpoint->src4.s_addr = ip_hdr(skb)->daddr;
		endpoint->src_if4 = skb->skb_iif;
		return 0;
	case htons(ETH_P_IPV6):
		endpoint->addr6.sin6_family = AF_INET6;
		endpoint->addr6.sin6_addr = ipv6_hdr(skb)->saddr;
		endpoint->addr6.sin6_port = udp_hdr(skb)->source;
		endpoint->addr6.sin6_scope_id =
			ipv6_iface_scope_id(&ipv6_hdr(skb)->saddr, skb->skb_iif);
		endpoint->src6 = ipv6_hdr(skb)->daddr;
		return 0;
	default:
		return -EINVAL;
	}
}

static unsigned int packets_of(const struct sk_buff *skb)
{
	return skb_shinfo(skb)->gso_segs ?: 1;
}

/* The address or interface that replies should leave from is no more. */
static void forget_source(struct wgt_endpoint *endpoint, struct dst_cache *cache)
{
	memset(&endpoint->src6, 0, sizeof(endpoint->src6));
	if (cache)
		dst_cache_reset(cache);
}

static bool left_elsewhere(const struct rtable *rt, int wanted_if)
{
	if (IS_ERR(rt))
		return PTR_ERR(rt) == -EINVAL;
	return rt->dst.dev->ifindex != wanted_if;
}

static struct rtable *route4(struct sock *sk, struct flowi4 *fl, struct wgt_endpoint *endpoint,
			     struct dst_cache *cache)
{
	struct net *net = sock_net(sk);
	struct rtable *rt;

	if (cache) {
		rt = dst_cache_get_ip4(cache, &fl->saddr);
		if (rt)
			return rt;
	}
	security_sk_classify_flow(sk, flowi4_to_flowi_common(fl));
	if (fl->saddr && !inet_confirm_addr(net, NULL, 0, fl->saddr, RT_SCOPE_HOST)) {
		forget_source(endpoint, cache);
		fl->saddr = 0;
	}
	rt = ip_route_output_flow(net, fl, sk);
	if (endpoint->src_if4 && left_elsewhere(rt, endpoint->src_if4)) {
		forget_source(endpoint, cache);
		fl->saddr = 0;
		if (!IS_ERR(rt))
			ip_rt_put(rt);
		rt = ip_route_output_flow(net, fl, sk);
	}
	if (!IS_ERR(rt) && cache)
		dst_cache_set_ip4(cache, &rt->dst, fl->saddr);
	return rt;
}

static int send4(struct wgt_device *wg, struct sk_buff *skb, struct wgt_endpoint *endpoint,
		 u8 tos, struct dst_cache *cache)
{
	struct sock *sk = rcu_dereference_bh(wg->sock4);
	struct flowi4 fl = {
		.saddr = endpoint->src4.s_addr,
		.daddr = endpoint->addr4.sin_addr.s_addr,
		.fl4_dport = endpoint->addr4.sin_port,
		.flowi4_mark = READ_ONCE(wg->fwmark),
		.flowi4_proto = IPPROTO_UDP,
	};
	struct rtable *rt;

	if (unlikely(!sk)) {
		wgt_drop(wg, TX_NO_SOCKET, packets_of(skb));
		kfree_skb(skb);
		return -ENONET;
	}
	fl.fl4_sport = inet_sk(sk)->inet_sport;
	rt = route4(sk, &fl, endpoint, cache);
	if (IS_ERR(rt)) {
		net_dbg_ratelimited("%s: No route to %pISpfsc, error %ld\n",
				    wg->dev->name, &endpoint->addr, PTR_ERR(rt));
		wgt_drop(wg, TX_NO_ROUTE, packets_of(skb));
		kfree_skb(skb);
		return PTR_ERR(rt);
	}
	skb->ignore_df = 1;
	wgt_tunnel_xmit4(rt, sk, skb, fl.saddr, fl.daddr, tos, ip4_dst_hoplimit(&rt->dst), 0,
			 fl.fl4_sport, fl.fl4_dport);
	return 0;
}

#if IS_ENABLED(CONFIG_IPV6)
static struct dst_entry *route6(struct sock *sk, struct flowi6 *fl, struct wgt_endpoint *endpoint,
				struct dst_cache *cache)
{
	struct dst_entry *dst;

	if (cache) {
		dst = dst_cache_get_ip6(cache, &fl->saddr);
		if (dst)
			return dst;
	}
	security_sk_classify_flow(sk, flowi6_to_flowi_common(fl));
	if (!ipv6_addr_any(&fl->saddr) && !ipv6_chk_addr(sock_net(sk), &fl->saddr, NULL, 0)) {
		forget_source(endpoint, cache);
		fl->saddr = in6addr_any;
	}
	dst = wgt_route6(sock_net(sk), sk, fl);
	if (!IS_ERR(dst) && cache)
		dst_cache_set_ip6(cache, dst, &fl->saddr);
	return dst;
}

static int send6(struct wgt_device *wg, struct sk_buff *skb, struct wgt_endpoint *endpoint,
		 u8 tos, struct dst_cache *cache)
{
	struct sock *sk = rcu_dereference_bh(wg->sock6);
	struct flowi6 fl = {
		.saddr = endpoint->src6,
		.daddr = endpoint->addr6.sin6_addr,
		.flowi6_oif = endpoint->addr6.sin6_scope_id,
		.fl6_dport = endpoint->addr6.sin6_port,
		.flowi6_mark = READ_ONCE(wg->fwmark),
		.flowi6_proto = IPPROTO_UDP,
	};
	struct dst_entry *dst;

	if (unlikely(!sk)) {
		wgt_drop(wg, TX_NO_SOCKET, packets_of(skb));
		kfree_skb(skb);
		return -ENONET;
	}
	fl.fl6_sport = inet_sk(sk)->inet_sport;
	dst = route6(sk, &fl, endpoint, cache);
	if (IS_ERR(dst)) {
		net_dbg_ratelimited("%s: No route to %pISpfsc, error %ld\n",
				    wg->dev->name, &endpoint->addr, PTR_ERR(dst));
		wgt_drop(wg, TX_NO_ROUTE, packets_of(skb));
		kfree_skb(skb);
		return PTR_ERR(dst);
	}
	skb->ignore_df = 1;
	wgt_tunnel_xmit6(dst, sk, skb, skb->dev, &fl.saddr, &fl.daddr, tos,
			 ip6_dst_hoplimit(dst), fl.fl6_sport, fl.fl6_dport);
	return 0;
}
#else
static int send6(struct wgt_device *wg, struct sk_buff *skb, struct wgt_endpoint *endpoint,
		 u8 tos, struct dst_cache *cache)
{
	kfree_skb(skb);
	return -EAFNOSUPPORT;
}
#endif

/* @endpoint is the caller's copy; where its source turned out wrong that is cleared in it. */
static int send_to(struct wgt_device *wg, struct sk_buff *skb, struct wgt_endpoint *endpoint,
		   u8 tos, struct dst_cache *cache)
{
	/* The tunnel helpers count what skb->dev sent, from the inner network header on. */
	skb->dev = wg->dev;
	skb->mark = READ_ONCE(wg->fwmark);
	skb_set_inner_network_header(skb, 0);

	switch (endpoint->addr.sa_family) {
	case AF_INET:
		return send4(wg, skb, endpoint, tos, cache);
	case AF_INET6:
		return send6(wg, skb, endpoint, tos, cache);
	default:
		wgt_drop(wg, TX_NO_ENDPOINT, packets_of(skb));
		kfree_skb(skb);
		return -EDESTADDRREQ;
	}
}

/* The peer's endpoint loses the source that the copy lost, unless it moved in the meantime. */
static void write_back_source(struct wgt_peer *peer, const struct wgt_endpoint *before)
{
	write_seqlock_bh(&peer->endpoint_lock);
	if (!memcmp(&peer->endpoint, before, sizeof(*before)))
		memset(&peer->endpoint.src6, 0, sizeof(peer->endpoint.src6));
	write_sequnlock_bh(&peer->endpoint_lock);
}

/*
 * The tunnel helpers count a superpacket as one packet, sent or dropped: the
 * others of it went the same way.
 */
static void count_others(struct net_device *dev, unsigned int others, u64 sent_before)
{
	struct pcpu_sw_netstats *own = this_cpu_ptr(dev->tstats);

	if (u64_stats_read(&own->tx_packets) == sent_before) {
		DEV_STATS_ADD(dev, tx_dropped, others);
		return;
	}
	u64_stats_update_begin(&own->syncp);
	u64_stats_add(&own->tx_packets, others);
	u64_stats_update_end(&own->syncp);
}

int wgt_socket_send(struct wgt_peer *peer, struct sk_buff *skb, u8 tos)
{
	unsigned int packets = packets_of(skb), len = skb->len, slot;
	struct net_device *dev = peer->wg->dev;
	struct wgt_endpoint endpoint, before;
	struct sock *sk;
	u64 sent_before;
	int ret;

	rcu_read_lock_bh();
	sk = wgt_trunk_save_slot(peer->wg, skb, &slot);
	wgt_peer_get_endpoint(peer, &endpoint);
	before = endpoint;
	sent_before = u64_stats_read(&this_cpu_ptr(dev->tstats)->tx_packets);
	ret = send_to(peer->wg, skb, &endpoint, tos, &peer->route_cache);
	if (packets > 1 && likely(!ret))
		count_others(dev, packets - 1, sent_before);
	if (sk)
		wgt_trunk_restore_slot(sk, slot);
	rcu_read_unlock_bh();

	if (unlikely(memcmp(&endpoint.src6, &before.src6, sizeof(before.src6))))
		write_back_source(peer, &before);
	if (likely(!ret))
		atomic64_add(len, &peer->tx_bytes);
	else
		DEV_STATS_ADD(dev, tx_errors, packets);
	return ret;
}

static struct sk_buff *skb_of_buffer(const void *buffer, size_t len)
{
	struct sk_buff *skb = alloc_skb(OUTER_HEADROOM + len, GFP_KERNEL);

	if (!skb)
		return NULL;
	skb_reserve(skb, OUTER_HEADROOM);
	skb_put_data(skb, buffer, len);
	return skb;
}

int wgt_socket_send_buffer(struct wgt_peer *peer, const void *buffer, size_t len, u8 tos)
{
	struct sk_buff *skb = skb_of_buffer(buffer, len);

	int ret;

	if (!skb)
		return -ENOMEM;
	wgt_tx_enter();
	ret = wgt_socket_send(peer, skb, tos);
	wgt_tx_leave();
	return ret;
}

int wgt_socket_reply_buffer(struct wgt_device *wg, struct sk_buff *to, const void *buffer,
			    size_t len)
{
	struct wgt_endpoint endpoint;
	struct sk_buff *skb;
	int ret;

	ret = wgt_endpoint_from_skb(&endpoint, to);
	if (ret)
		return ret;
	skb = skb_of_buffer(buffer, len);
	if (!skb)
		return -ENOMEM;
	wgt_tx_enter();
	rcu_read_lock_bh();
	ret = send_to(wg, skb, &endpoint, 0, NULL);
	rcu_read_unlock_bh();
	wgt_tx_leave();
	return ret;
}

/*
 * An aggregate's headers are looked at once, on its whole way to the socket;
 * there UDP cuts it, and calls our hook for each piece in a row. convert_csum
 * would have it sum up every byte then.
 */
static void set_aggregate(struct wgt_device *wg, struct sock *sk)
{
	wgt_udp_set_gro(sk, wgt_switched_on(wg, WGT_AGGREGATES_IN));
}

void wgt_socket_aggregate(struct wgt_device *wg)
{
	struct sock *sk4, *sk6;

	mutex_lock(&wg->socket_update);
	sk4 = rcu_dereference_protected(wg->sock4, lockdep_is_held(&wg->socket_update));
	sk6 = rcu_dereference_protected(wg->sock6, lockdep_is_held(&wg->socket_update));
	if (sk4)
		set_aggregate(wg, sk4);
	if (sk6)
		set_aggregate(wg, sk6);
	mutex_unlock(&wg->socket_update);
}

static struct sock *open_one(struct wgt_device *wg, struct net *net, struct udp_port_cfg *port,
			     int *ret)
{
	struct udp_tunnel_sock_cfg cfg = {
		.sk_user_data = wg,
		.encap_type = 1,
		.encap_rcv = wgt_receive,
	};
	struct socket *sock;

	*ret = udp_sock_create(net, port, &sock);
	if (*ret < 0)
		return NULL;
	/* Sending happens in softirq, and never waits for buffer space. */
	sock->sk->sk_allocation = GFP_ATOMIC;
	sock->sk->sk_sndbuf = INT_MAX;
	sk_set_memalloc(sock->sk);
	wgt_tunnel_sock_setup(net, sock, &cfg);
	inet_dec_convert_csum(sock->sk);
	set_aggregate(wg, sock->sk);
	return sock->sk;
}

static void close_one(struct sock *sk)
{
	if (!sk)
		return;
	sk_clear_memalloc(sk);
	wgt_tunnel_sock_release(sk);
}

/* Both families on one port: where it was ours to choose, until one is free for both. */
static int open_pair(struct wgt_device *wg, struct net *net, u16 port, struct sock *sk[2])
{
	struct udp_port_cfg cfg4 = {
		.family = AF_INET,
		.local_ip.s_addr = htonl(INADDR_ANY),
		.local_udp_port = htons(port),
		.use_udp_checksums = true,
	};
	struct udp_port_cfg cfg6 = {
		.family = AF_INET6,
		.local_ip6 = IN6ADDR_ANY_INIT,
		.use_udp6_tx_checksums = true,
		.use_udp6_rx_checksums = true,
		.ipv6_v6only = true,
	};
	int attempts = PORT_ATTEMPTS;
	int ret;

	do {
		sk[1] = NULL;
		sk[0] = open_one(wg, net, &cfg4, &ret);
		if (!sk[0])
			break;
		if (!IS_ENABLED(CONFIG_IPV6) || !ipv6_mod_enabled())
			return 0;
		cfg6.local_udp_port = inet_sk(sk[0])->inet_sport;
		sk[1] = open_one(wg, net, &cfg6, &ret);
		if (sk[1])
			return 0;
		close_one(sk[0]);
	} while (ret == -EADDRINUSE && !port && attempts--);

	pr_err("%s: Could not open UDP port %u: error %d\n", wg->dev->name, port, ret);
	return ret;
}

/* Swap in new sockets, or none, and close the old ones after their last reader. */
static void replace_sockets(struct wgt_device *wg, struct sock *sk4, struct sock *sk6)
{
	struct sock *old4, *old6;

	mutex_lock(&wg->socket_update);
	old4 = rcu_replace_pointer(wg->sock4, sk4, lockdep_is_held(&wg->socket_update));
	old6 = rcu_replace_pointer(wg->sock6, sk6, lockdep_is_held(&wg->socket_update));
	if (sk4)
		wg->port = ntohs(inet_sk(sk4)->inet_sport);
	mutex_unlock(&wg->socket_update);

	if (!old4 && !old6)
		return;
	/* After the grace period no receiver is left, nor does a new one find the device. */
	if (old4)
		rcu_assign_sk_user_data(old4, NULL);
	if (old6)
		rcu_assign_sk_user_data(old6, NULL);
	synchronize_net();
	close_one(old4);
	close_one(old6);
}

int wgt_socket_open(struct wgt_device *wg, u16 port)
{
	struct sock *sk[2];
	struct net *net;
	int ret;

	rcu_read_lock();
	net = rcu_dereference(wg->creating_net);
	net = net ? maybe_get_net(net) : NULL;
	rcu_read_unlock();
	if (!net)
		return -ENONET;

	ret = open_pair(wg, net, port, sk);
	if (!ret)
		replace_sockets(wg, sk[0], sk[1]);
	put_net(net);
	return ret;
}

void wgt_socket_close(struct wgt_device *wg)
{
	replace_sockets(wg, NULL, NULL);
}
