/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/*
 * Files of Curve25519 keys: one in base64 a line, as wg(8) writes them, the first
 * for the first lane. Lines that begin with # and empty ones do not count.
 */
#ifndef WGTRUNK_KEYS_H
#define WGTRUNK_KEYS_H

#include <stdbool.h>

#define KEY_BYTES	32
#define KEY_TEXT	45	/* with its end */
#define LANES_MAX	256

struct key_list {
	unsigned int count;
	unsigned char (*keys)[KEY_BYTES];
};

/**
 * keys_read() - all keys of a file
 * @path: the file
 * @private: they are private keys: refused where anybody but the owner may read it
 * @list: the keys, private ones as the kernel has them; freed by keys_free(), also
 *	  after an error
 *
 * Return: whether that went well; if not, a message with file and line was given.
 */
bool keys_read(const char *path, bool private, struct key_list *list);

/* keys_free() - private ones do not stay in memory. */
void keys_free(struct key_list *list);

/* key_public() - the public half of a private key. RFC 7748, section 6.1. */
void key_public(const unsigned char private[KEY_BYTES], unsigned char public[KEY_BYTES]);

/* key_text() - in base64, into @text of KEY_TEXT bytes; returns it. */
const char *key_text(const unsigned char key[KEY_BYTES], char *text);

/**
 * keygen() - make a new file of private keys, and print the public halves to stdout
 * @path: file to make; never overwritten
 * @count: how many, up to LANES_MAX
 *
 * Return: whether that went well; if not, there is a message and no file.
 */
bool keygen(const char *path, unsigned int count);

#endif /* WGTRUNK_KEYS_H */
