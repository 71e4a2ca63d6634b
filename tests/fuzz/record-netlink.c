// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * record-netlink FOLDER: asks the kernel all that wgtrunk does, of the trunk west that
 * is up, and keeps what it answers as seeds of fuzz-netlink in FOLDER.
 */

#include <err.h>
#include <libmnl/libmnl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "questions.h"

/*
 * Dumps fill what there is room for: with less, they come in several messages, as
 * those of many prefixes do.
 */
#define RECEIVE_MAX	4096

/* An interface that is not there. */
#define NOWHERE		255

static FILE *record;

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *socket, void *to, size_t size);
ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *socket, void *to, size_t size);

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *socket, void *to, size_t size)
{
	ssize_t length = __real_mnl_socket_recvfrom(socket, to,
						    size < RECEIVE_MAX ? size : RECEIVE_MAX);

	if (length < 0)
		err(1, "recvfrom");
	if (record) {
		putc(length & 0xff, record);
		putc(length >> 8, record);
		fwrite(to, 1, length, record);
	}
	return length;
}

/* What to keep: @of an interface, NULL for one that is not there, as file @name. */
static const struct {
	const char *name;
	const char *question;
	const char *of;
	bool begun;
} wanted[] = {
	{ "kernel_open", "kernel_open", TRUNK_NAME, false },
	{ "links_read", "links_read", TRUNK_NAME, false },
	{ "addresses_read", "addresses_read", TRUNK_NAME, false },
	{ "routes_read", "routes_read", TRUNK_NAME, false },
	{ "route_get", "route_get", TRUNK_NAME, false },
	{ "route_get-6", "route_get", TRUNK_NAME, true },
	{ "tunnel_read", "tunnel_read", TRUNK_NAME ".0", false },
	{ "tunnel_read-long", "tunnel_read", TRUNK_NAME ".2", false },
	{ "tunnel_read-error", "tunnel_read", "lo", false },
	{ "place_read", "place_read", TRUNK_NAME ".1", false },
	{ "place_read-error", "place_read", NULL, false },
	{ "counters_read", "counters_read", TRUNK_NAME ".0", false },
	{ "counters_read-error", "counters_read", NULL, false },
	{ "found_read", "found_read", TRUNK_NAME, false },
	{ "found_names", "found_names", TRUNK_NAME, false },
};

static unsigned int question_number(const char *name)
{
	unsigned int i;

	for (i = 0; i < questions_count; i++)
		if (!strcmp(questions[i].name, name))
			return i;
	errx(1, "no question %s", name);
}

int main(int argc, char **argv)
{
	unsigned int i, number, index;
	struct kernel kernel;
	char path[4096];

	if (argc != 2)
		errx(2, "usage: record-netlink FOLDER");
	if (sodium_init() < 0 || !kernel_open(&kernel, true) || !kernel_is_ours(&kernel))
		return 1;
	for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		number = question_number(wanted[i].question);
		index = wanted[i].of ? if_nametoindex(wanted[i].of) : NOWHERE;
		if (!index || index > NOWHERE)
			errx(1, "no interface %s, or too many", wanted[i].of);
		snprintf(path, sizeof(path), "%s/%s", argv[1], wanted[i].name);
		record = fopen(path, "we");
		if (!record)
			err(1, "%s", path);
		putc(number | (wanted[i].begun ? 0x80 : 0), record);
		putc(index, record);
		questions[number].ask(&kernel, index, wanted[i].begun);
		if (ferror(record) | fclose(record))
			errx(1, "%s: could not be written", path);
		record = NULL;
	}
	kernel_close(&kernel);
	return 0;
}
