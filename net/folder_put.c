/* What is written into the folder. */
#include "core/log.h"
#include "net/folder_i.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETRY_MS_MIN 1000
#define RETRY_MS_MAX 60000
#define ACKS_KEPT 2

uint64_t folder_next_number(struct folder *f)
{
	uint64_t now = db_now_ms(f->o.db);

	for (size_t i = 0; i < f->index.count; i++) {
		const struct folder_file *file = f->index.files[i];

		if (file->own && file->known && file->number > f->number && file->number < INT64_MAX)
			f->number = file->number;
	}
	f->number = now > f->number ? now : f->number + 1;
	return f->number;
}

/* A folder that cannot be written to is told of, and tried again. */
void folder_note_write(struct folder *f, int r)
{
	uint64_t delay = (uint64_t)RETRY_MS_MIN << (f->write_tries < 6 ? f->write_tries : 6);

	if (r >= 0) {
		f->write_tries = 0;
		f->retry_ms = 0;
		f->write_error[0] = 0;
		f->written_ms = db_now_ms(f->o.db);
		return;
	}
	(void)snprintf(f->write_error, sizeof(f->write_error), "cannot be written to: %s%s",
		       strerror(-r),
		       r == -ENOSPC || r == -EDQUOT ? "; what waits is kept here meanwhile" : "");
	if (f->write_tries++ == 0)
		log_warn("folder %s %s", f->path, f->write_error);
	f->retry_ms = monotonic_ms() + (delay < RETRY_MS_MAX ? delay : RETRY_MS_MAX);
}

static void month_dir(const struct folder *f, uint64_t number, char *out, size_t size)
{
	time_t s = (time_t)(number / 1000);
	struct tm tm = {0};

	(void)gmtime_r(&s, &tm);
	(void)snprintf(out, size, "%s/%04d%02d", f->own, (tm.tm_year + 1900) % 10000, tm.tm_mon + 1);
}

/* Puts it into the index as if it had been listed; that it is read again compares it with what was meant. */
static void note_own(struct folder *f, const char *dir, const char *name, struct segment *s)
{
	AUTO(free_ptr) char *path = xasprintf("%s/%s", dir, name);
	struct folder_file *file = folder_index_find(&f->index, path);

	if (!file)
		file = folder_index_add(&f->index, path);
	file->size = s->size;
	file->mtime_ns = -1;
	folder_index_set(&f->index, file, s);
	for (size_t i = 0; i < file->count; i++)
		file->items[i].done = true;
	file->own = true;
	file->known = true;
}

int folder_write_segment(struct folder *f, const struct slice *items, size_t count)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(segment_fini)
	struct segment s = {.mailbox = mailbox_id(f->mailbox), .writer = f->self};
	char dir[160];
	char name[80];

	s.number = folder_next_number(f);
	segment_encode(&s, f->o.keys, items, count, &bytes);
	if (s.items[0].kind == MAILBOX_SLOT) {
		(void)snprintf(dir, sizeof(dir), "%s", f->own);
		(void)snprintf(name, sizeof(name), "ack-%012" PRIx64 ".blz", s.number);
	} else {
		month_dir(f, s.number, dir, sizeof(dir));
		(void)snprintf(name, sizeof(name), "%012" PRIx64 "-%zu-%02x%02x%02x%02x%02x.blz",
			       s.number, count, s.text[0], s.text[1], s.text[2], s.text[3],
			       s.text[4]);
	}
	int r = folder_io_write(f, dir, name, buf_slice(&bytes));
	if (r == -ENOENT) {
		r = folder_io_is_dir(f, f->base);
		if (r == 0)
			r = folder_io_mkdir(f, dir);
		if (r == 0)
			r = folder_io_write(f, dir, name, buf_slice(&bytes));
	}
	if (r == 0)
		note_own(f, dir, name, &s);
	return r;
}

void folder_tell_mailbox(struct folder *f)
{
	AUTO(free_ptr) struct mailbox_range *ranges = NULL;
	size_t n = folder_index_have(&f->index, f->heads, f->item_count, &ranges);

	mailbox_holds(f->mailbox, ranges, n);
}

/* ---- what changed -------------------------------------------------------------------------------- */

void folder_keep(struct folder *f, struct buf *item)
{
	struct mailbox_item head;
	int r = mailbox_item_decode(buf_slice(item), &head);

	assert(r == 0);
	f->items = xreallocarray(f->items, f->item_count + 1, sizeof(*f->items));
	f->heads = xreallocarray(f->heads, f->item_count + 1, sizeof(*f->heads));
	f->heads[f->item_count] = (struct segment_item){.kind = head.kind,
							.epoch = head.epoch,
							.tag = head.tag,
							.first = head.seq_first,
							.count = head.count,
							.len = (uint32_t)head.sealed.len};
	f->items[f->item_count++] = *item;
	f->item_bytes += item->len;
	*item = (struct buf){0};
}

static bool waits(const struct folder *f, const struct id *tag)
{
	for (size_t i = 0; i < f->item_count; i++) {
		if (f->heads[i].kind == MAILBOX_CHUNK && id_eq(&f->heads[i].tag, tag))
			return true;
	}
	return false;
}

void folder_answer(struct folder *f, struct mailbox *m, struct slice tags)
{
	AUTO(buf_fini) struct buf lacked = {0};
	struct reader r = reader_init(tags);

	while (reader_left(&r) > 0) {
		struct id tag = id_read(&r);
		struct folder_place p = folder_index_chunk(&f->index, &tag, NULL);

		while (p.file && !p.file->known)
			p = folder_index_chunk(&f->index, &tag, p.item);
		if (!p.file && !waits(f, &tag))
			id_write(&lacked, &tag);
	}
	mailbox_lacks(m, buf_slice(&lacked));
}

/* 1: there is more, 0: that was all. */
static int gather(struct folder *f)
{
	while (f->item_bytes < FOLDER_SEGMENT_BYTES && f->item_count < SEGMENT_ITEMS_MAX) {
		AUTO(buf_fini) struct buf item = {0};
		int r = mailbox_next(f->mailbox, monotonic_ms(), &item);

		if (r < 0 || r == MAILBOX_NOTHING)
			return r < 0 || !folder_check_is_due(f, monotonic_ms()) ? r
										: folder_check(f);
		if (r == MAILBOX_ASK)
			folder_answer(f, f->mailbox, buf_slice(&item));
		else
			folder_keep(f, &item);
	}
	return 1;
}

/* The last item may be far larger than a segment is meant to be: it then goes alone. */
static int write_items(struct folder *f)
{
	size_t count = f->item_count;

	if (f->item_bytes > 2 * FOLDER_SEGMENT_BYTES && count > 1)
		count--;
	struct slice *items = xcalloc(count, sizeof(*items));
	for (size_t i = 0; i < count; i++)
		items[i] = buf_slice(&f->items[i]);
	int r = folder_write_segment(f, items, count);
	free(items);
	folder_note_write(f, r);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		f->item_bytes -= f->items[i].len;
		buf_fini(&f->items[i]);
	}
	f->item_count -= count;
	memmove(f->items, f->items + count, f->item_count * sizeof(*f->items));
	memmove(f->heads, f->heads + count, f->item_count * sizeof(*f->heads));
	return 0;
}

static void put_changes(struct folder *f, uint64_t now_ms)
{
	uint64_t generation = db_generation(f->o.db);
	bool wrote = false;
	int more = 1;
	int r = 0;

	folder_tell_mailbox(f);
	while (r >= 0 && (more > 0 || f->item_count > 0)) {
		if (more > 0)
			more = gather(f);
		if (more < 0) {
			(void)snprintf(f->write_error, sizeof(f->write_error),
				       "this database cannot be read: %s", strerror(-more));
			f->retry_ms = now_ms + RETRY_MS_MAX;
			return;
		}
		if (f->item_count > 0)
			r = write_items(f);
		wrote = wrote || f->item_count == 0;
		if (atomic_load(&f->stopping) && more > 0)
			return;
	}
	if (wrote)
		f->put_last_ms = monotonic_ms();
	f->put_ms = 0;
	if (r < 0)
		return;
	f->busy = false;
	f->looked = generation;
	folder_check_done(f);
}

/* ---- acks ---------------------------------------------------------------------------------------- */

static void drop_old_acks(struct folder *f)
{
	AUTO(free_ptr) struct folder_file **files = folder_index_in_order(&f->index);
	size_t kept = 0;

	for (size_t i = f->index.count; i-- > 0;) {
		struct folder_file *file = files[i];

		if (!file->own || !file->known || file->count != 1 ||
		    file->items[0].i.kind != MAILBOX_SLOT || kept++ < ACKS_KEPT)
			continue;
		int r = folder_io_unlink(f, file->path);
		if (r == 0 || r == -ENOENT)
			folder_index_remove(&f->index, file);
	}
}

/* What is said to be held here has to survive a power cut. */
static void put_ack(struct folder *f)
{
	AUTO(buf_fini) struct buf newer = {0};

	f->ack_ms = 0;
	if (f->unsynced && db_sync(f->o.db) < 0)
		return;
	f->unsynced = false;
	if (mailbox_next_slot(f->mailbox, NULL, 0, false, &newer) > 0) {
		buf_clear(&f->ack);
		buf_slice_append(&f->ack, buf_slice(&newer));
	}
	if (f->ack.len == 0)
		return;
	struct slice item = buf_slice(&f->ack);
	int r = folder_write_segment(f, &item, 1);
	folder_note_write(f, r);
	f->ack_last_ms = monotonic_ms();
	if (r < 0)
		return;
	buf_clear(&f->ack_written);
	buf_slice_append(&f->ack_written, item);
	buf_clear(&f->ack);
	drop_old_acks(f);
}

/* ---- when ---------------------------------------------------------------------------------------- */

static uint64_t due(const struct folder *f, uint64_t now_ms, uint64_t last_ms)
{
	uint64_t at = now_ms + FOLDER_GATHER_MS;

	return last_ms && last_ms + f->pause_ms > at ? last_ms + f->pause_ms : at;
}

void folder_put(struct folder *f, uint64_t now_ms, bool now)
{
	uint64_t generation = db_generation(f->o.db);

	if (generation != f->seen_generation ||
	    (!f->busy && (now_ms >= mailbox_due_ms(f->mailbox) || folder_check_is_due(f, now_ms)))) {
		f->seen_generation = generation;
		f->busy = true;
		if (!f->ack_ms)
			f->ack_ms = due(f, now_ms, f->ack_last_ms);
	}
	if (f->busy && !f->put_ms)
		f->put_ms = due(f, now_ms, f->put_last_ms);
	if (now_ms < f->retry_ms && !now)
		return;
	if (f->busy && (now || now_ms >= f->put_ms))
		put_changes(f, now_ms);
	if ((f->ack_ms || f->ack.len) && (now || now_ms >= f->ack_ms) && now_ms >= f->retry_ms)
		put_ack(f);
}

uint64_t folder_put_due(const struct folder *f)
{
	uint64_t at = f->busy ? f->put_ms : mailbox_due_ms(f->mailbox);

	if (!f->busy && f->check_all_ms && f->check_all_ms < at)
		at = f->check_all_ms;
	if (f->ack_ms && f->ack_ms < at)
		at = f->ack_ms;
	if (f->ack.len && f->retry_ms < at)
		at = f->retry_ms;
	return at < f->retry_ms ? f->retry_ms : at;
}
