/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* The doctor: what is wrong with trunks, and with the host under them. */
#ifndef WGTRUNK_CHECK_H
#define WGTRUNK_CHECK_H

#include <stdbool.h>

#include "kernel.h"

/**
 * check_run() - look, say what was found, and maybe mend it
 * @name: of a trunk, or the path of its configuration; NULL for all trunks that are up
 * @fix: mend what can be, then look again
 * @reload: for @fix: does what `wgtrunk reload NAME` does, its lock included; it is
 *	    called without one being held. Returns whether that went well, with a message if
 *	    not
 *
 * Findings go to stdout: one line that says what is wrong, one with the command that mends
 * it. Return: the exit status: 0 where there is nothing (left), 1 where there is, or where
 * it could not be looked at, which a message says.
 */
int check_run(struct kernel *kernel, const char *name, bool fix,
	      bool (*reload)(struct kernel *kernel, const char *name));

#endif /* WGTRUNK_CHECK_H */
