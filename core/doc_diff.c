/*
 * From a save to operations.
 *
 * A JSON save is compared with base's fields (core/doc_edit.c) under base's style. If that costs any
 * formatting, it is tried under the style that fits the save best, and what costs less is taken. The
 * result is tried out on a fork of base; what does not render to the save's bytes is kept as text.
 * Text and all else: see doc_diff_text.c.
 */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** What a style costs, about. */
#define STYLE_BYTES 24

/* Whether d shows these bytes now. */
static bool shows(const struct doc *d, struct slice bytes)
{
	AUTO(buf_fini) struct buf out = {0};

	if (d->raw.count) {
		const struct sib *s = &d->sibs[doc_reg_best(d, d->raw)];

		return s->kind == SIB_TEXT && slice_eq(doc_sib_text(d, s), bytes);
	}
	(void)buf_reserve(&out, bytes.len + 1);
	doc_render(d, &out);
	return slice_eq(buf_slice(&out), bytes);
}

/* Whether base, after the operations from x->first on, renders to the save's bytes. */
static bool renders_to_bytes(const struct diff *x)
{
	struct doc *d = doc_fork(x->base);

	for (size_t i = x->first; i < x->ops->count; i++) {
		const struct op *op = &x->ops->items[i];

		doc_apply_sound(d, op, (struct opid){op->lamport, x->stamp->actor}, x->stamp->hlc);
	}
	bool same = shows(d, x->bytes);
	doc_destroy(d);
	return same;
}

static void undo(struct diff *x, uint64_t lamport)
{
	x->ops->count = x->first;
	x->paths_bytes = 0;
	x->spaces = 0;
	x->too_large = false;
	*x->stamp->lamport = lamport;
}

/* Makes the operations under one style; returns what formatting costs. */
static size_t attempt(struct diff *x, const struct style *style, bool restyled, uint64_t lamport)
{
	undo(x, lamport);
	x->style = *style;
	x->restyled = restyled;
	doc_edit(x);
	/* In a new record the style pays at the next edit, if not now. */
	size_t style_cost = restyled && x->base->fields[0].live ? STYLE_BYTES : 0;
	return x->too_large ? SIZE_MAX : x->spaces + style_cost;
}

static bool same_style(const struct style *a, const struct style *b)
{
	AUTO(buf_fini) struct buf x = {0};
	AUTO(buf_fini) struct buf y = {0};

	doc_style_encode(a, &x);
	doc_style_encode(b, &y);
	return slice_eq(buf_slice(&x), buf_slice(&y));
}

/* Under base's style or the one that fits best, whatever costs less; then, if need be, firmly. */
static bool try_styles(struct diff *x, uint64_t lamport)
{
	struct style now;
	struct style fit = {0};
	bool new = false;

	doc_style_of(x->base, &now);
	size_t cost = attempt(x, &now, false, lamport);
	if (cost > 0) {
		doc_style_guess(x->json, &fit);
		if (!same_style(&now, &fit)) {
			size_t other = attempt(x, &fit, true, lamport);

			new = other < cost;
			if (!new)
				(void)attempt(x, &now, false, lamport);
		}
	}
	bool done = !x->too_large && renders_to_bytes(x);
	if (!done) {
		x->firm = true;
		(void)attempt(x, new ? &fit : &now, new, lamport);
		done = !x->too_large && renders_to_bytes(x);
	}
	doc_style_fini(&now);
	doc_style_fini(&fit);
	return done;
}

static bool diff_json(struct diff *x)
{
	AUTO(json_fini) struct json json;
	uint64_t lamport = *x->stamp->lamport;

	if (json_scan(x->bytes, &json, NULL) < 0)
		return false;
	x->json = &json;
	x->matching = (struct matching){
		.base = x->base,
		.json = &json,
		.node_hash = xcalloc(json.count, sizeof(*x->matching.node_hash)),
		.field_hash = xcalloc(x->base->field_count, sizeof(*x->matching.field_hash)),
	};
	x->rank = xmalloc(x->base->field_count * sizeof(*x->rank));
	x->ranking.cap = 32;
	x->ranking.items = xmalloc(x->ranking.cap * sizeof(*x->ranking.items));
	bool done = try_styles(x, lamport);
	if (!done)
		undo(x, lamport);
	x->json = NULL;
	free(x->matching.node_hash);
	free(x->matching.field_hash);
	free(x->rank);
	free(x->ranking.items);
	buf_fini(&x->path);
	buf_fini(&x->scratch);
	return done;
}

/* New operations must come after all that base has seen, whatever the caller's clock says. */
static void advance(const struct doc *base, uint64_t *lamport)
{
	for (uint32_t i = 0; i < base->seen_count; i++) {
		if (*lamport < base->seen[i].lamport)
			*lamport = base->seen[i].lamport;
	}
}

bool doc_diff_chunks(const struct doc *base, struct slice manifest, const struct id *node,
		     const struct doc_stamp *stamp, struct ops *ops)
{
	struct diff x = {.base = base, .node = node, .stamp = stamp, .ops = ops, .first = ops->count};

	if (base->raw.count) {
		const struct sib *s = &base->sibs[doc_reg_best(base, base->raw)];

		if (s->kind == SIB_CHUNKS && slice_eq(s->value, manifest))
			return false;
	}
	advance(base, stamp->lamport);
	doc_edit_raw(&x, OP_CHUNKS)->value = arena_copy(&ops->arena, manifest);
	return true;
}

bool doc_diff(const struct doc *base, struct slice bytes, bool json, const struct id *node,
	      const struct doc_stamp *stamp, struct ops *ops)
{
	bool same = stamp->shown.len ? slice_eq(stamp->shown, bytes) : shows(base, bytes);

	if (same && (json || doc_mode(base) != DOC_EMPTY))
		return false;
	struct diff x = {
		.base = base,
		.bytes = bytes,
		.node = node,
		.stamp = stamp,
		.ops = ops,
		.first = ops->count,
	};
	advance(base, stamp->lamport);
	if (json && diff_json(&x))
		return true;
	x.too_large = false;
	AUTO(buf_fini) struct buf edits = {0};
	bool merges = doc_diff_text(base, bytes, stamp, &edits);
	doc_edit_raw(&x, merges ? OP_TEXT : OP_RAW)->value =
		arena_copy(&ops->arena, merges ? buf_slice(&edits) : bytes);
	return true;
}
