/*
 * Many devices at one relay, in one process: each has keys of its own, a connection with a real handshake, and says what a mount
 * says: OPEN, HAVE?, TAKEN, its slot, and now and then a PUT. There is nothing in what they put but the time, so what is
 * measured is the relay (and this process, which does the work of all devices).
 *
 *   relayload ADDRESS DIR DEVICES PER_SECOND SECONDS     DIR: where keys are made
 *
 * Prints {"devices":...,"puts":...,"deliveries":...,"p50_ms":...,"p99_ms":...,"max_ms":...,"receipt_p99_ms":...}.
 */
#include "core/thread.h"
#include "core/mailbox.h"
#include "net/mail.h"
#include "net/mailaddr.h"
#include "net/transport.h"
#include "net/ws.h"
#include "tests/bench/measure.h"

/* The relay does not let more strangers than that knock at a time, from one address. */
#define KNOCKING_MAX 16
#define TICK_MS 4
#define ITEM_BYTES 400
/* As net/relay.h has them. */
#define TAKEN_NS UINT64_C(100000000)
#define SLOT_BYTES_S 8192
#define FEED_BYTES 27
#define DIAL_MS 10000

struct client {
	struct keys *keys;
	struct ws_conn *ws;
	struct transport *transport;
	bool dialled;
	bool open;
	struct id tag;
	struct id slot_tag;
	uint64_t seq;
	uint64_t request;
	uint64_t cursor;
	uint64_t taken_ns; /* when TAKEN is said; 0 = nothing came */
	uint64_t slot_ns;
	uint64_t put_ns; /* of the request that a receipt is awaited for */
	uint64_t put_request;
};

static struct {
	struct ws *ws;
	struct mailaddr address;
	struct id mailbox;
	struct client *clients;
	size_t count;
	size_t open;
	size_t dialled;
	uint64_t per_second;
	uint64_t seconds;
	uint64_t start_ns;
	uint64_t puts;
	double *latencies;
	size_t delivered;
	double *receipts;
	size_t receipted;
	bool done;
} load;

static void fail(const char *what)
{
	(void)fprintf(stderr, "relayload: %s\n", what);
	exit(1);
}

static void say(struct client *c, const struct mail *m)
{
	struct buf message = {0};

	mail_encode(m, &message);
	transport_send(c->transport, &message);
	buf_fini(&message);
	ws_want_write(c->ws);
}

static void say_put(struct client *c, uint8_t kind, const struct id *tag, size_t len)
{
	AUTO(buf_fini) struct buf item = {0};
	uint64_t now = now_ns();

	buf_u8(&item, kind);
	buf_be64(&item, 0); /* the first epoch */
	id_write(&item, tag);
	if (kind == MAILBOX_ENVELOPE) {
		buf_varint(&item, ++c->seq);
		buf_varint(&item, 1);
	}
	buf_be64(&item, now);
	size_t at = item.len;
	buf_resize(&item, item.len + len);
	random_bytes(item.data + at, len);
	say(c, &(struct mail){.type = MAIL_PUT, .request = ++c->request, .rest = buf_slice(&item)});
	if (kind == MAILBOX_ENVELOPE && c->put_ns == 0) {
		c->put_ns = now;
		c->put_request = c->request;
	}
}

/* ---- what the relay says ------------------------------------------------------------------------- */

static void make_mailbox(struct client *c)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct mail_acl acl = {.mailbox = load.mailbox, .version = 1, .count = load.count};

	acl.entries = xcalloc(load.count, sizeof(*acl.entries));
	for (size_t i = 0; i < load.count; i++) {
		const struct device *d = keys_device(load.clients[i].keys);

		memcpy(acl.entries[i].dh_pk, d->dh_pk, sizeof(d->dh_pk));
		memcpy(acl.entries[i].sign_pk, d->sign_pk, sizeof(d->sign_pk));
		acl.entries[i].rights = MAIL_GET_RIGHT | MAIL_PUT_RIGHT | MAIL_ADMIN_RIGHT;
	}
	mail_acl_sort(&acl);
	mail_acl_encode(&acl, c->keys, &bytes);
	free(acl.entries);
	say(c, &(struct mail){.type = MAIL_CREATE, .rest = buf_slice(&bytes)});
}

static void on_push(struct client *c, const struct mail *m)
{
	struct mailbox_item item;

	if (mailbox_item_decode(m->rest, &item) < 0 || m->cursor != c->cursor + 1)
		fail("an item that is not the next, or is none");
	struct reader r = reader_init(item.sealed);
	load.latencies[load.delivered++] = (double)(now_ns() - reader_be64(&r)) / 1e6;
	c->cursor = m->cursor;
	if (c->taken_ns == 0)
		c->taken_ns = now_ns() + TAKEN_NS;
}

static void on_receipt(struct client *c, const struct mail *m)
{
	if (c->put_ns == 0 || m->request < c->put_request)
		return;
	load.receipts[load.receipted++] = (double)(now_ns() - c->put_ns) / 1e6;
	c->put_ns = 0;
}

static int on_message(void *ctx, struct slice message)
{
	struct client *c = ctx;
	struct mail m;

	if (mail_decode(message, &m) < 0)
		fail("a message that is none");
	if (m.type == MAIL_ERROR && m.code == MAIL_ERROR_UNKNOWN) {
		make_mailbox(c);
	} else if (m.type == MAIL_ERROR) {
		(void)fprintf(stderr, "relayload: the relay: %.*s\n", (int)m.text.len,
			      (const char *)m.text.data);
		exit(1);
	} else if (m.type == MAIL_OPENED) {
		say(c, &(struct mail){.type = MAIL_HAVE_ASK});
	} else if (m.type == MAIL_HAVE) {
		c->open = true;
		load.open++;
	} else if (m.type == MAIL_PUSH) {
		on_push(c, &m);
	} else if (m.type == MAIL_PLACED) {
		if (m.cursor != c->cursor + 1)
			fail("a place that is not the next");
		c->cursor = m.cursor;
	} else if (m.type == MAIL_RECEIPT) {
		on_receipt(c, &m);
	}
	return 0;
}

static void on_up(void *ctx)
{
	struct client *c = ctx;

	ws_trust(c->ws);
	say(c, &(struct mail){.type = MAIL_OPEN, .mailbox = load.mailbox});
}

static void on_connected(void *user)
{
	struct client *c = user;
	uint8_t psk[32];
	const struct transport_options o = {
		.keys = c->keys,
		.handler = {.up = on_up, .message = on_message, .ctx = c},
		.initiator = true,
		.mode = HELLO_RELAY,
		.secret = psk,
		.expect_pk = load.address.dh_pk,
	};

	mailaddr_psk(load.address.token, psk);
	c->transport = transport_create(&o);
	ws_want_write(c->ws);
}

static int on_received(void *user, struct slice message)
{
	struct client *c = user;
	int r = transport_receive(c->transport, message);

	ws_want_write(c->ws);
	return r;
}

static int on_writable(void *user, struct buf *out)
{
	struct client *c = user;

	return transport_next(c->transport, out);
}

static void on_closed(void *user, const char *reason)
{
	struct client *c = user;

	if (!load.done)
		fail(reason[0] ? reason : "the relay has hung up");
	transport_destroy(STEAL(c->transport));
	c->ws = NULL;
}

static const struct ws_handler client_handler = {
	.connected = on_connected,
	.received = on_received,
	.writable = on_writable,
	.closed = on_closed,
};

/* ---- the load ------------------------------------------------------------------------------------ */

/* The first one alone: it makes the mailbox. */
static void dial(void)
{
	while (load.dialled < load.count && load.dialled < load.open + KNOCKING_MAX &&
	       (load.dialled == 0 || load.open > 0)) {
		struct client *c = &load.clients[load.dialled++];

		c->ws = ws_dial_with(load.ws, &load.address.endpoint, NULL, DIAL_MS,
				     &client_handler, c);
	}
}

static void tick_client(struct client *c, uint64_t now)
{
	if (c->taken_ns == 0 || now < c->taken_ns)
		return;
	c->taken_ns = 0;
	say(c, &(struct mail){.type = MAIL_TAKEN, .cursor = c->cursor, .first = c->cursor});
	if (now < c->slot_ns)
		return;
	c->slot_ns = now + load.count * FEED_BYTES * UINT64_C(1000000000) / SLOT_BYTES_S;
	say_put(c, MAILBOX_SLOT, &c->slot_tag, load.count * FEED_BYTES);
}

static void on_timer(void *ctx)
{
	uint64_t now = now_ns();

	(void)ctx;
	dial();
	if (load.open == load.count && load.start_ns == 0)
		load.start_ns = now;
	uint64_t due = load.start_ns ? (now - load.start_ns) * load.per_second / 1000000000 : 0;
	uint64_t all = load.per_second * load.seconds;
	while (load.puts < due && load.puts < all) {
		/* In an order that is no order, but the same each time. */
		struct client *c = &load.clients[load.puts++ * 7919 % load.count];

		say_put(c, MAILBOX_ENVELOPE, &c->tag, ITEM_BYTES);
	}
	for (size_t i = 0; i < load.count; i++) {
		if (load.clients[i].open)
			tick_client(&load.clients[i], now);
	}
	if (load.delivered == all * (load.count - 1))
		load.done = true;
	if (load.start_ns && now > load.start_ns + (load.seconds + 60) * UINT64_C(1000000000))
		fail("a minute after the last change not everybody has it");
	ws_set_timer(load.ws, TICK_MS);
	if (load.done)
		ws_wake(load.ws);
}

static void on_woken(void *ctx)
{
	(void)ctx;
}

static void make_clients(const char *dir)
{
	struct why why = {""};
	char path[512];

	load.clients = xcalloc(load.count, sizeof(*load.clients));
	for (size_t i = 0; i < load.count; i++) {
		struct client *c = &load.clients[i];

		(void)snprintf(path, sizeof(path), "%s/key%zu", dir, i);
		if (keys_create(path, "load", &c->keys, &why) < 0)
			fail(why.text);
		random_bytes(c->tag.b, sizeof(c->tag.b));
		random_bytes(c->slot_tag.b, sizeof(c->slot_tag.b));
	}
	uint64_t all = load.per_second * load.seconds;
	load.latencies = xcalloc(all * load.count, sizeof(double));
	load.receipts = xcalloc(all, sizeof(double));
	random_bytes(load.mailbox.b, sizeof(load.mailbox.b));
}

static void print_result(void)
{
	double seconds = (double)(now_ns() - load.start_ns) / 1e9;

	qsort(load.latencies, load.delivered, sizeof(double), compare_rates);
	qsort(load.receipts, load.receipted, sizeof(double), compare_rates);
	printf("{\"devices\":%zu,\"puts\":%llu,\"deliveries\":%zu,\"seconds\":%.1f,\"p50_ms\":%.2f,"
	       "\"p99_ms\":%.2f,\"max_ms\":%.2f,\"receipt_p99_ms\":%.2f}\n",
	       load.count, (unsigned long long)load.puts, load.delivered, seconds,
	       at_percent(load.latencies, load.delivered, 50),
	       at_percent(load.latencies, load.delivered, 99), load.latencies[load.delivered - 1],
	       at_percent(load.receipts, load.receipted, 99));
}

int main(int argc, char **argv)
{
	const struct ws_handler handler = {
		.woken = on_woken, .timer = on_timer, .connected = on_connected};
	struct why why = {""};

	if (argc != 6)
		fail("ADDRESS DIR DEVICES PER_SECOND SECONDS");
	digest_init();
	if (mailaddr_parse(argv[1], &load.address, &why) < 0)
		fail(why.text);
	load.count = strtoul(argv[3], NULL, 10);
	load.per_second = strtoul(argv[4], NULL, 10);
	load.seconds = strtoul(argv[5], NULL, 10);
	if (load.count < 2 || load.per_second == 0 || load.seconds == 0)
		fail("at least two devices, one change a second, and a second");
	make_clients(argv[2]);
	load.ws = ws_create(&handler, NULL);
	if (!load.ws)
		fail("cannot use the network: too many open files?");
	ws_set_timer(load.ws, 1);
	while (!load.done) {
		if (ws_service(load.ws) < 0)
			fail("the network cannot go on");
	}
	print_result();
	ws_destroy(load.ws);
	for (size_t i = 0; i < load.count; i++)
		keys_destroy(load.clients[i].keys);
	return 0;
}
