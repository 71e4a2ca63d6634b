/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright (C) 2026 The wgtrunk authors */

/* Messages, memory, files. */
#ifndef WGTRUNK_UTIL_H
#define WGTRUNK_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/**
 * fail() - say what is wrong, in one line on stderr
 * @file: file that it is about, or NULL
 * @line: line in it, or 0 where it is about all of it
 * @format: as printf()
 *
 * Return: false, to be passed on.
 */
bool fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* note() - something worth knowing that is no error, in one line on stderr. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* xalloc(), xrealloc(), xstrdup(), xprintf() - as calloc() and so on; no memory ends the program. */
void *xalloc(size_t count, size_t size);
void *xrealloc(void *memory, size_t count, size_t size);
char *xstrdup(const char *text);
char *xprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * parse_number() - a decimal number that takes up all of @text
 * @min: smallest one that is allowed
 * @max: largest one
 *
 * Return: whether it is one; @number is written only then.
 */
bool parse_number(const char *text, unsigned long min, unsigned long max, unsigned long *number);

/**
 * next_item() - cut the next item off a list with commas or blanks in between
 * @list: the rest of the list, which is written to
 *
 * Return: the item, within the list, or NULL after the last one.
 */
char *next_item(char **list);

/**
 * create_private() - open a new file that only its owner may read
 *
 * Return: the file, which the caller closes, or NULL with a message, e.g. because it is there already.
 */
FILE *create_private(const char *path);

#endif /* WGTRUNK_UTIL_H */
