/* What was deleted, found by what was ever put into a directory. */
#include "core/db_i.h"
#include "core/follow.h"
#include "core/history.h"
#include "core/idset.h"

#include <stdlib.h>
#include <string.h>

/** Nodes looked at under one lock, and in search of something deleted below a directory. */
#define NODES_AT_ONCE 256
#define SEARCH_MAX 20000

struct found {
	struct node_info *items;
	size_t count;
};

static bool is_dead_in(struct txn *t, const struct txn_node *tn, const struct id *dir)
{
	struct id now;

	return tn->n.kind != NODE_NONE && tn->n.place.lamport && !tn->n.indexed &&
	       id_eq(&tn->n.parent, dir) && follow_is(t, &tn->n.id, &now) < 0;
}

/* 1 = something below a living directory was deleted, or there is much to look through; 0 = nothing. */
static int holds_deleted(struct db *db, const struct id *dir)
{
	struct idset queue = {0};
	size_t looked = 0;
	int r = 0;

	(void)idset_add(&queue, dir);
	for (size_t i = 0; r == 0 && i < queue.count; i++) {
		struct id at = queue.items[i];
		struct idset ids = {0};
		struct txn *t = db_begin(db);

		r = history_ever_in(t, &at, &ids);
		for (size_t k = 0; r == 0 && k < ids.count && looked < SEARCH_MAX; k++, looked++) {
			const struct txn_node *tn = txn_node(t, &ids.items[k]);

			if (!tn)
				r = -EIO;
			else if (is_dead_in(t, tn, &at))
				r = 1;
			else if (tn->n.kind == NODE_DIR && id_eq(&tn->n.parent, &at))
				(void)idset_add(&queue, &tn->n.id);
		}
		db_abort(t);
		idset_fini(&ids);
		if (looked >= SEARCH_MAX)
			r = 1;
	}
	idset_fini(&queue);
	return r;
}

static void keep(struct txn *t, const struct txn_node *tn, struct found *f)
{
	if ((f->count & (f->count - 1)) == 0)
		f->items = xreallocarray(f->items, f->count ? f->count * 2 : 1, sizeof(*f->items));
	tree_info(t, tn, &f->items[f->count++]);
}

/* By name, what lives first, and then what was changed last. */
static int by_name(const void *a, const void *b)
{
	const struct node_info *x = a;
	const struct node_info *y = b;
	int c = strcmp(x->name, y->name);

	if (c == 0 && x->visible != y->visible)
		return x->visible ? -1 : 1;
	return c ? c : opid_cmp(y->rev, x->rev);
}

static int look(struct db *db, const struct id *dir, const struct idset *ids, struct found *f)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ids->count;) {
		struct txn *t = db_begin(db);

		for (size_t n = 0; r == 0 && n < NODES_AT_ONCE && i < ids->count; n++, i++) {
			const struct txn_node *tn = txn_node(t, &ids->items[i]);

			if (!tn)
				r = -EIO;
			else if (id_eq(&tn->n.parent, dir) &&
				 (is_dead_in(t, tn, dir) || tree_is_shown(tn)))
				keep(t, tn, f);
		}
		db_abort(t);
	}
	return r;
}

int history_deleted(struct db *db, const struct id *dir, bool dirs,
		    void (*fn)(void *ctx, const struct node_info *n), void *ctx)
{
	struct idset ids = {0};
	struct found f = {0};
	struct txn *t = db_begin(db);
	int r = history_ever_in(t, dir, &ids);

	db_abort(t);
	if (r == 0)
		r = look(db, dir, &ids, &f);
	if (f.count > 1)
		qsort(f.items, f.count, sizeof(*f.items), by_name);
	for (size_t i = 0; i < f.count; i++) {
		const struct node_info *n = &f.items[i];
		bool first = i == 0 || strcmp(f.items[i - 1].name, n->name) != 0;

		if (r < 0 || !first)
			continue;
		int show = !n->visible;
		if (n->visible && dirs && n->kind == NODE_DIR)
			show = holds_deleted(db, &n->id);
		if (show > 0)
			fn(ctx, n);
		r = show < 0 ? show : r;
	}
	for (size_t i = 0; i < f.count; i++)
		node_info_fini(&f.items[i]);
	free(f.items);
	idset_fini(&ids);
	return r;
}
