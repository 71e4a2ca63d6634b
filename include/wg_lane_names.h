/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* What &enum wg_lane_counter is called: by ethtool -S, and by wgtrunk. Those with _drop_ in it count dropped packets. */
#ifndef WG_LANE_NAMES_H
#define WG_LANE_NAMES_H

#include <uapi/linux/wg_lane.h>

static const char * const wg_lane_counter_names[] = {
	[WG_LANE_C_RX_MALFORMED] = "rx_drop_malformed",
	[WG_LANE_C_RX_UNREADABLE] = "rx_drop_unreadable",
	[WG_LANE_C_RX_NO_KEY] = "rx_drop_no_key",
	[WG_LANE_C_RX_KEY_EXPIRED] = "rx_drop_key_expired",
	[WG_LANE_C_RX_NO_MEMORY] = "rx_drop_no_memory",
	[WG_LANE_C_RX_BAD_TAG] = "rx_drop_bad_tag",
	[WG_LANE_C_RX_REPLAY] = "rx_drop_replay",
	[WG_LANE_C_RX_BAD_INNER] = "rx_drop_bad_inner",
	[WG_LANE_C_RX_BAD_SOURCE] = "rx_drop_bad_source",
	[WG_LANE_C_RX_NESTED] = "rx_nested",
	[WG_LANE_C_RX_NESTED_FULL] = "rx_drop_nested_full",
	[WG_LANE_C_RX_NO_GRO] = "rx_delivered_without_gro",
	[WG_LANE_C_RX_KEEPALIVE] = "rx_keepalive",
	[WG_LANE_C_RX_BATCHES] = "rx_batches",
	[WG_LANE_C_RX_BATCHED] = "rx_batched_packets",
	[WG_LANE_C_RX_HANDOVERS] = "rx_handovers",
	[WG_LANE_C_RX_HANDED_OVER] = "rx_handed_over",
	[WG_LANE_C_RX_HANDOVER_FULL] = "rx_drop_handover_full",
	[WG_LANE_C_HS_RX] = "handshake_rx",
	[WG_LANE_C_HS_QUEUE_FULL] = "handshake_drop_queue_full",
	[WG_LANE_C_HS_BAD_MAC] = "handshake_drop_bad_mac",
	[WG_LANE_C_HS_RATE_LIMITED] = "handshake_drop_rate_limited",
	[WG_LANE_C_HS_INVALID] = "handshake_drop_invalid",
	[WG_LANE_C_HS_COOKIE_SENT] = "handshake_cookie_sent",
	[WG_LANE_C_TX_BAD_PROTOCOL] = "tx_drop_bad_protocol",
	[WG_LANE_C_TX_NO_PEER] = "tx_drop_no_peer",
	[WG_LANE_C_TX_NO_ENDPOINT] = "tx_drop_no_endpoint",
	[WG_LANE_C_TX_UNREADABLE] = "tx_drop_unreadable",
	[WG_LANE_C_TX_GSO] = "tx_drop_segmentation",
	[WG_LANE_C_TX_NO_MEMORY] = "tx_drop_no_memory",
	[WG_LANE_C_TX_NESTED] = "tx_drop_nested_too_deep",
	[WG_LANE_C_TX_STAGED] = "tx_staged",
	[WG_LANE_C_TX_STAGE_FULL] = "tx_drop_stage_full",
	[WG_LANE_C_TX_PURGED] = "tx_drop_purged",
	[WG_LANE_C_TX_NO_ROUTE] = "tx_drop_no_route",
	[WG_LANE_C_TX_NO_SOCKET] = "tx_drop_no_socket",
	[WG_LANE_C_TX_KEEPALIVE] = "tx_keepalive",
	[WG_LANE_C_TX_SUPERPACKETS] = "tx_superpackets",
	[WG_LANE_C_TX_SUPERPACKET_SEGMENTS] = "tx_superpacket_segments",
	[WG_LANE_C_RX_TRUNK_DOWN] = "rx_drop_trunk_down",
};

#endif /* WG_LANE_NAMES_H */
