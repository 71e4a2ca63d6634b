// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/* The inline pipeline, outwards: stage while there is no key, encrypt, send. */
#include <linux/netdevice.h>
#include <linux/sched/clock.h>

#include "device.h"
#include "handshake.h"
#include "inline.h"
#include "keypair.h"
#include "peer.h"
#include "pipeline.h"
#include "seal.h"
#include "socket.h"
#include "superpacket.h"
#include "trace.h"

/*
 * Tunnels in tunnels, sending: each level is a good kilobyte of stack. Later
 * kernels have a limit of just this for all tunnels, and complain about it.
 * What is in more of them goes on from the poll, on a stack of its own.
 */
#define TX_DEPTH_MAX	3

/* In so many nobody puts packets but by mistake, in a circle: there it ends. */
#define TX_LEVELS_MAX	(6 * TX_DEPTH_MAX)

/* So many bytes of memory may wait for the poll, of a device, and so many packets are sent in one. */
#define LATER_MAX	(8 << 20)
#define LATER_BATCH	64

/* More than this is not kept of a packet's head that the packet does not fill. */
#define HEAD_WASTE_MAX	SZ_16K

/*
 * How long senders wait, spinning, for another CPU to send what was staged
 * before their packets: WGT_MAX_STAGED of them take a fraction of this. It is
 * counted from when the draining began, so many packets wait no longer than one.
 */
#define DRAIN_WAIT_NS	(NSEC_PER_MSEC)

/* So many staged packets are taken off the queue at a time. */
#define DRAIN_BATCH	16

static unsigned int count_segments(struct sk_buff_head *batch)
{
	struct sk_buff *skb;
	unsigned int n = 0;

	skb_queue_walk(batch, skb)
		n += wgt_cb(skb)->segments;
	return n;
}

static void drop_list(struct wgt_device *wg, struct sk_buff_head *list, enum wg_lane_counter why)
{
	unsigned int n = count_segments(list);
	struct sk_buff *skb;

	if (!n)
		return;
	while ((skb = __skb_dequeue(list)))
		kfree_skb(skb);
	wgt_drop_for(wg, why, n);
	DEV_STATS_ADD(wg->dev, tx_dropped, n);
}

/* The key to send @count messages with, their first nonce in @nonce; or NULL. */
static struct wgt_keypair *sending_pair(struct wgt_peer *peer, unsigned int count, u64 *nonce)
{
	struct wgt_keypair *pair = rcu_dereference(peer->keypairs.current_pair);

	if (unlikely(!pair || !READ_ONCE(pair->send_valid)))
		return NULL;
	if (unlikely(wgt_keypair_age_over(pair, WGT_REJECT_AFTER_TIME)))
		goto expired;
	*nonce = atomic64_fetch_add(count, &pair->sent);
	if (unlikely(*nonce >= WGT_REJECT_AFTER_MESSAGES ||
		     count > WGT_REJECT_AFTER_MESSAGES - *nonce))
		goto expired;
	return pair;
expired:
	WRITE_ONCE(pair->send_valid, false);
	return NULL;
}

static bool have_key(struct wgt_peer *peer)
{
	struct wgt_keypair *pair = rcu_dereference(peer->keypairs.current_pair);

	return pair && READ_ONCE(pair->send_valid);
}

static bool wants_refresh(const struct wgt_keypair *pair, u64 nonce)
{
	return nonce > WGT_REKEY_AFTER_MESSAGES ||
	       (pair->initiator && wgt_keypair_age_over(pair, WGT_REKEY_AFTER_TIME));
}


/* Sends one message or superpacket; whether that worked. */
static bool send_sealed(struct wgt_peer *peer, struct sk_buff *skb)
{
	unsigned int segments = skb_shinfo(skb)->gso_segs;
	unsigned int len = skb->len;
	int ret;

	if (segments > 1) {
		wgt_count(peer->wg, TX_SUPERPACKETS, 1);
		wgt_count(peer->wg, TX_SUPERPACKET_SEGMENTS, segments);
	}
	trace_wgt_encrypted(peer->wg->dev, segments ?: 1, len);
	ret = wgt_socket_send(peer, skb, wgt_cb(skb)->tos);
	if (likely(!ret))
		trace_wgt_sent(peer->wg->dev, segments ?: 1, len);
	return !ret;
}

/* A GSO packet, whole; or, where memory for that is short, its segments in @batch. */
static bool send_gso(struct wgt_peer *peer, struct sk_buff_head *batch,
		     struct wgt_keypair *pair, u64 nonce)
{
	struct sk_buff *skb = __skb_dequeue(batch);
	unsigned int count = wgt_cb(skb)->segments;
	struct sk_buff_head out;
	bool sent = false;

	__skb_queue_head_init(&out);
	if (likely(!wgt_super_seal_gso(skb, pair, nonce, &out))) {
		while ((skb = __skb_dequeue(&out)))
			sent |= send_sealed(peer, skb);
		return sent;
	}
	__skb_queue_tail(batch, skb);
	/* More of them than nonces were taken must not be. */
	if (!wgt_super_split(batch) || skb_queue_len(batch) != count)
		drop_list(peer->wg, batch, WG_LANE_C_TX_NO_MEMORY);
	return false;
}

/* All packets of the batch, as few superpackets as they allow, or one by one. */
static bool send_list(struct wgt_peer *peer, struct sk_buff_head *batch,
		      struct wgt_keypair *pair, u64 nonce)
{
	bool whole = wgt_switched_on(peer->wg, WGT_SUPERPACKETS_OUT);
	unsigned int before;
	struct sk_buff *skb;
	bool sent = false;
	u8 tos;

	while ((before = skb_queue_len(batch))) {
		skb = NULL;
		if (whole && before > 1)
			skb = wgt_super_seal_list(batch, pair, nonce);
		if (!skb) {
			skb = __skb_dequeue(batch);
			tos = wgt_cb(skb)->tos;
			skb = wgt_seal(skb, pair, nonce);
			if (likely(skb))
				wgt_cb(skb)->tos = tos;
		}
		nonce += before - skb_queue_len(batch);
		if (likely(skb)) {
			sent |= send_sealed(peer, skb);
		} else {
			wgt_drop(peer->wg, TX_NO_MEMORY, 1);
			DEV_STATS_INC(peer->wg->dev, tx_dropped);
		}
	}
	return sent;
}

/* Encrypts and sends; false, with the batch as it was, where there is no key for it. */
static bool send_now(struct wgt_peer *peer, struct sk_buff_head *batch)
{
	unsigned int count = count_segments(batch), keepalives = 0;
	struct wgt_keypair *pair;
	struct sk_buff *skb;
	bool sent = false;
	u64 nonce;

	pair = sending_pair(peer, count, &nonce);
	if (unlikely(!pair))
		return false;

	skb_queue_walk(batch, skb)
		keepalives += !skb->len;
	if (keepalives)
		wgt_count(peer->wg, TX_KEEPALIVE, keepalives);
	if (skb_is_gso(skb_peek(batch)))
		sent = send_gso(peer, batch, pair, nonce);
	sent |= send_list(peer, batch, pair, nonce);
	if (likely(sent)) {
		wgt_timers_any_traversal(peer);
		wgt_timers_any_sent(peer);
		if (count > keepalives)
			wgt_timers_data_sent(peer);
	}
	if (unlikely(wants_refresh(pair, nonce + count)))
		wgt_handshake_initiate(peer, false);
	return true;
}

/*
 * While a packet waits for a peer that may never answer, its socket must not be
 * charged for it: that may have other peers. TCP's has not, and keeps its own:
 * so TCP does not send again what has not left yet, and its small queues do not
 * let it push out what waits already.
 */
static void disown(struct sk_buff *skb)
{
	if (skb->sk && (!sk_fullsock(skb->sk) || !sk_is_tcp(skb->sk)))
		skb_orphan(skb);
}

/*
 * The batch queues behind what is staged. The oldest packets make room: of a
 * flow, the newest tell the peer more.
 */
static void stage(struct wgt_peer *peer, struct sk_buff_head *batch)
{
	struct sk_buff_head excess;
	struct sk_buff *skb;
	unsigned int count;

	if (skb_is_gso(skb_peek(batch)) && !wgt_super_split(batch)) {
		drop_list(peer->wg, batch, WG_LANE_C_TX_GSO);
		return;
	}
	skb_queue_walk(batch, skb)
		disown(skb);
	count = skb_queue_len(batch);
	__skb_queue_head_init(&excess);
	spin_lock_bh(&peer->stage.lock);
	skb_queue_splice_tail_init(batch, &peer->stage.queue);
	while (skb_queue_len(&peer->stage.queue) > WGT_MAX_STAGED)
		__skb_queue_tail(&excess, __skb_dequeue(&peer->stage.queue));
	WRITE_ONCE(peer->stage.active, true);
	spin_unlock_bh(&peer->stage.lock);

	wgt_count(peer->wg, TX_STAGED, count);
	drop_list(peer->wg, &excess, WG_LANE_C_TX_STAGE_FULL);
}

void wgt_outbound_purge(struct wgt_peer *peer)
{
	struct sk_buff_head all;

	__skb_queue_head_init(&all);
	spin_lock_bh(&peer->stage.lock);
	skb_queue_splice_init(&peer->stage.queue, &all);
	/* Whoever drains ends that itself, when it finds the queue empty. */
	if (!peer->stage.draining)
		WRITE_ONCE(peer->stage.active, false);
	spin_unlock_bh(&peer->stage.lock);
	drop_list(peer->wg, &all, WG_LANE_C_TX_PURGED);
}

/*
 * Takes the next few staged packets; @begin: and becomes the one that drains,
 * where nobody does. Returns false where that is so, or there are none left.
 */
static bool take_staged(struct wgt_stage *stage, struct sk_buff_head *batch, bool begin)
{
	bool taken = false;

	spin_lock(&stage->lock);
	if (begin && (stage->draining || skb_queue_empty(&stage->queue)))
		goto out;
	while (skb_queue_len(batch) < DRAIN_BATCH && !skb_queue_empty(&stage->queue))
		__skb_queue_tail(batch, __skb_dequeue(&stage->queue));
	taken = !skb_queue_empty(batch);
	WRITE_ONCE(stage->draining, taken);
	WRITE_ONCE(stage->active, taken);
	if (begin) {
		WRITE_ONCE(stage->drain_cpu, smp_processor_id());
		WRITE_ONCE(stage->drain_end, local_clock() + DRAIN_WAIT_NS);
	}
out:
	spin_unlock(&stage->lock);
	return taken;
}

static void put_back(struct wgt_stage *stage, struct sk_buff_head *batch)
{
	spin_lock(&stage->lock);
	skb_queue_splice_init(batch, &stage->queue);
	WRITE_ONCE(stage->draining, false);
	spin_unlock(&stage->lock);
}

void wgt_outbound_drain(struct wgt_peer *peer)
{
	struct wgt_stage *stage = &peer->stage;
	struct sk_buff_head batch;
	bool begin = true, sent;

	/*
	 * Who staged something looks for a key after this, who brought a key for what is
	 * staged: one of them sees what the other did.
	 */
	smp_mb();
	if (!READ_ONCE(stage->active))
		return;
	__skb_queue_head_init(&batch);
	local_bh_disable();
	while (take_staged(stage, &batch, begin)) {
		wgt_this_cpu()->tx_depth++;
		sent = send_now(peer, &batch);
		wgt_this_cpu()->tx_depth--;
		begin = !sent;
		if (likely(sent))
			continue;
		put_back(stage, &batch);
		/* Who brought a key just now found us draining, and left it to us. */
		if (!have_key(peer)) {
			wgt_handshake_initiate(peer, false);
			break;
		}
	}
	local_bh_enable();
}

/*
 * Another CPU sends what was staged: in a moment this packet can go straight
 * out, too, still behind it. Were it to queue instead, a fast sender could keep
 * the queue, and with it the other CPU, busy for ever. Whoever drains never
 * waits here, so nobody waits for one another. Returns whether to go ahead.
 */
static bool wait_for_drain(struct wgt_stage *stage, unsigned int depth)
{
	if (depth || READ_ONCE(stage->drain_cpu) == smp_processor_id())
		return false;
	while (READ_ONCE(stage->draining)) {
		if (local_clock() > READ_ONCE(stage->drain_end))
			return false;
		cpu_relax();
	}
	return !READ_ONCE(stage->active);
}

/* --- tunnels in tunnels --- */

static void drop_nested(struct wgt_peer *peer, struct sk_buff_head *batch)
{
	net_dbg_ratelimited("%s: Too many tunnels in one another, dropping packet\n",
			    peer->wg->dev->name);
	drop_list(peer->wg, batch, WG_LANE_C_TX_NESTED);
}

/*
 * Where a device wants more room in front, the kernel doubles what the packet's
 * head takes, which from tunnel to tunnel comes to megabytes. That ends circles
 * that come back by a wire; here something else does.
 */
static struct sk_buff *trim_head(struct sk_buff *skb)
{
	struct sk_buff *copy;

	if (skb_is_nonlinear(skb) || skb_end_offset(skb) - skb->len <= HEAD_WASTE_MAX)
		return skb;
	copy = skb_copy_expand(skb, WGT_HEADROOM + sizeof(struct wgt_msg_data),
			       WGT_PADDING + WGT_TAG_LEN, GFP_ATOMIC | __GFP_NOWARN);
	if (unlikely(!copy))
		return skb;
	wgt_move_owner(copy, skb);
	consume_skb(skb);
	return copy;
}

static void send_later(struct wgt_cpu *self, struct wgt_peer *peer, struct sk_buff_head *batch)
{
	unsigned int level = self->tx_level + self->tx_depth;
	struct wgt_device *wg = peer->wg;
	struct sk_buff *skb;

	if (level >= TX_LEVELS_MAX) {
		drop_nested(peer, batch);
		return;
	}
	while ((skb = __skb_dequeue(batch))) {
		skb = trim_head(skb);
		if (atomic_add_return(skb->truesize, &wg->later) > LATER_MAX ||
		    !wgt_peer_get_maybe(peer)) {
			atomic_sub(skb->truesize, &wg->later);
			__skb_queue_head(batch, skb);
			break;
		}
		wgt_cb(skb)->peer = peer;
		wgt_cb(skb)->amount = skb->truesize;
		wgt_cb(skb)->level = level;
		/* With its lock: another CPU has our NAPI for a while after we were offline. */
		skb_queue_tail(&self->later, skb);
	}
	if (!skb_queue_empty(batch))
		drop_nested(peer, batch);
	/* Where its NAPI is scheduled already, the poll finds them, too. */
	wgt_gro_open(self);
}

void wgt_outbound_later(struct wgt_cpu *self, struct wgt_cpu *owner)
{
	unsigned int left = LATER_BATCH;
	struct sk_buff_head batch;
	struct wgt_peer *peer;
	struct wgt_device *wg;
	struct sk_buff *skb;
	int amount;

	__skb_queue_head_init(&batch);
	while (left-- && (skb = skb_dequeue(&owner->later))) {
		peer = wgt_cb(skb)->peer;
		amount = wgt_cb(skb)->amount;
		wg = peer->wg;
		self->tx_level = wgt_cb(skb)->level;
		__skb_queue_tail(&batch, skb);
		if (likely(netif_running(wg->dev)))
			wgt_outbound(peer, &batch);
		else
			drop_list(wg, &batch, WG_LANE_C_TX_PURGED);
		wgt_peer_put(peer);
		atomic_sub(amount, &wg->later);
	}
	self->tx_level = 0;
}

void wgt_outbound(struct wgt_peer *peer, struct sk_buff_head *batch)
{
	struct wgt_cpu *self = wgt_this_cpu();
	struct wgt_stage *staged = &peer->stage;
	bool direct, done;

	if (unlikely(READ_ONCE(peer->dead))) {
		drop_list(peer->wg, batch, WG_LANE_C_TX_PURGED);
		return;
	}
	if (unlikely(self->tx_depth >= TX_DEPTH_MAX)) {
		send_later(self, peer, batch);
		return;
	}

	/* From inside of a drain to the same peer: a loop that would feed itself. */
	if (unlikely(self->tx_depth && READ_ONCE(staged->draining) &&
		     READ_ONCE(staged->drain_cpu) == smp_processor_id())) {
		drop_nested(peer, batch);
		return;
	}

	direct = likely(!READ_ONCE(staged->active)) || wait_for_drain(staged, self->tx_depth);
	if (direct) {
		self->tx_depth++;
		done = send_now(peer, batch);
		self->tx_depth--;
		if (likely(done))
			return;
	}
	stage(peer, batch);
	/* A key may have come in between: then nobody else would send this. */
	wgt_outbound_drain(peer);
}

void wgt_tx_enter(void)
{
	local_bh_disable();
	wgt_this_cpu()->tx_depth++;
}

void wgt_tx_leave(void)
{
	wgt_this_cpu()->tx_depth--;
	local_bh_enable();
}

void wgt_send_keepalive(struct wgt_peer *peer)
{
	struct sk_buff_head batch;
	struct sk_buff *skb;

	rcu_read_lock();
	/* Whatever comes of this one, the next is to be sent in its time. */
	wgt_timers_any_traversal(peer);
	if (READ_ONCE(peer->stage.active)) {
		peer->wg->pipeline->drain(peer);
		goto out;
	}
	skb = alloc_skb(WGT_HEADROOM + WGT_DATA_OVERHEAD, GFP_ATOMIC | __GFP_NOWARN);
	if (unlikely(!skb)) {
		wgt_drop(peer->wg, TX_NO_MEMORY, 1);
		DEV_STATS_INC(peer->wg->dev, tx_dropped);
		goto out;
	}
	skb_reserve(skb, WGT_HEADROOM + sizeof(struct wgt_msg_data));
	skb->dev = peer->wg->dev;
	wgt_cb(skb)->mtu = peer->wg->dev->mtu;
	wgt_cb(skb)->segments = 1;
	wgt_cb(skb)->tos = 0;
	__skb_queue_head_init(&batch);
	__skb_queue_tail(&batch, skb);
	local_bh_disable();
	peer->wg->pipeline->transmit(peer, &batch);
	local_bh_enable();
out:
	rcu_read_unlock();
}
