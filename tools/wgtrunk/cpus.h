/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* Lists of CPUs, as in /sys/devices/system/cpu/online: 0-3,8. */
#ifndef WGTRUNK_CPUS_H
#define WGTRUNK_CPUS_H

#include <stdbool.h>

#define CPU_MAX 8192

/**
 * struct cpu_list - CPUs in the order that they were named
 * @count: how many; 0 stands for `auto`
 */
struct cpu_list {
	unsigned int count;
	unsigned int *cpus;
};

/**
 * cpu_list_parse() - numbers and ranges, each CPU at most once
 * @text: the list
 * @list: what it says; freed by cpu_list_free(), also after an error
 *
 * Return: NULL, or what is wrong.
 */
const char *cpu_list_parse(const char *text, struct cpu_list *list);

/* cpu_list_has() - whether a CPU is in it. */
bool cpu_list_has(const struct cpu_list *list, unsigned int cpu);

void cpu_list_free(struct cpu_list *list);

#endif /* WGTRUNK_CPUS_H */
