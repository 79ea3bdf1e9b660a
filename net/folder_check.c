/*
 * Chunks that went missing. An envelope that is gone leaves a gap in its feed, which is seen; a chunk leaves none. So when a file
 * with chunks is lost, or there are fewer chunks than there were when this device last looked, all envelopes are walked as if
 * for an empty folder, and of what would be put only the chunks are that are not there: what this device made at once, what
 * others made when they had time to do that themselves.
 */
#include "core/log.h"
#include "net/folder_i.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many chunks there were, across restarts. */
static char *setting_name(const struct folder *f)
{
	struct slice path = SLICE_STR(f->path);
	struct id id = digest_id("blaze folder chunks", &path, 1);
	char hex[ID_HEX_BYTES];

	id_hex(&id, hex);
	return xasprintf("folder.%s", hex);
}

void folder_check_load(struct folder *f)
{
	AUTO(free_ptr) char *name = setting_name(f);
	AUTO(free_ptr) char *text = NULL;

	if (db_get_setting(f->o.db, name, &text) >= 0 && text)
		f->chunks_known = strtoull(text, NULL, 10);
}

static void save(struct folder *f, uint64_t count)
{
	AUTO(free_ptr) char *name = setting_name(f);
	AUTO(free_ptr) char *text = xasprintf("%" PRIu64, count);

	if (count == f->chunks_known)
		return;
	f->chunks_known = count;
	int r = db_set_setting(f->o.db, name, text);
	if (r < 0)
		log_warn("cannot remember how much is in a folder: %s, ignoring", strerror(-r));
}

void folder_check_later(struct folder *f, bool own)
{
	if (own)
		f->check_own = true;
	f->check_all_ms = monotonic_ms() + FOLDER_MAKER_PAUSES * f->pause_ms;
}

void folder_check_opened(struct folder *f)
{
	if (folder_index_chunk_count(&f->index) < f->chunks_known)
		folder_check_later(f, true);
}

bool folder_check_is_due(const struct folder *f, uint64_t now_ms)
{
	return f->checker || f->check_own || (f->check_all_ms && now_ms >= f->check_all_ms);
}

static bool leaves_all(void *ctx, uint64_t actor)
{
	(void)ctx;
	(void)actor;
	return true;
}

static void start(struct folder *f)
{
	bool all = !f->check_own;

	/* Nothing is asked for in the name of this place. */
	f->checker = mailbox_create(f->o.db, 1);
	if (!all)
		mailbox_be_patient(f->checker, MAILBOX_FOREIGN_MS, leaves_all, NULL);
	int r = mailbox_start(f->checker, SLICE("", 0));
	assert(r == 0);
	if (all)
		f->check_all_ms = 0;
	f->check_own = false;
	log_info("folder %s: looking which chunks are missing there", f->path);
}

int folder_check(struct folder *f)
{
	int r = MAILBOX_PUT;

	if (!f->checker)
		start(f);
	while (r > 0 && f->item_bytes < FOLDER_SEGMENT_BYTES && f->item_count < SEGMENT_ITEMS_MAX &&
	       !atomic_load(&f->stopping)) {
		AUTO(buf_fini) struct buf item = {0};
		struct mailbox_item head;

		r = mailbox_next(f->checker, monotonic_ms(), &item);
		if (r == MAILBOX_ASK)
			folder_answer(f, f->checker, buf_slice(&item));
		else if (r == MAILBOX_PUT && mailbox_item_decode(buf_slice(&item), &head) == 0 &&
			 head.kind == MAILBOX_CHUNK)
			folder_keep(f, &item);
	}
	if (r <= 0)
		mailbox_destroy(STEAL(f->checker));
	return r;
}

void folder_check_done(struct folder *f)
{
	if (!f->checker && !f->check_own && !f->check_all_ms)
		save(f, folder_index_chunk_count(&f->index));
}

/* Whether the other files have no copy of some chunk in this one. */
bool folder_check_loses(struct folder *f, struct folder_file *file)
{
	bool loses = false;

	file->good = false;
	f->index.version++;
	for (size_t i = 0; i < file->count && !loses; i++) {
		const struct segment_item *item = &file->items[i].i;

		loses = item->kind == MAILBOX_CHUNK &&
			!folder_index_chunk(&f->index, &item->tag, NULL).file;
	}
	file->good = true;
	f->index.version++;
	return loses;
}
