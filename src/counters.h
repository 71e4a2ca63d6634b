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
#include <uapi/linux/wg_lane.h>

/* As much as ethtool has room for. */
#define WGT_COUNTER_NAME_LEN	32

struct wgt_counters {
	u64_stats_t value[WG_LANE_C_MAX + 1];
	struct u64_stats_sync sync;
};

struct wgt_device;

/* wgt_drop() - that many packets were dropped, for that reason: counted, and traced. Any context but hardirq. */
#define wgt_drop(wg, name, n) wgt_drop_for(wg, WG_LANE_C_##name, n)
void wgt_drop_for(struct wgt_device *wg, enum wg_lane_counter why, unsigned int n);

/* wgt_count() - add @n to a counter of @wg. Any context but hardirq. */
#define wgt_count(wg, name, n) wgt_counter_add((wg)->counters, WG_LANE_C_##name, n)

static inline void wgt_counter_add(struct wgt_counters __percpu *counters,
				   enum wg_lane_counter which, unsigned int n)
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

/* wgt_counter_name() - what "ethtool -S" and traces call it; drops have "_drop_" in it. NULL where @which is none. */
const char *wgt_counter_name(enum wg_lane_counter which);

/* wgt_counter_of() - that of one CPU; process context */
u64 wgt_counter_of(struct wgt_counters __percpu *counters, enum wg_lane_counter which, int cpu);

/* wgt_counter_sum() - over all CPUs; process context */
u64 wgt_counter_sum(struct wgt_counters __percpu *counters, enum wg_lane_counter which);

#endif /* WGT_COUNTERS_H */
