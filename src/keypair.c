// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/netdevice.h>
#include <linux/slab.h>

#include "device.h"
#include "keypair.h"
#include "peer.h"

static atomic64_t last_id = ATOMIC64_INIT(0);

bool wgt_keypair_age_over(const struct wgt_keypair *pair, unsigned int seconds)
{
	/* Where its speed is adjusted, the coarse clock may step back a little. */
	return (s64)(ktime_get_coarse_boottime_ns() - pair->born) > seconds * (s64)NSEC_PER_SEC;
}

struct wgt_keypair *wgt_keypair_alloc(struct wgt_peer *peer)
{
	struct wgt_keypair *pair = kzalloc(sizeof(*pair), GFP_KERNEL);

	if (!pair)
		return NULL;
	pair->id = atomic64_inc_return(&last_id);
	pair->entry.kind = WGT_INDEX_KEYPAIR;
	pair->entry.peer = peer;
	wgt_replay_init(&pair->replay);
	pr_debug("%s: Keypair %llu created for peer %llu\n", peer->wg->dev->name, pair->id,
		 peer->id);
	return pair;
}

static void erase(struct rcu_head *rcu)
{
	kfree_sensitive(container_of(rcu, struct wgt_keypair, rcu));
}

/*
 * Let go of a pair that is in no slot any more; NULL is fine. Peer and device
 * may be gone once the grace period is over, so the message comes now.
 */
static void retire(struct wgt_keypair *pair)
{
	struct wgt_peer *peer;

	if (!pair)
		return;
	peer = pair->entry.peer;
	WRITE_ONCE(pair->send_valid, false);
	WRITE_ONCE(pair->recv_valid, false);
	wgt_index_remove(peer->wg, &pair->entry);
	pr_debug("%s: Keypair %llu destroyed for peer %llu\n", peer->wg->dev->name, pair->id,
		 peer->id);
	call_rcu(&pair->rcu, erase);
}

void wgt_keypair_discard(struct wgt_keypair *pair)
{
	retire(pair);
}

/* Put @pair, which may be NULL, into a slot; returns what was there. */
static struct wgt_keypair *refill(struct wgt_keypairs *pairs, struct wgt_keypair __rcu **slot,
				  struct wgt_keypair *pair)
{
	return rcu_replace_pointer(*slot, pair, lockdep_is_held(&pairs->lock));
}

void wgt_keypair_install(struct wgt_peer *peer, struct wgt_keypair *pair)
{
	struct wgt_keypairs *pairs = &peer->keypairs;
	struct wgt_keypair *active, *waiting;

	spin_lock_bh(&pairs->lock);
	if (pair->initiator) {
		/*
		 * A pair that waits for its initiator was made after the active
		 * one: packets under it are the likelier to come late.
		 */
		active = refill(pairs, &pairs->current_pair, pair);
		waiting = refill(pairs, &pairs->next, NULL);
		retire(refill(pairs, &pairs->previous, waiting ?: active));
		if (waiting)
			retire(active);
	} else {
		/* The initiator has had the active pair for long: nothing older is under way. */
		retire(refill(pairs, &pairs->next, pair));
		retire(refill(pairs, &pairs->previous, NULL));
	}
	spin_unlock_bh(&pairs->lock);
}

bool wgt_keypair_confirm(struct wgt_peer *peer, struct wgt_keypair *pair)
{
	struct wgt_keypairs *pairs = &peer->keypairs;
	struct wgt_keypair *active;
	bool confirmed = false;

	if (likely(rcu_access_pointer(pairs->next) != pair))
		return false;

	spin_lock_bh(&pairs->lock);
	/* Another CPU may have been faster. */
	if (rcu_access_pointer(pairs->next) == pair) {
		active = refill(pairs, &pairs->current_pair, pair);
		refill(pairs, &pairs->next, NULL);
		retire(refill(pairs, &pairs->previous, active));
		confirmed = true;
	}
	spin_unlock_bh(&pairs->lock);
	return confirmed;
}

void wgt_keypairs_clear(struct wgt_peer *peer)
{
	struct wgt_keypairs *pairs = &peer->keypairs;

	spin_lock_bh(&pairs->lock);
	retire(refill(pairs, &pairs->next, NULL));
	retire(refill(pairs, &pairs->current_pair, NULL));
	retire(refill(pairs, &pairs->previous, NULL));
	spin_unlock_bh(&pairs->lock);
}

static void forbid_sending(struct wgt_keypair *pair)
{
	if (pair)
		WRITE_ONCE(pair->send_valid, false);
}

void wgt_keypairs_expire_send(struct wgt_peer *peer)
{
	struct wgt_keypairs *pairs = &peer->keypairs;

	spin_lock_bh(&pairs->lock);
	forbid_sending(rcu_dereference_protected(pairs->next, lockdep_is_held(&pairs->lock)));
	forbid_sending(rcu_dereference_protected(pairs->current_pair,
						 lockdep_is_held(&pairs->lock)));
	spin_unlock_bh(&pairs->lock);
}
