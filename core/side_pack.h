/*
 * What a document keeps beside its state (core/doc_text.c), packed: some bytes an edit instead of a key each. Nothing is
 * lost by it, and whoever asks for an entry finds it: the first that does takes the pack apart again (txn_side.c).
 *
 *   u8 version = 1, then as core/zip.h packs it: varint count, and three columns, length-prefixed:
 *     keys     0: varint lamport above that of the key before, varint number of the actor, in the order of their
 *              first use, and 8 bytes if it is new; where the key before has the same kind and root
 *              n + 1: a key of n bytes follows
 *     lengths  varint each value's
 *     values   one after the other
 *   Keys ascend.
 *
 * Pure; any thread.
 */
#ifndef BLAZE_CORE_SIDE_PACK_H
#define BLAZE_CORE_SIDE_PACK_H

#include "core/bytes.h"

/** What a pack holds at most, unpacked. */
#define SIDE_PACK_BYTES_MAX (64u << 20)

struct side_entry {
	struct slice key;
	struct slice value;
};

/** Sorts the entries, which must have different keys, and appends the pack. */
void side_pack(struct side_entry *entries, size_t count, struct buf *out);
/** Calls fn for each; what it gets is borrowed. -EBADMSG: damaged, and fn may have been called for some. */
int side_unpack(struct slice packed, void (*fn)(void *ctx, const struct side_entry *e), void *ctx);

#endif
