/* What a change did, in words and as JSON. */
#include "cli/tell.h"

#include "core/delta.h"
#include "core/json.h"
#include "core/db_chunks.h"
#include "core/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VALUE_SHOWN_BYTES_MAX 40
/** Fields that a line names before it only counts them. */
#define FIELDS_SHOWN_MAX 8

void tell_fini(struct tell *t)
{
	buf_fini(&t->summary);
	buf_fini(&t->json);
}

void tell_value(struct buf *out, struct slice value)
{
	bool quoted = value.len >= 2 && value.data[0] == '"' && value.len <= VALUE_SHOWN_BYTES_MAX;
	struct slice shown = quoted ? SLICE(value.data + 1, value.len - 2) : value;
	AUTO(buf_fini) struct buf line = {0};
	bool space = false;

	if (quoted && shown.len == 0) {
		buf_printf(out, "\"\"");
		return;
	}
	for (size_t i = 0; i < shown.len && line.len <= VALUE_SHOWN_BYTES_MAX; i++) {
		uint8_t c = shown.data[i];
		bool is_space = c == ' ' || c == '\n' || c == '\t' || c == '\r';

		if (!is_space || !space)
			buf_u8(&line, is_space ? ' ' : c);
		space = is_space;
	}
	bool cut = line.len > VALUE_SHOWN_BYTES_MAX;
	if (cut) {
		line.len = VALUE_SHOWN_BYTES_MAX;
		while (line.len && (line.data[line.len] & 0xc0) == 0x80)
			line.len--; /* not within a character */
	}
	buf_slice_append(out, buf_slice(&line));
	if (cut)
		buf_printf(out, "…");
}

/* ---- content --------------------------------------------------------------------------------- */

struct fields {
	struct buf *text;
	struct buf *json;
	size_t count;
};

static void tell_field(void *ctx, const struct delta_field *f)
{
	struct fields *t = ctx;
	static const char *const words[] = {"added", "removed", "changed"};

	buf_printf(t->json, "%s{\"path\":\"", t->count ? "," : "");
	buf_json_string(t->json, SLICE_STR(f->path));
	buf_printf(t->json, "\",\"kind\":\"%s\"", words[f->kind]);
	if (f->kind != DELTA_ADDED) {
		buf_printf(t->json, ",\"from\":");
		buf_slice_append(t->json, f->from);
	}
	if (f->kind != DELTA_REMOVED) {
		buf_printf(t->json, ",\"to\":");
		buf_slice_append(t->json, f->to);
	}
	buf_u8(t->json, '}');
	if (t->count++ >= FIELDS_SHOWN_MAX)
		return;
	if (t->text->len)
		buf_printf(t->text, ", ");
	if (f->kind == DELTA_REMOVED)
		buf_printf(t->text, "removed ");
	buf_printf(t->text, "%s ", *f->path ? f->path : "the value");
	if (f->kind != DELTA_ADDED)
		tell_value(t->text, f->from);
	if (f->kind == DELTA_CHANGED)
		buf_printf(t->text, " → ");
	if (f->kind == DELTA_ADDED)
		buf_printf(t->text, "= ");
	if (f->kind != DELTA_REMOVED)
		tell_value(t->text, f->to);
}

/* JSON's line breaks between tokens would end the line of a stream of objects. */
static void flatten(struct buf *json)
{
	for (size_t i = 0; i < json->len; i++) {
		if (json->data[i] == '\n' || json->data[i] == '\r')
			json->data[i] = ' ';
	}
}

static void comma(struct buf *out)
{
	if (out->len)
		buf_printf(out, ", ");
}

static bool tell_fields(struct slice from, struct slice to, struct tell *t)
{
	AUTO(buf_fini) struct buf list = {0};
	AUTO(buf_fini) struct buf text = {0};
	struct fields f = {.text = &text, .json = &list};

	if (delta_fields(from, to, tell_field, &f) < 0)
		return false;
	if (f.count > FIELDS_SHOWN_MAX)
		buf_printf(&text, ", and %zu more fields", f.count - FIELDS_SHOWN_MAX);
	if (f.count == 0)
		buf_printf(&text, "reformatted");
	comma(&t->summary);
	buf_slice_append(&t->summary, buf_slice(&text));
	flatten(&list);
	buf_printf(&t->json, ",\"fields\":[");
	buf_slice_append(&t->json, buf_slice(&list));
	buf_u8(&t->json, ']');
	return true;
}

static void tell_text(struct slice from, struct slice to, struct tell *t)
{
	struct delta_lines l = delta_lines(from, to);

	comma(&t->summary);
	buf_printf(&t->summary, "+%llu -%llu line%s", (unsigned long long)l.added,
		   (unsigned long long)l.removed, l.added + l.removed == 1 ? "" : "s");
	buf_printf(&t->json, ",\"lines_added\":%llu,\"lines_removed\":%llu",
		   (unsigned long long)l.added, (unsigned long long)l.removed);
}

static void put_size(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
	size_t unit = 0;
	uint64_t tenths = bytes * 10;

	for (; tenths >= 10000 && unit + 1 < countof(units); unit++)
		tenths = (tenths + 500) / 1000;
	if (unit == 0 || tenths >= 1000)
		buf_printf(out, "%llu %s", (unsigned long long)(tenths / 10), units[unit]);
	else
		buf_printf(out, "%llu.%llu %s", (unsigned long long)(tenths / 10),
			   (unsigned long long)(tenths % 10), units[unit]);
}

static int id_order(const void *a, const void *b)
{
	return chunk_id_cmp(&((const struct manifest_entry *)a)->id,
			    &((const struct manifest_entry *)b)->id);
}

/* How many of m's chunks `before` does not have. */
static size_t count_new(const struct manifest *before, const struct manifest *m)
{
	size_t have = before ? before->count : 0;
	AUTO(free_ptr) struct manifest_entry *sorted = xcalloc(have, sizeof(*sorted));
	size_t n = 0;

	if (have) {
		memcpy(sorted, before->entries, have * sizeof(*sorted));
		qsort(sorted, have, sizeof(*sorted), id_order);
	}
	for (size_t i = 0; i < m->count; i++) {
		if (!chunk_id_is_zero(&m->entries[i].id) &&
		    (!have || !bsearch(&m->entries[i], sorted, have, sizeof(*sorted), id_order)))
			n++;
	}
	return n;
}

/* "1.2 GB, 3 chunks new" */
static void tell_chunks(struct db *db, const struct history_state *from,
			const struct history_state *to, bool fresh, struct tell *t)
{
	struct manifest *before = NULL;
	struct manifest *m = NULL;

	if (from->chunked)
		(void)db_manifest_decode(db, buf_slice(&from->content), &before);
	if (to->chunked)
		(void)db_manifest_decode(db, buf_slice(&to->content), &m);
	comma(&t->summary);
	if (fresh)
		buf_printf(&t->summary, "created, ");
	put_size(&t->summary, to->size);
	if (!fresh && m) {
		size_t n = count_new(before, m);

		buf_printf(&t->summary, ", %zu chunk%s new", n, n == 1 ? "" : "s");
	}
	buf_printf(&t->json, ",\"size\":%llu", (unsigned long long)to->size);
	manifest_unref(before);
	manifest_unref(m);
}

static void tell_content(struct slice from, struct slice to, bool fresh, struct tell *t)
{
	buf_printf(&t->json, ",\"size\":%zu", to.len);
	if (fresh) {
		comma(&t->summary);
		buf_printf(&t->summary, "created, %zu byte%s", to.len, to.len == 1 ? "" : "s");
		return;
	}
	if (slice_eq(from, to))
		return;
	if (from.len && to.len && tell_fields(from, to, t))
		return;
	if (delta_is_text(from) && delta_is_text(to)) {
		tell_text(from, to, t);
		return;
	}
	comma(&t->summary);
	buf_printf(&t->summary, "%zu → %zu bytes", from.len, to.len);
}

/* Whether the content is merged by field; else says why not. */
static bool is_merged(const struct history_state *s, struct buf *ret_why)
{
	struct json_error e;
	struct json j;

	if (s->chunked) {
		json_say_large(ret_why);
		return false;
	}
	int r = json_scan(buf_slice(&s->content), &j, &e);
	json_fini(&j);
	if (r < 0)
		json_say(&e, ret_why);
	return r == 0;
}

/* A change after which JSON is merged by field no more, or is again. */
static void tell_json(const struct history_state *from, const struct history_state *to,
		      struct tell *t)
{
	AUTO(buf_fini) struct buf before = {0};
	AUTO(buf_fini) struct buf why = {0};
	const struct buf *name = &to->name;

	if (name->len <= 5 ||
	    strncasecmp((const char *)name->data + name->len - 5, ".json", 5) != 0 ||
	    to->size == 0 || slice_eq(buf_slice(&from->content), buf_slice(&to->content)))
		return;
	bool was = !from->alive || from->size == 0 || is_merged(from, &before);
	bool is = is_merged(to, &why);
	if (was == is)
		return;
	comma(&t->summary);
	buf_printf(&t->summary, "%s", is ? "JSON that is merged by field again" : buf_str(&why));
	buf_printf(&t->json, ",\"by_field\":%s", is ? "true" : "false");
}

/* ---- names ----------------------------------------------------------------------------------- */

static void tell_name(struct db *db, const struct history_state *from,
		      const struct history_state *to, struct tell *t)
{
	AUTO(buf_fini) struct buf place = {0};

	if (id_eq(&from->parent, &to->parent) &&
	    slice_eq(buf_slice(&from->name), buf_slice(&to->name)))
		return;
	if (!id_eq(&from->parent, &to->parent)) {
		AUTO(free_ptr) char *dir = db_path(db, &to->parent);

		buf_printf(&place, "%s/", *dir ? dir : ".");
	}
	buf_slice_append(&place, buf_slice(&to->name));
	comma(&t->summary);
	buf_printf(&t->summary, "%s to %s", id_eq(&from->parent, &to->parent) ? "renamed" : "moved",
		   buf_str(&place));
	buf_printf(&t->json, ",\"name\":\"");
	buf_json_string(&t->json, buf_slice(&place));
	buf_u8(&t->json, '"');
}

/* It came from another collection, or went there. true if that says it all. */
static bool tell_moved(struct db *db, const struct history_change *c, const struct id *node,
		       struct tell *t)
{
	struct id other = c->origin;
	bool came = !id_is_zero(&other);
	struct txn *txn = db_begin(db);
	bool moved = came || (c->deletes && follow_is(txn, node, &other) == 0);

	db_abort(txn);
	if (!moved)
		return false;
	AUTO(free_ptr) char *path = db_path(db, &other);
	comma(&t->summary);
	t->left = !came;
	buf_printf(&t->summary, "moved %s %s", came ? "from" : "to", path);
	buf_printf(&t->json, ",\"%s\":\"", came ? "moved_from" : "moved_to");
	buf_json_string(&t->json, SLICE_STR(path));
	buf_u8(&t->json, '"');
	return true;
}

static const char *action_of(const struct history_state *from, const struct history_state *to,
			     bool first)
{
	if (!from->alive && to->alive)
		return first ? "created" : "restored";
	return from->alive && !to->alive ? "deleted" : "changed";
}

static void tell_states(struct db *db, const struct history *h, const struct history_state *from,
			const struct history_state *to, struct tell *t)
{
	bool first = !from->known;
	const char *action = action_of(from, to, first);
	bool is_dir = history_kind(h) == NODE_DIR;

	buf_printf(&t->json, ",\"action\":\"%s\"", action);
	if (from->known && from->alive && !to->alive)
		buf_printf(&t->summary, "deleted");
	else if (from->known && !from->alive && to->alive)
		buf_printf(&t->summary, "restored");
	if (first && history_kind(h) == NODE_SYMLINK)
		buf_printf(&t->summary, "created, a link to %.*s", (int)to->content.len,
			   (const char *)to->content.data);
	else if (first && is_dir)
		buf_printf(&t->summary, "created, a directory");
	else if (!is_dir && to->alive && !from->chunked && !to->chunked)
		tell_content(buf_slice(&from->content), buf_slice(&to->content), first, t);
	else if (!is_dir && to->alive &&
		 !slice_eq(buf_slice(&from->content), buf_slice(&to->content)))
		tell_chunks(db, from, to, first, t);
	if (history_kind(h) == NODE_RECORD && to->alive)
		tell_json(from, to, t);
	if (!first)
		tell_name(db, from, to, t);
	if (from->exec != to->exec && !(first && !to->exec)) {
		comma(&t->summary);
		buf_printf(&t->summary, to->exec ? "made executable" : "made not executable");
		buf_printf(&t->json, ",\"executable\":%s", to->exec ? "true" : "false");
	}
	if (from->conflicts > to->conflicts) {
		comma(&t->summary);
		buf_printf(&t->summary, "conflict settled");
		buf_printf(&t->json, ",\"settled\":true");
	}
	if (t->summary.len == 0)
		buf_printf(&t->summary, "written again");
}

int tell_change(struct db *db, struct history *h, size_t i, struct tell *ret)
{
	AUTO(history_state_fini) struct history_state from = {0};
	AUTO(history_state_fini) struct history_state to = {0};
	const struct history_change *c = history_at(h, i);
	struct device d;

	*ret = (struct tell){.rev = c->rev, .time_ms = c->hlc >> 16};
	(void)snprintf(ret->program, sizeof(ret->program), "%s", c->program);
	(void)snprintf(ret->author, sizeof(ret->author), "%s",
		       db_member(db, c->rev.actor, &d) == 0 ? d.name : "unknown");
	if (c->missing) {
		buf_printf(&ret->summary, "(not on this device any more)");
		return 0;
	}
	int r = history_before(h, i, HISTORY_CONTENT, &from);
	if (r == 0)
		r = history_after(h, i, HISTORY_CONTENT, &to);
	if (r < 0) {
		tell_fini(ret);
		return r;
	}
	if (from.alive)
		ret->parent_before = from.parent;
	ret->parent_after = to.parent;
	struct id node;
	h = history_part(h, &i, &node);
	if (from.alive != to.alive && tell_moved(db, c, &node, ret))
		buf_printf(&ret->json, ",\"action\":\"moved\"");
	else
		tell_states(db, h, &from, &to, ret);
	return 0;
}
