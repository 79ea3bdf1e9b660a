/* The content of files: moving it between memory, the store and files beside it; see bytes.h. */
#include "fs/bytes.h"

#include "core/log.h"
#include "fs/bulk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the running operation gave up: it goes once that is written. */
struct doomed {
	struct backing_name name;
	struct doomed *next;
};

static struct backing_name name_of(const struct vfs *v, const struct inode *i, uint64_t number)
{
	return (struct backing_name){.dir = db_dir(v->db), .ino = i->ino, .number = number};
}

static void doom(struct vfs *v, const struct inode *i, uint64_t number)
{
	struct doomed *d = xmalloc(sizeof(*d));

	*d = (struct doomed){.name = name_of(v, i, number), .next = v->doomed};
	v->doomed = d;
}

struct doomed *bytes_take_doomed(struct vfs *v)
{
	return STEAL(v->doomed);
}

void bytes_settle_doomed(struct doomed *list, bool written)
{
	while (list) {
		struct doomed *d = list;

		list = d->next;
		if (written)
			backing_unlink(&d->name);
		free(d);
	}
}

void bytes_settle_doomed_later(struct vfs *v, struct doomed *list, bool written)
{
	struct doomed *last = list;

	if (!list || !written) {
		bytes_settle_doomed(list, written);
		return;
	}
	while (last->next)
		last = last->next;
	mutex_lock(&v->queue_lock);
	last->next = v->removals;
	v->removals = list;
	v->kick = true;
	cond_broadcast(&v->queue_changed);
	mutex_unlock(&v->queue_lock);
}

/* ---- what waits to be stored -------------------------------------------------------------------- */

void bytes_wait(struct vfs *v, struct inode *i)
{
	if (i->waits)
		return;
	i->waits = true;
	i->store_due_ms = monotonic_ms() + LONG_OPEN_MS;
	i->wait_prev = v->waiting_last;
	i->wait_next = NULL;
	*(v->waiting_last ? &v->waiting_last->wait_next : &v->waiting) = i;
	v->waiting_last = i;
	vfs_kick(v, i->store_due_ms);
}

void bytes_stop_waiting(struct vfs *v, struct inode *i)
{
	if (!i->waits)
		return;
	i->waits = false;
	*(i->wait_prev ? &i->wait_prev->wait_next : &v->waiting) = i->wait_next;
	*(i->wait_next ? &i->wait_next->wait_prev : &v->waiting_last) = i->wait_prev;
}

struct inode *bytes_next_due(const struct vfs *v, uint64_t now_ms)
{
	return v->waiting && v->waiting->store_due_ms <= now_ms ? v->waiting : NULL;
}

/* ---- the file ----------------------------------------------------------------------------------- */

static int open_file(struct vfs *v, struct inode *i)
{
	const struct backing_name name = name_of(v, i, i->file);

	return i->backing ? 0 : backing_open(&name, &i->backing);
}

static uint64_t blocks_of(const struct backing *b)
{
	struct stat st;

	return fstat(b->fd, &st) == 0 ? (uint64_t)st.st_blocks : 0;
}

static int detach_file(struct inode *i)
{
	if (!i->backing)
		return -1;
	i->blocks = blocks_of(i->backing);
	return backing_unref(STEAL(i->backing));
}

static void close_file(struct inode *i)
{
	int fd = detach_file(i);

	close_fd(&fd);
}

uint64_t bytes_blocks(const struct inode *i)
{
	if (!i->file)
		return (i->size + 511) / 512;
	return i->backing ? blocks_of(i->backing) : i->blocks;
}

/* The file holds what no batch has named: it goes without one. */
static void forget_file(struct vfs *v, struct inode *i)
{
	if (i->file && i->file != i->stored_file) {
		const struct backing_name name = name_of(v, i, i->file);

		backing_unlink(&name);
	}
	close_file(i);
	i->file = 0;
	bulk_forget(i);
}

static void free_memory(struct inode *i)
{
	buf_fini(&i->data);
	manifest_unref(STEAL(i->chunks));
	i->loaded = false;
}

uint64_t bytes_size(const struct inode *i)
{
	return i->file ? i->size : i->chunks ? i->chunks->size : i->data.len;
}

static uint64_t small_max(const struct inode *i)
{
	/* Without closes it is stored at each write, all of it. */
	return i->local || i->gone || i->quiet ? SMALL_BYTES_MAX : SMALL_RECORD_BYTES_MAX;
}

bool bytes_fits(const struct inode *i, uint64_t size)
{
	return !i->file && !i->chunks && size <= small_max(i);
}

int bytes_spill(struct vfs *v, struct txn *t, struct inode *i)
{
	const struct backing_name name = name_of(v, i, ns_number(v, t));
	struct backing *b = NULL;
	int r = backing_create(&name, &b);

	if (r < 0)
		return r;
	r = backing_write(b, 0, buf_slice(&i->data));
	if (r < 0) {
		int fd = backing_unref(b);

		close_fd(&fd);
		backing_unlink(&name);
		return r;
	}
	if (i->gone)
		backing_unlink(&name);
	/* Who empties a file gives its content up; who goes on from it may have been promised that it stays. */
	b->unsafe = !i->emptied && !i->gone && (i->own_bytes || !id_is_zero(&i->node));
	i->file = name.number;
	i->backing = b;
	free_memory(i);
	return 0;
}

void bytes_unpacked(struct vfs *v, struct inode *i, struct backing *b, bool partial)
{
	struct manifest *m = i->chunks ? manifest_ref(i->chunks) : NULL;

	forget_file(v, i);
	i->file = b->name.number;
	i->backing = b;
	b->unsafe = true;
	if (m) {
		i->size = m->size;
		bulk_is_like(i, m, partial);
	}
	manifest_unref(m);
	free_memory(i);
}

struct backing *bytes_pin(const struct inode *i)
{
	if (!i->file || !i->backing)
		return NULL;
	i->backing->refs++;
	return i->backing;
}

void bytes_unpin(struct vfs *v, struct backing *b)
{
	if (!b)
		return;
	db_enter(v->db);
	int fd = backing_unref(b);
	db_leave(v->db);
	close_fd(&fd);
}

bool bytes_is_unsafe(const struct inode *i)
{
	/* Else it becomes a record, most likely, in the batch that would name it. */
	bool stays = i->local || i->size >= BULK_BYTES_MIN;

	return stays && !i->gone && i->file && i->backing && i->backing->unsafe;
}

int bytes_sync(struct vfs *v, struct backing *b)
{
	db_enter(v->db);
	bool fresh = b->fresh;
	db_leave(v->db);
	int r = backing_sync(b, fresh);
	if (r < 0)
		return r;
	db_enter(v->db);
	b->unsafe = b->fresh = false;
	db_leave(v->db);
	return 0;
}

/* ---- content ------------------------------------------------------------------------------------ */

/* inode.data has been read, with this result; it may be a manifest. */
static int loaded(struct vfs *v, struct inode *i, int r, bool chunked)
{
	if (r == 0 && chunked) {
		r = db_manifest_decode(v->db, buf_slice(&i->data), &i->chunks) < 0 ? -EIO : 0;
		buf_fini(&i->data);
	} else if (r == -ENOENT) { /* nothing was ever written into it */
		buf_clear(&i->data);
		r = 0;
	}
	i->loaded = r == 0;
	return r;
}

/* Of a partial file, where the rest is has to be known, too. */
static int load_file(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf stored = {0};
	int r = open_file(v, i);

	if (r < 0 || !i->own_chunks || i->file != i->stored_file || bulk_is_partial(i))
		return r;
	r = store_get(db_store(t), ns_key(&key, 'b', i->ino), &stored);
	return r < 0 ? r : bulk_decode(v, i, buf_slice(&stored));
}

int bytes_load(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	int r = 0;

	if (i->file)
		return load_file(v, t, i);
	if (i->loaded)
		return 0;
	bool chunked = i->own_chunks;
	if (i->own_bytes)
		r = store_get(db_store(t), ns_key(&key, 'b', i->ino), &i->data);
	else if (!id_is_zero(&i->node) && !S_ISDIR(i->mode))
		r = db_shown(t, &i->node, &i->data, &chunked);
	else
		buf_clear(&i->data);
	return loaded(v, i, r, chunked);
}

int bytes_load_old(struct vfs *v, struct txn *t, struct inode *i)
{
	bool chunked = false;
	int r = db_old_shown(t, &i->node, &i->data, &chunked);

	return loaded(v, i, r, chunked);
}

/* Stages that nothing is stored for the inode any more but what it keeps. */
static void give_up(struct vfs *v, struct txn *t, const struct inode *i, uint64_t keep)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	if (i->own_bytes && (!i->stored_file || i->own_chunks))
		store_delete(db_store(t), ns_key(&key, 'b', i->ino));
	if (i->stored_file && i->stored_file != keep)
		doom(v, i, i->stored_file);
}

static int store_file(struct vfs *v, struct txn *t, struct inode *i)
{
	if (i->backing && i->backing->unsafe) {
		int r = backing_sync(i->backing, i->backing->fresh);

		if (r < 0)
			return r;
		i->backing->unsafe = i->backing->fresh = false;
	}
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf partial = {0};
	give_up(v, t, i, i->file);
	i->stored_file = i->file;
	i->own_chunks = bulk_is_partial(i);
	if (!i->own_chunks)
		return 0;
	bulk_encode(i, &partial);
	store_put(db_store(t), ns_key(&key, 'b', i->ino), buf_slice(&partial));
	return 0;
}

static void store_memory(struct vfs *v, struct txn *t, struct inode *i)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf manifest = {0};

	if (i->chunks)
		manifest_encode(i->chunks, &manifest);
	if (i->stored_file)
		doom(v, i, i->stored_file);
	i->stored_file = 0;
	i->size = bytes_size(i);
	i->own_chunks = i->chunks != NULL;
	store_put(db_store(t), ns_key(&key, 'b', i->ino),
		  buf_slice(i->chunks ? &manifest : &i->data));
}

int bytes_store(struct vfs *v, struct txn *t, struct inode *i)
{
	int r = 0;

	ns_touch(v, i);
	if (i->loaded && !i->chunks && !bytes_fits(i, i->data.len))
		r = bytes_spill(v, t, i);
	if (r == 0 && i->file)
		r = store_file(v, t, i);
	else if (r == 0 && i->loaded)
		store_memory(v, t, i);
	if (r < 0)
		return r;
	i->own_bytes = true;
	i->dirty = false;
	i->emptied = false;
	bytes_stop_waiting(v, i);
	ns_put(v, t, i);
	return 0;
}

int bytes_own(struct vfs *v, struct txn *t, struct inode *i)
{
	if (i->held_ms)
		shown_switch(v, t, i);
	int r = bytes_load(v, t, i);
	if (r == 0)
		r = bytes_store(v, t, i);
	if (r == 0 && i->opens == 0 && !i->was_dirty) /* else bytes_undo() may need it */
		bytes_drop(v, i);
	return r;
}

void bytes_drop(struct vfs *v, struct inode *i)
{
	if (i->dirty || i->gone || i->held_ms)
		return;
	forget_file(v, i);
	i->file = i->stored_file;
	free_memory(i);
}

int bytes_whole(struct vfs *v, struct txn *t, struct inode *i, struct buf *room, struct slice *ret)
{
	int r = bytes_load(v, t, i);

	if (r == 0 && i->file) {
		struct bulk_view view;

		buf_clear(room);
		bulk_view_take(i, &view);
		r = bulk_view_read(v, &view, 0, (size_t)i->size, room);
		manifest_unref(view.like);
		free(view.ranges);
		(void)backing_unref(view.backing);
	}
	if (r == 0 && i->chunks) {
		buf_clear(room);
		r = db_chunks_read(v->db, i->chunks, 0, (size_t)i->chunks->size, room);
	}
	if (r == 0)
		*ret = buf_slice(i->file || i->chunks ? room : &i->data);
	return r;
}

/* The record says what the file says: it stays, to be written on, as long as it is open. */
static void keep_file(struct vfs *v, struct txn *t, struct inode *i, const struct rendering *now)
{
	struct manifest *m = NULL;

	give_up(v, t, i, i->file);
	i->backing->unsafe = i->backing->fresh = true;
	if (db_manifest_decode(v->db, buf_slice(&now->bytes), &m) == 0)
		bulk_is_like(i, m, bulk_is_partial(i));
	manifest_unref(m);
}

static void take_rendering(struct vfs *v, struct inode *i, struct rendering *now)
{
	bool was_file = i->file;

	close_file(i);
	i->file = 0;
	bulk_forget(i);
	free_memory(i);
	i->size = now->chunked ? manifest_size(buf_slice(&now->bytes)) : now->bytes.len;
	if (was_file && !now->chunked)
		return; /* large: is read from the record when somebody asks for it */
	i->data = now->bytes;
	now->bytes = (struct buf){0};
	(void)loaded(v, i, 0, now->chunked);
}

void bytes_published(struct vfs *v, struct txn *t, struct inode *i, struct rendering *merged)
{
	ns_touch(v, i);
	if (i->backing && bulk_is_imported(i, merged)) {
		keep_file(v, t, i, merged);
	} else {
		give_up(v, t, i, 0);
		if (i->file && i->file != i->stored_file)
			doom(v, i, i->file); /* not at once: bytes_undo() may need it */
		take_rendering(v, i, merged);
	}
	i->own_bytes = i->own_chunks = false;
	i->stored_file = 0;
	i->dirty = false;
	i->emptied = false;
	bytes_stop_waiting(v, i);
}

int bytes_room(struct vfs *v, struct txn *t, struct inode *i, uint64_t end)
{
	int r = bytes_load(v, t, i);

	if (r == 0 && (i->chunks || bulk_must_fill(i)))
		return -EAGAIN;
	if (r < 0 || i->file)
		return r;
	uint64_t size = end > i->data.len ? end : i->data.len;
	i->size = i->data.len;
	if (!bytes_fits(i, size))
		return bytes_spill(v, t, i);
	buf_resize(&i->data, (size_t)size);
	return 0;
}

int bytes_resize(struct vfs *v, struct txn *t, struct inode *i, uint64_t size)
{
	if (size == 0) {
		forget_file(v, i);
		free_memory(i);
		i->loaded = true;
		i->emptied = true;
		return 0;
	}
	int r = bytes_load(v, t, i);
	if (r == 0 && (i->chunks || bulk_must_fill(i)))
		return -EAGAIN;
	if (r == 0 && !i->file && !bytes_fits(i, size))
		r = bytes_spill(v, t, i);
	if (r < 0)
		return r;
	if (i->file) {
		bulk_wrote(i, i->size < size ? i->size : size, UINT64_MAX);
		return ftruncate(i->backing->fd, (off_t)size) == 0 ? 0 : -errno;
	}
	buf_resize(&i->data, (size_t)size);
	return 0;
}

/* ---- inode records ------------------------------------------------------------------------------ */

void bytes_found(struct vfs *v, struct txn *t, struct inode *i)
{
	const struct backing_name name = name_of(v, i, i->stored_file);
	struct node_info n = {0};
	struct stat st;
	int r = backing_stat(&name, &st);

	i->file = i->stored_file;
	if (r == 0 && (uint64_t)st.st_size != i->size) { /* written until the end came */
		i->size = (uint64_t)st.st_size;
		i->mtime = i->ctime = st.st_mtim;
	}
	i->blocks = r == 0 ? (uint64_t)st.st_blocks : 0;
	if (r != -ENOENT)
		return;
	/* A power cut before the system has written it, and nobody asked it to. */
	log_warn("the content of file %llu is lost", (unsigned long long)i->ino);
	i->file = i->stored_file = 0;
	i->own_bytes = i->own_chunks = false;
	i->size = !id_is_zero(&i->node) && db_node(t, &i->node, &n) == 0 ? n.size : 0;
	node_info_fini(&n);
}

void bytes_removed(struct vfs *v, struct txn *t, struct inode *i)
{
	if (ns_may_be_open(v, i) && S_ISREG(i->mode))
		(void)bytes_load(v, t, i);
	give_up(v, t, i, 0);
	if (i->file && i->file != i->stored_file)
		doom(v, i, i->file);
	bytes_stop_waiting(v, i);
}

void bytes_touched(struct inode *i)
{
	i->was_dirty = i->dirty;
	i->was_file = i->file;
	i->was_size = i->size;
}

void bytes_undo(struct vfs *v, struct inode *i)
{
	if (i->gone)
		return;
	i->dirty = i->was_dirty;
	if (!i->dirty) {
		bytes_drop(v, i);
		return;
	}
	if (i->was_file && i->file != i->was_file) {
		close_file(i);
		i->file = i->was_file;
		free_memory(i);
		if (open_file(v, i) == 0)
			i->backing->unsafe = true;
	}
	if (i->file || i->loaded)
		i->size = i->file ? i->was_size : bytes_size(i);
	else
		i->dirty = false;
	if (i->local && i->dirty)
		bytes_wait(v, i);
}

int bytes_close(struct vfs *v, struct inode *i)
{
	if (!i->gone) {
		bytes_drop(v, i);
		return -1;
	}
	if (ns_may_be_open(v, i))
		return -1;
	free_memory(i);
	return detach_file(i);
}

void bytes_fini(struct inode *i)
{
	close_file(i);
	free_memory(i);
	bulk_fini(i);
}

/* ---- after a crash ------------------------------------------------------------------------------ */

static bool sweep_one(void *ctx, const struct backing_name *name)
{
	struct vfs *v = ctx;

	mutex_lock(&v->queue_lock);
	bool stop = v->stop;
	mutex_unlock(&v->queue_lock);
	if (stop)
		return false;
	struct txn *t = db_begin(v->db);
	struct inode *i = NULL;
	bool wanted = ns_exists(t, name->ino) != 0;
	if (wanted && (i = ns_get(v, t, name->ino))) {
		wanted = i->file == name->number || i->stored_file == name->number;
		ns_release(v, i);
	}
	db_abort(t);
	/* A number is never given out again: what was an orphan stays one. */
	if (!wanted)
		backing_unlink(name);
	return true;
}

void bytes_sweep(struct vfs *v)
{
	backing_list(db_dir(v->db), sweep_one, v);
}
