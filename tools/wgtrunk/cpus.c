// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <stdlib.h>
#include <string.h>

#include "cpus.h"
#include "util.h"

static const char *add(struct cpu_list *list, unsigned long first, unsigned long last)
{
	unsigned int i;

	for (; first <= last; first++) {
		for (i = 0; i < list->count; i++)
			if (list->cpus[i] == first)
				return "the same CPU twice";
		list->cpus[list->count++] = first;
	}
	return NULL;
}

static const char *add_item(struct cpu_list *list, char *item)
{
	char *dash = strchr(item, '-');
	unsigned long first, last;

	if (dash)
		*dash = '\0';
	if (!parse_number(item, 0, CPU_MAX - 1, &first))
		return "not a list of CPUs, such as 0-3,8";
	last = first;
	if (dash && !parse_number(dash + 1, 0, CPU_MAX - 1, &last))
		return "not a list of CPUs, such as 0-3,8";
	if (last < first)
		return "a range of CPUs that ends before it begins";
	return add(list, first, last);
}

const char *cpu_list_parse(const char *text, struct cpu_list *list)
{
	char *copy = xstrdup(text), *rest = copy, *item;
	const char *wrong = NULL;

	list->count = 0;
	list->cpus = xalloc(CPU_MAX, sizeof(*list->cpus));
	while (!wrong && (item = next_item(&rest)))
		wrong = add_item(list, item);
	free(copy);
	if (!wrong && !list->count)
		wrong = "an empty list of CPUs";
	return wrong;
}

bool cpu_list_has(const struct cpu_list *list, unsigned int cpu)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (list->cpus[i] == cpu)
			return true;
	return false;
}

void cpu_list_free(struct cpu_list *list)
{
	free(list->cpus);
	list->cpus = NULL;
	list->count = 0;
}
