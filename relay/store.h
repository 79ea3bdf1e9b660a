/*
 * Where the relay keeps what it was given: an ordered map of bytes with atomic batches. An interface of five functions, so that
 * a database server can take the place of LevelDB (store_leveldb.c) when one machine is not enough.
 *
 * Keys (16 bytes mailbox after the first byte, so that a mailbox is one range of each kind):
 *   B mailbox             what the mailbox is: box.c
 *   A mailbox             its ACL, as it was signed
 *   L mailbox cursor8     be64 wall clock ms, 32 bytes chain, an item of the log
 *   H mailbox tag16       varint: the last seq of the feed that was ever in the log
 *   C mailbox tag16       be64 wall clock ms, a chunk
 *   S mailbox device32    varint number, its slot
 *   T mailbox device32    varint cursor, varint wall clock ms: what the device has taken
 *
 * Threads: write, read and scan by one; sync by another.
 */
#ifndef BLAZE_RELAY_STORE_H
#define BLAZE_RELAY_STORE_H

#include "core/bytes.h"
#include "core/why.h"

struct relay_store;

/** One change of a batch. value.data NULL deletes. Borrowed. */
struct relay_write {
	struct slice key;
	struct slice value;
};

struct relay_store_ops {
	/** All or nothing; seen by read and scan at once, on stable storage after sync. -ENOSPC, -EIO. */
	int (*write)(struct relay_store *s, const struct relay_write *writes, size_t count);
	/** Clears ret. -ENOENT, -EIO. */
	int (*read)(struct relay_store *s, struct slice key, struct buf *ret);
	/** Keys with the prefix, from `from` on, until fn returns false. */
	int (*scan)(struct relay_store *s, struct slice prefix, struct slice from,
		    bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx);
	/** All written before this call is on stable storage. -ENOSPC, -EIO. */
	int (*sync)(struct relay_store *s);
	void (*close)(struct relay_store *s);
};

struct relay_store {
	const struct relay_store_ops *ops;
};

/** Opens the store in dir/store, and makes it if there is none. -EBUSY, -EBADMSG, -ENOSPC. */
int relay_store_open_leveldb(const char *dir, struct relay_store **ret, struct why *why);

#endif
