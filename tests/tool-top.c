// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * tool-top rates		checks rates.c, TAP
 * tool-top top [NAME]		wgtrunk top, of trunks that are made up here
 *
 * Two trunks: "west" has lanes 0 to 2 at 1, 2 and 4 Mbit/s, the last one a spare
 * on CPU 0; "east" has lane 0, without a home. After some rounds, as many as the
 * environment's GONE says, "west" can't be read.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rates.h"
#include "top.h"
#include "util.h"

static unsigned int rounds;

static double seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* --- what the kernel would say --- */

bool kernel_is_ours(const struct kernel *kernel)
{
	return kernel->lane || fail(NULL, 0, "not our module");
}

const char *counter_name(enum wg_lane_counter counter, bool *drop)
{
	*drop = counter == WG_LANE_C_RX_BAD_TAG || counter == WG_LANE_C_TX_NO_PEER;
	return counter <= WG_LANE_C_PAD ? NULL : "a_counter";
}

bool counters_read(struct kernel *kernel, unsigned int index, struct cpu_counters **cpus,
		   unsigned int *count)
{
	unsigned int i;

	(void)kernel;
	*count = 2;
	*cpus = xalloc(2, sizeof(**cpus));
	for (i = 0; i < 2; i++) {
		(*cpus)[i].cpu = i;
		(*cpus)[i].counter[WG_LANE_C_RX_HANDED_OVER] = seconds() * 50 * index;
		(*cpus)[i].counter[WG_LANE_C_RX_BAD_TAG] = 5;
		(*cpus)[i].counter[WG_LANE_C_TX_NO_PEER] = 2 * i;
		(*cpus)[i].counter[WG_LANE_C_RX_KEEPALIVE] = 1000;
	}
	return true;
}

bool found_names(struct kernel *kernel, char ***names, unsigned int *count)
{
	(void)kernel;
	*names = xalloc(2, sizeof(**names));
	(*names)[0] = xstrdup("east");
	(*names)[1] = xstrdup("west");
	*count = 2;
	return true;
}

const char *lane_name(const char *name, unsigned int lane, char *text)
{
	snprintf(text, IFNAMSIZ, "%.11s.%u", name, lane % 1000);
	return text;
}

static void make_lane(struct found_lane *lane, unsigned int number, double speed)
{
	lane->link.index = number + 1;
	lane->link.up = true;
	lane->link.rx_bytes = seconds() * speed / 8;
	lane->link.tx_bytes = lane->link.rx_bytes / 2;
	lane->link.rx_packets = lane->link.rx_bytes / 1000;
	lane->link.tx_packets = lane->link.tx_bytes / 1000;
	lane->ours = true;
	lane->place.home = 2 - (int)number;
	lane->link.master = lane->place.trunk = 9;
	lane->place.active = number < 2;
	lane->tunnel.count = 1;
	lane->tunnel.peers = xalloc(1, sizeof(struct peer));
	lane->tunnel.peers->handshake = number ? time(NULL) - 200 * number : 0;
}

bool found_read(struct kernel *kernel, const char *name, unsigned int begun, struct found *found)
{
	const char *gone = getenv("GONE");
	unsigned int i;

	(void)kernel;
	(void)begun;
	memset(found, 0, sizeof(*found));
	found->name = xstrdup(name);
	found->lane = xalloc(LANES_MAX, sizeof(*found->lane));
	if (!strcmp(name, "west") && gone && ++rounds > strtoul(gone, NULL, 10))
		return fail(NULL, 0, "the kernel has no west any more");
	if (strcmp(name, "west") && strcmp(name, "east"))
		return true;
	found->ours = true;
	found->link.index = 9;
	found->link.up = found->link.carrier = true;
	found->link.choice = WG_TRUNK_CHOICE_HASH;
	found->lanes = !strcmp(name, "west") ? 3 : 1;
	for (i = 0; i < found->lanes; i++)
		make_lane(&found->lane[i], i, 1e6 * (1 << i));
	if (found->lanes == 1)
		found->lane[0].place.home = -1;
	return true;
}

void found_free(struct found *found)
{
	unsigned int i;

	for (i = 0; found->lane && i < LANES_MAX; i++)
		free(found->lane[i].tunnel.peers);
	free(found->lane);
	free(found->name);
	memset(found, 0, sizeof(*found));
}

/* --- rates --- */

static unsigned int tests, failures;

static void check(bool good, const char *name)
{
	tests++;
	failures += !good;
	printf("%s %u - %s\n", good ? "ok" : "not ok", tests, name);
}

static bool near(double a, double b)
{
	return a > b * 0.999 - 1e-9 && a < b * 1.001 + 1e-9;
}

static void test_rates(void)
{
	struct lane_sample from = { 5, 1000, 2000, 10, 20, 3, 4 };
	struct lane_sample to = { 5, 2000, 6000, 30, 21, 8, 4 };
	struct sample before = { 1000000000, 1, &from }, after = { 3000000000, 1, &to };
	struct sample none = { 0 };
	struct rate rate;

	check(rate_of_lane(&before, &after, 0, &rate) && near(rate.rx_bits, 4000) &&
	      near(rate.tx_bits, 16000) && near(rate.rx_packets, 10) &&
	      near(rate.tx_packets, 0.5) && near(rate.handed_over, 2.5) && near(rate.drops, 0),
	      "a lane's rates");
	check(!rate_of_lane(&before, &after, 1, &rate) && !rate.rx_bits &&
	      !rate_of_lane(&none, &after, 0, &rate) && !rate.rx_bits &&
	      !rate_of_lane(&after, &none, 0, &rate), "a lane that is in one of them only");
	check(!rate_of_lane(&after, &before, 0, &rate) && !rate.tx_bits &&
	      !rate_of_lane(&after, &after, 0, &rate) && !rate.tx_bits, "no time between them");
	to.rx_bytes = 7;
	check(rate_of_lane(&before, &after, 0, &rate) && !rate.rx_bits && near(rate.tx_bits, 16000),
	      "a counter that went back");
	to.index = 6;
	check(!rate_of_lane(&before, &after, 0, &rate) && !rate.tx_bits, "another lane of that name");
	from.index = to.index = 0;
	check(!rate_of_lane(&before, &after, 0, &rate), "a lane that is not there");
	from.index = to.index = 1;
	from.rx_bytes = 0;
	to.rx_bytes = UINT64_MAX;
	check(rate_of_lane(&before, &after, 0, &rate) && rate.rx_bits > 7e19, "the largest counter");
}

static void test_sample(void)
{
	struct kernel kernel = { .lane = 1 };
	struct sample sample;
	struct found found;

	found_read(&kernel, "west", false, &found);
	found.lane[1].link.index = 0;
	check(sample_take(&kernel, &found, &sample) && sample.lanes == 3 && sample.lane[2].index == 3 &&
	      !sample.lane[1].index && sample.lane[0].drops == 12 && !sample.lane[1].drops &&
	      sample.lane[2].rx_bytes == found.lane[2].link.rx_bytes,
	      "counters of all CPUs are added up, of dropped packets only those");
	sample_free(&sample);
	kernel.lane = 0;
	check(sample_take(&kernel, &found, &sample) && !sample.lane[0].drops && sample.lane[0].rx_bytes,
	      "another module has no such counters");
	sample_free(&sample);
	found_free(&found);
}

static bool texts(const char *(*text)(double rate, char *text), double number, const char *want)
{
	char buffer[RATE_TEXT];

	if (!strcmp(text(number, buffer), want))
		return true;
	printf("# %g is '%s', not '%s'\n", number, buffer, want);
	return false;
}

static const char *age(double seconds_ago, char *text)
{
	return age_text(seconds_ago, text);
}

static void test_texts(void)
{
	check(texts(rate_text, 0, "0") && texts(rate_text, 0.1, "1") && texts(rate_text, 12.4, "12") &&
	      texts(rate_text, 999.4, "999") && texts(rate_text, 999.6, "1.00k") &&
	      texts(rate_text, 9994, "9.99k") && texts(rate_text, 9996, "10.0k") &&
	      texts(rate_text, 99960, "100k") && texts(rate_text, 999600, "1.00M") &&
	      texts(rate_text, 9.41e9, "9.41G") && texts(rate_text, 1.5e17, "150P") &&
	      texts(rate_text, 1e300, "9999P"), "rates as text");
	check(texts(age, -5, "0s") && texts(age, 179, "179s") && texts(age, 180, "3m") &&
	      texts(age, 7199, "119m") && texts(age, 7200, "2h") && texts(age, 172800, "2d") &&
	      texts(age, 8e9, "92592d"), "ages as text");
}

static void parse(const char *text, struct cpu_times *times)
{
	FILE *file = fmemopen((char *)text, strlen(text), "r");

	cpu_times_parse(file, times);
	fclose(file);
}

static void test_cpus(void)
{
	struct cpu_times before, after;
	struct cpu_share share;

	parse("cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 20 100 0 5 30 0 0 0\n"
	      "cpu2 10 0 20 100 0 5 30 0 0 0\nintr 5 6\n", &before);
	parse("cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 15 5 40 140 0 5 60 0 0 0\ncpu1 1 2 3\n"
	      "cpu2 10 0 20 90 0 5 30 0 0 0\ncpu3 1 1 1 1 1 1 1 1\ncpu99999 1 1 1 1 1 1 1 1\n"
	      "cpux\ncpu", &after);
	check(before.count == 3 && !before.cpu[1].seen && after.count == 4 && !after.cpu[1].seen &&
	      after.cpu[3].seen, "lines of /proc/stat");
	check(cpu_share_of(&before, &after, 0, &share) && near(share.softirq, 0.3) &&
	      near(share.system, 0.2) && near(share.user, 0.1), "a CPU's shares");
	check(!cpu_share_of(&before, &after, 1, &share) && !cpu_share_of(&before, &after, 3, &share) &&
	      !share.user && !cpu_share_of(&before, &after, 7, &share), "a CPU that is new or off");
	check(cpu_share_of(&before, &after, 2, &share) && !share.softirq, "idle time that went back");
	after.cpu[2] = (struct cpu_time){ true, 40, 45, 20, 160 };
	before.cpu[2] = (struct cpu_time){ true, 30, 25, 10, 150 };
	check(cpu_share_of(&before, &after, 2, &share) &&
	      near(share.softirq + share.system + share.user, 1), "parts that are more than all of it");
	cpu_times_free(&before);
	cpu_times_free(&after);
}

int main(int argc, char **argv)
{
	struct kernel kernel = { .lane = 1 };

	if (argc > 1 && !strcmp(argv[1], "top"))
		return top_run(&kernel, argv[2]);
	test_rates();
	test_sample();
	test_texts();
	test_cpus();
	printf("1..%u\n", tests);
	return failures != 0;
}
