/* The newest changes of a whole tree: an index of each node's changes, and of what was ever in a directory. */
#include "core/db_i.h"
#include "core/follow.h"
#include "core/history.h"
#include "core/idset.h"

#include <stdlib.h>
#include <string.h>

/** Nodes looked at under one lock. */
#define NODES_AT_ONCE 256

static bool add_child(void *ctx, struct slice key, struct slice value)
{
	struct reader r = reader_init(key);

	(void)value;
	(void)reader_take(&r, 17);
	struct id id = id_read(&r);
	if (!r.bad)
		(void)idset_add(ctx, &id);
	return true;
}

int history_ever_in(struct txn *t, const struct id *dir, struct idset *out)
{
	AUTO(buf_fini) struct buf prefix = {0};

	return store_scan(t->store, key_node(&prefix, 'H', dir), SLICE("", 0), add_child, out);
}

struct recent {
	struct history_mark *heap; /**< the oldest on top */
	struct idset origins;	   /**< nodes that others were before */
	size_t count;
	size_t max;
};

static bool is_older(const struct history_mark *a, const struct history_mark *b)
{
	return a->hlc != b->hlc ? a->hlc < b->hlc : opid_cmp(a->rev, b->rev) < 0;
}

static void swap(struct history_mark *a, struct history_mark *b)
{
	struct history_mark was = *a;

	*a = *b;
	*b = was;
}

static void sift_down(struct recent *r)
{
	for (size_t i = 0;;) {
		size_t least = i;

		for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < r->count; k++) {
			if (is_older(&r->heap[k], &r->heap[least]))
				least = k;
		}
		if (least == i)
			return;
		swap(&r->heap[i], &r->heap[least]);
		i = least;
	}
}

static void keep(struct recent *r, const struct history_mark *m)
{
	if (r->count == r->max) {
		if (r->max == 0 || !is_older(&r->heap[0], m))
			return;
		r->heap[0] = *m;
		sift_down(r);
		return;
	}
	if ((r->count & (r->count - 1)) == 0)
		r->heap = xreallocarray(r->heap, r->count ? r->count * 2 : 1, sizeof(*r->heap));
	size_t i = r->count++;
	r->heap[i] = *m;
	for (; i > 0 && is_older(&r->heap[i], &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&r->heap[i], &r->heap[(i - 1) / 2]);
}

static bool add_mark(void *ctx, struct slice key, struct slice value)
{
	struct reader k = reader_init(key);
	struct recent *r = ctx;
	struct history_mark m;

	(void)value;
	(void)reader_u8(&k);
	m.node = id_read(&k);
	m.followed = idset_find(&r->origins, &m.node) != SIZE_MAX;
	m.hlc = reader_be64(&k);
	m.rev.lamport = reader_be64(&k);
	m.rev.actor = reader_be64(&k);
	if (reader_finish(&k) == 0)
		keep(r, &m);
	return true;
}

/* The node's changes; and if it is a directory that is here, or was last, what was ever in it. */
static int visit(struct txn *t, struct idset *queue, size_t i, struct recent *r)
{
	AUTO(buf_fini) struct buf prefix = {0};
	const struct id id = queue->items[i];
	const struct txn_node *tn = txn_node(t, &id);

	if (!tn)
		return -EIO;
	int err = store_scan(t->store, key_node(&prefix, 'h', &id), SLICE("", 0), add_mark, r);
	struct id was;
	if (err == 0 && follow_was(t, &id, &was) == 0) {
		(void)idset_add(queue, &was);
		(void)idset_add(&r->origins, &was);
	}
	bool is_dir = tn->n.kind == NODE_DIR || id_eq(&id, &t->db->root);
	if (err < 0 || !is_dir || (i > 0 && !tree_is_inside(t, &id, &queue->items[0])))
		return err;
	return history_ever_in(t, &id, queue);
}

static int by_age(const void *a, const void *b)
{
	return is_older(a, b) ? 1 : is_older(b, a) ? -1 : 0;
}

int history_recent(struct db *db, const struct id *node, size_t max, struct history_mark **ret,
		   size_t *ret_count)
{
	struct recent r = {.max = max};
	struct idset queue = {0};
	int err = 0;

	(void)idset_add(&queue, node);
	for (size_t i = 0; err == 0 && i < queue.count;) {
		struct txn *t = db_begin(db);

		for (size_t n = 0; err == 0 && n < NODES_AT_ONCE && i < queue.count; n++, i++)
			err = visit(t, &queue, i, &r);
		db_abort(t);
	}
	idset_fini(&queue);
	idset_fini(&r.origins);
	if (err < 0) {
		free(r.heap);
		return err;
	}
	if (r.count > 1)
		qsort(r.heap, r.count, sizeof(*r.heap), by_age);
	*ret_count = r.count;
	*ret = r.heap;
	return 0;
}
