/*
 * Second names: two devices made a file of one name while they could not see each other.
 *
 * A node's id follows from its name, so the two are one record with two values, of which one is shown (JSON is merged by
 * field, equal bytes are one value, directories are joined: none of that comes here). The device whose value is not
 * shown gives it a file of its own, `notes~1a2b3c4d.txt` beside `notes.txt`, and takes it away from the record. The name
 * follows from the record and the device, so it is the same on all; and it is one device's change, so nobody has to agree.
 * Until that device hears of the other value, or if it never does, its own is among the conflicts.
 *
 * The record keeps its id and what was read of it: who saves `notes.txt` again, over a file he never saw, is
 * compared with the one he had read, and what he did not see is among the conflicts. Values that were written
 * over something both had seen stay conflicts of one record, too.
 *
 * Store keys:   Y node16   this device has a value there that is not shown
 */
#ifndef BLAZE_CORE_SECOND_H
#define BLAZE_CORE_SECOND_H

#include "core/db.h"

/** Looks after one such node. 1 = done, 0 = there is none. Not within a transaction. */
int second_step(struct db *db);

#endif
