// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/delay.h>
#include <linux/once.h>
#include <linux/random.h>
#include <linux/siphash.h>

#include "device.h"
#include "index.h"
#include "peer.h"

/* Where a table is being resized for the second time an insertion waits: 0.8 s in all. */
#define MAX_TRIES	40

static const struct rhashtable_params index_params = {
	.key_len = sizeof_field(struct wgt_index_entry, index),
	.key_offset = offsetof(struct wgt_index_entry, index),
	.head_offset = offsetof(struct wgt_index_entry, node),
	.automatic_shrinking = true,
};

/* Public keys are chosen by others: the hash must not be predictable. */
static u32 hash_pubkey(const void *key, u32 len, u32 seed)
{
	static siphash_key_t secret __read_mostly;
	siphash_key_t seeded;

	get_random_once(&secret, sizeof(secret));
	seeded = secret;
	seeded.key[0] ^= seed;
	return siphash(key, WGT_KEY_LEN, &seeded);
}

static u32 hash_peer(const void *data, u32 len, u32 seed)
{
	const struct wgt_peer *peer = data;

	return hash_pubkey(peer->handshake.remote_static, WGT_KEY_LEN, seed);
}

static int compare_pubkey(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct wgt_peer *peer = obj;

	return memcmp(peer->handshake.remote_static, arg->key, WGT_KEY_LEN);
}

static const struct rhashtable_params pubkey_params = {
	.key_len = WGT_KEY_LEN,
	.head_offset = offsetof(struct wgt_peer, pubkey_node),
	.hashfn = hash_pubkey,
	.obj_hashfn = hash_peer,
	.obj_cmpfn = compare_pubkey,
	.automatic_shrinking = true,
};

int wgt_index_init(struct wgt_device *wg)
{
	if (rhashtable_init(&wg->index_table, &index_params))
		return -ENOMEM;
	if (rhashtable_init(&wg->pubkey_table, &pubkey_params)) {
		rhashtable_destroy(&wg->index_table);
		return -ENOMEM;
	}
	return 0;
}

void wgt_index_destroy(struct wgt_device *wg)
{
	WARN_ON_ONCE(atomic_read(&wg->index_table.nelems));
	WARN_ON_ONCE(atomic_read(&wg->pubkey_table.nelems));
	rhashtable_destroy(&wg->pubkey_table);
	rhashtable_destroy(&wg->index_table);
}

int wgt_index_insert(struct wgt_device *wg, struct wgt_index_entry *entry)
{
	unsigned int tries;
	int err;

	for (tries = 0; tries < MAX_TRIES; tries++) {
		/*
		 * A reader may still pass over the entry from when it was last
		 * in the table: it sees either index, and both may be found.
		 */
		WRITE_ONCE(entry->index, (__force __le32)get_random_u32());
		err = rhashtable_lookup_insert_fast(&wg->index_table, &entry->node,
						    index_params);
		if (!err) {
			entry->inserted = true;
			return 0;
		}
		if (err == -ENOMEM)
			return err;
		if (err != -EEXIST)
			msleep(tries);
	}
	return -ENOSPC;
}

int wgt_index_replace(struct wgt_device *wg, struct wgt_index_entry *old,
		      struct wgt_index_entry *new)
{
	int err;

	if (!old->inserted)
		return -ENOENT;
	new->index = old->index;
	err = rhashtable_replace_fast(&wg->index_table, &old->node, &new->node, index_params);
	if (WARN_ON_ONCE(err))
		return -ENOENT;
	old->inserted = false;
	new->inserted = true;
	return 0;
}

void wgt_index_remove(struct wgt_device *wg, struct wgt_index_entry *entry)
{
	if (!entry->inserted)
		return;
	entry->inserted = false;
	WARN_ON_ONCE(rhashtable_remove_fast(&wg->index_table, &entry->node, index_params));
}

struct wgt_index_entry *wgt_index_find(struct wgt_device *wg, __le32 index)
{
	return rhashtable_lookup(&wg->index_table, &index, index_params);
}

int wgt_pubkey_insert(struct wgt_device *wg, struct wgt_peer *peer)
{
	unsigned int tries;
	int err;

	for (tries = 0; tries < MAX_TRIES; tries++) {
		err = rhashtable_lookup_insert_key(&wg->pubkey_table,
						   peer->handshake.remote_static,
						   &peer->pubkey_node, pubkey_params);
		if (!err || err == -EEXIST || err == -ENOMEM)
			return err;
		msleep(tries);
	}
	return -ENOMEM;
}

void wgt_pubkey_remove(struct wgt_device *wg, struct wgt_peer *peer)
{
	rhashtable_remove_fast(&wg->pubkey_table, &peer->pubkey_node, pubkey_params);
}

struct wgt_peer *wgt_pubkey_find(struct wgt_device *wg, const u8 key[WGT_KEY_LEN])
{
	struct wgt_peer *peer;

	rcu_read_lock();
	peer = rhashtable_lookup(&wg->pubkey_table, key, pubkey_params);
	peer = wgt_peer_get_maybe(peer);
	rcu_read_unlock();
	return peer;
}
