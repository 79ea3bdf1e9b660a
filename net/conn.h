/*
 * One connection of the net thread about one database: a lane (net/lane.h), the session on it (net/transport.h),
 * and what is spoken in the session: core/sync.h in a stream (net/mux.h) with a member, or net/pair.h
 * with who holds an invitation.
 *
 *                 ┌───────────┐ open  ┌────────────────┐ up, sync ┌───────────┐
 *     dial ──────▶│ DIALLING  │──────▶│   HANDSHAKE    │─────────▶│   SYNC    │
 *                 └─────┬─────┘       └──┬──────────┬──┘          └─────┬─────┘
 *     accept ───────────┼───────────────▶│          │ up, pair          │ conn_bye()
 *                       │                │          ▼                   ▼
 *                       │                │     ┌─────────┐        ┌───────────┐
 *                       ▼                ▼     │ PAIRING │───────▶│  CLOSING  │
 *                     (gone, from any state) ◀─┴─────────┘        └───────────┘
 */
#ifndef BLAZE_NET_CONN_H
#define BLAZE_NET_CONN_H

#include "net/attempts.h"
#include "net/carriage.h"
#include "net/invite.h"
#include "net/liveness.h"
#include "net/mux.h"
#include "net/transport.h"

#include "core/db.h"
#include "core/sync.h"

/** From the open lane to a finished handshake, of a connection we dialled. */
#define CONN_HANDSHAKE_MS 5000
/** Two persons compare words in it. */
#define CONN_PAIRING_MS 300000
/** A message of the engine is fetched whenever less than this waits to be sent. */
#define CONN_QUEUE_BYTES 65536

enum conn_state {
	CONN_DIALLING,
	CONN_HANDSHAKE,
	CONN_SYNC,
	CONN_PAIRING,
	CONN_CLOSING,
};

struct conn;

/** Who owns connections. The callbacks must not destroy the connection they are about. */
struct conn_host {
	struct db *db;
	const struct keys *keys;
	struct invites *invites;
	struct carriage *carriage;
	struct attempts visits; /**< of devices that were removed */
	struct attempts attempts;
	size_t flags_said;		  /**< of core/flags.h */
	char listen[ENDPOINT_TEXT_BYTES]; /**< told to peers; "" = none */

	/**
	 * The member who said this hello, and its `owner`; NULL = none. Borrowed, outlives the
	 * connection.
	 */
	const struct device *(*recognise)(void *ctx, const struct hello *h, void **ret_owner);
	/** The handshake with a member is done. */
	void (*up)(void *ctx, struct conn *c);
	/** The member's first words came: it considers this connection up as well. */
	void (*greeted)(void *ctx, struct conn *c);
	/** Something was sent or received, or info or conn_due() changed. */
	void (*progress)(void *ctx, struct conn *c);
	/** The answer to a PING; conn_rtt_us() is new. */
	void (*ponged)(void *ctx, struct conn *c);
	/** A device was admitted by pairing; endpoint may be "". */
	void (*admitted)(void *ctx, const struct device *d, const char *endpoint);
	/**
	 * It is gone, and is destroyed after this. error: for people, "" when it ended as it
	 * should.
	 */
	void (*gone)(void *ctx, struct conn *c, const char *error);
	void *ctx;
};

/** Dials a member. device and owner as from recognise(). */
struct conn *conn_dial(struct conn_host *host, const struct endpoint *e, uint64_t deadline_ms,
		       const struct device *device, void *owner);
/** Of what is dialled and accepted here: `user` is the conn. */
extern const struct lane_handler conn_lane_handler;
struct conn *conn_accept(struct conn_host *host, struct lane *lane);
/** Whether this hello is for us: the member who said it, an invitation that was given out, or the account's. */
bool conn_knows(const struct conn_host *host, struct slice hello);

/** There may be something to send. */
void conn_wake(struct conn *c);
/** Ends it politely if a session is up, else at once. gone() follows. */
void conn_bye(struct conn *c, enum channel_bye reason);
/** Does what is due, and returns conn_due(). */
uint64_t conn_tick(struct conn *c, uint64_t now_ms);
/** When conn_tick() wants to be called (monotonic ms), UINT64_MAX = there is nothing. */
uint64_t conn_due(const struct conn *c);
/** Sends a PING now; only in CONN_SYNC. */
void conn_ping(struct conn *c);
/** LIVENESS: changes wait, and it does not answer. */
bool conn_is_in_doubt(const struct conn *c);
/** In doubt: what is dialled now shall not go the same way. */
void conn_avoid(const struct conn *c);

enum conn_state conn_state(const struct conn *c);
/** The member's owner, or NULL (pairing, or nobody yet). */
void *conn_owner(const struct conn *c);
bool conn_is_incoming(const struct conn *c);
const struct endpoint *conn_remote(const struct conn *c);
void conn_traffic(const struct conn *c, uint64_t *ret_up, uint64_t *ret_down);
/** Only in CONN_SYNC. */
void conn_info(const struct conn *c, struct sync_info *ret);
/** -1 unknown. */
int64_t conn_rtt_us(const struct conn *c);

#endif
