// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/slab.h>

#include "allowedips.h"
#include "device.h"
#include "handshake.h"
#include "index.h"
#include "peer.h"
#include "pipeline.h"

static struct kmem_cache *peer_cache;
static atomic64_t next_id = ATOMIC64_INIT(0);

struct wgt_peer *wgt_peer_create(struct wgt_device *wg, const u8 public_key[WGT_KEY_LEN],
				 const u8 psk[WGT_PSK_LEN])
{
	struct wgt_peer *peer;
	int ret;

	lockdep_assert_held(&wg->config);
	if (wg->peer_count >= WGT_MAX_PEERS)
		return ERR_PTR(-ENOMEM);
	peer = kmem_cache_zalloc(peer_cache, GFP_KERNEL);
	if (!peer)
		return ERR_PTR(-ENOMEM);
	ret = dst_cache_init(&peer->route_cache, GFP_KERNEL);
	if (ret)
		goto free_peer;

	peer->wg = wg;
	peer->id = atomic64_inc_return(&next_id);
	kref_init(&peer->ref);
	seqlock_init(&peer->endpoint_lock);
	spin_lock_init(&peer->stage.lock);
	__skb_queue_head_init(&peer->stage.queue);
	spin_lock_init(&peer->keypairs.lock);
	INIT_LIST_HEAD(&peer->allowedips);
	wgt_handshake_init(peer, public_key, psk);
	wgt_cookie_init(peer);
	wgt_timers_init(peer);
	wgt_handshake_peer_init(peer);
	ret = wgt_pubkey_insert(wg, peer);
	if (ret)
		goto free_cache;

	list_add_tail(&peer->list, &wg->peers);
	wg->peer_count++;
	pr_debug("%s: Peer %llu created\n", wg->dev->name, peer->id);
	return peer;

free_cache:
	wgt_timers_shutdown(peer);
	dst_cache_destroy(&peer->route_cache);
free_peer:
	memzero_explicit(peer, sizeof(*peer));
	kmem_cache_free(peer_cache, peer);
	return ERR_PTR(ret);
}

static void free_peer_rcu(struct rcu_head *rcu)
{
	struct wgt_peer *peer = container_of(rcu, struct wgt_peer, rcu);

	/* A drain that ran into the peer's end may have put packets back. */
	__skb_queue_purge(&peer->stage.queue);
	dst_cache_destroy(&peer->route_cache);
	memzero_explicit(peer, sizeof(*peer));
	kmem_cache_free(peer_cache, peer);
}

static void release_peer(struct kref *ref)
{
	struct wgt_peer *peer = container_of(ref, struct wgt_peer, ref);

	pr_debug("%s: Peer %llu (%pISpfsc) destroyed\n", peer->wg->dev->name, peer->id,
		 &peer->endpoint.addr);
	call_rcu(&peer->rcu, free_peer_rcu);
}

struct wgt_peer *wgt_peer_get_maybe(struct wgt_peer *peer)
{
	if (peer && !READ_ONCE(peer->dead) && kref_get_unless_zero(&peer->ref))
		return peer;
	return NULL;
}

void wgt_peer_put(struct wgt_peer *peer)
{
	if (peer)
		kref_put(&peer->ref, release_peer);
}

/* Nobody finds it any more, and whoever found it before sees that it is dead. */
static void unlink_peer(struct wgt_peer *peer)
{
	struct wgt_device *wg = peer->wg;

	WRITE_ONCE(peer->dead, true);
	wgt_allowedips_remove_peer(&wg->allowedips, peer, &wg->config);
	wgt_pubkey_remove(wg, peer);
	wgt_keypairs_clear(peer);
	wg->peer_count--;
}

/* At least a grace period after unlink_peer(): packets are done with it. */
static void take_apart(struct wgt_peer *peer)
{
	wgt_timers_shutdown(peer);
	wgt_handshake_peer_stop(peer);
	/* A handshake that was under way on a work queue may have left things behind. */
	wgt_handshake_clear(peer);
	wgt_keypairs_clear(peer);
	peer->wg->pipeline->purge(peer);
	wgt_peer_put(peer);
}

void wgt_peer_remove(struct wgt_peer *peer)
{
	lockdep_assert_held(&peer->wg->config);
	list_del_init(&peer->list);
	unlink_peer(peer);
	synchronize_net();
	take_apart(peer);
}

void wgt_peer_remove_all(struct wgt_device *wg)
{
	struct wgt_peer *peer, *next;
	LIST_HEAD(dying);

	lockdep_assert_held(&wg->config);
	if (list_empty(&wg->peers))
		return;
	list_splice_init(&wg->peers, &dying);
	list_for_each_entry(peer, &dying, list)
		unlink_peer(peer);
	synchronize_net();
	list_for_each_entry_safe(peer, next, &dying, list) {
		list_del_init(&peer->list);
		take_apart(peer);
	}
}

void wgt_peer_get_endpoint(struct wgt_peer *peer, struct wgt_endpoint *endpoint)
{
	unsigned int seq;

	do {
		seq = read_seqbegin(&peer->endpoint_lock);
		*endpoint = peer->endpoint;
	} while (read_seqretry(&peer->endpoint_lock, seq));
}

/*
 * The cache takes a route that was stored in the jiffy of its reset for a newer
 * one. It may be an older: let those of this jiffy be looked up again, too.
 */
static void expire_routes(struct wgt_peer *peer)
{
	WRITE_ONCE(peer->route_cache.reset_ts, jiffies + 1);
}

void wgt_peer_set_endpoint(struct wgt_peer *peer, const struct wgt_endpoint *endpoint)
{
	struct wgt_endpoint old;

	wgt_peer_get_endpoint(peer, &old);
	if (!memcmp(&old, endpoint, sizeof(old)))
		return;
	write_seqlock_bh(&peer->endpoint_lock);
	peer->endpoint = *endpoint;
	expire_routes(peer);
	write_sequnlock_bh(&peer->endpoint_lock);
}

void wgt_peer_clear_source(struct wgt_peer *peer)
{
	write_seqlock_bh(&peer->endpoint_lock);
	memset(&peer->endpoint.src6, 0, sizeof(peer->endpoint.src6));
	expire_routes(peer);
	write_sequnlock_bh(&peer->endpoint_lock);
}

void wgt_peer_forget_routes(struct wgt_peer *peer)
{
	wgt_peer_clear_source(peer);
	dst_cache_reset_now(&peer->route_cache);
}

int wgt_peer_module_init(void)
{
	peer_cache = kmem_cache_create("wgt_peer", sizeof(struct wgt_peer), 0,
				       SLAB_HWCACHE_ALIGN, NULL);
	return peer_cache ? 0 : -ENOMEM;
}

void wgt_peer_module_exit(void)
{
	rcu_barrier();
	kmem_cache_destroy(peer_cache);
}
