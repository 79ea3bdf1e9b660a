/* The life of a connection to a relay: dialled, lost, ticking; and what is kept across restarts. */
#include "core/log.h"
#include "core/thread.h"
#include "core/watch.h"
#include "net/peer.h"
#include "net/relay_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t monotonic_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
void relay_enter(struct relay *r, enum relay_state state)
{
	static const char *const names[] = {
		[RELAY_AWAY] = "away",		 [RELAY_DIALLING] = "dialling",
		[RELAY_HANDSHAKE] = "handshake", [RELAY_KNOCKING] = "knocking",
		[RELAY_OPEN] = "open",
	};
	char shown[MAILADDR_TEXT_BYTES];

	mailaddr_show(&r->address, shown);
	log_line(state == RELAY_OPEN || r->state == RELAY_OPEN ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
		 "relay %s: %s -> %s", shown, names[r->state], names[state]);
	if ((state == RELAY_OPEN) != (r->state == RELAY_OPEN))
		watch_relay(db_watch(r->host->db),
			    state == RELAY_OPEN ? WATCH_RELAY_OPEN : WATCH_RELAY_AWAY, PATH_RELAY,
			    shown, state == RELAY_OPEN ? NULL : r->error);
	r->state = state;
	r->host->published(r->host->ctx, r);
}

/* ---- what is kept across restarts ---------------------------------------------------------------- */

static char *setting_name(const struct relay *r)
{
	struct id id;

	char hex[ID_HEX_BYTES];
	memcpy(id.b, r->address.dh_pk, sizeof(id.b));
	id_hex(&id, hex);
	return xasprintf("relay.%s", hex);
}

void relay_save(struct relay *r)
{
	AUTO(free_ptr) char *name = setting_name(r);
	AUTO(buf_fini) struct buf text = {0};

	ledger_encode(&r->ledger, &text);
	int e = db_set_setting(r->host->db, name, buf_str(&text));
	if (e < 0)
		log_warn("cannot remember where a relay's log was: %s, ignoring", strerror(-e));
}

static void load(struct relay *r)
{
	AUTO(free_ptr) char *name = setting_name(r);
	AUTO(free_ptr) char *text = NULL;

	bool known = db_get_setting(r->host->db, name, &text) >= 0 && text;
	ledger_decode(&r->ledger, known ? text : "");
	r->taken = r->ledger.cursor;
	(void)snprintf(r->said_alarm, sizeof(r->said_alarm), "%s", r->ledger.alarm);
}

/* What it was caught at is said once, and kept. */
void relay_note_alarm(struct relay *r)
{
	char shown[MAILADDR_TEXT_BYTES];

	if (strcmp(r->said_alarm, r->ledger.alarm) == 0)
		return;
	(void)snprintf(r->said_alarm, sizeof(r->said_alarm), "%s", r->ledger.alarm);
	mailaddr_show(&r->address, shown);
	log_warn("relay %s is not to be trusted: %s", shown, r->ledger.alarm);
	watch_relay(db_watch(r->host->db), WATCH_RELAY_DISTRUSTED, PATH_RELAY, shown,
		    r->ledger.alarm);
	relay_save(r);
	r->host->published(r->host->ctx, r);
}

/* ---- the connection ------------------------------------------------------------------------------ */

static void on_up(void *ctx)
{
	struct relay *r = ctx;

	ws_trust(r->ws);
	relay_enter(r, RELAY_KNOCKING);
	relay_smart_start(r);
	relay_say_open(r);
}

static void on_connected(void *user)
{
	struct relay *r = user;
	uint8_t psk[32];
	const struct transport_options o = {
		.keys = r->host->keys,
		.handler = {.up = on_up, .message = relay_handle, .ctx = r},
		.initiator = true,
		.mode = HELLO_RELAY,
		.secret = psk,
		.expect_pk = r->address.dh_pk,
	};

	mailaddr_psk(r->address.token, psk);
	r->transport = transport_create(&o);
	wipe(psk, sizeof(psk));
	relay_enter(r, RELAY_HANDSHAKE);
	ws_want_write(r->ws);
}

static int on_received(void *user, struct slice message)
{
	struct relay *r = user;
	int e = transport_receive(r->transport, message);

	liveness_heard(&r->liveness, monotonic_ms());
	if (e == -EKEYREJECTED && r->state == RELAY_HANDSHAKE)
		relay_refuse(r, "another program answers there: it does not have the relay's key");
	r->host->hurry(r->host->ctx);
	r->host->published(r->host->ctx, r);
	ws_want_write(r->ws);
	return e;
}

static int on_writable(void *user, struct buf *out)
{
	struct relay *r = user;
	int e = 0;

	while (r->state == RELAY_OPEN && transport_pending_bytes(r->transport) < RELAY_TALK_BYTES &&
	       rendezvous_fill(r->rendezvous) > 0)
		;
	e = relay_fill(r);
	return e < 0 ? e : transport_next(r->transport, out);
}

static void schedule_dial(struct relay *r, uint64_t now)
{
	uint32_t random = 0;

	random_bytes(&random, sizeof(random));
	uint64_t delay = peer_retry_delay_ms(r->attempt++, now - r->away_since_ms, random);
	if (r->refused && delay < RELAY_REFUSED_MS)
		delay = RELAY_REFUSED_MS;
	r->next_dial_ms = now + delay;
	r->refused = false;
}

/* Why there was no connection; and what may be behind it, where it is about TLS. */
static void note_dial(struct relay *r, const char *reason)
{
	char shown[MAILADDR_TEXT_BYTES];
	const char *hint = "";

	if (strcmp(reason, WS_NO_TLS) == 0)
		hint = ": perhaps its address begins with ws:// by now";
	else if (!r->address.tls && strcmp(reason, WS_HUNG_UP) == 0)
		hint = ": perhaps its address begins with wss:// by now";
	else if (strcmp(reason, WS_WRONG_PIN) == 0) {
		mailaddr_show(&r->address, shown);
		if (strcmp(r->error, reason) != 0)
			log_warn("relay %s: %s", shown, reason);
		r->refused = true;
	}
	(void)snprintf(r->error, sizeof(r->error), "%s%s", reason, hint);
}

static void on_closed(void *user, const char *reason)
{
	struct relay *r = user;
	uint64_t up = 0;
	uint64_t down = 0;

	ws_traffic(r->ws, &up, &down);
	r->up_past += up;
	r->down_past += down;
	if (r->state == RELAY_DIALLING)
		note_dial(r, reason);
	else if (r->state == RELAY_HANDSHAKE && !r->refused)
		relay_refuse(r, "the handshake failed: its token or key is another by now");
	rendezvous_close(r->rendezvous);
	r->ws = NULL;
	relay_smart_end(r);
	transport_destroy(STEAL(r->transport));
	mailbox_reset(r->mailbox);
	mailbox_unask(r->mailbox);
	r->flight_count = 0;
	r->flight_bytes = 0;
	r->unsafe_count = 0;
	r->untaken_bytes = 0;
	r->taken_due_ms = 0;
	r->deadline_ms = 0;
	r->held_ms = 0;
	r->liveness = (struct liveness){0};
	schedule_dial(r, monotonic_ms());
	relay_enter(r, RELAY_AWAY);
	r->host->hurry(r->host->ctx);
}

static const struct ws_handler handler = {
	.connected = on_connected,
	.received = on_received,
	.writable = on_writable,
	.closed = on_closed,
};

static void dial(struct relay *r, uint64_t now)
{
	struct ws_tls tls = {.pinned = r->address.pinned};

	memcpy(tls.pin, r->address.pin, sizeof(tls.pin));
	r->deadline_ms = now + 2 * RELAY_DIAL_MS;
	relay_enter(r, RELAY_DIALLING);
	r->ws = ws_dial_with(r->host->ws, &r->address.endpoint, r->address.tls ? &tls : NULL,
			     RELAY_DIAL_MS, &handler, r);
}

/* ---- the path ------------------------------------------------------------------------------------ */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void hang_up(struct relay *r, const char *why)
{
	(void)snprintf(r->error, sizeof(r->error), "%s", why);
	ws_close(r->ws);
}

/* LIVENESS, and what follows for who uses it. */
static void check_liveness(struct relay *r, uint64_t now)
{
	struct liveness *l = &r->liveness;
	bool was_in_doubt = l->in_doubt;
	uint64_t time_us = monotonic_us();

	l->waiting = r->unsafe_count > 0 || mailbox_is_asking(r->mailbox);
	l->slack_ms = r->flight_bytes / RELAY_SLOWEST_BYTES_MS;
	switch (liveness_check(l, now, time_us)) {
	case LIVENESS_GOOD:
		break;
	case LIVENESS_ASK:
		relay_say(r, &(struct mail){.type = MAIL_PING, .time_ms = time_us});
		break;
	case LIVENESS_IN_DOUBT:
		if (!was_in_doubt) /* what it owes others may be asked for */
			mailbox_unask(r->mailbox);
		break;
	case LIVENESS_DEAD:
		hang_up(r, "it does not answer any more");
		break;
	}
}

static uint64_t tick_open(struct relay *r, uint64_t now)
{
	int e = mailbox_is_waiting(r->mailbox) ? mailbox_retry(r->mailbox) : 0;

	if (e == 0 && r->taken_due_ms && now >= r->taken_due_ms)
		e = relay_say_taken(r);
	if (e < 0) {
		hang_up(r, "what it sent could not be stored here");
		return now + RELAY_REFUSED_MS;
	}
	if (mailbox_key_came(r->mailbox)) {
		hang_up(r, "a key has come: what it holds is read again");
		return now + RELAY_REFUSED_MS;
	}
	relay_put_slot(r, now);
	if (r->held_ms && now >= r->held_ms) /* opened anew, it says what it lacks */
		ws_close(r->ws);
	ledger_tick(&r->ledger, now, r->host->patience_ms);
	relay_note_alarm(r);
	if (!r->acl_checked)
		relay_check_acl(r);
	relay_check_gap(r, now);
	relay_smart_tick(r, now);
	if (now >= mailbox_due_ms(r->mailbox)) {
		r->busy = true;
		ws_want_write(r->ws);
	}
	check_liveness(r, now);
	uint64_t next = sooner(liveness_due(&r->liveness), now + 1000);
	next = sooner(next, r->slot_ms > now ? r->slot_ms : UINT64_MAX);
	next = sooner(next, r->held_ms > now ? r->held_ms : UINT64_MAX);
	next = sooner(next, r->taken_due_ms ? r->taken_due_ms : UINT64_MAX);
	return sooner(next, mailbox_due_ms(r->mailbox));
}

static uint64_t tick_away(struct relay *r, uint64_t now)
{
	if (r->stopping)
		return UINT64_MAX;
	if (now >= r->next_dial_ms)
		dial(r, now);
	return r->state == RELAY_AWAY ? r->next_dial_ms : r->deadline_ms;
}

static uint64_t tick(void *self, uint64_t now)
{
	struct relay *r = self;
	uint64_t next = r->state == RELAY_OPEN ? tick_open(r, now) : 0;

	ranking_note(&r->rank, r->state == RELAY_OPEN && !r->stopping,
		     r->liveness.in_doubt || r->held_ms, now);
	if (next > 0)
		return next;
	if (r->state == RELAY_AWAY)
		return tick_away(r, now);
	if (now >= r->deadline_ms) {
		hang_up(r, "it does not answer");
		r->deadline_ms = now + RELAY_DIAL_MS;
	}
	return r->deadline_ms;
}

static void changed(void *self)
{
	struct relay *r = self;

	if (r->state != RELAY_OPEN)
		return;
	r->busy = true;
	r->acl_checked = false;
	rendezvous_refresh(r->rendezvous);
	ws_want_write(r->ws);
}

static void describe(void *self, struct peer_status *ret)
{
	const struct relay *r = self;

	endpoint_format(&r->address.endpoint, ret->endpoint);
	ret->state = r->state == RELAY_OPEN   ? PEER_SYNCED
		     : r->state == RELAY_AWAY ? PEER_OFFLINE
					      : PEER_CONNECTING;
	ret->rtt_us = r->rtt_us;
	(void)snprintf(ret->last_error, sizeof(ret->last_error), "%.127s", r->error);
}

static void stop(void *self)
{
	struct relay *r = self;

	r->stopping = true;
	if (r->transport && transport_state(r->transport) == TRANSPORT_UP) {
		transport_bye(r->transport, CHANNEL_BYE_SHUTDOWN);
		ws_want_write(r->ws);
	} else if (r->ws) {
		ws_close(r->ws);
	}
}

const struct path_ops relay_path = {
	.kind = "relay",
	.changed = changed,
	.tick = tick,
	.describe = describe,
	.stop = stop,
};

static void on_log(void *ctx, uint64_t actor, const struct mailbox_log *log)
{
	struct relay *r = ctx;

	r->host->on_log(r->host->ctx, actor, log);
}

static void say(void *ctx, const struct mail *m)
{
	relay_say(ctx, m);
}

static void wake(void *ctx)
{
	struct relay *r = ctx;

	if (r->ws)
		ws_want_write(r->ws);
}

/* RENDEZVOUS: invitations wait there, too. */
static void prepare_rendezvous(struct relay *r)
{
	char shown[MAILADDR_TEXT_BYTES];

	mailaddr_show(&r->address, shown);
	r->rendezvous = rendezvous_create(&(struct rendezvous_options){
		.host = r->host->rendezvous,
		.relay = &r->address.endpoint,
		.shown = shown,
		.say = say,
		.wake = wake,
		.ctx = r,
	});
}

struct relay *relay_create(const struct relay_host *host, const struct mailaddr *address)
{
	struct relay *r = xcalloc(1, sizeof(*r));
	struct reader key = reader_init(SLICE(address->dh_pk, KEYS_PK_BYTES));

	r->host = host;
	r->address = *address;
	r->rtt_us = -1;
	r->away_since_ms = monotonic_ms();
	r->mailbox = mailbox_create(host->db, reader_be64(&key) | 1);
	r->spare = true;
	mailbox_set_spare(r->mailbox, true);
	mailbox_on_log(r->mailbox, on_log, r);
	prepare_rendezvous(r);
	load(r);
	return r;
}

void relay_destroy(struct relay *r)
{
	if (!r)
		return;
	assert(!r->transport);
	rendezvous_destroy(r->rendezvous);
	mailbox_destroy(r->mailbox);
	free(r->flights);
	wipe(r, sizeof(*r));
	free(r);
}

bool relay_is_gone(const struct relay *r)
{
	return r->stopping && r->state == RELAY_AWAY;
}

const struct mailaddr *relay_address(const struct relay *r)
{
	return &r->address;
}

void relay_info(const struct relay *r, struct relay_info *ret)
{
	uint64_t up = 0;
	uint64_t down = 0;

	*ret = (struct relay_info){
		.state = r->state,
		.used = !r->spare,
		.in_doubt = r->state == RELAY_OPEN && r->liveness.in_doubt,
		.waits = mailbox_due_ms(r->mailbox) != UINT64_MAX,
		.asking = mailbox_is_asking(r->mailbox),
		.listed = r->state == RELAY_OPEN && r->acl_checked && !r->acl_said,
		.idle = r->state == RELAY_OPEN && !r->busy && r->unsafe_count == 0 &&
			r->ledger.cursor >= r->head && !mailbox_is_waiting(r->mailbox),
		.generation = r->looked,
		.cursor = r->ledger.cursor,
		.flight = r->unsafe_count,
		.receipted_ms = r->receipted_ms,
		.refused = r->refused_items,
		.keyless = mailbox_awaits_key(r->mailbox),
		.rtt_us = r->rtt_us,
	};
	relay_smart_info(r, ret);
	if (r->ws)
		ws_traffic(r->ws, &up, &down);
	ret->up_bytes = r->up_past + up;
	ret->down_bytes = r->down_past + down;
	mailaddr_show(&r->address, ret->address);
	(void)snprintf(ret->error, sizeof(ret->error), "%s", r->error);
	(void)snprintf(ret->alarm, sizeof(ret->alarm), "%s", r->ledger.alarm);
}

struct rank *relay_rank(struct relay *r)
{
	return &r->rank;
}

void relay_use(struct relay *r, bool used)
{
	if (r->spare == !used)
		return;
	r->spare = !used;
	mailbox_set_spare(r->mailbox, r->spare);
	if (used && r->state == RELAY_OPEN) {
		r->busy = true;
		ws_want_write(r->ws);
	}
}

void relay_compare(struct relay *r, const struct mailbox_log *log)
{
	ledger_compare(&r->ledger, log, monotonic_ms());
	relay_note_alarm(r);
}

bool relay_log(const struct relay *r, struct mailbox_log *ret)
{
	if (id_is_zero(&r->ledger.log))
		return false;
	ret->log = r->ledger.log;
	ret->cursor = r->ledger.cursor;
	memcpy(ret->chain, r->ledger.chain, sizeof(ret->chain));
	return true;
}
