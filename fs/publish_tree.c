/*
 * Publishing whole directories, and records that go on under another id: what was moved to another collection, or
 * through a name that stays on this device.
 */
#include "core/follow.h"
#include "fs/bytes.h"
#include "fs/localname.h"

#include <stdlib.h>
#include <string.h>

/* ---- what it was -------------------------------------------------------------------------------- */

void publish_leaves(struct inode *i)
{
	if (i->link_count == 0)
		i->was = i->node;
}

/* Whether another device's change has brought the node back since it ended here. */
static bool is_of_others(struct vfs *v, struct txn *t, const struct id *node)
{
	struct node_info n;

	if (db_node(t, node, &n) < 0)
		return false;
	node_info_fini(&n);
	return n.author != db_actor(v->db);
}

int publish_arrived(struct vfs *v, struct txn *t, struct inode *i)
{
	struct id was = i->was;

	i->was = (struct id){{0}};
	if (id_is_zero(&was) || id_eq(&was, &i->node))
		return 0;
	/* Somebody here may have taken its name, and is that record now. */
	bool shown = ns_ino_of(v, t, &was) != 0;
	if (shown && !is_of_others(v, t, &was))
		return 0;
	int r = follow_put_origin(t, &i->node, &was);
	if (r == 0 && !shown)
		r = db_delete(t, &was);
	return r == -ENOENT ? 0 : r;
}

/* ---- whole directories -------------------------------------------------------------------------- */

struct entry {
	uint64_t dir;
	uint64_t ino;
};

struct entries {
	uint64_t dir;
	struct entry *items;
	size_t count;
};

static bool add_entry(void *ctx, struct slice key, struct slice value)
{
	struct entries *e = ctx;
	struct reader r = reader_init(value);

	(void)key;
	e->items = xreallocarray(e->items, e->count + 1, sizeof(*e->items));
	e->items[e->count++] = (struct entry){.dir = e->dir, .ino = reader_be64(&r)};
	return true;
}

static int list_entries(struct txn *t, uint64_t dir, struct entries *e)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	e->dir = dir;
	return store_scan(db_store(t), ns_key(&key, 'd', dir), SLICE("", 0), add_entry, e);
}

/* dir: through which directory it was found. */
static int publish_one(struct vfs *v, struct txn *t, uint64_t dir, struct inode *i)
{
	struct inode *parent = ns_get(v, t, i->parent);

	(void)dir;
	if (!parent)
		return -EIO;
	i->local = parent->local || localname_is_local(i->name);
	ns_put(v, t, i);
	if (S_ISDIR(i->mode))
		return i->bound ? 0 : publish_new_dir(v, t, parent, i);
	if (S_ISLNK(i->mode))
		return publish_symlink(v, t, i);
	if (!S_ISREG(i->mode) || (i->local && i->link_count == 0))
		return 0;
	/* Each file becomes a change of its own: a whole tree in one could be more than can be sent. */
	publish_mark(v, t, i, 0);
	return 0;
}

/* Visits everything below dir, directories before what is in them. */
static int for_each_below(struct vfs *v, struct txn *t, struct inode *dir,
			  int (*fn)(struct vfs *v, struct txn *t, uint64_t dir, struct inode *i))
{
	struct entries e = {0};
	int r = list_entries(t, dir->ino, &e);

	for (size_t k = 0; r == 0 && k < e.count; k++) {
		struct entry at = e.items[k];
		struct inode *i = ns_get(v, t, at.ino);

		if (!i)
			r = -EIO;
		else if (S_ISDIR(i->mode))
			r = list_entries(t, i->ino, &e);
		if (r == 0)
			r = fn(v, t, at.dir, i);
	}
	free(e.items);
	return r;
}

int publish_subtree(struct vfs *v, struct txn *t, struct inode *dir)
{
	publish_unmark(v, t, dir);
	int r = publish_one(v, t, dir->parent, dir);

	return r == 0 ? for_each_below(v, t, dir, publish_one) : r;
}

static int check_closed(struct vfs *v, struct txn *t, uint64_t dir, struct inode *i)
{
	(void)v;
	(void)t;
	(void)dir;
	return i->writers > 0 ? -EBUSY : 0;
}

int publish_held_dir(struct vfs *v, struct txn *t, struct inode *dir, bool force)
{
	int r = force ? 0 : for_each_below(v, t, dir, check_closed);

	if (r != -EBUSY)
		return r == 0 ? publish_subtree(v, t, dir) : r;
	publish_mark(v, t, dir, HOLD_MS);
	return 0;
}

/* The primary name stops being a record. */
static int withdraw_name(struct vfs *v, struct txn *t, struct inode *i)
{
	int r = 0;

	if (!S_ISDIR(i->mode))
		r = bytes_own(v, t, i);
	publish_leaves(i);
	ns_unbind(v, t, i);
	i->node = (struct id){{0}};
	ns_put(v, t, i);
	return r;
}

static int withdraw_one(struct vfs *v, struct txn *t, uint64_t dir, struct inode *i)
{
	int r = i->bound && i->parent == dir ? withdraw_name(v, t, i) : 0;

	for (size_t k = 0; r == 0 && k < i->link_count; k++) {
		if (!i->links[k].bound || i->links[k].parent != dir)
			continue;
		const struct id node = i->links[k].node;

		r = links_select_node(v, t, i, &node);
		r = r == 0 ? withdraw_name(v, t, i) : r;
	}
	return r;
}

int publish_withdraw(struct vfs *v, struct txn *t, struct inode *dir)
{
	struct id node = dir->node;
	int r = withdraw_name(v, t, dir);

	if (r == 0)
		r = for_each_below(v, t, dir, withdraw_one);
	return r == 0 ? db_delete(t, &node) : r;
}
