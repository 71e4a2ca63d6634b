// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export.h"
#include "util.h"

/* One end, seen from there. */
struct view {
	const char *name;
	const char *key_file;
	unsigned int lanes;
	unsigned int mtu;
	unsigned int port;
	unsigned int keepalive;
	const struct prefix_list *addresses;
	const struct prefix_list *far_addresses;
	const struct prefix_list *far_prefixes;
	/* NULL where the other side's address is not known: it calls first. */
	char *far_host;
	unsigned int far_port;
	unsigned char (*far_keys)[KEY_BYTES];
};

static const char *source_text(const struct prefix_list *list, int family)
{
	const struct prefix *source = prefix_list_source(list, family);
	static char text[PREFIX_TEXT];

	if (!source)
		return NULL;
	prefix_text(source, text);
	*strchr(text, '/') = '\0';
	return text;
}

static void write_route(FILE *file, const struct view *view, const struct prefix *to)
{
	const char *source = source_text(view->addresses, to->family);
	char text[PREFIX_TEXT];
	unsigned int i;

	fprintf(file, "PostUp = ip -%d route replace %s", to->family == AF_INET ? 4 : 6,
		prefix_text(to, text));
	if (source)
		fprintf(file, " src %s", source);
	/*
	 * IPv6 spreads over gateways only. Which one does not matter: a tunnel has one way to go,
	 * and asks for no neighbour.
	 */
	for (i = 0; i < view->lanes; i++)
		fprintf(file, " nexthop %sdev %s.%u", to->family == AF_INET6 ? "via fe80::1 " : "",
			view->name, i);
	fputc('\n', file);
}

static void write_routes(FILE *file, const struct view *view)
{
	unsigned int i;
	struct prefix host;

	fputs("# Flows are spread over the lanes by addresses and ports.\n"
	      "PostUp = sysctl -qw net.ipv4.fib_multipath_hash_policy=1\n"
	      "PostUp = sysctl -qw net.ipv6.fib_multipath_hash_policy=1 || :\n", file);
	for (i = 0; i < view->far_prefixes->count; i++)
		write_route(file, view, &view->far_prefixes->prefixes[i]);
	for (i = 0; i < view->far_addresses->count; i++) {
		host = prefix_host(&view->far_addresses->prefixes[i]);
		write_route(file, view, &host);
	}
}

static void write_list(FILE *file, const struct prefix_list *list, bool hosts, bool *first)
{
	char text[PREFIX_TEXT];
	struct prefix prefix;
	unsigned int i;

	for (i = 0; i < list->count; i++) {
		prefix = hosts ? prefix_host(&list->prefixes[i]) : list->prefixes[i];
		fprintf(file, "%s%s", *first ? "" : ", ", prefix_text(&prefix, text));
		*first = false;
	}
}

static void write_peer(FILE *file, const struct view *view, unsigned int lane)
{
	char text[KEY_TEXT];
	bool first = true;

	fprintf(file, "\n[Peer]\nPublicKey = %s\nAllowedIPs = ",
		key_text(view->far_keys[lane], text));
	write_list(file, view->far_prefixes, false, &first);
	write_list(file, view->far_addresses, true, &first);
	fputc('\n', file);
	if (view->far_host)
		fprintf(file, strchr(view->far_host, ':') ? "Endpoint = [%s]:%u\n" :
							   "Endpoint = %s:%u\n",
			view->far_host, view->far_port + lane);
	if (view->keepalive)
		fprintf(file, "PersistentKeepalive = %u\n", view->keepalive);
}

/*
 * The line of the key file, as keys.c counts them, by a command that has no '#' in it: to wg-quick,
 * what is behind one is a comment. wg would take no key for a key, so that is looked at before.
 */
static void write_key(FILE *file, const struct view *view, unsigned int lane)
{
	fprintf(file,
		"PostUp = key=$(sed -n '/^[[:space:]]*[[:alnum:]+\\/]/s/[[:space:]]*//gp' '%s' | sed -n %up) && "
		": \"${key:?is not in the key file}\" && wg set %%i private-key <(echo \"$key\")\n",
		view->key_file, lane + 1);
}

static void write_lane(FILE *file, const struct view *view, unsigned int lane)
{
	bool first = true;

	fprintf(file, "# Lane %u of the %u of trunk %s, written by wgtrunk export.\n", lane,
		view->lanes, view->name);
	if (lane == view->lanes - 1 && lane)
		fputs("# This one makes the routes over all lanes: it comes up after the others.\n",
		      file);
	fprintf(file, "[Interface]\nListenPort = %u\nTable = off\n", view->port + lane);
	if (view->mtu)
		fprintf(file, "MTU = %u\n", view->mtu);
	if (!lane && view->addresses->count) {
		fputs("Address = ", file);
		write_list(file, view->addresses, false, &first);
		fputc('\n', file);
	}
	write_key(file, view, lane);
	if (lane == view->lanes - 1)
		write_routes(file, view);
	write_peer(file, view, lane);
}

static bool write_file(const char *path, const struct view *view, unsigned int lane)
{
	FILE *file = create_private(path);
	bool good;

	if (!file)
		return false;
	write_lane(file, view, lane);
	good = !ferror(file);
	if (fclose(file) || !good) {
		unlink(path);
		return fail(path, 0, "%s", strerror(errno));
	}
	return true;
}

static bool write_all(const struct view *view, const char *folder)
{
	unsigned int lane, made;
	bool good = true;
	char *path;

	for (lane = 0; good && lane < view->lanes; lane++) {
		path = xprintf("%s/%s.%u.conf", folder, view->name, lane);
		good = write_file(path, view, lane);
		free(path);
	}
	/* Of those before the one that failed, none stays. */
	for (made = 0; !good && made + 1 < lane; made++) {
		path = xprintf("%s/%s.%u.conf", folder, view->name, made);
		unlink(path);
		free(path);
	}
	return good;
}

static bool from_near(const struct config *config, struct view *view)
{
	view->port = config->trunk.port;
	view->addresses = &config->trunk.addresses;
	view->far_addresses = &config->site.addresses;
	view->far_prefixes = &config->site.prefixes;
	view->far_port = config->site.port;
	if (config->site.host)
		view->far_host = xstrdup(config->site.host);
	memcpy(view->far_keys, config->public.keys, view->lanes * KEY_BYTES);
	return true;
}

static bool from_far(const struct config *config, struct view *view)
{
	const char *endpoint = config->trunk.endpoint, *colon;
	unsigned int i;

	if (!config->trunk.prefixes.count)
		return fail(config->path, 0,
			    "no Prefixes in [Trunk]: the far side has to know what is behind this one");
	if (!endpoint && !config->site.host)
		return fail(config->path, 0,
			    "no Endpoint in [Trunk] nor in [Site]: neither side could find the other");
	view->port = config->site.host ? config->site.port : config->trunk.port;
	view->addresses = &config->site.addresses;
	view->far_addresses = &config->trunk.addresses;
	view->far_prefixes = &config->trunk.prefixes;
	if (endpoint) {
		colon = strrchr(endpoint, ':');
		view->far_port = strtoul(colon + 1, NULL, 10);
		if (*endpoint == '[')
			view->far_host = xprintf("%.*s", (int)(colon - endpoint - 2), endpoint + 1);
		else
			view->far_host = xprintf("%.*s", (int)(colon - endpoint), endpoint);
	}
	for (i = 0; i < view->lanes; i++)
		key_public(config->private.keys[i], view->far_keys[i]);
	return true;
}

bool export_wg_quick(const struct config *config, bool near, const char *folder,
		     const char *key_file)
{
	struct view view = {
		.name = config->name,
		.key_file = key_file,
		.lanes = config->trunk.lanes,
		.mtu = config->trunk.mtu,
		.keepalive = config->site.keepalive,
		.far_keys = xalloc(config->trunk.lanes, KEY_BYTES),
	};
	bool good;

	/* Between quotes in a command, and before what would be a comment. */
	if (strpbrk(key_file, "'#\n"))
		good = fail(NULL, 0, "export: a key file whose name has a quote or a # in it");
	else
		good = near ? from_near(config, &view) : from_far(config, &view);
	good = good && write_all(&view, folder);
	free(view.far_host);
	free(view.far_keys);
	return good;
}
