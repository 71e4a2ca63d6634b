// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The same UDP payload from many sources.
 *
 *	flood DESTINATION PORT NETWORK SOURCES BURST PAUSE SECONDS <PAYLOAD
 *
 * Bursts of BURST datagrams, PAUSE milliseconds apart, for SECONDS. Sources are
 * the SOURCES addresses that follow NETWORK (IPv4), in turn, with port 1000. The
 * payload, up to 1400 bytes, comes from standard input. Needs a raw socket.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH		64
#define MAX_PAYLOAD	1400

struct packet {
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[MAX_PAYLOAD];
} __attribute__((packed));

static struct packet packets[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr batch[BATCH];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void prepare(struct sockaddr_in *to, const uint8_t *payload, unsigned int size)
{
	int i;

	for (i = 0; i < BATCH; i++) {
		struct packet *packet = &packets[i];

		packet->ip.version = 4;
		packet->ip.ihl = 5;
		packet->ip.ttl = 64;
		packet->ip.protocol = IPPROTO_UDP;
		packet->ip.daddr = to->sin_addr.s_addr;
		packet->ip.tot_len = htons(28 + size);
		packet->udp.source = htons(1000);
		packet->udp.dest = to->sin_port;
		packet->udp.len = htons(8 + size);
		memcpy(packet->payload, payload, size);
		pieces[i].iov_base = packet;
		pieces[i].iov_len = 28 + size;
		batch[i].msg_hdr.msg_iov = &pieces[i];
		batch[i].msg_hdr.msg_iovlen = 1;
		batch[i].msg_hdr.msg_name = to;
		batch[i].msg_hdr.msg_namelen = sizeof(*to);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	unsigned int sources, burst, pause, next = 0, left;
	unsigned long sent = 0, failed = 0;
	uint8_t payload[MAX_PAYLOAD];
	struct in_addr network;
	int fd, i, n, done;
	ssize_t size;
	double end;

	if (argc != 8 || !inet_aton(argv[1], &to.sin_addr) || !inet_aton(argv[3], &network)) {
		fputs("flood DESTINATION PORT NETWORK SOURCES BURST PAUSE SECONDS <PAYLOAD\n", stderr);
		return 2;
	}
	to.sin_port = htons(atoi(argv[2]));
	sources = atoi(argv[4]);
	burst = atoi(argv[5]);
	pause = atoi(argv[6]);
	size = read(0, payload, sizeof(payload));
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (size <= 0 || fd < 0 || !sources) {
		perror("flood");
		return 2;
	}
	prepare(&to, payload, size);

	end = now() + atof(argv[7]);
	do {
		for (left = burst; left; left -= n) {
			n = left < BATCH ? left : BATCH;
			for (i = 0; i < n; i++) {
				packets[i].ip.saddr = htonl(ntohl(network.s_addr) + 1 + next);
				next = (next + 1) % sources;
			}
			done = sendmmsg(fd, batch, n, 0);
			if (done < 0) {
				if (errno != ENOBUFS && errno != EAGAIN) {
					perror("sendmmsg");
					return 2;
				}
				failed += n;
			} else {
				sent += done;
			}
		}
		usleep(pause * 1000);
	} while (now() < end);
	printf("sent %lu, %lu refused\n", sent, failed);
	return 0;
}
