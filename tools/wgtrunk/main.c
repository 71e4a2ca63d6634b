// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "config.h"
#include "export.h"
#include "kernel.h"
#include "keys.h"
#include "manage.h"
#include "show.h"
#include "top.h"
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

/* wg-quick runs in any folder. Links stay: what they lead to may change. */
static char *absolute(const char *path)
{
	char *folder, *whole;

	if (*path == '/')
		return xstrdup(path);
	folder = getcwd(NULL, 0);
	if (!folder) {
		fail(".", 0, "%s", strerror(errno));
		return NULL;
	}
	whole = xprintf("%s/%s", folder, path);
	free(folder);
	return whole;
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
	char *path = NULL;
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
	good = config_read(argv[optind], &config);
	if (good) {
		if (near)
			key_file = path = absolute(key_file ? key_file : config.trunk.key_file);
		else if (!key_file)
			key_file = path = xprintf(CONFIG_FOLDER "/%s.key", config.name);
		else if (*key_file != '/')
			good = fail(NULL, 0, "export: -k %s: a path on the far machine begins with /",
				    key_file);
		good = good && key_file && export_wg_quick(&config, near, folder, key_file);
	}
	config_free(&config);
	free(path);
	return !good;
}

/* Options of the commands that change something. Returns false where there is another. */
static bool manner_of(int argc, char **argv, struct manner *manner)
{
	static const struct option options[] = {
		{ "dry-run", no_argument, NULL, 'd' },
		{ "verbose", no_argument, NULL, 'v' },
		{ }
	};
	int c;

	*manner = (struct manner){ .command = argv[0] };
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		manner->dry |= c == 'd';
		manner->verbose |= c == 'v';
		if (c == '?')
			return false;
	}
	return true;
}

static int up_or_reload(int argc, char **argv, bool reload)
{
	struct kernel kernel;
	struct config config;
	struct manner manner;
	bool good;

	if (!manner_of(argc, argv, &manner) || optind != argc - 1)
		return usage_of(argv[0]);
	good = config_read(argv[optind], &config);
	if (good && kernel_open(&kernel, true)) {
		good = kernel_is_ours(&kernel) && manage_up(&kernel, &config, reload, &manner);
		kernel_close(&kernel);
	} else {
		good = false;
	}
	config_free(&config);
	return !good;
}

static int run_up(int argc, char **argv)
{
	return up_or_reload(argc, argv, false);
}

static int run_reload(int argc, char **argv)
{
	return up_or_reload(argc, argv, true);
}

/* The trunk's name, which the caller frees, or NULL with a message. */
static char *trunk_name(const char *argument)
{
	char *name = config_name(argument);

	if (!name)
		fail(NULL, 0, "'%s' is no trunk: neither its name nor the path of NAME.conf", argument);
	return name;
}

static int run_down(int argc, char **argv)
{
	struct kernel kernel;
	struct manner manner;
	bool good = false;
	char *name;

	if (!manner_of(argc, argv, &manner) || optind != argc - 1)
		return usage_of(argv[0]);
	name = trunk_name(argv[optind]);
	if (name && kernel_open(&kernel, false)) {
		good = manage_down(&kernel, name, &manner);
		kernel_close(&kernel);
	}
	free(name);
	return !good;
}

static int run_scale(int argc, char **argv)
{
	struct kernel kernel;
	struct manner manner;
	unsigned long active;
	bool good = false;
	char *name;

	if (!manner_of(argc, argv, &manner) || optind != argc - 2)
		return usage_of(argv[0]);
	if (!parse_number(argv[optind + 1], 0, LANES_MAX, &active))
		return fail(NULL, 0, "scale: N is a number of lanes, 0 to %d", LANES_MAX), 1;
	name = trunk_name(argv[optind]);
	if (name && kernel_open(&kernel, false)) {
		good = kernel_is_ours(&kernel) && manage_scale(&kernel, name, active, &manner);
		kernel_close(&kernel);
	}
	free(name);
	return !good;
}

static int run_show(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ }
	};
	struct kernel kernel;
	bool json = false, good = false;
	char *name = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'j')
			return usage_of("show");
		json = true;
	}
	if (optind < argc - 1)
		return usage_of("show");
	if (optind < argc) {
		name = trunk_name(argv[optind]);
		if (!name)
			return 1;
	}
	if (kernel_open(&kernel, false)) {
		good = show_run(&kernel, name, json);
		kernel_close(&kernel);
	}
	free(name);
	return !good;
}

/* As `reload`, for a configuration's name or path. */
static bool reload_for_check(struct kernel *kernel, const char *name)
{
	const struct manner manner = { .command = "check" };
	struct config config;
	bool good = config_read(name, &config) && manage_up(kernel, &config, true, &manner);

	config_free(&config);
	return good;
}

static int run_check(int argc, char **argv)
{
	static const struct option options[] = {
		{ "fix", no_argument, NULL, 'f' },
		{ }
	};
	struct kernel kernel;
	bool fix = false;
	int c, status;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'f')
			return usage_of("check");
		fix = true;
	}
	if (optind < argc - 1)
		return usage_of("check");
	if (!kernel_open(&kernel, false))
		return 1;
	status = check_run(&kernel, argv[optind], fix, reload_for_check);
	kernel_close(&kernel);
	return status;
}

static int run_top(int argc, char **argv)
{
	struct kernel kernel;
	char *name = NULL;
	int status = 1;

	if (argc > 2 || (argc == 2 && *argv[1] == '-'))
		return usage_of("top");
	if (argc == 2) {
		name = trunk_name(argv[1]);
		if (!name)
			return 1;
	}
	if (kernel_open(&kernel, false)) {
		status = top_run(&kernel, name);
		kernel_close(&kernel);
	}
	free(name);
	return status;
}

#define MANNER "[--dry-run] [--verbose]"

static const struct command commands[] = {
	{ "up", "NAME " MANNER, "makes the trunk and its lanes, or what is missing of them", run_up },
	{ "down", "NAME " MANNER, "removes them, and puts the host's settings back", run_down },
	{ "reload", "NAME " MANNER, "applies what is different in the configuration", run_reload },
	{ "scale", "NAME N " MANNER, "has N lanes send, from now until the next reload", run_scale },
	{ "show", "[NAME] [--json]", "shows trunks and lanes", run_show },
	{ "check", "[NAME] [--fix]", "says what is wrong with trunks and with the host, and mends it",
	  run_check },
	{ "top", "[NAME]", "shows them live", run_top },
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

/* What was printed has to get there, public keys above all. */
static int finish(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	fail(NULL, 0, "could not write all of the output");
	return status ? status : 1;
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
	/* What is half done goes on where nobody reads what is said. */
	signal(SIGPIPE, SIG_IGN);
	if (sodium_init() < 0) {
		fail(NULL, 0, "libsodium does not work here");
		return 1;
	}
	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, argv[1]))
			return finish(commands[i].run(argc - 1, argv + 1));
	fail(NULL, 0, "no command '%s' (see wgtrunk --help)", argv[1]);
	return 2;
}
