/*
 * Two files of numbered records, of which one is written while what is in the other reaches LevelDB
 * (core/store_layers.h). A record is there when it was written whole: one write(2), after which kill -9 takes nothing.
 * Against power cuts the store has its barrier; a journal only has to notice that it was damaged.
 *
 *   record = be32 length, be64 number, 8 bytes SipHash-2-4 of all the others (key: the epoch), payload
 *
 * A record that is not whole, of another epoch, or without its predecessor ends what is read. So neither file is ever
 * emptied: it is written again from its beginning.
 *
 * Threads: one at a time.
 */
#ifndef BLAZE_CORE_JOURNAL_H
#define BLAZE_CORE_JOURNAL_H

#include "core/digest.h"

#define JOURNAL_EPOCH_BYTES DIGEST_SUM_KEY_BYTES
/** Room of each file, in bytes. */
#define JOURNAL_ROOM (4u << 20)

struct journal;

/** Makes the files in dir where they are missing, and reserves their room. -ENOSPC, -EIO and the like. */
int journal_open(const char *dir, const uint8_t epoch[JOURNAL_EPOCH_BYTES], struct journal **ret);
void journal_close(struct journal *j);
/** Adds a record behind the last. -EFBIG: no room; a negative errno: it is not there. */
int journal_append(struct journal *j, uint64_t number, struct slice payload);
/** What the other file holds is needed no more: it is the one that is written, from its beginning. */
void journal_turn(struct journal *j);
/** What both files hold is needed no more. */
void journal_restart(struct journal *j);

/**
 * Calls fn for each record with a number above `after`, in order, until one is missing or fn fails. 0 (also: there is
 * no journal), or what fn or the disk returned.
 */
int journal_read(const char *dir, const uint8_t epoch[JOURNAL_EPOCH_BYTES], uint64_t after,
		 int (*fn)(void *ctx, uint64_t number, struct slice payload), void *ctx);

#endif
