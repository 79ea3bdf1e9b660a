/* Option tables: parsing with getopt_long, help, and nearest names. */
#include "cli/options.h"

#include "cli/command.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 32
/* getopt's values for long options: above any letter. */
#define LONG_BASE 256

/* getopt keeps its state in globals; commands are also parsed by threads of the daemon. */
static struct mutex getopt_lock = {.m = PTHREAD_MUTEX_INITIALIZER};

int64_t options_duration(const char *text)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60e3}, {"min", 60e3}, {"h", 3600e3}};
	char *end = NULL;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	double v = strtod(text, &end);
	for (size_t i = 0; i < countof(units); i++) {
		if (strcmp(end, units[i].unit) == 0 && v >= 0 && v * units[i].ms < 1e15)
			return (int64_t)(v * units[i].ms + 0.5);
	}
	return -EINVAL;
}

static int64_t parse_number(const char *text)
{
	char *end = NULL;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	return errno || *end ? -EINVAL : v;
}

/* Stores one value. -EINVAL when it does not parse. */
static int store(const struct option_row *row, void *options, const char *value)
{
	void *field = (char *)options + row->offset;
	int64_t number = 0;

	switch (row->type) {
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_TEXT:
		*(const char **)field = value;
		return 0;
	case OPTION_LIST: {
		struct option_list *list = field;

		if (list->count == OPTION_LIST_MAX)
			return -EINVAL;
		list->items[list->count++] = value;
		return 0;
	}
	case OPTION_NUMBER:
		number = parse_number(value);
		break;
	case OPTION_DURATION:
	case OPTION_DURATION_OPTIONAL:
		number = value ? options_duration(value) : INT64_MAX;
		break;
	}
	if (number < 0)
		return -EINVAL;
	*(int64_t *)field = number;
	return 0;
}

static int arg_mode(const struct option_row *row)
{
	if (row->type == OPTION_FLAG)
		return no_argument;
	return row->type == OPTION_DURATION_OPTIONAL ? optional_argument : required_argument;
}

struct getopt_tables {
	char letters[ROWS_MAX * 3 + 4];
	struct option longs[ROWS_MAX + 2];
};

static void make_tables(const struct usage *u, struct getopt_tables *t)
{
	size_t n = 0;
	char *p = t->letters;

	assert(u->row_count <= ROWS_MAX);
	*p++ = ':';
	*p++ = 'h';
	for (size_t i = 0; i < u->row_count; i++) {
		const struct option_row *row = &u->rows[i];

		if (row->letter) {
			*p++ = row->letter;
			for (int k = 0; k < arg_mode(row); k++)
				*p++ = ':';
		}
		if (row->name)
			t->longs[n++] =
				(struct option){row->name, arg_mode(row), NULL, LONG_BASE + (int)i};
	}
	t->longs[n++] = (struct option){"help", no_argument, NULL, 'h'};
	t->longs[n] = (struct option){0};
	*p = 0;
}

static const struct option_row *find_row(const struct usage *u, int c)
{
	if (c >= LONG_BASE)
		return &u->rows[c - LONG_BASE];
	for (size_t i = 0; i < u->row_count; i++) {
		if (c && u->rows[i].letter == c)
			return &u->rows[i];
	}
	return NULL;
}

static int unknown_option(const struct usage *u, struct out *out, const char *given)
{
	AUTO(free_ptr) char *shown = log_quote(given, strcspn(given, "="));
	const char *names[ROWS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < u->row_count; i++) {
		if (u->rows[i].name)
			names[n++] = u->rows[i].name;
	}
	const char *near =
		strncmp(shown, "--", 2) == 0 ? options_nearest(shown + 2, names, n) : NULL;
	if (near)
		return out_error(out, CODE_USAGE, "%s: unknown option %s: did you mean --%s?",
				 u->name, shown, near);
	return out_error(out, CODE_USAGE, "%s: unknown option %s: see blaze %s --help", u->name,
			 shown, u->name);
}

/* What getopt could not make sense of: the option stands in argv[optind - 1], or is a letter. */
static int bad_option(const struct usage *u, struct out *out, int c, char **argv)
{
	const struct option_row *row = find_row(u, optopt);
	char letter[3] = {'-', (char)optopt, 0};
	const char *given = optopt && optopt < LONG_BASE ? letter : argv[optind - 1];

	if (row && c == ':')
		return out_error(out, CODE_USAGE,
				 "%s: option %s needs a value (%s): see blaze %s --help", u->name,
				 given, row->value, u->name);
	if (row && row->name)
		return out_error(out, CODE_USAGE,
				 "%s: option --%s takes no value: see blaze %s --help", u->name,
				 row->name, u->name);
	return unknown_option(u, out, given);
}

static int parse_locked(const struct usage *u, void *options, int argc, char **argv, struct out *out)
{
	struct getopt_tables t;
	int c = 0;

	make_tables(u, &t);
	platform_reset_getopt();
	opterr = 0;
	while ((c = getopt_long(argc, argv, t.letters, t.longs, NULL)) != -1) {
		if (c == 'h' && !find_row(u, 'h')) {
			options_print_help(u, out);
			return -CODE_OK;
		}
		const struct option_row *row = c == '?' || c == ':' ? NULL : find_row(u, c);

		if (!row)
			return -bad_option(u, out, c, argv);
		if (store(row, options, optarg) < 0)
			return -out_error(out, CODE_USAGE,
					  "%s: --%s: not a valid %s: see blaze %s --help", u->name,
					  row->name, row->value, u->name);
	}
	if (argc - optind > u->operands_max)
		return -out_error(out, CODE_USAGE, "%s: too many arguments: usage: blaze %s %s",
				  u->name, u->name, u->operands);
	return optind;
}

int options_parse(const struct usage *u, void *options, int argc, char **argv, struct out *out,
		  int *ret_code)
{
	mutex_lock(&getopt_lock);
	int r = parse_locked(u, options, argc, argv, out);
	mutex_unlock(&getopt_lock);

	if (r <= 0)
		*ret_code = -r;
	return r > 0 ? r : 0;
}

/* "read_only" of -o and "read-only" of the table. */
static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		if (*a != *b && !(*a == '_' && *b == '-'))
			return false;
	}
	return *a == *b;
}

int options_apply_o(const struct usage *u, void *options, char *text)
{
	char *value = strchr(text, '=');

	if (value)
		*value++ = 0;
	for (size_t i = 0; i < u->row_count; i++) {
		const struct option_row *row = &u->rows[i];

		if (!row->in_o || !row->name || !same_name(text, row->name))
			continue;
		if (!value != (row->type == OPTION_FLAG))
			return -EINVAL;
		int r = store(row, options, value);
		return r < 0 ? r : 1;
	}
	return 0;
}

void options_print_help(const struct usage *u, struct out *out)
{
	out_printf(out, "Usage: blaze %s%s%s%s\n%s\n", u->name, u->row_count ? " [OPTION]…" : "",
		   u->operands[0] ? " " : "", u->operands, u->summary);
	if (u->notes)
		out_printf(out, "\n%s", u->notes);
	out_printf(out, "\n");
	for (size_t i = 0; i < u->row_count; i++) {
		const struct option_row *row = &u->rows[i];
		char spelt[64];
		bool optional = row->type == OPTION_DURATION_OPTIONAL;

		(void)snprintf(spelt, sizeof(spelt), "%c%c%s%s%s%s%s%s%s", row->letter ? '-' : ' ',
			       row->letter ? row->letter : ' ',
			       row->letter && row->name ? ", " : "  ", row->name ? "--" : "",
			       row->name ? row->name : "", optional ? "[" : "",
			       row->value ? (row->name ? "=" : "") : "",
			       row->value ? row->value : "", optional ? "]" : "");
		out_printf(out, "  %-28s %s\n", spelt, row->help);
	}
	out_printf(out, "  %-28s %s\n", "-h, --help", "print this");
}

/* Edits (insert, delete, replace) between two short words. */
static size_t distance(const char *a, const char *b)
{
	size_t row[40];
	size_t n = strlen(b);

	if (n >= countof(row))
		return n;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = corner + (a[i - 1] == b[j - 1] ? 0 : 1);

			best = row[j] + 1 < best ? row[j] + 1 : best;
			best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			corner = row[j];
			row[j] = best;
		}
	}
	return row[n];
}

const char *options_nearest(const char *text, const char *const *names, size_t count)
{
	const char *best = NULL;
	size_t best_distance = strlen(text) < 4 ? 2 : 3;

	for (size_t i = 0; i < count; i++) {
		size_t d = distance(text, names[i]);

		if (d < best_distance) {
			best_distance = d;
			best = names[i];
		}
	}
	return best;
}
