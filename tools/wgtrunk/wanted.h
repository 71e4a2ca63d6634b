/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* What a configuration comes to on this host. */
#ifndef WGTRUNK_WANTED_H
#define WGTRUNK_WANTED_H

#include <jansson.h>

#include "config.h"
#include "found.h"
#include "kernel.h"

/**
 * struct wanted - see above
 * @config: that it is made of
 * @mtu: of the lanes
 * @home: home CPU of each lane
 * @nic: interface that the far end is reached by; empty where that is not known
 * @new_endpoint: @endpoint is to be set, even where the kernel has another
 * @endpoint: the far end's first lane, or family AF_UNSPEC
 * @allowed: allowed IPs of each lane
 * @routes: by the trunk, @route_count of them
 */
struct wanted {
	const struct config *config;
	unsigned int mtu;
	int home[LANES_MAX];
	char nic[IFNAMSIZ];
	bool new_endpoint;
	struct sockaddr_storage endpoint;
	struct prefix_list allowed;
	struct route *routes;
	unsigned int route_count;
};

/**
 * wanted_make() - look up what the configuration leaves open, and check it against this host
 * @found: what there is: an endpoint that is known is not looked up again
 * @state: see run_load()
 * @wanted: freed by wanted_free(), also after an error
 *
 * Return: whether that went well; if not, there is a message.
 */
bool wanted_make(struct kernel *kernel, const struct config *config, const struct found *found,
		 json_t *state, struct wanted *wanted);

void wanted_free(struct wanted *wanted);

/* wanted_endpoint_text() - the far end as the configuration has it, or empty; the caller frees it. */
char *wanted_endpoint_text(const struct config *config);

/* endpoint_of_lane() - that of the first lane, with another port. */
struct sockaddr_storage endpoint_of_lane(const struct sockaddr_storage *first, unsigned int lane);

#endif /* WGTRUNK_WANTED_H */
