/* blaze conflicts: values that lost when two devices changed the same thing; keeps what is shown, or uses another. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "cli/tell.h"
#include "core/clash.h"
#include "core/manifest.h"
#include "core/resolve.h"

#include <stdlib.h>
#include <string.h>

struct conflicts_options {
	bool json;
	bool check;
};

static const struct option_row conflicts_rows[] = {
	{"check", 'c', OPTION_FLAG, NULL, "exit with 3 if there are any",
	 offsetof(struct conflicts_options, check), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object for each value that lost",
	 offsetof(struct conflicts_options, json), 0},
};

/** A value that lost, with its own memory. */
struct loser {
	struct opid id;
	bool whole;
	bool unknown;  /**< its history is not here yet */
	uint64_t size; /**< of a whole value */
	uint64_t line; /**< of lines that clash: the first, from 1; else 0 */
	uint64_t line_count;
	uint64_t pos;
	struct buf path;
	struct buf key;
	struct buf value;
	struct buf shown;
	char *author;
	char *shown_author;
	uint64_t time_ms;
	uint64_t shown_ms;
};

struct losers {
	struct loser *items;
	size_t count;
};

static void losers_fini(struct losers *l)
{
	for (size_t i = 0; i < l->count; i++) {
		buf_fini(&l->items[i].path);
		buf_fini(&l->items[i].key);
		buf_fini(&l->items[i].value);
		buf_fini(&l->items[i].shown);
		free(l->items[i].author);
		free(l->items[i].shown_author);
	}
	free(l->items);
}

static void collect(void *ctx, const struct db_loser *l)
{
	struct losers *all = ctx;
	struct loser n = {.id = l->id,
			  .whole = l->whole,
			  .size = l->chunked ? manifest_size(l->value) : l->value.len,
			  .author = xstrdup(l->author_name),
			  .shown_author = xstrdup(l->shown_author),
			  .time_ms = l->time_ms,
			  .shown_ms = l->shown_ms};

	buf_printf(&n.path, "%s", l->path);
	buf_slice_append(&n.key, l->key);
	if (!l->whole) {
		buf_slice_append(&n.value, l->value);
		buf_slice_append(&n.shown, l->shown.len ? l->shown : SLICE_STR("null"));
	}
	all->items = xreallocarray(all->items, all->count + 1, sizeof(*all->items));
	all->items[all->count++] = n;
}

static void collect_lines(void *ctx, const struct clash *c)
{
	struct losers *all = ctx;
	struct loser n = {.unknown = !c->here,
			  .line = c->line,
			  .line_count = c->line_count,
			  .pos = c->pos,
			  .author = xstrdup(c->author_name),
			  .shown_author = xstrdup(""),
			  .time_ms = c->time_ms};

	buf_printf(&n.path, "line %llu", (unsigned long long)c->line);
	if (c->line_count > 1)
		buf_printf(&n.path, " to %llu", (unsigned long long)(c->line + c->line_count - 1));
	buf_slice_append(&n.value, c->lines);
	buf_slice_append(&n.shown, c->now);
	all->items = xreallocarray(all->items, all->count + 1, sizeof(*all->items));
	all->items[all->count++] = n;
}

static int collect_all(struct db *db, const struct id *node, struct losers *all)
{
	int r = db_losers(db, node, collect, all);

	return r < 0 ? r : clash_list(db, node, collect_lines, all);
}

/* ---- listing --------------------------------------------------------------------------------- */

struct listing {
	struct service *s;
	struct out *out;
	bool json;
	const char *top;
	size_t records;
};

static void put_value(struct buf *out, const struct loser *l, const struct buf *value)
{
	if (l->whole)
		show_size(out, l->size);
	else if (l->unknown && value == &l->value)
		buf_printf(out, "its history is still being fetched");
	else
		tell_value(out, buf_slice(value));
}

static void print_loser(struct listing *x, const struct loser *l, size_t number, bool again)
{
	AUTO(buf_fini) struct buf line = {0};
	uint64_t now = show_now_ms();

	if (!again && l->whole) {
		buf_printf(&line, "  whole file    in use: that of %s, ", l->shown_author);
		show_time(&line, l->shown_ms, now);
	} else if (!again && l->line) {
		buf_printf(&line, "  %s    in use: ", (const char *)l->path.data);
		put_value(&line, l, &l->shown);
		buf_printf(&line, "  (merged)");
	} else if (!again) {
		buf_printf(&line,
			   "  %s    in use: ", l->path.len ? (const char *)l->path.data : ".");
		put_value(&line, l, &l->shown);
		buf_printf(&line, "  %s  ", l->shown_author);
		show_time(&line, l->shown_ms, now);
	}
	AUTO(free_ptr) char *head = show_text(buf_str(&line));
	if (!again)
		out_printf(x->out, "%s\n", head);
	buf_clear(&line);
	put_value(&line, l, &l->value);
	buf_printf(&line, "  %s  ", l->author);
	if (l->time_ms)
		show_time(&line, l->time_ms, now);
	AUTO(free_ptr) char *text = show_text(buf_str(&line));
	out_printf(x->out, "    %zu   other: %s\n", number, text);
}

static void print_json(struct listing *x, const struct loser *l, size_t number, const char *path)
{
	AUTO(buf_fini) struct buf line = {0};
	AUTO(buf_fini) struct buf field = {0};

	buf_slice_append(&field, buf_slice(&l->path));
	buf_printf(&line, "{\"v\":1,");
	show_json_text(&line, "path", path);
	buf_printf(&line, "\"number\":%zu,", number);
	if (l->whole) {
		buf_printf(&line, "\"whole\":true,\"size\":%llu,", (unsigned long long)l->size);
	} else if (l->line) {
		AUTO(buf_fini) struct buf value = {0};
		AUTO(buf_fini) struct buf shown = {0};

		buf_slice_append(&value, buf_slice(&l->value));
		buf_slice_append(&shown, buf_slice(&l->shown));
		buf_printf(&line, "\"line\":%llu,\"lines\":%llu,", (unsigned long long)l->line,
			   (unsigned long long)l->line_count);
		if (!l->unknown)
			show_json_text(&line, "value", buf_str(&value));
		show_json_text(&line, "in_use", buf_str(&shown));
	} else {
		show_json_text(&line, "field", buf_str(&field));
		buf_printf(&line, "\"value\":");
		buf_slice_append(&line, buf_slice(&l->value));
		buf_printf(&line, ",\"in_use\":");
		buf_slice_append(&line, buf_slice(&l->shown));
		buf_u8(&line, ',');
	}
	show_json_text(&line, "author", l->author);
	buf_printf(&line, "\"time\":\"");
	show_rfc3339(&line, l->time_ms);
	buf_printf(&line, "\"");
	if (!l->line) {
		buf_u8(&line, ',');
		show_json_text(&line, "in_use_author", l->shown_author);
		buf_printf(&line, "\"in_use_time\":\"");
		show_rfc3339(&line, l->shown_ms);
		buf_u8(&line, '"');
	}
	buf_u8(&line, '}');
	for (size_t i = 0; i < line.len; i++) {
		if (line.data[i] == '\n' || line.data[i] == '\r')
			line.data[i] = ' ';
	}
	out_printf(x->out, "%s\n", buf_str(&line));
}

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return n == 0 || (strncmp(path, top, n) == 0 && (path[n] == 0 || path[n] == '/'));
}

static void list_record(void *ctx, const struct node_info *n, const char *path)
{
	struct listing *x = ctx;
	AUTO(losers_fini) struct losers all = {0};

	if (n->conflicts == 0 || !is_below(path, x->top) ||
	    collect_all(x->s->db, &n->id, &all) < 0 || all.count == 0)
		return;
	x->records++;
	AUTO(free_ptr) char *shown = show_text(path);
	if (!x->json)
		out_printf(x->out, "%s\n", shown);
	for (size_t i = 0; i < all.count; i++) {
		bool again =
			i > 0 && all.items[i].whole == all.items[i - 1].whole &&
			slice_eq(buf_slice(&all.items[i].path), buf_slice(&all.items[i - 1].path));

		if (x->json)
			print_json(x, &all.items[i], i + 1, path);
		else
			print_loser(x, &all.items[i], i + 1, again);
	}
}

static int list(struct service *s, struct out *out, const char *path,
		const struct conflicts_options *o)
{
	struct listing x = {.s = s, .out = out, .json = o->json, .top = path};
	struct id node;

	if (*path && db_resolve(s->db, path, false, &node) == -ENOENT) {
		AUTO(free_ptr) char *shown = show_text(path);

		return out_error(out, CODE_FAILED,
				 "conflicts: %s is no record of %s: see blaze conflicts without a "
				 "path",
				 shown, s->name);
	}
	db_problems(s->db, list_record, &x);
	if (x.records && !o->json)
		out_printf(out, "Keep what is in use: blaze conflicts keep PATH [N]    "
				"Use another: blaze conflicts use N PATH\n");
	else if (!x.records && !o->json)
		out_printf(out, "No conflicts.\n");
	return x.records && o->check ? CODE_ATTENTION : CODE_OK;
}

/* ---- settling --------------------------------------------------------------------------------- */

/* By number, or by device if it wrote only one. SIZE_MAX and an error said, if there is none. */
static size_t choose(const struct losers *all, const char *which, const char *shown, struct out *out)
{
	char *end = NULL;
	unsigned long n = strtoul(which, &end, 10);
	size_t found = SIZE_MAX;

	if (*which && !*end) {
		if (n >= 1 && n <= all->count)
			return n - 1;
		(void)out_error(out, CODE_FAILED,
				"conflicts: %s has %zu, not %s: see blaze conflicts", shown,
				all->count, which);
		return SIZE_MAX;
	}
	for (size_t i = 0; i < all->count; i++) {
		if (strcmp(all->items[i].author, which) != 0)
			continue;
		if (found != SIZE_MAX) {
			(void)out_error(out, CODE_FAILED,
					"conflicts: %s has several values of that device: say its "
					"number, see blaze conflicts",
					shown);
			return SIZE_MAX;
		}
		found = i;
	}
	if (found == SIZE_MAX)
		(void)out_error(out, CODE_FAILED,
				"conflicts: %s has no value of that device: see blaze conflicts",
				shown);
	return found;
}

/* which: NULL = all of them. */
static int settle(struct service *s, struct out *out, bool use, const char *which, const char *path)
{
	AUTO(losers_fini) struct losers all = {0};
	AUTO(free_ptr) char *shown = show_text(path);
	struct id node;
	size_t i = 0;
	int r = db_resolve(s->db, path, false, &node);

	if (r == 0)
		r = collect_all(s->db, &node, &all);
	if (r < 0 || all.count == 0)
		return out_error(out, CODE_FAILED, "conflicts: %s has none",
				 *path ? shown : s->name);
	if (which) {
		i = choose(&all, which, shown, out);
		if (i == SIZE_MAX)
			return CODE_FAILED;
	}
	const struct loser *l = &all.items[i];
	if (use && l->unknown)
		return out_error(out, CODE_FAILED,
				 "conflicts: that version's history is still being fetched: see "
				 "blaze status, or save the lines as they should be");
	const struct doc_which one = {all.items[i].id, buf_slice(&all.items[i].key)};
	r = use && l->line
		    ? clash_use(s->db, &node, l->pos, buf_slice(&l->shown), buf_slice(&l->value))
	    : use		? resolve_use(s->db, &node, &one)
	    : which && !l->line ? resolve_drop(s->db, &node, &one)
				: resolve_keep(s->db, &node);
	if (r <= 0)
		return out_error(out, CODE_FAILED, "conflicts: %s",
				 r ? strerror(-r) : "somebody settled it just now");
	service_told(s);
	AUTO(buf_fini) struct buf said = {0};
	if (use && !l->whole) {
		buf_printf(&said, "%s ", l->path.len ? (const char *)l->path.data : ".");
		tell_value(&said, buf_slice(&l->shown));
		buf_printf(&said, " → ");
		tell_value(&said, buf_slice(&l->value));
	} else if (use) {
		buf_printf(&said, "now that of %s", l->author);
	} else {
		buf_printf(&said, "kept as it is");
	}
	AUTO(free_ptr) char *text = show_text(buf_str(&said));
	out_printf(out, "%s: %s (undo: blaze undo)\n", shown, text);
	return CODE_OK;
}

static bool is_verb(const char *word)
{
	return strcmp(word, "keep") == 0 || strcmp(word, "use") == 0;
}

/* keep PATH [N], use N PATH; PATH keep [N], PATH use N; PATH. */
static int path_operand(int count, char **operands)
{
	if (count == 0)
		return 0;
	if (strcmp(operands[0], "keep") == 0)
		return 1;
	return strcmp(operands[0], "use") == 0 ? 2 : 0;
}

static int conflicts_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct conflicts_options o = {0};
	int code = CODE_OK;
	int first = options_parse(&cmd_conflicts.usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	/* client_run() has put the path last. */
	int n = argc - first;
	const char *path = n > 0 ? argv[argc - 1] : "";
	if (n <= 1)
		return list(s, out, path, &o);
	bool use = strcmp(argv[first], "use") == 0;
	if (!is_verb(argv[first]) || (use && n != 3) || !*path)
		return out_error(out, CODE_USAGE,
				 "conflicts: say blaze conflicts keep PATH [N], or blaze conflicts "
				 "use N PATH");
	return settle(s, out, use, n == 3 ? argv[first + 1] : NULL, path);
}

const struct command cmd_conflicts = {
	.usage = {.name = "conflicts",
		  .operands = "[PATH | keep PATH [N] | use N PATH]",
		  .operands_max = 3,
		  .summary = "Shows values that lost, and settles which one stays.",
		  .notes = "When two devices change the same thing, one value is shown and the other "
			   "kept aside. N is its\nnumber in the list, or the device it is of.\n",
		  .rows = conflicts_rows,
		  .row_count = countof(conflicts_rows)},
	.run = client_run,
	.serve = conflicts_serve,
	.operand_is_path = true,
	.path_operand = path_operand,
};
