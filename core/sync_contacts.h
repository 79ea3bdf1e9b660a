/*
 * Passing on where devices can be reached: part of core/sync.h's engine, one for each connection.
 *
 *   ENDPOINT 12   a record of core/contact.h
 *
 * HELLO says which ones a device holds, by a digest. Where it differs, each side sends all it has, but not to a
 * device its own; later, what is new.
 *
 * A record may come before the operation that makes its device a member. It is kept and tried again, for as long as the
 * connection lasts; with the next one the digests differ, and it is sent again.
 */
#ifndef BLAZE_CORE_SYNC_CONTACTS_H
#define BLAZE_CORE_SYNC_CONTACTS_H

#include "core/contact.h"

#define SYNC_ENDPOINT 12

struct sync_contacts_told {
	uint64_t actor;
	uint64_t time_ms;
};

/** Records of devices that are no members yet: the first so many. */
#define SYNC_CONTACTS_EARLY_MAX 64

/** Zero-initialise. */
struct sync_contacts {
	uint64_t revision; /**< of what was looked through */
	uint64_t at;	   /**< the actor the look through has come to */
	bool looking;
	struct sync_contacts_told *told; /**< what the peer has, or was sent */
	size_t told_count;
	struct buf early[SYNC_CONTACTS_EARLY_MAX];
	size_t early_count;
	uint64_t tried; /**< the database's generation when these were tried last */
};

void sync_contacts_fini(struct sync_contacts *c);
/** The peer's HELLO came. same: it holds what we hold. */
void sync_contacts_start(struct sync_contacts *c, struct db *db, bool same);
/** A message ENDPOINT. < 0 as sync_receive(). */
int sync_contacts_receive(struct sync_contacts *c, struct db *db, struct reader *r);
/** The next one to send: 1 and *out, 0, or -EIO. */
int sync_contacts_next(struct sync_contacts *c, struct db *db, uint64_t peer, struct buf *out);

#endif
