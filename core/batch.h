/*
 * Consecutive changes of one feed, one after the other in as few bytes as they need: each is told by what the ones before
 * it in the same batch have said. So an envelope carries a node's id and a key once, and every change can still be had
 * alone: what comes out are changes as change_decode() takes them, byte for byte those that went in.
 *
 *   u8 code
 *   0   the changes as they are, each as length-prefixed bytes
 *   1   each as a row (core/change.h), in a context they share; operations are predicted to replace the last
 *       one in the batch that wrote the same thing
 *
 * A function of the changes alone, so that everybody makes the same bytes: rows, unless a change is not as
 * change_encode() would write it, or is none. No general compression: two versions of a library need not agree.
 *
 * Sans store. No state, any thread.
 */
#ifndef BLAZE_CORE_BATCH_H
#define BLAZE_CORE_BATCH_H

#include "core/bytes.h"

/** changes: `count` length-prefixed ones of this actor; or anything, which stays as it is. Appends. */
void batch_encode(uint64_t actor, struct slice changes, size_t count, struct buf *out);
/** The inverse; appends at most max bytes. -EBADMSG. What batch_encode() writes differently may pass. */
int batch_decode(uint64_t actor, struct slice coded, size_t count, size_t max, struct buf *out);

#endif
