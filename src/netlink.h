/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* The generic netlink family "wireguard", version 1: uapi linux/wireguard.h. */
#ifndef WGT_NETLINK_H
#define WGT_NETLINK_H

/* wgt_netlink_init(), _exit() - register the family. Process context. */
int wgt_netlink_init(void);
void wgt_netlink_exit(void);

struct net;
struct netlink_ext_ack;
struct nlattr;
struct wgt_device;

/**
 * wgt_netlink_find() - the device that a request names
 * @net: where
 * @number: u32 attribute, or NULL
 * @name: string attribute, where there is no @number
 * @extack: for the reason
 *
 * Context: process, RTNL held.
 * Return: the device, or an ERR_PTR(): -ENODEV, or -EOPNOTSUPP for one that is
 * not ours.
 */
struct wgt_device *wgt_netlink_find(struct net *net, const struct nlattr *number,
				    const struct nlattr *name, struct netlink_ext_ack *extack);

#endif /* WGT_NETLINK_H */
