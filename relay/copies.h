/*
 * SMART: the databases that the relay was granted something of. Of each it keeps a copy, a database of its own beside the mailboxes:
 *
 *   HOME/read/<mailbox, hex>        a database (core/db.c) that is limited to what was granted (core/grant.h)
 *   HOME/read/<mailbox, hex>.new    on its way: swept at the next start
 *   HOME/read/<mailbox, hex>.gone   on its way out: likewise
 *
 * An administrator brings the welcome that it begins with. From then on it hears what members say to a relay, in the connections
 * they have to it anyway, and says to each what it holds of what that one lacks. It is open while somebody talks to it. When it
 * hears that it was removed, all of it is erased; what is no database any more is, too, and is asked for again.
 *
 * Threads: one thread of its own has the databases; whatever waits for the disk waits there, and nobody with a blind mailbox waits
 * for that. All functions are the network thread's. Messages in and out are queued in between.
 */
#ifndef BLAZE_RELAY_COPIES_H
#define BLAZE_RELAY_COPIES_H

#include "core/keys.h"
#include "net/smart.h"

struct copies;
/** What a connection to a mailbox has here. */
struct seat;

/** Of a connection: what waits for it to be sent, and what came and was not looked at (besides one message of any size). */
#define COPIES_OUT_BYTES (256u << 10)
#define COPIES_IN_BYTES (16u << 20)

struct copies_options {
	const char *home;	 /**< borrowed */
	const struct keys *keys; /**< borrowed */
	uint64_t count_max;
	uint64_t bytes_max; /**< of each, on the disk, roughly */
	/** seat_next() may have something. Any thread, no lock. */
	void (*news)(void *ctx);
	void *ctx;
};

/** Looks at what is there. -EIO, -EACCES and the like, and why. */
int copies_create(const struct copies_options *options, struct copies **ret, struct why *why);
/** Starts the thread. */
void copies_start(struct copies *c);
/** Ends the thread: news() is not called any more. NULL is allowed. */
void copies_stop(struct copies *c);
/** Closes what is open. All seats were left. NULL is allowed. */
void copies_destroy(struct copies *c);

/** Who it is and what the handshake's hash was; *ret_reads: whether there is a copy, as of now. */
struct seat *seat_take(struct copies *c, const struct id *mailbox,
		       const uint8_t dh_pk[KEYS_PK_BYTES], const uint8_t hash[NOISE_HASH_BYTES],
		       bool *ret_reads);
/** NULL is allowed. */
void seat_leave(struct seat *s);
/** A welcome of an administrator. An answer follows. -EPROTO: too much at once. */
int seat_welcome(struct seat *s, struct slice welcome);
/** A message of the stream. -EPROTO. */
int seat_receive(struct seat *s, struct slice message);
/** The next message of net/mail.h to be said to it, READS or STREAM: 1, 0; < 0: the connection has to end. */
int seat_next(struct seat *s, struct buf *out);

#endif
