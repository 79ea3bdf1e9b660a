/*
 * What is in the files of the local namespace. The content of an inode is in one of four places:
 *
 *   the record    bound or not, it shows a node's rendering: one Get of the core, in memory while open
 *   'b'           small content of its own: one value in the store, in memory while open. Of content in chunks,
 *                 own or a record's, it is the manifest that is kept and loaded (inode.chunks; bulk.h)
 *   memory        small content that was written and is not stored yet (inode.dirty)
 *   a file        large content (backing.h): programs' reads and writes go to it past the database's lock
 *
 * Content moves to a file when it grows beyond SMALL_BYTES_MAX (a spill), and back when it is emptied or
 * becomes a record. The store names a file only from bytes_store() on, in the batch that gives up what was
 * there before; from then on what is written survives the end of this process at once. A file that replaces
 * content which is durable is made durable first. Files are removed after the batch that gives them up.
 *
 * All functions are for inodes that are not directories; those with a txn leave it to the caller to end it.
 */
#ifndef BLAZE_FS_BYTES_H
#define BLAZE_FS_BYTES_H

#include "fs/backing.h"
#include "fs/vfs_i.h"

/** Own content up to this is a value in the store; */
#define SMALL_BYTES_MAX (128u << 10)
/** of what is going to be a record, up to this: it is stored once, when it is published. */
#define SMALL_RECORD_BYTES_MAX (1u << 20)

/** Content is at hand: in memory, or its file is open. */
int bytes_load(struct vfs *v, struct txn *t, struct inode *i);
/** Stages what was loaded or written as the inode's own content. */
int bytes_store(struct vfs *v, struct txn *t, struct inode *i);
/** The same for an inode that need not be loaded; it does not stay so unless it is open. */
int bytes_own(struct vfs *v, struct txn *t, struct inode *i);
/** Frees what is at hand and stored. */
void bytes_drop(struct vfs *v, struct inode *i);
/** The same after the last close, and what nothing leads to. A descriptor to close without the lock, or -1. */
int bytes_close(struct vfs *v, struct inode *i);
/** All of it, for at most RECORD_BYTES_MAX; room holds it if memory does not. */
int bytes_whole(struct vfs *v, struct txn *t, struct inode *i, struct buf *room, struct slice *ret);
/** The record has taken the content over, and made this of it (*merged is the inode's then). */
void bytes_published(struct vfs *v, struct txn *t, struct inode *i, struct rendering *merged);
/** Loads what the node showed before this transaction. */
int bytes_load_old(struct vfs *v, struct txn *t, struct inode *i);
/** From memory to a new file. */
int bytes_spill(struct vfs *v, struct txn *t, struct inode *i);
/** Content that was in chunks, or in a partial file, is in this one from now on, which is taken over. */
void bytes_unpacked(struct vfs *v, struct inode *i, struct backing *b, bool partial);
/** Of what is at hand. */
uint64_t bytes_size(const struct inode *i);

/** Content of that size is or would be in memory. */
bool bytes_fits(const struct inode *i, uint64_t size);
/** Content can take bytes up to `end`: a file's, or else inode.data is that long. -EAGAIN: bulk_unpack() first. */
int bytes_room(struct vfs *v, struct txn *t, struct inode *i, uint64_t end);
/** Cuts off or adds zeros. -EFBIG, -ENOSPC: content is what it was. -EAGAIN: bulk_unpack() first. */
int bytes_resize(struct vfs *v, struct txn *t, struct inode *i, uint64_t size);
/** Written, and not stored: it will be, at the latest LONG_OPEN_MS from the first such write. */
void bytes_wait(struct vfs *v, struct inode *i);
void bytes_stop_waiting(struct vfs *v, struct inode *i);
/** The one whose time has come, or NULL. */
struct inode *bytes_next_due(const struct vfs *v, uint64_t now_ms);

/** The file, to be used without the lock; NULL = content is in inode.data. */
struct backing *bytes_pin(const struct inode *i);
/** Takes the lock. */
void bytes_unpin(struct vfs *v, struct backing *b);
/** Whether storing it has to wait for the disk, which bytes_sync() does without the lock. */
bool bytes_is_unsafe(const struct inode *i);
/** Makes a pinned file durable. Without the lock. */
int bytes_sync(struct vfs *v, struct backing *b);

/* ---- for ns.c, which keeps the inode records ---------------------------------------------------- */

/** An inode record was read that names a file: the file knows best how long it is. */
void bytes_found(struct vfs *v, struct txn *t, struct inode *i);
/** Stages the end of all stored content; what is open stays readable. */
void bytes_removed(struct vfs *v, struct txn *t, struct inode *i);
/** The inode is written by the running operation: remembers what bytes_undo() brings back. */
void bytes_touched(struct inode *i);
/** The operation failed, the record was read anew: what was not stored is so again. */
void bytes_undo(struct vfs *v, struct inode *i);
/** Leaves memory. */
void bytes_fini(struct inode *i);
uint64_t bytes_blocks(const struct inode *i);

/** Files that the running operation gave up. Take the list before it ends; */
struct doomed *bytes_take_doomed(struct vfs *v);
/** after it has ended, and without the lock, this removes them if it was written. */
void bytes_settle_doomed(struct doomed *list, bool written);
/** The same, by the publisher: removing a large file takes the disk's time, and the lock is held here. */
void bytes_settle_doomed_later(struct vfs *v, struct doomed *list, bool written);
/** Removes files that nothing names: a crash may leave some. For a thread of its own. */
void bytes_sweep(struct vfs *v);

#endif
