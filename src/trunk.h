/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The trunk device, link kind "wgtrunk": one interface over several tunnels,
 * its lanes. See docs/trunk.md.
 */
#ifndef WGT_TRUNK_H
#define WGT_TRUNK_H

#include <linux/types.h>

struct net_device;
struct sk_buff;
struct sock;
struct wgt_device;

#define WGT_TRUNK_LANES		256
#define WGT_LANE_WEIGHT_MAX	65535

/**
 * struct wgt_lane - a tunnel's part in a trunk; under RTNL, but for @trunk
 * @trunk: the trunk's device, or NULL; under RCU
 * @slot: its place among the lanes
 * @up: it is up, and not about to go down
 * @active: it sends
 * @weight: of flows that it gets by hash
 */
struct wgt_lane {
	struct net_device __rcu *trunk;
	unsigned int slot;
	bool up;
	bool active;
	u32 weight;
};

/* wgt_trunk_is_ours() - is this a trunk? Any context. */
bool wgt_trunk_is_ours(const struct net_device *dev);

/**
 * wgt_trunk_save_slot() - before a lane sends: so that what its packet's socket remembers stays
 * @wg: the lane
 * @skb: what it sends, maybe of a local socket
 * @slot: set to what it remembers
 *
 * A trunk that chooses by CPU keeps a socket's lane where the underlay's device writes its
 * own queue. That is to be the lane's, wherever the packet was sent from: of a NIC, the
 * one that XPS has for its home CPU.
 *
 * Context: BH disabled.
 * Return: the socket, held, for wgt_trunk_restore_slot() after the packet was sent; NULL
 * if there is nothing to restore.
 */
struct sock *wgt_trunk_save_slot(const struct wgt_device *wg, struct sk_buff *skb,
				 unsigned int *slot);

/* wgt_trunk_restore_slot() - remember the lane again, and let go of @sk. BH disabled. */
void wgt_trunk_restore_slot(struct sock *sk, unsigned int slot);

/* wgt_trunk_lane_is_dead() - it has lost its carrier, and does not get it back. RTNL is held. */
void wgt_trunk_lane_is_dead(struct wgt_device *wg);

/* wgt_trunk_lane_changed() - its home CPU, @active or @weight did. RTNL is held. */
int wgt_trunk_lane_changed(struct wgt_device *wg);

/* wgt_trunk_count_received() - a lane delivers through its trunk. BH disabled. */
void wgt_trunk_count_received(struct net_device *trunk, unsigned int packets, unsigned int bytes);

/* wgt_trunk_module_init(), _exit() - the link kind; _exit() removes all trunks. Process context. */
int wgt_trunk_module_init(void);
void wgt_trunk_module_exit(void);

#endif /* WGT_TRUNK_H */
