/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* Between the files of the inline pipeline: inline.c, inbound.c, outbound.c, handover.c. */
#ifndef WGT_INLINE_H
#define WGT_INLINE_H

#include <linux/irq_work.h>
#include <linux/llist.h>
#include <linux/netdevice.h>
#include <linux/percpu.h>
#include <linux/smp.h>

struct wgt_device;
struct wgt_peer;

/**
 * struct wgt_cpu - what the pipeline has per CPU
 * @napi: holds packets for inner GRO, from the first one delivered until its
 *	poll, which is in the same round of the receive softirq. It belongs to a
 *	device without a name, not to the tunnels: so nobody makes it threaded,
 *	and it is only touched by this CPU, with BH disabled.
 * @pieces: datagrams of one aggregate, until the last one comes, or the poll
 * @pieces_wg: whose they are
 * @gro_open: @napi is scheduled by us, so that its GRO lists are ours
 * @flushes: how often they were closed
 * @rx_busy: a batch is being delivered or flushed: what arrives meanwhile was
 *	inside of it and must not nest any deeper
 * @polling: inside of the poll, which ends GRO itself
 * @tx_depth: how many transmissions are on this stack
 * @tx_level: how many tunnels what it sends was in before, on another one
 * @later: packets that were too deep, to be sent by the poll
 * @backlog: batches taken out of @inbox, oldest first; the poll's
 * @inbox: batches that other CPUs handed over, newest first; the one that finds
 *	it empty kicks
 * @kicking: @kick is under way
 * @kick: the interrupt that schedules @napi for @inbox
 * @rouse: does so with PREEMPT_RT, where who takes kicks must not raise softirqs
 */
struct wgt_cpu {
	struct napi_struct napi;
	struct sk_buff_head pieces;
	struct wgt_device *pieces_wg;
	bool gro_open;
	unsigned int flushes;
	bool rx_busy;
	bool polling;
	unsigned int tx_depth;
	unsigned int tx_level;
	struct sk_buff_head later;
	struct llist_node *backlog;

	struct llist_head inbox ____cacheline_aligned_in_smp;
	int kicking;
	call_single_data_t kick;
	struct irq_work rouse;
};

extern struct wgt_cpu __percpu *wgt_cpus;

/* wgt_this_cpu() - BH disabled. */
static inline struct wgt_cpu *wgt_this_cpu(void)
{
	return this_cpu_ptr(wgt_cpus);
}

/*
 * wgt_gro_open() - make the GRO lists of this CPU ours; a poll follows that ends
 * it. BH disabled. Returns false where somebody else has them.
 */
bool wgt_gro_open(struct wgt_cpu *self);

/*
 * wgt_gro_close() - hand on what is in the GRO lists of @cpu, which
 * wgt_gro_open() made ours, or its poll. Where there is other work for the poll
 * that is scheduled again. BH disabled.
 */
void wgt_gro_close(struct wgt_cpu *cpu);

/*
 * wgt_inline_flush() - what was in GRO lists when this was called has gone to the
 * stack when it returns. Process context, may sleep.
 */
void wgt_inline_flush(void);

/* wgt_inbound() - see receive in struct wgt_pipeline. */
void wgt_inbound(struct wgt_device *wg, struct sk_buff *skb, bool more);

/**
 * wgt_inbound_batch() - decrypt and deliver messages, on this CPU
 * @self: this CPU's
 * @wg: device
 * @batch: messages under the same receiver index and from the same source, not
 *	   empty; taken
 *
 * Context: BH disabled, RCU read lock held.
 */
void wgt_inbound_batch(struct wgt_cpu *self, struct wgt_device *wg, struct sk_buff_head *batch);

/* wgt_inbound_pieces() - work on the pieces that @owner collected, which is this CPU or one that died. As above. */
void wgt_inbound_pieces(struct wgt_cpu *self, struct wgt_cpu *owner);

/* See struct wgt_pipeline. */
void wgt_outbound(struct wgt_peer *peer, struct sk_buff_head *batch);
void wgt_outbound_drain(struct wgt_peer *peer);
void wgt_outbound_purge(struct wgt_peer *peer);

/**
 * wgt_outbound_later() - send what was too deep where it came up, a bounded number
 * @self: this CPU's
 * @owner: whose it is, this CPU or one that died
 *
 * Context: poll of @owner's NAPI, RCU read lock held. The packets' devices may be
 * gone afterwards.
 */
void wgt_outbound_later(struct wgt_cpu *self, struct wgt_cpu *owner);

/**
 * struct wgt_settle - batches that were worked on, and not yet settled
 * @count: of the others
 * @wg: devices
 * @amount: of each
 */
struct wgt_settle {
	unsigned int count;
	struct wgt_device *wg[4];
	int amount[4];
};

/**
 * wgt_hand_over() - to the device's home CPU, if it has one and this is not it
 * @self: this CPU's
 * @wg: device
 * @batch: not empty; what it holds may outlive the RCU read-side section then
 *
 * Context: BH disabled, RCU read lock held.
 * Return: true where the batch was taken, or dropped and counted; false where
 * it is for this CPU.
 */
bool wgt_hand_over(struct wgt_cpu *self, struct wgt_device *wg, struct sk_buff_head *batch);

/**
 * wgt_inbox_work() - work on batches that were handed over, a bounded number
 * @self: this CPU's
 * @owner: to whom they were
 * @settle: filled in; give it to wgt_inbox_settle() once nothing is in GRO lists
 *
 * Context: poll of @owner's NAPI, RCU read lock held.
 */
void wgt_inbox_work(struct wgt_cpu *self, struct wgt_cpu *owner, struct wgt_settle *settle);

/* wgt_inbox_settle() - those batches are under way no more; their devices may be gone afterwards. */
void wgt_inbox_settle(const struct wgt_settle *settle);

/* wgt_inbox_init() - of a possible CPU. */
void wgt_inbox_init(struct wgt_cpu *cpu);

/* wgt_inbox_exit() - same; kicks have come, and none follows. Process context. */
void wgt_inbox_exit(struct wgt_cpu *cpu);

/*
 * wgt_inbox_take_over() - work here on what waits for @cpu, which is offline. With
 * PREEMPT_RT it may have gone while another CPU was about to kick it. BH disabled.
 */
void wgt_inbox_take_over(struct wgt_cpu *cpu);

#endif /* WGT_INLINE_H */
