/* The state of a document in memory: registers, the field tree and what follows from them alone. */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** A field with more children than this is looked up through the hash index. */
#define LINEAR_CHILDREN_MAX 32
#define COMPACT_BYTES_MIN 65536

static uint32_t field_new(struct doc *d, uint32_t parent, struct doc_key key)
{
	if (d->field_count == d->field_cap) {
		d->field_cap = d->field_cap ? d->field_cap * 2 : 4;
		d->fields = xreallocarray(d->fields, d->field_cap, sizeof(*d->fields));
	}
	assert(d->field_count < DOC_NONE / 4);
	d->fields[d->field_count] = (struct field){
		.key = key.bytes,
		.is_item = key.is_item,
		.parent = parent,
		.next = DOC_NONE,
		.first_child = DOC_NONE,
		.last_child = DOC_NONE,
		.reg = {DOC_NONE, 0},
		.place = {DOC_NONE, 0},
		.space = {DOC_NONE, 0},
	};
	return d->field_count++;
}

void doc_reserve(struct doc *d, uint32_t fields, uint32_t sibs)
{
	assert(fields >= d->field_count && sibs >= d->sib_count);
	d->fields = xreallocarray(d->fields, fields, sizeof(*d->fields));
	d->field_cap = fields;
	d->sibs = xreallocarray(d->sibs, sibs, sizeof(*d->sibs));
	d->sib_cap = sibs;
}

struct doc *doc_create(void)
{
	struct doc *d = xcalloc(1, sizeof(*d));

	d->sib_free = DOC_NONE;
	d->raw.first = DOC_NONE;
	d->style.first = DOC_NONE;
	d->seed = (uintptr_t)d;
	d->compact_at = COMPACT_BYTES_MIN;
	(void)field_new(d, DOC_NONE, (struct doc_key){SLICE("", 0), false});
	return d;
}

void doc_destroy(struct doc *d)
{
	if (!d)
		return;
	doc_roots_fini(d);
	free(d->covers);
	doc_mem_destroy(d->mem);
	free(d->fields);
	free(d->sibs);
	free(d->seen);
	free(d->index);
	free(d->blob);
	arena_fini(&d->arena);
	free(d);
}

/* Copies `count` items into a new array with room for `cap`. */
static void *copy_array(const void *items, size_t count, size_t cap, size_t size)
{
	void *copy = xreallocarray(NULL, cap, size);

	assert(count <= cap);
	if (count)
		memcpy(copy, items, count * size);
	return copy;
}

struct doc *doc_fork(const struct doc *base)
{
	struct doc *d = xmalloc(sizeof(*d));

	*d = *base;
	d->field_cap = base->field_count + 8;
	d->fields = copy_array(base->fields, base->field_count, d->field_cap, sizeof(*d->fields));
	d->sib_cap = base->sib_count + 8;
	d->sibs = copy_array(base->sibs, base->sib_count, d->sib_cap, sizeof(*d->sibs));
	d->seen_cap = base->seen_count + 1;
	d->seen = copy_array(base->seen, base->seen_count, d->seen_cap, sizeof(*d->seen));
	if (base->index)
		d->index = xmemdup(base->index, base->index_cap * sizeof(*d->index));
	doc_roots_copy(d, base);
	doc_covers_copy(d, base);
	d->side = (struct doc_side){0};
	d->mem = NULL;
	d->is_fork = true;
	d->blob = NULL;
	d->arena = (struct arena){0};
	d->copied = 0;
	d->compact_at = SIZE_MAX;
	return d;
}

static void own(struct doc *d, struct slice *s)
{
	*s = arena_copy(&d->arena, *s);
}

static void own_reg(struct doc *d, struct reg reg)
{
	for (uint32_t i = reg.first; i != DOC_NONE; i = d->sibs[i].next)
		own(d, &d->sibs[i].value);
}

struct doc *doc_clone(const struct doc *base)
{
	struct doc *d = doc_fork(base);

	for (uint32_t i = 0; i < d->field_count; i++) {
		own(d, &d->fields[i].key);
		own_reg(d, d->fields[i].reg);
		own_reg(d, d->fields[i].place);
		own_reg(d, d->fields[i].space);
	}
	own_reg(d, d->raw);
	own_reg(d, d->style);
	for (uint32_t i = 0; i < d->root_count; i++)
		own(d, &d->roots[i].content);
	if (base->mem)
		d->mem = doc_mem_clone(base->mem);
	d->is_fork = false;
	d->compact_at = base->compact_at;
	return d;
}

void doc_set_side(struct doc *d, const struct doc_side *side)
{
	d->side = *side;
}

int doc_error(const struct doc *d)
{
	return d->error;
}

bool doc_see(struct doc *d, struct opid id, struct seen **ret, struct seen *ret_before)
{
	uint32_t lo = 0;
	uint32_t hi = d->seen_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (d->seen[mid].actor < id.actor)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < d->seen_count && d->seen[lo].actor == id.actor) {
		if (id.lamport <= d->seen[lo].lamport)
			return false;
		*ret_before = d->seen[lo];
		d->seen[lo].lamport = id.lamport;
		*ret = &d->seen[lo];
		return true;
	}
	if (d->seen_count == d->seen_cap) {
		d->seen_cap = d->seen_cap ? d->seen_cap * 2 : 4;
		d->seen = xreallocarray(d->seen, d->seen_cap, sizeof(*d->seen));
	}
	memmove(&d->seen[lo + 1], &d->seen[lo], (d->seen_count - lo) * sizeof(*d->seen));
	d->seen[lo] = (struct seen){.actor = id.actor, .lamport = id.lamport};
	d->seen_count++;
	*ret_before = (struct seen){0};
	*ret = &d->seen[lo];
	return true;
}

int doc_sib_cmp(const struct sib *a, const struct sib *b)
{
	if (a->hlc != b->hlc)
		return a->hlc < b->hlc ? -1 : 1;
	return opid_cmp(a->id, b->id);
}

static uint32_t sib_new(struct doc *d)
{
	uint32_t i = d->sib_free;

	if (i != DOC_NONE) {
		d->sib_free = d->sibs[i].next;
		return i;
	}
	if (d->sib_count == d->sib_cap) {
		d->sib_cap = d->sib_cap ? d->sib_cap * 2 : 16;
		d->sibs = xreallocarray(d->sibs, d->sib_cap, sizeof(*d->sibs));
	}
	assert(d->sib_count < DOC_NONE / 4);
	return d->sib_count++;
}

struct sib *doc_reg_add(struct doc *d, struct reg *reg, struct opid id)
{
	uint32_t before = DOC_NONE;
	uint32_t after = reg->first;

	while (after != DOC_NONE && opid_cmp(d->sibs[after].id, id) < 0) {
		before = after;
		after = d->sibs[after].next;
	}
	/* A tree that names a key twice, or one that an item makes by itself: the last one stays. */
	if (after != DOC_NONE && opid_eq(d->sibs[after].id, id))
		return &d->sibs[after];
	uint32_t self = sib_new(d);
	d->sibs[self] = (struct sib){.id = id, .next = after, .root = DOC_NONE};
	if (before == DOC_NONE)
		reg->first = self;
	else
		d->sibs[before].next = self;
	reg->count++;
	return &d->sibs[self];
}

typedef bool covers_fn(const struct opid *preds, size_t count, struct opid id);

static bool names(const struct opid *preds, size_t count, struct opid id)
{
	for (size_t i = 0; i < count; i++) {
		if (opid_eq(preds[i], id))
			return true;
	}
	return false;
}

/* Whether `id` is no later than what `preds` name of its actor. */
static bool covers(const struct opid *preds, size_t count, struct opid id)
{
	for (size_t i = 0; i < count; i++) {
		if (preds[i].actor == id.actor && id.lamport <= preds[i].lamport)
			return true;
	}
	return false;
}

/* If `shade`, only what is shaded already goes, and the rest is. */
static uint32_t remove_if(struct doc *d, struct reg *reg, const struct opid *preds, size_t count,
			  covers_fn *fn, bool shade)
{
	uint32_t removed = 0;
	uint32_t before = DOC_NONE;

	for (uint32_t i = reg->first; i != DOC_NONE;) {
		uint32_t next = d->sibs[i].next;

		if (!fn(preds, count, d->sibs[i].id)) {
			before = i;
		} else if (shade && !d->sibs[i].shaded) {
			d->sibs[i].shaded = true;
			before = i;
		} else {
			if (before == DOC_NONE)
				reg->first = next;
			else
				d->sibs[before].next = next;
			d->sibs[i].next = d->sib_free;
			d->sib_free = i;
			removed++;
		}
		i = next;
	}
	assert(removed <= reg->count);
	reg->count -= removed;
	return removed;
}

uint32_t doc_reg_remove(struct doc *d, struct reg *reg, const struct opid *preds, size_t count)
{
	return remove_if(d, reg, preds, count, names, false);
}

void doc_reg_cover(struct doc *d, struct reg *reg, const struct opid *preds, size_t count)
{
	(void)remove_if(d, reg, preds, count, covers, false);
}

void doc_reg_shade(struct doc *d, struct reg *reg, const struct opid *preds, size_t count)
{
	(void)remove_if(d, reg, preds, count, covers, true);
}

uint32_t doc_reg_best(const struct doc *d, struct reg reg)
{
	uint32_t best = reg.first;

	for (uint32_t i = best; i != DOC_NONE; i = d->sibs[i].next) {
		if (doc_sib_cmp(&d->sibs[i], &d->sibs[best]) > 0)
			best = i;
	}
	return best;
}

uint32_t doc_reg_last(const struct doc *d, struct reg reg)
{
	uint32_t last = reg.first;

	while (last != DOC_NONE && d->sibs[last].next != DOC_NONE)
		last = d->sibs[last].next;
	return last;
}

static uint32_t index_slot(const struct doc *d, uint32_t parent, struct doc_key key)
{
	uint64_t seed = d->seed ^ (uint64_t)parent << 32 ^ (uint64_t)key.is_item;

	return (uint32_t)json_key_hash(key.bytes, seed) & (d->index_cap - 1);
}

static void index_put(struct doc *d, uint32_t f)
{
	const struct field *field = &d->fields[f];
	struct doc_key key = {field->key, field->is_item};
	uint32_t at = index_slot(d, field->parent, key);

	while (d->index[at])
		at = (at + 1) & (d->index_cap - 1);
	d->index[at] = f + 1;
}

/* Keeps the index at most half full, or makes it. */
static void index_grow(struct doc *d)
{
	uint32_t cap = 64;

	while (cap < 3 * d->field_count)
		cap *= 2;
	free(d->index);
	d->index = xcalloc(cap, sizeof(*d->index));
	d->index_cap = cap;
	for (uint32_t f = 1; f < d->field_count; f++)
		index_put(d, f);
}

static bool is_child(const struct doc *d, uint32_t f, uint32_t parent, struct doc_key key)
{
	const struct field *field = &d->fields[f];

	return field->parent == parent && field->is_item == key.is_item &&
	       slice_eq(field->key, key.bytes);
}

uint32_t doc_child(const struct doc *d, uint32_t parent, struct doc_key key, uint32_t hint)
{
	const struct field *p = &d->fields[parent];

	if (hint != DOC_NONE && is_child(d, hint, parent, key))
		return hint;
	if (p->child_count <= LINEAR_CHILDREN_MAX) {
		uint32_t f = p->first_child;

		while (f != DOC_NONE && !is_child(d, f, parent, key))
			f = d->fields[f].next;
		return f;
	}
	assert(d->index);
	uint32_t at = index_slot(d, parent, key);
	while (d->index[at]) {
		if (is_child(d, d->index[at] - 1, parent, key))
			return d->index[at] - 1;
		at = (at + 1) & (d->index_cap - 1);
	}
	return DOC_NONE;
}

uint32_t doc_child_add(struct doc *d, uint32_t parent, struct doc_key key)
{
	uint32_t f = field_new(d, parent, key);
	struct field *p = &d->fields[parent];

	if (p->last_child == DOC_NONE)
		p->first_child = f;
	else
		d->fields[p->last_child].next = f;
	p->last_child = f;
	p->child_count++;
	if (d->index && 2 * d->field_count <= d->index_cap)
		index_put(d, f);
	else if (d->index || p->child_count > LINEAR_CHILDREN_MAX)
		index_grow(d);
	return f;
}

struct doc_key doc_path_key(struct reader *r)
{
	uint64_t head = reader_varint(r);

	return (struct doc_key){reader_take(r, (size_t)(head >> 1)), head & 1};
}

void doc_path_add(struct buf *path, struct doc_key key)
{
	buf_varint(path, (uint64_t)key.bytes.len << 1 | key.is_item);
	buf_slice_append(path, key.bytes);
}

bool doc_item_key_is_sound(struct slice key)
{
	if (key.len < 2 || key.data[0] > ID_NAMES)
		return false;
	struct slice rest = {key.data + 1, key.len - 1};
	return key.data[0] == 0 ? doc_place_is_sound(rest)
				: rest.len <= ID_BYTES_MAX && json_is_value(rest);
}

bool doc_path_is_sound(struct slice path, size_t *ret_depth, struct doc_key *ret_last)
{
	struct reader r = reader_init(path);
	size_t depth = 0;
	struct doc_key key = {SLICE("", 0), false};

	for (; !r.bad && reader_left(&r); depth++) {
		key = doc_path_key(&r);
		if (!r.bad && key.is_item && !doc_item_key_is_sound(key.bytes))
			r.bad = true;
	}
	*ret_depth = depth;
	*ret_last = key;
	return !r.bad && depth <= DOC_DEPTH_MAX;
}

uint32_t doc_field_at(struct doc *d, struct slice path, bool make)
{
	struct reader r = reader_init(path);
	uint32_t f = 0;

	while (reader_left(&r)) {
		struct doc_key key = doc_path_key(&r);
		uint32_t child = doc_child(d, f, key, DOC_NONE);

		assert(!r.bad);
		if (child == DOC_NONE && !make)
			return DOC_NONE;
		if (child == DOC_NONE) {
			d->copied += key.bytes.len;
			key.bytes = arena_copy(&d->arena, key.bytes);
			child = doc_child_add(d, f, key);
		}
		f = child;
	}
	return f;
}

struct held doc_held(const struct doc *d, uint32_t f)
{
	const struct field *field = &d->fields[f];
	struct held h = {.kept = field->reg.count + field->place.count + field->space.count};

	for (uint32_t i = field->reg.first; i != DOC_NONE; i = d->sibs[i].next)
		h.shaded += d->sibs[i].shaded;
	h.live = field->reg.count - h.shaded;
	return h;
}

void doc_field_count(struct doc *d, uint32_t f, const struct held *before)
{
	const struct held now = doc_held(d, f);
	const struct held add = {now.live - before->live, now.shaded - before->shaded,
				 now.kept - before->kept}; /* modulo 2^32 */

	while (add.live || add.shaded || add.kept) {
		struct field *field = &d->fields[f];
		bool was_live = field->live;

		field->live += add.live;
		field->shaded += add.shaded;
		field->kept += add.kept;
		assert(field->live <= d->sib_count && field->shaded <= d->sib_count);
		if (field->parent == DOC_NONE)
			return;
		struct field *p = &d->fields[field->parent];
		uint32_t *count = field->is_item ? &p->live_items : &p->live_members;
		*count += (uint32_t)(field->live != 0) - (uint32_t)was_live;
		f = field->parent;
	}
}

bool doc_is_there(const struct doc *d, uint32_t f)
{
	return d->fields[f].live || d->fields[f].shaded;
}

uint32_t doc_walk(const struct doc *d, uint32_t f, uint32_t top, bool into)
{
	if (into && d->fields[f].first_child != DOC_NONE)
		return d->fields[f].first_child;
	while (f != top) {
		if (d->fields[f].next != DOC_NONE)
			return d->fields[f].next;
		f = d->fields[f].parent;
	}
	return DOC_NONE;
}

static uint32_t newer(const struct doc *d, uint32_t a, uint32_t b)
{
	if (a == DOC_NONE || b == DOC_NONE)
		return a == DOC_NONE ? b : a;
	return doc_sib_cmp(&d->sibs[a], &d->sibs[b]) >= 0 ? a : b;
}

/* The newest value among f's members, or items, and what is in them; shaded ones only if f has no others. */
static uint32_t newest_beneath(const struct doc *d, uint32_t f, bool items)
{
	uint32_t newest = DOC_NONE;
	bool all = !d->fields[f].live;

	for (uint32_t c = d->fields[f].first_child; c != DOC_NONE; c = d->fields[c].next) {
		if (d->fields[c].is_item != items)
			continue;
		for (uint32_t at = c; at != DOC_NONE; at = doc_walk(d, at, c, doc_is_there(d, at))) {
			for (uint32_t i = d->fields[at].reg.first; i != DOC_NONE;
			     i = d->sibs[i].next) {
				if (all || !d->sibs[i].shaded)
					newest = newer(d, newest, i);
			}
		}
	}
	return newest;
}

/* Whether there is any shaded member, or item. */
static bool has_shaded(const struct doc *d, uint32_t f, bool items)
{
	uint32_t c = d->fields[f].first_child;

	while (c != DOC_NONE && (d->fields[c].is_item != items || !d->fields[c].shaded))
		c = d->fields[c].next;
	return c != DOC_NONE;
}

enum sib_kind doc_shows(const struct doc *d, uint32_t f, uint32_t *ret_text)
{
	const struct field *field = &d->fields[f];
	uint32_t best[SIB_CHUNKS] = {DOC_NONE, DOC_NONE, DOC_NONE};
	bool all = !field->live;

	assert(doc_is_there(d, f));
	for (uint32_t i = field->reg.first; i != DOC_NONE; i = d->sibs[i].next) {
		enum sib_kind kind = d->sibs[i].kind;

		if (all || !d->sibs[i].shaded)
			best[kind] = newer(d, best[kind], i);
	}
	*ret_text = best[SIB_TEXT];
	bool object = best[SIB_OBJECT] != DOC_NONE || field->live_members ||
		      (all && has_shaded(d, f, false));
	bool array =
		best[SIB_ARRAY] != DOC_NONE || field->live_items || (all && has_shaded(d, f, true));
	if (!object && !array)
		return SIB_TEXT;
	if (best[SIB_TEXT] == DOC_NONE && !(object && array))
		return object ? SIB_OBJECT : SIB_ARRAY;
	if (object)
		best[SIB_OBJECT] = newer(d, best[SIB_OBJECT], newest_beneath(d, f, false));
	if (array)
		best[SIB_ARRAY] = newer(d, best[SIB_ARRAY], newest_beneath(d, f, true));
	uint32_t winner = newer(d, best[SIB_TEXT], newer(d, best[SIB_OBJECT], best[SIB_ARRAY]));
	return winner == best[SIB_TEXT]	    ? SIB_TEXT
	       : winner == best[SIB_OBJECT] ? SIB_OBJECT
					    : SIB_ARRAY;
}

uint32_t doc_newest(const struct doc *d, uint32_t f, enum sib_kind kind)
{
	uint32_t newest = newest_beneath(d, f, kind == SIB_ARRAY);

	for (uint32_t i = d->fields[f].reg.first; i != DOC_NONE; i = d->sibs[i].next) {
		if (d->sibs[i].kind == kind)
			newest = newer(d, newest, i);
	}
	return newest;
}

struct slice doc_field_place(const struct doc *d, uint32_t f)
{
	const struct field *field = &d->fields[f];

	if (field->place.count)
		return d->sibs[doc_reg_last(d, field->place)].value;
	if (field->is_item && field->key.data[0] == 0)
		return SLICE(field->key.data + 1, field->key.len - 1);
	return SLICE("", 0);
}

static int rank_cmp(const void *a, const void *b)
{
	const struct ranked *x = a;
	const struct ranked *y = b;

	if (x->is_item != y->is_item)
		return x->is_item ? 1 : -1;
	if ((x->place.len == 0) != (y->place.len == 0))
		return x->place.len == 0 ? 1 : -1;
	int c = slice_cmp(x->place, y->place);
	return c ? c : slice_cmp(x->key, y->key);
}

static bool is_ranked(const struct field *c, enum rank_what what)
{
	if (what == RANK_KEPT)
		return c->kept > 0;
	return (c->live || c->shaded) && c->is_item == (what == RANK_ITEMS);
}

void doc_rank_children(const struct doc *d, uint32_t f, enum rank_what what, struct ranking *out)
{
	size_t start = out->count;
	bool sorted = true;

	for (uint32_t c = d->fields[f].first_child; c != DOC_NONE; c = d->fields[c].next) {
		if (!is_ranked(&d->fields[c], what))
			continue;
		if (out->count == out->cap) {
			out->cap = out->cap ? out->cap * 2 : 32;
			out->items = xreallocarray(out->items, out->cap, sizeof(*out->items));
		}
		struct ranked *r = &out->items[out->count++];
		*r = (struct ranked){
			.place = what == RANK_MEMBERS_SORTED ? SLICE("", 0) : doc_field_place(d, c),
			.key = d->fields[c].key,
			.field = c,
			.is_item = d->fields[c].is_item,
		};
		if (out->count - start > 1 && rank_cmp(r - 1, r) > 0)
			sorted = false;
	}
	if (!sorted)
		qsort(out->items + start, out->count - start, sizeof(*out->items), rank_cmp);
}

void doc_path(const struct doc *d, uint32_t f, struct buf *out)
{
	uint32_t chain[DOC_DEPTH_MAX];
	size_t n = 0;

	for (; d->fields[f].parent != DOC_NONE; f = d->fields[f].parent) {
		assert(n < DOC_DEPTH_MAX);
		chain[n++] = f;
	}
	while (n--) {
		const struct field *field = &d->fields[chain[n]];

		doc_path_add(out, (struct doc_key){field->key, field->is_item});
	}
}
