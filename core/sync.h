/*
 * What one peer still needs: the sync engine of one connection. Sans I/O: complete, authenticated
 * messages in; messages out. It knows neither sockets nor encryption; net/ carries its messages.
 *
 * Messages (first byte is the type; varints; `vv` = varint count, then per feed 16 bytes stream,
 * 8 bytes actor, varint seq):
 *
 *   HELLO 1     varint version, 16 bytes database id, varint wall clock ms, bytes endpoint, 8 bytes contact_digest()
 *   DIGEST 2    32 bytes: digest of the sender's sorted vv. Equal digests: in sync, nothing more to say.
 *   HAVE 3      vv: everything the sender has applied, whether or not the chunks of it are there. Answers a DIGEST that differs; also sent when
 *               an envelope could not be applied, to be sent the missing ones again.
 *   ENVELOPE 4  feed (core/sync_feeds.h), the sealed envelope (core/envelope.h): to who may not have the keys
 *   THIN 15     feed, the envelope as envelope_thin() writes it
 *   ACK 5       8 bytes device, varint count, then count of: feed, varint seq: what that device holds durably. Passed on to
 *               other peers.
 *   8 to 11     chunks: core/sync_chunks.h
 *   ENDPOINT 12 core/sync_contacts.h
 *   KEPT 16     core/sync_kept.h
 *   HAVE_AUTH 17  vv: what the sender has of `auth`. To a peer outside, before HAVE: core/sync_kept.h
 *   21 to 25    snapshots: core/sync_snapshot.h
 *   STRATUM 20  feed, a stratum (core/stratum.h)
 *
 * Envelopes go out in the order they were applied here, which is a causal order. A stratum goes where its
 * first envelope would; the receiver keeps it until all of it could be applied.
 */
#ifndef BLAZE_CORE_SYNC_H
#define BLAZE_CORE_SYNC_H

#include "core/bytes.h"

struct db;
struct sync;

#define SYNC_VERSION 6
/** Largest message; net refuses more before it allocates. */
#define SYNC_MESSAGE_BYTES_MAX (80u << 20)

struct sync_options {
	struct db *db;
	uint64_t peer;	      /**< actor of the authenticated peer */
	const char *endpoint; /**< told to the peer so that it can dial us; "" = none. Copied */
	uint64_t now_ms;      /**< wall clock */
};

/** What the engine learnt; net copies it into core/status.h. */
struct sync_info {
	bool hello;   /**< the peer's HELLO came */
	bool in_sync; /**< both sides hold the same changes, as far as told */
	int64_t clock_skew_ms;
	const char *endpoint; /**< the peer's own, "" = none; borrowed */
};

struct sync *sync_create(const struct sync_options *options);
void sync_destroy(struct sync *s);

/**
 * Handles one message of the peer. < 0: the connection has to be closed (-EBADMSG malformed, -EPROTO
 * out of place or another version or database, -EIO our store failed). Net thread only.
 */
int sync_receive(struct sync *s, struct slice message);
/**
 * Puts the next message into *out (cleared first) and returns 1, or returns 0 when there is nothing
 * to say now. Call it again whenever the database changed, a message came, or there is room again.
 */
int sync_next(struct sync *s, struct buf *out);
/** The same, but nothing that costs: there is no room for it at the peer. */
int sync_next_free(struct sync *s, struct buf *out);
/**
 * Whether a message brings changes, and so costs credit (net/mux.h). Chunks do not: who asks for them says how many.
 */
bool sync_costs(struct slice message);
/** Makes what came durable. Waits for the disk. */
int sync_settle(struct sync *s);
void sync_get_info(const struct sync *s, struct sync_info *ret);

#endif
