// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/udp.h>

#include "cookie.h"
#include "device.h"
#include "peer.h"
#include "ratelimit.h"

/* What precedes the public key where a key is made of it. */
#define LABEL_LEN	8
static const char mac1_label[LABEL_LEN] __nonstring = "mac1----";
static const char cookie_label[LABEL_LEN] __nonstring = "cookie--";

static bool older_than(u64 born, unsigned int seconds)
{
	return (s64)(ktime_get_coarse_boottime_ns() - born) > seconds * (s64)NSEC_PER_SEC;
}

static void label_key(u8 out[WGT_KEY_LEN], const char label[LABEL_LEN],
		      const u8 public_key[WGT_KEY_LEN])
{
	u8 labelled[LABEL_LEN + WGT_KEY_LEN];

	memcpy(labelled, label, LABEL_LEN);
	memcpy(labelled + LABEL_LEN, public_key, WGT_KEY_LEN);
	wgt_blake2s(out, WGT_KEY_LEN, labelled, sizeof(labelled), NULL, 0);
}

static void make_mac1(u8 mac[WGT_MAC_LEN], const void *msg, size_t len,
		      const u8 key[WGT_KEY_LEN])
{
	wgt_blake2s(mac, WGT_MAC_LEN, msg, len - sizeof(struct wgt_msg_macs), key, WGT_KEY_LEN);
}

static void make_mac2(u8 mac[WGT_MAC_LEN], const void *msg, size_t len,
		      const u8 cookie[WGT_COOKIE_LEN])
{
	wgt_blake2s(mac, WGT_MAC_LEN, msg, len - WGT_MAC_LEN, cookie, WGT_COOKIE_LEN);
}

static struct wgt_msg_macs *macs_of(void *msg, size_t len)
{
	return msg + len - sizeof(struct wgt_msg_macs);
}

void wgt_cookie_checker_rekey(struct wgt_device *wg)
{
	struct wgt_cookie_checker *checker = &wg->cookie_checker;

	down_write(&checker->lock);
	if (wg->identity.present) {
		label_key(checker->mac1_key, mac1_label, wg->identity.public_key);
		label_key(checker->cookie_key, cookie_label, wg->identity.public_key);
	} else {
		/* Nobody's messages are for us: let no mac1 be right. */
		get_random_bytes(checker->mac1_key, sizeof(checker->mac1_key));
		get_random_bytes(checker->cookie_key, sizeof(checker->cookie_key));
	}
	up_write(&checker->lock);
}

void wgt_cookie_checker_init(struct wgt_device *wg)
{
	init_rwsem(&wg->cookie_checker.lock);
	wg->cookie_checker.secret_born = 0;
	wgt_cookie_checker_rekey(wg);
}

void wgt_cookie_init(struct wgt_peer *peer)
{
	struct wgt_cookie *cookie = &peer->cookie;

	memset(cookie, 0, sizeof(*cookie));
	init_rwsem(&cookie->lock);
	label_key(cookie->mac1_key, mac1_label, peer->handshake.remote_static);
	label_key(cookie->cookie_key, cookie_label, peer->handshake.remote_static);
}

static bool secret_is_stale(const struct wgt_cookie_checker *checker)
{
	return !checker->secret_born ||
	       older_than(checker->secret_born, WGT_COOKIE_SECRET_LIFE);
}

/* Take the lock for reading, with a secret in it that is young enough. */
static void lock_fresh_secret(struct wgt_cookie_checker *checker)
{
	down_read(&checker->lock);
	if (likely(!secret_is_stale(checker)))
		return;
	up_read(&checker->lock);

	down_write(&checker->lock);
	if (secret_is_stale(checker)) {
		get_random_bytes(checker->secret, sizeof(checker->secret));
		checker->secret_born = ktime_get_coarse_boottime_ns();
	}
	downgrade_write(&checker->lock);
}

/* What only somebody who receives at the source of @skb can know. */
static void make_cookie(u8 cookie[WGT_COOKIE_LEN], struct wgt_cookie_checker *checker,
			const struct sk_buff *skb)
{
	struct blake2s_ctx ctx;

	lock_fresh_secret(checker);
	blake2s_init_key(&ctx, WGT_COOKIE_LEN, checker->secret, sizeof(checker->secret));
	up_read(&checker->lock);

	if (skb->protocol == htons(ETH_P_IPV6))
		blake2s_update(&ctx, (const u8 *)&ipv6_hdr(skb)->saddr, sizeof(struct in6_addr));
	else
		blake2s_update(&ctx, (const u8 *)&ip_hdr(skb)->saddr, sizeof(struct in_addr));
	blake2s_update(&ctx, (const u8 *)&udp_hdr(skb)->source, sizeof(__be16));
	blake2s_final(&ctx, cookie);
}

enum wgt_mac_verdict wgt_cookie_check(struct wgt_device *wg, struct sk_buff *skb,
				      bool under_load)
{
	struct wgt_cookie_checker *checker = &wg->cookie_checker;
	const struct wgt_msg_macs *macs = macs_of(skb->data, skb->len);
	u8 mac[WGT_MAC_LEN], cookie[WGT_COOKIE_LEN];

	down_read(&checker->lock);
	make_mac1(mac, skb->data, skb->len, checker->mac1_key);
	up_read(&checker->lock);
	if (crypto_memneq(mac, macs->mac1, WGT_MAC_LEN))
		return WGT_MAC_INVALID;
	if (!under_load)
		return WGT_MAC_NO_COOKIE;

	make_cookie(cookie, checker, skb);
	make_mac2(mac, skb->data, skb->len, cookie);
	memzero_explicit(cookie, sizeof(cookie));
	if (crypto_memneq(mac, macs->mac2, WGT_MAC_LEN))
		return WGT_MAC_NO_COOKIE;
	/* Sources belong to the namespace that the sockets are in. */
	if (!wgt_ratelimit_allow(skb, rcu_access_pointer(wg->creating_net)))
		return WGT_MAC_RATE_LIMITED;
	return WGT_MAC_WITH_COOKIE;
}

void wgt_cookie_add_macs(void *msg, size_t len, struct wgt_peer *peer)
{
	struct wgt_cookie *cookie = &peer->cookie;
	struct wgt_msg_macs *macs = macs_of(msg, len);

	down_write(&cookie->lock);
	make_mac1(macs->mac1, msg, len, cookie->mac1_key);
	memcpy(cookie->last_mac1, macs->mac1, WGT_MAC_LEN);
	cookie->have_mac1 = true;

	if (cookie->valid && older_than(cookie->born, WGT_COOKIE_LIFE)) {
		memzero_explicit(cookie->cookie, WGT_COOKIE_LEN);
		cookie->valid = false;
	}
	if (cookie->valid)
		make_mac2(macs->mac2, msg, len, cookie->cookie);
	else
		memset(macs->mac2, 0, WGT_MAC_LEN);
	up_write(&cookie->lock);
}

void wgt_cookie_create_reply(struct wgt_device *wg, struct sk_buff *skb, __le32 index,
			     struct wgt_msg_cookie *msg)
{
	struct wgt_cookie_checker *checker = &wg->cookie_checker;
	const struct wgt_msg_macs *macs = macs_of(skb->data, skb->len);
	u8 cookie[WGT_COOKIE_LEN];

	msg->type = cpu_to_le32(WGT_MSG_COOKIE);
	msg->receiver = index;
	get_random_bytes(msg->nonce, sizeof(msg->nonce));

	make_cookie(cookie, checker, skb);
	down_read(&checker->lock);
	xchacha20poly1305_encrypt(msg->sealed_cookie, cookie, sizeof(cookie), macs->mac1,
				  sizeof(macs->mac1), msg->nonce, checker->cookie_key);
	up_read(&checker->lock);
	memzero_explicit(cookie, sizeof(cookie));
}

/* The peer to whom we sent the message with this index; by now it may have a session. */
static struct wgt_peer *find_sender(struct wgt_device *wg, __le32 index)
{
	struct wgt_index_entry *entry;
	struct wgt_peer *peer;

	rcu_read_lock();
	entry = wgt_index_find(wg, index);
	peer = wgt_peer_get_maybe(entry ? entry->peer : NULL);
	rcu_read_unlock();
	return peer;
}

void wgt_cookie_consume_reply(struct wgt_device *wg, const struct wgt_msg_cookie *msg)
{
	struct wgt_peer *peer = find_sender(wg, msg->receiver);
	struct wgt_cookie *cookie;
	u8 opened[WGT_COOKIE_LEN];

	if (!peer)
		return;
	cookie = &peer->cookie;

	down_write(&cookie->lock);
	if (cookie->have_mac1 &&
	    xchacha20poly1305_decrypt(opened, msg->sealed_cookie, sizeof(msg->sealed_cookie),
				      cookie->last_mac1, WGT_MAC_LEN, msg->nonce,
				      cookie->cookie_key)) {
		memcpy(cookie->cookie, opened, WGT_COOKIE_LEN);
		cookie->born = ktime_get_coarse_boottime_ns();
		cookie->valid = true;
		cookie->have_mac1 = false;
	}
	up_write(&cookie->lock);
	memzero_explicit(opened, sizeof(opened));
	wgt_peer_put(peer);
}
