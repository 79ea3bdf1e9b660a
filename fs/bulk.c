/* Files to chunks and back, without the database's lock; see bulk.h. */
#include "fs/bulk.h"

#include "core/import.h"
#include "core/log.h"
#include "fs/localname.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (256u << 10)
/** Written parts of one file that are remembered apart from each other. */
#define RANGES_MAX 1024
/** Writes that may be under way at the same time. */
#define RANGES_SPARE 64

struct range {
	uint64_t from;
	uint64_t to;
};

struct bulk {
	struct manifest *like; /**< what the content was, but for: */
	struct range *ranges;  /**< ascending, apart from each other */
	size_t range_count;
	bool partial; /**< the file has only these; the rest is in the chunks of like */
	uint64_t since_ms; /**< monotonic: the first unpublished write of a file that is kept open; 0 = none */
	struct buf ready; /**< the manifest of the content, just imported */
	bool queued;
	struct inode *next;
};

static struct bulk *bulk_of(struct inode *i)
{
	if (!i->bulk)
		i->bulk = xcalloc(1, sizeof(*i->bulk));
	return i->bulk;
}

/* ---- what was written ------------------------------------------------------------------------------ */

static bool is_partial(const struct inode *i)
{
	return i->bulk && i->bulk->like && i->bulk->partial;
}

bool bulk_is_partial(const struct inode *i)
{
	return is_partial(i);
}

bool bulk_must_fill(const struct inode *i)
{
	return is_partial(i) &&
	       (i->local || i->gone || i->bulk->range_count > RANGES_MAX - RANGES_SPARE);
}

void bulk_is_like(struct inode *i, struct manifest *m, bool partial)
{
	struct bulk *b = bulk_of(i);

	manifest_unref(b->like);
	b->like = manifest_ref(m);
	b->range_count = 0;
	b->partial = partial;
}

void bulk_forget(struct inode *i)
{
	if (!i->bulk)
		return;
	manifest_unref(STEAL(i->bulk->like));
	free(STEAL(i->bulk->ranges));
	i->bulk->range_count = 0;
	i->bulk->partial = false;
}

/* Takes in every range that r touches, and puts r in their place. */
static void add_range(struct bulk *b, struct range r)
{
	size_t keep = 0;
	size_t at = 0;

	for (size_t k = 0; k < b->range_count; k++) {
		struct range old = b->ranges[k];

		if (old.to < r.from || old.from > r.to) {
			at += old.to < r.from;
			b->ranges[keep++] = old;
			continue;
		}
		r.from = old.from < r.from ? old.from : r.from;
		r.to = old.to > r.to ? old.to : r.to;
	}
	memmove(&b->ranges[at + 1], &b->ranges[at], (keep - at) * sizeof(r));
	b->ranges[at] = r;
	b->range_count = keep + 1;
}

void bulk_wrote(struct inode *i, uint64_t offset, uint64_t end)
{
	struct bulk *b = i->bulk;

	if (!b || !b->like || offset >= end)
		return;
	if (!b->ranges)
		b->ranges = xcalloc(RANGES_MAX + 1, sizeof(*b->ranges));
	assert(!b->partial || b->range_count < RANGES_MAX);
	if (b->range_count ==
	    RANGES_MAX) /* scattered: one range over all, for the file has the rest, too */
		add_range(b, (struct range){b->ranges[0].from, b->ranges[RANGES_MAX - 1].to});
	add_range(b, (struct range){offset, end});
}

/* ---- content as it is at one moment, to be read without the lock ------------------------------------ */

void bulk_view_take(struct inode *i, struct bulk_view *ret)
{
	const struct bulk *b = i->bulk;

	*ret = (struct bulk_view){.backing = bytes_pin(i), .size = bytes_size(i)};
	if (!b || !b->like)
		return;
	ret->like = manifest_ref(b->like);
	ret->partial = b->partial;
	ret->range_count = b->range_count;
	ret->ranges = xmemdup(b->ranges, b->range_count * sizeof(*b->ranges));
}

void bulk_view_drop(struct vfs *v, struct bulk_view *view)
{
	bytes_unpin(v, view->backing);
	manifest_unref(view->like);
	free(view->ranges);
	*view = (struct bulk_view){0};
}

/* From `at` on, up to where is the content what it was? `at` itself: it is not. */
static uint64_t same_until(const struct bulk_view *view, uint64_t at)
{
	const struct range *ranges = view->ranges;
	uint64_t end = view->like ? view->like->size : 0;
	size_t k = 0;

	while (k < view->range_count && at >= ranges[k].to)
		k++;
	if (k < view->range_count && ranges[k].from < end)
		end = ranges[k].from;
	end = end < view->size ? end : view->size;
	return end > at ? end : at;
}

/* From `at` on, which is not the same, up to where is it in the file? */
static uint64_t written_until(const struct bulk_view *view, uint64_t at)
{
	const struct range *ranges = view->ranges;

	for (size_t k = 0; view->partial && k < view->range_count; k++) {
		if (at >= ranges[k].from && at < ranges[k].to)
			return ranges[k].to < view->size ? ranges[k].to : view->size;
	}
	return view->size;
}

int bulk_view_read(struct vfs *v, const struct bulk_view *view, uint64_t offset, size_t size,
		   struct buf *ret)
{
	uint64_t end =
		offset < view->size && view->size - offset < size ? view->size : offset + size;
	int r = 0;

	while (r == 0 && offset < end && offset < view->size) {
		uint64_t same = view->partial ? same_until(view, offset) : offset;
		uint64_t until = same > offset ? same : written_until(view, offset);
		size_t before = ret->len;

		until = until < end ? until : end;
		if (same > offset)
			r = db_chunks_read(v->db, view->like, offset, (size_t)(until - offset), ret);
		else
			r = backing_read(view->backing, offset, (size_t)(until - offset), ret);
		if (r == 0 && ret->len - before < until - offset)
			break; /* cut off meanwhile */
		offset = until;
	}
	return r;
}

/* ---- a partial file, stored ------------------------------------------------------------------------- */

void bulk_encode(const struct inode *i, struct buf *out)
{
	const struct bulk *b = i->bulk;

	buf_varint(out, b->range_count);
	for (size_t k = 0; k < b->range_count; k++) {
		buf_varint(out, b->ranges[k].from);
		buf_varint(out, b->ranges[k].to);
	}
	manifest_encode(b->like, out);
}

int bulk_decode(struct vfs *v, struct inode *i, struct slice stored)
{
	struct reader r = reader_init(stored);
	uint64_t count = reader_varint_max(&r, RANGES_MAX);
	struct range *ranges = xcalloc(RANGES_MAX + 1, sizeof(*ranges));
	struct manifest *m = NULL;

	for (uint64_t k = 0; k < count; k++) {
		ranges[k].from = reader_varint(&r);
		ranges[k].to = reader_varint(&r);
	}
	int e = r.bad ? -EIO : db_manifest_decode(v->db, reader_take(&r, reader_left(&r)), &m);
	if (e < 0) {
		free(ranges);
		return -EIO;
	}
	bulk_is_like(i, m, true);
	manifest_unref(m);
	free(i->bulk->ranges);
	i->bulk->ranges = ranges;
	i->bulk->range_count = (size_t)count;
	return 0;
}

struct stored {
	void (*fn)(void *ctx, struct slice manifest);
	void *ctx;
};

/* What is under 'b' may be a manifest, one behind ranges, or bytes: what looks like a manifest is taken for one. */
static bool tell_stored(void *ctx, struct slice key, struct slice value)
{
	const struct stored *s = ctx;
	struct reader r = reader_init(value);

	(void)key;
	if (manifest_is_sound(value))
		s->fn(s->ctx, value);
	uint64_t count = reader_varint_max(&r, RANGES_MAX);
	for (uint64_t k = 0; k < 2 * count && !r.bad; k++)
		(void)reader_varint(&r);
	struct slice rest = r.bad ? SLICE("", 0) : reader_take(&r, reader_left(&r));
	if (manifest_is_sound(rest))
		s->fn(s->ctx, rest);
	return true;
}

int bulk_stored(struct store_view *view, void (*fn)(void *ctx, struct slice manifest), void *ctx)
{
	struct stored s = {fn, ctx};

	return store_view_scan(view, SLICE_STR("Lb"), SLICE("", 0), tell_stored, &s);
}

/* ---- which content ---------------------------------------------------------------------------------- */

static bool has_nul(const struct inode *i)
{
	AUTO(buf_fini) struct buf head = {0};
	struct slice s = buf_slice(&i->data);

	if (is_partial(i)) /* it was not text */
		return true;
	if (i->file) {
		if (backing_read(i->backing, 0, BULK_LOOKED_AT_BYTES, &head) < 0)
			return true; /* an import will say why it cannot be read */
		s = buf_slice(&head);
	}
	size_t n = s.len < BULK_LOOKED_AT_BYTES ? s.len : BULK_LOOKED_AT_BYTES;
	return n && memchr(s.data, 0, n);
}

static bool is_bulk(const struct inode *i)
{
	uint64_t size = i->file ? i->size : i->data.len;

	if (size < BULK_BYTES_MIN)
		return false;
	if (localname_is_json(i->name))
		return size > BULK_JSON_BYTES_MAX;
	return size > BULK_TEXT_BYTES_MAX || has_nul(i);
}

/* Whether somebody is still writing, who is given some time more. */
static bool is_busy(struct inode *i)
{
	struct bulk *b = bulk_of(i);
	uint64_t now = monotonic_ms();

	if (i->writers == 0) {
		b->since_ms = 0;
		return false;
	}
	if (b->since_ms == 0)
		b->since_ms = now;
	return now < i->wrote_ms + LONG_OPEN_MS && now < b->since_ms + BULK_OPEN_MS_MAX;
}

static void enqueue(struct vfs *v, struct inode *i)
{
	struct bulk *b = bulk_of(i);
	struct inode **last = &v->imports;

	if (b->queued)
		return;
	while (*last)
		last = &(*last)->bulk->next;
	*last = i;
	b->queued = true;
	b->next = NULL;
	mutex_lock(&v->queue_lock);
	v->import_soon = true;
	cond_broadcast(&v->import_changed);
	mutex_unlock(&v->queue_lock);
}

void bulk_cancel(struct vfs *v, struct inode *i)
{
	struct inode **at = &v->imports;

	if (!i->bulk || !i->bulk->queued)
		return;
	while (*at != i)
		at = &(*at)->bulk->next;
	*at = i->bulk->next;
	i->bulk->queued = false;
}

static int later(struct vfs *v, struct txn *t, struct inode *i)
{
	int r = i->file ? 0 : bytes_spill(v, t, i);

	if (r == 0 && (i->dirty || !i->own_bytes))
		r = bytes_store(v, t, i);
	if (r < 0)
		return r;
	if (is_busy(i)) {
		publish_mark(v, t, i, LONG_OPEN_MS);
		due_set(&v->due, i, monotonic_ms() + LONG_OPEN_MS);
		vfs_kick(v, i->due_ms);
		return 1;
	}
	publish_mark(v, t, i, LONG_OPEN_MS);
	due_set(&v->due, i, UINT64_MAX); /* the importer sees to it */
	enqueue(v, i);
	return 1;
}

int bulk_content(struct vfs *v, struct txn *t, struct inode *i, struct buf *room, struct saving *s)
{
	if (i->chunks) {
		buf_clear(room);
		manifest_encode(i->chunks, room);
		s->bytes = buf_slice(room);
		s->chunked = true;
		return 0;
	}
	if (!is_bulk(i))
		return bytes_whole(v, t, i, room, &s->bytes);
	if (!i->bulk || i->bulk->ready.len == 0)
		return later(v, t, i);
	s->bytes = buf_slice(&i->bulk->ready);
	s->chunked = true;
	return 0;
}

bool bulk_is_imported(const struct inode *i, const struct rendering *now)
{
	return i->bulk && i->bulk->ready.len && now->chunked &&
	       slice_eq(buf_slice(&i->bulk->ready), buf_slice(&now->bytes));
}

void bulk_fini(struct inode *i)
{
	if (!i->bulk)
		return;
	bulk_forget(i);
	buf_fini(&i->bulk->ready);
	free(STEAL(i->bulk));
}

/* ---- from a file to chunks -------------------------------------------------------------------------- */

/** What is imported, as it was when that began. */
struct job {
	struct vfs *v;
	struct inode *i;
	struct bulk_view view;
	uint64_t writes;
};

static bool is_stopped(struct vfs *v, bool at_end)
{
	mutex_lock(&v->queue_lock);
	bool stop = v->stop && !at_end;
	mutex_unlock(&v->queue_lock);
	return stop;
}

/* The next piece: data, or a hole. */
static int import_piece(const struct job *j, struct import *im, struct buf *piece)
{
	const struct bulk_view *view = &j->view;
	uint64_t at = import_offset(im);
	uint64_t end = view->partial ? same_until(view, at) : at;

	if (end == at) { /* in the file */
		off_t data = lseek(view->backing->fd, (off_t)at, SEEK_DATA);
		uint64_t start = data < 0 ? (errno == ENXIO ? view->size : at) : (uint64_t)data;

		end = written_until(view, at);
		start = start < end ? start : end;
		if (start > at)
			return import_hole(im, start - at);
		off_t hole = lseek(view->backing->fd, (off_t)at, SEEK_HOLE);
		end = hole > (off_t)at && (uint64_t)hole < end ? (uint64_t)hole : end;
	}
	buf_clear(piece);
	int r = bulk_view_read(j->v, view, at,
			       (size_t)(end - at < PIECE_BYTES ? end - at : PIECE_BYTES), piece);
	if (r == 0 && piece->len == 0)
		r = -ESTALE; /* cut off meanwhile */
	return r < 0 ? r : import_data(im, buf_slice(piece));
}

static int import_all(const struct job *j, bool at_end, struct buf *ret)
{
	AUTO(buf_fini) struct buf piece = {0};
	struct import *im = import_create(j->v->db, j->view.size, j->view.like);
	int r = 0;

	while (r == 0 && import_offset(im) < j->view.size) {
		uint64_t same = same_until(&j->view, import_boundary(im));

		if (is_stopped(j->v, at_end))
			r = -ECANCELED;
		else if (import_keep(im, same) == 0)
			r = import_piece(j, im, &piece);
	}
	if (r == 0)
		r = import_finish(im, ret);
	import_destroy(im);
	return r;
}

/* The first that waits, pinned; NULL = none does. */
static struct inode *take_next(struct vfs *v, struct txn *t, bool at_end)
{
	struct inode *i = v->imports;

	while (i && at_end && i->size > BULK_AT_END_BYTES)
		i = i->bulk->next;
	if (!i)
		return NULL;
	bulk_cancel(v, i);
	i->opens++;
	if (!i->gone && bytes_load(v, t, i) == 0)
		return i;
	i->opens--;
	return i;
}

static bool begin(struct vfs *v, bool at_end, struct job *j)
{
	struct txn *t = db_begin(v->db);

	ns_begin(v, t);
	j->v = v;
	j->i = take_next(v, t, at_end);
	if (j->i) {
		j->writes = j->i->writes;
		bulk_view_take(j->i, &j->view);
	}
	db_abort(t);
	return j->i != NULL;
}

static int settle(struct job *j, struct txn *t, struct slice manifest, int r)
{
	struct vfs *v = j->v;
	struct inode *i = j->i;
	bool same = i->writes == j->writes && i->backing == j->view.backing;

	if (i->gone || !i->unpublished)
		return 0;
	if (r == -EFBIG)
		return publish_stay_here(v, t, i);
	due_set(&v->due, i, monotonic_ms() + (r == 0 && !same ? LONG_OPEN_MS : RETRY_MS));
	vfs_kick(v, i->due_ms);
	if (r < 0 && r != -ECANCELED && same)
		log_warn("file %llu could not be cut into chunks: %s; trying again",
			 (unsigned long long)i->ino, strerror(-r));
	if (r < 0 || !same)
		return 0;
	buf_slice_append(&bulk_of(i)->ready, manifest);
	i->bulk->since_ms = 0;
	r = publish_file(v, t, i, true);
	return r;
}

static void unpin(struct vfs *v, struct inode *i, bool stored)
{
	db_enter(v->db);
	i->opens--;
	int fd = i->opens == 0 && (stored || i->gone) ? bytes_close(v, i) : -1;
	ns_release(v, i);
	db_leave(v->db);
	close_fd(&fd);
}

bool bulk_import_one(struct vfs *v, bool at_end)
{
	AUTO(buf_fini) struct buf manifest = {0};
	struct job j = {0};

	if (is_stopped(v, at_end) || !begin(v, at_end, &j))
		return false;
	db_chunks_hold(v->db);
	int imported = j.view.backing ? import_all(&j, at_end, &manifest) : -ESTALE;
	struct txn *t = db_begin(v->db);
	int r = ns_end(v, t, settle(&j, t, buf_slice(&manifest), imported));
	db_enter(v->db);
	if (j.i->bulk)
		buf_fini(&j.i->bulk->ready);
	db_leave(v->db);
	db_chunks_release(v->db);
	bulk_view_drop(v, &j.view);
	unpin(v, j.i, r == 0);
	/* At the end there is no later: on a full disk it would be tried for ever. The next start goes on with it. */
	return !at_end || (r == 0 && (imported == 0 || imported == -EFBIG));
}

/* ---- from chunks to a file -------------------------------------------------------------------------- */

/* Content that is to be written. */
struct unpacking {
	struct vfs *v;
	struct inode *i;
	struct manifest *chunks; /**< it is in these, or else: */
	struct bulk_view view;
	uint64_t writes;
	bool whole; /**< the file has to have all of it */
};

static int copy_all(const struct unpacking *u, const struct backing *b)
{
	AUTO(buf_fini) struct buf piece = {0};
	uint64_t size = u->chunks ? u->chunks->size : u->view.size;
	int r = ftruncate(b->fd, (off_t)size) == 0 ? 0 : -errno;

	for (uint64_t at = 0; r == 0 && u->whole && at < size; at += piece.len) {
		buf_clear(&piece);
		r = u->chunks ? db_chunks_read(u->v->db, u->chunks, at, PIECE_BYTES, &piece)
			      : bulk_view_read(u->v, &u->view, at, PIECE_BYTES, &piece);
		if (r == 0 && piece.len == 0)
			return -ESTALE;
		if (r == 0 && !chunk_is_hole(buf_slice(&piece)))
			r = backing_write(b, at, buf_slice(&piece));
	}
	return r;
}

/* The lock is held. Whether the file was taken over. */
static bool install(struct unpacking *u, struct backing *b, int r)
{
	struct inode *i = u->i;
	bool same = u->chunks ? i->chunks == u->chunks
			      : i->backing == u->view.backing && i->writes == u->writes;

	if (r == 0 && same)
		bytes_unpacked(u->v, i, b, !u->whole);
	return r == 0 && same;
}

static int unpack_into(struct unpacking *u, const struct backing_name *name)
{
	struct vfs *v = u->v;
	struct backing *b = NULL;
	int r = backing_create(name, &b);

	if (r < 0)
		return r;
	r = copy_all(u, b);
	db_enter(v->db);
	bool wanted = install(u, b, r);
	int fd = wanted ? -1 : backing_unref(b);
	bool nameless = !wanted || u->i->gone;
	db_leave(v->db);
	if (nameless)
		backing_unlink(name);
	close_fd(&fd);
	return r == -ESTALE ? 0 : r; /* changed meanwhile: the caller tries again, and sees */
}

int bulk_unpack(struct vfs *v, struct inode *i)
{
	struct unpacking u = {.v = v, .i = i};
	struct txn *t = db_begin(v->db);
	int r = bytes_load(v, t, i);
	bool needed = r == 0 && (i->chunks || bulk_must_fill(i));
	const struct backing_name name = {
		.dir = db_dir(v->db), .ino = i->ino, .number = ns_number(v, t)};

	if (needed && i->chunks)
		u.chunks = manifest_ref(i->chunks);
	else if (needed)
		bulk_view_take(i, &u.view);
	u.writes = i->writes;
	/* What stays on the device is promised to survive kill -9 from the write on: ranges are stored at close. */
	u.whole = i->local || i->gone || !i->chunks;
	r = ns_end(v, t, r);
	if (r == 0 && needed)
		r = unpack_into(&u, &name);
	manifest_unref(u.chunks);
	bulk_view_drop(v, &u.view);
	return r;
}
