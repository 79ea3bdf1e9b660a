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
		return &d->style;
	if (op->kind != OP_SET && op->kind != OP_UNSET)
		return &d->raw;
	uint32_t f = doc_field_at(d, op->path, false);
	return f == DOC_NONE ? NULL : &d->fields[f].reg;
}

static bool same_value(const struct doc *x, const struct sib *a, const struct doc *y,
		       const struct sib *b)
{
	return a->kind == b->kind && slice_eq(doc_sib_text(x, a), doc_sib_text(y, b));
}

/* Whether all that is in either register is one and the same value, or nothing. */
static bool is_untouched(const struct doc *a, const struct reg *x, const struct doc *b,
			 const struct reg *y)
{
	uint32_t first = x && x->count ? doc_reg_best(a, *x) : DOC_NONE;

	if (!y || y->count == 0)
		return first == DOC_NONE;
	for (uint32_t i = y->first; i != DOC_NONE; i = b->sibs[i].next) {
		if (first == DOC_NONE || !same_value(b, &b->sibs[i], a, &a->sibs[first]))
			return false;
	}
	return true;
}

/* What an operation that replaces all in the register has to name. */
static size_t tokens(const struct doc *d, const struct reg *reg, struct arena *arena,
		     struct opid **ret)
{
	size_t n = 0;

	if (reg == &d->raw) {
		n = doc_raw_tokens(d, NULL);
		*ret = n ? arena_alloc(arena, n * sizeof(**ret)) : NULL;
		return n ? doc_raw_tokens(d, *ret) : 0;
	}
	size_t count = reg ? reg->count : 0;
	*ret = count ? arena_alloc(arena, count * sizeof(**ret)) : NULL;
	for (uint32_t i = count ? reg->first : DOC_NONE; i != DOC_NONE; i = d->sibs[i].next)
		(*ret)[n++] = d->sibs[i].id;
	return n;
}

/* Takes away what `after` has in the register and is still in `now`. false: nothing is. */
static bool only_remove(const struct doc *after, const struct doc *now, struct ops *ops,
			struct op *op, const struct reg *regs[2])
{
	struct opid *here = NULL;
	size_t count = tokens(now, regs[1], &ops->arena, &here);
	size_t n = 0;

	op->pred_count = tokens(after, regs[0], &ops->arena, &op->preds);
	for (size_t i = 0; i < op->pred_count; i++) {
		bool among = false;

		for (size_t k = 0; k < count; k++)
			among = among || opid_eq(here[k], op->preds[i]);
		if (among)
			op->preds[n++] = op->preds[i];
	}
	op->pred_count = n;
	op->kind = op->kind == OP_SET || op->kind == OP_UNSET ? OP_UNSET : OP_UNRAW;
	op->has_place = op->clears = false;
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
		return op->kind != OP_LAYOUT &&
		       only_remove(after, now, ops, op, (const struct reg *[]){x, y});
	struct opid *preds = NULL;
	size_t n = tokens(now, y, &ops->arena, &preds);
	if (n == 0 && op->kind == OP_RAW)
		return true; /* without preds it would say that its author knew of nothing */
	if (op->clears || op->kind == OP_RAW || op->kind == OP_CHUNKS) {
		/* What is beneath goes, or is covered, as far as `after` had it: later edits stay. */
		struct opid *all = arena_alloc(&ops->arena, (n + op->pred_count) * sizeof(*all));

		if (op->pred_count)
			memcpy(all, op->preds, op->pred_count * sizeof(*all));
		if (n)
			memcpy(all + op->pred_count, preds, n * sizeof(*all));
		preds = all;
		n += op->pred_count;
	}
	op->preds = preds;
	op->pred_count = n;
	return n <= CHANGE_PREDS_MAX;
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
