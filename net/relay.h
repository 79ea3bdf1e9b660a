/*
 * The connection of a database to one relay: what is put there, what is taken from there, what is believed of it. Net thread
 * only, but for what relays.h says.
 *
 *               ┌─────────┐ open ┌───────────┐ up  ┌──────────┐ OPENED, HAVE ┌──────┐
 *   AWAY ──────▶│ DIALLING│─────▶│ HANDSHAKE │────▶│ KNOCKING │─────────────▶│ OPEN │
 *    ▲          └────┬────┘      └─────┬─────┘     └────┬─────┘              └──┬───┘
 *    └───────────────┴─────────────────┴────────────────┴────── gone ───────────┘
 *
 * Whether it is still there, net/liveness.h says, as of a device: it is asked 0.7 s after a PUT that has no receipt, and in doubt
 * 0.7 s later; the connection is kept until it is dead. Of several relays one is used, as net/ranking.h says.
 *
 * A relay that cannot be reached is dialled after 50 ms, then after twice as long each time, up to a second; one that refuses
 * (not on the list, full, too fast) after RELAY_REFUSED_MS.
 */
#ifndef BLAZE_NET_RELAY_H
#define BLAZE_NET_RELAY_H

#include "net/mailaddr.h"
#include "net/path.h"
#include "net/ranking.h"
#include "net/rendezvous.h"
#include "net/ws.h"

#include "core/db.h"
#include "core/mailbox.h"

#define RELAY_DIAL_MS 3000
#define RELAY_REFUSED_MS 2000
/** Who is not on the list may have been admitted just now: so often it dials again as if it had only been away. */
#define RELAY_UNLISTED_MAX 5
/** An answer may come so much later as what is on the way takes at this speed. */
#define RELAY_SLOWEST_BYTES_MS 64
/** With more than that on the way, its round trip is not measured. */
#define RELAY_MEASURE_MS 1000
/**
 * What is held here is told at most at this speed, for every device is told of all others; a spare not more often than
 * RELAY_SPARE_SLOT_MS; where logs are, if nothing else is news, not more often than RELAY_PLACES_MS.
 */
#define RELAY_SLOT_BYTES_S 8192
#define RELAY_SPARE_SLOT_MS 1000
#define RELAY_PLACES_MS 5000
/** How long what was trimmed may still come in another way. */
#define RELAY_GAP_MS 5000
/** Of PUTs that have no receipt. */
#define RELAY_FLIGHT_BYTES (4u << 20)
#define RELAY_FLIGHT_ITEMS 2048
/** Pairing says its next message whenever less than this waits to be sent. */
#define RELAY_TALK_BYTES 65536
/** TAKEN is said when so much came, or this long after the first of it. */
#define RELAY_TAKEN_BYTES (512u << 10)
#define RELAY_TAKEN_MS 100

enum relay_state {
	RELAY_AWAY,
	RELAY_DIALLING,
	RELAY_HANDSHAKE,
	RELAY_KNOCKING,
	RELAY_OPEN,
};

/** For people and tests. */
struct relay_info {
	char address[MAILADDR_TEXT_BYTES]; /**< without the secret */
	enum relay_state state;
	bool used;	       /**< the one that changes are put to first; the others are spares */
	bool in_doubt;	       /**< it owes an answer */
	bool waits;	       /**< something is put there later */
	bool asking;	       /**< for pieces of large files */
	bool listed;	       /**< its list of devices is as it should be */
	bool idle;	       /**< all is there that is here, and here that is there */
	uint64_t generation;   /**< of the database, for which `idle` is said */
	uint64_t cursor;       /**< of its log, seen */
	uint64_t flight;       /**< PUTs without a receipt */
	uint64_t receipted_ms; /**< wall clock of its last receipt; 0 = none */
	uint64_t refused;      /**< items that were forged, damaged or foreign */
	bool keyless;	       /**< it holds something under a key that is not here yet */
	bool reads;	       /**< SMART: it says that it has a copy */
	uint64_t member;       /**< SMART: its actor, while it is a member; 0 = it is none */
	bool copied;	       /**< its copy and this device have the same of what it was granted */
	char copy_error[160];  /**< why it has none, or takes nothing into it; "" */
	int64_t rtt_us;	       /**< -1 unknown */
	uint64_t up_bytes;
	uint64_t down_bytes;
	char error[160]; /**< why it is not open, or takes nothing; "" */
	char alarm[160]; /**< what it was caught at; "" */
};

struct relay;

struct relay_host {
	struct db *db;
	const struct keys *keys;
	struct ws *ws;
	uint64_t patience_ms; /**< LEDGER_PATIENCE_MS */
	const struct rendezvous_host *rendezvous;
	/** Another device was shown this of some relay's log. */
	void (*on_log)(void *ctx, uint64_t actor, const struct mailbox_log *log);
	/** Where other relays' logs are, for the slot: fills and returns how many. */
	size_t (*logs)(void *ctx, struct mailbox_log *ret, size_t max);
	/** info() is another now. */
	void (*published)(void *ctx, struct relay *r);
	/** An answer to relay_ask_cert(): its certificate, or what is wrong. */
	void (*certified)(void *ctx, struct relay *r, struct slice cert, const char *error);
	/** tick() has to be called earlier than it said. */
	void (*hurry)(void *ctx);
	void *ctx;
};

extern const struct path_ops relay_path;

struct relay *relay_create(const struct relay_host *host, const struct mailaddr *address);
/** The connection must be gone: relay_stop(), or ws_destroy(). */
void relay_destroy(struct relay *r);
bool relay_is_gone(const struct relay *r);
const struct mailaddr *relay_address(const struct relay *r);
void relay_info(const struct relay *r, struct relay_info *ret);
/** Asks what it is called as a member; only when it is open. certified() follows, unless the connection ends. */
void relay_ask_cert(struct relay *r);
/** For net/ranking.h. */
struct rank *relay_rank(struct relay *r);
/** Whether it is used, or a spare: it is told of changes later. A relay begins as a spare. */
void relay_use(struct relay *r, bool used);
/** Another path told what a log is; where this relay's log is. */
void relay_compare(struct relay *r, const struct mailbox_log *log);
bool relay_log(const struct relay *r, struct mailbox_log *ret);

#endif
