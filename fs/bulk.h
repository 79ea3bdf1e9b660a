/*
 * Large content that is not text: how it becomes chunks (core/chunk.h), and a file again when it is written.
 *
 * A program writes into a file beside the store (backing.h), as for all large content. At close the store names that
 * file, so nothing is lost; then the importer, a thread of its own, streams it into chunks without the database's
 * lock, and one short transaction makes the change. If the file was written meanwhile, that was in vain, and it
 * begins anew when the file is left alone. A file that is kept open is imported when nothing was written for
 * LONG_OPEN_MS, and at the latest after BULK_OPEN_MS_MAX.
 *
 * From then on the record shows its chunks (inode.chunks): a read finds its chunk in a pack. The first write into one
 * that is in chunks makes a file beside them (bulk_unpack()), which holds what is written from then on, and nothing
 * else: it is partial. Which ranges those are is remembered, stored with the file at close (key Lb: varint count, from
 * and to of each, the manifest), and only they are read at the next import. So a line more at the end of a gigabyte
 * costs one chunk. A file that stays on the device has all of its content, and so has one with too many ranges.
 */
#ifndef BLAZE_FS_BULK_H
#define BLAZE_FS_BULK_H

#include "core/json.h"
#include "core/db_chunks.h"
#include "fs/bytes.h"

/** What is shorter is one value, whatever is in it; */
#define BULK_BYTES_MIN (256u << 10)
/** what is longer is chunks, even if it looks like text, */
#define BULK_TEXT_BYTES_MAX (4u << 20)
/** or is called JSON. */
#define BULK_JSON_BYTES_MAX JSON_RECORD_BYTES_MAX
/** In between, it is not text if there is a NUL in the first so many bytes. */
#define BULK_LOOKED_AT_BYTES 8192
#define BULK_OPEN_MS_MAX 30000
/** At the end of a mount, larger files are left to be imported after the next start. */
#define BULK_AT_END_BYTES (64u << 20)

/**
 * What there is to publish of a loaded inode: 0 and *s (whose bytes may be in room), or 1: it is stored, and comes
 * again through publish_file() when it is imported.
 */
int bulk_content(struct vfs *v, struct txn *t, struct inode *i, struct buf *room, struct saving *s);
/** The content that bulk_content() gave last is `now`, and no other. */
bool bulk_is_imported(const struct inode *i, const struct rendering *now);
/** Content is the same as this manifest from here on; takes a reference. partial: and the file is empty. */
void bulk_is_like(struct inode *i, struct manifest *m, bool partial);
bool bulk_is_partial(const struct inode *i);
/** It has to be made whole (bulk_unpack()) before it is written again. */
bool bulk_must_fill(const struct inode *i);
/** Bytes of the file were written, or cut off (end UINT64_MAX). */
void bulk_wrote(struct inode *i, uint64_t offset, uint64_t end);
/** There is no such file any more, or nobody knows what is in it. */
void bulk_forget(struct inode *i);
/** It is not to be published any more. */
void bulk_cancel(struct vfs *v, struct inode *i);
/** Leaves memory. */
void bulk_fini(struct inode *i);

/** What is stored with a partial file. */
void bulk_encode(const struct inode *i, struct buf *out);
int bulk_decode(struct vfs *v, struct inode *i, struct slice stored);

/** Content that is in a file, as it is at one moment. */
struct bulk_view {
	struct backing *backing; /**< pinned; NULL: it is not in a file */
	struct manifest *like;
	struct range *ranges;
	size_t range_count;
	bool partial;
	uint64_t size;
};

/** With the lock, of a loaded inode. */
void bulk_view_take(struct inode *i, struct bulk_view *ret);
/** Without the lock. Appends; fewer bytes only at the end. */
int bulk_view_read(struct vfs *v, const struct bulk_view *view, uint64_t offset, size_t size,
		   struct buf *ret);
void bulk_view_drop(struct vfs *v, struct bulk_view *view);

/** Content in chunks becomes a file, to be written. Without the lock, for an inode that is in use. */
int bulk_unpack(struct vfs *v, struct inode *i);

struct store_view;
/** For collect_options.stored: what the local namespace has in chunks. Needs no vfs. */
int bulk_stored(struct store_view *view, void (*fn)(void *ctx, struct slice manifest), void *ctx);

/** Imports one file; false when none waits. at_end: only small ones, and false after a failure. Without the lock. */
bool bulk_import_one(struct vfs *v, bool at_end);

#endif
