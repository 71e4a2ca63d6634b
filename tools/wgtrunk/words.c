// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include "words.h"

bool in_trunk(const struct found *found, const struct found_lane *lane)
{
	return lane->ours && found->link.index && lane->link.master == found->link.index;
}

const char *found_state(const struct found *found)
{
	if (!found->link.up)
		return "down";
	return found->link.carrier ? "up" : "no carrier";
}

const char *lane_state(const struct found *found, const struct found_lane *lane)
{
	if (!lane->link.up)
		return "down";
	if (!in_trunk(found, lane))
		return "apart";
	return lane->place.active ? "active" : "spare";
}

const char *choice_text(int choice)
{
	switch (choice) {
	case WG_TRUNK_CHOICE_CPU:
		return "cpu";
	case WG_TRUNK_CHOICE_HASH:
		return "hash";
	default:
		return "unknown";
	}
}
