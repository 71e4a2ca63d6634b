// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The parsers of netlink replies, for libFuzzer. libmnl's functions for sockets are
 * wrapped by the linker: what is received comes from the fuzzer's bytes. Of those, the
 * recorder writes the same:
 *
 *	+----------+-----------+---------------------------+------ - -
 *	| question | interface | length | datagram         | length
 *	+----------+-----------+---------------------------+------ - -
 *	  1 byte     1 byte      2 bytes, little endian
 *
 * Question: number in questions[], and 0x80 for @begun. A length of 0 is an
 * interruption; after the last datagram there are errors only, so that all ends.
 */

#include <errno.h>
#include <libmnl/libmnl.h>
#include <sanitizer/asan_interface.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nl.h"
#include "questions.h"

/* A message with this number keeps it, and so answers something that was not asked. */
#define NUMBER_KEPT	0xffffffff

static const uint8_t *bytes;
static size_t left;

/* What was asked last. */
static uint32_t number;

/* Where replies are received: what is behind the last one is not to be read. */
static char *buffer;
static size_t buffer_size;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
struct mnl_socket *__wrap_mnl_socket_open2(int bus, int flags);
int __wrap_mnl_socket_bind(struct mnl_socket *socket, unsigned int groups, pid_t pid);
int __wrap_mnl_socket_setsockopt(const struct mnl_socket *socket, int type, void *data,
				 socklen_t length);
int __wrap_mnl_socket_close(struct mnl_socket *socket);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *socket, const void *data, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *socket, void *to, size_t size);
void __wrap_sodium_memzero(void *memory, size_t size);
void __real_sodium_memzero(void *memory, size_t size);

/* Each is memory of its own, so that one that is not closed is a leak. */
struct mnl_socket *__wrap_mnl_socket_open2(int bus, int flags)
{
	(void)bus;
	(void)flags;
	return malloc(1);
}

int __wrap_mnl_socket_bind(struct mnl_socket *socket, unsigned int groups, pid_t pid)
{
	(void)socket, (void)groups, (void)pid;
	return 0;
}

int __wrap_mnl_socket_setsockopt(const struct mnl_socket *socket, int type, void *data,
				 socklen_t length)
{
	(void)socket, (void)type, (void)data, (void)length;
	return 0;
}

int __wrap_mnl_socket_close(struct mnl_socket *socket)
{
	free(socket);
	return 0;
}

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *socket, const void *data, size_t size)
{
	const struct nlmsghdr *message = data;

	(void)socket;
	if (size != message->nlmsg_len || size > NL_REQUEST_MAX)
		abort();
	number = message->nlmsg_seq;
	return size;
}

/* As the answer to what was asked. */
static void number_messages(char *at, size_t length)
{
	struct nlmsghdr header;

	while (length >= sizeof(header)) {
		memcpy(&header, at, sizeof(header));
		if (header.nlmsg_seq != NUMBER_KEPT)
			header.nlmsg_seq = number;
		memcpy(at, &header, sizeof(header));
		if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > length ||
		    (size_t)MNL_ALIGN(header.nlmsg_len) >= length)
			return;
		at += MNL_ALIGN(header.nlmsg_len);
		length -= MNL_ALIGN(header.nlmsg_len);
	}
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *socket, void *to, size_t size)
{
	size_t length;

	(void)socket;
	if (left < 2) {
		errno = ENOBUFS;
		return -1;
	}
	length = bytes[0] | bytes[1] << 8;
	bytes += 2;
	left -= 2;
	if (!length) {
		errno = EINTR;
		return -1;
	}
	if (length > left)
		length = left;
	if (length > size)
		length = size;
	buffer = to;
	buffer_size = size;
	ASAN_UNPOISON_MEMORY_REGION(buffer, size);
	memcpy(buffer, bytes, length);
	bytes += length;
	left -= length;
	number_messages(buffer, length);
	ASAN_POISON_MEMORY_REGION(buffer + length, size - length);
	return length;
}

/* The one who may write there. */
void __wrap_sodium_memzero(void *memory, size_t size)
{
	if (memory == buffer)
		ASAN_UNPOISON_MEMORY_REGION(buffer, buffer_size);
	__real_sodium_memzero(memory, size);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	/* For messages of the tool; libFuzzer and the sanitizers keep theirs. */
	stderr = fopen("/dev/null", "we");
	return stderr && sodium_init() >= 0 ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel kernel = { .wireguard = 30, .lane = 31 };

	if (size < 2)
		return 0;
	bytes = data + 2;
	left = size - 2;
	kernel.route = __wrap_mnl_socket_open2(0, 0);
	kernel.generic = __wrap_mnl_socket_open2(0, 0);
	questions[(data[0] & 0x7f) % questions_count].ask(&kernel, data[1], data[0] & 0x80);
	kernel_close(&kernel);
	return 0;
}
