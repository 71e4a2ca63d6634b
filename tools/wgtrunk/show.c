// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <arpa/inet.h>
#include <jansson.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "found.h"
#include "rates.h"
#include "show.h"
#include "steer.h"
#include "util.h"
#include "words.h"

/* Between the two looks. */
#define LOOK_MS		500

#define ENDPOINT_TEXT	(INET6_ADDRSTRLEN + 32)

/* struct seen - a trunk, looked at twice; @found is the later time. */
struct seen {
	struct found found;
	struct sample before;
	struct sample after;
};

static bool look(struct kernel *kernel, const char *name, struct found *found,
		 struct sample *sample)
{
	return found_read(kernel, name, false, found) && sample_take(kernel, found, sample);
}

static void seen_free(struct seen *seen)
{
	found_free(&seen->found);
	sample_free(&seen->before);
	sample_free(&seen->after);
}

static const char *endpoint_text(const struct sockaddr_storage *endpoint, char *text)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	socklen_t length = endpoint->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
							      sizeof(struct sockaddr_in);

	if (endpoint->ss_family == AF_UNSPEC ||
	    getnameinfo((const struct sockaddr *)endpoint, length, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV | NI_DGRAM))
		return "";
	snprintf(text, ENDPOINT_TEXT, endpoint->ss_family == AF_INET6 ? "[%.60s]:%.5s" : "%.60s:%.5s",
		 host, port);
	return text;
}

static const struct peer *peer_of(const struct found_lane *lane)
{
	return lane->tunnel.count ? &lane->tunnel.peers[0] : NULL;
}

static unsigned int count_lanes(const struct found *found, unsigned int *active)
{
	unsigned int i, lanes = 0;

	*active = 0;
	for (i = 0; i < found->lanes; i++) {
		if (!in_trunk(found, &found->lane[i]))
			continue;
		lanes++;
		*active += found->lane[i].place.active && found->lane[i].link.up;
	}
	return lanes;
}

/* By the interface that the first lane's far end is reached by. */
static enum steering steering_of(struct kernel *kernel, const struct found *found)
{
	const struct peer *peer = found->lanes ? peer_of(&found->lane[0]) : NULL;
	unsigned int index, mtu, lanes = 0, i;
	char nic[IFNAMSIZ];
	int homes[LANES_MAX];

	if (!peer || peer->endpoint.ss_family == AF_UNSPEC ||
	    !route_get(kernel, &peer->endpoint, &index, &mtu) || !if_indextoname(index, nic))
		return STEERING_NONE;
	for (i = 0; i < found->lanes; i++) {
		homes[i] = found->lane[i].place.home;
		if (found->lane[i].ours)
			lanes = i + 1;
	}
	return steer_now(nic, found->lane[0].tunnel.port, lanes, homes);
}

/* --- for people --- */

static void show_addresses(const struct found *found)
{
	char text[PREFIX_TEXT];
	unsigned int i;

	if (found->addresses.count)
		printf("  addresses:");
	for (i = 0; i < found->addresses.count; i++)
		printf("%s %s", i ? "," : "", prefix_text(&found->addresses.prefixes[i], text));
	if (found->addresses.count)
		putchar('\n');
	if (found->route_count)
		printf("  routes:");
	for (i = 0; i < found->route_count; i++)
		printf("%s %s", i ? "," : "", prefix_text(&found->routes[i].to, text));
	if (found->route_count)
		putchar('\n');
}

static void show_lane(const struct seen *seen, unsigned int number)
{
	const struct found_lane *lane = &seen->found.lane[number];
	const struct lane_sample *counted = &seen->after.lane[number];
	const struct peer *peer = peer_of(lane);
	char rx[RATE_TEXT], tx[RATE_TEXT], age[RATE_TEXT], home[12] = "-", endpoint[ENDPOINT_TEXT];
	struct rate rate;

	rate_of_lane(&seen->before, &seen->after, number, &rate);
	if (lane->place.home >= 0)
		snprintf(home, sizeof(home), "%d", lane->place.home);
	printf("  %-15s %4s  %-6s %9s %7s %7s %11llu %9llu  %s\n", lane->link.name, home,
	       lane_state(&seen->found, lane), handshake_text(lane, age),
	       rate_text(rate.rx_bits, rx), rate_text(rate.tx_bits, tx),
	       (unsigned long long)counted->handed_over, (unsigned long long)counted->drops,
	       peer ? endpoint_text(&peer->endpoint, endpoint) : "");
}

static void show_trunk(struct kernel *kernel, const struct seen *seen)
{
	const struct found *found = &seen->found;
	unsigned int i, active, lanes = count_lanes(found, &active);

	printf("trunk %s: %s, %u of %u lanes send, chosen by %s, MTU %u\n", found->name,
	       found_state(found), active, lanes, choice_text(found->link.choice), found->link.mtu);
	show_addresses(found);
	printf("  receive steering: %s\n", steering_text(steering_of(kernel, found)));
	printf("  %-15s %4s  %-6s %9s %7s %7s %11s %9s  %s\n", "lane", "CPU", "", "handshake",
	       "rx bit/s", "tx bit/s", "handed over", "dropped", "far end");
	for (i = 0; i < found->lanes; i++)
		if (found->lane[i].ours)
			show_lane(seen, i);
}

/* --- as JSON --- */

static json_t *number_of(double value)
{
	return json_integer((json_int_t)(value + 0.5));
}

static json_t *json_prefixes(const struct prefix_list *list)
{
	json_t *array = json_array();
	char text[PREFIX_TEXT];
	unsigned int i;

	for (i = 0; i < list->count; i++)
		json_array_append_new(array, json_string(prefix_text(&list->prefixes[i], text)));
	return array;
}

static json_t *json_peer(const struct peer *peer)
{
	char key[KEY_TEXT], endpoint[ENDPOINT_TEXT];

	return json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:o}", "public_key",
			 key_text(peer->key, key), "endpoint",
			 endpoint_text(&peer->endpoint, endpoint), "persistent_keepalive",
			 (int)peer->keepalive, "latest_handshake", (json_int_t)peer->handshake,
			 "rx_bytes", (json_int_t)peer->rx_bytes, "tx_bytes",
			 (json_int_t)peer->tx_bytes, "allowed_ips", json_prefixes(&peer->allowed));
}

static json_t *json_rate(const struct rate *rate)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "rx_bits", number_of(rate->rx_bits),
			 "tx_bits", number_of(rate->tx_bits), "rx_packets",
			 number_of(rate->rx_packets), "tx_packets", number_of(rate->tx_packets),
			 "handed_over", number_of(rate->handed_over), "drops",
			 number_of(rate->drops));
}

/* Of each CPU that did anything; and the module's counters, by name, of all of them. */
static bool json_counters(struct kernel *kernel, unsigned int index, json_t *lane)
{
	struct cpu_counters *cpus;
	json_t *array = json_array(), *counters = json_object();
	unsigned int count, i, which;
	const char *name;
	uint64_t sum;
	bool drop, good = counters_read(kernel, index, &cpus, &count);

	for (i = 0; good && i < count; i++)
		if (cpus[i].rx_packets || cpus[i].tx_packets)
			json_array_append_new(array, json_pack("{s:i, s:I, s:I, s:I, s:I}", "cpu",
				(int)cpus[i].cpu, "rx_packets", (json_int_t)cpus[i].rx_packets,
				"rx_bytes", (json_int_t)cpus[i].rx_bytes, "tx_packets",
				(json_int_t)cpus[i].tx_packets, "tx_bytes",
				(json_int_t)cpus[i].tx_bytes));
	for (which = 0; good && which <= WG_LANE_C_MAX; which++) {
		name = counter_name(which, &drop);
		for (sum = 0, i = 0; i < count; i++)
			sum += cpus[i].counter[which];
		if (name)
			json_object_set_new(counters, name, json_integer(sum));
	}
	free(cpus);
	json_object_set_new(lane, "cpus", array);
	json_object_set_new(lane, "counters", counters);
	return good;
}

static json_t *json_lane(struct kernel *kernel, const struct seen *seen, unsigned int number)
{
	const struct found_lane *found = &seen->found.lane[number];
	const struct lane_sample *counted = &seen->after.lane[number];
	const struct peer *peer = peer_of(found);
	unsigned char public[KEY_BYTES];
	char key[KEY_TEXT];
	struct rate rate;
	json_t *lane;

	rate_of_lane(&seen->before, &seen->after, number, &rate);
	key_public(found->tunnel.private, public);
	lane = json_pack("{s:s, s:i, s:i, s:b, s:b, s:b, s:i, s:i, s:s, s:i}", "name",
			 found->link.name, "number", (int)number, "home_cpu", found->place.home,
			 "active", found->place.active, "up", found->link.up, "in_trunk",
			 in_trunk(&seen->found, found), "weight", (int)found->place.weight,
			 "listen_port", (int)found->tunnel.port, "public_key",
			 key_text(public, key), "mtu", (int)found->link.mtu);
	if (!lane)
		return NULL;
	json_object_update_new(lane, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "rx_packets",
		(json_int_t)counted->rx_packets, "rx_bytes", (json_int_t)counted->rx_bytes,
		"tx_packets", (json_int_t)counted->tx_packets, "tx_bytes",
		(json_int_t)counted->tx_bytes, "handed_over", (json_int_t)counted->handed_over,
		"drops", (json_int_t)counted->drops));
	json_object_set_new(lane, "rates", json_rate(&rate));
	json_object_set_new(lane, "peer", peer ? json_peer(peer) : json_null());
	if (json_counters(kernel, found->link.index, lane))
		return lane;
	json_decref(lane);
	return NULL;
}

static json_t *json_trunk(struct kernel *kernel, const struct seen *seen)
{
	const struct found *found = &seen->found;
	json_t *routes = json_array(), *lanes = json_array(), *lane;
	unsigned int i, active;
	char text[PREFIX_TEXT];

	count_lanes(found, &active);
	for (i = 0; i < found->route_count; i++)
		json_array_append_new(routes, json_string(prefix_text(&found->routes[i].to, text)));
	for (i = 0; i < found->lanes; i++) {
		if (!found->lane[i].ours)
			continue;
		lane = json_lane(kernel, seen, i);
		if (!lane) {
			json_decref(routes);
			json_decref(lanes);
			return NULL;
		}
		json_array_append_new(lanes, lane);
	}
	return json_pack("{s:s, s:b, s:b, s:s, s:i, s:i, s:s, s:o, s:o, s:o}", "name", found->name,
			 "up", found->link.up, "carrier", found->link.carrier, "choice",
			 choice_text(found->link.choice), "mtu", (int)found->link.mtu, "active", (int)active,
			 "steering", steering_text(steering_of(kernel, found)), "addresses",
			 json_prefixes(&found->addresses), "routes", routes, "lanes", lanes);
}

static bool print_json(struct kernel *kernel, const struct seen *seen, unsigned int count)
{
	json_t *trunks = json_array(), *trunk, *all;
	unsigned int i;
	bool good = true;

	for (i = 0; good && i < count; i++) {
		trunk = json_trunk(kernel, &seen[i]);
		good = trunk && !json_array_append_new(trunks, trunk);
	}
	all = json_pack("{s:o}", "trunks", trunks);
	if (good) {
		good = !json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(all);
	return good;
}

/* --- both --- */

static bool look_at_all(struct kernel *kernel, char **names, unsigned int count, struct seen *seen)
{
	const struct timespec while_ = { 0, LOOK_MS * 1000000L };
	struct found first;
	unsigned int i;
	bool good = true;

	for (i = 0; good && i < count; i++) {
		good = look(kernel, names[i], &first, &seen[i].before);
		found_free(&first);
	}
	if (good && count)
		nanosleep(&while_, NULL);
	for (i = 0; good && i < count; i++)
		good = look(kernel, names[i], &seen[i].found, &seen[i].after);
	return good;
}

static bool chosen(char **names, unsigned int count, const char *name)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return true;
	return fail(NULL, 0, "%s is not up", name);
}

bool show_run(struct kernel *kernel, const char *name, bool json)
{
	unsigned int count = 0, i;
	char **names = NULL, *one[] = { NULL };
	struct seen *seen;
	bool good = !kernel->lane || found_names(kernel, &names, &count);

	one[0] = (char *)name;
	good = good && (!name || chosen(names, count, name));
	seen = xalloc(count + 1, sizeof(*seen));
	if (good)
		good = look_at_all(kernel, name ? one : names, name ? 1 : count, seen);
	if (good && json)
		good = print_json(kernel, seen, name ? 1 : count);
	for (i = 0; good && !json && i < (name ? 1 : count); i++) {
		if (i)
			putchar('\n');
		show_trunk(kernel, &seen[i]);
	}
	for (i = 0; i < count; i++) {
		seen_free(&seen[i]);
		free(names[i]);
	}
	free(seen);
	free(names);
	return good;
}
