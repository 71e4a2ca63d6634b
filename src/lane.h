/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* The generic netlink family wg_lane; its messages are in uapi/linux/wg_lane.h. */
#ifndef WGT_LANE_H
#define WGT_LANE_H

/* wgt_lane_init(), _exit() - register the family. Process context. */
int wgt_lane_init(void);
void wgt_lane_exit(void);

#endif /* WGT_LANE_H */
