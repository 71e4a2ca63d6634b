// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <getopt.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "export.h"
#include "keys.h"
#include "util.h"

struct command {
	const char *name;
	const char *arguments;
	const char *does;
	int (*run)(int argc, char **argv);
};

static int usage_of(const char *name);

static int run_keygen(int argc, char **argv)
{
	static const struct option options[] = {
		{ "number", required_argument, NULL, 'n' },
		{ "output", required_argument, NULL, 'o' },
		{ }
	};
	unsigned long count = 0;
	char *path = NULL;
	bool good;
	int c;

	while ((c = getopt_long(argc, argv, "n:o:", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			if (!parse_number(optarg, 1, LANES_MAX, &count))
				return fail(NULL, 0, "keygen: -n is a number of lanes, 1 to %d",
					    LANES_MAX), 1;
			break;
		case 'o':
			free(path);
			path = xstrdup(optarg);
			break;
		default:
			free(path);
			return usage_of("keygen");
		}
	}
	if (optind != argc - 1 || !count) {
		free(path);
		return usage_of("keygen");
	}
	if (!config_name_is_good(argv[optind]))
		good = fail(NULL, 0, "'%s' is not a name: up to %d letters, digits or _=+-",
			    argv[optind], NAME_MAX_LEN);
	else
		good = keygen(path ? path : (path = xprintf(CONFIG_FOLDER "/%s.key", argv[optind])),
			      count);
	free(path);
	return !good;
}

static int run_export(int argc, char **argv)
{
	static const struct option options[] = {
		{ "near", no_argument, NULL, 'N' },
		{ "output", required_argument, NULL, 'o' },
		{ "key-file", required_argument, NULL, 'k' },
		{ }
	};
	const char *folder = ".", *key_file = NULL;
	char *standard = NULL;
	struct config config;
	bool near = false, good;
	int c;

	while ((c = getopt_long(argc, argv, "o:k:", options, NULL)) != -1) {
		switch (c) {
		case 'N':
			near = true;
			break;
		case 'o':
			folder = optarg;
			break;
		case 'k':
			key_file = optarg;
			break;
		default:
			return usage_of("export");
		}
	}
	if (optind != argc - 1)
		return usage_of("export");
	/* It ends up between quotes in a command of the file's. */
	if (key_file && strpbrk(key_file, "'\n\\"))
		return fail(NULL, 0, "export: a key file whose name has a quote in it"), 1;
	good = config_read(argv[optind], &config);
	if (good) {
		if (!key_file && near)
			key_file = config.trunk.key_file;
		if (!key_file)
			key_file = standard = xprintf(CONFIG_FOLDER "/%s.key", config.name);
		good = export_wg_quick(&config, near, folder, key_file);
	}
	config_free(&config);
	free(standard);
	return !good;
}

static const struct command commands[] = {
	{ "keygen", "NAME -n N [-o FILE]",
	  "makes N private keys in " CONFIG_FOLDER "/NAME.key, prints the public halves", run_keygen },
	{ "export", "NAME [--near] [-o FOLDER] [-k KEY-FILE]",
	  "writes wg-quick configurations of the lanes for the far end, or the near one", run_export },
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

static int usage_of(const char *name)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			fprintf(stderr, "usage: wgtrunk %s %s\n", name, commands[i].arguments);
	return 2;
}

static void usage(FILE *to)
{
	size_t i;

	fputs("usage: wgtrunk COMMAND ...\n\n", to);
	for (i = 0; i < COMMANDS; i++)
		fprintf(to, "  %s %s\n      %s\n", commands[i].name, commands[i].arguments,
			commands[i].does);
	fputs("\nNAME is that of a trunk, configured in " CONFIG_FOLDER "/NAME.conf, or the path of\n"
	      "such a file. Exit status: 0 done, 1 an error, 2 wrong usage.\n", to);
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return 0;
	}
	if (sodium_init() < 0) {
		fail(NULL, 0, "libsodium does not work here");
		return 1;
	}
	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, argv[1]))
			return commands[i].run(argc - 1, argv + 1);
	fail(NULL, 0, "no command '%s' (see wgtrunk --help)", argv[1]);
	return 2;
}
