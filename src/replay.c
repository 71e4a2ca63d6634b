// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/lockdep.h>

#include "replay.h"

#define RING_WORDS	(WGT_WINDOW_BITS / BITS_PER_LONG)
/* How far behind the highest counter one may be: the word being filled is shared by both ends. */
#define WINDOW_REACH	(WGT_WINDOW_BITS - BITS_PER_LONG)

void wgt_replay_init(struct wgt_replay *replay)
{
	BUILD_BUG_ON_NOT_POWER_OF_2(RING_WORDS);

	spin_lock_init(&replay->lock);
	replay->top = 0;
	memset(replay->ring, 0, sizeof(replay->ring));
}

/* Make room up to the word of @counter, which is above all accepted so far. */
static void slide(struct wgt_replay *replay, u64 counter)
{
	u64 word = replay->top ? (replay->top - 1) / BITS_PER_LONG : 0;
	u64 target = counter / BITS_PER_LONG;

	if (target - word >= RING_WORDS) {
		memset(replay->ring, 0, sizeof(replay->ring));
	} else {
		while (word != target)
			replay->ring[++word % RING_WORDS] = 0;
	}
	replay->top = counter + 1;
}

bool wgt_replay_accept(struct wgt_replay *replay, u64 counter)
{
	unsigned long *word = &replay->ring[counter / BITS_PER_LONG % RING_WORDS];

	lockdep_assert_held(&replay->lock);
	if (unlikely(counter >= WGT_REJECT_AFTER_MESSAGES))
		return false;
	if (likely(counter >= replay->top))
		slide(replay, counter);
	else if (replay->top - 1 - counter > WINDOW_REACH)
		return false;
	return !__test_and_set_bit(counter % BITS_PER_LONG, word);
}
