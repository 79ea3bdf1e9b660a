/*
 * What is old becomes small. In bounded steps, by whoever has time (fs' syncer, `blaze compact`):
 * envelopes that every living device holds are folded into strata (core/stratum.h).
 *
 * The cut is, for each feed, what all living members and this device are known to hold durably. A
 * member is living that showed a sign of life within COMPACT_SILENT_MS: it connected, or acknowledged
 * something new to anybody. Whom this device counts as living is its own business, never told to others
 * and without effect on what is shown: what compaction takes away can be made again from what it leaves.
 *
 * Threads: any. A step holds the database's lock for one small batch; the work before is done without.
 */
#ifndef BLAZE_CORE_COMPACT_H
#define BLAZE_CORE_COMPACT_H

#include "core/db.h"

#define COMPACT_SILENT_MS (UINT64_C(90) * 24 * 3600 * 1000)

/** One step. 1 = there may be more to do, 0 = nothing to do now, -EIO, -ENOSPC. */
int db_compact_step(struct db *db);
/** Packs the logs of all texts now, and makes the store as small as it can be. For a person who asks; takes a while. */
int db_pack_texts(struct db *db);
/** The cut, sorted. Returns the count; *ret is the caller's. */
size_t db_cut(struct db *db, struct feed_pos **ret);
/** This member showed that it lives. */
void db_heard(struct db *db, uint64_t device);

struct compact_stats {
	uint64_t change_count; /**< in all feeds */
	uint64_t cut_count;    /**< of those, at or below the cut */
	uint64_t folded_count; /**< of those, in strata */
	uint64_t strata_count;
	uint64_t strata_bytes;
	uint64_t missing_count; /**< of those, older than this device and not here yet (core/snapshot.h) */
	size_t silent_count; /**< members that are not waited for */
};

/** Reads every stratum's size: for people. */
int db_get_compact_stats(struct db *db, struct compact_stats *ret);

#endif
