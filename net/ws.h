/*
 * WebSocket connections, in and out: path /blaze/1, no subprotocol, binary messages, no
 * extensions. What is behind it alone knows libwebsockets (4.1.6: what it must not be asked for is in
 * ws.c).
 *
 * One thread creates or takes over a ws and calls everything here, except ws_wake().
 */
#ifndef BLAZE_NET_WS_H
#define BLAZE_NET_WS_H

#include "net/endpoint.h"
#include "net/tls.h"

#include "core/digest.h"

/** Incoming connections at a time, and how many of them may not be trusted yet. */
#define WS_INCOMING_MAX 64
#define WS_UNTRUSTED_MAX 24
/** Of these, from one address (an IPv6 /64); one's own machine may have them all. */
#define WS_UNTRUSTED_PER_ADDRESS_MAX 8
/** From accept to ws_trust(), or the connection is closed. */
#define WS_UNTRUSTED_MS 5000
/** A connection silent for so long is asked, and then given up. */
#define WS_PING_S 25
#define WS_HANGUP_S 45
#define WS_MESSAGE_BYTES_MAX 33024

/** The reason when a deadline passed. */
#define WS_TIMED_OUT "timed out"
/** What answers ended it before it began; without TLS, that is what a port for TLS does. */
#define WS_HUNG_UP "what answers there hangs up"
#define WS_NO_TLS "what answers there does not speak TLS"
/** TLS: the certificate's key is not the one that is pinned. */
#define WS_WRONG_PIN "its certificate is not the one that its address names"

struct ws;
struct ws_conn;

/** How to dial inside TLS. */
struct ws_tls {
	bool pinned;
	uint8_t pin[TLS_PIN_BYTES];
};

/** `user` belongs to the connection: accepted() returned it, or ws_dial() was given it. */
struct ws_handler {
	/** An incoming connection is open. NULL refuses it. */
	void *(*accepted)(void *ctx, struct ws_conn *c);
	/** A dialled connection is open. */
	void (*connected)(void *user);
	/** A whole message; < 0 closes at once. */
	int (*received)(void *user, struct slice message);
	/**
	 * There is room, after ws_want_write(): appends one message to *out and returns 1, to be
	 * asked again; 0 = nothing to send; < 0 = close, after what was written before is out.
	 */
	int (*writable)(void *user, struct buf *out);
	/** It is gone: the last call with this user. reason: why a dial failed; "" for others. */
	void (*closed)(void *user, const char *reason);
	/** ws_wake() was called, once or more. */
	void (*woken)(void *ctx);
	/** What ws_set_timer() asked for. */
	void (*timer)(void *ctx);
	/** What ws_set_path_timer() asked for. */
	void (*path_timer)(void *ctx);
	/** What ws_set_lane_timer() asked for. */
	void (*lane_timer)(void *ctx);
	void *ctx;
};

/** What a server for many allows; zeros mean the values above. */
struct ws_limits {
	size_t incoming_max;
	size_t untrusted_max;
	size_t untrusted_per_address_max;
};

/** NULL when libwebsockets cannot start (out of descriptors). handler is copied; limits may be NULL. */
struct ws *ws_create(const struct ws_handler *handler, const struct ws_limits *limits);
/** Closes everything; closed() is called for each. */
void ws_destroy(struct ws *w);
/**
 * Waits for something to happen and handles it. < 0: cannot go on. What a timer() or closed()
 * decides may be seen late: to get back from here, they call ws_wake().
 */
int ws_service(struct ws *w);
/** Makes ws_service() call woken(). Any thread, as long as w exists. */
void ws_wake(struct ws *w);
/** Calls timer() once, delay_ms from now. Replaces the timer set before. */
void ws_set_timer(struct ws *w, uint64_t delay_ms);
/** The same, for path_timer(): who keeps relays knows nothing of who keeps peers. */
void ws_set_path_timer(struct ws *w, uint64_t delay_ms);
/** The same, for lane_timer(). */
void ws_set_lane_timer(struct ws *w, uint64_t delay_ms);

/**
 * Incoming TCP connections are inside TLS from now on, with this certificate (net/tls.h), which is not kept. Called again,
 * those that come later get the new one. < 0: it is as before.
 */
int ws_set_tls(struct ws *w, const struct tls_identity *identity);

/** Accepts from a listening socket, TCP or Unix, from now on. Takes ownership of fd. */
int ws_listen(struct ws *w, int fd);
/**
 * Starts to connect; deadline_ms bounds TCP and WebSocket together. Ends in connected() or
 * closed(), never before this returns.
 */
struct ws_conn *ws_dial(struct ws *w, const struct endpoint *e, uint64_t deadline_ms, void *user);
/**
 * The same, for a user of another kind: handler has its connected, received, writable and closed. tls: inside TLS; NULL =
 * not.
 */
struct ws_conn *ws_dial_with(struct ws *w, const struct endpoint *e, const struct ws_tls *tls,
			     uint64_t deadline_ms, const struct ws_handler *handler, void *user);

/** Within accepted(): the connection's user is of this kind. handler outlives it. */
void ws_use(struct ws_conn *c, const struct ws_handler *handler);
/** Asks for writable(). */
void ws_want_write(struct ws_conn *c);
/** Closes soon; closed() follows. */
void ws_close(struct ws_conn *c);
/** The peer has proven who it is: ends the deadline of an incoming connection. */
void ws_trust(struct ws_conn *c);
bool ws_is_incoming(const struct ws_conn *c);
/** Where the peer is. */
const struct endpoint *ws_remote(const struct ws_conn *c);
/** Bytes of frames so far, headers included, TCP and HTTP not. */
void ws_traffic(const struct ws_conn *c, uint64_t *ret_up, uint64_t *ret_down);
/** What a message of so many bytes takes, its frame's header included; a client's are masked. */
uint64_t ws_frame_bytes(size_t len, bool masked);

#endif
