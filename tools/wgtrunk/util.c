// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

bool fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	fputs("wgtrunk: ", stderr);
	if (file && line)
		fprintf(stderr, "%s:%d: ", file, line);
	else if (file)
		fprintf(stderr, "%s: ", file);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

void note(const char *format, ...)
{
	va_list args;

	fputs("wgtrunk: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void out_of_memory(void)
{
	fail(NULL, 0, "no memory");
	exit(1);
}

void *xalloc(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		out_of_memory();
	return memory;
}

void *xrealloc(void *memory, size_t count, size_t size)
{
	memory = reallocarray(memory, count, size);
	if (!memory)
		out_of_memory();
	return memory;
}

char *xstrdup(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		out_of_memory();
	return copy;
}

char *xprintf(const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		out_of_memory();
	return text;
}

bool parse_number(const char *text, unsigned long min, unsigned long max, unsigned long *number)
{
	unsigned long value;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || value < min || value > max)
		return false;
	*number = value;
	return true;
}

char *next_item(char **list)
{
	static const char separators[] = ", \t\r\n";
	char *item = *list + strspn(*list, separators);

	if (!*item)
		return NULL;
	*list = item + strcspn(item, separators);
	if (**list)
		*(*list)++ = '\0';
	return item;
}

FILE *create_private(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *file;

	if (fd < 0) {
		fail(path, 0, "%s", errno == EEXIST ? "is there already, and not overwritten" :
						      strerror(errno));
		return NULL;
	}
	file = fdopen(fd, "w");
	if (!file) {
		fail(path, 0, "%s", strerror(errno));
		close(fd);
	}
	return file;
}
