/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * What goes over the wire, and the limits of the protocol: sections 5.4 and 6
 * of "WireGuard: Next Generation Kernel Network Tunnel" (NDSS 2017), "the
 * paper" from here on. All integers are little endian.
 */
#ifndef WGT_MESSAGES_H
#define WGT_MESSAGES_H

#include <crypto/chacha20poly1305.h>
#include <crypto/curve25519.h>
#include <linux/jiffies.h>
#include <linux/types.h>

#include "compat/compat.h"

#define WGT_KEY_LEN	CURVE25519_KEY_SIZE
#define WGT_PSK_LEN	CHACHA20POLY1305_KEY_SIZE
#define WGT_HASH_LEN	BLAKE2S_HASH_SIZE
#define WGT_TAG_LEN	CHACHA20POLY1305_AUTHTAG_SIZE
#define WGT_MAC_LEN	16
#define WGT_COOKIE_LEN	16
#define WGT_TAI64N_LEN	12
#define WGT_SEALED(n)	((n) + WGT_TAG_LEN)

/* Section 6.1: times in seconds, counts in messages. */
#define WGT_REKEY_AFTER_MESSAGES	(1ULL << 60)
#define WGT_REJECT_AFTER_MESSAGES	(U64_MAX - WGT_WINDOW_BITS)
#define WGT_REKEY_AFTER_TIME		120
#define WGT_REJECT_AFTER_TIME		180
#define WGT_REKEY_ATTEMPT_TIME		90
#define WGT_REKEY_TIMEOUT		5
#define WGT_REKEY_JITTER_MS		333
#define WGT_KEEPALIVE_TIMEOUT		10
#define WGT_COOKIE_SECRET_LIFE		120
#define WGT_COOKIE_LIFE			115	/* stop using one a little before it dies */
#define WGT_HANDSHAKE_ATTEMPTS		(WGT_REKEY_ATTEMPT_TIME / WGT_REKEY_TIMEOUT)
/* At most one initiation in 20 ms is accepted from a peer. */
#define WGT_INITIATION_GAP_NS		(NSEC_PER_SEC / 50)

/* Anti-replay window in messages, see replay.h; its first word is slack. */
#define WGT_WINDOW_BITS		8192

#define WGT_PADDING		16
/* DSCP AF41, no ECN: handshakes are small and urgent. */
#define WGT_HANDSHAKE_TOS	0x88

/* Packets of a peer that wait for a handshake, and handshakes of a device. */
#define WGT_MAX_STAGED		128
#define WGT_MAX_HANDSHAKES	4096
#define WGT_MAX_PEERS		(1U << 20)

enum wgt_message_type {
	WGT_MSG_INITIATION = 1,
	WGT_MSG_RESPONSE = 2,
	WGT_MSG_COOKIE = 3,
	WGT_MSG_DATA = 4,
};

/* mac1 covers all that precedes it, mac2 covers mac1, too (section 5.4.4). */
struct wgt_msg_macs {
	u8 mac1[WGT_MAC_LEN];
	u8 mac2[WGT_MAC_LEN];
};

struct wgt_msg_initiation {
	__le32 type;
	__le32 sender;
	u8 ephemeral[WGT_KEY_LEN];
	u8 sealed_static[WGT_SEALED(WGT_KEY_LEN)];
	u8 sealed_timestamp[WGT_SEALED(WGT_TAI64N_LEN)];
	struct wgt_msg_macs macs;
};

struct wgt_msg_response {
	__le32 type;
	__le32 sender;
	__le32 receiver;
	u8 ephemeral[WGT_KEY_LEN];
	u8 sealed_nothing[WGT_SEALED(0)];
	struct wgt_msg_macs macs;
};

struct wgt_msg_cookie {
	__le32 type;
	__le32 receiver;
	u8 nonce[XCHACHA20POLY1305_NONCE_SIZE];
	u8 sealed_cookie[WGT_SEALED(WGT_COOKIE_LEN)];
};

/* The sealed packet and its tag follow. */
struct wgt_msg_data {
	__le32 type;
	__le32 receiver;
	__le64 counter;
};

#define WGT_DATA_OVERHEAD	(sizeof(struct wgt_msg_data) + WGT_TAG_LEN)

#endif /* WGT_MESSAGES_H */
