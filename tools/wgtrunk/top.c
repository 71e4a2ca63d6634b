// SPDX-License-Identifier: GPL-2.0
/* Copyright (C) 2026 The wgtrunk authors */

#include <curses.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "rates.h"
#include "top.h"
#include "util.h"
#include "words.h"

#define PERIOD_MS	1000
#define BAR_MIN		6
#define BAR_MAX		60

/* Parts of bars differ in their sign, too: not every terminal has colors. */
enum paint { PAINT_RX = 1, PAINT_TX, PAINT_SOFTIRQ, PAINT_SYSTEM, PAINT_USER };

struct part {
	enum paint paint;
	char sign;
	double share;
};

/* A trunk as it is now, and what its lanes had counted the time before. */
struct shown {
	char *name;
	bool there;
	struct found found;
	struct sample before;
	struct sample now;
};

/**
 * struct screen - all that is drawn
 * @only: name of the one trunk that is wanted, or NULL
 * @trunks: @count of them
 * @cpus_before: and @cpus_now: what CPUs have done
 * @full: bit/s of a full bar
 * @first: line that is at the top, after scrolling
 * @line: the next one to be drawn
 * @wrong: what the last round failed with, or empty
 */
struct screen {
	struct kernel *kernel;
	const char *only;
	struct shown *trunks;
	unsigned int count;
	struct cpu_times cpus_before;
	struct cpu_times cpus_now;
	double full;
	int first;
	int line;
	char wrong[160];
};

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

/* --- what there is --- */

static void forget(struct screen *screen)
{
	unsigned int i;

	for (i = 0; i < screen->count; i++) {
		found_free(&screen->trunks[i].found);
		sample_free(&screen->trunks[i].before);
		sample_free(&screen->trunks[i].now);
		free(screen->trunks[i].name);
	}
	free(screen->trunks);
	screen->trunks = NULL;
	screen->count = 0;
}

/* The sample of the round before becomes this one's first. */
static void take_over(struct screen *old, struct shown *shown)
{
	unsigned int i;

	for (i = 0; i < old->count; i++)
		if (!strcmp(old->trunks[i].name, shown->name)) {
			shown->before = old->trunks[i].now;
			memset(&old->trunks[i].now, 0, sizeof(old->trunks[i].now));
		}
}

static bool names_of(struct screen *screen, char ***names, unsigned int *count)
{
	if (!screen->only)
		return found_names(screen->kernel, names, count);
	*names = xalloc(1, sizeof(**names));
	**names = xstrdup(screen->only);
	*count = 1;
	return true;
}

static bool look_at(struct kernel *kernel, struct shown *shown)
{
	if (!found_read(kernel, shown->name, false, &shown->found))
		return false;
	shown->there = shown->found.link.index && shown->found.ours;
	return !shown->there || sample_take(kernel, &shown->found, &shown->now);
}

static void look_at_cpus(struct screen *screen)
{
	FILE *file = fopen("/proc/stat", "re");

	cpu_times_free(&screen->cpus_before);
	screen->cpus_before = screen->cpus_now;
	memset(&screen->cpus_now, 0, sizeof(screen->cpus_now));
	if (!file)
		return;
	cpu_times_parse(file, &screen->cpus_now);
	fclose(file);
}

/* One round. What of it could be had stays to be drawn where some could not. */
static bool look(struct screen *screen)
{
	struct screen old = *screen;
	unsigned int count = 0, i;
	char **names = NULL;
	bool good;

	good = names_of(screen, &names, &count);
	screen->trunks = xalloc(count + 1, sizeof(*screen->trunks));
	screen->count = count;
	for (i = 0; i < count; i++) {
		screen->trunks[i].name = names[i];
		take_over(&old, &screen->trunks[i]);
		good = look_at(screen->kernel, &screen->trunks[i]) && good;
	}
	free(names);
	forget(&old);
	look_at_cpus(screen);
	return good;
}

/* --- drawing --- */

static bool is_there(const struct found_lane *lane)
{
	return lane->link.index && lane->ours;
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

/* The busiest lane's bar is full. */
static double find_full(const struct screen *screen)
{
	const struct shown *shown;
	struct rate rate;
	double full = 1;
	unsigned int i, j;

	for (i = 0; i < screen->count; i++) {
		shown = &screen->trunks[i];
		for (j = 0; j < shown->now.lanes; j++)
			if (rate_of_lane(&shown->before, &shown->now, j, &rate))
				full = larger(full, rate.rx_bits + rate.tx_bits);
	}
	return full;
}

/* Moves to where the next line is; false where that is out of sight. */
static bool next_line(struct screen *screen)
{
	int row = screen->line++ - screen->first;

	/* The last row is for what is wrong. */
	return row >= 0 && row < LINES - 1 && move(row, 0) == OK;
}

/* Never past the right edge, where curses would go on in the next row. */
static void put(const char *text)
{
	int room = COLS - getcurx(stdscr) - 1;

	if (room > 0)
		addnstr(text, room);
}

static void __attribute__((format(printf, 1, 2))) put_format(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) >= 0) {
		put(text);
		free(text);
	}
	va_end(args);
}

static void put_line(struct screen *screen, attr_t attributes, const char *text)
{
	if (!next_line(screen))
		return;
	attron(attributes);
	put(text);
	attroff(attributes);
}

static void put_bar(int width, const struct part *parts, unsigned int count)
{
	double sum = 0;
	int filled = 0, to;
	unsigned int i;

	put("[");
	for (i = 0; i < count; i++) {
		sum += parts[i].share;
		to = sum * width + 0.5;
		attron(COLOR_PAIR(parts[i].paint));
		for (; filled < to && filled < width; filled++)
			put((char []){ parts[i].sign, '\0' });
		attroff(COLOR_PAIR(parts[i].paint));
	}
	for (; filled < width; filled++)
		put(" ");
	put("]");
}

/* What is left of a line's width for a bar, beside @taken columns. */
static int bar_width(int taken)
{
	int width = COLS - 1 - taken - 2;

	return width < BAR_MIN ? BAR_MIN : width > BAR_MAX ? BAR_MAX : width;
}

/* Columns of lanes' names. */
static int name_width(const struct screen *screen)
{
	int width = 4, len;
	unsigned int i;

	for (i = 0; i < screen->count; i++) {
		len = strlen(screen->trunks[i].name) +
		      (screen->trunks[i].found.lanes > 100 ? 4 :
		       screen->trunks[i].found.lanes > 10 ? 3 : 2);
		if (len > width)
			width = len;
	}
	return width;
}

/* The state of a lane takes 14 columns after its name, its rates 51. */
static int lane_bar_width(const struct screen *screen)
{
	return bar_width(name_width(screen) + 14 + 51);
}

static void put_rates(const struct rate *rate, bool known)
{
	char rx[RATE_TEXT], tx[RATE_TEXT], rx_packets[RATE_TEXT], tx_packets[RATE_TEXT];

	if (known)
		put_format(" %6s %7s %6s %7s", rate_text(rate->rx_bits, rx),
			   rate_text(rate->rx_packets, rx_packets), rate_text(rate->tx_bits, tx),
			   rate_text(rate->tx_packets, tx_packets));
	else
		put_format(" %6s %7s %6s %7s", "-", "-", "-", "-");
}

static void put_lane(struct screen *screen, const struct shown *shown, unsigned int number)
{
	const struct found_lane *lane = &shown->found.lane[number];
	char name[IFNAMSIZ], age[RATE_TEXT], over[RATE_TEXT], drops[RATE_TEXT];
	struct rate rate;
	bool known = rate_of_lane(&shown->before, &shown->now, number, &rate);
	struct part parts[] = {
		{ PAINT_RX, '#', rate.rx_bits / screen->full },
		{ PAINT_TX, '=', rate.tx_bits / screen->full },
	};

	if (!next_line(screen))
		return;
	put_format("%-*s ", name_width(screen), lane_name(shown->name, number, name));
	if (lane->place.home < 0)
		put_format("%5s", "-");
	else
		put_format("%5d", lane->place.home);
	put_format(" %-6s ", lane_state(&shown->found, lane));
	put_bar(lane_bar_width(screen), parts, 2);
	put_rates(&rate, known);
	put_format(" %6s", handshake_text(lane, age));
	if (rate.drops > 0)
		attron(A_BOLD);
	put_format(" %6s %6s", known ? rate_text(rate.handed_over, over) : "-",
		   known ? rate_text(rate.drops, drops) : "-");
	attroff(A_BOLD);
}

static void put_trunk_head(struct screen *screen, const struct shown *shown)
{
	char rx[RATE_TEXT], tx[RATE_TEXT], *text;
	struct rate sum = { 0 }, rate;
	unsigned int lanes = 0, active = 0, i;

	for (i = 0; i < shown->found.lanes; i++) {
		if (!is_there(&shown->found.lane[i]))
			continue;
		lanes++;
		active += shown->found.lane[i].place.active;
		rate_of_lane(&shown->before, &shown->now, i, &rate);
		rate_add(&sum, &rate);
	}
	text = xprintf("%s: %s, %u lane%s, %u active, choice %s, received %s bit/s, sent %s bit/s",
		       shown->name, found_state(&shown->found), lanes, lanes == 1 ? "" : "s", active,
		       choice_text(shown->found.link.choice),
		       rate_text(sum.rx_bits, rx), rate_text(sum.tx_bits, tx));
	put_line(screen, A_BOLD, text);
	free(text);
}

static void put_lanes_head(struct screen *screen)
{
	int bar = lane_bar_width(screen) + 2;

	if (next_line(screen))
		put_format("%-*s %12s %*s %14s %14s %6s %6s %6s", name_width(screen), "", "", bar, "",
			   "received", "sent", "hand-", "handed", "");
	if (!next_line(screen))
		return;
	attron(A_UNDERLINE);
	put_format("%-*s %5s %-6s %-*s %6s %7s %6s %7s %6s %6s %6s", name_width(screen), "lane", "CPU",
		   "state", bar, bar < 20 ? "#rx =tx" : "# received = sent", "bit/s",
		   "packets", "bit/s", "packets", "shake", "over", "drops");
	attroff(A_UNDERLINE);
}

static void put_trunks(struct screen *screen)
{
	struct shown *shown;
	unsigned int i, j;
	char *text;

	if (!screen->count)
		put_line(screen, A_NORMAL, "no trunk is up");
	for (i = 0; i < screen->count; i++) {
		shown = &screen->trunks[i];
		if (!shown->there) {
			text = xprintf("%s: is not up", shown->name);
			put_line(screen, A_BOLD, text);
			free(text);
		} else {
			put_trunk_head(screen, shown);
			put_lanes_head(screen);
			for (j = 0; j < shown->found.lanes; j++)
				if (is_there(&shown->found.lane[j]))
					put_lane(screen, shown, j);
		}
		put_line(screen, A_NORMAL, "");
	}
}

static void put_lanes_of_cpu(const struct screen *screen, unsigned int cpu)
{
	const struct found *found;
	char name[IFNAMSIZ];
	unsigned int i, j;

	for (i = 0; i < screen->count; i++) {
		found = &screen->trunks[i].found;
		for (j = 0; j < found->lanes; j++)
			if (is_there(&found->lane[j]) && found->lane[j].place.home == (int)cpu)
				put_format(" %s", lane_name(found->name, j, name));
	}
}

static void put_cpu(struct screen *screen, unsigned int cpu)
{
	struct cpu_share share;
	bool known = cpu_share_of(&screen->cpus_before, &screen->cpus_now, cpu, &share);
	struct part parts[] = {
		{ PAINT_SOFTIRQ, '#', share.softirq },
		{ PAINT_SYSTEM, '=', share.system },
		{ PAINT_USER, '-', share.user },
	};

	if (!next_line(screen))
		return;
	put_format("%4u ", cpu);
	put_bar(bar_width(45), parts, 3);
	if (known)
		put_format(" %6.0f%% %6.0f%% %6.0f%%", share.softirq * 100, share.system * 100,
			   share.user * 100);
	else
		put_format(" %7s %7s %7s", "-", "-", "-");
	put_lanes_of_cpu(screen, cpu);
}

static void put_cpus(struct screen *screen)
{
	unsigned int i;

	if (next_line(screen)) {
		attron(A_UNDERLINE);
		put_format("%4s %-*s %7s %7s %7s %s", "CPU", bar_width(45) + 2,
			   "# softirq = system - user", "softirq", "system", "user", "lanes at home");
		attroff(A_UNDERLINE);
	}
	for (i = 0; i < screen->cpus_now.count; i++)
		if (screen->cpus_now.cpu[i].seen)
			put_cpu(screen, i);
}

static void put_foot(const struct screen *screen)
{
	char text[RATE_TEXT];

	if (move(LINES - 1, 0) != OK)
		return;
	attron(A_REVERSE);
	if (*screen->wrong)
		put(screen->wrong);
	else
		put_format("q quits, arrows scroll; a full bar is %s bit/s",
			   screen->full > 1 ? rate_text(screen->full, text) : "-");
	attroff(A_REVERSE);
}

static void draw(struct screen *screen)
{
	screen->full = find_full(screen);
	erase();
	screen->line = 0;
	put_trunks(screen);
	put_cpus(screen);
	put_foot(screen);
	refresh();
}

/* --- the terminal --- */

/*
 * Messages go to stderr, which is this terminal more often than not: while there
 * is a screen on it, they are kept in a file in memory, and the last one is shown.
 */
static int catch_messages(int *file)
{
	int to = dup(STDERR_FILENO);

	*file = memfd_create("messages", MFD_CLOEXEC);
	if (to >= 0 && *file >= 0)
		dup2(*file, STDERR_FILENO);
	return to;
}

static void release_messages(int to, int file)
{
	if (to >= 0) {
		dup2(to, STDERR_FILENO);
		close(to);
	}
	if (file >= 0)
		close(file);
}

/* The first line of those that a round gave; there is one, as a rule. */
static void read_message(int file, struct screen *screen)
{
	ssize_t len = pread(file, screen->wrong, sizeof(screen->wrong) - 1, 0);

	screen->wrong[len > 0 ? len : 0] = '\0';
	screen->wrong[strcspn(screen->wrong, "\n")] = '\0';
	if (file >= 0 && (ftruncate(file, 0) || lseek(file, 0, SEEK_SET)))
		screen->wrong[0] = '\0';
}

static void set_colors(void)
{
	static const short colors[] = {
		[PAINT_RX] = COLOR_GREEN, [PAINT_TX] = COLOR_CYAN, [PAINT_SOFTIRQ] = COLOR_YELLOW,
		[PAINT_SYSTEM] = COLOR_RED, [PAINT_USER] = COLOR_BLUE,
	};
	short i;

	if (!has_colors() || start_color() != OK)
		return;
	use_default_colors();
	for (i = PAINT_RX; i <= PAINT_USER; i++)
		init_pair(i, colors[i], -1);
}

static SCREEN *open_terminal(void)
{
	struct sigaction action = { .sa_handler = end };
	const char *kind = getenv("TERM");
	SCREEN *terminal;

	/* Before curses, which leaves handlers alone that are there. */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	setlocale(LC_CTYPE, "");
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal) {
		fail(NULL, 0, "top: no terminal of the kind '%s' is known", kind ? kind : "");
		return NULL;
	}
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	set_colors();
	return terminal;
}

static void scroll_by(struct screen *screen, int lines)
{
	int last = screen->line - (LINES - 1);

	screen->first += lines;
	if (screen->first > last)
		screen->first = last;
	if (screen->first < 0)
		screen->first = 0;
}

/* Returns whether to go on. */
static bool handle_key(struct screen *screen, int key)
{
	switch (key) {
	case 'q':
	case 'Q':
		return false;
	case KEY_UP:
		scroll_by(screen, -1);
		break;
	case KEY_DOWN:
		scroll_by(screen, 1);
		break;
	case KEY_PPAGE:
		scroll_by(screen, -(LINES - 1));
		break;
	case KEY_NPAGE:
		scroll_by(screen, LINES - 1);
		break;
	case KEY_RESIZE:
		scroll_by(screen, 0);
		break;
	case '\f':
		clearok(curscr, TRUE);
		break;
	}
	draw(screen);
	return true;
}

static int64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* Until the next round is due, or the user, or the terminal, has gone: false. */
static bool wait_until(struct screen *screen, int64_t due)
{
	struct pollfd keys = { .fd = STDIN_FILENO, .events = POLLIN };
	int64_t left;
	int key, got;

	while (!ended && (left = due - now_ms()) > 0) {
		got = poll(&keys, 1, left);
		if (got > 0 && keys.revents & (POLLHUP | POLLERR | POLLNVAL))
			return false;
		/* A change of the terminal's size interrupts, and is a key. */
		while ((key = getch()) != ERR)
			if (!handle_key(screen, key))
				return false;
	}
	return !ended;
}

static void watch(struct screen *screen, int messages)
{
	int64_t due = now_ms();

	for (;;) {
		draw(screen);
		/* After a long stop, not all the rounds that were missed. */
		due += PERIOD_MS;
		if (due < now_ms())
			due = now_ms() + PERIOD_MS;
		if (!wait_until(screen, due))
			break;
		look(screen);
		read_message(messages, screen);
	}
}

static void close_screen(struct screen *screen)
{
	forget(screen);
	cpu_times_free(&screen->cpus_before);
	cpu_times_free(&screen->cpus_now);
}

int top_run(struct kernel *kernel, const char *name)
{
	struct screen screen = { .kernel = kernel, .only = name };
	SCREEN *terminal = NULL;
	int stderr_was, messages;
	bool good;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return fail(NULL, 0, "top: needs a terminal; wgtrunk show needs none"), 1;
	/* Once before there is a screen: what is wrong at all is said plainly. */
	good = kernel_is_ours(kernel) && look(&screen);
	if (good && name && !screen.trunks[0].there)
		good = fail(NULL, 0, "top: no trunk '%s' is up", name);
	if (good)
		terminal = open_terminal();
	if (terminal) {
		stderr_was = catch_messages(&messages);
		watch(&screen, messages);
		endwin();
		delscreen(terminal);
		release_messages(stderr_was, messages);
	}
	close_screen(&screen);
	return !terminal;
}
