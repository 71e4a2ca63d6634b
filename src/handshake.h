/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Handshake messages on their way in and out. They are not data: their DH
 * takes long, so they run on a work queue, on all CPUs in turn.
 */
#ifndef WGT_HANDSHAKE_H
#define WGT_HANDSHAKE_H

#include <linux/skbuff.h>

struct wgt_device;
struct wgt_peer;

/* wgt_handshake_device_init() - queue and works of a new device. Process context. Returns 0 or -ENOMEM. */
int wgt_handshake_device_init(struct wgt_device *wg);

/* wgt_handshake_device_stop() - wait for works, drop what is queued. Process context, may sleep. */
void wgt_handshake_device_stop(struct wgt_device *wg);

/* wgt_handshake_device_destroy() - free all. Process context, may sleep. */
void wgt_handshake_device_destroy(struct wgt_device *wg);

/**
 * wgt_handshake_receive() - queue an incoming handshake message
 * @wg: device
 * @skb: skb->data at the message, outer headers still set, length checked;
 *	 consumed
 *
 * Context: softirq or with BH disabled.
 */
void wgt_handshake_receive(struct wgt_device *wg, struct sk_buff *skb);

/**
 * wgt_handshake_initiate() - have an initiation sent soon
 * @peer: to whom; RCU read lock or a reference held
 * @retry: by the retry timer: other triggers begin counting attempts anew
 *
 * At most one in WGT_REKEY_TIMEOUT seconds is sent, however often this is called.
 *
 * Context: any but hardirq.
 */
void wgt_handshake_initiate(struct wgt_peer *peer, bool retry);

/* wgt_handshake_peer_init() - the works of a new peer. */
void wgt_handshake_peer_init(struct wgt_peer *peer);

/* wgt_handshake_peer_stop() - cancel them; the caller has a reference. Process context, may sleep. */
void wgt_handshake_peer_stop(struct wgt_peer *peer);

/* wgt_handshake_erase_later() - erase the keys of a peer soon. Any context but hardirq. */
void wgt_handshake_erase_later(struct wgt_peer *peer);

/* wgt_handshake_module_init(), _exit() - the work queue. */
int wgt_handshake_module_init(void);
void wgt_handshake_module_exit(void);

#endif /* WGT_HANDSHAKE_H */
