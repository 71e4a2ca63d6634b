/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* The UDP sockets of a device, and sending through them. */
#ifndef WGT_SOCKET_H
#define WGT_SOCKET_H

#include <linux/net.h>
#include <linux/skbuff.h>

struct net;
struct wgt_device;
struct wgt_endpoint;
struct wgt_peer;

/**
 * wgt_socket_open() - open the sockets of a device and start receiving
 * @wg: device; RTNL and its config mutex are held or it is coming up under RTNL
 * @port: to listen on, 0 for a free one, then stored in @wg->port
 *
 * Sockets that were open are replaced, and closed once their last reader is
 * gone. On error they stay as they were.
 *
 * Context: process, may sleep.
 * Return: 0, -ENONET where the namespace of the device's birth is gone, or what
 * binding failed with.
 */
int wgt_socket_open(struct wgt_device *wg, u16 port);

/* wgt_socket_close() - close them, wait for readers. Process context, may sleep. */
void wgt_socket_close(struct wgt_device *wg);

/* wgt_socket_aggregate() - the switch for aggregates was set; the device's config mutex is held. */
void wgt_socket_aggregate(struct wgt_device *wg);

/**
 * wgt_socket_send() - route one finished message to a peer's endpoint, and send it
 * @peer: to whom
 * @skb: message or superpacket, skb->data at its first byte, headroom for all
 *	 outer headers; consumed in every case
 * @tos: of the outer header
 *
 * Holds no lock and no per-CPU state while it sends.
 *
 * Context: any with BH disabled, or process.
 * Return: 0 or an error, counted; counts the peer's sent bytes where it worked.
 */
int wgt_socket_send(struct wgt_peer *peer, struct sk_buff *skb, u8 tos);

/**
 * wgt_socket_send_buffer() - same, of bytes in a buffer
 * @peer: to whom
 * @buffer: message, copied
 * @len: of it
 * @tos: of the outer header
 *
 * Context: process.
 * Return: 0 or an error.
 */
int wgt_socket_send_buffer(struct wgt_peer *peer, const void *buffer, size_t len, u8 tos);

/* wgt_socket_reply_buffer() - same, to where @to came from; @to stays the caller's. */
int wgt_socket_reply_buffer(struct wgt_device *wg, struct sk_buff *to, const void *buffer,
			    size_t len);

/**
 * wgt_endpoint_from_skb() - where a packet came from, and which address of ours it reached
 * @endpoint: filled in, all of it
 * @skb: network and transport headers set
 *
 * Context: any.
 * Return: 0 or -EINVAL for something that is neither IPv4 nor IPv6.
 */
int wgt_endpoint_from_skb(struct wgt_endpoint *endpoint, const struct sk_buff *skb);

/* wgt_dbg_skb() - rate-limited debug message whose last argument, a %pISpfsc, is where @skb came from. */
#define wgt_dbg_skb(fmt, wg, skb)							\
	do {										\
		struct wgt_endpoint from_;						\
											\
		wgt_endpoint_from_skb(&from_, skb);					\
		net_dbg_ratelimited("%s: " fmt, (wg)->dev->name, &from_.addr);		\
	} while (0)

#endif /* WGT_SOCKET_H */
