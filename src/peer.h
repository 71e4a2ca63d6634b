/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* Peers: what is known of each far end, and how long. */
#ifndef WGT_PEER_H
#define WGT_PEER_H

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/kref.h>
#include <linux/seqlock.h>
#include <linux/skbuff.h>
#include <net/dst_cache.h>

#include "cookie.h"
#include "keypair.h"
#include "noise.h"
#include "timers.h"

struct wgt_device;

/**
 * struct wgt_endpoint - where a peer is, and which of our addresses it talks to
 * @addr: destination; family AF_UNSPEC where it is not known
 * @addr4: same
 * @addr6: same
 * @src4: source address and interface that replies leave from, all zero for any
 * @src_if4: interface index
 * @src6: as @src4, for IPv6
 */
struct wgt_endpoint {
	union {
		struct sockaddr addr;
		struct sockaddr_in addr4;
		struct sockaddr_in6 addr6;
	};
	union {
		struct {
			struct in_addr src4;
			int src_if4;
		};
		struct in6_addr src6;
	};
};

/**
 * struct wgt_stage - packets that wait for a handshake, oldest first
 * @lock: for @queue and the two flags; never held while sending
 * @queue: plain packets, not yet encrypted, at most WGT_MAX_STAGED
 * @active: packets wait or are being drained: new ones must queue behind
 * @draining: somebody does, on @drain_cpu
 * @drain_cpu: where
 * @drain_end: until when others may wait for that, in local_clock() time
 */
struct wgt_stage {
	spinlock_t lock;
	struct sk_buff_head queue;
	bool active;
	bool draining;
	int drain_cpu;
	u64 drain_end;
};

/**
 * struct wgt_peer - a far end
 * @wg: its device, which outlives it
 * @id: number for debug messages
 * @dead: being removed; set once, a grace period before anything is taken apart
 * @persistent_keepalive: seconds, 0 for off
 * @keypairs: see keypair.h
 * @stage: see above
 * @endpoint_lock: for @endpoint; writers have BH disabled
 * @endpoint: see above
 * @route_cache: routes to @endpoint, per CPU
 * @timers: see timers.h
 * @rx_bytes: encrypted bytes received, headers of the protocol included
 * @tx_bytes: same, sent
 * @last_initiation_sent: boot time in nanoseconds
 * @handshake: see noise.h
 * @cookie: see cookie.h
 * @last_handshake: wall clock
 * @initiate_work: sends an initiation
 * @erase_work: erases keys
 * @pubkey_node: in the device's table
 * @allowedips: its prefixes, &struct wgt_allowedip
 * @list: in the device's list, under its config mutex
 * @ref: the device's list holds one; works and handshakes under way hold one each
 * @rcu: for its end
 */
struct wgt_peer {
	struct wgt_device *wg;
	u64 id;
	bool dead;
	u16 persistent_keepalive;
	struct wgt_keypairs keypairs;
	struct wgt_stage stage;
	seqlock_t endpoint_lock;
	struct wgt_endpoint endpoint;
	struct dst_cache route_cache;
	struct wgt_timers timers;
	/* Receiving and sending may be on different CPUs. */
	atomic64_t rx_bytes ____cacheline_aligned_in_smp;
	atomic64_t tx_bytes ____cacheline_aligned_in_smp;

	atomic64_t last_initiation_sent;
	struct wgt_handshake handshake;
	struct wgt_cookie cookie;
	struct timespec64 last_handshake;
	struct work_struct initiate_work;
	struct work_struct erase_work;
	struct rhash_head pubkey_node;
	struct list_head allowedips;
	struct list_head list;
	struct kref ref;
	struct rcu_head rcu;
};

/**
 * wgt_peer_create() - a new peer in a device's list
 * @wg: device; its config mutex and its identity lock (read) are held
 * @public_key: its static key
 * @psk: its pre-shared key, or NULL
 *
 * Context: process, may sleep.
 * Return: the peer, whose reference belongs to the list, or an ERR_PTR():
 * -EEXIST, or -ENOMEM, at WGT_MAX_PEERS, too.
 */
struct wgt_peer *wgt_peer_create(struct wgt_device *wg, const u8 public_key[WGT_KEY_LEN],
				 const u8 psk[WGT_PSK_LEN]);

/**
 * wgt_peer_remove() - take a peer out of its device
 * @peer: its list's reference is put
 *
 * No packet of it is delivered or sent once this returns.
 *
 * Context: process, may sleep (one RCU grace period); the device's config mutex
 * is held.
 */
void wgt_peer_remove(struct wgt_peer *peer);

/* wgt_peer_remove_all() - all at once, for one grace period. As wgt_peer_remove(). */
void wgt_peer_remove_all(struct wgt_device *wg);

/* wgt_peer_get() - one more reference, for a caller that has one. */
static inline struct wgt_peer *wgt_peer_get(struct wgt_peer *peer)
{
	kref_get(&peer->ref);
	return peer;
}

/* wgt_peer_get_maybe() - a reference for an RCU reader; NULL where @peer is NULL or on its way out. */
struct wgt_peer *wgt_peer_get_maybe(struct wgt_peer *peer);

/* wgt_peer_put() - give a reference back; NULL is fine. Any context but hardirq. */
void wgt_peer_put(struct wgt_peer *peer);

/* wgt_peer_get_endpoint() - a consistent copy. Any context. */
void wgt_peer_get_endpoint(struct wgt_peer *peer, struct wgt_endpoint *endpoint);

/**
 * wgt_peer_set_endpoint() - roam, or be configured
 * @peer: peer
 * @endpoint: new one; nothing is written where it is the old one
 *
 * Context: any but hardirq.
 */
void wgt_peer_set_endpoint(struct wgt_peer *peer, const struct wgt_endpoint *endpoint);

/* wgt_peer_clear_source() - forget which of our addresses it talked to, and the route. Any context but hardirq. */
void wgt_peer_clear_source(struct wgt_peer *peer);

/**
 * wgt_peer_forget_routes() - same, and let go of cached routes at once
 * @peer: whose device has no sockets, a grace period after it had some
 *
 * Context: process.
 */
void wgt_peer_forget_routes(struct wgt_peer *peer);

/* wgt_peer_module_init(), _exit() - the slab cache; _exit() waits for the last to be freed. */
int wgt_peer_module_init(void);
void wgt_peer_module_exit(void);

#endif /* WGT_PEER_H */
