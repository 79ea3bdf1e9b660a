/* What must hold when everybody has talked to everybody. */
#include "tests/sim/memory.h"
#include "tests/sim/sim.h"

#include "core/clash.h"
#include "core/strata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tree as text -------------------------------------------------------------------------- */

struct entry {
	struct node_info info;
	char *path;
};

struct listing {
	const char *dir; /* path of the directory that is read */
	struct entry *items;
	size_t count;
};

static void add_entry(void *ctx, const struct node_info *n)
{
	struct listing *l = ctx;

	l->items = xreallocarray(l->items, l->count + 1, sizeof(*l->items));
	l->items[l->count].info = *n;
	l->items[l->count].info.name = xstrdup(n->name);
	l->items[l->count++].path = xasprintf("%s/%s", l->dir, n->name);
}

static void listing_fini(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		node_info_fini(&l->items[i].info);
		free(l->items[i].path);
	}
	free(l->items);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

/* All visible nodes, by path. */
static void list(struct side *d, struct listing *l)
{
	struct txn *t = db_begin(d->db);
	struct id root = db_root(d->db);

	l->dir = "";
	assert(db_children(t, &root, add_entry, l) == 0);
	for (size_t i = 0; i < l->count; i++) {
		struct id id = l->items[i].info.id;

		if (l->items[i].info.kind != NODE_DIR)
			continue;
		if (l->count > 10000)
			fail(d->sim, "a tree without end");
		l->dir = l->items[i].path;
		assert(db_children(t, &id, add_entry, l) == 0);
	}
	db_abort(t);
	if (l->count)
		qsort(l->items, l->count, sizeof(*l->items), by_path);
	for (size_t i = 1; i < l->count; i++) {
		if (strcmp(l->items[i - 1].path, l->items[i].path) == 0)
			fail(d->sim, "%s is there twice", l->items[i].path);
	}
}

struct losers {
	struct buf *out;
	uint32_t count;
};

static void put_loser(void *ctx, const struct db_loser *l)
{
	struct losers *x = ctx;

	x->count++;
	buf_printf(x->out, "    lost %s%s by %s at %llu: ", l->whole ? "whole" : "field ", l->path,
		   l->author_name, (unsigned long long)l->time_ms);
	buf_slice_append(x->out, l->value);
	buf_u8(x->out, '\n');
}

/* A fresh rendering of the state is what is kept as the content. */
static void check_rendering(struct side *d, const struct entry *e, struct slice bytes)
{
	AUTO(buf_fini) struct buf fresh = {0};
	struct doc *doc = NULL;
	struct txn *t = db_begin(d->db);

	assert(db_doc(t, &e->info.id, &doc) == 0);
	db_abort(t);
	doc_render(doc, &fresh);
	if (!slice_eq(buf_slice(&fresh), bytes))
		fail(d->sim, "%s%s: a fresh rendering is\n%s", d->dir, e->path, buf_str(&fresh));
	doc_destroy(doc);
}

/* Both versions of lines that clash. Histories differ while some of it is missing. */
static void put_clash(void *ctx, const struct clash *c)
{
	struct losers *l = ctx;

	buf_printf(l->out, "clash in line %u to %u, %s\n", (unsigned)c->line,
		   (unsigned)(c->line + c->line_count - 1), c->author_name);
	l->count++;
}

static void dump(struct side *d, struct buf *out)
{
	AUTO(listing_fini) struct listing l = {0};

	buf_clear(out);
	list(d, &l);
	for (size_t i = 0; i < l.count; i++) {
		const struct entry *e = &l.items[i];
		AUTO(buf_fini) struct buf bytes = {0};
		struct losers losers = {out, 0};

		buf_printf(out, "%s kind %d%s, %u lost\n", e->path, e->info.kind,
			   e->info.exec ? " exec" : "", e->info.conflicts);
		if (e->info.kind == NODE_DIR)
			continue;
		struct txn *t = db_begin(d->db);
		assert(db_read(t, &e->info.id, &bytes) == 0);
		db_abort(t);
		if (bytes.len != e->info.size)
			fail(d->sim, "%s%s: the size is wrong", d->dir, e->path);
		buf_slice_append(out, buf_slice(&bytes));
		buf_printf(out, "\n");
		assert(db_losers(d->db, &e->info.id, put_loser, &losers) == 0);
		struct losers clashes = {out, 0};
		assert(clash_list(d->db, &e->info.id, put_clash, &clashes) == 0);
		losers.count += clashes.count / 2;
		if (losers.count != e->info.conflicts)
			fail(d->sim, "%s%s: counts %u conflicts, there are %u", d->dir, e->path,
			     e->info.conflicts, losers.count);
		check_rendering(d, e, buf_slice(&bytes));
	}
}

static void check_same(struct sim *s, const struct buf *want, struct side *d)
{
	AUTO(buf_fini) struct buf got = {0};
	static const char kinds[] = "sr";

	dump(d, &got);
	if (!slice_eq(buf_slice(want), buf_slice(&got))) {
		(void)fprintf(stderr, "--- %s\n%.*s--- %s\n%s", s->devices[0].dir, (int)want->len,
			      want->len ? (const char *)want->data : "", d->dir, buf_str(&got));
		fail(s, "they show different trees");
	}
	for (size_t i = 0; kinds[i]; i++) {
		if (!disk_same(s->devices[0].dir, d->dir, (uint8_t)kinds[i]))
			fail(s, "%s and %s hold different '%c'", s->devices[0].dir, d->dir,
			     kinds[i]);
	}
}

/* ---- a late device ----------------------------------------------------------------------------- */

struct letter {
	struct feed_item item;
	struct buf bytes;
	bool done;
};

static int by_feed(const void *a, const void *b)
{
	const struct feed_pos *x = a;
	const struct feed_pos *y = b;
	int order = memcmp(x->stream.b, y->stream.b, sizeof(x->stream.b));

	return order ? order : (x->actor > y->actor) - (x->actor < y->actor);
}

/* Everything there is, in the order in which it arrived. */
static size_t gather(struct side *from, struct letter **ret)
{
	AUTO(free_ptr) struct feed_pos *vv = NULL;
	struct letter *list = NULL;
	uint64_t cursor = 0;
	size_t feeds = 0;
	size_t count = 0;

	assert(db_seal(from->db) == 0);
	for (;;) {
		struct letter x = {0};
		size_t i = 0;

		if (db_next_envelope(from->db, &cursor, vv, feeds, &x.item, &x.bytes) != 1)
			break;
		list = xreallocarray(list, count + 1, sizeof(*list));
		list[count++] = x;
		while (i < feeds && by_feed(&vv[i], &x.item.pos) != 0)
			i++;
		if (i == feeds)
			vv = xreallocarray(vv, ++feeds, sizeof(*vv));
		vv[i] = x.item.pos;
		qsort(vv, feeds, sizeof(*vv), by_feed);
	}
	*ret = list;
	return count;
}

/* 0 or more: all of it is applied now. */
static int open_letter(struct side *late, const struct letter *x)
{
	const struct feed_pos *pos = &x->item.pos;
	struct strata_job *job = NULL;
	uint64_t last = 0;

	if (!x->item.packed)
		return db_apply_envelope(late->db, &pos->stream, pos->actor, buf_slice(&x->bytes),
					 &last);
	int r = strata_job_create(late->db, &pos->stream, pos->actor, buf_slice(&x->bytes), &job);
	if (r == 0)
		r = strata_job_apply(job);
	strata_job_destroy(job);
	return r;
}

/* Every envelope, in any order that works, some of them twice. */
static void deliver_late(struct sim *s, struct side *late, struct rng *r)
{
	struct letter *list = NULL;
	size_t count = gather(&s->devices[0], &list);
	size_t left = count;

	for (unsigned rounds = 0; left > 0; rounds++) {
		if (rounds > 100000)
			fail(s, "envelopes wait for each other");
		struct letter *x = &list[rng_below(r, (uint32_t)count)];
		if (x->done && !rng_once_in(r, 8))
			continue;
		int got = open_letter(late, x);
		if (got < 0 && got != -EAGAIN && got != -EACCES)
			fail(s, "a late envelope was refused: %s", strerror(-got));
		if (got >= 0 && !x->done) {
			x->done = true;
			left--;
		}
	}
	for (size_t i = 0; i < count; i++)
		buf_fini(&list[i].bytes);
	free(list);
}

/* ---- all --------------------------------------------------------------------------------------- */

static void check_loss(struct sim *s)
{
	struct tokens there = s->removed;
	struct tokens lost;
	struct id root = db_root(s->devices[0].db);

	tree_tokens(&s->devices[0], &root, &there);
	if (tokens_minus(&s->written, &there, &lost)) {
		AUTO(buf_fini) struct buf tree = {0};

		dump(&s->devices[0], &tree);
		(void)fprintf(stderr, "%s", buf_str(&tree));
		tokens_print(&lost);
		fail(s, "lost: nobody who saw it took it away");
	}
}

/*
 * How often all have to talk to the first one. Once is for what they have, and once for what the others had. But who
 * lacks history does not pass on others' changes, and so its own may wait, with it, for those who made them to talk;
 * and on its own those of the next such device.
 */
static unsigned passes(struct sim *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (side_lacks_history(&s->devices[i]))
			return s->count + 1;
	}
	return 2;
}

static void talk_all(struct sim *s, struct rng *r)
{
	for (unsigned left = passes(s); left > 0; left--) {
		for (unsigned i = 1; i < s->count; i++)
			side_talk(&s->devices[0], &s->devices[i], r, UINT32_MAX);
	}
}

void check_all(struct sim *s, struct rng *r)
{
	AUTO(buf_fini) struct buf want = {0};
	struct side *late = &s->devices[s->count];

	talk_all(s, r);
	for (unsigned rounds = 0;; rounds++) {
		bool any = false;

		for (unsigned i = 0; i < s->count; i++)
			any = follow_all(&s->devices[i]) || any;
		if (!any)
			break;
		if (rounds > 100)
			fail(s, "they follow moved records for ever");
		talk_all(s, r);
	}
	dump(&s->devices[0], &want);
	for (unsigned i = 1; i < s->count; i++)
		check_same(s, &want, &s->devices[i]);
	check_loss(s);
	deliver_late(s, late, r);
	check_same(s, &want, late);
	for (unsigned i = 0; i < s->count; i++)
		side_talk(late, &s->devices[i], r, UINT32_MAX);
	for (unsigned i = 1; i < s->count; i++)
		side_talk(&s->devices[0], &s->devices[i], r, UINT32_MAX);
	for (unsigned i = 0; i <= s->count; i++) {
		if (!db_is_acked(s->devices[i].db))
			fail(s, "%s thinks that it is behind", s->devices[i].dir);
	}
}
