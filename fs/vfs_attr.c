/* Attributes; the extended ones are in vfs_xattr.c. */
#include "fs/bulk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int vfs_getattr(struct vfs *v, uint64_t ino, struct stat *ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);

	if (i) {
		ns_stat(i, ret);
		ns_release(v, i);
	}
	db_abort(t);
	return i ? 0 : -ENOENT;
}

#define TIMES (VFS_SET_ATIME | VFS_SET_MTIME | VFS_SET_ATIME_NOW | VFS_SET_MTIME_NOW)

static void set_times(struct inode *i, const struct stat *to, unsigned set)
{
	struct timespec now = ns_now();

	if (set & VFS_SET_ATIME_NOW)
		i->atime = now;
	else if (set & VFS_SET_ATIME)
		i->atime = to->st_atim;
	if (set & VFS_SET_MTIME_NOW)
		i->mtime = now;
	else if (set & VFS_SET_MTIME)
		i->mtime = to->st_mtim;
	i->ctime = now;
}

/* Supplementary groups are not part of a request; the rare one who wants them reads them up. */
static bool in_group(const struct vfs_caller *c, gid_t gid)
{
	AUTO(free_ptr) char *path = xasprintf("/proc/%d/status", (int)c->pid);
	char line[4096];
	bool found = c->gid == gid;
	FILE *f = found ? NULL : fopen(path, "re");

	while (f && !found && fgets(line, sizeof(line), f)) {
		char *at = line + strlen("Groups:");

		if (strncmp(line, "Groups:", strlen("Groups:")) != 0)
			continue;
		for (char *end = at; !found; at = end) {
			unsigned long one = strtoul(at, &end, 10);

			if (end == at)
				break;
			found = one == gid;
		}
	}
	if (f)
		(void)fclose(f);
	return found;
}

void vfs_drop_set_ids(const struct vfs_caller *c, struct inode *i)
{
	if (S_ISDIR(i->mode) || !(i->mode & (S_ISUID | S_ISGID)))
		return;
	i->mode &= ~(mode_t)S_ISUID;
	/* Without the group's x it means mandatory locking, and only an outsider takes it away. */
	if (i->mode & S_IXGRP || (c->uid != 0 && !in_group(c, i->gid)))
		i->mode &= ~(mode_t)S_ISGID;
}

uint64_t vfs_handle_epoch(const struct vfs *v, const struct vfs_handle *h)
{
	return h && (h->flags & O_ACCMODE) == O_RDWR ? h->epoch : v->epoch;
}

/* What a first unpublished write is based on: see bases.c. */
static void begin_write(struct vfs *v, struct inode *i, const struct vfs_handle *h, pid_t pid,
			bool whole)
{
	if (i->dirty || i->unpublished)
		return;
	const struct saver s = {.pid = pid, .writer = pid, .otherwise = vfs_handle_epoch(v, h)};
	if (whole && i->bound)
		bases_note(v, i, &i->node, &s, true);
	else
		bases_reset(i, shown_epoch(v, i));
	shown_forget(v, i);
}

int vfs_resize(struct vfs *v, struct txn *t, struct inode *i, uint64_t size,
	       const struct vfs_handle *h, pid_t pid)
{
	int r = size > INT64_MAX ? -EFBIG : 0;

	if (r == 0)
		r = bytes_resize(v, t, i, size);
	if (r < 0)
		return r;
	begin_write(v, i, h, pid, size == 0);
	i->dirty = true;
	i->writes++;
	i->wrote_ms = monotonic_ms();
	i->size = size;
	i->mtime = i->ctime = ns_now();
	return 0;
}

/* What the kernel leaves to us with FUSE_HANDLE_KILLPRIV_V2; see init_patch.h. */
static void drop_set_ids_for(const struct vfs_caller *c, struct inode *i, unsigned set)
{
	bool owner = set & (VFS_SET_UID | VFS_SET_GID);
	bool resized = (set & VFS_SET_SIZE) && c->uid != 0;

	if (owner || resized || (set == 0 && (c->uid == 0 || c->uid == i->uid)))
		vfs_drop_set_ids(c, i);
}

static int set_size(struct vfs *v, struct txn *t, struct inode *i, const struct vfs_handle *h,
		    uint64_t size, const struct vfs_caller *c)
{
	if (S_ISREG(i->mode))
		quiet_wrote(v, i, c->pid);
	if (size < i->size)
		store_frees_space(db_store(t));
	bool closed = !h && i->writers == 0;

	if (closed || v->no_open)
		ns_touch(v, i); /* before the size changes: on failure it changes back */
	int r = S_ISREG(i->mode) ? vfs_resize(v, t, i, size, h, c->pid) : -EINVAL;
	if (r < 0)
		return r;
	program_wrote(v, i, c->pid);
	if (closed)
		return publish_file(v, t, i, false); /* truncate(2): no close will come */
	publish_written(v, t, i);
	return quiet_store(v, t, i);
}

struct attributes {
	uint64_t ino;
	struct vfs_handle *h; /**< or NULL */
	const struct stat *to;
	unsigned set;
};

static int set_attributes(struct vfs *v, const struct vfs_caller *c, const struct attributes *a,
			  struct stat *ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, a->ino);
	int r = !i ? -ENOENT : db_is_read_only(v->db) ? -EROFS : 0;

	bool same_size = i && a->set == VFS_SET_SIZE && !a->h && (uint64_t)a->to->st_size == i->size;
	if (v->no_open && same_size && i->size == 0)
		same_size = false; /* most likely an open with O_TRUNC, which looks the same */

	if (r == 0 && (a->set & VFS_SET_SIZE) && !same_size)
		r = set_size(v, t, i, a->h, (uint64_t)a->to->st_size, c);
	if (r == 0) {
		drop_set_ids_for(c, i, a->set);
		if (a->set & VFS_SET_MODE)
			i->mode = (i->mode & S_IFMT) | (a->to->st_mode & 07777);
		if (a->set & VFS_SET_UID)
			i->uid = a->to->st_uid;
		if (a->set & VFS_SET_GID)
			i->gid = a->to->st_gid;
		if (a->set & TIMES)
			set_times(i, a->to, a->set);
		if (!same_size) /* truncate(2), unlike ftruncate, may have nothing to do */
			i->ctime = ns_now();
		ns_put(v, t, i);
	}
	if (r == 0 && (a->set & VFS_SET_MODE) && S_ISREG(i->mode)) {
		program_acts(v, t, c->pid);
		r = links_put_exec(t, i);
	}
	if (r >= 0)
		ns_stat(i, ret);
	/* What goes with content that is not closed yet is closed with it; times alone may be lost, too. */
	bool later = i && !i->file && !i->stored_file &&
		     ((i->writers > 0 && i->unpublished && !v->no_open) || (a->set & ~TIMES) == 0);
	return later ? ns_end_later(v, t, r < 0 ? r : 0) : ns_end(v, t, r < 0 ? r : 0);
}

/* Content in chunks is about to be cut off somewhere: it becomes a file, which is in use until it is. */
static int unpack(struct vfs *v, uint64_t ino, bool *ret_pinned)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);

	if (i && !*ret_pinned)
		i->opens++;
	*ret_pinned = *ret_pinned || i;
	db_abort(t);
	return i ? bulk_unpack(v, i) : -ENOENT;
}

int vfs_setattr(struct vfs *v, const struct vfs_caller *c, uint64_t ino, struct vfs_handle *h,
		const struct stat *to, unsigned set, struct stat *ret)
{
	const struct attributes a = {.ino = ino, .h = h, .to = to, .set = set};
	bool pinned = false;
	int r = 0;

	do
		r = set_attributes(v, c, &a, ret);
	while (r == -EAGAIN && (r = unpack(v, ino, &pinned)) == 0);
	if (!pinned)
		return r;
	db_enter(v->db);
	struct inode *i = ns_cached(v, ino);
	i->opens--;
	int fd = i->opens == 0 && (r == 0 || i->gone) ? bytes_close(v, i) : -1;
	ns_release(v, i);
	db_leave(v->db);
	close_fd(&fd);
	return r;
}

int vfs_readlink(struct vfs *v, uint64_t ino, struct buf *ret)
{
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	int r = !i ? -ENOENT : !S_ISLNK(i->mode) ? -EINVAL : bytes_load(v, t, i);

	buf_clear(ret);
	/* A record's link may have been safe where it was, and its directory moved since. */
	for (size_t k = 0; r == 0 && k <= i->link_count; k++) {
		const struct link name = links_at(i, k);

		if (name.bound &&
		    !publish_safe_target(v, t, ns_get(v, t, name.parent), buf_slice(&i->data)))
			r = -EACCES;
	}
	if (r == 0) {
		buf_slice_append(ret, buf_slice(&i->data));
		bytes_drop(v, i);
	}
	(void)buf_str(ret);
	db_abort(t);
	return r;
}

int vfs_node(struct vfs *v, uint64_t ino, struct id *ret)
{
	struct txn *t = db_begin(v->db);
	const struct inode *i = ns_get(v, t, ino);
	bool bound = i && i->bound;

	if (bound)
		*ret = i->node;
	db_abort(t);
	return bound ? 0 : -ENOENT;
}
