// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys.h"
#include "run.h"
#include "util.h"

static char *path_of(const char *name, const char *what)
{
	return xprintf(RUN_FOLDER "/%s.%s", name, what);
}

static bool make_folder(void)
{
	return !mkdir(RUN_FOLDER, 0700) || errno == EEXIST ||
	       fail(RUN_FOLDER, 0, "%s", strerror(errno));
}

/* Who has it wrote that into it. */
static bool wait_for(int lock, const char *name)
{
	char who[128] = "";
	ssize_t length = pread(lock, who, sizeof(who) - 1, 0);

	who[length > 0 ? strcspn(who, "\n") : 0] = '\0';
	fprintf(stderr, "wgtrunk: waiting for %s, which is changing %s\n", *who ? who : "another",
		name);
	while (flock(lock, LOCK_EX))
		if (errno != EINTR)
			return fail(NULL, 0, "could not wait for it: %s", strerror(errno));
	return true;
}

/* @file: in our folder; @what: is changed by who has it; @who: that is us. */
static int lock_file(const char *file, const char *what, const char *who)
{
	char *path = path_of(file, "lock");
	int lock = -1;

	if (make_folder())
		lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0)
		fail(path, 0, "%s", strerror(errno));
	free(path);
	if (lock < 0)
		return -1;
	if (flock(lock, LOCK_EX | LOCK_NB) && !wait_for(lock, what)) {
		close(lock);
		return -1;
	}
	if (ftruncate(lock, 0) ||
	    dprintf(lock, "wgtrunk %s, process %d\n", who, (int)getpid()) < 0)
		fail(NULL, 0, "others won't see who holds the lock: %s", strerror(errno));
	return lock;
}

int run_lock(const char *name, const char *command)
{
	return lock_file(name, name, command);
}

json_int_t run_namespace(void)
{
	struct stat stat_;

	return stat("/proc/self/ns/net", &stat_) ? 0 : (json_int_t)stat_.st_ino;
}

int run_lock_nic(const char *dev, const char *name)
{
	/* Longer than names of trunks can be. */
	char *file = xprintf("nic.%s.%lld", dev, (long long)run_namespace());
	char *who = xprintf("for %s", name);
	int lock = lock_file(file, dev, who);

	free(file);
	free(who);
	return lock;
}

void run_unlock(int lock)
{
	if (lock < 0)
		return;
	/* The file stays: who waits for it has it open. */
	if (ftruncate(lock, 0))
		fail(NULL, 0, "the lock's file still has our name: %s", strerror(errno));
	close(lock);
}

json_t *run_load(const char *name)
{
	char *path = path_of(name, "json");
	json_error_t error;
	json_t *state = NULL;

	if (access(path, F_OK) && errno == ENOENT) {
		state = json_object();
	} else {
		state = json_load_file(path, 0, &error);
		if (!state)
			fail(path, error.line > 0 ? error.line : 0,
			     "%s; remove it, and look after what up changed on this host yourself",
			     error.text);
		else if (!json_is_object(state)) {
			fail(path, 0, "no object");
			json_decref(state);
			state = NULL;
		}
	}
	free(path);
	return state;
}

json_t *run_others(const char *name)
{
	char *own = xprintf("%s.json", name), *path;
	json_t *others = json_array(), *state;
	DIR *dir = opendir(RUN_FOLDER);
	struct dirent *entry;
	size_t length;

	while (dir && (entry = readdir(dir))) {
		length = strlen(entry->d_name);
		if (!strcmp(entry->d_name, own) || length < 5 ||
		    strcmp(entry->d_name + length - 5, ".json"))
			continue;
		path = xprintf(RUN_FOLDER "/%s", entry->d_name);
		state = json_load_file(path, 0, NULL);
		free(path);
		if (state)
			json_array_append_new(others, state);
	}
	if (dir)
		closedir(dir);
	free(own);
	return others;
}

bool run_is_here(const json_t *state)
{
	const json_t *namespace = json_object_get(state, "namespace");

	return !namespace || json_integer_value(namespace) == run_namespace();
}

bool run_remembered(const char *name, const json_t *state)
{
	const json_t *settings = json_object_get(state, "settings"), *entry;
	char *path = path_of(name, "json");
	bool there = !access(path, F_OK), here = false;
	size_t i;

	free(path);
	json_array_foreach(settings, i, entry)
		here |= json_integer_value(json_object_get(entry, "namespace")) == run_namespace();
	/* Where only another's settings are left, none is named as the last one. */
	if (!json_object_get(state, "namespace") && json_array_size(settings))
		return there && here;
	return there && (here || run_is_here(state));
}

unsigned int run_begun(const char *name, json_t *state)
{
	json_int_t lanes = json_integer_value(json_object_get(state, "lanes"));

	if (!run_remembered(name, state) || !run_is_here(state) ||
	    json_is_true(json_object_get(state, "complete")))
		return 0;
	return lanes > 0 && lanes < LANES_MAX ? lanes : LANES_MAX;
}

bool run_save(const char *name, json_t *state)
{
	char *path = path_of(name, "json"), *new = path_of(name, "json.new");
	bool good = make_folder();

	if (good && (json_dump_file(state, new, JSON_INDENT(1) | JSON_SORT_KEYS) ||
		     rename(new, path))) {
		good = fail(path, 0, "can't be written: %s", strerror(errno));
		unlink(new);
	}
	free(path);
	free(new);
	return good;
}

void run_forget(const char *name)
{
	char *path = path_of(name, "json");

	if (unlink(path) && errno != ENOENT)
		fail(path, 0, "%s", strerror(errno));
	free(path);
}
