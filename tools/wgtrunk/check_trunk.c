// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/* Of `wgtrunk check`: the trunk, its lanes, and how they differ from the configuration. */

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "doctor.h"
#include "util.h"

/* Outer headers, the protocol's header and tag. */
#define OVERHEAD_V4	60
#define OVERHEAD_V6	80

static struct finding *differs(struct doctor *doctor, const char *what)
{
	struct finding *finding = report(doctor, WRONG, "%s", what);

	mended_by(finding, mend_reload, "wgtrunk reload %s", doctor->asked);
	return finding;
}

/* Lanes for which @test says so, in one finding; @format has one %s, for them. */
static void lanes_differ(struct doctor *doctor,
			 bool (*test)(const struct doctor *, unsigned int lane), const char *before,
			 const char *after)
{
	bool *these = xalloc(doctor->lanes + 1, sizeof(*these));
	char *lanes, *what;
	unsigned int i;
	bool any = false;

	for (i = 0; i < doctor->lanes; i++) {
		these[i] = test(doctor, i);
		any |= these[i];
	}
	if (any) {
		lanes = lanes_text(doctor, these);
		what = xprintf("%s%s%s", before, lanes, after);
		differs(doctor, what);
		free(what);
		free(lanes);
	}
	free(these);
}

/* --- the configuration --- */

/* Whether there is anything of that name. */
static bool is_taken(const struct doctor *doctor, unsigned int lane)
{
	return doctor->found.lane[lane].link.index;
}

static bool is_missing(const struct doctor *doctor, unsigned int lane)
{
	return !is_taken(doctor, lane);
}

static bool other_port(const struct doctor *doctor, unsigned int lane)
{
	const struct found_lane *found = doctor_lane(doctor, lane);

	return found && found->tunnel.port != doctor->config.trunk.port + lane;
}

static bool other_key(const struct doctor *doctor, unsigned int lane)
{
	const struct found_lane *found = doctor_lane(doctor, lane);

	return found &&
	       sodium_memcmp(found->tunnel.private, doctor->config.private.keys[lane], KEY_BYTES);
}

static const struct peer *peer_of(const struct doctor *doctor, unsigned int lane)
{
	const struct found_lane *found = doctor_lane(doctor, lane);
	unsigned int i;

	if (!found)
		return NULL;
	for (i = 0; i < found->tunnel.count; i++)
		if (!doctor->configured || !memcmp(found->tunnel.peers[i].key,
						   doctor->config.public.keys[lane], KEY_BYTES))
			return &found->tunnel.peers[i];
	return NULL;
}

static bool other_peer(const struct doctor *doctor, unsigned int lane)
{
	const struct found_lane *found = doctor_lane(doctor, lane);

	return found && (found->tunnel.count != 1 || !peer_of(doctor, lane));
}

static bool lacks_prefix(const struct doctor *doctor, unsigned int lane)
{
	const struct prefix_list *wanted = &doctor->config.site.prefixes;
	const struct peer *peer = peer_of(doctor, lane);
	unsigned int i;

	for (i = 0; peer && i < wanted->count; i++)
		if (!prefix_list_has(&peer->allowed, &wanted->prefixes[i]))
			return true;
	return false;
}

static bool other_home(const struct doctor *doctor, unsigned int lane)
{
	const struct cpu_list *cpus = &doctor->config.trunk.cpus;

	return cpus->count && doctor_lane(doctor, lane) &&
	       doctor->homes[lane] != (int)cpus->cpus[lane];
}

static void check_leftover(struct doctor *doctor)
{
	char *what;
	unsigned int i;

	for (i = doctor->lanes; i < doctor->found.lanes; i++) {
		if (!doctor_lane(doctor, i))
			continue;
		what = xprintf("%s.%u is there, and no lane of the configuration", doctor->found.name, i);
		differs(doctor, what);
		free(what);
	}
}

static bool has_route(const struct doctor *doctor, const struct prefix *prefix)
{
	unsigned int i;

	for (i = 0; i < doctor->found.route_count; i++)
		if (prefix_same(&doctor->found.routes[i].to, prefix))
			return true;
	return false;
}

static void check_addresses(struct doctor *doctor)
{
	const struct prefix_list *addresses = &doctor->config.trunk.addresses;
	const struct prefix_list *prefixes = &doctor->config.site.prefixes;
	char text[PREFIX_TEXT], *what;
	unsigned int i;

	for (i = 0; i < addresses->count; i++) {
		if (prefix_list_has(&doctor->found.addresses, &addresses->prefixes[i]))
			continue;
		what = xprintf("%s has not its address %s", doctor->found.name,
			       prefix_text(&addresses->prefixes[i], text));
		differs(doctor, what);
		free(what);
	}
	/* The kernel keeps none of an interface that is down. */
	for (i = 0; doctor->found.link.up && i < prefixes->count; i++) {
		if (has_route(doctor, &prefixes->prefixes[i]) ||
		    config_is_own_network(&doctor->config, &prefixes->prefixes[i]))
			continue;
		what = xprintf("there is no route to %s by %s",
			       prefix_text(&prefixes->prefixes[i], text), doctor->found.name);
		differs(doctor, what);
		free(what);
	}
}

static void check_choice(struct doctor *doctor)
{
	static const char *const names[] = { [CHOICE_CPU] = "cpu", [CHOICE_HASH] = "hash" };
	enum choice wanted = doctor->config.trunk.choice;
	int found = doctor->found.link.choice;
	char *what;

	if (found == (wanted == CHOICE_HASH ? WG_TRUNK_CHOICE_HASH : WG_TRUNK_CHOICE_CPU))
		return;
	what = xprintf("%s does not choose lanes by %s, as configured", doctor->found.name,
		       names[wanted]);
	differs(doctor, what);
	free(what);
}

static void check_configuration(struct doctor *doctor)
{
	const struct config *config = &doctor->config;

	lanes_differ(doctor, is_missing, "", ": there is no such interface");
	lanes_differ(doctor, other_port, "", ": not the UDP port of the configuration");
	lanes_differ(doctor, other_key, "", ": not the private key of the configuration");
	lanes_differ(doctor, other_peer, "", ": not the far end's public key of the configuration");
	lanes_differ(doctor, lacks_prefix, "", ": not all Prefixes of the far end are allowed");
	lanes_differ(doctor, other_home, "", ": not the home CPU of the configuration");
	check_leftover(doctor);
	check_choice(doctor);
	check_addresses(doctor);
	if (config->public.count > config->trunk.lanes)
		report(doctor, NOTE, "the far end has keys for %u lanes, Lanes here is %u: so many are used",
		       config->public.count, config->trunk.lanes);
}

/* --- links --- */

static void check_up(struct doctor *doctor, const struct link *link)
{
	struct finding *finding;

	if (link->up)
		return;
	finding = report(doctor, WRONG, "%s is down", link->name);
	mended_by(finding, mend_up, "ip link set dev %s up", link->name);
	strcpy(finding->dev, link->name);
}

static void check_lane(struct doctor *doctor, unsigned int lane)
{
	const struct found_lane *found = doctor_lane(doctor, lane);
	struct finding *finding;

	if (!found && is_taken(doctor, lane))
		report(doctor, WRONG, "%s.%u was not made by wgtrunk, which leaves it alone",
		       doctor->found.name, lane);
	if (!found)
		return;
	check_up(doctor, &found->link);
	if (found->link.master == doctor->found.link.index)
		return;
	finding = report(doctor, WRONG, "%s is not in %s", found->link.name, doctor->found.name);
	mended_by(finding, mend_master, "ip link set dev %s master %s", found->link.name,
		  doctor->found.name);
	strcpy(finding->dev, found->link.name);
}

static void check_switch(struct doctor *doctor, bool (*on)(const struct place *place),
			 const char *name, const char *costs)
{
	const struct found_lane *found;
	struct finding *finding;
	unsigned int i;

	for (i = 0; i < doctor->lanes; i++) {
		found = doctor_lane(doctor, i);
		if (!found || on(&found->place))
			continue;
		finding = report(doctor, SLOW, "%s is off on %s: %s", name, found->link.name, costs);
		mended_by(finding, mend_private, "ethtool --set-priv-flags %s %s on",
			  found->link.name, name);
		strcpy(finding->dev, found->link.name);
		finding->key = xstrdup(name);
	}
}

static bool has_superpackets(const struct place *place)
{
	return place->superpackets;
}

static bool has_aggregates(const struct place *place)
{
	return place->aggregates;
}

/* --- sessions --- */

static bool is_active(const struct found_lane *lane)
{
	return lane && lane->place.active && lane->link.up;
}

static bool has_session(const struct doctor *doctor, unsigned int lane)
{
	const struct peer *peer = peer_of(doctor, lane);

	return peer && peer->handshake && time(NULL) - peer->handshake < SESSION_SECONDS;
}

/*
 * Whether it must have one, and has not. A lane that nothing is sent through needs no
 * session, unless it is kept alive; one that never got an answer has asked for it. One
 * that only the far end can call is late where @others have been called.
 */
static bool lacks_session(const struct doctor *doctor, unsigned int lane, bool others)
{
	const struct peer *peer = peer_of(doctor, lane);

	if (!peer || has_session(doctor, lane))
		return false;
	if (!peer->endpoint.ss_family)
		return others;
	return peer->keepalive || (!peer->handshake && peer->tx_bytes && !peer->rx_bytes);
}

static void report_silence(struct doctor *doctor)
{
	char text[INET6_ADDRSTRLEN];
	struct finding *finding;

	if (doctor->endpoint.ss_family && !doctor->routed) {
		report(doctor, WRONG, "there is no route to the far end, %s",
		       address_text(&doctor->endpoint, text));
		return;
	}
	finding = report(doctor, WRONG, "no lane has a session: nothing valid comes from %s",
			 address_text(&doctor->endpoint, text));
	mended_by(finding, NULL, "at the far end: wgtrunk check");
}

static void report_silent_lane(struct doctor *doctor, unsigned int lane)
{
	const struct found_lane *found = doctor_lane(doctor, lane);
	struct finding *finding;

	finding = report(doctor, WRONG, "%s is active and has no session, others have: what is sent through it is lost",
			 found->link.name);
	mended_by(finding, mend_spare, "wgtrunk check --fix %s makes it spare; see the far end, too",
		  doctor->asked);
	strcpy(finding->dev, found->link.name);
}

/* Silent lanes: those of @silent, some others have a session. */
static void report_silent(struct doctor *doctor, const bool *silent)
{
	unsigned int first = 0, i;
	struct finding *finding;
	bool tail = true;
	char *lanes;

	while (!silent[first])
		first++;
	for (i = first; i < doctor->lanes; i++)
		tail &= silent[i] || !is_active(doctor_lane(doctor, i));
	/* Lanes before the first silent one are all in use: fewer lanes are a way out. */
	if (!tail || !first) {
		for (i = first; i < doctor->lanes; i++)
			if (silent[i])
				report_silent_lane(doctor, i);
		return;
	}
	lanes = lanes_text(doctor, silent);
	finding = report(doctor, WRONG, "%s: active, and no session, as if the far end had only %u lane%s: what is sent there is lost",
			 lanes, first, first == 1 ? "" : "s");
	mended_by(finding, mend_active, "wgtrunk scale %s %u", doctor->asked, first);
	finding->number = first;
	free(lanes);
}

static void check_sessions(struct doctor *doctor)
{
	bool *silent = xalloc(doctor->lanes + 1, sizeof(*silent));
	unsigned int wanted = doctor->configured ? doctor->config.trunk.active : doctor->lanes;
	unsigned int active = 0, quiet = 0, sessions = 0, i;
	struct finding *finding;

	for (i = 0; i < doctor->lanes; i++) {
		active += is_active(doctor_lane(doctor, i));
		sessions += has_session(doctor, i);
	}
	for (i = 0; i < doctor->lanes; i++) {
		silent[i] = is_active(doctor_lane(doctor, i)) && lacks_session(doctor, i, sessions);
		quiet += silent[i];
	}
	if (!active && wanted && doctor->found.link.up) {
		finding = report(doctor, WRONG, "no lane is active: %s sends nothing",
				 doctor->found.name);
		mended_by(finding, mend_active, "wgtrunk scale %s %u", doctor->asked, wanted);
		finding->number = wanted;
	} else if (quiet && !sessions) {
		report_silence(doctor);
	} else if (quiet) {
		report_silent(doctor, silent);
	}
	free(silent);
}

/* --- MTU --- */

/* The largest that lanes can have for one of their packets to be one outside; 0: not known. */
static unsigned int room(const struct doctor *doctor, unsigned int overhead)
{
	return doctor->path_mtu > overhead ? doctor->path_mtu - overhead : 0;
}

static unsigned int overhead_of(const struct doctor *doctor)
{
	return doctor->endpoint.ss_family == AF_INET6 ? OVERHEAD_V6 : OVERHEAD_V4;
}

/* What all lanes should have. As `up`, 80 bytes less than the path: the far end may move. */
static unsigned int right_mtu(const struct doctor *doctor)
{
	const struct found_lane *lane;
	unsigned int highest = 0, i;

	if (doctor->configured && doctor->config.trunk.mtu)
		return doctor->config.trunk.mtu;
	for (i = 0; i < doctor->lanes; i++) {
		lane = doctor_lane(doctor, i);
		if (lane && lane->link.mtu > highest)
			highest = lane->link.mtu;
	}
	if (doctor->path_mtu && highest > room(doctor, overhead_of(doctor)))
		return room(doctor, OVERHEAD_V6);
	return highest;
}

static char *mtu_command(const struct doctor *doctor, const bool *these, unsigned int mtu)
{
	char *list = xstrdup(""), *longer;
	unsigned int count = 0, i;

	for (i = 0; i < doctor->lanes; i++) {
		if (!these[i])
			continue;
		longer = xprintf("%s%s%u", list, count++ ? " " : "", i);
		free(list);
		list = longer;
	}
	if (count == 1)
		longer = xprintf("ip link set dev %s.%s mtu %u", doctor->found.name, list, mtu);
	else
		longer = xprintf("for i in %s; do ip link set dev %s.$i mtu %u; done", list,
				 doctor->found.name, mtu);
	free(list);
	return longer;
}

static void report_mtu(struct doctor *doctor, const bool *these, unsigned int mtu,
		       const char *why)
{
	char *command = mtu_command(doctor, these, mtu);
	char *lanes = lanes_text(doctor, these);
	struct finding *finding = report(doctor, SLOW, "MTU of %s: %s", lanes, why);

	mended_by(finding, mend_mtu, "%s", command);
	finding->number = mtu;
	free(lanes);
	free(command);
}

static void check_lane_mtus(struct doctor *doctor, unsigned int right)
{
	unsigned int max = room(doctor, overhead_of(doctor)), i;
	bool *large = xalloc(doctor->lanes + 1, sizeof(*large));
	bool *other = xalloc(doctor->lanes + 1, sizeof(*other));
	bool any_large = false, any_other = false;
	const struct found_lane *lane;
	char *why;

	for (i = 0; i < doctor->lanes; i++) {
		lane = doctor_lane(doctor, i);
		if (!lane)
			continue;
		large[i] = max && lane->link.mtu > max && lane->link.mtu != right;
		other[i] = !large[i] && lane->link.mtu != right;
		any_large |= large[i];
		any_other |= other[i];
	}
	if (any_large) {
		why = xprintf("with %u bytes around it, more than the %u that go through %s: packets are cut in two",
			      overhead_of(doctor), doctor->path_mtu, doctor->nic);
		report_mtu(doctor, large, right, why);
		free(why);
	}
	if (any_other && !any_large) {
		why = xprintf("not the %u that it should be; %s has the lowest of its lanes",
			      right, doctor->found.name);
		report_mtu(doctor, other, right, why);
		free(why);
	}
	free(large);
	free(other);
}

static void check_mtu(struct doctor *doctor)
{
	unsigned int max = room(doctor, overhead_of(doctor)), right = right_mtu(doctor);
	const struct link *trunk = &doctor->found.link;
	unsigned int lowest = right, i;
	const struct found_lane *lane;
	struct finding *finding;

	if (!right)
		return;
	if (doctor->configured && doctor->config.trunk.mtu && max && right > max) {
		finding = report(doctor, SLOW, "MTU = %u is configured; with %u bytes around it, more than the %u that go through %s: packets are cut in two",
				 right, overhead_of(doctor), doctor->path_mtu, doctor->nic);
		mended_by(finding, NULL, "MTU = auto in %s, then wgtrunk reload %s",
			  doctor->config.path, doctor->asked);
	}
	check_lane_mtus(doctor, right);
	for (i = 0; i < doctor->lanes; i++) {
		lane = doctor_lane(doctor, i);
		if (lane && lane->link.mtu < lowest)
			lowest = lane->link.mtu;
	}
	/* Above it can't be: the kernel sees to that. */
	if (trunk->mtu >= lowest)
		return;
	finding = report(doctor, SLOW, "MTU of %s is %u, its lanes carry %u", trunk->name,
			 trunk->mtu, lowest);
	mended_by(finding, mend_mtu, "ip link set dev %s mtu %u", trunk->name, lowest);
	strcpy(finding->dev, trunk->name);
	finding->number = lowest;
}

/* --- all of it --- */

static bool is_there(struct doctor *doctor)
{
	const struct link *trunk = &doctor->found.link;
	struct finding *finding;

	if (!trunk->index) {
		finding = report(doctor, WRONG, "%s is not up", doctor->found.name);
		mended_by(finding, NULL, "wgtrunk up %s", doctor->asked);
		return false;
	}
	if (!doctor->found.ours) {
		report(doctor, WRONG, "%s was not made by wgtrunk, which leaves it alone",
		       trunk->name);
		return false;
	}
	return true;
}

bool check_trunk(struct doctor *doctor)
{
	unsigned int i;

	if (!is_there(doctor))
		return false;
	if (doctor->begun)
		differs(doctor, "a change was not finished, or is under way");
	check_up(doctor, &doctor->found.link);
	if (doctor->configured)
		check_configuration(doctor);
	for (i = 0; i < doctor->lanes; i++)
		check_lane(doctor, i);
	check_sessions(doctor);
	check_mtu(doctor);
	check_switch(doctor, has_superpackets, "superpackets-out", "it sends packets one by one");
	check_switch(doctor, has_aggregates, "aggregates-in", "it receives packets one by one");
	return true;
}
