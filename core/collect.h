/*
 * Collection: chunks that nothing needs are removed from the packs (core/packs.h).
 *
 * Needed are the chunks, and the parts of manifests, of
 *   - every value that a record has now: what it shows, what lost, what it is waiting for,
 *   - every version in the history, unless the caller gives up those replaced before a time,
 *   - what the local namespace names, which the caller tells (struct collect_options),
 *   - every manifest in memory: open files, saves and imports under way,
 *   - and whatever anybody asks for, or puts, while this is going on.
 * What is left over comes of saves that something newer overtook while they were imported, of files that stay on the device
 * and were changed or removed, of pieces that were damaged and fetched again.
 *
 * A version given up is gone from this device only: its place in the history stays, and says so. Given up is nothing that a
 * peer may still need: a version counts as replaced once the change that replaced it is known to be on every living device
 * (the cut, core/compact.h), for whoever has that change never asks for the version before it.
 *
 * Cost: reads all changes and the states of all records, in short transactions; 25 bytes of memory a chunk, twice.
 * Threads: any, one at a time; for whoever has time. Not within a transaction.
 */
#ifndef BLAZE_CORE_COLLECT_H
#define BLAZE_CORE_COLLECT_H

#include "core/db_chunks.h"

struct store_view;

struct collect_options {
	/** Tells of the manifests that a higher layer has stored: calls fn for each. May be NULL. */
	int (*stored)(struct store_view *view, void (*fn)(void *ctx, struct slice manifest),
		      void *ctx);
	/** Gives up versions replaced before this wall clock time; 0: none. */
	uint64_t before_ms;
	bool dry_run;			 /**< only counts */
	bool (*is_cancelled)(void *ctx); /**< asked now and then; may be NULL */
	void *ctx;
};

struct collect_stats {
	uint64_t chunk_count;	/**< in the index */
	uint64_t garbage_count; /**< of those, not needed: removed, unless it was a dry run */
	uint64_t garbage_bytes;
	uint64_t version_count; /**< versions given up, at this time or before */
	uint64_t file_bytes;	/**< of all packs, afterwards */
	uint64_t freed_bytes;	/**< of files removed or copied smaller */
};

/**
 * Whether a collection is worth what it costs, for who does it unasked: so much has come into the packs since the last one
 * (COLLECT_GROWTH_BYTES, a quarter of what there was, COLLECT_CHANGE_BYTES for each change that will be read), or it is
 * COLLECT_AGE_MS ago. Not above COLLECT_UNASKED_BYTES_MAX, which would take 50 MB of memory, and not while history
 * from before this device joined is on its way, which may name what is here.
 */
bool db_collect_is_due(struct db *db);
#define COLLECT_GROWTH_BYTES (UINT64_C(16) << 20)
#define COLLECT_CHANGE_BYTES 64
#define COLLECT_AGE_MS (UINT64_C(7) * 24 * 3600 * 1000)
#define COLLECT_UNASKED_BYTES_MAX (UINT64_C(64) << 30)
/** Whether somebody waits in db_collect() for another one to end, which may then cancel itself. */
bool db_collect_is_awaited(struct db *db);

/** -EAGAIN: files are being imported, try later. -ECANCELED, -EIO, -ENOSPC: nothing was lost, and some was done. */
int db_collect(struct db *db, const struct collect_options *o, struct collect_stats *ret);

#endif
