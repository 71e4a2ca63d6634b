/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Key pairs of a session. A peer has up to three (section 6.3 of the paper has
 * the reason): previous, still good for late packets; current, used to send;
 * next, made by a responder that waits to hear from the initiator under it.
 *
 * A key pair lives as long as it is in one of the slots. Readers are in RCU
 * read-side sections and take no reference; it is erased and freed a grace
 * period after it left its slot.
 */
#ifndef WGT_KEYPAIR_H
#define WGT_KEYPAIR_H

#include <linux/atomic.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "index.h"
#include "replay.h"

/**
 * struct wgt_keypair - the two keys of one session
 * @send_key: for transport messages that we send
 * @send_valid: cleared when the key must not be used for sending any more
 * @remote_index: receiver index that goes into them
 * @born: when it was derived, in nanoseconds of ktime_get_coarse_boottime_ns()
 * @initiator: whether we began the handshake
 * @sent: number of nonces taken, which is the next nonce
 * @recv_key: for transport messages that we receive
 * @recv_valid: as @send_valid
 * @entry: our receiver index
 * @replay: window over what was received
 * @id: number for debug messages
 * @rcu: for its end
 */
struct wgt_keypair {
	u8 send_key[CHACHA20POLY1305_KEY_SIZE];
	bool send_valid;
	bool initiator;
	__le32 remote_index;
	u64 born;
	atomic64_t sent ____cacheline_aligned_in_smp;

	u8 recv_key[CHACHA20POLY1305_KEY_SIZE] ____cacheline_aligned_in_smp;
	bool recv_valid;
	struct wgt_index_entry entry;
	struct wgt_replay replay;
	u64 id;
	struct rcu_head rcu;
};

/**
 * struct wgt_keypairs - the three slots of a peer
 * @current_pair: sent with
 * @previous: received with
 * @next: received with; becomes current with the first message under it
 * @lock: for changing slots; BH-safe
 */
struct wgt_keypairs {
	struct wgt_keypair __rcu *current_pair;
	struct wgt_keypair __rcu *previous;
	struct wgt_keypair __rcu *next;
	spinlock_t lock;
};

/* wgt_keypair_age_over() - was it born more than @seconds ago? Any context. */
bool wgt_keypair_age_over(const struct wgt_keypair *pair, unsigned int seconds);

/**
 * wgt_keypair_alloc() - memory for a key pair, with an id and its debug message
 * @peer: whose it will be
 *
 * Context: process, may sleep.
 * Return: a key pair in no slot and not in the index, or NULL.
 */
struct wgt_keypair *wgt_keypair_alloc(struct wgt_peer *peer);

/* wgt_keypair_discard() - erase and free, with the debug message, a pair that was never in a slot. */
void wgt_keypair_discard(struct wgt_keypair *pair);

/**
 * wgt_keypair_install() - put a new pair into its slot
 * @peer: whose handshake mutex is held
 * @pair: findable by its index already; owned by the slots afterwards
 *
 * As initiator the pair becomes current, and what was current (or next, if
 * there was one) previous; as responder it becomes next, and previous is emptied.
 *
 * Context: process.
 */
void wgt_keypair_install(struct wgt_peer *peer, struct wgt_keypair *pair);

/**
 * wgt_keypair_confirm() - a message was authenticated under @pair
 * @peer: its peer
 * @pair: one of the slots, under the RCU read lock
 *
 * Where @pair is next it becomes current: the initiator has it, too.
 *
 * Context: any with BH disabled, RCU read lock held.
 * Return: true where this call made it current, so that staged packets can go.
 */
bool wgt_keypair_confirm(struct wgt_peer *peer, struct wgt_keypair *pair);

/**
 * wgt_keypairs_clear() - empty all slots
 * @peer: peer
 *
 * The pairs can't be found by their index, and are not used for sending, when
 * this returns; readers that had one before may finish with it.
 *
 * Context: any, but hardirq.
 */
void wgt_keypairs_clear(struct wgt_peer *peer);

/* wgt_keypairs_expire_send() - keep receiving, but send nothing more under current and next. As above. */
void wgt_keypairs_expire_send(struct wgt_peer *peer);

#endif /* WGT_KEYPAIR_H */
