/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Making what there is into what is wanted: up, reload, scale, down. See
 * docs/manager.md.
 */
#ifndef WGTRUNK_MANAGE_H
#define WGTRUNK_MANAGE_H

#include <stdbool.h>

#include "config.h"
#include "kernel.h"

/**
 * struct manner - how to go about it
 * @command: of ours, for others who wait for the lock
 * @dry: only say, on stdout, what would be done
 * @verbose: say it while doing it
 */
struct manner {
	const char *command;
	bool dry;
	bool verbose;
};

/**
 * manage_up() - make a trunk be as configured, whatever there is of it
 * @must_be: there has to be something of it already (reload)
 *
 * Waits up to 7 s for sessions, and 12 s for the next one where only some lanes have
 * one. Where there was nothing and a step fails, what was made is removed again.
 *
 * Return: whether that went well; if not, there is a message.
 */
bool manage_up(struct kernel *kernel, const struct config *config, bool must_be,
	       const struct manner *manner);

/* manage_down() - remove all that there is of a trunk, and put the host's settings back. As above. */
bool manage_down(struct kernel *kernel, const char *name, const struct manner *manner);

/* manage_scale() - have so many lanes send. As above. */
bool manage_scale(struct kernel *kernel, const char *name, unsigned int active,
		  const struct manner *manner);

#endif /* WGTRUNK_MANAGE_H */
