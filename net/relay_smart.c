/*
 * A relay that was granted something (SMART in net/PROTOCOL.md), as a device sees it: it is brought its welcome, and then hears
 * what a member hears. That it says it had a copy opens nothing: whether it is a member says `auth`, and of what, db_may_have().
 */
#include "core/log.h"
#include "core/thread.h"
#include "net/relay_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What waits to be sent, when more is fetched. */
#define STREAM_QUEUE_BYTES 65536
/* After it has refused the stream: it may not have heard yet that this device is a member. */
#define STREAM_AGAIN_MS 1000
/* How long the log is held back for the copy's sake. */
#define HOLD_MS 3000

void relay_smart_start(struct relay *r)
{
	struct smart_options o = {.device = true};

	transport_hash(r->transport, o.hash);
	r->smart = smart_create(&o);
}

void relay_smart_end(struct relay *r)
{
	if (r->cert_asked)
		r->host->certified(r->host->ctx, r, SLICE("", 0),
				   "the connection to the relay was lost");
	r->cert_asked = false;
	r->welcomed = false;
	r->reads = false;
	r->stream_ms = 0;
	r->copy_error[0] = 0;
	r->log_waits = false;
	free(STEAL(r->held));
	r->held_count = 0;
	smart_destroy(STEAL(r->smart));
}

/* What the operations that are here say of it. */
static void look(struct relay *r)
{
	uint64_t revision = db_grant_revision(r->host->db) + 1;

	if (r->member_at == revision)
		return;
	r->member_at = revision;
	if (db_member_by_key(r->host->db, r->address.dh_pk, &r->member) < 0)
		r->member = (struct member_info){.removed = true};
	struct id sign_id = mailaddr_sign_id(r->member.device.sign_pk);
	/* The address names both keys, and so does the certificate. */
	if (!id_eq(&sign_id, &r->address.sign_id))
		r->member = (struct member_info){.removed = true};
}

bool relay_is_member(const struct relay *r)
{
	return r->member_at > 0 && !r->member.removed && r->member.role == MEMBER_RELAY;
}

static void bring_welcome(struct relay *r)
{
	struct buf welcome = {0};

	db_welcome_relay(r->host->db, &welcome);
	relay_say(r, &(struct mail){.type = MAIL_WELCOME, .rest = buf_slice(&welcome)});
	wipe(welcome.data, welcome.cap);
	buf_fini(&welcome);
	r->welcomed = true;
}

bool relay_smart_waits(struct relay *r)
{
	look(r);
	r->log_waits = relay_is_member(r);
	r->hold_ms = monotonic_ms() + HOLD_MS;
	return r->log_waits;
}

/* HOLD: what came by the copy, or in another way, need not come again out of the log; which goes on from here. */
static void say_hold(struct relay *r)
{
	AUTO(buf_fini) struct buf list = {0};

	r->log_waits = false;
	free(STEAL(r->held));
	r->held_count = 0;
	if (r->ledger.cursor < r->head) /* else there is nothing to be passed over */
		r->held_count = mailbox_feeds(r->mailbox, &r->held);
	for (size_t i = 0; i < r->held_count; i++) {
		id_write(&list, &r->held[i].tag);
		buf_varint(&list, r->held[i].seq);
	}
	relay_say(r, &(struct mail){.type = MAIL_HOLD, .rest = buf_slice(&list)});
}

static bool may_hold(const struct relay *r, uint64_t now_ms)
{
	return r->ledger.cursor >= r->head || !r->reads || smart_in_sync(r->smart) ||
	       now_ms >= r->hold_ms;
}

void relay_smart_tick(struct relay *r, uint64_t now_ms)
{
	look(r);
	if (r->log_waits && may_hold(r, now_ms))
		say_hold(r);
	bool was_member = r->member.device.actor != 0;
	/* Whoever knows less of the members than the log says must not let it in again. */
	bool knows = r->ledger.cursor >= r->head && !mailbox_is_waiting(r->mailbox);

	if (relay_is_member(r) && !r->reads && !r->welcomed && knows && relay_may_administer(r))
		bring_welcome(r);
	if (smart_is_open(r->smart) && (!was_member || !r->reads))
		smart_close(r->smart);
	/* One that was removed hears of it, and no more: db_may_have(). */
	if (was_member && r->reads && !smart_is_open(r->smart) && now_ms >= r->stream_ms) {
		const struct smart_party party = {
			.db = r->host->db,
			.peer = r->member.device.actor,
			.now_ms = db_now_ms(r->host->db),
		};

		smart_open(r->smart, &party);
		r->stream_ms = now_ms + STREAM_AGAIN_MS;
		ws_want_write(r->ws);
	}
}

int relay_smart_fill(struct relay *r)
{
	AUTO(buf_fini) struct buf message = {0};
	int e = 1;

	while (e > 0 && r->state == RELAY_OPEN &&
	       transport_pending_bytes(r->transport) < STREAM_QUEUE_BYTES) {
		e = smart_next(r->smart, &message);
		if (e > 0)
			relay_say(r,
				  &(struct mail){.type = MAIL_STREAM, .rest = buf_slice(&message)});
	}
	return e < 0 ? e : 0;
}

void relay_smart_info(const struct relay *r, struct relay_info *ret)
{
	ret->reads = r->state == RELAY_OPEN && r->reads;
	ret->member = relay_is_member(r) ? r->member.device.actor : 0;
	ret->copied = ret->reads && smart_in_sync(r->smart);
	(void)snprintf(ret->copy_error, sizeof(ret->copy_error), "%s", r->copy_error);
}

void relay_ask_cert(struct relay *r)
{
	assert(r->state == RELAY_OPEN);
	r->cert_asked = true;
	relay_say(r, &(struct mail){.type = MAIL_CERT_ASK});
}

/* ---- hearing ------------------------------------------------------------------------------------- */

void relay_smart_reads(struct relay *r, bool reads, struct slice why)
{
	AUTO(free_ptr) char *text = log_quote(why.data, why.len);

	(void)snprintf(r->copy_error, sizeof(r->copy_error), "%s", why.len ? text : "");
	/* Erased, it may be wanted again: who may brings another welcome, but not to who has just refused one. */
	if (!reads && r->reads)
		r->welcomed = false;
	r->reads = reads;
	r->stream_ms = why.len ? monotonic_ms() + 60 * STREAM_AGAIN_MS : 0;
}

int relay_smart_on_reads(struct relay *r, const struct mail *m)
{
	relay_smart_reads(r, m->reads, m->text);
	return 0;
}

int relay_smart_on_cert(struct relay *r, const struct mail *m)
{
	struct device d;

	if (!r->cert_asked)
		return -EPROTO;
	r->cert_asked = false;
	bool good = device_from_cert(m->rest, &d) == 0 &&
		    memcmp(d.dh_pk, r->address.dh_pk, sizeof(d.dh_pk)) == 0;
	struct id sign_id = good ? mailaddr_sign_id(d.sign_pk) : (struct id){{0}};
	good = good && id_eq(&sign_id, &r->address.sign_id);
	r->host->certified(r->host->ctx, r, good ? m->rest : SLICE("", 0),
			   good ? "" : "it does not prove the keys that its address names");
	return good ? 0 : -EBADMSG;
}

static int compare_tags(const void *a, const void *b)
{
	const struct mailbox_feed *x = a;
	const struct mailbox_feed *y = b;

	return id_cmp(&x->tag, &y->tag);
}

/* What it passes over is what HOLD said, or it is kept back: the chain proves which item it is about. */
int relay_smart_on_passed(struct relay *r, const struct mail *m)
{
	struct mailbox_item stub;
	uint8_t item_digest[DIGEST_BYTES];
	int e = mail_stub_decode(m->rest, &stub);

	if (e < 0 || r->held_count == 0)
		return -EBADMSG;
	const struct mailbox_feed key = {.tag = stub.tag};
	const struct mailbox_feed *held =
		bsearch(&key, r->held, r->held_count, sizeof(*r->held), compare_tags);
	bool logged = stub.kind == MAILBOX_ENVELOPE || stub.kind == MAILBOX_STRATUM;
	if (!held || !logged || stub.seq_first + stub.count - 1 > held->seq)
		return -EBADMSG;
	mail_stub_digest(&stub, item_digest);
	e = ledger_next(&r->ledger, m->cursor, item_digest);
	return e < 0 ? e : relay_came(r, m->rest.len);
}

int relay_smart_on_stream(struct relay *r, const struct mail *m)
{
	int e = smart_receive(r->smart, m->rest);

	/* What it said may be news for it, or for the tick. */
	ws_want_write(r->ws);
	return e;
}
