// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Numbered UDP datagrams, and a receiver that finds each one out of its place.
 *
 *	stream send ADDRESS PORT FLOWS COUNT SIZE GAP MIGRATE
 *	stream receive PORT FLOWS IDLE
 *
 * The sender has one thread and one socket per flow, each sends COUNT datagrams
 * of SIZE bytes, GAP microseconds apart (0: as fast as it can). After every
 * MIGRATE datagrams (0: never) a thread moves to the next CPU. Datagrams that
 * the kernel refuses are sent again, so that only what it took is numbered. With
 * COUNT 0 they go on for ever, whatever the kernel says.
 *
 * The receiver ends when nothing came for IDLE milliseconds after something did,
 * when nothing came at all for a minute, or when told by SIGTERM. One line per flow, then the sum:
 *
 *	flow 0: received 1000 first 0 last 999 lost 0 late 0 twice 0 corrupt 0
 *
 * late: came after one with a higher number; twice: came before; lost: numbers
 * between the first and the last that never came.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_SIZE	65507
#define MAX_FLOWS	64
#define MAX_COUNT	(1U << 24)
#define FIRST_WAIT	60000

struct datagram {
	uint32_t flow;
	uint32_t number;
	uint8_t rest[MAX_SIZE - 8];
};

struct sender {
	pthread_t thread;
	const struct addrinfo *to;
	unsigned int flow, count, size, gap, migrate;
	unsigned long refused;
};

struct flow {
	uint8_t *seen;
	uint32_t first, last;
	unsigned long received, late, twice, corrupt;
};

static volatile sig_atomic_t told_to_end;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static unsigned int number(const char *text, unsigned int max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value > max) {
		fprintf(stderr, "stream: %s is not a number up to %u\n", text, max);
		exit(2);
	}
	return value;
}

/* Both sides know what byte belongs where. */
static uint8_t filler(uint32_t flow, uint32_t number, unsigned int offset)
{
	return flow * 31 + number * 7 + offset;
}

static void move_to_next_cpu(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((sched_getcpu() + 1) % cpus, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *send_flow(void *arg)
{
	struct sender *me = arg;
	struct datagram *out = malloc(sizeof(*out));
	struct timespec gap = { .tv_nsec = me->gap * 1000L };
	unsigned int i, j;
	int fd, size = 4 << 20;

	fd = socket(me->to->ai_family, SOCK_DGRAM, 0);
	if (fd < 0 || !out)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (connect(fd, me->to->ai_addr, me->to->ai_addrlen))
		die("connect");
	out->flow = htonl(me->flow);
	for (i = 0; i < me->count || !me->count; i++) {
		if (me->migrate && i % me->migrate == 0)
			move_to_next_cpu();
		out->number = htonl(i);
		for (j = 0; j < me->size - 8; j++)
			out->rest[j] = filler(me->flow, i, j);
		while (send(fd, out, me->size, 0) < 0) {
			usleep(1000);
			if (!me->count)
				break;
			if (errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED)
				die("send");
			if (++me->refused > 1000000)
				die("send, again and again");
		}
		if (me->gap)
			nanosleep(&gap, NULL);
	}
	close(fd);
	free(out);
	return NULL;
}

static int send_all(char **argv)
{
	static struct sender senders[MAX_FLOWS];
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST };
	unsigned int flows = number(argv[2], MAX_FLOWS), i;
	unsigned long refused = 0;
	struct addrinfo *to;

	if (getaddrinfo(argv[0], argv[1], &hints, &to)) {
		fprintf(stderr, "stream: no address %s\n", argv[0]);
		return 2;
	}
	for (i = 0; i < flows; i++) {
		senders[i] = (struct sender) {
			.to = to, .flow = i, .count = number(argv[3], MAX_COUNT),
			.size = number(argv[4], MAX_SIZE), .gap = number(argv[5], 900000),
			.migrate = number(argv[6], MAX_COUNT),
		};
		if (senders[i].size < 8)
			senders[i].size = 8;
		if (pthread_create(&senders[i].thread, NULL, send_flow, &senders[i]))
			die("thread");
	}
	for (i = 0; i < flows; i++) {
		pthread_join(senders[i].thread, NULL);
		refused += senders[i].refused;
	}
	printf("sent %u flows, %lu refused and sent again\n", flows, refused);
	return 0;
}

static void end(int signal)
{
	(void)signal;
	told_to_end = 1;
}

static void note(struct flow *flow, const struct datagram *in, unsigned int size, uint32_t id)
{
	uint32_t n = ntohl(in->number);
	unsigned int i;

	for (i = 0; i < size - 8; i++) {
		if (in->rest[i] != filler(id, n, i)) {
			flow->corrupt++;
			break;
		}
	}
	if (n >= MAX_COUNT) {
		flow->corrupt++;
		return;
	}
	if (flow->seen[n / 8] & 1 << n % 8) {
		flow->twice++;
		return;
	}
	flow->seen[n / 8] |= 1 << n % 8;
	if (!flow->received++)
		flow->first = flow->last = n;
	else if (n < flow->last)
		flow->late++;
	if (n < flow->first)
		flow->first = n;
	if (n > flow->last)
		flow->last = n;
}

static unsigned long lost(const struct flow *flow)
{
	return flow->received ? flow->last - flow->first + 1 - flow->received : 0;
}

static void report(const char *name, unsigned int which, const struct flow *flow, unsigned long gone)
{
	printf("%s %u: received %lu first %u last %u lost %lu late %lu twice %lu corrupt %lu\n",
	       name, which, flow->received, flow->first, flow->last, gone, flow->late,
	       flow->twice, flow->corrupt);
}

static int receive_all(char **argv)
{
	static struct flow flows[MAX_FLOWS], sum;
	struct sockaddr_in6 own = { .sin6_family = AF_INET6 };
	struct sigaction action = { .sa_handler = end };
	unsigned int count = number(argv[1], MAX_FLOWS), idle = number(argv[2], 1000000), i;
	struct timeval poll = { .tv_usec = 50000 };
	struct datagram *in = malloc(sizeof(*in));
	int fd, size = 32 << 20, quiet = 0, begun = 0;
	unsigned long gone = 0;
	ssize_t got;

	own.sin6_port = htons(number(argv[0], 65535));
	sigaction(SIGTERM, &action, NULL);
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	if (fd < 0 || !in)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &poll, sizeof(poll));
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)))
		die("bind");
	for (i = 0; i < count; i++) {
		flows[i].seen = calloc(MAX_COUNT / 8, 1);
		if (!flows[i].seen)
			die("memory");
	}
	puts("ready");
	fflush(stdout);

	while (!told_to_end && quiet * 50 < (begun ? (int)idle : FIRST_WAIT)) {
		got = recv(fd, in, sizeof(*in), 0);
		if (got < 0) {
			quiet++;
			continue;
		}
		quiet = 0;
		begun = 1;
		if (got < 8 || ntohl(in->flow) >= count)
			sum.corrupt++;
		else
			note(&flows[ntohl(in->flow)], in, got, ntohl(in->flow));
	}
	for (i = 0; i < count; i++) {
		report("flow", i, &flows[i], lost(&flows[i]));
		sum.received += flows[i].received;
		sum.late += flows[i].late;
		sum.twice += flows[i].twice;
		sum.corrupt += flows[i].corrupt;
		gone += lost(&flows[i]);
	}
	report("all", count, &sum, gone);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 9 && !strcmp(argv[1], "send"))
		return send_all(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "receive"))
		return receive_all(argv + 2);
	fputs("stream send ADDRESS PORT FLOWS COUNT SIZE GAP MIGRATE\n"
	      "stream receive PORT FLOWS IDLE\n", stderr);
	return 2;
}
