/*
 * Files beside the store that hold content too large for it, one for each piece of content:
 *
 *   DIR/files/<last two digits of the inode>/<inode>-<number>     sixteen hexadecimal digits each
 *
 * A number is used once, so a file is either what an inode record names or an orphan, which may go. The
 * directories are made when they are first needed.
 *
 * Threads: reading and writing from any; references and flags are protected by the database's lock.
 */
#ifndef BLAZE_FS_BACKING_H
#define BLAZE_FS_BACKING_H

#include "core/bytes.h"

#include <sys/stat.h>

struct backing_name {
	const char *dir; /**< the database's; outlives all of this */
	uint64_t ino;
	uint64_t number;
};

/** An open one. */
struct backing {
	struct backing_name name;
	int fd;
	unsigned refs;
	bool unsafe; /**< replaces content that is durable: has to be so itself before the store names it */
	bool fresh; /**< its name may not be durable yet */
};

/** Empty, with one reference. -ENOSPC, -EDQUOT, -EIO and the like. */
int backing_create(const struct backing_name *name, struct backing **ret);
int backing_open(const struct backing_name *name, struct backing **ret);
/** -ENOENT when there is none. */
int backing_stat(const struct backing_name *name, struct stat *ret);
void backing_unlink(const struct backing_name *name);

/** Drops a reference. The descriptor to close, which may take long, when it was the last; else -1. */
int backing_unref(struct backing *b);

/** All of it, or an error. */
int backing_write(const struct backing *b, uint64_t offset, struct slice data);
/** Appends at most size bytes to ret. */
int backing_read(const struct backing *b, uint64_t offset, size_t size, struct buf *ret);
/** fallocate(2); a range is zeroed also where the file system cannot do that by itself. */
int backing_allocate(const struct backing *b, int mode, uint64_t offset, uint64_t length);
/** The content and, if asked for, its name are on stable storage. */
int backing_sync(const struct backing *b, bool with_name);

/** Calls fn with each file that is there until it returns false. */
void backing_list(const char *dir, bool (*fn)(void *ctx, const struct backing_name *name),
		  void *ctx);

#endif
