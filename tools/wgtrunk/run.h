/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * What wgtrunk has in /run/wgtrunk: a lock for each trunk that is being changed,
 * and what it did on the host, so that `down` can put it back.
 */
#ifndef WGTRUNK_RUN_H
#define WGTRUNK_RUN_H

#include <jansson.h>
#include <stdbool.h>

#define RUN_FOLDER	"/run/wgtrunk"

/**
 * run_lock() - be the only one who changes a trunk; waits, and says for whom
 * @name: of the trunk
 * @command: of ours, for whoever waits
 *
 * Return: what run_unlock() wants, or -1 with a message.
 */
int run_lock(const char *name, const char *command);

/**
 * run_lock_nic() - be the only one who changes flow rules and hash of a NIC; waits
 * @dev: the NIC, of this network namespace
 * @name: of the trunk that does, for whoever waits
 *
 * Who has a trunk's lock may take one of these, not the other way round. Return: as
 * run_lock().
 */
int run_lock_nic(const char *dev, const char *name);

void run_unlock(int lock);

/* run_namespace() - a number that this network namespace has and no other one. */
json_int_t run_namespace(void);

/**
 * run_load() - what was remembered of a trunk
 *
 * Return: an object, empty where there is nothing, which the caller gives back with
 * json_decref(); or NULL with a message, where the file can't be read. Keys:
 *
 *	"complete"	true where nothing was being changed
 *	"namespace"	the one that was changed last; the file is one for all
 *	"endpoint"	string: the far end's, as it was in the configuration
 *	"settings"	array of host settings; see steer.h
 */
json_t *run_load(const char *name);

/**
 * run_others() - what is remembered of all other trunks
 *
 * Return: an array of their states, which the caller gives back with json_decref().
 * Files that can't be read are left out.
 */
json_t *run_others(const char *name);

/* run_is_here() - whether that was this namespace, or is not known. */
bool run_is_here(const json_t *state);

/* run_remembered() - whether there is anything remembered of it, and of this namespace. */
bool run_remembered(const char *name, const json_t *state);

/*
 * run_begun() - how many lanes it was to have, at least 1, where a change of it, whose
 * state was loaded, has not come to its end here; 0 where it has.
 */
unsigned int run_begun(const char *name, json_t *state);

/* run_save() - remember it, whole or, with a message, as it was. */
bool run_save(const char *name, json_t *state);

/* run_forget() - nothing is remembered any more. */
void run_forget(const char *name);

#endif /* WGTRUNK_RUN_H */
