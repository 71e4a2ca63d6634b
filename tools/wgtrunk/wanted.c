// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "steer.h"
#include "sysfile.h"
#include "util.h"
#include "wanted.h"

/* Outer IPv6, UDP, the protocol's header and tag: what a packet grows by at most. */
#define OVERHEAD	80
#define MTU_USUAL	1420
#define MTU_LOWEST	1280
#define MTU_HIGHEST	(65535 - OVERHEAD)

#define ONLINE		"/sys/devices/system/cpu/online"

char *wanted_endpoint_text(const struct config *config)
{
	return config->site.host ? xprintf("%s:%u", config->site.host, config->site.port) :
				   xstrdup("");
}

static in_port_t *port_of(struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET ? &((struct sockaddr_in *)address)->sin_port :
					       &((struct sockaddr_in6 *)address)->sin6_port;
}

struct sockaddr_storage endpoint_of_lane(const struct sockaddr_storage *first, unsigned int lane)
{
	struct sockaddr_storage address = *first;
	in_port_t *port = port_of(&address);

	if (address.ss_family != AF_UNSPEC)
		*port = htons(ntohs(*port) + lane);
	return address;
}

static bool look_up(const struct config *config, struct sockaddr_storage *endpoint)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM };
	struct addrinfo *result;
	int ret = getaddrinfo(config->site.host, NULL, &hints, &result);

	if (ret)
		return fail(config->path, config_line(config, "Site", "Endpoint"),
			    "%s can't be looked up: %s", config->site.host,
			    ret == EAI_SYSTEM ? strerror(errno) : gai_strerror(ret));
	memcpy(endpoint, result->ai_addr, result->ai_addrlen);
	*port_of(endpoint) = htons(config->site.port);
	freeaddrinfo(result);
	return true;
}

/* That of a lane that has one: the far end may have moved since it was configured. */
static bool known_endpoint(const struct found *found, struct sockaddr_storage *endpoint)
{
	unsigned int i;

	for (i = 0; i < found->lanes; i++) {
		const struct tunnel *tunnel = &found->lane[i].tunnel;

		if (!tunnel->count || tunnel->peers[0].endpoint.ss_family == AF_UNSPEC)
			continue;
		*endpoint = tunnel->peers[0].endpoint;
		return true;
	}
	return false;
}

/* Whether each lane that there is to be has one. */
static bool all_known(const struct config *config, const struct found *found)
{
	unsigned int i;

	for (i = 0; i < config->trunk.lanes; i++)
		if (!found->lane[i].tunnel.count ||
		    found->lane[i].tunnel.peers[0].endpoint.ss_family == AF_UNSPEC)
			return false;
	return true;
}

static bool find_endpoint(const struct found *found, json_t *state, struct wanted *wanted)
{
	const struct config *config = wanted->config;
	const char *before = json_string_value(json_object_get(state, "endpoint"));
	char *now;

	if (!config->site.host)
		return true;
	now = wanted_endpoint_text(config);
	wanted->new_endpoint = !before || strcmp(before, now);
	free(now);
	return (!wanted->new_endpoint && all_known(config, found)) ||
	       look_up(config, &wanted->endpoint);
}

static bool covers(const struct prefix *prefix, const struct sockaddr_storage *address)
{
	struct prefix host = { .family = address->ss_family };

	if (host.family == AF_INET) {
		host.length = 32;
		memcpy(host.bytes, &((const struct sockaddr_in *)address)->sin_addr, 4);
	} else {
		host.length = 128;
		memcpy(host.bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
	}
	return prefixes_overlap(prefix, &host);
}

/* Its packets would go through the trunk themselves. */
static bool not_through_itself(const struct wanted *wanted, const struct sockaddr_storage *endpoint)
{
	const struct prefix_list *list = &wanted->allowed;
	char text[PREFIX_TEXT];
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (covers(&list->prefixes[i], endpoint))
			return fail(wanted->config->path, list->prefixes[i].line,
				    "the far end's own address is in %s: it would be reached through itself",
				    prefix_text(&list->prefixes[i], text));
	return true;
}

static bool find_nic(struct kernel *kernel, const struct found *found, struct wanted *wanted)
{
	unsigned int index, route_mtu, count, i;
	struct sockaddr_storage endpoint = wanted->endpoint;
	unsigned int mtu = 0;
	struct link *links;

	/* Where there is no way now, what there is stays. */
	wanted->mtu = wanted->config->trunk.mtu ? wanted->config->trunk.mtu :
		      found->lane[0].link.index ? found->lane[0].link.mtu : MTU_USUAL;
	if (endpoint.ss_family == AF_UNSPEC && !known_endpoint(found, &endpoint))
		return true;
	if (!not_through_itself(wanted, &endpoint))
		return false;
	if (!route_get(kernel, &endpoint, &index, &route_mtu))
		return true;
	if (!links_read(kernel, &links, &count)) {
		free(links);
		return false;
	}
	for (i = 0; i < count; i++) {
		if (links[i].index != index)
			continue;
		memcpy(wanted->nic, links[i].name, IFNAMSIZ);
		mtu = links[i].mtu;
	}
	free(links);
	if (route_mtu && route_mtu < mtu)
		mtu = route_mtu;
	if (wanted->config->trunk.mtu || mtu <= OVERHEAD)
		return true;
	mtu -= OVERHEAD;
	wanted->mtu = mtu < MTU_LOWEST ? MTU_LOWEST : mtu > MTU_HIGHEST ? MTU_HIGHEST : mtu;
	return true;
}

static bool choose_homes(const struct found *found, struct wanted *wanted)
{
	const struct config *config = wanted->config;
	const struct cpu_list *cpus = &config->trunk.cpus;
	struct cpu_list online = { };
	unsigned int i;
	bool good = true;

	if (!cpus->count) {
		good = homes_auto(*wanted->nic ? wanted->nic : NULL, wanted->home,
				  config->trunk.lanes);
		for (i = 0; !*wanted->nic && i < config->trunk.lanes; i++)
			if (found->lane[i].link.index && found->lane[i].place.home >= 0)
				wanted->home[i] = found->lane[i].place.home;
		return good;
	}
	if (!sys_cpus(&online, ONLINE))
		good = fail(ONLINE, 0, "can't be read");
	for (i = 0; good && i < config->trunk.lanes; i++) {
		wanted->home[i] = cpus->cpus[i];
		if (!cpu_list_has(&online, cpus->cpus[i]))
			good = fail(config->path, config_line(config, "Trunk", "CPUs"),
				    "CPU %u is not online here", cpus->cpus[i]);
	}
	cpu_list_free(&online);
	return good;
}

static struct prefix source_for(const struct config *config, int family)
{
	const struct prefix *source = prefix_list_source(&config->trunk.addresses, family);

	return source ? *source : (struct prefix){ .family = AF_UNSPEC };
}

static void add_way(struct wanted *wanted, struct prefix to)
{
	struct prefix_list *allowed = &wanted->allowed;
	struct route *route;

	allowed->prefixes = xrealloc(allowed->prefixes, allowed->count + 1, sizeof(to));
	allowed->prefixes[allowed->count++] = to;
	if (config_is_own_network(wanted->config, &to))
		return;
	wanted->routes = xrealloc(wanted->routes, wanted->route_count + 1, sizeof(*route));
	route = &wanted->routes[wanted->route_count++];
	route->to = to;
	route->source = source_for(wanted->config, to.family);
}

static bool is_among(const struct prefix_list *list, const struct prefix *prefix)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (prefixes_overlap(&list->prefixes[i], prefix))
			return true;
	return false;
}

/* What is behind the far end, and its own addresses. */
static void find_ways(struct wanted *wanted)
{
	const struct site *site = &wanted->config->site;
	unsigned int i;

	for (i = 0; i < site->prefixes.count; i++)
		add_way(wanted, site->prefixes.prefixes[i]);
	for (i = 0; i < site->addresses.count; i++) {
		struct prefix host = prefix_host(&site->addresses.prefixes[i]);

		if (!is_among(&wanted->allowed, &host))
			add_way(wanted, host);
	}
}

bool wanted_make(struct kernel *kernel, const struct config *config, const struct found *found,
		 json_t *state, struct wanted *wanted)
{
	memset(wanted, 0, sizeof(*wanted));
	wanted->config = config;
	find_ways(wanted);
	return find_endpoint(found, state, wanted) && find_nic(kernel, found, wanted) &&
	       choose_homes(found, wanted);
}

void wanted_free(struct wanted *wanted)
{
	prefix_list_free(&wanted->allowed);
	free(wanted->routes);
	memset(wanted, 0, sizeof(*wanted));
}
