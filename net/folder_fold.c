/*
 * What is old becomes small here, too: where this device's files have envelopes of which the database has made a stratum
 * (core/stratum.h), that is written as well, and the files with the envelopes go, as those do that are in a larger one
 * (net/folder_compact.c). A stratum is made of what every living device holds durably, so its envelopes are new to nobody; and who was
 * away for longer, or joins later, gets the same changes out of it: at no time is less there than all.
 *
 * Each device does so in its own directory only, and for what is under the current key: what was put before a device was removed
 * stays as it is. Chunks stay: each is of some version in the history.
 */
#include "core/db.h"
#include "net/folder_i.h"

#include <stdlib.h>

/* Fewer envelopes are not worth another file. */
#define ENVELOPES_MIN 8
/* While nothing changes here or there, it is looked half as often each time, so many times. */
#define SLOWER_MAX 6

struct folding {
	struct buf *items;
	size_t count;
	size_t bytes;
};

static void folding_fini(struct folding *w)
{
	for (size_t i = 0; i < w->count; i++)
		buf_fini(&w->items[i]);
	free(w->items);
}

/* 1 = there is more than fits into one segment. */
static int gather(struct folder *f, struct folding *w)
{
	struct feed_pos at = {0};
	struct feed_pos last = {0};
	struct id tag;
	int r = 0;

	while ((r = mailbox_next_stratum(f->mailbox, &at, &tag)) > 0) {
		bool same = id_eq(&at.stream, &last.stream) && at.actor == last.actor;
		uint64_t after = same ? last.seq : 0;

		last = at;
		if (folder_index_count_foldable(&f->index, &tag, after, at.seq) < ENVELOPES_MIN)
			continue;
		if (w->bytes >= FOLDER_SEGMENT_BYTES)
			return 1;
		w->items = xreallocarray(w->items, w->count + 1, sizeof(*w->items));
		w->items[w->count] = (struct buf){0};
		r = mailbox_seal_stratum(f->mailbox, &at, &w->items[w->count++]);
		if (r < 0)
			return r;
		w->bytes += w->items[w->count - 1].len;
	}
	return r;
}

void folder_fold(struct folder *f, uint64_t now_ms)
{
	AUTO(folding_fini) struct folding w = {0};
	uint64_t generation = db_generation(f->o.db);

	/* What is here and not there goes first; and what it has has to be known. */
	if (now_ms < f->fold_ms || now_ms < f->retry_ms || f->busy || f->item_count > 0 ||
	    f->taken_version != f->index.version || db_own_role(f->o.db) < MEMBER_WRITE)
		return;
	if (generation != f->fold_generation || f->index.version != f->fold_version)
		f->fold_slower = 0;
	else if (f->fold_slower < SLOWER_MAX)
		f->fold_slower++;
	f->fold_generation = generation;
	f->fold_version = f->index.version; /* what others acknowledge are files, too */
	f->fold_ms = now_ms + (FOLDER_FOLDED_PAUSES * f->pause_ms << f->fold_slower);
	int r = gather(f, &w);
	if (r == 1)
		f->fold_ms = 0;
	if (w.count == 0 || r < 0)
		return;
	AUTO(free_ptr) struct slice *items = xcalloc(w.count, sizeof(*items));
	for (size_t i = 0; i < w.count; i++)
		items[i] = buf_slice(&w.items[i]);
	folder_note_write(f, folder_write_segment(f, items, w.count));
}
