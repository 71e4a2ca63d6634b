// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prefix.h"
#include "util.h"

unsigned int prefix_bits(int family)
{
	return family == AF_INET ? 32 : 128;
}

static bool bit(const struct prefix *prefix, unsigned int number)
{
	return prefix->bytes[number / 8] >> (7 - number % 8) & 1;
}

static bool host_bits(const struct prefix *prefix)
{
	unsigned int i;

	for (i = prefix->length; i < prefix_bits(prefix->family); i++)
		if (bit(prefix, i))
			return true;
	return false;
}

static bool parse(char *item, struct prefix *prefix)
{
	char *slash = strchr(item, '/');
	unsigned long length;

	if (slash)
		*slash = '\0';
	memset(prefix, 0, sizeof(*prefix));
	prefix->family = strchr(item, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(prefix->family, item, prefix->bytes) != 1)
		return false;
	length = prefix_bits(prefix->family);
	if (slash && !parse_number(slash + 1, 0, length, &length))
		return false;
	prefix->length = length;
	return true;
}

const char *prefix_list_parse(const char *text, bool network, struct prefix_list *list)
{
	static char wrong[128];
	char *copy = xstrdup(text), *rest = copy, *item;
	unsigned int before = list->count;
	struct prefix prefix;
	bool good = true;

	while (good && (item = next_item(&rest))) {
		snprintf(wrong, sizeof(wrong), "'%.60s' is not %s", item,
			 network ? "a prefix such as 10.1.0.0/16" : "an address such as 10.1.0.1/24");
		good = parse(item, &prefix);
		if (good && network && host_bits(&prefix)) {
			snprintf(wrong, sizeof(wrong), "'%.60s/%u' has bits set after its length", item,
				 prefix.length);
			good = false;
		}
		if (!good)
			break;
		list->prefixes = xrealloc(list->prefixes, list->count + 1, sizeof(prefix));
		list->prefixes[list->count++] = prefix;
	}
	free(copy);
	if (good && list->count == before)
		return "an empty list";
	return good ? NULL : wrong;
}

bool prefix_same(const struct prefix *a, const struct prefix *b)
{
	return a->family == b->family && a->length == b->length &&
	       !memcmp(a->bytes, b->bytes, prefix_bits(a->family) / 8);
}

bool prefix_list_has(const struct prefix_list *list, const struct prefix *prefix)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (prefix_same(&list->prefixes[i], prefix))
			return true;
	return false;
}

const struct prefix *prefix_list_source(const struct prefix_list *list, int family)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (list->prefixes[i].family == family &&
		    !prefix_is_link_local(&list->prefixes[i]))
			return &list->prefixes[i];
	return NULL;
}

struct prefix prefix_host(const struct prefix *address)
{
	struct prefix host = *address;

	host.length = prefix_bits(host.family);
	return host;
}

bool prefix_is_link_local(const struct prefix *address)
{
	/* fe80::/10 */
	return address->family == AF_INET6 && address->bytes[0] == 0xfe &&
	       (address->bytes[1] & 0xc0) == 0x80;
}

bool prefixes_overlap(const struct prefix *a, const struct prefix *b)
{
	unsigned int i, common = a->length < b->length ? a->length : b->length;

	if (a->family != b->family)
		return false;
	for (i = 0; i < common; i++)
		if (bit(a, i) != bit(b, i))
			return false;
	return true;
}

const char *prefix_text(const struct prefix *prefix, char *text)
{
	size_t used;

	if (!inet_ntop(prefix->family, prefix->bytes, text, PREFIX_TEXT))
		abort();
	used = strlen(text);
	snprintf(text + used, PREFIX_TEXT - used, "/%u", prefix->length);
	return text;
}

void prefix_list_free(struct prefix_list *list)
{
	free(list->prefixes);
	list->prefixes = NULL;
	list->count = 0;
}
