// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic.h"
#include "sysfile.h"
#include "util.h"

/* Of the rules in a table, or strings in a set, nobody has more. */
#define COUNT_MAX	(1U << 20)

/* VLAN over bridge port over ... */
#define DEPTH_MAX	8

/* Return: 0, or an error number. */
static int ask(const char *dev, void *request)
{
	struct ifreq ifr = { .ifr_data = request };
	int fd, error = 0;

	if (strlen(dev) >= sizeof(ifr.ifr_name))
		return ENODEV;
	strcpy(ifr.ifr_name, dev);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (ioctl(fd, SIOCETHTOOL, &ifr) < 0)
		error = errno;
	close(fd);
	return error;
}

/* --- what is below --- */

/* The one device below, if it is one. */
static bool one_lower(const char *dev, char *lower)
{
	char path[sizeof("/sys/class/net/") + IFNAMSIZ];
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/class/net/%s", dev);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, "lower_", 6) && strlen(entry->d_name + 6) < IFNAMSIZ &&
		    !count++)
			strcpy(lower, entry->d_name + 6);
	closedir(dir);
	return count == 1;
}

void nic_below(const char *dev, char *below)
{
	char lower[IFNAMSIZ];
	unsigned int depth;

	snprintf(below, IFNAMSIZ, "%s", dev);
	for (depth = 0; depth < DEPTH_MAX && one_lower(below, lower); depth++)
		strcpy(below, lower);
}

/* --- receive hash --- */

static const struct {
	const char *text;
	uint32_t flow_type;
} families[NIC_FAMILIES] = {
	[NIC_UDP4] = { "udp4", UDP_V4_FLOW },
	[NIC_UDP6] = { "udp6", UDP_V6_FLOW },
};

static const struct {
	char letter;
	uint64_t field;
} letters[] = {
	{ 'm', RXH_L2DA },
	{ 'v', RXH_VLAN },
	{ 't', RXH_L3_PROTO },
	{ 's', RXH_IP_SRC },
	{ 'd', RXH_IP_DST },
	{ 'f', RXH_L4_B_0_1 },
	{ 'n', RXH_L4_B_2_3 },
	{ 'r', RXH_DISCARD },
};

#define LETTERS (sizeof(letters) / sizeof(*letters))

const char *nic_family_text(enum nic_family family)
{
	return families[family].text;
}

enum nic_family nic_family_of(int family)
{
	return family == AF_INET6 ? NIC_UDP6 : NIC_UDP4;
}

bool nic_hash_read(const char *dev, enum nic_family family, char *text)
{
	struct ethtool_rxnfc request = {
		.cmd = ETHTOOL_GRXFH,
		.flow_type = families[family].flow_type,
	};
	uint64_t known = 0;
	unsigned int i;
	char *p = text;

	if (ask(dev, &request) || !request.data)
		return false;
	for (i = 0; i < LETTERS; i++) {
		known |= letters[i].field;
		if (request.data & letters[i].field)
			*p++ = letters[i].letter;
	}
	*p = '\0';
	/* It has to be possible to put it back as it was. */
	if (request.data & ~known)
		snprintf(text, NIC_HASH_TEXT, "0x%llx", (unsigned long long)request.data);
	return true;
}

static bool parse_hash(const char *text, uint64_t *fields)
{
	unsigned int i;
	char *end;

	*fields = 0;
	if (!strncmp(text, "0x", 2)) {
		*fields = strtoull(text, &end, 16);
		return !*end;
	}
	for (; *text; text++) {
		for (i = 0; i < LETTERS && letters[i].letter != *text; i++)
			;
		if (i == LETTERS)
			return false;
		*fields |= letters[i].field;
	}
	return *fields;
}

bool nic_hash_has_ports(const char *text)
{
	uint64_t ports = RXH_L4_B_0_1 | RXH_L4_B_2_3, fields;

	return parse_hash(text, &fields) && (fields & ports) == ports;
}

bool nic_hash_set(const char *dev, enum nic_family family, const char *text)
{
	struct ethtool_rxnfc request = {
		.cmd = ETHTOOL_SRXFH,
		.flow_type = families[family].flow_type,
	};
	uint64_t fields;

	if (!parse_hash(text, &fields))
		return false;
	request.data = fields;
	return !ask(dev, &request);
}

/* --- queues --- */

unsigned int nic_rings(const char *dev)
{
	struct ethtool_rxnfc request = { .cmd = ETHTOOL_GRXRINGS };

	if (ask(dev, &request) || request.data > COUNT_MAX)
		return 0;
	return request.data;
}

static bool read_channels(const char *dev, struct ethtool_channels *request)
{
	memset(request, 0, sizeof(*request));
	request->cmd = ETHTOOL_GCHANNELS;
	return !ask(dev, request);
}

bool nic_channels_read(const char *dev, struct nic_channels *channels)
{
	struct ethtool_channels request;

	if (!read_channels(dev, &request))
		return false;
	channels->combined = request.max_combined;
	channels->now = request.rx_count + request.combined_count;
	channels->max = channels->combined ? request.max_combined : request.max_rx;
	return true;
}

bool nic_channels_set(const char *dev, unsigned int number)
{
	struct ethtool_channels request;
	int error;

	if (!read_channels(dev, &request))
		return fail(dev, 0, "its number of queues can't be changed");
	request.cmd = ETHTOOL_SCHANNELS;
	if (request.max_combined)
		request.combined_count = number;
	else
		request.rx_count = number;
	error = ask(dev, &request);
	return !error || fail(dev, 0, "%u receive queues: %s", number, strerror(error));
}

/*
 * Drivers call an interrupt as they like: eth0-TxRx-3, virtio0-input.3,
 * mlx5_comp3@pci:0000:01:00.0. What they agree on is that the queue's number follows
 * one of these words.
 */
static int queue_of(const char *name)
{
	static const char *const words[] = { "input", "comp", "rx" };
	const char *p, *number = NULL;
	unsigned int i;

	for (i = 0; i < sizeof(words) / sizeof(*words) && !number; i++)
		for (p = name; (p = strcasestr(p, words[i])); number = p)
			p += strlen(words[i]);
	if (!number)
		return -1;
	number += strspn(number, "-._@ ");
	return isdigit((unsigned char)*number) ? atoi(number) : -1;
}

/* The name of an interrupt: the end of its line in /proc/interrupts. */
static bool irq_name(int irq, char *name, size_t size)
{
	FILE *file = fopen("/proc/interrupts", "re");
	bool found = false;
	char *line = NULL;
	size_t room = 0;
	char *p;

	while (file && !found && getline(&line, &room, file) >= 0) {
		found = strtol(line, &p, 10) == irq && p != line && *p == ':';
		if (found) {
			line[strcspn(line, "\n")] = '\0';
			p = strrchr(line, ' ');
			snprintf(name, size, "%s", p ? p + 1 : "");
		}
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

/* Where it may come to several, nobody knows to which. */
static int irq_cpu(int irq)
{
	struct cpu_list list;
	int cpu = -1;

	if (!sys_cpus(&list, "/proc/irq/%d/effective_affinity_list", irq)) {
		cpu_list_free(&list);
		sys_cpus(&list, "/proc/irq/%d/smp_affinity_list", irq);
	}
	if (list.count == 1)
		cpu = list.cpus[0];
	cpu_list_free(&list);
	return cpu;
}

static void add_queue(int irq, struct nic_queue **queues, unsigned int *count)
{
	char name[64];
	int queue;

	if (!irq_name(irq, name, sizeof(name)))
		return;
	queue = queue_of(name);
	if (queue < 0 || queue >= CPU_MAX)
		return;
	if ((unsigned int)queue >= *count) {
		*queues = xrealloc(*queues, queue + 1, sizeof(**queues));
		for (; *count <= (unsigned int)queue; (*count)++)
			(*queues)[*count] = (struct nic_queue){ .irq = -1, .cpu = -1 };
	}
	(*queues)[queue] = (struct nic_queue){ .irq = irq, .cpu = irq_cpu(irq) };
}

unsigned int nic_queues_read(const char *dev, struct nic_queue **queues)
{
	/* A virtio device is a child of the one on the bus, which has the interrupts. */
	static const char *const folders[] = { "device/msi_irqs", "device/../msi_irqs" };
	unsigned int count = 0, i;
	struct dirent *entry;
	char path[128];
	DIR *dir = NULL;

	*queues = NULL;
	for (i = 0; i < 2 && !dir; i++) {
		snprintf(path, sizeof(path), "/sys/class/net/%s/%s", dev, folders[i]);
		dir = opendir(path);
	}
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			add_queue(atoi(entry->d_name), queues, &count);
	closedir(dir);
	return count;
}

/* --- flow rules --- */

/* Only what says the destination port, all of it, and nothing else. */
static bool port_of(const struct ethtool_rx_flow_spec *spec, enum nic_family *family,
		    unsigned int *port)
{
	union ethtool_flow_union mask = { };

	if (spec->flow_type == UDP_V4_FLOW) {
		mask.udp_ip4_spec.pdst = 0xffff;
		*family = NIC_UDP4;
		*port = ntohs(spec->h_u.udp_ip4_spec.pdst);
	} else if (spec->flow_type == UDP_V6_FLOW) {
		mask.udp_ip6_spec.pdst = 0xffff;
		*family = NIC_UDP6;
		*port = ntohs(spec->h_u.udp_ip6_spec.pdst);
	} else {
		return false;
	}
	return !memcmp(&mask, &spec->m_u, sizeof(mask));
}

/* Return: how many rules there are, or -1; @special: the driver finds a place for new ones. */
static int count_rules(const char *dev, bool *special)
{
	struct ethtool_rxnfc request = { .cmd = ETHTOOL_GRXCLSRLCNT };

	if (ask(dev, &request) || request.rule_cnt > COUNT_MAX)
		return -1;
	if (special)
		*special = request.data & RX_CLS_LOC_SPECIAL;
	return request.rule_cnt;
}

/* All rules' places, and the size of the table. */
static struct ethtool_rxnfc *read_locations(const char *dev, unsigned int count)
{
	struct ethtool_rxnfc *all = xalloc(1, sizeof(*all) + count * sizeof(uint32_t));

	all->cmd = ETHTOOL_GRXCLSRLALL;
	all->rule_cnt = count;
	if (ask(dev, all) || all->rule_cnt > count) {
		free(all);
		return NULL;
	}
	return all;
}

bool nic_rules_read(const char *dev, struct nic_rule **rules, unsigned int *count)
{
	int there = count_rules(dev, NULL);
	struct ethtool_rxnfc *all;
	unsigned int i;

	*rules = NULL;
	*count = 0;
	if (there < 0)
		return false;
	all = read_locations(dev, there);
	if (!all)
		return false;
	*rules = xalloc(there + 1, sizeof(**rules));
	for (i = 0; i < all->rule_cnt; i++) {
		struct ethtool_rxnfc one = {
			.cmd = ETHTOOL_GRXCLSRULE,
			.fs.location = all->rule_locs[i],
		};
		struct nic_rule *rule = *rules + *count;

		if (ask(dev, &one) || !port_of(&one.fs, &rule->family, &rule->port))
			continue;
		rule->queue = one.fs.ring_cookie;
		rule->location = all->rule_locs[i];
		(*count)++;
	}
	free(all);
	return true;
}

char *nic_rule_text(const struct nic_rule *rule)
{
	return xprintf("%s %u %llu", nic_family_text(rule->family), rule->port,
		       (unsigned long long)rule->queue);
}

/* The last free place: rules of others that come before it stay before ours. */
static uint32_t free_location(const char *dev)
{
	int count = count_rules(dev, NULL);
	struct ethtool_rxnfc *all = count < 0 ? NULL : read_locations(dev, count);
	uint32_t location = NIC_LOCATION_NONE, size, i;

	if (!all)
		return NIC_LOCATION_NONE;
	size = all->data & ~RX_CLS_LOC_SPECIAL;
	for (; location == NIC_LOCATION_NONE && size; size--) {
		for (i = 0; i < all->rule_cnt && all->rule_locs[i] != size - 1; i++)
			;
		if (i == all->rule_cnt)
			location = size - 1;
	}
	free(all);
	return location;
}

bool nic_rule_add(const char *dev, struct nic_rule *rule)
{
	struct ethtool_rxnfc request = {
		.cmd = ETHTOOL_SRXCLSRLINS,
		.fs = {
			.flow_type = families[rule->family].flow_type,
			.ring_cookie = rule->queue,
			.location = RX_CLS_LOC_ANY,
		},
	};
	bool special;

	if (rule->family == NIC_UDP4) {
		request.fs.h_u.udp_ip4_spec.pdst = htons(rule->port);
		request.fs.m_u.udp_ip4_spec.pdst = 0xffff;
	} else {
		request.fs.h_u.udp_ip6_spec.pdst = htons(rule->port);
		request.fs.m_u.udp_ip6_spec.pdst = 0xffff;
	}
	if (count_rules(dev, &special) < 0)
		return false;
	if (!special) {
		request.fs.location = free_location(dev);
		if (request.fs.location == NIC_LOCATION_NONE)
			return false;
	}
	if (ask(dev, &request))
		return false;
	rule->location = request.fs.location;
	return true;
}

bool nic_rule_remove(const char *dev, uint32_t location)
{
	struct ethtool_rxnfc request = {
		.cmd = ETHTOOL_SRXCLSRLDEL,
		.fs.location = location,
	};

	return !ask(dev, &request);
}

/* --- switches --- */

/* The names of a set of switches, in order; NULL where there is none. */
static struct ethtool_gstrings *read_names(const char *dev, uint32_t set)
{
	struct {
		struct ethtool_sset_info head;
		uint32_t count;
	} info = {
		.head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << set },
	};
	struct ethtool_gstrings *names;

	if (ask(dev, &info) || !info.head.sset_mask || !info.count || info.count > COUNT_MAX)
		return NULL;
	names = xalloc(1, sizeof(*names) + info.count * ETH_GSTRING_LEN);
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = set;
	names->len = info.count;
	if (ask(dev, names) || names->len > info.count) {
		free(names);
		return NULL;
	}
	return names;
}

/* Return: number of the switch, or -1. @count: of all. */
static int find_name(const char *dev, uint32_t set, const char *name, unsigned int *count)
{
	struct ethtool_gstrings *names = read_names(dev, set);
	int number = -1;
	unsigned int i;

	if (!names)
		return -1;
	*count = names->len;
	for (i = 0; number < 0 && i < names->len; i++)
		if (!strncmp((char *)names->data + i * ETH_GSTRING_LEN, name, ETH_GSTRING_LEN))
			number = i;
	free(names);
	return number;
}

enum nic_switch nic_feature(const char *dev, const char *name)
{
	unsigned int count, blocks;
	int number = find_name(dev, ETH_SS_FEATURES, name, &count);
	struct ethtool_get_features_block *block;
	enum nic_switch found = NIC_ABSENT;
	struct ethtool_gfeatures *all;

	if (number < 0)
		return NIC_ABSENT;
	blocks = (count + 31) / 32;
	all = xalloc(1, sizeof(*all) + blocks * sizeof(*all->features));
	all->cmd = ETHTOOL_GFEATURES;
	all->size = blocks;
	if (!ask(dev, all)) {
		block = &all->features[number / 32];
		if (block->active >> number % 32 & 1)
			found = NIC_ON;
		else if (block->available >> number % 32 & 1)
			found = NIC_OFF;
	}
	free(all);
	return found;
}

bool nic_feature_on(const char *dev, const char *name)
{
	unsigned int count, blocks;
	int number = find_name(dev, ETH_SS_FEATURES, name, &count), error;
	struct ethtool_sfeatures *wanted;

	if (number < 0)
		return fail(dev, 0, "it has no %s", name);
	blocks = (count + 31) / 32;
	wanted = xalloc(1, sizeof(*wanted) + blocks * sizeof(*wanted->features));
	wanted->cmd = ETHTOOL_SFEATURES;
	wanted->size = blocks;
	wanted->features[number / 32].valid = 1U << number % 32;
	wanted->features[number / 32].requested = 1U << number % 32;
	error = ask(dev, wanted);
	free(wanted);
	return !error || fail(dev, 0, "%s can't be switched on: %s", name, strerror(error));
}

bool nic_private_on(const char *dev, const char *name)
{
	struct ethtool_value value = { .cmd = ETHTOOL_GPFLAGS };
	unsigned int count;
	int number = find_name(dev, ETH_SS_PRIV_FLAGS, name, &count), error;

	if (number < 0 || number > 31)
		return fail(dev, 0, "it has no switch %s", name);
	error = ask(dev, &value);
	if (!error) {
		value.cmd = ETHTOOL_SPFLAGS;
		value.data |= 1U << number;
		error = ask(dev, &value);
	}
	return !error || fail(dev, 0, "%s can't be switched on: %s", name, strerror(error));
}
