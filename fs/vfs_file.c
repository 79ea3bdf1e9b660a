/*
 * Open files. While a file is written its whole content is in memory; every close stores it, and makes it a
 * change unless it has to wait (publish.c).
 */
#include "fs/vfs_i.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static struct vfs_handle *new_handle(const struct vfs *v, struct inode *i,
				     const struct vfs_caller *c, int flags)
{
	struct vfs_handle *h = xcalloc(1, sizeof(*h));

	/* Pages that a queued notice is about to drop must not be read by a new opener. */
	*h = (struct vfs_handle){.inode = i,
				 .flags = flags,
				 .pid = c->pid,
				 .keep_cache = i->notices == 0,
				 .epoch = shown_epoch(v, i)};
	i->opens++;
	if (writes(flags)) {
		i->writers++;
		i->writer = c->pid;
	} else {
		i->reader_ms = monotonic_ms();
	}
	return h;
}

/* Removed elsewhere a moment ago: the kernel has to look the name up again. Who has it open may open it again. */
static bool is_stale(const struct inode *i)
{
	return i->gone && i->opens == 0;
}

static bool must_wait(const struct vfs *v, const struct inode *i, int flags)
{
	return (flags & O_ACCMODE) != O_WRONLY && !(flags & O_TRUNC) && shown_must_wait(v, i);
}

/* The most frequent call of all: a file that the kernel knows is opened to be read. */
static struct vfs_handle *open_known(struct vfs *v, const struct vfs_caller *c, uint64_t ino,
				     int flags)
{
	struct vfs_handle *h = NULL;

	db_enter(v->db);
	struct inode *i = ns_cached(v, ino);
	if (i && !(flags & O_TRUNC) && !S_ISDIR(i->mode) && !is_stale(i) && !must_wait(v, i, flags)) {
		if (!writes(flags)) /* who opens to save has not read anew */
			bases_read(v, c->pid, i);
		h = new_handle(v, i, c, flags);
	}
	db_leave(v->db);
	return h;
}

int vfs_open(struct vfs *v, const struct vfs_caller *c, uint64_t ino, int flags,
	     struct vfs_handle **ret)
{
	*ret = open_known(v, c, ino, flags);
	if (*ret)
		return 0;
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	int r = !i || is_stale(i)		    ? -ESTALE
		: S_ISDIR(i->mode) && writes(flags) ? -EISDIR
		: must_wait(v, i, flags)	    ? -EAGAIN
						    : 0;

	if (r < 0) {
		db_abort(t);
		return r;
	}
	bool truncate = (flags & O_TRUNC) && writes(flags) && S_ISREG(i->mode);
	if (truncate)
		r = vfs_resize(v, t, i, 0, NULL, c->pid);
	else if (!writes(flags))
		bases_read(v, c->pid, i);
	if (truncate && r == 0 && !i->gone)
		publish_mark(v, t, i, LONG_OPEN_MS);
	if (r == 0)
		*ret = new_handle(v, i, c, flags);
	if (truncate)
		return ns_end_later(v, t, r);
	db_abort(t);
	return r;
}

bool vfs_keep_cache(const struct vfs_handle *h)
{
	return h->keep_cache;
}

uint64_t vfs_handle_ino(const struct vfs_handle *h)
{
	return h->inode->ino;
}

int vfs_read(struct vfs *v, struct vfs_handle *h, uint64_t offset, size_t size, struct buf *ret)
{
	struct inode *i = h->inode;
	struct txn *t = db_begin(v->db);
	int r = ns_load_data(v, t, i);

	buf_clear(ret);
	if (r == 0 && offset == 0)
		bases_read(v, h->pid, i);
	if (r == 0 && offset < i->data.len) {
		size_t left = i->data.len - (size_t)offset;

		buf_append(ret, i->data.data + offset, size < left ? size : left);
	}
	db_abort(t);
	return r;
}

int vfs_write(struct vfs *v, struct vfs_handle *h, uint64_t offset, struct slice data)
{
	struct inode *i = h->inode;
	uint64_t end = 0;

	if (__builtin_add_overflow(offset, data.len, &end) || end > FILE_BYTES_MAX)
		return -EFBIG;
	struct txn *t = db_begin(v->db);
	int r = store_writable(db_store(t));
	if (r == 0)
		r = ns_load_data(v, t, i);
	if (r < 0) {
		db_abort(t);
		return r;
	}
	if (h->flags & O_APPEND) {
		offset = i->data.len;
		end = offset + data.len;
	}
	if (!i->dirty && !i->unpublished) {
		i->base_epoch = shown_epoch(v, i);
		i->whole_epoch = i->bound ? bases_epoch(v, h->pid, &i->node, vfs_handle_epoch(v, h))
					  : v->epoch;
		i->replaced = 0;
		shown_forget(v, i);
	}
	if (offset <= i->replaced && end > i->replaced)
		i->replaced = end;
	if (end > i->data.len)
		buf_resize(&i->data, (size_t)end);
	if (data.len)
		memcpy(i->data.data + offset, data.data, data.len);
	bool first = !i->unpublished && !i->gone && !i->local;
	i->dirty = true;
	i->size = i->data.len;
	i->mtime = i->ctime = ns_now();
	if (first) {
		publish_mark(v, t, i, LONG_OPEN_MS);
		return ns_end_later(v, t, 0);
	}
	db_abort(t);
	return 0;
}

int vfs_store(struct vfs *v, struct vfs_handle *h)
{
	struct inode *i = h->inode;
	struct txn *t = db_begin(v->db);

	if (!i->dirty || i->gone) {
		int r = store_settle(db_store(t)); /* its name may have waited for this */

		db_abort(t);
		return r;
	}
	return ns_end(v, t, publish_file(v, t, i, false));
}

int vfs_flush(struct vfs *v, struct vfs_handle *h)
{
	return writes(h->flags) ? vfs_store(v, h) : 0;
}

int vfs_sync(struct vfs *v)
{
	return db_sync(v->db);
}

/* The handle is gone; whether anything of what it wrote still has to be stored. */
static bool leave(struct vfs_handle *h)
{
	struct inode *i = h->inode;

	assert(i->opens > 0);
	i->opens--;
	if (!writes(h->flags))
		return false;
	assert(i->writers > 0);
	i->writers--;
	return i->writers == 0 && !i->gone && (i->dirty || i->unpublished);
}

void vfs_release(struct vfs *v, struct vfs_handle *h)
{
	struct inode *i = h->inode;

	db_enter(v->db);
	bool unstored = leave(h);
	bool held = i->held_ms && i->opens == 0;
	free(h);
	if (!unstored && !held) {
		if (i->opens == 0)
			ns_drop_data(i);
		ns_release(v, i);
		db_leave(v->db);
		return;
	}
	i->opens++; /* pinned until it is stored */
	db_leave(v->db);

	/* Half-written JSON waited for this; what only looks temporary goes on waiting. */
	struct txn *t = db_begin(v->db);
	int r = unstored && i->writers == 0 && !i->gone ? publish_file(v, t, i, false) : 0;
	i->opens--;
	if (i->opens == 0 && i->held_ms)
		shown_switch(v, t, i);
	if (i->opens == 0 && r == 0)
		ns_drop_data(i);
	ns_release(v, i);
	(void)ns_end(v, t, r); /* on failure the publisher tries again */
}

int vfs_fallocate(struct vfs *v, struct vfs_handle *h, int mode, uint64_t offset, uint64_t length)
{
	struct inode *i = h->inode;
	bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	bool zero = (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
	uint64_t end = 0;

	if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE && !punch && !zero)
		return -EOPNOTSUPP;
	if (__builtin_add_overflow(offset, length, &end) || end > FILE_BYTES_MAX)
		return -EFBIG;
	struct txn *t = db_begin(v->db);
	int r = ns_load_data(v, t, i);
	if (r < 0 || mode == FALLOC_FL_KEEP_SIZE) { /* room beyond the end: nothing to reserve here */
		db_abort(t);
		return r;
	}
	uint64_t size = i->data.len;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > size)
		size = end;
	r = vfs_resize(v, t, i, size, h, h->pid);
	if (r == 0 && (punch || zero) && offset < i->data.len) {
		uint64_t stop = end < i->data.len ? end : i->data.len;

		memset(i->data.data + offset, 0, (size_t)(stop - offset));
	}
	if (r == 0 && !i->gone && !i->local)
		publish_mark(v, t, i, LONG_OPEN_MS);
	return ns_end(v, t, r);
}

int vfs_lseek(struct vfs *v, struct vfs_handle *h, uint64_t offset, int whence, uint64_t *ret)
{
	struct stat st;
	struct txn *t = db_begin(v->db);

	ns_stat(h->inode, &st);
	db_abort(t);
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (offset >= (uint64_t)st.st_size)
		return -ENXIO;
	*ret = whence == SEEK_DATA ? offset : (uint64_t)st.st_size;
	return 0;
}
