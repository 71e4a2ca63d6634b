/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */
/*
 * Sealing and opening transport messages, ChaCha20-Poly1305 of RFC 8439 with
 * the counter as nonce (section 5.4.6 of the paper). Where a packet's bytes are
 * ours alone and in one piece this happens in place; else into fresh memory, so
 * that there is one copy at most, and never one before the other.
 */
#ifndef WGT_SEAL_H
#define WGT_SEAL_H

#include <linux/skbuff.h>

#include "messages.h"

struct napi_struct;
struct net_device;
struct wgt_keypair;

/* In front of a message: link layer, outer IPv6 and UDP headers, with some to spare. */
#define WGT_HEADROOM	ALIGN(LL_MAX_HEADER + sizeof(struct ipv6hdr) + sizeof(struct udphdr), 16)

/**
 * wgt_seal() - make a transport message of a plain packet
 * @skb: the packet, skb->data at its first byte, or empty for a keepalive;
 *	 wgt_cb() filled in; consumed
 * @pair: key pair, under the RCU read lock
 * @counter: nonce, used for this packet only
 *
 * The owner (skb->sk) stays with the bytes, so that TCP small queues and socket
 * buffers see when they are really sent.
 *
 * Context: any, but hardirq.
 * Return: the message, with WGT_HEADROOM in front and its flow hash kept, or
 * NULL where memory is short.
 */
struct sk_buff *wgt_seal(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter);

/* wgt_message_length() - bytes of the message that @len plain bytes become; padding does not exceed @mtu. */
unsigned int wgt_message_length(unsigned int len, unsigned int mtu);

/**
 * wgt_seal_flat() - seal a plain packet where it lies
 * @message: room for the message; the packet lies behind the room for its header
 * @len: of the packet
 * @size: of the message, wgt_message_length()
 * @pair: key pair, under the RCU read lock
 * @counter: nonce, used for this packet only
 *
 * Context: any, but hardirq.
 */
void wgt_seal_flat(u8 *message, unsigned int len, unsigned int size, struct wgt_keypair *pair,
		   u64 counter);

/* wgt_flatten() - copy all of @skb, which is not GSO, to @to in one piece, its checksum finished. */
void wgt_flatten(struct sk_buff *skb, u8 *to);

/**
 * wgt_move_owner() - what @from was charged for is now under way as @to
 * @to: new, without an owner
 * @from: about to be freed
 *
 * Nothing is moved where the owner's kind does not allow it. The difference of
 * their sizes is charged, too.
 */
void wgt_move_owner(struct sk_buff *to, struct sk_buff *from);

/**
 * wgt_open() - the plain packet of a transport message
 * @skb: message, skb->data at its first byte, at least WGT_DATA_OVERHEAD long,
 *	 with the header linear; consumed
 * @pair: key pair, under the RCU read lock
 * @counter: of the message
 * @dev: that the packet will appear on
 * @napi: that it will be given to
 *
 * Context: softirq or BH disabled.
 * Return: the packet without anything left of the outer one, skb->data and
 * network header at its first byte; -EBADMSG where the tag is wrong; -ENOMEM.
 */
struct sk_buff *wgt_open(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter,
			 struct net_device *dev, struct napi_struct *napi);

#endif /* WGT_SEAL_H */
