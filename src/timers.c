// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/netdevice.h>
#include <linux/random.h>

#include "device.h"
#include "handshake.h"
#include "peer.h"
#include "pipeline.h"
#include "timers.h"

/*
 * A deadline is stored before the kernel timer is asked to be early enough for
 * it; the timer's function reads deadlines after the timer was taken off its
 * list. With a barrier in between on both sides, either that function sees the
 * deadline, or timer_reduce() sees that the timer must be queued again.
 */
static void set_deadline(struct wgt_peer *peer, enum wgt_deadline which, unsigned long delay)
{
	struct wgt_timers *timers = &peer->timers;
	unsigned long when = (jiffies + delay) ?: 1;

	if (READ_ONCE(timers->stopped) || !netif_running(peer->wg->dev))
		return;
	/* Who stored the same before us sees to the timer. */
	if (READ_ONCE(timers->deadline[which]) == when)
		return;
	WRITE_ONCE(timers->deadline[which], when);
	smp_mb(); /* pairs with the one in timer_fired() */
	timer_reduce(&timers->timer, when);
}

static void clear_deadline(struct wgt_peer *peer, enum wgt_deadline which)
{
	if (READ_ONCE(peer->timers.deadline[which]))
		WRITE_ONCE(peer->timers.deadline[which], 0);
}

static bool is_set(struct wgt_peer *peer, enum wgt_deadline which)
{
	return READ_ONCE(peer->timers.deadline[which]);
}

/* Peers that restarted together should not stay in step. */
static unsigned long jitter(void)
{
	return get_random_u32_below(msecs_to_jiffies(WGT_REKEY_JITTER_MS) + 1);
}

static void retry_handshake(struct wgt_peer *peer)
{
	struct wgt_timers *timers = &peer->timers;

	if (timers->attempts > WGT_HANDSHAKE_ATTEMPTS) {
		net_dbg_ratelimited("%s: Peer %llu did not answer %u initiations, giving up\n",
				    peer->wg->dev->name, peer->id, timers->attempts + 1);
		clear_deadline(peer, WGT_DL_KEEPALIVE);
		peer->wg->pipeline->purge(peer);
		/* What keys there are go away in time even if nobody speaks again. */
		if (!is_set(peer, WGT_DL_ERASE_KEYS))
			set_deadline(peer, WGT_DL_ERASE_KEYS, WGT_REJECT_AFTER_TIME * 3 * HZ);
		return;
	}
	timers->attempts++;
	net_dbg_ratelimited("%s: No answer from peer %llu, initiation %u follows\n",
			    peer->wg->dev->name, peer->id, timers->attempts + 1);
	/* Maybe it is our source address that is wrong now. */
	wgt_peer_clear_source(peer);
	wgt_handshake_initiate(peer, true);
}

static void expired(struct wgt_peer *peer, enum wgt_deadline which)
{
	switch (which) {
	case WGT_DL_RETRY_HANDSHAKE:
		retry_handshake(peer);
		break;
	case WGT_DL_KEEPALIVE:
		wgt_send_keepalive(peer);
		if (READ_ONCE(peer->timers.keepalive_again)) {
			WRITE_ONCE(peer->timers.keepalive_again, false);
			set_deadline(peer, which, WGT_KEEPALIVE_TIMEOUT * HZ);
		}
		break;
	case WGT_DL_NEW_HANDSHAKE:
		wgt_peer_clear_source(peer);
		wgt_handshake_initiate(peer, false);
		break;
	case WGT_DL_ERASE_KEYS:
		wgt_handshake_erase_later(peer);
		break;
	case WGT_DL_PERSISTENT_KEEPALIVE:
		if (READ_ONCE(peer->persistent_keepalive))
			wgt_send_keepalive(peer);
		break;
	case WGT_DL_COUNT:
		break;
	}
}

static void timer_fired(struct timer_list *timer)
{
	struct wgt_peer *peer = timer_container_of(peer, timer, timers.timer);
	struct wgt_timers *timers = &peer->timers;
	unsigned long when, next = 0;
	int i;

	smp_mb(); /* pairs with the one in set_deadline() */
	rcu_read_lock();
	for (i = 0; i < WGT_DL_COUNT; i++) {
		when = READ_ONCE(timers->deadline[i]);
		if (!when || time_before(jiffies, when))
			continue;
		/* Moved in the meantime: then it did not expire. */
		if (cmpxchg(&timers->deadline[i], when, 0) == when &&
		    !READ_ONCE(timers->stopped) && netif_running(peer->wg->dev))
			expired(peer, i);
	}
	for (i = 0; i < WGT_DL_COUNT; i++) {
		when = READ_ONCE(timers->deadline[i]);
		if (when && (!next || time_before(when, next)))
			next = when;
	}
	if (next && !READ_ONCE(timers->stopped))
		timer_reduce(timer, next);
	rcu_read_unlock();
}

void wgt_timers_init(struct wgt_peer *peer)
{
	timer_setup(&peer->timers.timer, timer_fired, 0);
}

void wgt_timers_cancel(struct wgt_peer *peer)
{
	int i;

	for (i = 0; i < WGT_DL_COUNT; i++)
		WRITE_ONCE(peer->timers.deadline[i], 0);
	timer_delete_sync(&peer->timers.timer);
	peer->timers.attempts = 0;
	peer->timers.keepalive_again = false;
	peer->timers.rekey_on_receive = false;
}

void wgt_timers_shutdown(struct wgt_peer *peer)
{
	WRITE_ONCE(peer->timers.stopped, true);
	timer_shutdown_sync(&peer->timers.timer);
}

void wgt_timers_data_sent(struct wgt_peer *peer)
{
	if (!is_set(peer, WGT_DL_NEW_HANDSHAKE))
		set_deadline(peer, WGT_DL_NEW_HANDSHAKE,
			     (WGT_KEEPALIVE_TIMEOUT + WGT_REKEY_TIMEOUT) * HZ +
			     READ_ONCE(peer->timers.jitter));
}

void wgt_timers_data_received(struct wgt_peer *peer)
{
	if (!is_set(peer, WGT_DL_KEEPALIVE))
		set_deadline(peer, WGT_DL_KEEPALIVE, WGT_KEEPALIVE_TIMEOUT * HZ);
	else if (!READ_ONCE(peer->timers.keepalive_again))
		WRITE_ONCE(peer->timers.keepalive_again, true);
}

void wgt_timers_any_sent(struct wgt_peer *peer)
{
	clear_deadline(peer, WGT_DL_KEEPALIVE);
}

void wgt_timers_any_received(struct wgt_peer *peer)
{
	clear_deadline(peer, WGT_DL_NEW_HANDSHAKE);
}

void wgt_timers_any_traversal(struct wgt_peer *peer)
{
	unsigned int interval = READ_ONCE(peer->persistent_keepalive);

	if (interval)
		set_deadline(peer, WGT_DL_PERSISTENT_KEEPALIVE, interval * HZ);
}

void wgt_timers_initiation_begun(struct wgt_peer *peer)
{
	set_deadline(peer, WGT_DL_RETRY_HANDSHAKE, WGT_REKEY_TIMEOUT * HZ + jitter());
}

/* The timer fires as it would have, finds nothing due, and goes on. */
void wgt_timers_initiation_sent(struct wgt_peer *peer)
{
	unsigned long *deadline = &peer->timers.deadline[WGT_DL_RETRY_HANDSHAKE];
	unsigned long when = READ_ONCE(*deadline);

	if (when)
		cmpxchg(deadline, when, (jiffies + WGT_REKEY_TIMEOUT * HZ + jitter()) ?: 1);
}

void wgt_timers_initiation_wanted(struct wgt_peer *peer)
{
	if (!is_set(peer, WGT_DL_RETRY_HANDSHAKE))
		wgt_timers_initiation_begun(peer);
}

void wgt_timers_handshake_complete(struct wgt_peer *peer)
{
	clear_deadline(peer, WGT_DL_RETRY_HANDSHAKE);
	peer->timers.attempts = 0;
	WRITE_ONCE(peer->timers.rekey_on_receive, false);
	ktime_get_real_ts64(&peer->last_handshake);
}

void wgt_timers_session_derived(struct wgt_peer *peer)
{
	WRITE_ONCE(peer->timers.jitter, jitter());
	set_deadline(peer, WGT_DL_ERASE_KEYS, WGT_REJECT_AFTER_TIME * 3 * HZ);
}
