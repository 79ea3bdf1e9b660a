/*
 * The tracker: which piece of text is there in which version.
 *
 * All pieces since the base stand in one order, those not yet inserted (in the version the tracker is
 * at) and those deleted included. Going to another version takes events back or does them again, which only
 * changes the pieces' states; a new event then finds its place by the pieces that are there, and what
 * it becomes in the text as it is now, by those not deleted by anybody.
 *
 * Pieces are in two structures: a treap in the order of the text, which sums up lengths, and an index by the
 * events that inserted them, in blocks. The text at the base is a piece of its own, whose bytes are
 * numbered from BASE on.
 */
#include "core/text_i.h"

#include <stdlib.h>
#include <string.h>

#define BASE (UINT64_C(1) << 62)
/** The places before and after everything, as origins. */
#define START (UINT64_MAX - 1)
#define END UINT64_MAX

#define NIL 0u
#define BLOCK_PIECES 128

/** state of a piece: 0 not yet inserted, 1 there, 2 and more deleted that many times less one. */
#define STATE_NEW 0u
#define STATE_THERE 1u

struct piece {
	uint64_t id; /* of its first byte: the event that inserted it */
	uint64_t len;
	uint64_t left;	/* origins of its first byte: what stood beside it when it was inserted */
	uint64_t right; /* of all its bytes */
	uint64_t there; /* bytes, of the subtree: in the tracker's version, in the text now */
	uint64_t now;
	uint32_t up;
	uint32_t kid[2];
	uint32_t priority;
	uint32_t next; /* in the order of the text */
	uint32_t state;
	bool deleted; /* in the text now */
};

struct block {
	size_t count;
	uint64_t id[BLOCK_PIECES];
	uint32_t piece[BLOCK_PIECES];
};

/** Events that deleted: event `lv + i` the byte `id + i`, or `id - i` if it went backwards. */
struct deletion {
	uint64_t lv;
	uint64_t id;
	uint64_t len;
	bool back;
};

struct walk {
	const struct graph *g;
	uint64_t base; /* the highest event of the base */
	struct version base_version;
	struct version at;
	struct apart apart;
	struct piece *pieces; /* [0] is nothing, [1] stands before everything */
	uint32_t count;
	uint32_t cap;
	uint32_t root;
	uint32_t random;
	struct block **blocks;
	size_t block_count;
	size_t block_cap;
	struct deletion *deletions;
	size_t deletion_count;
	size_t deletion_cap;
};

/* ---- the order of the text ---- */

static uint64_t there(const struct piece *p)
{
	return p->state == STATE_THERE ? p->len : 0;
}

static uint64_t now(const struct piece *p)
{
	return p->deleted ? 0 : p->len;
}

static void add_sums(struct walk *w, uint32_t n, uint64_t there_delta, uint64_t now_delta)
{
	for (; n != NIL; n = w->pieces[n].up) {
		w->pieces[n].there += there_delta;
		w->pieces[n].now += now_delta;
	}
}

static void sum_up(struct walk *w, uint32_t n)
{
	struct piece *p = &w->pieces[n];
	const struct piece *a = &w->pieces[p->kid[0]];
	const struct piece *b = &w->pieces[p->kid[1]];

	p->there = there(p) + a->there + b->there;
	p->now = now(p) + a->now + b->now;
}

/* Moves n up, above its parent. */
static void rotate(struct walk *w, uint32_t n)
{
	struct piece *p = w->pieces;
	uint32_t up = p[n].up;
	uint32_t top = p[up].up;
	unsigned side = p[up].kid[1] == n;
	uint32_t middle = p[n].kid[!side];

	p[up].kid[side] = middle;
	if (middle != NIL)
		p[middle].up = up;
	p[n].kid[!side] = up;
	p[up].up = n;
	p[n].up = top;
	if (top == NIL)
		w->root = n;
	else
		p[top].kid[p[top].kid[1] == up] = n;
	sum_up(w, up);
	sum_up(w, n);
}

static uint32_t new_piece(struct walk *w)
{
	if (w->count == w->cap) {
		w->cap *= 2;
		w->pieces = xreallocarray(w->pieces, w->cap, sizeof(*w->pieces));
	}
	assert(w->count < UINT32_MAX / 2);
	w->random = w->random * 1664525 + 1013904223;
	w->pieces[w->count] = (struct piece){.priority = w->random >> 2};
	return w->count++;
}

/* Puts the piece n, which is filled in but for its links, after another. */
static void put_after(struct walk *w, uint32_t after, uint32_t n)
{
	struct piece *p = w->pieces;
	uint32_t up = after;
	unsigned side = 1;

	if (p[after].kid[1] != NIL) { /* the leftmost there, which is the piece after it */
		up = p[after].next;
		side = 0;
	}
	p[n].next = p[after].next;
	p[after].next = n;
	p[up].kid[side] = n;
	p[n].up = up;
	p[n].there = there(&p[n]);
	p[n].now = now(&p[n]);
	add_sums(w, up, p[n].there, p[n].now);
	while (p[n].up != NIL && p[p[n].up].priority < p[n].priority)
		rotate(w, n);
}

static void set_state(struct walk *w, uint32_t n, uint32_t state)
{
	uint64_t before = there(&w->pieces[n]);

	w->pieces[n].state = state;
	add_sums(w, n, there(&w->pieces[n]) - before, 0);
}

/* The piece with the pos-th byte that is there; *ret is its place in the piece. */
static uint32_t find_there(const struct walk *w, uint64_t pos, uint64_t *ret)
{
	const struct piece *p = w->pieces;
	uint32_t n = w->root;

	for (;;) {
		assert(n != NIL);
		uint64_t left = p[p[n].kid[0]].there;
		if (pos < left) {
			n = p[n].kid[0];
			continue;
		}
		pos -= left;
		if (pos < there(&p[n])) {
			*ret = pos;
			return n;
		}
		pos -= there(&p[n]);
		n = p[n].kid[1];
	}
}

/* Bytes of the text now in front of the piece. */
static uint64_t pos_now(const struct walk *w, uint32_t n)
{
	const struct piece *p = w->pieces;
	uint64_t pos = p[p[n].kid[0]].now;

	for (; p[n].up != NIL; n = p[n].up) {
		uint32_t up = p[n].up;

		if (p[up].kid[1] == n)
			pos += p[p[up].kid[0]].now + now(&p[up]);
	}
	return pos;
}

static unsigned depth_of(const struct walk *w, uint32_t n)
{
	unsigned depth = 0;

	while (w->pieces[n].up != NIL) {
		n = w->pieces[n].up;
		depth++;
	}
	return depth;
}

/* Whether piece a stands before the other piece b. */
static bool stands_before(const struct walk *w, uint32_t a, uint32_t b)
{
	const struct piece *p = w->pieces;
	unsigned da = depth_of(w, a);
	unsigned db = depth_of(w, b);
	uint32_t from_a = NIL; /* the kids we came from */
	uint32_t from_b = NIL;

	for (; da > db; da--) {
		from_a = a;
		a = p[a].up;
	}
	for (; db > da; db--) {
		from_b = b;
		b = p[b].up;
	}
	while (a != b) {
		from_a = a;
		from_b = b;
		a = p[a].up;
		b = p[b].up;
	}
	if (from_b == NIL) /* b itself is above a */
		return p[b].kid[0] == from_a;
	if (from_a == NIL)
		return p[a].kid[1] == from_b;
	return p[a].kid[0] == from_a;
}

/* ---- the index ---- */

static size_t block_of(const struct walk *w, uint64_t id)
{
	size_t lo = 0;
	size_t hi = w->block_count;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->blocks[mid]->id[0] <= id)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* How many of the block's pieces begin at or before id. */
static size_t place_in(const struct block *b, uint64_t id)
{
	size_t lo = 0;
	size_t hi = b->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (b->id[mid] <= id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct block *block_new(struct walk *w, size_t at)
{
	if (w->block_count == w->block_cap) {
		w->block_cap = w->block_cap ? w->block_cap * 2 : 8;
		w->blocks = xreallocarray(w->blocks, w->block_cap, sizeof(*w->blocks));
	}
	memmove(&w->blocks[at + 1], &w->blocks[at], (w->block_count - at) * sizeof(*w->blocks));
	w->blocks[at] = xmalloc(sizeof(struct block));
	w->blocks[at]->count = 0;
	w->block_count++;
	return w->blocks[at];
}

static void index_add(struct walk *w, uint64_t id, uint32_t piece)
{
	size_t at = block_of(w, id);
	struct block *b = w->block_count ? w->blocks[at] : block_new(w, 0);
	size_t i = place_in(b, id);

	if (b->count == BLOCK_PIECES) {
		struct block *after = block_new(w, at + 1);
		/* Most are added at the end: then leave the block full. */
		size_t keep = i == BLOCK_PIECES ? BLOCK_PIECES : BLOCK_PIECES / 2;

		after->count = BLOCK_PIECES - keep;
		memcpy(after->id, &b->id[keep], after->count * sizeof(b->id[0]));
		memcpy(after->piece, &b->piece[keep], after->count * sizeof(b->piece[0]));
		b->count = keep;
		if (i > keep || keep == BLOCK_PIECES) {
			b = after;
			i -= keep;
		}
	}
	memmove(&b->id[i + 1], &b->id[i], (b->count - i) * sizeof(b->id[0]));
	memmove(&b->piece[i + 1], &b->piece[i], (b->count - i) * sizeof(b->piece[0]));
	b->id[i] = id;
	b->piece[i] = piece;
	b->count++;
}

static uint32_t piece_of(const struct walk *w, uint64_t id)
{
	const struct block *b = w->blocks[block_of(w, id)];
	size_t i = place_in(b, id);

	assert(i > 0);
	return b->piece[i - 1];
}

/* Cuts a piece in two, the first of which is `len` long, and returns the second. */
static uint32_t split(struct walk *w, uint32_t n, uint64_t len)
{
	uint32_t rest = new_piece(w);
	struct piece *p = &w->pieces[n];
	struct piece *q = &w->pieces[rest];

	assert(len > 0 && len < p->len);
	q->id = p->id + len;
	q->len = p->len - len;
	q->left = q->id - 1;
	q->right = p->right;
	q->state = p->state;
	q->deleted = p->deleted;
	p->len = len;
	add_sums(w, n, -there(q), -now(q));
	put_after(w, n, rest);
	index_add(w, w->pieces[rest].id, rest);
	return rest;
}

/* The piece that begins with this byte, cut out of a larger one if need be, and at most `len` long. */
static uint32_t cut_out(struct walk *w, uint64_t id, uint64_t len)
{
	uint32_t n = piece_of(w, id);

	if (w->pieces[n].id < id)
		n = split(w, n, id - w->pieces[n].id);
	if (w->pieces[n].len > len)
		(void)split(w, n, len);
	return n;
}

/* ---- from version to version ---- */

/* Adds `delta` to the state of some bytes. */
static void shift_states(struct walk *w, uint64_t id, uint64_t len, uint32_t delta)
{
	while (len) {
		uint32_t n = cut_out(w, id, len);

		set_state(w, n, w->pieces[n].state + delta);
		id += w->pieces[n].len;
		len -= w->pieces[n].len;
	}
}

static size_t deletion_at(const struct walk *w, uint64_t lv)
{
	size_t lo = 0;
	size_t hi = w->deletion_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->deletions[mid].lv + w->deletions[mid].len <= lv)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Does the events [lv, end), all of them deletions, again, or takes them back. */
static void redo_deletions(struct walk *w, uint64_t lv, uint64_t end, uint32_t delta)
{
	for (size_t i = deletion_at(w, lv); i < w->deletion_count; i++) {
		const struct deletion d = w->deletions[i];
		uint64_t first = d.lv > lv ? d.lv : lv;
		uint64_t last = d.lv + d.len < end ? d.lv + d.len : end;

		if (first >= last)
			return;
		uint64_t skip = first - d.lv;
		uint64_t len = last - first;
		shift_states(w, d.back ? d.id - (skip + len - 1) : d.id + skip, len, delta);
	}
}

static void redo_run(struct walk *w, const struct run *r, uint32_t delta)
{
	if (r->kind == RUN_INS)
		shift_states(w, r->lv, r->len, delta);
	else if (r->kind != RUN_NONE)
		redo_deletions(w, r->lv, r->lv + r->len, delta);
}

static void take_back(struct walk *w, const struct span *s)
{
	for (size_t i = graph_run(w->g, s->last);; i--) {
		const struct run r = graph_clip(&w->g->runs[i], s->first, s->last + 1);

		redo_run(w, &r, (uint32_t)-1);
		if (w->g->runs[i].lv <= s->first)
			return;
	}
}

static void do_again(struct walk *w, const struct span *s)
{
	for (size_t i = graph_run(w->g, s->first);
	     i < w->g->run_count && w->g->runs[i].lv <= s->last; i++) {
		const struct run r = graph_clip(&w->g->runs[i], s->first, s->last + 1);

		redo_run(w, &r, 1);
	}
}

uint64_t walk_to(struct walk *w, const struct version *at)
{
	if (!version_eq(&w->at, at)) {
		graph_diff(w->g, &w->at, at, w->base, &w->apart);
		for (size_t i = 0; i < w->apart.only_a.count; i++)
			take_back(w, &w->apart.only_a.items[i]);
		for (size_t i = w->apart.only_b.count; i > 0; i--)
			do_again(w, &w->apart.only_b.items[i - 1]);
		version_set(&w->at, at->items, at->count);
	}
	return w->pieces[w->root].there;
}

/* ---- events ---- */

/* A byte's place: the piece it is in and where. */
struct place {
	uint32_t piece;
	uint64_t offset;
};

static struct place place_of(const struct walk *w, uint64_t id)
{
	uint32_t n = piece_of(w, id);

	return (struct place){n, id - w->pieces[n].id};
}

/* Whether byte a stands before byte b; START and END are bytes, too. */
static bool is_before(const struct walk *w, uint64_t a, uint64_t b)
{
	if (a == b || a == END || b == START)
		return false;
	if (a == START || b == END)
		return true;
	struct place x = place_of(w, a);
	struct place y = place_of(w, b);
	return x.piece == y.piece ? x.offset < y.offset : stands_before(w, x.piece, y.piece);
}

/*
 * Between the piece `after`, whose last byte is `left`, and the byte `right` are only pieces that the author of
 * the event did not have. Returns the one to stand behind.
 */
static uint32_t integrate(const struct walk *w, uint32_t after, uint64_t left, uint64_t right,
			  uint64_t lv)
{
	const struct piece *p = w->pieces;
	struct opid own = graph_opid(w->g, lv);
	uint32_t dest = after;
	uint32_t before = after;
	bool scanning = false;

	for (uint32_t o = p[after].next;; o = p[o].next) {
		if (!scanning)
			dest = before;
		if (o == NIL || p[o].id == right)
			return dest;
		before = o;
		if (p[o].left == left) {
			if (p[o].right == right) {
				if (opid_cmp(own, graph_opid(w->g, p[o].id)) < 0)
					return dest;
				scanning = false;
			} else {
				scanning = is_before(w, p[o].right, right);
			}
		} else if (is_before(w, p[o].left, left)) {
			return dest;
		}
	}
}

/* Inserts bytes at pos of the version the tracker is at; returns the piece they are in and their offset there. */
static struct place insert_bytes(struct walk *w, uint64_t pos, uint64_t lv, uint64_t len)
{
	uint32_t after = 1;
	uint64_t left = START;

	if (pos > 0) {
		uint64_t offset = 0;

		after = find_there(w, pos - 1, &offset);
		if (offset + 1 < w->pieces[after].len)
			(void)split(w, after, offset + 1);
		left = w->pieces[after].id + offset;
	}
	struct piece *p = w->pieces;
	uint32_t r = p[after].next;
	while (r != NIL && p[r].state == STATE_NEW)
		r = p[r].next;
	uint64_t right = r == NIL ? END : p[r].id;
	if (r != p[after].next) {
		after = integrate(w, after, left, right, lv);
	} else if (lv == left + 1 && p[after].right == right && !p[after].deleted && after != 1) {
		uint64_t offset = p[after].len;

		p[after].len += len;
		add_sums(w, after, len, len);
		return (struct place){after, offset};
	}
	uint32_t n = new_piece(w);
	p = w->pieces;
	p[n].id = lv;
	p[n].len = len;
	p[n].left = left;
	p[n].right = right;
	p[n].state = STATE_THERE;
	put_after(w, after, n);
	index_add(w, lv, n);
	return (struct place){n, 0};
}

static void note_deletion(struct walk *w, uint64_t lv, uint64_t id, uint64_t len)
{
	struct deletion *last = w->deletion_count ? &w->deletions[w->deletion_count - 1] : NULL;

	if (last && last->lv + last->len == lv) {
		if (!last->back && last->id + last->len == id) {
			last->len += len;
			return;
		}
		if (len == 1 && (last->back || last->len == 1) && last->id - last->len == id) {
			last->back = true;
			last->len++;
			return;
		}
	}
	if (w->deletion_count == w->deletion_cap) {
		w->deletion_cap = w->deletion_cap ? w->deletion_cap * 2 : 64;
		w->deletions = xreallocarray(w->deletions, w->deletion_cap, sizeof(*w->deletions));
	}
	w->deletions[w->deletion_count++] = (struct deletion){lv, id, len, false};
}

static void remove_bytes(struct walk *w, uint64_t pos, uint64_t lv, uint64_t len,
			 const struct walk_sink *sink)
{
	while (len) {
		uint64_t offset = 0;
		uint32_t n = find_there(w, pos, &offset);

		if (offset)
			n = split(w, n, offset);
		if (w->pieces[n].len > len)
			(void)split(w, n, len);
		uint64_t part = w->pieces[n].len;
		note_deletion(w, lv, w->pieces[n].id, part);
		set_state(w, n, STATE_THERE + 1);
		if (!w->pieces[n].deleted) {
			if (sink)
				sink->remove(sink->ctx, pos_now(w, n), part);
			w->pieces[n].deleted = true;
			add_sums(w, n, 0, -part);
		}
		lv += part;
		len -= part;
	}
}

static void at_event(struct walk *w, uint64_t lv)
{
	version_set(&w->at, &lv, 1);
}

void walk_apply(struct walk *w, uint64_t first, uint64_t last, const struct text_edits *e,
		const struct walk_sink *sink)
{
	uint64_t lv = first;
	uint64_t shift = 0;

	for (size_t i = 0; i < e->count; i++) {
		const struct text_edit *x = &e->items[i];
		uint64_t pos = x->pos + shift;

		remove_bytes(w, pos, lv, x->del, sink);
		lv += x->del;
		if (x->ins.len) {
			struct place at = insert_bytes(w, pos, lv, x->ins.len);

			sink->insert(sink->ctx, pos_now(w, at.piece) + at.offset, x->ins);
		}
		lv += x->ins.len;
		shift += x->ins.len - x->del;
	}
	at_event(w, last);
}

/* Replays [lv, end), events of one chain, in the version they were built on. */
static void replay(struct walk *w, uint64_t lv, uint64_t end)
{
	for (size_t i = graph_run(w->g, lv); i < w->g->run_count && w->g->runs[i].lv < end; i++) {
		const struct run r = graph_clip(&w->g->runs[i], lv, end);

		switch (r.kind) {
		case RUN_INS:
			(void)insert_bytes(w, r.pos, r.lv, r.len);
			break;
		case RUN_DEL:
			remove_bytes(w, r.pos, r.lv, r.len, NULL);
			break;
		case RUN_BACK:
			for (uint64_t k = 0; k < r.len; k++)
				remove_bytes(w, r.pos - k, r.lv + k, 1, NULL);
			break;
		case RUN_NONE:
			break;
		}
	}
	at_event(w, end - 1);
}

struct walk *walk_create(const struct graph *g, const struct version *base, uint64_t base_len)
{
	struct walk *w = xcalloc(1, sizeof(*w));

	w->g = g;
	w->base = base->items[base->count - 1];
	w->random = 12345;
	w->cap = 64;
	w->pieces = xreallocarray(NULL, w->cap, sizeof(*w->pieces));
	version_set(&w->base_version, base->items, base->count);
	version_set(&w->at, base->items, base->count);
	w->count = 0;
	w->pieces[new_piece(w)] = (struct piece){0};
	uint32_t start = new_piece(w);
	w->pieces[start].state = STATE_THERE;
	w->root = start;
	if (base_len) {
		uint32_t n = new_piece(w);

		w->pieces[n].id = BASE;
		w->pieces[n].len = base_len;
		w->pieces[n].left = START;
		w->pieces[n].right = END;
		w->pieces[n].state = STATE_THERE;
		put_after(w, start, n);
		index_add(w, BASE, n);
	}
	for (size_t i = 0; i < g->chain_count; i++) {
		const struct chain *c = &g->chains[i];

		if (c->end - 1 <= w->base)
			continue;
		if (c->lv > w->base) {
			struct version parents = {
				.items = &g->parents[c->parents],
				.count = c->parent_count,
			};

			(void)walk_to(w, &parents);
			replay(w, c->lv, c->end);
		} else {
			replay(w, w->base + 1, c->end);
		}
	}
	return w;
}

void walk_destroy(struct walk *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->block_count; i++)
		free(w->blocks[i]);
	free(w->blocks);
	free(w->pieces);
	free(w->deletions);
	version_fini(&w->base_version);
	version_fini(&w->at);
	apart_fini(&w->apart);
	free(w);
}

/* Everything above the base is built on all of it. */
bool walk_reaches(const struct walk *w, const struct version *parents)
{
	return parents->items[parents->count - 1] > w->base || version_eq(parents, &w->base_version);
}

const struct version *walk_base(const struct walk *w)
{
	return &w->base_version;
}

void walk_touches(const struct walk *w,
		  void (*fn)(void *ctx, struct span events, uint64_t pos, uint64_t len), void *ctx)
{
	for (uint32_t i = 2; i < w->count; i++) {
		const struct piece *p = &w->pieces[i];

		if (p->id < BASE && !p->deleted)
			fn(ctx, (struct span){p->id, p->id + p->len - 1}, pos_now(w, i), p->len);
	}
	for (size_t i = 0; i < w->deletion_count; i++) {
		const struct deletion *d = &w->deletions[i];
		uint64_t first = d->back ? d->id - (d->len - 1) : d->id;

		for (uint64_t done = 0; done < d->len;) {
			uint32_t n = piece_of(w, first + done);
			const struct piece *p = &w->pieces[n];
			uint64_t part = p->id + p->len - (first + done);

			part = part < d->len - done ? part : d->len - done;
			uint64_t lv = d->back ? d->lv + (d->len - done - part) : d->lv + done;
			fn(ctx, (struct span){lv, lv + part - 1}, pos_now(w, n), 0);
			done += part;
		}
	}
}
