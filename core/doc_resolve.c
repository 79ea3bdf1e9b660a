/* Settling: values that lost are taken away, or all that stands in the way of one of them. */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

struct settling {
	const struct doc *d;
	const struct id *node;
	const struct doc_stamp *stamp;
	struct ops *ops;
	const struct doc_which *only; /**< NULL = all of them */
	enum sib_kind kind;
};

static uint32_t find_raw(const struct doc *d, struct opid id)
{
	uint32_t i = d->raw.first;

	while (i != DOC_NONE && !opid_eq(d->sibs[i].id, id))
		i = d->sibs[i].next;
	return i;
}

/* A text goes when all its edits are named that nothing was built upon. */
static void add_raw_removal(struct settling *s, struct opid id)
{
	uint32_t i = find_raw(s->d, id);
	const struct root *root = i != DOC_NONE && s->d->sibs[i].root != DOC_NONE
					  ? &s->d->roots[s->d->sibs[i].root]
					  : NULL;
	size_t n = root ? root->count : 1;
	struct op *op = ops_add(s->ops, OP_UNRAW, s->node, ++*s->stamp->lamport);
	struct opid *preds = ops_preds(s->ops, op, n);

	for (size_t k = 0; k < n; k++)
		preds[k] = root ? root->heads[k].id : id;
}

/* An operation that takes away `count` siblings. */
static void add_removal(struct settling *s, bool raw, struct slice path, const struct opid *ids,
			size_t count)
{
	for (size_t i = 0; raw && i < count; i++)
		add_raw_removal(s, ids[i]);
	if (count == 0 || raw)
		return;
	struct op *op = ops_add(s->ops, OP_UNSET, s->node, ++*s->stamp->lamport);
	struct opid *preds = ops_preds(s->ops, op, count);
	memcpy(preds, ids, count * sizeof(*preds));
	op->path = arena_copy(&s->ops->arena, path);
}

static bool is_it(const struct doc_which *which, const struct doc_loser *l)
{
	return opid_eq(which->id, l->id) && slice_eq(which->path, l->path);
}

static void drop_loser(void *ctx, const struct doc_loser *l)
{
	struct settling *s = ctx;

	if (!s->only || is_it(s->only, l))
		add_removal(s, l->raw, l->path, &l->id, 1);
}

/* Which siblings of a register go. */
enum which {
	WHICH_ALL,
	WHICH_OTHERS, /**< than `only` */
	WHICH_KIND,   /**< what is not of the kind `kind` */
};

static void remove_from(struct settling *s, bool raw, struct slice path, struct reg reg,
			enum which which)
{
	AUTO(free_ptr) struct opid *ids = xcalloc(reg.count, sizeof(*ids));
	size_t n = 0;

	for (uint32_t i = reg.first; i != DOC_NONE; i = s->d->sibs[i].next) {
		const struct sib *sib = &s->d->sibs[i];

		if ((which == WHICH_OTHERS && opid_eq(sib->id, s->only->id)) ||
		    (which == WHICH_KIND && sib->kind == s->kind))
			continue;
		ids[n++] = sib->id;
	}
	add_removal(s, raw, path, ids, n);
}

static void remove_field(struct settling *s, uint32_t f, enum which which)
{
	AUTO(buf_fini) struct buf path = {0};

	doc_path(s->d, f, &path);
	remove_from(s, false, path.len ? buf_slice(&path) : SLICE("", 0), s->d->fields[f].reg,
		    which);
}

/* An edit of nothing, by somebody who has seen all edits. */
static void add_review(struct settling *s)
{
	const struct root *r = doc_shown_text(s->d);
	struct op *op = ops_add(s->ops, OP_TEXT, s->node, ++*s->stamp->lamport);
	struct opid *preds = ops_preds(s->ops, op, r->count);

	for (uint32_t i = 0; i < r->count; i++)
		preds[i] = r->heads[i].id;
	op->value = SLICE("", 0);
}

struct search {
	const struct doc_which *which;
	bool raw;
	bool found;
};

static void find_loser(void *ctx, const struct doc_loser *l)
{
	struct search *s = ctx;

	if (!is_it(s->which, l))
		return;
	s->found = true;
	s->raw = l->raw;
}

/* What is beneath a value of the kind `kind`, and is not in it. */
static void remove_beneath(struct settling *s, uint32_t top)
{
	const struct doc *d = s->d;

	for (uint32_t c = d->fields[top].first_child; c != DOC_NONE; c = d->fields[c].next) {
		if (s->kind == (d->fields[c].is_item ? SIB_ARRAY : SIB_OBJECT))
			continue;
		for (uint32_t f = c; f != DOC_NONE; f = doc_walk(d, f, c, true)) {
			if (d->fields[f].reg.count)
				remove_field(s, f, WHICH_ALL);
		}
	}
}

static void use_field(struct settling *s, struct slice path)
{
	uint32_t f = doc_field_at((struct doc *)(uintptr_t)s->d, path, false);

	if (f == DOC_NONE)
		return;
	for (uint32_t up = f; up != 0;) {
		s->kind = s->d->fields[up].is_item ? SIB_ARRAY : SIB_OBJECT;
		up = s->d->fields[up].parent;
		remove_field(s, up, WHICH_KIND);
		remove_beneath(s, up);
	}
	for (uint32_t i = s->d->fields[f].reg.first; i != DOC_NONE; i = s->d->sibs[i].next) {
		if (opid_eq(s->d->sibs[i].id, s->only->id))
			s->kind = s->d->sibs[i].kind;
	}
	remove_field(s, f, WHICH_OTHERS);
	remove_beneath(s, f);
}

bool doc_settle(const struct doc *d, const struct doc_which *loser, bool use, const struct id *node,
		const struct doc_stamp *stamp, struct ops *ops)
{
	struct settling s = {.d = d, .node = node, .stamp = stamp, .ops = ops, .only = loser};
	struct search found = {.which = loser};
	size_t first = ops->count;

	if (!use) {
		doc_losers(d, drop_loser, &s);
		if (!loser && doc_clash_count(d))
			add_review(&s);
		return ops->count > first;
	}
	doc_losers(d, find_loser, &found);
	if (found.found && found.raw)
		remove_from(&s, true, SLICE("", 0), d->raw, WHICH_OTHERS);
	else if (found.found)
		use_field(&s, loser->path);
	return ops->count > first;
}

bool doc_shown_at(const struct doc *d, const struct doc_loser *l, struct doc_loser *ret)
{
	*ret = *l;
	ret->value = SLICE("", 0);
	if (l->raw) {
		uint32_t best = doc_reg_best(d, d->raw);

		if (best == DOC_NONE)
			return false;
		ret->id = d->sibs[best].id;
		ret->hlc = d->sibs[best].hlc;
		return true;
	}
	uint32_t f = doc_field_at((struct doc *)(uintptr_t)d, l->path, false);
	uint32_t text = DOC_NONE;
	if (f == DOC_NONE || !doc_is_there(d, f))
		return false;
	enum sib_kind kind = doc_shows(d, f, &text);
	if (kind == SIB_TEXT)
		ret->value = d->sibs[text].value;
	else
		text = doc_newest(d, f, kind);
	ret->container = kind == SIB_OBJECT ? '{' : kind == SIB_ARRAY ? '[' : 0;
	ret->id = d->sibs[text].id;
	ret->hlc = d->sibs[text].hlc;
	return true;
}

void doc_loser_text(const struct doc *d, const struct doc_loser *l, struct buf *out)
{
	uint32_t f =
		l->container ? doc_field_at((struct doc *)(uintptr_t)d, l->path, false) : DOC_NONE;

	if (f == DOC_NONE)
		buf_slice_append(out, l->value);
	else
		doc_render_container(d, f, l->container == '[', out);
}
