/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The two MACs of a handshake message, and cookies: sections 5.3 and 5.4.4 and
 * 5.4.7 of the paper.
 */
#ifndef WGT_COOKIE_H
#define WGT_COOKIE_H

#include <linux/rwsem.h>
#include <linux/skbuff.h>

#include "messages.h"

struct wgt_device;
struct wgt_peer;

/**
 * struct wgt_cookie_checker - what a device checks MACs and makes cookies with
 * @lock: for @secret and @secret_born
 * @secret: changes every WGT_COOKIE_SECRET_LIFE seconds
 * @secret_born: boot time in nanoseconds, 0 before the first
 * @mac1_key: of our public key
 * @cookie_key: of our public key
 */
struct wgt_cookie_checker {
	struct rw_semaphore lock;
	u8 secret[WGT_HASH_LEN];
	u64 secret_born;
	u8 mac1_key[WGT_KEY_LEN];
	u8 cookie_key[WGT_KEY_LEN];
};

/**
 * struct wgt_cookie - what we MAC messages to a peer with
 * @lock: for all but the keys
 * @born: when @cookie came, boot time in nanoseconds
 * @cookie: that the peer gave us, while @valid
 * @valid: whether it did
 * @last_mac1: of the message sent last, which a cookie reply must answer
 * @have_mac1: whether one was sent that has not been answered
 * @mac1_key: of the peer's public key
 * @cookie_key: of the peer's public key
 */
struct wgt_cookie {
	struct rw_semaphore lock;
	u64 born;
	u8 cookie[WGT_COOKIE_LEN];
	bool valid;
	u8 last_mac1[WGT_MAC_LEN];
	bool have_mac1;
	u8 mac1_key[WGT_KEY_LEN];
	u8 cookie_key[WGT_KEY_LEN];
};

enum wgt_mac_verdict {
	WGT_MAC_INVALID,	/* mac1 is wrong: drop */
	WGT_MAC_NO_COOKIE,	/* mac1 is right, no valid cookie: under load answer with one */
	WGT_MAC_RATE_LIMITED,	/* both are right, but the source sends too many: drop */
	WGT_MAC_WITH_COOKIE,	/* both are right */
};

/* wgt_cookie_checker_init() - for a new device; process context. */
void wgt_cookie_checker_init(struct wgt_device *wg);

/* wgt_cookie_checker_rekey() - after the device's key changed; identity lock held for writing. */
void wgt_cookie_checker_rekey(struct wgt_device *wg);

/* wgt_cookie_init() - for a new peer, whose handshake is set up; process context. */
void wgt_cookie_init(struct wgt_peer *peer);

/**
 * wgt_cookie_check() - check both MACs
 * @wg: device
 * @skb: a handshake message, linear, skb->data at its first byte, outer network
 *	 and transport headers still set (the cookie depends on the source);
 *	 stays the caller's
 * @under_load: whether mac2 is looked at and the rate limiter asked
 *
 * Context: process, may sleep.
 */
enum wgt_mac_verdict wgt_cookie_check(struct wgt_device *wg, struct sk_buff *skb,
				      bool under_load);

/**
 * wgt_cookie_add_macs() - fill in mac1, and mac2 where we have a fresh cookie
 * @msg: the whole message, macs last
 * @len: of it
 * @peer: to whom
 *
 * Context: process, may sleep.
 */
void wgt_cookie_add_macs(void *msg, size_t len, struct wgt_peer *peer);

/**
 * wgt_cookie_create_reply() - a cookie for whoever sent @skb
 * @wg: device
 * @skb: as in wgt_cookie_check()
 * @index: sender index of the message in @skb
 * @msg: filled in
 *
 * Context: process, may sleep.
 */
void wgt_cookie_create_reply(struct wgt_device *wg, struct sk_buff *skb, __le32 index,
			     struct wgt_msg_cookie *msg);

/* wgt_cookie_consume_reply() - remember the cookie, if it answers our last message. Process context. */
void wgt_cookie_consume_reply(struct wgt_device *wg, const struct wgt_msg_cookie *msg);

#endif /* WGT_COOKIE_H */
