/* What happens to a document from outside: operations; and what it tells: mode, losers, paths. */
#include "core/doc_i.h"
#include "core/manifest.h"

#include <stdlib.h>
#include <string.h>

/* Drops dead fields and the strings of removed siblings. */
static void doc_compact(struct doc *d)
{
	AUTO(buf_fini) struct buf state = {0};
	struct doc *fresh = NULL;

	doc_encode(d, SLICE("", 0), &state);
	int r = doc_decode(buf_slice(&state), SLICE("", 0), &fresh);
	assert(r == 0);
	if (fresh->compact_at < state.len)
		fresh->compact_at = state.len;
	struct doc old = *d;
	*d = *fresh;
	*fresh = old;
	d->side = old.side;
	d->error = old.error;
	d->mem = STEAL(fresh->mem);
	doc_destroy(fresh);
}

/* A scalar or array and nothing around it. */
static bool is_text_value(struct slice value)
{
	struct json j;
	bool ok = json_scan(value, &j, NULL) == 0 && j.nodes[0].kind != JSON_OBJECT &&
		  j.nodes[0].start == 0 && j.nodes[0].end == value.len;

	json_fini(&j);
	return ok;
}

/* It is built on something, and comes after that in the order of all operations. */
static bool is_sound_text(const struct op *op)
{
	AUTO(text_edits_fini) struct text_edits e = {0};

	for (size_t i = 0; i < op->pred_count; i++) {
		if (op->preds[i].lamport >= op->lamport)
			return false;
	}
	return op->pred_count > 0 && text_edits_decode(op->value, &e) == 0;
}

/* Only a broken or hostile program makes others; every replica ignores those alike. */
static bool is_sound(const struct op *op)
{
	switch (op->kind) {
	case OP_SET:
		return doc_path_is_sound(op->path) &&
		       (op->value_kind == VALUE_OBJECT || is_text_value(op->value));
	case OP_UNSET:
		return doc_path_is_sound(op->path);
	case OP_RAW:
	case OP_UNRAW:
	case OP_LAYOUT:
		return true;
	case OP_CHUNKS:
		return manifest_is_sound(op->value);
	case OP_TEXT:
		return is_sound_text(op);
	case OP_TOUCH:
	case OP_MOVE:
	case OP_DELETE:
	case OP_EXEC:
	case OP_MEMBER:
		break;
	}
	return false;
}

static struct sib *add_text(struct doc *d, struct reg *reg, struct opid id, struct slice text)
{
	struct sib *s = doc_reg_add(d, reg, id);

	s->kind = VALUE_TEXT;
	s->value = arena_copy(&d->arena, text);
	d->copied += text.len;
	return s;
}

static void apply_field(struct doc *d, const struct op *op, struct opid id, uint64_t hlc)
{
	uint32_t f = doc_field_at(d, op->path, op->kind == OP_SET);

	if (f == DOC_NONE)
		return;
	struct reg reg = d->fields[f].reg;
	uint32_t before = reg.count;
	(void)doc_reg_remove(d, &reg, op->preds, op->pred_count);
	if (op->kind == OP_SET) {
		bool is_text = op->value_kind == VALUE_TEXT;
		struct sib *s = add_text(d, &reg, id, is_text ? op->value : SLICE("", 0));

		s->hlc = hlc;
		s->kind = op->value_kind;
		if (op->ord.lamport)
			s->ord = op->ord;
	}
	d->fields[f].reg = reg;
	doc_field_count(d, f, (int32_t)reg.count - (int32_t)before);
}

void doc_apply_sound(struct doc *d, const struct op *op, struct opid id, uint64_t hlc)
{
	struct seen *seen = NULL;
	struct seen before;

	assert(id.lamport > 0);
	if (!doc_see(d, id, &seen, &before))
		return;
	bool first = before.lamport == 0 && op->pred_count == 0;
	seen->blank = first && op->kind == OP_RAW && op->value.len == 0;
	switch (op->kind) {
	case OP_SET:
	case OP_UNSET:
		apply_field(d, op, id, hlc);
		return;
	case OP_LAYOUT:
		(void)doc_reg_remove(d, &d->layout, op->preds, op->pred_count);
		add_text(d, &d->layout, id, op->value)->hlc = hlc;
		return;
	case OP_RAW:
	case OP_CHUNKS:
	case OP_UNRAW:
	case OP_TEXT:
		doc_apply_raw(d, op, id, hlc, first || before.blank);
		return;
	case OP_TOUCH:
	case OP_MOVE:
	case OP_DELETE:
	case OP_EXEC:
	case OP_MEMBER:
		break;
	}
}

void doc_apply(struct doc *d, const struct op *op, struct opid id, uint64_t hlc)
{
	if (!is_sound(op))
		return;
	doc_apply_sound(d, op, id, hlc);
	if (d->copied > d->compact_at)
		doc_compact(d);
}

enum doc_mode doc_mode(const struct doc *d)
{
	if (d->raw.count)
		return d->sibs[doc_reg_best(d, d->raw)].kind == VALUE_CHUNKS ? DOC_CHUNKS : DOC_RAW;
	return d->fields[0].live ? DOC_JSON : DOC_EMPTY;
}

static void report(const struct doc *d, const struct sib *s, const struct doc_loser *where,
		   void (*fn)(void *ctx, const struct doc_loser *l), void *ctx)
{
	struct doc_loser l = *where;

	l.value = doc_sib_text(d, s);
	l.chunks = s->kind == VALUE_CHUNKS;
	l.id = s->id;
	l.hlc = s->hlc;
	fn(ctx, &l);
}

static void raw_losers(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l),
		       void *ctx)
{
	const struct sib *shown = &d->sibs[doc_reg_best(d, d->raw)];
	const struct doc_loser where = {.path = SLICE("", 0), .raw = true};

	for (uint32_t i = d->raw.first; i != DOC_NONE; i = d->sibs[i].next) {
		if (d->sibs[i].kind != shown->kind ||
		    !slice_eq(doc_sib_text(d, &d->sibs[i]), doc_sib_text(d, shown)))
			report(d, &d->sibs[i], &where, fn, ctx);
	}
}

/* Fields under a whole value whose author had not seen them. */
static void hidden_losers(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l),
			  void *ctx)
{
	AUTO(buf_fini) struct buf path = {0};
	struct doc_loser where = {0};
	bool into = true;

	for (uint32_t f = 0; f != DOC_NONE; f = doc_walk(d, f, 0, into)) {
		into = d->fields[f].live > 0;
		for (uint32_t i = d->fields[f].reg.first; i != DOC_NONE; i = d->sibs[i].next) {
			if (d->sibs[i].covered || d->sibs[i].kind == VALUE_OBJECT)
				continue;
			buf_clear(&path);
			doc_path(d, f, &path);
			where.path = path.len ? buf_slice(&path) : SLICE("", 0);
			report(d, &d->sibs[i], &where, fn, ctx);
		}
	}
}

/*
 * `shown` is the sibling whose text is shown at f, DOC_NONE if it is an object. If `hidden`,
 * something above f is shown in its place.
 */
static void field_losers(const struct doc *d, uint32_t f, uint32_t shown, bool hidden,
			 void (*fn)(void *ctx, const struct doc_loser *l), void *ctx)
{
	AUTO(buf_fini) struct buf path = {0};
	struct doc_loser where = {0};

	for (uint32_t i = d->fields[f].reg.first; i != DOC_NONE; i = d->sibs[i].next) {
		const struct sib *s = &d->sibs[i];
		bool same_kind = (s->kind == VALUE_OBJECT) == (shown == DOC_NONE);

		if (!hidden && same_kind &&
		    (shown == DOC_NONE || json_same(s->value, d->sibs[shown].value)))
			continue;
		if (!path.data)
			doc_path(d, f, &path);
		where.path = path.len ? buf_slice(&path) : SLICE("", 0);
		report(d, s, &where, fn, ctx);
	}
}

void doc_losers(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l), void *ctx)
{
	uint32_t hidden_top = DOC_NONE; /* a text is shown here, the walk is beneath it */

	if (d->raw.count) {
		raw_losers(d, fn, ctx);
		hidden_losers(d, fn, ctx);
		return;
	}
	for (uint32_t f = 0; f != DOC_NONE;) {
		const struct field *field = &d->fields[f];
		bool hidden = hidden_top != DOC_NONE;

		if (field->live) {
			uint32_t text = DOC_NONE;
			bool is_object = doc_shows_object(d, f, &text);

			if (hidden || field->reg.count > 1 || (is_object && text != DOC_NONE))
				field_losers(d, f, is_object ? DOC_NONE : text, hidden, fn, ctx);
			if (!hidden && !is_object && field->live > field->reg.count)
				hidden_top = f;
		}
		/* Leaving the hidden subtree? Then go on after it as if its top had no children. */
		bool into = field->live > field->reg.count;
		uint32_t next = DOC_NONE;
		if (hidden_top != DOC_NONE) {
			next = doc_walk(d, f, hidden_top, into);
			if (next == DOC_NONE) {
				f = hidden_top;
				hidden_top = DOC_NONE;
				into = false;
			}
		}
		f = next != DOC_NONE ? next : doc_walk(d, f, 0, into);
	}
}

static void count_loser(void *ctx, const struct doc_loser *l)
{
	size_t *n = ctx;

	(void)l;
	++*n;
}

size_t doc_conflict_count(const struct doc *d)
{
	size_t n = 0;

	doc_losers(d, count_loser, &n);
	return n;
}

void doc_manifests(const struct doc *d,
		   void (*fn)(void *ctx, struct opid id, struct slice manifest), void *ctx)
{
	for (uint32_t i = d->raw.first; i != DOC_NONE; i = d->sibs[i].next) {
		if (d->sibs[i].kind == VALUE_CHUNKS)
			fn(ctx, d->sibs[i].id, d->sibs[i].value);
	}
}

struct opid doc_shown_raw(const struct doc *d, uint64_t *ret_hlc)
{
	static const struct opid none;

	if (d->raw.count == 0)
		return none;
	const struct sib *s = &d->sibs[doc_reg_best(d, d->raw)];
	if (ret_hlc)
		*ret_hlc = s->hlc;
	return s->id;
}

static bool is_plain_key(struct slice key)
{
	for (size_t i = 0; i < key.len; i++) {
		uint8_t c = key.data[i];

		if (c < 0x20 || c == 0x7f || c == '.' || c == '"')
			return false;
	}
	return key.len > 0;
}

void doc_path_text(struct slice path, struct buf *out)
{
	struct reader r = reader_init(path);

	for (bool first = true; reader_left(&r); first = false) {
		struct slice key = reader_bytes(&r, path.len);

		if (r.bad)
			return;
		if (!first)
			buf_u8(out, '.');
		if (is_plain_key(key)) {
			buf_slice_append(out, key);
			continue;
		}
		buf_u8(out, '"');
		buf_json_string(out, key);
		buf_u8(out, '"');
	}
}

uint64_t doc_last_lamport(const struct doc *d)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < d->seen_count; i++)
		last = d->seen[i].lamport > last ? d->seen[i].lamport : last;
	return last;
}
