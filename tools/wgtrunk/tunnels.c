// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/* The families "wireguard" and "wg_lane", and the sockets for them. */

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/time_types.h>
#include <linux/wireguard.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wg_lane_names.h>

#include "kernel.h"
#include "nl.h"
#include "util.h"

/* Allowed IPs in one message; each takes up to 40 bytes. */
#define ALLOWED_MAX	300

/* --- sockets and families --- */

static bool take_family(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *in[CTRL_ATTR_MAX + 1];
	uint16_t *number = data;

	nl_message_attributes(message, sizeof(struct genlmsghdr), in, CTRL_ATTR_MAX);
	*number = nl_u16(in[CTRL_ATTR_FAMILY_ID]);
	return *number >= GENL_MIN_ID;
}

/* 0 where there is none. Asking for it has the kernel load the module, if it finds one. */
static uint16_t family_number(struct kernel *kernel, const char *name)
{
	uint16_t number = 0;
	const struct nl_answer answer = { take_family, NULL, &number };
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = nl_begin_generic(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);

	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, name);
	return nl_ask(kernel->generic, message, &answer, NULL) ? 0 : number;
}

bool kernel_open(struct kernel *kernel, bool load)
{
	memset(kernel, 0, sizeof(*kernel));
	kernel->route = nl_open(NETLINK_ROUTE);
	kernel->generic = kernel->route ? nl_open(NETLINK_GENERIC) : NULL;
	if (!kernel->generic) {
		kernel_close(kernel);
		return false;
	}
	if (load || !access("/sys/module/wireguard", F_OK)) {
		kernel->wireguard = family_number(kernel, WG_GENL_NAME);
		kernel->lane = kernel->wireguard ? family_number(kernel, WG_LANE_GENL_NAME) : 0;
	}
	if (kernel->wireguard || !load)
		return true;
	kernel_close(kernel);
	return fail(NULL, 0, "the module wireguard is not loaded, and can't be: try modprobe wireguard");
}

void kernel_close(struct kernel *kernel)
{
	if (kernel->route)
		mnl_socket_close(kernel->route);
	if (kernel->generic)
		mnl_socket_close(kernel->generic);
	memset(kernel, 0, sizeof(*kernel));
}

bool kernel_is_ours(const struct kernel *kernel)
{
	if (!kernel->wireguard)
		return fail(NULL, 0, "the module wireguard is not loaded, so no trunk is up");
	return kernel->lane ||
	       fail(NULL, 0, "the wireguard module that is loaded is not wgtrunk's: install that, "
			     "take its interfaces down, then rmmod wireguard && modprobe wireguard");
}

/* --- wireguard --- */

static bool take_allowed(const struct nlattr *one, struct peer *peer)
{
	const struct nlattr *in[WGALLOWEDIP_A_MAX + 1];
	struct prefix_list *list = &peer->allowed;
	struct prefix prefix = { };

	nl_nested(one, in, WGALLOWEDIP_A_MAX);
	prefix.family = nl_u16(in[WGALLOWEDIP_A_FAMILY]);
	prefix.length = nl_u8(in[WGALLOWEDIP_A_CIDR_MASK]);
	if ((prefix.family != AF_INET && prefix.family != AF_INET6) ||
	    prefix.length > prefix_bits(prefix.family) ||
	    !nl_copy(in[WGALLOWEDIP_A_IPADDR], prefix.bytes, prefix_bits(prefix.family) / 8))
		return false;
	list->prefixes = xrealloc(list->prefixes, list->count + 1, sizeof(prefix));
	list->prefixes[list->count++] = prefix;
	return true;
}

static void take_endpoint(const struct nlattr *attribute, struct sockaddr_storage *endpoint)
{
	size_t length = attribute ? mnl_attr_get_payload_len(attribute) : 0;

	if (length == sizeof(struct sockaddr_in) || length == sizeof(struct sockaddr_in6))
		memcpy(endpoint, mnl_attr_get_payload(attribute), length);
}

/* A peer with many allowed IPs goes on in the next message. */
static struct peer *peer_of(struct tunnel *tunnel, const unsigned char *key)
{
	struct peer *peer = tunnel->count ? &tunnel->peers[tunnel->count - 1] : NULL;

	if (peer && !memcmp(peer->key, key, KEY_BYTES))
		return peer;
	tunnel->peers = xrealloc(tunnel->peers, tunnel->count + 1, sizeof(*peer));
	peer = &tunnel->peers[tunnel->count++];
	memset(peer, 0, sizeof(*peer));
	memcpy(peer->key, key, KEY_BYTES);
	return peer;
}

static bool take_peer(const struct nlattr *one, struct tunnel *tunnel)
{
	const struct nlattr *in[WGPEER_A_MAX + 1], *each;
	unsigned char key[KEY_BYTES];
	struct __kernel_timespec when;
	struct peer *peer;

	nl_nested(one, in, WGPEER_A_MAX);
	if (!nl_copy(in[WGPEER_A_PUBLIC_KEY], key, sizeof(key)))
		return false;
	peer = peer_of(tunnel, key);
	if (nl_copy(in[WGPEER_A_LAST_HANDSHAKE_TIME], &when, sizeof(when))) {
		peer->handshake = when.tv_sec;
		peer->handshake_ns = when.tv_nsec;
	}
	if (in[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL])
		peer->keepalive = nl_u16(in[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL]);
	if (in[WGPEER_A_RX_BYTES])
		peer->rx_bytes = nl_u64(in[WGPEER_A_RX_BYTES]);
	if (in[WGPEER_A_TX_BYTES])
		peer->tx_bytes = nl_u64(in[WGPEER_A_TX_BYTES]);
	take_endpoint(in[WGPEER_A_ENDPOINT], &peer->endpoint);
	if (in[WGPEER_A_ALLOWEDIPS])
		mnl_attr_for_each_nested(each, in[WGPEER_A_ALLOWEDIPS])
			if (!take_allowed(each, peer))
				return false;
	return true;
}

static bool take_tunnel(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *in[WGDEVICE_A_MAX + 1], *each;
	struct tunnel *tunnel = data;

	nl_message_attributes(message, sizeof(struct genlmsghdr), in, WGDEVICE_A_MAX);
	nl_copy(in[WGDEVICE_A_PRIVATE_KEY], tunnel->private, KEY_BYTES);
	if (in[WGDEVICE_A_LISTEN_PORT])
		tunnel->port = nl_u16(in[WGDEVICE_A_LISTEN_PORT]);
	if (in[WGDEVICE_A_PEERS])
		mnl_attr_for_each_nested(each, in[WGDEVICE_A_PEERS])
			if (!take_peer(each, tunnel))
				return false;
	return true;
}

void tunnel_free(struct tunnel *tunnel)
{
	unsigned int i;

	for (i = 0; i < tunnel->count; i++)
		prefix_list_free(&tunnel->peers[i].allowed);
	free(tunnel->peers);
	sodium_memzero(tunnel, sizeof(*tunnel));
}

static void forget_tunnel(void *data)
{
	tunnel_free(data);
}

bool tunnel_read(struct kernel *kernel, unsigned int index, struct tunnel *tunnel)
{
	const struct nl_answer answer = { take_tunnel, forget_tunnel, tunnel };
	char buffer[NL_REQUEST_MAX], why[NL_WORDS];
	struct nlmsghdr *message = nl_begin_generic(buffer, kernel->wireguard, WG_CMD_GET_DEVICE,
						    NLM_F_DUMP);
	int ret;

	memset(tunnel, 0, sizeof(*tunnel));
	mnl_attr_put_u32(message, WGDEVICE_A_IFINDEX, index);
	ret = nl_ask(kernel->generic, message, &answer, why);
	return !ret || ret == -ENODEV || nl_error(ret, why, "could not read a tunnel's settings");
}

static struct nlmsghdr *begin_tunnel(struct kernel *kernel, void *buffer, const char *name)
{
	struct nlmsghdr *message = nl_begin_generic(buffer, kernel->wireguard, WG_CMD_SET_DEVICE, 0);

	mnl_attr_put_strz(message, WGDEVICE_A_IFNAME, name);
	return message;
}

bool tunnel_set(struct kernel *kernel, const char *name, const unsigned char *private,
		unsigned int port)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_tunnel(kernel, buffer, name);

	if (private)
		mnl_attr_put(message, WGDEVICE_A_PRIVATE_KEY, KEY_BYTES, private);
	if (port)
		mnl_attr_put_u16(message, WGDEVICE_A_LISTEN_PORT, port);
	return nl_tell(kernel->generic, message, "could not set key or port (%u) of %s", port, name);
}

bool tunnel_set_any_port(struct kernel *kernel, const char *name)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_tunnel(kernel, buffer, name);

	mnl_attr_put_u16(message, WGDEVICE_A_LISTEN_PORT, 0);
	return nl_tell(kernel->generic, message, "could not set the port of %s", name);
}

static void put_allowed(struct nlmsghdr *message, const struct prefix *prefix)
{
	struct nlattr *one = mnl_attr_nest_start(message, 0);

	mnl_attr_put_u16(message, WGALLOWEDIP_A_FAMILY, prefix->family);
	mnl_attr_put(message, WGALLOWEDIP_A_IPADDR, prefix_bits(prefix->family) / 8,
		     prefix->bytes);
	mnl_attr_put_u8(message, WGALLOWEDIP_A_CIDR_MASK, prefix->length);
	mnl_attr_nest_end(message, one);
}

/* A message of one peer; the allowed IPs from @from on that fit. */
static bool set_peer_part(struct kernel *kernel, const char *name, const struct peer *peer,
			  unsigned int from, bool replace)
{
	uint32_t flags = from ? WGPEER_F_UPDATE_ONLY : replace ? WGPEER_F_REPLACE_ALLOWEDIPS : 0;
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_tunnel(kernel, buffer, name);
	struct nlattr *peers = mnl_attr_nest_start(message, WGDEVICE_A_PEERS);
	struct nlattr *one = mnl_attr_nest_start(message, 0), *allowed;
	unsigned int i;

	mnl_attr_put(message, WGPEER_A_PUBLIC_KEY, KEY_BYTES, peer->key);
	mnl_attr_put_u32(message, WGPEER_A_FLAGS, flags);
	if (!from) {
		mnl_attr_put_u16(message, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer->keepalive);
		if (peer->endpoint.ss_family != AF_UNSPEC)
			mnl_attr_put(message, WGPEER_A_ENDPOINT,
				     peer->endpoint.ss_family == AF_INET ?
					     sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6),
				     &peer->endpoint);
	}
	allowed = mnl_attr_nest_start(message, WGPEER_A_ALLOWEDIPS);
	for (i = from; i < peer->allowed.count && i - from < ALLOWED_MAX; i++)
		put_allowed(message, &peer->allowed.prefixes[i]);
	mnl_attr_nest_end(message, allowed);
	mnl_attr_nest_end(message, one);
	mnl_attr_nest_end(message, peers);
	return nl_tell(kernel->generic, message, "could not set the peer of %s", name);
}

bool peer_set(struct kernel *kernel, const char *name, const struct peer *peer, bool replace)
{
	unsigned int from = 0;

	do {
		if (!set_peer_part(kernel, name, peer, from, replace))
			return false;
		from += ALLOWED_MAX;
	} while (from < peer->allowed.count);
	return true;
}

bool peer_remove(struct kernel *kernel, const char *name, const unsigned char *key)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = begin_tunnel(kernel, buffer, name);
	struct nlattr *peers = mnl_attr_nest_start(message, WGDEVICE_A_PEERS);
	struct nlattr *one = mnl_attr_nest_start(message, 0);

	mnl_attr_put(message, WGPEER_A_PUBLIC_KEY, KEY_BYTES, key);
	mnl_attr_put_u32(message, WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME);
	mnl_attr_nest_end(message, one);
	mnl_attr_nest_end(message, peers);
	return nl_tell(kernel->generic, message, "could not remove a peer of %s", name);
}

/* --- wg_lane --- */

static bool take_place(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *in[WG_LANE_A_MAX + 1];
	struct place *place = data;

	nl_message_attributes(message, sizeof(struct genlmsghdr), in, WG_LANE_A_MAX);
	memset(place, 0, sizeof(*place));
	place->home = in[WG_LANE_A_HOME_CPU] ? (int32_t)nl_u32(in[WG_LANE_A_HOME_CPU]) : -1;
	place->trunk = nl_u32(in[WG_LANE_A_TRUNK]);
	place->active = nl_u8(in[WG_LANE_A_ACTIVE]);
	place->weight = nl_u32(in[WG_LANE_A_WEIGHT]);
	place->superpackets = nl_u8(in[WG_LANE_A_SUPERPACKETS_OUT]);
	place->aggregates = nl_u8(in[WG_LANE_A_AGGREGATES_IN]);
	nl_text(in[WG_LANE_A_MODULE_VERSION], place->version, sizeof(place->version));
	return true;
}

bool place_read(struct kernel *kernel, unsigned int index, struct place *place)
{
	const struct nl_answer answer = { take_place, NULL, place };
	char buffer[NL_REQUEST_MAX], why[NL_WORDS];
	struct nlmsghdr *message = nl_begin_generic(buffer, kernel->lane, WG_LANE_CMD_GET, 0);
	int ret;

	*place = (struct place){ .home = -1 };
	mnl_attr_put_u32(message, WG_LANE_A_IFINDEX, index);
	ret = nl_ask(kernel->generic, message, &answer, why);
	return !ret || ret == -ENODEV || nl_error(ret, why, "could not read a lane's home CPU");
}

bool place_set(struct kernel *kernel, const char *name, int home, int active)
{
	char buffer[NL_REQUEST_MAX];
	struct nlmsghdr *message = nl_begin_generic(buffer, kernel->lane, WG_LANE_CMD_SET, 0);

	mnl_attr_put_strz(message, WG_LANE_A_IFNAME, name);
	if (home != PLACE_KEEP)
		mnl_attr_put_u32(message, WG_LANE_A_HOME_CPU, home);
	if (active != PLACE_KEEP)
		mnl_attr_put_u8(message, WG_LANE_A_ACTIVE, active);
	return nl_tell(kernel->generic, message, "could not set home CPU or activity of %s", name);
}

struct counters {
	struct cpu_counters *cpus;
	unsigned int count;
};

static bool take_counters(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *in[WG_LANE_A_MAX + 1], *of_cpu[WG_LANE_CPU_A_MAX + 1];
	const struct nlattr *each[WG_LANE_C_MAX + 1];
	struct counters *counters = data;
	struct cpu_counters *cpu;
	unsigned int i;

	nl_message_attributes(message, sizeof(struct genlmsghdr), in, WG_LANE_A_MAX);
	if (!in[WG_LANE_A_CPU])
		return true;
	nl_nested(in[WG_LANE_A_CPU], of_cpu, WG_LANE_CPU_A_MAX);
	counters->cpus = xrealloc(counters->cpus, counters->count + 1, sizeof(*cpu));
	cpu = &counters->cpus[counters->count++];
	memset(cpu, 0, sizeof(*cpu));
	cpu->cpu = nl_u32(of_cpu[WG_LANE_CPU_A_NUMBER]);
	cpu->rx_packets = nl_u64(of_cpu[WG_LANE_CPU_A_RX_PACKETS]);
	cpu->rx_bytes = nl_u64(of_cpu[WG_LANE_CPU_A_RX_BYTES]);
	cpu->tx_packets = nl_u64(of_cpu[WG_LANE_CPU_A_TX_PACKETS]);
	cpu->tx_bytes = nl_u64(of_cpu[WG_LANE_CPU_A_TX_BYTES]);
	if (!of_cpu[WG_LANE_CPU_A_COUNTERS])
		return true;
	nl_nested(of_cpu[WG_LANE_CPU_A_COUNTERS], each, WG_LANE_C_MAX);
	for (i = WG_LANE_C_PAD + 1; i <= WG_LANE_C_MAX; i++)
		cpu->counter[i] = nl_u64(each[i]);
	return true;
}

static void forget_counters(void *data)
{
	struct counters *counters = data;

	counters->count = 0;
}

bool counters_read(struct kernel *kernel, unsigned int index, struct cpu_counters **cpus,
		   unsigned int *count)
{
	struct counters counters = { };
	const struct nl_answer answer = { take_counters, forget_counters, &counters };
	char buffer[NL_REQUEST_MAX], why[NL_WORDS];
	struct nlmsghdr *message = nl_begin_generic(buffer, kernel->lane, WG_LANE_CMD_GET_COUNTERS,
						    NLM_F_DUMP);
	int ret;

	mnl_attr_put_u32(message, WG_LANE_A_IFINDEX, index);
	ret = nl_ask(kernel->generic, message, &answer, why);
	*cpus = counters.cpus;
	*count = counters.count;
	return !ret || ret == -ENODEV || nl_error(ret, why, "could not read a lane's counters");
}

const char *counter_name(enum wg_lane_counter counter, bool *drop)
{
	const char *name = wg_lane_counter_names[counter];

	*drop = name && strstr(name, "_drop_");
	return name;
}
