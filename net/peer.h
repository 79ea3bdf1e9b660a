/*
 * The other members of the database, and the connections to them: who is dialled when, and which
 * connection is kept when there are two. Net thread only. Whether a member is dialled at all, the
 * topology says (core/topology.h).
 *
 * A member whose address is known and who is not connected is dialled: 50 ms after the connection
 * was lost, then after twice as long each time, up to 800 ms, all ±30 %; when it has been away for
 * an hour, every 15 s. So a device that comes back at the same address is found within a second. One
 * attempt tries all its addresses (net/routes.h): the next one when the one before failed, or has not
 * answered for a moment.
 *
 * If both sides dial at once there are two connections. Both work. The device with the lower id
 * decides: when a connection has heard the other side's first words, so that it is up there too, it
 * closes all but the best: one within the machine, else the newest. The other device waits for that,
 * and after PEER_SETTLE_MS keeps only the best itself: the lower one may have lost its end of the older
 * ones long ago. So there is never none because both closed.
 *
 * A member whose connection is in doubt (net/liveness.h) is dialled as if it had none.
 */
#ifndef BLAZE_NET_PEER_H
#define BLAZE_NET_PEER_H

#include "net/conn.h"
#include "net/routes.h"

#include "core/status.h"
#include "core/topology.h"

#define PEER_RETRY_MS_MIN 50
#define PEER_RETRY_MS_MAX 800
#define PEER_RETRY_MS_LATER 15000
#define PEER_RECENT_MS (60 * 60 * 1000)
/** A dial gives up after this; every fourth one has longer, for slow networks. */
#define PEER_DIAL_MS 1000
#define PEER_DIAL_MS_SLOW 5000
#define PEER_SETTLE_MS 3000
/**
 * A connection that lasted this long, or ended with BYE, starts the schedule anew when it is lost.
 */
#define PEER_STEADY_MS 2000
/** How soon a change of members or addresses in the database is noticed. */
#define PEER_REFRESH_MS 250
/**
 * VISIT: a device that was removed may listen and speak for so long after the last word of its own: to hear that it was, and to
 * hand in what it made before; but no longer than that in all.
 */
#define PEER_LEAVE_MS 500
#define PEER_VISIT_MS 60000
/** When a device that was removed itself comes by again; twice as long after that, up to 32 times. */
#define PEER_RETRY_MS_OUTSIDE 10000
/** How often the address of a member without one is looked up again. */
#define PEER_LOOKUP_MS 5000

struct peers;

struct peers_options {
	struct db *db;
	const struct keys *keys;
	struct status *status;
	struct invites *invites;
	const struct nearby *nearby;
	struct ws *ws; /**< for its timer */
	struct carriage *carriage;
	/** The answer to peers_ping(); -1: the connection ended. */
	void (*ponged)(void *ctx, uint64_t actor, int64_t rtt_us);
	void *ctx;
};

struct peers *peers_create(const struct peers_options *options);
/** After ws_destroy(), which ends the connections. */
void peers_destroy(struct peers *p);

/** Reads the members and starts to dial. Also called by itself. */
void peers_refresh(struct peers *p);
/** What peers are told from now on about where we listen. */
void peers_set_listen(struct peers *p, const char *endpoint);
/** The database changed. */
void peers_woken(struct peers *p);
/** Does what is due and sets the timer of the ws. */
void peers_tick(struct peers *p);
/** An incoming lane, for carriage_options; NULL: we are about to end. */
void *peers_accept(struct peers *p, struct lane *lane);
/** Whether somebody who says this hello is for us. */
bool peers_know(struct peers *p, struct slice hello);
/** This member may be found at another address now: it is dialled at once, if it is not connected. */
void peers_look(struct peers *p, uint64_t actor);
/** Sends a PING: ponged() follows. -ENOTCONN. */
int peers_ping(struct peers *p, uint64_t actor);
/** Says BYE to all and dials no more. */
void peers_stop(struct peers *p);
size_t peers_conn_count(const struct peers *p);

/**
 * The delay before the attempt-th retry (from 0), away_ms after the connection was lost. random:
 * any.
 */
uint64_t peer_retry_delay_ms(uint32_t attempt, uint64_t away_ms, uint32_t random);

#endif
