/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* Copyright (C) 2026 The wgtrunk authors */
/*
 * Generic netlink family "wg_lane": what wgtrunk's module has beyond the family
 * "wireguard", for each of its devices.
 *
 * WG_LANE_CMD_GET
 *	Request: WG_LANE_A_IFINDEX or WG_LANE_A_IFNAME; or NLM_F_DUMP, for all
 *	devices of the namespace. Each answer is one device: _IFINDEX, _IFNAME,
 *	_HOME_CPU, _SUPERPACKETS_OUT, _AGGREGATES_IN, _MODULE_VERSION.
 *
 * WG_LANE_CMD_SET
 *	Request: _IFINDEX or _IFNAME, and any of _HOME_CPU, _SUPERPACKETS_OUT,
 *	_AGGREGATES_IN. Either all take effect or, with an error, none. Needs
 *	CAP_NET_ADMIN in the user namespace that owns the device's namespace.
 *
 * WG_LANE_CMD_GET_COUNTERS
 *	Request: NLM_F_DUMP with _IFINDEX or _IFNAME. Each answer is a possible
 *	CPU: _IFINDEX, _IFNAME, _CPU. The numbers never go back.
 *
 * A device that is a lane of a trunk (link kind "wgtrunk") has _TRUNK, _ACTIVE
 * and _WEIGHT besides, the last two of which can be set.
 *
 * Errors: EINVAL for neither or both of index and name, or a CPU that can't be;
 * ENODEV for no such device; EOPNOTSUPP for one of another kind; EPERM. An
 * extended acknowledgement says more.
 */
#ifndef _UAPI_LINUX_WG_LANE_H
#define _UAPI_LINUX_WG_LANE_H

#define WG_LANE_GENL_NAME	"wg_lane"
#define WG_LANE_GENL_VERSION	1

enum wg_lane_cmd {
	WG_LANE_CMD_UNSPEC,
	WG_LANE_CMD_GET,
	WG_LANE_CMD_SET,
	WG_LANE_CMD_GET_COUNTERS,
	__WG_LANE_CMD_MAX
};
#define WG_LANE_CMD_MAX (__WG_LANE_CMD_MAX - 1)

/**
 * enum wg_lane_attribute - attributes of a message
 * @WG_LANE_A_UNSPEC: none
 * @WG_LANE_A_IFINDEX: u32
 * @WG_LANE_A_IFNAME: string
 * @WG_LANE_A_HOME_CPU: s32, CPU that does the device's receiving; -1: each packet
 *	is worked on where it lands
 * @WG_LANE_A_SUPERPACKETS_OUT: u8, 0 or 1: send one UDP GSO packet for a GSO packet
 * @WG_LANE_A_AGGREGATES_IN: u8, 0 or 1: ask for UDP GRO of what is received
 * @WG_LANE_A_MODULE_VERSION: string
 * @WG_LANE_A_TRUNK: u32, interface index of the trunk it is a lane of
 * @WG_LANE_A_ACTIVE: u8, 0 or 1: a lane that sends; a spare one only receives
 * @WG_LANE_A_WEIGHT: u32, 1 to 65535: its share of flows by hash, in proportion
 * @WG_LANE_A_CPU: nested, &enum wg_lane_cpu_attribute
 */
enum wg_lane_attribute {
	WG_LANE_A_UNSPEC,
	WG_LANE_A_IFINDEX,
	WG_LANE_A_IFNAME,
	WG_LANE_A_HOME_CPU,
	WG_LANE_A_SUPERPACKETS_OUT,
	WG_LANE_A_AGGREGATES_IN,
	WG_LANE_A_MODULE_VERSION,
	WG_LANE_A_CPU,
	WG_LANE_A_TRUNK,
	WG_LANE_A_ACTIVE,
	WG_LANE_A_WEIGHT,
	__WG_LANE_A_LAST
};
#define WG_LANE_A_MAX (__WG_LANE_A_LAST - 1)

/**
 * enum wg_lane_cpu_attribute - what one CPU did for a device
 * @WG_LANE_CPU_A_UNSPEC: none
 * @WG_LANE_CPU_A_PAD: alignment of 64-bit ones
 * @WG_LANE_CPU_A_NUMBER: u32
 * @WG_LANE_CPU_A_RX_PACKETS: u64, authentic messages received, keepalives included
 * @WG_LANE_CPU_A_RX_BYTES: u64, of them, with the protocol's own header and tag
 * @WG_LANE_CPU_A_TX_PACKETS: u64, messages sent
 * @WG_LANE_CPU_A_TX_BYTES: u64, of them, as above
 * @WG_LANE_CPU_A_COUNTERS: nested; a u64 for each of &enum wg_lane_counter
 */
enum wg_lane_cpu_attribute {
	WG_LANE_CPU_A_UNSPEC,
	WG_LANE_CPU_A_PAD,
	WG_LANE_CPU_A_NUMBER,
	WG_LANE_CPU_A_RX_PACKETS,
	WG_LANE_CPU_A_RX_BYTES,
	WG_LANE_CPU_A_TX_PACKETS,
	WG_LANE_CPU_A_TX_BYTES,
	WG_LANE_CPU_A_COUNTERS,
	__WG_LANE_CPU_A_LAST
};
#define WG_LANE_CPU_A_MAX (__WG_LANE_CPU_A_LAST - 1)

/*
 * What became of packets. Those that end in the comment "dropped" were; the
 * numbers keep their meaning, new ones are added at the end.
 */
enum wg_lane_counter {
	WG_LANE_C_UNSPEC,
	WG_LANE_C_PAD,			/* alignment */
	WG_LANE_C_RX_MALFORMED,		/* no message of the protocol: dropped */
	WG_LANE_C_RX_UNREADABLE,	/* bytes that the CPU can't read: dropped */
	WG_LANE_C_RX_NO_KEY,		/* unknown receiver index: dropped */
	WG_LANE_C_RX_KEY_EXPIRED,	/* under a key of more than 180 s: dropped */
	WG_LANE_C_RX_NO_MEMORY,		/* dropped */
	WG_LANE_C_RX_BAD_TAG,		/* not authentic: dropped */
	WG_LANE_C_RX_REPLAY,		/* came before, or too late: dropped */
	WG_LANE_C_RX_BAD_INNER,		/* no IP packet inside: dropped */
	WG_LANE_C_RX_BAD_SOURCE,	/* not an address of that peer: dropped */
	WG_LANE_C_RX_NESTED,		/* inside of another tunnel's, delivered by netif_rx() */
	WG_LANE_C_RX_NESTED_FULL,	/* such a one that found no room: dropped */
	WG_LANE_C_RX_NO_GRO,		/* delivered without a chance to be merged */
	WG_LANE_C_RX_KEEPALIVE,		/* empty, not delivered */
	WG_LANE_C_RX_BATCHES,		/* aggregates received */
	WG_LANE_C_RX_BATCHED,		/* packets in them */
	WG_LANE_C_RX_HANDOVERS,		/* batches, or single packets, handed to the home CPU */
	WG_LANE_C_RX_HANDED_OVER,	/* packets in them */
	WG_LANE_C_RX_HANDOVER_FULL,	/* too much waits for the home CPU: dropped */
	WG_LANE_C_HS_RX,		/* handshake messages received */
	WG_LANE_C_HS_QUEUE_FULL,	/* such, dropped */
	WG_LANE_C_HS_BAD_MAC,		/* such, dropped */
	WG_LANE_C_HS_RATE_LIMITED,	/* such, dropped */
	WG_LANE_C_HS_INVALID,		/* such, dropped */
	WG_LANE_C_HS_COOKIE_SENT,	/* answered by a cookie, under load */
	WG_LANE_C_TX_BAD_PROTOCOL,	/* neither IPv4 nor IPv6: dropped */
	WG_LANE_C_TX_NO_PEER,		/* nobody's address: dropped */
	WG_LANE_C_TX_NO_ENDPOINT,	/* a peer that can't be reached: dropped */
	WG_LANE_C_TX_UNREADABLE,	/* bytes that the CPU can't read: dropped */
	WG_LANE_C_TX_GSO,		/* could not be segmented: dropped */
	WG_LANE_C_TX_NO_MEMORY,		/* dropped */
	WG_LANE_C_TX_NESTED,		/* too many tunnels in one another: dropped */
	WG_LANE_C_TX_STAGED,		/* waited for a handshake */
	WG_LANE_C_TX_STAGE_FULL,	/* such, made room for newer ones: dropped */
	WG_LANE_C_TX_PURGED,		/* such, waited in vain: dropped */
	WG_LANE_C_TX_NO_ROUTE,		/* no route to the endpoint: dropped */
	WG_LANE_C_TX_NO_SOCKET,		/* device down, or its namespace gone: dropped */
	WG_LANE_C_TX_KEEPALIVE,		/* sent */
	WG_LANE_C_TX_SUPERPACKETS,	/* sent */
	WG_LANE_C_TX_SUPERPACKET_SEGMENTS, /* messages in them */
	WG_LANE_C_RX_TRUNK_DOWN,	/* its trunk is down: dropped */
	__WG_LANE_C_LAST
};
#define WG_LANE_C_MAX (__WG_LANE_C_LAST - 1)

/**
 * enum wg_trunk_choice - of the lane that a packet is sent through
 * @WG_TRUNK_CHOICE_CPU: the lane at home on the sender's CPU, where there is one
 * @WG_TRUNK_CHOICE_HASH: by the flow's L4 hash
 */
enum wg_trunk_choice {
	WG_TRUNK_CHOICE_CPU,
	WG_TRUNK_CHOICE_HASH,
	__WG_TRUNK_CHOICE_LAST
};
#define WG_TRUNK_CHOICE_MAX (__WG_TRUNK_CHOICE_LAST - 1)

/**
 * enum wg_trunk_link_attribute - IFLA_INFO_DATA of link kind "wgtrunk"
 * @IFLA_WGTRUNK_UNSPEC: none
 * @IFLA_WGTRUNK_CHOICE: u8, &enum wg_trunk_choice
 */
enum wg_trunk_link_attribute {
	IFLA_WGTRUNK_UNSPEC,
	IFLA_WGTRUNK_CHOICE,
	__IFLA_WGTRUNK_LAST
};
#define IFLA_WGTRUNK_MAX (__IFLA_WGTRUNK_LAST - 1)

#endif /* _UAPI_LINUX_WG_LANE_H */
