/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s: section 5.4 of the
 * paper, and the Noise protocol framework, revision 34.
 *
 * Locks, outermost first: the device's identity.lock (read for a handshake,
 * write to change the private key), then a peer's handshake.lock. Both sleep:
 * handshakes run on work queues.
 */
#ifndef WGT_NOISE_H
#define WGT_NOISE_H

#include <linux/mutex.h>
#include <linux/rwsem.h>

#include "index.h"
#include "messages.h"

struct wgt_device;
struct wgt_peer;

/**
 * struct wgt_identity - static key pair of a device
 * @lock: see above
 * @private_key: clamped; all zero while not @present
 * @public_key: of it
 * @present: whether there is one
 */
struct wgt_identity {
	struct rw_semaphore lock;
	u8 private_key[WGT_KEY_LEN];
	u8 public_key[WGT_KEY_LEN];
	bool present;
};

enum wgt_handshake_state {
	WGT_HS_NONE,
	WGT_HS_SENT_INITIATION,
	WGT_HS_GOT_INITIATION,
	WGT_HS_SENT_RESPONSE,
	WGT_HS_GOT_RESPONSE,
};

/**
 * struct wgt_handshake - the one that is under way with a peer, and what outlives it
 * @lock: protects all but @remote_static, which never changes
 * @state: how far it is
 * @entry: our index while it is under way
 * @remote_index: theirs
 * @last_initiation_ns: when one was last accepted, boot time
 * @ephemeral: our ephemeral private key
 * @remote_ephemeral: theirs, public
 * @hash: transcript hash
 * @chain: chaining key
 * @remote_static: the peer's public key
 * @static_static: DH of both static keys, computed once
 * @psk: pre-shared key, zero for none
 * @newest_timestamp: highest TAI64N accepted
 */
struct wgt_handshake {
	struct mutex lock;
	enum wgt_handshake_state state;
	struct wgt_index_entry entry;
	__le32 remote_index;
	u64 last_initiation_ns;
	u8 ephemeral[WGT_KEY_LEN];
	u8 remote_ephemeral[WGT_KEY_LEN];
	u8 hash[WGT_HASH_LEN];
	u8 chain[WGT_HASH_LEN];
	u8 remote_static[WGT_KEY_LEN];
	u8 static_static[WGT_KEY_LEN];
	u8 psk[WGT_PSK_LEN];
	u8 newest_timestamp[WGT_TAI64N_LEN];
};

/* wgt_noise_init() - compute what every handshake starts from; once, before any device. */
void wgt_noise_init(void);

/**
 * wgt_identity_set() - change the static private key
 * @identity: its lock is held for writing
 * @key: private key, clamped here; all zero to have none
 *
 * The caller calls wgt_handshake_precompute() for all peers, then lets go.
 */
void wgt_identity_set(struct wgt_identity *identity, const u8 key[WGT_KEY_LEN]);

/* wgt_handshake_init() - a fresh peer's; @psk may be NULL. Process context, the identity lock is held. */
void wgt_handshake_init(struct wgt_peer *peer, const u8 remote_static[WGT_KEY_LEN],
			const u8 psk[WGT_PSK_LEN]);

/* wgt_handshake_precompute() - after the device's key changed; process context, identity lock held for writing. */
void wgt_handshake_precompute(struct wgt_peer *peer);

/* wgt_handshake_clear() - give up the one under way and erase its secrets. Process context, takes its lock. */
void wgt_handshake_clear(struct wgt_peer *peer);

/* wgt_handshake_set_psk() - change the pre-shared key. Process context, takes its lock. */
void wgt_handshake_set_psk(struct wgt_peer *peer, const u8 psk[WGT_PSK_LEN]);

/**
 * wgt_noise_create_initiation() - begin a handshake
 * @peer: with whom; one that was under way is forgotten
 * @msg: filled in but for its macs
 *
 * Context: process, may sleep. Takes both locks.
 * Return: false where there is no private key, no memory, or the peer's static
 * key is a low-order point.
 */
bool wgt_noise_create_initiation(struct wgt_peer *peer, struct wgt_msg_initiation *msg);

/**
 * wgt_noise_consume_initiation() - as responder
 * @wg: device
 * @msg: macs checked already
 *
 * Accepted once per timestamp, and at most once in WGT_INITIATION_GAP_NS.
 * Nothing of the peer changes unless all of it is valid.
 *
 * Context: process, may sleep. Takes both locks.
 * Return: the peer, with a reference that the caller must put, or NULL.
 */
struct wgt_peer *wgt_noise_consume_initiation(struct wgt_device *wg,
					      const struct wgt_msg_initiation *msg);

/* wgt_noise_create_response() - to the initiation just consumed; @msg is filled in but for its macs. As above. */
bool wgt_noise_create_response(struct wgt_peer *peer, struct wgt_msg_response *msg);

/* wgt_noise_consume_response() - to our initiation. As wgt_noise_consume_initiation(). */
struct wgt_peer *wgt_noise_consume_response(struct wgt_device *wg,
					    const struct wgt_msg_response *msg);

/**
 * wgt_noise_begin_session() - turn a finished handshake into a key pair
 * @peer: whose handshake sent or got a response
 *
 * The key pair takes over the handshake's index. A peer that is being removed
 * gets none.
 *
 * Context: process, may sleep. Takes the handshake lock.
 * Return: true where there is a new key pair.
 */
bool wgt_noise_begin_session(struct wgt_peer *peer);

#endif /* WGT_NOISE_H */
