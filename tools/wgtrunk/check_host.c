// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/* Of `wgtrunk check`: the module, and what is under lanes: CPUs, the NIC, filters. */

#include <arpa/inet.h>
#include <dirent.h>
#include <glob.h>
#include <net/route.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../../src/version.h"
#include "doctor.h"
#include "nic.h"
#include "steer.h"
#include "sysfile.h"
#include "util.h"

#define RP_STRICT	1
#define RP_LOOSE	2

/* --- the module --- */

/* The first @value with @text in it, of a field of the file that would be loaded, by modinfo(8). */
static bool file_has(const char *field, const char *text, char *value, size_t size)
{
	char *command = xprintf("modinfo -F %s wireguard 2>/dev/null", field);
	FILE *pipe = popen(command, "re");
	bool found = false;

	free(command);
	while (pipe && !found && fgets(value, size, pipe)) {
		value[strcspn(value, "\n")] = '\0';
		found = *value && strstr(value, text);
	}
	if (pipe)
		pclose(pipe);
	return found;
}

/* Whether there is a file of ours that another one hides. */
static bool is_installed(void)
{
	static const char *const places[] = { "updates", "updates/*", "extra", "extra/*" };
	struct utsname system;
	unsigned int i;
	bool found = false;
	glob_t files;
	char *path;

	uname(&system);
	for (i = 0; i < sizeof(places) / sizeof(*places) && !found; i++) {
		path = xprintf("/lib/modules/%s/%s/wireguard.ko*", system.release, places[i]);
		found = !glob(path, 0, NULL, &files);
		globfree(&files);
		free(path);
	}
	return found;
}

static void report_other_file(struct doctor *doctor, const char *path)
{
	struct finding *finding = report(doctor, WRONG, "%s would be loaded next time, which is not wgtrunk's",
					 path);

	if (is_installed())
		mended_by(finding, mend_modules, "depmod -a");
	else
		mended_by(finding, NULL, "make install, in wgtrunk's sources, for this kernel");
}

static void check_loaded(struct doctor *doctor, const char *installed, const char *version)
{
	char loaded[64], number[32];
	struct finding *finding;

	if (!sys_read(number, sizeof(number), "/sys/module/wireguard/version"))
		return;
	if (strcmp(number, WGT_VERSION))
		report(doctor, NOTE, "it has version %s, this wgtrunk has " WGT_VERSION, number);
	if (!*installed || !sys_read(loaded, sizeof(loaded), "/sys/module/wireguard/srcversion") ||
	    !strcmp(loaded, installed))
		return;
	finding = report(doctor, NOTE, "another build is installed than is loaded: version %s, loaded %s",
			 version, number);
	mended_by(finding, NULL, "when all trunks are down: rmmod wireguard; modprobe wireguard");
}

/* @ours: that one would be, next time. */
static void check_not_ours(struct doctor *doctor, bool ours)
{
	struct finding *finding;

	if (!access("/sys/module/wireguard", F_OK)) {
		finding = report(doctor, WRONG, "the one that is loaded is not wgtrunk's: there are no trunks");
		mended_by(finding, NULL, "%srmmod wireguard; modprobe wireguard",
			  ours ? "" : "make install, in wgtrunk's sources; ");
	} else if (ours) {
		report(doctor, NOTE, "it is not loaded: no trunk is up");
	} else {
		finding = report(doctor, WRONG, "wgtrunk's is neither loaded nor installed: there are no trunks");
		mended_by(finding, NULL, "make install, in wgtrunk's sources");
	}
}

void check_module(struct doctor *doctor)
{
	char path[512], alias[256], version[64] = "", source[64] = "";
	bool told = file_has("filename", "/", path, sizeof(path));
	bool ours = told && file_has("alias", "family-" WG_LANE_GENL_NAME, alias, sizeof(alias));

	if (ours && !file_has("version", "", version, sizeof(version)))
		*version = '\0';
	if (ours && !file_has("srcversion", "", source, sizeof(source)))
		*source = '\0';
	if (!doctor->kernel->lane)
		check_not_ours(doctor, ours);
	else if (ours)
		check_loaded(doctor, source, version);
	if (told && !ours)
		report_other_file(doctor, path);
}

/* --- home CPUs --- */

/*
 * Which CPU could have one lane more: one of those that `auto` would choose, that has
 * fewer than it would have then. Or -1.
 */
static int idle_cpu(const struct doctor *doctor, const int *wanted, const int *homes)
{
	unsigned int has, would, i, j;

	for (i = 0; i < doctor->lanes; i++) {
		has = 0;
		would = 0;
		for (j = 0; j < doctor->lanes; j++) {
			has += homes[j] == wanted[i];
			would += wanted[j] == wanted[i];
		}
		if (has < would)
			return wanted[i];
	}
	return -1;
}

static bool is_online(const struct cpu_list *online, int cpu)
{
	/* Where they are not known, all are. */
	return !online->count || cpu_list_has(online, cpu);
}

/* More lanes on a lane's CPU than there would be, of those before it. */
static bool is_crowded(const struct doctor *doctor, const int *wanted, const int *homes,
		       unsigned int lane)
{
	unsigned int before = 0, would = 0, i;

	for (i = 0; i < doctor->lanes; i++) {
		before += i < lane && homes[i] == homes[lane];
		would += wanted[i] == homes[lane];
	}
	return before && before >= would;
}

static void move_home(struct doctor *doctor, struct finding *finding, unsigned int lane, int cpu)
{
	mended_by(finding, mend_home, "wgtrunk reload %s", doctor->asked);
	lane_name(doctor->found.name, lane, finding->dev);
	finding->number = cpu;
}

static void check_home(struct doctor *doctor, const struct cpu_list *online, const int *wanted,
		       int *homes, unsigned int lane)
{
	const char *name = doctor->found.name;
	int cpu = idle_cpu(doctor, wanted, homes), old = homes[lane];
	struct finding *finding;

	if (old < 0)
		finding = report(doctor, SLOW, "%s.%u has no home CPU", name, lane);
	else if (!is_online(online, old))
		finding = report(doctor, SLOW, "CPU %d, home of %s.%u, is offline: its packets are worked on where they land",
				 old, name, lane);
	else if (cpu >= 0 && is_crowded(doctor, wanted, homes, lane))
		finding = report(doctor, SLOW, "CPU %d is home of %s.%u and of a lane before it, CPU %d of none",
				 old, name, lane, cpu);
	else
		return;
	if (cpu < 0)
		cpu = wanted[lane];
	move_home(doctor, finding, lane, cpu);
	homes[lane] = cpu;
}

static void check_homes_auto(struct doctor *doctor, const struct cpu_list *online)
{
	int *wanted = xalloc(doctor->lanes + 1, sizeof(*wanted));
	int *homes = xalloc(doctor->lanes + 1, sizeof(*homes));
	unsigned int i;

	memcpy(homes, doctor->homes, doctor->lanes * sizeof(*homes));
	if (homes_auto(doctor->base[0] ? doctor->base : NULL, wanted, doctor->lanes))
		for (i = 0; i < doctor->lanes; i++)
			if (doctor_lane(doctor, i))
				check_home(doctor, online, wanted, homes, i);
	free(wanted);
	free(homes);
}

/* Those of the configuration; that lanes have them is looked at elsewhere. */
static void check_homes_named(struct doctor *doctor, const struct cpu_list *online)
{
	const struct cpu_list *cpus = &doctor->config.trunk.cpus;
	struct finding *finding;
	unsigned int i;

	for (i = 0; i < cpus->count && i < doctor->lanes; i++) {
		if (is_online(online, cpus->cpus[i]))
			continue;
		finding = report(doctor, SLOW, "CPU %u, configured for %s.%u, is offline: its packets are worked on where they land",
				 cpus->cpus[i], doctor->found.name, i);
		finding->key = xprintf("/sys/devices/system/cpu/cpu%u/online", cpus->cpus[i]);
		finding->number = 1;
		mended_by(finding, mend_file, "echo 1 >%s", finding->key);
	}
}

static void check_homes(struct doctor *doctor)
{
	struct cpu_list online;

	sys_cpus(&online, "/sys/devices/system/cpu/online");
	if (doctor->configured && doctor->config.trunk.cpus.count)
		check_homes_named(doctor, &online);
	else
		check_homes_auto(doctor, &online);
	cpu_list_free(&online);
}

/* --- the NIC's hash --- */

static void check_hash(struct doctor *doctor)
{
	struct finding *finding;
	char now[NIC_HASH_TEXT];
	enum nic_family family;

	if (doctor->lanes < 2 || nic_rings(doctor->base) == 1)
		return;
	for (family = 0; family < NIC_FAMILIES; family++) {
		if (!nic_hash_read(doctor->base, family, now) || nic_hash_has_ports(now))
			continue;
		finding = report(doctor, SLOW, "%s spreads %s by %s, without ports: lanes come to one queue",
				 doctor->base, nic_family_text(family), now);
		mended_by(finding, mend_steering, "ethtool -N %s rx-flow-hash %s " NIC_HASH_PORTS,
			  doctor->base, nic_family_text(family));
	}
}

/* --- its queues and interrupts --- */

static bool is_home(const struct doctor *doctor, int cpu)
{
	unsigned int i;

	for (i = 0; i < doctor->lanes; i++)
		if (cpu >= 0 && doctor->homes[i] == cpu)
			return true;
	return false;
}

static unsigned int count_homes(const struct doctor *doctor)
{
	unsigned int count = 0, i, j;

	for (i = 0; i < doctor->lanes; i++) {
		for (j = 0; j < i && doctor->homes[j] != doctor->homes[i]; j++)
			;
		count += j == i && doctor->homes[i] >= 0;
	}
	return count;
}

static void check_queue_count(struct doctor *doctor)
{
	unsigned int rings = nic_rings(doctor->base), homes = count_homes(doctor), wanted;
	struct nic_channels channels;
	struct finding *finding;

	if (!rings || rings >= homes)
		return;
	if (!nic_channels_read(doctor->base, &channels) || channels.max <= rings) {
		report(doctor, NOTE, "%s has %u receive queue%s for lanes on %u CPUs: others take their packets in, and hand them over",
		       doctor->base, rings, rings == 1 ? "" : "s", homes);
		return;
	}
	wanted = channels.max < homes ? channels.max : homes;
	finding = report(doctor, SLOW, "%s uses %u receive queue%s for lanes on %u CPUs, and could use %u",
			 doctor->base, rings, rings == 1 ? "" : "s", homes, channels.max);
	mended_by(finding, mend_channels, "ethtool -L %s %s %u", doctor->base,
		  channels.combined ? "combined" : "rx", wanted);
	strcpy(finding->dev, doctor->base);
	finding->number = wanted;
}

/* A queue whose interrupt could go elsewhere: its CPU is no lane's home, or has another queue's. */
static int spare_queue(const struct doctor *doctor, const struct nic_queue *queues,
		       unsigned int count)
{
	unsigned int i, j;

	for (i = 0; i < count; i++) {
		if (queues[i].cpu < 0)
			continue;
		if (!is_home(doctor, queues[i].cpu))
			return i;
		for (j = 0; j < i; j++)
			if (queues[j].cpu == queues[i].cpu)
				return i;
	}
	return -1;
}

static bool has_queue(const struct nic_queue *queues, unsigned int count, int cpu)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (queues[i].cpu == cpu)
			return true;
	return false;
}

static void move_interrupt(struct doctor *doctor, struct nic_queue *queues, int queue, int home)
{
	struct finding *finding;

	finding = report(doctor, SLOW, "no receive interrupt of %s comes to CPU %d, home of a lane; that of its queue %d comes to CPU %d, where it is of less use",
			 doctor->base, home, queue, queues[queue].cpu);
	finding->key = xprintf("/proc/irq/%d/smp_affinity_list", queues[queue].irq);
	finding->number = home;
	mended_by(finding, mend_file, "echo %d >%s", home, finding->key);
	queues[queue].cpu = home;
}

static unsigned int count_cpus(const struct nic_queue *queues, unsigned int count)
{
	unsigned int cpus = 0, i;

	for (i = 0; i < count; i++)
		cpus += queues[i].cpu >= 0 && !has_queue(queues, i, queues[i].cpu);
	return cpus;
}

/*
 * Without rules, a lane comes to whatever queue the hash has for it: all that can be
 * wrong with interrupts is that they come to fewer CPUs than they could.
 */
static void check_interrupts(struct doctor *doctor, bool rules)
{
	unsigned int count, cpus, homes = count_homes(doctor), i;
	struct nic_queue *queues;
	int queue;

	count = nic_queues_read(doctor->base, &queues);
	cpus = count_cpus(queues, count);
	for (i = 0; cpus && i < doctor->lanes; i++) {
		if (!rules && (cpus >= homes || cpus >= count))
			break;
		if (doctor->homes[i] < 0 || has_queue(queues, count, doctor->homes[i]))
			continue;
		queue = spare_queue(doctor, queues, count);
		if (queue < 0)
			break;
		move_interrupt(doctor, queues, queue, doctor->homes[i]);
		cpus = count_cpus(queues, count);
	}
	free(queues);
}

/* --- its flow rules --- */

static void report_rule(struct doctor *doctor, const struct nic_rule *rule, int cpu)
{
	unsigned int lane = rule->port - doctor->port;
	struct finding *finding;

	if (rule->queue == NIC_QUEUE_DROP)
		finding = report(doctor, WRONG, "a flow rule of %s drops %s to port %u, of %s.%u",
				 doctor->base, nic_family_text(rule->family), rule->port,
				 doctor->found.name, lane);
	else
		finding = report(doctor, SLOW, "a flow rule of %s takes %s to port %u, of %s.%u, to queue %llu on CPU %d, not to its home, CPU %d",
				 doctor->base, nic_family_text(rule->family), rule->port,
				 doctor->found.name, lane, (unsigned long long)rule->queue, cpu,
				 doctor->homes[lane]);
	mended_by(finding, mend_rule, "ethtool -N %s delete %u; wgtrunk reload %s", doctor->base,
		  rule->location, doctor->asked);
	strcpy(finding->dev, doctor->base);
	finding->number = rule->location;
	finding->key = nic_rule_text(rule);
}

/* Lanes of @family: a rule that leads elsewhere, or none, though there is a queue for it. */
static void check_family(struct doctor *doctor, enum nic_family family,
			 const struct nic_rule *rules, unsigned int rule_count,
			 const struct nic_queue *queues, unsigned int queue_count)
{
	bool *lacking = xalloc(doctor->lanes + 1, sizeof(*lacking)), any = false;
	struct finding *finding;
	unsigned int lane, i;
	char *lanes;
	int cpu;

	for (lane = 0; lane < doctor->lanes; lane++) {
		if (doctor->homes[lane] < 0)
			continue;
		for (i = 0; i < rule_count && (rules[i].family != family ||
					       rules[i].port != doctor->port + lane); i++)
			;
		lacking[lane] = i == rule_count &&
				has_queue(queues, queue_count, doctor->homes[lane]);
		any |= lacking[lane];
		if (i == rule_count)
			continue;
		cpu = rules[i].queue < queue_count ? queues[rules[i].queue].cpu : -1;
		/* Where an interrupt comes to is not always known. */
		if (rules[i].queue == NIC_QUEUE_DROP || (cpu >= 0 && cpu != doctor->homes[lane]))
			report_rule(doctor, &rules[i], cpu);
	}
	if (any) {
		lanes = lanes_text(doctor, lacking);
		finding = report(doctor, SLOW, "%s: %s has flow rules, and none takes their %s ports to their home CPUs",
				 lanes, doctor->base, nic_family_text(family));
		mended_by(finding, mend_steering, "wgtrunk reload %s", doctor->asked);
		free(lanes);
	}
	free(lacking);
}

/* Return: whether the NIC has flow rules. */
static bool check_rules(struct doctor *doctor)
{
	unsigned int rule_count, queue_count;
	struct nic_queue *queues;
	struct finding *finding;
	struct nic_rule *rules;
	bool can;

	if (nic_feature(doctor->base, NIC_RULES) == NIC_OFF) {
		finding = report(doctor, SLOW, "%s could take each lane to its home CPU by flow rules, which are off",
				 doctor->base);
		mended_by(finding, mend_feature, "ethtool -K %s ntuple on", doctor->base);
		strcpy(finding->dev, doctor->base);
		finding->key = xstrdup(NIC_RULES);
		return false;
	}
	can = nic_rules_read(doctor->base, &rules, &rule_count);
	if (can) {
		queue_count = nic_queues_read(doctor->base, &queues);
		check_family(doctor, nic_family_of(doctor->endpoint.ss_family), rules, rule_count,
			     queues, queue_count);
		free(queues);
	}
	free(rules);
	return can;
}

/* --- receive packet steering --- */

/* A mask of CPUs, in groups of eight hexadecimal digits, that has other bits than @cpu's. */
static bool mask_has_others(const char *mask, int cpu)
{
	unsigned int bit = 0, value;
	const char *p = mask + strlen(mask);
	char digit[2] = "";

	while (p-- > mask) {
		if (*p == ',')
			continue;
		digit[0] = *p;
		value = strtoul(digit, NULL, 16);
		if (cpu >= 0 && (unsigned int)cpu / 4 == bit / 4)
			value &= ~(1U << cpu % 4);
		if (value)
			return true;
		bit += 4;
	}
	return false;
}

static void check_rps_queue(struct doctor *doctor, const char *dev, const char *queue, int cpu,
			    const char *costs)
{
	struct finding *finding;
	char mask[2048];

	if (!sys_read(mask, sizeof(mask), "/sys/class/net/%s/queues/%s/rps_cpus", dev, queue) ||
	    !mask_has_others(mask, cpu))
		return;
	finding = report(doctor, SLOW, "receive packet steering of %s, %s, is on (%s): %s", dev,
			 queue, mask, costs);
	finding->key = xprintf("/sys/class/net/%s/queues/%s/rps_cpus", dev, queue);
	mended_by(finding, mend_file, "echo 0 >%s", finding->key);
}

static void check_rps(struct doctor *doctor, const char *dev, const char *costs)
{
	struct nic_queue *queues;
	unsigned int count = nic_queues_read(dev, &queues), number;
	char *path = xprintf("/sys/class/net/%s/queues", dev);
	DIR *dir = opendir(path);
	struct dirent *entry;

	free(path);
	while (dir && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "rx-%u", &number) == 1)
			check_rps_queue(doctor, dev, entry->d_name,
					number < count ? queues[number].cpu : -1, costs);
	if (dir)
		closedir(dir);
	free(queues);
}

/* --- offloads --- */

static void check_feature(struct doctor *doctor, const char *name, const char *costs)
{
	struct finding *finding;

	if (nic_feature(doctor->base, name) != NIC_OFF)
		return;
	finding = report(doctor, SLOW, "%s is off on %s: %s", name, doctor->base, costs);
	mended_by(finding, mend_feature, "ethtool -K %s %s on", doctor->base, name);
	strcpy(finding->dev, doctor->base);
	finding->key = xstrdup(name);
}

/* A NIC has it for both families in one, or for each of them. */
static void check_tx_checksum(struct doctor *doctor)
{
	const char *costs = "the CPU sums up all that is sent";
	const char *own = doctor->endpoint.ss_family == AF_INET6 ? NIC_TX_CHECKSUM_IPV6 :
								   NIC_TX_CHECKSUM_IPV4;

	if (nic_feature(doctor->base, NIC_TX_CHECKSUM) == NIC_ON ||
	    nic_feature(doctor->base, own) == NIC_ON)
		return;
	check_feature(doctor, nic_feature(doctor->base, NIC_TX_CHECKSUM) == NIC_OFF ?
		      NIC_TX_CHECKSUM : own, costs);
}

static void check_offloads(struct doctor *doctor)
{
	check_feature(doctor, NIC_GRO, "packets go through the stack one by one");
	check_feature(doctor, NIC_RX_CHECKSUM, "the CPU sums up all that is received");
	check_tx_checksum(doctor);
	check_feature(doctor, NIC_TX_SCATTER, "what is sent is copied once more");
	/* One needs the other: it is only said when that is on. */
	if (nic_feature(doctor->base, NIC_TX_CHECKSUM) != NIC_OFF)
		check_feature(doctor, NIC_TX_UDP_SEGMENTATION, "the CPU cuts what lanes send");
}

/* --- reverse path filters --- */

/**
 * struct way - a route
 * @dev: interface that it leaves by
 * @flags: RTF_UP and so on
 * @to: and @mask: in network order
 */
struct way {
	char dev[IFNAMSIZ];
	unsigned int flags;
	uint32_t to;
	uint32_t mask;
};

/* The main table's, IPv4; there is no such filter for IPv6. */
static unsigned int read_ways(struct way **ways)
{
	FILE *file = fopen("/proc/net/route", "re");
	unsigned int count = 0;
	char line[256];
	struct way way;

	*ways = NULL;
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%15s %x %*x %x %*d %*d %*d %x", way.dev, &way.to, &way.flags,
			   &way.mask) != 4 || (way.flags & (RTF_UP | RTF_REJECT)) != RTF_UP)
			continue;
		*ways = xrealloc(*ways, count + 1, sizeof(**ways));
		(*ways)[count++] = way;
	}
	if (file)
		fclose(file);
	return count;
}

static bool is_strict(const char *dev)
{
	long all = sys_number(0, "/proc/sys/net/ipv4/conf/all/rp_filter");
	long own = sys_number(0, "/proc/sys/net/ipv4/conf/%s/rp_filter", dev);

	/* The kernel takes the higher one. */
	return (own > all ? own : all) == RP_STRICT;
}

static void loosen(struct finding *finding, const char *dev)
{
	finding->key = xprintf("/proc/sys/net/ipv4/conf/%s/rp_filter", dev);
	finding->number = RP_LOOSE;
	mended_by(finding, mend_file, "echo %d >%s", RP_LOOSE, finding->key);
}

static bool is_within(const struct way *way, const struct prefix *prefix)
{
	uint32_t mask, network;

	/* All other networks are exceptions from everything. */
	if (prefix->family != AF_INET || !prefix->length)
		return false;
	mask = htonl(~0U << (32 - prefix->length));
	memcpy(&network, prefix->bytes, 4);
	return (way->mask & mask) == mask && (way->to & mask) == network;
}

/* Whether packets to an address of it really leave by another interface than the trunk. */
static bool leaves_elsewhere(struct doctor *doctor, const struct way *way)
{
	struct sockaddr_storage to = { .ss_family = AF_INET };
	unsigned int index, mtu;

	((struct sockaddr_in *)&to)->sin_addr.s_addr =
		way->mask == UINT32_MAX ? way->to : way->to | htonl(1);
	return route_get(doctor->kernel, &to, &index, &mtu) && index != doctor->found.link.index;
}

/*
 * Hosts behind the far end that are answered by another router: a strict filter drops
 * what they send. On a network of our own it does well to.
 */
static void check_trunk_filter(struct doctor *doctor, const struct way *ways, unsigned int count)
{
	const struct prefix_list *prefixes = &doctor->config.site.prefixes;
	const char *trunk = doctor->found.name;
	bool strict = is_strict(trunk);
	char text[INET_ADDRSTRLEN];
	struct finding *finding;
	unsigned int i, j;

	for (i = 0; i < count; i++) {
		for (j = 0; j < prefixes->count && !is_within(&ways[i], &prefixes->prefixes[j]);
		     j++)
			;
		if (j == prefixes->count || !(ways[i].flags & RTF_GATEWAY) ||
		    !strcmp(ways[i].dev, trunk) || !leaves_elsewhere(doctor, &ways[i]))
			continue;
		inet_ntop(AF_INET, &ways[i].to, text, sizeof(text));
		if (!strict) {
			report(doctor, NOTE, "%s/%d, behind the far end, is reached by %s, not %s",
			       text, __builtin_popcount(ways[i].mask), ways[i].dev, trunk);
			continue;
		}
		finding = report(doctor, WRONG, "rp_filter is strict on %s, and %s/%d is reached by %s: what comes from there through %s is dropped",
				 trunk, text, __builtin_popcount(ways[i].mask), ways[i].dev,
				 trunk);
		loosen(finding, trunk);
	}
}

/* A second way to the far end, on which a strict filter takes what it sends for forged. */
static bool is_second_way(const struct doctor *doctor, const struct way *way)
{
	uint32_t far = ((const struct sockaddr_in *)&doctor->endpoint)->sin_addr.s_addr;

	return (far & way->mask) == way->to && strcmp(way->dev, doctor->nic) &&
	       strcmp(way->dev, doctor->found.name);
}

static void check_nic_filters(struct doctor *doctor, const struct way *ways, unsigned int count)
{
	char text[INET6_ADDRSTRLEN];
	struct finding *finding;
	unsigned int i, j;

	if (doctor->endpoint.ss_family != AF_INET || !doctor->nic[0])
		return;
	address_text(&doctor->endpoint, text);
	for (i = 0; i < count; i++) {
		for (j = 0; j < i && (strcmp(ways[j].dev, ways[i].dev) ||
				      !is_second_way(doctor, &ways[j])); j++)
			;
		if (j < i || !is_second_way(doctor, &ways[i]) || !is_strict(ways[i].dev))
			continue;
		finding = report(doctor, NOTE, "rp_filter is strict on %s, a second way to %s: what came from there by it would be dropped",
				 ways[i].dev, text);
		loosen(finding, ways[i].dev);
	}
}

static void check_filters(struct doctor *doctor)
{
	struct way *ways;
	unsigned int count = read_ways(&ways);

	if (doctor->configured && doctor->found.link.up)
		check_trunk_filter(doctor, ways, count);
	check_nic_filters(doctor, ways, count);
	free(ways);
}

/* --- all of it --- */

void check_host(struct doctor *doctor)
{
	check_homes(doctor);
	check_filters(doctor);
	check_rps(doctor, doctor->found.name, "what lanes have decrypted moves to other CPUs");
	if (!doctor->base[0] || !strcmp(doctor->base, "lo"))
		return;
	check_hash(doctor);
	check_queue_count(doctor);
	check_interrupts(doctor, check_rules(doctor));
	check_rps(doctor, doctor->base, "lanes' packets move twice, by it and to their home CPUs");
	check_offloads(doctor);
}
