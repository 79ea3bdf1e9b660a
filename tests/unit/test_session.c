/* A relay's connection, with a WebSocket that is nothing: who may wait there, and who is put through. */
#include "net/mailaddr.h"
#include "net/transport.h"
#include "relay/session.h"
#include "relay/store.h"

#include "tests/unit/check.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- instead of net/ws.c -------------------------------------------------------------------- */

struct ws_conn {
	struct endpoint remote;
	bool trusted;
};

void ws_want_write(struct ws_conn *c)
{
	(void)c;
}

void ws_close(struct ws_conn *c)
{
	(void)c;
}

void ws_trust(struct ws_conn *c)
{
	c->trusted = true;
}

const struct endpoint *ws_remote(const struct ws_conn *c)
{
	return &c->remote;
}

/* ---- the relay ------------------------------------------------------------------------------ */

static const struct id mailbox = {{5}};
static struct keys *relay_keys, *manager, *writer;
static struct session_host host;

static uint64_t wall(void)
{
	return 1000000;
}

static uint64_t durable(void *ctx)
{
	(void)ctx;
	return 0;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static void nothing_of_box(void *ctx, struct box *b)
{
	(void)ctx;
	(void)b;
}

static void gone(void *ctx, struct session *s)
{
	(void)ctx;
	(void)s;
}

/* ---- a device's end of a connection --------------------------------------------------------- */

struct client {
	struct ws_conn ws;
	struct session *session;
	struct transport *transport;
	struct mail last; /* of WAITS, KNOCK, PASS, HANG_UP, ERROR */
	struct buf text;  /* what it borrows */
	unsigned heard;
};

static int hear(void *ctx, struct slice message)
{
	struct client *c = ctx;
	struct mail m;

	buf_clear(&c->text);
	buf_slice_append(&c->text, message);
	CHECK(mail_decode(buf_slice(&c->text), &m) == 0);
	if (m.type >= MAIL_WAIT || m.type == MAIL_ERROR) {
		c->last = m;
		c->heard++;
	}
	return 0;
}

static void up(void *ctx)
{
	(void)ctx;
}

/* Moves all there is; < 0: the relay closes. */
static int carry(struct client *c)
{
	for (bool any = true; any;) {
		AUTO(buf_fini) struct buf out = {0};
		int r = transport_next(c->transport, &out);

		any = r > 0;
		if (any && (r = session_received(c->session, buf_slice(&out))) < 0)
			return r;
		buf_clear(&out);
		r = session_writable(c->session, &out);
		if (r < 0)
			return r;
		any = any || r > 0;
		if (r > 0 && (r = transport_receive(c->transport, buf_slice(&out))) < 0)
			return r;
	}
	return 0;
}

static void connect_to(struct client *c, const struct keys *keys)
{
	const struct transport_options o = {
		.keys = keys,
		.handler = {.up = up, .message = hear, .ctx = c},
		.initiator = true,
		.mode = HELLO_RELAY,
		.secret = host.psk,
		.expect_pk = keys_device(relay_keys)->dh_pk,
	};

	*c = (struct client){.ws = {.remote = {.host = "10.0.0.1"}}};
	c->session = session_create(&host, &c->ws);
	c->transport = transport_create(&o);
	CHECK(carry(c) == 0 && transport_state(c->transport) == TRANSPORT_UP && c->ws.trusted);
}

static int tell(struct client *c, const struct mail *m)
{
	struct buf message = {0};

	mail_encode(m, &message);
	transport_send(c->transport, &message);
	return carry(c);
}

static void hang_up(struct client *c)
{
	session_closed(c->session, "");
	transport_destroy(c->transport);
	buf_fini(&c->text);
}

static void add(struct mail_acl *acl, const struct keys *keys, uint8_t rights)
{
	struct mail_acl_entry *e = &acl->entries[acl->count++];

	memcpy(e->dh_pk, keys_device(keys)->dh_pk, sizeof(e->dh_pk));
	memcpy(e->sign_pk, keys_device(keys)->sign_pk, sizeof(e->sign_pk));
	e->rights = rights;
	mail_acl_sort(acl);
}

static void create(struct client *c)
{
	struct mail_acl_entry entries[2];
	struct mail_acl acl = {.mailbox = mailbox, .version = 1, .entries = entries};
	AUTO(buf_fini) struct buf bytes = {0};

	add(&acl, manager, MAIL_GET_RIGHT | MAIL_PUT_RIGHT | MAIL_ADMIN_RIGHT);
	add(&acl, writer, MAIL_GET_RIGHT | MAIL_PUT_RIGHT);
	mail_acl_encode(&acl, manager, &bytes);
	CHECK(tell(c, &(struct mail){.type = MAIL_CREATE, .rest = buf_slice(&bytes)}) == 0);
}

/* ---- the tests -------------------------------------------------------------------------------- */

static void test_only_administrators_wait(void)
{
	struct client a, b, early;
	const struct mail wait = {.type = MAIL_WAIT, .request = 1, .nameplate = 100001};

	connect_to(&early, manager);
	CHECK(tell(&early, &wait) == -EPROTO); /* of which mailbox? */
	hang_up(&early);
	connect_to(&a, manager);
	create(&a);
	connect_to(&b, writer);
	CHECK(tell(&b, &(struct mail){.type = MAIL_OPEN, .mailbox = mailbox}) == 0);
	CHECK(tell(&b, &wait) == 0 && b.last.type == MAIL_WAITS && b.last.code == MAIL_ERROR_ACL);
	CHECK(splice_count(host.splices) == 0);
	CHECK(tell(&a, &wait) == 0 && a.last.type == MAIL_WAITS && a.last.code == 0);
	/* What one waits for, another cannot end, nor speak in. */
	CHECK(tell(&b, &(struct mail){.type = MAIL_UNWAIT, .request = 1}) == 0);
	CHECK(tell(&b, &(struct mail){.type = MAIL_PASS, .request = 1, .rest = SLICE_STR("x")}) == 0);
	CHECK(splice_count(host.splices) == 1);
	hang_up(&a);
	CHECK(splice_count(host.splices) == 0);
	hang_up(&b);
}

static void knock(struct ws_conn *ws, struct session **ret)
{
	struct hello h = {.version_min = HELLO_VERSION_MIN,
			  .version_max = HELLO_VERSION,
			  .mode = HELLO_CODE,
			  .nameplate = 100001};
	AUTO(buf_fini) struct buf hello = {0};

	*ws = (struct ws_conn){.remote = {.host = "10.0.0.2"}};
	hello_encode(&h, &hello);
	*ret = session_create(&host, ws);
	CHECK(session_received(*ret, buf_slice(&hello)) == 0);
}

static void test_who_knocks_is_put_through(void)
{
	struct client a;
	struct ws_conn ws;
	struct session *guest = NULL;
	AUTO(buf_fini) struct buf out = {0};
	struct hello_answer answer;

	/* Nobody waits: an answer as from any device that knows nothing of it, and the end. */
	knock(&ws, &guest);
	CHECK(!ws.trusted && session_writable(guest, &out) == 1);
	CHECK(hello_answer_decode(buf_slice(&out), &answer) == 0 && answer.status == HELLO_UNKNOWN);
	buf_clear(&out);
	CHECK(session_writable(guest, &out) < 0);
	session_closed(guest, "");

	connect_to(&a, manager);
	CHECK(tell(&a, &(struct mail){.type = MAIL_OPEN, .mailbox = mailbox}) == 0);
	CHECK(tell(&a, &(struct mail){.type = MAIL_WAIT, .request = 9, .nameplate = 100001}) == 0);
	knock(&ws, &guest);
	CHECK(ws.trusted && session_writable(guest, &out) == 0);
	CHECK(carry(&a) == 0 && a.last.type == MAIL_KNOCK && a.last.request == 9);
	CHECK(tell(&a, &(struct mail){.type = MAIL_PASS, .request = 9, .rest = SLICE_STR("yes?")}) ==
	      0);
	CHECK(session_writable(guest, &out) == 1 && slice_eq(buf_slice(&out), SLICE_STR("yes?")));
	CHECK(session_received(guest, SLICE_STR("it is me")) == 0 && carry(&a) == 0);
	CHECK(a.last.type == MAIL_PASS && slice_eq(a.last.rest, SLICE_STR("it is me")));
	session_closed(guest, "");
	CHECK(carry(&a) == 0 && a.last.type == MAIL_HANG_UP && a.last.request == 9);
	hang_up(&a);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

#define RUN(name) (test_##name(), (void)printf("ok " #name "\n"))

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	const struct box_limits limits = {.boxes = 4, .box_bytes = 1 << 20, .box_items = 1000};
	const struct splice_ops ops = {.say = session_say, .wake = session_wake};
	struct relay_store *store = NULL;
	struct why why = {""};
	char base[256];

	digest_init();
	(void)snprintf(base, sizeof(base), "%s/blaze-session-XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(base));
	struct keys **const keys[] = {&relay_keys, &manager, &writer};
	for (size_t i = 0; i < countof(keys); i++) {
		AUTO(free_ptr) char *path = xasprintf("%s/key%zu", base, i);

		CHECK(keys_create(path, "one", keys[i], &why) == 0);
	}
	host = (struct session_host){
		.keys = relay_keys,
		.psk = {7},
		.splices = splice_create(&ops),
		.rate = 100,
		.burst = 100,
		.now_ms = wall,
		.durable = durable,
		.written = nothing,
		.changed = nothing_of_box,
		.slot_changed = nothing_of_box,
		.later = nothing,
		.gone = gone,
	};
	CHECK(relay_store_open_leveldb(base, &store, &why) == 0);
	CHECK(boxes_create(store, &limits, &host.boxes) == 0);
	const struct copies_options copies = {.home = base, .keys = relay_keys, .news = nothing};
	CHECK(copies_create(&copies, &host.copies, &why) == 0);
	RUN(only_administrators_wait);
	RUN(who_knocks_is_put_through);
	copies_destroy(host.copies);
	splice_destroy(host.splices);
	boxes_destroy(host.boxes);
	for (size_t i = 0; i < countof(keys); i++)
		keys_destroy(*keys[i]);
	CHECK(nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
