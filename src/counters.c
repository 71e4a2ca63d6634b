// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/netdevice.h>
#include <wg_lane_names.h>

#include "counters.h"
#include "device.h"
#include "trace.h"

void wgt_drop_for(struct wgt_device *wg, enum wg_lane_counter why, unsigned int n)
{
	wgt_counter_add(wg->counters, why, n);
	trace_wgt_dropped(wg->dev, why, n);
}

struct wgt_counters __percpu *wgt_counters_alloc(void)
{
	struct wgt_counters __percpu *counters = alloc_percpu(struct wgt_counters);
	int cpu;

	if (counters)
		for_each_possible_cpu(cpu)
			u64_stats_init(&per_cpu_ptr(counters, cpu)->sync);
	return counters;
}

const char *wgt_counter_name(enum wg_lane_counter which)
{
	static_assert(ARRAY_SIZE(wg_lane_counter_names) == WG_LANE_C_MAX + 1);

	return wg_lane_counter_names[which];
}

u64 wgt_counter_of(struct wgt_counters __percpu *counters, enum wg_lane_counter which, int cpu)
{
	struct wgt_counters *own = per_cpu_ptr(counters, cpu);
	unsigned int seq;
	u64 value;

	do {
		seq = u64_stats_fetch_begin(&own->sync);
		value = u64_stats_read(&own->value[which]);
	} while (u64_stats_fetch_retry(&own->sync, seq));
	return value;
}

u64 wgt_counter_sum(struct wgt_counters __percpu *counters, enum wg_lane_counter which)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += wgt_counter_of(counters, which, cpu);
	return sum;
}
