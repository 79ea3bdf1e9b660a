/* Edits and events as bytes and back; the order in which events are loaded. */
#include "core/text.h"

#include <stdlib.h>
#include <string.h>

enum edit_kind {
	EDIT_INSERT = 0,
	EDIT_DELETE = 1,
	EDIT_REPLACE = 2,
	EDIT_REPEAT = 3,
};

/** No text gets so long that positions overflow, whatever its edits say. */
#define TEXT_POS_MAX (UINT64_C(1) << 40)

void text_edits_add(struct text_edits *e, struct text_edit edit)
{
	if (e->count == e->cap) {
		e->cap = e->cap ? e->cap * 2 : 4;
		e->items = xreallocarray(e->items, e->cap, sizeof(*e->items));
	}
	e->items[e->count++] = edit;
}

void text_edits_fini(struct text_edits *e)
{
	free(e->items);
	*e = (struct text_edits){0};
}

int text_edits_apply(const struct text_edits *e, struct slice before, struct buf *out)
{
	size_t at = 0;

	for (size_t i = 0; i < e->count; i++) {
		const struct text_edit *x = &e->items[i];

		if (x->pos < at || x->pos > before.len || x->del > before.len - x->pos)
			return -EINVAL;
		if (x->pos > at)
			buf_append(out, before.data + at, x->pos - at);
		buf_slice_append(out, x->ins);
		at = x->pos + x->del;
	}
	if (before.len > at)
		buf_append(out, before.data + at, before.len - at);
	return 0;
}

/* Whether b does what a does, somewhere else. `whole`: the bytes count, too, not only how many. */
static bool repeats(const struct text_edit *a, const struct text_edit *b, bool whole)
{
	return a->del == b->del && a->ins.len == b->ins.len &&
	       (!whole || (a->ins.len <= TEXT_REPEAT_BYTES_MAX && slice_eq(a->ins, b->ins)));
}

static void put_edits(const struct text_edits *e, bool whole, struct buf *out)
{
	uint64_t at = 0;

	for (size_t i = 0; i < e->count; i++) {
		const struct text_edit *x = &e->items[i];
		enum edit_kind kind = x->del == 0	? EDIT_INSERT
				      : x->ins.len == 0 ? EDIT_DELETE
							: EDIT_REPLACE;

		if (i && repeats(&e->items[i - 1], x, whole))
			kind = EDIT_REPEAT;
		buf_varint(out, (x->pos - at) << 2 | kind);
		if (kind == EDIT_DELETE || kind == EDIT_REPLACE)
			buf_varint(out, x->del);
		if (kind == EDIT_INSERT || kind == EDIT_REPLACE) {
			if (whole)
				buf_bytes(out, x->ins);
			else
				buf_varint(out, x->ins.len);
		}
		at = x->pos + x->del;
	}
}

/* All that is left in r. */
static void take_edits(struct reader *r, bool whole, struct text_edits *ret)
{
	struct text_edit x = {0};
	uint64_t at = 0;

	while (!r->bad && reader_left(r)) {
		uint64_t head = reader_varint_max(r, TEXT_POS_MAX << 2);
		enum edit_kind kind = (enum edit_kind)(head & 3);

		if (kind != EDIT_REPEAT) {
			x.del = kind == EDIT_INSERT ? 0 : reader_varint_max(r, TEXT_POS_MAX);
			x.ins = SLICE(NULL, 0);
			if (kind != EDIT_DELETE && whole)
				x.ins = reader_bytes(r, reader_left(r));
			else if (kind != EDIT_DELETE)
				x.ins.len = reader_varint_max(r, TEXT_POS_MAX);
		} else if (ret->count == 0 || (whole && x.ins.len > TEXT_REPEAT_BYTES_MAX)) {
			r->bad = true;
		}
		x.pos = at + (head >> 2);
		at = x.pos + x.del;
		if (at > TEXT_POS_MAX || x.del + x.ins.len == 0 || ret->count >= TEXT_EDITS_MAX)
			r->bad = true;
		if (!r->bad)
			text_edits_add(ret, x);
	}
}

void text_edits_encode(const struct text_edits *e, struct buf *out)
{
	put_edits(e, true, out);
}

int text_edits_decode(struct slice bytes, struct text_edits *ret)
{
	struct reader r = reader_init(bytes);

	take_edits(&r, true, ret);
	return reader_finish(&r);
}

/*
 * varint parent_count, then each: varint (own lamport - its lamport) << 1 | other author, 8 bytes of author if
 * other; varint len; edits without the bytes inserted, only how many.
 */
void text_event_encode(const struct text_event *v, struct buf *out)
{
	buf_varint(out, v->parent_count);
	for (size_t i = 0; i < v->parent_count; i++) {
		bool other = v->parents[i].actor != v->id.actor;

		assert(v->parents[i].lamport < v->id.lamport);
		buf_varint(out, (v->id.lamport - v->parents[i].lamport) << 1 | other);
		if (other)
			buf_be64(out, v->parents[i].actor);
	}
	buf_varint(out, v->len);
	put_edits(&v->edits, false, out);
}

int text_event_decode(struct slice bytes, struct opid id, struct arena *arena,
		      struct text_event *ret)
{
	struct reader r = reader_init(bytes);

	*ret = (struct text_event){.id = id};
	ret->parent_count = (size_t)reader_varint_max(&r, reader_left(&r));
	struct opid *parents = NULL;
	if (!r.bad && ret->parent_count)
		parents = arena_alloc(arena, ret->parent_count * sizeof(*parents));
	for (size_t i = 0; !r.bad && i < ret->parent_count; i++) {
		uint64_t back = reader_varint(&r);

		parents[i].actor = back & 1 ? reader_be64(&r) : id.actor;
		parents[i].lamport = id.lamport - (back >> 1);
		if (back >> 1 == 0 || back >> 1 >= id.lamport)
			r.bad = true;
	}
	ret->parents = parents;
	ret->len = reader_varint_max(&r, TEXT_POS_MAX);
	take_edits(&r, false, &ret->edits);
	return reader_finish(&r);
}

/* ---- the order of loading ---- */

struct sorted {
	struct opid id;
	size_t event;
	bool placed;
};

static int author_order(const void *a, const void *b)
{
	const struct sorted *x = a;
	const struct sorted *y = b;

	if (x->id.actor != y->id.actor)
		return x->id.actor < y->id.actor ? -1 : 1;
	return (x->id.lamport > y->id.lamport) - (x->id.lamport < y->id.lamport);
}

/* Whether all of the event's parents that are here have their place. */
static bool is_ready(const struct sorted *all, size_t count, const struct text_event *v)
{
	for (size_t i = 0; i < v->parent_count; i++) {
		const struct sorted key = {.id = v->parents[i]};
		const struct sorted *found = bsearch(&key, all, count, sizeof(*all), author_order);

		if (found && !found->placed)
			return false;
	}
	return true;
}

/*
 * One author's events one after the other, as far as that goes: then the tracker, which replays them in this
 * order, seldom has to change versions.
 */
void text_sort(struct text_event *events, size_t count)
{
	struct sorted *all = xreallocarray(NULL, count, sizeof(*all));
	struct text_event *out = xreallocarray(NULL, count, sizeof(*out));
	size_t *next = xreallocarray(NULL, count + 1, sizeof(*next)); /* of each author */
	size_t *end = xreallocarray(NULL, count + 1, sizeof(*end));
	size_t authors = 0;
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		all[i] = (struct sorted){.id = events[i].id, .event = i};
	if (count > 1)
		qsort(all, count, sizeof(*all), author_order);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || all[i].id.actor != all[i - 1].id.actor)
			next[authors++] = i;
		end[authors - 1] = i + 1;
	}
	for (bool any = true; any && n < count;) {
		any = false;
		for (size_t a = 0; a < authors; a++) {
			while (next[a] < end[a] &&
			       is_ready(all, count, &events[all[next[a]].event])) {
				out[n++] = events[all[next[a]].event];
				all[next[a]++].placed = true;
				any = true;
			}
		}
	}
	assert(n == count); /* parents have lower lamports: there is no cycle */
	if (count)
		memcpy(events, out, count * sizeof(*out));
	free(all);
	free(out);
	free(next);
	free(end);
}
