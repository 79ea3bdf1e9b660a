/*
 * All addresses of the link, or found for the code, are dialled at once; those that open are tried one after the other,
 * because another machine may live at one of them by now. A relay where the inviter waits (RENDEZVOUS) is an address as any
 * other: it is told the same HELLO, and what follows is the inviter's.
 */
#include "net/join.h"

#include "core/log.h"
#include "core/thread.h"
#include "net/code.h"
#include "net/find.h"
#include "net/link.h"
#include "net/pair.h"
#include "net/transport.h"
#include "net/ws.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct join;

struct attempt {
	struct join *join;
	struct ws_conn *conn; /* NULL when it is gone */
	const char *address;
	bool is_relay;
	bool open;
};

struct join {
	const struct keys *keys;
	enum hello_mode mode;
	struct link link;	       /* of a code: the secret and the addresses only */
	uint32_t nameplate;	       /* code */
	const struct account *account; /* recover */
	const struct pair_target *target;
	struct ws *ws;
	struct attempt attempts[LINK_ADDRESSES_MAX];
	struct attempt *active;		 /* the one with the session */
	char relay[ENDPOINT_TEXT_BYTES]; /* of a code, as it was written; "" = none */
	bool opened;			 /* somebody could be reached */
	bool spent;			 /* somebody answered: the code is good for no other try */
	struct transport *session;
	struct pair *pair;
	struct buf message;
	struct pair_result result;
	struct pair_confirm confirm;
	bool shown; /* the words */
	bool confirmed;
	bool refused; /* by the person here */
	bool paired;
	bool done;
	int error; /* the gravest so far */
	struct why why;
};

static uint64_t wall_s(void)
{
	return (uint64_t)time(NULL);
}

/* ---- failures ------------------------------------------------------------------------------- */

static bool concerns_trust(int r)
{
	return r == -EKEYREJECTED || r == -ENOENT;
}

/* Keeps the failure that tells most: one of trust, else the latest. */
static void note(struct join *j, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void note(struct join *j, int r, const char *format, ...)
{
	va_list args;

	if (concerns_trust(j->error) && !concerns_trust(r))
		return;
	j->error = r;
	va_start(args, format);
	(void)vsnprintf(j->why.text, sizeof(j->why.text), format, args);
	va_end(args);
}

static void note_expired(struct join *j)
{
	uint64_t now = wall_s();

	if (j->mode == HELLO_CODE) {
		note(j, -EKEYREJECTED,
		     "this code has expired; run blaze pair again on the other device");
		return;
	}
	if (now < j->link.expiry_s) {
		note(j, -EKEYREJECTED, "this invitation has expired; ask for a new one");
		return;
	}
	uint64_t minutes = (now - j->link.expiry_s) / 60;
	if (minutes == 0) {
		note(j, -EKEYREJECTED,
		     "this invitation expired less than a minute ago; ask for a new one");
		return;
	}
	note(j, -EKEYREJECTED, "this invitation expired %llu minute%s ago; ask for a new one",
	     (unsigned long long)minutes, minutes == 1 ? "" : "s");
}

static void note_status(struct join *j, enum hello_status status)
{
	static const char *const texts[] = {
		[HELLO_OK] = "",
		[HELLO_UNKNOWN] =
			"is not known there: check that the link is complete, or ask for a new one",
		[HELLO_USED] = "was already used; every link is for one device: ask for a new one",
		[HELLO_EXPIRED] = "",
		[HELLO_VOID] =
			"is void: it was cancelled, or somebody tried it with a wrong secret; ask for a new one",
		[HELLO_BUSY] = "is being used right now by somebody; if that is not you, cancel it",
		[HELLO_VERSION_REFUSED] = "",
		[HELLO_LATER] = "",
	};

	static const char *const code_texts[] = {
		[HELLO_OK] = "",
		[HELLO_UNKNOWN] =
			"is not known there: check it, or run blaze pair again on the other device",
		[HELLO_USED] = "was already used: run blaze pair again on the other device",
		[HELLO_EXPIRED] = "",
		[HELLO_VOID] =
			"is void: it was cancelled, or somebody tried it; run blaze pair again on the other device",
		[HELLO_BUSY] = "is being used right now by somebody; if that is not you, cancel it",
		[HELLO_VERSION_REFUSED] = "",
		[HELLO_LATER] = "",
	};

	if (j->mode == HELLO_RECOVER && status == HELLO_UNKNOWN)
		note(j, -ENOENT,
		     "the device at %s has no database of the account of these words; check them",
		     j->active->address);
	else if (status == HELLO_LATER)
		note(j, -EKEYREJECTED, "too many attempts at %s have failed; try again in a minute",
		     j->active->address);
	else if (status == HELLO_EXPIRED)
		note_expired(j);
	else if (j->mode == HELLO_CODE && status == HELLO_UNKNOWN && j->active->is_relay)
		note(j, -EKEYREJECTED,
		     "nobody waits with this code at the relay %s: check it, or run blaze pair again "
		     "on the other device",
		     j->active->address);
	else if (j->mode == HELLO_CODE && status != HELLO_VERSION_REFUSED)
		note(j, -EKEYREJECTED, "this code %s", code_texts[status]);
	else if (status == HELLO_VERSION_REFUSED)
		note(j, -EKEYREJECTED,
		     "the device at %s speaks another version of the protocol: update both",
		     j->active->address);
	else
		note(j, -EKEYREJECTED, "this invitation %s", texts[status]);
}

/* Why the session of the active attempt ended. */
static void note_session(struct join *j, int r)
{
	const char *address = j->active->address;
	enum transport_state state = transport_state(j->session);
	enum hello_status status = transport_status(j->session);

	if (status != HELLO_OK)
		note_status(j, status);
	else if (r == -EPROTONOSUPPORT)
		note_status(j, HELLO_VERSION_REFUSED);
	else if (r == -EACCES && j->mode == HELLO_RECOVER)
		note(j, -EKEYREJECTED, "the device at %s is not the one that was asked before",
		     address);
	else if (r == -EACCES)
		note(j, -EKEYREJECTED,
		     "the device at %s is not the one that made this link; do not go on, ask for a new one",
		     address);
	else if (r == 0 && state == TRANSPORT_UP && j->mode == HELLO_CODE && j->pair &&
		 !pair_is_proven(j->pair))
		note(j, -EKEYREJECTED,
		     "wrong code; it is void now: run blaze pair again on the other device");
	else if (r == 0 && state == TRANSPORT_UP && j->shown && !j->confirmed)
		note(j, -EKEYREJECTED, "%s did not let this device in", j->result.peer.name);
	else if (r == -EBADMSG)
		note(j, -EKEYREJECTED,
		     "what came from %s is not authentic: the link or code is wrong, or somebody is in between",
		     address);
	else if (r == 0 && state == TRANSPORT_UP && j->pair && !pair_is_proven(j->pair))
		note(j, -EKEYREJECTED,
		     "the device at %s refuses the secret: it is wrong, and the link void now; ask for a new one",
		     address);
	else
		note(j, -ECONNREFUSED, "cannot pair with %s: the connection was cut off; try again",
		     address);
}

/* ---- the session ---------------------------------------------------------------------------- */

static void finish(struct join *j)
{
	j->done = true;
	ws_wake(j->ws);
}

static void transport_is_up(void *ctx)
{
	struct join *j = ctx;
	struct pair_options o = {
		.role = PAIR_JOINER,
		.keys = j->keys,
		.device_id = j->mode == HELLO_LINK ? j->link.device : j->target->device_id,
		.account = j->account,
	};

	transport_hash(j->session, o.hash);
	transport_remote_pk(j->session, o.remote_pk);
	j->pair = pair_create(&o);
}

/* The other device said who it is: the persons can compare words. */
static void show(struct join *j)
{
	uint8_t hash[NOISE_HASH_BYTES];

	transport_hash(j->session, hash);
	pair_words(hash, j->result.words);
	j->result.peer = *pair_device(j->pair);
	(void)snprintf(j->result.endpoint, sizeof(j->result.endpoint), "%s", j->active->address);
	j->result.by_relay = j->active->is_relay;
	j->shown = true;
	ws_set_timer(j->ws, JOIN_PERSON_MS);
	j->confirm.proven(j->confirm.ctx, &j->result);
}

/* And what it offers: now the person here can decide. */
static void confirm(struct join *j)
{
	pair_take_welcome(j->pair, &j->result.welcome);
	j->confirmed = true;
	if (j->confirm.confirm(j->confirm.ctx, &j->result) >= 0)
		return;
	j->refused = true;
	transport_bye(j->session, CHANNEL_BYE_DONE);
}

static int transport_message(void *ctx, struct slice message)
{
	struct join *j = ctx;
	int r = pair_receive(j->pair, message);

	if (r >= 0 && !j->shown && pair_is_proven(j->pair))
		show(j);
	if (r >= 0 && !j->confirmed && pair_is_welcome(j->pair))
		confirm(j);
	if (r < 0)
		return r;
	while (!j->refused && pair_next(j->pair, &j->message) > 0)
		transport_send(j->session, &j->message);
	if (pair_is_done(j->pair)) {
		j->paired = true;
		transport_bye(j->session, CHANNEL_BYE_DONE);
	}
	return 0;
}

/* Starts with the next open connection, if there is one and none is active. */
static void activate(struct join *j)
{
	for (size_t i = 0; i < j->link.address_count && !j->active; i++) {
		if (j->attempts[i].open)
			j->active = &j->attempts[i];
	}
	if (!j->active || j->session)
		return;
	const struct transport_options o = {
		.keys = j->keys,
		.handler = {.up = transport_is_up, .message = transport_message, .ctx = j},
		.initiator = true,
		.mode = j->mode,
		.secret = j->link.secret,
		.nameplate = j->nameplate,
		.account_pk = j->account ? j->account->pk : NULL,
		.database = j->target->database ? *j->target->database : (struct id){{0}},
		.has_database = j->target->database != NULL,
		.without = j->target->without,
		.without_count = j->target->without_count,
	};
	j->session = transport_create(&o);
	ws_want_write(j->active->conn);
}

static void drop_session(struct join *j)
{
	pair_destroy(STEAL(j->pair));
	transport_destroy(STEAL(j->session));
	j->active = NULL;
}

/* ---- events of the ws ----------------------------------------------------------------------- */

static void *on_accepted(void *ctx, struct ws_conn *c)
{
	(void)ctx;
	(void)c;
	return NULL;
}

static void on_connected(void *user)
{
	struct attempt *a = user;

	a->open = true;
	a->join->opened = true;
	activate(a->join);
}

static int on_received(void *user, struct slice message)
{
	struct attempt *a = user;
	struct join *j = a->join;

	if (j->active != a)
		return -EPROTO; /* it speaks before it was greeted */
	int r = transport_receive(j->session, message);
	j->spent = j->spent || transport_status(j->session) == HELLO_OK;
	if (r < 0 && !j->paired) {
		if (!j->refused)
			note_session(j, r);
		return r;
	}
	ws_want_write(a->conn);
	return r;
}

static int on_writable(void *user, struct buf *out)
{
	struct attempt *a = user;
	struct join *j = a->join;

	if (j->active != a)
		return 0;
	/* The joiner speaks first once the session is up. */
	while (j->pair && !j->refused && pair_next(j->pair, &j->message) > 0)
		transport_send(j->session, &j->message);
	return transport_next(j->session, out);
}

static void on_closed(void *user, const char *reason)
{
	struct attempt *a = user;
	struct join *j = a->join;
	bool was_open = a->open;

	a->conn = NULL;
	a->open = false;
	if (j->done)
		return;
	/* What came of another address tells more. */
	bool tells = !was_open && !j->opened;
	if (tells && a->is_relay)
		note(j, strcmp(reason, WS_TIMED_OUT) == 0 ? -ETIMEDOUT : -ECONNREFUSED,
		     "cannot reach the relay %s: %s", a->address, reason);
	else if (tells)
		note(j, strcmp(reason, WS_TIMED_OUT) == 0 ? -ETIMEDOUT : -ECONNREFUSED,
		     "cannot reach %s: %s; is the other device on, and on the same network?",
		     a->address, reason);
	if (j->active == a) {
		if (!j->paired && transport_state(j->session) != TRANSPORT_CLOSED)
			note_session(j, 0);
		drop_session(j);
	}
	bool left = false;
	for (size_t i = 0; i < j->link.address_count; i++)
		left = left || j->attempts[i].conn;
	if (j->paired || !left)
		finish(j);
	else
		activate(j);
}

static void on_woken(void *ctx)
{
	(void)ctx;
}

static void on_timer(void *ctx)
{
	struct join *j = ctx;

	if (!j->paired)
		note(j, -ETIMEDOUT, "%s did not answer in time; try again",
		     j->active ? j->active->address : "the other device");
	finish(j);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int connect_all(struct join *j, uint64_t timeout_ms)
{
	const struct ws_handler handler = {
		.accepted = on_accepted,
		.connected = on_connected,
		.received = on_received,
		.writable = on_writable,
		.closed = on_closed,
		.woken = on_woken,
		.timer = on_timer,
		.ctx = j,
	};

	j->ws = ws_create(&handler, NULL);
	if (!j->ws)
		return why_set(&j->why, -EIO, "cannot use the network: too many open files?");
	ws_set_timer(j->ws, timeout_ms);
	for (size_t i = 0; i < j->link.address_count; i++) {
		struct attempt *a = &j->attempts[i];
		struct endpoint e;

		a->join = j;
		a->is_relay = j->link.is_relay[i];
		a->address = a->is_relay && j->relay[0] ? j->relay : j->link.addresses[i];
		int r = endpoint_parse_dialled(j->link.addresses[i], &e);
		assert(r >= 0);
		a->conn = ws_dial(j->ws, &e, timeout_ms < JOIN_DIAL_MS ? timeout_ms : JOIN_DIAL_MS,
				  a);
	}
	return 0;
}

static int run(struct join *j, uint64_t timeout_ms)
{
	int r = connect_all(j, timeout_ms);

	while (r >= 0 && !j->done)
		r = ws_service(j->ws);
	j->done = true; /* what closes now tells nothing */
	ws_destroy(j->ws);
	if (r < 0 && !j->paired)
		return r;
	if (j->refused) {
		j->why.text[0] = 0;
		return -ECANCELED;
	}
	if (!j->paired && j->mode == HELLO_LINK && !concerns_trust(j->error) &&
	    wall_s() >= j->link.expiry_s)
		note_expired(j);
	return j->paired ? 0 : j->error;
}

static int target_link(struct join *j, const char *text)
{
	int r = link_decode(text, &j->link);

	j->mode = HELLO_LINK;
	if (r < 0)
		return why_set(
			&j->why, r,
			"this is not a pairing link; a link begins with 'blaze:pair#v1.' and has no blanks");
	if (secret_eq(j->link.device, keys_device(j->keys)->id, DIGEST_BYTES))
		return why_set(&j->why, -EKEYREJECTED,
			       "this link was made on this very device; use it on the other");
	return 0;
}

static int target_address(struct join *j, const char *at)
{
	struct endpoint e;

	if (endpoint_parse_dialled(at, &e) < 0 || e.port == 0)
		return why_set(&j->why, -EINVAL,
			       "'%s' is no address; one looks like 192.168.1.5:7700", at);
	(void)snprintf(j->link.addresses[0], ENDPOINT_TEXT_BYTES, "%s", at);
	j->link.address_count = 1;
	return 0;
}

static int target_account(struct join *j, const struct account *account, const char *at)
{
	j->mode = HELLO_RECOVER;
	j->account = account;
	hello_recover_secret(account->pk, j->link.secret);
	return target_address(j, at);
}

/*
 * RENDEZVOUS. An inviter on this machine is found at once. Else the relay, inside TLS and not: people need not know which, a port
 * speaks one of both, and what is said is between the devices either way.
 */
static void target_relay(struct join *j, const struct endpoint *relay)
{
	struct link *l = &j->link;
	struct endpoint e = *relay;

	l->address_count = find_lookup_here(j->nameplate, l->addresses, LINK_ADDRESSES_MAX);
	if (l->address_count > 0)
		return;
	code_write_relay(relay, j->relay);
	for (; l->address_count < 2; l->address_count++) {
		e.tls = l->address_count == 1;
		endpoint_format(&e, l->addresses[l->address_count]);
		l->is_relay[l->address_count] = true;
	}
}

/* The relay is away, or knows nothing of the code, which is as good as before: the local network is asked. */
static bool target_nearby(struct join *j)
{
	struct link *l = &j->link;

	if (!j->relay[0] || j->spent || j->refused)
		return false;
	memset(l->is_relay, 0, sizeof(l->is_relay));
	l->address_count = find_lookup(j->nameplate, l->addresses, LINK_ADDRESSES_MAX);
	j->relay[0] = 0;
	drop_session(j);
	memset(j->attempts, 0, sizeof(j->attempts));
	j->done = false;
	return l->address_count > 0;
}

static int target_code(struct join *j, const char *text, const char *at)
{
	struct endpoint relay;
	int r = code_parse(text, &j->nameplate, j->link.secret);

	j->mode = HELLO_CODE;
	if (r < 0)
		return why_set(&j->why, -EINVAL,
			       r == -ENOENT ? "that code has a word in it that no code has; check it"
					    : "that is not a whole code, such as 7-orbit-walnut");
	if (at)
		return target_address(j, at);
	r = code_relay(text, &relay);
	if (r < 0)
		return why_set(
			&j->why, r,
			strstr(text, "@folder:")
				? "a folder cannot pass a code on: leave out what follows '@', "
				  "on the same network, or say where the other device is with --at"
				: "what follows '@' is no address of a relay; one looks like "
				  "relay.example.org or 192.168.1.5:7710");
	if (r > 0) {
		target_relay(j, &relay);
		return 0;
	}
	j->link.address_count = find_lookup(j->nameplate, j->link.addresses, LINK_ADDRESSES_MAX);
	if (j->link.address_count == 0)
		return why_set(
			&j->why, -EKEYREJECTED,
			"that code is not known on this machine, nor on the local network. Is the "
			"other device waiting? If it is, add --at with an address of it");
	return 0;
}

int join_run(const struct pair_target *target, const struct keys *keys,
	     const struct pair_confirm *confirm, struct pair_result *ret, struct why *why)
{
	struct join *j = xcalloc(1, sizeof(*j));

	j->keys = keys;
	j->target = target;
	j->confirm = *confirm;
	int r = target->account		     ? target_account(j, target->account, target->at)
		: code_is_like(target->text) ? target_code(j, target->text, target->at)
					     : target_link(j, target->text);
	if (r == 0)
		r = run(j, target->timeout_ms);
	if (r < 0 && j->mode == HELLO_CODE && target_nearby(j)) {
		j->error = 0;
		r = run(j, target->timeout_ms);
	}
	if (r < 0)
		(void)why_set(why, r, "%s", j->why.text);
	else
		*ret = j->result;
	if (r < 0 && j->result.welcome.data)
		wipe(j->result.welcome.data, j->result.welcome.cap);
	if (r < 0)
		buf_fini(&j->result.welcome);
	pair_destroy(j->pair);
	transport_destroy(j->session);
	if (j->message.data)
		wipe(j->message.data, j->message.cap);
	buf_fini(&j->message);
	wipe(j, sizeof(*j));
	free(j);
	return r;
}
