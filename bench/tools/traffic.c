// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * traffic - sends and receives what a tunnel is measured with.
 *
 *	traffic gso ADDRESS PORT SEGMENT CPU
 *		UDP in units of up to 64 KB that the kernel cuts into SEGMENT
 *		bytes, without end
 *	traffic send ADDRESS PORT WRITE CPU
 *		TCP, WRITE bytes at a time, until the receiver hangs up
 *	traffic receive PORT FLOWS WARM MS PIN FIRST
 *		waits for FLOWS connections, then WARM milliseconds, counts what
 *		arrives for MS milliseconds, prints "BYTES NS" and ends. What comes
 *		to an address n.n.I.n is read on CPU (FIRST + I) % PIN, or anywhere
 *		where PIN is 0
 *	traffic probe ADDRESS PORT COUNT US
 *		COUNT small datagrams, one every US microseconds
 *	traffic reflect PORT COUNT
 *		receives those until it has all or none comes for a second; prints how many there
 *		were and how long each was under way, in ns, in order of size.
 *		Both ends must have the same clock
 *
 * CPU is -1 where it does not matter. Addresses are numbers, IPv4.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#define UDP_MAX		65507
#define SEGMENTS_MAX	64
#define READ_SIZE	(256 << 10)
#define FLOWS_MAX	256

struct probe {
	uint64_t ns;
	uint64_t number;
};

static atomic_ullong received;

static void die(const char *what)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n > max) {
		fprintf(stderr, "traffic: not a number up to %lu: %s\n", max, text);
		exit(2);
	}
	return n;
}

static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

static uint64_t now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void wait_ms(unsigned long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static int connected(int type, const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(number(port, 65535)) };
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		die("socket");
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
		fprintf(stderr, "traffic: not an IPv4 address: %s\n", address);
		exit(2);
	}
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	return fd;
}

static int bound(int type, const char *port)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(number(port, 65535)) };
	int fd = socket(AF_INET, type, 0), one = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)))
		die("bind");
	return fd;
}

static int __attribute__((noreturn)) gso(char **argv)
{
	int segment = number(argv[2], 65000), fd, count;
	static char buffer[UDP_MAX];

	pin(atoi(argv[3]));
	fd = connected(SOCK_DGRAM, argv[0], argv[1]);
	if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)))
		die("UDP_SEGMENT");
	count = UDP_MAX / segment;
	if (count > SEGMENTS_MAX)
		count = SEGMENTS_MAX;
	for (;;) {
		if (send(fd, buffer, count * segment, 0) < 0 && errno != ENOBUFS &&
		    errno != ECONNREFUSED && errno != EINTR)
			die("send");
	}
}

static int send_tcp(char **argv)
{
	size_t size = number(argv[2], 64 << 20);
	char *buffer = calloc(1, size);
	int fd;

	if (!buffer)
		die("memory");
	pin(atoi(argv[3]));
	fd = connected(SOCK_STREAM, argv[0], argv[1]);
	while (send(fd, buffer, size, MSG_NOSIGNAL) > 0)
		;
	return 0;
}

struct reader {
	pthread_t thread;
	int fd;
	int cpu;
};

static void *reader(void *arg)
{
	struct reader *self = arg;
	char *buffer = malloc(READ_SIZE);
	ssize_t got;

	if (!buffer)
		die("memory");
	pin(self->cpu);
	while ((got = recv(self->fd, buffer, READ_SIZE, 0)) > 0)
		atomic_fetch_add(&received, got);
	free(buffer);
	return NULL;
}

/* The last but one number of the address that a connection was made to. */
static unsigned int subnet(int fd)
{
	struct sockaddr_in own;
	socklen_t size = sizeof(own);

	if (getsockname(fd, (struct sockaddr *)&own, &size))
		die("getsockname");
	return ntohl(own.sin_addr.s_addr) >> 8 & 255;
}

static int receive(char **argv)
{
	unsigned long flows = number(argv[1], FLOWS_MAX), warm = number(argv[2], 60000);
	unsigned long ms = number(argv[3], 600000), cpus = number(argv[4], 1024);
	unsigned long first = number(argv[5], 1024), i;
	static struct reader readers[FLOWS_MAX];
	int fd = bound(SOCK_STREAM, argv[0]);
	uint64_t bytes, ns;

	if (listen(fd, FLOWS_MAX))
		die("listen");
	puts("ready");
	fflush(stdout);
	for (i = 0; i < flows; i++) {
		readers[i].fd = accept(fd, NULL, NULL);
		if (readers[i].fd < 0)
			die("accept");
		readers[i].cpu = cpus ? (int)((first + subnet(readers[i].fd)) % cpus) : -1;
		if (pthread_create(&readers[i].thread, NULL, reader, &readers[i]))
			die("pthread_create");
	}
	wait_ms(warm);
	bytes = atomic_load(&received);
	ns = now(CLOCK_MONOTONIC);
	wait_ms(ms);
	bytes = atomic_load(&received) - bytes;
	ns = now(CLOCK_MONOTONIC) - ns;
	printf("%llu %llu\n", (unsigned long long)bytes, (unsigned long long)ns);
	return 0;
}

static int probe(char **argv)
{
	uint64_t next = now(CLOCK_MONOTONIC);
	unsigned long count = number(argv[2], 10000000), us = number(argv[3], 10000000);
	int fd = connected(SOCK_DGRAM, argv[0], argv[1]);
	struct probe probe = { 0 };
	struct timespec at;

	for (probe.number = 0; probe.number < count; probe.number++) {
		next += us * 1000;
		at.tv_sec = next / 1000000000;
		at.tv_nsec = next % 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		probe.ns = now(CLOCK_REALTIME);
		send(fd, &probe, sizeof(probe), 0);
	}
	return 0;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* When the stack got it, not when this process was woken up for it. */
static uint64_t arrival(struct msghdr *msg)
{
	struct cmsghdr *cmsg;
	struct timespec ts;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&ts, CMSG_DATA(cmsg), sizeof(ts));
			return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
		}
	}
	fputs("traffic: a datagram without a time\n", stderr);
	exit(1);
}

static int reflect(char **argv)
{
	unsigned long max = number(argv[1], 10000000), n = 0, i;
	uint64_t *delays = calloc(max + 1, sizeof(*delays));
	int fd = bound(SOCK_DGRAM, argv[0]), one = 1;
	struct timeval limit = { .tv_sec = 20 };
	char control[256];
	struct probe probe;
	struct iovec iov = { &probe, sizeof(probe) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!delays)
		die("memory");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)))
		die("SO_TIMESTAMPNS");
	puts("ready");
	fflush(stdout);
	while (n < max) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		if (recvmsg(fd, &msg, 0) != sizeof(probe))
			break;
		limit.tv_sec = 1;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		delays[n++] = arrival(&msg) - probe.ns;
	}
	qsort(delays, n, sizeof(*delays), ascending);
	printf("%lu\n", n);
	for (i = 0; i < n; i++)
		printf("%llu\n", (unsigned long long)delays[i]);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*run)(char **argv);
	} commands[] = {
		{ "gso", 4, gso },	 { "send", 4, send_tcp }, { "receive", 6, receive },
		{ "probe", 4, probe }, { "reflect", 2, reflect },
	};
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (argc == 2 + commands[i].args && !strcmp(argv[1], commands[i].name))
			return commands[i].run(argv + 2);
	fputs("traffic gso ADDRESS PORT SEGMENT CPU\n"
	      "traffic send ADDRESS PORT WRITE CPU\n"
	      "traffic receive PORT FLOWS WARM MS PIN FIRST\n"
	      "traffic probe ADDRESS PORT COUNT US\n"
	      "traffic reflect PORT COUNT\n", stderr);
	return 2;
}
