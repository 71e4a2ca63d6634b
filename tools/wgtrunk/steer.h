/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Receive steering: that what comes for a lane's UDP port lands on the queue of the
 * underlay NIC whose interrupt is on the lane's home CPU. Host settings that this
 * changes are remembered and put back.
 */
#ifndef WGTRUNK_STEER_H
#define WGTRUNK_STEER_H

#include <jansson.h>
#include <stdbool.h>

#include "config.h"

enum steering {
	STEERING_NONE,		/* nothing is known of the NIC: the module hands over */
	STEERING_HASH,		/* RSS over ports spreads lanes; the module hands over what is elsewhere */
	STEERING_RULES,		/* each lane's port has a flow rule */
};

/* steering_text() - in a few words, for `show`. */
const char *steering_text(enum steering steering);

/**
 * steer_up() - steer a trunk's lanes as well as the NIC can
 * @dev: the underlay NIC, or NULL where there is no route yet
 * @config: whose lanes have ports from config->trunk.port on
 * @homes: home CPU of each of config->trunk.lanes lanes, or -1
 * @name: of the trunk, whose lock is held
 * @state: see run_load(); each change is put there, and saved, before it is made
 *
 * What was there for lanes that are no more is taken away. A NIC that can do nothing
 * of it is no error.
 */
void steer_up(const char *dev, const struct config *config, const int *homes, const char *name,
	      json_t *state);

/**
 * steer_down() - put back what is remembered of a trunk
 * @name: its name; its lock is held
 * @state: see run_load(); has no settings of this namespace afterwards, and is saved
 *
 * What another trunk relies on, too, stays until that goes down. What can't be put
 * back, or was changed by somebody else, is said.
 */
void steer_down(const char *name, json_t *state);

/* steer_now() - how it is, changing nothing. */
enum steering steer_now(const char *dev, unsigned int port, unsigned int lanes, const int *homes);

/**
 * homes_auto() - a CPU for each lane: a hardware thread of each core, near the NIC first
 * @dev: the NIC, or NULL
 * @homes: for @lanes lanes; more lanes than cores begin again
 *
 * Return: whether that went well; if not, there is a message.
 */
bool homes_auto(const char *dev, int *homes, unsigned int lanes);

#endif /* WGTRUNK_STEER_H */
