/*
 * SMART: a database's stream within a connection to a relay that was granted something (core/grant.h); both ends. In it the two
 * are members to each other, and say what members say: STREAM and CREDIT of net/mux.h, the messages of core/sync.h. Which streams
 * these are about is bounded at the device's side (db_may_have()), whatever the relay asks for.
 *
 * The device opens it: it knows from `auth` that the relay is a member, and it was told that the relay has a copy. Keys prove who
 * is who: the handshake ended with both sides' static keys, which stand in their certificates.
 *
 * Sans I/O. One thread at a time.
 */
#ifndef BLAZE_NET_SMART_H
#define BLAZE_NET_SMART_H

#include "core/sync.h"
#include "net/noise.h"

struct smart;

/** Whom the peer is about to talk to. */
struct smart_party {
	struct db *db;
	uint64_t peer;	 /**< its actor there */
	uint64_t now_ms; /**< wall clock */
};

struct smart_options {
	bool device;			/**< this end opens */
	uint8_t hash[NOISE_HASH_BYTES]; /**< of the handshake */
	/** The relay's end: the device opens the stream. false refuses: no copy here, or it is no member. */
	bool (*admits)(void *ctx, struct smart_party *ret);
	void *ctx;
};

struct smart *smart_create(const struct smart_options *options);
void smart_destroy(struct smart *s);

/** The device's end: begins, unless it has. */
void smart_open(struct smart *s, const struct smart_party *party);
/** Ends the stream from this side; it may be opened again. The database is not used any more. */
void smart_close(struct smart *s);
/** Not when the other side refused, or closed it. */
bool smart_is_open(const struct smart *s);

/** < 0: what was said is out of place or malformed (-EBADMSG, -EPROTO), or our store failed: the connection has to end. */
int smart_receive(struct smart *s, struct slice message);
/** The next message into *out (cleared): 1; 0 = nothing now; < 0 as above. Again whenever the database changed or something came. */
int smart_next(struct smart *s, struct buf *out);
/** Whether both hold the same, as far as the relay may. */
bool smart_in_sync(const struct smart *s);
/** Whether it owes an answer to what was said: for how long it may be silent. */
bool smart_is_owed(const struct smart *s);

#endif
