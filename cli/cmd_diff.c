/* blaze diff: what is different between two versions of a file or directory. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/delta.h"
#include "core/history.h"
#include "core/manifest.h"
#include "core/past.h"
#include "core/snapshot.h"
#include "core/when.h"

#include <stdlib.h>
#include <string.h>

struct diff_options {
	bool json;
	bool unified;
	struct option_list at;
	struct option_list rev;
};

static const struct option_row diff_rows[] = {
	{"at", 'a', OPTION_LIST, "TIME",
	 "the version of that time; once: against now, twice: between them",
	 offsetof(struct diff_options, at), 0},
	{"rev", 'r', OPTION_LIST, "REV", "the version that change left; likewise",
	 offsetof(struct diff_options, rev), 0},
	{"unified", 'u', OPTION_FLAG, NULL, "lines for JSON, too, not fields",
	 offsetof(struct diff_options, unified), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object for each file that differs",
	 offsetof(struct diff_options, json), 0},
};

/** One side of a comparison. */
struct side {
	bool there;
	bool chunked;
	struct buf content;
	char *label;
};

static void side_fini(struct side *s)
{
	buf_fini(&s->content);
	free(s->label);
	*s = (struct side){0};
}

struct sides {
	struct side from;
	struct side to;
};

static void sides_fini(struct sides *s)
{
	side_fini(&s->from);
	side_fini(&s->to);
}

/* ---- printing -------------------------------------------------------------------------------- */

struct printing {
	const struct diff_options *o;
	struct out *out;
	struct buf fields;
	size_t count;
};

static void put_text(struct buf *out, struct slice text)
{
	AUTO(buf_fini) struct buf line = {0};

	for (size_t i = 0; i < text.len; i++)
		buf_u8(&line, text.data[i] == '\n' || text.data[i] == '\r' ? ' ' : text.data[i]);
	AUTO(free_ptr) char *shown = show_text(buf_str(&line));
	buf_printf(out, "%s", shown);
}

static void add_field(void *ctx, const struct delta_field *f)
{
	struct printing *p = ctx;
	static const char *const words[] = {"added", "removed", "changed"};
	AUTO(free_ptr) char *path = show_text(*f->path ? f->path : ".");

	if (p->o->json) {
		buf_printf(&p->fields, "%s{\"path\":\"", p->count ? "," : "");
		buf_json_string(&p->fields, SLICE_STR(f->path));
		buf_printf(&p->fields, "\",\"kind\":\"%s\"", words[f->kind]);
		if (f->kind != DELTA_ADDED) {
			buf_printf(&p->fields, ",\"from\":");
			buf_slice_append(&p->fields, f->from);
		}
		if (f->kind != DELTA_REMOVED) {
			buf_printf(&p->fields, ",\"to\":");
			buf_slice_append(&p->fields, f->to);
		}
		buf_u8(&p->fields, '}');
	} else {
		if (f->kind != DELTA_ADDED) {
			buf_printf(&p->fields, "- %s: ", path);
			put_text(&p->fields, f->from);
			buf_u8(&p->fields, '\n');
		}
		if (f->kind != DELTA_REMOVED) {
			buf_printf(&p->fields, "+ %s: ", path);
			put_text(&p->fields, f->to);
			buf_u8(&p->fields, '\n');
		}
	}
	p->count++;
}

static uint64_t size_of(const struct side *s)
{
	return s->chunked ? manifest_size(buf_slice(&s->content)) : s->content.len;
}

static void print_header(struct printing *p, const char *path, const struct sides *s)
{
	AUTO(free_ptr) char *shown = show_text(path);

	out_printf(p->out, "--- %s  (%s%s)\n+++ %s  (%s%s)\n", shown, s->from.label,
		   s->from.there ? "" : ", not there", shown, s->to.label,
		   s->to.there ? "" : ", not there");
}

static void begin_json(struct buf *line, const char *path, const struct sides *s)
{
	buf_printf(line, "{\"v\":1,");
	show_json_text(line, "path", path);
	show_json_text(line, "from", s->from.label);
	show_json_text(line, "to", s->to.label);
	buf_printf(line, "\"from_there\":%s,\"to_there\":%s,", s->from.there ? "true" : "false",
		   s->to.there ? "true" : "false");
}

static void end_json(struct printing *p, struct buf *line)
{
	for (size_t i = 0; i < line->len; i++) {
		if (line->data[i] == '\n' || line->data[i] == '\r')
			line->data[i] = ' '; /* between tokens of a value */
	}
	buf_printf(line, "}\n");
	out_text(p->out, buf_slice(line));
}

static bool print_fields(struct printing *p, const char *path, const struct sides *s)
{
	AUTO(buf_fini) struct buf line = {0};

	buf_clear(&p->fields);
	p->count = 0;
	if (p->o->unified || !s->from.there || !s->to.there ||
	    delta_fields(buf_slice(&s->from.content), buf_slice(&s->to.content), add_field, p) < 0 ||
	    p->count == 0)
		return false;
	if (!p->o->json) {
		print_header(p, path, s);
		out_text(p->out, buf_slice(&p->fields));
		return true;
	}
	begin_json(&line, path, s);
	buf_printf(&line, "\"fields\":[");
	buf_slice_append(&line, buf_slice(&p->fields));
	buf_u8(&line, ']');
	end_json(p, &line);
	return true;
}

static void print_binary(struct printing *p, const char *path, const struct sides *s)
{
	AUTO(buf_fini) struct buf line = {0};
	AUTO(buf_fini) struct buf from = {0};
	AUTO(buf_fini) struct buf to = {0};

	if (p->o->json) {
		begin_json(&line, path, s);
		buf_printf(&line, "\"binary\":true,\"from_size\":%llu,\"to_size\":%llu",
			   (unsigned long long)size_of(&s->from),
			   (unsigned long long)size_of(&s->to));
		end_json(p, &line);
		return;
	}
	print_header(p, path, s);
	show_size(&from, size_of(&s->from));
	show_size(&to, size_of(&s->to));
	out_printf(p->out, "Binary content differs: %s, then %s\n", buf_str(&from), buf_str(&to));
}

static void print_lines(struct printing *p, const char *path, const struct sides *s)
{
	AUTO(buf_fini) struct buf hunks = {0};
	AUTO(buf_fini) struct buf line = {0};

	delta_unified(buf_slice(&s->from.content), buf_slice(&s->to.content), &hunks);
	if (!p->o->json) {
		print_header(p, path, s);
		out_text(p->out, buf_slice(&hunks));
		return;
	}
	begin_json(&line, path, s);
	buf_printf(&line, "\"diff\":\"");
	buf_json_string(&line, buf_slice(&hunks));
	buf_u8(&line, '"');
	end_json(p, &line);
}

static void print(struct printing *p, const char *path, const struct sides *s)
{
	bool same = s->from.there == s->to.there && s->from.chunked == s->to.chunked &&
		    slice_eq(buf_slice(&s->from.content), buf_slice(&s->to.content));

	if (same)
		return;
	if (s->from.chunked || s->to.chunked || !delta_is_text(buf_slice(&s->from.content)) ||
	    !delta_is_text(buf_slice(&s->to.content)))
		print_binary(p, path, s);
	else if (!print_fields(p, path, s))
		print_lines(p, path, s);
}

/* ---- files ----------------------------------------------------------------------------------- */

/** A version that was asked for. */
struct point {
	const char *text;
	bool is_rev;
	uint64_t ms; /**< unless is_rev */
};

static char *label_of(uint64_t ms)
{
	struct buf b = {0};

	if (ms == UINT64_MAX)
		return xstrdup("now");
	show_rfc3339(&b, ms);
	return buf_str(&b);
}

static int take_state(struct history_state *s, struct side *ret)
{
	ret->there = s->alive;
	ret->chunked = s->alive && s->chunked;
	if (s->alive)
		buf_slice_append(&ret->content, buf_slice(&s->content));
	history_state_fini(s);
	return 0;
}

static int side_at(struct history *h, const struct point *p, struct side *ret)
{
	struct history_state s = {0};
	size_t i = 0;
	int r = p->is_rev ? history_find(h, p->text, &i) : 0;

	if (r == 0)
		r = p->is_rev ? history_after(h, i, HISTORY_CONTENT, &s)
			      : history_when(h, p->ms, HISTORY_CONTENT, &s);
	ret->label = p->is_rev ? xstrdup(p->text) : label_of(p->ms);
	return r < 0 ? r : take_state(&s, ret);
}

/* The last change against what its author had seen. */
static int last_change(struct history *h, struct sides *ret)
{
	struct history_state s = {0};
	char rev[HISTORY_REV_BYTES];
	size_t last = 0;

	for (size_t i = 1; i < history_count(h); i++) {
		if (history_at(h, i)->time_ms >= history_at(h, last)->time_ms)
			last = i;
	}
	history_rev(history_at(h, last)->rev, rev);
	ret->from.label = xasprintf("before %s", rev);
	ret->to.label = xstrdup(rev);
	int r = history_before(h, last, HISTORY_CONTENT, &s);
	if (r == 0)
		r = take_state(&s, &ret->from);
	if (r == 0)
		r = history_after(h, last, HISTORY_CONTENT, &s);
	return r < 0 ? r : take_state(&s, &ret->to);
}

static int diff_file(struct printing *p, struct db *db, const struct id *node, const char *path,
		     const struct point *points, size_t count)
{
	static const struct point now = {.ms = UINT64_MAX};
	AUTO(sides_fini) struct sides s = {0};
	struct history *h = NULL;
	int r = history_open_whole(db, node, &h);

	if (r == 0 && count == 0)
		r = last_change(h, &s);
	if (r == 0 && count > 0)
		r = side_at(h, &points[0], &s.from);
	if (r == 0 && count > 0)
		r = side_at(h, count > 1 ? &points[1] : &now, &s.to);
	history_close(h);
	if (r == 0)
		print(p, path, &s);
	return r;
}

/* ---- directories ------------------------------------------------------------------------------ */

struct walk {
	struct printing *p;
	struct past *from;
	struct past *to;
};

static int read_side(struct past *past, const struct past_node *n, struct side *ret)
{
	ret->label = label_of(past_time_ms(past));
	ret->there = n != NULL;
	return n && n->kind != NODE_DIR ? past_read(past, &n->id, &ret->content, &ret->chunked) : 0;
}

struct names {
	struct past_node *items;
	size_t count;
};

static void names_fini(struct names *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].name);
	free(l->items);
}

/* A copy: listings are borrowed until the next one. */
static int list(struct past *past, const struct past_node *dir, const struct id *root,
		struct names *ret)
{
	const struct past_node *nodes = NULL;
	size_t n = 0;
	int r = dir || root ? past_children(past, dir ? &dir->id : root, &nodes, &n) : 0;

	if (r < 0)
		return r;
	ret->items = xcalloc(n, sizeof(*ret->items));
	ret->count = n;
	for (size_t i = 0; i < n; i++) {
		ret->items[i] = nodes[i];
		ret->items[i].name = xstrdup(nodes[i].name);
	}
	return 0;
}

static int diff_dirs(struct walk *w, const struct past_node *from, const struct past_node *to,
		     const struct id *root, const char *path);

static int diff_pair(struct walk *w, const struct past_node *a, const struct past_node *b,
		     const char *dir)
{
	AUTO(sides_fini) struct sides s = {0};
	const struct past_node *either = a ? a : b;

	assert(either);
	AUTO(free_ptr) char *path = xasprintf("%s%s%s", dir, *dir ? "/" : "", either->name);
	const struct past_node *from_dir = a && a->kind == NODE_DIR ? a : NULL;
	const struct past_node *to_dir = b && b->kind == NODE_DIR ? b : NULL;
	int r = 0;

	if (from_dir || to_dir)
		r = diff_dirs(w, from_dir, to_dir, NULL, path);
	a = from_dir ? NULL : a;
	b = to_dir ? NULL : b;
	if (r < 0 || (!a && !b) || (a && b && a->same && b->same && id_eq(&a->id, &b->id)))
		return r;
	r = read_side(w->from, a, &s.from);
	if (r == 0)
		r = read_side(w->to, b, &s.to);
	if (r == 0)
		print(w->p, path, &s);
	return r;
}

static int diff_dirs(struct walk *w, const struct past_node *from, const struct past_node *to,
		     const struct id *root, const char *path)
{
	AUTO(names_fini) struct names a = {0};
	AUTO(names_fini) struct names b = {0};
	int r = list(w->from, from, root, &a);
	size_t i = 0;
	size_t k = 0;

	if (r == 0)
		r = list(w->to, to, root, &b);
	while (r == 0 && (i < a.count || k < b.count)) {
		int c = i == a.count   ? 1
			: k == b.count ? -1
				       : strcmp(a.items[i].name, b.items[k].name);

		r = diff_pair(w, c <= 0 ? &a.items[i] : NULL, c >= 0 ? &b.items[k] : NULL, path);
		i += c <= 0;
		k += c >= 0;
	}
	return r;
}

static int diff_tree(struct printing *p, struct db *db, const char *path, uint64_t from_ms,
		     uint64_t to_ms)
{
	struct walk w = {.p = p, .from = past_create(db, from_ms), .to = past_create(db, to_ms)};
	const struct past_node *a = NULL;
	const struct past_node *b = NULL;
	struct past_node from = {0};
	struct past_node to = {0};
	struct id id;
	struct id root = db_root(db);
	int r = past_resolve(w.from, path, &id, &a);
	int s = past_resolve(w.to, path, &id, &b);

	if (a)
		from = *a;
	if (b)
		to = *b;
	from.name = to.name = NULL;
	if (r == -ENOENT && s == -ENOENT)
		r = -ENOENT;
	else
		r = diff_dirs(&w, a ? &from : NULL, b ? &to : NULL, *path ? NULL : &root, path);
	past_destroy(w.from);
	past_destroy(w.to);
	return r;
}

/* ---- the command ------------------------------------------------------------------------------ */

static int failed(struct service *s, struct out *out, const char *path, int r)
{
	AUTO(free_ptr) char *shown = show_text(*path ? path : s->name);

	if (r == -EINVAL || r == -ENOTUNIQ)
		return out_error(out, CODE_FAILED,
				 "diff: %s has no such revision, or more than one: see blaze log",
				 shown);
	if (r == -ENOENT)
		return out_error(out, CODE_FAILED,
				 "diff: %s never was a record of %s, or has no such revision: see "
				 "blaze log",
				 shown, s->name);
	return out_error(out, CODE_FAILED, "diff: %s", strerror(-r));
}

/* The versions asked for; the number, or -1 after an error. */
static int parse_points(const struct diff_options *o, struct out *out, struct point points[2],
			int *ret_code)
{
	size_t n = o->at.count + o->rev.count;

	if (n > 2) {
		*ret_code = out_error(out, CODE_USAGE, "diff: between two versions, not %zu", n);
		return -1;
	}
	for (size_t i = 0; i < o->at.count; i++) {
		struct why why = {""};

		points[i].text = o->at.items[i];
		if (when_parse(o->at.items[i], show_now_ms(), &points[i].ms, &why) == 0)
			continue;
		AUTO(free_ptr) char *shown = show_text(o->at.items[i]);
		*ret_code = out_error(out, CODE_USAGE, "diff: \"%s\" is %s", shown, why.text);
		return -1;
	}
	for (size_t i = 0; i < o->rev.count; i++)
		points[o->at.count + i] = (struct point){.text = o->rev.items[i], .is_rev = true};
	return (int)n;
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

static int diff_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct diff_options o = {0};
	struct printing p = {.o = &o, .out = out};
	struct point points[2] = {0};
	struct id node;
	int code = CODE_OK;
	int first = options_parse(&cmd_diff.usage, &o, argc, argv, out, &code);
	int n = first ? parse_points(&o, out, points, &code) : -1;

	if (n < 0)
		return code;
	const char *path = first < argc ? argv[first] : "";
	int r = db_resolve(s->db, path, true, &node);
	if (r == 0 && is_dir(s->db, &node) && (n == 0 || o.rev.count))
		return out_error(out, CODE_USAGE,
				 "diff: of a directory, say since when with --at TIME");
	if (r == 0 && is_dir(s->db, &node))
		r = diff_tree(&p, s->db, path, points[0].ms, n > 1 ? points[1].ms : UINT64_MAX);
	else if (r == 0)
		r = diff_file(&p, s->db, &node, path, points, (size_t)n);
	buf_fini(&p.fields);
	uint64_t missing = db_history_missing(s->db);
	if (missing)
		out_warn(out,
			 "history from before this device joined is still being fetched (%llu change%s "
			 "missing): what was there is not known, or may be another than it seems",
			 (unsigned long long)missing, missing == 1 ? " is" : "s are");
	if (missing && r == -ENOENT)
		return CODE_FAILED;
	return r < 0 ? failed(s, out, path, r) : CODE_OK;
}

const struct command cmd_diff = {
	.usage = {.name = "diff",
		  .operands = "[PATH]",
		  .operands_max = 1,
		  .summary = "Shows what differs between two versions.",
		  .notes = "Without a version: what the last change of a file did. Of JSON the fields "
			   "that differ are\nprinted, of text the lines. Of a directory, all files in "
			   "it are compared.\n",
		  .rows = diff_rows,
		  .row_count = countof(diff_rows)},
	.run = client_run,
	.serve = diff_serve,
	.operand_is_path = true,
};
