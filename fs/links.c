/*
 * Hard links: the further names of an inode.
 *
 * An inode has one primary name, the one that i->parent, i->name, i->node and i->bound speak of. Its other
 * names are links. links_select() lets a link and the primary name change places, so that whoever works on
 * one name of an inode works on its primary name.
 *
 * On the network a record has one name. So each name that travels is bound to a record of its own, and a
 * save through any of them is a change of each. Between operations, for an inode with several names:
 *  - the records of its bound names have the same bytes, unless the inode waits to be published;
 *  - its content is under 'b' if the primary name is not bound, or if it waits to be published.
 * A record that gets other bytes from elsewhere leaves: its name becomes an inode of its own (project.c).
 */
#include "core/name.h"
#include "fs/bulk.h"
#include "fs/localname.h"
#include "fs/vfs_i.h"

#include <stdlib.h>
#include <string.h>

enum {
	FLAG_BOUND = 1,
};

/* ---- the names in memory and in the store ------------------------------------------------------- */

static struct slice link_key(struct buf *key, const struct inode *i, const struct link *l)
{
	(void)ns_key(key, 'k', i->ino);
	buf_be64(key, l->parent);
	buf_append(key, l->name, strlen(l->name));
	return buf_slice(key);
}

static void store_link(struct txn *t, const struct inode *i, const struct link *l)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	buf_u8(&value, l->bound ? FLAG_BOUND : 0);
	if (l->bound)
		id_write(&value, &l->node);
	store_put(db_store(t), link_key(&key, i, l), buf_slice(&value));
}

static void forget_link(struct txn *t, const struct inode *i, const struct link *l)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	store_delete(db_store(t), link_key(&key, i, l));
}

static struct link *append(struct inode *i)
{
	if ((i->link_count & (i->link_count - 1)) == 0)
		i->links = xreallocarray(i->links, i->link_count ? i->link_count * 2 : 1,
					 sizeof(*i->links));
	struct link *l = &i->links[i->link_count++];
	*l = (struct link){0};
	return l;
}

static bool load_link(void *ctx, struct slice key, struct slice value)
{
	struct inode *i = ctx;
	struct reader k = reader_init(key);
	struct reader r = reader_init(value);
	struct link *l = append(i);

	(void)reader_take(&k, 10);
	l->parent = reader_be64(&k);
	size_t n = reader_left(&k);
	l->name = xmalloc(n + 1);
	reader_copy(&k, l->name, n);
	l->name[n] = 0;
	l->bound = reader_u8(&r) & FLAG_BOUND;
	if (l->bound)
		l->node = id_read(&r);
	return true;
}

void links_fini(struct inode *i)
{
	for (size_t k = 0; k < i->link_count; k++)
		free(i->links[k].name);
	free(i->links);
	i->links = NULL;
	i->link_count = 0;
}

int links_load(struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	links_fini(i);
	if (S_ISDIR(i->mode) || i->nlink < 2)
		return 0;
	return store_scan(db_store(t), ns_key(&key, 'k', i->ino), SLICE("", 0), load_link, i);
}

void links_add(struct txn *t, struct inode *i, uint64_t parent, const char *name)
{
	struct link *l = append(i);

	l->parent = parent;
	l->name = xstrdup(name);
	store_link(t, i, l);
}

struct link links_at(const struct inode *i, size_t k)
{
	if (k > 0)
		return i->links[k - 1];
	return (struct link){
		.parent = i->parent, .name = i->name, .node = i->node, .bound = i->bound};
}

/* ---- choosing the primary name ------------------------------------------------------------------ */

/* Whether anything of this name may travel, as vfs_mknod() and the like decide it for a new one. */
static bool is_local(struct vfs *v, struct txn *t, const struct inode *i)
{
	const struct inode *parent = ns_get(v, t, i->parent);

	return !parent || parent->local || localname_is_local(i->name) ||
	       !(S_ISREG(i->mode) || S_ISLNK(i->mode));
}

/* What was primary is overwritten. */
static void set_primary(struct vfs *v, struct txn *t, struct inode *i, const struct link *l)
{
	i->name = l->name;
	i->parent = l->parent;
	i->bound = l->bound;
	if (l->bound) /* else it goes on naming the node that is read */
		i->node = l->node;
	i->local = is_local(v, t, i);
	ns_put(v, t, i);
}

static void change_places(struct vfs *v, struct txn *t, struct inode *i, size_t k)
{
	struct link l = i->links[k];

	forget_link(t, i, &l);
	i->links[k] = links_at(i, 0);
	store_link(t, i, &i->links[k]);
	set_primary(v, t, i, &l);
}

/* The record says the same: what is stored beside it is not needed. */
static int give_up_own(struct vfs *v, struct txn *t, struct inode *i)
{
	struct rendering now = {0};
	bool loaded = i->loaded;
	int r = db_shown(t, &i->node, &now.bytes, &now.chunked);

	if (r == 0)
		bytes_published(v, t, i, &now);
	buf_fini(&now.bytes);
	if (r < 0)
		return r;
	if (!loaded)
		bytes_drop(v, i);
	ns_put(v, t, i);
	return 0;
}

/* Content is where the primary name asks for it. */
static int settle_content(struct vfs *v, struct txn *t, struct inode *i)
{
	bool dirty = i->dirty;
	bool loaded = i->loaded || i->file;
	int r = 0;

	if (!S_ISREG(i->mode) && !S_ISLNK(i->mode))
		return 0;
	if (i->bound && i->own_bytes && !i->dirty && !i->unpublished)
		return give_up_own(v, t, i);
	if (i->bound || i->own_bytes)
		return 0;
	/* A change from elsewhere may be on its way into the record: the file keeps what it had. */
	if (!loaded && txn_is_remote(t)) {
		r = bytes_load_old(v, t, i);
	}
	if (r == 0)
		r = bytes_load(v, t, i);
	if (r == 0)
		r = bytes_store(v, t, i);
	if (r < 0)
		return r;
	i->dirty = dirty;
	if (!loaded)
		bytes_drop(v, i);
	return 0;
}

static int select_kth(struct vfs *v, struct txn *t, struct inode *i, size_t k)
{
	change_places(v, t, i, k);
	return settle_content(v, t, i);
}

static bool is_named(const struct link *l, uint64_t parent, const char *name)
{
	return l->parent == parent && strcmp(l->name, name) == 0;
}

int links_select_node(struct vfs *v, struct txn *t, struct inode *i, const struct id *node)
{
	for (size_t k = 0; k < i->link_count; k++) {
		if (i->links[k].bound && id_eq(&i->links[k].node, node))
			return select_kth(v, t, i, k);
	}
	return 0;
}

int links_select(struct vfs *v, struct txn *t, struct inode *i, const struct inode *dir,
		 const char *name)
{
	const struct link first = links_at(i, 0);
	struct id node;

	if (S_ISDIR(i->mode) || is_named(&first, dir->ino, name))
		return 0;
	for (size_t k = 0; k < i->link_count; k++) {
		if (is_named(&i->links[k], dir->ino, name))
			return select_kth(v, t, i, k);
	}
	if (!name_is_plain(SLICE_STR(name)) && dir->bound) {
		/* Shown escaped: ns_find() knew it by its node. */
		(void)db_new_id(t, &dir->node, name, S_ISLNK(i->mode) ? NODE_SYMLINK : NODE_RECORD,
				0, &node);
		return links_select_node(v, t, i, &node);
	}
	/* A link of the time before they were remembered. */
	links_add(t, i, dir->ino, name);
	return i->parent ? select_kth(v, t, i, i->link_count - 1) : links_promote(v, t, i);
}

int links_promote(struct vfs *v, struct txn *t, struct inode *i)
{
	size_t k = 0;

	ns_unbind(v, t, i);
	if (i->link_count == 0)
		return 0;
	while (k + 1 < i->link_count && !i->links[k].bound)
		k++;
	struct link l = i->links[k];
	forget_link(t, i, &l);
	i->links[k] = i->links[--i->link_count];
	free(i->name);
	set_primary(v, t, i, &l);
	return settle_content(v, t, i);
}

/* ---- what is done to every record --------------------------------------------------------------- */

int links_put_exec(struct txn *t, const struct inode *i)
{
	int r = 0;

	for (size_t k = 0; r >= 0 && k <= i->link_count; k++) {
		const struct link l = links_at(i, k);

		if (l.bound)
			r = db_put_exec(t, &l.node, i->mode & S_IXUSR);
	}
	return r;
}

bool links_differ(struct txn *t, const struct inode *i, const struct id *node)
{
	AUTO(buf_fini) struct buf one = {0};
	bool chunked = false;

	for (size_t k = 0; k <= i->link_count; k++) {
		const struct link l = links_at(i, k);

		if (l.bound && !id_eq(&l.node, node))
			return db_shown(t, node, &one, &chunked) < 0 ||
			       !publish_shows(t, &l.node, buf_slice(&one), chunked);
	}
	return false;
}

void links_bind(struct vfs *v, struct txn *t, struct inode *i, size_t k, const struct id *node)
{
	if (k == 0) {
		ns_bind(v, t, i, node);
		return;
	}
	struct link *l = &i->links[k - 1];
	ns_put_node(v, t, node, i->ino);
	l->node = *node;
	l->bound = true;
	store_link(t, i, l);
}

/* ---- publishing a file with several names ------------------------------------------------------- */

/** One round of publishing. */
struct round {
	struct inode *i;
	bool force;
	bool travels;	 /**< a name is bound, or should be */
	bool half;	 /**< a name that travels says that the content is half written */
	bool held;	 /**< a name looks temporary: it waits */
	bool *fresh;	 /**< names that were bound in this round */
	bool merged;	 /**< the content has become another one by being published: */
	struct saving s; /**< what it is */
	struct buf room; /**< where that is, unless the inode's memory has it */
};

static int look_at_names(struct vfs *v, struct txn *t, struct round *r)
{
	for (size_t k = 0; k <= r->i->link_count; k++) {
		const struct link l = links_at(r->i, k);
		struct inode *parent = ns_get(v, t, l.parent);

		if (!parent)
			return -EIO;
		if (!parent->local && !parent->bound && !localname_is_local(l.name)) {
			int err = publish_revive(v, t, parent);

			if (err < 0)
				return err;
		}
		if (!l.bound && !publish_wants(parent, l.name))
			continue;
		r->travels = true;
		r->half = r->half || publish_is_half_written(v, t, r->i, l.name);
	}
	return 0;
}

static void bind_names(struct vfs *v, struct txn *t, struct round *r)
{
	struct inode *i = r->i;

	for (size_t k = 0; k <= i->link_count; k++) {
		const struct link l = links_at(i, k);
		const struct inode *parent = ns_get(v, t, l.parent);
		struct id node;

		if (l.bound || !publish_wants(parent, l.name))
			continue;
		if (!r->force && publish_is_temporary(v, t, l.parent, l.name)) {
			r->held = true;
			continue;
		}
		publish_node_for(v, t, i, parent, l.name, &node);
		links_bind(v, t, i, k, &node);
		r->fresh[k] = true;
	}
}

static const struct doc *base_of(struct vfs *v, struct txn *t, const struct round *r, size_t k)
{
	const struct inode *i = r->i;
	const struct link l = links_at(i, k);

	if (!r->fresh[k])
		return bases_of(v, t, i, &l.node, &r->s);
	const struct saver s = {.pid = i->mover, .writer = i->writer, .otherwise = i->epoch};
	struct bases found;
	bases_find(v, &l.node, &s, &found);
	return bases_choose(v, t, &l.node, &found, &r->s);
}

/* Puts the content into one record; takes over what it was merged into. */
static int put_one(struct vfs *v, struct txn *t, struct round *r, size_t k, const struct doc *base)
{
	struct rendering merged = {0};
	struct inode *i = r->i;
	const struct link l = links_at(i, k);
	const struct inode *parent = ns_get(v, t, l.parent);

	program_publishes(v, t, i);

	r->s.base = base;
	r->s.exec = i->mode & S_IXUSR;
	int err = parent ? publish_put(t, &l, parent, &r->s, &merged) : -EIO;
	doc_destroy(STEAL(r->s.own));
	if (err == 0 &&
	    (merged.chunked != r->s.chunked || !slice_eq(buf_slice(&merged.bytes), r->s.bytes))) {
		buf_fini(&r->room);
		r->room = merged.bytes;
		r->s.bytes = buf_slice(&r->room);
		r->s.chunked = merged.chunked;
		merged.bytes = (struct buf){0};
		r->merged = true;
		project_modified(v, t, i);
	}
	buf_fini(&merged.bytes);
	return err;
}

/* It may have been deleted elsewhere while this save was under way. */
static int put_place(struct vfs *v, struct txn *t, const struct link *l)
{
	const struct inode *parent = ns_get(v, t, l->parent);

	return parent ? db_keep_node(t, &l->node, NODE_RECORD, &parent->node, l->name) : -EIO;
}

/* Whether the record has to be given the content: a save, or it does not say the same. */
static bool is_behind(struct txn *t, const struct round *r, size_t k)
{
	const struct link l = links_at(r->i, k);

	return !publish_shows(t, &l.node, r->s.bytes, r->s.chunked);
}

/*
 * First every record takes in what was saved, and what one had got from elsewhere meanwhile goes into the
 * content; then all get that.
 */
static int put_contents(struct vfs *v, struct txn *t, struct round *r)
{
	struct inode *i = r->i;
	struct doc *empty = i->base_empty ? doc_create() : NULL;
	bool saved = i->dirty || i->own_bytes;
	int err = 0;

	for (size_t k = 0; err == 0 && k <= i->link_count; k++) {
		const struct link l = links_at(i, k);

		if (l.bound && (r->fresh[k] || i->dirty || (saved && is_behind(t, r, k))))
			err = put_one(v, t, r, k, k == 0 && empty ? empty : base_of(v, t, r, k));
		else if (l.bound && saved)
			err = put_place(v, t, &l);
	}
	for (size_t k = 0; err == 0 && (saved || r->merged) && k <= i->link_count; k++) {
		if (links_at(i, k).bound && is_behind(t, r, k))
			err = put_one(v, t, r, k, NULL);
	}
	doc_destroy(empty);
	return err;
}

/* All names wait, or none travels. */
static int keep_here(struct vfs *v, struct txn *t, const struct round *r)
{
	struct inode *i = r->i;
	int err = i->dirty || !i->own_bytes ? bytes_store(v, t, i) : 0;

	if (err < 0)
		return err;
	if (r->half || r->held)
		publish_mark(v, t, i, i->bound ? LONG_OPEN_MS : HOLD_MS);
	else
		publish_unmark(v, t, i);
	return 0;
}

/* Binds what is to be a record, so that the primary name is one if any is. */
static void bind_all(struct vfs *v, struct txn *t, struct round *r)
{
	struct inode *i = r->i;

	bind_names(v, t, r);
	for (size_t k = 0; !i->bound && k < i->link_count; k++) {
		if (!i->links[k].bound)
			continue;
		change_places(v, t, i, k);
		r->fresh[0] = r->fresh[k + 1];
		r->fresh[k + 1] = false;
	}
}

static int publish_round(struct vfs *v, struct txn *t, struct round *r)
{
	struct inode *i = r->i;
	int err = look_at_names(v, t, r);

	if (err < 0)
		return err;
	if (r->travels && i->size > MANIFEST_FILE_BYTES_MAX)
		return publish_stay_here(v, t, i);
	r->half = r->half && !r->force;
	if (!r->half)
		bind_all(v, t, r);
	if (r->half || !i->bound)
		return keep_here(v, t, r);
	err = bulk_content(v, t, i, &r->room, &r->s);
	if (err > 0)
		return 0;
	if (err == 0)
		err = put_contents(v, t, r);
	if (err < 0)
		return err;
	struct rendering now = {.chunked = r->s.chunked};
	buf_slice_append(&now.bytes, r->s.bytes); /* the inode's own memory goes with its content */
	publish_done(v, t, i, &now);
	buf_fini(&now.bytes);
	if (r->held)
		publish_mark(v, t, i, HOLD_MS);
	return 0;
}

int links_publish(struct vfs *v, struct txn *t, struct inode *i, bool force)
{
	AUTO(free_ptr) bool *fresh = xcalloc(i->link_count + 1, sizeof(*fresh));
	struct round r = {.i = i, .force = force, .fresh = fresh};
	int err = bytes_load(v, t, i);

	if (err == 0)
		err = publish_round(v, t, &r);
	buf_fini(&r.room);
	return err;
}

int links_made(struct vfs *v, struct txn *t, struct inode *i, struct inode *dir, const char *name)
{
	bool waits = publish_is_temporary(v, t, dir->ino, name);
	int r = 0;

	if (!S_ISREG(i->mode) && !S_ISLNK(i->mode))
		return 0;
	if (!dir->local && !dir->bound && !localname_is_local(name))
		r = publish_revive(v, t, dir);
	if (r < 0 || !publish_wants(dir, name))
		return r;
	for (size_t k = 0; k <= i->link_count; k++) {
		const struct link l = links_at(i, k);

		waits = waits || (l.parent == dir->ino && localname_is_variant(name, l.name));
	}
	if (i->held_ms) /* the new name gets what the record says by now */
		shown_switch(v, t, i);
	if (!i->dirty && !i->unpublished) {
		bases_reset(i, v->epoch);
	}
	if (S_ISLNK(i->mode))
		publish_mark(v, t, i, HOLD_SYMLINK_MS);
	else if (waits)
		publish_mark(v, t, i, HOLD_MS);
	else if (!i->unpublished || i->writers == 0) /* else its writer will close it */
		return publish_file(v, t, i, false);
	return 0;
}
