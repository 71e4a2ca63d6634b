/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Cryptokey routing: which peer a destination belongs to, and whether a source
 * may come from a peer (section 2 of the paper). A path-compressed binary trie
 * per address family; look-ups need the RCU read lock only.
 */
#ifndef WGT_ALLOWEDIPS_H
#define WGT_ALLOWEDIPS_H

#include <linux/in6.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/skbuff.h>

struct wgt_peer;
struct wgt_allowedip;

/**
 * struct wgt_allowedips - both tries of a device
 * @root4: for IPv4
 * @root6: for IPv6
 */
struct wgt_allowedips {
	struct wgt_allowedip __rcu *root4;
	struct wgt_allowedip __rcu *root6;
};

/* wgt_allowedips_init() - empty tries; any context. */
void wgt_allowedips_init(struct wgt_allowedips *table);

/**
 * wgt_allowedips_insert() - route a prefix to a peer
 * @table: tries
 * @family: AF_INET or AF_INET6
 * @addr: &struct in_addr or &struct in6_addr; bits beyond @cidr are ignored
 * @cidr: prefix length
 * @peer: whose it becomes, taken from another peer that had the same prefix
 * @lock: the mutex that the caller holds
 *
 * Context: process, may sleep.
 * Return: 0, -EINVAL for a bad family or length, -ENOMEM with nothing changed.
 */
int wgt_allowedips_insert(struct wgt_allowedips *table, int family, const void *addr, u8 cidr,
			  struct wgt_peer *peer, struct mutex *lock);

/* wgt_allowedips_remove() - as insert; where @peer does not have exactly that prefix nothing happens and 0 is returned. */
int wgt_allowedips_remove(struct wgt_allowedips *table, int family, const void *addr, u8 cidr,
			  struct wgt_peer *peer, struct mutex *lock);

/* wgt_allowedips_remove_peer() - remove all prefixes of a peer. Process context, @lock held. */
void wgt_allowedips_remove_peer(struct wgt_allowedips *table, struct wgt_peer *peer,
				struct mutex *lock);

/* wgt_allowedips_free() - remove everything. Process context, @lock held. */
void wgt_allowedips_free(struct wgt_allowedips *table, struct mutex *lock);

/**
 * wgt_allowedips_find() - longest prefix match
 * @table: tries
 * @family: AF_INET or AF_INET6
 * @addr: &struct in_addr or &struct in6_addr
 *
 * Context: any, under the RCU read lock, which also bounds the life of the
 * result: no reference is taken.
 * Return: peer or NULL.
 */
struct wgt_peer *wgt_allowedips_find(const struct wgt_allowedips *table, int family,
				     const void *addr);

/* wgt_allowedips_find_dst(), _src() - of an IP packet whose header is linear, by its own version; else as above. */
struct wgt_peer *wgt_allowedips_find_dst(const struct wgt_allowedips *table,
					 const struct sk_buff *skb);
struct wgt_peer *wgt_allowedips_find_src(const struct wgt_allowedips *table,
					 const struct sk_buff *skb);

/**
 * wgt_allowedip_first(), wgt_allowedip_next() - walk the prefixes of a peer
 *
 * Context: process, the mutex of the tries held. A walk may be continued with
 * an entry remembered from before only while nothing was changed in between.
 * Return: an entry, or NULL at the end.
 */
struct wgt_allowedip *wgt_allowedip_first(const struct wgt_peer *peer);
struct wgt_allowedip *wgt_allowedip_next(const struct wgt_peer *peer, struct wgt_allowedip *ip);

/*
 * wgt_allowedip_get() - the entry of exactly this prefix, where it is @peer's; else NULL. Process
 * context, @lock held: to go on with a walk after the lock was given up.
 */
struct wgt_allowedip *wgt_allowedip_get(struct wgt_allowedips *table, int family,
					const void *addr, u8 cidr,
					const struct wgt_peer *peer, struct mutex *lock);

/* wgt_allowedip_read() - an entry's prefix; @addr is filled in. Returns AF_INET or AF_INET6. */
int wgt_allowedip_read(const struct wgt_allowedip *ip, struct in6_addr *addr, u8 *cidr);

/* wgt_allowedips_module_init(), _exit() - the slab cache of nodes; _exit() waits for the last to be freed. */
int wgt_allowedips_module_init(void);
void wgt_allowedips_module_exit(void);

#endif /* WGT_ALLOWEDIPS_H */
