/*
 * Changes in columns, so that zstd finds what repeats. Lossless, byte for byte.
 *
 *   varint change_count, then each column as length-prefixed bytes:
 *     how      u8 each change: 1 in columns, 0 verbatim
 *     ms       varint zigzag: the clock's milliseconds, from the change's before
 *     counter  varint: the clock's low 16 bits
 *     lamport  varint zigzag: of the first operation, from what the change before would lead to
 *     node     varint each operation: 0 = the operation's before, 1 = a new one, n + 2 = the n-th new one;
 *              likewise the parent of each MOVE
 *     ids      16 bytes each new one
 *     pred     u8 each operation: 1 = its only pred is the last operation here that wrote the same thing,
 *              2 = it is one of the author's, `back` says how far back; 0 = as in rest
 *     back     varint: the operation's lamport less its pred's
 *     path     varint each SET and UNSET: 0 = a new one, n + 1 = the n-th new one
 *     paths    length-prefixed, each new one
 *     value    length-prefixed, each SET
 *     waypoint varint each operation with a place: lamport - waypoint
 *     rest     length-prefixed: the change as core/change.h draws it, without what the columns say
 *              (clock 0, lamports from 1, nodes 0, no such preds, empty paths and values, waypoints their own)
 *     verbatim length-prefixed: what core/change.h would not write in the same bytes
 */
#ifndef BLAZE_CORE_STRATUM_CODE_H
#define BLAZE_CORE_STRATUM_CODE_H

#include "core/bytes.h"

/** changes: `count` length-prefixed ones of this actor. Appends. */
void stratum_encode(uint64_t actor, struct slice changes, uint64_t count, struct buf *out);
/** The inverse of what is left in r; appends at most max bytes. -EBADMSG. */
int stratum_decode(uint64_t actor, struct reader *r, size_t max, struct buf *out);

#endif
