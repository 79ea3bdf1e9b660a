/*
 * GRANT: a member with the role `relay` has no key of an epoch. It is given the keys of some streams, one of each epoch, and
 * can derive no other from them: stream key = keyed digest of the epoch's key and the stream (core/envelope.h). With them it
 * verifies and opens what is in these streams, old and new, and nothing else (section 2 of net/PROTOCOL.md).
 *
 *   GRANT = device, 16 bytes collection, its name (what a person called it when granting; for people only),
 *           count * (16 bytes epoch, sealed stream key: as core/epoch.h seals, bound to the epoch's id)
 *
 * It counts if its author may manage, until the device is removed; who comes back is granted anew. When there is a new epoch,
 * any manager that notices grants its stream keys, too.
 *
 * The device so granted is `limited`: it joins with a welcome that holds the key of `auth` and no epoch's, and works out from
 * the operations what it may open. What others say to it is bounded on their side: grant_covers().
 */
#ifndef BLAZE_CORE_GRANT_H
#define BLAZE_CORE_GRANT_H

#include "core/auth.h"
#include "core/envelope.h"

struct db;
struct grants;
struct member;
struct txn;

/** Of a limited device: the place of a feed, with all keys of its stream that are here; none: nothing opens. Any thread, no lock. */
struct envelope_place grant_place(const struct db *db, const struct id *stream, uint64_t actor);
/** Takes what the operations give this device; only if it is limited. */
void grant_refresh(struct db *db);
void grant_fini(struct db *db);
/** Gives those who were granted a stream its keys of the epochs they have none of. Whether there were any. */
bool grant_share(struct txn *t);
/** Whether the member may have what is in the stream, as ciphertext or plain: all, but for the role `relay` and who was removed. */
bool grant_covers(const struct db *db, const struct member *m, const struct id *stream);

#endif
