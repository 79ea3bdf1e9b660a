/*
 * Taking back a save: what it changed is changed back, as by a program that had read what the save left and
 * writes what it had found. Where the value is no longer what the save wrote, nothing is changed; where it is,
 * beside another one that was written at the same time, it only goes.
 */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/* The register an operation is about; NULL if there is none yet. */
static const struct reg *reg_of(struct doc *d, const struct op *op)
{
	if (op->kind == OP_LAYOUT)
		return &d->layout;
	if (op->kind != OP_SET && op->kind != OP_UNSET)
		return &d->raw;
	uint32_t f = doc_field_at(d, op->path, false);
	return f == DOC_NONE ? NULL : &d->fields[f].reg;
}

static bool same_value(const struct sib *a, const struct sib *b)
{
	return a->kind == b->kind && slice_eq(a->value, b->value);
}

/* Whether all that is in either register is one and the same value, or nothing. */
static bool is_untouched(const struct doc *a, const struct reg *x, const struct doc *b,
			 const struct reg *y)
{
	uint32_t first = x && x->count ? doc_reg_best(a, *x) : DOC_NONE;

	if (!y || y->count == 0)
		return first == DOC_NONE;
	for (uint32_t i = y->first; i != DOC_NONE; i = b->sibs[i].next) {
		if (first == DOC_NONE || !same_value(&b->sibs[i], &a->sibs[first]))
			return false;
	}
	return true;
}

static bool is_among(const struct doc *d, const struct reg *reg, struct opid id)
{
	for (uint32_t i = reg ? reg->first : DOC_NONE; i != DOC_NONE; i = d->sibs[i].next) {
		if (opid_eq(d->sibs[i].id, id))
			return true;
	}
	return false;
}

/* Takes away what `after` has in the register and is still in `now`. false: nothing is. */
static bool only_remove(const struct doc *after, const struct reg *x, const struct doc *now,
			const struct reg *y, struct op *op)
{
	size_t n = 0;

	for (uint32_t i = x ? x->first : DOC_NONE; i != DOC_NONE; i = after->sibs[i].next) {
		if (n < op->pred_count && is_among(now, y, after->sibs[i].id))
			op->preds[n++] = after->sibs[i].id;
	}
	op->pred_count = n;
	op->kind = op->kind == OP_SET || op->kind == OP_UNSET ? OP_UNSET : OP_UNRAW;
	return n > 0;
}

/* Turns an operation made for `after` into one for `now`. false: it is not to be made. */
static bool adapt(struct doc *after, struct doc *now, struct ops *ops, struct op *op)
{
	const struct reg *x = reg_of(after, op);
	const struct reg *y = reg_of(now, op);

	if (op->kind != OP_SET && op->kind != OP_UNSET && op->kind != OP_RAW &&
	    op->kind != OP_UNRAW && op->kind != OP_LAYOUT && op->kind != OP_CHUNKS)
		return true; /* what is placed by what it stands beside merges by itself */
	if (!is_untouched(after, x, now, y))
		return op->kind != OP_LAYOUT && only_remove(after, x, now, y, op);
	size_t n = 0;
	size_t count = y ? y->count : 0;
	struct opid *preds = count ? arena_alloc(&ops->arena, count * sizeof(*preds)) : NULL;
	for (uint32_t i = count ? y->first : DOC_NONE; i != DOC_NONE; i = now->sibs[i].next)
		preds[n++] = now->sibs[i].id;
	op->preds = preds;
	op->pred_count = n;
	return true;
}

bool doc_undo(struct doc *after, struct doc *now, const struct doc_wanted *wanted,
	      const struct id *node, const struct doc_stamp *stamp, struct ops *ops)
{
	size_t first = ops->count;
	size_t n = first;
	bool any = wanted->chunked ? doc_diff_chunks(after, wanted->bytes, node, stamp, ops)
				   : doc_diff(after, wanted->bytes, wanted->json, node, stamp, ops);

	for (size_t i = first; any && i < ops->count; i++) {
		if (adapt(after, now, ops, &ops->items[i]))
			ops->items[n++] = ops->items[i];
	}
	ops->count = any ? n : first;
	return ops->count > first;
}
