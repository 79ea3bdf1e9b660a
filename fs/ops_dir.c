/*
 * Listings. An offset is the index of the entry to come next, so a listing can be continued anywhere.
 *
 * readdirplus counts as a lookup for every entry the kernel really receives, but for "." and "..": the
 * count of the one that did not fit any more is given back.
 */
#include "fs/ops.h"

#include <string.h>

#define LISTING_BYTES_MAX ((size_t)1 << 20)
/** No entry of a readdirplus is shorter: its attributes alone are longer. */
#define ENTRY_BYTES_MIN 88

/** A listing in the making. */
struct listing {
	fuse_req_t req;
	struct ops_ctx *ops;
	uint64_t ino;
	struct vfs_dir *dir; /**< unless the directory is a special one */
	bool plus;
	char *bytes;
	size_t len;
	size_t cap;
	uint64_t *counted; /**< inodes whose lookup count the kernel will know about */
	size_t counted_len;
};

void ops_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ops_ctx *o = ops_of(req);
	struct special_dir *special = NULL;
	struct vfs_dir *dir = NULL;
	int r = special_owns(ino) ? special_opendir(o->special, ino, &special)
				  : vfs_opendir(o->vfs, ino, &dir);

	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	if (special)
		ops_open(o, OPS_SPECIAL_DIR, special, fi);
	else {
		fi->cache_readdir = 1;
		fi->keep_cache = vfs_dir_keep_cache(dir);
		ops_open(o, OPS_DIR, dir, fi);
	}
	if (fuse_reply_open(req, fi) < 0)
		ops_close(o, fi);
}

void ops_dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	ops_close(ops_of(req), fi);
	ops_reply(req, 0);
}

void ops_dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	if (special_owns(ino))
		ops_reply(req, 0);
	else
		ops_reply_synced(req);
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/** 1 = added, 0 = no room. */
static int add_plain(struct listing *l, const struct vfs_dirent *d, uint64_t next)
{
	struct stat st = {.st_ino = d->ino, .st_mode = d->type};
	size_t n = fuse_add_direntry(l->req, l->bytes + l->len, l->cap - l->len, d->name, &st,
				     (off_t)next);

	if (n > l->cap - l->len)
		return 0;
	l->len += n;
	return 1;
}

/** 1 = added (or gone meanwhile), 0 = no room, or an error. */
static int add_plus(struct listing *l, const struct vfs_dirent *d, uint64_t next)
{
	struct fuse_entry_param e = {.attr = {.st_ino = d->ino, .st_mode = d->type}};
	bool dot = is_dot(d->name);
	struct stat st = {0};

	if (!dot) {
		int r = special_owns(l->ino) ? special_lookup(l->ops->special, l->ino, d->name, &st)
					     : vfs_lookup_listed(l->ops->vfs, l->dir, next - 1, &st);
		if (r == -ENOENT)
			return 1;
		if (r < 0)
			return r;
		ops_entry(&st, &e);
	}
	size_t n = fuse_add_direntry_plus(l->req, l->bytes + l->len, l->cap - l->len, d->name, &e,
					  (off_t)next);
	bool fits = n <= l->cap - l->len;
	bool counts = !dot;

	if (fits) {
		l->len += n;
		if (counts)
			l->counted[l->counted_len++] = st.st_ino;
	} else if (counts) {
		ops_forget(l->ops, st.st_ino, 1);
	}
	return fits;
}

static int fill(struct listing *l, uint64_t index, const struct fuse_file_info *fi)
{
	for (;; index++) {
		struct vfs_dirent d;
		int r = special_owns(l->ino) ? special_readdir(ops_handle(fi), index, &d)
					     : vfs_readdir(l->ops->vfs, l->dir, index, &d);

		if (r > 0)
			r = l->plus ? add_plus(l, &d, index + 1) : add_plain(l, &d, index + 1);
		if (r <= 0)
			return r;
	}
}

/** Nobody received the listing: gives back every count it would have carried. */
static void take_back(const struct listing *l)
{
	for (size_t i = 0; i < l->counted_len; i++)
		ops_forget(l->ops, l->counted[i], 1);
}

static void list(struct listing *l, size_t size, off_t off, const struct fuse_file_info *fi)
{
	l->ops = ops_of(l->req);
	l->dir = special_owns(l->ino) ? NULL : ops_handle(fi);
	l->cap = size < LISTING_BYTES_MAX ? size : LISTING_BYTES_MAX;
	l->bytes = xmalloc(l->cap);
	if (l->plus)
		l->counted = xreallocarray(NULL, l->cap / ENTRY_BYTES_MIN + 1, sizeof(*l->counted));

	int r = fill(l, (uint64_t)off, fi);
	/* What was found before an error is worth more than the error, which comes back next time. */
	if (r < 0 && l->len == 0)
		ops_reply(l->req, r);
	else if (fuse_reply_buf(l->req, l->bytes, l->len) < 0 && l->plus)
		take_back(l);
	free_ptr(&l->bytes);
	free_ptr(&l->counted);
}

void ops_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct listing l = {.req = req, .ino = ino};

	list(&l, size, off, fi);
}

void ops_dir_readplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	struct listing l = {.req = req, .ino = ino, .plus = true};

	list(&l, size, off, fi);
}
