/*
 * How this mount gets to other devices: by its own connections (net/trunk.h), or by those of another mount of the same home.
 *
 *              HOME/net.lock is free                     another mount has it
 *     SEEKING ───────────────────────▶ CARRIER    SEEKING ───────────────────▶ RIDER
 *        ▲   (net/carrier.h)          to its end     ▲     (net/rider.h)         │
 *        └────────────────────────────────────────── └───── the carrier is gone ─┘
 *
 * The lock is flock(2): it is free when its process is gone, however that went. The CARRIER listens on HOME/net.sock for riders,
 * on this device's Unix socket (net/local.h), and on the addresses that it and its riders want: one port does for all. A
 * rider that takes over listens where it was listened before. Net thread only, but for create and destroy.
 */
#ifndef BLAZE_NET_CARRIAGE_H
#define BLAZE_NET_CARRIAGE_H

#include "net/lane.h"
#include "net/ws.h"

#include "core/keys.h"

/** How soon a mount without a carrier looks again for one, or whether it can be the one. */
#define CARRIAGE_SEEK_MS 50
/** How soon it tries again to listen where it listened before. */
#define CARRIAGE_LISTEN_MS 200

struct carriage;

struct carriage_options {
	/** The home's directory; NULL: this process shares its connections with nobody. Copied. */
	const char *home;
	struct ws *ws;
	const struct device *own; /**< borrowed */
	/** Whether a peer's HELLO is for the database here. */
	bool (*knows)(void *ctx, struct slice hello);
	/** An incoming lane; returns its user, of kind `handler`, or NULL = refused. */
	void *(*accepted)(void *ctx, struct lane *l);
	const struct lane_handler *handler;
	/** The answer to carriage_listen(). err 0: text is the address bound; < 0: text says why not. Said again if it changes. */
	void (*listening)(void *ctx, int err, const char *text);
	void *ctx;
};

struct carriage *carriage_create(const struct carriage_options *options);
/** After ws_destroy(). */
void carriage_destroy(struct carriage *c);
/** First of all. */
void carriage_start(struct carriage *c);
/** Before ws_destroy(): nothing is taken any more, what waits has ended. */
void carriage_stop(struct carriage *c);

/** For ws_handler: accepted() and lane_timer(). */
void *carriage_accept(struct carriage *c, struct ws_conn *ws);
void carriage_tick(struct carriage *c);

/** As trunks_dial(). */
struct lane *carriage_dial(struct carriage *c, const struct lane_target *target, void *user);
/** Listens from now on, here or at the carrier. listening() follows. */
void carriage_listen(struct carriage *c, const char *address);

#endif
