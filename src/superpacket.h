/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Superpackets: one outer packet that carries many messages, each a UDP
 * datagram on the wire, equally long but for the last. The kernel cuts it
 * (SKB_GSO_UDP_L4) where the device does not. See docs/superpackets.md.
 */
#ifndef WGT_SUPERPACKET_H
#define WGT_SUPERPACKET_H

#include <linux/skbuff.h>

struct wgt_keypair;

/* More is refused by some devices and hypervisors. */
#define WGT_SUPER_SEGMENTS	64

/**
 * wgt_super_plain() - take out of a GSO packet what is for none of its segments
 * @skb: GSO packet, skb->data and network header at its first byte, not shared
 *
 * Older kernels give an IPv6 packet of more than 64 KiB a jumbo option.
 *
 * Context: any.
 * Return: false where memory is short; nothing was done then.
 */
bool wgt_super_plain(struct sk_buff *skb);

/**
 * wgt_super_segments() - of how many packets a GSO packet is, for wgt_super_seal_gso()
 * @skb: GSO packet, skb->data and network header at its first byte, not shared,
 *	 without a jumbo option; its headers are linear afterwards
 * @mtu: what padding must not exceed
 *
 * Context: any.
 * Return: their number, 2 at least; or 0 where the kernel has to segment it
 * first: a tunnel's, or one with offloads that came later.
 */
unsigned int wgt_super_segments(struct sk_buff *skb, unsigned int mtu);

/**
 * wgt_super_seal_gso() - superpackets of a GSO packet
 * @skb: that wgt_super_segments() was asked of; consumed unless this fails
 * @pair: key pair, under the RCU read lock
 * @counter: the first of as many nonces as it has segments
 * @out: they are appended here, WGT_HEADROOM in front of each; for each
 *	 wgt_cb() has the outer tos. The last has the owner of @skb.
 *
 * Segments are what skb_gso_segment() would make of it, byte for byte.
 *
 * Context: any, but hardirq.
 * Return: 0, or -ENOMEM with nothing taken and nothing appended.
 */
int wgt_super_seal_gso(struct sk_buff *skb, struct wgt_keypair *pair, u64 counter,
		       struct sk_buff_head *out);

/**
 * wgt_super_seal_list() - one superpacket of the first few packets of a list
 * @list: plain packets that are not GSO, wgt_cb() filled in; those that went in
 *	  are taken off and consumed
 * @pair: key pair, under the RCU read lock
 * @counter: the first nonce; one is used for each packet taken off
 *
 * Context: any, but hardirq.
 * Return: the superpacket, as above, with the owner of its last packet; or NULL,
 * where the first two have not the lengths for one, or memory is short.
 */
struct sk_buff *wgt_super_seal_list(struct sk_buff_head *list, struct wgt_keypair *pair,
				    u64 counter);

/**
 * wgt_super_split() - let the kernel segment a GSO packet
 * @batch: it alone, wgt_cb() filled in; afterwards its segments, with the same
 *
 * Context: any.
 * Return: false where that failed; what is in @batch then is good for nothing
 * but to be counted and freed.
 */
bool wgt_super_split(struct sk_buff_head *batch);

#endif /* WGT_SUPERPACKET_H */
