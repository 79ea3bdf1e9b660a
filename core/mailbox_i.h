/* Private to core/mailbox*.c: what is known of one place. */
#ifndef BLAZE_CORE_MAILBOX_I_H
#define BLAZE_CORE_MAILBOX_I_H

#include "core/db_i.h"
#include "core/mailbox.h"
#include "core/sync_strata.h"

#define MAILBOX_ASK_MAX 256

struct waiting {
	struct id stream;
	uint64_t actor;
	struct buf envelope;
};

struct asked {
	struct id tag;
	struct chunk_id id;
};

/* What is left for later: what this device made (at a spare), and what others made. */
enum {
	MAILBOX_LATER_OWN,
	MAILBOX_LATER_FOREIGN,
	MAILBOX_LATER_COUNT
};

struct later {
	uint64_t from;	 /* the first arrival that was left; 0 = none */
	uint64_t due_ms; /* when that is put; 0 = not timed yet */
	bool ripe;	 /* this walk puts it */
};

struct mailbox {
	struct db *db;
	uint64_t place;
	struct id id;
	uint8_t key[DIGEST_BYTES];

	/* What the place holds, or was given. */
	bool started;
	struct buf claimed;    /* the list it began with */
	struct feed_pos *held; /* sorted */
	size_t held_count;
	uint64_t cursor;
	uint64_t gaps_filled;
	struct later later[MAILBOX_LATER_COUNT];
	bool spare; /* what this device made waits, too */

	/* An item that is put when its chunks are there. */
	struct buf item;
	struct feed_pos item_pos;
	struct chunk_id *chunks;
	size_t chunk_count;
	size_t chunk_next; /* those before were asked about */
	size_t asking;	   /* the last so many of these were not answered */
	struct chunk_id lacked[MAILBOX_ASK_MAX];
	size_t lacked_count;

	uint8_t slot[DIGEST_BYTES]; /* digest of the last one */

	/* What came. */
	struct waiting *waiting;
	size_t waiting_count;
	size_t waiting_bytes;
	struct sync_strata strata;
	struct asked wanted[MAILBOX_ASKED_MAX];
	size_t wanted_count;
	uint64_t *lacking; /* wants that the place has nothing for */
	size_t lacking_count;
	void (*on_log)(void *ctx, uint64_t actor, const struct mailbox_log *log);
	void *on_log_ctx;
};

/* mailbox.c */
struct id mailbox_feed_tag(const struct mailbox *m, const struct id *stream, uint64_t actor);
struct id mailbox_chunk_tag(const struct mailbox *m, const struct chunk_id *id);
struct id mailbox_slot_tag(const struct mailbox *m, uint64_t actor);
/** Seals an item. head: u8 kind, tag, numbers. Appends. */
void mailbox_seal(const struct mailbox *m, struct slice head, const struct feed_pos *of,
		  struct slice content, struct buf *out);
void mailbox_write_head(struct buf *head, enum mailbox_kind kind, const struct id *tag);
/** The place holds the feed up to there. */
void mailbox_raise(struct mailbox *m, const struct feed_pos *p);

#endif
