/*
 * Snapshots: a new device gets the state, not all that led to it. The history follows afterwards.
 *
 * A snapshot is what a member's store says at one moment, in pieces of some 256 KiB. Each piece is an envelope
 * (core/envelope.h) in a place of its own: stream = digest of the snapshot's id, author = the member that gives
 * it, seq = the piece's number from 1, hash before = zeros; so each is sealed, and signed by that member. In it
 * is one "change":
 *
 *   u8 1 = the last piece
 *   bytes cursor       where the next piece goes on; only its author understands it
 *   zip (core/zip.h) of entries
 *     1 FEED   16 bytes stream, 8 bytes actor, varint seq, varint lamport, 32 bytes head
 *     2 MOVE   16 bytes stream, 8 bytes lamport, 8 bytes actor, bytes value under 't'
 *     3 NODE   16 bytes node, bytes under 'n', bytes under 's', bytes under 'r' (empty: none)
 *     4 MORE   16 bytes node, bytes rest of the key, bytes value under 'x'
 *
 * FEEDs come first, then the MOVEs of each stream by id, then the NODEs, dead ones included. What follows from
 * these (children, names shown, sizes) is worked out here, not believed.
 *
 * Pieces are kept under 'Z' until all are here, so that a connection may end in between. Then they are
 * installed, one a transaction; a crash in between goes on at the next start. Until that is done, nothing from
 * elsewhere is applied, and nothing but own changes is said to be here.
 *
 *   Zh        16 bytes id, 8 bytes author, varint pieces that are here, bytes cursor, u8 1 = that is all,
 *             varint pieces installed
 *   Zp be64   the entries of a piece, zipped
 *
 * The log comes afterwards (snapshot_fill), oldest first, each envelope and stratum signed by its author; in the
 * end the chain has to be at the head that the snapshot named. What a lying member could do is in ARCHITECTURE.md.
 *
 * Threads: any.
 */
#ifndef BLAZE_CORE_SNAPSHOT_H
#define BLAZE_CORE_SNAPSHOT_H

#include "core/db.h"

/** Plain bytes of a piece; a larger entry is a piece of its own. */
#define SNAPSHOT_PIECE_BYTES (512u << 10)

/* ---- giving ------------------------------------------------------------------------------------ */

/**
 * Makes *id the snapshot that is offered: itself if it still is, else a new one. 1; 0 = there is too little to be
 * worth it, or this device has not all itself; -EIO.
 */
int db_snapshot_offer(struct db *db, struct id *id);
/**
 * Puts piece number `index` into *envelope (cleared first). *cursor is where it begins, empty for the first, and
 * then where the next does. 1 = there is a next; 0 = this is the last; -ESTALE: offer anew.
 */
int db_snapshot_piece(struct db *db, const struct id *id, uint64_t index, struct buf *cursor,
		      struct buf *envelope);

/* ---- taking ------------------------------------------------------------------------------------ */

/**
 * Whether this device joined and has nothing from elsewhere yet, and `taker` is the connection that may get a snapshot. It
 * stays that until db_snapshot_leave().
 */
bool db_snapshot_wanted(struct db *db, const void *taker);
/** Whether nothing else may be asked for now: one is being taken, by whomever, or installed. */
bool db_snapshot_is_pending(struct db *db);
void db_snapshot_leave(struct db *db, const void *taker);
/** What is here of one: *id (zeros: nothing), the count of pieces, the cursor. */
int db_snapshot_held(struct db *db, struct id *id, uint64_t *count, struct buf *cursor);
/** A piece from this member. 1 = that was the last; -EBADMSG forged, damaged, or not the next. */
int db_snapshot_receive(struct db *db, uint64_t author, const struct id *id, struct slice envelope);
/** Forgets the pieces. */
int db_snapshot_drop(struct db *db);
/** Installs a piece. 1 = there are more, 0 = there is none. -EBADMSG: the snapshot was dropped. */
int db_snapshot_step(struct db *db);
bool db_is_installing(struct db *db);

/* ---- the log of before -------------------------------------------------------------------------- */

struct snapshot_gap {
	struct id stream;
	uint64_t actor;
	uint64_t filled; /**< the log is here up to this, */
	uint64_t snap;	 /**< and lacks the rest up to this */
};

/** Feeds of whose log something is missing. Returns the count; *ret is the caller's. */
size_t db_snapshot_gaps(struct db *db, struct snapshot_gap **ret);
/** Changes from before this device joined that have not come yet: what is said of the past may be wrong until then. */
uint64_t db_history_missing(struct db *db);
/**
 * How many feeds' logs became whole since the start. Their envelopes stand before what arrived since: who walks
 * through the arrivals has to begin again.
 */
uint64_t db_snapshot_gaps_filled(struct db *db);
/** Takes the log's next piece of a feed. 1 taken, 0 not wanted, -EAGAIN not the next, -EBADMSG, -EACCES. */
int db_snapshot_fill(struct db *db, const struct feed_item *item, struct slice bytes);
/** Whether the history that came after a snapshot was another than it said. */
bool db_is_doubtful(struct db *db);

#endif
