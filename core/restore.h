/*
 * Bringing back what was, and taking back what was done: always as new changes of this device, which every
 * device merges like any other, and which can be taken back in turn.
 *
 * None of these may be called within a transaction. Each writes one batch for up to RESTORE_RECORDS records.
 */
#ifndef BLAZE_CORE_RESTORE_H
#define BLAZE_CORE_RESTORE_H

#include "core/history.h"
#include "core/past.h"
#include "core/why.h"

/** Records and bytes of content that one change restores at most. */
#define RESTORE_RECORDS 1000
#define RESTORE_BYTES (16u << 20)

struct restored {
	uint64_t records; /**< that are as they were again */
	uint64_t same;	  /**< that were so before */
	uint64_t newer;	  /**< in restored directories, that came later and stay */
	uint64_t blocked; /**< something of another kind has the name now */
	uint64_t missing; /**< content that is not on this device any more */
	uint64_t changes; /**< made */
};

/**
 * Brings a file back, or a directory with all that was in it. What came later stays; a record that lives
 * elsewhere by now stays there, and is copied. -ENOENT when there was nothing at `path` then.
 */
int restore_path(struct past *p, const char *path, struct restored *ret);
/** A record's content, and its executable bit, as after the i-th change, where it is now, or was last. */
int restore_version(struct db *db, const struct id *node, struct history *h, size_t i,
		    struct restored *ret);

/** The same as it was at a time. -ENOENT when it was not there. */
int restore_when(struct db *db, const struct id *node, struct history *h, uint64_t ms,
		 struct restored *ret);

/**
 * Brings something deleted back as (dir, name), a directory with all that was deleted in it. In another collection it is
 * a new node that goes on from the deleted one. -ENOENT when it is there, -EEXIST the name is taken.
 */
int restore_deleted(struct db *db, const struct id *node, const struct id *dir, const char *name);

/** What undo did. */
struct undone {
	uint64_t changes; /**< taken back, at least in part */
	uint64_t nodes;	  /**< that are different now */
	uint64_t kept;	  /**< that somebody changed again since: what they did stays */
};

/**
 * Takes back what the newest `count` changes of this device did to node and, if it is a directory, to what is
 * below it; only what they did: what was changed again since stays. -ENOENT when there is no such change.
 */
int restore_undo(struct db *db, const struct id *node, size_t count, struct undone *ret);
/** The same for one change of a node, whoever made it. */
int restore_undo_change(struct db *db, const struct id *node, struct history *h, size_t i,
			struct undone *ret);

#endif
