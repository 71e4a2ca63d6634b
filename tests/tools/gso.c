// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * UDP with segmentation offload (UDP_SEGMENT): numbered segments, many to a call.
 *
 *	gso send ADDRESS PORT SEGMENT SEGMENTS CALLS
 *	gso receive PORT SEGMENT IDLE
 *
 * The sender makes CALLS calls, each of SEGMENTS segments of SEGMENT bytes, but
 * for its last one, which is shorter. The receiver prints how many datagrams it
 * got, in order, with right lengths and contents, and how many it got wrong. It
 * ends IDLE milliseconds after the last.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#define SHORTER	5

static uint8_t buffer[65536];

static void fill(uint8_t *to, uint32_t n, unsigned int size)
{
	unsigned int i;

	for (i = 0; i < size; i++)
		to[i] = i < 4 ? n >> 8 * i : n + i * 3;
}

static int send_calls(char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST }, *to;
	unsigned int segment = atoi(argv[2]), segments = atoi(argv[3]), calls = atoi(argv[4]), i, j;
	uint32_t n = 0;
	size_t total;
	int fd;

	if (getaddrinfo(argv[0], argv[1], &hints, &to))
		return 2;
	fd = socket(to->ai_family, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen) ||
	    setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(int))) {
		perror("gso");
		return 2;
	}
	if (segment <= SHORTER || segment * segments > sizeof(buffer)) {
		fputs("gso: does not fit\n", stderr);
		return 2;
	}
	for (i = 0; i < calls; i++) {
		for (j = 0; j < segments; j++)
			fill(buffer + j * segment, n++, segment);
		total = segment * segments - SHORTER;
		if (send(fd, buffer, total, 0) != (ssize_t)total) {
			perror("send");
			return 1;
		}
	}
	printf("sent %u\n", n);
	return 0;
}

static int receive_all(char **argv)
{
	struct sockaddr_in6 own = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(argv[0])) };
	unsigned int segment = atoi(argv[1]), idle = atoi(argv[2]);
	struct timeval limit = { .tv_sec = 20 };
	static uint8_t expected[65536];
	unsigned long good = 0, wrong = 0;
	int fd, size = 32 << 20;
	uint32_t n, next = 0;
	ssize_t got;

	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own))) {
		perror("gso");
		return 2;
	}
	puts("ready");
	fflush(stdout);
	while ((got = recv(fd, buffer, sizeof(buffer), 0)) >= 0) {
		limit = (struct timeval){ idle / 1000, idle % 1000 * 1000 };
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		n = buffer[0] | buffer[1] << 8 | buffer[2] << 16 | (uint32_t)buffer[3] << 24;
		fill(expected, n, got);
		if ((got == segment || got == segment - SHORTER) && n >= next &&
		    !memcmp(expected, buffer, got))
			good++;
		else
			wrong++;
		next = n + 1;
	}
	printf("good %lu wrong %lu\n", good, wrong);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 7 && !strcmp(argv[1], "send"))
		return send_calls(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "receive"))
		return receive_all(argv + 2);
	fputs("gso send ADDRESS PORT SEGMENT SEGMENTS CALLS\n"
	      "gso receive PORT SEGMENT IDLE\n", stderr);
	return 2;
}
