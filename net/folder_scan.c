/* What there is in the folder, and taking it. */
#include "core/log.h"
#include "net/folder_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8
#define PATH_MAX_BYTES 1000
/** The first read of a file: most heads are shorter. */
#define HEAD_BYTES (64u << 10)
/** Files up to this are read as a whole, where their items are wanted or their digest is compared. */
#define WHOLE_BYTES (4u << 20)
#define OWN_WHOLE_BYTES (1u << 20)
#define ODD_MS_MIN 1000
#define ODD_MS_MAX (10 * 60 * 1000)
/** When to look again at a file with an item that did not open. */
#define BAD_MS 60000

/* ---- writers ------------------------------------------------------------------------------------- */

void folder_read_writers(struct folder *f)
{
	AUTO(free_ptr) struct member_info *members = NULL;
	AUTO(free_ptr) struct folder_writer *old = NULL;
	uint64_t generation = db_generation(f->o.db);
	size_t old_count = f->writer_count;

	if (f->writers && f->writers_generation == generation)
		return;
	size_t n = db_members(f->o.db, &members);
	old = STEAL(f->writers);
	f->writers = xcalloc(n + 1, sizeof(*f->writers));
	f->writer_count = 0;
	for (size_t i = 0; i < n && i < FOLDER_WRITERS_MAX; i++) {
		struct folder_writer *w = &f->writers[f->writer_count++];

		for (size_t j = 0; j < old_count; j++) {
			if (old[j].device.actor == members[i].device.actor)
				*w = old[j];
		}
		w->device = members[i].device;
		w->tag = mailbox_device_tag(f->mailbox, w->device.actor);
	}
	f->writers_generation = generation;
}

struct folder_writer *folder_writer(struct folder *f, const struct id *tag)
{
	for (size_t i = 0; i < f->writer_count; i++) {
		if (id_eq(&f->writers[i].tag, tag))
			return &f->writers[i];
	}
	return NULL;
}

static void hear(struct folder *f, struct folder_writer *w, const struct folder_file *file)
{
	uint64_t now = db_now_ms(f->o.db);
	uint64_t at = file->number < now ? file->number : now;

	w->writes = true;
	if (at <= w->heard_ms)
		return;
	w->heard_ms = at;
	w->left_ms = 0;
}

/* Whether the writer has signed this; one that is not known yet may be later. false: forged. */
static bool check_writer(struct folder *f, struct folder_file *file)
{
	struct folder_writer *w = folder_writer(f, &file->writer);

	file->own = id_eq(&file->writer, &f->self);
	if (!w)
		return true;
	if (!segment_is_signed(file->text, file->signature, w->device.sign_pk))
		return false;
	file->known = true;
	f->index.version++;
	if (!file->own)
		hear(f, w, file);
	return true;
}

/* ---- files --------------------------------------------------------------------------------------- */

static void note_loss(struct folder *f, struct folder_file *file)
{
	if (!file->good)
		return;
	f->busy = true;
	if (file->own && file->items[0].i.kind == MAILBOX_SLOT && f->ack.len == 0)
		buf_slice_append(&f->ack, buf_slice(&f->ack_written));
	if (folder_check_loses(f, file))
		folder_check_later(f, file->own);
}

static void make_odd(struct folder *f, struct folder_file *file, uint64_t now_ms)
{
	uint64_t delay = (uint64_t)ODD_MS_MIN << (file->tries < 10 ? file->tries : 10);

	if (file->own && file->good && file->items[0].i.kind != MAILBOX_SLOT)
		f->lost_count++;
	note_loss(f, file);
	folder_index_spoil(&f->index, file);
	if (file->foreign || delay > ODD_MS_MAX)
		delay = ODD_MS_MAX;
	file->tries++;
	file->retry_ms = now_ms + delay;
}

static void make_forged(struct folder *f, struct folder_file *file, uint64_t now_ms)
{
	AUTO(free_ptr) char *shown = log_quote(file->path, strlen(file->path));

	if (f->forged_count++ == 0)
		log_warn("folder: %s is not signed by the device it says it is of; it is not used",
			 shown);
	file->foreign = true;
	make_odd(f, file, now_ms);
}

static int read_head(struct folder *f, struct folder_file *file, struct segment *ret,
		     struct buf *bytes)
{
	int r = folder_io_read(f, file->path, 0, HEAD_BYTES, bytes);

	if (r == 0)
		r = segment_decode(buf_slice(bytes), file->size, ret);
	if (r == -EAGAIN) {
		r = folder_io_read(f, file->path, 0, SEGMENT_HEAD_BYTES_MAX, bytes);
		if (r == 0)
			r = segment_decode(buf_slice(bytes), file->size, ret);
	}
	return r;
}

static bool is_whole(struct folder *f, const struct folder_file *file, const struct segment *s)
{
	AUTO(buf_fini) struct buf all = {0};

	return folder_io_read(f, file->path, 0, (size_t)file->size, &all) == 0 &&
	       segment_is_whole(s, buf_slice(&all));
}

/* What this file is, by its content. */
static void examine(struct folder *f, struct folder_file *file, uint64_t now_ms)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(segment_fini) struct segment s = {0};
	bool was_good = file->good;
	struct id mailbox = mailbox_id(f->mailbox);
	int r = read_head(f, file, &s, &bytes);

	file->foreign = r == 0 && !id_eq(&s.mailbox, &mailbox);
	if (r < 0 || file->foreign) {
		make_odd(f, file, now_ms);
		return;
	}
	bool own = id_eq(&s.writer, &f->self);
	bool deep = was_good || (own && file->size <= OWN_WHOLE_BYTES) ||
		    (f->scanned && file->size <= WHOLE_BYTES);
	if (deep && !is_whole(f, file, &s)) {
		make_odd(f, file, now_ms);
		return;
	}
	file->known = false;
	folder_index_set(&f->index, file, &s);
	file->whole = deep;
	if (!check_writer(f, file)) {
		make_forged(f, file, now_ms);
		return;
	}
	f->news_ms = now_ms;
}

/* One own file that this run has not read yet, each time: what a disk has spoilt is found. */
static void scrub(struct folder *f, uint64_t now_ms)
{
	for (size_t i = 0; i < f->index.count; i++) {
		struct folder_file *file = f->index.files[i];

		if (!file->own || !file->good || file->whole || file->missing_ms)
			continue;
		examine(f, file, now_ms);
		return;
	}
}

static void note_file(struct folder *f, const char *path, const struct folder_entry *e)
{
	struct folder_file *file = folder_index_find(&f->index, path);

	if (!file)
		file = folder_index_add(&f->index, path);
	file->seen = true;
	file->missing_ms = 0;
	if (file->size == e->size && file->mtime_ns == e->mtime_ns)
		return;
	file->size = e->size;
	file->mtime_ns = e->mtime_ns;
	file->retry_ms = 1; /* now, good or not */
	file->tries = 0;
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name);
	size_t m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

/* iCloud calls "x.blz" ".x.blz.icloud" while it keeps it elsewhere: it is not gone. */
static void note_placeholder(struct folder *f, const char *dir, const char *name)
{
	AUTO(free_ptr)
	char *path = xasprintf("%s/%.*s", dir, (int)(strlen(name) - strlen("..icloud")), name + 1);
	struct folder_file *file = folder_index_find(&f->index, path);

	if (file)
		file->seen = true;
}

static int walk(struct folder *f, const char *dir, unsigned depth);

static int walk_entry(struct folder *f, const char *dir, const struct folder_entry *e,
		      unsigned depth)
{
	AUTO(free_ptr) char *path = xasprintf("%s/%s", dir, e->name);
	int r = 0;

	if (strlen(path) > PATH_MAX_BYTES)
		return 0;
	if (!e->is_dir && strncmp(e->name, ".~", 2) == 0 && ends_in(e->name, ".tmp")) {
		if (!f->scanned && strncmp(path, f->own, strlen(f->own)) == 0)
			(void)folder_io_unlink(f, path);
	} else if (!e->is_dir && e->name[0] == '.') {
		if (ends_in(e->name, ".blz.icloud"))
			note_placeholder(f, dir, e->name);
	} else if (!e->is_dir) {
		if (ends_in(e->name, ".blz"))
			note_file(f, path, e);
	} else if (depth < DEPTH_MAX && e->name[0] != '.') {
		r = walk(f, path, depth + 1);
	}
	/* What has gone meanwhile is found missing. */
	return r == -ENOENT ? 0 : r;
}

static int walk(struct folder *f, const char *dir, unsigned depth)
{
	struct folder_entry *entries = NULL;
	size_t count = 0;

	folder_io_watch(f, dir);
	int r = folder_io_list(f, dir, &entries, &count);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = walk_entry(f, dir, &entries[i], depth);
	folder_io_free(entries, count);
	return r;
}

/* Those below dir whose names begin like this: "blaze1 2" is what a provider makes of "blaze1" after a conflict. */
static int walk_like(struct folder *f, const char *dir, const char *begin, unsigned depth)
{
	struct folder_entry *entries = NULL;
	size_t count = 0;
	int r = folder_io_list(f, dir, &entries, &count);

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct folder_entry *e = &entries[i];

		if (!e->is_dir || strncmp(e->name, begin, strlen(begin)) != 0)
			continue;
		AUTO(free_ptr)
		char *path = dir[0] ? xasprintf("%s/%s", dir, e->name) : xstrdup(e->name);
		r = depth == 0 ? walk_like(f, path, strchr(f->base, '/') + 1, 1)
			       : walk(f, path, depth + 1);
	}
	folder_io_free(entries, count);
	return r;
}

static void forget_missing(struct folder *f, struct folder_file *file, uint64_t now_ms)
{
	if (!file->missing_ms && file->good) {
		file->missing_ms = now_ms;
		return;
	}
	if (file->good && now_ms < file->missing_ms + FOLDER_MISSING_PAUSES * f->pause_ms)
		return;
	if (file->good && file->own && file->items[0].i.kind != MAILBOX_SLOT &&
	    !folder_index_spare(&f->index, file) != FOLDER_NEEDED) {
		f->lost_count++;
		log_info("folder: a file that this device wrote is gone from %s; it is written again",
			 f->path);
	}
	note_loss(f, file);
	folder_index_remove(&f->index, file);
}

int folder_scan(struct folder *f, uint64_t now_ms)
{
	for (size_t i = 0; i < f->index.count; i++)
		f->index.files[i]->seen = false;
	int r = folder_io_is_dir(f, f->base);
	if (r == 0)
		r = walk_like(f, "", "blaze1", 0);
	/* A disk that went away in between has an empty directory in its place. */
	if (r == 0)
		r = folder_io_is_dir(f, f->base);
	if (r < 0)
		return r;
	folder_read_writers(f);
	for (size_t i = f->index.count; i-- > 0 && !atomic_load(&f->stopping);) {
		struct folder_file *file = f->index.files[i];

		if (!file->seen) {
			forget_missing(f, file, now_ms);
		} else if (file->retry_ms && now_ms >= file->retry_ms) {
			file->retry_ms = 0;
			examine(f, file, now_ms);
		} else if (file->good && !file->known && !check_writer(f, file)) {
			make_forged(f, file, now_ms);
		}
	}
	scrub(f, now_ms);
	f->scanned = true;
	return 0;
}

/* ---- taking -------------------------------------------------------------------------------------- */

struct taking {
	struct folder *f;
	struct mailbox_feed *feeds; /* sorted by tag */
	size_t feed_count;
	uint64_t *seqs; /* by feed: up to where it is here, or was taken */
	size_t seq_count;
	struct folder_file *cached;
	struct buf cache; /* all of that file */
	struct buf part;
	bool moved;
};

/* Up to where the feed with this tag is here, or was taken. One that nobody has heard of begins at 0. */
static uint64_t *seq_of(struct taking *t, const struct id *tag)
{
	size_t lo = 0;
	size_t hi = t->feed_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (id_cmp(&t->feeds[mid].tag, tag) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < t->feed_count && id_eq(&t->feeds[lo].tag, tag))
		return &t->seqs[t->feeds[lo].feed];
	t->feeds = xreallocarray(t->feeds, t->feed_count + 1, sizeof(*t->feeds));
	memmove(t->feeds + lo + 1, t->feeds + lo, (t->feed_count - lo) * sizeof(*t->feeds));
	t->feeds[lo] = (struct mailbox_feed){.tag = *tag, .feed = t->seq_count};
	t->feed_count++;
	t->seqs = xreallocarray(t->seqs, t->seq_count + 1, sizeof(*t->seqs));
	t->seqs[t->seq_count] = 0;
	return &t->seqs[t->seq_count++];
}

/* Anew for each round: what was taken names feeds, and keys. */
static void read_feeds(struct taking *t)
{
	free(t->feeds);
	t->feed_count = mailbox_feeds(t->f->mailbox, &t->feeds);
	t->seq_count = t->feed_count;
	t->seqs = xreallocarray(t->seqs, t->seq_count, sizeof(*t->seqs));
	memset(t->seqs, 0, t->seq_count * sizeof(*t->seqs));
	for (size_t i = 0; i < t->feed_count; i++)
		t->seqs[t->feeds[i].feed] = t->feeds[i].seq;
}

/* The sealed part; small files are read once for all their items. */
static int read_sealed(struct taking *t, struct folder_file *file, const struct segment_item *i,
		       struct slice *ret)
{
	int r = 0;

	if (file->size > WHOLE_BYTES) {
		r = folder_io_read(t->f, file->path, i->offset, i->len, &t->part);
		*ret = buf_slice(&t->part);
	} else {
		if (t->cached != file)
			r = folder_io_read(t->f, file->path, 0, (size_t)file->size, &t->cache);
		t->cached = r == 0 ? file : NULL;
		struct reader all = reader_init(buf_slice(&t->cache));
		(void)reader_take(&all, i->offset);
		*ret = reader_take(&all, i->len);
	}
	return r == 0 && ret->len != i->len ? -EBADMSG : r;
}

/* As mailbox_take(); -EBADMSG also when it cannot be read. */
static int take_item(struct taking *t, struct folder_file *file, struct folder_item *item)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct slice sealed;
	int r = read_sealed(t, file, &item->i, &sealed);

	if (r == 0) {
		segment_item(&item->i, sealed, &bytes);
		r = mailbox_take(t->f->mailbox, buf_slice(&bytes));
	} else {
		r = -EBADMSG;
	}
	if (r == -EBADMSG) {
		item->bad = true;
		file->retry_ms = monotonic_ms() + BAD_MS;
		t->f->index.version++;
	}
	if (r == 0)
		t->f->unsynced = true;
	return r;
}

/* Whether now is the time to take it: not before what comes before it. */
static bool is_next(struct taking *t, const struct folder_file *file, struct folder_item *item,
		    uint64_t **ret_seq)
{
	const struct segment_item *i = &item->i;

	*ret_seq = NULL;
	if (item->done || item->bad || i->kind == MAILBOX_CHUNK ||
	    !mailbox_has_key(t->f->mailbox, i->epoch))
		return false;
	/* What a device says that is not a member yet would be lost. */
	if (i->kind == MAILBOX_SLOT)
		return file->known;
	*ret_seq = seq_of(t, &i->tag);
	item->done = i->first + i->count - 1 <= **ret_seq;
	return !item->done && i->first <= **ret_seq + 1;
}

/* 1: too much waits for others already, so that others come first. */
static int take_file(struct taking *t, struct folder_file *file)
{
	for (size_t j = 0; j < file->count && !atomic_load(&t->f->stopping); j++) {
		struct folder_item *item = &file->items[j];
		uint64_t *seq = NULL;

		if (!is_next(t, file, item, &seq))
			continue;
		int r = take_item(t, file, item);
		if (r == -ENOBUFS)
			return 1;
		if (r < 0 && r != -EBADMSG)
			return r;
		t->moved = true;
		item->done = r == 0;
		if (seq && r == 0)
			*seq = item->i.first + item->i.count - 1;
	}
	return 0;
}

static int take_chunks(struct taking *t)
{
	AUTO(buf_fini) struct buf tags = {0};
	AUTO(buf_fini) struct buf lacked = {0};
	struct folder *f = t->f;
	int r = 0;

	if (f->chunk_version != f->index.version) {
		f->chunk_version = f->index.version;
		mailbox_unask(f->mailbox); /* what was lacking may be there now */
	}
	while (r == 0 && !atomic_load(&f->stopping)) {
		buf_clear(&tags);
		buf_clear(&lacked);
		if (mailbox_want_chunks(f->mailbox, &tags) == 0)
			break;
		struct reader list = reader_init(buf_slice(&tags));
		while (r >= 0 && reader_left(&list) > 0) {
			struct id tag = id_read(&list);
			struct folder_place p = folder_index_chunk(&f->index, &tag, NULL);

			r = p.file ? take_item(t, p.file, p.item) : -ENOENT;
			while (r == -EBADMSG && p.file) {
				p = folder_index_chunk(&f->index, &tag, NULL);
				r = p.file ? take_item(t, p.file, p.item) : -ENOENT;
			}
			if (r == -ENOENT) {
				id_write(&lacked, &tag);
				r = 0;
			}
		}
		mailbox_chunks_lacked(f->mailbox, buf_slice(&lacked));
	}
	return r;
}

static int take_feeds(struct taking *t)
{
	AUTO(free_ptr) struct folder_file **files = folder_index_in_order(&t->f->index);
	int r = 0;

	do {
		t->moved = false;
		read_feeds(t);
		for (size_t i = 0; i < t->f->index.count && r >= 0; i++) {
			if (files[i]->good)
				r = take_file(t, files[i]);
		}
	} while (r >= 0 && t->moved && !atomic_load(&t->f->stopping));
	return r < 0 ? r : 0;
}

int folder_take(struct folder *f)
{
	struct taking t = {.f = f};
	uint64_t version = f->index.version;
	uint64_t generation = db_generation(f->o.db);
	int r = mailbox_is_waiting(f->mailbox) ? mailbox_retry(f->mailbox) : 0;

	if (version != f->taken_version || generation != f->taken_generation) {
		if (r >= 0)
			r = take_feeds(&t);
		if (r >= 0)
			r = take_chunks(&t);
		f->taken_version = version;
		f->taken_generation = r >= 0 ? generation : 0;
	}
	free(t.feeds);
	free(t.seqs);
	buf_fini(&t.cache);
	buf_fini(&t.part);
	return r < 0 ? r : 0;
}
