/* One connection: carries messages between a transport and the engine that speaks in it. */
#include "net/conn.h"

#include "core/flags.h"
#include "core/log.h"
#include "core/petition.h"
#include "core/quarantine.h"
#include "core/thread.h"
#include "net/pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct conn {
	struct conn_host *host;
	enum conn_state state;
	bool incoming;
	struct lane *lane;
	struct transport *transport;
	const struct device *device; /* the member, once known */
	void *owner;
	uint64_t invite;
	bool has_invite;		   /* claimed, to be released */
	uint8_t account_pk[KEYS_PK_BYTES]; /* recover */
	uint64_t renewal_count;
	uint64_t renewed_ms; /* 0 = not looked yet */
	bool counted;	     /* by LIMITS, until it has shown who it is */
	bool asked;	     /* a person, or the invitation, whether it may join */

	struct mux *mux;
	struct sync *sync;  /* the database's stream; NULL = not open */
	struct buf message; /* on its way from the engine into the transport */
	bool greeted;
	bool foreign; /* it does not have this database */
	int64_t rtt_us;
	struct liveness liveness;
	struct pair *pair;

	uint64_t deadline_ms; /* of handshake, pairing or closing; 0 = none */
	int error;	      /* why we closed it; 0 = did not */
};

static uint64_t wall_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t monotonic_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void name_of(const struct conn *c, char out[DEVICE_LABEL_BYTES])
{
	if (c->device)
		device_label(c->device, out);
	else
		(void)snprintf(out, DEVICE_LABEL_BYTES, "%.60s", conn_remote(c)->host);
}

/* The only writer of the state. */
static void enter(struct conn *c, enum conn_state state)
{
	static const char *const names[] = {
		[CONN_DIALLING] = "dialling", [CONN_HANDSHAKE] = "handshake", [CONN_SYNC] = "sync",
		[CONN_PAIRING] = "pairing",   [CONN_CLOSING] = "closing",
	};
	static const uint64_t deadlines[] = {
		[CONN_DIALLING] = 0, /* the lane has it */
		[CONN_HANDSHAKE] = CONN_HANDSHAKE_MS,
		[CONN_SYNC] = 0,
		[CONN_PAIRING] = CONN_PAIRING_MS,
		[CONN_CLOSING] = CONN_HANDSHAKE_MS,
	};
	char name[DEVICE_LABEL_BYTES];

	name_of(c, name);
	log_line(state == CONN_SYNC || state == CONN_PAIRING ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
		 "%s (%s): %s -> %s", name, c->incoming ? "incoming" : "outgoing", names[c->state],
		 names[state]);
	c->state = state;
	c->deadline_ms = deadlines[state] > 0 ? monotonic_ms() + deadlines[state] : 0;
}

/* ---- what is spoken over it ----------------------------------------------------------------- */

static int admit(void *ctx, const struct device *d, struct slice cert, const char *endpoint)
{
	struct conn *c = ctx;
	char words[NET_WORDS_BYTES];
	uint8_t hash[NOISE_HASH_BYTES];
	char dial[ENDPOINT_TEXT_BYTES] = "";

	int r = transport_mode(c->transport) == HELLO_RECOVER
			? petition_carry_out(c->host->db, pair_petition(c->pair))
			: db_admit(c->host->db, cert, invites_role(c->host->invites, c->invite));
	if (r < 0)
		return r;
	if (endpoint[0] && !endpoint_resolve_told(endpoint, conn_remote(c), dial))
		dial[0] = 0;
	transport_hash(c->transport, hash);
	pair_words(hash, words);
	if (c->has_invite)
		invites_finish(c->host->invites, c->invite, d, words);
	c->has_invite = false;
	c->host->admitted(c->host->ctx, d, dial);
	return 0;
}

static void start_pairing(struct conn *c)
{
	struct pair_options o = {
		.role = PAIR_INVITER,
		.keys = c->host->keys,
		.admit = admit,
		.ctx = c,
	};

	if (transport_mode(c->transport) == HELLO_RECOVER)
		o.account_pk = c->account_pk;
	transport_hash(c->transport, o.hash);
	transport_remote_pk(c->transport, o.remote_pk);
	c->pair = pair_create(&o);
	enter(c, CONN_PAIRING);
}

static void welcome(struct conn *c)
{
	AUTO(buf_fini) struct buf petition = {0};
	struct buf keys = {0};

	db_welcome(c->host->db, &keys);
	if (transport_mode(c->transport) == HELLO_RECOVER)
		(void)petition_admit(c->host->db, pair_cert(c->pair), &petition);
	pair_approve(c->pair, buf_slice(&keys), buf_slice(&petition));
	if (keys.data)
		wipe(keys.data, keys.cap);
	buf_fini(&keys);
}

/* APPROVE: both have proven who they are, and now a person may have to say yes. < 0: said no. */
static int ask(struct conn *c)
{
	uint8_t hash[NOISE_HASH_BYTES];
	char words[NET_WORDS_BYTES];
	int r = 0;

	if (!pair_is_asking(c->pair))
		return 0;
	if (transport_mode(c->transport) == HELLO_RECOVER) {
		r = 1; /* who has the words needs nobody's leave */
	} else if (c->asked) {
		r = invites_answered(c->host->invites, c->invite);
	} else {
		c->asked = true;
		transport_hash(c->transport, hash);
		pair_words(hash, words);
		r = invites_ask(c->host->invites, c->invite, pair_device(c->pair), words);
	}
	if (r > 0)
		welcome(c);
	return r < 0 ? r : 0;
}

/* ---- STREAM: what the mux asks of us -------------------------------------------------------- */

static void open_stream(struct conn *c)
{
	const struct sync_options o = {
		.db = c->host->db,
		.peer = c->device->actor,
		.endpoint = c->host->listen,
		.now_ms = wall_ms(),
	};

	c->sync = sync_create(&o);
}

static void tag_of(const struct conn *c, uint8_t ret[MUX_TAG_BYTES])
{
	uint8_t hash[NOISE_HASH_BYTES];
	struct id id = db_id(c->host->db);

	transport_hash(c->transport, hash);
	mux_tag(hash, &id, ret);
}

/* AUTHORISE: the peer is a member, or there would be no session. */
static void *stream_opened(void *ctx, const uint8_t tag[MUX_TAG_BYTES])
{
	struct conn *c = ctx;
	uint8_t ours[MUX_TAG_BYTES];

	tag_of(c, ours);
	if (c->sync || memcmp(ours, tag, sizeof(ours)) != 0)
		return NULL;
	open_stream(c);
	return c;
}

static void stream_closed(void *user)
{
	struct conn *c = user;

	c->foreign = true;
	c->error = -EPROTO;
	lane_close(c->lane);
}

/* What members were caught at, once. */
static void say_flags(struct conn_host *host)
{
	AUTO(free_ptr) struct flag *flags = NULL;

	if (db_flag_count(host->db) == host->flags_said)
		return;
	size_t count = db_flags(host->db, &flags);
	for (; host->flags_said < count; host->flags_said++) {
		const struct flag *f = &flags[host->flags_said];
		char label[DEVICE_LABEL_BYTES];
		struct device d;

		if (db_member(host->db, f->actor, &d) < 0)
			continue;
		device_label(&d, label);
		log_warn("%s: %s", label, flags_text(f->kind));
	}
}

static int handle_sync(void *user, struct slice message)
{
	struct conn *c = user;
	struct sync_info info;
	int r = sync_receive(c->sync, message);

	say_flags(c->host);
	if (r < 0)
		return r;
	sync_get_info(c->sync, &info);
	if (info.hello && !c->greeted) {
		c->greeted = true;
		conn_ping(c);
		c->host->greeted(c->host->ctx, c);
	}
	return 0;
}

static int stream_next(void *user, bool content, struct buf *out)
{
	struct conn *c = user;
	int r = content ? sync_next(c->sync, out) : sync_next_free(c->sync, out);

	if (r > 0 && sync_costs(buf_slice(out)))
		liveness_said(&c->liveness);
	return r;
}

static int stream_settle(void *user)
{
	struct conn *c = user;

	return sync_settle(c->sync);
}

static void start_sync(struct conn *c)
{
	const struct mux_handler handler = {
		.opened = stream_opened,
		.closed = stream_closed,
		.message = handle_sync,
		.next = stream_next,
		.costs = sync_costs,
		.settle = stream_settle,
		.ctx = c,
	};
	uint8_t tag[MUX_TAG_BYTES];

	c->mux = mux_create(&handler, !c->incoming);
	liveness_start(&c->liveness, monotonic_ms());
	c->liveness.lazy = c->incoming;
	if (!c->incoming) {
		open_stream(c);
		tag_of(c, tag);
		(void)mux_open(c->mux, tag, c);
	}
	enter(c, CONN_SYNC);
	c->host->up(c->host->ctx, c);
}

static void transport_is_up(void *ctx)
{
	struct conn *c = ctx;

	lane_trust(c->lane, c->device ? c->device->id : NULL);
	if (transport_mode(c->transport) != HELLO_SYNC)
		start_pairing(c);
	else
		start_sync(c);
	c->counted = c->counted && c->state == CONN_PAIRING; /* there it has yet to prove it */
	lane_want_write(c->lane);
}

/* RECOVER: the account of this database, if it is this one that is meant. */
static bool is_for_account(const struct conn_host *host, const struct hello *h,
			   uint8_t ret_pk[KEYS_PK_BYTES])
{
	struct id id = db_id(host->db);

	return db_account(host->db, ret_pk) == 0 && hello_recovers(h, ret_pk, &id);
}

bool conn_knows(const struct conn_host *host, struct slice hello)
{
	uint8_t pk[KEYS_PK_BYTES];
	struct hello h = {0};
	void *owner = NULL;

	if (hello_decode(hello, &h) < 0)
		return false;
	if (h.mode == HELLO_SYNC)
		return host->recognise(host->ctx, &h, &owner) != NULL;
	if (h.mode == HELLO_RECOVER)
		return is_for_account(host, &h, pk);
	return invites_know(host->invites, &h);
}

/* LIMITS: whether the member, or who recovers (0), is listened to. */
static bool may_try(struct conn *c, uint64_t who)
{
	c->counted = true;
	return attempts_may(&c->host->attempts, who, conn_remote(c)->host, monotonic_ms());
}

/* VISIT: one that was removed is listened to now and then. */
static bool may_visit(struct conn *c)
{
	return !db_is_outside(c->host->db, c->device->actor) ||
	       attempts_take(&c->host->visits, c->device->actor, conn_remote(c)->host,
			     monotonic_ms());
}

static enum hello_status lookup(void *ctx, const struct hello *h, uint8_t ret_secret[32])
{
	struct conn *c = ctx;

	if (h->mode == HELLO_RECOVER && !is_for_account(c->host, h, c->account_pk))
		return HELLO_UNKNOWN;
	if (h->mode == HELLO_RECOVER) {
		if (!may_try(c, 0))
			return HELLO_LATER;
		hello_recover_secret(c->account_pk, ret_secret);
		return HELLO_OK;
	}
	if (h->mode != HELLO_SYNC) {
		enum hello_status status =
			invites_claim(c->host->invites, h, ret_secret, &c->invite);

		c->has_invite = status == HELLO_OK;
		return status;
	}
	c->device = c->host->recognise(c->host->ctx, h, &c->owner);
	if (!c->device)
		return HELLO_UNKNOWN;
	if (!may_try(c, c->device->actor) || !may_visit(c))
		return HELLO_LATER;
	memcpy(ret_secret, c->device->dh_pk, KEYS_PK_BYTES);
	return HELLO_OK;
}

static int handle_mux(struct conn *c, struct slice message)
{
	uint64_t token = 0;
	int r = mux_receive(c->mux, message);

	if (r >= 0 && mux_pong(c->mux, &token) && token == c->liveness.token) {
		c->rtt_us = (int64_t)(monotonic_us() - token);
		c->host->ponged(c->host->ctx, c);
	}
	return r;
}

static int handle_message(void *ctx, struct slice message)
{
	struct conn *c = ctx;

	if (c->state == CONN_SYNC)
		return handle_mux(c, message);
	if (c->state == CONN_PAIRING)
		return pair_receive(c->pair, message);
	return c->state == CONN_CLOSING ? 0 : -EPROTO;
}

static int next_of_pairing(struct conn *c)
{
	int r = pair_next(c->pair, &c->message);

	if (r == 0)
		r = ask(c);
	return r < 0 ? r : r > 0 ? r : pair_next(c->pair, &c->message);
}

/* Moves messages from the engine into the transport while there is room. */
static int fill(struct conn *c)
{
	while (transport_pending_bytes(c->transport) < CONN_QUEUE_BYTES) {
		int r = 0;

		if (c->state == CONN_SYNC)
			r = mux_next(c->mux, &c->message);
		else if (c->state == CONN_PAIRING)
			r = next_of_pairing(c);
		if (r <= 0)
			return r;
		transport_send(c->transport, &c->message);
	}
	return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static struct conn *create(struct conn_host *host, bool incoming)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->host = host;
	c->incoming = incoming;
	c->rtt_us = -1;
	return c;
}

static void destroy(struct conn *c)
{
	pair_destroy(c->pair);
	mux_destroy(c->mux);
	sync_destroy(c->sync);
	transport_destroy(c->transport);
	if (c->message.data)
		wipe(c->message.data, c->message.cap);
	buf_fini(&c->message);
	free(c);
}

static void open_transport(struct conn *c)
{
	const struct transport_options o = {
		.keys = c->host->keys,
		.handler = {.lookup = lookup,
			    .up = transport_is_up,
			    .message = handle_message,
			    .ctx = c},
		.initiator = !c->incoming,
		.mode = HELLO_SYNC,
		.secret = c->device ? c->device->dh_pk : NULL,
		.database = db_id(c->host->db),
	};

	c->transport = transport_create(&o);
	enter(c, CONN_HANDSHAKE);
}

struct conn *conn_dial(struct conn_host *host, const struct endpoint *e, uint64_t deadline_ms,
		       const struct device *device, void *owner)
{
	const struct lane_target target = {.at = e, .device = device->id, .deadline_ms = deadline_ms};
	struct conn *c = create(host, false);

	c->device = device;
	c->owner = owner;
	c->lane = carriage_dial(host->carriage, &target, c);
	return c;
}

struct conn *conn_accept(struct conn_host *host, struct lane *lane)
{
	struct conn *c = create(host, true);

	c->lane = lane;
	open_transport(c);
	return c;
}

static void on_connected(void *user)
{
	struct conn *c = user;

	open_transport(c);
	lane_want_write(c->lane);
}

/* What the liveness has to know of the rest. */
static void look(struct conn *c)
{
	struct sync_info info;

	if (!c->mux)
		return;
	conn_info(c, &info);
	c->liveness.waiting = info.hello && !info.in_sync;
	c->liveness.owed = mux_is_owed(c->mux);
}

/* LIMITS: it is not who it says it is. */
static void count_failure(struct conn *c)
{
	uint64_t who = c->device ? c->device->actor : 0;
	char name[DEVICE_LABEL_BYTES];

	if (!c->counted ||
	    !attempts_failed(&c->host->attempts, who, conn_remote(c)->host, monotonic_ms()))
		return;
	name_of(c, name);
	log_warn("%s: %d handshakes %s from %s have failed: it is not listened to for a minute",
		 name, ATTEMPTS_MAX, who ? "in its name" : "with recovery words",
		 conn_remote(c)->host);
}

static int on_received(void *user, struct slice message)
{
	struct conn *c = user;
	int r = transport_receive(c->transport, message);

	if (r < 0)
		c->error = r;
	if (r == -EBADMSG || r == -EACCES)
		count_failure(c);
	liveness_heard(&c->liveness, monotonic_ms());
	look(c);
	c->host->progress(c->host->ctx, c);
	lane_want_write(c->lane);
	return r;
}

static int on_writable(void *user, struct buf *out)
{
	struct conn *c = user;
	int r = fill(c);

	if (r < 0)
		c->error = r;
	else
		r = transport_next(c->transport, out);
	look(c);
	c->host->progress(c->host->ctx, c);
	return r;
}

/* Why a handshake came to nothing, for people. */
static const char *handshake_failure(const struct conn *c)
{
	static const char *const texts[] = {
		[HELLO_OK] = "the handshake failed: it does not hold the key it should",
		[HELLO_UNKNOWN] = "it does not know this device as a member",
		[HELLO_USED] = "the invitation was used already",
		[HELLO_EXPIRED] = "the invitation has expired",
		[HELLO_VOID] = "the invitation is void",
		[HELLO_BUSY] = "the invitation is being used",
		[HELLO_VERSION_REFUSED] = "it speaks another version of the protocol",
		[HELLO_LATER] =
			"too many handshakes with it have failed; it listens again in a minute",
	};

	if (c->error == -EPROTONOSUPPORT)
		return texts[HELLO_VERSION_REFUSED];
	if (c->error == 0 && transport_status(c->transport) == HELLO_OK)
		return "closed during the handshake";
	return texts[transport_status(c->transport)];
}

static const char *sync_failure(const struct conn *c)
{
	if (transport_bye_received(c->transport) >= 0)
		return "";
	if (c->foreign)
		return "it does not have this database, or does not know this device there";
	switch (-c->error) {
	case 0:
		return "cut off";
	case EBADMSG:
		return "it sent what cannot be read: damaged on the way, or made by another program";
	case EPROTO:
		return "it speaks of another database, or another version of the protocol";
	case EMSGSIZE:
		return "it sent a message that is too large";
	case EACCES:
		return "it was not let in";
	case ETIMEDOUT:
		return "no answer";
	case EIO:
	case ENOSPC:
		return "what it sent could not be stored here";
	default:
		return "what it sent was refused";
	}
}

static const char *failure(const struct conn *c, const char *reason)
{
	switch (c->state) {
	case CONN_DIALLING:
		return reason;
	case CONN_HANDSHAKE:
		return handshake_failure(c);
	case CONN_SYNC:
	case CONN_PAIRING:
		return sync_failure(c);
	case CONN_CLOSING:
		break;
	}
	return "";
}

static void on_closed(void *user, const char *reason)
{
	struct conn *c = user;
	const char *error = failure(c, reason);
	bool was_up = c->state == CONN_SYNC || c->state == CONN_PAIRING;
	char name[DEVICE_LABEL_BYTES];

	name_of(c, name);
	if (was_up && error[0])
		log_info("%s: connection lost: %s", name, error);
	else if (was_up && transport_bye_received(c->transport) != CHANNEL_BYE_DUPLICATE)
		log_info("%s: said goodbye", name);
	else
		log_debug("%s: closed: %s", name, error);
	if (c->has_invite && c->transport && transport_secret_was_wrong(c->transport)) {
		log_warn("%s: tried an invitation with a wrong secret; it is void now", name);
		invites_wrong(c->host->invites, c->invite);
	} else if (c->has_invite && c->pair && pair_welcome_is_sent(c->pair)) {
		log_warn("%s: was given the database's key and did not join; the invitation is void",
			 name);
		invites_wrong(c->host->invites, c->invite);
	} else if (c->has_invite) {
		invites_release(c->host->invites, c->invite);
	}
	c->host->gone(c->host->ctx, c, error);
	destroy(c);
}

void conn_wake(struct conn *c)
{
	if (c->state == CONN_SYNC || c->state == CONN_PAIRING)
		lane_want_write(c->lane);
}

void conn_bye(struct conn *c, enum channel_bye reason)
{
	if (c->state == CONN_CLOSING)
		return;
	if (c->state != CONN_SYNC && c->state != CONN_PAIRING) {
		lane_close(c->lane);
		return;
	}
	transport_bye(c->transport, reason);
	enter(c, CONN_CLOSING);
	lane_want_write(c->lane);
}

/* Another connection to the same device stays. */
static void on_retired(void *user)
{
	conn_bye(user, CHANNEL_BYE_DUPLICATE);
}

const struct lane_handler conn_lane_handler = {
	.connected = on_connected,
	.received = on_received,
	.writable = on_writable,
	.closed = on_closed,
	.retired = on_retired,
};

static void give_up(struct conn *c)
{
	c->error = -ETIMEDOUT;
	lane_close(c->lane);
}

void conn_ping(struct conn *c)
{
	uint64_t token = monotonic_us();

	liveness_asked(&c->liveness, monotonic_ms(), token);
	mux_ping(c->mux, token);
	lane_want_write(c->lane);
}

static void check_liveness(struct conn *c, uint64_t now_ms)
{
	uint64_t token = monotonic_us();

	switch (liveness_check(&c->liveness, now_ms, token)) {
	case LIVENESS_ASK:
		mux_ping(c->mux, token);
		lane_want_write(c->lane);
		break;
	case LIVENESS_DEAD:
		give_up(c);
		break;
	case LIVENESS_GOOD:
	case LIVENESS_IN_DOUBT:
		break;
	}
}

/* RENEW is due: the initiator asks; a responder that is not asked for very long has a peer that keeps old keys. */
static void tick_renewal(struct conn *c, uint64_t now_ms)
{
	uint64_t count = transport_renewal_count(c->transport);

	if (count != c->renewal_count || c->renewed_ms == 0) {
		c->renewal_count = count;
		c->renewed_ms = now_ms;
	}
	uint64_t age_ms = now_ms - c->renewed_ms;
	if (c->incoming && age_ms >= TRANSPORT_RENEW_LATEST_MS) {
		conn_bye(c, CHANNEL_BYE_DONE);
	} else if (!c->incoming && (age_ms >= TRANSPORT_RENEW_MS ||
				    transport_byte_count(c->transport) >= TRANSPORT_RENEW_BYTES)) {
		transport_renew(c->transport);
		lane_want_write(c->lane);
	}
}

uint64_t conn_tick(struct conn *c, uint64_t now_ms)
{
	if (c->state == CONN_SYNC)
		tick_renewal(c, now_ms);
	if (c->deadline_ms > 0 && now_ms >= c->deadline_ms) {
		c->deadline_ms = 0;
		give_up(c);
	}
	if (c->state == CONN_SYNC)
		check_liveness(c, now_ms);
	return conn_due(c);
}

uint64_t conn_due(const struct conn *c)
{
	if (c->state == CONN_SYNC)
		return liveness_due(&c->liveness);
	return c->deadline_ms > 0 ? c->deadline_ms : UINT64_MAX;
}

bool conn_is_in_doubt(const struct conn *c)
{
	return c->state == CONN_SYNC && c->liveness.in_doubt;
}

void conn_avoid(const struct conn *c)
{
	lane_doubt(c->lane);
}

enum conn_state conn_state(const struct conn *c)
{
	return c->state;
}

void *conn_owner(const struct conn *c)
{
	return c->owner;
}

bool conn_is_incoming(const struct conn *c)
{
	return c->incoming;
}

const struct endpoint *conn_remote(const struct conn *c)
{
	return &c->lane->remote;
}

void conn_traffic(const struct conn *c, uint64_t *ret_up, uint64_t *ret_down)
{
	*ret_up = c->lane->up;
	*ret_down = c->lane->down;
}

void conn_info(const struct conn *c, struct sync_info *ret)
{
	*ret = (struct sync_info){.endpoint = ""};
	if (c->sync)
		sync_get_info(c->sync, ret);
}

int64_t conn_rtt_us(const struct conn *c)
{
	return c->rtt_us;
}
