/*
 * Bulk deletions of other devices, held for confirmation: over half of a collection's records, and more
 * than HOLD_MIN, deleted by one device within HOLD_WINDOW_MS of its clock. The deletion is applied here as
 * everywhere, but the records stay in sight on this device until somebody accepts it, or refuses, which
 * brings the records back for all. A change to a held record, from here or elsewhere, brings that one back.
 *
 * A record that was moved to another collection was not deleted, in whatever order the two halves of that come.
 *
 * Which records a device holds is its own state, like what it has not received yet; it survives a restart. The
 * deleting device holds nothing, nor does one that joined after the deletion. While it holds, a collection
 * takes in further deletions of the same device.
 *
 *   D w dir16 actor8          varint time ms, count, next check, all, u8 held: what a device deleted in one go
 *   D l dir16 actor8 node16   nothing: a record of it
 *   D n node16                dir16 actor8: a record that is held
 */
#ifndef BLAZE_CORE_HOLD_H
#define BLAZE_CORE_HOLD_H

#include "core/db.h"

#define HOLD_MIN 10
#define HOLD_WINDOW_MS 10000

/**
 * Deletions are held from here on: somebody is there to be asked. What was deleted before it was first called on
 * this device, it never saw, and is not asked about. Call it before other threads use the database.
 */
int hold_enable(struct db *db);

struct hold {
	const char *path;   /**< of the collection; "" for records in the root */
	const char *author; /**< name of the device */
	uint64_t count;	    /**< records held */
	uint64_t all;	    /**< that were there before the deletion */
	uint64_t time_ms;   /**< of the last deletion, by the author's clock */
};

/** Calls fn for each, without the lock; everything is borrowed until it returns. */
void hold_list(struct db *db, void (*fn)(void *ctx, const struct hold *h), void *ctx);
/**
 * Ends the holds of a collection ("" = the records in the root, NULL = all): the records go (accept), or live
 * again everywhere. *ret_count is how many. -ENOENT when nothing is held there.
 */
int hold_end(struct db *db, const char *path, bool accept, uint64_t *ret_count);

#endif
