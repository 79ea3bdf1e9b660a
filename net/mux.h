/*
 * STREAM, CREDIT, LIVENESS of net/PROTOCOL.md: several databases over one connection to a device. Sans I/O: messages
 * of net/channel.h go in and come out.
 *
 * Every message begins with a varint stream number. 0 is control, one after another until the message ends:
 *
 *   OPEN 1      varint stream, 16 bytes tag        the initiator of the connection uses odd numbers, growing
 *   ACCEPT 2    varint stream
 *   REFUSE 3    varint stream                      not known here: no such database, or no member of it
 *   CLOSE 4     varint stream
 *   CREDIT 5    varint stream, varint bytes        so much more content may come
 *   PING 6, PONG 7   8 bytes, echoed
 *
 * Who opens a stream may use it at once; what comes on a stream that is not open here is dropped. What the handler says
 * costs() is paid for with credit of the stream and of the connection: a message may start while both are above zero, and
 * all of it is then subtracted. The receiver gives it back when what it took is durable, so a slow or full disk stops
 * the sender, and nothing else: what costs nothing goes on.
 */
#ifndef BLAZE_NET_MUX_H
#define BLAZE_NET_MUX_H

#include "core/digest.h"
#include "core/id.h"

#define MUX_TAG_BYTES 16
#define MUX_STREAMS_MAX 64
/** What may be under way before the first CREDIT. */
#define MUX_STREAM_CREDIT (2 << 20)
#define MUX_CREDIT (8 << 20)

struct mux;

/** `user` belongs to a stream: mux_open() was given it, or opened() returned it. */
struct mux_handler {
	/** The peer opens a stream. NULL refuses it. */
	void *(*opened)(void *ctx, const uint8_t tag[MUX_TAG_BYTES]);
	/** Refused or closed by the peer: the last call with this user. */
	void (*closed)(void *user);
	/** A message came; < 0 ends the connection. */
	int (*message)(void *user, struct slice message);
	/** The next message into *out (cleared): 1, 0 = nothing now, < 0. content: whether it may be one that costs. */
	int (*next)(void *user, bool content, struct buf *out);
	/** Whether a message is paid for with credit. */
	bool (*costs)(struct slice message);
	/** Makes what came durable. Called when half of a credit is used up; < 0 ends the connection. */
	int (*settle)(void *user);
	void *ctx; /**< for opened() */
};

struct mux *mux_create(const struct mux_handler *handler, bool initiator);
void mux_destroy(struct mux *m);

/** What a database is called on this connection: nobody who does not know its id learns which one it is. */
void mux_tag(const uint8_t handshake_hash[32], const struct id *database,
	     uint8_t ret[MUX_TAG_BYTES]);
/** -ENOSPC: there are MUX_STREAMS_MAX. */
int mux_open(struct mux *m, const uint8_t tag[MUX_TAG_BYTES], void *user);
/** Ends a stream from this side; closed() is not called. */
void mux_close(struct mux *m, const void *user);
size_t mux_stream_count(const struct mux *m);

/** < 0: what the handler said, -EBADMSG malformed, -EPROTO out of place. */
int mux_receive(struct mux *m, struct slice message);
/** Puts the next message into *out and returns 1; 0 = nothing to say now; < 0. Streams take turns. */
int mux_next(struct mux *m, struct buf *out);

/** Queues a PING that carries `token`. */
void mux_ping(struct mux *m, uint64_t token);
/** true once per PONG, with its token. */
bool mux_pong(struct mux *m, uint64_t *ret_token);
/** Whether content waits for credit: the peer has something to do before it answers. */
bool mux_is_owed(const struct mux *m);

#endif
