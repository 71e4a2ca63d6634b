/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Token buckets per source address (a /32 or a /64) and network namespace, for
 * handshakes under load: 20 in a second, 5 in a burst (section 5.3). Shared by
 * all devices; made with the first, freed with the last.
 */
#ifndef WGT_RATELIMIT_H
#define WGT_RATELIMIT_H

#include <linux/skbuff.h>

struct net;

/* wgt_ratelimit_get() - one more device. Process context, may sleep. Returns 0 or -ENOMEM. */
int wgt_ratelimit_get(void);

/* wgt_ratelimit_put() - one less. Process context, may sleep. */
void wgt_ratelimit_put(void);

/**
 * wgt_ratelimit_allow() - may the source of this packet go on?
 * @skb: network header set, protocol ETH_P_IP or ETH_P_IPV6; stays the caller's
 * @net: namespace it came from, only told apart, never dereferenced
 *
 * Context: process or softirq.
 * Return: true to go on, false where its bucket is empty or memory is short.
 */
bool wgt_ratelimit_allow(struct sk_buff *skb, struct net *net);

#endif /* WGT_RATELIMIT_H */
