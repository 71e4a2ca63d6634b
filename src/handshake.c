// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/netdevice.h>
#include <linux/workqueue.h>

#include "cookie.h"
#include "device.h"
#include "handshake.h"
#include "noise.h"
#include "peer.h"
#include "pipeline.h"
#include "socket.h"

/* A device that had this many messages waiting is under load for the next second. */
#define LOADED_AT	(WGT_MAX_HANDSHAKES / 8)
#define LOADED_FOR_NS	NSEC_PER_SEC

struct wgt_handshake_cpu {
	struct work_struct work;
	struct wgt_device *wg;
};

static struct workqueue_struct *handshake_wq;

static bool too_early(struct wgt_peer *peer, u64 now)
{
	u64 last = atomic64_read(&peer->last_initiation_sent);

	return last && (s64)(now - last) < (s64)WGT_REKEY_TIMEOUT * NSEC_PER_SEC;
}

/* Any message that was sent or received moves these. */
static void note_sent(struct wgt_peer *peer)
{
	rcu_read_lock();
	wgt_timers_any_traversal(peer);
	wgt_timers_any_sent(peer);
	rcu_read_unlock();
}

static void note_received(struct wgt_peer *peer, unsigned int len)
{
	atomic64_add(len, &peer->rx_bytes);
	local_bh_disable();
	dev_sw_netstats_rx_add(peer->wg->dev, len);
	local_bh_enable();
	rcu_read_lock();
	wgt_timers_any_received(peer);
	wgt_timers_any_traversal(peer);
	rcu_read_unlock();
}

/* To what was sent a moment ago: after our response, too, of which we may hear nothing. */
static void wait_for_answer(struct wgt_peer *peer)
{
	rcu_read_lock();
	if (READ_ONCE(peer->stage.active))
		wgt_timers_initiation_wanted(peer);
	rcu_read_unlock();
}

static void send_initiation(struct wgt_peer *peer)
{
	struct wgt_msg_initiation msg;
	u64 now = ktime_get_coarse_boottime_ns();

	if (too_early(peer, now)) {
		wait_for_answer(peer);
		return;
	}
	atomic64_set(&peer->last_initiation_sent, now);
	net_dbg_ratelimited("%s: Sending handshake initiation to peer %llu\n",
			    peer->wg->dev->name, peer->id);
	/*
	 * Before it is made: the peer's own initiation may make a session meanwhile, or its
	 * answer be here before we go on. Where it can't be made, another one may: nothing
	 * else reminds us of what waits.
	 */
	rcu_read_lock();
	wgt_timers_initiation_begun(peer);
	rcu_read_unlock();
	if (!wgt_noise_create_initiation(peer, &msg))
		return;
	wgt_cookie_add_macs(&msg, sizeof(msg), peer);
	note_sent(peer);
	wgt_socket_send_buffer(peer, &msg, sizeof(msg), WGT_HANDSHAKE_TOS);
	/* Counted from when it left, which is later where the machine is busy. */
	atomic64_set(&peer->last_initiation_sent, ktime_get_coarse_boottime_ns());
	rcu_read_lock();
	wgt_timers_initiation_sent(peer);
	rcu_read_unlock();
}

static void initiate_work_fn(struct work_struct *work)
{
	struct wgt_peer *peer = container_of(work, struct wgt_peer, initiate_work);

	send_initiation(peer);
	wgt_peer_put(peer);
}

void wgt_handshake_initiate(struct wgt_peer *peer, bool retry)
{
	if (!retry)
		peer->timers.attempts = 0;

	rcu_read_lock();
	/* Its deadline is over, and whatever comes of this one there has to be another. */
	if (retry)
		wgt_timers_initiation_wanted(peer);
	if (too_early(peer, ktime_get_coarse_boottime_ns())) {
		wait_for_answer(peer);
	} else if (wgt_peer_get_maybe(peer)) {
		if (!queue_work(handshake_wq, &peer->initiate_work))
			wgt_peer_put(peer);
	}
	rcu_read_unlock();
}

static void erase_work_fn(struct work_struct *work)
{
	struct wgt_peer *peer = container_of(work, struct wgt_peer, erase_work);

	pr_debug("%s: Erasing the keys of peer %llu, no session for %d seconds\n",
		 peer->wg->dev->name, peer->id, WGT_REJECT_AFTER_TIME * 3);
	wgt_handshake_clear(peer);
	wgt_keypairs_clear(peer);
	wgt_peer_put(peer);
}

void wgt_handshake_erase_later(struct wgt_peer *peer)
{
	rcu_read_lock();
	if (wgt_peer_get_maybe(peer)) {
		if (!queue_work(handshake_wq, &peer->erase_work))
			wgt_peer_put(peer);
	}
	rcu_read_unlock();
}

void wgt_handshake_peer_init(struct wgt_peer *peer)
{
	INIT_WORK(&peer->initiate_work, initiate_work_fn);
	INIT_WORK(&peer->erase_work, erase_work_fn);
}

/* A work that is cancelled before it ran leaves its reference to us. */
void wgt_handshake_peer_stop(struct wgt_peer *peer)
{
	if (cancel_work_sync(&peer->initiate_work))
		wgt_peer_put(peer);
	if (cancel_work_sync(&peer->erase_work))
		wgt_peer_put(peer);
}

static void send_cookie(struct wgt_device *wg, struct sk_buff *skb, __le32 sender)
{
	struct wgt_msg_cookie msg;

	wgt_dbg_skb("Under load, answering %pISpfsc with a cookie\n", wg, skb);
	wgt_cookie_create_reply(wg, skb, sender, &msg);
	wgt_socket_reply_buffer(wg, skb, &msg, sizeof(msg));
	wgt_count(wg, HS_COOKIE_SENT, 1);
}

static void learn_endpoint(struct wgt_peer *peer, struct sk_buff *skb)
{
	struct wgt_endpoint endpoint;

	if (!wgt_endpoint_from_skb(&endpoint, skb))
		wgt_peer_set_endpoint(peer, &endpoint);
}

static void send_response(struct wgt_peer *peer)
{
	struct wgt_msg_response msg;

	atomic64_set(&peer->last_initiation_sent, ktime_get_coarse_boottime_ns());
	net_dbg_ratelimited("%s: Sending handshake response to peer %llu\n",
			    peer->wg->dev->name, peer->id);
	if (!wgt_noise_create_response(peer, &msg))
		return;
	wgt_cookie_add_macs(&msg, sizeof(msg), peer);
	if (!wgt_noise_begin_session(peer))
		return;
	rcu_read_lock();
	wgt_timers_session_derived(peer);
	rcu_read_unlock();
	note_sent(peer);
	wgt_socket_send_buffer(peer, &msg, sizeof(msg), WGT_HANDSHAKE_TOS);
}

static bool handle_initiation(struct wgt_device *wg, struct sk_buff *skb)
{
	struct wgt_peer *peer;

	peer = wgt_noise_consume_initiation(wg, (struct wgt_msg_initiation *)skb->data);
	if (!peer)
		return false;
	learn_endpoint(peer, skb);
	net_dbg_ratelimited("%s: Receiving handshake initiation from peer %llu\n",
			    wg->dev->name, peer->id);
	send_response(peer);
	note_received(peer, skb->len);
	wgt_peer_put(peer);
	return true;
}

static bool handle_response(struct wgt_device *wg, struct sk_buff *skb)
{
	struct wgt_peer *peer;

	peer = wgt_noise_consume_response(wg, (struct wgt_msg_response *)skb->data);
	if (!peer)
		return false;
	learn_endpoint(peer, skb);
	net_dbg_ratelimited("%s: Receiving handshake response from peer %llu\n",
			    wg->dev->name, peer->id);
	/* Before what was staged is sent, which waits for an answer of its own. */
	note_received(peer, skb->len);
	if (wgt_noise_begin_session(peer)) {
		rcu_read_lock();
		wgt_timers_session_derived(peer);
		wgt_timers_handshake_complete(peer);
		rcu_read_unlock();
		/* Tells the responder that we have the key: what is staged, or else nothing. */
		wgt_send_keepalive(peer);
	}
	wgt_peer_put(peer);
	return true;
}

static bool under_load(struct wgt_device *wg)
{
	u64 now = ktime_get_coarse_boottime_ns();

	if (skb_queue_len_lockless(&wg->handshakes) >= LOADED_AT) {
		WRITE_ONCE(wg->loaded_until, now + LOADED_FOR_NS);
		return true;
	}
	return now < READ_ONCE(wg->loaded_until);
}

static void handle_message(struct wgt_device *wg, struct sk_buff *skb)
{
	enum wgt_message_type type = le32_to_cpup((__le32 *)skb->data);
	bool loaded, good;

	if (type == WGT_MSG_COOKIE) {
		wgt_cookie_consume_reply(wg, (struct wgt_msg_cookie *)skb->data);
		return;
	}

	loaded = under_load(wg);
	switch (wgt_cookie_check(wg, skb, loaded)) {
	case WGT_MAC_INVALID:
		wgt_dbg_skb("Invalid MAC of handshake from %pISpfsc\n", wg, skb);
		wgt_drop(wg, HS_BAD_MAC, 1);
		return;
	case WGT_MAC_RATE_LIMITED:
		wgt_drop(wg, HS_RATE_LIMITED, 1);
		return;
	case WGT_MAC_NO_COOKIE:
		if (loaded) {
			/* The sender's index follows the type in both messages. */
			send_cookie(wg, skb, ((struct wgt_msg_initiation *)skb->data)->sender);
			return;
		}
		break;
	case WGT_MAC_WITH_COOKIE:
		break;
	}

	good = type == WGT_MSG_INITIATION ? handle_initiation(wg, skb) : handle_response(wg, skb);
	if (!good) {
		wgt_dbg_skb("Invalid handshake message from %pISpfsc\n", wg, skb);
		wgt_drop(wg, HS_INVALID, 1);
	}
}

static void receive_work_fn(struct work_struct *work)
{
	struct wgt_device *wg = container_of(work, struct wgt_handshake_cpu, work)->wg;
	struct sk_buff *skb;

	while ((skb = skb_dequeue(&wg->handshakes))) {
		handle_message(wg, skb);
		dev_kfree_skb(skb);
		cond_resched();
	}
}

/* In turn, so that a flood of them is shared. Racy, which only makes it less even. */
static int next_cpu(struct wgt_device *wg)
{
	int cpu = cpumask_next(READ_ONCE(wg->handshake_turn), cpu_online_mask);

	if (cpu >= nr_cpu_ids)
		cpu = cpumask_first(cpu_online_mask);
	WRITE_ONCE(wg->handshake_turn, cpu);
	return cpu;
}

void wgt_handshake_receive(struct wgt_device *wg, struct sk_buff *skb)
{
	int cpu;

	wgt_count(wg, HS_RX, 1);
	if (skb_queue_len_lockless(&wg->handshakes) >= WGT_MAX_HANDSHAKES) {
		wgt_drop(wg, HS_QUEUE_FULL, 1);
		dev_core_stats_rx_dropped_inc(wg->dev);
		kfree_skb(skb);
		return;
	}
	skb_queue_tail(&wg->handshakes, skb);
	cpu = next_cpu(wg);
	queue_work_on(cpu, handshake_wq, &per_cpu_ptr(wg->handshake_cpus, cpu)->work);
}

int wgt_handshake_device_init(struct wgt_device *wg)
{
	int cpu;

	skb_queue_head_init(&wg->handshakes);
	wg->handshake_cpus = alloc_percpu(struct wgt_handshake_cpu);
	if (!wg->handshake_cpus)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct wgt_handshake_cpu *own = per_cpu_ptr(wg->handshake_cpus, cpu);

		INIT_WORK(&own->work, receive_work_fn);
		own->wg = wg;
	}
	return 0;
}

void wgt_handshake_device_stop(struct wgt_device *wg)
{
	int cpu;

	skb_queue_purge(&wg->handshakes);
	for_each_possible_cpu(cpu)
		cancel_work_sync(&per_cpu_ptr(wg->handshake_cpus, cpu)->work);
	skb_queue_purge(&wg->handshakes);
}

void wgt_handshake_device_destroy(struct wgt_device *wg)
{
	wgt_handshake_device_stop(wg);
	free_percpu(wg->handshake_cpus);
}

int wgt_handshake_module_init(void)
{
	handshake_wq = alloc_workqueue("wg-handshake",
				       WQ_CPU_INTENSIVE | WQ_FREEZABLE | WQ_PERCPU, 0);
	return handshake_wq ? 0 : -ENOMEM;
}

void wgt_handshake_module_exit(void)
{
	destroy_workqueue(handshake_wq);
}
