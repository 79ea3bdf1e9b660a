/* net/trunk and net/ride, with a WebSocket that is only two queues. Prints "ok NAME" for each test. */
#include "net/ride.h"
#include "net/trunk.h"

#include "core/thread.h"

#include "tests/unit/check.h"

#include <string.h>

/* ---- instead of net/ws.c -------------------------------------------------------------------- */

#define CONNS 16

struct ws {
	int unused;
};

struct ws_conn {
	const struct ws_handler *handler;
	void *user;
	struct ws_conn *other; /* NULL: nobody answers yet */
	struct ride_queue in;
	struct endpoint remote;
	bool wants;
	bool trusted;
	bool closing;
};

static struct ws_conn *conns[CONNS];
static size_t conn_count;

static struct ws_conn *conn_new(const struct ws_handler *handler, void *user)
{
	struct ws_conn *c = xcalloc(1, sizeof(*c));

	CHECK(conn_count < CONNS);
	c->handler = handler;
	c->user = user;
	conns[conn_count++] = c;
	return c;
}

struct ws_conn *ws_dial_with(struct ws *w, const struct endpoint *e, const struct ws_tls *tls,
			     uint64_t deadline_ms, const struct ws_handler *handler, void *user)
{
	struct ws_conn *c = conn_new(handler, user);

	(void)w;
	(void)tls;
	(void)deadline_ms;
	c->remote = *e;
	return c;
}

void ws_use(struct ws_conn *c, const struct ws_handler *handler)
{
	c->handler = handler;
}

void ws_want_write(struct ws_conn *c)
{
	c->wants = true;
}

void ws_close(struct ws_conn *c)
{
	c->closing = true;
}

void ws_trust(struct ws_conn *c)
{
	c->trusted = true;
}

const struct endpoint *ws_remote(const struct ws_conn *c)
{
	return &c->remote;
}

uint64_t ws_frame_bytes(size_t len, bool masked)
{
	return len + 2 + (masked ? 4 : 0);
}

static void conn_end(struct ws_conn *c)
{
	size_t i = 0;

	while (conns[i] != c)
		i++;
	conns[i] = conns[--conn_count];
	if (c->other) {
		c->other->other = NULL;
		c->other->closing = true;
	}
	c->handler->closed(c->user, "");
	ride_queue_fini(&c->in);
	free(c);
}

/* One step of one connection: false when there was nothing to do. */
static bool conn_step(struct ws_conn *c)
{
	AUTO(buf_fini) struct buf out = {0};

	if (c->closing && c->in.at == c->in.count) {
		conn_end(c);
		return true;
	}
	if (ride_queue_pop(&c->in, &out)) {
		c->closing = c->handler->received(c->user, buf_slice(&out)) < 0 || c->closing;
		return true;
	}
	if (!c->wants || !c->other)
		return false;
	int r = c->handler->writable(c->user, &out);
	c->wants = r > 0;
	if (r > 0)
		ride_queue_push(&c->other->in, buf_slice(&out));
	c->closing = c->closing || r < 0;
	return true;
}

static void run(void)
{
	for (size_t i = 0; i < conn_count;)
		i = conn_step(conns[i]) ? 0 : i + 1;
}

/* ---- two devices ---------------------------------------------------------------------------- */

#define TALKS 8

/* A conversation in a lane: says so many messages, each its number. */
struct talk {
	struct lane *lane;
	bool connected;
	bool closed;
	bool retired;
	unsigned to_say;
	unsigned said;
	unsigned heard;
	char hello;
	bool end; /* when all is said */
};

struct side {
	struct trunks *trunks;
	struct talk talks[TALKS]; /* those that were offered */
	size_t talk_count;
	bool hold; /* what is offered waits */
	bool refuse;
	bool due;
};

static struct side a, b;
static uint8_t id_a[DIGEST_BYTES] = {1}, id_b[DIGEST_BYTES] = {2};

static void on_connected(void *user)
{
	struct talk *t = user;

	CHECK(!t->connected && !t->closed);
	t->connected = true;
	lane_want_write(t->lane);
}

static int on_received(void *user, struct slice m)
{
	struct talk *t = user;

	CHECK(!t->closed && m.len == 2);
	CHECK(m.data[1] == t->heard);
	t->hello = (char)m.data[0];
	t->heard++;
	return 0;
}

static int on_writable(void *user, struct buf *out)
{
	struct talk *t = user;

	CHECK(!t->closed);
	if (t->said == t->to_say)
		return t->end ? -ECANCELED : 0;
	buf_u8(out, (uint8_t)t->hello);
	buf_u8(out, (uint8_t)t->said++);
	return 1;
}

static void on_closed(void *user, const char *reason)
{
	struct talk *t = user;

	(void)reason;
	CHECK(!t->closed);
	t->closed = true;
}

static void on_retired(void *user)
{
	struct talk *t = user;

	t->retired = true;
	lane_close(t->lane);
}

static const struct lane_handler talk_handler = {
	.connected = on_connected,
	.received = on_received,
	.writable = on_writable,
	.closed = on_closed,
	.retired = on_retired,
};

static void take(struct side *s, struct talk *t)
{
	if (!s->hold)
		trunks_take(t->lane, &talk_handler, t);
}

static void offered(void *ctx, struct lane *l, struct slice hello)
{
	struct side *s = ctx;

	(void)hello;
	if (s->refuse)
		return;
	CHECK(s->talk_count < TALKS);
	struct talk *t = &s->talks[s->talk_count++];
	*t = (struct talk){.lane = l};
	l->handler = &talk_handler;
	l->user = t;
	take(s, t);
}

static void due(void *ctx)
{
	struct side *s = ctx;

	s->due = true;
}

static void settle(uint64_t now)
{
	for (int i = 0; i < 20; i++) {
		run();
		(void)trunks_tick(a.trunks, now);
		(void)trunks_tick(b.trunks, now);
	}
}

static void start(void)
{
	const struct trunks_options o = {.offered = offered, .due = due};
	struct trunks_options oa = o, ob = o;

	a = (struct side){0};
	b = (struct side){0};
	oa.own_id = id_a;
	oa.ctx = &a;
	ob.own_id = id_b;
	ob.ctx = &b;
	a.trunks = trunks_create(&oa);
	b.trunks = trunks_create(&ob);
}

static void finish(void)
{
	while (conn_count > 0)
		conn_end(conns[0]);
	trunks_destroy(a.trunks);
	trunks_destroy(b.trunks);
}

/* Whoever is dialled answers: every dialled connection without an other side gets one at `to`. */
static void answer(struct side *to)
{
	for (size_t i = 0; i < conn_count; i++) {
		struct ws_conn *c = conns[i];

		if (c->other || c->closing)
			continue;
		struct ws_conn *o = conn_new(NULL, NULL);
		o->other = c;
		c->other = o;
		o->user = trunks_accept(to->trunks, o);
		c->handler->connected(c->user);
	}
}

static void dial(struct side *s, const uint8_t *device, struct talk *t)
{
	const struct endpoint e = {.host = "192.0.2.1", .port = 7};
	const struct lane_target target = {.at = &e, .device = device, .deadline_ms = 1000};

	t->lane = trunks_dial(s->trunks, &target, &talk_handler, t);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_lanes_share_a_connection_and_wait_for_the_first(void)
{
	struct talk x = {.to_say = 1, .hello = 'x'}, y = {.to_say = 3, .hello = 'y'};

	start();
	dial(&a, id_b, &x);
	dial(&a, id_b, &y);
	CHECK(conn_count == 1);
	answer(&b);
	settle(1);
	CHECK(x.connected && !y.connected && b.talk_count == 1 && b.talks[0].heard == 1);
	lane_trust(b.talks[0].lane, id_a);
	lane_trust(x.lane, id_b);
	settle(1);
	CHECK(y.connected && b.talk_count == 2 && b.talks[1].heard == 3);
	CHECK(b.talks[0].hello == 'x' && b.talks[1].hello == 'y' && conn_count == 2);
	/* The side that was dialled opens lanes in it, too. */
	struct talk z = {.to_say = 2, .hello = 'z'};
	dial(&b, id_a, &z);
	settle(1);
	CHECK(conn_count == 2 && a.talk_count == 1 && a.talks[0].heard == 2);
	finish();
	CHECK(x.closed && y.closed && z.closed && b.talks[0].closed && a.talks[0].closed);
}

static void test_lane_that_ends_leaves_the_others(void)
{
	struct talk x = {.to_say = 1}, y = {.to_say = 1};

	start();
	dial(&a, id_b, &x);
	dial(&a, id_b, &y);
	answer(&b);
	settle(1);
	lane_trust(b.talks[0].lane, id_a);
	lane_trust(x.lane, id_b);
	settle(1);
	x.end = true;
	lane_want_write(x.lane);
	settle(1);
	CHECK(x.closed && b.talks[0].closed && !y.closed && conn_count == 2);
	y.to_say = 2;
	lane_want_write(y.lane);
	settle(1);
	CHECK(b.talks[1].heard == 2);
	lane_close(b.talks[1].lane);
	settle(1);
	CHECK(y.closed && b.talks[1].closed);
	CHECK(conn_count == 0); /* the last one puts out the light */
	finish();
}

static void test_waiting_lanes_end_with_the_first(void)
{
	struct talk x = {.to_say = 1}, y = {.to_say = 1};

	start();
	b.refuse = true;
	dial(&a, id_b, &x);
	dial(&a, id_b, &y);
	answer(&b);
	settle(1);
	CHECK(x.closed && y.closed && !y.connected && conn_count == 0);
	finish();
}

static void test_one_of_two_connections_stays(void)
{
	struct talk x = {.to_say = 1}, y = {.to_say = 1};

	start();
	dial(&a, id_b, &x);
	answer(&b);
	dial(&b, id_a, &y);
	answer(&a);
	CHECK(conn_count == 4);
	settle(1);
	lane_trust(x.lane, id_b);
	lane_trust(b.talks[0].lane, id_a);
	lane_trust(y.lane, id_a);
	lane_trust(a.talks[0].lane, id_b);
	settle(1);
	settle(TRUNK_RETIRE_MS - 1);
	CHECK(conn_count == 4 && !x.retired);
	settle(1 + TRUNK_RETIRE_MS);
	CHECK(x.retired && !y.retired && conn_count == 2);
	finish();
}

static void test_doubtful_connection_is_not_used_until_it_speaks(void)
{
	struct talk x = {.to_say = 1}, y = {.to_say = 1}, z = {.to_say = 1};

	start();
	dial(&a, id_b, &x);
	answer(&b);
	settle(1);
	lane_trust(b.talks[0].lane, id_a);
	lane_trust(x.lane, id_b);
	lane_doubt(x.lane);
	dial(&a, id_b, &y);
	CHECK(conn_count == 3);
	lane_close(y.lane);
	settle(1);
	CHECK(conn_count == 2 && y.closed);
	b.talks[0].to_say = 1;
	lane_want_write(b.talks[0].lane);
	settle(1);
	CHECK(x.heard == 1);
	dial(&a, id_b, &z);
	settle(1);
	CHECK(conn_count == 2 && z.connected);
	finish();
}

/* What a stranger or a member says that no device would: `ends` = the whole connection does. */
static void hostile(struct ws_conn *c, const void *bytes, size_t len, bool ends)
{
	CHECK((c->handler->received(c->user, SLICE(bytes, len)) < 0) == ends);
}

static struct ws_conn *stranger(void)
{
	struct ws_conn *c = conn_new(NULL, NULL);

	c->user = trunks_accept(b.trunks, c);
	return c;
}

static void test_strangers_have_one_lane(void)
{
	start();
	struct ws_conn *c = stranger();
	hostile(c, "\1\0\0", 3, false);
	CHECK(b.talk_count == 1 && b.talks[0].heard == 1);
	hostile(c, "\3\0\0", 3, true);
	finish();
	start();
	c = stranger();
	hostile(c, "", 0, true);
	finish();
	start();
	c = stranger();
	hostile(c, "\0x", 2, true);
	finish();
	start();
	c = stranger();
	hostile(c, "\2\0\0", 3, true); /* one of ours */
	finish();
	start();
	c = stranger();
	hostile(c, "\1", 1, true); /* ends what never was */
	finish();
	start();
	c = stranger();
	hostile(c, "\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", 12, true);
	finish();
	CHECK(b.talk_count == 0);
}

static void test_members_have_limits(void)
{
	uint8_t m[3] = {0, 0, 0};

	start();
	struct ws_conn *c = stranger();
	hostile(c, "\5\0\0", 3, false); /* any number to begin with, then growing */
	lane_trust(b.talks[0].lane, id_a);
	hostile(c, "\3\0\0", 3, false); /* as if it were over */
	CHECK(b.talk_count == 1);
	b.refuse = true;
	for (int i = 0; i < 200; i++) {
		m[0] = (uint8_t)(i < 60 ? 7 + 2 * i : 127);
		hostile(c, m, 3, false);
	}
	b.refuse = false;
	settle(1);
	CHECK(b.talk_count == 1 && !b.talks[0].closed);
	finish();
	/* What is offered and not taken waits; LANE_OFFERS_MAX of them. */
	start();
	c = stranger();
	hostile(c, "\1\0\0", 3, false);
	lane_trust(b.talks[0].lane, id_a);
	b.hold = true;
	size_t count = 1;
	for (int i = 0; i < LANE_OFFERS_MAX; i++) {
		m[0] = (uint8_t)(3 + 2 * i);
		if (count < TALKS)
			hostile(c, m, 3, false);
		count = b.talk_count;
	}
	CHECK(b.talk_count == TALKS);
	/* Who goes on before there is an answer is cut off, alone. */
	hostile(c, "\3\0\1", 3, false);
	settle(1);
	CHECK(b.talks[1].closed && !b.talks[0].closed && !b.talks[2].closed);
	finish();
}

static void test_conversation_without_numbers(void)
{
	start();
	struct ws_conn *c = stranger();
	struct ws_conn *far = conn_new(&(const struct ws_handler){0}, NULL);
	conn_count--; /* only a queue */
	c->other = far;
	hostile(c, "B\0", 2, false);
	CHECK(b.talk_count == 1 && b.talks[0].hello == 'B');
	b.talks[0].to_say = 1;
	lane_want_write(b.talks[0].lane);
	AUTO(buf_fini) struct buf out = {0};
	CHECK(c->handler->writable(c->user, &out) == 1 && out.len == 2 && out.data[0] == 'B');
	hostile(c, "x\1", 2, false);
	CHECK(b.talks[0].heard == 2);
	c->other = NULL;
	free(far);
	finish();
}

static void test_everything_that_riders_say(void)
{
	const uint8_t device[DIGEST_BYTES] = {7};
	struct ride got;

	for (int kind = RIDE_HELLO; kind < RIDE_KINDS; kind++) {
		AUTO(buf_fini) struct buf out = {0};
		struct ride m = {.kind = (enum ride_kind)kind, .lane = 300};

		if (kind == RIDE_DIAL || kind == RIDE_TRUST)
			m.device = device;
		if (kind == RIDE_DIAL || kind == RIDE_OPENED || kind == RIDE_OFFER)
			m.at = (struct endpoint){.host = "/a/socket", .port = 70};
		if (kind == RIDE_HELLO || kind == RIDE_DIAL || kind == RIDE_MORE ||
		    kind == RIDE_LISTENING)
			m.number = 99;
		if (kind == RIDE_OFFER || kind == RIDE_DATA || kind >= RIDE_LISTEN)
			m.content = SLICE_STR("content");
		ride_encode(&m, &out);
		CHECK(ride_decode(buf_slice(&out), &got) == 0);
		CHECK(got.kind == m.kind && got.lane == 300 && got.number == m.number);
		CHECK(strcmp(got.at.host, m.at.host) == 0 && got.at.port == m.at.port);
		CHECK(slice_eq(got.content, m.content));
		CHECK((got.device != NULL) == (m.device != NULL));
		CHECK(!m.device || memcmp(got.device, device, sizeof(device)) == 0);
		if (m.content.len == 0 && kind != RIDE_TRUST) {
			for (size_t n = 0; n < out.len; n++)
				CHECK(kind == RIDE_CLOSE ||
				      ride_decode(SLICE(out.data, n), &got) < 0);
		}
	}
	CHECK(ride_decode(SLICE("\0\1", 2), &got) < 0);
	CHECK(ride_decode(SLICE("\x0f\1", 2), &got) < 0);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"lanes share a connection", test_lanes_share_a_connection_and_wait_for_the_first},
		{"a lane's end", test_lane_that_ends_leaves_the_others},
		{"waiting lanes", test_waiting_lanes_end_with_the_first},
		{"one of two connections stays", test_one_of_two_connections_stays},
		{"doubt", test_doubtful_connection_is_not_used_until_it_speaks},
		{"strangers", test_strangers_have_one_lane},
		{"members", test_members_have_limits},
		{"without numbers", test_conversation_without_numbers},
		{"ride", test_everything_that_riders_say},
	};

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		tests[i].run();
		(void)printf("ok %s\n", tests[i].name);
	}
	return 0;
}
