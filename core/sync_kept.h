/*
 * QUARANTINE between devices (core/quarantine.h), and what is said to, and heard of, who was removed. Part of core/sync.c.
 *
 *   KEPT 16     vv: what the sender keeps of feeds beyond what it has applied. Said again when that changed, and by who lacks some
 *               of what the other one keeps. Who has said it is sent what it lacks, as ENVELOPE.
 *
 * OUTSIDE: a peer that was removed is given `auth`, so that it hears of it, and after that HAVE, of `auth` and its own feeds:
 * so it knows what became of it before it says anything else. Of it are taken `auth`, and its own feeds into the quarantine; what else
 * it says is passed over. Who goes on with what is refused is not listened to. A device that has heard that it is outside
 * itself sends nothing but that either.
 */
#ifndef BLAZE_CORE_SYNC_KEPT_H
#define BLAZE_CORE_SYNC_KEPT_H

#include "core/db.h"

#define SYNC_KEPT 16
/** Messages of a peer outside that are refused before the connection is. */
#define SYNC_KEPT_REFUSED_MAX 256

/** Zero-initialise. */
struct sync_kept {
	uint64_t told;	   /**< db_kept_revision() that was; 0 = nothing yet */
	bool answer;	   /**< the peer keeps something that is lacking here */
	bool theirs_known; /**< it has said KEPT */
	struct feed_pos *theirs;
	size_t theirs_count;
	size_t refused; /**< of a peer outside */
	size_t confined; /**< this device is outside: feeds at hand when the rest was taken for the peer's; 0 = not yet */
};

/** Whether a message of this type is listened to. */
bool sync_kept_listens(struct db *db, uint64_t peer, uint8_t type);
/** Something was refused: whether the peer may go on. */
bool sync_kept_may_go_on(struct sync_kept *k, struct db *db, uint64_t peer);
void sync_kept_fini(struct sync_kept *k);
/** KEPT came. Takes the list. */
void sync_kept_receive(struct sync_kept *k, struct db *db, struct feed_pos *vv, size_t count);
/** Appends the list, if there is something to tell now. */
bool sync_kept_tell(struct sync_kept *k, struct db *db, struct feed_pos **ret, size_t *ret_count);
/** The next envelope that the peer lacks, which holds vv otherwise. As db_next_envelope(). */
int sync_kept_next(struct sync_kept *k, struct db *db, struct feed_pos *vv, size_t vv_count,
		   struct feed_item *ret_item, struct buf *ret);
/** To a peer outside: what is here of its own feeds, beside what is in the list already, which is the caller's. */
size_t sync_kept_have(struct db *db, uint64_t peer, struct feed_pos **list, size_t count);
/** This device is outside: takes all that it has not made itself for what the peer has. */
void sync_kept_confine(struct sync_kept *k, struct db *db, struct feed_pos **list, size_t *count);

#endif
