// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The inline pipeline. A packet's whole way runs in one go on the CPU that it
 * came to: UDP hook, look-up, decryption, replay and source checks, GRO, stack;
 * and ndo_start_xmit, nonce, encryption, UDP send. Nothing is queued between
 * CPUs, so nothing waits for a wake-up.
 */
#include <linux/cpuhotplug.h>
#include <linux/netdevice.h>
#include <linux/sched/clock.h>
#include <net/inet_ecn.h>
#include <net/ip.h>
#include <net/ip_tunnels.h>

#include "allowedips.h"
#include "device.h"
#include "handshake.h"
#include "index.h"
#include "keypair.h"
#include "peer.h"
#include "pipeline.h"
#include "seal.h"
#include "socket.h"

/*
 * Tunnels in tunnels, sending: each level is a good kilobyte of stack. Later
 * kernels have a limit of just this for all tunnels, and complain about it.
 */
#define TX_DEPTH_MAX	3

/*
 * How long senders wait, spinning, for another CPU to send what was staged
 * before their packets: WGT_MAX_STAGED of them take a fraction of this. It is
 * counted from when the draining began, so many packets wait no longer than one.
 */
#define DRAIN_WAIT_NS	(NSEC_PER_MSEC)

/* So many staged packets are taken off the queue at a time. */
#define DRAIN_BATCH	16

/**
 * struct wgt_cpu - what the pipeline has per CPU
 * @napi: holds packets for inner GRO, from the first one delivered until its
 *	poll, which is in the same round of the receive softirq. It belongs to a
 *	device without a name, not to the tunnels: so nobody makes it threaded,
 *	and it is only touched by this CPU, with BH disabled.
 * @gro_open: @napi is scheduled by us, so that its GRO lists are ours
 * @rx_busy: a batch is being delivered or flushed: what arrives meanwhile was
 *	inside of it and must not nest any deeper
 * @tx_depth: how many transmissions are on this stack
 */
struct wgt_cpu {
	struct napi_struct napi;
	bool gro_open;
	bool rx_busy;
	unsigned int tx_depth;
};

static struct wgt_cpu __percpu *cpus;
static struct net_device *napi_dev;
static DEFINE_MUTEX(quiesce_lock);
static int hotplug_state;

static int gro_poll(struct napi_struct *napi, int budget)
{
	struct wgt_cpu *owner = container_of(napi, struct wgt_cpu, napi);
	struct wgt_cpu *self = this_cpu_ptr(cpus);

	if (unlikely(!budget))
		return 0;
	owner->gro_open = false;
	self->rx_busy = true;
	napi_complete_done(napi, 0);
	self->rx_busy = false;
	return 0;
}

/* GRO lists are empty or moved to another CPU's poll: this CPU, back again, starts afresh. */
static int cpu_is_dead(unsigned int cpu)
{
	per_cpu_ptr(cpus, cpu)->gro_open = false;
	return 0;
}

static bool open_gro(struct wgt_cpu *self)
{
	if (!self->gro_open && napi_schedule_prep(&self->napi)) {
		self->gro_open = true;
		__napi_schedule(&self->napi);
	}
	return self->gro_open;
}

static void deliver_nested(struct wgt_device *wg, struct sk_buff *skb)
{
	wgt_count(wg, RX_NESTED, 1);
	if (netif_rx(skb) != NET_RX_SUCCESS)
		wgt_count(wg, RX_NESTED_FULL, 1);
}

/* To the stack, in order; the list is empty afterwards. */
static void deliver(struct wgt_device *wg, struct sk_buff_head *batch)
{
	struct wgt_cpu *self = this_cpu_ptr(cpus);
	struct sk_buff *skb;

	if (unlikely(self->rx_busy)) {
		while ((skb = __skb_dequeue(batch)))
			deliver_nested(wg, skb);
		return;
	}

	self->rx_busy = true;
	if (likely(open_gro(self))) {
		while ((skb = __skb_dequeue(batch)))
			napi_gro_receive(&self->napi, skb);
	} else {
		wgt_count(wg, RX_NO_GRO, skb_queue_len(batch));
		while ((skb = __skb_dequeue(batch)))
			netif_receive_skb(skb);
	}
	self->rx_busy = false;
}

/* Length that the inner header claims, or 0 where it makes no sense. */
static unsigned int inner_length(struct sk_buff *skb)
{
	switch (skb->protocol) {
	case htons(ETH_P_IP):
		return ntohs(ip_hdr(skb)->tot_len) < sizeof(struct iphdr) ? 0 :
			ntohs(ip_hdr(skb)->tot_len);
	case htons(ETH_P_IPV6):
		return ntohs(ipv6_hdr(skb)->payload_len) + sizeof(struct ipv6hdr);
	default:
		return 0;
	}
}

/*
 * Congestion that the outer packet met is told to the inner one (RFC 6040). One
 * that can't be told is delivered all the same.
 */
static void copy_congestion(struct sk_buff *skb)
{
	u8 inner = skb->protocol == htons(ETH_P_IP) ? ip_hdr(skb)->tos :
						      ipv6_get_dsfield(ipv6_hdr(skb));

	INET_ECN_decapsulate(skb, wgt_cb(skb)->tos, inner);
}

/* Is this authenticated packet one that may go to the stack? Counts why not. */
static bool inner_is_good(struct wgt_device *wg, struct wgt_peer *peer, struct sk_buff *skb)
{
	unsigned int len;

	skb->protocol = ip_tunnel_parse_protocol(skb);
	len = inner_length(skb);
	if (unlikely(!len || len > skb->len)) {
		DEV_STATS_INC(wg->dev, rx_errors);
		DEV_STATS_INC(wg->dev, rx_length_errors);
		wgt_count(wg, RX_BAD_INNER, 1);
		return false;
	}
	if (unlikely(pskb_trim(skb, len))) {
		wgt_count(wg, RX_NO_MEMORY, 1);
		return false;
	}
	if (unlikely(wgt_allowedips_find_src(&wg->allowedips, skb) != peer)) {
		net_dbg_ratelimited("%s: Packet from peer %llu has a source that is not its own\n",
				    wg->dev->name, peer->id);
		DEV_STATS_INC(wg->dev, rx_errors);
		DEV_STATS_INC(wg->dev, rx_frame_errors);
		wgt_count(wg, RX_BAD_SOURCE, 1);
		return false;
	}
	copy_congestion(skb);
	/* The tag vouches for more than any checksum inside does. */
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	skb->csum_level = SKB_MAX_CSUM_LEVEL;
	return true;
}

static struct wgt_keypair *receiving_pair(struct wgt_device *wg, const struct wgt_msg_data *msg)
{
	struct wgt_index_entry *entry = wgt_index_find(wg, msg->receiver);
	struct wgt_keypair *pair;

	if (unlikely(!entry || entry->kind != WGT_INDEX_KEYPAIR)) {
		wgt_count(wg, RX_NO_KEY, 1);
		return NULL;
	}
	pair = container_of(entry, struct wgt_keypair, entry);
	if (unlikely(!READ_ONCE(pair->recv_valid) ||
		     wgt_keypair_age_over(pair, WGT_REJECT_AFTER_TIME))) {
		WRITE_ONCE(pair->recv_valid, false);
		wgt_count(wg, RX_KEY_EXPIRED, 1);
		return NULL;
	}
	return pair;
}

/* Decrypted, authentic and new; or NULL, counted. Takes @skb. */
static struct sk_buff *open_one(struct wgt_device *wg, struct wgt_keypair *pair,
				struct sk_buff *skb)
{
	u64 counter = le64_to_cpu(((struct wgt_msg_data *)skb->data)->counter);

	skb = wgt_open(skb, pair, counter, wg->dev);
	if (IS_ERR(skb)) {
		if (PTR_ERR(skb) == -ENOMEM) {
			wgt_count(wg, RX_NO_MEMORY, 1);
			dev_core_stats_rx_dropped_inc(wg->dev);
		} else {
			wgt_count(wg, RX_BAD_TAG, 1);
			DEV_STATS_INC(wg->dev, rx_errors);
		}
		return NULL;
	}
	if (unlikely(!wgt_replay_accept(&pair->replay, counter))) {
		net_dbg_ratelimited("%s: Message %llu under key pair %llu came before or is too old\n",
				    wg->dev->name, counter, pair->id);
		wgt_count(wg, RX_REPLAY, 1);
		dev_core_stats_rx_dropped_inc(wg->dev);
		kfree_skb(skb);
		return NULL;
	}
	return skb;
}

/* A key that we began with and that soon must not be received with: time for a new one. */
static void refresh_after_receive(struct wgt_peer *peer, struct wgt_keypair *pair)
{
	if (!pair->initiator || READ_ONCE(peer->timers.rekey_on_receive))
		return;
	/* One that is left over has been replaced already. */
	if (pair != rcu_access_pointer(peer->keypairs.current_pair))
		return;
	if (wgt_keypair_age_over(pair, WGT_REJECT_AFTER_TIME - WGT_KEEPALIVE_TIMEOUT -
				       WGT_REKEY_TIMEOUT)) {
		WRITE_ONCE(peer->timers.rekey_on_receive, true);
		wgt_handshake_initiate(peer, false);
	}
}

static void count_received(struct net_device *dev, unsigned int packets, unsigned int bytes)
{
	struct pcpu_sw_netstats *own = this_cpu_ptr(dev->tstats);

	u64_stats_update_begin(&own->syncp);
	u64_stats_add(&own->rx_packets, packets);
	u64_stats_add(&own->rx_bytes, bytes);
	u64_stats_update_end(&own->syncp);
}

/* Once per batch: its messages were authentic, so the peer is there, and where they came from. */
static void note_batch(struct wgt_peer *peer, struct wgt_keypair *pair,
		       const struct wgt_endpoint *from, unsigned int count, unsigned int bytes,
		       bool data)
{
	wgt_peer_set_endpoint(peer, from);
	if (unlikely(wgt_keypair_confirm(peer, pair))) {
		wgt_timers_handshake_complete(peer);
		peer->wg->pipeline->drain(peer);
	}
	refresh_after_receive(peer, pair);
	wgt_timers_any_received(peer);
	wgt_timers_any_traversal(peer);
	if (data)
		wgt_timers_data_received(peer);
	atomic64_add(bytes, &peer->rx_bytes);
	count_received(peer->wg->dev, count, bytes);
}

static void inline_receive(struct wgt_device *wg, struct sk_buff_head *batch)
{
	const struct wgt_msg_data *msg = (struct wgt_msg_data *)skb_peek(batch)->data;
	unsigned int count = 0, bytes = 0, len;
	struct wgt_endpoint from;
	struct wgt_keypair *pair;
	struct sk_buff_head good;
	struct wgt_peer *peer;
	struct sk_buff *skb;
	bool data = false;

	pair = receiving_pair(wg, msg);
	if (unlikely(!pair || wgt_endpoint_from_skb(&from, skb_peek(batch)))) {
		DEV_STATS_ADD(wg->dev, rx_errors, skb_queue_len(batch));
		goto free;
	}
	peer = pair->entry.peer;
	if (unlikely(READ_ONCE(peer->dead)))
		goto free;

	__skb_queue_head_init(&good);
	while ((skb = __skb_dequeue(batch))) {
		len = skb->len;
		skb = open_one(wg, pair, skb);
		if (!skb)
			continue;
		count++;
		bytes += len;
		if (!skb->len) {
			wgt_count(wg, RX_KEEPALIVE, 1);
			consume_skb(skb);
			continue;
		}
		data = true;
		if (inner_is_good(wg, peer, skb))
			__skb_queue_tail(&good, skb);
		else
			kfree_skb(skb);
	}
	if (!count)
		return;
	note_batch(peer, pair, &from, count, bytes, data);
	if (!skb_queue_empty(&good))
		deliver(wg, &good);
	return;
free:
	while ((skb = __skb_dequeue(batch)))
		kfree_skb(skb);
}

static void drop_list(struct wgt_device *wg, struct sk_buff_head *list, enum wgt_counter why)
{
	unsigned int n = skb_queue_len(list);
	struct sk_buff *skb;

	if (!n)
		return;
	while ((skb = __skb_dequeue(list)))
		kfree_skb(skb);
	wgt_counter_add(wg->counters, why, n);
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


/* Encrypts and sends; false, with the batch as it was, where there is no key for it. */
static bool send_now(struct wgt_peer *peer, struct sk_buff_head *batch)
{
	unsigned int count = skb_queue_len(batch);
	struct wgt_device *wg = peer->wg;
	struct wgt_keypair *pair;
	struct sk_buff *skb;
	bool data = false;
	bool sent = false;
	u64 nonce;
	u8 tos;

	pair = sending_pair(peer, count, &nonce);
	if (unlikely(!pair))
		return false;

	while ((skb = __skb_dequeue(batch))) {
		tos = wgt_cb(skb)->tos;
		if (skb->len)
			data = true;
		else
			wgt_count(wg, TX_KEEPALIVE, 1);
		skb = wgt_seal(skb, pair, nonce++);
		if (unlikely(!skb)) {
			wgt_count(wg, TX_NO_MEMORY, 1);
			DEV_STATS_INC(wg->dev, tx_dropped);
			continue;
		}
		if (!wgt_socket_send(peer, skb, tos))
			sent = true;
	}
	if (likely(sent)) {
		wgt_timers_any_traversal(peer);
		wgt_timers_any_sent(peer);
		if (data)
			wgt_timers_data_sent(peer);
	}
	if (unlikely(wants_refresh(pair, nonce)))
		wgt_handshake_initiate(peer, false);
	return true;
}

/*
 * The batch queues behind what is staged. The oldest packets make room: of a
 * flow, the newest tell the peer more.
 */
static void stage(struct wgt_peer *peer, struct sk_buff_head *batch)
{
	unsigned int count = skb_queue_len(batch);
	struct sk_buff_head excess;

	__skb_queue_head_init(&excess);
	spin_lock_bh(&peer->stage.lock);
	skb_queue_splice_tail_init(batch, &peer->stage.queue);
	while (skb_queue_len(&peer->stage.queue) > WGT_MAX_STAGED)
		__skb_queue_tail(&excess, __skb_dequeue(&peer->stage.queue));
	WRITE_ONCE(peer->stage.active, true);
	spin_unlock_bh(&peer->stage.lock);

	wgt_count(peer->wg, TX_STAGED, count);
	drop_list(peer->wg, &excess, WGT_CNT_TX_STAGE_FULL);
}

static void purge(struct wgt_peer *peer)
{
	struct sk_buff_head all;

	__skb_queue_head_init(&all);
	spin_lock_bh(&peer->stage.lock);
	skb_queue_splice_init(&peer->stage.queue, &all);
	/* Whoever drains ends that itself, when it finds the queue empty. */
	if (!peer->stage.draining)
		WRITE_ONCE(peer->stage.active, false);
	spin_unlock_bh(&peer->stage.lock);
	drop_list(peer->wg, &all, WGT_CNT_TX_PURGED);
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

static void inline_drain(struct wgt_peer *peer)
{
	struct wgt_stage *stage = &peer->stage;
	struct sk_buff_head batch;
	bool begin = true, sent;

	if (!READ_ONCE(stage->active))
		return;
	__skb_queue_head_init(&batch);
	local_bh_disable();
	while (take_staged(stage, &batch, begin)) {
		this_cpu_ptr(cpus)->tx_depth++;
		sent = send_now(peer, &batch);
		this_cpu_ptr(cpus)->tx_depth--;
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

static void inline_transmit(struct wgt_peer *peer, struct sk_buff_head *batch)
{
	struct wgt_cpu *self = this_cpu_ptr(cpus);
	struct wgt_stage *staged = &peer->stage;
	bool direct, done;

	if (unlikely(READ_ONCE(peer->dead))) {
		drop_list(peer->wg, batch, WGT_CNT_TX_PURGED);
		return;
	}
	if (unlikely(self->tx_depth >= TX_DEPTH_MAX)) {
		net_dbg_ratelimited("%s: More than %d tunnels in one another, dropping packet\n",
				    peer->wg->dev->name, TX_DEPTH_MAX);
		drop_list(peer->wg, batch, WGT_CNT_TX_NESTED);
		return;
	}

	/* From inside of a drain to the same peer: a loop that would feed itself. */
	if (unlikely(self->tx_depth && READ_ONCE(staged->draining) &&
		     READ_ONCE(staged->drain_cpu) == smp_processor_id())) {
		drop_list(peer->wg, batch, WGT_CNT_TX_NESTED);
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
	inline_drain(peer);
}

void wgt_tx_enter(void)
{
	local_bh_disable();
	this_cpu_ptr(cpus)->tx_depth++;
}

void wgt_tx_leave(void)
{
	this_cpu_ptr(cpus)->tx_depth--;
	local_bh_enable();
}

void wgt_send_keepalive(struct wgt_peer *peer)
{
	struct sk_buff_head batch;
	struct sk_buff *skb;

	rcu_read_lock();
	if (READ_ONCE(peer->stage.active)) {
		peer->wg->pipeline->drain(peer);
		goto out;
	}
	skb = alloc_skb(WGT_HEADROOM + WGT_DATA_OVERHEAD, GFP_ATOMIC | __GFP_NOWARN);
	if (unlikely(!skb))
		goto out;
	skb_reserve(skb, WGT_HEADROOM + sizeof(struct wgt_msg_data));
	skb->dev = peer->wg->dev;
	wgt_cb(skb)->mtu = peer->wg->dev->mtu;
	wgt_cb(skb)->tos = 0;
	__skb_queue_head_init(&batch);
	__skb_queue_tail(&batch, skb);
	local_bh_disable();
	peer->wg->pipeline->transmit(peer, &batch);
	local_bh_enable();
out:
	rcu_read_unlock();
}

/*
 * The sockets are closed, and a grace period has passed: packets of the device
 * can only be in GRO lists still. To disable a NAPI waits for its poll.
 */
static void inline_quiesce(struct wgt_device *wg)
{
	int cpu;

	mutex_lock(&quiesce_lock);
	for_each_possible_cpu(cpu) {
		struct napi_struct *napi = &per_cpu_ptr(cpus, cpu)->napi;

		napi_disable(napi);
		napi_enable(napi);
	}
	mutex_unlock(&quiesce_lock);
}

const struct wgt_pipeline wgt_pipeline_inline = {
	.name = "inline",
	.receive = inline_receive,
	.transmit = inline_transmit,
	.drain = inline_drain,
	.purge = purge,
	.quiesce = inline_quiesce,
};

int wgt_inline_module_init(void)
{
	int cpu, ret = -ENOMEM;

	napi_dev = wgt_dummy_alloc();
	if (!napi_dev)
		return -ENOMEM;
	cpus = alloc_percpu(struct wgt_cpu);
	if (!cpus)
		goto free_dev;
	ret = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "net/wgtrunk:dead", NULL,
					cpu_is_dead);
	if (ret < 0)
		goto free_cpus;
	hotplug_state = ret;

	for_each_possible_cpu(cpu) {
		struct napi_struct *napi = &per_cpu_ptr(cpus, cpu)->napi;

		set_bit(NAPI_STATE_NO_BUSY_POLL, &napi->state);
		netif_napi_add(napi_dev, napi, gro_poll);
		napi_enable(napi);
	}
	return 0;

free_cpus:
	free_percpu(cpus);
free_dev:
	wgt_dummy_free(napi_dev);
	return ret;
}

void wgt_inline_module_exit(void)
{
	int cpu;

	cpuhp_remove_state_nocalls(hotplug_state);
	for_each_possible_cpu(cpu) {
		struct napi_struct *napi = &per_cpu_ptr(cpus, cpu)->napi;

		napi_disable(napi);
		netif_napi_del(napi);
	}
	synchronize_net();
	free_percpu(cpus);
	wgt_dummy_free(napi_dev);
}
