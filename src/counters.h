/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Per-device, per-CPU counters: what became of packets, by reason. Shown by
 * "ethtool -S". The device's own rx/tx statistics are kept besides.
 */
#ifndef WGT_COUNTERS_H
#define WGT_COUNTERS_H

#include <linux/percpu.h>
#include <linux/u64_stats_sync.h>

enum wgt_counter {
	WGT_CNT_RX_MALFORMED,
	WGT_CNT_RX_UNREADABLE,
	WGT_CNT_RX_NO_KEY,
	WGT_CNT_RX_KEY_EXPIRED,
	WGT_CNT_RX_NO_MEMORY,
	WGT_CNT_RX_BAD_TAG,
	WGT_CNT_RX_REPLAY,
	WGT_CNT_RX_BAD_INNER,
	WGT_CNT_RX_BAD_SOURCE,
	WGT_CNT_RX_NESTED,
	WGT_CNT_RX_NESTED_FULL,
	WGT_CNT_RX_NO_GRO,
	WGT_CNT_RX_KEEPALIVE,
	WGT_CNT_HS_RX,
	WGT_CNT_HS_QUEUE_FULL,
	WGT_CNT_HS_BAD_MAC,
	WGT_CNT_HS_RATE_LIMITED,
	WGT_CNT_HS_INVALID,
	WGT_CNT_HS_COOKIE_SENT,
	WGT_CNT_TX_BAD_PROTOCOL,
	WGT_CNT_TX_NO_PEER,
	WGT_CNT_TX_NO_ENDPOINT,
	WGT_CNT_TX_UNREADABLE,
	WGT_CNT_TX_GSO,
	WGT_CNT_TX_NO_MEMORY,
	WGT_CNT_TX_NESTED,
	WGT_CNT_TX_STAGED,
	WGT_CNT_TX_STAGE_FULL,
	WGT_CNT_TX_PURGED,
	WGT_CNT_TX_NO_ROUTE,
	WGT_CNT_TX_NO_SOCKET,
	WGT_CNT_TX_KEEPALIVE,
	WGT_CNT_MAX
};

struct wgt_counters {
	u64_stats_t value[WGT_CNT_MAX];
	struct u64_stats_sync sync;
};

/* wgt_count() - add @n to a counter of @wg. Any context but hardirq. */
#define wgt_count(wg, name, n) wgt_counter_add((wg)->counters, WGT_CNT_##name, n)

static inline void wgt_counter_add(struct wgt_counters __percpu *counters,
				   enum wgt_counter which, unsigned int n)
{
	struct wgt_counters *own;

	local_bh_disable();
	own = this_cpu_ptr(counters);
	u64_stats_update_begin(&own->sync);
	u64_stats_add(&own->value[which], n);
	u64_stats_update_end(&own->sync);
	local_bh_enable();
}

/* wgt_counters_alloc() - zeroed counters, freed by free_percpu(), or NULL. Process context. */
struct wgt_counters __percpu *wgt_counters_alloc(void);

/* wgt_counter_name() - as shown */
const char *wgt_counter_name(enum wgt_counter which);

/* wgt_counter_sum() - over all CPUs; process context */
u64 wgt_counter_sum(struct wgt_counters __percpu *counters, enum wgt_counter which);

#endif /* WGT_COUNTERS_H */
