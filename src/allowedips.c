// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * An entry stands for a prefix. Below it, on the side that the first bit after
 * the prefix tells, are longer prefixes that begin with it, one link for many
 * bits where nothing branches:
 *
 *	            10.0.0.0/8 peer A
 *	           /          \
 *	  10.0.0.0/24 B      10.192.0.0/10 glue
 *	                     /            \
 *	          10.192.0.0/16 C     10.224.0.0/16 A
 *
 * Glue belongs to nobody and always has two children: when it loses one, the
 * other takes its place. So there are fewer glue entries than prefixes.
 *
 * Writers are serialised by a mutex of the caller's. They publish an entry once
 * it is complete, and change published ones by single pointer stores. A reader
 * on an entry that was unlinked below its feet still finds all that was there
 * when it came: neither that entry nor what hung below it is freed before the
 * reader is done.
 */
#include <linux/bitops.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/slab.h>

#include "allowedips.h"
#include "peer.h"

/* An address as a number, most significant half first. IPv4 is in the upper half of @hi. */
struct prefix_key {
	u64 hi;
	u64 lo;
};

/**
 * struct wgt_allowedip - a prefix, or glue
 * @key: its bits, zero beyond @cidr
 * @peer: whose, NULL for glue
 * @child: longer ones, by their bit number @cidr
 * @parent: for writers only; NULL at the root
 * @cidr: number of bits
 * @width: 32 or 128
 * @of_peer: in the peer's list, where there is one
 * @rcu: for its end
 */
struct wgt_allowedip {
	struct prefix_key key;
	struct wgt_peer __rcu *peer;
	struct wgt_allowedip __rcu *child[2];
	struct wgt_allowedip *parent;
	u8 cidr;
	u8 width;
	union {
		struct list_head of_peer;
		struct rcu_head rcu;
	};
};

static struct kmem_cache *cache;

#define writer_deref(p, lock) rcu_dereference_protected(p, lockdep_is_held(lock))

static __always_inline struct prefix_key key_of(const void *addr, bool wide)
{
	struct prefix_key key = { 0 };

	if (wide) {
		key.hi = get_unaligned_be64(addr);
		key.lo = get_unaligned_be64(addr + sizeof(u64));
	} else {
		key.hi = (u64)get_unaligned_be32(addr) << 32;
	}
	return key;
}

static __always_inline unsigned int bit_of(struct prefix_key key, unsigned int n, bool wide)
{
	if (wide && n >= 64)
		return key.lo >> (127 - n) & 1;
	return key.hi >> (63 - n) & 1;
}

/* Number of leading bits that are the same: at least the width where all are. */
static __always_inline unsigned int common_bits(struct prefix_key a, struct prefix_key b,
						bool wide)
{
	if (!wide || a.hi != b.hi)
		return 64 - fls64(a.hi ^ b.hi);
	return 128 - fls64(a.lo ^ b.lo);
}

static struct prefix_key cut(struct prefix_key key, unsigned int cidr)
{
	if (cidr <= 64)
		key.lo = 0;
	else if (cidr < 128)
		key.lo &= ~(~0ULL >> (cidr - 64));
	if (cidr < 64)
		key.hi &= ~(~0ULL >> cidr);
	return key;
}

static __always_inline struct wgt_peer *longest_match(const struct wgt_allowedip *entry,
						      struct prefix_key key, bool wide)
{
	const unsigned int width = wide ? 128 : 32;
	struct wgt_peer *best = NULL, *peer;

	while (entry && common_bits(entry->key, key, wide) >= entry->cidr) {
		peer = rcu_dereference(entry->peer);
		if (peer)
			best = peer;
		if (entry->cidr == width)
			break;
		entry = rcu_dereference(entry->child[bit_of(key, entry->cidr, wide)]);
	}
	return best;
}

static struct wgt_peer *find4(const struct wgt_allowedips *table, const void *addr)
{
	return longest_match(rcu_dereference(table->root4), key_of(addr, false), false);
}

static struct wgt_peer *find6(const struct wgt_allowedips *table, const void *addr)
{
	return longest_match(rcu_dereference(table->root6), key_of(addr, true), true);
}

struct wgt_peer *wgt_allowedips_find(const struct wgt_allowedips *table, int family,
				     const void *addr)
{
	switch (family) {
	case AF_INET:
		return find4(table, addr);
	case AF_INET6:
		return find6(table, addr);
	default:
		return NULL;
	}
}

struct wgt_peer *wgt_allowedips_find_dst(const struct wgt_allowedips *table,
					 const struct sk_buff *skb)
{
	switch (ip_hdr(skb)->version) {
	case 4:
		return find4(table, &ip_hdr(skb)->daddr);
	case 6:
		return find6(table, &ipv6_hdr(skb)->daddr);
	default:
		return NULL;
	}
}

struct wgt_peer *wgt_allowedips_find_src(const struct wgt_allowedips *table,
					 const struct sk_buff *skb)
{
	switch (ip_hdr(skb)->version) {
	case 4:
		return find4(table, &ip_hdr(skb)->saddr);
	case 6:
		return find6(table, &ipv6_hdr(skb)->saddr);
	default:
		return NULL;
	}
}

static unsigned int width_of(int family)
{
	switch (family) {
	case AF_INET:
		return 32;
	case AF_INET6:
		return 128;
	default:
		return 0;
	}
}

static struct wgt_allowedip __rcu **root_of(struct wgt_allowedips *table, unsigned int width)
{
	return width == 32 ? &table->root4 : &table->root6;
}

/* The pointer that links an entry into its trie. */
static struct wgt_allowedip __rcu **link_of(struct wgt_allowedips *table,
					    const struct wgt_allowedip *entry)
{
	struct wgt_allowedip *parent = entry->parent;

	if (!parent)
		return root_of(table, entry->width);
	return &parent->child[bit_of(entry->key, parent->cidr, true)];
}

/**
 * struct place - where in a trie a prefix is, or would be
 * @link: pointer to what is there
 * @parent: entry that @link is in, NULL at the root
 * @entry: what is there: the prefix itself, something that it branches off
 *	from above or is on the way to, or nothing
 * @common: number of leading bits that @entry has in common with the prefix
 */
struct place {
	struct wgt_allowedip __rcu **link;
	struct wgt_allowedip *parent;
	struct wgt_allowedip *entry;
	unsigned int common;
};

static void find_place(struct place *place, struct wgt_allowedips *table, unsigned int width,
		       struct prefix_key key, unsigned int cidr, struct mutex *lock)
{
	struct wgt_allowedip *entry;

	place->parent = NULL;
	place->link = root_of(table, width);
	place->common = 0;
	for (;;) {
		entry = writer_deref(*place->link, lock);
		place->entry = entry;
		if (!entry)
			return;
		place->common = min3(common_bits(entry->key, key, true), cidr,
				     (unsigned int)entry->cidr);
		if (place->common < entry->cidr || entry->cidr == cidr)
			return;
		place->parent = entry;
		place->link = &entry->child[bit_of(key, entry->cidr, true)];
	}
}

static bool is_exact(const struct place *place, unsigned int cidr)
{
	return place->entry && place->common == cidr && place->entry->cidr == cidr;
}

static struct wgt_allowedip *new_entry(struct prefix_key key, unsigned int cidr, unsigned int width)
{
	struct wgt_allowedip *entry = kmem_cache_zalloc(cache, GFP_KERNEL);

	if (entry) {
		entry->key = cut(key, cidr);
		entry->cidr = cidr;
		entry->width = width;
	}
	return entry;
}

static void free_entry_rcu(struct rcu_head *rcu)
{
	kmem_cache_free(cache, container_of(rcu, struct wgt_allowedip, rcu));
}

/* In a list it must not be any more: what links it there serves for this now. */
static void free_entry_later(struct wgt_allowedip *entry)
{
	call_rcu(&entry->rcu, free_entry_rcu);
}

/* Not yet published: readers come later. */
static void adopt(struct wgt_allowedip *parent, struct wgt_allowedip *child)
{
	RCU_INIT_POINTER(parent->child[bit_of(child->key, parent->cidr, true)], child);
	child->parent = parent;
}

/* Between @place->parent and @place->entry: as leaf, above the entry, or beside it under new glue. */
static int insert_at(const struct place *place, struct wgt_allowedip *entry)
{
	struct wgt_allowedip *top = entry;

	if (place->entry && place->common < entry->cidr) {
		top = new_entry(entry->key, place->common, entry->width);
		if (!top)
			return -ENOMEM;
		adopt(top, entry);
	}
	if (place->entry)
		adopt(top, place->entry);
	top->parent = place->parent;
	rcu_assign_pointer(*place->link, top);
	return 0;
}

static void give_to(struct wgt_allowedip *entry, struct wgt_peer *peer, struct mutex *lock)
{
	if (writer_deref(entry->peer, lock))
		list_del(&entry->of_peer);
	list_add_tail(&entry->of_peer, &peer->allowedips);
	rcu_assign_pointer(entry->peer, peer);
}

int wgt_allowedips_insert(struct wgt_allowedips *table, int family, const void *addr, u8 cidr,
			  struct wgt_peer *peer, struct mutex *lock)
{
	unsigned int width = width_of(family);
	struct wgt_allowedip *entry;
	struct place place;
	struct prefix_key key;

	if (!width || cidr > width)
		return -EINVAL;
	key = cut(key_of(addr, width == 128), cidr);
	find_place(&place, table, width, key, cidr, lock);
	if (is_exact(&place, cidr)) {
		give_to(place.entry, peer, lock);
		return 0;
	}

	entry = new_entry(key, cidr, width);
	if (!entry)
		return -ENOMEM;
	give_to(entry, peer, lock);
	if (insert_at(&place, entry)) {
		list_del(&entry->of_peer);
		kmem_cache_free(cache, entry);
		return -ENOMEM;
	}
	return 0;
}

/* An entry that belongs to nobody and has at most one child: that takes its place. */
static void splice_out(struct wgt_allowedips *table, struct wgt_allowedip *entry,
		       struct mutex *lock)
{
	struct wgt_allowedip *child = writer_deref(entry->child[0], lock);

	if (!child)
		child = writer_deref(entry->child[1], lock);
	if (child)
		child->parent = entry->parent;
	rcu_assign_pointer(*link_of(table, entry), child);
	free_entry_later(entry);
}

static bool is_full(const struct wgt_allowedip *entry)
{
	return rcu_access_pointer(entry->child[0]) && rcu_access_pointer(entry->child[1]);
}

static void take_away(struct wgt_allowedips *table, struct wgt_allowedip *entry,
		      struct mutex *lock)
{
	struct wgt_allowedip *parent = entry->parent;

	list_del(&entry->of_peer);
	RCU_INIT_POINTER(entry->peer, NULL);
	if (is_full(entry))
		return;
	splice_out(table, entry, lock);
	if (parent && !rcu_access_pointer(parent->peer) && !is_full(parent))
		splice_out(table, parent, lock);
}

int wgt_allowedips_remove(struct wgt_allowedips *table, int family, const void *addr, u8 cidr,
			  struct wgt_peer *peer, struct mutex *lock)
{
	struct wgt_allowedip *entry;

	if (!width_of(family) || cidr > width_of(family))
		return -EINVAL;
	entry = wgt_allowedip_get(table, family, addr, cidr, peer, lock);
	if (entry)
		take_away(table, entry, lock);
	return 0;
}

void wgt_allowedips_remove_peer(struct wgt_allowedips *table, struct wgt_peer *peer,
				struct mutex *lock)
{
	struct wgt_allowedip *entry, *next;

	lockdep_assert_held(lock);
	list_for_each_entry_safe(entry, next, &peer->allowedips, of_peer)
		take_away(table, entry, lock);
}

/* From the leaves up, along the parent links: tries may be deep, and stacks are not. */
static void free_trie(struct wgt_allowedip *entry, struct mutex *lock)
{
	struct wgt_allowedip *child, *parent;
	unsigned int i;

	while (entry) {
		child = NULL;
		for (i = 0; i < 2 && !child; i++) {
			child = writer_deref(entry->child[i], lock);
			RCU_INIT_POINTER(entry->child[i], NULL);
		}
		if (child) {
			entry = child;
			continue;
		}
		parent = entry->parent;
		if (rcu_access_pointer(entry->peer))
			list_del(&entry->of_peer);
		RCU_INIT_POINTER(entry->peer, NULL);
		free_entry_later(entry);
		entry = parent;
	}
}

void wgt_allowedips_free(struct wgt_allowedips *table, struct mutex *lock)
{
	free_trie(rcu_replace_pointer(table->root4, NULL, lockdep_is_held(lock)), lock);
	free_trie(rcu_replace_pointer(table->root6, NULL, lockdep_is_held(lock)), lock);
}

void wgt_allowedips_init(struct wgt_allowedips *table)
{
	RCU_INIT_POINTER(table->root4, NULL);
	RCU_INIT_POINTER(table->root6, NULL);
}

struct wgt_allowedip *wgt_allowedip_first(const struct wgt_peer *peer)
{
	if (list_empty(&peer->allowedips))
		return NULL;
	return list_first_entry(&peer->allowedips, struct wgt_allowedip, of_peer);
}

struct wgt_allowedip *wgt_allowedip_next(const struct wgt_peer *peer, struct wgt_allowedip *ip)
{
	if (list_is_last(&ip->of_peer, &peer->allowedips))
		return NULL;
	return list_next_entry(ip, of_peer);
}

struct wgt_allowedip *wgt_allowedip_get(struct wgt_allowedips *table, int family,
					const void *addr, u8 cidr,
					const struct wgt_peer *peer, struct mutex *lock)
{
	unsigned int width = width_of(family);
	struct place place;

	if (!width || cidr > width)
		return NULL;
	find_place(&place, table, width, cut(key_of(addr, width == 128), cidr), cidr, lock);
	if (!is_exact(&place, cidr) || rcu_access_pointer(place.entry->peer) != peer)
		return NULL;
	return place.entry;
}

int wgt_allowedip_read(const struct wgt_allowedip *ip, struct in6_addr *addr, u8 *cidr)
{
	*cidr = ip->cidr;
	put_unaligned_be64(ip->key.hi, &addr->s6_addr[0]);
	put_unaligned_be64(ip->key.lo, &addr->s6_addr[8]);
	return ip->width == 32 ? AF_INET : AF_INET6;
}

int wgt_allowedips_module_init(void)
{
	cache = kmem_cache_create("wgt_allowedip", sizeof(struct wgt_allowedip), 0, 0, NULL);
	return cache ? 0 : -ENOMEM;
}

void wgt_allowedips_module_exit(void)
{
	rcu_barrier();
	kmem_cache_destroy(cache);
}
