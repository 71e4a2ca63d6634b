// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/* What `wgtrunk check --fix` does about its findings. */

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "doctor.h"
#include "nic.h"
#include "run.h"
#include "steer.h"
#include "sysfile.h"
#include "util.h"

extern char **environ;

bool mend_reload(struct doctor *doctor, const struct finding *finding)
{
	(void)finding;
	return doctor->reload(doctor->kernel, doctor->asked);
}

/* The trunk, as it was looked at, must not be changed by somebody else meanwhile. */
static bool locked(struct doctor *doctor, const struct finding *finding, mend_function mend)
{
	int lock = run_lock(doctor->found.name, "check --fix");
	bool good;

	if (lock < 0)
		return false;
	good = mend(doctor, finding);
	run_unlock(lock);
	return good;
}

/* The same as `up` does, so that `down` puts back what was there. */
static bool steer(struct doctor *doctor, const struct finding *finding)
{
	struct config config = { .trunk = { .port = doctor->port, .lanes = doctor->lanes } };
	json_t *state = run_load(doctor->found.name);

	(void)finding;
	if (!state)
		return false;
	if (!json_object_get(state, "complete")) {
		json_object_set_new(state, "complete", json_true());
		json_object_set_new(state, "namespace", json_integer(run_namespace()));
	}
	steer_up(doctor->nic, &config, doctor->homes, doctor->found.name, state);
	json_decref(state);
	return true;
}

bool mend_steering(struct doctor *doctor, const struct finding *finding)
{
	return locked(doctor, finding, steer);
}

/* The rule in its place, if it is still the one that was found. */
static bool remove_rule(const struct finding *finding)
{
	struct nic_rule *rules;
	unsigned int count, i;
	bool good = false;
	char *text;

	nic_rules_read(finding->dev, &rules, &count);
	for (i = 0; i < count && rules[i].location != finding->number; i++)
		;
	text = i < count ? nic_rule_text(&rules[i]) : NULL;
	if (!text || strcmp(text, finding->key))
		fail(finding->dev, 0, "rule %ld was changed meanwhile", finding->number);
	else if (!nic_rule_remove(finding->dev, finding->number))
		fail(finding->dev, 0, "rule %ld can't be removed", finding->number);
	else
		good = true;
	free(text);
	free(rules);
	return good;
}

static bool replace_rule(struct doctor *doctor, const struct finding *finding)
{
	int lock = run_lock_nic(finding->dev, doctor->found.name);
	bool good = lock >= 0 && remove_rule(finding);

	run_unlock(lock);
	return good && steer(doctor, finding);
}

bool mend_rule(struct doctor *doctor, const struct finding *finding)
{
	return locked(doctor, finding, replace_rule);
}

bool mend_feature(struct doctor *doctor, const struct finding *finding)
{
	(void)doctor;
	return nic_feature_on(finding->dev, finding->key);
}

bool mend_private(struct doctor *doctor, const struct finding *finding)
{
	(void)doctor;
	return nic_private_on(finding->dev, finding->key);
}

bool mend_channels(struct doctor *doctor, const struct finding *finding)
{
	(void)doctor;
	return nic_channels_set(finding->dev, finding->number);
}

bool mend_file(struct doctor *doctor, const struct finding *finding)
{
	char text[24];

	(void)doctor;
	snprintf(text, sizeof(text), "%ld\n", finding->number);
	return sys_write(finding->key, text);
}

static bool set_up(struct doctor *doctor, const struct finding *finding)
{
	return link_set_up(doctor->kernel, finding->dev, true);
}

bool mend_up(struct doctor *doctor, const struct finding *finding)
{
	return locked(doctor, finding, set_up);
}

static bool set_master(struct doctor *doctor, const struct finding *finding)
{
	/* It sends once reload, or somebody, has seen that it has a session. */
	return link_set_master(doctor->kernel, finding->dev, doctor->found.link.index) &&
	       place_set(doctor->kernel, finding->dev, PLACE_KEEP, 0);
}

bool mend_master(struct doctor *doctor, const struct finding *finding)
{
	return locked(doctor, finding, set_master) &&
	       (!doctor->configured || mend_reload(doctor, finding));
}

static bool set_mtu(struct doctor *doctor, const struct finding *finding)
{
	const struct found_lane *lane;
	unsigned int i;
	bool good = true;

	if (finding->dev[0])
		return link_set_mtu(doctor->kernel, finding->dev, finding->number);
	for (i = 0; i < doctor->lanes; i++) {
		lane = doctor_lane(doctor, i);
		if (lane && lane->link.mtu != finding->number)
			good &= link_set_mtu(doctor->kernel, lane->link.name, finding->number);
	}
	return good;
}

bool mend_mtu(struct doctor *doctor, const struct finding *finding)
{
	return locked(doctor, finding, set_mtu);
}

static bool set_home(struct doctor *doctor, const struct finding *finding)
{
	const struct found_lane *lane;
	unsigned int i;

	if (!place_set(doctor->kernel, finding->dev, finding->number, PLACE_KEEP))
		return false;
	/* Rules that are made in this round are for where lanes are now. */
	for (i = 0; i < doctor->lanes; i++) {
		lane = doctor_lane(doctor, i);
		if (lane && !strcmp(lane->link.name, finding->dev))
			doctor->homes[i] = finding->number;
	}
	return true;
}

bool mend_home(struct doctor *doctor, const struct finding *finding)
{
	return locked(doctor, finding, set_home);
}

static bool set_active(struct doctor *doctor, const struct finding *finding)
{
	const struct found_lane *lane;
	bool good = true;
	unsigned int i;

	for (i = 0; i < doctor->lanes; i++) {
		lane = doctor_lane(doctor, i);
		if (lane && lane->place.active != (i < finding->number))
			good &= place_set(doctor->kernel, lane->link.name, PLACE_KEEP,
					  i < finding->number);
	}
	return good;
}

bool mend_active(struct doctor *doctor, const struct finding *finding)
{
	return locked(doctor, finding, set_active);
}

static bool set_spare(struct doctor *doctor, const struct finding *finding)
{
	return place_set(doctor->kernel, finding->dev, PLACE_KEEP, 0);
}

bool mend_spare(struct doctor *doctor, const struct finding *finding)
{
	return locked(doctor, finding, set_spare);
}

bool mend_modules(struct doctor *doctor, const struct finding *finding)
{
	char *argv[] = { "depmod", "-a", NULL };
	int error, status;
	pid_t pid;

	(void)doctor;
	(void)finding;
	error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (error)
		return fail(argv[0], 0, "%s", strerror(error));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return (WIFEXITED(status) && !WEXITSTATUS(status)) || fail(argv[0], 0, "it failed");
}
