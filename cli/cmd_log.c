/* blaze log: what was changed, by whom, when and with which program; the newest change first. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "cli/tell.h"
#include "core/snapshot.h"
#include "core/when.h"

#include <stdlib.h>
#include <string.h>

struct log_options {
	const char *since;
	uint64_t since_ms;
	bool json;
	int64_t count;
};

static const struct option_row log_rows[] = {
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object a line",
	 offsetof(struct log_options, json), 0},
	{"count", 'n', OPTION_NUMBER, "N", "only the newest N changes",
	 offsetof(struct log_options, count), 0},
	{"since", 's', OPTION_TEXT, "TIME", "only changes made since then, by their devices' clocks",
	 offsetof(struct log_options, since), 0},
};

struct entry {
	struct tell t;
	struct id node;
	char *path; /**< within the database */
};

struct entries {
	struct entry *items;
	size_t count;
};

static void entries_fini(struct entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		tell_fini(&e->items[i].t);
		free(e->items[i].path);
	}
	free(e->items);
}

/* ---- gathering ------------------------------------------------------------------------------- */

static int by_node(const void *a, const void *b)
{
	const struct history_mark *x = a;
	const struct history_mark *y = b;
	int c = id_cmp(&x->node, &y->node);

	return c ? c : opid_cmp(x->rev, y->rev);
}

static int by_age(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;

	if (x->t.time_ms != y->t.time_ms)
		return x->t.time_ms < y->t.time_ms ? 1 : -1;
	int c = opid_cmp(y->t.rev, x->t.rev);
	return c ? c : id_cmp(&x->node, &y->node);
}

/* Changes made while the node was, or came from, below dir. */
static bool belongs(struct db *db, const struct tell *t, const struct id *dir)
{
	struct id root = db_root(db);

	return id_eq(dir, &root) || db_is_below(db, &t->parent_after, dir) ||
	       (!id_is_zero(&t->parent_before) && db_is_below(db, &t->parent_before, dir));
}

/* path as seen from dir. */
static const char *below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (n == 0)
		return path;
	if (strncmp(path, dir, n) != 0 || (path[n] != '/' && path[n] != 0))
		return path;
	return path[n] ? path + n + 1 : ".";
}

/* The marks of one node, ascending: `count` of them. top: what the log is of. */
static int tell_node(struct service *s, const struct history_mark *marks, size_t count,
		     const struct id *top, struct entries *out)
{
	struct history *h = NULL;
	bool is_top = id_eq(&marks->node, top);
	int r = history_open(s->db, &marks->node, &h);
	AUTO(free_ptr) char *path = db_path(s->db, &marks->node);
	size_t k = 0;

	for (size_t i = 0; r == 0 && i < history_count(h); i++) {
		struct entry e = {.node = marks->node};

		while (k < count && opid_cmp(marks[k].rev, history_at(h, i)->rev) < 0)
			k++;
		if (k == count || !opid_eq(marks[k].rev, history_at(h, i)->rev))
			continue;
		r = tell_change(s->db, h, i, &e.t);
		if (r < 0)
			break;
		if (marks[k].followed ? e.t.left : !is_top && !belongs(s->db, &e.t, top)) {
			tell_fini(&e.t);
			continue;
		}
		e.path = xstrdup(path);
		if ((out->count & (out->count - 1)) == 0)
			out->items = xreallocarray(out->items, out->count ? out->count * 2 : 1,
						   sizeof(e));
		out->items[out->count++] = e;
	}
	history_close(h);
	return r == -ENOENT ? 0 : r;
}

static int gather(struct service *s, const struct id *node, const struct log_options *o,
		  struct entries *out)
{
	struct history_mark *marks = NULL;
	size_t count = 0;
	int r = history_recent(s->db, node, (size_t)o->count, &marks, &count);

	while (r == 0 && count && marks[count - 1].hlc >> 16 < o->since_ms)
		count--; /* the newest come first */

	if (r == 0 && count > 1)
		qsort(marks, count, sizeof(*marks), by_node);
	for (size_t i = 0; r == 0 && i < count;) {
		size_t n = 1;

		while (i + n < count && id_eq(&marks[i].node, &marks[i + n].node))
			n++;
		r = tell_node(s, marks + i, n, node, out);
		i += n;
	}
	free(marks);
	if (r == 0 && out->count > 1)
		qsort(out->items, out->count, sizeof(*out->items), by_age);
	return r;
}

/* ---- printing -------------------------------------------------------------------------------- */

static void print_json(struct out *out, const struct entry *e)
{
	AUTO(buf_fini) struct buf line = {0};
	char rev[HISTORY_REV_BYTES];

	history_rev(e->t.rev, rev);
	buf_printf(&line, "{\"v\":1,");
	show_json_text(&line, "rev", rev);
	buf_printf(&line, "\"time\":\"");
	show_rfc3339(&line, e->t.time_ms);
	buf_printf(&line, "\",");
	show_json_text(&line, "author", e->t.author);
	show_json_text(&line, "program", e->t.program);
	show_json_text(&line, "path", e->path);
	AUTO(buf_fini) struct buf summary = {0};
	buf_slice_append(&summary, buf_slice(&e->t.summary));
	show_json_text(&line, "summary", buf_str(&summary));
	line.len--; /* the last comma */
	buf_slice_append(&line, buf_slice(&e->t.json));
	buf_printf(&line, "}\n");
	out_text(out, buf_slice(&line));
}

enum {
	COLUMN_REV,
	COLUMN_TIME,
	COLUMN_AUTHOR,
	COLUMN_PROGRAM,
	COLUMNS
};

static void columns(const struct entry *e, uint64_t now, char *ret[COLUMNS])
{
	struct buf t = {0};
	char rev[HISTORY_REV_BYTES];

	history_rev(e->t.rev, rev);
	show_time(&t, e->t.time_ms, now);
	ret[COLUMN_REV] = xstrdup(rev);
	ret[COLUMN_TIME] = buf_str(&t);
	ret[COLUMN_AUTHOR] = show_text(e->t.author);
	ret[COLUMN_PROGRAM] = show_text(e->t.program[0] ? e->t.program : "-");
}

static void columns_free(char *c[COLUMNS])
{
	for (size_t i = 0; i < COLUMNS; i++)
		free(c[i]);
}

/* As wide as their widest entry. dir: the path that the log is of, if it is of a directory; else NULL. */
static void print_text(struct out *out, const struct entries *all, const char *dir)
{
	uint64_t now = show_now_ms();
	size_t widths[COLUMNS] = {0};

	for (size_t i = 0; i < all->count; i++) {
		char *c[COLUMNS];

		columns(&all->items[i], now, c);
		for (size_t k = 0; k < COLUMNS; k++)
			widths[k] = strlen(c[k]) > widths[k] ? strlen(c[k]) : widths[k];
		columns_free(c);
	}
	for (size_t i = 0; i < all->count; i++) {
		const struct entry *e = &all->items[i];
		AUTO(buf_fini) struct buf said = {0};
		char *c[COLUMNS];

		if (dir)
			buf_printf(&said, "%s: ", below(e->path, dir));
		buf_slice_append(&said, buf_slice(&e->t.summary));
		AUTO(free_ptr) char *summary = show_text(buf_str(&said));
		columns(e, now, c);
		out_printf(out, "%-*s  %-*s  %-*s  %-*s  %s\n", (int)widths[0], c[0], (int)widths[1],
			   c[1], (int)widths[2], c[2], (int)widths[3], c[3], summary);
		columns_free(c);
	}
}

static bool is_dir(struct db *db, const struct id *node)
{
	struct id root = db_root(db);
	struct node_info n;
	bool dir = id_eq(node, &root);
	struct txn *t = db_begin(db);

	if (!dir && db_node(t, node, &n) == 0) {
		dir = n.kind == NODE_DIR;
		node_info_fini(&n);
	}
	db_abort(t);
	return dir;
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
	struct why why = {""};
	if (o.since && when_parse(o.since, show_now_ms(), &o.since_ms, &why) < 0)
		return out_error(out, CODE_USAGE, "log: \"%s\" is %s", o.since, why.text);
	const char *path = first < argc ? argv[first] : "";
	AUTO(free_ptr) char *shown = show_text(path);
	int r = db_resolve(s->db, path, true, &node);

	if (r >= 0)
		r = gather(s, &node, &o, &e);
	uint64_t older = db_history_missing(s->db);
	if (older && (r == -ENOENT || (r == 0 && e.count == 0 && *path && !o.since)))
		return out_error(out, CODE_FAILED,
				 "log: nothing is known of %s yet: history from before this device "
				 "joined is still being fetched; try again when blaze compact "
				 "--dry-run says that none is missing",
				 shown);
	if (r == -ENOENT || (r == 0 && e.count == 0 && *path && !o.since))
		return out_error(
			out, CODE_FAILED,
			"log: %s never was a record of %s: files that stay on this device have no "
			"history",
			shown, s->name);
	if (r < 0)
		return out_error(out, CODE_FAILED, "log: the history cannot be read: %s",
				 strerror(-r));
	if (!o.json) {
		AUTO(free_ptr) char *top = db_path(s->db, &node);

		print_text(out, &e, is_dir(s->db, &node) ? top : NULL);
		if (older)
			out_printf(out,
				   "History from before this device joined is still being fetched: "
				   "%llu change%s may be missing above, and what came first may "
				   "not be what it began with.\n",
				   (unsigned long long)older, show_plural(older));
		return CODE_OK;
	}
	for (size_t i = 0; i < e.count; i++)
		print_json(out, &e.items[i]);
	return CODE_OK;
}

const struct command cmd_log = {
	.usage = {.name = "log",
		  .operands = "[PATH]",
		  .operands_max = 1,
		  .summary = "Prints what was changed, by whom and how, the newest first.",
		  .notes = "PATH is a file or directory in a mount, or NAME:PATH within the database "
			   "NAME; it may have\nbeen deleted. Of a directory, the changes of all that "
			   "is in it are shown. Without PATH: of\nthe directory you are in.\n",
		  .rows = log_rows,
		  .row_count = countof(log_rows)},
	.run = client_run,
	.serve = log_serve,
	.operand_is_path = true,
};
