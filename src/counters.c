// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <linux/netdevice.h>

#include "counters.h"

struct wgt_counters __percpu *wgt_counters_alloc(void)
{
	struct wgt_counters __percpu *counters = alloc_percpu(struct wgt_counters);
	int cpu;

	if (counters)
		for_each_possible_cpu(cpu)
			u64_stats_init(&per_cpu_ptr(counters, cpu)->sync);
	return counters;
}

const char *wgt_counter_name(enum wgt_counter which)
{
	static const char * const names[WGT_CNT_MAX] = {
		[WGT_CNT_RX_MALFORMED] = "rx_drop_malformed",
		[WGT_CNT_RX_UNREADABLE] = "rx_drop_unreadable",
		[WGT_CNT_RX_NO_KEY] = "rx_drop_no_key",
		[WGT_CNT_RX_KEY_EXPIRED] = "rx_drop_key_expired",
		[WGT_CNT_RX_NO_MEMORY] = "rx_drop_no_memory",
		[WGT_CNT_RX_BAD_TAG] = "rx_drop_bad_tag",
		[WGT_CNT_RX_REPLAY] = "rx_drop_replay",
		[WGT_CNT_RX_BAD_INNER] = "rx_drop_bad_inner",
		[WGT_CNT_RX_BAD_SOURCE] = "rx_drop_bad_source",
		[WGT_CNT_RX_NESTED] = "rx_nested",
		[WGT_CNT_RX_NESTED_FULL] = "rx_drop_nested_full",
		[WGT_CNT_RX_NO_GRO] = "rx_delivered_without_gro",
		[WGT_CNT_RX_KEEPALIVE] = "rx_keepalive",
		[WGT_CNT_HS_RX] = "handshake_rx",
		[WGT_CNT_HS_QUEUE_FULL] = "handshake_drop_queue_full",
		[WGT_CNT_HS_BAD_MAC] = "handshake_drop_bad_mac",
		[WGT_CNT_HS_RATE_LIMITED] = "handshake_drop_rate_limited",
		[WGT_CNT_HS_INVALID] = "handshake_drop_invalid",
		[WGT_CNT_HS_COOKIE_SENT] = "handshake_cookie_sent",
		[WGT_CNT_TX_BAD_PROTOCOL] = "tx_drop_bad_protocol",
		[WGT_CNT_TX_NO_PEER] = "tx_drop_no_peer",
		[WGT_CNT_TX_NO_ENDPOINT] = "tx_drop_no_endpoint",
		[WGT_CNT_TX_UNREADABLE] = "tx_drop_unreadable",
		[WGT_CNT_TX_GSO] = "tx_drop_segmentation",
		[WGT_CNT_TX_NO_MEMORY] = "tx_drop_no_memory",
		[WGT_CNT_TX_NESTED] = "tx_drop_nested_too_deep",
		[WGT_CNT_TX_STAGED] = "tx_staged",
		[WGT_CNT_TX_STAGE_FULL] = "tx_drop_stage_full",
		[WGT_CNT_TX_PURGED] = "tx_drop_purged",
		[WGT_CNT_TX_NO_ROUTE] = "tx_drop_no_route",
		[WGT_CNT_TX_NO_SOCKET] = "tx_drop_no_socket",
		[WGT_CNT_TX_KEEPALIVE] = "tx_keepalive",
	};

	return names[which];
}

u64 wgt_counter_sum(struct wgt_counters __percpu *counters, enum wgt_counter which)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct wgt_counters *own = per_cpu_ptr(counters, cpu);
		unsigned int seq;
		u64 value;

		do {
			seq = u64_stats_fetch_begin(&own->sync);
			value = u64_stats_read(&own->value[which]);
		} while (u64_stats_fetch_retry(&own->sync, seq));
		sum += value;
	}
	return sum;
}
