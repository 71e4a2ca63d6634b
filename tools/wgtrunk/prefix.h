/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* IP prefixes and addresses with a length: 10.1.0.0/16, fd00::1/64. */
#ifndef WGTRUNK_PREFIX_H
#define WGTRUNK_PREFIX_H

#include <netinet/in.h>
#include <stdbool.h>

struct prefix {
	int family;		/* AF_INET or AF_INET6 */
	unsigned int length;	/* bits */
	unsigned char bytes[16];
	int line;		/* of the configuration that has it, for messages; or 0 */
};

struct prefix_list {
	unsigned int count;
	struct prefix *prefixes;
};

/* Long enough for prefix_text(). */
#define PREFIX_TEXT (INET6_ADDRSTRLEN + 4)

/**
 * prefix_list_parse() - addresses with an optional length, of both families
 * @text: the list
 * @network: they are prefixes: no bit may be set after the length
 * @list: what it says, added to what is there; freed by prefix_list_free()
 *
 * Return: NULL, or what is wrong, in a buffer that the next call overwrites.
 */
const char *prefix_list_parse(const char *text, bool network, struct prefix_list *list);

/* prefix_bits() - how long one of a family can be. */
unsigned int prefix_bits(int family);

/* prefix_same() - whether they are. */
bool prefix_same(const struct prefix *a, const struct prefix *b);

/* prefix_list_has() - whether it is in the list, as it is. */
bool prefix_list_has(const struct prefix_list *list, const struct prefix *prefix);

/* prefix_list_source() - the first of a family that can be a route's source: not of one link only; or NULL. */
const struct prefix *prefix_list_source(const struct prefix_list *list, int family);

/* prefix_host() - the address of one, alone. */
struct prefix prefix_host(const struct prefix *address);

/* prefix_is_link_local() - whether it is an IPv6 address that is of one link only. */
bool prefix_is_link_local(const struct prefix *address);

/* prefixes_overlap() - whether one is a part of the other, or the same. */
bool prefixes_overlap(const struct prefix *a, const struct prefix *b);

/* prefix_text() - into @text, of PREFIX_TEXT bytes; returns it. */
const char *prefix_text(const struct prefix *prefix, char *text);

void prefix_list_free(struct prefix_list *list);

#endif /* WGTRUNK_PREFIX_H */
