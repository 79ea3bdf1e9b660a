/* The history of a node: which changes touched it, and what they did, told in words. */
#include "core/db_i.h"
#include "core/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_SHOWN_BYTES_MAX 40

/** The last value seen of a field, to tell old from new. */
struct known {
	struct slice path;
	struct slice value;
};

struct story {
	struct db *db;
	struct txn *t;
	const struct id *node;
	struct arena arena;
	struct known *known;
	size_t known_count;
	uint64_t size;		   /**< of the last raw value */
	struct manifest *manifest; /**< the last one, to tell what is new in the next */
	bool began;
};

struct locate {
	uint64_t seq;
	uint64_t first;
	struct buf value;
	bool found;
};

static bool last_at_or_before(void *ctx, struct slice key, struct slice value)
{
	struct locate *l = ctx;
	struct reader r = reader_init(key);

	(void)reader_take(&r, 25);
	uint64_t first = reader_be64(&r);
	if (r.bad || first > l->seq)
		return false;
	l->first = first;
	l->found = true;
	buf_clear(&l->value);
	buf_slice_append(&l->value, value);
	return true;
}

static int open_envelope(struct txn *t, const struct id *stream, uint64_t actor,
			 struct slice stored, struct buf *body)
{
	const struct member *m = member_find(t->db, actor);
	struct envelope_place at = {.root_key = t->db->root_key, .stream = *stream, .actor = actor};

	if (!m || stored.len < ENVELOPE_HEAD_BYTES)
		return -EIO;
	memcpy(at.prev, stored.data + 8, sizeof(at.prev));
	return envelope_open(
		&at, m->device.sign_pk,
		SLICE(stored.data + ENVELOPE_HEAD_BYTES, stored.len - ENVELOPE_HEAD_BYTES), body);
}

/* The change's bytes, loose or out of the envelope that holds it. */
static int load_change(struct txn *t, const struct id *stream, const struct feed_pos *pos,
		       struct buf *ret)
{
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf from = {0};
	AUTO(buf_fini) struct buf body = {0};
	struct locate l = {.seq = pos->seq};

	feed_key(&key, 'c', stream, pos->actor);
	buf_be64(&key, pos->seq);
	if (store_get(t->store, buf_slice(&key), ret) == 0)
		return 0;
	int packed = strata_load_change(t, stream, pos->actor, pos->seq, ret);
	if (packed != -ENOENT)
		return packed;
	buf_clear(&key);
	feed_key(&key, 'e', stream, pos->actor);
	feed_key(&from, 'e', stream, pos->actor);
	buf_be64(&from, pos->seq > ENVELOPE_CHANGES_MAX ? pos->seq - ENVELOPE_CHANGES_MAX : 1);
	int r = store_scan(t->store, buf_slice(&key), buf_slice(&from), last_at_or_before, &l);
	if (r == 0 && !l.found)
		r = -ENOENT;
	if (r == 0)
		r = open_envelope(t, stream, pos->actor, buf_slice(&l.value), &body);
	buf_fini(&l.value);
	struct reader b = reader_init(buf_slice(&body));
	for (uint64_t i = l.first; r == 0 && i <= pos->seq; i++) {
		struct slice change = reader_bytes(&b, body.len);

		if (b.bad)
			return -EIO;
		if (i == pos->seq) {
			buf_clear(ret);
			buf_slice_append(ret, change);
		}
	}
	return r;
}

static struct known *known_of(struct story *s, struct slice path)
{
	for (size_t i = 0; i < s->known_count; i++) {
		if (slice_eq(s->known[i].path, path))
			return &s->known[i];
	}
	s->known = xreallocarray(s->known, s->known_count + 1, sizeof(*s->known));
	struct known *k = &s->known[s->known_count++];
	*k = (struct known){.path = arena_copy(&s->arena, path)};
	return k;
}

static void put_value(struct buf *out, struct slice value)
{
	AUTO(buf_fini) struct buf text = {0};
	size_t n = value.len < VALUE_SHOWN_BYTES_MAX ? value.len : VALUE_SHOWN_BYTES_MAX;
	bool quoted = value.len >= 2 && value.data[0] == '"' && value.len <= VALUE_SHOWN_BYTES_MAX;

	buf_json_string(&text, quoted ? SLICE(value.data + 1, value.len - 2) : SLICE(value.data, n));
	buf_slice_append(out, buf_slice(&text));
	if (n < value.len)
		buf_printf(out, "…");
}

static void comma(struct buf *out)
{
	if (out->len)
		buf_printf(out, ", ");
}

static void tell_field(struct story *s, const struct op *op, struct buf *out)
{
	struct known *k = known_of(s, op->path);
	bool unset = op->kind == OP_UNSET;

	if (op->kind == OP_SET && op->value_kind == VALUE_OBJECT)
		return;
	if (s->began) {
		comma(out);
		if (unset)
			buf_printf(out, "removed ");
		doc_path_text(op->path, out);
		if (!unset) {
			buf_u8(out, ' ');
			if (k->value.len) {
				put_value(out, k->value);
				buf_printf(out, " → ");
			}
			put_value(out, op->value);
		}
	}
	k->value = unset ? SLICE("", 0) : arena_copy(&s->arena, op->value);
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
static void tell_chunks(struct story *s, const struct op *op, struct buf *out)
{
	struct manifest *m = NULL;

	comma(out);
	if (manifest_decode(op->value, &m) < 0) {
		buf_printf(out, "(damaged)");
		return;
	}
	size_t fresh = count_new(s->manifest, m);
	if (!s->began)
		buf_printf(out, "created, ");
	put_size(out, m->size);
	if (s->began)
		buf_printf(out, ", %zu chunk%s new", fresh, fresh == 1 ? "" : "s");
	s->size = m->size;
	manifest_unref(s->manifest);
	s->manifest = m;
}

static void tell_op(struct story *s, const struct op *op, struct buf *out)
{
	switch (op->kind) {
	case OP_SET:
	case OP_UNSET:
		tell_field(s, op, out);
		break;
	case OP_RAW:
		comma(out);
		if (s->began)
			buf_printf(out, "%llu → %zu bytes", (unsigned long long)s->size,
				   op->value.len);
		else
			buf_printf(out, "created, %zu bytes", op->value.len);
		s->size = op->value.len;
		break;
	case OP_CHUNKS:
		tell_chunks(s, op, out);
		break;
	case OP_MOVE:
		if (!s->began)
			break;
		comma(out);
		buf_printf(out, "renamed to ");
		buf_json_string(out, op->name);
		break;
	case OP_DELETE:
		comma(out);
		buf_printf(out, "deleted");
		break;
	case OP_EXEC:
		comma(out);
		buf_printf(out, op->exec ? "made executable" : "made not executable");
		break;
	case OP_LAYOUT:
		if (s->began && out->len == 0)
			buf_printf(out, "reformatted");
		break;
	case OP_UNRAW:
		comma(out);
		buf_printf(out, "valid JSON again");
		break;
	case OP_TOUCH:
	case OP_MEMBER:
		break;
	}
}

static void tell_change(struct story *s, const struct change *c, struct buf *out)
{
	for (size_t i = 0; i < c->ops.count; i++) {
		if (id_eq(&c->ops.items[i].node, s->node))
			tell_op(s, &c->ops.items[i], out);
	}
	if (out->len == 0)
		buf_printf(out, s->began ? "restored" : "created");
	s->began = true;
}

struct visit {
	uint64_t hlc;
	struct opid op;
	struct id stream;
	struct feed_pos pos;
};

struct visits {
	struct visit *items;
	size_t count;
};

static bool add_visit(void *ctx, struct slice key, struct slice value)
{
	struct visits *l = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct visit e = {0};

	(void)reader_take(&k, 17);
	e.hlc = reader_be64(&k);
	e.op.lamport = reader_be64(&k);
	e.op.actor = reader_be64(&k);
	e.stream = id_read(&v);
	e.pos = (struct feed_pos){.stream = e.stream, .actor = e.op.actor, .seq = reader_varint(&v)};
	if (reader_finish(&k) < 0 || reader_finish(&v) < 0)
		return true;
	l->items = xreallocarray(l->items, l->count + 1, sizeof(*l->items));
	l->items[l->count++] = e;
	return true;
}

/** One line of history with its own memory: fn runs after the lock is gone. */
struct line {
	struct history_entry e;
	char author[DEVICE_NAME_BYTES_MAX + 1];
	char *summary;
};

static void tell_visit(struct story *s, const struct visit *v, struct line *line)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct buf summary = {0};
	struct change c = {0};
	const struct member *m = member_find(s->db, v->op.actor);

	if (load_change(s->t, &v->stream, &v->pos, &bytes) == 0 &&
	    change_decode(buf_slice(&bytes), v->op.actor, &c) == 0)
		tell_change(s, &c, &summary);
	else
		buf_printf(&summary, "(its envelope is not here)");
	change_fini(&c);
	line->e = (struct history_entry){.time_ms = v->hlc >> 16, .author = v->op.actor};
	(void)snprintf(line->author, sizeof(line->author), "%s", m ? m->device.name : "unknown");
	(void)snprintf(line->e.rev, sizeof(line->e.rev), "%llx-%04llx",
		       (unsigned long long)v->op.lamport, (unsigned long long)(v->op.actor >> 48));
	line->summary = buf_str(&summary);
}

int db_history(struct db *db, const struct id *node,
	       void (*fn)(void *ctx, const struct history_entry *e), void *ctx)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct visits l = {0};
	struct txn *t = db_begin(db);
	struct story s = {.db = db, .t = t, .node = node};
	int r = store_scan(t->store, key_node(&prefix, 'h', node), SLICE("", 0), add_visit, &l);
	struct line *lines = xcalloc(l.count, sizeof(*lines));

	for (size_t i = 0; r == 0 && i < l.count; i++)
		tell_visit(&s, &l.items[i], &lines[i]);
	db_abort(t);
	for (size_t i = 0; i < l.count; i++) {
		if (lines[i].summary) {
			lines[i].e.author_name = lines[i].author;
			lines[i].e.summary = lines[i].summary;
			fn(ctx, &lines[i].e);
		}
		free(lines[i].summary);
	}
	free(lines);
	free(l.items);
	free(s.known);
	manifest_unref(s.manifest);
	arena_fini(&s.arena);
	return r == 0 && l.count == 0 ? -ENOENT : r;
}
