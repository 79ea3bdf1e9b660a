/*
 * Open files. Small content is in memory while it is written, large content in a file that is read and written
 * without the lock (bytes.h); every close stores it, and makes it a change unless it has to wait (publish.c).
 */
#include "fs/bulk.h"

#include "core/platform.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** A file that was synced and stays open becomes a change so long after that. */
#define SYNCED_MS 40
/** More bytes than that are not kept waiting in memory. */
#define LATER_BYTES_MAX 4096

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
	return i->gone && i->opens == 0 && !i->kept;
}

/* Who came to create the file (CREATE, for which nobody waits) gets it at once, and never sees an EAGAIN. */
static bool must_wait(const struct vfs *v, const struct inode *i, int flags)
{
	return (flags & O_ACCMODE) != O_WRONLY && !(flags & (O_TRUNC | O_CREAT)) &&
	       shown_must_wait(v, i);
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

static int truncate_opened(struct vfs *v, struct txn *t, struct inode *i,
			   const struct vfs_caller *c, int flags)
{
	int r = vfs_resize(v, t, i, 0, NULL, c->pid);

	if (r < 0)
		return r;
	if (c->uid != 0)
		vfs_drop_set_ids(c, i);
	if (!writes(flags) && i->writers == 0) /* no close will publish it */
		return publish_file(v, t, i, false);
	publish_written(v, t, i);
	return 0;
}

int vfs_open(struct vfs *v, const struct vfs_caller *c, uint64_t ino, int flags,
	     struct vfs_handle **ret)
{
	bool forbidden = (writes(flags) || (flags & O_TRUNC)) && db_is_read_only(v->db);

	*ret = forbidden ? NULL : open_known(v, c, ino, flags);
	if (*ret)
		return 0;
	struct txn *t = db_begin(v->db);
	struct inode *i = ns_get(v, t, ino);
	int r = !i || is_stale(i)		    ? -ESTALE
		: S_ISDIR(i->mode) && writes(flags) ? -EISDIR
		: forbidden			    ? -EROFS
		: must_wait(v, i, flags)	    ? -EAGAIN
						    : 0;

	if (r < 0) {
		db_abort(t);
		return r;
	}
	bool truncate = (flags & O_TRUNC) && S_ISREG(i->mode);
	if (truncate)
		r = truncate_opened(v, t, i, c, flags);
	else if (!writes(flags))
		bases_read(v, c->pid, i);
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
	struct bulk_view view = {0};
	struct manifest *m = NULL;
	struct txn *t = db_begin(v->db);
	int r = bytes_load(v, t, i);

	buf_clear(ret);
	if (r == 0 && offset == 0)
		bases_read(v, h->pid, i);
	if (r == 0 && i->file) {
		bulk_view_take(i, &view);
	} else if (r == 0 && i->chunks) {
		m = manifest_ref(i->chunks);
	} else if (r == 0 && offset < i->data.len) {
		size_t left = i->data.len - (size_t)offset;

		buf_append(ret, i->data.data + offset, size < left ? size : left);
	}
	db_abort(t);
	if (view.backing)
		r = bulk_view_read(v, &view, offset, size, ret);
	else if (m)
		r = db_chunks_read(v->db, m, offset, size, ret);
	bulk_view_drop(v, &view);
	manifest_unref(m);
	return r;
}

/* What the first write since the last publication is based on: see bases.c. */
static void note_base(struct vfs *v, struct inode *i, const struct vfs_handle *h)
{
	if (i->dirty || i->unpublished)
		return;
	const struct saver s = {.pid = h->pid, .writer = h->pid, .otherwise = vfs_handle_epoch(v, h)};
	if (i->bound)
		bases_note(v, i, &i->node, &s, false);
	else
		bases_reset(i, v->epoch);
	shown_forget(v, i);
}

static void wrote(struct inode *i, uint64_t offset, uint64_t end)
{
	if (offset <= i->replaced && end > i->replaced)
		i->replaced = end;
	if (end > i->size)
		i->size = end;
	i->dirty = true;
	i->writes++;
	i->wrote_ms = monotonic_ms();
	bulk_wrote(i, offset, end);
	i->mtime = i->ctime = ns_now();
}

/* New content that stays on the device is named by the store as soon as it is in a file. */
static int name_file(struct vfs *v, struct txn *t, struct inode *i)
{
	bool named = !i->file || i->file == i->stored_file;

	if (v->no_open && i->file)
		return quiet_store(v, t, i);
	return named || !i->local || i->gone || bytes_is_unsafe(i) ? 0 : bytes_store(v, t, i);
}

/* Ends a transaction that prepared a change of content. What is not in a file promises nothing yet. */
static int end_prepared(struct vfs *v, struct txn *t, const struct inode *i, int r)
{
	if (r < 0 || store_is_dirty(db_store(t)))
		return i->file || i->stored_file || v->no_open ? ns_end(v, t, r)
							       : ns_end_later(v, t, r);
	db_abort(t);
	return 0;
}

/* A change of these bytes was made to the pinned file: in vain if content has left it meanwhile. Unpins. */
static bool end_pinned(struct vfs *v, struct inode *i, struct backing *b, uint64_t offset,
		       uint64_t end)
{
	struct stat st;

	db_enter(v->db);
	bool moved = i->backing != b;
	if (!moved) {
		wrote(i, offset, end);
		if (fstat(b->fd, &st) == 0)
			i->size = (uint64_t)st.st_size;
		publish_written(v, NULL, i);
	}
	int fd = backing_unref(b);
	db_leave(v->db);
	close_fd(&fd);
	return moved;
}

struct writing {
	const struct vfs_caller *caller;
	uint64_t offset;
	uint64_t end;
	struct slice data;
	bool append;
};

/* Does it, if content is in memory; else *ret is the file to write to. */
static int write_prepare(struct vfs *v, struct vfs_handle *h, struct writing *w,
			 struct backing **ret)
{
	struct inode *i = h->inode;
	struct txn *t = db_begin(v->db);
	int r = store_writable(db_store(t));

	if (r == 0)
		r = bytes_load(v, t, i);
	if (w->append)
		w->offset = bytes_size(i);
	w->append = false;
	if (__builtin_add_overflow(w->offset, w->data.len, &w->end) || w->end > INT64_MAX)
		r = r < 0 ? r : -EFBIG;
	if (r == 0) {
		if (v->no_open)
			ns_touch(v, i); /* on failure it is what is stored */
		note_base(v, i, h);
		r = bytes_room(v, t, i, w->end);
	}
	if (r == 0)
		r = name_file(v, t, i);
	if (r == 0) {
		wrote(i, i->file ? 0 : w->offset, i->file ? 0 : w->end);
		if (w->caller->uid != 0)
			vfs_drop_set_ids(w->caller, i);
		publish_written(v, t, i);
		*ret = bytes_pin(i);
		if (!*ret && w->data.len)
			memcpy(i->data.data + w->offset, w->data.data, w->data.len);
		r = quiet_store(v, t, i);
	}
	return end_prepared(v, t, i, r);
}

int vfs_write(struct vfs *v, const struct vfs_caller *c, struct vfs_handle *h, uint64_t offset,
	      struct slice data, bool append)
{
	struct inode *i = h->inode;
	struct writing w = {.caller = c, .offset = offset, .data = data, .append = append};

	if (db_is_read_only(v->db)) /* since it was opened */
		return -EROFS;
	for (;;) {
		struct backing *b = NULL;
		int r = write_prepare(v, h, &w, &b);

		if (r == -EAGAIN) {
			w.append = append;
			r = bulk_unpack(v, i);
			if (r == 0)
				continue;
		}
		if (r < 0 || !b) {
			bytes_unpin(v, b);
			return r;
		}
		r = backing_write(b, w.offset, data);
		if (!end_pinned(v, i, b, r < 0 ? 0 : w.offset, r < 0 ? 0 : w.end) || r < 0)
			return r;
	}
}

/* Content that has to be durable before the store names it is made so without the lock. */
static int sync_first(struct vfs *v, const struct inode *i)
{
	db_enter(v->db);
	struct backing *b = bytes_is_unsafe(i) ? bytes_pin(i) : NULL;
	db_leave(v->db);
	int r = b ? bytes_sync(v, b) : 0;
	bytes_unpin(v, b);
	return r;
}

static int store_file(struct vfs *v, struct vfs_handle *h)
{
	struct inode *i = h->inode;
	int r = sync_first(v, i);
	struct txn *t = db_begin(v->db);
	/* A large file that was only synced is published when it is closed. */
	bool unpublished = i->file && i->unpublished && i->due_ms != UINT64_MAX;

	if (r == 0 && !i->gone && !(i->dirty || unpublished))
		r = store_settle(db_store(t)); /* its name may have waited for this */
	if (r < 0 || i->gone || !(i->dirty || unpublished)) {
		db_abort(t);
		return r;
	}
	program_wrote(v, i, h->pid);
	return ns_end(v, t, publish_file(v, t, i, false));
}

int vfs_flush(struct vfs *v, struct vfs_handle *h)
{
	return writes(h->flags) ? store_file(v, h) : 0;
}

/*
 * A large file that is open for writing is made durable as it is, and published when its time comes: a
 * database that syncs after every transaction would else be read, compared and stored as a whole each time.
 */
static int sync_large(struct vfs *v, struct inode *i)
{
	struct txn *t = db_begin(v->db);
	int r = i->file && !i->gone ? bytes_load(v, t, i) : 0;
	struct backing *b = r == 0 ? bytes_pin(i) : NULL;
	db_abort(t);
	if (!b)
		return r;
	r = bytes_sync(v, b);
	t = db_begin(v->db);
	if (r < 0 || i->gone || !i->dirty || i->backing != b)
		db_abort(t);
	else
		r = ns_end(v, t, bytes_store(v, t, i));
	bytes_unpin(v, b);
	return r;
}

/*
 * A small file that is open for writing is stored, and becomes a change a moment later, with what was written and
 * synced meanwhile. The bytes are in no batch of their own: vfs_sync() writes those of all who wait for it in one.
 */
static int sync_small(struct vfs *v, struct inode *i)
{
	struct txn *t = db_begin(v->db);
	int r = 0;

	if (i->gone || !i->dirty || i->file) {
		r = i->gone ? 0 : store_settle(db_store(t)); /* its name may have waited for this */
		db_abort(t);
		return r;
	}
	bool few = i->data.len <= LATER_BYTES_MAX && !i->stored_file;
	r = bytes_store(v, t, i);
	if (r == 0 && i->unpublished && i->due_ms != UINT64_MAX)
		publish_mark(v, t, i, SYNCED_MS);
	return few ? ns_end_later(v, t, r) : ns_end(v, t, r);
}

int vfs_store(struct vfs *v, struct vfs_handle *h)
{
	struct inode *i = h->inode;

	db_enter(v->db);
	bool open = i->writers > 0;
	bool large = i->file;
	db_leave(v->db);
	int r = !open ? store_file(v, h) : large ? 0 : sync_small(v, i);

	return r < 0 ? r : sync_large(v, i);
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
		int fd = i->opens == 0 ? bytes_close(v, i) : -1;

		ns_release(v, i);
		db_leave(v->db);
		close_fd(&fd);
		return;
	}
	i->opens++; /* pinned until it is stored */
	db_leave(v->db);

	/* Half-written JSON waited for this; what only looks temporary goes on waiting. */
	int r = sync_first(v, i);
	struct txn *t = db_begin(v->db);
	if (r == 0 && unstored && i->writers == 0 && !i->gone)
		r = publish_file(v, t, i, false);
	if (i->opens == 1 && i->held_ms)
		shown_switch(v, t, i);
	r = ns_end(v, t, r); /* on failure the publisher tries again */
	db_enter(v->db);
	i->opens--;
	int fd = i->opens == 0 && (r == 0 || i->gone) ? bytes_close(v, i) : -1;
	ns_release(v, i);
	db_leave(v->db);
	close_fd(&fd);
}

/* ---- holes and room ------------------------------------------------------------------------------ */

struct range {
	const struct vfs_caller *caller;
	int mode;
	uint64_t offset;
	uint64_t end;
};

/* Does it, if content is in memory; else *ret is the file to do it to. */
static int allocate_prepare(struct vfs *v, struct vfs_handle *h, const struct range *a,
			    struct backing **ret)
{
	struct inode *i = h->inode;
	bool keep = a->mode & FALLOC_FL_KEEP_SIZE;
	bool zero = a->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	struct txn *t = db_begin(v->db);
	int r = store_writable(db_store(t));

	if (r == 0)
		r = bytes_load(v, t, i);
	if (r == 0 && a->caller->uid != 0)
		vfs_drop_set_ids(a->caller, i);
	if (r == 0 && a->mode == FALLOC_FL_KEEP_SIZE && bytes_fits(i, a->end)) {
		ns_touch_times(v, t, i, true); /* room for a few more bytes: nothing to reserve */
		return ns_end(v, t, 0);
	}
	uint64_t size = !keep && a->end > bytes_size(i) ? a->end : bytes_size(i);
	if (r == 0) {
		note_base(v, i, h);
		r = bytes_room(v, t, i, a->mode == FALLOC_FL_KEEP_SIZE ? a->end : size);
	}
	if (r == 0)
		r = name_file(v, t, i);
	if (r == 0) {
		if (!i->file)
			i->size = size;
		if (!i->file && zero && a->offset < size) {
			uint64_t stop = a->end < size ? a->end : size;

			memset(i->data.data + a->offset, 0, (size_t)(stop - a->offset));
		}
		wrote(i, 0, 0);
		publish_written(v, t, i);
		*ret = bytes_pin(i);
		r = quiet_store(v, t, i);
	}
	return end_prepared(v, t, i, r);
}

int vfs_fallocate(struct vfs *v, const struct vfs_caller *c, struct vfs_handle *h, int mode,
		  uint64_t offset, uint64_t length)
{
	bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	bool zero = (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
	struct range a = {.caller = c, .mode = mode, .offset = offset};

	if (db_is_read_only(v->db))
		return -EROFS;
	if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE && !punch && !zero)
		return -EOPNOTSUPP;
	if (__builtin_add_overflow(offset, length, &a.end) || a.end > INT64_MAX)
		return -EFBIG;
	for (;;) {
		struct backing *b = NULL;
		int r = allocate_prepare(v, h, &a, &b);

		if (r == -EAGAIN) {
			r = bulk_unpack(v, h->inode);
			if (r == 0)
				continue;
		}
		if (r < 0 || !b) {
			bytes_unpin(v, b);
			return r;
		}
		r = backing_allocate(b, mode, offset, length);
		db_enter(v->db);
		if (punch || zero)
			bulk_wrote(h->inode, offset, a.end);
		db_leave(v->db);
		if (!end_pinned(v, h->inode, b, 0, 0) || r < 0)
			return r;
	}
}

static int seek_chunks(const struct manifest *m, uint64_t offset, int whence, uint64_t *ret)
{
	for (size_t e = manifest_find(m, offset); e < m->count; e++) {
		if (chunk_id_is_zero(&m->entries[e].id) == (whence == SEEK_HOLE)) {
			*ret = m->entries[e].offset > offset ? m->entries[e].offset : offset;
			return 0;
		}
	}
	*ret = m->size;
	return whence == SEEK_HOLE ? 0 : -ENXIO;
}

int vfs_lseek(struct vfs *v, struct vfs_handle *h, uint64_t offset, int whence, uint64_t *ret)
{
	struct inode *i = h->inode;
	struct txn *t = db_begin(v->db);
	int r = bytes_load(v, t, i);
	uint64_t size = bytes_size(i);
	struct backing *b = r == 0 ? bytes_pin(i) : NULL;
	struct manifest *m = r == 0 && i->chunks ? manifest_ref(i->chunks) : NULL;
	bool partial = bulk_is_partial(i); /* whose holes are none */

	db_abort(t);
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		r = -EINVAL;
	else if (r == 0 && offset >= size)
		r = -ENXIO;
	if (r == 0 && b && !partial) {
		off_t to = lseek(b->fd, (off_t)offset, whence);

		r = to < 0 ? -errno : 0;
		*ret = to < 0 ? 0 : (uint64_t)to;
	} else if (r == 0 && m) {
		r = seek_chunks(m, offset, whence, ret);
	} else if (r == 0) {
		*ret = whence == SEEK_DATA ? offset : size;
	}
	bytes_unpin(v, b);
	manifest_unref(m);
	return r;
}
