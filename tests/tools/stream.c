// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Numbered UDP datagrams, and a receiver that finds each one out of its place.
 *
 *	stream send ADDRESS PORT FLOWS COUNT SIZE[+STEP] [=]GAP MIGRATE
 *	stream receive PORT FLOWS IDLE
 *
 * The sender has one thread and one socket per flow, each sends COUNT datagrams
 * of SIZE bytes, each flow's STEP (0) bytes larger than those of the one before, GAP microseconds apart (0: as fast as it can; with =: on average,
 * some at a time, and when it slept for too long, what is due goes at once). After every
 * MIGRATE datagrams (0: never) a thread moves to the next CPU. Datagrams that
 * the kernel refuses are sent again, so that only what it took is numbered. With
 * COUNT 0 they go on for ever, whatever the kernel says.
 *
 * The receiver ends when nothing came for IDLE milliseconds after something did,
 * when nothing came at all for a minute, or when told by SIGTERM. One line per flow, then the sum,
 * at its end and whenever SIGUSR1 asks:
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
#define BATCH		32
#define BURST_USEC	20000	/* sleeps of senders that keep to an average */

struct datagram {
	uint32_t flow;
	uint32_t number;
	uint8_t rest[MAX_SIZE - 8];
};

struct sender {
	pthread_t thread;
	const struct addrinfo *to;
	unsigned int flow, count, size, gap, migrate;
	int punctual;
	unsigned long refused;
};

struct flow {
	uint8_t *seen;
	uint32_t first, last;
	unsigned long received, late, twice, corrupt;
};

static volatile sig_atomic_t told_to_end, asked;

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
	struct timespec gap = { .tv_nsec = me->gap * 1000L }, due;
	unsigned int i, j;
	int fd, size = 4 << 20;

	fd = socket(me->to->ai_family, SOCK_DGRAM, 0);
	if (fd < 0 || !out)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (connect(fd, me->to->ai_addr, me->to->ai_addrlen))
		die("connect");
	out->flow = htonl(me->flow);
	clock_gettime(CLOCK_MONOTONIC, &due);
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
		if (me->punctual) {
			due.tv_nsec += gap.tv_nsec;
			due.tv_sec += due.tv_nsec / 1000000000;
			due.tv_nsec %= 1000000000;
			if (i % (BURST_USEC / (me->gap + 1) + 1))
				continue;
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		} else if (me->gap) {
			nanosleep(&gap, NULL);
		}
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
	char *plus = strchr(argv[4], '+');
	unsigned int step = plus ? number(plus + 1, MAX_SIZE / MAX_FLOWS) : 0;
	struct addrinfo *to;

	if (plus)
		*plus = '\0';

	if (getaddrinfo(argv[0], argv[1], &hints, &to)) {
		fprintf(stderr, "stream: no address %s\n", argv[0]);
		return 2;
	}
	for (i = 0; i < flows; i++) {
		senders[i] = (struct sender) {
			.to = to, .flow = i, .count = number(argv[3], MAX_COUNT),
			.size = number(argv[4], MAX_SIZE - step * MAX_FLOWS) + i * step, .gap = number(argv[5] + (*argv[5] == '='), 900000), .punctual = *argv[5] == '=',
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

static void on_signal(int signal)
{
	if (signal == SIGTERM)
		told_to_end = 1;
	else
		asked = 1;
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

/* @strange: datagrams that are of no flow. */
static void report_all(const struct flow *flows, unsigned int count, unsigned long strange)
{
	struct flow sum = { .corrupt = strange };
	unsigned long gone = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		report("flow", i, &flows[i], lost(&flows[i]));
		sum.received += flows[i].received;
		sum.late += flows[i].late;
		sum.twice += flows[i].twice;
		sum.corrupt += flows[i].corrupt;
		gone += lost(&flows[i]);
	}
	report("all", count, &sum, gone);
	fflush(stdout);
}

static int receive_all(char **argv)
{
	static struct flow flows[MAX_FLOWS];
	struct sockaddr_in6 own = { .sin6_family = AF_INET6 };
	struct sigaction action = { .sa_handler = on_signal };
	unsigned int count = number(argv[1], MAX_FLOWS), idle = number(argv[2], 1000000), i;
	struct timeval poll = { .tv_usec = 50000 };
	struct datagram *in = malloc(BATCH * sizeof(*in));
	struct mmsghdr messages[BATCH] = { };
	struct iovec places[BATCH];
	int fd, size = 32 << 20, quiet = 0, begun = 0, got, n;
	unsigned long strange = 0;

	own.sin6_port = htons(number(argv[0], 65535));
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
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
	for (i = 0; i < BATCH; i++) {
		places[i] = (struct iovec){ &in[i], sizeof(*in) };
		messages[i].msg_hdr.msg_iov = &places[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	puts("ready");
	fflush(stdout);

	while (!told_to_end && quiet * 50 < (begun ? (int)idle : FIRST_WAIT)) {
		if (asked) {
			asked = 0;
			report_all(flows, count, strange);
		}
		got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		if (got < 0) {
			quiet++;
			continue;
		}
		quiet = 0;
		begun = 1;
		for (n = 0; n < got; n++) {
			if (messages[n].msg_len < 8 || ntohl(in[n].flow) >= count)
				strange++;
			else
				note(&flows[ntohl(in[n].flow)], &in[n], messages[n].msg_len,
				     ntohl(in[n].flow));
		}
	}
	report_all(flows, count, strange);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 9 && !strcmp(argv[1], "send"))
		return send_all(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "receive"))
		return receive_all(argv + 2);
	fputs("stream send ADDRESS PORT FLOWS COUNT SIZE[+STEP] [=]GAP MIGRATE\n"
	      "stream receive PORT FLOWS IDLE\n", stderr);
	return 2;
}
