/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Timers of a peer, section 6 of the paper. Each peer has one kernel timer and
 * a deadline per purpose. To move a deadline is one store: only a deadline
 * earlier than what the kernel timer waits for touches the timer itself, and
 * one that moved away makes it fire for nothing once.
 */
#ifndef WGT_TIMERS_H
#define WGT_TIMERS_H

#include <linux/timer.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct wgt_peer;

enum wgt_deadline {
	WGT_DL_RETRY_HANDSHAKE,		/* the initiation that we sent was not answered */
	WGT_DL_KEEPALIVE,		/* data came and nothing went back */
	WGT_DL_NEW_HANDSHAKE,		/* data went and nothing came back */
	WGT_DL_ERASE_KEYS,		/* no new session for long */
	WGT_DL_PERSISTENT_KEEPALIVE,
	WGT_DL_COUNT
};

/**
 * struct wgt_timers - deadlines of a peer
 * @timer: fires at the earliest of them, or before
 * @deadline: in jiffies, 0 for none
 * @jitter: of WGT_DL_NEW_HANDSHAKE, in jiffies, drawn once a session
 * @attempts: initiations sent again since the last success
 * @keepalive_again: data came while WGT_DL_KEEPALIVE was running
 * @rekey_on_receive: a handshake was already begun because the key gets old
 * @stopped: set for good when the peer goes
 */
struct wgt_timers {
	struct timer_list timer;
	unsigned long deadline[WGT_DL_COUNT];
	unsigned long jitter;
	unsigned int attempts;
	bool keepalive_again;
	bool rekey_on_receive;
	bool stopped;
};

/* wgt_timers_init() - none set; for a new peer. */
void wgt_timers_init(struct wgt_peer *peer);

/* wgt_timers_cancel() - unset all, as on interface down; they may be set again. Process context, may sleep. */
void wgt_timers_cancel(struct wgt_peer *peer);

/* wgt_timers_shutdown() - unset all for good, for a peer on its way out. Process context, may sleep. */
void wgt_timers_shutdown(struct wgt_peer *peer);

/*
 * What happened. All of these: any context but hardirq, under the RCU read
 * lock; nothing is done for a stopped peer or a device that is down.
 */
/* data with a payload was sent */
void wgt_timers_data_sent(struct wgt_peer *peer);
/* data with a payload was received */
void wgt_timers_data_received(struct wgt_peer *peer);
/* anything, handshake or data, was sent */
void wgt_timers_any_sent(struct wgt_peer *peer);
/* anything authenticated was received */
void wgt_timers_any_received(struct wgt_peer *peer);
/* either of both; call it besides */
void wgt_timers_any_traversal(struct wgt_peer *peer);
/* an initiation is about to be made; another one follows, whatever becomes of this one */
void wgt_timers_initiation_begun(struct wgt_peer *peer);
/* it was sent; who was busy meanwhile counts from now, unless there is a session already */
void wgt_timers_initiation_sent(struct wgt_peer *peer);
/* one should be, but not yet */
void wgt_timers_initiation_wanted(struct wgt_peer *peer);
/* the first message under a new key was sent or received */
void wgt_timers_handshake_complete(struct wgt_peer *peer);
/* a new key pair was made */
void wgt_timers_session_derived(struct wgt_peer *peer);

#endif /* WGT_TIMERS_H */
