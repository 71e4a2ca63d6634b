// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * To be preloaded into wgtrunk: kills it, as SIGKILL would, when it is about to send its
 * DIE_AT-th netlink message (libmnl sends by sendto()).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to,
	       socklen_t to_length)
{
	static ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	static int count;
	const char *at = getenv("DIE_AT");

	if (!real)
		real = dlsym(RTLD_NEXT, "sendto");
	if (at && to && to->sa_family == AF_NETLINK && ++count == atoi(at))
		raise(SIGKILL);
	return real(fd, data, length, flags, to, to_length);
}
