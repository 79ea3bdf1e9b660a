/*
 * One connection from its first byte to BYE, without a socket: hello, handshake, records.
 *
 *     initiator                              responder
 *        │── hello ──────────────────────────▶│  SESSION_HELLO
 *        │◀── answer: status, nonce ──────────│
 *        │◀── net/noise.h: 2 or 3 messages ──▶│  SESSION_HANDSHAKE
 *        ╞═══ net/channel.h: records ═════════╡  SESSION_UP
 *        │── BYE ────────────────────────────▶│  SESSION_CLOSED
 *
 * Wire messages (one WebSocket message each) go in through session_receive() and come out of
 * session_next(). Any error ends the session: the caller closes the socket.
 */
#ifndef BLAZE_NET_SESSION_H
#define BLAZE_NET_SESSION_H

#include "net/channel.h"
#include "net/hello.h"

/** Largest wire message in any state. */
#define SESSION_WIRE_BYTES_MAX CHANNEL_RECORD_BYTES_MAX

enum session_state {
	SESSION_HELLO,
	SESSION_HANDSHAKE,
	SESSION_UP,
	SESSION_CLOSED,
};

/** What the owner does. Must not destroy the session from within. */
struct session_handler {
	/**
	 * Responder only. HELLO_OK: puts the peer's dh_pk (sync) or the invitation's secret (pair) into
	 * ret_secret. Everything else is told to the initiator, and the session ends.
	 */
	enum hello_status (*lookup)(void *ctx, const struct hello *h, uint8_t ret_secret[32]);
	/** The handshake is done; messages may be sent. */
	void (*up)(void *ctx);
	/** A whole message of the peer; < 0 ends the session. */
	int (*message)(void *ctx, struct slice message);
	void *ctx;
};

struct session_options {
	const struct keys *keys; /**< must outlive the session */
	struct session_handler handler;
	bool initiator;
	enum hello_mode mode;  /**< initiator */
	const uint8_t *secret; /**< initiator: as ret_secret above */
};

struct session;

struct session *session_create(const struct session_options *options);
void session_destroy(struct session *s);

enum session_state session_state(const struct session *s);
enum hello_mode session_mode(const struct session *s);

/**
 * Takes one wire message. 0, or < 0: close the socket. -ECANCELED: the peer said BYE or a status, see
 * below. -EBADMSG not authentic or malformed, -EPROTO out of turn, -EMSGSIZE too long,
 * -EPROTONOSUPPORT another version; or what the message handler said.
 */
int session_receive(struct session *s, struct slice wire);
/** Appends the next wire message and returns 1; 0 = nothing to send; < 0: all is said, close. */
int session_next(struct session *s, struct buf *out);

/** Queues a message; only when up. Takes the buffer's content. */
void session_send(struct session *s, struct buf *message);
size_t session_pending_bytes(const struct session *s);
/** Says BYE, if it can, and ends. */
void session_bye(struct session *s, enum channel_bye reason);

/** Why the responder would not talk to us (initiator), or what we told (responder). */
enum hello_status session_status(const struct session *s);
/** Whether the peer did not know the invitation's secret (responder, pair). */
bool session_secret_was_wrong(const struct session *s);
/** The reason of the peer's BYE, or -1. */
int session_bye_received(const struct session *s);
/** Of the finished handshake. */
void session_hash(const struct session *s, uint8_t ret[NOISE_HASH_BYTES]);
void session_remote_pk(const struct session *s, uint8_t ret[KEYS_PK_BYTES]);

#endif
