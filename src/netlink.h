/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* The generic netlink family "wireguard", version 1: uapi linux/wireguard.h. */
#ifndef WGT_NETLINK_H
#define WGT_NETLINK_H

/* wgt_netlink_init(), _exit() - register the family. Process context. */
int wgt_netlink_init(void);
void wgt_netlink_exit(void);

#endif /* WGT_NETLINK_H */
