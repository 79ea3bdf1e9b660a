/* Bringing back what was deleted, as what it was, or, in another collection, as a node that goes on from it. */
#include "core/db_chunks.h"
#include "core/db_i.h"
#include "core/follow.h"
#include "core/idset.h"
#include "core/restore.h"

#include <stdlib.h>
#include <string.h>

/** Something to bring back; directories come before what is in them. */
struct item {
	struct id was;
	struct id parent; /**< where it is going to be */
	struct buf name;
};

struct queue {
	struct item *items;
	size_t count;
};

static void queue_fini(struct queue *q)
{
	for (size_t i = 0; i < q->count; i++)
		buf_fini(&q->items[i].name);
	free(q->items);
}

static void add(struct queue *q, const struct id *was, const struct id *parent, struct slice name)
{
	if ((q->count & (q->count - 1)) == 0)
		q->items = xreallocarray(q->items, q->count ? q->count * 2 : 1, sizeof(*q->items));
	struct item *it = &q->items[q->count++];
	*it = (struct item){.was = *was, .parent = *parent};
	buf_slice_append(&it->name, name);
}

/* What was deleted in a directory, and did not move away before. */
static int add_deleted(struct txn *t, const struct id *dir, const struct id *now, struct queue *q)
{
	struct idset ids = {0};
	int r = history_ever_in(t, dir, &ids);

	for (size_t i = 0; r == 0 && i < ids.count; i++) {
		const struct txn_node *tn = txn_node(t, &ids.items[i]);
		struct id moved;

		if (!tn)
			r = -EIO;
		else if (tn->n.kind != NODE_NONE && !node_is_alive(&tn->n) &&
			 id_eq(&tn->n.parent, dir) && follow_is(t, &tn->n.id, &moved) < 0)
			add(q, &tn->n.id, now, buf_slice(&tn->n.name));
	}
	idset_fini(&ids);
	return r;
}

/* What the other node said last. Content that is not all here does not come along: it stays deleted. */
static int copy(struct txn *t, const struct txn_node *was, const struct id *node, size_t *bytes)
{
	AUTO(buf_fini) struct buf content = {0};
	bool chunked = false;
	int r = follow_put_origin(t, node, &was->n.id);

	if (r < 0 || was->n.kind == NODE_DIR)
		return r;
	r = db_shown(t, &was->n.id, &content, &chunked);
	*bytes += content.len;
	if (r == 0)
		r = chunked ? db_put_chunks(t, node, NULL, buf_slice(&content))
			    : db_put_content(t, node, NULL, buf_slice(&content));
	if (r >= 0 && was->n.kind == NODE_RECORD)
		r = db_put_exec(t, node, was->n.exec);
	return r < 0 ? r : 0;
}

static int bring_back(struct txn *t, const struct item *it, struct queue *q, size_t *bytes)
{
	const struct txn_node *was = txn_node(t, &it->was);
	AUTO(buf_fini) struct buf name = {0};
	const struct id parent = it->parent; /* the queue grows meanwhile */
	const struct id from = it->was;
	struct id node = from;

	if (!was)
		return -EIO;
	if (node_is_alive(&was->n))
		return 0; /* somebody was quicker */
	bool same = db_same_stream(t, &from, &parent);
	buf_slice_append(&name, buf_slice(&it->name));
	if (!same)
		(void)db_new_id(t, &parent, buf_str(&name), was->n.kind, 0, &node);
	int r = db_put_node(t, &node, was->n.kind, &parent, buf_str(&name));
	if (r == 0 && !same)
		r = copy(t, was, &node, bytes);
	if (r == 0 && was->n.kind == NODE_DIR)
		r = add_deleted(t, &from, &node, q);
	return r;
}

static int check(struct txn *t, const struct id *node, const struct id *dir, const char *name)
{
	const struct txn_node *tn = txn_node(t, node);
	struct id there;

	if (!tn)
		return -EIO;
	if (node_is_alive(&tn->n) || !tn->known)
		return -ENOENT;
	return db_child(t, dir, name, &there) == 0 ? -EEXIST : 0;
}

int restore_deleted(struct db *db, const struct id *node, const struct id *dir, const char *name)
{
	AUTO(queue_fini) struct queue q = {0};
	size_t i = 0;
	int r = 0;

	add(&q, node, dir, SLICE_STR(name));
	while (r == 0 && i < q.count) {
		struct txn *t = db_begin_command(db, "blaze restore");
		size_t first = i;
		size_t bytes = 0;

		if (i == 0)
			r = check(t, node, dir, name);
		for (; r == 0 && i < q.count && i - first < RESTORE_RECORDS && bytes < RESTORE_BYTES;
		     i++)
			r = bring_back(t, &q.items[i], &q, &bytes);
		if (r == 0)
			r = db_commit(t);
		else
			db_abort(t);
	}
	return r;
}
