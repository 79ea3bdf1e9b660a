/*
 * The raw register: whole values, of which texts merge.
 *
 * A text is a root: what it began as, and the edits built on it (core/text.h). Its tokens are the heads of its
 * edits; an operation that replaces the value names tokens, and the root is there while one of them is left. So a
 * whole value that did not see an edit stands beside the text with that edit, and an edit that did not see the
 * whole value brings the text back.
 *
 * Beside the state (struct doc_side), under keys of the document:
 *   'e' root16 lamport8 actor8  an edit, as text_event_encode() has it: where and how much. What a root
 *                               began as is an event without parents; it is written with the first edit
 *   'd' root16                  a root that lost its last token, as doc_root_encode() has it
 */
#include "core/digest.h"
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** The first look back into the log, in lamports. */
#define LOOK_BACK_MIN 64
#define LOOK_BACK_FACTOR 16

/* ---- what is text ---- */

#define TEXT_BYTES_MAX (4u << 20)
#define TEXT_LOOKED_AT_MAX 8192
/** One in so many bytes may be a control character. */
#define TEXT_CONTROLS 32

bool doc_is_text(struct slice bytes)
{
	size_t n = bytes.len < TEXT_LOOKED_AT_MAX ? bytes.len : TEXT_LOOKED_AT_MAX;
	size_t controls = 0;

	if (bytes.len > TEXT_BYTES_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = bytes.data[i];

		if (c == 0)
			return false;
		controls += (c < 0x20 && !(c >= '\b' && c <= '\r') && c != 0x1b) || c == 0x7f;
	}
	return controls * TEXT_CONTROLS <= n;
}

/* ---- roots ---- */

struct slice doc_sib_text(const struct doc *d, const struct sib *s)
{
	if (s->root == DOC_NONE)
		return s->value;
	return doc_root_text(&d->roots[s->root]);
}

struct slice doc_root_text(const struct root *r)
{
	return r->text ? text_content(r->text) : r->content;
}

static void root_fini(struct root *r)
{
	free(r->heads);
	text_destroy(r->text);
	doc_clashes_fini(r);
}

void doc_roots_fini(struct doc *d)
{
	for (uint32_t i = 0; i < d->root_count; i++)
		root_fini(&d->roots[i]);
	free(d->roots);
}

void doc_roots_copy(struct doc *d, const struct doc *from)
{
	d->root_cap = from->root_count;
	d->roots = xreallocarray(NULL, d->root_cap, sizeof(*d->roots));
	for (uint32_t i = 0; i < from->root_count; i++) {
		const struct root *r = &from->roots[i];

		d->roots[i] = *r;
		d->roots[i].cap = r->count;
		d->roots[i].heads = xmemdup(r->heads, r->count * sizeof(*r->heads));
		d->roots[i].content = doc_root_text(r);
		d->roots[i].text = NULL;
		doc_clashes_copy(&d->roots[i], r);
	}
}

struct root *doc_root_add(struct doc *d, const struct id *id)
{
	if (d->root_count == d->root_cap) {
		d->root_cap = d->root_cap ? d->root_cap * 2 : 2;
		d->roots = xreallocarray(d->roots, d->root_cap, sizeof(*d->roots));
	}
	struct root *r = &d->roots[d->root_count++];
	*r = (struct root){.id = *id, .fresh = true, .content = SLICE("", 0), .sib = DOC_NONE};
	return r;
}

static uint32_t root_index(const struct doc *d, const struct root *r)
{
	return (uint32_t)(r - d->roots);
}

static struct root *find_root(const struct doc *d, const struct id *id)
{
	for (uint32_t i = 0; i < d->root_count; i++) {
		if (id_eq(&d->roots[i].id, id))
			return &d->roots[i];
	}
	return NULL;
}

static struct head *find_head(const struct root *r, struct opid id)
{
	for (uint32_t i = 0; i < r->count; i++) {
		if (opid_eq(r->heads[i].id, id))
			return &r->heads[i];
	}
	return NULL;
}

void doc_root_head(struct root *r, struct head head)
{
	uint32_t i = r->count;

	if (r->count == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 2;
		r->heads = xreallocarray(r->heads, r->cap, sizeof(*r->heads));
	}
	for (; i > 0 && opid_cmp(r->heads[i - 1].id, head.id) > 0; i--)
		r->heads[i] = r->heads[i - 1];
	r->heads[i] = head;
	r->count++;
}

/* The token that speaks for the root; NULL if it has none. */
static const struct head *best_token(const struct root *r)
{
	const struct head *best = NULL;

	for (uint32_t i = 0; i < r->count; i++) {
		const struct head *h = &r->heads[i];

		if (h->alive && (!best || h->hlc > best->hlc ||
				 (h->hlc == best->hlc && opid_cmp(h->id, best->id) > 0)))
			best = h;
	}
	return best;
}

bool doc_root_show(struct doc *d, struct root *r)
{
	const struct head *best = best_token(r);

	if (r->sib != DOC_NONE)
		(void)doc_reg_remove(d, &d->raw, &d->sibs[r->sib].id, 1);
	r->sib = DOC_NONE;
	if (!best)
		return false;
	struct sib *s = doc_reg_add(d, &d->raw, best->id);
	s->kind = SIB_TEXT;
	s->hlc = best->hlc;
	s->value = SLICE("", 0);
	s->root = root_index(d, r);
	r->sib = (uint32_t)(s - d->sibs);
	return true;
}

/* ---- beside the state ---- */

static const struct doc_side *side_of(struct doc *d)
{
	if (d->side.put)
		return &d->side;
	if (!d->mem)
		d->mem = doc_mem_create();
	return doc_mem_side(d->mem);
}

static void note_error(struct doc *d, int r)
{
	if (r < 0 && r != -ENOENT && d->error == 0)
		d->error = r;
}

static struct slice key_root(struct buf *key, uint8_t kind, const struct id *root)
{
	buf_clear(key);
	buf_u8(key, kind);
	id_write(key, root);
	return buf_slice(key);
}

static struct slice key_event(struct buf *key, const struct id *root, struct opid id)
{
	(void)key_root(key, 'e', root);
	buf_be64(key, id.lamport);
	buf_be64(key, id.actor);
	return buf_slice(key);
}

static void put_event(struct doc *d, const struct root *r, const struct text_event *v)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	const struct doc_side *side = side_of(d);

	text_event_encode(v, &value);
	side->put(side->ctx, key_event(&key, &r->id, v->id), buf_slice(&value));
}

static bool has_event(struct doc *d, const struct root *r, struct opid id)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	const struct doc_side *side = side_of(d);

	if (r->fresh)
		return false;
	int e = side->get(side->ctx, key_event(&key, &r->id, id), &value);
	note_error(d, e);
	return e == 0;
}

/* Takes a root without tokens out of the state. */
static void bury(struct doc *d, struct root *r)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	uint32_t self = root_index(d, r);

	assert(r->sib == DOC_NONE);
	if (!d->is_fork) {
		const struct doc_side *side = side_of(d);

		doc_root_encode(r, &value);
		side->put(side->ctx, key_root(&key, 'd', &r->id), buf_slice(&value));
	}
	root_fini(r);
	d->roots[self] = d->roots[--d->root_count];
	if (self < d->root_count && d->roots[self].sib != DOC_NONE)
		d->sibs[d->roots[self].sib].root = self;
}

/* Adds a buried root again, still without a token. NULL if `value` is damaged. */
static struct root *dig_up(struct doc *d, const struct id *id, struct slice value)
{
	struct root *r = doc_root_add(d, id);

	if (doc_root_decode(r, value) == 0) {
		r->content = arena_copy(&d->arena, r->content);
		d->copied += r->content.len;
		return r;
	}
	root_fini(r);
	d->root_count--;
	note_error(d, -EIO);
	return NULL;
}

struct search {
	struct doc *d;
	struct opid id;
	bool heads_only;
	struct id *others; /* where it is no head */
	size_t other_count;
	struct root *found;
};

static bool look_at_buried(void *ctx, struct slice key, struct slice value)
{
	struct search *s = ctx;
	struct reader k = reader_init(key);
	struct root r = {.sib = DOC_NONE};

	(void)reader_u8(&k);
	r.id = id_read(&k);
	if (reader_finish(&k) == 0 && !find_root(s->d, &r.id) && doc_root_decode(&r, value) == 0) {
		if (find_head(&r, s->id)) {
			s->found = dig_up(s->d, &r.id, value);
		} else if (!r.fresh) {
			s->others = xreallocarray(s->others, s->other_count + 1, sizeof(*s->others));
			s->others[s->other_count++] = r.id;
		}
	}
	root_fini(&r);
	return s->found == NULL;
}

static struct root *find_buried(struct doc *d, const struct id *id)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	const struct doc_side *side = side_of(d);
	int r = side->get(side->ctx, key_root(&key, 'd', id), &value);

	note_error(d, r);
	return r == 0 ? dig_up(d, id, buf_slice(&value)) : NULL;
}

/* The root that the operation `id` is part of, brought back if it was buried. */
static struct root *root_with(struct doc *d, struct opid id)
{
	struct search s = {.d = d, .id = id};

	for (uint32_t i = 0; i < d->root_count; i++) {
		if (find_head(&d->roots[i], id))
			return &d->roots[i];
	}
	for (uint32_t i = 0; i < d->root_count; i++) {
		if (has_event(d, &d->roots[i], id))
			return &d->roots[i];
	}
	const struct doc_side *side = side_of(d);
	note_error(d, side->scan(side->ctx, SLICE_STR("d"), SLICE("", 0), look_at_buried, &s));
	for (size_t i = 0; i < s.other_count && !s.found; i++) {
		const struct root r = {.id = s.others[i]};

		if (has_event(d, &r, id))
			s.found = find_buried(d, &r.id);
	}
	free(s.others);
	return s.found;
}

/* ---- tokens ---- */

static bool names(const struct op *op, struct opid id)
{
	for (size_t i = 0; i < op->pred_count; i++) {
		if (opid_eq(op->preds[i], id))
			return true;
	}
	return false;
}

/* Takes away the tokens that the operation names; roots left without one are buried, but for `except`. */
static void drop_tokens(struct doc *d, const struct op *op, const struct id *except)
{
	for (uint32_t i = d->root_count; i > 0; i--) {
		struct root *r = &d->roots[i - 1];
		bool changed = false;

		for (uint32_t k = 0; k < r->count; k++) {
			struct head *h = &r->heads[k];

			if (h->alive && names(op, h->id)) {
				h->alive = false;
				changed = true;
			}
		}
		if (changed && !doc_root_show(d, r) && !(except && id_eq(&r->id, except)))
			bury(d, r);
	}
	(void)doc_reg_remove(d, &d->raw, op->preds, op->pred_count);
}

size_t doc_raw_tokens(const struct doc *d, struct opid *ret)
{
	size_t n = 0;

	for (uint32_t i = d->raw.first; i != DOC_NONE; i = d->sibs[i].next) {
		const struct sib *s = &d->sibs[i];
		const struct root *r = s->root == DOC_NONE ? NULL : &d->roots[s->root];

		if (!r && ret)
			ret[n] = s->id;
		n += !r;
		for (uint32_t k = 0; r && k < r->count; k++) {
			if (!r->heads[k].alive)
				continue;
			if (ret)
				ret[n] = r->heads[k].id;
			n++;
		}
	}
	return n;
}

/* ---- whole values ---- */

static struct id root_id(const struct op *op, struct opid id, bool initial)
{
	struct buf b = {0};
	struct id own = {{0}};

	if (initial) /* the same on whatever device it was made */
		return digest_id("blaze text root", &op->value, 1);
	buf_be64(&b, id.lamport);
	buf_be64(&b, id.actor);
	memcpy(own.b, b.data, sizeof(own.b));
	buf_fini(&b);
	return own;
}

static void apply_whole_text(struct doc *d, const struct op *op, struct head head, bool initial)
{
	const struct id own = root_id(op, head.id, initial);
	struct root *r = find_root(d, &own);

	if (!r && initial)
		r = find_buried(d, &own);
	if (!r) {
		r = doc_root_add(d, &own);
		r->content = arena_copy(&d->arena, op->value);
		d->copied += op->value.len;
	} else if (!r->fresh) { /* there are edits, concurrent to this beginning */
		put_event(d, r, &(struct text_event){.id = head.id, .len = op->value.len});
		if (r->text) { /* its graph lacks the event */
			r->content = arena_copy(&d->arena, text_content(r->text));
			d->copied += r->content.len;
			text_destroy(STEAL(r->text));
		}
	}
	doc_root_head(r, head);
	(void)doc_root_show(d, r);
}

/* ---- edits ---- */

struct log {
	struct text_event *items;
	size_t count;
	size_t cap;
	struct arena arena;
	bool bad;
};

static bool add_event(void *ctx, struct slice key, struct slice value)
{
	struct log *l = ctx;
	struct reader k = reader_init(key);
	struct opid id;

	(void)reader_take(&k, 1 + sizeof(struct id));
	id.lamport = reader_be64(&k);
	id.actor = reader_be64(&k);
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
	}
	struct text_event *v = &l->items[l->count++];
	l->bad = text_event_decode(value, id, &l->arena, v) < 0 || reader_finish(&k) < 0;
	return !l->bad;
}

int doc_load_log(struct doc *d, struct root *r, uint64_t from)
{
	AUTO(buf_fini) struct buf prefix = {0};
	AUTO(buf_fini) struct buf start = {0};
	const struct doc_side *side = side_of(d);
	struct log l = {0};

	(void)key_root(&start, 'e', &r->id);
	buf_be64(&start, from);
	int e = side->scan(side->ctx, key_root(&prefix, 'e', &r->id), buf_slice(&start), add_event,
			   &l);
	if (e == 0 && l.bad)
		e = -EIO;
	if (e == 0) {
		text_sort(l.items, l.count);
		e = text_load(r->text, l.items, l.count, from == 0) ? 0 : -ENOENT;
	}
	for (size_t i = 0; i < l.count; i++)
		text_edits_fini(&l.items[i].edits);
	free(l.items);
	arena_fini(&l.arena);
	return e;
}

/* text_apply(), with as much of the log as it takes. */
static enum text_outcome apply_edits(struct doc *d, struct root *r, struct text_event *v)
{
	enum text_outcome outcome =
		text_apply(r->text, v->id, v->parents, v->parent_count, &v->edits, &v->len);
	uint64_t oldest = v->id.lamport;

	for (size_t i = 0; i < v->parent_count; i++)
		oldest = v->parents[i].lamport < oldest ? v->parents[i].lamport : oldest;
	for (uint32_t i = 0; i < r->count; i++)
		oldest = r->heads[i].id.lamport < oldest ? r->heads[i].id.lamport : oldest;
	for (uint64_t back = LOOK_BACK_MIN; outcome == TEXT_MISSING; back *= LOOK_BACK_FACTOR) {
		uint64_t from = oldest > back ? oldest - back : 0;
		int e = doc_load_log(d, r, from);

		if (e == 0)
			outcome = text_apply(r->text, v->id, v->parents, v->parent_count, &v->edits,
					     &v->len);
		else
			note_error(d, e == -ENOENT && from == 0 ? -EIO : e);
		if (from == 0 || d->error)
			break;
	}
	return outcome;
}

/* The root's log begins: what its edits are built on. */
static void begin_log(struct doc *d, struct root *r)
{
	if (!r->fresh)
		return;
	for (uint32_t i = 0; i < r->count; i++)
		put_event(d, r, &(struct text_event){.id = r->heads[i].id, .len = r->content.len});
	r->fresh = false;
}

static void open_text(struct root *r)
{
	if (r->text)
		return;
	struct opid *ids = xreallocarray(NULL, r->count, sizeof(*ids));
	for (uint32_t i = 0; i < r->count; i++)
		ids[i] = r->heads[i].id;
	r->text = text_create(r->content, ids, r->count);
	free(ids);
}

static void replace_heads(struct root *r, const struct text_event *v, struct head head)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->count; i++) {
		bool is_parent = false;

		for (size_t k = 0; k < v->parent_count; k++)
			is_parent = is_parent || opid_eq(v->parents[k], r->heads[i].id);
		if (!is_parent)
			r->heads[n++] = r->heads[i];
	}
	r->count = n;
	doc_root_head(r, head);
}

static void apply_text(struct doc *d, const struct op *op, struct head head)
{
	struct root *r = op->pred_count ? root_with(d, op->preds[0]) : NULL;
	AUTO(free_ptr) struct opid *parents = NULL;
	struct text_event v = {.id = head.id};

	if (!r || text_edits_decode(op->value, &v.edits) < 0)
		goto out; /* of a hostile author, or after an error of the store */
	const struct id own = r->id;
	parents = xreallocarray(NULL, op->pred_count, sizeof(*parents));
	for (size_t i = 0; i < op->pred_count; i++) {
		if (find_head(r, op->preds[i]) || has_event(d, r, op->preds[i]))
			parents[v.parent_count++] = op->preds[i];
	}
	v.parents = parents;
	begin_log(d, r);
	open_text(r);
	const struct before_edit before = doc_clashes_before(r, &v);
	enum text_outcome outcome = apply_edits(d, r, &v);
	if (outcome == TEXT_MISSING)
		goto out;
	if (outcome == TEXT_BEYOND)
		v.edits.count = 0;
	put_event(d, r, &v);
	note_error(d, doc_clashes_after(d, r, &v, &before));
	drop_tokens(d, op, &own);
	r = find_root(d, &own); /* it may have moved */
	assert(r);
	replace_heads(r, &v, head);
	(void)doc_root_show(d, r);
out:
	text_edits_fini(&v.edits);
}

static void apply_raw(struct doc *d, const struct op *op, struct head head, bool initial)
{
	if (op->kind == OP_TEXT) {
		apply_text(d, op, head);
		return;
	}
	drop_tokens(d, op, NULL);
	if (op->kind == OP_UNRAW)
		return;
	if (op->kind == OP_RAW && doc_is_text(op->value)) {
		apply_whole_text(d, op, head, initial);
		return;
	}
	struct sib *s = doc_reg_add(d, &d->raw, head.id);
	s->kind = op->kind == OP_CHUNKS ? SIB_CHUNKS : SIB_TEXT;
	s->hlc = head.hlc;
	s->value = arena_copy(&d->arena, op->value);
	d->copied += op->value.len;
}

void doc_apply_raw(struct doc *d, const struct op *op, struct opid id, uint64_t hlc, bool initial)
{
	apply_raw(d, op, (struct head){.id = id, .hlc = hlc, .alive = true}, initial);
	if (op->kind != OP_UNRAW)
		doc_cover(d, op, id);
}
