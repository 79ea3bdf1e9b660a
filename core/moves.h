/*
 * The moves of directories, in memory: which of them are in force. Knows neither names nor the store.
 *
 * After Kleppmann, Mulligan, Gomes and Beresford, "A highly-available move operation for replicated
 * trees" (TPDS 2021): moves take effect in the order of their ids (lamport, actor), and one that would
 * put a directory inside itself is skipped. So the result depends on which moves there are, and not on
 * the order in which they came. What comes late is taken in by batches: everything after the earliest
 * late move is undone once, and redone once.
 *
 * A batch of b late moves before the last w costs O(b log b + (b + w) * depth). Some 40 bytes a move.
 * Threads: none of its own; the caller serialises.
 */
#ifndef BLAZE_CORE_MOVES_H
#define BLAZE_CORE_MOVES_H

#include "core/id.h"

struct moves;

/** salt: of its hash table, so that nobody can choose which nodes share a slot. */
struct moves *moves_create(uint64_t salt);
void moves_destroy(struct moves *m);

/** Takes in a move, which has its effect at the next moves_settle(). Ids are unique. */
void moves_add(struct moves *m, struct opid id, const struct id *node, const struct id *parent);

/** What moves_settle() says of a node. */
struct moves_place {
	struct id node;
	struct id parent;  /**< where it is now, unless place is 0 */
	struct opid place; /**< the move in force; lamport 0 = all were skipped */
	bool moved;	   /**< that is another one than before */
	bool skipped;	   /**< one of its moves would have closed a cycle */
};

/** Applies what was added, and calls fn for each node that is somewhere else now, or had a move skipped. */
void moves_settle(struct moves *m, void (*fn)(void *ctx, const struct moves_place *p), void *ctx);
size_t moves_count(const struct moves *m);

#endif
