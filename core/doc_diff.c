/*
 * From a save to operations.
 *
 * A JSON save is compared with base's fields in two passes: over the save's members, to SET what
 * differs, then over base's fields, to UNSET what the save no longer has. The result is tried out
 * on a fork of base; where it does not render to the save's bytes, the save becomes the layout too.
 * Text and all else: see doc_diff_text.c.
 */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** Paths repeat their prefixes; a save whose paths outgrow it by this factor is kept as text. */
#define PATHS_PER_BYTE_MAX 16
#define PATHS_BYTES_MIN 65536
#define PATHS_BYTES_MAX (256u << 20)
/** A layout larger than this many times the save, and not small anyway, is replaced. */
#define LAYOUT_PER_BYTE_MAX 4
#define LAYOUT_BYTES_MIN 1024
/** Operations of other kinds may share the change. */
#define DIFF_OPS_MAX (CHANGE_OPS_MAX - 1024)

/** What the save does to a field of base. */
enum fate {
	FATE_GONE,   /* it is not in the save */
	FATE_KEPT,   /* the shown text stays, and so does what it hides */
	FATE_TEXT,   /* a new text takes the place of everything here and beneath */
	FATE_OBJECT, /* an object here, whose members have fates of their own */
};

/** The field and the depth of a node of the save. */
struct match {
	uint32_t field; /* DOC_NONE if base has none */
	uint32_t hint;	/* for an object: the field its next member probably is */
	size_t depth;
};

struct diff {
	const struct doc *base;
	struct slice bytes;
	const struct id *node;
	const struct doc_stamp *stamp;
	struct ops *ops;
	size_t first;	    /* of ops, the first one made here */
	size_t paths_bytes; /* of all paths so far */
	bool too_large;	    /* for a change: give up */
	bool firm;	    /* write objects anew where a text competes with them */
	const struct json *json;
	struct match *matches; /* by node of json */
	uint8_t *fates;	       /* by field of base */
	struct buf path;
	size_t path_len[DOC_DEPTH_MAX + 2]; /* of the path up to this depth */
};

/* An operation that replaces all siblings of the register. */
static struct op *add_op(struct diff *x, enum op_kind kind, struct reg reg)
{
	struct op *op = ops_add(x->ops, kind, x->node, ++*x->stamp->lamport);
	size_t n = 0;

	if (reg.count > CHANGE_PREDS_MAX || x->ops->count - x->first > DIFF_OPS_MAX) {
		x->too_large = true;
		return op;
	}
	struct opid *preds = ops_preds(x->ops, op, reg.count);
	for (uint32_t i = reg.first; i != DOC_NONE; i = x->base->sibs[i].next)
		preds[n++] = x->base->sibs[i].id;
	assert(n == reg.count);
	return op;
}

/*
 * The same for the raw register. Preds are never empty if the document is not: without any, the operation
 * would say that its author knew of nothing. Of fields that a whole value hides they say what was seen, by the last
 * operation of everybody: what was not, is among the losers.
 */
static struct op *add_raw_op(struct diff *x, enum op_kind kind)
{
	const struct doc *d = x->base;
	size_t (*tokens)(const struct doc *, struct opid *) =
		kind == OP_TEXT ? doc_text_preds : doc_raw_tokens;
	size_t n = tokens(d, NULL);
	bool hides = d->fields[0].live && (kind == OP_RAW || kind == OP_CHUNKS);
	size_t seen = hides ? d->seen_count : n == 0 && d->seen_count ? 1 : 0;
	struct op *op = ops_add(x->ops, kind, x->node, ++*x->stamp->lamport);

	if (n + seen > CHANGE_PREDS_MAX) {
		x->too_large = true;
		return op;
	}
	struct opid *preds = ops_preds(x->ops, op, n + seen);
	if (n)
		(void)tokens(d, preds);
	for (size_t i = 0; i < seen; i++)
		preds[n + i] = (struct opid){d->seen[i].lamport, d->seen[i].actor};
	return op;
}

/* `max` bounds all paths of the change so far. */
static void set_path(struct diff *x, struct op *op, struct slice path, size_t max)
{
	x->paths_bytes += path.len;
	if (path.len > CHANGE_PATH_BYTES_MAX || x->paths_bytes > max)
		x->too_large = true;
	else
		op->path = arena_copy(&x->ops->arena, path);
}

static void add_set(struct diff *x, const struct json_node *n, const struct match *m)
{
	const struct doc *d = x->base;
	bool live = m->field != DOC_NONE && d->fields[m->field].live;
	struct op *op =
		add_op(x, OP_SET, live ? d->fields[m->field].reg : (struct reg){DOC_NONE, 0});
	size_t max = x->bytes.len < PATHS_BYTES_MAX / PATHS_PER_BYTE_MAX
			     ? x->bytes.len * PATHS_PER_BYTE_MAX + PATHS_BYTES_MIN
			     : PATHS_BYTES_MAX;

	set_path(x, op, SLICE(x->path.data, x->path_len[m->depth]), max);
	op->value_kind = n->kind == JSON_OBJECT ? VALUE_OBJECT : VALUE_TEXT;
	if (n->kind != JSON_OBJECT)
		op->value = arena_copy(&x->ops->arena,
				       SLICE(x->bytes.data + n->start, n->end - n->start));
	if (live)
		op->ord = doc_field_ord(d, m->field);
}

static void add_unset(struct diff *x, uint32_t f)
{
	struct op *op = add_op(x, OP_UNSET, x->base->fields[f].reg);

	buf_clear(&x->path);
	doc_path(x->base, f, &x->path);
	set_path(x, op, buf_slice(&x->path), PATHS_BYTES_MAX);
}

static void diff_object(struct diff *x, const struct json_node *n, const struct match *m)
{
	const struct doc *d = x->base;
	const struct field *f = m->field == DOC_NONE ? NULL : &d->fields[m->field];
	uint32_t text = DOC_NONE;

	if (!f || !f->live || !doc_shows_object(d, m->field, &text)) {
		add_set(x, n, m);
		return;
	}
	/* It may be there only because of what is in it. */
	bool implied = true;
	for (uint32_t i = f->reg.first; i != DOC_NONE; i = d->sibs[i].next)
		implied = implied && d->sibs[i].kind != VALUE_OBJECT;
	if ((implied && n->child_count == 0) || (x->firm && text != DOC_NONE))
		add_set(x, n, m);
}

static enum fate diff_text(struct diff *x, const struct json_node *n, const struct match *m)
{
	const struct doc *d = x->base;
	uint32_t text = DOC_NONE;

	if (m->field != DOC_NONE && d->fields[m->field].live &&
	    !doc_shows_object(d, m->field, &text) &&
	    json_same(d->sibs[text].value, SLICE(x->bytes.data + n->start, n->end - n->start)))
		return FATE_KEPT;
	add_set(x, n, m);
	return FATE_TEXT;
}

/* Finds the node's field and leaves its path in x->path. */
static void match_node(struct diff *x, uint32_t i)
{
	const struct json_node *n = &x->json->nodes[i];
	struct match *m = &x->matches[i];

	*m = (struct match){.hint = DOC_NONE};
	if (n->parent != JSON_NONE) {
		struct match *p = &x->matches[n->parent];

		m->depth = p->depth + 1;
		m->field = p->field == DOC_NONE ? DOC_NONE
						: doc_child(x->base, p->field, n->key, p->hint);
		if (m->field != DOC_NONE)
			p->hint = x->base->fields[m->field].next;
		x->path.len = x->path_len[p->depth];
		buf_bytes(&x->path, n->key);
	}
	if (m->field != DOC_NONE)
		m->hint = x->base->fields[m->field].first_child;
	assert(m->depth <= DOC_DEPTH_MAX);
	x->path_len[m->depth] = x->path.len;
}

static void diff_nodes(struct diff *x)
{
	(void)buf_reserve(&x->path, 1);
	for (uint32_t i = 0; i < x->json->count && !x->too_large; i++) {
		const struct json_node *n = &x->json->nodes[i];
		enum fate fate = FATE_OBJECT;

		match_node(x, i);
		if (n->kind == JSON_OBJECT)
			diff_object(x, n, &x->matches[i]);
		else
			fate = diff_text(x, n, &x->matches[i]);
		if (x->matches[i].field != DOC_NONE)
			x->fates[x->matches[i].field] = (uint8_t)fate;
	}
}

static void diff_gone(struct diff *x)
{
	const struct doc *d = x->base;
	bool into = true;

	for (uint32_t f = 0; f != DOC_NONE && !x->too_large; f = doc_walk(d, f, 0, into)) {
		into = d->fields[f].live > 0 && x->fates[f] != FATE_KEPT;
		if (d->fields[f].reg.count && x->fates[f] == FATE_GONE)
			add_unset(x, f);
	}
}

/* Whether d shows these bytes now. */
static bool shows(const struct doc *d, const struct json *layout, struct slice bytes)
{
	AUTO(buf_fini) struct buf out = {0};

	if (d->raw.count) {
		const struct sib *s = &d->sibs[doc_reg_best(d, d->raw)];

		return s->kind == VALUE_TEXT && slice_eq(doc_sib_text(d, s), bytes);
	}
	(void)buf_reserve(&out, bytes.len + 1);
	doc_render_with(d, layout, &out);
	return slice_eq(buf_slice(&out), bytes);
}

/* Whether base, after the operations from x->first on, renders to the save's bytes. */
static bool renders_to_bytes(struct diff *x, const struct json *layout)
{
	struct doc *d = doc_fork(x->base);

	for (size_t i = x->first; i < x->ops->count; i++) {
		const struct op *op = &x->ops->items[i];

		doc_apply_sound(d, op, (struct opid){op->lamport, x->stamp->actor}, x->stamp->hlc);
	}
	bool same = shows(d, layout, x->bytes);
	doc_destroy(d);
	return same;
}

/* Whether the layout is so much larger than the save that keeping it costs more than a new one. */
static bool is_outgrown(const struct diff *x, const struct json *layout)
{
	return layout && layout->text.len / LAYOUT_PER_BYTE_MAX > x->bytes.len + LAYOUT_BYTES_MIN;
}

/* Makes the operations of a JSON save. false if they do not do or are too many. */
static bool try_json(struct diff *x, const struct json *layout)
{
	if (x->base->raw.count)
		(void)add_raw_op(x, OP_UNRAW);
	x->path.len = 0;
	memset(x->fates, 0, x->base->field_count);
	diff_nodes(x);
	diff_gone(x);
	if (x->too_large)
		return false;
	if (renders_to_bytes(x, layout) && !is_outgrown(x, layout))
		return true;
	add_op(x, OP_LAYOUT, x->base->layout)->value = arena_copy(&x->ops->arena, x->bytes);
	return !x->too_large && renders_to_bytes(x, x->json);
}

static void undo(struct diff *x, uint64_t lamport)
{
	x->ops->count = x->first;
	x->paths_bytes = 0;
	*x->stamp->lamport = lamport;
}

static bool diff_json(struct diff *x, const struct json *layout)
{
	AUTO(json_fini) struct json json;
	uint64_t lamport = *x->stamp->lamport;

	if (json_scan(x->bytes, &json, NULL) < 0)
		return false;
	x->json = &json;
	x->matches = xreallocarray(NULL, json.count, sizeof(*x->matches));
	x->fates = xmalloc(x->base->field_count);
	bool done = try_json(x, layout);
	if (!done) {
		undo(x, lamport);
		x->firm = true;
		done = !x->too_large && try_json(x, layout);
	}
	if (!done)
		undo(x, lamport);
	x->json = NULL;
	free(x->matches);
	free(x->fates);
	buf_fini(&x->path);
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

		if (s->kind == VALUE_CHUNKS && slice_eq(s->value, manifest))
			return false;
	}
	advance(base, stamp->lamport);
	add_raw_op(&x, OP_CHUNKS)->value = arena_copy(&ops->arena, manifest);
	return true;
}

bool doc_diff(const struct doc *base, struct slice bytes, bool json, const struct id *node,
	      const struct doc_stamp *stamp, struct ops *ops)
{
	AUTO(json_fini) struct json storage;
	const struct json *layout = doc_scan_layout(base, &storage);

	if (shows(base, layout, bytes) && (json || doc_mode(base) != DOC_EMPTY))
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
	if (json && diff_json(&x, layout))
		return true;
	AUTO(buf_fini) struct buf edits = {0};
	bool merges = doc_diff_text(base, bytes, stamp, &edits);
	add_raw_op(&x, merges ? OP_TEXT : OP_RAW)->value =
		arena_copy(&ops->arena, merges ? buf_slice(&edits) : bytes);
	return true;
}
