/*
 * Directories that take each other's place: `mv x x.old; mv x.new x`, as `rsync`, `cp -a` with an edit, and programs
 * that install themselves do it. Identity hangs on the name, as it does for files: what comes to the name `x` goes on
 * as the directory that was there, and a file in it as the record of the same path there, as if it had been renamed
 * over that one. So its history goes on, and what others write into these records, or put into the directory, without
 * knowing of the swap, meets the new content.
 *
 *   at x     the node that x was; below it, directories likewise, and files with the bytes of x.new
 *   at x.old a new directory; a file whose record stays at x is a new record, after the hold, and what only the old
 *            directory had goes on there as what it was
 *   x.new    ends, if it was a record; what only the new directory had goes on as what it was
 *
 * A directory is one that was swapped out if it left its name a moment ago for one that is made from it, or looks
 * temporary: a program's name for a backup. `mv draft final; mv template draft` is no swap. Who left is known in memory
 * only: after a crash, or with more than SWAP_ENTRIES_MAX below, the new directory brings new records along.
 */
#include "core/log.h"
#include "fs/bytes.h"
#include "fs/localname.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** How long the name of a directory that was moved away waits for another one. */
#define SWAP_MS 60000

static void forget_left(struct vfs *v, uint64_t parent, const char *name)
{
	for (size_t k = 0; k < LEFT_MAX; k++) {
		if (v->left[k].parent == parent && strcmp(v->left[k].name, name) == 0)
			v->left[k].due_ms = 0;
	}
}

void swap_left(struct vfs *v, const struct inode *parent, const char *name, const struct inode *dir)
{
	bool variant = parent->ino == dir->parent && localname_is_variant(dir->name, name);
	struct left *l = &v->left[v->next_left];

	forget_left(v, parent->ino, name); /* who left last counts, for a backup's name or not */
	if ((!variant && !localname_is_temporary(dir->name)) || strlen(name) >= sizeof(l->name))
		return;
	*l = (struct left){
		.parent = parent->ino, .ino = dir->ino, .due_ms = monotonic_ms() + SWAP_MS};
	(void)snprintf(l->name, sizeof(l->name), "%s", name);
	v->next_left = (v->next_left + 1) % LEFT_MAX;
}

static bool is_below(struct vfs *v, struct txn *t, const struct inode *dir,
		     const struct inode *above)
{
	while (dir && dir->ino != above->ino && dir->ino != VFS_ROOT_INO)
		dir = ns_get(v, t, dir->parent);
	return !dir || dir->ino == above->ino;
}

/* The directory that left this name last, if it is still where it went. */
static struct inode *find_left(struct vfs *v, struct txn *t, const struct inode *parent,
			       const struct inode *fresh)
{
	for (size_t k = 1; k <= LEFT_MAX; k++) {
		const struct left *l = &v->left[(v->next_left + LEFT_MAX - k) % LEFT_MAX];

		if (l->due_ms <= monotonic_ms() || l->parent != parent->ino ||
		    strcmp(l->name, fresh->name) != 0)
			continue;
		struct inode *i = ns_get(v, t, l->ino);
		const struct inode *at = i && !i->gone ? ns_get(v, t, i->parent) : NULL;
		bool usable = at && i != fresh && S_ISDIR(i->mode) && i->bound && !i->local &&
			      publish_wants(at, i->name) &&
			      db_same_stream(t, &i->node, &parent->node) &&
			      db_same_stream(t, &i->node, &at->node) && !is_below(v, t, i, fresh) &&
			      !is_below(v, t, fresh, i);

		return usable ? i : NULL;
	}
	return NULL;
}

/* ---- what is in both ------------------------------------------------------------------------------ */

struct name {
	uint64_t ino;
	char *name;
};

struct names {
	struct name *items;
	size_t count;
};

static void names_fini(struct names *n)
{
	for (size_t k = 0; k < n->count; k++)
		free(n->items[k].name);
	free(n->items);
	*n = (struct names){0};
}

static bool add_name(void *ctx, struct slice key, struct slice value)
{
	struct names *n = ctx;
	struct reader k = reader_init(key);
	struct reader r = reader_init(value);

	(void)reader_take(&k, 2 + sizeof(uint64_t));
	size_t len = reader_left(&k);
	struct name one = {.ino = reader_be64(&r), .name = xmalloc(len + 1)};
	reader_copy(&k, one.name, len);
	one.name[len] = 0;
	if ((n->count & (n->count - 1)) == 0)
		n->items = xreallocarray(n->items, n->count ? n->count * 2 : 1, sizeof(*n->items));
	n->items[n->count++] = one;
	return true;
}

static int list_names(struct txn *t, uint64_t dir, struct names *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	return store_scan(db_store(t), ns_key(&key, 'd', dir), SLICE("", 0), add_name, ret);
}

/* Two directories of the same path below the two that change places. */
struct couple {
	struct inode *fresh;
	struct inode *old;
	struct id node; /**< what the fresh one was; zero = nothing */
};

struct swap {
	struct vfs *v;
	struct txn *t;
	pid_t pid;
	struct couple *couples;
	size_t count;
};

static void add_couple(struct swap *s, struct inode *fresh, struct inode *old)
{
	if ((s->count & (s->count - 1)) == 0)
		s->couples =
			xreallocarray(s->couples, s->count ? s->count * 2 : 1, sizeof(*s->couples));
	s->couples[s->count++] = (struct couple){.fresh = fresh, .old = old};
}

/* Whether that is not too much for one transaction. */
static bool is_small(struct vfs *v, struct txn *t, const struct inode *a, const struct inode *b)
{
	struct names all = {0};
	int r = list_names(t, a->ino, &all);

	r = r == 0 ? list_names(t, b->ino, &all) : r;
	for (size_t k = 0; r == 0 && k < all.count && all.count <= SWAP_ENTRIES_MAX; k++) {
		const struct inode *i = ns_get(v, t, all.items[k].ino);

		if (i && S_ISDIR(i->mode))
			r = list_names(t, i->ino, &all);
	}
	bool small = r == 0 && all.count <= SWAP_ENTRIES_MAX;
	names_fini(&all);
	return small;
}

/* ---- the swap ------------------------------------------------------------------------------------- */

/* The fresh file is the old one's record from here on, as if it had been renamed over it. */
static int take_record(struct swap *s, struct inode *fresh, struct inode *old)
{
	struct vfs *v = s->v;
	struct txn *t = s->t;
	const struct id record = old->node;
	const struct id was = fresh->node;
	const bool ends = fresh->bound;
	int r = bytes_own(v, t, old);

	if (r == 0 && (ends || fresh->dirty || !fresh->own_bytes))
		r = bytes_own(v, t, fresh);
	if (r < 0)
		return r;
	fresh->mover = s->pid;
	const struct saver who = {.pid = s->pid, .writer = fresh->writer, .otherwise = fresh->epoch};
	ns_unbind(v, t, old);
	old->was = (struct id){{0}};
	publish_mark(v, t, old, HOLD_MS);
	bases_note(v, fresh, &record, &who, true);
	fresh->was = (struct id){{0}};
	fresh->base_empty = false;
	ns_bind(v, t, fresh, &record);
	publish_mark(v, t, fresh, 0);
	return ends ? db_delete(t, &was) : 0;
}

/* What the other side has not stays what it is, below dir; and what was nothing yet becomes something. */
static int keep_node(struct swap *s, struct inode *dir, const char *name, struct inode *i)
{
	int r = links_select(s->v, s->t, i, dir, name);

	if (r < 0 || i->local)
		return r;
	if (i->bound && db_same_stream(s->t, &i->node, &dir->node))
		return db_move_into(s->t, &i->node, &dir->node);
	if (i->bound) /* collections change places */
		r = publish_withdraw(s->v, s->t, i);
	return r == 0 ? publish_subtree(s->v, s->t, i) : r;
}

static int swap_child(struct swap *s, const struct couple *c, const struct name *n)
{
	struct inode *i = ns_get(s->v, s->t, n->ino);
	struct inode *other = NULL;
	uint64_t ino = 0;

	if (!i)
		return -EIO;
	i->local = c->fresh->local || localname_is_local(n->name);
	if (ns_find(s->v, s->t, c->old->ino, n->name, &ino) == 0)
		other = ns_get(s->v, s->t, ino);
	bool both = other && !i->local && other->bound && i->link_count == 0 &&
		    other->link_count == 0 && other != i;
	if (both && S_ISDIR(i->mode) && S_ISDIR(other->mode)) {
		add_couple(s, i, other);
		return 0;
	}
	if (both && S_ISREG(i->mode) && S_ISREG(other->mode))
		return take_record(s, i, other);
	return keep_node(s, c->fresh, n->name, i);
}

/* What only the old directory has goes along with it. */
static int swap_rest(struct swap *s, const struct couple *c, const struct name *n)
{
	struct inode *i = ns_get(s->v, s->t, n->ino);
	uint64_t ino = 0;

	if (!i)
		return -EIO;
	if (S_ISDIR(i->mode) && ns_find(s->v, s->t, c->fresh->ino, n->name, &ino) == 0) {
		const struct inode *other = ns_get(s->v, s->t, ino);

		if (other && S_ISDIR(other->mode) && !other->local) /* its turn comes */
			return 0;
	}
	return i->bound || i->link_count ? keep_node(s, c->old, n->name, i) : 0;
}

static int for_each_name(struct swap *s, const struct couple *c, const struct inode *dir,
			 int (*fn)(struct swap *s, const struct couple *c, const struct name *n))
{
	struct names n = {0};
	int r = list_names(s->t, dir->ino, &n);

	for (size_t k = 0; r == 0 && k < n.count; k++)
		r = fn(s, c, &n.items[k]);
	names_fini(&n);
	return r;
}

static int swap_dir(struct swap *s, size_t at)
{
	struct couple *c = &s->couples[at];
	struct inode *up = ns_get(s->v, s->t, c->fresh->parent);
	struct inode *old_up = ns_get(s->v, s->t, c->old->parent);
	const struct id node = c->old->node;

	if (!up || !old_up)
		return -EIO;
	publish_unmark(s->v, s->t, c->fresh);
	if (c->fresh->bound)
		c->node = c->fresh->node;
	ns_unbind(s->v, s->t, c->old);
	c->fresh->was = c->old->was = (struct id){{0}};
	c->fresh->local = false;
	ns_bind(s->v, s->t, c->fresh, &node);
	int r = db_keep_node(s->t, &node, NODE_DIR, &up->node, c->fresh->name);
	if (r == 0)
		r = publish_new_dir(s->v, s->t, old_up, c->old);
	const struct couple now = *c; /* the list may move */
	if (r == 0)
		r = for_each_name(s, &now, now.fresh, swap_child);
	if (r == 0 && now.old->bound)
		r = for_each_name(s, &now, now.old, swap_rest);
	return r;
}

int swap_in(struct vfs *v, struct txn *t, struct inode *fresh, struct inode *parent, pid_t pid)
{
	struct inode *old = find_left(v, t, parent, fresh);
	struct swap s = {.v = v, .t = t, .pid = pid};
	int r = 0;

	if (!old)
		return 0;
	if (!is_small(v, t, fresh, old)) {
		log_info("a directory of more than %d names took another one's place: its records are new",
			 SWAP_ENTRIES_MAX / 2);
		return 0;
	}
	if (fresh->bound && !db_same_stream(t, &fresh->node, &parent->node))
		r = publish_withdraw(v, t, fresh);
	add_couple(&s, fresh, old);
	for (size_t k = 0; r == 0 && k < s.count; k++)
		r = swap_dir(&s, k);
	/* Those within first. What is left in them nobody sees here: its chunks are on their way. */
	for (size_t k = s.count; r == 0 && k > 0; k--) {
		const struct couple *c = &s.couples[k - 1];

		if (!id_is_zero(&c->node))
			r = db_merge_dir(t, &c->node, &c->fresh->node);
	}
	if (r == 0)
		forget_left(v, parent->ino, fresh->name);
	free(s.couples);
	return r < 0 ? r : 1;
}
