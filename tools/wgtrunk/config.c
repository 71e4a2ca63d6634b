// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "util.h"

#define PORT_MAX	65535
#define MTU_MIN		1280
#define MTU_MAX		65535
#define KEEPALIVE	25

/* What inih has room for. */
#define LINE_MAX_LEN	198

/*
 * What inih calls back with. It does not tell the handler lines, so they are counted
 * as it reads them; it returns the first bad one, so the first key's error is kept.
 */
struct reading {
	struct config *config;
	FILE *file;
	int line;
	char *wrong;
	int wrong_line;	/* of the key that is wrong: there may be an earlier line that is no key */
	unsigned long seen;
};

struct key {
	const char *section;
	const char *name;
	const char *(*parse)(struct config *config, const char *value);
	bool needed;
	bool list;	/* given again, it goes on */
};

static const char *set_number(const char *value, unsigned long min, unsigned long max,
			      unsigned int *to)
{
	static char wrong[80];
	unsigned long number;

	if (!parse_number(value, min, max, &number)) {
		snprintf(wrong, sizeof(wrong), "not a whole number from %lu to %lu", min, max);
		return wrong;
	}
	*to = number;
	return NULL;
}

static const char *set_text(const char *value, char **to)
{
	*to = xstrdup(value);
	return NULL;
}

static const char *parse_lanes(struct config *config, const char *value)
{
	return set_number(value, 1, LANES_MAX, &config->trunk.lanes);
}

static const char *parse_active(struct config *config, const char *value)
{
	return set_number(value, 0, LANES_MAX, &config->trunk.active);
}

static const char *parse_port(struct config *config, const char *value)
{
	return set_number(value, 1, PORT_MAX, &config->trunk.port);
}

static const char *parse_mtu(struct config *config, const char *value)
{
	if (!strcmp(value, "auto"))
		return NULL;
	return set_number(value, MTU_MIN, MTU_MAX, &config->trunk.mtu);
}

static const char *parse_choice(struct config *config, const char *value)
{
	if (!strcmp(value, "cpu"))
		config->trunk.choice = CHOICE_CPU;
	else if (!strcmp(value, "hash"))
		config->trunk.choice = CHOICE_HASH;
	else
		return "neither cpu nor hash";
	return NULL;
}

static const char *parse_cpus(struct config *config, const char *value)
{
	return strcmp(value, "auto") ? cpu_list_parse(value, &config->trunk.cpus) : NULL;
}

static const char *parse_address(struct config *config, const char *value)
{
	return prefix_list_parse(value, false, &config->trunk.addresses);
}

static const char *parse_own_prefixes(struct config *config, const char *value)
{
	return prefix_list_parse(value, true, &config->trunk.prefixes);
}

static const char *parse_key_file(struct config *config, const char *value)
{
	return set_text(value, &config->trunk.key_file);
}

/* host:port or [address]:port; *host is the part before the last colon, without brackets. */
static const char *split_endpoint(const char *value, char **host, unsigned int *port)
{
	static const char wrong[] = "not of the form host:port or [address]:port";
	const char *colon = strrchr(value, ':');
	const char *begin = value, *end = colon;

	if (!colon || colon == value)
		return wrong;
	if (*begin == '[') {
		begin++;
		end--;
		if (*end != ']')
			return wrong;
	} else if (memchr(begin, ':', end - begin)) {
		return "an IPv6 address as endpoint wants brackets: [address]:port";
	}
	if (end <= begin || strpbrk(begin, " \t,"))
		return wrong;
	if (set_number(colon + 1, 1, PORT_MAX, port))
		return wrong;
	*host = xprintf("%.*s", (int)(end - begin), begin);
	return NULL;
}

static const char *parse_own_endpoint(struct config *config, const char *value)
{
	unsigned int port;
	char *host;
	const char *wrong = split_endpoint(value, &host, &port);

	if (wrong)
		return wrong;
	free(host);
	return set_text(value, &config->trunk.endpoint);
}

static const char *parse_endpoint(struct config *config, const char *value)
{
	return split_endpoint(value, &config->site.host, &config->site.port);
}

static const char *parse_keepalive(struct config *config, const char *value)
{
	if (!strcmp(value, "off"))
		value = "0";
	return set_number(value, 0, 65535, &config->site.keepalive);
}

static const char *parse_prefixes(struct config *config, const char *value)
{
	return prefix_list_parse(value, true, &config->site.prefixes);
}

static const char *parse_far_address(struct config *config, const char *value)
{
	return prefix_list_parse(value, false, &config->site.addresses);
}

static const char *parse_keys_file(struct config *config, const char *value)
{
	return set_text(value, &config->site.keys_file);
}

static const struct key keys[] = {
	{ "Trunk", "Lanes", parse_lanes, true, false },
	{ "Trunk", "Active", parse_active, false, false },
	{ "Trunk", "ListenPort", parse_port, true, false },
	{ "Trunk", "MTU", parse_mtu, false, false },
	{ "Trunk", "Choice", parse_choice, false, false },
	{ "Trunk", "CPUs", parse_cpus, false, false },
	{ "Trunk", "Address", parse_address, false, true },
	{ "Trunk", "Prefixes", parse_own_prefixes, false, true },
	{ "Trunk", "Endpoint", parse_own_endpoint, false, false },
	{ "Trunk", "KeyFile", parse_key_file, true, false },
	{ "Site", "Endpoint", parse_endpoint, false, false },
	{ "Site", "PersistentKeepalive", parse_keepalive, false, false },
	{ "Site", "Prefixes", parse_prefixes, true, true },
	{ "Site", "Address", parse_far_address, false, true },
	{ "Site", "KeysFile", parse_keys_file, true, false },
};

#define KEYS (sizeof(keys) / sizeof(*keys))

static bool section_is_known(const char *section)
{
	return !strcmp(section, "Trunk") || !strcmp(section, "Site");
}

/* The new prefixes of a list against all before: a packet has one way to go. */
static char *find_overlap(const struct prefix_list *list)
{
	char a[PREFIX_TEXT], b[PREFIX_TEXT];
	unsigned int i, j;

	for (i = 0; i < list->count; i++)
		for (j = 0; j < i; j++)
			if (prefixes_overlap(&list->prefixes[i], &list->prefixes[j]))
				return xprintf("%s and %s overlap",
					       prefix_text(&list->prefixes[j], a),
					       prefix_text(&list->prefixes[i], b));
	return NULL;
}

/* Of what was added to a list just now. */
static void set_lines(struct prefix_list *list, int line)
{
	unsigned int i = list->count;

	while (i && !list->prefixes[i - 1].line)
		list->prefixes[--i].line = line;
}

static void set_all_lines(struct config *config, int line)
{
	set_lines(&config->trunk.addresses, line);
	set_lines(&config->trunk.prefixes, line);
	set_lines(&config->site.addresses, line);
	set_lines(&config->site.prefixes, line);
}

static char *handle_key(struct reading *reading, const char *section, const char *name,
			const char *value)
{
	const char *wrong;
	unsigned int i;

	if (!section_is_known(section))
		return xprintf("no section [%s] is known, only [Trunk] and [Site]", section);
	for (i = 0; i < KEYS; i++)
		if (!strcmp(keys[i].section, section) && !strcasecmp(keys[i].name, name))
			break;
	if (i == KEYS)
		return xprintf("no key '%s' is known in [%s]", name, section);
	if (reading->seen & 1UL << i && !keys[i].list)
		return xprintf("%s twice", keys[i].name);
	reading->seen |= 1UL << i;
	if (!*value)
		return xprintf("%s has no value", keys[i].name);
	wrong = keys[i].parse(reading->config, value);
	if (wrong)
		return xprintf("%s: %s", keys[i].name, wrong);
	set_all_lines(reading->config, reading->line);
	if (keys[i].parse == parse_prefixes)
		return find_overlap(&reading->config->site.prefixes);
	if (keys[i].parse == parse_own_prefixes)
		return find_overlap(&reading->config->trunk.prefixes);
	return NULL;
}

static int handler(void *user, const char *section, const char *name, const char *value)
{
	struct reading *reading = user;

	if (!reading->wrong) {
		reading->wrong = handle_key(reading, section, name, value);
		if (reading->wrong)
			reading->wrong_line = reading->line;
	}
	return !reading->wrong;
}

/* For inih: fgets(), counting. */
static char *next_line(char *line, int size, void *stream)
{
	struct reading *reading = stream;

	reading->line++;
	return fgets(line, size, reading->file);
}

static bool all_there(const struct reading *reading)
{
	unsigned int i;

	for (i = 0; i < KEYS; i++)
		if (keys[i].needed && !(reading->seen & 1UL << i))
			return fail(reading->config->path, 0, "no %s in [%s]", keys[i].name,
				    keys[i].section);
	return true;
}

/* Whether a line begins with a word, after blanks, in either case. */
static const char *after_word(const char *line, const char *word)
{
	line += strspn(line, " \t");
	return strncasecmp(line, word, strlen(word)) ? NULL : line + strlen(word);
}

int config_line(const struct config *config, const char *section, const char *key)
{
	FILE *file = fopen(config->path, "re");
	int number = 0, found = 0;
	const char *rest, *in;
	bool there = false;
	char *line = NULL;
	size_t size = 0;

	while (file && !found && getline(&line, &size, file) >= 0) {
		number++;
		in = after_word(line, "[");
		if (in) {
			in = after_word(in, section);
			there = in && *in == ']';
		}
		rest = after_word(line, key);
		if (there && rest && (*(rest += strspn(rest, " \t")) == '=' || *rest == ':'))
			found = number;
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

bool config_is_own_network(const struct config *config, const struct prefix *prefix)
{
	const struct prefix_list *own = &config->trunk.addresses;
	unsigned int i;

	/* Those of IPv6 have another metric than ours; single addresses and 0.0.0.0 have none. */
	if (prefix->family != AF_INET || prefix->length == 32 || !prefix->bytes[0])
		return false;
	for (i = 0; i < own->count; i++)
		if (own->prefixes[i].length == prefix->length &&
		    prefixes_overlap(&own->prefixes[i], prefix))
			return true;
	return false;
}

/* What only all of it together shows. */
static bool check(struct config *config)
{
	struct trunk *trunk = &config->trunk;
	struct site *site = &config->site;
	const char *path = config->path;
	char a[PREFIX_TEXT], b[PREFIX_TEXT];
	unsigned int i, j;

	if (trunk->port + trunk->lanes - 1 > PORT_MAX)
		return fail(path, config_line(config, "Trunk", "ListenPort"),
			    "%u lanes from ListenPort %u on go past port %d", trunk->lanes,
			    trunk->port, PORT_MAX);
	if (site->host && site->port + trunk->lanes - 1 > PORT_MAX)
		return fail(path, config_line(config, "Site", "Endpoint"),
			    "%u lanes from the far side's port %u on go past port %d",
			    trunk->lanes, site->port, PORT_MAX);
	if (trunk->endpoint &&
	    strtoul(strrchr(trunk->endpoint, ':') + 1, NULL, 10) + trunk->lanes - 1 > PORT_MAX)
		return fail(path, config_line(config, "Trunk", "Endpoint"),
			    "%u lanes from the port in %s on go past port %d", trunk->lanes,
			    trunk->endpoint, PORT_MAX);
	if (trunk->active > trunk->lanes)
		return fail(path, config_line(config, "Trunk", "Active"),
			    "Active is %u, of %u lanes", trunk->active, trunk->lanes);
	if (trunk->cpus.count && trunk->cpus.count != trunk->lanes)
		return fail(path, config_line(config, "Trunk", "CPUs"),
			    "CPUs names %u CPUs for %u lanes", trunk->cpus.count, trunk->lanes);
	for (i = 0; i < trunk->prefixes.count; i++)
		for (j = 0; j < site->prefixes.count; j++)
			if (prefixes_overlap(&trunk->prefixes.prefixes[i],
					     &site->prefixes.prefixes[j]))
				return fail(path, site->prefixes.prefixes[j].line,
					    "%s here and %s behind the far side overlap",
					    prefix_text(&trunk->prefixes.prefixes[i], a),
					    prefix_text(&site->prefixes.prefixes[j], b));
	return true;
}

/* A relative path is beside the configuration. */
static char *beside(const char *path, const char *file)
{
	const char *slash = strrchr(path, '/');

	if (*file == '/' || !slash)
		return xstrdup(file);
	return xprintf("%.*s/%s", (int)(slash - path), path, file);
}

static bool read_keys(struct config *config)
{
	unsigned int lanes = config->trunk.lanes, i, j;
	unsigned char half[KEY_BYTES];
	char *path;
	bool good;

	path = beside(config->path, config->trunk.key_file);
	free(config->trunk.key_file);
	config->trunk.key_file = path;
	path = beside(config->path, config->site.keys_file);
	free(config->site.keys_file);
	config->site.keys_file = path;

	good = keys_read(config->trunk.key_file, true, &config->private) &&
	       keys_read(config->site.keys_file, false, &config->public);
	if (!good)
		return false;
	if (config->private.count < lanes)
		return fail(config->trunk.key_file, 0, "%u keys for %u lanes", config->private.count,
			    lanes);
	/* The lower number of lanes wins. */
	if (config->public.count < lanes)
		config->trunk.lanes = lanes = config->public.count;
	if (config->trunk.active > lanes)
		config->trunk.active = lanes;
	for (i = 0; i < lanes; i++) {
		key_public(config->private.keys[i], half);
		for (j = 0; j < config->public.count; j++)
			if (!memcmp(half, config->public.keys[j], KEY_BYTES))
				return fail(config->site.keys_file, 0,
					    "key %u is this side's own, of lane %u", j + 1, i);
	}
	return true;
}

bool config_name_is_good(const char *name)
{
	const char *p;

	for (p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_=+-", *p))
			return false;
	return p > name && p - name <= NAME_MAX_LEN;
}

/* NAME of FOLDER/NAME.conf, or NULL. */
static char *name_of(const char *path)
{
	const char *base = strrchr(path, '/') + 1, *end = strrchr(base, '.');
	char *name;

	if (!end || strcmp(end, ".conf"))
		return NULL;
	name = xprintf("%.*s", (int)(end - base), base);
	if (config_name_is_good(name))
		return name;
	free(name);
	return NULL;
}

char *config_name(const char *name)
{
	if (strchr(name, '/'))
		return name_of(name);
	return config_name_is_good(name) ? xstrdup(name) : NULL;
}

static bool name_and_path(const char *name, struct config *config)
{
	if (strchr(name, '/')) {
		config->path = xstrdup(name);
		config->name = name_of(name);
		return config->name ||
		       fail(name, 0, "not called NAME.conf, NAME of up to %d letters, digits or _=+-",
			    NAME_MAX_LEN);
	}
	if (!config_name_is_good(name))
		return fail(NULL, 0, "'%s' is not a name: up to %d letters, digits or _=+-", name,
			    NAME_MAX_LEN);
	config->name = xstrdup(name);
	config->path = xprintf(CONFIG_FOLDER "/%s.conf", name);
	return true;
}

/* inih would cut them. */
static bool lines_are_short(const struct config *config, FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	int number = 0;
	bool good = true;
	ssize_t length;

	while (good && (length = getline(&line, &size, file)) >= 0) {
		number++;
		if (length && line[length - 1] == '\n')
			length--;
		if (length > LINE_MAX_LEN)
			good = fail(config->path, number,
				    "a line of more than %d characters: a list goes on where its key is given again",
				    LINE_MAX_LEN);
	}
	free(line);
	if (good && ferror(file))
		good = fail(config->path, 0, "%s", strerror(errno));
	rewind(file);
	return good;
}

bool config_read(const char *name, struct config *config)
{
	struct reading reading = { .config = config };
	bool good = false;
	FILE *file;
	int line;

	memset(config, 0, sizeof(*config));
	if (!name_and_path(name, config))
		return false;
	file = fopen(config->path, "re");
	if (!file)
		return fail(config->path, 0, "%s", strerror(errno));
	config->trunk.active = LANES_MAX + 1;
	config->site.keepalive = KEEPALIVE;
	if (!lines_are_short(config, file)) {
		fclose(file);
		return false;
	}
	reading.file = file;
	line = ini_parse_stream(next_line, &reading, handler, &reading);
	if (ferror(file))
		line = -1;
	fclose(file);
	if (line > 0)
		fail(config->path, line, "%s", line == reading.wrong_line ? reading.wrong :
			     "neither a [section] nor a key = value");
	else if (line < 0)
		fail(config->path, 0, "can't be read");
	else
		good = all_there(&reading);
	free(reading.wrong);
	if (!good)
		return false;
	if (config->trunk.active > LANES_MAX)
		config->trunk.active = config->trunk.lanes;
	return check(config) && read_keys(config);
}

void config_free(struct config *config)
{
	cpu_list_free(&config->trunk.cpus);
	prefix_list_free(&config->trunk.addresses);
	prefix_list_free(&config->trunk.prefixes);
	prefix_list_free(&config->site.addresses);
	prefix_list_free(&config->site.prefixes);
	keys_free(&config->private);
	keys_free(&config->public);
	free(config->trunk.endpoint);
	free(config->trunk.key_file);
	free(config->site.host);
	free(config->site.keys_file);
	free(config->name);
	free(config->path);
	memset(config, 0, sizeof(*config));
}
