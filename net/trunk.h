/*
 * TRUNK of net/PROTOCOL.md: the connections of this home to other devices, one for each, and the LANEs in them. A lane is a
 * conversation of one database; each has a handshake and keys of its own.
 *
 *   WebSocket message = varint lane, message of that lane        the dialling side opens odd numbers, growing, the other even ones
 *                       varint lane                              the lane ends
 *
 * The first message of a number opens the lane; it is a HELLO. Until the first lane has shown who the peer is there is no
 * second one. A connection that is for one conversation only (pairing) goes without numbers: its first byte is HELLO's 'B'.
 *
 * Of several connections to one device the best is used: one within the machine, then the newest. The device with
 * the lower id has the others end after TRUNK_RETIRE_MS, the other one after TRUNK_RETIRE_LATE_MS: so that both do not end both.
 * A connection without lanes is closed. Net thread only.
 */
#ifndef BLAZE_NET_TRUNK_H
#define BLAZE_NET_TRUNK_H

#include "net/lane.h"
#include "net/ws.h"

#define TRUNK_RETIRE_MS 1000
#define TRUNK_RETIRE_LATE_MS 4000
/** From BYE to the end. */
#define TRUNK_BYE_MS 1000

struct trunks;

struct trunks_options {
	struct ws *ws;
	const uint8_t *own_id; /**< of this device; borrowed */
	/**
	 * The peer opened a lane and said this first. Gives the lane a handler, before it returns: by trunks_take(), or one
	 * that waits until somebody has said that it is his. Without one it is closed.
	 */
	void (*offered)(void *ctx, struct lane *l, struct slice hello);
	/** trunks_tick() wants to be called. */
	void (*due)(void *ctx);
	void *ctx;
};

struct trunks *trunks_create(const struct trunks_options *options);
/** After ws_destroy(), which ends the connections. */
void trunks_destroy(struct trunks *t);

/** For ws_handler.accepted(). */
void *trunks_accept(struct trunks *t, struct ws_conn *ws);
/** A lane to a device: through the connection there is, or a new one. Ends in connected() or closed(), never at once. */
struct lane *trunks_dial(struct trunks *t, const struct lane_target *target,
			 const struct lane_handler *handler, void *user);
/** Whoever takes an offered lane gets its HELLO as the first message. */
void trunks_take(struct lane *l, const struct lane_handler *handler, void *user);
/** It was taken, and has been given its HELLO. */
void trunks_taken(struct lane *l);
/** Does what is due; returns when to be called again (monotonic ms), UINT64_MAX = there is nothing. */
uint64_t trunks_tick(struct trunks *t, uint64_t now_ms);

/** Reads what a message begins with. -EBADMSG. */
int trunk_decode(struct slice message, uint64_t *ret_lane, struct slice *ret_content);

#endif
