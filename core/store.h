/*
 * An ordered byte map with atomic batches that survives crashes: LevelDB, and nothing else, lives here.
 *
 * What this layer adds to LevelDB, because LevelDB alone loses acknowledged data:
 *   - After any write error the handle is closed and reopened and the batch re-applied, before anything
 *     is acknowledged again; whatever was written since the last successful sync is written again too.
 *     A store that cannot be healed refuses writes, and goes on reading.
 *   - A batch that failed does not come back: LevelDB's log may hold it all the same, and shows it when it is read
 *     again. What was there before is written over it (store_undo() in store_heal.c).
 *   - store_sync() is a barrier for everything written before it, also across a log rotation: the journal holds
 *     what LevelDB could lose, or every live log file is flushed, not just the current one (store_sync.c).
 *   - Opening never creates; a missing CURRENT is an error, not an empty database. All checksums are
 *     verified.
 *   - Small transactions that need not survive a crash yet can wait and go into the next batch.
 *   - Commits go through a journal while somebody tends it: LevelDB gets many of them as one batch, later
 *     (store_tend.c). What is committed is readable, and survives kill -9, at once.
 *   - A ballast file is kept beside the store and given up when the disk is full, so that a full disk
 *     can still be opened and cleaned.
 *
 * Key prefixes (1 byte), who owns them, and what follows:
 *   m name                      core/db: the database's basics    L ...   fs/: the local namespace
 *   A lamport8 actor8           core/member: who may do what       S name  core/db: settings
 *   E id16                      core/epoch: keys
 *   p node16                    core/tree: nodes with problems
 *   T                           core/db: a fence, see there
 *   n node16                    core/node: place, tokens, kind    d parent16 name  core/node: children
 *   s node16                    core/db: document state           r node16         rendered content
 *   t stream16 lamport8 actor8  core/tree: moves of directories   h node16 hlc8 lamport8 actor8  history
 *   H dir16 node16              core/txn: what was ever put into a directory
 *   c stream16 actor8 seq8      core/feed: loose changes          e stream16 actor8 seq8  sealed envelopes
 *   f stream16 actor8           core/feed: heads                  q arrival8  order of envelopes
 *   v device8 stream16 actor8   core/feed: what devices acknowledged
 *   x node16 ...                core/doc_text: logs of edits, see there
 *   k id24                      core/packs: where chunks are      K ...  core/packs, core/wants: see there
 *   D ...                       core/hold: bulk deletions, see there
 *   N actor8                    core/contact: where devices can be reached
 *   u device8                   core/feed: when devices were heard of
 *   o node16 node16             core/follow: which nodes a node lives on as
 *   w node16                    core/follow: what this device moved away    W ...  and what is due
 *   Y node16                    core/second: values of this device's that are not shown
 *   C stream16 actor8 seq8      core/strata: strata, by their last change
 *   Z ...                       core/snapshot: one that is coming in
 *   J                           the store's own
 *
 * Threads: any. Batches are atomic; the caller orders them.
 */
#ifndef BLAZE_CORE_STORE_H
#define BLAZE_CORE_STORE_H

#include "core/bytes.h"
#include "core/why.h"

struct store;

int store_create(const char *dir, struct why *why);
/** -ENOENT, -EBUSY, -EBADMSG, -ENOSPC as db_open(). */
int store_open(const char *dir, struct store **ret, struct why *why);
void store_close(struct store *s);
/** Everything written before this call is on stable storage. -EIO, -ENOSPC. */
int store_sync(struct store *s);
/** Gives back the room of what was deleted or written over. Takes long; reading and writing go on meanwhile. */
int store_compact(struct store *s);
/**
 * For a thread of the owner's: commits are cheap while it is in here, which is until store_tend_stop(). What they
 * left in the journal it brings to LevelDB.
 */
void store_tend(struct store *s);
/** store_tend() returns soon. Once for each call of that. */
void store_tend_stop(struct store *s);
/** 0, or the error that makes the store refuse writes, after an attempt to heal it. */
int store_health(struct store *s);

/* ---- transactions: pending writes over the store, read back before they are written ---------- */

struct store_txn;

struct store_txn *store_begin(struct store *s);
void store_put(struct store_txn *t, struct slice key, struct slice value);
/** The caller knows that there is no such key: if it is deleted before it was written, nothing ever is. */
void store_put_fresh(struct store_txn *t, struct slice key, struct slice value);
void store_delete(struct store_txn *t, struct slice key);
/** 0 and the value (buffer cleared first), -ENOENT, -EIO when damaged. */
int store_get(struct store_txn *t, struct slice key, struct buf *ret);
/** Of what this transaction has put itself only, for keys that are known not to be in the store. */
int store_get_pending(const struct store_txn *t, struct slice key, struct buf *ret);
/** 0, or why the store refuses writes at the moment: to be told early, at write(2). */
int store_writable(struct store_txn *t);
/** The transaction deletes something: on a full disk it may use the ballast's room. */
void store_frees_space(struct store_txn *t);
/** Whether anything was put or deleted. */
bool store_is_dirty(const struct store_txn *t);
/**
 * Calls fn for each key with the prefix that is >= from (if from.len), in order, pending writes
 * included, until fn returns false. Slices are borrowed for the call. -EIO when damaged.
 */
int store_scan(struct store_txn *t, struct slice prefix, struct slice from,
	       bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx);
/** Writes everything as one batch, or nothing, and ends the transaction. */
int store_commit(struct store_txn *t);
/**
 * Ends the transaction: everybody sees it, and it reaches the disk with the next batch or store_sync(), never
 * after either. A crash before that loses it whole, so it may hold nothing that was promised to survive one.
 */
int store_defer(struct store_txn *t);
/** Writes what was deferred. */
int store_settle(struct store_txn *t);
void store_abort(struct store_txn *t);

/** A read of what is committed, without a transaction. */
int store_read(struct store *s, struct slice key, struct buf *ret);

/* ---- views: the store as it was at a moment ------------------------------------------------------ */

struct store_view;

/** What is deferred is written first. NULL: the store is closed or failed. Destroy it before store_close(). */
struct store_view *store_view_create(struct store *s);
void store_view_destroy(struct store_view *v);
/** As store_scan(). -ESTALE: the store had to be opened anew, and the view is gone. */
int store_view_scan(struct store_view *v, struct slice prefix, struct slice from,
		    bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx);
/** As store_read(), or -ESTALE. */
int store_view_read(struct store_view *v, struct slice key, struct buf *ret);

#endif
