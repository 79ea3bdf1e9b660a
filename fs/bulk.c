/* Files to chunks and back, without the database's lock; see bulk.h. */
#include "fs/bulk.h"

#include "core/import.h"
#include "core/log.h"
#include "fs/localname.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (256u << 10)
#define RANGES_MAX 32

struct range {
	uint64_t from;
	uint64_t to;
};

struct bulk {
	struct manifest *like;		 /**< what the file was, but for: */
	struct range ranges[RANGES_MAX]; /**< ascending, apart from each other */
	size_t range_count;
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

void bulk_is_like(struct inode *i, struct manifest *m)
{
	struct bulk *b = bulk_of(i);

	manifest_unref(b->like);
	b->like = manifest_ref(m);
	b->range_count = 0;
}

void bulk_forget(struct inode *i)
{
	if (!i->bulk)
		return;
	manifest_unref(STEAL(i->bulk->like));
	i->bulk->range_count = 0;
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
	if (b->range_count == RANGES_MAX) /* scattered: one range over all */
		add_range(b, (struct range){b->ranges[0].from, b->ranges[RANGES_MAX - 1].to});
	add_range(b, (struct range){offset, end});
}

/* From `at` on, up to where is the file what it was? */
static uint64_t same_until(const struct bulk *b, uint64_t at, uint64_t size)
{
	for (size_t k = 0; k < b->range_count; k++) {
		if (at < b->ranges[k].to)
			return at < b->ranges[k].from ? b->ranges[k].from : at;
	}
	return size;
}

/* ---- which content ---------------------------------------------------------------------------------- */

static bool has_nul(const struct inode *i)
{
	AUTO(buf_fini) struct buf head = {0};
	struct slice s = buf_slice(&i->data);

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
	struct backing *backing;
	uint64_t size;
	uint64_t writes;
	struct bulk was; /**< like, and its ranges */
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
	uint64_t at = import_offset(im);
	off_t data = lseek(j->backing->fd, (off_t)at, SEEK_DATA);
	uint64_t start = data < 0 ? (errno == ENXIO ? j->size : at) : (uint64_t)data;

	start = start < j->size ? start : j->size;
	if (start > at)
		return import_hole(im, start - at);
	off_t hole = lseek(j->backing->fd, (off_t)at, SEEK_HOLE);
	uint64_t end = hole > (off_t)at ? (uint64_t)hole : j->size;

	end = end < j->size ? end : j->size;
	buf_clear(piece);
	int r = backing_read(j->backing, at,
			     (size_t)(end - at < PIECE_BYTES ? end - at : PIECE_BYTES), piece);
	if (r == 0 && piece->len == 0)
		r = -ESTALE; /* cut off meanwhile */
	return r < 0 ? r : import_data(im, buf_slice(piece));
}

static int import_all(const struct job *j, bool at_end, struct buf *ret)
{
	AUTO(buf_fini) struct buf piece = {0};
	struct import *im = import_create(j->v->db, j->size, j->was.like);
	int r = 0;

	while (r == 0 && import_offset(im) < j->size) {
		uint64_t same = same_until(&j->was, import_boundary(im), j->size);

		if (is_stopped(j->v, at_end))
			r = -ECANCELED;
		else if (!j->was.like || import_keep(im, same) == 0)
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
	j->backing = j->i ? bytes_pin(j->i) : NULL;
	if (j->backing) {
		j->size = j->i->size;
		j->writes = j->i->writes;
		j->was = *j->i->bulk;
		j->was.like = j->was.like ? manifest_ref(j->was.like) : NULL;
	}
	db_abort(t);
	return j->i != NULL;
}

static int settle(struct job *j, struct txn *t, struct slice manifest, int r)
{
	struct vfs *v = j->v;
	struct inode *i = j->i;
	bool same = i->writes == j->writes && i->backing == j->backing;

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

bool bulk_import_one(struct vfs *v, bool at_end)
{
	AUTO(buf_fini) struct buf manifest = {0};
	struct job j = {0};

	if (is_stopped(v, at_end) || !begin(v, at_end, &j))
		return false;
	if (!j.backing) /* gone, or it is no file any more */
		return true;
	int r = import_all(&j, at_end, &manifest);
	struct txn *t = db_begin(v->db);
	r = ns_end(v, t, settle(&j, t, buf_slice(&manifest), r));
	db_enter(v->db);
	if (j.i->bulk)
		buf_fini(&j.i->bulk->ready);
	int own = backing_unref(j.backing);
	j.i->opens--;
	int fd = j.i->opens == 0 && (r == 0 || j.i->gone) ? bytes_close(v, j.i) : -1;
	ns_release(v, j.i);
	db_leave(v->db);
	close_fd(&own);
	close_fd(&fd);
	manifest_unref(j.was.like);
	return true;
}

/* ---- from chunks to a file -------------------------------------------------------------------------- */

static int copy_out(struct vfs *v, const struct manifest *m, const struct backing *b)
{
	AUTO(buf_fini) struct buf piece = {0};
	int r = ftruncate(b->fd, (off_t)m->size) == 0 ? 0 : -errno;

	for (size_t e = 0; r == 0 && e < m->count; e++) {
		if (chunk_id_is_zero(&m->entries[e].id))
			continue;
		buf_clear(&piece);
		r = db_chunks_read(v->db, m, m->entries[e].offset, (size_t)manifest_length(m, e),
				   &piece);
		if (r == 0)
			r = backing_write(b, m->entries[e].offset, buf_slice(&piece));
	}
	return r;
}

int bulk_unpack(struct vfs *v, struct inode *i)
{
	struct backing *b = NULL;
	struct txn *t = db_begin(v->db);
	int r = bytes_load(v, t, i);
	struct manifest *m = r == 0 && i->chunks ? manifest_ref(i->chunks) : NULL;
	const struct backing_name name = {
		.dir = db_dir(v->db), .ino = i->ino, .number = ns_number(v, t)};

	r = ns_end(v, t, r);
	if (r == 0 && m)
		r = backing_create(&name, &b);
	if (r < 0 || !m) {
		manifest_unref(m);
		return r;
	}
	r = copy_out(v, m, b);
	db_enter(v->db);
	bool wanted = r == 0 && i->chunks == m;
	if (wanted)
		bytes_unpacked(v, i, b);
	int fd = wanted ? -1 : backing_unref(b);
	bool nameless = !wanted || i->gone;
	db_leave(v->db);
	if (nameless)
		backing_unlink(&name);
	close_fd(&fd);
	manifest_unref(m);
	return r;
}
