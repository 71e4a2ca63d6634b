/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* Inside of `wgtrunk check`: one trunk, all that is known of it, and what was found. */
#ifndef WGTRUNK_DOCTOR_H
#define WGTRUNK_DOCTOR_H

#include "config.h"
#include "found.h"
#include "kernel.h"

enum severity {
	NOTE,		/* worth knowing, not a fault: does not count */
	SLOW,		/* works, not as well as it could */
	WRONG,		/* something does not work, or will not */
};

struct doctor;
struct finding;

typedef bool (*mend_function)(struct doctor *doctor, const struct finding *finding);

/**
 * struct finding - something that is wrong
 * @what: one line; the same line is the same finding
 * @command: mends it, for whoever reads this; or NULL
 * @mend: does what @command does; NULL where `--fix` leaves it alone
 * @dev: interface that is mended
 * @key: switch, path of a file, or what a flow rule does
 * @number: MTU, CPU, and so on; what is written to a file
 */
struct finding {
	enum severity severity;
	char *what;
	char *command;
	mend_function mend;
	char dev[IFNAMSIZ];
	char *key;
	long number;
};

/**
 * struct doctor - a trunk that is looked at
 * @kernel: to ask
 * @asked: as it was called for: a name, or the path of a configuration
 * @reload: see check_run()
 * @begun: it is being changed, or was when wgtrunk was killed
 * @config: if @configured
 * @found: what there is
 * @links: all of the namespace
 * @lanes: how many, by the configuration where there is one
 * @port: of the first one, likewise
 * @homes: home CPU of each of @lanes, as found, or -1
 * @endpoint: the far end's, as one of the lanes knows it, or AF_UNSPEC
 * @nic: what leads there, or empty
 * @base: the device below that; see nic_below()
 * @path_mtu: of that way, or 0
 * @findings: @count of them
 */
struct doctor {
	struct kernel *kernel;
	const char *asked;
	bool (*reload)(struct kernel *kernel, const char *name);
	unsigned int begun;
	bool configured;
	struct config config;
	struct found found;
	struct link *links;
	unsigned int link_count;
	unsigned int lanes;
	unsigned int port;
	int *homes;
	struct sockaddr_storage endpoint;
	bool routed;
	char nic[IFNAMSIZ];
	char base[IFNAMSIZ];
	unsigned int path_mtu;
	struct finding *findings;
	unsigned int count;
};

/* report() - a new finding, valid until the next one. */
struct finding *report(struct doctor *doctor, enum severity severity, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* mended_by() - the command that mends it, and what does the same; NULL for nothing. */
void mended_by(struct finding *finding, mend_function mend, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* lanes_text() - west.0, west.2 to west.5; @these are @doctor->lanes. Freed by the caller. */
char *lanes_text(const struct doctor *doctor, const bool *these);

/* doctor_lane() - what was found of a lane, or NULL where it isn't there, or isn't ours. */
const struct found_lane *doctor_lane(const struct doctor *doctor, unsigned int lane);

/* doctor_link() - an interface of this namespace, or NULL. */
const struct link *doctor_link(const struct doctor *doctor, unsigned int index);

/* address_text() - without a port, into @text of INET6_ADDRSTRLEN bytes; returns it. */
const char *address_text(const struct sockaddr_storage *address, char *text);

/*
 * Mends: they take what they need from the finding, and give a message where they fail.
 *
 *	mend_reload()	the configuration
 *	mend_steering()	hash and flow rules, as `up` does
 *	mend_rule()	@dev: the flow rule at @number is removed first, if it is still @key
 *	mend_feature()	@dev: its feature @key is switched on
 *	mend_private()	@dev: its private flag @key is
 *	mend_channels()	@dev: it gets @number queues
 *	mend_file()	@key: @number is written to it
 *	mend_up()	@dev
 *	mend_master()	@dev: into the trunk
 *	mend_mtu()	@dev, or all lanes: get MTU @number
 *	mend_home()	@dev: its home CPU is @number
 *	mend_active()	the first @number lanes are active, the others spare
 *	mend_spare()	@dev
 *	mend_modules()	the kernel's list of modules is made anew
 */
bool mend_reload(struct doctor *doctor, const struct finding *finding);
bool mend_steering(struct doctor *doctor, const struct finding *finding);
bool mend_rule(struct doctor *doctor, const struct finding *finding);
bool mend_feature(struct doctor *doctor, const struct finding *finding);
bool mend_private(struct doctor *doctor, const struct finding *finding);
bool mend_channels(struct doctor *doctor, const struct finding *finding);
bool mend_file(struct doctor *doctor, const struct finding *finding);
bool mend_up(struct doctor *doctor, const struct finding *finding);
bool mend_master(struct doctor *doctor, const struct finding *finding);
bool mend_mtu(struct doctor *doctor, const struct finding *finding);
bool mend_home(struct doctor *doctor, const struct finding *finding);
bool mend_active(struct doctor *doctor, const struct finding *finding);
bool mend_spare(struct doctor *doctor, const struct finding *finding);
bool mend_modules(struct doctor *doctor, const struct finding *finding);

/* check_module() - the one that is loaded, the one that would be. */
void check_module(struct doctor *doctor);

/* check_trunk() - the trunk and its lanes; false where there is nothing more to look at. */
bool check_trunk(struct doctor *doctor);

/* check_host() - what is under them: CPUs, the NIC, filters. */
void check_host(struct doctor *doctor);

#endif /* WGTRUNK_DOCTOR_H */
