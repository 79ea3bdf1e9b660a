/*
 * Fetching and giving chunks: the bulk part of core/sync.h's engine, one for each connection.
 *
 * Messages:
 *   WANT 8    ids, 24 bytes each: send me these. At most SYNC_CHUNKS_ASKED_MAX may be unanswered.
 *   CHUNK 9   24 bytes id, the sealed chunk (core/chunk.h): answers a WANT
 *   LACK 10   ids: answers a WANT; they are not here now
 *   MORE 11   after a LACK: something has arrived here since, ask again
 *
 * The receiver of a manifest asks: any peer, not only its author, and a device that is itself still fetching gives
 * what it has. A window of at most SYNC_CHUNKS_WINDOW_BYTES is kept under way, so that a change never waits behind more than
 * that; a chunk goes out only when there is nothing else to say. The window is smaller on a slow line: what is asked
 * for takes a fraction of a second to come. Several files take turns. What has arrived is kept,
 * so after a cut only the rest is asked for.
 */
#ifndef BLAZE_CORE_SYNC_CHUNKS_H
#define BLAZE_CORE_SYNC_CHUNKS_H

#include "core/bytes.h"

#define SYNC_CHUNKS_ASKED_MAX 128
#define SYNC_CHUNKS_WINDOW_BYTES (4u << 20)

enum sync_chunks_message {
	SYNC_CHUNKS_WANT = 8,
	SYNC_CHUNKS_CHUNK = 9,
	SYNC_CHUNKS_LACK = 10,
	SYNC_CHUNKS_MORE = 11,
};

struct db;
struct sync_chunks;

struct sync_chunks *sync_chunks_create(struct db *db, uint64_t peer);
void sync_chunks_destroy(struct sync_chunks *s);
/** A message whose type is one of the above. < 0 as sync_receive(). */
int sync_chunks_receive(struct sync_chunks *s, uint8_t type, struct reader *r);
/** The next small message: 1 and *out, or 0. To be called once the peer is known to be in the same database. */
int sync_chunks_next(struct sync_chunks *s, struct buf *out);
/** The next chunk to give, when nothing else is to be said. */
int sync_chunks_next_bulk(struct sync_chunks *s, struct buf *out);

#endif
