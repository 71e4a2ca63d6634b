// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <net/genetlink.h>
#include <uapi/linux/wg_lane.h>

#include "allowedips.h"
#include "device.h"
#include "handshake.h"
#include "lane.h"
#include "netlink.h"
#include "noise.h"
#include "peer.h"
#include "pipeline.h"
#include "trunk.h"
#include "version.h"

/* In the order in which they are set up; taken down the other way round. */
static const struct {
	int (*init)(void);
	void (*exit)(void);
} parts[] = {
	{ wgt_allowedips_module_init, wgt_allowedips_module_exit },
	{ wgt_peer_module_init, wgt_peer_module_exit },
	{ wgt_handshake_module_init, wgt_handshake_module_exit },
	{ wgt_inline_module_init, wgt_inline_module_exit },
	{ wgt_device_module_init, wgt_device_module_exit },
	{ wgt_trunk_module_init, wgt_trunk_module_exit },
	{ wgt_netlink_init, wgt_netlink_exit },
	{ wgt_lane_init, wgt_lane_exit },
};

static void take_down(int count)
{
	while (count--)
		parts[count].exit();
}

static int __init wgt_init(void)
{
	int i, ret;

	wgt_noise_init();
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		ret = parts[i].init();
		if (ret) {
			take_down(i);
			return ret;
		}
	}
	pr_info("wgtrunk " WGT_VERSION " loaded: inline WireGuard pipeline, replaces the in-tree module\n");
	return 0;
}

static void __exit wgt_exit(void)
{
	take_down(ARRAY_SIZE(parts));
}

module_init(wgt_init);
module_exit(wgt_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("WireGuard secure network tunnel, inline pipeline (wgtrunk)");
MODULE_AUTHOR("The wgtrunk authors");
MODULE_VERSION(WGT_VERSION);
MODULE_ALIAS_RTNL_LINK("wireguard");
MODULE_ALIAS_RTNL_LINK("wgtrunk");
MODULE_ALIAS_GENL_FAMILY(WG_GENL_NAME);
MODULE_ALIAS_GENL_FAMILY(WG_LANE_GENL_NAME);
