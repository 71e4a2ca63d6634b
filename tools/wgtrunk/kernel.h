/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * What the kernel has and is told, by netlink: links, addresses, routes, the
 * families "wireguard" and "wg_lane" (uapi/linux/wg_lane.h).
 *
 * Functions that return bool: whether it went well; if not, one message was given
 * that has the kernel's own words in it.
 */
#ifndef WGTRUNK_KERNEL_H
#define WGTRUNK_KERNEL_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uapi/linux/wg_lane.h>

#include "keys.h"
#include "prefix.h"

struct mnl_socket;

/* Routes of ours have this as their protocol, so that nobody else's are touched. */
#define ROUTE_PROTOCOL	119

/* Likewise for link-local addresses, as the kernel makes some by itself. */
#define ADDRESS_PROTOCOL	119

#define KIND_TRUNK	"wgtrunk"
#define KIND_LANE	"wireguard"

/**
 * struct kernel - open sockets
 * @route: for links, addresses, routes
 * @generic: for the two families
 * @wireguard: number of that family
 * @lane: number of that family; 0 where the module is not ours
 */
struct kernel {
	struct mnl_socket *route;
	struct mnl_socket *generic;
	uint16_t wireguard;
	uint16_t lane;
};

/**
 * struct link - a network interface
 * @index: 0 where there is none
 * @master: index of the interface it belongs to, or 0
 * @mtu: bytes
 * @choice: &enum wg_trunk_choice of a trunk, or -1
 * @up: it is set up
 * @carrier: it has a carrier
 * @kind: of link, e.g. KIND_TRUNK, or empty
 * @alias: or empty
 * @rx_packets: and so on: what it counted
 */
struct link {
	unsigned int index;
	unsigned int master;
	unsigned int mtu;
	int choice;
	bool up;
	bool carrier;
	char name[IFNAMSIZ];
	char kind[16];
	char alias[256];
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t tx_packets;
	uint64_t tx_bytes;
};

/**
 * struct peer - of a tunnel
 * @key: public
 * @endpoint: or family AF_UNSPEC
 * @keepalive: seconds, or 0
 * @handshake: when the last one was, in seconds since 1970, or 0
 * @handshake_ns: nanoseconds of that second
 * @rx_bytes: received from it, with the protocol's own
 * @tx_bytes: sent to it
 * @allowed: allowed IPs
 */
struct peer {
	unsigned char key[KEY_BYTES];
	struct sockaddr_storage endpoint;
	unsigned int keepalive;
	int64_t handshake;
	long handshake_ns;
	uint64_t rx_bytes;
	uint64_t tx_bytes;
	struct prefix_list allowed;
};

/* A session that was begun so many seconds ago is none any more: REJECT_AFTER_TIME of the protocol. */
#define SESSION_SECONDS	180

/**
 * struct tunnel - what the family "wireguard" says of an interface
 * @private: key; zeros where there is none
 * @port: that it listens on, or 0
 * @peers: @count of them
 */
struct tunnel {
	unsigned char private[KEY_BYTES];
	unsigned int port;
	unsigned int count;
	struct peer *peers;
};

/**
 * struct place - what the family "wg_lane" says of an interface
 * @home: home CPU, or -1
 * @trunk: index of the trunk's interface, or 0
 * @active: it sends
 * @weight: its share of flows by hash
 * @superpackets: it sends them
 * @aggregates: it asks for them
 * @version: of the module
 */
struct place {
	int home;
	unsigned int trunk;
	bool active;
	unsigned int weight;
	bool superpackets;
	bool aggregates;
	char version[32];
};

/**
 * struct cpu_counters - what one CPU did for an interface
 * @cpu: its number
 * @counter: by &enum wg_lane_counter
 */
struct cpu_counters {
	unsigned int cpu;
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t counter[WG_LANE_C_MAX + 1];
};

/* struct route - one of ours: to @to, with @source where its family is not AF_UNSPEC. */
struct route {
	struct prefix to;
	struct prefix source;
};

/**
 * kernel_open() - open the sockets, ask for the families
 * @load: have the kernel load the module where it is not loaded yet
 *
 * Return: also false where @load could not load it. @kernel->lane is 0 where the module
 * is not ours or, without @load, not loaded.
 */
bool kernel_open(struct kernel *kernel, bool load);

void kernel_close(struct kernel *kernel);

/* kernel_is_ours() - whether the module is; if not, there is a message that says what to do. */
bool kernel_is_ours(const struct kernel *kernel);

/* --- reading --- */

/* links_read() - all of this namespace, into @links, which is freed by the caller. */
bool links_read(struct kernel *kernel, struct link **links, unsigned int *count);

/* tunnel_read() - @tunnel is freed by tunnel_free(), also after an error. Empty where the interface is gone. */
bool tunnel_read(struct kernel *kernel, unsigned int index, struct tunnel *tunnel);

/* tunnel_free() - private keys do not stay in memory. */
void tunnel_free(struct tunnel *tunnel);

/* place_read() - home CPU -1 and so on where the interface is gone. */
bool place_read(struct kernel *kernel, unsigned int index, struct place *place);

/* counters_read() - of each possible CPU, into @cpus, which is freed by the caller; none where the interface is gone. */
bool counters_read(struct kernel *kernel, unsigned int index, struct cpu_counters **cpus,
		   unsigned int *count);

/* counter_name() - as ethtool shows it, e.g. rx_bad_tag; @drop says whether it counts dropped packets. */
const char *counter_name(enum wg_lane_counter counter, bool *drop);

/* addresses_read() - those of global scope, and link-local ones of ours, added to @list. */
bool addresses_read(struct kernel *kernel, unsigned int index, struct prefix_list *list);

/* routes_read() - those of ours by an interface, into @routes, which is freed by the caller. */
bool routes_read(struct kernel *kernel, unsigned int index, struct route **routes,
		 unsigned int *count);

/**
 * route_get() - which way to an address
 * @to: AF_INET or AF_INET6
 * @index: of the interface that it leaves by
 * @mtu: of the route, or 0 where it has none of its own
 *
 * Return: false without a message where there is no route.
 */
bool route_get(struct kernel *kernel, const struct sockaddr_storage *to, unsigned int *index,
	       unsigned int *mtu);

/* --- telling --- */

/* trunk_create() - make it, down. @choice: &enum wg_trunk_choice. */
bool trunk_create(struct kernel *kernel, const char *name, unsigned int choice);

/* lane_create() - make it, down. @mtu: 0 for the usual. */
bool lane_create(struct kernel *kernel, const char *name, unsigned int mtu);

bool link_delete(struct kernel *kernel, const char *name);
bool link_set_up(struct kernel *kernel, const char *name, bool up);
bool link_set_mtu(struct kernel *kernel, const char *name, unsigned int mtu);
bool link_set_alias(struct kernel *kernel, const char *name, const char *alias);

/* link_set_master() - @master: index of the trunk, or 0 for none. */
bool link_set_master(struct kernel *kernel, const char *name, unsigned int master);

bool trunk_set_choice(struct kernel *kernel, const char *name, unsigned int choice);

/**
 * tunnel_set() - a tunnel's own settings
 * @private: key, or NULL to leave it
 * @port: or 0 to leave it
 */
bool tunnel_set(struct kernel *kernel, const char *name, const unsigned char *private,
		unsigned int port);

/* tunnel_set_any_port() - one that is free, chosen by the kernel. */
bool tunnel_set_any_port(struct kernel *kernel, const char *name);

/**
 * peer_set() - add or change one
 * @peer: its @handshake and counters do not count. An endpoint of AF_UNSPEC stays
 *	  as it is
 * @replace: the allowed IPs replace those that were there, which packets may miss for
 *	     a moment; else they are added
 */
bool peer_set(struct kernel *kernel, const char *name, const struct peer *peer, bool replace);

bool peer_remove(struct kernel *kernel, const char *name, const unsigned char *key);

/**
 * place_set() - of a lane
 * @home: CPU, or -1 for none, or PLACE_KEEP
 * @active: 0 or 1, or PLACE_KEEP
 */
#define PLACE_KEEP	(-2)
bool place_set(struct kernel *kernel, const char *name, int home, int active);

/* address_change() - @add it, where it may be there, or remove it, where it may be gone. */
bool address_change(struct kernel *kernel, unsigned int index, const struct prefix *address,
		    bool add);

/**
 * enum route_change - what is done with a route
 * @ROUTE_ADD: it is an error that there is one to the same prefix
 * @ROUTE_REPLACE: there is one of ours, or was
 * @ROUTE_REMOVE: it may be gone
 */
enum route_change {
	ROUTE_ADD,
	ROUTE_REPLACE,
	ROUTE_REMOVE,
};
bool route_change(struct kernel *kernel, unsigned int index, const struct route *route,
		  enum route_change change);

#endif /* WGTRUNK_KERNEL_H */
