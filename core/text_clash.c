/*
 * Lines that several people changed without knowing of each other: merged, but somebody should look.
 *
 * All that is asked is who touched a line as it is now, and who knew of whom. So it follows from the graph, in whatever
 * order that came together. What is settled need not be looked at again: whoever changes a line later, or where it
 * begins and ends, touches it and settles it, if he knew of all before. That is why looking no further back than
 * the latest version without a clash is enough, and why an operation on top of all others needs no graph.
 */
#include "core/text_i.h"

#include <stdlib.h>
#include <string.h>

/** Of those that touch one line, the latest. */
#define TOUCHES_MAX 64

struct touch {
	uint64_t line; /**< where it begins */
	struct opid op;
	uint32_t chain;
	bool changes; /**< else it only settles */
};

/** Events of one operation next to each other: where their bytes are, or, len 0, where those were that they deleted. */
struct spot {
	struct span events;
	uint64_t pos;
	uint64_t len;
};

struct looking {
	const struct graph *g;
	struct slice text;
	uint64_t start; /**< of the line at hand */
	uint64_t end;
	struct spot *spots;
	size_t spot_count;
	size_t spot_cap;
	uint64_t base;	/**< the highest event of the base */
	uint64_t *seen; /**< by chain and actor: the latest lamport its first operation knew of */
	struct touch *touches;
	size_t count;
	size_t cap;
	struct touch *reviews; /**< operations without edits */
	size_t review_count;
	struct text_clash *clashes;
	size_t clash_count;
};

/* ---- lines ---- */

static bool is_line_end(uint8_t c)
{
	return c == '\n' || c == '\r';
}

/* After its line feed. */
static uint64_t line_end(struct slice text, uint64_t pos)
{
	const uint8_t *nl = pos < text.len ? memchr(text.data + pos, '\n', text.len - pos) : NULL;

	return nl ? (uint64_t)(nl - text.data) + 1 : text.len;
}

/* Where a line begins; `floor` is where one begins, too. */
static uint64_t line_start(struct slice text, uint64_t pos, uint64_t floor)
{
	while (pos > floor && text.data[pos - 1] != '\n')
		pos--;
	return pos;
}

/* Makes the line that pos is in the one at hand. Positions ascend. */
static void enter_line(struct looking *x, uint64_t pos)
{
	if (pos < x->end)
		return;
	x->start = line_start(x->text, pos, x->start);
	x->end = line_end(x->text, pos);
}

/* ---- who touched what ---- */

static void add_touch(struct looking *x, uint64_t line, uint64_t event, bool changes)
{
	if (x->count == x->cap) {
		x->cap = x->cap ? x->cap * 2 : 64;
		x->touches = xreallocarray(x->touches, x->cap, sizeof(*x->touches));
	}
	const struct chain *c = graph_chain(x->g, event);
	x->touches[x->count++] = (struct touch){
		.line = line,
		.op = graph_opid(x->g, event),
		.chain = (uint32_t)(c - x->g->chains),
		.changes = changes,
	};
}

/* The lines in the middle are its own: whatever else were in them would have cut it in two. */
static void touch_inserted(struct looking *x, const struct spot *s)
{
	uint64_t stop = s->pos + s->len < x->end ? s->pos + s->len : x->end;
	bool changes = false;

	for (uint64_t i = s->pos; i < stop; i++)
		changes = changes || !is_line_end(x->text.data[i]);
	add_touch(x, x->start, s->events.first, changes);
	if (x->text.data[stop - 1] != '\n')
		return;
	/* What comes after its last line feed begins a line now. */
	uint64_t last = line_start(x->text, s->pos + s->len, stop);
	bool within = last < s->pos + s->len;
	add_touch(x, last, s->events.first, within);
}

/* Whether this deletion took away nothing but one byte at its place. */
static bool is_single(const struct graph *g, uint64_t lv)
{
	const struct chain *c = graph_chain(g, lv);
	uint64_t first = c->lv + (lv - c->lv) / c->per_op * c->per_op;

	return graph_clip(&g->runs[graph_run(g, lv)], first, first + c->per_op).len == 1;
}

static void touch_deleted(struct looking *x, const struct spot *s)
{
	bool at_end = s->pos == x->text.len || is_line_end(x->text.data[s->pos]);
	/* Whole lines stood where the next one begins; a single byte at its end may have been a carriage return. */
	bool changes = s->pos > x->start && !(at_end && is_single(x->g, s->events.first));

	add_touch(x, x->start, s->events.first, changes);
}

static void add_one_spot(struct looking *x, struct span events, uint64_t pos, uint64_t len)
{
	if (x->spot_count == x->spot_cap) {
		x->spot_cap = x->spot_cap ? x->spot_cap * 2 : 64;
		x->spots = xreallocarray(x->spots, x->spot_cap, sizeof(*x->spots));
	}
	x->spots[x->spot_count++] = (struct spot){events, pos, len};
}

/* What one operation did says nothing of the next, and which of them are numbered in a row differs by device. */
static void add_spot(void *ctx, struct span events, uint64_t pos, uint64_t len)
{
	struct looking *x = ctx;

	for (uint64_t lv = events.first; lv <= events.last;) {
		const struct chain *c = graph_chain(x->g, lv);
		uint64_t next = c->lv + ((lv - c->lv) / c->per_op + 1) * c->per_op;
		uint64_t end = next <= events.last ? next : events.last + 1;

		add_one_spot(x, (struct span){lv, end - 1}, pos, len ? end - lv : 0);
		pos += len ? end - lv : 0;
		lv = end;
	}
}

static int by_pos(const void *a, const void *b)
{
	const struct spot *x = a;
	const struct spot *y = b;

	return (x->pos > y->pos) - (x->pos < y->pos);
}

static void find_touches(struct looking *x, const struct walk *w)
{
	walk_touches(w, add_spot, x);
	if (x->spot_count > 1)
		qsort(x->spots, x->spot_count, sizeof(*x->spots), by_pos);
	x->end = line_end(x->text, 0);
	for (size_t i = 0; i < x->spot_count; i++) {
		enter_line(x, x->spots[i].pos);
		if (x->spots[i].len)
			touch_inserted(x, &x->spots[i]);
		else
			touch_deleted(x, &x->spots[i]);
	}
}

/* ---- who knew of whom ---- */

static void note_seen(struct looking *x)
{
	const struct graph *g = x->g;

	x->seen = xcalloc(g->chain_count * g->actor_count, sizeof(*x->seen));
	for (size_t i = 0; i < g->chain_count; i++) {
		const struct chain *c = &g->chains[i];
		uint64_t *own = x->seen + i * g->actor_count;

		for (uint32_t k = 0; c->lv > x->base && k < c->parent_count; k++) {
			uint64_t parent = g->parents[c->parents + k];

			if (parent <= x->base)
				continue;
			const struct chain *p = graph_chain(g, parent);
			const uint64_t *theirs = x->seen + (size_t)(p - g->chains) * g->actor_count;
			for (size_t a = 0; a < g->actor_count; a++)
				own[a] = theirs[a] > own[a] ? theirs[a] : own[a];
			uint64_t lamport = graph_opid(g, parent).lamport;
			own[p->actor] = lamport > own[p->actor] ? lamport : own[p->actor];
		}
	}
}

static void find_reviews(struct looking *x)
{
	const struct graph *g = x->g;

	for (size_t i = 0; i < g->run_count; i++) {
		const struct run *r = &g->runs[i];

		for (uint64_t k = 0; r->kind == RUN_NONE && k < r->len; k++) {
			if (r->lv + k <= x->base)
				continue;
			add_touch(x, 0, r->lv + k, false);
			x->reviews =
				xreallocarray(x->reviews, x->review_count + 1, sizeof(*x->reviews));
			x->reviews[x->review_count++] = x->touches[--x->count];
		}
	}
}

/* Whether a is b, or its author knew of b. */
static bool knows(const struct looking *x, const struct touch *a, const struct touch *b)
{
	if (a->op.actor == b->op.actor)
		return a->op.lamport >= b->op.lamport;
	uint32_t actor = x->g->chains[b->chain].actor;
	return x->seen[a->chain * x->g->actor_count + actor] >= b->op.lamport;
}

/* ---- clashes ---- */

static bool is_settled(const struct looking *x, const struct touch *all, size_t count,
		       const struct touch *a, const struct touch *b)
{
	for (size_t i = 0; i < count; i++) {
		if (knows(x, &all[i], a) && knows(x, &all[i], b))
			return true;
	}
	for (size_t i = 0; i < x->review_count; i++) {
		if (knows(x, &x->reviews[i], a) && knows(x, &x->reviews[i], b))
			return true;
	}
	return false;
}

/* Those of one line, the latest first. */
static void look_at_line(struct looking *x, const struct touch *all, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = i + 1; all[i].changes && k < count; k++) {
			if (!all[k].changes || knows(x, &all[i], &all[k]) ||
			    knows(x, &all[k], &all[i]) ||
			    is_settled(x, all, count, &all[i], &all[k]))
				continue;
			x->clashes =
				xreallocarray(x->clashes, x->clash_count + 1, sizeof(*x->clashes));
			x->clashes[x->clash_count++] = (struct text_clash){
				.pos = all[i].line,
				.len = line_end(x->text, all[i].line) - all[i].line,
				.a = all[i].op,
				.b = all[k].op,
			};
			return;
		}
	}
}

static int by_line(const void *a, const void *b)
{
	const struct touch *x = a;
	const struct touch *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	int c = opid_cmp(y->op, x->op);
	return c ? c : (int)y->changes - (int)x->changes;
}

static void look_at_lines(struct looking *x)
{
	struct touch line[TOUCHES_MAX];
	size_t n = 0;

	if (x->count > 1)
		qsort(x->touches, x->count, sizeof(*x->touches), by_line);
	for (size_t i = 0; i < x->count; i++) {
		const struct touch *t = &x->touches[i];

		if (n && line[0].line != t->line) {
			look_at_line(x, line, n);
			n = 0;
		}
		/* Of one operation's touches, the one that says most comes first. */
		if (n < TOUCHES_MAX && !(n && opid_eq(line[n - 1].op, t->op)))
			line[n++] = *t;
	}
	if (n)
		look_at_line(x, line, n);
}

/* The latest version that all is built on and neither a nor b is in. false: it is not in the graph. */
static bool base_of(const struct text *t, const struct text_clash *c, struct version *ret,
		    uint64_t *ret_len)
{
	uint64_t a = graph_find(&t->graph, c->a);
	uint64_t b = graph_find(&t->graph, c->b);
	const struct version only_a = {.items = &a, .count = 1};
	const struct version only_b = {.items = &b, .count = 1};
	struct version both = {0};

	if (a == LV_NONE || b == LV_NONE)
		return false;
	graph_base(&t->graph, &only_a, &only_b, &both, ret_len);
	graph_base(&t->graph, &t->heads, &both, ret, ret_len);
	version_fini(&both);
	return !(t->graph.partial && ret->items[0] == LV_ROOT);
}

static uint64_t highest(const struct version *v)
{
	return v->items[v->count - 1];
}

/* Gives the text a tracker that reaches back behind all that clashed before. */
static int reach(struct text *t, const struct text_clash *known, size_t count)
{
	struct version least = {0};
	uint64_t least_len = 0;
	uint64_t len = 0;
	bool here = true;

	for (size_t i = 0; i < count && here; i++) {
		struct version base = {0};

		if (i && opid_eq(known[i].a, known[i - 1].a) && opid_eq(known[i].b, known[i - 1].b))
			continue;
		here = base_of(t, &known[i], &base, &len);
		if (here && (least.count == 0 || highest(&base) < highest(&least))) {
			version_set(&least, base.items, base.count);
			least_len = len;
		}
		version_fini(&base);
	}
	if (here && count && (!t->walk || highest(walk_base(t->walk)) > highest(&least))) {
		walk_destroy(STEAL(t->walk));
		t->walk = walk_create(&t->graph, &least, least_len);
	}
	version_fini(&least);
	return here ? 0 : -ENOENT;
}

int text_clashes(struct text *t, const struct text_clash *known, size_t known_count,
		 struct text_clash **ret, size_t *ret_count)
{
	struct looking x = {.g = &t->graph};

	if (reach(t, known, known_count) < 0)
		return -ENOENT;
	*ret = NULL;
	*ret_count = 0;
	if (!t->walk)
		return 0;
	x.base = highest(walk_base(t->walk));
	x.text = text_content(t);
	find_touches(&x, t->walk);
	note_seen(&x);
	find_reviews(&x);
	look_at_lines(&x);
	free(x.spots);
	free(x.touches);
	free(x.reviews);
	free(x.seen);
	*ret = x.clashes;
	*ret_count = x.clash_count;
	return 0;
}

/* ---- on top of all others ---- */

static bool touches(const struct text_clash *c, const struct text_edit *e, bool ends_text)
{
	uint64_t end = c->pos + c->len;

	if (e->del && e->pos < end + ends_text && e->pos + e->del >= c->pos)
		return true;
	return e->ins.len && e->pos >= c->pos && e->pos < end + ends_text;
}

size_t text_clashes_shift(struct text_clash *all, size_t count, const struct text_edits *e,
			  uint64_t len, bool open)
{
	uint64_t shift = 0;
	size_t kept = 0;
	size_t k = 0;

	for (size_t i = 0; i < count && e->count; i++) {
		struct text_clash c = all[i];
		uint64_t end = c.pos + c.len;
		bool touched = false;

		while (k < e->count && e->items[k].pos + e->items[k].del < c.pos) {
			shift += e->items[k].ins.len - e->items[k].del;
			k++;
		}
		for (size_t n = k; n < e->count && e->items[n].pos <= end && !touched; n++)
			touched = touches(&c, &e->items[n], open && end == len);
		if (touched)
			continue;
		c.pos += shift;
		all[kept++] = c;
	}
	return kept;
}

size_t text_clashes_together(const struct text_clash *all, size_t count)
{
	size_t n = 1;

	while (n < count && all[n].pos == all[n - 1].pos + all[n - 1].len &&
	       opid_eq(all[n].a, all[0].a) && opid_eq(all[n].b, all[0].b))
		n++;
	return n < count ? n : count;
}
