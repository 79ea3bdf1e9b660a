/* Private to core/mailbox*.c: what is known of one place. */
#ifndef BLAZE_CORE_MAILBOX_I_H
#define BLAZE_CORE_MAILBOX_I_H

#include "core/db_i.h"
#include "core/mailbox.h"
#include "core/sync_strata.h"

#define MAILBOX_ASK_MAX 256
/** Epochs under which a chunk may be at the place without being put again. */
#define MAILBOX_ASK_KEYS 4
/** Epochs that are waited for. */
#define MAILBOX_AWAITED_MAX 16

/** Of an epoch. */
struct mailbox_key {
	uint64_t epoch;
	uint8_t key[DIGEST_BYTES];
};

struct waiting {
	struct id stream;
	uint64_t actor;
	struct buf envelope;
};

struct asked {
	struct id tag;
	struct chunk_id id;
	size_t nth; /* of mailbox_nth_key(): the tag is under that key */
	bool again; /* to be asked for once more: it was not there under another key */
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
	uint64_t next;	 /* the first that this walk leaves to its maker again; 0 = none */
};

struct mailbox {
	struct db *db;
	uint64_t place;
	struct id id;
	struct mailbox_key *keys; /* as in the database's ring: the first epoch's first */
	size_t key_count;
	struct awaited {
		uint64_t epoch;
		bool slot; /* only a slot is under it: the log is not held up */
	} awaited[MAILBOX_AWAITED_MAX];
	size_t awaited_count;

	/* What the place holds, or was given. */
	bool started;
	struct buf claimed;    /* the list it began with */
	struct feed_pos *held; /* sorted */
	size_t held_count;
	uint64_t cursor;
	uint64_t auth_looked; /* the database's generation when the place lacked nothing of `auth` */
	uint64_t gaps_filled;
	struct later later[MAILBOX_LATER_COUNT];
	bool spare; /* what this device made waits, too */
	uint64_t foreign_wait_ms;
	bool (*leaves)(void *ctx,
		       uint64_t actor); /* what this one made it will put itself; or NULL */
	void *leaves_ctx;

	/* An item that is put when its chunks are there. */
	struct buf item;
	struct feed_pos item_pos;
	struct chunk_id *chunks;
	size_t chunk_count;
	size_t chunk_next;		     /* those before were asked about */
	size_t asking;			     /* the last so many of these were not answered */
	size_t asked_keys[MAILBOX_ASK_KEYS]; /* under these keys of `keys` */
	size_t asked_key_count;
	struct chunk_id lacked[MAILBOX_ASK_MAX];
	size_t lacked_count;

	uint8_t slot[DIGEST_BYTES]; /* digests of the last one: of what is held, and of where the logs are */
	uint8_t slot_places[DIGEST_BYTES];

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

/* mailbox_keys.c */
/** Takes the keys that have come. */
void mailbox_refresh_keys(struct mailbox *m);
void mailbox_keys_fini(struct mailbox *m);
/** NULL: not here. Valid until mailbox_refresh_keys(). */
const struct mailbox_key *mailbox_find_key(struct mailbox *m, uint64_t epoch);
/** What items of this stream are sealed under now. */
const struct mailbox_key *mailbox_current_key(struct mailbox *m, const struct id *stream);
/** The index of the nth most likely one: the current, then the others, those that came last first. */
size_t mailbox_nth_key(const struct mailbox *m, size_t nth);
/** Of an item that came: -ENOKEY the epoch is known of, and its key is not here; -EBADMSG it is not known of. */
int mailbox_await_key(struct mailbox *m, const struct mailbox_item *item);
/** Nothing waits any more: epochs that nobody has named are not waited for. */
void mailbox_await_less(struct mailbox *m);
struct id mailbox_feed_tag(const struct mailbox_key *key, const struct id *stream, uint64_t actor);
struct id mailbox_chunk_tag(const struct mailbox_key *key, const struct chunk_id *id);
struct id mailbox_slot_tag(const struct mailbox_key *key, uint64_t actor);
void mailbox_write_head(struct buf *head, enum mailbox_kind kind, const struct mailbox_key *key,
			const struct id *tag);
/** Seals an item. head: all that stands before. Appends. */
void mailbox_seal(const struct mailbox_key *key, struct slice head, const struct feed_pos *of,
		  struct slice content, struct buf *out);

/* mailbox.c */
/** The place holds the feed up to there. */
void mailbox_raise(struct mailbox *m, const struct feed_pos *p);

#endif
