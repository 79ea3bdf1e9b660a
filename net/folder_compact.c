/*
 * Small files of this device are written together in larger ones, so that a folder of years has hundreds of files, not a million:
 * FILES_MAX of one size make some of the next; and a large one of which half is in strata is written without that half. A file goes when all that is in it was in a newer and whole one for
 * FOLDER_SPARE_PAUSES: somebody may be reading it; when it is in a stratum (net/folder_fold.c), for FOLDER_FOLDED_PAUSES. So nothing has to be remembered of a compaction that did not come to its end.
 */
#include "core/log.h"
#include "net/folder_i.h"

#include <stdlib.h>
#include <string.h>

#define FILES_MAX 32
#define OUT_BYTES (4u << 20)

/* Files of this size and more stay as they are. */
static const uint64_t sizes[] = {64u << 10, 1u << 20};

static bool is_mine(const struct folder_file *file)
{
	return file->own && file->known && file->good && !file->missing_ms && file->count > 0 &&
	       file->items[0].i.kind != MAILBOX_SLOT;
}

/* Large, and at least half of it is in strata. */
static bool is_hollow(struct folder *f, const struct folder_file *file)
{
	uint64_t folded = 0;
	uint64_t all = 0;

	for (size_t i = 0; i < file->count; i++) {
		const struct folder_item *item = &file->items[i];

		all += item->i.len;
		folded += folder_index_is_folded(&f->index, file, item) ? item->i.len : 0;
	}
	return file->size >= sizes[countof(sizes) - 1] && folded >= all - folded;
}

/* which: of a size, or, beyond the last one, the hollow ones. */
static bool is_of_kind(struct folder *f, const struct folder_file *file, size_t which)
{
	if (which == countof(sizes))
		return is_hollow(f, file);
	return file->size < sizes[which] && (which == 0 || file->size >= sizes[which - 1]);
}

static void drop_spare(struct folder *f, uint64_t now_ms)
{
	for (size_t i = f->index.count; i-- > 0;) {
		struct folder_file *file = f->index.files[i];

		enum folder_spare spare =
			is_mine(file) ? folder_index_spare(&f->index, file) : FOLDER_NEEDED;

		if (spare == FOLDER_NEEDED) {
			file->spare_ms = 0;
			continue;
		}
		if (!file->spare_ms)
			file->spare_ms = now_ms;
		uint64_t pauses =
			spare == FOLDER_FOLDED ? FOLDER_FOLDED_PAUSES : FOLDER_SPARE_PAUSES;
		if (now_ms < file->spare_ms + pauses * f->pause_ms)
			continue;
		int r = folder_io_unlink(f, file->path);
		if (r == 0 || r == -ENOENT)
			folder_index_remove(&f->index, file);
		else
			file->spare_ms = now_ms;
	}
}

struct merging {
	struct folder *f;
	struct buf *items;
	size_t count;
	size_t bytes;
};

static int flush(struct merging *m)
{
	struct slice *items = xcalloc(m->count, sizeof(*items));
	int r = 0;

	for (size_t i = 0; i < m->count; i++)
		items[i] = buf_slice(&m->items[i]);
	if (m->count > 0)
		r = folder_write_segment(m->f, items, m->count);
	free(items);
	for (size_t i = 0; i < m->count; i++)
		buf_fini(&m->items[i]);
	m->count = 0;
	m->bytes = 0;
	return r;
}

/* What is in a stratum is not written again: of a file with more, that stays. */
static int merge_file(struct merging *m, const struct folder_file *file)
{
	AUTO(buf_fini) struct buf all = {0};
	AUTO(segment_fini) struct segment s = {0};
	int r = folder_io_read(m->f, file->path, 0, (size_t)file->size, &all);

	if (r == 0)
		r = segment_decode(buf_slice(&all), all.len, &s);
	if (r == 0 && !segment_is_whole(&s, buf_slice(&all)))
		r = -EBADMSG;
	for (size_t i = 0; r == 0 && i < s.count; i++) {
		struct reader body = reader_init(buf_slice(&all));

		if (folder_index_is_folded(&m->f->index, file, &file->items[i]))
			continue;
		(void)reader_take(&body, s.items[i].offset);
		m->items = xreallocarray(m->items, m->count + 1, sizeof(*m->items));
		struct buf *item = &m->items[m->count++];
		*item = (struct buf){0};
		segment_item(&s.items[i], reader_take(&body, s.items[i].len), item);
		m->bytes += item->len;
		if (m->bytes >= OUT_BYTES || m->count == SEGMENT_ITEMS_MAX)
			r = flush(m);
	}
	return r;
}

static void merge(struct folder *f, size_t which)
{
	AUTO(free_ptr) struct folder_file **files = folder_index_in_order(&f->index);
	struct merging m = {.f = f};
	size_t count = f->index.count; /* grows with what is written */
	int r = 0;

	for (size_t i = 0; r >= 0 && i < count; i++) {
		if (is_mine(files[i]) && !files[i]->spare_ms && is_of_kind(f, files[i], which) &&
		    folder_index_spare(&f->index, files[i]) == FOLDER_NEEDED)
			r = merge_file(&m, files[i]);
	}
	if (r >= 0)
		r = flush(&m);
	for (size_t i = 0; i < m.count; i++)
		buf_fini(&m.items[i]);
	free(m.items);
	/* One that cannot be read any more is found so when it is looked at. */
	if (r != -EBADMSG)
		folder_note_write(f, r);
}

/* What was written last is not listed yet: until it is known to be whole, it stands for nothing. */
static bool was_read_again(const struct folder *f)
{
	for (size_t i = 0; i < f->index.count; i++) {
		if (is_mine(f->index.files[i]) && f->index.files[i]->mtime_ns == -1)
			return false;
	}
	return true;
}

void folder_compact(struct folder *f, uint64_t now_ms)
{
	drop_spare(f, now_ms);
	if (!was_read_again(f))
		return;
	if (now_ms < f->retry_ms)
		return;
	for (size_t which = 0; which <= countof(sizes); which++) {
		size_t enough = which < countof(sizes) ? FILES_MAX : 1;
		size_t count = 0;

		if (which == countof(sizes) && f->hollow_version == f->index.version)
			continue;

		for (size_t i = 0; i < f->index.count; i++) {
			const struct folder_file *file = f->index.files[i];

			count += is_mine(file) && !file->spare_ms && is_of_kind(f, file, which);
		}
		if (count >= enough) {
			merge(f, which);
			return;
		}
	}
	f->hollow_version = f->index.version;
}
