/*
 * One node's history. What an author had seen is a count of changes of each author who ever changed the node
 * (a device sees its own changes in order): the counts of the changes whose tokens and values the author's
 * operations replace, joined with those of its own change before. States are replayed forwards and kept, one
 * for each of the branches that are being told at the same time.
 */
#include "core/history.h"

#include "core/db_i.h"
#include "core/follow.h"
#include "core/idset.h"
#include "core/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Changes read under one lock. */
#define READ_AT_ONCE 64
/** Changes kept in memory while the history is open. */
#define KEPT_BYTES_MAX ((size_t)8 << 20)
/** Counts kept: above, what an author had seen is taken to be all before it. */
#define COUNTS_MAX ((size_t)1 << 26)
#define REPLAYS 4

struct visit {
	struct history_change c;
	struct feed_pos pos;
	uint64_t lamport_first; /**< of its operations on this node */
	uint64_t lamport_last;
	uint32_t author;  /**< index of actors */
	uint32_t ordinal; /**< among its author's, from 1 */
	struct buf bytes; /**< empty if not kept */
};

/** Who changed the node, and which visits are theirs, in order. */
struct author {
	uint64_t actor;
	uint32_t *visits;
	uint32_t count;
};

struct replay {
	uint32_t *counts; /**< by author; NULL = unused */
	struct node n;
	struct doc *doc;
	struct buf rendered;
	bool is_rendered;
	uint64_t used;
};

struct history {
	struct db *db;
	struct id node;
	struct id stream;
	enum node_kind kind;
	struct changes changes;
	size_t kept;
	struct visit *visits; /**< by (lamport, actor) */
	size_t count;
	struct author *authors;
	size_t author_count;
	uint32_t *seen; /**< by visit and author: what the visit's author had seen; NULL = all before */
	struct replay replays[REPLAYS];
	uint64_t clock;
	struct history *origin; /**< that of the node it was, whose changes come first; or NULL */
};

/* ---- finding the changes --------------------------------------------------------------------- */

static bool add_visit(void *ctx, struct slice key, struct slice value)
{
	struct history *h = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct visit e = {0};

	(void)reader_take(&k, 17);
	e.c.hlc = reader_be64(&k);
	e.c.rev.lamport = reader_be64(&k);
	e.c.rev.actor = reader_be64(&k);
	e.pos.stream = id_read(&v);
	e.pos.actor = e.c.rev.actor;
	e.pos.seq = reader_varint(&v);
	/* Another stream's change of this node has no effect: it is not that stream's to change. */
	if (reader_finish(&k) < 0 || reader_finish(&v) < 0 || !id_eq(&e.pos.stream, &h->stream))
		return true;
	e.lamport_first = e.lamport_last = e.c.rev.lamport;
	e.c.time_ms = e.c.hlc >> 16;
	if ((h->count & (h->count - 1)) == 0)
		h->visits = xreallocarray(h->visits, h->count ? h->count * 2 : 1, sizeof(e));
	h->visits[h->count++] = e;
	return true;
}

static int by_feed(const void *a, const void *b)
{
	const struct visit *x = a;
	const struct visit *y = b;

	if (x->pos.actor != y->pos.actor)
		return x->pos.actor < y->pos.actor ? -1 : 1;
	return (x->pos.seq > y->pos.seq) - (x->pos.seq < y->pos.seq);
}

static int by_order(const void *a, const void *b)
{
	return opid_cmp(((const struct visit *)a)->c.rev, ((const struct visit *)b)->c.rev);
}

/* A change that comes back to a node is in the index twice. */
static void drop_doubles(struct history *h)
{
	size_t n = 0;

	if (h->count > 1)
		qsort(h->visits, h->count, sizeof(*h->visits), by_feed);
	for (size_t i = 0; i < h->count; i++) {
		if (n == 0 || by_feed(&h->visits[n - 1], &h->visits[i]) != 0)
			h->visits[n++] = h->visits[i];
	}
	h->count = n;
}

static void add_author(struct history *h, uint32_t i)
{
	struct visit *v = &h->visits[i];
	size_t k = 0;

	while (k < h->author_count && h->authors[k].actor != v->pos.actor)
		k++;
	if (k == h->author_count) {
		h->authors = xreallocarray(h->authors, k + 1, sizeof(*h->authors));
		h->authors[h->author_count++] = (struct author){.actor = v->pos.actor};
	}
	struct author *a = &h->authors[k];
	if ((a->count & (a->count - 1)) == 0)
		a->visits =
			xreallocarray(a->visits, a->count ? a->count * 2 : 1, sizeof(*a->visits));
	a->visits[a->count++] = i;
	v->author = (uint32_t)k;
	v->ordinal = a->count;
}

/* ---- reading changes ------------------------------------------------------------------------- */

/* t is the running transaction, or NULL. */
static int read_change(struct history *h, struct txn *t, size_t i, struct buf *bytes,
		       struct change *ret)
{
	const struct visit *v = &h->visits[i];
	struct txn *own = NULL;
	int r = 0;

	if (v->c.missing)
		return -ENOENT;
	if (v->bytes.len) {
		buf_clear(bytes);
		buf_slice_append(bytes, buf_slice(&v->bytes));
	} else {
		if (!t)
			t = own = db_begin(h->db);
		r = changes_get(&h->changes, t, &v->pos, bytes);
		if (own)
			db_abort(own);
	}
	return r < 0 ? r : change_decode(buf_slice(bytes), v->pos.actor, ret);
}

int history_ops(struct history *h, size_t i, struct buf *bytes, struct change *ret)
{
	struct id node;

	h = history_part(h, &i, &node);
	return read_change(h, NULL, i, bytes, ret);
}

/* The visit of this author that made the operation; 0 = none, else its ordinal. */
static uint32_t ordinal_of(const struct history *h, const struct author *a, uint64_t lamport)
{
	uint32_t lo = 0;
	uint32_t hi = a->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (h->visits[a->visits[mid]].lamport_first <= lamport)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void join_pred(struct history *h, size_t i, uint32_t *seen, struct opid pred)
{
	for (size_t k = 0; k < h->author_count; k++) {
		if (h->authors[k].actor != pred.actor)
			continue;
		uint32_t n = ordinal_of(h, &h->authors[k], pred.lamport);
		uint32_t at = n ? h->authors[k].visits[n - 1] : UINT32_MAX;
		if (n == 0 || at >= i || seen[k] >= n)
			return;
		for (size_t j = 0; j < h->author_count; j++) {
			uint32_t theirs = h->seen[at * h->author_count + j];

			seen[j] = theirs > seen[j] ? theirs : seen[j];
		}
		seen[k] = n;
		if (h->visits[at].c.time_ms > h->visits[i].c.time_ms)
			h->visits[i].c.time_ms = h->visits[at].c.time_ms;
	}
}

/* A token that replaces none, of a node that was there: its author had seen a deletion, the last one most likely. */
static void join_deletion(struct history *h, size_t i, uint32_t *seen)
{
	for (size_t k = i; k > 0; k--) {
		if (h->visits[k - 1].c.deletes) {
			join_pred(h, i, seen, h->visits[k - 1].c.rev);
			return;
		}
	}
}

/* What the author of visit i had seen: needs that of all before it. */
static void note_seen(struct history *h, size_t i, const struct change *c)
{
	struct visit *v = &h->visits[i];
	uint32_t *seen = h->seen ? h->seen + i * h->author_count : NULL;

	if (v->ordinal > 1) {
		uint32_t before = h->authors[v->author].visits[v->ordinal - 2];

		if (seen)
			memcpy(seen, h->seen + before * h->author_count,
			       h->author_count * sizeof(*seen));
		if (h->visits[before].c.time_ms > v->c.time_ms)
			v->c.time_ms = h->visits[before].c.time_ms;
	}
	if (!seen)
		return;
	seen[v->author] = v->ordinal - 1;
	for (size_t k = 0; k < c->ops.count; k++) {
		const struct op *op = &c->ops.items[k];

		if (!id_eq(&op->node, &h->node))
			continue;
		for (size_t p = 0; p < op->pred_count; p++)
			join_pred(h, i, seen, op->preds[p]);
		if (op->kind == OP_TOUCH && op->pred_count == 0)
			join_deletion(h, i, seen);
	}
}

static void note_change(struct history *h, size_t i, const struct change *c, struct buf *bytes)
{
	struct visit *v = &h->visits[i];
	size_t n = c->program.len < CHANGE_PROGRAM_BYTES_MAX ? c->program.len
							     : CHANGE_PROGRAM_BYTES_MAX;

	v->lamport_first = 0;
	for (size_t k = 0; k < c->ops.count; k++) {
		const struct op *op = &c->ops.items[k];

		if (!id_eq(&op->node, &h->node))
			continue;
		v->lamport_first = v->lamport_first ? v->lamport_first : op->lamport;
		v->lamport_last = op->lamport;
		v->c.deletes = v->c.deletes || op->kind == OP_DELETE;
		if (op->kind == OP_ORIGIN && !op->carried)
			v->c.origin = op->parent;
	}
	if (n)
		memcpy(v->c.program, c->program.data, n);
	if (h->kept + bytes->len <= KEPT_BYTES_MAX) {
		h->kept += bytes->len;
		v->bytes = *bytes;
		*bytes = (struct buf){0};
	}
}

static void read_visit(struct history *h, struct txn *t, size_t i)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct change c = {0};

	if (read_change(h, t, i, &bytes, &c) < 0) {
		h->visits[i].c.missing = true;
		note_seen(h, i, &c);
		return;
	}
	note_change(h, i, &c, &bytes);
	note_seen(h, i, &c);
	change_fini(&c);
}

static void read_all(struct history *h)
{
	if (h->author_count && h->count <= COUNTS_MAX / h->author_count)
		h->seen = xcalloc(h->count * h->author_count, sizeof(*h->seen));
	for (size_t i = 0; i < h->count;) {
		struct txn *t = db_begin(h->db);

		for (size_t n = 0; n < READ_AT_ONCE && i < h->count; n++, i++)
			read_visit(h, t, i);
		db_abort(t);
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

int history_open(struct db *db, const struct id *node, struct history **ret)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct history *h = xcalloc(1, sizeof(*h));
	struct txn *t = db_begin(db);
	const struct txn_node *tn = txn_node(t, node);
	int r = tn ? 0 : -EIO;

	h->db = db;
	h->node = *node;
	if (tn) {
		h->stream = tn->n.stream;
		h->kind = tn->n.kind;
	}
	if (r == 0)
		r = store_scan(t->store, key_node(&prefix, 'h', node), SLICE("", 0), add_visit, h);
	db_abort(t);
	drop_doubles(h);
	if (h->count > 1)
		qsort(h->visits, h->count, sizeof(*h->visits), by_order);
	for (size_t i = 0; i < h->count; i++)
		add_author(h, (uint32_t)i);
	if (r == 0 && h->count == 0)
		r = -ENOENT;
	if (r < 0) {
		history_close(h);
		return r;
	}
	read_all(h);
	*ret = h;
	return 0;
}

static void replay_fini(struct replay *r)
{
	free(r->counts);
	node_fini(&r->n);
	doc_destroy(r->doc);
	buf_fini(&r->rendered);
	*r = (struct replay){0};
}

void history_close(struct history *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->count; i++)
		buf_fini(&h->visits[i].bytes);
	for (size_t i = 0; i < h->author_count; i++)
		free(h->authors[i].visits);
	for (size_t i = 0; i < REPLAYS; i++)
		replay_fini(&h->replays[i]);
	changes_fini(&h->changes);
	history_close(h->origin);
	free(h->visits);
	free(h->authors);
	free(h->seen);
	free(h);
}

static int origin_of(struct db *db, const struct id *node, struct id *ret)
{
	struct txn *t = db_begin(db);
	int r = follow_was(t, node, ret);

	db_abort(t);
	return r;
}

int history_open_whole(struct db *db, const struct id *node, struct history **ret)
{
	struct idset seen = {0};
	struct history *h = NULL;
	struct history **next = &h;
	struct id at = *node;
	int r = history_open(db, &at, next);

	(void)idset_add(&seen, &at);
	while (r == 0 && origin_of(db, &at, &at) == 0 && seen.count < FOLLOW_ORIGINS_MAX) {
		next = &(*next)->origin;
		if (idset_add(&seen, &at) + 1 < seen.count) /* it was there before */
			break;
		r = history_open(db, &at, next);
	}
	idset_fini(&seen);
	if (!h)
		return r;
	*ret = h; /* what it was may not be known here */
	return 0;
}

/* Whose the i-th change is; *i becomes its number there. */
static const struct history *part(const struct history *h, size_t *i)
{
	for (; h->origin; h = h->origin) {
		size_t before = history_count(h->origin);

		if (*i >= before) {
			*i -= before;
			break;
		}
	}
	assert(*i < h->count);
	return h;
}

struct history *history_part(struct history *h, size_t *i, struct id *ret_node)
{
	const struct history *found = part(h, i);

	while (h != found)
		h = h->origin;
	*ret_node = h->node;
	return h;
}

size_t history_count(const struct history *h)
{
	return h->count + (h->origin ? history_count(h->origin) : 0);
}

const struct history_change *history_at(const struct history *h, size_t i)
{
	h = part(h, &i);
	return &h->visits[i].c;
}

enum node_kind history_kind(const struct history *h)
{
	return h->kind;
}

/* ---- replaying ------------------------------------------------------------------------------- */

static void replay_op(struct replay *r, const struct op *op, struct stamp stamp)
{
	static const struct opid none;
	struct node *n = &r->n;

	switch (op->kind) {
	case OP_TOUCH:
	case OP_DELETE:
		node_touch(n, op->preds, op->pred_count, op->kind == OP_TOUCH ? stamp.id : none);
		if (stamp_beats(stamp, n->last))
			n->last = stamp;
		break;
	case OP_MOVE:
		if (opid_cmp(stamp.id, n->place) <= 0)
			break;
		n->kind = op->node_kind;
		n->place = stamp.id;
		n->parent = op->parent;
		buf_clear(&n->name);
		buf_slice_append(&n->name, op->name);
		break;
	case OP_EXEC:
		if (!stamp_beats(stamp, n->exec_stamp))
			break;
		n->exec = op->exec;
		n->exec_stamp = stamp;
		break;
	case OP_ORIGIN:
	case OP_AUTH:
		break;
	case OP_SET:
	case OP_UNSET:
	case OP_RAW:
	case OP_UNRAW:
	case OP_LAYOUT:
	case OP_TEXT:
	case OP_CHUNKS:
	case OP_INSERT:
	case OP_PLACE:
	case OP_SPACE:
		if (n->kind == NODE_DIR || (op->kind == OP_CHUNKS && n->kind != NODE_RECORD))
			break;
		doc_apply(r->doc, op, stamp.id, stamp.hlc);
		r->is_rendered = false;
		if (stamp_beats(stamp, n->content))
			n->content = stamp;
		break;
	}
}

static int replay_visit(struct history *h, struct replay *r, size_t i)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct change c = {0};
	int err = read_change(h, NULL, i, &bytes, &c);

	if (err == -ENOENT)
		return 0;
	for (size_t k = 0; err == 0 && k < c.ops.count; k++) {
		const struct op *op = &c.ops.items[k];
		struct stamp stamp = {.hlc = c.hlc, .id = {op->lamport, c.actor}};

		if (id_eq(&op->node, &h->node))
			replay_op(r, op, stamp);
	}
	change_fini(&c);
	return err;
}

static bool is_within(const struct history *h, const uint32_t *a, const uint32_t *b)
{
	for (size_t k = 0; k < h->author_count; k++) {
		if (a[k] > b[k])
			return false;
	}
	return true;
}

static uint64_t sum(const struct history *h, const uint32_t *counts)
{
	uint64_t n = 0;

	for (size_t k = 0; k < h->author_count; k++)
		n += counts[k];
	return n;
}

/* The replay that has to go the shortest way to `counts`, or a fresh one. */
static struct replay *nearest(struct history *h, const uint32_t *counts)
{
	struct replay *best = NULL;
	struct replay *oldest = &h->replays[0];

	for (size_t i = 0; i < REPLAYS; i++) {
		struct replay *r = &h->replays[i];

		if (r->counts && is_within(h, r->counts, counts) &&
		    (!best || sum(h, r->counts) > sum(h, best->counts)))
			best = r;
		if (r->used < oldest->used)
			oldest = r;
	}
	if (!best) {
		best = oldest;
		replay_fini(best);
		best->counts = xcalloc(h->author_count, sizeof(*best->counts));
		best->doc = doc_create();
		best->n.id = h->node;
	}
	best->used = ++h->clock;
	return best;
}

/* The next visit to replay on the way to `counts`; SIZE_MAX when there. */
static size_t next_visit(const struct history *h, const struct replay *r, const uint32_t *counts)
{
	size_t next = SIZE_MAX;

	for (size_t k = 0; k < h->author_count; k++) {
		if (r->counts[k] < counts[k] && h->authors[k].visits[r->counts[k]] < next)
			next = h->authors[k].visits[r->counts[k]];
	}
	return next;
}

/*
 * Brings a replay to `counts`. Going on from a smaller set may apply an operation after one of a higher
 * lamport, but only after a concurrent one, which makes no difference.
 */
static int replay_to(struct history *h, const uint32_t *counts, struct replay **ret)
{
	struct replay *r = nearest(h, counts);

	for (size_t i; (i = next_visit(h, r, counts)) != SIZE_MAX;) {
		int err = replay_visit(h, r, i);

		if (err < 0) {
			replay_fini(r);
			return err;
		}
		r->counts[h->visits[i].author]++;
	}
	*ret = r;
	return 0;
}

static void take_state(const struct history *h, struct replay *r, unsigned want,
		       struct history_state *ret)
{
	const struct node *n = &r->n;

	*ret = (struct history_state){
		.known = n->place.lamport != 0,
		.alive = n->place.lamport != 0 && n->token_count > 0,
		.parent = n->parent,
		.place = n->place,
		.exec = n->exec,
		.modified_ms = (n->content.hlc ? n->content.hlc : n->last.hlc) >> 16,
		.author = n->last.id.actor,
	};
	buf_slice_append(&ret->name, buf_slice(&n->name));
	if (h->kind == NODE_DIR)
		return;
	if (want & HISTORY_DOC)
		ret->doc = doc_clone(r->doc);
	if (!(want & HISTORY_CONTENT))
		return;
	if (!r->is_rendered) {
		buf_clear(&r->rendered);
		doc_render(r->doc, &r->rendered);
		r->is_rendered = true;
	}
	ret->conflicts = doc_conflict_count(r->doc);
	ret->chunked = doc_mode(r->doc) == DOC_CHUNKS;
	ret->size = ret->chunked ? manifest_size(buf_slice(&r->rendered)) : r->rendered.len;
	buf_slice_append(&ret->content, buf_slice(&r->rendered));
}

void history_state_fini(struct history_state *s)
{
	buf_fini(&s->name);
	buf_fini(&s->content);
	doc_destroy(s->doc);
	*s = (struct history_state){0};
}

static int state_of(struct history *h, const uint32_t *counts, unsigned want,
		    struct history_state *ret)
{
	struct replay *replay = NULL;
	int r = replay_to(h, counts, &replay);

	if (r == 0)
		take_state(h, replay, want, ret);
	return r;
}

static void counts_before(const struct history *h, size_t i, uint32_t *counts)
{
	if (h->seen) {
		memcpy(counts, h->seen + i * h->author_count, h->author_count * sizeof(*counts));
		return;
	}
	memset(counts, 0, h->author_count * sizeof(*counts));
	for (size_t k = 0; k < i; k++)
		counts[h->visits[k].author]++;
}

int history_before(struct history *h, size_t i, unsigned want, struct history_state *ret)
{
	struct id node;

	h = history_part(h, &i, &node);
	AUTO(free_ptr) uint32_t *counts = xcalloc(h->author_count, sizeof(*counts));
	counts_before(h, i, counts);
	return state_of(h, counts, want, ret);
}

int history_after(struct history *h, size_t i, unsigned want, struct history_state *ret)
{
	struct id node;

	h = history_part(h, &i, &node);
	AUTO(free_ptr) uint32_t *counts = xcalloc(h->author_count, sizeof(*counts));
	counts_before(h, i, counts);
	counts[h->visits[i].author] = h->visits[i].ordinal;
	return state_of(h, counts, want, ret);
}

/* Times only rise within an author's changes, and with what they are on top of: this is a set with causes. */
static void counts_when(const struct history *h, uint64_t ms, uint32_t *counts)
{
	for (size_t i = 0; i < h->count; i++) {
		if (h->visits[i].c.time_ms <= ms)
			counts[h->visits[i].author] = h->visits[i].ordinal;
	}
}

static uint64_t first_ms(const struct history *h)
{
	uint64_t ms = UINT64_MAX;

	for (size_t i = 0; i < h->count; i++)
		ms = h->visits[i].c.time_ms < ms ? h->visits[i].c.time_ms : ms;
	return ms;
}

int history_when(struct history *h, uint64_t ms, unsigned want, struct history_state *ret)
{
	/* Before it was this node, it was another. */
	while (h->origin && first_ms(h) > ms)
		h = h->origin;
	AUTO(free_ptr) uint32_t *counts = xcalloc(h->author_count, sizeof(*counts));
	counts_when(h, ms, counts);
	return state_of(h, counts, want, ret);
}

int history_moves(struct history *h, uint64_t ms,
		  void (*fn)(void *ctx, const struct op *op, uint64_t actor), void *ctx)
{
	for (size_t i = 0; i < h->count; i++) {
		AUTO(buf_fini) struct buf bytes = {0};
		struct change c = {0};

		if (h->visits[i].c.time_ms > ms)
			continue;
		int r = read_change(h, NULL, i, &bytes, &c);
		for (size_t k = 0; r == 0 && k < c.ops.count; k++) {
			const struct op *op = &c.ops.items[k];

			if (op->kind == OP_MOVE && id_eq(&op->node, &h->node))
				fn(ctx, op, c.actor);
		}
		change_fini(&c);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

int history_with(const struct history *h, struct opid op, size_t *ret)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct visit *v = &h->visits[i];

		if (v->pos.actor != op.actor || op.lamport < v->lamport_first ||
		    op.lamport > v->lamport_last)
			continue;
		*ret = i;
		return 0;
	}
	return -ENOENT;
}

bool history_are_apart(const struct history *h, size_t i, size_t j)
{
	AUTO(free_ptr) uint32_t *a = xcalloc(h->author_count, sizeof(*a));
	AUTO(free_ptr) uint32_t *b = xcalloc(h->author_count, sizeof(*b));

	if (!h->seen || h->visits[i].author == h->visits[j].author)
		return false;
	counts_before(h, i, a);
	counts_before(h, j, b);
	a[h->visits[i].author] = b[h->visits[j].author] = 1;
	for (size_t k = 0; k < h->author_count; k++) {
		if (a[k] && b[k])
			return false;
	}
	return true;
}

/* ---- naming changes -------------------------------------------------------------------------- */

void history_rev(struct opid rev, char out[HISTORY_REV_BYTES])
{
	(void)snprintf(out, HISTORY_REV_BYTES, "%" PRIx64 "-%04" PRIx64, rev.lamport,
		       rev.actor >> 48);
}

int history_find(const struct history *h, const char *rev, size_t *ret)
{
	char *end = NULL;
	size_t found = SIZE_MAX;
	uint64_t lamport = strtoull(rev, &end, 16);
	bool any = *end == 0;
	uint64_t device = any ? 0 : strtoull(end + 1, &end, 16);

	if (rev[strspn(rev, "0123456789abcdef-")] || *end || lamport == 0 || rev[0] == '-')
		return -EINVAL;
	for (size_t i = 0; i < h->count; i++) {
		const struct visit *v = &h->visits[i];

		if (lamport < v->lamport_first || lamport > v->lamport_last ||
		    (!any && v->pos.actor >> 48 != device))
			continue;
		if (found != SIZE_MAX)
			return -ENOTUNIQ;
		found = i;
	}
	if (found == SIZE_MAX)
		return h->origin ? history_find(h->origin, rev, ret) : -ENOENT;
	*ret = found + (h->origin ? history_count(h->origin) : 0);
	return 0;
}
