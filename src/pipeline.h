/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The data path behind a narrow interface. The unit is the batch: a list of
 * packets that belong together, all that one aggregate brought or all segments
 * of one GSO packet.
 *
 * There is one pipeline, the inline one: everything happens in the call, on the
 * CPU it is made on. See docs/datapath.md.
 */
#ifndef WGT_PIPELINE_H
#define WGT_PIPELINE_H

#include <linux/skbuff.h>

struct wgt_device;
struct wgt_peer;

/**
 * struct wgt_pipeline - one way to work on packets
 * @name: for people
 * @receive: decrypt and deliver a transport message. skb->data is at the
 *	message, whose header is linear; outer headers are still set; consumed.
 *	With @more the next piece of the same aggregate follows at once: it may be
 *	kept for a batch until the last one, or, if that does not come, until the
 *	end of the softirq. Softirq or BH disabled, RCU read lock held.
 * @transmit: encrypt and send a batch of plain packets to a peer, or stage them
 *	and see to a handshake. All are single ones, or there is one GSO packet. The list is empty afterwards, its packets
 *	consumed. BH disabled, RCU read lock held.
 * @drain: send what is staged, if there is a key. Any context but hardirq, RCU
 *	read lock held.
 * @purge: drop what is staged. Any context but hardirq.
 * @quiesce: on return no packet that @receive took for the device is on its way
 *	to the stack any more. Its sockets are closed. Process context, may sleep.
 */
struct wgt_pipeline {
	const char *name;
	void (*receive)(struct wgt_device *wg, struct sk_buff *skb, bool more);
	void (*transmit)(struct wgt_peer *peer, struct sk_buff_head *batch);
	void (*drain)(struct wgt_peer *peer);
	void (*purge)(struct wgt_peer *peer);
	void (*quiesce)(struct wgt_device *wg);
};

extern const struct wgt_pipeline wgt_pipeline_inline;

/**
 * struct wgt_cb - what the pipeline notes in skb->cb
 * @wg: first of a batch handed over: its device
 * @peer: to be sent later: to whom, a reference
 * @amount: both: bytes of memory of all
 * @mtu: plain packets: what padding must not exceed
 * @segments: plain packets: how many it is, more than one for a GSO packet
 * @tos: plain packets: of the outer header; received ones: that it had
 * @counter: received ones: nonce
 * @level: to be sent later: how many tunnels it is in
 */
struct wgt_cb {
	union {
		struct wgt_device *wg;
		struct wgt_peer *peer;
	};
	int amount;
	unsigned int mtu;
	unsigned int segments;
	u64 counter;
	u8 tos;
	u8 level;
};

static inline struct wgt_cb *wgt_cb(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct wgt_cb) > sizeof(skb->cb));
	return (struct wgt_cb *)skb->cb;
}

/**
 * wgt_receive() - encap_rcv hook of the sockets: sort messages, start batches
 * @sk: socket
 * @skb: UDP datagram, skb->data at the UDP header; consumed
 *
 * Context: softirq or BH disabled, RCU read lock held.
 * Return: 0: the packet is taken in every case.
 */
int wgt_receive(struct sock *sk, struct sk_buff *skb);

/* wgt_send_keepalive() - an empty packet, through the peer's pipeline. Any context but hardirq. */
void wgt_send_keepalive(struct wgt_peer *peer);

/*
 * wgt_tx_enter(), wgt_tx_leave() - around a send that does not come through a
 * pipeline, a handshake's: it counts as one level of tunnels in one another.
 * BH is off in between.
 */
void wgt_tx_enter(void);
void wgt_tx_leave(void);

/* wgt_inline_module_init(), _exit() - the per-CPU parts of the inline pipeline. */
int wgt_inline_module_init(void);
void wgt_inline_module_exit(void);

#endif /* WGT_PIPELINE_H */
