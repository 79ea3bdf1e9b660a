/*
 * Down the stairs: nodes that changed elsewhere appear in the local namespace, in the same batch that
 * applies the change, and the kernel is told to forget what it knew.
 */
#include "core/log.h"
#include "core/db_chunks.h"
#include "fs/bytes.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From the root, without a slash in front. NULL when dir is nowhere, or its path is too long for a system call. */
static char *path_of(struct vfs *v, struct txn *t, uint64_t dir)
{
	char path[PATH_MAX];
	size_t at = sizeof(path) - 1;

	path[at] = 0;
	while (dir != VFS_ROOT_INO) {
		const struct inode *i = ns_get(v, t, dir);
		size_t n = i && i->parent ? strlen(i->name) : 0;

		if (n == 0 || at < n + 1)
			return NULL;
		if (path[at])
			path[--at] = '/';
		at -= n;
		memcpy(path + at, i->name, n);
		dir = i->parent;
	}
	return xstrdup(path + at);
}

/* A name that is new stands for nothing the kernel could take it for. */
static bool takes_away(const struct vfs_notice *n)
{
	return n->kind == NOTICE_DELETE || n->kind == NOTICE_MOVE;
}

void vfs_told(struct vfs *v, const struct vfs_notice *list, size_t count)
{
	db_enter(v->db);
	for (size_t k = 0; k < count; k++) {
		if (list[k].name && takes_away(&list[k]))
			untold_told(&v->untold, list[k].parent, list[k].name);
	}
	db_leave(v->db);
	mutex_lock(&v->queue_lock);
	v->names_told++;
	cond_broadcast(&v->queue_changed);
	mutex_unlock(&v->queue_lock);
}

/* like: without paths, the names borrowed. */
static void queue(struct vfs *v, struct txn *t, const struct vfs_notice *like)
{
	struct vfs_notice n = *like;

	if (takes_away(&n))
		untold_add(&v->untold, n.parent, n.name);
	n.dir = n.parent ? path_of(v, t, n.parent) : NULL;
	n.name = xstrdup(n.name ? n.name : "");
	if (n.to_name) {
		n.to_dir = path_of(v, t, n.to_parent);
		n.to_name = xstrdup(n.to_name);
	}
	mutex_lock(&v->queue_lock);
	if ((v->notice_count & (v->notice_count - 1)) == 0)
		v->notices = xreallocarray(v->notices, v->notice_count ? v->notice_count * 2 : 1,
					   sizeof(*v->notices));
	v->notices[v->notice_count++] = n;
	v->notices_queued++;
	if (v->notice_count == 1)
		cond_broadcast(&v->queue_changed);
	mutex_unlock(&v->queue_lock);
}

/*
 * What the kernel never looked up it does not remember, and nobody watches: a watch keeps its inode, and an
 * inode the directories above it.
 */
static bool is_known(const struct inode *i)
{
	return i && (i->lookups || i->opens || i->ino == VFS_ROOT_INO);
}

static void notice_inode(struct vfs *v, struct txn *t, enum vfs_notice_kind kind, struct inode *i)
{
	const struct inode *parent = i->parent ? ns_get(v, t, i->parent) : NULL;

	if (!is_known(i) && !is_known(parent))
		return;
	if (kind == NOTICE_MODIFY)
		i->notices++;
	queue(v, t,
	      &(struct vfs_notice){.kind = kind,
				   .mode = i->mode,
				   .ino = i->ino,
				   .parent = i->parent,
				   .name = i->name});
}

void project_modified(struct vfs *v, struct txn *t, struct inode *i)
{
	notice_inode(v, t, NOTICE_MODIFY, i);
}

/* i appeared at, or is about to be gone from, (parent, name). */
static void notice_entry(struct vfs *v, struct txn *t, const struct vfs_notice *entry,
			 const struct inode *i)
{
	const struct inode *parent = ns_get(v, t, entry->parent);
	struct vfs_notice n = *entry;

	n.mode = i->mode;
	n.ino = i->ino;
	if (is_known(parent) || is_known(i))
		queue(v, t, &n);
}

/* i was at (from, name) and is where it is now. */
static void notice_move(struct vfs *v, struct txn *t, const struct inode *from, char *name,
			const struct inode *i)
{
	const struct inode *to = ns_get(v, t, i->parent);

	if (is_known(from) || is_known(to) || is_known(i))
		queue(v, t,
		      &(struct vfs_notice){.kind = NOTICE_MOVE,
					   .mode = i->mode,
					   .ino = i->ino,
					   .parent = from->ino,
					   .name = name,
					   .to_parent = i->parent,
					   .to_name = i->name});
}

static struct timespec from_ms(uint64_t ms)
{
	return (struct timespec){.tv_sec = (time_t)(ms / 1000),
				 .tv_nsec = (long)(ms % 1000) * 1000000};
}

/* Names of dir changed and the kernel did not do it: see vfs_dir_keep_cache(). */
static void behind_the_kernel(struct inode *dir)
{
	dir->listing_kept = false;
	dir->names_changed_ms = monotonic_ms();
}

static void take_out_leftover(struct vfs *v, struct txn *t, struct inode *dir);

/* The primary name leaves an inode that has others. */
static void split_off(struct vfs *v, struct txn *t, struct inode *i, struct inode *parent)
{
	AUTO(free_ptr) char *name = xstrdup(i->name);

	ns_unlink(v, t, parent, name, i);
	behind_the_kernel(parent);
	(void)links_promote(v, t, i);
	notice_entry(
		v, t,
		&(struct vfs_notice){
			.kind = NOTICE_DELETE, .parent = parent->ino, .name = name, .linked = true},
		i);
	notice_inode(v, t, NOTICE_ATTR, i);
	take_out_leftover(v, t, parent);
}

/* Takes the primary name away; what is open stays readable, what is local in a directory stays in it. */
static void take_out(struct vfs *v, struct txn *t, struct inode *i)
{
	struct inode *parent = i->parent ? ns_get(v, t, i->parent) : NULL;

	if (S_ISDIR(i->mode) && !ns_is_empty(v, t, i->ino)) {
		ns_unbind(v, t, i); /* publish_revive() brings it back when something is put in */
		return;
	}
	if (parent && i->link_count > 0) {
		split_off(v, t, i, parent);
		return;
	}
	if (parent) {
		AUTO(free_ptr) char *name = xstrdup(i->name);

		ns_unlink(v, t, parent, name, i);
		behind_the_kernel(parent);
		notice_entry(v, t,
			     &(struct vfs_notice){
				     .kind = NOTICE_DELETE, .parent = parent->ino, .name = name},
			     i);
	}
	ns_remove(v, t, i);
	ns_release(v, i);
	if (parent)
		take_out_leftover(v, t, parent);
}

/* A directory whose record is gone was only waiting for its last entry. */
static void take_out_leftover(struct vfs *v, struct txn *t, struct inode *dir)
{
	if (!dir->bound && !dir->local && dir->ino != VFS_ROOT_INO && dir->parent &&
	    !id_is_zero(&dir->node) && ns_is_empty(v, t, dir->ino))
		take_out(v, t, dir);
}

static void apply_attributes(struct inode *i, const struct node_info *n)
{
	if (S_ISREG(i->mode)) {
		mode_t x = n->exec ? (i->mode & 0444) >> 2 : 0;

		i->mode = (i->mode & ~(mode_t)0111) | x;
	}
}

static struct inode *make_inode(struct vfs *v, struct txn *t, const struct node_info *n)
{
	mode_t mode = n->kind == NODE_DIR	? S_IFDIR | 0755
		      : n->kind == NODE_SYMLINK ? S_IFLNK | 0777
						: S_IFREG | 0644;
	struct inode *i = ns_new(v, t, mode);

	i->size = n->size;
	i->atime = i->mtime = i->ctime = from_ms(n->modified_ms ? n->modified_ms : txn_now_ms(t));
	apply_attributes(i, n);
	ns_bind(v, t, i, &n->id);
	return i;
}

/* A name here that is not a record yet: a file just being written becomes a save of the same record. */
static bool adopt(struct vfs *v, struct txn *t, struct inode *there, const struct node_info *n)
{
	bool same_kind = (n->kind == NODE_DIR && S_ISDIR(there->mode)) ||
			 (n->kind == NODE_RECORD && S_ISREG(there->mode));

	if (there->bound || there->local || !same_kind)
		return false;
	ns_bind(v, t, there, &n->id);
	if (n->kind == NODE_RECORD) {
		if (!there->dirty && !there->own_bytes && bytes_load(v, t, there) == 0)
			there->dirty = true;
		there->base_empty = true;
		publish_mark(v, t, there, there->opens ? LONG_OPEN_MS : 0);
	}
	return true;
}

/* Moves whoever occupies the name aside, under a name that nothing else has. */
static void put_aside(struct vfs *v, struct txn *t, struct inode *parent, struct inode *there)
{
	AUTO(free_ptr) char *old = xstrdup(there->name);
	char hex[ID_HEX_BYTES];
	char name[256];

	id_hex(&there->node, hex);
	(void)snprintf(name, sizeof(name), "%.200s~%s%llx", old, hex + 24,
		       (unsigned long long)there->ino);
	ns_unlink(v, t, parent, old, there);
	behind_the_kernel(parent);
	ns_link(v, t, parent, name, there);
	behind_the_kernel(parent);
	notice_move(v, t, parent, old, there);
	if (S_ISREG(there->mode) && !there->local)
		publish_mark(v, t, there, 0); /* unless it is put back at once, it is a record here */
	log_info("a local file gave way to a record of the same name");
}

static void put_in(struct vfs *v, struct txn *t, struct inode *i, struct inode *parent, char *name)
{
	if (i->parent == parent->ino && i->name && strcmp(i->name, name) == 0)
		return;
	struct inode *old = i->parent ? ns_get(v, t, i->parent) : NULL;
	AUTO(free_ptr) char *old_name = old ? xstrdup(i->name) : NULL;

	if (old) {
		ns_unlink(v, t, old, old_name, i);
		behind_the_kernel(old);
	}
	i->parent = 0;
	ns_link(v, t, parent, name, i);
	behind_the_kernel(parent);
	if (!old) {
		notice_entry(v, t,
			     &(struct vfs_notice){
				     .kind = NOTICE_CREATE, .parent = parent->ino, .name = name},
			     i);
		return;
	}
	notice_move(v, t, old, old_name, i);
	take_out_leftover(v, t, old);
}

static void take_content(struct vfs *v, struct txn *t, struct inode *i, const struct node_info *n)
{
	if (i->lookups || i->opens || n->raw)
		bases_keep(v, t, &n->id, i->opens || i->dirty || i->unpublished);
	else
		v->epoch++;
	if (i->dirty || i->own_bytes)
		return; /* being written here: its save will be merged with this */
	bool hold = shown_hold(v, t, i, n->size);
	i->size = n->size;
	i->mtime = from_ms(n->modified_ms);
	i->ctime = ns_now();
	if (!hold)
		shown_switch(v, t, i);
}

static struct inode *show(struct vfs *v, struct txn *t, const struct node_info *n, struct inode *i,
			  struct inode *parent)
{
	uint64_t occupant = 0;
	bool is_there = i && i->parent == parent->ino && strcmp(i->name, n->name) == 0;

	if (!is_there && ns_find(v, t, parent->ino, n->name, &occupant) == 0) {
		struct inode *there = ns_get(v, t, occupant);

		if (there && links_select(v, t, there, parent, n->name) < 0)
			there = NULL;
		if (there && !i && adopt(v, t, there, n))
			return NULL;
		if (there)
			put_aside(v, t, parent, there);
		if (there == i && i) /* it was another name of the same file */
			(void)links_select_node(v, t, i, &n->id);
	}
	if (!i)
		i = make_inode(v, t, n);
	put_in(v, t, i, parent, n->name);
	return i;
}

/* A save here is under way: it will be merged with what came from elsewhere, and brings back what was deleted. */
static bool is_being_written(const struct inode *i)
{
	return i->dirty || (i->own_bytes && i->unpublished);
}

/* A name of several whose record is no longer the same as the others' (links.c). */
static bool must_split(struct txn *t, const struct inode *i, const struct node_info *n,
		       bool content_changed)
{
	AUTO(buf_fini) struct buf old = {0};
	bool chunked = false;

	if (i->link_count == 0 || !txn_is_remote(t) || is_being_written(i))
		return false;
	if (S_ISREG(i->mode) && n->exec != !!(i->mode & S_IXUSR))
		return true;
	return content_changed && (db_old_shown(t, &n->id, &old, &chunked) < 0 ||
				   !publish_shows(t, &n->id, buf_slice(&old), chunked));
}

void project_node(void *ctx, struct txn *t, const struct node_info *n, bool content_changed)
{
	struct vfs *v = ctx;
	uint64_t ino = ns_ino_of(v, t, &n->id);
	struct inode *i = ino ? ns_get(v, t, ino) : NULL;
	uint64_t up = ns_ino_of(v, t, &n->parent);
	struct inode *parent = up ? ns_get(v, t, up) : NULL;

	if (i && links_select_node(v, t, i, &n->id) < 0)
		log_warn("the content of a linked file could not be read");
	if (txn_is_remote(t)) {
		mutex_lock(&v->queue_lock);
		if (!v->sync_soon)
			cond_broadcast(&v->sync_changed);
		v->sync_soon = true;
		mutex_unlock(&v->queue_lock);
	}
	if (!n->visible || !parent) {
		if (!i)
			return;
		if (!is_being_written(i))
			take_out(v, t, i);
		else /* being written here: the save brings the record back, unless a crash prevents it */
			store_put(db_store(t), SLICE_STR("Lu"), SLICE("", 0));
		return;
	}
	if (i && must_split(t, i, n, content_changed)) {
		take_out(v, t, i);
		i = NULL;
	}
	bool fresh = !i;
	i = show(v, t, n, i, parent);
	if (!i)
		return;
	if (content_changed && !fresh && txn_is_remote(t) && !S_ISDIR(i->mode))
		take_content(v, t, i, n);
	if (S_ISREG(i->mode) && txn_is_remote(t)) {
		mode_t before = i->mode;

		apply_attributes(i, n);
		if (before != i->mode)
			notice_inode(v, t, NOTICE_ATTR, i);
	}
	ns_put(v, t, i);
}

/* ---- catching up -------------------------------------------------------------------------------- */

struct dirs {
	struct vfs *v;
	struct txn *t;
	struct id *ids;
	size_t count;
};

static void show_child(void *ctx, const struct node_info *n)
{
	struct dirs *d = ctx;

	uint64_t ino = ns_ino_of(d->v, d->t, &n->id);
	struct inode *i = ino ? ns_get(d->v, d->t, ino) : NULL;

	if (i && i->link_count > 0 && !is_being_written(i) && links_differ(d->t, i, &n->id) &&
	    links_select_node(d->v, d->t, i, &n->id) == 0)
		take_out(d->v, d->t, i);
	project_node(d->v, d->t, n, false);
	ino = ns_ino_of(d->v, d->t, &n->id);
	i = ino ? ns_get(d->v, d->t, ino) : NULL;
	if (i && S_ISREG(i->mode) && !i->dirty && !i->own_bytes && i->size != n->size) {
		i->size = n->size;
		ns_put(d->v, d->t, i);
	}
	if (n->kind != NODE_DIR)
		return;
	d->ids = xreallocarray(d->ids, d->count + 1, sizeof(*d->ids));
	d->ids[d->count++] = n->id;
}

static bool add_bound(void *ctx, struct slice key, struct slice value)
{
	struct dirs *d = ctx;
	struct reader k = reader_init(key);

	(void)value;
	(void)reader_take(&k, 2);
	d->ids = xreallocarray(d->ids, d->count + 1, sizeof(*d->ids));
	d->ids[d->count++] = id_read(&k);
	return true;
}

/* What is shown here and has been deleted meanwhile. */
static int hide_deleted(struct vfs *v, struct txn *t)
{
	struct dirs d = {.v = v, .t = t};
	int r = store_scan(db_store(t), SLICE_STR("Ln"), SLICE("", 0), add_bound, &d);
	struct id root = db_root(v->db);

	for (size_t k = 0; r == 0 && k < d.count; k++) {
		struct node_info n = {0};

		if (id_eq(&d.ids[k], &root) || db_node(t, &d.ids[k], &n) < 0)
			continue;
		if (!n.visible)
			project_node(v, t, &n, false);
		node_info_fini(&n);
	}
	free(d.ids);
	return r;
}

int project_all(struct vfs *v)
{
	struct txn *t = db_begin(v->db);
	struct dirs d = {.v = v, .t = t};
	int r = 0;

	d.ids = xcalloc(1, sizeof(*d.ids));
	d.ids[d.count++] = db_root(v->db);
	for (size_t k = 0; r == 0 && k < d.count; k++) {
		struct id dir = d.ids[k];

		r = db_children(t, &dir, show_child, &d);
	}
	free(d.ids);
	if (r == 0)
		r = hide_deleted(v, t);
	db_set_seen(t);
	store_delete(db_store(t), SLICE_STR("Lu"));
	return ns_end(v, t, r);
}
