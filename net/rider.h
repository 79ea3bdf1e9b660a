/*
 * RIDER of net/PROTOCOL.md: a mount whose lanes go through the CARRIER of its home, another process. What it says is in
 * net/ride.h. Net thread only.
 */
#ifndef BLAZE_NET_RIDER_H
#define BLAZE_NET_RIDER_H

#include "net/lane.h"
#include "net/ws.h"

struct rider;

struct rider_options {
	struct ws *ws;
	/** Whether a peer's HELLO is for the database here. */
	bool (*knows)(void *ctx, struct slice hello);
	/** It is: gives the lane a handler and a user. */
	void (*accept)(void *ctx, struct lane *l);
	/** The carrier is there. */
	void (*up)(void *ctx);
	/** It is not, or not any more; all lanes have ended. -EPROTONOSUPPORT: it is of another version. */
	void (*down)(void *ctx, int err);
	/** The answer to rider_listen(). err 0: text is the address bound; < 0: text says why not. */
	void (*listening)(void *ctx, uint64_t request, int err, const char *text);
	/** rider_tick() wants to be called. */
	void (*due)(void *ctx);
	void *ctx;
};

struct rider *rider_create(const struct rider_options *options);
/** After ws_destroy(). */
void rider_destroy(struct rider *r);

/** Dials the carrier; up() or down() follows. */
void rider_connect(struct rider *r, const struct endpoint *carrier);
/** As trunks_dial(). What is dialled while there is no carrier waits for one, for as long as the target says. */
struct lane *rider_dial(struct rider *r, const struct lane_target *target,
			const struct lane_handler *handler, void *user);
/** Has the carrier listen on an address, too; listening() follows, unless it goes. Only when up. */
void rider_listen(struct rider *r, uint64_t request, const char *address);
/** This process carries now: what waits has to be dialled anew. */
void rider_abandon(struct rider *r);
uint64_t rider_tick(struct rider *r, uint64_t now_ms);

#endif
