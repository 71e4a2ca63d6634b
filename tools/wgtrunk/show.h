/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* `wgtrunk show`: trunks and their lanes, for people or as JSON. */
#ifndef WGTRUNK_SHOW_H
#define WGTRUNK_SHOW_H

#include <stdbool.h>

#include "kernel.h"

/**
 * show_run() - print to stdout
 * @kernel: open
 * @name: of the trunk (not a path), or NULL for all that there are
 * @json: as JSON: keys stay what they are, new ones may come. No private key is in it
 *
 * Looks twice, half a second apart, for the rates. Return: whether that went well; if
 * not, there is a message.
 */
bool show_run(struct kernel *kernel, const char *name, bool json);

#endif /* WGTRUNK_SHOW_H */
