/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* Files of one line in /proc and /sys. */
#ifndef WGTRUNK_SYSFILE_H
#define WGTRUNK_SYSFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "cpus.h"

/**
 * sys_read() - the first line of a file, without its end
 * @text: for it, @size bytes
 * @format: the path, as for printf()
 *
 * Return: whether there is such a file that can be read. If not, there is no message.
 */
bool sys_read(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* sys_number() - the number in it, or @otherwise where there is none. */
long sys_number(long otherwise, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* sys_cpus() - CPUs in it, freed by cpu_list_free() in any case; false where it names none. */
bool sys_cpus(struct cpu_list *list, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* sys_write() - Return: whether that went well; if not, there is a message. */
bool sys_write(const char *path, const char *text);

#endif /* WGTRUNK_SYSFILE_H */
