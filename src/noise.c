// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Each step reads and writes a transcript on the stack. It is copied into the
 * handshake of the peer, with all else that changes, at the very end: a
 * message that is refused at any step leaves no trace.
 */

#include <linux/ktime.h>
#include <linux/random.h>

#include "device.h"
#include "noise.h"
#include "peer.h"

/* The TAI64 label of 1970, when UTC was 10 s behind TAI. */
#define TAI64_BASE	0x400000000000000aULL
/* 16.8 ms: what timestamps are rounded to, lest the clock can be measured by them. */
#define TAI64N_GRAIN	BIT(24)

/**
 * struct transcript - Noise's "symmetric state"
 * @hash: of all that was said
 * @chain: of all that was agreed on
 */
struct transcript {
	u8 hash[WGT_HASH_LEN];
	u8 chain[WGT_HASH_LEN];
};

/* That of every handshake before anybody is named. */
static struct transcript origin __ro_after_init;

/* HMAC-BLAKE2s, for keys of this one length. */
static void hmac(u8 out[WGT_HASH_LEN], const u8 key[WGT_HASH_LEN], const void *in, size_t len)
{
	u8 pad[BLAKE2S_BLOCK_SIZE];
	struct blake2s_ctx ctx;
	unsigned int i;

	memset(pad, 0x36, sizeof(pad));
	for (i = 0; i < WGT_HASH_LEN; i++)
		pad[i] ^= key[i];
	blake2s_init(&ctx, WGT_HASH_LEN);
	blake2s_update(&ctx, pad, sizeof(pad));
	blake2s_update(&ctx, in, len);
	blake2s_final(&ctx, out);

	for (i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	blake2s_init(&ctx, WGT_HASH_LEN);
	blake2s_update(&ctx, pad, sizeof(pad));
	blake2s_update(&ctx, out, WGT_HASH_LEN);
	blake2s_final(&ctx, out);
	memzero_explicit(pad, sizeof(pad));
}

/* The KDF of the paper: @count keys from a chaining key and what is new. */
static void derive(u8 (*out)[WGT_HASH_LEN], unsigned int count, const u8 chain[WGT_HASH_LEN],
		   const void *in, size_t len)
{
	u8 secret[WGT_HASH_LEN], block[WGT_HASH_LEN + 1];
	unsigned int i, used = 0;

	hmac(secret, chain, in, len);
	for (i = 0; i < count; i++) {
		block[used] = i + 1;
		hmac(out[i], secret, block, used + 1);
		memcpy(block, out[i], WGT_HASH_LEN);
		used = WGT_HASH_LEN;
	}
	memzero_explicit(secret, sizeof(secret));
	memzero_explicit(block, sizeof(block));
}

static void mix_hash(struct transcript *t, const void *data, size_t len)
{
	struct blake2s_ctx ctx;

	blake2s_init(&ctx, WGT_HASH_LEN);
	blake2s_update(&ctx, t->hash, sizeof(t->hash));
	blake2s_update(&ctx, data, len);
	blake2s_final(&ctx, t->hash);
}

/* @key, where not NULL, gets a key that only holds for the transcript as it is now. */
static void mix_key(struct transcript *t, u8 key[WGT_KEY_LEN], const u8 secret[WGT_KEY_LEN])
{
	u8 out[2][WGT_HASH_LEN];

	derive(out, key ? 2 : 1, t->chain, secret, WGT_KEY_LEN);
	memcpy(t->chain, out[0], sizeof(t->chain));
	if (key)
		memcpy(key, out[1], WGT_KEY_LEN);
	memzero_explicit(out, sizeof(out));
}

/* False where @public is a point of low order: the secret would be nobody's. */
static bool mix_dh(struct transcript *t, u8 key[WGT_KEY_LEN], const u8 private[WGT_KEY_LEN],
		   const u8 public[WGT_KEY_LEN])
{
	u8 shared[WGT_KEY_LEN];
	bool good = curve25519(shared, private, public);

	if (good)
		mix_key(t, key, shared);
	memzero_explicit(shared, sizeof(shared));
	return good;
}

/* The DH of both static keys; false where there is none, see compute_static_static(). */
static bool mix_static_static(struct transcript *t, u8 key[WGT_KEY_LEN],
			      const struct wgt_handshake *hs)
{
	static const u8 none[WGT_KEY_LEN];

	if (!crypto_memneq(hs->static_static, none, sizeof(none)))
		return false;
	mix_key(t, key, hs->static_static);
	return true;
}

static void mix_psk(struct transcript *t, u8 key[WGT_KEY_LEN], const u8 psk[WGT_PSK_LEN])
{
	u8 out[3][WGT_HASH_LEN];

	derive(out, 3, t->chain, psk, WGT_PSK_LEN);
	memcpy(t->chain, out[0], sizeof(t->chain));
	mix_hash(t, out[1], sizeof(out[1]));
	memcpy(key, out[2], WGT_KEY_LEN);
	memzero_explicit(out, sizeof(out));
}

/* An ephemeral key is mixed twice: psk handshakes need it in the chain, too. */
static void mix_ephemeral(struct transcript *t, const u8 public[WGT_KEY_LEN])
{
	mix_key(t, NULL, public);
	mix_hash(t, public, WGT_KEY_LEN);
}

/* Writes WGT_SEALED(@len) bytes. */
static void seal_and_hash(struct transcript *t, u8 *out, const void *in, size_t len,
			  const u8 key[WGT_KEY_LEN])
{
	chacha20poly1305_encrypt(out, in, len, t->hash, sizeof(t->hash), 0, key);
	mix_hash(t, out, WGT_SEALED(len));
}

/* Reads WGT_SEALED(@len) bytes. */
static bool open_and_hash(struct transcript *t, void *out, const u8 *in, size_t len,
			  const u8 key[WGT_KEY_LEN])
{
	if (!chacha20poly1305_decrypt(out, in, WGT_SEALED(len), t->hash, sizeof(t->hash), 0, key))
		return false;
	mix_hash(t, in, WGT_SEALED(len));
	return true;
}

static void name_responder(struct transcript *t, const u8 public[WGT_KEY_LEN])
{
	*t = origin;
	mix_hash(t, public, WGT_KEY_LEN);
}

static void recall(struct transcript *t, const struct wgt_handshake *hs)
{
	memcpy(t->hash, hs->hash, sizeof(t->hash));
	memcpy(t->chain, hs->chain, sizeof(t->chain));
}

static void commit(struct wgt_handshake *hs, const struct transcript *t,
		   enum wgt_handshake_state state)
{
	memcpy(hs->hash, t->hash, sizeof(hs->hash));
	memcpy(hs->chain, t->chain, sizeof(hs->chain));
	hs->state = state;
}

void wgt_noise_init(void)
{
	static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
	static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

	wgt_blake2s(origin.chain, sizeof(origin.chain), (const u8 *)construction,
		    strlen(construction), NULL, 0);
	memcpy(origin.hash, origin.chain, sizeof(origin.hash));
	mix_hash(&origin, identifier, strlen(identifier));
}

void wgt_identity_set(struct wgt_identity *identity, const u8 key[WGT_KEY_LEN])
{
	lockdep_assert_held_write(&identity->lock);

	memcpy(identity->private_key, key, WGT_KEY_LEN);
	curve25519_clamp_secret(identity->private_key);
	/* Clamped keys are never zero, which means that no key is wanted. */
	identity->present = memchr_inv(key, 0, WGT_KEY_LEN) &&
			    curve25519_generate_public(identity->public_key,
						       identity->private_key);
	if (!identity->present) {
		memzero_explicit(identity->private_key, WGT_KEY_LEN);
		memset(identity->public_key, 0, WGT_KEY_LEN);
	}
}

/* All zero where either side has no key to speak of. */
static void compute_static_static(struct wgt_peer *peer)
{
	const struct wgt_identity *identity = &peer->wg->identity;
	struct wgt_handshake *hs = &peer->handshake;

	if (!identity->present ||
	    !curve25519(hs->static_static, identity->private_key, hs->remote_static))
		memzero_explicit(hs->static_static, sizeof(hs->static_static));
}

/* Give up what is under way; what outlives a handshake stays. */
static void forget(struct wgt_handshake *hs)
{
	wgt_index_remove(hs->entry.peer->wg, &hs->entry);
	memzero_explicit(hs->ephemeral, sizeof(hs->ephemeral));
	memzero_explicit(hs->remote_ephemeral, sizeof(hs->remote_ephemeral));
	memzero_explicit(hs->hash, sizeof(hs->hash));
	memzero_explicit(hs->chain, sizeof(hs->chain));
	hs->remote_index = 0;
	hs->state = WGT_HS_NONE;
}

void wgt_handshake_init(struct wgt_peer *peer, const u8 remote_static[WGT_KEY_LEN],
			const u8 psk[WGT_PSK_LEN])
{
	struct wgt_handshake *hs = &peer->handshake;

	memset(hs, 0, sizeof(*hs));
	mutex_init(&hs->lock);
	hs->entry.kind = WGT_INDEX_HANDSHAKE;
	hs->entry.peer = peer;
	/* As if one had come long ago: a machine may have booted just now. */
	hs->last_initiation_ns = ktime_get_coarse_boottime_ns() - WGT_INITIATION_GAP_NS;
	memcpy(hs->remote_static, remote_static, WGT_KEY_LEN);
	if (psk)
		memcpy(hs->psk, psk, WGT_PSK_LEN);
	compute_static_static(peer);
}

void wgt_handshake_precompute(struct wgt_peer *peer)
{
	struct wgt_handshake *hs = &peer->handshake;

	mutex_lock(&hs->lock);
	forget(hs);
	compute_static_static(peer);
	mutex_unlock(&hs->lock);
	/* The peer would take what we send under another name. */
	wgt_keypairs_expire_send(peer);
}

void wgt_handshake_clear(struct wgt_peer *peer)
{
	struct wgt_handshake *hs = &peer->handshake;

	mutex_lock(&hs->lock);
	forget(hs);
	mutex_unlock(&hs->lock);
}

void wgt_handshake_set_psk(struct wgt_peer *peer, const u8 psk[WGT_PSK_LEN])
{
	struct wgt_handshake *hs = &peer->handshake;

	mutex_lock(&hs->lock);
	memcpy(hs->psk, psk, WGT_PSK_LEN);
	mutex_unlock(&hs->lock);
}

static void read_clock(u8 timestamp[WGT_TAI64N_LEN])
{
	struct timespec64 now;

	ktime_get_real_ts64(&now);
	put_unaligned_be64(TAI64_BASE + now.tv_sec, timestamp);
	put_unaligned_be32(round_down(now.tv_nsec, TAI64N_GRAIN), timestamp + sizeof(__be64));
}

/* -> e, es, s, ss, {t} */
static bool write_initiation(const struct wgt_identity *identity, struct wgt_handshake *hs,
			     struct wgt_msg_initiation *msg)
{
	u8 key[WGT_KEY_LEN], timestamp[WGT_TAI64N_LEN];
	struct transcript t;
	bool written = false;

	name_responder(&t, hs->remote_static);
	curve25519_generate_secret(hs->ephemeral);
	if (!curve25519_generate_public(msg->ephemeral, hs->ephemeral))
		goto out;
	mix_ephemeral(&t, msg->ephemeral);
	if (!mix_dh(&t, key, hs->ephemeral, hs->remote_static))
		goto out;
	seal_and_hash(&t, msg->sealed_static, identity->public_key, WGT_KEY_LEN, key);
	if (!mix_static_static(&t, key, hs))
		goto out;
	read_clock(timestamp);
	seal_and_hash(&t, msg->sealed_timestamp, timestamp, sizeof(timestamp), key);

	if (wgt_index_insert(hs->entry.peer->wg, &hs->entry))
		goto out;
	msg->type = cpu_to_le32(WGT_MSG_INITIATION);
	msg->sender = hs->entry.index;
	commit(hs, &t, WGT_HS_SENT_INITIATION);
	written = true;
out:
	memzero_explicit(key, sizeof(key));
	memzero_explicit(&t, sizeof(t));
	return written;
}

bool wgt_noise_create_initiation(struct wgt_peer *peer, struct wgt_msg_initiation *msg)
{
	struct wgt_identity *identity = &peer->wg->identity;
	struct wgt_handshake *hs = &peer->handshake;
	bool written;

	/* Early at boot this may take long: not with locks held. */
	wait_for_random_bytes();

	down_read(&identity->lock);
	mutex_lock(&hs->lock);
	forget(hs);
	written = identity->present && !READ_ONCE(peer->dead) &&
		  write_initiation(identity, hs, msg);
	if (!written)
		forget(hs);
	mutex_unlock(&hs->lock);
	up_read(&identity->lock);
	return written;
}

/* <- e, es, s: who is it? */
static bool open_static(const struct wgt_identity *identity, struct transcript *t,
			u8 remote_static[WGT_KEY_LEN], const struct wgt_msg_initiation *msg)
{
	u8 key[WGT_KEY_LEN];
	bool opened;

	name_responder(t, identity->public_key);
	mix_ephemeral(t, msg->ephemeral);
	opened = mix_dh(t, key, identity->private_key, msg->ephemeral) &&
		 open_and_hash(t, remote_static, msg->sealed_static, WGT_KEY_LEN, key);
	memzero_explicit(key, sizeof(key));
	return opened;
}

/* <- ss, {t}: is it really them, and is it new? */
static bool accept_initiation(struct wgt_handshake *hs, struct transcript *t,
			      const struct wgt_msg_initiation *msg)
{
	u8 key[WGT_KEY_LEN], timestamp[WGT_TAI64N_LEN];
	u64 now = ktime_get_coarse_boottime_ns();
	bool opened;

	opened = mix_static_static(t, key, hs) &&
		 open_and_hash(t, timestamp, msg->sealed_timestamp, sizeof(timestamp), key);
	memzero_explicit(key, sizeof(key));
	if (!opened || memcmp(timestamp, hs->newest_timestamp, sizeof(timestamp)) <= 0)
		return false;
	if ((s64)(now - hs->last_initiation_ns) < WGT_INITIATION_GAP_NS)
		return false;

	forget(hs);
	memcpy(hs->remote_ephemeral, msg->ephemeral, WGT_KEY_LEN);
	memcpy(hs->newest_timestamp, timestamp, sizeof(timestamp));
	hs->last_initiation_ns = now;
	hs->remote_index = msg->sender;
	commit(hs, t, WGT_HS_GOT_INITIATION);
	return true;
}

struct wgt_peer *wgt_noise_consume_initiation(struct wgt_device *wg,
					      const struct wgt_msg_initiation *msg)
{
	struct wgt_identity *identity = &wg->identity;
	u8 remote_static[WGT_KEY_LEN];
	struct wgt_peer *peer = NULL;
	struct transcript t;
	bool accepted;

	down_read(&identity->lock);
	if (!identity->present || !open_static(identity, &t, remote_static, msg))
		goto out;
	peer = wgt_pubkey_find(wg, remote_static);
	if (!peer)
		goto out;

	mutex_lock(&peer->handshake.lock);
	accepted = !READ_ONCE(peer->dead) && accept_initiation(&peer->handshake, &t, msg);
	mutex_unlock(&peer->handshake.lock);
	if (!accepted) {
		wgt_peer_put(peer);
		peer = NULL;
	}
out:
	up_read(&identity->lock);
	memzero_explicit(&t, sizeof(t));
	return peer;
}

/* -> e, ee, se, psk, {} */
static bool write_response(struct wgt_handshake *hs, struct wgt_msg_response *msg)
{
	u8 key[WGT_KEY_LEN];
	struct transcript t;
	bool written = false;

	recall(&t, hs);
	curve25519_generate_secret(hs->ephemeral);
	if (!curve25519_generate_public(msg->ephemeral, hs->ephemeral))
		goto out;
	mix_ephemeral(&t, msg->ephemeral);
	if (!mix_dh(&t, NULL, hs->ephemeral, hs->remote_ephemeral) ||
	    !mix_dh(&t, NULL, hs->ephemeral, hs->remote_static))
		goto out;
	mix_psk(&t, key, hs->psk);
	seal_and_hash(&t, msg->sealed_nothing, NULL, 0, key);

	if (wgt_index_insert(hs->entry.peer->wg, &hs->entry))
		goto out;
	msg->type = cpu_to_le32(WGT_MSG_RESPONSE);
	msg->sender = hs->entry.index;
	msg->receiver = hs->remote_index;
	commit(hs, &t, WGT_HS_SENT_RESPONSE);
	written = true;
out:
	memzero_explicit(key, sizeof(key));
	memzero_explicit(&t, sizeof(t));
	return written;
}

bool wgt_noise_create_response(struct wgt_peer *peer, struct wgt_msg_response *msg)
{
	struct wgt_handshake *hs = &peer->handshake;
	bool written = false;

	wait_for_random_bytes();

	mutex_lock(&hs->lock);
	/* Another initiation or a new private key may have come in between. */
	if (hs->state == WGT_HS_GOT_INITIATION) {
		written = write_response(hs, msg);
		if (!written)
			forget(hs);
	}
	mutex_unlock(&hs->lock);
	return written;
}

/* <- e, ee, se, psk, {}: nothing is changed unless all is good */
static bool accept_response(const struct wgt_identity *identity, struct wgt_handshake *hs,
			    const struct wgt_msg_response *msg)
{
	u8 key[WGT_KEY_LEN], nothing[1];
	struct transcript t;
	bool good = false;

	recall(&t, hs);
	mix_ephemeral(&t, msg->ephemeral);
	if (!mix_dh(&t, NULL, hs->ephemeral, msg->ephemeral) ||
	    !mix_dh(&t, NULL, identity->private_key, msg->ephemeral))
		goto out;
	mix_psk(&t, key, hs->psk);
	if (!open_and_hash(&t, nothing, msg->sealed_nothing, 0, key))
		goto out;

	memcpy(hs->remote_ephemeral, msg->ephemeral, WGT_KEY_LEN);
	hs->remote_index = msg->sender;
	commit(hs, &t, WGT_HS_GOT_RESPONSE);
	good = true;
out:
	memzero_explicit(key, sizeof(key));
	memzero_explicit(&t, sizeof(t));
	return good;
}

/* Whose handshake has this index? */
static struct wgt_peer *find_initiator(struct wgt_device *wg, __le32 index)
{
	struct wgt_index_entry *entry;
	struct wgt_peer *peer = NULL;

	rcu_read_lock();
	entry = wgt_index_find(wg, index);
	if (entry && entry->kind == WGT_INDEX_HANDSHAKE)
		peer = wgt_peer_get_maybe(entry->peer);
	rcu_read_unlock();
	return peer;
}

struct wgt_peer *wgt_noise_consume_response(struct wgt_device *wg,
					    const struct wgt_msg_response *msg)
{
	struct wgt_peer *peer = find_initiator(wg, msg->receiver);
	struct wgt_identity *identity = &wg->identity;
	struct wgt_handshake *hs;
	bool accepted;

	if (!peer)
		return NULL;
	hs = &peer->handshake;

	down_read(&identity->lock);
	mutex_lock(&hs->lock);
	/* The handshake that had the index may be over by now. */
	accepted = identity->present && hs->state == WGT_HS_SENT_INITIATION &&
		   hs->entry.index == msg->receiver && !READ_ONCE(peer->dead) &&
		   accept_response(identity, hs, msg);
	mutex_unlock(&hs->lock);
	up_read(&identity->lock);

	if (!accepted) {
		wgt_peer_put(peer);
		peer = NULL;
	}
	return peer;
}

/* The initiator sends with the first key, the responder with the second. */
static void derive_session(struct wgt_keypair *pair, const struct wgt_handshake *hs)
{
	u8 keys[2][WGT_HASH_LEN];

	pair->initiator = hs->state == WGT_HS_GOT_RESPONSE;
	derive(keys, 2, hs->chain, NULL, 0);
	memcpy(pair->send_key, keys[pair->initiator ? 0 : 1], sizeof(pair->send_key));
	memcpy(pair->recv_key, keys[pair->initiator ? 1 : 0], sizeof(pair->recv_key));
	memzero_explicit(keys, sizeof(keys));

	pair->born = ktime_get_coarse_boottime_ns();
	pair->remote_index = hs->remote_index;
	pair->send_valid = true;
	pair->recv_valid = true;
}

bool wgt_noise_begin_session(struct wgt_peer *peer)
{
	struct wgt_handshake *hs = &peer->handshake;
	struct wgt_keypair *pair = NULL;
	bool begun = false;

	mutex_lock(&hs->lock);
	if (hs->state != WGT_HS_SENT_RESPONSE && hs->state != WGT_HS_GOT_RESPONSE)
		goto out;
	/* Whoever removes the peer takes our lock, then empties the slots. */
	if (!READ_ONCE(peer->dead))
		pair = wgt_keypair_alloc(peer);
	if (pair) {
		derive_session(pair, hs);
		if (!wgt_index_replace(peer->wg, &hs->entry, &pair->entry)) {
			wgt_keypair_install(peer, pair);
			begun = true;
		} else {
			wgt_keypair_discard(pair);
		}
	}
	forget(hs);
out:
	mutex_unlock(&hs->lock);
	return begun;
}
