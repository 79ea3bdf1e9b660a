/* Shared by core/snapshot*.c and nobody else. */
#ifndef BLAZE_CORE_SNAPSHOT_I_H
#define BLAZE_CORE_SNAPSHOT_I_H

#include "core/db_i.h"

/** What arrives after a snapshot is numbered from here; the log of before gets the numbers below. */
#define SNAPSHOT_ARRIVALS (UINT64_C(1) << 40)

enum snapshot_entry {
	SNAPSHOT_FEED = 1,
	SNAPSHOT_MOVE,
	SNAPSHOT_NODE,
	SNAPSHOT_MORE
};

/** Where a snapshot's pieces belong. */
struct envelope_place snapshot_place(const struct db *db, const struct id *id, uint64_t author);
/** Gives up what nobody asked for in a while. The lock is held. */
void snapshot_expire(struct db *db, uint64_t now_ms);

/** What a snapshot said cannot be: remembered, and told (db_is_doubtful()). */
void snapshot_doubt(struct txn *t);

/** An entry of a piece. Slices are borrowed. */
struct snapshot_item {
	enum snapshot_entry kind;
	struct id id; /**< stream or node */
	struct opid move;
	uint64_t actor;
	uint64_t seq;
	uint64_t lamport;
	struct slice head;
	struct slice value; /**< under 't', 'n' or 'x' */
	struct slice state;
	struct slice rendered;
	struct slice rest; /**< of the key */
};

/** 1 = one more, 0 = the end, -EBADMSG. */
int snapshot_read(struct reader *r, struct snapshot_item *ret);

#endif
