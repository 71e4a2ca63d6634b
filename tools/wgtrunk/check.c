// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "doctor.h"
#include "nic.h"
#include "run.h"
#include "util.h"

/* What is mended can bring up the next thing: more queues, then their interrupts, then rules. */
#define ROUNDS	6

/* --- for the checks --- */

struct finding *report(struct doctor *doctor, enum severity severity, const char *format, ...)
{
	struct finding *finding;
	va_list args;

	doctor->findings = xrealloc(doctor->findings, doctor->count + 1, sizeof(*finding));
	finding = &doctor->findings[doctor->count++];
	memset(finding, 0, sizeof(*finding));
	finding->severity = severity;
	va_start(args, format);
	if (vasprintf(&finding->what, format, args) < 0)
		finding->what = xstrdup("no memory");
	va_end(args);
	return finding;
}

void mended_by(struct finding *finding, mend_function mend, const char *format, ...)
{
	va_list args;

	finding->mend = mend;
	va_start(args, format);
	if (vasprintf(&finding->command, format, args) < 0)
		finding->command = NULL;
	va_end(args);
}

const struct found_lane *doctor_lane(const struct doctor *doctor, unsigned int lane)
{
	const struct found_lane *found = &doctor->found.lane[lane];

	return lane < doctor->found.lanes && found->link.index && found->ours ? found : NULL;
}

const struct link *doctor_link(const struct doctor *doctor, unsigned int index)
{
	unsigned int i;

	for (i = 0; index && i < doctor->link_count; i++)
		if (doctor->links[i].index == index)
			return &doctor->links[i];
	return NULL;
}

char *lanes_text(const struct doctor *doctor, const bool *these)
{
	char *text = xstrdup(""), *longer;
	unsigned int first, last;

	for (first = 0; first < doctor->lanes; first = last + 1) {
		last = first;
		if (!these[first])
			continue;
		while (last + 1 < doctor->lanes && these[last + 1])
			last++;
		longer = xprintf("%s%s%s.%u", text, *text ? ", " : "", doctor->found.name, first);
		free(text);
		text = longer;
		if (last == first)
			continue;
		longer = xprintf("%s to %s.%u", text, doctor->found.name, last);
		free(text);
		text = longer;
	}
	return text;
}

const char *address_text(const struct sockaddr_storage *address, char *text)
{
	const void *bytes = address->ss_family == AF_INET6 ?
		(const void *)&((const struct sockaddr_in6 *)address)->sin6_addr :
		(const void *)&((const struct sockaddr_in *)address)->sin_addr;

	strcpy(text, "?");
	inet_ntop(address->ss_family, bytes, text, INET6_ADDRSTRLEN);
	return text;
}

/* --- what is known of a trunk --- */

static void forget_findings(struct finding *findings, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		free(findings[i].what);
		free(findings[i].command);
		free(findings[i].key);
	}
	free(findings);
}

/* The configuration is not there for a trunk that was made from another place. */
static void read_config(struct doctor *doctor)
{
	char *path = strchr(doctor->asked, '/') ? xstrdup(doctor->asked) :
						  xprintf(CONFIG_FOLDER "/%s.conf", doctor->asked);

	if (access(path, F_OK))
		report(doctor, NOTE, "there is no %s: nothing can be compared with it", path);
	else if (config_read(doctor->asked, &doctor->config))
		doctor->configured = true;
	else
		report(doctor, WRONG, "%s can't be used, see the message", path);
	free(path);
}

/* NAME of it, or of /some/where/NAME.conf. */
static char *name_of(const char *asked)
{
	const char *slash = strrchr(asked, '/'), *base = slash ? slash + 1 : asked;
	size_t len = strlen(base);

	if (slash && len > 5 && !strcmp(base + len - 5, ".conf"))
		len -= 5;
	return xprintf("%.*s", (int)len, base);
}

static void find_way(struct doctor *doctor)
{
	const struct found_lane *lane;
	const struct link *link;
	unsigned int i, index, mtu;

	for (i = 0; i < doctor->lanes && !doctor->endpoint.ss_family; i++) {
		lane = doctor_lane(doctor, i);
		if (lane && lane->tunnel.count)
			doctor->endpoint = lane->tunnel.peers[0].endpoint;
	}
	if (!doctor->endpoint.ss_family ||
	    !route_get(doctor->kernel, &doctor->endpoint, &index, &mtu))
		return;
	doctor->routed = true;
	link = doctor_link(doctor, index);
	if (!link)
		return;
	strcpy(doctor->nic, link->name);
	nic_below(doctor->nic, doctor->base);
	doctor->path_mtu = mtu && mtu < link->mtu ? mtu : link->mtu;
}

/* What has its name and no alias is ours, too, if wgtrunk was killed before it gave it one. */
static bool find_trunk(struct doctor *doctor, const char *name)
{
	json_t *state = run_load(name);
	bool good;

	if (!state)
		return false;
	doctor->begun = run_begun(name, state);
	json_decref(state);
	good = found_read(doctor->kernel, name, doctor->begun, &doctor->found);
	return good && links_read(doctor->kernel, &doctor->links, &doctor->link_count);
}

static bool read_all(struct doctor *doctor)
{
	char *name = name_of(doctor->asked);
	const struct found_lane *lane;
	unsigned int i;
	bool good;

	read_config(doctor);
	good = find_trunk(doctor, name);
	free(name);
	if (!good)
		return false;
	doctor->lanes = doctor->configured ? doctor->config.trunk.lanes : doctor->found.lanes;
	lane = doctor_lane(doctor, 0);
	if (doctor->configured)
		doctor->port = doctor->config.trunk.port;
	else if (lane)
		doctor->port = lane->tunnel.port;
	doctor->homes = xalloc(doctor->lanes + 1, sizeof(*doctor->homes));
	for (i = 0; i < doctor->lanes; i++) {
		lane = doctor_lane(doctor, i);
		doctor->homes[i] = lane ? lane->place.home : -1;
	}
	find_way(doctor);
	return true;
}

static void look_away(struct doctor *doctor)
{
	config_free(&doctor->config);
	found_free(&doctor->found);
	free(doctor->links);
	free(doctor->homes);
	forget_findings(doctor->findings, doctor->count);
}

/* --- what was found, over all rounds --- */

struct known {
	enum severity severity;
	char *what;
	char *command;
	bool mendable;
	bool tried;
	bool there;
};

struct record {
	struct known *known;
	unsigned int count;
};

static struct known *find_known(struct record *record, const char *what)
{
	unsigned int i;

	for (i = 0; i < record->count; i++)
		if (!strcmp(record->known[i].what, what))
			return &record->known[i];
	return NULL;
}

static void add_known(struct record *record, const struct finding *finding)
{
	struct known *known;

	record->known = xrealloc(record->known, record->count + 1, sizeof(*record->known));
	known = &record->known[record->count++];
	*known = (struct known){
		.severity = finding->severity,
		.what = xstrdup(finding->what),
		.command = finding->command ? xstrdup(finding->command) : NULL,
		.mendable = finding->mend,
	};
}

static void keep(struct record *record, const struct doctor *doctor)
{
	unsigned int i;

	for (i = 0; i < record->count; i++)
		record->known[i].there = false;
	for (i = 0; i < doctor->count; i++) {
		if (!find_known(record, doctor->findings[i].what))
			add_known(record, &doctor->findings[i]);
		find_known(record, doctor->findings[i].what)->there = true;
	}
}

static bool is_untried(struct record *record, const struct finding *finding)
{
	return finding->mend && !find_known(record, finding->what)->tried;
}

/*
 * A reload changes much: what else is wrong is looked at again after it. Return: whether
 * there was one.
 */
static bool mend_by_reload(struct record *record, struct doctor *doctor)
{
	const struct finding *first = NULL;
	unsigned int i;

	for (i = 0; i < doctor->count; i++) {
		if (doctor->findings[i].mend != mend_reload ||
		    !is_untried(record, &doctor->findings[i]))
			continue;
		find_known(record, doctor->findings[i].what)->tried = true;
		if (!first)
			first = &doctor->findings[i];
	}
	if (first)
		mend_reload(doctor, first);
	return first;
}

/* Return: whether anything was tried that was not before. */
static bool mend_all(struct record *record, struct doctor *doctor)
{
	bool tried = false;
	unsigned int i;

	if (mend_by_reload(record, doctor))
		return true;
	for (i = 0; i < doctor->count; i++) {
		if (!is_untried(record, &doctor->findings[i]))
			continue;
		tried = true;
		find_known(record, doctor->findings[i].what)->tried = true;
		doctor->findings[i].mend(doctor, &doctor->findings[i]);
	}
	return tried;
}

/**
 * struct tally - what is to be said at the end
 * @left: findings that count
 * @mendable: of them, those that `--fix` mends
 */
struct tally {
	unsigned int left;
	unsigned int mendable;
};

static void print(const struct record *record, bool fix, struct tally *tally)
{
	static const char *const words[] = { [NOTE] = "note", [SLOW] = "slow", [WRONG] = "wrong" };
	const struct known *known;
	unsigned int i;

	for (i = 0; i < record->count; i++) {
		known = &record->known[i];
		tally->left += known->there && known->severity != NOTE;
		tally->mendable += known->there && known->mendable;
		printf("  %-6s %s\n", fix && !known->there ? "mended" : words[known->severity],
		       known->what);
		if (known->command && known->there)
			printf("         %s\n", known->command);
	}
	if (!record->count)
		printf("  nothing found\n");
}

static void forget(struct record *record)
{
	unsigned int i;

	for (i = 0; i < record->count; i++) {
		free(record->known[i].what);
		free(record->known[i].command);
	}
	free(record->known);
}

/* --- one trunk --- */

static void print_title(const struct doctor *doctor)
{
	char text[INET6_ADDRSTRLEN];

	printf("%s: %u lane%s", doctor->found.name, doctor->lanes, doctor->lanes == 1 ? "" : "s");
	if (doctor->nic[0])
		printf(", by %s", doctor->nic);
	if (doctor->endpoint.ss_family)
		printf(" to %s", address_text(&doctor->endpoint, text));
	putchar('\n');
}

static bool look(struct doctor *doctor, bool title)
{
	if (!read_all(doctor))
		return false;
	if (title)
		print_title(doctor);
	if (check_trunk(doctor))
		check_host(doctor);
	return true;
}

/* Return: whether it could be looked at; adds to @tally. */
static bool check_one(const struct doctor *as, bool fix, struct tally *tally)
{
	struct record record = { };
	bool good, again = true;
	unsigned int round;

	for (round = 0; again && round < ROUNDS; round++) {
		struct doctor doctor = *as;

		good = look(&doctor, !round);
		if (good)
			keep(&record, &doctor);
		again = good && fix && round + 1 < ROUNDS && mend_all(&record, &doctor);
		look_away(&doctor);
	}
	if (good)
		print(&record, fix, tally);
	forget(&record);
	return good;
}

static void check_the_module(struct doctor *doctor, bool fix, struct tally *tally)
{
	struct record record = { };

	check_module(doctor);
	keep(&record, doctor);
	if (fix && mend_all(&record, doctor)) {
		forget_findings(doctor->findings, doctor->count);
		doctor->findings = NULL;
		doctor->count = 0;
		check_module(doctor);
		keep(&record, doctor);
	}
	if (record.count) {
		puts("module wireguard");
		print(&record, fix, tally);
	}
	forget(&record);
	forget_findings(doctor->findings, doctor->count);
	doctor->findings = NULL;
	doctor->count = 0;
}

static bool check_all(struct doctor *doctor, bool fix, struct tally *tally)
{
	unsigned int count = 0, i;
	char **names = NULL;
	bool good = found_names(doctor->kernel, &names, &count);

	for (i = 0; good && i < count; i++) {
		doctor->asked = names[i];
		good = check_one(doctor, fix, tally);
	}
	if (good && !count)
		puts("no trunk is up");
	for (i = 0; i < count; i++)
		free(names[i]);
	free(names);
	return good;
}

int check_run(struct kernel *kernel, const char *name, bool fix,
	      bool (*reload)(struct kernel *kernel, const char *name))
{
	struct doctor doctor = { .kernel = kernel, .asked = name, .reload = reload };
	struct tally tally = { };
	bool good = true;

	check_the_module(&doctor, fix, &tally);
	/* Another module can't be asked. Without any, a trunk that was asked for is not up. */
	if (kernel->lane || (name && !tally.left))
		good = name ? check_one(&doctor, fix, &tally) : check_all(&doctor, fix, &tally);
	if (tally.left)
		printf("%u %s", tally.left, fix ? "left" : "found");
	if (tally.left && !fix && tally.mendable)
		printf("; what can be mended is, by: wgtrunk check%s%s --fix", name ? " " : "",
		       name ? name : "");
	if (tally.left)
		putchar('\n');
	return tally.left || !good;
}
