/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* The network device, link kind "wireguard". */
#ifndef WGT_DEVICE_H
#define WGT_DEVICE_H

#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/rhashtable.h>

#include "allowedips.h"
#include "cookie.h"
#include "counters.h"
#include "noise.h"
#include "trunk.h"

struct wgt_handshake_cpu;
struct wgt_pipeline;

/* What can be taken out at run time; names in device.c. */
enum wgt_switch {
	WGT_SUPERPACKETS_OUT,
	WGT_AGGREGATES_IN,
};

#define WGT_SWITCHES	(BIT(WGT_SUPERPACKETS_OUT) | BIT(WGT_AGGREGATES_IN))

/**
 * struct wgt_device - private part of the net_device
 * @dev: the rest of it
 * @pipeline: how packets are worked on; does not change while the device is up
 * @sock4: IPv4 socket; NULL while the device is down
 * @sock6: IPv6 socket
 * @creating_net: namespace of the sockets; NULL when it has died before the device
 * @fwmark: of outer packets
 * @switches: bits of &enum wgt_switch
 * @home: home CPU, or -1; under @config
 * @home_asked: when that was set last, in jiffies
 * @home_now: the one that packets are handed to, or -1; follows @home
 * @home_since: since when, in jiffies
 * @handed: bytes of memory under way to it
 * @later: bytes of memory that wait to be sent, too deep in other tunnels
 * @lane: see trunk.h
 * @port: listen port, host order; 0 while none was chosen
 * @index_table: see index.h
 * @pubkey_table: see index.h
 * @allowedips: see allowedips.h
 * @identity: see noise.h
 * @cookie_checker: see cookie.h
 * @config: serialises configuration; nests in RTNL, outside of all other locks here
 * @socket_update: for changing the sockets; nests in @config
 * @peers: list of them, under @config
 * @peer_count: their number, under @config
 * @generation: changes with the configuration, so that dumps see it; under @config
 * @handshakes: incoming handshake messages
 * @handshake_cpus: the work that handles them, per CPU
 * @handshake_turn: which CPU is next
 * @loaded_until: under load until then, boot time in nanoseconds
 * @counters: see counters.h
 * @list: of all devices of the module
 */
struct wgt_device {
	struct net_device *dev;
	const struct wgt_pipeline *pipeline;
	struct sock __rcu *sock4;
	struct sock __rcu *sock6;
	struct net __rcu *creating_net;
	u32 fwmark;
	u32 switches;
	int home;
	unsigned long home_asked;
	int home_now;
	unsigned long home_since;
	u16 port;
	struct rhashtable index_table;
	struct rhashtable pubkey_table;
	struct wgt_allowedips allowedips;
	struct wgt_counters __percpu *counters;

	struct wgt_identity identity;
	struct wgt_cookie_checker cookie_checker;
	struct mutex config;
	struct mutex socket_update;
	struct list_head peers;
	unsigned int peer_count;
	unsigned int generation;
	struct sk_buff_head handshakes;
	struct wgt_handshake_cpu __percpu *handshake_cpus;
	int handshake_turn;
	u64 loaded_until;
	struct list_head list;
	struct wgt_lane lane;
	atomic_t later;
	atomic_t handed ____cacheline_aligned_in_smp;
};

/* wgt_switched_on() - any context */
static inline bool wgt_switched_on(const struct wgt_device *wg, enum wgt_switch which)
{
	return READ_ONCE(wg->switches) & BIT(which);
}

/* wgt_device_switch() - set all switches. Process context, may sleep. */
void wgt_device_switch(struct wgt_device *wg, u32 switches);

/* wgt_device_is_ours() - is this a wireguard device of this module? Any context. */
bool wgt_device_is_ours(const struct net_device *dev);

/**
 * wgt_device_xmit() - encrypt and send, or stage
 * @wg: through which device
 * @skb: as ndo_start_xmit has it, maybe of its trunk; consumed
 *
 * Context: BH disabled, RCU read lock held.
 * Return: 0, or an error for a local sender; counted.
 */
netdev_tx_t wgt_device_xmit(struct wgt_device *wg, struct sk_buff *skb);

/* wgt_device_unreachable() - tell the sender of @skb that nobody is there; @skb stays the caller's. */
void wgt_device_unreachable(struct sk_buff *skb);

/*
 * wgt_device_configure_families() - no redirects, no link-local addresses. When it
 * is brought up; RTNL is held.
 */
void wgt_device_configure_families(struct net_device *dev);

/* wgt_device_setup_link() - as a tunnel or a trunk of them is: MTU, room, features, no link layer. */
void wgt_device_setup_link(struct net_device *dev);

/* wgt_device_module_init() - register link kind and notifiers. Process context. Returns 0 or an error, nothing done. */
int wgt_device_module_init(void);

/* wgt_device_module_exit() - remove all devices, too. Process context. */
void wgt_device_module_exit(void);

#endif /* WGT_DEVICE_H */
