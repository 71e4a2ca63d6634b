// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys.h"
#include "util.h"

static bool decode(const char *text, unsigned char key[KEY_BYTES])
{
	size_t len;

	return strlen(text) == KEY_TEXT - 1 &&
	       !sodium_base642bin(key, KEY_BYTES, text, KEY_TEXT - 1, NULL, &len, NULL,
				  sodium_base64_VARIANT_ORIGINAL) && len == KEY_BYTES;
}

static bool is_there(const struct key_list *list, const unsigned char key[KEY_BYTES])
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (!sodium_memcmp(list->keys[i], key, KEY_BYTES))
			return true;
	return false;
}

/* As the curve's arithmetic would do anyway, and the kernel does: section 5 of the RFC. */
static void clamp(unsigned char key[KEY_BYTES])
{
	key[0] &= 248;
	key[31] = (key[31] & 127) | 64;
}

/* The keys themselves appear in no message. */
static bool read_line(const char *path, int number, bool private, char *line,
		      struct key_list *list)
{
	char *key = next_item(&line);

	if (!key || *key == '#')
		return true;
	if (list->count == LANES_MAX)
		return fail(path, number, "more than %d keys", LANES_MAX);
	if (next_item(&line) || !decode(key, list->keys[list->count]))
		return fail(path, number, "not a key (44 characters of base64)");
	if (private)
		clamp(list->keys[list->count]);
	if (is_there(list, list->keys[list->count]))
		return fail(path, number, "the same key twice");
	list->count++;
	return true;
}

/* Does not wait for whoever writes into a pipe; that is refused later. */
static FILE *open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	if (fd >= 0 && !file)
		close(fd);
	return file;
}

bool keys_read(const char *path, bool private, struct key_list *list)
{
	char *line = NULL;
	bool good = true;
	size_t size = 0;
	struct stat st;
	int number = 0;
	FILE *file;

	list->count = 0;
	list->keys = xalloc(LANES_MAX + 1, KEY_BYTES);
	/* Not to a swap device. */
	if (private)
		sodium_mlock(list->keys, (LANES_MAX + 1) * KEY_BYTES);
	file = open_file(path);
	if (!file)
		return fail(path, 0, "%s", strerror(errno));
	/* No copy in a buffer that nobody wipes. */
	if (private)
		setvbuf(file, NULL, _IONBF, 0);
	if (fstat(fileno(file), &st) || !S_ISREG(st.st_mode))
		good = fail(path, 0, "not a file");
	else if (private && st.st_uid && st.st_uid != geteuid())
		good = fail(path, 0, "belongs to another user, who may read these private keys");
	else if (private && st.st_mode & 077)
		good = fail(path, 0, "others may read these private keys: chmod 600 %s", path);
	while (good && getline(&line, &size, file) >= 0)
		good = read_line(path, ++number, private, line, list);
	if (good && ferror(file))
		good = fail(path, 0, "%s", strerror(errno));
	if (good && !list->count)
		good = fail(path, 0, "no key in it");
	if (line)
		sodium_memzero(line, size);
	free(line);
	fclose(file);
	return good;
}

void keys_free(struct key_list *list)
{
	if (list->keys)
		sodium_munlock(list->keys, (LANES_MAX + 1) * KEY_BYTES);
	free(list->keys);
	list->keys = NULL;
	list->count = 0;
}

void key_public(const unsigned char private[KEY_BYTES], unsigned char public[KEY_BYTES])
{
	crypto_scalarmult_base(public, private);
}

const char *key_text(const unsigned char key[KEY_BYTES], char *text)
{
	return sodium_bin2base64(text, KEY_TEXT, key, KEY_BYTES, sodium_base64_VARIANT_ORIGINAL);
}

static bool write_keys(FILE *file, unsigned int count, char (*public)[KEY_TEXT])
{
	unsigned char key[KEY_BYTES], half[KEY_BYTES];
	char text[KEY_TEXT];
	unsigned int i;

	for (i = 0; i < count; i++) {
		randombytes_buf(key, sizeof(key));
		clamp(key);
		key_public(key, half);
		key_text(half, public[i]);
		fprintf(file, "%s\n", key_text(key, text));
	}
	sodium_memzero(key, sizeof(key));
	sodium_memzero(text, sizeof(text));
	return !fflush(file) && !fsync(fileno(file));
}

bool keygen(const char *path, unsigned int count)
{
	char (*public)[KEY_TEXT] = xalloc(count, KEY_TEXT);
	FILE *file = create_private(path);
	bool good = file;
	unsigned int i;

	if (file) {
		/* No copy in a buffer that nobody wipes. */
		setvbuf(file, NULL, _IONBF, 0);
		good = write_keys(file, count, public);
		if (fclose(file) || !good) {
			good = fail(path, 0, "%s", strerror(errno));
			unlink(path);
		}
	}
	for (i = 0; good && i < count; i++)
		puts(public[i]);
	free(public);
	return good;
}
