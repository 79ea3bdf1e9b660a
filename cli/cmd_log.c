/* blaze log: the history of one record, the newest change last. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct log_options {
	bool json;
	int64_t count;
};

static const struct option_row log_rows[] = {
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object a line",
	 offsetof(struct log_options, json), 0},
	{"count", 'n', OPTION_NUMBER, "N", "only the last N changes",
	 offsetof(struct log_options, count), 0},
};

struct entry {
	char *author;
	char *summary;
	uint64_t time_ms;
	char rev[20];
};

struct entries {
	struct entry *items;
	size_t count;
	size_t cap;
};

static void entries_fini(struct entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		free(e->items[i].author);
		free(e->items[i].summary);
	}
	free(e->items);
}

/* Only collects: it may be called under the database's lock. */
static void collect(void *ctx, const struct history_entry *h)
{
	struct entries *e = ctx;

	if (e->count == e->cap) {
		e->cap = e->cap ? e->cap * 2 : 16;
		e->items = xreallocarray(e->items, e->cap, sizeof(*e->items));
	}
	struct entry *to = &e->items[e->count++];

	*to = (struct entry){.author = xstrdup(h->author_name ? h->author_name : "?"),
			     .summary = xstrdup(h->summary ? h->summary : ""),
			     .time_ms = h->time_ms};
	memcpy(to->rev, h->rev, sizeof(to->rev));
	to->rev[sizeof(to->rev) - 1] = 0;
}

static void print_json(struct out *out, const struct entry *e)
{
	AUTO(buf_fini) struct buf line = {0};

	buf_printf(&line, "{\"v\":1,");
	show_json_text(&line, "rev", e->rev);
	buf_printf(&line, "\"time\":\"");
	show_rfc3339(&line, e->time_ms);
	buf_printf(&line, "\",");
	show_json_text(&line, "author", e->author);
	show_json_text(&line, "summary", e->summary);
	line.len--; /* the last comma */
	out_printf(out, "%s}\n", buf_str(&line));
}

/* Columns as wide as their widest entry; time is at most "Nov 21 14:02". */
static void print_text(struct out *out, const struct entry *e, size_t count)
{
	uint64_t now = show_now_ms();
	size_t widths[2] = {0};

	for (size_t i = 0; i < count; i++) {
		AUTO(buf_fini) struct buf t = {0};

		show_time(&t, e[i].time_ms, now);
		widths[0] = t.len > widths[0] ? t.len : widths[0];
		widths[1] = strlen(e[i].author) > widths[1] ? strlen(e[i].author) : widths[1];
	}
	for (size_t i = 0; i < count; i++) {
		AUTO(buf_fini) struct buf t = {0};
		AUTO(free_ptr) char *author = show_text(e[i].author);
		AUTO(free_ptr) char *summary = show_text(e[i].summary);

		show_time(&t, e[i].time_ms, now);
		out_printf(out, "%s  %-*s  %-*s  %s\n", e[i].rev, (int)widths[0], buf_str(&t),
			   (int)widths[1], author, summary);
	}
}

static int log_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct log_options o = {.count = INT64_MAX};
	AUTO(entries_fini) struct entries e = {0};
	struct id node;
	int code = CODE_OK;
	int first = options_parse(&cmd_log.usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	const char *path = first < argc ? argv[first] : "";
	int r = db_resolve(s->db, path, true, &node);

	if (r >= 0)
		r = db_history(s->db, &node, collect, &e);
	if (r == -ENOENT) {
		AUTO(free_ptr) char *shown = show_text(path);
		return out_error(
			out, CODE_FAILED,
			"log: %s never was a record of %s: files that stay on this device have no "
			"history",
			shown, s->name);
	}
	if (r < 0)
		return out_error(out, CODE_FAILED, "log: the history cannot be read: %s",
				 strerror(-r));
	size_t skip = (uint64_t)o.count < e.count ? e.count - (size_t)o.count : 0;

	if (!o.json) {
		print_text(out, e.items + skip, e.count - skip);
		return CODE_OK;
	}
	for (size_t i = skip; i < e.count; i++)
		print_json(out, &e.items[i]);
	return CODE_OK;
}

const struct command cmd_log = {
	.usage = {.name = "log",
		  .operands = "PATH",
		  .operands_max = 1,
		  .summary = "Prints the history of a record, the newest change last.",
		  .notes = "PATH is a file in a mount, or NAME:PATH within the database NAME.\n",
		  .rows = log_rows,
		  .row_count = countof(log_rows)},
	.run = client_run,
	.serve = log_serve,
	.operand_is_path = true,
};
