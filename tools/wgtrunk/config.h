/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* The configuration of a trunk: /etc/wgtrunk/NAME.conf. */
#ifndef WGTRUNK_CONFIG_H
#define WGTRUNK_CONFIG_H

#include <stdbool.h>

#include "cpus.h"
#include "keys.h"
#include "prefix.h"

#define CONFIG_FOLDER	"/etc/wgtrunk"

/* Interface names have 15 characters; a lane's is the trunk's with .0 to .255. */
#define NAME_MAX_LEN	11

enum choice {
	CHOICE_CPU,
	CHOICE_HASH,
};

/**
 * struct trunk - this site's end, section [Trunk]
 * @lanes: how many; not more than the far end has keys for
 * @active: how many of them send
 * @port: of the first lane; the others follow
 * @mtu: 0 for auto
 * @choice: of the lane that a packet is sent through
 * @cpus: home CPUs of the lanes; none for auto
 * @addresses: of the trunk
 * @prefixes: behind this site, for the far side's configuration
 * @endpoint: where the far side finds this one, for its configuration, or NULL
 * @key_file: private keys, one a lane
 */
struct trunk {
	unsigned int lanes;
	unsigned int active;
	unsigned int port;
	unsigned int mtu;
	enum choice choice;
	struct cpu_list cpus;
	struct prefix_list addresses;
	struct prefix_list prefixes;
	char *endpoint;
	char *key_file;
};

/**
 * struct site - the far end, section [Site]
 * @host: name or address
 * @port: of its first lane
 * @keepalive: seconds, 0 for none; some by default, since only a lane with a session
 *	can be made active without a loss
 * @prefixes: behind it
 * @addresses: of the trunk there, for its configuration
 * @keys_file: public keys, one a lane
 */
struct site {
	char *host;
	unsigned int port;
	unsigned int keepalive;
	struct prefix_list prefixes;
	struct prefix_list addresses;
	char *keys_file;
};

struct config {
	char *name;
	char *path;
	struct trunk trunk;
	struct site site;
	struct key_list private;
	struct key_list public;
};

/* config_name_is_good() - whether lanes can be called after it. */
bool config_name_is_good(const char *name);

/* config_name() - that of a trunk, or of the path of its configuration; the caller frees it. NULL where it is neither. */
char *config_name(const char *name);

/**
 * config_read() - read and check a configuration and its key files
 * @name: of the trunk, or the path of the file, which has a slash in it
 * @config: what it says; freed by config_free(), also after an error
 *
 * Return: whether all is well; if not, one message with file and line was given.
 */
bool config_read(const char *name, struct config *config);

void config_free(struct config *config);

/*
 * config_is_own_network() - whether a prefix is the network of one of the trunk's addresses,
 * to which the kernel makes a route by itself, in the place of ours.
 */
bool config_is_own_network(const struct config *config, const struct prefix *prefix);

/* config_line() - where a configuration has a key, for messages; 0 where it has not. */
int config_line(const struct config *config, const char *section, const char *key);

#endif /* WGTRUNK_CONFIG_H */
