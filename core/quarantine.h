/*
 * QUARANTINE: what a device wrote that was removed, or may only read now, beyond what anybody had taken of it by then. Nobody applies
 * it, whatever its date; it may be honest work from before the device heard of it, though, so it is kept as it came, until a person
 * who may manage adopts it (core/adopt.h), or refuses it.
 *
 *   Q stream actor seq_first   32 bytes hash of the envelope, the envelope
 *   R actor                    8 bytes lamport, 8 bytes actor: refused; counts for the removal of this id only
 *
 * Kept is, of each feed, a chain that goes on from what is applied: each envelope is signed, can be opened, holds well-formed changes
 * and follows on the one before. Of a device that has said where it stood when it heard (HEARD), nothing beyond that is.
 * Of two different chains the one that came first is kept, the other one is flagged; which one counts, ADOPT says, and what
 * is not in it goes.
 */
#ifndef BLAZE_CORE_QUARANTINE_H
#define BLAZE_CORE_QUARANTINE_H

#include "core/db.h"

/** Of one device: more than years of work of a person. What is too much waits where it was made. */
#define QUARANTINE_BYTES_MAX (UINT64_C(96) << 20)
#define QUARANTINE_COUNT_MAX 4096
/** Of all. */
#define QUARANTINE_ALL_BYTES_MAX (UINT64_C(256) << 20)

/** What is kept of one feed. */
struct kept {
	struct id stream;
	uint64_t actor;
	uint64_t first; /**< change */
	uint64_t last;
	uint64_t count; /**< envelopes; 0: nothing is */
	uint64_t bytes;
	uint8_t head[DIGEST_BYTES]; /**< hash of the last */
};

/* ---- for core/sync_kept.c ------------------------------------------------------------------------- */

/** Where what is kept ends, of each feed, sorted. Returns the count; *ret is the caller's. */
size_t db_kept(struct db *db, struct feed_pos **ret);
/** Another number whenever that changed; never 0. */
uint64_t db_kept_revision(struct db *db);
/** Whether something of what ends there would be kept here, and is not. */
bool db_lacks_kept(struct db *db, const struct feed_pos *theirs, size_t count);
/** The envelope that begins after this change of a feed. 1 = found, 0 = none is kept. */
int db_next_kept(struct db *db, const struct feed_pos *after, struct feed_item *ret_item,
		 struct buf *ret);
/**
 * What is here of the feeds of a device that was removed, sorted: applied, or kept; of one that was refused all that there may
 * ever be, so that it does not send it again. As db_have().
 */
size_t db_have_of(struct db *db, uint64_t actor, struct feed_pos **ret);
/** What is applied here of others' feeds but `auth`. Returns the count; *ret is the caller's. */
size_t db_have_of_others(struct db *db, struct feed_pos **ret);
/** Whether this device gives what ends there to others: once it has heard that it was removed, nothing that it makes later. */
bool db_gives(struct db *db, const struct feed_pos *pos);
/** Whether it is the stream that says who is a member. */
bool db_is_auth(const struct db *db, const struct id *stream);
/** Whether that device was removed, as far as is known here. */
bool db_is_outside(struct db *db, uint64_t actor);

#endif
