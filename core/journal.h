/*
 * Two files of numbered records, which take turns: one is written while what is in the other reaches LevelDB
 * (core/store_layers.h) and stable storage there. A record is there when it was written whole: one write(2), after which
 * kill -9 takes nothing; and once journal_sync() was done, a power cut neither.
 *
 *   record = be32 length, be64 number, 8 bytes SipHash-2-4 of all the others (key: the epoch), payload
 *
 * A record that is not whole, of another epoch, or with no higher number than its predecessor in the file ends what is
 * read of that. So neither file is ever emptied: it is written again from its beginning.
 *
 * Threads: one at a time, but for journal_sync().
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
/** Whether it is time for the other file. */
bool journal_is_filling(const struct journal *j);
/** The number of the last record in the other file, 0 = it has none. */
uint64_t journal_other_last(const struct journal *j);
/** What the other file holds is needed no more: it is the one that is written, from its beginning. */
void journal_turn(struct journal *j);
/** What both files hold is needed no more. */
void journal_restart(struct journal *j);

/** Which files were written since the last time this was asked, for journal_sync(). */
unsigned journal_take_unsynced(struct journal *j);
/** Makes them durable, in any thread. A negative errno: nothing is known about what they hold. */
int journal_sync(const struct journal *j, unsigned files);

/**
 * Calls fn for each record that has to be applied to what already holds all up to `number`, in order: those of the
 * longest row without a gap that has the record `number` or the next, and does not end before it. That row may begin
 * earlier; to apply it again changes nothing, and mends what a power cut took out of the middle. 0 (also: there is
 * none), or what fn or the disk returned.
 */
int journal_read(const char *dir, const uint8_t epoch[JOURNAL_EPOCH_BYTES], uint64_t number,
		 int (*fn)(void *ctx, uint64_t number, struct slice payload), void *ctx);

#endif
