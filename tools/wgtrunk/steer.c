// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * What is remembered, in state["settings"], one object for each change:
 *
 *	{"what": "rss", "dev": "eth0", "namespace": 4026531840, "family": "udp4",
 *	 "old": "sd", "new": "sdfn"}
 *	{"what": "rule", "dev": "eth0", "namespace": 4026531840, "family": "udp4",
 *	 "port": 51820, "queue": 2, "location": 1023}
 *
 * Each is saved before the change is made, a rule then without "location". So one
 * that was not made after all may be there, but none is made that is not.
 *
 * Trunks may have a NIC in common. A trunk that finds the hash as another one has set
 * it remembers the same change as its own, and who goes down while others remember a
 * change leaves it to them: the last one puts it back. All of this is done, and saved,
 * under the NIC's lock.
 */

#include <hwloc.h>
#include <stdlib.h>
#include <string.h>

#include "nic.h"
#include "run.h"
#include "steer.h"
#include "sysfile.h"
#include "util.h"

/* All that steer_up() works on. */
struct steer {
	char dev[IFNAMSIZ];
	unsigned int port;
	unsigned int lanes;
	const int *homes;
	struct nic_queue *queues;
	unsigned int queue_count;
	struct nic_rule *rules;
	unsigned int rule_count;
	bool can_rules;
	const char *name;
	json_t *state;
	json_t *settings;
};

const char *steering_text(enum steering steering)
{
	switch (steering) {
	case STEERING_RULES:
		return "by flow rules of the NIC";
	case STEERING_HASH:
		return "by the NIC's hash over ports, and one hand-over";
	default:
		return "by one hand-over";
	}
}

static void look(struct steer *steer, const char *dev)
{
	nic_below(dev, steer->dev);
	steer->queue_count = nic_queues_read(steer->dev, &steer->queues);
	steer->can_rules = nic_rules_read(steer->dev, &steer->rules, &steer->rule_count);
}

static void look_away(struct steer *steer)
{
	free(steer->queues);
	free(steer->rules);
}

/*
 * The queue of a lane: lanes of one CPU share its queues, each the next one. Return:
 * -1 where no queue's interrupt is known to be there.
 */
static int queue_of(const struct steer *steer, unsigned int lane)
{
	unsigned int there = 0, before = 0, i;

	if (steer->homes[lane] < 0)
		return -1;
	for (i = 0; i < steer->queue_count; i++)
		there += steer->queues[i].cpu == steer->homes[lane];
	if (!there)
		return -1;
	for (i = 0; i < lane; i++)
		before += steer->homes[i] == steer->homes[lane];
	before %= there;
	for (i = 0; steer->queues[i].cpu != steer->homes[lane] || before--; i++)
		;
	return i;
}

static const struct nic_rule *find_rule(const struct steer *steer, enum nic_family family,
					unsigned int port)
{
	unsigned int i;

	for (i = 0; i < steer->rule_count; i++)
		if (steer->rules[i].family == family && steer->rules[i].port == port)
			return &steer->rules[i];
	return NULL;
}

/* Whether a rule takes a lane's packets to its home CPU. */
static bool leads_home(const struct steer *steer, const struct nic_rule *rule, unsigned int lane)
{
	return rule && steer->homes[lane] >= 0 && rule->queue < steer->queue_count &&
	       steer->queues[rule->queue].cpu == steer->homes[lane];
}

static bool all_lead_home(const struct steer *steer, enum nic_family family)
{
	unsigned int lane;

	for (lane = 0; lane < steer->lanes; lane++)
		if (!leads_home(steer, find_rule(steer, family, steer->port + lane), lane))
			return false;
	return steer->lanes;
}

/* Of the families that the NIC tells of, all. */
static bool hash_has_ports(const char *dev)
{
	char text[NIC_HASH_TEXT];
	unsigned int told = 0;
	enum nic_family family;

	for (family = 0; family < NIC_FAMILIES; family++)
		if (nic_hash_read(dev, family, text)) {
			if (!nic_hash_has_ports(text))
				return false;
			told++;
		}
	return told && nic_rings(dev) > 1;
}

static enum steering judge(const struct steer *steer)
{
	if (all_lead_home(steer, NIC_UDP4) || all_lead_home(steer, NIC_UDP6))
		return STEERING_RULES;
	return hash_has_ports(steer->dev) ? STEERING_HASH : STEERING_NONE;
}

enum steering steer_now(const char *dev, unsigned int port, unsigned int lanes, const int *homes)
{
	struct steer steer = { .port = port, .lanes = lanes, .homes = homes };
	enum steering steering;

	if (!dev)
		return STEERING_NONE;
	look(&steer, dev);
	steering = judge(&steer);
	look_away(&steer);
	return steering;
}

/* --- what is remembered --- */

static const char *text_of(const json_t *entry, const char *key)
{
	const char *text = json_string_value(json_object_get(entry, key));

	return text ? text : "";
}

static bool is(const json_t *entry, const char *what)
{
	return !strcmp(text_of(entry, "what"), what);
}

static bool family_of(const json_t *entry, enum nic_family *family)
{
	for (*family = 0; *family < NIC_FAMILIES; ++*family)
		if (!strcmp(text_of(entry, "family"), nic_family_text(*family)))
			return true;
	return false;
}

static bool is_rule(const json_t *entry, const struct nic_rule *rule)
{
	json_t *location = json_object_get(entry, "location");
	enum nic_family family;

	return family_of(entry, &family) && family == rule->family &&
	       json_integer_value(json_object_get(entry, "port")) == rule->port &&
	       json_integer_value(json_object_get(entry, "queue")) == (json_int_t)rule->queue &&
	       (!location || json_integer_value(location) == rule->location);
}

static bool save(struct steer *steer)
{
	return run_save(steer->name, steer->state);
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
	const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);

	return x == y || json_equal(x, y);
}

/* What another trunk remembers of the same setting: a new reference, or NULL. */
static json_t *find_others(const char *name, const json_t *entry)
{
	static const char *const keys[] = { "what", "dev", "namespace", "family", "port" };
	json_t *others = run_others(name), *state, *other, *found = NULL;
	size_t i, j, key;

	json_array_foreach(others, i, state)
		json_array_foreach(json_object_get(state, "settings"), j, other) {
			for (key = 0; key < sizeof(keys) / sizeof(*keys) &&
				      same(entry, other, keys[key]); key++)
				;
			if (!found && key == sizeof(keys) / sizeof(*keys))
				found = json_incref(other);
		}
	json_decref(others);
	return found;
}

/* Remove a rule, if it is there and as we made it. */
static void take_back_rule(const json_t *entry)
{
	int port = json_integer_value(json_object_get(entry, "port"));
	const char *dev = text_of(entry, "dev"), *family = text_of(entry, "family");
	const struct nic_rule *rule = NULL;
	struct nic_rule *rules;
	unsigned int count, i;
	bool other = false;

	if (!nic_rules_read(dev, &rules, &count)) {
		note("%s: the flow rule for %s to port %d can't be looked for, and stays if it is there",
		     dev, family, port);
		return;
	}
	for (i = 0; i < count; i++) {
		if (is_rule(entry, &rules[i]))
			rule = &rules[i];
		other |= rules[i].port == (unsigned int)port &&
			 !strcmp(nic_family_text(rules[i].family), family);
	}
	if (rule && !nic_rule_remove(dev, rule->location))
		note("%s: the flow rule for %s to port %d can't be removed", dev, family, port);
	else if (!rule && other)
		note("%s: the flow rule for %s to port %d leads elsewhere now, and stays", dev,
		     family, port);
	free(rules);
}

static void take_back_hash(const json_t *entry)
{
	const char *dev = text_of(entry, "dev"), *old = text_of(entry, "old");
	const char *new = text_of(entry, "new");
	char now[NIC_HASH_TEXT];
	enum nic_family family;

	if (!family_of(entry, &family))
		return;
	if (!nic_hash_read(dev, family, now))
		note("%s: by what %s is spread can't be found out any more; it was %s", dev,
		     nic_family_text(family), old);
	else if (!strcmp(now, new) && !nic_hash_set(dev, family, old))
		note("%s: %s is still spread by %s, and was by %s: it can't be changed", dev,
		     nic_family_text(family), now, old);
	else if (strcmp(now, new) && strcmp(now, old))
		note("%s: %s is spread by %s now, which somebody else has set, and stays; it was %s",
		     dev, nic_family_text(family), now, old);
}

/* The NIC's lock is held. */
static void take_back(const char *name, const json_t *entry)
{
	json_t *others = find_others(name, entry);

	if (!others && is(entry, "rule"))
		take_back_rule(entry);
	else if (!others && is(entry, "rss"))
		take_back_hash(entry);
	json_decref(others);
}

static bool is_of_this_namespace(const json_t *entry)
{
	return json_integer_value(json_object_get(entry, "namespace")) == run_namespace();
}

/*
 * The same of a NIC that nobody has locked yet; it may be gone, and all that was set with it.
 * What was set in another namespace is put back from there.
 */
static void take_back_elsewhere(const char *name, json_t *state, json_t *settings, size_t i)
{
	json_t *entry = json_array_get(settings, i);
	const char *dev = text_of(entry, "dev");
	int lock = -1;

	if (!is_of_this_namespace(entry))
		return;
	if (if_nametoindex(dev)) {
		lock = run_lock_nic(dev, name);
		take_back(name, entry);
	}
	json_array_remove(settings, i);
	/* Or another trunk would leave it to this one. */
	run_save(name, state);
	run_unlock(lock);
}

void steer_down(const char *name, json_t *state)
{
	json_t *settings = json_object_get(state, "settings");
	size_t i = json_array_size(settings);

	while (i--)
		take_back_elsewhere(name, state, settings, i);
}

/* --- changes --- */

static bool is_here(const struct steer *steer, const json_t *entry)
{
	return !strcmp(text_of(entry, "dev"), steer->dev) && is_of_this_namespace(entry);
}

static json_t *find_hash_entry(const struct steer *steer, enum nic_family family)
{
	json_t *entry;
	size_t i;

	json_array_foreach(steer->settings, i, entry)
		if (is(entry, "rss") && is_here(steer, entry) &&
		    !strcmp(text_of(entry, "family"), nic_family_text(family)))
			return entry;
	return NULL;
}

static void forget(struct steer *steer, const json_t *entry)
{
	json_t *other;
	size_t i;

	json_array_foreach(steer->settings, i, other)
		if (other == entry) {
			json_array_remove(steer->settings, i);
			break;
		}
	save(steer);
}

/* Ports are in the hash, maybe because another trunk has put them there. */
static void share_hash(struct steer *steer, json_t *entry, const char *now)
{
	json_t *others = find_others(steer->name, entry);

	if (others && !strcmp(text_of(others, "new"), now)) {
		json_object_set(entry, "old", json_object_get(others, "old"));
		json_object_set(entry, "new", json_object_get(others, "new"));
		json_array_append(steer->settings, entry);
		save(steer);
	}
	json_decref(others);
}

static void set_hash(struct steer *steer, enum nic_family family)
{
	json_t *entry = find_hash_entry(steer, family), *fresh = NULL;
	char now[NIC_HASH_TEXT];

	/* Over a single queue nothing is spread. */
	if (nic_rings(steer->dev) == 1 || !nic_hash_read(steer->dev, family, now))
		return;
	if (!entry)
		fresh = json_pack("{sssssIss}", "what", "rss", "dev", steer->dev, "namespace",
				  run_namespace(), "family", nic_family_text(family));
	if (nic_hash_has_ports(now)) {
		if (fresh)
			share_hash(steer, fresh, now);
		json_decref(fresh);
		return;
	}
	if (fresh) {
		json_array_append_new(steer->settings, fresh);
		entry = fresh;
	}
	/* Somebody may have changed it since: what is there now is theirs. */
	json_object_set_new(entry, "old", json_string(now));
	json_object_set_new(entry, "new", json_string(NIC_HASH_PORTS));
	if (!save(steer) || !nic_hash_set(steer->dev, family, NIC_HASH_PORTS))
		forget(steer, entry);
}

/* Our rule for a lane, as it is remembered. */
static json_t *find_rule_entry(const struct steer *steer, enum nic_family family, unsigned int port)
{
	json_t *entry;
	size_t i;

	json_array_foreach(steer->settings, i, entry)
		if (is(entry, "rule") && is_here(steer, entry) &&
		    !strcmp(text_of(entry, "family"), nic_family_text(family)) &&
		    json_integer_value(json_object_get(entry, "port")) == port)
			return entry;
	return NULL;
}

/* Whether a rule that is remembered would be made today, too. */
static bool is_wanted(const struct steer *steer, const json_t *entry)
{
	json_int_t port = json_integer_value(json_object_get(entry, "port"));
	json_int_t queue = json_integer_value(json_object_get(entry, "queue"));

	if (!is(entry, "rule") || port < steer->port ||
	    port >= steer->port + steer->lanes)
		return false;
	return queue >= 0 && queue < steer->queue_count &&
	       steer->homes[port - steer->port] >= 0 &&
	       steer->queues[queue].cpu == steer->homes[port - steer->port];
}

/* All that was done to another NIC. Locks that one, so this one is not locked yet. */
static void take_back_all_elsewhere(struct steer *steer)
{
	size_t i = json_array_size(steer->settings);

	while (i--)
		if (!is_here(steer, json_array_get(steer->settings, i)))
			take_back_elsewhere(steer->name, steer->state, steer->settings, i);
}

/* Rules of lanes that are gone or have moved. */
static void take_back_old(struct steer *steer)
{
	size_t i = json_array_size(steer->settings), before = i;
	json_t *entry;

	while (i--) {
		entry = json_array_get(steer->settings, i);
		if (!is_here(steer, entry) || is(entry, "rss") || is_wanted(steer, entry))
			continue;
		take_back(steer->name, entry);
		json_array_remove(steer->settings, i);
	}
	if (json_array_size(steer->settings) != before)
		save(steer);
}

static void add_rule(struct steer *steer, enum nic_family family, unsigned int lane)
{
	const struct nic_rule *there = find_rule(steer, family, steer->port + lane);
	json_t *entry = find_rule_entry(steer, family, steer->port + lane);
	struct nic_rule rule = { .family = family, .port = steer->port + lane };
	int queue = queue_of(steer, lane);

	if (there && entry && !json_object_get(entry, "location") && is_rule(entry, there)) {
		/* Made, but not known to be when we were killed. */
		json_object_set_new(entry, "location", json_integer(there->location));
		save(steer);
	}
	/* One that is not ours is left alone: `check` tells of it where it is wrong. */
	if (queue < 0 || there)
		return;
	rule.queue = queue;
	if (entry)
		json_object_del(entry, "location");
	else
		json_array_append_new(steer->settings, entry = json_pack("{sssssIsssi}",
				      "what", "rule", "dev", steer->dev, "namespace",
				      run_namespace(), "family", nic_family_text(family), "port",
				      (int)rule.port));
	json_object_set_new(entry, "queue", json_integer(rule.queue));
	if (!save(steer) || !nic_rule_add(steer->dev, &rule)) {
		forget(steer, entry);
		return;
	}
	json_object_set_new(entry, "location", json_integer(rule.location));
	save(steer);
}

static void read_rules_again(struct steer *steer)
{
	free(steer->rules);
	steer->can_rules = nic_rules_read(steer->dev, &steer->rules, &steer->rule_count);
}

static void add_rules(struct steer *steer)
{
	enum nic_family family;
	unsigned int lane;

	for (family = 0; family < NIC_FAMILIES; family++)
		for (lane = 0; lane < steer->lanes; lane++)
			add_rule(steer, family, lane);
}

void steer_up(const char *dev, const struct config *config, const int *homes, const char *name,
	      json_t *state)
{
	struct steer steer = {
		.port = config->trunk.port,
		.lanes = config->trunk.lanes,
		.homes = homes,
		.name = name,
		.state = state,
		.settings = json_object_get(state, "settings"),
	};
	enum nic_family family;
	int lock;

	if (!dev)
		return;
	if (!steer.settings) {
		steer.settings = json_array();
		json_object_set_new(state, "settings", steer.settings);
	}
	nic_below(dev, steer.dev);
	take_back_all_elsewhere(&steer);
	lock = run_lock_nic(steer.dev, name);
	if (lock < 0)
		return;
	look(&steer, dev);
	for (family = 0; family < NIC_FAMILIES; family++)
		set_hash(&steer, family);
	take_back_old(&steer);
	read_rules_again(&steer);
	if (steer.can_rules)
		add_rules(&steer);
	look_away(&steer);
	run_unlock(lock);
}

/* --- home CPUs --- */

static hwloc_topology_t load_topology(void)
{
	hwloc_topology_t topology;

	if (hwloc_topology_init(&topology))
		return NULL;
	if (!hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) &&
	    !hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL) &&
	    !hwloc_topology_load(topology))
		return topology;
	hwloc_topology_destroy(topology);
	return NULL;
}

/*
 * One hardware thread of each core, those that are online and may be used, in the
 * topology's order, in which neighbours are near each other. Return: how many.
 */
static unsigned int one_of_each_core(hwloc_topology_t topology, int **cpus)
{
	int type = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE :
									     HWLOC_OBJ_PU;
	int cores = hwloc_get_nbobjs_by_type(topology, type), i, cpu;
	hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
	unsigned int count = 0;
	hwloc_obj_t core;

	*cpus = xalloc(cores > 0 ? cores : 1, sizeof(**cpus));
	for (i = 0; allowed && i < cores; i++) {
		core = hwloc_get_obj_by_type(topology, type, i);
		if (!core)
			continue;
		hwloc_bitmap_and(allowed, core->cpuset,
				 hwloc_topology_get_allowed_cpuset(topology));
		cpu = hwloc_bitmap_first(allowed);
		if (cpu >= 0)
			(*cpus)[count++] = cpu;
	}
	hwloc_bitmap_free(allowed);
	return count;
}

static void near_first(const char *dev, int *cpus, unsigned int count)
{
	int *sorted = xalloc(count, sizeof(*sorted));
	struct cpu_list near = { };
	char below[IFNAMSIZ];
	unsigned int n = 0, i;

	nic_below(dev, below);
	if (sys_cpus(&near, "/sys/class/net/%s/device/local_cpulist", below)) {
		for (i = 0; i < count; i++)
			if (cpu_list_has(&near, cpus[i]))
				sorted[n++] = cpus[i];
		for (i = 0; i < count; i++)
			if (!cpu_list_has(&near, cpus[i]))
				sorted[n++] = cpus[i];
		memcpy(cpus, sorted, count * sizeof(*cpus));
	}
	cpu_list_free(&near);
	free(sorted);
}

bool homes_auto(const char *dev, int *homes, unsigned int lanes)
{
	hwloc_topology_t topology = load_topology();
	unsigned int count, i;
	int *cpus;

	if (!topology)
		return fail(NULL, 0, "which CPUs there are can't be found out");
	count = one_of_each_core(topology, &cpus);
	hwloc_topology_destroy(topology);
	if (count && dev)
		near_first(dev, cpus, count);
	for (i = 0; count && i < lanes; i++)
		homes[i] = cpus[i % count];
	free(cpus);
	return count || fail(NULL, 0, "there is no CPU that may be used");
}
