// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "found.h"
#include "util.h"

const char *lane_name(const char *name, unsigned int lane, char *text)
{
	snprintf(text, IFNAMSIZ, "%.*s.%u", IFNAMSIZ - 5, name, lane % LANES_MAX);
	return text;
}

/* Which lane of @name an interface is called after, or -1. */
static int lane_number(const char *name, const char *interface)
{
	size_t length = strlen(name);
	unsigned long number;

	if (strncmp(interface, name, length) || interface[length] != '.' ||
	    !parse_number(interface + length + 1, 0, LANES_MAX - 1, &number))
		return -1;
	/* No 01. */
	return interface[length + 1] == '0' && number ? -1 : (int)number;
}

static bool is_ours(const struct link *link, const char *name, const char *kind, bool begun)
{
	char *alias = xprintf(ALIAS_FORMAT, name);
	bool ours = !strcmp(link->kind, kind) &&
		    (!strcmp(link->alias, alias) || (begun && !*link->alias));

	free(alias);
	return ours;
}

static bool read_lane(struct kernel *kernel, const struct link *link, unsigned int begun,
		      struct found *found)
{
	int number = lane_number(found->name, link->name);
	struct found_lane *lane;

	if (number < 0)
		return true;
	lane = &found->lane[number];
	/* In a list that was made while names changed, one may be there twice. */
	tunnel_free(&lane->tunnel);
	lane->link = *link;
	lane->ours = is_ours(link, found->name, KIND_LANE, (unsigned int)number < begun);
	lane->place.home = -1;
	if (lane->ours && (unsigned int)number >= found->lanes)
		found->lanes = number + 1;
	return !lane->ours || !kernel->lane ||
	       (tunnel_read(kernel, link->index, &lane->tunnel) &&
		place_read(kernel, link->index, &lane->place));
}

bool found_read(struct kernel *kernel, const char *name, unsigned int begun, struct found *found)
{
	unsigned int count, i;
	struct link *links;
	bool good;

	memset(found, 0, sizeof(*found));
	found->name = xstrdup(name);
	found->lane = xalloc(LANES_MAX, sizeof(*found->lane));
	/* Private keys are in there. */
	sodium_mlock(found->lane, LANES_MAX * sizeof(*found->lane));
	good = links_read(kernel, &links, &count);
	for (i = 0; good && i < count; i++) {
		if (strcmp(links[i].name, name)) {
			good = read_lane(kernel, &links[i], begun, found);
			continue;
		}
		found->link = links[i];
		found->ours = is_ours(&links[i], name, KIND_TRUNK, begun > 0);
	}
	free(links);
	return good && (!found->ours ||
			(addresses_read(kernel, found->link.index, &found->addresses) &&
			 routes_read(kernel, found->link.index, &found->routes,
				     &found->route_count)));
}

void found_free(struct found *found)
{
	unsigned int i;

	for (i = 0; i < found->lanes; i++)
		tunnel_free(&found->lane[i].tunnel);
	if (found->lane)
		sodium_munlock(found->lane, LANES_MAX * sizeof(*found->lane));
	free(found->lane);
	free(found->name);
	free(found->routes);
	prefix_list_free(&found->addresses);
	memset(found, 0, sizeof(*found));
}

bool found_names(struct kernel *kernel, char ***names, unsigned int *count)
{
	unsigned int links_count, i;
	struct link *links;
	bool good = links_read(kernel, &links, &links_count);

	*names = NULL;
	*count = 0;
	for (i = 0; good && i < links_count; i++) {
		if (!is_ours(&links[i], links[i].name, KIND_TRUNK, false))
			continue;
		*names = xrealloc(*names, *count + 1, sizeof(**names));
		(*names)[(*count)++] = xstrdup(links[i].name);
	}
	free(links);
	return good;
}
