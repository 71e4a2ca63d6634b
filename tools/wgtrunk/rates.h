/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * How fast: what lanes and CPUs did between two looks at them.
 *
 *	found_read(kernel, name, false, &found);
 *	sample_take(kernel, &found, &before);
 *	... some time later, with another found_read() ...
 *	sample_take(kernel, &found, &after);
 *	rate_of_lane(&before, &after, 0, &rate);
 */
#ifndef WGTRUNK_RATES_H
#define WGTRUNK_RATES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "found.h"

/**
 * struct lane_sample - what a lane had counted at some time
 * @index: of its interface; 0 where there is none
 * @rx_bytes: and so on: with the protocol's own header and tag
 * @handed_over: packets that were handed to the home CPU
 * @drops: packets dropped, for whatever reason
 */
struct lane_sample {
	unsigned int index;
	uint64_t rx_bytes;
	uint64_t tx_bytes;
	uint64_t rx_packets;
	uint64_t tx_packets;
	uint64_t handed_over;
	uint64_t drops;
};

/**
 * struct sample - all lanes of a trunk at some time
 * @time: in nanoseconds, of a clock that nobody sets
 * @lanes: how many there are in @lane
 */
struct sample {
	int64_t time;
	unsigned int lanes;
	struct lane_sample *lane;
};

/* struct rate - in a second. */
struct rate {
	double rx_bits;
	double tx_bits;
	double rx_packets;
	double tx_packets;
	double handed_over;
	double drops;
};

/**
 * sample_take() - note what the lanes have counted
 * @found: the trunk, just read
 * @sample: freed by sample_free(), also after an error
 *
 * Return: whether that went well; if not, there is a message: a lane may have gone
 * since @found was read.
 */
bool sample_take(struct kernel *kernel, const struct found *found, struct sample *sample);

void sample_free(struct sample *sample);

/**
 * rate_of_lane() - how fast a lane is
 * @before: a sample, or one of all zeros
 * @after: a later one of the same trunk
 * @lane: its number
 * @rate: zeros for a lane that is not in both, or is another interface now, and for a
 *	  counter that went back
 *
 * Return: whether the lane is in both, so that @rate says something.
 */
bool rate_of_lane(const struct sample *before, const struct sample *after, unsigned int lane,
		  struct rate *rate);

/* rate_add() - add @rate to @sum, which begins as zeros. */
void rate_add(struct rate *sum, const struct rate *rate);

/* Long enough for rate_text() and age_text(). */
#define RATE_TEXT	8

/* rate_text() - three digits and a letter, e.g. 0, 12, 9.41G, into @text; returns it. */
const char *rate_text(double rate, char *text);

/* handshake_text() - how long ago a lane's last one was, of any peer, into @text; returns it, or "never". */
const char *handshake_text(const struct found_lane *lane, char *text);

/* age_text() - of so many seconds, e.g. 59s, 12m, 3h, 20d, into @text; returns it. */
const char *age_text(int64_t seconds, char *text);

/**
 * struct cpu_time - what a CPU has spent its time on since the system started
 * @seen: there is such a CPU, and it is online
 * @softirq: and so on: in ticks
 * @all: of them, and everything else
 */
struct cpu_time {
	bool seen;
	uint64_t softirq;
	uint64_t system;
	uint64_t user;
	uint64_t all;
};

/* struct cpu_times - of @count CPUs, by their numbers. */
struct cpu_times {
	unsigned int count;
	struct cpu_time *cpu;
};

/* struct cpu_share - of a CPU's time, each from 0 to 1. */
struct cpu_share {
	double softirq;
	double system;
	double user;
};

/**
 * cpu_times_parse() - read what /proc/stat says
 * @file: that, or a file in its form
 * @times: freed by cpu_times_free()
 */
void cpu_times_parse(FILE *file, struct cpu_times *times);

void cpu_times_free(struct cpu_times *times);

/**
 * cpu_share_of() - what a CPU did between two readings
 * @share: zeros for a CPU that is not in both, or did not run
 *
 * Return: whether it is in both.
 */
bool cpu_share_of(const struct cpu_times *before, const struct cpu_times *after, unsigned int cpu,
		  struct cpu_share *share);

#endif /* WGTRUNK_RATES_H */
