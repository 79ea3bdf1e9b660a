/*
 * One connection from its first byte to BYE, without a socket: hello, handshake, records.
 *
 *     initiator                              responder
 *        │── hello ──────────────────────────▶│  TRANSPORT_HELLO
 *        │◀── answer: status, nonce ──────────│
 *        │◀── net/noise.h: 2 or 3 messages ──▶│  TRANSPORT_HANDSHAKE
 *        ╞═══ net/channel.h: records ═════════╡  TRANSPORT_UP
 *        │── BYE ────────────────────────────▶│  TRANSPORT_CLOSED
 *
 * Wire messages (one WebSocket message each) go in through transport_receive() and come out of
 * transport_next(). Any error ends it: the caller closes the socket.
 */
#ifndef BLAZE_NET_TRANSPORT_H
#define BLAZE_NET_TRANSPORT_H

#include "net/channel.h"
#include "net/hello.h"

/** Largest wire message, and before the handshake is done. */
#define TRANSPORT_WIRE_BYTES_MAX CHANNEL_RECORD_BYTES_MAX
#define TRANSPORT_HELLO_BYTES_MAX HELLO_BYTES_MAX

enum transport_state {
	TRANSPORT_HELLO,
	TRANSPORT_HANDSHAKE,
	TRANSPORT_UP,
	TRANSPORT_CLOSED,
};

/** What the owner does. Must not destroy the transport from within. */
struct transport_handler {
	/**
	 * Responder only. HELLO_OK: puts the peer's dh_pk (sync), the link's secret, the digest of the
	 * code's words, that of the relay's token, or what hello_recover_secret() says into ret_secret. Everything else
	 * is told to the initiator, and that is the end.
	 */
	enum hello_status (*lookup)(void *ctx, const struct hello *h, uint8_t ret_secret[32]);
	/** The handshake is done; messages may be sent. */
	void (*up)(void *ctx);
	/** A whole message of the peer; < 0 ends it. */
	int (*message)(void *ctx, struct slice message);
	void *ctx;
};

struct transport_options {
	const struct keys *keys; /**< must outlive the transport */
	struct transport_handler handler;
	bool initiator;
	enum hello_mode mode;  /**< initiator */
	const uint8_t *secret; /**< initiator: as ret_secret above */
	uint32_t nameplate;    /**< initiator, code */
	/** Initiator, relay: the static key it has to have; checked before it learns ours. */
	const uint8_t *expect_pk;
	const uint8_t *account_pk; /**< initiator, recover */
	struct id database;	   /**< initiator, sync; recover with has_database: this one only */
	bool has_database;
	const struct id *without; /**< initiator, recover: not these */
	size_t without_count;
};

struct transport;

struct transport *transport_create(const struct transport_options *options);
void transport_destroy(struct transport *s);

enum transport_state transport_state(const struct transport *s);
enum hello_mode transport_mode(const struct transport *s);

/**
 * Takes one wire message. 0, or < 0: close the socket. -ECANCELED: the peer said BYE or a status,
 * see below. -EBADMSG not authentic or malformed, -EPROTO out of turn, -EMSGSIZE too long,
 * -EPROTONOSUPPORT no version in common; or what the message handler said.
 */
int transport_receive(struct transport *s, struct slice wire);
/** Appends the next wire message and returns 1; 0 = nothing to send; < 0: all is said, close. */
int transport_next(struct transport *s, struct buf *out);

/** From when on the initiator should renew: 60 minutes, or so many bytes either way. */
#define TRANSPORT_RENEW_MS (60 * 60 * 1000)
#define TRANSPORT_RENEW_BYTES (UINT64_C(16) << 30)
/** A responder that was not asked to in this time ends the connection. */
#define TRANSPORT_RENEW_LATEST_MS (90 * 60 * 1000)
/**
 * RENEW: fresh keys from a new KK handshake inside the connection, prologue "blaze/2 renew" and the hash of the handshake before.
 *
 *     initiator                              responder
 *        │── 1: e, es, ss ────────────────────▶│
 *        │◀──────────────────── 2: e, ee, se ──│  its next record is under the new key
 *        │── 3 ───────────────────────────────▶│  so is the initiator's
 *
 * Initiator, sync, up; nothing while one is under way. What is being sent goes on.
 */
void transport_renew(struct transport *s);
/** How many times that was done, and plain bytes either way since. */
uint64_t transport_renewal_count(const struct transport *s);
uint64_t transport_byte_count(const struct transport *s);

/** Queues a message; only when up. Takes the buffer's content. */
void transport_send(struct transport *s, struct buf *message);
size_t transport_pending_bytes(const struct transport *s);
/** Says BYE, if it can, and ends. */
void transport_bye(struct transport *s, enum channel_bye reason);

/** Why the responder would not talk to us (initiator), or what we told (responder). */
enum hello_status transport_status(const struct transport *s);
/** Whether the peer did not know the invitation's secret (responder, pairing). */
bool transport_secret_was_wrong(const struct transport *s);
/** The reason of the peer's BYE, or -1. */
int transport_bye_received(const struct transport *s);
/** Of the finished handshake. */
void transport_hash(const struct transport *s, uint8_t ret[NOISE_HASH_BYTES]);
void transport_remote_pk(const struct transport *s, uint8_t ret[KEYS_PK_BYTES]);

#endif
