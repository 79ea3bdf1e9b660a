/* Open directories: a listing taken once, so that it is stable while the directory changes. */
#include "fs/vfs_i.h"

#include <stdlib.h>
#include <string.h>

/** Far longer than an answer takes from here into the kernel's cache. */
#define LISTING_SETTLES_MS 1000

struct listed {
	size_t name; /**< offset into names */
	uint64_t ino;
	mode_t type;
};

struct vfs_dir {
	uint64_t ino;
	uint64_t parent;
	bool keep_cache;
	bool taken;
	struct timespec changed; /**< the directory's ctime when the listing was taken */
	struct buf names;	 /**< NUL-terminated, one after the other */
	struct listed *entries;
	size_t count;
	size_t cap;
};

/*
 * The kernel caches listings, and drops them when it is told that a name changed. But the answer to a READDIR
 * can be older than that notice and be cached after it. So for a moment after such a change, and for one open
 * after that, the cache is emptied at every open.
 */
static bool keep_listing(struct inode *dir)
{
	bool kept = dir->listing_kept;

	dir->listing_kept = kept || monotonic_ms() >= dir->names_changed_ms + LISTING_SETTLES_MS;
	return kept;
}

bool vfs_dir_keep_cache(const struct vfs_dir *d)
{
	return d->keep_cache;
}

int vfs_opendir(struct vfs *v, uint64_t ino, struct vfs_dir **ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	int r = !i ? -ENOENT : !S_ISDIR(i->mode) ? -ENOTDIR : 0;

	if (r == 0) {
		struct vfs_dir *d = xcalloc(1, sizeof(*d));

		d->ino = ino;
		d->keep_cache = keep_listing(i);
		d->parent = i->parent ? i->parent : VFS_ROOT_INO;
		*ret = d;
	}
	db_abort(t);
	return r;
}

static bool add_entry(void *ctx, struct slice key, struct slice value)
{
	struct vfs_dir *d = ctx;
	struct reader r = reader_init(value);

	if (d->count == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 64;
		d->entries = xreallocarray(d->entries, d->cap, sizeof(*d->entries));
	}
	struct listed *e = &d->entries[d->count++];
	e->name = d->names.len;
	e->ino = reader_be64(&r);
	e->type = reader_be32(&r);
	buf_append(&d->names, key.data + 10, key.len - 10);
	buf_u8(&d->names, 0);
	return true;
}

static int take(struct vfs *v, struct vfs_dir *d)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct txn *t = db_begin(v->db);

	buf_clear(&d->names);
	d->count = 0;
	const struct inode *dir = ns_get(v, t, d->ino);
	d->changed = dir ? dir->ctime : (struct timespec){0};
	int r = store_scan(db_store(t), ns_key(&key, 'd', d->ino), SLICE("", 0), add_entry, d);
	db_abort(t);
	d->taken = r == 0;
	return r;
}

int vfs_readdir(struct vfs *v, struct vfs_dir *d, uint64_t index, struct vfs_dirent *ret)
{
	if (index == 0 || !d->taken) {
		int r = take(v, d);

		if (r < 0)
			return r;
	}
	if (index < 2) {
		*ret = (struct vfs_dirent){.name = index == 0 ? "." : "..",
					   .ino = index == 0 ? d->ino : d->parent,
					   .type = S_IFDIR};
		return 1;
	}
	if (index - 2 >= d->count)
		return 0;
	const struct listed *e = &d->entries[index - 2];
	*ret = (struct vfs_dirent){
		.name = (const char *)d->names.data + e->name, .ino = e->ino, .type = e->type};
	return 1;
}

/* Whether no name in the directory changed since the listing was taken. */
static bool is_current(const struct vfs_dir *d, const struct inode *dir)
{
	return dir && !dir->gone && dir->ctime.tv_sec == d->changed.tv_sec &&
	       dir->ctime.tv_nsec == d->changed.tv_nsec;
}

static bool take_listed(struct inode *i, struct stat *ret)
{
	if (!i)
		return false;
	i->lookups++;
	ns_stat(i, ret);
	return true;
}

int vfs_lookup_listed(struct vfs *v, const struct vfs_dir *d, uint64_t index, struct stat *ret)
{
	if (index < 2 || index - 2 >= d->count)
		return -ENOENT;
	const struct listed *e = &d->entries[index - 2];

	/* In memory as a rule: a transaction is begun only for what is not. */
	db_enter(v->db);
	bool found = is_current(d, ns_cached(v, d->ino)) && take_listed(ns_cached(v, e->ino), ret);
	db_leave(v->db);
	if (found)
		return 0;
	struct txn *t = db_begin(v->db);
	found = is_current(d, ns_get(v, t, d->ino)) && take_listed(ns_get(v, t, e->ino), ret);
	db_abort(t);
	return found ? 0 : vfs_lookup(v, -1, d->ino, (const char *)d->names.data + e->name, ret);
}

void vfs_closedir(struct vfs *v, struct vfs_dir *d)
{
	(void)v;
	if (!d)
		return;
	buf_fini(&d->names);
	free(d->entries);
	free(d);
}
