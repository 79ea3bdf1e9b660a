/* One node's history, inside: what core/history.c finds and reads, and core/history_replay.c replays. */
#ifndef BLAZE_CORE_HISTORY_I_H
#define BLAZE_CORE_HISTORY_I_H

#include "core/db_i.h"
#include "core/history.h"

#define REPLAYS 4

struct visit {
	struct history_change c;
	struct feed_pos pos;
	uint64_t lamport_first; /**< of its operations on this node */
	uint64_t lamport_last;
	uint32_t author;  /**< index of actors */
	uint32_t ordinal; /**< among its author's, from 1 */
	struct buf bytes; /**< empty if not kept */
};

/** Who changed the node, and which visits are theirs, in order. */
struct author {
	uint64_t actor;
	uint32_t *visits;
	uint32_t count;
};

struct replay {
	uint32_t *counts; /**< by author; NULL = unused */
	struct node n;
	struct doc *doc;
	struct buf rendered;
	bool is_rendered;
	uint64_t used;
};

struct history {
	struct db *db;
	struct id node;
	struct id stream;
	enum node_kind kind;
	struct changes changes;
	size_t kept;
	struct visit *visits; /**< by (lamport, actor) */
	size_t count;
	struct author *authors;
	size_t author_count;
	uint32_t *seen; /**< by visit and author: what the visit's author had seen; NULL = all before */
	struct replay replays[REPLAYS];
	uint64_t clock;
	struct history *origin; /**< that of the node it was, whose changes come first; or NULL */
};

/** Reads a change; t is the running transaction, or NULL. -ENOENT: it is not here. ret borrows from bytes. */
int history_read(struct history *h, struct txn *t, size_t i, struct buf *bytes, struct change *ret);
void history_replay_fini(struct replay *r);
/** The part that visit *i of a whole history is of; *i becomes its place there. */
const struct history *history_part_of(const struct history *h, size_t *i);

#endif
