/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Look-up tables of a device: a receiver index gives the handshake or the key
 * pair that a message belongs to, a public key gives its peer. Both grow and
 * shrink with their contents; readers only need the RCU read lock.
 */
#ifndef WGT_INDEX_H
#define WGT_INDEX_H

#include <linux/rhashtable.h>
#include <linux/types.h>

#include "messages.h"

struct wgt_device;
struct wgt_peer;

enum wgt_index_kind {
	WGT_INDEX_HANDSHAKE,
	WGT_INDEX_KEYPAIR,
};

/**
 * struct wgt_index_entry - one receiver index, embedded in what it stands for
 * @node: in the device's table, while @inserted
 * @index: random, unique in the device
 * @kind: what this is embedded in, &struct wgt_handshake or &struct wgt_keypair
 * @inserted: whether it is in the table; protected by the peer's handshake mutex
 * @peer: whose it is; valid as long as the entry can be found under RCU
 */
struct wgt_index_entry {
	struct rhash_head node;
	__le32 index;
	u8 kind;
	bool inserted;
	struct wgt_peer *peer;
};

/**
 * wgt_index_init() - make both tables of a device
 * @wg: device, not yet visible
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int wgt_index_init(struct wgt_device *wg);

/* wgt_index_destroy() - free both tables, empty by now. Process context, may sleep. */
void wgt_index_destroy(struct wgt_device *wg);

/**
 * wgt_index_insert() - give @entry a fresh random index and make it visible
 * @wg: device
 * @entry: kind and peer set, not inserted
 *
 * Context: process; the peer's handshake mutex is held.
 * Return: 0, -ENOMEM, or -ENOSPC where no free index was found.
 */
int wgt_index_insert(struct wgt_device *wg, struct wgt_index_entry *entry);

/**
 * wgt_index_replace() - let @new take over the index of @old in one step
 * @wg: device
 * @old: no longer inserted afterwards
 * @new: kind and peer set, not inserted
 *
 * A message that carries the index finds one or the other at any time.
 *
 * Context: process; the peer's handshake mutex is held.
 * Return: 0, or -ENOENT where @old was not inserted.
 */
int wgt_index_replace(struct wgt_device *wg, struct wgt_index_entry *old,
		      struct wgt_index_entry *new);

/* wgt_index_remove() - take @entry out; nothing happens where it is not in. Any BH-safe context. */
void wgt_index_remove(struct wgt_device *wg, struct wgt_index_entry *entry);

/**
 * wgt_index_find() - what does this receiver index stand for?
 * @wg: device
 * @index: as received
 *
 * Context: any, under the RCU read lock, which also bounds the life of the result.
 * Return: the entry, of either kind, or NULL.
 */
struct wgt_index_entry *wgt_index_find(struct wgt_device *wg, __le32 index);

/**
 * wgt_pubkey_insert() - make a peer findable by its public key
 * @wg: device; its config mutex is held
 * @peer: new, handshake.remote_static set
 *
 * Return: 0, -EEXIST or -ENOMEM.
 */
int wgt_pubkey_insert(struct wgt_device *wg, struct wgt_peer *peer);

/* wgt_pubkey_remove() - undo wgt_pubkey_insert(); the device's config mutex is held. */
void wgt_pubkey_remove(struct wgt_device *wg, struct wgt_peer *peer);

/**
 * wgt_pubkey_find() - the peer with this public key
 *
 * Context: any; takes the RCU read lock itself.
 * Return: the peer with a reference that the caller must put, or NULL.
 */
struct wgt_peer *wgt_pubkey_find(struct wgt_device *wg, const u8 key[WGT_KEY_LEN]);

#endif /* WGT_INDEX_H */
