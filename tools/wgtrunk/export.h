/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* wg-quick(8) configurations of a trunk's lanes, for ends that have no wgtrunk. */
#ifndef WGTRUNK_EXPORT_H
#define WGTRUNK_EXPORT_H

#include <stdbool.h>

#include "config.h"

/**
 * export_wg_quick() - write NAME.0.conf and so on, one a lane
 * @config: the trunk, checked
 * @near: for this end; else for the far one
 * @folder: where to
 * @key_file: where the private keys are on the machine they are for, one a line; none is
 *	written into the files
 *
 * The last lane's file makes the multipath routes over all of them, so it comes up last.
 *
 * Return: whether that went well; if not, there is a message and none of the files.
 */
bool export_wg_quick(const struct config *config, bool near, const char *folder,
		     const char *key_file);

#endif /* WGTRUNK_EXPORT_H */
