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
 * that is in chunks makes a file of it again (bulk_unpack()), without the lock. While that file is open, it is
 * remembered which ranges were written since it was the same as a manifest, and only they are read at the next
 * import: a line more at the end of a gigabyte costs one chunk.
 */
#ifndef BLAZE_FS_BULK_H
#define BLAZE_FS_BULK_H

#include "core/db_chunks.h"
#include "fs/bytes.h"

/** What is shorter is one value, whatever is in it; */
#define BULK_BYTES_MIN (256u << 10)
/** what is longer is chunks, even if it looks like text, */
#define BULK_TEXT_BYTES_MAX (4u << 20)
/** or is called JSON. */
#define BULK_JSON_BYTES_MAX (16u << 20)
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
/** The file is the same as this manifest from here on; takes a reference. */
void bulk_is_like(struct inode *i, struct manifest *m);
/** Bytes of the file were written, or cut off (end UINT64_MAX). */
void bulk_wrote(struct inode *i, uint64_t offset, uint64_t end);
/** There is no such file any more, or nobody knows what is in it. */
void bulk_forget(struct inode *i);
/** It is not to be published any more. */
void bulk_cancel(struct vfs *v, struct inode *i);
/** Leaves memory. */
void bulk_fini(struct inode *i);

/** Content in chunks becomes a file, to be written. Without the lock, for an inode that is in use. */
int bulk_unpack(struct vfs *v, struct inode *i);

/** Imports one file; false when none waits. at_end: only small ones. Without the lock. */
bool bulk_import_one(struct vfs *v, bool at_end);

#endif
