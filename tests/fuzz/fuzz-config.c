// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * The configuration's parser, for libFuzzer: its bytes are the file. Beside it are key
 * files, in a new folder of TMPDIR or else of /dev/shm, which stays on a crash.
 */

#include <err.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "util.h"

#define KEYS	4

/* Those keys are made from: @count numbers from @first on. */
static const struct {
	const char *name;
	unsigned char first;
	unsigned char count;
	bool public;
} key_files[] = {
	{ "west.key", 0, KEYS, false },
	{ "east.pub", KEYS, KEYS, true },
	{ "few.pub", KEYS, 2, true },
	{ "own.pub", 0, KEYS, true },
};

#define KEY_FILES	(sizeof(key_files) / sizeof(*key_files))

static char *folder, *config_path, *key_paths[KEY_FILES];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_file(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd))
		err(1, "%s", path);
}

/* Always the same ones: SHA-256 of their numbers. */
static void write_keys(unsigned int file)
{
	unsigned int i, count = key_files[file].count;
	unsigned char number, secret[KEY_BYTES], half[KEY_BYTES];
	char text[KEYS * KEY_TEXT];

	for (i = 0; i < count; i++) {
		number = key_files[file].first + i;
		crypto_hash_sha256(secret, &number, 1);
		key_public(secret, half);
		key_text(key_files[file].public ? half : secret, text + i * KEY_TEXT);
		text[(i + 1) * KEY_TEXT - 1] = '\n';
	}
	key_paths[file] = xprintf("%s/%s", folder, key_files[file].name);
	write_file(key_paths[file], text, count * KEY_TEXT);
}

static void clean_up(void)
{
	unsigned int i;

	unlink(config_path);
	for (i = 0; i < KEY_FILES; i++)
		unlink(key_paths[i]);
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *place = getenv("TMPDIR");
	unsigned int i;

	(void)argc;
	(void)argv;
	if (sodium_init() < 0)
		errx(1, "no libsodium");
	folder = xprintf("%s/fuzz-config.XXXXXX", place ? place : "/dev/shm");
	if (!mkdtemp(folder))
		err(1, "%s", folder);
	config_path = xprintf("%s/west.conf", folder);
	for (i = 0; i < KEY_FILES; i++)
		write_keys(i);
	atexit(clean_up);
	/* For messages of the tool; libFuzzer and the sanitizers keep theirs. */
	stderr = fopen("/dev/null", "we");
	return stderr ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config;

	write_file(config_path, data, size);
	if (config_read(config_path, &config) &&
	    (!config.trunk.lanes || config.trunk.lanes > config.private.count ||
	     config.trunk.lanes > config.public.count ||
	     config.trunk.active > config.trunk.lanes))
		abort();
	/* As later messages do. */
	config_line(&config, "Trunk", "MTU");
	config_free(&config);
	return 0;
}
