/* The event graph of a text: who built on what. Events and versions are explained in text_i.h. */
#include "core/text_i.h"

#include <stdlib.h>
#include <string.h>

/* ---- versions ---- */

static void *grow(void *items, size_t *cap, size_t size)
{
	*cap = *cap ? *cap * 2 : 8;
	return xreallocarray(items, *cap, size);
}

void version_fini(struct version *v)
{
	free(v->items);
	*v = (struct version){0};
}

void version_set(struct version *v, const uint64_t *items, size_t count)
{
	if (v->cap < count) {
		v->cap = count;
		v->items = xreallocarray(v->items, count, sizeof(*v->items));
	}
	if (count)
		memmove(v->items, items, count * sizeof(*items));
	v->count = count;
}

void version_add(struct version *v, uint64_t lv)
{
	size_t i = v->count;

	while (i > 0 && v->items[i - 1] > lv)
		i--;
	if (i > 0 && v->items[i - 1] == lv)
		return;
	if (v->count == v->cap)
		v->items = grow(v->items, &v->cap, sizeof(*v->items));
	memmove(&v->items[i + 1], &v->items[i], (v->count - i) * sizeof(*v->items));
	v->items[i] = lv;
	v->count++;
}

bool version_eq(const struct version *a, const struct version *b)
{
	return a->count == b->count &&
	       (a->count == 0 || memcmp(a->items, b->items, a->count * sizeof(*a->items)) == 0);
}

/* ---- building ---- */

void graph_fini(struct graph *g)
{
	for (size_t i = 0; i < g->actor_count; i++)
		free(g->actors[i].chains);
	free(g->actors);
	free(g->chains);
	free(g->runs);
	free(g->parents);
	*g = (struct graph){0};
}

static uint32_t actor_index(struct graph *g, uint64_t actor)
{
	for (size_t i = 0; i < g->actor_count; i++) {
		if (g->actors[i].actor == actor)
			return (uint32_t)i;
	}
	g->actors = xreallocarray(g->actors, g->actor_count + 1, sizeof(*g->actors));
	g->actors[g->actor_count] = (struct graph_actor){.actor = actor};
	return (uint32_t)g->actor_count++;
}

/* Whether the operation goes on where the last chain ends. */
static bool continues(const struct graph *g, struct opid id, const struct version *parents,
		      uint64_t events)
{
	const struct chain *c = g->chain_count ? &g->chains[g->chain_count - 1] : NULL;

	return c && g->actors[c->actor].actor == id.actor && c->per_op == events &&
	       parents->count == 1 && parents->items[0] + 1 == c->end &&
	       c->lamport + (c->end - c->lv) / c->per_op == id.lamport;
}

static void add_chain(struct graph *g, struct opid id, const struct version *parents, uint64_t len,
		      uint64_t events)
{
	uint32_t actor = actor_index(g, id.actor);
	struct graph_actor *a = &g->actors[actor];

	if (a->count == a->cap)
		a->chains = grow(a->chains, &a->cap, sizeof(*a->chains));
	assert(g->chain_count < UINT32_MAX && g->parent_count + parents->count < UINT32_MAX);
	a->chains[a->count++] = (uint32_t)g->chain_count;
	if (g->chain_count == g->chain_cap)
		g->chains = grow(g->chains, &g->chain_cap, sizeof(*g->chains));
	g->chains[g->chain_count++] = (struct chain){
		.lv = g->next,
		.end = g->next + events,
		.per_op = events,
		.lamport = id.lamport,
		.len = len,
		.actor = actor,
		.parents = (uint32_t)g->parent_count,
		.parent_count = (uint32_t)parents->count,
	};
	for (size_t i = 0; i < parents->count; i++) {
		if (g->parent_count == g->parent_cap)
			g->parents = grow(g->parents, &g->parent_cap, sizeof(*g->parents));
		g->parents[g->parent_count++] = parents->items[i];
	}
}

static void add_run(struct graph *g, enum run_kind kind, uint64_t pos, uint64_t len)
{
	struct run *last = g->run_count ? &g->runs[g->run_count - 1] : NULL;
	uint64_t lv = g->next;
	bool same = last && last->kind == kind;

	g->next += len;
	if (same && (kind == RUN_NONE || (kind == RUN_DEL && last->pos == pos) ||
		     (kind == RUN_INS && last->pos + last->len == pos))) {
		last->len += len;
		return;
	}
	if (last && kind == RUN_DEL && len == 1 &&
	    ((last->kind == RUN_BACK && last->pos - last->len == pos) ||
	     (last->kind == RUN_DEL && last->len == 1 && last->pos == pos + 1))) {
		last->kind = RUN_BACK;
		last->len++;
		return;
	}
	if (g->run_count == g->run_cap)
		g->runs = grow(g->runs, &g->run_cap, sizeof(*g->runs));
	g->runs[g->run_count++] = (struct run){.lv = lv, .len = len, .pos = pos, .kind = kind};
}

uint64_t graph_add(struct graph *g, struct opid id, const struct version *parents, uint64_t len,
		   const struct text_edits *e)
{
	uint64_t events = 0;
	uint64_t shift = 0;

	if (g->next == 0)
		g->next = 1;
	for (size_t i = 0; e && i < e->count; i++)
		events += e->items[i].del + e->items[i].ins.len;
	bool none = events == 0;
	if (none)
		events = 1;
	if (continues(g, id, parents, events))
		g->chains[g->chain_count - 1].end += events;
	else
		add_chain(g, id, parents, len, events);
	if (none)
		add_run(g, RUN_NONE, 0, 1);
	for (size_t i = 0; !none && i < e->count; i++) {
		const struct text_edit *x = &e->items[i];

		if (x->del)
			add_run(g, RUN_DEL, x->pos + shift, x->del);
		if (x->ins.len)
			add_run(g, RUN_INS, x->pos + shift, x->ins.len);
		shift += x->ins.len - x->del;
	}
	assert(g->next == g->chains[g->chain_count - 1].end);
	return g->next - 1;
}

/* ---- looking up ---- */

uint64_t graph_find(const struct graph *g, struct opid id)
{
	const struct graph_actor *a = NULL;

	for (size_t i = 0; i < g->actor_count && !a; i++) {
		if (g->actors[i].actor == id.actor)
			a = &g->actors[i];
	}
	if (!a)
		return LV_NONE;
	size_t lo = 0;
	size_t hi = a->count;
	while (lo < hi) { /* the first chain that begins after it */
		size_t mid = lo + (hi - lo) / 2;

		if (g->chains[a->chains[mid]].lamport <= id.lamport)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return LV_NONE;
	const struct chain *c = &g->chains[a->chains[lo - 1]];
	uint64_t end = c->lv + (id.lamport - c->lamport + 1) * c->per_op;
	return id.lamport - c->lamport < (c->end - c->lv) / c->per_op ? end - 1 : LV_NONE;
}

const struct chain *graph_chain(const struct graph *g, uint64_t lv)
{
	size_t lo = 0;
	size_t hi = g->chain_count;

	if (hi && lv >= g->chains[hi - 1].lv)
		return &g->chains[hi - 1];
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (g->chains[mid].end <= lv)
			lo = mid + 1;
		else
			hi = mid;
	}
	assert(lv != LV_ROOT && lo < g->chain_count);
	return &g->chains[lo];
}

struct opid graph_opid(const struct graph *g, uint64_t lv)
{
	const struct chain *c = graph_chain(g, lv);

	return (struct opid){
		.lamport = c->lamport + (lv - c->lv) / c->per_op,
		.actor = g->actors[c->actor].actor,
	};
}

size_t graph_run(const struct graph *g, uint64_t lv)
{
	size_t lo = 0;
	size_t hi = g->run_count;

	if (hi && lv >= g->runs[hi - 1].lv)
		return hi - 1;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (g->runs[mid].lv + g->runs[mid].len <= lv)
			lo = mid + 1;
		else
			hi = mid;
	}
	assert(lo < g->run_count);
	return lo;
}

struct run graph_clip(const struct run *run, uint64_t from, uint64_t end)
{
	struct run r = *run;
	uint64_t skip = from > r.lv ? from - r.lv : 0;

	r.lv += skip;
	r.len -= skip;
	if (r.kind == RUN_INS)
		r.pos += skip;
	else if (r.kind == RUN_BACK)
		r.pos -= skip;
	if (r.len > end - r.lv)
		r.len = end - r.lv;
	return r;
}

uint64_t graph_len_at(const struct graph *g, uint64_t lv)
{
	const struct chain *c = graph_chain(g, lv);
	uint64_t len = c->len;

	for (size_t i = graph_run(g, c->lv); i < g->run_count && g->runs[i].lv <= lv; i++) {
		const struct run r = graph_clip(&g->runs[i], c->lv, lv + 1);

		if (r.kind == RUN_INS)
			len += r.len;
		else if (r.kind != RUN_NONE)
			len -= r.len;
	}
	return len;
}

/* ---- the base: what everything recent is built on ---- */

/* A set of several events can be the base only if the length of the text there is known. */
#define LEN_UNKNOWN UINT64_MAX

/** A version still to be looked behind: a set of parents, or a single event. */
struct point {
	uint64_t max;
	const uint64_t *set; /* NULL: only max */
	size_t count;
	uint64_t len; /* of the text at a set */
};

/** Ascending by max. */
struct points {
	struct point *items;
	size_t count;
	size_t cap;
};

static void push_point(struct points *q, struct point p)
{
	size_t i = q->count;

	if (q->count == q->cap)
		q->items = grow(q->items, &q->cap, sizeof(*q->items));
	while (i > 0 && q->items[i - 1].max > p.max)
		i--;
	memmove(&q->items[i + 1], &q->items[i], (q->count - i) * sizeof(*q->items));
	q->items[i] = p;
	q->count++;
}

static void push_set(struct points *q, const uint64_t *set, size_t count, uint64_t len)
{
	if (count == 1)
		push_point(q, (struct point){.max = set[0], .count = 1});
	else
		push_point(q, (struct point){set[count - 1], set, count, len});
}

static bool same_point(const struct point *a, const struct point *b)
{
	return a->max == b->max && a->count == b->count &&
	       (a->count == 1 || memcmp(a->set, b->set, a->count * sizeof(*a->set)) == 0);
}

/* Takes out the point with the highest event, and others equal to it. */
static struct point pop_point(struct points *q)
{
	struct point p = q->items[--q->count];

	for (size_t i = q->count; i > 0 && q->items[i - 1].max == p.max; i--) {
		if (!same_point(&q->items[i - 1], &p))
			continue;
		if (p.len == LEN_UNKNOWN)
			p.len = q->items[i - 1].len;
		memmove(&q->items[i - 1], &q->items[i], (q->count - i) * sizeof(*q->items));
		q->count--;
	}
	return p;
}

static void push_singly(struct points *q, const struct point *p)
{
	for (size_t i = 0; i < p->count; i++)
		push_point(q, (struct point){.max = p->set[i], .count = 1});
}

void graph_base(const struct graph *g, const struct version *a, const struct version *b,
		struct version *ret, uint64_t *ret_len)
{
	struct points q = {0};
	struct point p = {0};

	push_set(&q, a->items, a->count, LEN_UNKNOWN);
	push_set(&q, b->items, b->count, LEN_UNKNOWN);
	for (;;) {
		p = pop_point(&q);
		bool known = p.count == 1 || p.len != LEN_UNKNOWN;
		if (q.count == 0 && known)
			break;
		if (p.count > 1) {
			push_singly(&q, &p);
			continue;
		}
		/* Not alone: what is built on is built on through one and the same event, or not. */
		const struct point *top = &q.items[q.count - 1];
		if (top->max == p.max) { /* a set that ends with it */
			struct point set = pop_point(&q);

			push_singly(&q, &set);
			push_point(&q, p);
			continue;
		}
		const struct chain *c = graph_chain(g, p.max);
		if (top->max < c->lv)
			push_set(&q, &g->parents[c->parents], c->parent_count, c->len);
		else if (top->count > 1) /* built on that event, not on the whole set */
			push_point(&q, (struct point){.max = top->max, .count = 1});
	}
	if (p.count == 1) {
		version_set(ret, &p.max, 1);
		*ret_len = p.max == LV_ROOT ? g->root_len : graph_len_at(g, p.max);
	} else {
		version_set(ret, p.set, p.count);
		*ret_len = p.len;
	}
	free(q.items);
}

/* ---- the difference of two versions ---- */

static void push_mark(struct apart *d, uint64_t lv, unsigned flags)
{
	size_t i = d->count;

	while (i > 0 && d->marks[i - 1].lv > lv)
		i--;
	if (i > 0 && d->marks[i - 1].lv == lv) {
		struct mark *same = &d->marks[i - 1];

		if (same->flags != IN_BOTH && (same->flags | flags) == IN_BOTH)
			d->open--;
		same->flags |= flags;
		return;
	}
	if (d->count == d->cap)
		d->marks = grow(d->marks, &d->cap, sizeof(*d->marks));
	memmove(&d->marks[i + 1], &d->marks[i], (d->count - i) * sizeof(*d->marks));
	d->marks[i] = (struct mark){lv, flags};
	d->count++;
	d->open += flags != IN_BOTH;
}

static void push_span(struct spans *s, uint64_t first, uint64_t last)
{
	if (s->count && s->items[s->count - 1].first == last + 1) {
		s->items[s->count - 1].first = first;
		return;
	}
	if (s->count == s->cap)
		s->items = grow(s->items, &s->cap, sizeof(*s->items));
	s->items[s->count++] = (struct span){first, last};
}

/* Goes from the latest event down; what stands beneath one is in the same versions as it. */
void graph_diff(const struct graph *g, const struct version *a, const struct version *b,
		uint64_t floor, struct apart *d)
{
	d->only_a.count = d->only_b.count = 0;
	d->count = d->open = 0;
	for (size_t i = 0; i < a->count; i++) {
		if (a->items[i] > floor)
			push_mark(d, a->items[i], IN_A);
	}
	for (size_t i = 0; i < b->count; i++) {
		if (b->items[i] > floor)
			push_mark(d, b->items[i], IN_B);
	}
	while (d->open) {
		struct mark at = d->marks[--d->count];
		const struct chain *c = graph_chain(g, at.lv);
		uint64_t first = c->lv > floor ? c->lv : floor + 1;

		d->open -= at.flags != IN_BOTH;
		if (d->count && d->marks[d->count - 1].lv >= c->lv) {
			uint64_t next = d->marks[d->count - 1].lv;

			first = next + 1;
			push_mark(d, next, at.flags);
		} else if (c->lv > floor) {
			for (size_t i = 0; i < c->parent_count; i++) {
				uint64_t parent = g->parents[c->parents + i];

				if (parent > floor)
					push_mark(d, parent, at.flags);
			}
		}
		if (at.flags != IN_BOTH)
			push_span(at.flags == IN_A ? &d->only_a : &d->only_b, first, at.lv);
	}
}

void apart_fini(struct apart *d)
{
	free(d->only_a.items);
	free(d->only_b.items);
	free(d->marks);
	*d = (struct apart){0};
}
