/*
 * Records that go on under another id: a move between collections.
 *
 * A collection has its own stream, keys and policy, and a node belongs to one for good. So a record that is moved to
 * another collection is a new node there, made with all its content, and a deletion here. What joins the two is
 * OP_ORIGIN: the new node says which one it was. It is a link and no more: who may read only one of the two
 * collections sees a record that begins, or ends.
 *
 * What an author who did not know of the move still wrote into the old node brings that back to life, for an
 * edit wins over a deletion: it is in sight on all devices, at the old place. Then the device that made the move
 * takes it over: what was changed since the move, as a save into the new node by a program that had read what was moved,
 * and deletes the old node again. So it is one change by one device, merged as any other, and what the new node
 * became meanwhile stays. Where that device never comes back, the record stays at both places. An
 * edit that is itself in conflict with what was moved is not taken over: the old node stays with both.
 *
 * Store keys:
 *   o node16 node16   the first lives on as the second; on every device
 *   w node16          what this device moved away. 16 bytes new node; then, once something was taken over, bytes state
 *                     and bytes rendering of what a program that knows only of that takes the new node to be
 *   W node16          it lives again, and has to be looked after
 */
#ifndef BLAZE_CORE_FOLLOW_H
#define BLAZE_CORE_FOLLOW_H

#include "core/db.h"

/** How many nodes a record's history is followed through. */
#define FOLLOW_ORIGINS_MAX 64

/** node, just put by db_put_node(), is what `was` was. 0 also if it is known, or they are the same. */
int follow_put_origin(struct txn *t, const struct id *node, const struct id *was);
/** Which node it was; -ENOENT. */
int follow_was(struct txn *t, const struct id *node, struct id *ret);
/** Which node it lives on as, if that one is there; -ENOENT. */
int follow_is(struct txn *t, const struct id *node, struct id *ret);
/** Whether some node says that it was this one, alive or not. */
bool follow_has_left(struct txn *t, const struct id *node);
/** Looks after one thing that is due. 1 = done, 0 = nothing is. Not within a transaction. */
int follow_step(struct db *db);

#endif
