/*
 * What a transaction does to the tree, as those who watch hear of it: the difference between what was shown before and what
 * is shown now. Several changes to a node that come in one transaction are one event, the last one's.
 */
#include "core/db_i.h"

#include <stdlib.h>
#include <string.h>

/* In the middle of a transaction, the store still says what was there before. */
static bool load_old(struct txn *t, const struct id *node, struct node *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	return store_get(t->store, key_node(&key, 'n', node), &value) == 0 &&
	       node_decode(node, buf_slice(&value), ret) == 0;
}

static char *old_path(struct txn *t, const struct node *old)
{
	char *path = xasprintf("%.*s", (int)old->shown.len, (const char *)old->shown.data);
	struct id at = old->parent;

	for (unsigned depth = 0; depth < DB_DEPTH_MAX && !id_eq(&at, &t->db->root); depth++) {
		AUTO(node_fini) struct node up = {0};
		AUTO(free_ptr) char *tail = path;

		if (!load_old(t, &at, &up))
			return STEAL(tail);
		path = xasprintf("%.*s/%s", (int)up.shown.len, (const char *)up.shown.data, tail);
		at = up.parent;
	}
	return path;
}

static char *new_path(struct txn *t, const struct txn_node *tn)
{
	struct buf path = {0};

	db_path_of(t, tn, &path);
	return buf_str(&path);
}

/* Where it was before it was moved to another collection; NULL if it was not. */
static char *origin_path(struct txn *t, const struct txn_node *tn)
{
	AUTO(node_fini) struct node origin = {0};

	return !id_is_zero(&tn->n.origin) && load_old(t, &tn->n.origin, &origin)
		       ? old_path(t, &origin)
		       : NULL;
}

/* By whom and when: the last operation on it in this transaction, else what made others of it happen. */
static struct watch_event event_of(struct txn *t, const struct txn_node *tn, enum watch_kind kind)
{
	struct stamp s = tn->news.id.lamport ? tn->news : t->news.id.lamport ? t->news : tn->n.last;

	return (struct watch_event){
		.kind = kind,
		.time_ms = s.hlc >> 16,
		.actor = s.id.actor,
		.local = s.id.actor == t->db->actor,
		.node = tn->n.kind,
		.rev = s.id,
	};
}

static void add(struct txn *t, struct watch_event *e, char *path)
{
	e->path = path;
	watch_batch_add(&t->watched, e);
}

static void add_difference(struct txn *t, const struct txn_node *tn, const struct node *old)
{
	bool was = old->visible && !old->absent;
	bool is = tree_is_shown(tn);
	bool moved = was && is &&
		     (!id_eq(&old->parent, &tn->n.parent) ||
		      !slice_eq(buf_slice(&old->shown), buf_slice(&tn->n.shown)));
	bool changed = was && is && tn->n.kind != NODE_DIR &&
		       (tn->content_changed || old->exec != tn->n.exec);

	if (was && !is) {
		struct watch_event e = event_of(t, tn, WATCH_DELETED);

		add(t, &e, old_path(t, old));
	}
	if (is && !was) {
		struct watch_event e = event_of(t, tn, WATCH_CREATED);

		e.from = origin_path(t, tn);
		add(t, &e, new_path(t, tn));
	}
	if (moved) {
		struct watch_event e = event_of(t, tn, WATCH_MOVED);

		e.from = old_path(t, old);
		add(t, &e, new_path(t, tn));
	}
	if (changed) {
		struct watch_event e = event_of(t, tn, WATCH_CHANGED);

		add(t, &e, new_path(t, tn));
	}
	if (is && tn->n.conflicts != (was ? old->conflicts : 0)) {
		struct watch_event e = event_of(t, tn, WATCH_CONFLICT);

		e.count = tn->n.conflicts;
		add(t, &e, new_path(t, tn));
	}
}

void txn_watch_node(struct txn *t, const struct txn_node *tn)
{
	AUTO(node_fini) struct node old = {0};

	if (!watch_is_on(t->db->watch) || id_eq(&tn->n.id, &t->db->root))
		return;
	if (tn->stored && !load_old(t, &tn->n.id, &old))
		return;
	add_difference(t, tn, &old);
}

void txn_watch_held(struct txn *t, const struct id *dir, struct stamp stamp, uint64_t count,
		    uint64_t all)
{
	if (!watch_is_on(t->db->watch))
		return;
	struct watch_event e = {
		.kind = WATCH_HELD,
		.time_ms = stamp.hlc >> 16,
		.actor = stamp.id.actor,
		.node = NODE_DIR,
		.count = count,
		.all = all,
	};
	const struct txn_node *tn = txn_node(t, dir);
	if (tn)
		add(t, &e, new_path(t, tn));
}

static void add_member(struct watch_batch *b, enum watch_kind kind, const struct member *m,
		       uint64_t by)
{
	struct watch_event e = {
		.kind = kind,
		.time_ms = watch_now_ms(),
		.actor = m->device.actor,
		.by = by,
		.count = m->role,
	};

	watch_batch_add(b, &e);
}

void txn_watch_members(struct db *db, const struct evaluation *e)
{
	struct watch_batch batch = {0};

	for (size_t i = 0; watch_is_on(db->watch) && i < e->member_count; i++) {
		const struct member *now = &e->members[i];
		const struct member *before = member_find(db, now->device.actor);
		bool was = before && member_is_current(before);
		bool is = member_is_current(now);

		if (is && !was)
			add_member(&batch, WATCH_ADMITTED, now, now->admitted_by);
		else if (was && !is)
			add_member(&batch, WATCH_REMOVED, now, now->removal.actor);
		else if (is && now->role != before->role)
			add_member(&batch, WATCH_ROLE, now, 0);
	}
	watch_tell(db->watch, &batch);
}

void txn_watch_committed(struct txn *t)
{
	watch_tell(t->db->watch, &t->watched);
}
