/*
 * ENDPOINT of net/PROTOCOL.md: where each device says it can be reached, signed by itself, passed on by everybody.
 *
 *   record = u8 1, 8 bytes actor, varint time ms, varint n <= 16, n * bytes address, 64 bytes signature over
 *            "blaze contact", 16 bytes database id, and all before it
 *
 * Of one device the record with the latest time counts; its own clock alone decides between its own records. They are kept
 * under `N` and the actor. What an address means is net's business: here it is printable text.
 */
#ifndef BLAZE_CORE_CONTACT_H
#define BLAZE_CORE_CONTACT_H

#include "core/db.h"

#define CONTACT_ADDRESSES_MAX 16
#define CONTACT_ADDRESS_BYTES 256 /**< and its NUL */
#define CONTACT_BYTES_MAX 2048

struct contact {
	uint64_t actor;
	uint64_t time_ms;
	size_t count;
	char addresses[CONTACT_ADDRESSES_MAX][CONTACT_ADDRESS_BYTES];
};

/** Checks the form only; *ret_body is what is signed of it, and the signature follows it. -EBADMSG. */
int contact_decode(struct slice record, struct contact *ret, struct slice *ret_body);
/** Says where this device can be reached, if that is news: 1, else 0. now_ms: wall clock. */
int contact_set_own(struct db *db, char (*addresses)[CONTACT_ADDRESS_BYTES], size_t count,
		    uint64_t now_ms);
/** A record that came: 1 news, 0 not, -EBADMSG malformed or forged, -EAGAIN of who is no member (yet), -EIO, -ENOSPC. */
int contact_take(struct db *db, struct slice record);
/** -ENOENT. */
int contact_get(struct db *db, uint64_t actor, struct contact *ret);
/** Grows whenever a record changed. Any thread. */
uint64_t contact_revision(const struct db *db);
/** Of all records: equal where the same ones are held. */
void contact_digest(struct db *db, uint8_t ret[8]);
/** The record of the first member, in order of actors, after `actor`. 1, or 0: no more. */
int contact_next(struct db *db, uint64_t *actor, uint64_t *ret_time_ms, struct buf *ret);

#endif
