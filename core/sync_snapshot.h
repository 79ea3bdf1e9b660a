/*
 * Snapshots, and the log that follows them, on one connection: part of the engine in core/sync.h, which owns it.
 * Messages (the first byte is the type):
 *
 *   SNAPSHOT_ASK 21    16 bytes id, varint count of pieces that are here, bytes cursor; zeros and 0: none. Instead of
 *                      HAVE, by who has nothing from elsewhere; HAVE follows when all is installed.
 *   SNAPSHOT_PIECE 22  16 bytes id, a piece (core/snapshot.h). They are sent one after the other.
 *   SNAPSHOT_NONE 23   there is none to be had: ask with HAVE
 *   LOG_ASK 24         varint count, then per feed: 16 bytes stream, 8 bytes actor, varint filled, varint snap: send
 *                      what is between, when there is nothing else to do
 *   LOG 25             u8 1 = a stratum, 0 = an envelope; 16 bytes stream, 8 bytes actor, the bytes
 *
 * Net thread only.
 */
#ifndef BLAZE_CORE_SYNC_SNAPSHOT_H
#define BLAZE_CORE_SYNC_SNAPSHOT_H

#include "core/snapshot.h"

enum sync_snapshot_message {
	SYNC_SNAPSHOT_ASK = 21,
	SYNC_SNAPSHOT_PIECE = 22,
	SYNC_SNAPSHOT_NONE = 23,
	SYNC_LOG_ASK = 24,
	SYNC_LOG = 25
};

struct sync_snapshot;

struct sync_snapshot *sync_snapshot_create(struct db *db, uint64_t peer);
void sync_snapshot_destroy(struct sync_snapshot *s);
/** A message with one of the types above. -EBADMSG, -EIO, -ENOSPC. */
int sync_snapshot_receive(struct sync_snapshot *s, uint8_t type, struct reader *r);
/** What a peer waits for. 1 = a message, 0 = none. */
int sync_snapshot_next(struct sync_snapshot *s, struct buf *out);
/**
 * Before HAVE is sent: 1 = a snapshot is asked for instead, 0 = HAVE may be sent, -EAGAIN = not now. One step of
 * installing is done here.
 */
int sync_snapshot_before_have(struct sync_snapshot *s, struct buf *out);
/** When there is nothing else to say. 1 = a message, 0 = none. */
int sync_snapshot_next_log(struct sync_snapshot *s, struct buf *out);

#endif
