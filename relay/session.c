/* What the relay says on one connection, and what it makes of what it is told. */
#include "relay/session.h"

#include "core/log.h"
#include "core/thread.h"
#include "net/transport.h"

#include <stdlib.h>
#include <string.h>

/* Requests that are not on stable storage yet: a client does not have more open than that. */
#define PENDING_MAX 65536

/* A request that waits for stable storage; cursor and chain are the log's end then. */
struct pending {
	uint64_t request;
	uint64_t written;
	uint64_t cursor;
	uint8_t chain[DIGEST_BYTES];
};

/* Where in the log a PUT of this connection is; or what was sent and not taken. */
struct at {
	uint64_t cursor;
	uint64_t value; /* its request; or its bytes */
};

struct queue {
	struct at *items;
	size_t first;
	size_t count;
};

struct session {
	const struct session_host *host;
	struct ws_conn *ws;
	struct transport *transport;
	uint8_t dh_pk[KEYS_PK_BYTES];
	struct box *box;
	struct seat *seat; /* SMART; NULL until a mailbox is open */
	struct id log; /* of the mailbox when it was opened: another one now means that it was begun anew */
	uint8_t rights;
	uint64_t cursor;  /* sent up to here */
	bool waits;	  /* nothing of the log before HOLD */
	uint64_t held_to; /* what is held is passed over up to here */
	struct holds holds;
	uint64_t slots;
	uint64_t window; /* bytes sent and not taken */
	struct queue placed;
	struct queue sent;
	struct pending *pending;
	size_t pending_count;
	struct buf wanted; /* tags of chunks to be sent */
	size_t wanted_at;
	double tokens; /* items that may be put */
	uint64_t tokens_ms;
	double slot_tokens; /* bytes of slots that may be said */
	uint64_t slot_tokens_ms;
	struct splice_guest *guest; /* it knocked: no mailbox, and no transport of ours */
	enum hello_status knocked;  /* what it is answered otherwise */
	bool refused; /* a PUT was: no later one is taken, for it may need the one that is not there */
	bool ending;
};

static void queue_add(struct queue *q, uint64_t cursor, uint64_t value)
{
	if (q->first > 1024 && q->first > q->count / 2) {
		memmove(q->items, q->items + q->first, (q->count - q->first) * sizeof(*q->items));
		q->count -= q->first;
		q->first = 0;
	}
	q->items = xreallocarray(q->items, q->count + 1, sizeof(*q->items));
	q->items[q->count++] = (struct at){cursor, value};
}

static struct at *queue_first(const struct queue *q)
{
	return q->first < q->count ? &q->items[q->first] : NULL;
}

/* ---- saying -------------------------------------------------------------------------------------- */

static void say(struct session *s, const struct mail *m)
{
	struct buf message = {0};

	mail_encode(m, &message);
	transport_send(s->transport, &message);
	buf_fini(&message);
}

static int say_error(struct session *s, uint64_t request, int error)
{
	static const struct {
		int error;
		enum mail_error code;
		const char *text;
	} texts[] = {
		{-EDQUOT, MAIL_ERROR_QUOTA, "the mailbox has reached its quota"},
		{-EBUSY, MAIL_ERROR_RATE, "too much in too short a time"},
		{-EACCES, MAIL_ERROR_ACL, "this device is not on the list of the mailbox"},
		{-ENOSPC, MAIL_ERROR_FULL, "the relay's disk is full"},
		{-EIO, MAIL_ERROR_FULL, "the relay cannot write to its disk"},
		{-ENOENT, MAIL_ERROR_UNKNOWN, "there is no such mailbox"},
		{-ENOTCONN, MAIL_ERROR_GAP, "what comes before this is not there"},
		{-ESTALE, MAIL_ERROR_GAP, "the list was changed meanwhile"},
	};

	for (size_t i = 0; i < countof(texts); i++) {
		if (texts[i].error != error)
			continue;
		say(s, &(struct mail){.type = MAIL_ERROR,
				      .request = request,
				      .code = (uint8_t)texts[i].code,
				      .text = SLICE_STR(texts[i].text)});
		return 0;
	}
	return error;
}

/* Says RECEIPT `request` when all that is written by now is on stable storage. 0: PROOF. */
static int promise(struct session *s, uint64_t request)
{
	struct pending *p = NULL;

	if (s->pending_count >= PENDING_MAX)
		return -EPROTO;
	if (s->pending_count > 0 &&
	    s->pending[s->pending_count - 1].written == boxes_written(s->host->boxes))
		p = &s->pending[s->pending_count - 1]; /* one will do for both */
	if (!p) {
		s->pending = xreallocarray(s->pending, s->pending_count + 1, sizeof(*s->pending));
		p = &s->pending[s->pending_count++];
		*p = (struct pending){0};
	}
	p->request = request > p->request ? request : p->request;
	p->written = boxes_written(s->host->boxes);
	p->cursor = s->box->head;
	memcpy(p->chain, s->box->head_chain, sizeof(p->chain));
	s->host->written(s->host->ctx);
	return 0;
}

static bool next_receipt(struct session *s)
{
	uint64_t durable = s->host->durable(s->host->ctx);
	uint64_t request = 0;
	size_t n = 0;

	while (n < s->pending_count && s->pending[n].written <= durable) {
		request = s->pending[n].request > request ? s->pending[n].request : request;
		n++;
	}
	if (n == 0)
		return false;
	struct mail m = {
		.type = MAIL_RECEIPT,
		.request = request,
		.mailbox = s->box->id,
		.log = s->log,
		.cursor = s->pending[n - 1].cursor,
		.time_ms = s->host->now_ms(),
		.durable = 1,
	};
	memcpy(m.chain, s->pending[n - 1].chain, sizeof(m.chain));
	mail_sign_receipt(s->host->keys, &m);
	say(s, &m);
	s->pending_count -= n;
	memmove(s->pending, s->pending + n, s->pending_count * sizeof(*s->pending));
	return true;
}

/* A bucket that fills with `rate` a second up to `most`. */
static void fill_up(double *tokens, uint64_t *at_ms, double rate, double most)
{
	uint64_t now = monotonic_ms();

	*tokens += (double)(now - *at_ms) * rate / 1000;
	*tokens = *tokens > most ? most : *tokens;
	*at_ms = now;
}

static bool may_say_slot(struct session *s)
{
	fill_up(&s->slot_tokens, &s->slot_tokens_ms, SESSION_SLOT_BYTES_S, SESSION_SLOT_BURST);
	if (s->slot_tokens < 0)
		s->host->later(s->host->ctx);
	return s->slot_tokens >= 0;
}

static int next_slot(struct session *s)
{
	AUTO(buf_fini) struct buf item = {0};

	if (s->slots >= s->box->slot_last || !may_say_slot(s))
		return 0;
	int r = box_next_slot(s->box, &s->slots, &item);
	if (r <= 0)
		return r;
	s->slot_tokens -= (double)item.len;
	say(s, &(struct mail){.type = MAIL_SLOT, .slots = s->slots, .rest = buf_slice(&item)});
	return r;
}

/* HOLD: an item that the device has becomes a stub. */
static bool is_held(const struct session *s, uint64_t cursor, struct buf *item)
{
	struct mailbox_item head;
	struct buf stub = {0};

	if (cursor > s->held_to || mailbox_head_decode(buf_slice(item), &head) < 0 ||
	    !holds_cover(&s->holds, &head))
		return false;
	mail_stub(buf_slice(item), &stub);
	buf_fini(item);
	*item = stub;
	return true;
}

static int next_of_log(struct session *s)
{
	AUTO(buf_fini) struct buf item = {0};
	const struct at *placed = queue_first(&s->placed);

	if (s->waits || s->cursor >= s->box->head || s->window >= SESSION_WINDOW_BYTES)
		return 0;
	if (s->cursor < s->box->first)
		return -ESTALE; /* trimmed under a slow reader: it has to open again */
	uint64_t cursor = s->cursor + 1;
	if (placed && placed->cursor == cursor) {
		say(s,
		    &(struct mail){.type = MAIL_PLACED, .cursor = cursor, .request = placed->value});
		s->placed.first++;
		s->cursor = cursor;
		return 1;
	}
	int r = box_read(s->box, cursor, &item);
	if (r < 0)
		return r;
	bool held = is_held(s, cursor, &item);
	s->cursor = cursor;
	s->window += item.len;
	queue_add(&s->sent, cursor, item.len);
	say(s, &(struct mail){.type = held ? MAIL_PASSED : MAIL_PUSH,
			      .cursor = cursor,
			      .rest = buf_slice(&item)});
	return 1;
}

static int next_chunk(struct session *s)
{
	AUTO(buf_fini) struct buf item = {0};
	struct id tag;

	if (s->wanted_at + sizeof(tag) > s->wanted.len)
		return 0;
	memcpy(tag.b, s->wanted.data + s->wanted_at, sizeof(tag));
	s->wanted_at += sizeof(tag);
	if (s->wanted_at == s->wanted.len) {
		buf_clear(&s->wanted);
		s->wanted_at = 0;
	}
	int r = box_get_chunk(s->box, &tag, &item);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r < 0)
		say(s, &(struct mail){.type = MAIL_NONE, .rest = SLICE(tag.b, sizeof(tag))});
	else
		say(s, &(struct mail){.type = MAIL_ITEM, .rest = buf_slice(&item)});
	return 1;
}

/* SMART: READS, and the stream of the copy. */
static int next_of_copy(struct session *s)
{
	struct buf message = {0};
	int r = seat_next(s->seat, &message);

	if (r > 0)
		transport_send(s->transport, &message);
	buf_fini(&message);
	return r;
}

/* Whether this device may use the mailbox, and how. */
static bool is_admitted(struct session *s, struct box *b)
{
	const struct mail_acl_entry *e = mail_acl_find(&b->acl, s->dh_pk);

	s->rights = e ? e->rights : 0;
	return s->rights != 0;
}

/* 1 = said something, 0 = nothing to say, < 0: the connection has to end. */
static int say_next(struct session *s)
{
	if (!s->box)
		return 0;
	if (!id_eq(&s->log, &s->box->log) || !is_admitted(s, s->box))
		return -ESTALE;
	if (next_receipt(s))
		return 1;
	if (!(s->rights & MAIL_GET_RIGHT))
		return 0;
	int r = next_of_copy(s);
	if (r == 0)
		r = next_of_log(s);
	if (r == 0)
		r = next_slot(s);
	return r != 0 ? r : next_chunk(s);
}

/* ---- what a client asks -------------------------------------------------------------------------- */

static void take_seat(struct session *s, struct mail *ret)
{
	uint8_t hash[NOISE_HASH_BYTES];
	bool reads = false;

	transport_hash(s->transport, hash);
	s->seat = seat_take(s->host->copies, &s->box->id, s->dh_pk, hash, &reads);
	ret->reads = reads;
}

static int opened(struct session *s, const struct mail *asked)
{
	struct box *b = s->box;
	struct mail m = {
		.type = MAIL_OPENED,
		.log = b->log,
		.first = b->first,
		.cursor = b->head,
		.version = b->acl.version,
		.acl = mail_acl_id(&b->acl),
	};

	s->log = b->log;
	if (id_eq(&asked->log, &b->log) && asked->cursor <= b->head) {
		m.first = asked->cursor > b->first ? asked->cursor : b->first;
		s->slots = asked->slots;
	}
	int r = box_chain(b, m.first, m.chain);
	if (r < 0)
		return r;
	s->cursor = m.first;
	s->waits = asked->waits != 0;
	s->held_to = b->head;
	memcpy(m.sign_pk, keys_device(s->host->keys)->sign_pk, sizeof(m.sign_pk));
	take_seat(s, &m);
	say(s, &m);
	return 0;
}

static int on_open(struct session *s, const struct mail *m)
{
	struct box *b = NULL;
	int r = s->box ? -EPROTO : box_open(s->host->boxes, &m->mailbox, &b);

	if (r < 0)
		return say_error(s, 0, r);
	if (!is_admitted(s, b)) {
		box_unref(b);
		return say_error(s, 0, -EACCES);
	}
	s->box = b;
	/* What is too old is not given out, however long nobody had it open. */
	r = box_trim(b, SESSION_TRIM_ITEMS, s->host->now_ms());
	if (r < 0)
		log_warn("cannot trim a mailbox: %s", strerror(-r));
	return opened(s, m);
}

/* A new mailbox is administered by who makes it. */
static int check_first_acl(const struct session *s, struct slice bytes, struct id *ret_mailbox)
{
	struct mail_acl acl;
	int r = mail_acl_decode(bytes, &acl);

	if (r < 0)
		return r;
	const struct mail_acl_entry *e = mail_acl_find(&acl, s->dh_pk);
	if (acl.version != 1 || !e || !(e->rights & MAIL_ADMIN_RIGHT) ||
	    !mail_acl_is_signed(bytes, e->sign_pk))
		r = -EACCES;
	*ret_mailbox = acl.mailbox;
	mail_acl_fini(&acl);
	return r;
}

static int on_create(struct session *s, const struct mail *m)
{
	struct mail asked = {.type = MAIL_OPEN};
	struct box *b = NULL;
	int r = s->box ? -EPROTO : check_first_acl(s, m->rest, &asked.mailbox);

	if (r < 0)
		return say_error(s, 0, r);
	r = box_open(s->host->boxes, &asked.mailbox, &b);
	if (r == 0) {
		box_unref(b);
		return on_open(s, &asked); /* somebody was faster */
	}
	if (r == -ENOENT)
		r = box_create(s->host->boxes, m->rest, s->host->now_ms(), &b);
	if (r < 0)
		return say_error(s, 0, r);
	log_info("a mailbox was made; there are %llu",
		 (unsigned long long)boxes_count(s->host->boxes));
	s->box = b;
	(void)is_admitted(s, b);
	s->host->written(s->host->ctx);
	return opened(s, &asked);
}

/* RATE: a bucket of `burst` items that fills with `rate` a second. */
static bool may_put(struct session *s)
{
	fill_up(&s->tokens, &s->tokens_ms, (double)s->host->rate, (double)s->host->burst);
	if (s->tokens < 1)
		return false;
	s->tokens -= 1;
	return true;
}

static int put_once(struct session *s, const struct mail *m, const struct mailbox_item *item)
{
	uint64_t cursor = 0;
	int r;

	if (item->kind == MAILBOX_CHUNK)
		return box_put_chunk(s->box, &item->tag, m->rest, s->host->now_ms());
	if (item->kind == MAILBOX_SLOT)
		return m->rest.len > SESSION_SLOT_BYTES_MAX
			       ? -EDQUOT
			       : box_put_slot(s->box, s->dh_pk, m->rest);
	r = box_append(s->box, item, m->rest, s->host->now_ms(), &cursor);
	if (r > 0)
		queue_add(&s->placed, cursor, m->request);
	return r;
}

/* A full mailbox may hold what everybody has taken. */
static int put(struct session *s, const struct mail *m, const struct mailbox_item *item)
{
	int r = put_once(s, m, item);

	if (r == -EDQUOT && box_trim(s->box, SESSION_TRIM_ITEMS, s->host->now_ms()) > 0)
		r = put_once(s, m, item);
	return r;
}

static int on_put(struct session *s, const struct mail *m)
{
	struct mailbox_item item;
	int r = mailbox_item_decode(m->rest, &item);

	if (r < 0 || s->refused)
		return r;
	/* What a device says it has taken is heard from all who may take. */
	uint8_t needed = item.kind == MAILBOX_SLOT ? MAIL_GET_RIGHT : MAIL_PUT_RIGHT;
	if (!(s->rights & needed))
		r = -EACCES;
	else if (!id_eq(&s->log, &s->box->log))
		r = -ESTALE; /* it follows what another log held: here would be a gap */
	else
		r = may_put(s) ? put(s, m, &item) : -EBUSY;
	if (r < 0) {
		s->refused = true;
		return say_error(s, m->request, r);
	}
	if (item.kind == MAILBOX_SLOT)
		s->host->slot_changed(s->host->ctx, s->box);
	else if (r > 0)
		s->host->changed(s->host->ctx, s->box);
	return promise(s, m->request);
}

static int on_taken(struct session *s, const struct mail *m)
{
	for (const struct at *a; (a = queue_first(&s->sent)) && a->cursor <= m->first;) {
		s->window -= a->value;
		s->sent.first++;
	}
	if (m->cursor > s->cursor || m->first > s->cursor)
		return -EPROTO;
	int r = box_take(s->box, s->dh_pk, m->cursor, s->host->now_ms());
	return r < 0 ? say_error(s, 0, r) : promise(s, 0);
}

static int on_have_ask(struct session *s, const struct mail *m)
{
	AUTO(buf_fini) struct buf list = {0};

	(void)m;
	for (size_t i = 0; i < s->box->feed_count; i++) {
		id_write(&list, &s->box->feeds[i].tag);
		buf_varint(&list, s->box->feeds[i].seq);
	}
	say(s, &(struct mail){.type = MAIL_HAVE, .rest = buf_slice(&list)});
	return 0;
}

static int on_acl(struct session *s, const struct mail *m)
{
	int r = s->rights & MAIL_ADMIN_RIGHT ? box_set_acl(s->box, m->rest) : -EACCES;

	if (r < 0)
		return say_error(s, 0, r);
	say(s, &(struct mail){.type = MAIL_ACL_SET, .version = s->box->acl.version});
	s->host->written(s->host->ctx);
	s->host->changed(s->host->ctx, s->box);
	return 0;
}

static int on_lack_ask(struct session *s, const struct mail *m)
{
	AUTO(buf_fini) struct buf list = {0};
	struct reader r = reader_init(m->rest);

	if (m->rest.len > MAIL_LIST_TAGS_MAX * sizeof(struct id) ||
	    m->rest.len % sizeof(struct id) != 0)
		return -EBADMSG;
	while (reader_left(&r) > 0) {
		struct id tag = id_read(&r);

		if (!box_has_chunk(s->box, &tag))
			id_write(&list, &tag);
	}
	say(s, &(struct mail){.type = MAIL_LACK, .rest = buf_slice(&list)});
	return 0;
}

static int on_get(struct session *s, const struct mail *m)
{
	if (m->rest.len % sizeof(struct id) != 0 ||
	    s->wanted.len + m->rest.len > MAIL_LIST_TAGS_MAX * sizeof(struct id))
		return -EBADMSG;
	buf_slice_append(&s->wanted, m->rest);
	return 0;
}

static int on_refill(struct session *s, const struct mail *m)
{
	(void)m;
	int r = box_refill(s->box, s->host->now_ms());
	if (r > 0)
		s->host->changed(s->host->ctx, s->box);
	return r < 0 ? say_error(s, 0, r) : 0;
}

static int on_hold(struct session *s, const struct mail *m)
{
	if (!s->waits)
		return -EPROTO;
	s->waits = false;
	return holds_decode(m->rest, &s->holds);
}

static int on_cert_ask(struct session *s, const struct mail *m)
{
	AUTO(buf_fini) struct buf cert = {0};

	(void)m;
	keys_cert(s->host->keys, &cert);
	say(s, &(struct mail){.type = MAIL_CERT, .rest = buf_slice(&cert)});
	return 0;
}

static int on_welcome(struct session *s, const struct mail *m)
{
	if (!(s->rights & MAIL_ADMIN_RIGHT))
		return say_error(s, 0, -EACCES);
	return seat_welcome(s->seat, m->rest);
}

static int on_stream(struct session *s, const struct mail *m)
{
	return s->rights & MAIL_GET_RIGHT ? seat_receive(s->seat, m->rest) : -EACCES;
}

static int on_ping(struct session *s, const struct mail *m)
{
	say(s, &(struct mail){.type = MAIL_PONG, .time_ms = m->time_ms});
	return 0;
}

/* ---- RENDEZVOUS --------------------------------------------------------------------------------- */

static int on_wait(struct session *s, const struct mail *m)
{
	/* Only who may let others in has invitations. */
	if (s->rights & MAIL_ADMIN_RIGHT)
		splice_wait(s->host->splices, s, m, monotonic_ms());
	else
		say(s, &(struct mail){
			       .type = MAIL_WAITS, .request = m->request, .code = MAIL_ERROR_ACL});
	return 0;
}

static int on_pass(struct session *s, const struct mail *m)
{
	splice_pass(s->host->splices, s, m);
	return 0;
}

static int on_leave(struct session *s, const struct mail *m)
{
	splice_leave(s->host->splices, s, m->request);
	return 0;
}

/* Whether the connection is somebody's who joins, and is let through. */
static bool knocks(struct session *s, struct slice message)
{
	if (transport_state(s->transport) != TRANSPORT_HELLO)
		return false;
	s->knocked = splice_knock(s->host->splices, message, ws_remote(s->ws), s, monotonic_ms(),
				  &s->guest);
	if (s->guest)
		ws_trust(s->ws); /* it has SPLICE_TALK_MS now, and limits of its own */
	return s->guest;
}

static int handle(void *ctx, struct slice message)
{
	static int (*const handlers[])(struct session * s, const struct mail *m) = {
		[MAIL_OPEN] = on_open,	       [MAIL_CREATE] = on_create,
		[MAIL_PUT] = on_put,	       [MAIL_TAKEN] = on_taken,
		[MAIL_HAVE_ASK] = on_have_ask, [MAIL_ACL] = on_acl,
		[MAIL_LACK_ASK] = on_lack_ask, [MAIL_GET] = on_get,
		[MAIL_REFILL] = on_refill,     [MAIL_PING] = on_ping,
		[MAIL_CERT_ASK] = on_cert_ask, [MAIL_WELCOME] = on_welcome,
		[MAIL_STREAM] = on_stream,     [MAIL_HOLD] = on_hold,
		[MAIL_WAIT] = on_wait,	       [MAIL_UNWAIT] = on_leave,
		[MAIL_PASS] = on_pass,	       [MAIL_HANG_UP] = on_leave,
	};
	struct session *s = ctx;
	struct mail m;
	int r = mail_decode(message, &m);

	if (r < 0)
		return r;
	if ((size_t)m.type >= countof(handlers) || !handlers[m.type])
		return -EPROTO;
	bool knocks = m.type == MAIL_OPEN || m.type == MAIL_CREATE || m.type == MAIL_PING;
	if (!s->box && !knocks)
		return -EPROTO;
	/* It may have been taken off the list since. */
	if (s->box && !is_admitted(s, s->box))
		return -EACCES;
	return handlers[m.type](s, &m);
}

/* ---- life ---------------------------------------------------------------------------------------- */

static enum hello_status lookup(void *ctx, const struct hello *h, uint8_t ret_secret[32])
{
	const struct session *s = ctx;

	if (h->mode != HELLO_RELAY)
		return s->knocked;
	memcpy(ret_secret, s->host->psk, 32);
	return HELLO_OK;
}

static void on_up(void *ctx)
{
	struct session *s = ctx;

	ws_trust(s->ws);
	transport_remote_pk(s->transport, s->dh_pk);
}

struct session *session_create(const struct session_host *host, struct ws_conn *ws)
{
	struct session *s = xcalloc(1, sizeof(*s));
	const struct transport_options o = {
		.keys = host->keys,
		.handler = {.lookup = lookup, .up = on_up, .message = handle, .ctx = s},
	};

	s->host = host;
	s->ws = ws;
	s->tokens = (double)host->burst;
	s->tokens_ms = monotonic_ms();
	s->slot_tokens = SESSION_SLOT_BURST;
	s->slot_tokens_ms = s->tokens_ms;
	s->transport = transport_create(&o);
	return s;
}

int session_received(void *user, struct slice message)
{
	struct session *s = user;

	if (s->guest)
		return splice_receive(s->guest, message);
	if (knocks(s, message))
		return 0;
	int r = transport_receive(s->transport, message);
	if (r < 0 && r != -ECANCELED)
		log_info("%s: closed: %s", ws_remote(s->ws)->host, strerror(-r));
	ws_want_write(s->ws);
	return r;
}

int session_writable(void *user, struct buf *out)
{
	struct session *s = user;
	int r = 1;

	if (s->guest)
		return splice_next(s->guest, out);
	while (r > 0 && !s->ending && transport_state(s->transport) == TRANSPORT_UP &&
	       transport_pending_bytes(s->transport) < SESSION_QUEUE_BYTES)
		r = say_next(s);
	if (r == -ESTALE) { /* it opens again, and is told how things are now */
		session_bye(s);
		r = 0;
	}
	return r < 0 ? r : transport_next(s->transport, out);
}

void session_closed(void *user, const char *reason)
{
	struct session *s = user;

	(void)reason;
	if (s->guest)
		splice_end(s->guest);
	splice_gone(s->host->splices, s);
	s->host->gone(s->host->ctx, s);
	seat_leave(s->seat);
	if (s->box)
		box_unref(s->box);
	transport_destroy(s->transport);
	free(s->placed.items);
	free(s->sent.items);
	free(s->pending);
	holds_fini(&s->holds);
	buf_fini(&s->wanted);
	free(s);
}

struct box *session_box(const struct session *s)
{
	return s->box;
}

void session_say(void *session, const struct mail *m)
{
	struct session *s = session;

	if (!s->ending)
		say(s, m);
	ws_want_write(s->ws);
}

void session_wake(void *session)
{
	struct session *s = session;

	ws_want_write(s->ws);
}

void session_wake_for_slots(struct session *s)
{
	if (s->box && s->slots < s->box->slot_last && may_say_slot(s))
		ws_want_write(s->ws);
}

void session_bye(struct session *s)
{
	s->ending = true;
	if (transport_state(s->transport) == TRANSPORT_UP)
		transport_bye(s->transport, CHANNEL_BYE_SHUTDOWN);
	else
		ws_close(s->ws);
	ws_want_write(s->ws);
}
