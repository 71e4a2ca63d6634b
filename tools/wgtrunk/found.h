/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* What there is of a trunk: read from the kernel, changed by nobody. */
#ifndef WGTRUNK_FOUND_H
#define WGTRUNK_FOUND_H

#include "kernel.h"

/* Interfaces of a trunk have this alias, with its name for %s. */
#define ALIAS_FORMAT	"wgtrunk %s"

/**
 * struct found_lane - a tunnel that is called NAME.i
 * @link: its interface; index 0 where there is none
 * @ours: its alias says so, or it was being made when wgtrunk was killed
 * @tunnel: keys, port, peers
 * @place: home CPU, and so on
 */
struct found_lane {
	struct link link;
	bool ours;
	struct tunnel tunnel;
	struct place place;
};

/**
 * struct found - a trunk and its lanes
 * @name: its name
 * @link: its interface; index 0 where there is none
 * @ours: as for a lane
 * @lanes: one more than the highest number of ours
 * @lane: LANES_MAX of them
 * @addresses: of the trunk
 * @routes: of ours by the trunk, @route_count of them
 */
struct found {
	char *name;
	struct link link;
	bool ours;
	unsigned int lanes;
	struct found_lane *lane;
	struct prefix_list addresses;
	struct route *routes;
	unsigned int route_count;
};

/**
 * found_read() - all that there is of a trunk
 * @name: its name
 * @begun: it was being set up before, with so many lanes, 0 if not: what of these has
 *	   the right name and kind and no alias at all is ours, too
 * @found: freed by found_free(), also after an error
 *
 * Return: whether that went well, also where nothing was found; if not, there is a
 * message.
 */
bool found_read(struct kernel *kernel, const char *name, unsigned int begun,
		struct found *found);

void found_free(struct found *found);

/* found_names() - of all trunks of ours, into @names; they and it are freed by the caller. */
bool found_names(struct kernel *kernel, char ***names, unsigned int *count);

/* lane_name() - NAME.i, into @text of IFNAMSIZ bytes; returns it. */
const char *lane_name(const char *name, unsigned int lane, char *text);

#endif /* WGTRUNK_FOUND_H */
