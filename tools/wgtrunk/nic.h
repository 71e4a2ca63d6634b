/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * What the underlay NIC can do, by the ethtool ioctl and sysfs. That it can't do
 * something is a normal answer: functions that only read give no message.
 */
#ifndef WGTRUNK_NIC_H
#define WGTRUNK_NIC_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * nic_below() - the device that has the queues
 * @dev: a NIC, or what is on top of exactly one, e.g. a VLAN
 * @below: for its name, IFNAMSIZ bytes; @dev itself where nothing is known below
 */
void nic_below(const char *dev, char *below);

/* --- receive hash --- */

enum nic_family {
	NIC_UDP4,
	NIC_UDP6,
	NIC_FAMILIES
};

/* nic_family_text() - as ethtool(8) calls it. */
const char *nic_family_text(enum nic_family family);

/* nic_family_of() - of an address family. */
enum nic_family nic_family_of(int family);

/* Addresses and ports: `sdfn`. */
#define NIC_HASH_PORTS	"sdfn"
#define NIC_HASH_TEXT	24

/**
 * nic_hash_read() - what of a packet RSS looks at
 * @text: letters as for ethtool -N DEV rx-flow-hash, NIC_HASH_TEXT bytes
 *
 * Return: false where the NIC doesn't tell, or has no hash at all.
 */
bool nic_hash_read(const char *dev, enum nic_family family, char *text);

/* nic_hash_has_ports() - whether that spreads the ports between the same two addresses. */
bool nic_hash_has_ports(const char *text);

/* nic_hash_set() - Return: whether the NIC takes it; there is no message. */
bool nic_hash_set(const char *dev, enum nic_family family, const char *text);

/* --- queues --- */

/* nic_rings() - receive queues that RSS spreads over, or 0 where it isn't known. */
unsigned int nic_rings(const char *dev);

/**
 * struct nic_channels - queues there are, and how many there could be
 * @combined: whether they are both for sending and receiving
 */
struct nic_channels {
	unsigned int now;
	unsigned int max;
	bool combined;
};

bool nic_channels_read(const char *dev, struct nic_channels *channels);

/* nic_channels_set() - with a message where the NIC doesn't take it. */
bool nic_channels_set(const char *dev, unsigned int number);

/**
 * struct nic_queue - a receive queue's interrupt
 * @irq: its number, or -1 where it isn't known
 * @cpu: the one that it comes to, or -1
 */
struct nic_queue {
	int irq;
	int cpu;
};

/**
 * nic_queues_read() - the interrupts of receive queues, by their number
 * @queues: freed by the caller
 *
 * Return: how many; 0 where nothing is known.
 */
unsigned int nic_queues_read(const char *dev, struct nic_queue **queues);

/* --- flow rules --- */

#define NIC_QUEUE_DROP	UINT64_MAX	/* not to a queue: what fits the rule is dropped */
#define NIC_LOCATION_NONE UINT32_MAX

/**
 * struct nic_rule - all UDP packets to a port go to a queue
 * @location: its place in the NIC's table
 */
struct nic_rule {
	enum nic_family family;
	unsigned int port;
	uint64_t queue;
	uint32_t location;
};

/**
 * nic_rules_read() - rules of this kind; others are left out
 * @rules: freed by the caller
 *
 * Return: false where the NIC has no rules, or they are switched off.
 */
bool nic_rules_read(const char *dev, struct nic_rule **rules, unsigned int *count);

/* nic_rule_text() - what it does, wherever it is; freed by the caller. */
char *nic_rule_text(const struct nic_rule *rule);

/* nic_rule_add() - sets @rule->location. Return: whether the NIC takes it; there is no message. */
bool nic_rule_add(const char *dev, struct nic_rule *rule);

/* nic_rule_remove() - Return: whether it could be; there is no message. */
bool nic_rule_remove(const char *dev, uint32_t location);

/* --- switches --- */

/* As the kernel calls them. */
#define NIC_GRO			"rx-gro"
#define NIC_RX_CHECKSUM		"rx-checksum"
#define NIC_TX_CHECKSUM		"tx-checksum-ip-generic"
#define NIC_TX_CHECKSUM_IPV4	"tx-checksum-ipv4"
#define NIC_TX_CHECKSUM_IPV6	"tx-checksum-ipv6"
#define NIC_TX_SCATTER		"tx-scatter-gather"
#define NIC_TX_UDP_SEGMENTATION	"tx-udp-segmentation"
#define NIC_RULES		"rx-ntuple-filter"

enum nic_switch {
	NIC_ABSENT,		/* there is no such thing, or it can't be changed and is off */
	NIC_OFF,
	NIC_ON,
};

enum nic_switch nic_feature(const char *dev, const char *name);

/* nic_feature_on() - switch it on, with a message where the NIC doesn't do that. */
bool nic_feature_on(const char *dev, const char *name);

/* nic_private_on() - as nic_feature_on(), for a switch of the driver's own. */
bool nic_private_on(const char *dev, const char *name);

#endif /* WGTRUNK_NIC_H */
