// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpus.h"
#include "rates.h"
#include "util.h"

#define SECOND	1000000000LL

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

static bool is_drop(unsigned int counter)
{
	bool drop = false;

	return counter_name(counter, &drop) && drop;
}

static bool add_counters(struct kernel *kernel, struct lane_sample *lane)
{
	struct cpu_counters *cpus = NULL;
	unsigned int count = 0, i, j;
	bool good;

	good = counters_read(kernel, lane->index, &cpus, &count);
	for (i = 0; good && i < count; i++)
		lane->handed_over += cpus[i].counter[WG_LANE_C_RX_HANDED_OVER];
	for (j = WG_LANE_C_PAD + 1; j <= WG_LANE_C_MAX; j++)
		for (i = 0; good && is_drop(j) && i < count; i++)
			lane->drops += cpus[i].counter[j];
	free(cpus);
	return good;
}

bool sample_take(struct kernel *kernel, const struct found *found, struct sample *sample)
{
	const struct link *link;
	struct lane_sample *lane;
	unsigned int i;

	sample->time = now();
	sample->lanes = found->lanes;
	sample->lane = xalloc(found->lanes + 1, sizeof(*sample->lane));
	for (i = 0; i < found->lanes; i++) {
		link = &found->lane[i].link;
		lane = &sample->lane[i];
		if (!link->index || !found->lane[i].ours)
			continue;
		lane->index = link->index;
		lane->rx_bytes = link->rx_bytes;
		lane->tx_bytes = link->tx_bytes;
		lane->rx_packets = link->rx_packets;
		lane->tx_packets = link->tx_packets;
		if (kernel->lane && !add_counters(kernel, lane))
			return false;
	}
	return true;
}

void sample_free(struct sample *sample)
{
	free(sample->lane);
	memset(sample, 0, sizeof(*sample));
}

/* A counter that is lower than it was began again; nobody knows from where. */
static double per_second(uint64_t before, uint64_t after, int64_t time)
{
	return after > before ? (double)(after - before) * SECOND / time : 0;
}

bool rate_of_lane(const struct sample *before, const struct sample *after, unsigned int lane,
		  struct rate *rate)
{
	int64_t time = after->time - before->time;
	const struct lane_sample *from, *to;

	memset(rate, 0, sizeof(*rate));
	if (lane >= before->lanes || lane >= after->lanes || time <= 0)
		return false;
	from = &before->lane[lane];
	to = &after->lane[lane];
	/* The interface of that name may have been made anew in between. */
	if (!to->index || from->index != to->index)
		return false;
	rate->rx_bits = per_second(from->rx_bytes, to->rx_bytes, time) * 8;
	rate->tx_bits = per_second(from->tx_bytes, to->tx_bytes, time) * 8;
	rate->rx_packets = per_second(from->rx_packets, to->rx_packets, time);
	rate->tx_packets = per_second(from->tx_packets, to->tx_packets, time);
	rate->handed_over = per_second(from->handed_over, to->handed_over, time);
	rate->drops = per_second(from->drops, to->drops, time);
	return true;
}

void rate_add(struct rate *sum, const struct rate *rate)
{
	sum->rx_bits += rate->rx_bits;
	sum->tx_bits += rate->tx_bits;
	sum->rx_packets += rate->rx_packets;
	sum->tx_packets += rate->tx_packets;
	sum->handed_over += rate->handed_over;
	sum->drops += rate->drops;
}

const char *rate_text(double rate, char *text)
{
	static const char letters[] = " kMGTP";
	unsigned int letter = 0;

	/* What would be rounded to 1000 is 1.00 of the next. */
	while (rate >= 999.5 && letters[letter + 1]) {
		rate /= 1000;
		letter++;
	}
	if (rate > 9999)
		rate = 9999;
	if (!letter)
		snprintf(text, RATE_TEXT, "%.0f", rate > 0 && rate < 1 ? 1 : rate);
	else
		snprintf(text, RATE_TEXT, "%.*f%c", rate < 9.995 ? 2 : rate < 99.95 ? 1 : 0, rate,
			 letters[letter]);
	return text;
}

const char *age_text(int64_t seconds, char *text)
{
	static const struct {
		int64_t seconds;
		char letter;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' } };
	unsigned int i;

	if (seconds < 0)
		seconds = 0;
	for (i = 0; i < sizeof(units) / sizeof(*units); i++)
		/* Sessions last 180 s at most: up to there, seconds matter. */
		if (seconds >= 2 * units[i].seconds && seconds >= 180) {
			seconds /= units[i].seconds;
			snprintf(text, RATE_TEXT, "%u%c", (unsigned int)(seconds % 100000),
				 units[i].letter);
			return text;
		}
	snprintf(text, RATE_TEXT, "%us", (unsigned int)(seconds % 1000));
	return text;
}

const char *handshake_text(const struct found_lane *lane, char *text)
{
	int64_t last = 0;
	unsigned int i;

	for (i = 0; i < lane->tunnel.count; i++)
		if (lane->tunnel.peers[i].handshake > last)
			last = lane->tunnel.peers[i].handshake;
	return last ? age_text(time(NULL) - last, text) : "never";
}

/* Fields of a line, as proc(5) has them. */
enum field { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, FIELDS };

static void parse_line(const char *line, struct cpu_times *times)
{
	unsigned long long value[FIELDS] = { 0 };
	struct cpu_time *cpu;
	unsigned int number, i;

	if (sscanf(line, "cpu%u %llu %llu %llu %llu %llu %llu %llu %llu", &number, &value[USER],
		   &value[NICE], &value[SYSTEM], &value[IDLE], &value[IOWAIT], &value[IRQ],
		   &value[SOFTIRQ], &value[STEAL]) < 1 + SOFTIRQ + 1 || number >= CPU_MAX)
		return;
	if (number >= times->count) {
		times->cpu = xrealloc(times->cpu, number + 1, sizeof(*times->cpu));
		memset(times->cpu + times->count, 0,
		       (number + 1 - times->count) * sizeof(*times->cpu));
		times->count = number + 1;
	}
	cpu = &times->cpu[number];
	cpu->seen = true;
	cpu->softirq = value[SOFTIRQ];
	cpu->system = value[SYSTEM] + value[IRQ];
	cpu->user = value[USER] + value[NICE];
	cpu->all = 0;
	for (i = 0; i < FIELDS; i++)
		cpu->all += value[i];
}

void cpu_times_parse(FILE *file, struct cpu_times *times)
{
	char *line = NULL;
	size_t size = 0;

	memset(times, 0, sizeof(*times));
	while (getline(&line, &size, file) >= 0)
		/* The line of all CPUs together has a blank after "cpu". */
		if (!strncmp(line, "cpu", 3) && line[3] >= '0' && line[3] <= '9')
			parse_line(line, times);
	free(line);
}

void cpu_times_free(struct cpu_times *times)
{
	free(times->cpu);
	memset(times, 0, sizeof(*times));
}

/* Times are put together from several clocks: one may be a tick ahead of the sum. */
static double part(uint64_t before, uint64_t after, uint64_t all)
{
	if (after <= before)
		return 0;
	return after - before < all ? (double)(after - before) / all : 1;
}

bool cpu_share_of(const struct cpu_times *before, const struct cpu_times *after, unsigned int cpu,
		  struct cpu_share *share)
{
	const struct cpu_time *a, *b;
	uint64_t all;
	double sum;

	memset(share, 0, sizeof(*share));
	if (cpu >= before->count || cpu >= after->count)
		return false;
	a = &before->cpu[cpu];
	b = &after->cpu[cpu];
	if (!a->seen || !b->seen)
		return false;
	all = b->all > a->all ? b->all - a->all : 0;
	if (!all)
		return true;
	share->softirq = part(a->softirq, b->softirq, all);
	share->system = part(a->system, b->system, all);
	share->user = part(a->user, b->user, all);
	sum = share->softirq + share->system + share->user;
	if (sum > 1) {
		share->softirq /= sum;
		share->system /= sum;
		share->user /= sum;
	}
	return true;
}
