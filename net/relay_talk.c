/* What a device says to a relay, and what it makes of the answers. */
#include "core/log.h"
#include "core/thread.h"
#include "net/relay_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOGS_MAX 16

static uint64_t monotonic_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
/* ---- saying -------------------------------------------------------------------------------------- */

void relay_say(struct relay *r, const struct mail *m)
{
	struct buf message = {0};

	mail_encode(m, &message);
	transport_send(r->transport, &message);
	buf_fini(&message);
	ws_want_write(r->ws);
}

void relay_ping(struct relay *r)
{
	uint64_t time_us = monotonic_us();

	liveness_asked(&r->liveness, monotonic_ms(), time_us);
	relay_say(r, &(struct mail){.type = MAIL_PING, .time_ms = time_us});
}

void relay_say_open(struct relay *r)
{
	const struct ledger *l = &r->ledger;

	relay_say(r, &(struct mail){.type = MAIL_OPEN,
				    .mailbox = mailbox_id(r->mailbox),
				    .log = l->log,
				    .cursor = l->proven,
				    .slots = l->slots,
				    .waits = relay_smart_waits(r)});
}

/* The list as it should be: all members, and what each may. Free with mail_acl_fini(). */
static void list_members(struct relay *r, struct mail_acl *acl)
{
	AUTO(free_ptr) struct member_info *members = NULL;
	size_t n = db_members(r->host->db, &members);

	*acl = (struct mail_acl){.mailbox = mailbox_id(r->mailbox)};
	acl->entries = xcalloc(n, sizeof(*acl->entries));
	for (size_t i = 0; i < n && acl->count < MAIL_ACL_ENTRIES_MAX; i++) {
		const struct device *d = &members[i].device;
		uint8_t rights = members[i].removed ? 0 : mail_rights(members[i].role);
		struct mail_acl_entry *e = &acl->entries[acl->count];

		if (!rights)
			continue;
		memcpy(e->dh_pk, d->dh_pk, sizeof(e->dh_pk));
		memcpy(e->sign_pk, d->sign_pk, sizeof(e->sign_pk));
		e->rights = rights;
		acl->count++;
	}
	mail_acl_sort(acl);
}

bool relay_may_administer(const struct relay *r)
{
	int role = db_own_role(r->host->db);

	return role > 0 && (mail_rights((enum member_role)role) & MAIL_ADMIN_RIGHT);
}

static void say_acl(struct relay *r, enum mail_type type, uint64_t version)
{
	AUTO(mail_acl_fini) struct mail_acl acl = {0};
	AUTO(buf_fini) struct buf bytes = {0};

	list_members(r, &acl);
	acl.version = version;
	r->acl = mail_acl_id(&acl);
	r->member_count = acl.count;
	mail_acl_encode(&acl, r->host->keys, &bytes);
	relay_say(r, &(struct mail){.type = type, .rest = buf_slice(&bytes)});
}

/* Once all is taken that came before: whoever knows less of the members must not throw out the others. */
void relay_check_acl(struct relay *r)
{
	AUTO(mail_acl_fini) struct mail_acl acl = {0};

	if (r->state != RELAY_OPEN || r->ledger.cursor < r->head || mailbox_is_waiting(r->mailbox))
		return;
	list_members(r, &acl);
	struct id wanted = mail_acl_id(&acl);
	r->acl_checked = true;
	if (id_eq(&wanted, &r->acl) || !relay_may_administer(r))
		return;
	r->acl_said = true;
	say_acl(r, MAIL_ACL, r->acl_version + 1);
}

void relay_check_gap(struct relay *r, uint64_t now_ms)
{
	if (!r->gap_ms || now_ms < r->gap_ms || r->ledger.cursor < r->head)
		return;
	r->gap_ms = 0;
	if (mailbox_lags(r->mailbox) || mailbox_is_waiting(r->mailbox))
		relay_say(r, &(struct mail){.type = MAIL_REFILL});
}

/* TAKEN, durably; and the slot, which tells the others. */
int relay_say_taken(struct relay *r)
{
	int e = db_sync(r->host->db);

	if (e < 0)
		return e;
	if (!mailbox_is_waiting(r->mailbox))
		r->taken = r->ledger.cursor;
	r->taken_due_ms = 0;
	r->untaken_bytes = 0;
	r->told = r->ledger.cursor;
	relay_say(r,
		  &(struct mail){.type = MAIL_TAKEN, .cursor = r->taken, .first = r->ledger.cursor});
	return 0;
}

static void fly(struct relay *r, struct slice item, bool in_log)
{
	r->flights = xreallocarray(r->flights, r->flight_count + 1, sizeof(*r->flights));
	struct flight *f = &r->flights[r->flight_count++];
	*f = (struct flight){.request = ++r->last_request, .len = item.len, .in_log = in_log};
	mail_item_digest(item, f->digest);
	r->flight_bytes += item.len;
	liveness_said(&r->liveness);
	if (r->unsafe_count++ == 0)
		r->host->hurry(r->host->ctx); /* from now on it owes a receipt */
	relay_say(r, &(struct mail){.type = MAIL_PUT, .request = f->request, .rest = item});
}

void relay_put_slot(struct relay *r, uint64_t now_ms)
{
	struct mailbox_log logs[LOGS_MAX];
	AUTO(buf_fini) struct buf item = {0};
	bool places = now_ms >= r->places_ms;

	if (r->held_ms || now_ms < r->slot_ms)
		return;
	r->slot_ms = now_ms + (r->spare ? RELAY_SPARE_SLOT_MS : 0);
	size_t n = r->host->logs(r->host->ctx, logs, LOGS_MAX);
	if (mailbox_next_slot(r->mailbox, logs, n, places, &item) <= 0)
		return;
	uint64_t pause = item.len * 1000 / RELAY_SLOT_BYTES_S;
	r->slot_ms = now_ms + pause > r->slot_ms ? now_ms + pause : r->slot_ms;
	r->places_ms = now_ms + RELAY_PLACES_MS;
	fly(r, buf_slice(&item), false);
}

static int put_next(struct relay *r)
{
	AUTO(buf_fini) struct buf item = {0};
	struct mailbox_item head;
	int e = mailbox_next(r->mailbox, monotonic_ms(), &item);

	if (e == MAILBOX_ASK) {
		relay_say(r, &(struct mail){.type = MAIL_LACK_ASK, .rest = buf_slice(&item)});
	} else if (e == MAILBOX_PUT) {
		if (mailbox_item_decode(buf_slice(&item), &head) < 0)
			return -EBADMSG;
		fly(r, buf_slice(&item), head.kind != MAILBOX_CHUNK);
	}
	return e;
}

static void want_chunks(struct relay *r)
{
	AUTO(buf_fini) struct buf tags = {0};

	if (mailbox_want_chunks(r->mailbox, &tags) > 0)
		relay_say(r, &(struct mail){.type = MAIL_GET, .rest = buf_slice(&tags)});
}

/* Fetches what there is to say, while there is room. */
int relay_fill(struct relay *r)
{
	uint64_t generation = db_generation(r->host->db);
	int e = 1;

	while (e > 0 && r->state == RELAY_OPEN && r->busy && !r->held_ms &&
	       r->flight_bytes < RELAY_FLIGHT_BYTES && r->unsafe_count < RELAY_FLIGHT_ITEMS) {
		e = put_next(r);
		r->busy = e > 0;
		if (e == 0)
			r->looked = generation;
	}
	if (e >= 0 && r->state == RELAY_OPEN && !r->liveness.in_doubt)
		want_chunks(r);
	return e < 0 ? e : relay_smart_fill(r);
}

/* ---- hearing ------------------------------------------------------------------------------------- */

void relay_refuse(struct relay *r, const char *why)
{
	(void)snprintf(r->error, sizeof(r->error), "%s", why);
	r->refused = true;
}

static int on_opened(struct relay *r, const struct mail *m)
{
	struct id sign_id = mailaddr_sign_id(m->sign_pk);

	if (r->state != RELAY_KNOCKING)
		return -EPROTO;
	if (!id_eq(&sign_id, &r->address.sign_id)) {
		relay_refuse(r, "it signs with another key than its address says");
		return -EKEYREJECTED;
	}
	memcpy(r->sign_pk, m->sign_pk, sizeof(r->sign_pk));
	r->head = m->cursor;
	r->acl = m->acl;
	r->acl_version = m->version;
	r->acl_checked = false;
	r->acl_said = false;
	r->slot_kept = false;
	bool trimmed = m->first > 0 && m->first != r->ledger.proven;
	if (ledger_open(&r->ledger, m) > 0) {
		r->gap_ms = trimmed ? monotonic_ms() + RELAY_GAP_MS : 0;
		relay_save(r);
	}
	relay_note_alarm(r);
	r->taken = r->ledger.cursor;
	r->told = r->ledger.cursor;
	relay_smart_reads(r, m->reads, SLICE("", 0));
	relay_say(r, &(struct mail){.type = MAIL_HAVE_ASK});
	return 0;
}

static int on_have(struct relay *r, const struct mail *m)
{
	if (r->state != RELAY_KNOCKING)
		return -EPROTO;
	int e = mailbox_start(r->mailbox, m->rest);
	if (e < 0)
		return e;
	r->error[0] = 0;
	r->attempt = 0;
	r->away_since_ms = monotonic_ms();
	r->busy = true;
	liveness_start(&r->liveness, monotonic_ms());
	relay_enter(r, RELAY_OPEN);
	rendezvous_open(r->rendezvous);
	relay_ping(r); /* how far away it is, is asked before it is chosen */
	relay_check_acl(r);
	r->slot_ms = 0;
	r->places_ms = 0;
	relay_put_slot(r, monotonic_ms());
	return 0;
}

static void shift_flights(struct relay *r)
{
	size_t n = 0;

	/* What is safe and was not placed was there before, or is placed when the log has come that far. */
	while (n < r->flight_count && r->flights[n].safe &&
	       (r->flights[n].placed || !r->flights[n].in_log))
		n++;
	if (n == 0)
		return;
	r->flight_count -= n;
	memmove(r->flights, r->flights + n, r->flight_count * sizeof(*r->flights));
}

static int on_receipt(struct relay *r, const struct mail *m)
{
	struct id mailbox = mailbox_id(r->mailbox);

	if (!id_eq(&m->mailbox, &mailbox) || !id_eq(&m->log, &r->ledger.log) ||
	    !mail_receipt_is_signed(m, r->sign_pk))
		return -EBADMSG;
	r->receipted_ms = db_now_ms(r->host->db);
	for (size_t i = 0; i < r->flight_count && r->flights[i].request <= m->request; i++) {
		if (r->flights[i].safe)
			continue;
		r->flights[i].safe = true;
		r->flight_bytes -= r->flights[i].len;
		r->unsafe_count--;
	}
	shift_flights(r);
	if (ledger_receipt(&r->ledger, m, r->taken) > 0 && m->request == 0)
		relay_save(r);
	relay_note_alarm(r);
	return 0;
}

static int on_placed(struct relay *r, const struct mail *m)
{
	struct flight *f = NULL;

	for (size_t i = 0; !f && i < r->flight_count; i++) {
		if (r->flights[i].request == m->request)
			f = &r->flights[i];
	}
	if (!f || !f->in_log || f->placed)
		return -EBADMSG;
	f->placed = true;
	int e = ledger_next(&r->ledger, m->cursor, f->digest);
	shift_flights(r);
	if (e == 0 && !r->taken_due_ms)
		r->taken_due_ms = monotonic_ms() + 10 * RELAY_TAKEN_MS;
	return e;
}

static void count_refused(struct relay *r)
{
	char shown[MAILADDR_TEXT_BYTES];

	mailaddr_show(&r->address, shown);
	if (r->refused_items++ == 0)
		log_warn("relay %s: gave an item that is damaged, forged or of another mailbox; it is "
			 "not used",
			 shown);
}

/* What came of an item. */
static int taken(struct relay *r, int e)
{
	if (e == -ENOKEY)
		return 0; /* TAKEN does not get past it: it is read again when the key has come */
	if (e == -EBADMSG) {
		count_refused(r);
		return 0;
	}
	if (e == -ENOBUFS)
		relay_refuse(r, "too much is waiting for changes that it does not have");
	else if (e < 0)
		relay_refuse(r, "what it sent could not be stored here");
	return e;
}

static int take(struct relay *r, struct slice item)
{
	return taken(r, mailbox_take(r->mailbox, item));
}

int relay_came(struct relay *r, size_t bytes)
{
	uint64_t now = monotonic_ms();

	r->untaken_bytes += bytes;
	if (r->untaken_bytes >= RELAY_TAKEN_BYTES)
		return relay_say_taken(r);
	if (!r->taken_due_ms || r->taken_due_ms > now + RELAY_TAKEN_MS)
		r->taken_due_ms = now + RELAY_TAKEN_MS;
	return 0;
}

static int on_push(struct relay *r, const struct mail *m)
{
	uint8_t item_digest[DIGEST_BYTES];

	mail_item_digest(m->rest, item_digest);
	int e = ledger_next(&r->ledger, m->cursor, item_digest);
	if (e == 0)
		e = take(r, m->rest);
	return e < 0 ? e : relay_came(r, m->rest.len);
}

static int on_slot(struct relay *r, const struct mail *m)
{
	/* As TAKEN: those from there on are shown again. */
	int e = mailbox_take(r->mailbox, m->rest);

	r->slot_kept = r->slot_kept || e == -ENOKEY;
	if (!r->slot_kept)
		r->ledger.slots = m->slots;
	return taken(r, e);
}

static int on_lack(struct relay *r, const struct mail *m)
{
	mailbox_lacks(r->mailbox, m->rest);
	r->busy = true;
	return 0;
}

static int on_item(struct relay *r, const struct mail *m)
{
	return take(r, m->rest);
}

static int on_none(struct relay *r, const struct mail *m)
{
	mailbox_chunks_lacked(r->mailbox, m->rest);
	return 0;
}

static int on_acl_set(struct relay *r, const struct mail *m)
{
	r->acl_version = m->version;
	r->acl_said = false;
	return 0;
}

static int on_pong(struct relay *r, const struct mail *m)
{
	uint64_t now = monotonic_us();

	if (m->time_ms != r->liveness.token || m->time_ms > now)
		return 0;
	r->rtt_us = (int64_t)(now - m->time_ms);
	/* How long it was silent, or an upload took, says nothing about how far away it is. */
	if (!r->liveness.in_doubt && r->liveness.slack_ms < RELAY_MEASURE_MS)
		ranking_measured(&r->rank, now - m->time_ms, now / 1000);
	if (ranking_is_unsure(&r->rank))
		relay_ping(r);
	return 0;
}

static int on_error(struct relay *r, const struct mail *m)
{
	bool unknown = m->code == MAIL_ERROR_UNKNOWN && r->state == RELAY_KNOCKING;
	if (unknown && !relay_may_administer(r)) {
		relay_refuse(r, "it has no mailbox of this database: a device that manages it has "
				"to come first");
		return -ECONNREFUSED;
	}
	if (unknown) {
		say_acl(r, MAIL_CREATE, 1);
		return 0;
	}
	AUTO(free_ptr) char *text = log_quote(m->text.data, m->text.len);
	if (r->state == RELAY_OPEN && m->request > 0 && m->code != MAIL_ERROR_GAP) {
		/* It has no room, or no time: what others put is taken all the same. */
		(void)snprintf(r->error, sizeof(r->error), "%s", text);
		r->held_ms = r->held_ms ? r->held_ms : monotonic_ms() + RELAY_REFUSED_MS;
		return 0;
	}
	relay_refuse(r, text);
	/* All that was not receipted is put again, when it is open again. */
	if (m->code == MAIL_ERROR_GAP ||
	    (m->code == MAIL_ERROR_ACL && r->attempt < RELAY_UNLISTED_MAX))
		r->refused = false;
	return -ECONNREFUSED;
}

static int on_rendezvous(struct relay *r, const struct mail *m)
{
	return r->state == RELAY_OPEN ? rendezvous_receive(r->rendezvous, m) : -EPROTO;
}

int relay_handle(void *ctx, struct slice message)
{
	static int (*const handlers[])(struct relay * r, const struct mail *m) = {
		[MAIL_OPENED] = on_opened,
		[MAIL_RECEIPT] = on_receipt,
		[MAIL_PUSH] = on_push,
		[MAIL_HAVE] = on_have,
		[MAIL_ACL_SET] = on_acl_set,
		[MAIL_ERROR] = on_error,
		[MAIL_PLACED] = on_placed,
		[MAIL_SLOT] = on_slot,
		[MAIL_LACK] = on_lack,
		[MAIL_ITEM] = on_item,
		[MAIL_NONE] = on_none,
		[MAIL_PONG] = on_pong,
		[MAIL_READS] = relay_smart_on_reads,
		[MAIL_CERT] = relay_smart_on_cert,
		[MAIL_STREAM] = relay_smart_on_stream,
		[MAIL_PASSED] = relay_smart_on_passed,
		[MAIL_WAITS] = on_rendezvous,
		[MAIL_KNOCK] = on_rendezvous,
		[MAIL_PASS] = on_rendezvous,
		[MAIL_HANG_UP] = on_rendezvous,
	};
	struct relay *r = ctx;
	struct mail m;
	int e = mail_decode(message, &m);

	if (e == 0)
		e = (size_t)m.type < countof(handlers) && handlers[m.type] ? handlers[m.type](r, &m)
									   : -EPROTO;
	if (e == -EBADMSG || e == -EPROTO)
		relay_refuse(r, "it said what a relay would not say, or left something out");
	return e;
}
