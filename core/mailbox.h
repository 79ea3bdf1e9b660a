/*
 * What a database gives to a place that keeps items and can read none (a relay's mailbox, a folder), and what it makes of
 * the items that others put there. ITEM and MAILBOX in net/PROTOCOL.md:
 *
 *   item     = u8 kind, 8 bytes epoch, 16 bytes tag, [varint seq_first, varint count: envelopes and strata], sealed, to the end
 *   sealed   = XChaCha20-Poly1305 (mailbox key, random nonce), bound to all before it, of:
 *              16 bytes stream, 8 bytes actor, content (zeros for what has none)
 *   epoch    = of the mailbox key: the first bytes of a key epoch's id (core/epoch.h); key = digest("blaze mailbox key", the epoch's)
 *   tag      = 16 bytes keyed by the mailbox key: of stream and actor, of a chunk's id, or of a device
 *   content  = the envelope (core/envelope.h), the stratum (core/stratum.h), the sealed chunk (core/chunk.h), or, of a slot:
 *              u8 1, varint count, then per feed 16 bytes stream, 8 bytes actor, varint seq: what the device holds durably;
 *              varint count, then per log of a relay: 16 bytes log id, varint cursor, 32 bytes chain: what it was shown;
 *              64 bytes signature by the device
 *
 * Who has no key sees kinds, epochs, tags, numbers and sizes. An item that was changed, or moved to another mailbox or tag, does
 * not open.
 *
 * KEY EPOCH: what is put is sealed under the newest epoch's mailbox key, so a device that was removed can tell nothing of what
 * came after, not even with all that the place holds. `auth` stays under the first one, as its envelopes do; and goes before all
 * else, so that who reads a log learns of an epoch before it meets something under it. What is under an epoch whose key is on
 * its way is left where it is, and read again when the key has come (mailbox_key_came()). A feed goes on under its new tag with
 * the number after the last one under the old tag; what a place holds of it is the most of all tags.
 *
 * Chunks go before the envelope that names them, if the place lacks them. What other devices made is put after
 * MAILBOX_FOREIGN_MS only: most of it comes from the place itself, or is put there by who made it. Of several places one is used
 * and the others are spares.
 *
 * Sans I/O. One thread at a time.
 */
#ifndef BLAZE_CORE_MAILBOX_H
#define BLAZE_CORE_MAILBOX_H

#include "core/digest.h"

struct db;
struct mailbox;

enum mailbox_kind {
	MAILBOX_ENVELOPE = 1,
	MAILBOX_STRATUM = 2,
	MAILBOX_CHUNK = 3,
	MAILBOX_SLOT = 4, /**< replaces the one of the same tag: what a device holds */
};

/** More than the largest envelope with all around it; less than a message may have. */
#define MAILBOX_ITEM_BYTES_MAX (79u << 20)
/** How long something that others made is waited for; and how long a spare is not told of what this device made. */
#define MAILBOX_FOREIGN_MS 3000
#define MAILBOX_SPARE_MS 1000
/** Of items whose predecessors are missing. */
#define MAILBOX_WAITING_BYTES_MAX (64u << 20)
/** Chunks that are asked for at once. */
#define MAILBOX_ASKED_MAX 64

/* ---- items, as everybody sees them --------------------------------------------------------------- */

struct mailbox_item {
	enum mailbox_kind kind;
	uint64_t epoch;
	struct id tag;
	uint64_t seq_first; /**< envelopes and strata */
	uint64_t count;
	struct slice head; /**< all before `sealed` */
	struct slice sealed;
};

/** -EBADMSG. Borrows from bytes. */
int mailbox_item_decode(struct slice bytes, struct mailbox_item *ret);

/** The same of its head alone; what follows is in `sealed`, whatever it is. */
int mailbox_head_decode(struct slice bytes, struct mailbox_item *ret);

/* ---- the database's side ------------------------------------------------------------------------- */

/** What a log of a relay was, as far as somebody has seen it. */
struct mailbox_log {
	struct id log;
	uint64_t cursor;
	uint8_t chain[DIGEST_BYTES];
};

/** The mailbox's name, the same for ever. */
struct id db_mailbox_id(struct db *db);

/** place: an actor that no device has; chunks are asked for in its name. */
struct mailbox *mailbox_create(struct db *db, uint64_t place);
void mailbox_destroy(struct mailbox *m);
struct id mailbox_id(const struct mailbox *m);

/** Nothing is known of what the place holds, and nothing is put until mailbox_start(). */
void mailbox_reset(struct mailbox *m);
/** What the place holds: 16 bytes tag and varint seq, each. -EBADMSG. */
int mailbox_start(struct mailbox *m, struct slice have);

/** Changes first to last of the feed that a tag names. */
struct mailbox_range {
	struct id tag;
	uint64_t first;
	uint64_t last;
};

/** What it holds by now: in any order, with gaps. Nothing else is forgotten; what it has no more is put again. */
void mailbox_holds(struct mailbox *m, const struct mailbox_range *ranges, size_t count);
/**
 * For a place where things are slow to show up: what others made is put wait_ms after it came, from the beginning on, and
 * looked at again wait_ms later where `leaves` says that its maker will put it. (`auth` goes first all the same.) Before
 * mailbox_start().
 */
void mailbox_be_patient(struct mailbox *m, uint64_t wait_ms,
			bool (*leaves)(void *ctx, uint64_t actor), void *ctx);

/** A feed by one of its tags, and up to where it is here. */
struct mailbox_feed {
	struct id tag;
	size_t feed; /**< the same for all tags of one feed; less than the count */
	uint64_t seq;
};

/** The feeds that are here under all their tags, sorted by tag. Returns the count; *ret is the caller's. */
size_t mailbox_feeds(struct mailbox *m, struct mailbox_feed **ret);
/** What a device is called at the place, the same for ever. */
struct id mailbox_device_tag(const struct mailbox *m, uint64_t actor);
/** Whether items of this epoch can be opened here. */
bool mailbox_has_key(struct mailbox *m, uint64_t epoch);

/** Whether the place said it had something that this device still lacks: asked once all that it gives was taken. */
bool mailbox_lags(const struct mailbox *m);

/**
 * A spare place gets all, but MAILBOX_SPARE_MS later, when what others made may have come from it: so it is complete, and costs
 * nothing while a change is on its way. Once it is no spare any more, what waits is put at once. mailbox_create() makes none.
 */
void mailbox_set_spare(struct mailbox *m, bool spare);

enum mailbox_next {
	MAILBOX_NOTHING,
	MAILBOX_PUT, /**< *ret is an item */
	MAILBOX_ASK, /**< *ret is tags of chunks, 16 bytes each: which of them does the place lack? mailbox_lacks() */
};

/** What to do next (ret is cleared first), or < 0: -EIO, -ENOSPC. now_ms: monotonic. */
int mailbox_next(struct mailbox *m, uint64_t now_ms, struct buf *ret);
/** When mailbox_next() is to be called although the database did not change; UINT64_MAX = never. */
uint64_t mailbox_due_ms(const struct mailbox *m);
/** The answer to MAILBOX_ASK: those the place lacks. */
void mailbox_lacks(struct mailbox *m, struct slice tags);

struct feed_pos;

/**
 * The next stratum that is here after *at (by feed and last change; zeros: the first): 1, and *at is where it ends, *ret_tag what
 * its feed is called at the place now; 0 = there is none; -EIO. A stratum is made of what every living device holds durably.
 */
int mailbox_next_stratum(struct mailbox *m, struct feed_pos *at, struct id *ret_tag);
/** It, as an item. What names chunks in it was put before, with these. -ENOENT it is gone, -EIO. */
int mailbox_seal_stratum(struct mailbox *m, const struct feed_pos *at, struct buf *ret);

/** The slot of this device, if what it says is news: 1, else 0. places: it is also news that a log is longer. */
int mailbox_next_slot(struct mailbox *m, const struct mailbox_log *logs, size_t count, bool places,
		      struct buf *ret);

/**
 * An item came. 0 also when it has to wait for others; -EBADMSG forged, damaged or of another place; -ENOKEY under an epoch
 * whose key is on its way: it has to be given again; -ENOBUFS too much is waiting; -EIO, -ENOSPC.
 */
int mailbox_take(struct mailbox *m, struct slice item);
/** Whether something waits, so that what came cannot be said to be taken. */
bool mailbox_is_waiting(const struct mailbox *m);
/** Whether mailbox_take() has said -ENOKEY of something that is no slot since mailbox_reset(). */
bool mailbox_awaits_key(const struct mailbox *m);
/** Whether it would say something else now of anything, slots too. */
bool mailbox_key_came(struct mailbox *m);
/** What waits may be possible now: the database changed. < 0 as mailbox_take(). */
int mailbox_retry(struct mailbox *m);
/** Logs that a slot named; for who compares. Set before anything is taken. */
void mailbox_on_log(struct mailbox *m,
		    void (*fn)(void *ctx, uint64_t actor, const struct mailbox_log *log), void *ctx);

/** Chunks this device lacks: appends tags, 16 bytes each, and returns how many. */
size_t mailbox_want_chunks(struct mailbox *m, struct buf *ret);
/** The place has none of these. */
void mailbox_chunks_lacked(struct mailbox *m, struct slice tags);
/** Whether chunks were asked for that did not come yet. */
bool mailbox_is_asking(const struct mailbox *m);
/** The connection is gone, or in doubt: what was asked for was not answered, and others may be asked. */
void mailbox_unask(struct mailbox *m);

#endif
