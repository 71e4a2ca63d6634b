/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Anti-replay window after RFC 6479: a ring of words of which one is always
 * being refilled, so that sliding forward clears whole words.
 */
#ifndef WGT_REPLAY_H
#define WGT_REPLAY_H

#include <linux/bitops.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "messages.h"

/**
 * struct wgt_replay - window over the counters of one receiving key
 * @lock: several CPUs may receive under the same key
 * @top: one more than the highest counter accepted, 0 at first
 * @ring: WGT_WINDOW_BITS of bits, addressed by the counter modulo their number
 */
struct wgt_replay {
	spinlock_t lock;
	u64 top;
	unsigned long ring[WGT_WINDOW_BITS / BITS_PER_LONG];
};

/* wgt_replay_init() - an empty window; any context. */
void wgt_replay_init(struct wgt_replay *replay);

/**
 * wgt_replay_accept() - is this counter new? If so it no longer is
 * @replay: window
 * @counter: of a message that has been authenticated, never of another
 *
 * Context: BH disabled, @replay->lock held, for as many messages as there are.
 * Return: true where the message is new, false where it was seen before, is
 * older than the window, or has a counter of WGT_REJECT_AFTER_MESSAGES or more.
 */
bool wgt_replay_accept(struct wgt_replay *replay, u64 counter);

#endif /* WGT_REPLAY_H */
