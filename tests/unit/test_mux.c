/* net/mux and net/liveness, without a connection. Prints "ok NAME" for each test. */
#include "net/liveness.h"
#include "net/mux.h"

#include "tests/unit/check.h"

#include <string.h>

#define TAGS 3
#define CONTENT 'c' /* costs credit; anything else is free */

/* One side: which databases it has, and what it says and hears in the stream of each. */
struct database {
	bool here;
	bool open;
	uint64_t to_send; /* messages */
	size_t message_bytes;
	uint64_t free_to_send;
	uint64_t got;
	uint64_t got_free;
	uint64_t settled;
	int settle_result;
};

struct side {
	struct mux *mux;
	struct database db[TAGS];
};

static uint8_t tags[TAGS][MUX_TAG_BYTES];

static void *opened(void *ctx, const uint8_t tag[MUX_TAG_BYTES])
{
	struct side *s = ctx;

	for (size_t i = 0; i < TAGS; i++) {
		if (memcmp(tags[i], tag, MUX_TAG_BYTES) == 0 && s->db[i].here && !s->db[i].open) {
			s->db[i].open = true;
			return &s->db[i];
		}
	}
	return NULL;
}

static void closed(void *user)
{
	struct database *d = user;

	CHECK(d->open);
	d->open = false;
}

static int message(void *user, struct slice m)
{
	struct database *d = user;

	CHECK(d->open);
	if (m.data[0] == CONTENT)
		d->got++;
	else
		d->got_free++;
	return 0;
}

static int next(void *user, bool content, struct buf *out)
{
	struct database *d = user;

	buf_clear(out);
	if (d->free_to_send > 0) {
		d->free_to_send--;
		buf_u8(out, 'f');
		return 1;
	}
	if (d->to_send == 0 || !content)
		return 0;
	d->to_send--;
	buf_resize(out, d->message_bytes);
	out->data[0] = CONTENT;
	return 1;
}

static bool costs(struct slice m)
{
	return m.data[0] == CONTENT;
}

static int settle(void *user)
{
	struct database *d = user;

	d->settled++;
	return d->settle_result;
}

static void make(struct side s[2])
{
	memset(s, 0, 2 * sizeof(*s));
	for (size_t i = 0; i < TAGS; i++) {
		const uint8_t hash[32] = {7};
		const struct id id = {.b = {(uint8_t)i}};

		mux_tag(hash, &id, tags[i]);
		s[0].db[i] = s[1].db[i] = (struct database){.here = true, .message_bytes = 100000};
	}
	for (size_t i = 0; i < 2; i++) {
		const struct mux_handler h = {opened, closed, message, next, costs, settle, &s[i]};

		s[i].mux = mux_create(&h, i == 0);
	}
}

static void fini(struct side s[2])
{
	mux_destroy(s[0].mux);
	mux_destroy(s[1].mux);
}

static void open_stream(struct side *s, size_t i)
{
	s->db[i].open = true;
	CHECK(mux_open(s->mux, tags[i], &s->db[i]) == 0);
}

/* One message from a to b; false when a has nothing to say. */
static bool step(struct side *a, struct side *b)
{
	AUTO(buf_fini) struct buf m = {0};
	int r = mux_next(a->mux, &m);

	CHECK(r >= 0);
	if (r > 0)
		CHECK(mux_receive(b->mux, buf_slice(&m)) == 0);
	return r > 0;
}

static void run(struct side s[2])
{
	while ((int)step(&s[0], &s[1]) + (int)step(&s[1], &s[0]) > 0)
		;
}

static void test_streams_open_and_are_refused(void)
{
	struct side s[2];

	make(s);
	s[1].db[1].here = false;
	for (size_t i = 0; i < TAGS; i++)
		open_stream(&s[0], i);
	s[0].db[0].to_send = 5;
	s[0].db[1].to_send = 5;
	s[1].db[0].to_send = 3;
	run(s);
	CHECK(s[1].db[0].got == 5 && s[0].db[0].got == 3);
	CHECK(!s[0].db[1].open && s[1].db[1].got == 0); /* said at once, and dropped there */
	CHECK(mux_stream_count(s[0].mux) == 2 && mux_stream_count(s[1].mux) == 2);
	mux_close(s[1].mux, &s[1].db[2]);
	s[0].db[2].free_to_send = 1;
	run(s);
	CHECK(!s[0].db[2].open && mux_stream_count(s[0].mux) == 1);
	/* The other side opens, too. */
	s[1].db[1].here = true;
	open_stream(&s[1], 1);
	s[1].db[1].free_to_send = 2;
	run(s);
	CHECK(s[0].db[1].open && s[0].db[1].got_free == 2);
	fini(s);
}

static void test_sender_stops_without_credit(void)
{
	struct side s[2];
	AUTO(buf_fini) struct buf m = {0};
	uint64_t sent = 0;

	make(s);
	open_stream(&s[0], 0);
	CHECK(step(&s[0], &s[1]));
	s[0].db[0].to_send = 1000;
	while (mux_next(s[0].mux, &m) > 0)
		sent++;
	/* What began above zero goes out whole. */
	CHECK(sent == MUX_STREAM_CREDIT / 100000 + 1);
	CHECK(mux_is_owed(s[0].mux));
	s[0].db[0].free_to_send = 3;
	mux_ping(s[0].mux, 77);
	run(s);
	uint64_t token = 0;
	CHECK(s[1].db[0].got_free == 3 && mux_pong(s[0].mux, &token) && token == 77);
	CHECK(!mux_pong(s[0].mux, &token));
	CHECK(s[1].db[0].got == 0);
	fini(s);
}

static void test_all_arrives_and_is_settled(void)
{
	struct side s[2];

	make(s);
	for (size_t i = 0; i < TAGS; i++) {
		open_stream(&s[0], i);
		s[0].db[i].to_send = 500;
		s[1].db[i].to_send = 300;
	}
	s[0].db[2].message_bytes = 20u << 20; /* each far above the credit */
	s[0].db[2].to_send = 5;
	run(s);
	CHECK(s[1].db[0].got == 500 && s[1].db[1].got == 500 && s[1].db[2].got == 5);
	CHECK(s[0].db[0].got == 300 && s[0].db[1].got == 300 && s[0].db[2].got == 300);
	CHECK(s[1].db[0].settled >= 500 * 100000 / MUX_STREAM_CREDIT);
	CHECK(!mux_is_owed(s[0].mux));
	fini(s);
}

/* Many streams with a little each must not use up what they share, nor what was sent to one that ended. */
static void test_ended_streams_give_their_credit_back(void)
{
	struct side s[2];

	make(s);
	for (unsigned round = 0; round < 50; round++) {
		open_stream(&s[0], 0);
		s[0].db[0].to_send = 9;
		s[1].db[0].got = 0;
		run(s);
		CHECK(s[1].db[0].got == 9);
		s[0].db[0].to_send = 5;
		mux_close(s[1].mux, &s[1].db[0]); /* what is under way then is dropped */
		s[1].db[0].open = false;
		run(s);
		CHECK(!s[0].db[0].open);
	}
	fini(s);
}

static void test_disk_that_fails_ends_it(void)
{
	struct side s[2];
	AUTO(buf_fini) struct buf m = {0};
	int r = 0;

	make(s);
	open_stream(&s[0], 0);
	s[0].db[0].to_send = 100;
	s[1].db[0].settle_result = -28;
	while (r == 0 && mux_next(s[0].mux, &m) > 0)
		r = mux_receive(s[1].mux, buf_slice(&m));
	CHECK(r == -28);
	fini(s);
}

static void test_hostile_control(void)
{
	static const struct {
		const char *bytes;
		size_t len;
		int result;
	} cases[] = {
		{"", 0, -EBADMSG},
		{"\0", 1, -EBADMSG},
		{"\0\x09", 2, -EBADMSG},
		{"\0\x01\x01", 3, -EBADMSG},		       /* OPEN without a tag */
		{"\0\x01\x02xxxxxxxxxxxxxxxx", 19, -EPROTO},   /* the initiator's are odd */
		{"\0\x05\0\xff\xff\xff\xff\x7f", 8, -EBADMSG}, /* far too much credit */
		{"\0\x06xx", 4, -EBADMSG},
		{"\x05zz", 3, -EPROTO}, /* never opened */
		{"\x02zz", 3, -EPROTO}, /* ours, and we never opened it */
		{"\0\x03\x63", 3, 0},	/* refuses what is not there */
		{"\0\x04\x63", 3, 0},
		{"\0\x05\x63\x05", 4, 0},
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct side s[2];

		make(s);
		CHECK(mux_receive(s[1].mux, SLICE(cases[i].bytes, cases[i].len)) == cases[i].result);
		fini(s);
	}
	/* OPENs without end whose answers are not fetched. */
	struct side s[2];
	int r = 0;
	make(s);
	for (unsigned i = 0; r == 0 && i < 100000; i++) {
		AUTO(buf_fini) struct buf m = {0};

		buf_varint(&m, 0);
		buf_u8(&m, 1);
		buf_varint(&m, 2 * i + 1);
		buf_resize(&m, m.len + MUX_TAG_BYTES);
		r = mux_receive(s[1].mux, buf_slice(&m));
	}
	CHECK(r == -EPROTO);
	fini(s);
}

static void test_liveness(void)
{
	struct liveness l;

	liveness_start(&l, 1000);
	CHECK(liveness_due(&l) == 1000 + LIVENESS_QUIET_MS);
	CHECK(liveness_check(&l, 1000 + LIVENESS_QUIET_MS - 1, 5) == LIVENESS_GOOD);
	CHECK(liveness_check(&l, 1000 + LIVENESS_QUIET_MS, 5) == LIVENESS_ASK && l.token == 5);
	uint64_t asked = 1000 + LIVENESS_QUIET_MS;
	CHECK(liveness_due(&l) == asked + LIVENESS_ANSWER_MS);
	CHECK(liveness_check(&l, asked + LIVENESS_ANSWER_MS - 1, 6) == LIVENESS_GOOD);
	CHECK(liveness_check(&l, asked + LIVENESS_ANSWER_MS, 6) == LIVENESS_DEAD);
	liveness_start(&l, 0);
	l.lazy = true;
	CHECK(liveness_due(&l) > LIVENESS_QUIET_MS);
	/* A word in between, and it lives. */
	liveness_start(&l, 0);
	CHECK(liveness_check(&l, LIVENESS_QUIET_MS, 1) == LIVENESS_ASK);
	liveness_heard(&l, LIVENESS_QUIET_MS + LIVENESS_ANSWER_MS - 1);
	CHECK(liveness_check(&l, LIVENESS_QUIET_MS + LIVENESS_ANSWER_MS, 2) == LIVENESS_GOOD);
	/* Busy with much to store. */
	liveness_start(&l, 0);
	l.owed = true;
	CHECK(liveness_check(&l, LIVENESS_QUIET_MS, 1) == LIVENESS_ASK);
	CHECK(liveness_check(&l, LIVENESS_QUIET_MS + LIVENESS_ANSWER_MS, 1) == LIVENESS_GOOD);
	CHECK(liveness_check(&l, LIVENESS_QUIET_MS + LIVENESS_BUSY_MS, 1) == LIVENESS_DEAD);
}

static void test_liveness_in_a_hurry(void)
{
	struct liveness l;
	uint64_t now = 0;

	liveness_start(&l, now);
	l.waiting = true;
	CHECK(liveness_check(&l, LIVENESS_HURRY_MS, 1) == LIVENESS_ASK);
	CHECK(liveness_check(&l, 2 * LIVENESS_HURRY_MS - 1, 1) == LIVENESS_GOOD);
	CHECK(liveness_due(&l) == 2 * LIVENESS_HURRY_MS);
	CHECK(liveness_check(&l, 2 * LIVENESS_HURRY_MS, 1) == LIVENESS_IN_DOUBT);
	CHECK(liveness_due(&l) == LIVENESS_HURRY_MS + LIVENESS_ANSWER_MS); /* no spinning */
	CHECK(liveness_check(&l, LIVENESS_HURRY_MS + LIVENESS_ANSWER_MS, 1) == LIVENESS_DEAD);
	/* Answers come, but what waits goes on waiting: the PINGs become rare. */
	liveness_start(&l, now);
	l.waiting = true;
	unsigned pings = 0;
	for (; now < 100000; now++) {
		if (liveness_check(&l, now, 1) == LIVENESS_ASK) {
			pings++;
			liveness_heard(&l, now);
		}
	}
	CHECK(pings >= 10 && pings <= 14);
	liveness_said(&l);
	CHECK(liveness_due(&l) <= now + LIVENESS_HURRY_MS);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"streams open and are refused", test_streams_open_and_are_refused},
		{"sender stops without credit", test_sender_stops_without_credit},
		{"all arrives and is settled", test_all_arrives_and_is_settled},
		{"ended streams give their credit back", test_ended_streams_give_their_credit_back},
		{"disk that fails ends it", test_disk_that_fails_ends_it},
		{"hostile control", test_hostile_control},
		{"liveness", test_liveness},
		{"liveness in a hurry", test_liveness_in_a_hurry},
	};

	digest_init();
	for (size_t i = 0; i < countof(tests); i++) {
		tests[i].run();
		printf("ok %s\n", tests[i].name);
	}
	return 0;
}
