// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sysfile.h"
#include "util.h"

#define LINE_MAX_BYTES	4096

static bool read_line(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	bool good;

	if (!file)
		return false;
	good = fgets(text, size, file);
	fclose(file);
	if (good)
		text[strcspn(text, "\n")] = '\0';
	return good;
}

static bool read_at(char *text, size_t size, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

static bool read_at(char *text, size_t size, const char *format, va_list args)
{
	char path[512];

	if (vsnprintf(path, sizeof(path), format, args) >= (int)sizeof(path))
		return false;
	return read_line(path, text, size);
}

bool sys_read(char *text, size_t size, const char *format, ...)
{
	va_list args;
	bool good;

	va_start(args, format);
	good = read_at(text, size, format, args);
	va_end(args);
	return good;
}

long sys_number(long otherwise, const char *format, ...)
{
	char text[32], *end;
	va_list args;
	long number;
	bool good;

	va_start(args, format);
	good = read_at(text, sizeof(text), format, args);
	va_end(args);
	if (!good)
		return otherwise;
	number = strtol(text, &end, 10);
	return end == text ? otherwise : number;
}

bool sys_cpus(struct cpu_list *list, const char *format, ...)
{
	char text[LINE_MAX_BYTES];
	va_list args;
	bool good;

	memset(list, 0, sizeof(*list));
	va_start(args, format);
	good = read_at(text, sizeof(text), format, args);
	va_end(args);
	return good && !cpu_list_parse(text, list);
}

bool sys_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	bool good;

	if (!file)
		return fail(path, 0, "%s", strerror(errno));
	/* What the kernel says to it comes when it is written out. */
	good = fputs(text, file) >= 0 && !fflush(file);
	if (!good)
		fail(path, 0, "%s", strerror(errno));
	fclose(file);
	return good;
}
