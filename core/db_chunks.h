/*
 * Content in chunks: into a database, out of it, and to and from peers. Part of the façade core/db.h.
 *
 * In: a save of large content is streamed through an import (import.h), without the database's lock; then one short transaction
 * makes the change (db_put_chunks()). Out: db_manifest() says what a node shows, db_chunks_read() reads a range
 * of it, without the lock. Memory is a few chunks.
 *
 * Crash safety: a chunk is durable before the index names it, and in the index before a change of this device
 * names it. So what is shown is whole, after kill -9 and after a power cut.
 *
 * What is kept: every chunk that a change in the store names, that is, all versions as long as history has them,
 * and what the local namespace names. Nothing that a peer sends unasked.
 */
#ifndef BLAZE_CORE_DB_CHUNKS_H
#define BLAZE_CORE_DB_CHUNKS_H

#include "core/db.h"
#include "core/manifest.h"

/* ---- content ------------------------------------------------------------------------------------- */

/** The manifest of what a node shows. -ENODATA when that is not in chunks. */
int db_manifest(struct txn *t, const struct id *node, struct manifest **ret);
/**
 * What a node shows, as it is stored: the bytes, or with *ret_chunked the manifest. Equal if and only if the content
 * is (content cut in two ways aside). One Get. Cleared first. -ENOENT.
 */
int db_shown(struct txn *t, const struct id *node, struct buf *ret, bool *ret_chunked);
/** As db_shown(), as it was before this transaction. */
int db_old_shown(struct txn *t, const struct id *node, struct buf *ret, bool *ret_chunked);
/**
 * A save of content in chunks that are all here: base as db_put_content(). 1 = changed, 0 = nothing to do.
 */
int db_put_chunks(struct txn *t, const struct id *node, const struct doc *base,
		  struct slice manifest);
/** manifest_decode(), with the parts that are here. -ENOENT: some are not. -EBADMSG. With or without the lock. */
int db_manifest_decode(struct db *db, struct slice manifest, struct manifest **ret);
/**
 * Whether all chunks of a manifest are here. Those of what a node shows are; those of an old version may never have
 * been fetched, for something newer had replaced it already. Without the lock.
 */
bool db_chunks_are_here(struct db *db, struct slice manifest);
/** Appends what is in [offset, offset + size) of the file. Without the lock. -EIO: a chunk is damaged or gone. */
int db_chunks_read(struct db *db, const struct manifest *m, uint64_t offset, size_t size,
		   struct buf *ret);

/* ---- missing chunks ------------------------------------------------------------------------------ */

struct db_missing {
	uint64_t file_count; /**< values, shown or lost, that lack chunks here */
	uint64_t byte_count; /**< as far as known */
	uint64_t damaged_count; /**< chunks that this disk gives back wrong, and no device has sent again yet */
	uint64_t bad_count; /**< chunks received that were not what they said, since the start */
};

/** What has arrived or was imported is made durable at the latest when it is that much. */
#define DB_CHUNKS_FLUSH_BYTES (64u << 20)

void db_get_missing(struct db *db, struct db_missing *ret);
/** How manifests find their parts, and damage is noted. To be called once packs are open. */
void db_chunks_init(struct db *db);
/** Makes what has arrived durable, and shows what is complete with it. Waits for the disk. */
int db_chunks_flush(struct db *db);
/** Whether somebody should call db_chunks_flush() or db_sync() now rather than in a second. */
bool db_chunks_are_due(struct db *db);

/**
 * Between these, chunks that were imported or are here are counted on although no change names them yet: no collection
 * (core/collect.h) begins. An import holds by itself; its caller, until it has made the change.
 */
void db_chunks_hold(struct db *db);
void db_chunks_release(struct db *db);

/* ---- for core/sync_chunks.c ---------------------------------------------------------------------- */

struct wants_asking;

/** See wants_ask(); also looks up what has not been looked up yet. */
size_t db_chunks_ask(struct db *db, const struct wants_asking *a, struct chunk_id *ret);
/** Its length, if it is missing here, else 0. */
uint64_t db_chunks_missing(struct db *db, const struct chunk_id *id);
uint64_t db_chunks_lacked(struct db *db, uint64_t peer, const struct chunk_id *id);
void db_chunks_unask(struct db *db, uint64_t peer);
/** A sealed chunk came. 1 kept, 0 not wanted, -EBADMSG not what it says; -ENOSPC, -EIO. */
int db_chunks_arrived(struct db *db, const struct chunk_id *id, struct slice sealed);
/** Seals a chunk for a peer; appends. -ENOENT when it is not here. */
int db_chunks_send(struct db *db, const struct chunk_id *id, struct buf *out);
/** Counts chunks that arrived: when it moved, a peer that was told of a lack may ask again. */
uint64_t db_chunks_arrivals(struct db *db);

#endif
