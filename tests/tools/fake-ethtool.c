// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * A NIC with queues, a receive hash and flow rules, for programs that ask for one by
 * the ethtool ioctl: to be preloaded. The device, and what there is of it, are in
 * the environment:
 *
 *	FAKE_ETHTOOL_DEV	its name; other devices are as they are
 *	FAKE_ETHTOOL_FILE	what it has, which changes as it is set:
 *
 *		rings 2 4		receive queues there are and can be
 *		rss udp4 30		fields of the hash, hexadecimal
 *		rules 16		size of its table of flow rules
 *		rule 15 udp4 51820 2	place, kind, port, queue (-1: drop)
 *		feature rx-gro off	or on
 *		refuse rss		its hash can't be changed
 *		refuse remove		its rules can't be removed
 *		slow			changes take a while: one meanwhile is lost
 *
 *	FAKE_ETHTOOL_ROOT	a folder: files in it are opened in place of those of
 *				the same path outside, by fopen() and opendir()
 *
 * What the file does not mention, the NIC does not have; but without any feature
 * those of the device itself show.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define RULES		64
#define FEATURES	64

struct rule {
	unsigned int location;
	int udp6;
	unsigned int port;
	long long queue;
};

struct nic {
	unsigned int rings, rings_max;
	int has_rings;
	uint64_t hash[2];
	int has_hash[2];
	unsigned int table;
	struct rule rule[RULES];
	unsigned int rules;
	char feature[FEATURES][ETH_GSTRING_LEN];
	int on[FEATURES];
	unsigned int features;
	int refuse_rss, refuse_remove, slow;
};

static FILE *real_fopen(const char *path, const char *mode)
{
	FILE *(*real)(const char *path, const char *mode) = dlsym(RTLD_NEXT, "fopen");

	return real(path, mode);
}

static int is_udp6(const char *kind)
{
	return !strcmp(kind, "udp6");
}

static void parse(struct nic *nic, const char *line)
{
	struct rule *rule = &nic->rule[nic->rules];
	unsigned long long value;
	char word[ETH_GSTRING_LEN], state[8];
	unsigned int table;

	if (sscanf(line, "rings %u %u", &nic->rings, &nic->rings_max) == 2)
		nic->has_rings = 1;
	else if (sscanf(line, "rss %7s %llx", state, &value) == 2) {
		nic->hash[is_udp6(state)] = value;
		nic->has_hash[is_udp6(state)] = 1;
	} else if (sscanf(line, "rule %u %7s %u %lld", &rule->location, state, &rule->port,
			  &rule->queue) == 4 && nic->rules < RULES - 1) {
		rule->udp6 = is_udp6(state);
		nic->rules++;
	} else if (sscanf(line, "feature %31s %7s", word, state) == 2 &&
		   nic->features < FEATURES) {
		strcpy(nic->feature[nic->features], word);
		nic->on[nic->features++] = !strcmp(state, "on");
	} else if (sscanf(line, "rules %u", &table) == 1) {
		nic->table = table;
	} else if (!strcmp(line, "refuse rss\n")) {
		nic->refuse_rss = 1;
	} else if (!strcmp(line, "refuse remove\n")) {
		nic->refuse_remove = 1;
	} else if (!strcmp(line, "slow\n")) {
		nic->slow = 1;
	}
}

static int load(struct nic *nic)
{
	FILE *file = real_fopen(getenv("FAKE_ETHTOOL_FILE"), "re");
	char line[256];

	memset(nic, 0, sizeof(*nic));
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		parse(nic, line);
	fclose(file);
	return 0;
}

static void write_all(const struct nic *nic, FILE *file)
{
	static const char *const kinds[] = { "udp4", "udp6" };
	unsigned int i;

	if (nic->has_rings)
		fprintf(file, "rings %u %u\n", nic->rings, nic->rings_max);
	for (i = 0; i < 2; i++)
		if (nic->has_hash[i])
			fprintf(file, "rss %s %llx\n", kinds[i], (unsigned long long)nic->hash[i]);
	if (nic->table)
		fprintf(file, "rules %u\n", nic->table);
	for (i = 0; i < nic->rules; i++)
		fprintf(file, "rule %u %s %u %lld\n", nic->rule[i].location,
			kinds[nic->rule[i].udp6], nic->rule[i].port, nic->rule[i].queue);
	for (i = 0; i < nic->features; i++)
		fprintf(file, "feature %s %s\n", nic->feature[i], nic->on[i] ? "on" : "off");
	if (nic->refuse_rss)
		fputs("refuse rss\n", file);
	if (nic->refuse_remove)
		fputs("refuse remove\n", file);
	if (nic->slow)
		fputs("slow\n", file);
}

/* As ioctl(): 0, or -1 and errno. */
static int answer(int error)
{
	errno = error;
	return error ? -1 : 0;
}

static int store(const struct nic *nic)
{
	const char *path = getenv("FAKE_ETHTOOL_FILE");
	char other[4096];
	FILE *file;

	if (nic->slow)
		usleep(100000);
	snprintf(other, sizeof(other), "%s.new%d", path, (int)getpid());
	file = real_fopen(other, "we");
	if (!file)
		return answer(EIO);
	write_all(nic, file);
	fclose(file);
	return rename(other, path);
}

static int find_feature(const struct nic *nic, const char *name)
{
	unsigned int i;

	for (i = 0; i < nic->features; i++)
		if (!strcmp(nic->feature[i], name))
			return i;
	return -1;
}

static int has_rules(const struct nic *nic)
{
	int number = find_feature(nic, "rx-ntuple-filter");

	return nic->table && (number < 0 || nic->on[number]);
}

static struct rule *find_rule(struct nic *nic, unsigned int location)
{
	unsigned int i;

	for (i = 0; i < nic->rules; i++)
		if (nic->rule[i].location == location)
			return &nic->rule[i];
	return NULL;
}

/* A table that only takes places that it is told, as some have. */
static int insert(struct nic *nic, struct ethtool_rxnfc *request)
{
	const struct ethtool_rx_flow_spec *spec = &request->fs;
	struct rule *rule = find_rule(nic, spec->location);
	int udp6 = spec->flow_type == UDP_V6_FLOW;

	if (spec->location >= nic->table || (!udp6 && spec->flow_type != UDP_V4_FLOW))
		return answer(EINVAL);
	if (spec->ring_cookie != RX_CLS_FLOW_DISC && spec->ring_cookie >= nic->rings)
		return answer(EINVAL);
	if ((udp6 ? spec->m_u.udp_ip6_spec.pdst : spec->m_u.udp_ip4_spec.pdst) != 0xffff)
		return answer(EOPNOTSUPP);
	if (!rule)
		rule = &nic->rule[nic->rules++];
	*rule = (struct rule){
		.location = spec->location,
		.udp6 = udp6,
		.port = ntohs(udp6 ? spec->h_u.udp_ip6_spec.pdst : spec->h_u.udp_ip4_spec.pdst),
		.queue = spec->ring_cookie,
	};
	return store(nic);
}

static int delete(struct nic *nic, unsigned int location)
{
	struct rule *rule = find_rule(nic, location);

	if (!rule)
		return answer(ENOENT);
	if (nic->refuse_remove)
		return answer(EBUSY);
	*rule = nic->rule[--nic->rules];
	return store(nic);
}

static int show(struct nic *nic, struct ethtool_rxnfc *request)
{
	const struct rule *rule = find_rule(nic, request->fs.location);
	struct ethtool_rx_flow_spec *spec = &request->fs;

	if (!rule)
		return answer(ENOENT);
	memset(spec, 0, sizeof(*spec));
	spec->location = rule->location;
	spec->ring_cookie = rule->queue;
	if (rule->udp6) {
		spec->flow_type = UDP_V6_FLOW;
		spec->h_u.udp_ip6_spec.pdst = htons(rule->port);
		spec->m_u.udp_ip6_spec.pdst = 0xffff;
	} else {
		spec->flow_type = UDP_V4_FLOW;
		spec->h_u.udp_ip4_spec.pdst = htons(rule->port);
		spec->m_u.udp_ip4_spec.pdst = 0xffff;
	}
	return 0;
}

static int list(const struct nic *nic, struct ethtool_rxnfc *request)
{
	unsigned int i;

	if (request->rule_cnt < nic->rules)
		return answer(EMSGSIZE);
	request->data = nic->table;
	request->rule_cnt = nic->rules;
	for (i = 0; i < nic->rules; i++)
		request->rule_locs[i] = nic->rule[i].location;
	return 0;
}

static int flows(struct nic *nic, struct ethtool_rxnfc *request)
{
	int udp6 = request->flow_type == UDP_V6_FLOW;

	switch (request->cmd) {
	case ETHTOOL_GRXRINGS:
		request->data = nic->rings;
		return nic->has_rings ? 0 : answer(EOPNOTSUPP);
	case ETHTOOL_GRXFH:
		request->data = nic->hash[udp6];
		return nic->has_hash[udp6] ? 0 : answer(EOPNOTSUPP);
	case ETHTOOL_SRXFH:
		if (!nic->has_hash[udp6] || nic->refuse_rss)
			return answer(EOPNOTSUPP);
		nic->hash[udp6] = request->data;
		return store(nic);
	}
	if (!has_rules(nic))
		return answer(EOPNOTSUPP);
	switch (request->cmd) {
	case ETHTOOL_GRXCLSRLCNT:
		request->data = 0;
		request->rule_cnt = nic->rules;
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		return list(nic, request);
	case ETHTOOL_GRXCLSRULE:
		return show(nic, request);
	case ETHTOOL_SRXCLSRLINS:
		return insert(nic, request);
	default:
		return delete(nic, request->fs.location);
	}
}

static int channels(struct nic *nic, struct ethtool_channels *request)
{
	if (!nic->has_rings)
		return answer(EOPNOTSUPP);
	if (request->cmd == ETHTOOL_SCHANNELS) {
		if (!request->combined_count || request->combined_count > nic->rings_max)
			return answer(EINVAL);
		nic->rings = request->combined_count;
		return store(nic);
	}
	request->max_combined = nic->rings_max;
	request->combined_count = nic->rings;
	return 0;
}

static int features(struct nic *nic, void *data)
{
	struct ethtool_sset_info *info = data;
	struct ethtool_gstrings *strings = data;
	struct ethtool_gfeatures *get = data;
	struct ethtool_sfeatures *set = data;
	unsigned int i;

	switch (*(uint32_t *)data) {
	case ETHTOOL_GSSET_INFO:
		info->data[0] = nic->features;
		return 0;
	case ETHTOOL_GSTRINGS:
		memcpy(strings->data, nic->feature, nic->features * ETH_GSTRING_LEN);
		strings->len = nic->features;
		return 0;
	case ETHTOOL_GFEATURES:
		for (i = 0; i < nic->features; i++) {
			get->features[i / 32].available |= 1U << i % 32;
			get->features[i / 32].active |= (uint32_t)nic->on[i] << i % 32;
		}
		return 0;
	default:
		for (i = 0; i < nic->features; i++)
			if (set->features[i / 32].valid >> i % 32 & 1)
				nic->on[i] = set->features[i / 32].requested >> i % 32 & 1;
		return store(nic);
	}
}

/* Whether the request is for us; *result is as of ioctl() then. */
static int take(struct ifreq *ifr, int *result)
{
	const char *dev = getenv("FAKE_ETHTOOL_DEV");
	struct nic nic;

	if (!dev || strncmp(ifr->ifr_name, dev, IFNAMSIZ) || load(&nic))
		return 0;
	switch (*(uint32_t *)ifr->ifr_data) {
	case ETHTOOL_GRXRINGS:
	case ETHTOOL_GRXFH:
	case ETHTOOL_SRXFH:
	case ETHTOOL_GRXCLSRLCNT:
	case ETHTOOL_GRXCLSRLALL:
	case ETHTOOL_GRXCLSRULE:
	case ETHTOOL_SRXCLSRLINS:
	case ETHTOOL_SRXCLSRLDEL:
		*result = flows(&nic, (void *)ifr->ifr_data);
		return 1;
	case ETHTOOL_GCHANNELS:
	case ETHTOOL_SCHANNELS:
		*result = channels(&nic, (void *)ifr->ifr_data);
		return 1;
	case ETHTOOL_GSSET_INFO:
	case ETHTOOL_GSTRINGS:
	case ETHTOOL_GFEATURES:
	case ETHTOOL_SFEATURES:
		if (!nic.features)
			return 0;
		*result = features(&nic, ifr->ifr_data);
		return 1;
	}
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int fd, unsigned long request, ...) = dlsym(RTLD_NEXT, "ioctl");
	va_list args;
	void *data;
	int result;

	va_start(args, request);
	data = va_arg(args, void *);
	va_end(args);
	if (request == SIOCETHTOOL && take(data, &result))
		return result;
	return real(fd, request, data);
}

/* The path in the folder, if there is such a file in it; else as it is. */
static const char *place_of(const char *path, char *other, size_t size)
{
	const char *root = getenv("FAKE_ETHTOOL_ROOT");

	if (!root || *path != '/')
		return path;
	snprintf(other, size, "%s%s", root, path);
	return access(other, F_OK) ? path : other;
}

FILE *fopen(const char *path, const char *mode)
{
	char other[4096];

	return real_fopen(place_of(path, other, sizeof(other)), mode);
}

DIR *opendir(const char *path)
{
	DIR *(*real)(const char *path) = dlsym(RTLD_NEXT, "opendir");
	char other[4096];

	return real(place_of(path, other, sizeof(other)));
}
