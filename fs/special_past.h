/*
 * What was, as files: .blaze/at/, .blaze/deleted/ and .blaze/history/. Read-only.
 *
 *   at/TIME/PATH        the whole tree as of TIME (core/when.h; - may stand for :). A listing of at/ names a few
 *                       times, any other can be looked up. A time that moves, such as 5min-ago, is worked out when
 *                       it is first looked up, and again when it was not used for PINNED_MS.
 *   deleted/PATH        what was deleted last from that name, with its last content; directories that are there
 *                       are shown if something in them was deleted (or if that is long to find out)
 *   history/PATH/       every version of a file: NNNN-TIME-DEVICE.EXT, the oldest first, as its author left it;
 *                       directories are directories
 *
 * While history from before this device joined is still being fetched, neither a time of at/ nor the versions of a file
 * are known yet: -EAGAIN, for what could be shown would be wrong and would not say so.
 *
 * Everything is worked out where it is looked at (core/past.h); what was looked at last is kept. A thing has a
 * number, below 1 << SPECIAL_PAST_BITS, as long as the kernel knows of it: special_past_forget(). Chunks
 * that are not on this device make a read fail with EIO; nothing waits for the network.
 *
 * Any thread may call; one works at a time. Takes the database's lock, so the caller must not hold it.
 */
#ifndef BLAZE_FS_SPECIAL_PAST_H
#define BLAZE_FS_SPECIAL_PAST_H

#include "core/db.h"
#include "core/manifest.h"
#include "core/name.h"

#include <sys/stat.h>

struct special_past;

#define SPECIAL_PAST_BITS 55

enum special_past_top {
	SPECIAL_PAST_AT,
	SPECIAL_PAST_DELETED,
	SPECIAL_PAST_HISTORY
};

struct special_past_info {
	uint64_t number;
	mode_t mode; /**< type and permissions */
	uint64_t size;
	uint64_t time_ms;
};

/** db must outlive it. */
struct special_past *special_past_create(struct db *db);
/** NULL is allowed. */
void special_past_destroy(struct special_past *p);

/** The number of at/, deleted/ or history/ itself; it needs no lookup. */
uint64_t special_past_number(enum special_past_top top);
/** Looks a name up in a directory: one more lookup to forget. -ENOENT, -ENOTDIR. */
int special_past_lookup(struct special_past *p, uint64_t dir, const char *name,
			struct special_past_info *ret);
void special_past_forget(struct special_past *p, uint64_t number, uint64_t count);
/** -ENOENT. */
int special_past_get(struct special_past *p, uint64_t number, struct special_past_info *ret);
/** All of *ret but inode number and owner. */
void special_past_stat(const struct special_past_info *info, struct stat *ret);
/** Names in a directory, with what kind of thing they are. fn is called without a lock. */
int special_past_list(struct special_past *p, uint64_t dir,
		      void (*fn)(void *ctx, const char *name, uint64_t number, mode_t type),
		      void *ctx);
/** The content (*ret cleared first), or a symlink's target; or *ret_manifest, the caller's, if it is in chunks. */
int special_past_read(struct special_past *p, uint64_t number, struct buf *ret,
		      struct manifest **ret_manifest);
/** rename(2) of `name` in a directory of deleted/ to (new_dir, new_name). -EPERM elsewhere; as restore_deleted(). */
int special_past_move_out(struct special_past *p, uint64_t dir, const char *name,
			  const struct id *new_dir, const char *new_name);

#endif
