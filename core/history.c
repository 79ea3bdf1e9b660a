/*
 * One node's history. What an author had seen is a count of changes of each author who ever changed the node
 * (a device sees its own changes in order): the counts of the changes whose tokens and values the author's
 * operations replace, joined with those of its own change before. States are replayed forwards and kept, one
 * for each of the branches that are being told at the same time.
 */
#include "core/history_i.h"

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
#define KEPT_CHANGE_BYTES_MAX ((size_t)64 << 10)
/** Counts kept: above, what an author had seen is taken to be all before it. */
#define COUNTS_MAX ((size_t)1 << 26)

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

int history_read(struct history *h, struct txn *t, size_t i, struct buf *bytes, struct change *ret)
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
	return history_read(h, NULL, i, bytes, ret);
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

static void note_change(struct history *h, size_t i, const struct change *c)
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
}

static void read_visit(struct history *h, struct txn *t, size_t i)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct visit *v = &h->visits[i];
	const struct change *recent = changes_recent(h->db, &v->pos);
	struct change c = {0};

	if (!recent && history_read(h, t, i, &bytes, &c) < 0) {
		v->c.missing = true;
		note_seen(h, i, &c);
		return;
	}
	note_change(h, i, recent ? recent : &c);
	note_seen(h, i, recent ? recent : &c);
	if (recent)
		return;
	struct slice all = buf_slice(&bytes);
	if (h->kept + all.len <= KEPT_BYTES_MAX && all.len <= KEPT_CHANGE_BYTES_MAX) {
		h->kept += all.len;
		buf_slice_append(&v->bytes, all);
	}
	changes_keep(h->db, &v->pos, &c, &bytes);
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

void history_replay_fini(struct replay *r)
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
		history_replay_fini(&h->replays[i]);
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
const struct history *history_part_of(const struct history *h, size_t *i)
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
	const struct history *found = history_part_of(h, i);

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
	h = history_part_of(h, &i);
	return &h->visits[i].c;
}

enum node_kind history_kind(const struct history *h)
{
	return h->kind;
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
