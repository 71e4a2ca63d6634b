/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* `wgtrunk top`: what lanes and CPUs do, as it happens. */
#ifndef WGTRUNK_TOP_H
#define WGTRUNK_TOP_H

#include "kernel.h"

/**
 * top_run() - show trunks on the terminal, each second anew, until q is pressed
 * @kernel: open
 * @name: of the trunk (not a path), or NULL for all that there are
 *
 * Return: exit status: 0, or 1 with a message where there is no terminal, no such
 * trunk, or another wireguard module.
 */
int top_run(struct kernel *kernel, const char *name);

#endif /* WGTRUNK_TOP_H */
