/* A text and its operations: what applies as it is, what has to be transformed first. */
#include "core/text_i.h"

#include <stdlib.h>
#include <string.h>

/** Operations in a row that were not concurrent to anything, until the tracker is given up. */
#define CALM_MAX 64
#define GAP_BYTES_MIN 256

/* ---- the bytes: a gap buffer ---- */

static void move_gap(struct text *t, size_t pos)
{
	if (pos < t->gap) {
		size_t n = t->gap - pos;

		memmove(t->data + t->gap_end - n, t->data + pos, n);
		t->gap -= n;
		t->gap_end -= n;
	} else if (pos > t->gap) {
		size_t n = pos - t->gap;

		memmove(t->data + t->gap, t->data + t->gap_end, n);
		t->gap += n;
		t->gap_end += n;
	}
}

static void put_bytes(void *ctx, uint64_t pos, struct slice bytes)
{
	struct text *t = ctx;

	assert(pos <= text_len(t));
	move_gap(t, pos);
	if (t->gap_end - t->gap < bytes.len) {
		size_t tail = t->cap - t->gap_end;
		size_t cap = t->cap + t->cap / 2 + bytes.len + GAP_BYTES_MIN;

		t->data = xreallocarray(t->data, cap, 1);
		memmove(t->data + cap - tail, t->data + t->gap_end, tail);
		t->gap_end = cap - tail;
		t->cap = cap;
	}
	if (bytes.len)
		memcpy(t->data + t->gap, bytes.data, bytes.len);
	t->gap += bytes.len;
}

static void take_bytes(void *ctx, uint64_t pos, uint64_t len)
{
	struct text *t = ctx;

	assert(pos <= text_len(t) && len <= text_len(t) - pos);
	move_gap(t, pos);
	t->gap_end += len;
}

size_t text_len(const struct text *t)
{
	return t->cap - (t->gap_end - t->gap);
}

struct slice text_content(struct text *t)
{
	move_gap(t, text_len(t));
	return SLICE(t->data, t->gap);
}

/* ---- heads ---- */

struct text *text_create(struct slice content, const struct opid *heads, size_t head_count)
{
	struct text *t = xcalloc(1, sizeof(*t));
	uint64_t root = LV_ROOT;
	const struct version beginning = {.items = &root, .count = 1};

	t->cap = content.len + GAP_BYTES_MIN;
	t->data = xmalloc(t->cap);
	t->gap_end = t->cap;
	put_bytes(t, 0, content);
	t->graph.partial = head_count > 0;
	t->graph.root_len = content.len;
	for (size_t i = 0; i < head_count; i++)
		version_add(&t->heads,
			    graph_add(&t->graph, heads[i], &beginning, content.len, NULL));
	if (head_count == 0)
		version_add(&t->heads, LV_ROOT);
	return t;
}

void text_destroy(struct text *t)
{
	if (!t)
		return;
	walk_destroy(t->walk);
	graph_fini(&t->graph);
	version_fini(&t->heads);
	buf_fini(&t->history.inserted);
	free(t->data);
	free(t);
}

static int opid_order(const void *a, const void *b)
{
	return opid_cmp(*(const struct opid *)a, *(const struct opid *)b);
}

size_t text_heads(const struct text *t, struct opid **ret)
{
	struct opid *ids = xreallocarray(NULL, t->heads.count, sizeof(*ids));
	size_t n = 0;

	for (size_t i = 0; i < t->heads.count; i++) {
		if (t->heads.items[i] != LV_ROOT)
			ids[n++] = graph_opid(&t->graph, t->heads.items[i]);
	}
	if (n > 1)
		qsort(ids, n, sizeof(*ids), opid_order);
	*ret = ids;
	return n;
}

/* ---- operations ---- */

static bool find_parents(const struct text *t, const struct opid *parents, size_t count,
			 struct version *ret)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t lv = graph_find(&t->graph, parents[i]);

		if (lv == LV_NONE)
			return false;
		version_add(ret, lv);
	}
	if (count == 0)
		version_add(ret, LV_ROOT);
	return true;
}

/* The heads, and what is not built upon any more, once `parents` have a successor. */
static void replace_heads(struct text *t, const struct version *parents, uint64_t last)
{
	size_t n = 0;

	for (size_t i = 0; i < t->heads.count; i++) {
		uint64_t lv = t->heads.items[i];
		bool is_parent = false;

		for (size_t k = 0; k < parents->count; k++)
			is_parent = is_parent || parents->items[k] == lv;
		/* The beginning is built upon as soon as there is anything. */
		if (!is_parent && lv != LV_ROOT)
			t->heads.items[n++] = lv;
	}
	t->heads.count = n;
	version_add(&t->heads, last);
}

/* A tracker that can go to these parents. false if the graph does not reach back far enough. */
static bool have_walk(struct text *t, const struct version *parents)
{
	struct version base = {0};
	uint64_t len = 0;

	if (t->walk && walk_reaches(t->walk, parents))
		return true;
	walk_destroy(STEAL(t->walk));
	graph_base(&t->graph, &t->heads, parents, &base, &len);
	bool here = !(t->graph.partial && base.items[0] == LV_ROOT);
	if (here)
		t->walk = walk_create(&t->graph, &base, len);
	version_fini(&base);
	return here;
}

static bool fits(const struct text_edits *e, uint64_t len)
{
	const struct text_edit *last = e->count ? &e->items[e->count - 1] : NULL;

	return !last || (last->pos <= len && last->del <= len - last->pos);
}

static void apply_plainly(struct text *t, const struct text_edits *e)
{
	uint64_t shift = 0;

	for (size_t i = 0; i < e->count; i++) {
		const struct text_edit *x = &e->items[i];

		if (x->del)
			take_bytes(t, x->pos + shift, x->del);
		if (x->ins.len)
			put_bytes(t, x->pos + shift, x->ins);
		shift += x->ins.len - x->del;
	}
}

static enum text_outcome apply_at(struct text *t, struct opid id, const struct version *parents,
				  const struct text_edits *e, uint64_t *ret_len)
{
	static const struct text_edits nothing;
	const struct walk_sink sink = {t, put_bytes, take_bytes};
	bool calm = version_eq(parents, &t->heads);
	uint64_t len = text_len(t);

	t->calm = calm ? t->calm + 1 : 0;
	if (t->calm > CALM_MAX)
		walk_destroy(STEAL(t->walk));
	if (!calm && !have_walk(t, parents))
		return TEXT_MISSING;
	if (t->walk)
		len = walk_to(t->walk, parents);
	bool beyond = !fits(e, len);
	if (beyond)
		e = &nothing;
	uint64_t first = t->graph.next ? t->graph.next : 1;
	uint64_t last = graph_add(&t->graph, id, parents, len, e);
	if (t->walk)
		walk_apply(t->walk, first, last, e, &sink);
	else
		apply_plainly(t, e);
	for (size_t i = 0; t->history.kept && i < e->count; i++)
		buf_slice_append(&t->history.inserted, e->items[i].ins);
	replace_heads(t, parents, last);
	*ret_len = len;
	return beyond ? TEXT_BEYOND : TEXT_APPLIED;
}

enum text_outcome text_apply(struct text *t, struct opid id, const struct opid *parents,
			     size_t parent_count, const struct text_edits *e, uint64_t *ret_len)
{
	uint64_t room[8];
	struct version at = {.items = room, .cap = countof(room)};
	enum text_outcome outcome = TEXT_MISSING;

	if (parent_count > countof(room))
		at = (struct version){0};
	if (find_parents(t, parents, parent_count, &at))
		outcome = apply_at(t, id, &at, e, ret_len);
	if (at.items != room)
		version_fini(&at);
	return outcome;
}

void text_keep_history(struct text *t)
{
	assert(t->graph.chain_count == 0 && text_len(t) == 0);
	t->history.kept = true;
}

/* ---- loading a graph ---- */

static bool has_event(const struct text_event *events, size_t count, struct opid id)
{
	for (size_t i = count; i > 0; i--) {
		if (opid_eq(events[i - 1].id, id))
			return true;
	}
	return false;
}

static void load_event(struct graph *g, const struct text_event *v, struct version *parents)
{
	parents->count = 0;
	for (size_t i = 0; i < v->parent_count; i++) {
		uint64_t lv = graph_find(g, v->parents[i]);

		version_add(parents, lv == LV_NONE ? LV_ROOT : lv);
	}
	if (v->parent_count == 0)
		version_add(parents, LV_ROOT);
	if (parents->items[0] == LV_ROOT)
		g->root_len = v->len;
	(void)graph_add(g, v->id, parents, v->len, &v->edits);
}

bool text_load(struct text *t, const struct text_event *events, size_t count, bool whole)
{
	struct opid *heads = NULL;
	size_t head_count = text_heads(t, &heads);
	struct version parents = {0};
	bool ok = true;

	for (size_t i = 0; i < head_count; i++)
		ok = ok && has_event(events, count, heads[i]);
	if (ok) {
		walk_destroy(STEAL(t->walk));
		graph_fini(&t->graph);
		t->graph.partial = !whole;
		for (size_t i = 0; i < count; i++)
			load_event(&t->graph, &events[i], &parents);
		t->heads.count = 0;
		for (size_t i = 0; i < head_count; i++)
			version_add(&t->heads, graph_find(&t->graph, heads[i]));
		if (head_count == 0)
			version_add(&t->heads, LV_ROOT);
	}
	version_fini(&parents);
	free(heads);
	return ok;
}
