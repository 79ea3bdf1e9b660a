/* RENDEZVOUS at the relay: who may wait and knock, what passes, and every limit. */
#include "core/digest.h"
#include "net/attempts.h"
#include "net/transport.h"
#include "relay/splice.h"

#include <stdio.h>
#include <string.h>

/* The last thing that a device was told, and how often it and guests were. */
static struct {
	void *device;
	struct mail mail;
	struct buf rest;
	unsigned says, wakes;
} seen;

static void say(void *device, const struct mail *m)
{
	seen.device = device;
	seen.mail = *m;
	buf_clear(&seen.rest);
	buf_slice_append(&seen.rest, m->rest);
	seen.says++;
}

static void wake(void *connection)
{
	(void)connection;
	seen.wakes++;
}

static int desk, laptop;
static const struct splice_ops ops = {.say = say, .wake = wake};
static const struct endpoint near_by = {.host = "127.0.0.1", .port = 9};
static const uint64_t t0 = 1000000;

static void make_hello(enum hello_mode mode, uint32_t nameplate, uint8_t invite, struct buf *out)
{
	struct hello h = {.version_min = HELLO_VERSION_MIN,
			  .version_max = HELLO_VERSION,
			  .mode = mode,
			  .nameplate = nameplate};

	memset(h.invite, invite, sizeof(h.invite));
	buf_clear(out);
	hello_encode(&h, out);
}

static struct endpoint from(unsigned n)
{
	struct endpoint e = {.port = 9};

	(void)snprintf(e.host, sizeof(e.host), "10.0.%u.%u", n / 256, n % 256);
	return e;
}

static uint8_t wait_at(struct splices *v, void *device, uint64_t request, uint32_t nameplate,
		       uint8_t invite, uint64_t now)
{
	struct mail m = {.type = MAIL_WAIT, .request = request, .nameplate = nameplate};

	memset(m.invite, invite, sizeof(m.invite));
	splice_wait(v, device, &m, now);
	assert(seen.device == device && seen.mail.type == MAIL_WAITS && seen.mail.request == request);
	return seen.mail.code;
}

static enum hello_status knock(struct splices *v, uint32_t nameplate, const struct endpoint *e,
			       uint64_t now, struct splice_guest **ret)
{
	AUTO(buf_fini) struct buf hello = {0};

	make_hello(HELLO_CODE, nameplate, 0, &hello);
	return splice_knock(v, buf_slice(&hello), e, v, now, ret);
}

static void pass(struct splices *v, void *device, uint64_t request, size_t len)
{
	AUTO(buf_fini) struct buf bytes = {0};

	buf_resize(&bytes, len);
	memset(bytes.data, 7, len);
	splice_pass(v, device,
		    &(struct mail){.type = MAIL_PASS, .request = request, .rest = buf_slice(&bytes)});
}

static void test_messages_pass_unread_and_in_order(void)
{
	struct splices *v = splice_create(&ops);
	AUTO(buf_fini) struct buf out = {0};
	struct splice_guest *g = NULL;

	assert(wait_at(v, &desk, 5, 123456, 1, t0) == 0);
	assert(knock(v, 123456, &near_by, t0, &g) == HELLO_OK && g);
	assert(seen.mail.type == MAIL_KNOCK && seen.mail.request == 5 &&
	       seen.rest.data[0] == HELLO_MAGIC);
	pass(v, &desk, 5, 3);
	pass(v, &desk, 5, 4);
	assert(splice_receive(g, SLICE_STR("abc")) == 0);
	assert(seen.device == &desk && seen.mail.type == MAIL_PASS &&
	       slice_eq(buf_slice(&seen.rest), SLICE_STR("abc")));
	assert(splice_next(g, &out) == 1 && out.len == 3);
	buf_clear(&out);
	/* What is on its way when the device hangs up arrives. */
	splice_leave(v, &desk, 5);
	assert(splice_next(g, &out) == 1 && out.len == 4);
	assert(splice_next(g, &out) == -ECANCELED && splice_count(v) == 0);
	assert(splice_receive(g, SLICE_STR("late")) == 0);
	splice_end(g);
	splice_destroy(v);
}

static void test_one_knock_a_waiting(void)
{
	struct splices *v = splice_create(&ops);
	struct splice_guest *g = NULL, *second = NULL;

	assert(wait_at(v, &desk, 1, 100001, 1, t0) == 0);
	assert(knock(v, 100001, &near_by, t0, &g) == HELLO_OK);
	assert(knock(v, 100001, &near_by, t0, &second) == HELLO_BUSY && !second);
	splice_end(g);
	assert(seen.mail.type == MAIL_HANG_UP && seen.mail.request == 1);
	assert(knock(v, 100001, &near_by, t0, &second) == HELLO_UNKNOWN && !second);
	splice_destroy(v);
}

static void test_a_link_is_known_by_its_id(void)
{
	struct splices *v = splice_create(&ops);
	AUTO(buf_fini) struct buf hello = {0};
	struct splice_guest *g = NULL;

	assert(wait_at(v, &desk, 1, 100001, 0x11, t0) == 0);
	make_hello(HELLO_LINK, 0, 0x12, &hello);
	assert(splice_knock(v, buf_slice(&hello), &near_by, v, t0, &g) == HELLO_UNKNOWN);
	make_hello(HELLO_LINK, 0, 0x11, &hello);
	assert(splice_knock(v, buf_slice(&hello), &near_by, v, t0, &g) == HELLO_OK);
	splice_end(g);
	/* Nothing but an invitation is asked for here, and no noise. */
	make_hello(HELLO_SYNC, 0, 0, &hello);
	assert(splice_knock(v, buf_slice(&hello), &near_by, v, t0, &g) == HELLO_UNKNOWN);
	assert(splice_knock(v, SLICE_STR("B"), &near_by, v, t0, &g) == HELLO_UNKNOWN);
	splice_destroy(v);
}

static void test_who_may_wait(void)
{
	struct splices *v = splice_create(&ops);

	assert(wait_at(v, &desk, 1, 100001, 1, t0) == 0);
	assert(wait_at(v, &laptop, 1, 100001, 2, t0) == MAIL_ERROR_TAKEN);
	assert(wait_at(v, &laptop, 2, 100002, 1, t0) == MAIL_ERROR_TAKEN);
	assert(wait_at(v, &laptop, 3, 0, 3, t0) == MAIL_ERROR_TAKEN);
	assert(wait_at(v, &laptop, 4, HELLO_NAMEPLATE_MAX + 1, 4, t0) == MAIL_ERROR_TAKEN);
	/* Somebody else's cannot be taken away, one's own can. */
	splice_leave(v, &laptop, 1);
	assert(splice_count(v) == 1);
	splice_leave(v, &desk, 1);
	assert(wait_at(v, &laptop, 5, 100001, 1, t0) == 0);
	for (unsigned i = 1; i < SPLICE_PER_DEVICE_MAX; i++)
		assert(wait_at(v, &laptop, 100 + i, 200000 + i, (uint8_t)(100 + i), t0) == 0);
	assert(wait_at(v, &laptop, 300, 300000, 99, t0) == MAIL_ERROR_QUOTA);
	assert(wait_at(v, &desk, 300, 300000, 99, t0) == 0);
	splice_gone(v, &laptop);
	assert(splice_count(v) == 1);
	splice_destroy(v);
}

static void test_time(void)
{
	struct splices *v = splice_create(&ops);
	struct splice_guest *g = NULL;
	AUTO(buf_fini) struct buf out = {0};

	assert(wait_at(v, &desk, 1, 100001, 1, t0) == 0);
	splice_tick(v, t0 + SPLICE_WAIT_MS - 1);
	assert(splice_count(v) == 1);
	assert(knock(v, 100001, &near_by, t0 + SPLICE_WAIT_MS, &g) == HELLO_UNKNOWN);
	assert(splice_count(v) == 0);
	assert(wait_at(v, &desk, 2, 100001, 1, t0) == 0);
	assert(knock(v, 100001, &near_by, t0 + SPLICE_WAIT_MS - 1, &g) == HELLO_OK);
	splice_tick(v, t0 + SPLICE_WAIT_MS + SPLICE_TALK_MS - 2);
	assert(splice_count(v) == 1 && splice_next(g, &out) == 0);
	splice_tick(v, t0 + SPLICE_WAIT_MS + SPLICE_TALK_MS - 1);
	assert(splice_count(v) == 0 && splice_next(g, &out) == -ECANCELED);
	assert(seen.mail.type == MAIL_HANG_UP && seen.mail.request == 2);
	splice_end(g);
	splice_destroy(v);
}

static void test_bytes(void)
{
	struct splices *v = splice_create(&ops);
	struct splice_guest *g = NULL;
	AUTO(buf_fini) struct buf big = {0};
	AUTO(buf_fini) struct buf out = {0};
	const size_t piece = TRANSPORT_WIRE_BYTES_MAX;
	size_t n = 0;

	assert(wait_at(v, &desk, 1, 100001, 1, t0) == 0 &&
	       knock(v, 100001, &near_by, t0, &g) == HELLO_OK);
	buf_resize(&big, SPLICE_GUEST_BYTES);
	memset(big.data, 1, big.len);
	assert(splice_receive(g, buf_slice(&big)) == 0);
	assert(splice_receive(g, SLICE_STR("x")) == -EMSGSIZE);
	splice_end(g);

	assert(wait_at(v, &desk, 2, 100001, 1, t0) == 0 &&
	       knock(v, 100001, &near_by, t0, &g) == HELLO_OK);
	for (n = 0; splice_count(v) == 1; n++) {
		buf_clear(&out);
		pass(v, &desk, 2, piece);
		(void)splice_next(g, &out);
	}
	assert(n == SPLICE_DEVICE_BYTES / piece + 1);
	splice_end(g);

	/* A message longer than any; and one who does not read, with many others. */
	assert(wait_at(v, &desk, 3, 100001, 1, t0) == 0 &&
	       knock(v, 100001, &near_by, t0, &g) == HELLO_OK);
	pass(v, &desk, 3, piece + 1);
	assert(splice_count(v) == 0);
	splice_end(g);
	struct splice_guest *slow[5];
	size_t passed = 0;

	for (uint64_t i = 0; i < countof(slow); i++)
		assert(wait_at(v, &desk, 10 + i, 200000 + (uint32_t)i, (uint8_t)(10 + i), t0) == 0 &&
		       knock(v, 200000 + (uint32_t)i, &near_by, t0, &slow[i]) == HELLO_OK);
	for (uint64_t i = 0; splice_count(v) == countof(slow); i++, passed += piece)
		pass(v, &desk, 10 + i % countof(slow), piece);
	assert(passed >= SPLICE_QUEUED_BYTES && passed <= SPLICE_QUEUED_BYTES + piece);
	for (size_t i = 0; i < countof(slow); i++)
		splice_end(slow[i]);
	splice_destroy(v);
}

static void test_a_stranger_who_tries_numbers(void)
{
	struct splices *v = splice_create(&ops);
	struct splice_guest *g = NULL;
	struct endpoint one = from(1), other = from(2);
	uint32_t n = 200000;

	assert(wait_at(v, &desk, 1, 100001, 1, t0) == 0);
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
		assert(knock(v, n++, &one, t0, &g) == HELLO_UNKNOWN);
	assert(knock(v, 100001, &one, t0, &g) == HELLO_LATER && !g);
	/* Of IPv6, all of a /64 is one. */
	struct endpoint v6 = {.host = "2001:db8::1"}, beside = {.host = "2001:db8::ffff:2"};
	for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
		assert(knock(v, n++, &v6, t0, &g) == HELLO_UNKNOWN);
	assert(knock(v, 100001, &beside, t0, &g) == HELLO_LATER && !g);
	assert(knock(v, 100001, &other, t0, &g) == HELLO_OK);
	splice_end(g);
	splice_destroy(v);
}

static void test_many_strangers_who_try_numbers(void)
{
	struct splices *v = splice_create(&ops);
	struct splice_guest *g = NULL;
	AUTO(buf_fini) struct buf hello = {0};
	unsigned answered = 0;

	assert(wait_at(v, &desk, 1, 999999, 1, t0) == 0);
	for (unsigned i = 0; i < 3000; i++) {
		struct endpoint e = from(i);

		answered += knock(v, 100000 + i, &e, t0, &g) == HELLO_UNKNOWN;
	}
	assert(answered == SPLICE_MISSES_MINUTE);
	/* It costs those with a code a minute, those with a link nothing. */
	struct endpoint e = from(5000);
	assert(knock(v, 999999, &e, t0 + 59999, &g) == HELLO_LATER && !g);
	make_hello(HELLO_LINK, 0, 1, &hello);
	assert(splice_knock(v, buf_slice(&hello), &e, v, t0, &g) == HELLO_OK);
	splice_end(g);
	assert(wait_at(v, &desk, 2, 999999, 1, t0) == 0);
	assert(knock(v, 999999, &e, t0 + 60000, &g) == HELLO_OK);
	splice_end(g);
	splice_destroy(v);
}

static void test_guests(void)
{
	struct splices *v = splice_create(&ops);
	struct splice_guest *guests[SPLICE_GUESTS_MAX] = {0};
	struct splice_guest *g = NULL;
	struct endpoint one = from(1);
	static int devices[SPLICE_GUESTS_MAX + 1];
	uint32_t i = 0;

	for (i = 0; i <= SPLICE_GUESTS_MAX; i++)
		assert(wait_at(v, &devices[i], 1, 100000 + i, (uint8_t)(1 + i), t0) == 0);
	for (i = 0; i < SPLICE_GUESTS_PER_PLACE_MAX; i++)
		assert(knock(v, 100000 + i, &one, t0, &guests[i]) == HELLO_OK);
	assert(knock(v, 100000 + i, &one, t0, &g) == HELLO_LATER && !g);
	for (; i < SPLICE_GUESTS_MAX; i++)
		assert(knock(v, 100000 + i, &near_by, t0, &guests[i]) == HELLO_OK);
	assert(knock(v, 100000 + i, &near_by, t0, &g) == HELLO_LATER && !g);
	splice_end(guests[0]);
	assert(knock(v, 100000 + i, &near_by, t0, &guests[0]) == HELLO_OK);
	/* The devices go first: the guests are told. */
	for (i = 0; i <= SPLICE_GUESTS_MAX; i++)
		splice_gone(v, &devices[i]);
	assert(splice_count(v) == 0);
	for (i = 0; i < SPLICE_GUESTS_MAX; i++)
		splice_end(guests[i]);
	splice_destroy(v);
}

int main(void)
{
	digest_init();
	test_messages_pass_unread_and_in_order();
	test_one_knock_a_waiting();
	test_a_link_is_known_by_its_id();
	test_who_may_wait();
	test_time();
	test_bytes();
	test_a_stranger_who_tries_numbers();
	test_many_strangers_who_try_numbers();
	test_guests();
	buf_fini(&seen.rest);
	(void)printf("ok\n");
	return 0;
}
