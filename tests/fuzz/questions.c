// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "found.h"
#include "questions.h"

/* Not assert(): this counts in any build. */
static void must(bool so)
{
	if (!so)
		abort();
}

static void look_at_text(const char *text, size_t size)
{
	must(memchr(text, '\0', size));
}

static void look_at_prefix(const struct prefix *prefix)
{
	char text[PREFIX_TEXT];

	must(prefix->length <= (prefix->family == AF_INET ? 32 : 128));
	look_at_text(prefix_text(prefix, text), sizeof(text));
}

static void look_at_prefixes(const struct prefix_list *list)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		look_at_prefix(&list->prefixes[i]);
}

static void look_at_routes(const struct route *routes, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		look_at_prefix(&routes[i].to);
		if (routes[i].source.family != AF_UNSPEC)
			look_at_prefix(&routes[i].source);
	}
}

static void look_at_link(const struct link *link)
{
	look_at_text(link->name, sizeof(link->name));
	look_at_text(link->kind, sizeof(link->kind));
	look_at_text(link->alias, sizeof(link->alias));
}

static void look_at_tunnel(const struct tunnel *tunnel)
{
	unsigned int i;

	for (i = 0; i < tunnel->count; i++)
		look_at_prefixes(&tunnel->peers[i].allowed);
}

static void ask_kernel_open(struct kernel *kernel, unsigned int index, bool begun)
{
	struct kernel another;

	(void)kernel, (void)index, (void)begun;
	if (kernel_open(&another, true))
		kernel_close(&another);
}

static void ask_links_read(struct kernel *kernel, unsigned int index, bool begun)
{
	struct link *links;
	unsigned int count, i;

	(void)index;
	(void)begun;
	links_read(kernel, &links, &count);
	for (i = 0; i < count; i++)
		look_at_link(&links[i]);
	free(links);
}

static void ask_addresses_read(struct kernel *kernel, unsigned int index, bool begun)
{
	struct prefix_list list = { };

	(void)begun;
	addresses_read(kernel, index, &list);
	look_at_prefixes(&list);
	prefix_list_free(&list);
}

static void ask_routes_read(struct kernel *kernel, unsigned int index, bool begun)
{
	struct route *routes;
	unsigned int count;

	(void)begun;
	routes_read(kernel, index, &routes, &count);
	look_at_routes(routes, count);
	free(routes);
}

static void ask_route_get(struct kernel *kernel, unsigned int index, bool begun)
{
	struct sockaddr_storage to = { };
	unsigned int by, mtu;

	(void)index;
	to.ss_family = begun ? AF_INET6 : AF_INET;
	if (begun)
		inet_pton(AF_INET6, "fd02::1", &((struct sockaddr_in6 *)&to)->sin6_addr);
	else
		inet_pton(AF_INET, "192.168.1.2", &((struct sockaddr_in *)&to)->sin_addr);
	route_get(kernel, &to, &by, &mtu);
}

static void ask_tunnel_read(struct kernel *kernel, unsigned int index, bool begun)
{
	struct tunnel tunnel;

	(void)begun;
	tunnel_read(kernel, index, &tunnel);
	look_at_tunnel(&tunnel);
	tunnel_free(&tunnel);
}

static void ask_place_read(struct kernel *kernel, unsigned int index, bool begun)
{
	struct place place = { };

	(void)begun;
	place_read(kernel, index, &place);
	look_at_text(place.version, sizeof(place.version));
}

static void ask_counters_read(struct kernel *kernel, unsigned int index, bool begun)
{
	struct cpu_counters *cpus;
	unsigned int count;

	(void)begun;
	counters_read(kernel, index, &cpus, &count);
	free(cpus);
}

static void ask_found_read(struct kernel *kernel, unsigned int index, bool begun)
{
	struct found found;
	unsigned int i;

	(void)index;
	found_read(kernel, TRUNK_NAME, begun ? LANES_MAX : 0, &found);
	must(found.lanes <= LANES_MAX);
	look_at_link(&found.link);
	for (i = 0; i < found.lanes; i++) {
		look_at_link(&found.lane[i].link);
		look_at_tunnel(&found.lane[i].tunnel);
	}
	look_at_prefixes(&found.addresses);
	look_at_routes(found.routes, found.route_count);
	found_free(&found);
}

static void ask_found_names(struct kernel *kernel, unsigned int index, bool begun)
{
	unsigned int count, i;
	char **names;

	(void)index;
	(void)begun;
	found_names(kernel, &names, &count);
	for (i = 0; i < count; i++) {
		look_at_text(names[i], IFNAMSIZ);
		free(names[i]);
	}
	free(names);
}

static void ask_all(struct kernel *kernel, unsigned int index, bool begun)
{
	unsigned int i;

	for (i = 1; i < questions_count; i++)
		questions[i].ask(kernel, index, begun);
}

/* Seeds have their numbers: new ones go to the end. */
const struct question questions[] = {
	{ "all", ask_all },
	{ "kernel_open", ask_kernel_open },
	{ "links_read", ask_links_read },
	{ "addresses_read", ask_addresses_read },
	{ "routes_read", ask_routes_read },
	{ "route_get", ask_route_get },
	{ "tunnel_read", ask_tunnel_read },
	{ "place_read", ask_place_read },
	{ "counters_read", ask_counters_read },
	{ "found_read", ask_found_read },
	{ "found_names", ask_found_names },
};

const unsigned int questions_count = sizeof(questions) / sizeof(*questions);
