/* net/channel, net/transport and net/pair, without a socket. Prints "ok NAME" for each test. */
#include "net/channel.h"
#include "net/pair.h"
#include "net/transport.h"
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct keys *alice;
static struct keys *bob;
static struct keys *mallory;
static const uint8_t secret_a[32] = {1, 2, 3};
static const uint8_t secret_b[32] = {1, 2, 4};

static void from_hex(const char *hex, struct buf *out)
{
	unsigned byte = 0;

	for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
		buf_u8(out, (uint8_t)byte);
}

static void make_keys(void)
{
	static const char *const names[] = {"alice", "bob", "mallory"};
	struct keys **const all[] = {&alice, &bob, &mallory};
	char directory[] = "/tmp/test_channel.XXXXXX";
	struct why why = {0};

	CHECK(mkdtemp(directory));
	for (size_t i = 0; i < countof(names); i++) {
		AUTO(free_ptr) char *path = xasprintf("%s/%s", directory, names[i]);

		CHECK(keys_create(path, names[i], all[i], &why) == 0);
		(void)unlink(path);
	}
	CHECK(rmdir(directory) == 0);
}

/* ---- channels ------------------------------------------------------------------------------- */

static const struct channel_limits usual_limits = {1u << 16, 1u << 30, 1u << 20};

static void make_channels(const struct channel_limits *limits, struct channel *c[2])
{
	const enum noise_cipher cipher = noise_has_aes() ? NOISE_AESGCM : NOISE_CHACHAPOLY;
	struct noise_key to = {.cipher = cipher, .k = {1}};
	struct noise_key to_copy = to;
	struct noise_key from = {.cipher = NOISE_CHACHAPOLY, .k = {2}};
	struct noise_key from_copy = from;

	c[0] = channel_create(&to, &from, limits);
	c[1] = channel_create(&from_copy, &to_copy, limits);
	CHECK(to.k[0] == 0 && from.k[0] == 0); /* taken and wiped */
}

static void destroy_channels(struct channel *c[2])
{
	channel_destroy(c[0]);
	channel_destroy(c[1]);
}

/* What arrived: the lengths, and a running sum of the bytes. */
struct inbox {
	size_t count;
	size_t bytes;
	uint64_t sum;
};

static uint64_t sum_of(struct slice s, uint64_t sum)
{
	for (size_t i = 0; i < s.len; i++)
		sum = sum * 31 + s.data[i];
	return sum;
}

static int collect(void *ctx, struct slice message)
{
	struct inbox *in = ctx;

	in->count++;
	in->bytes += message.len;
	in->sum = sum_of(message, in->sum);
	return 0;
}

static uint64_t send_message(struct channel *c, size_t len, uint8_t seed, uint64_t sum)
{
	struct buf b = {0};

	for (size_t i = 0; i < len; i++)
		buf_u8(&b, (uint8_t)(seed + i * 7));
	sum = sum_of(buf_slice(&b), sum);
	channel_send(c, &b);
	CHECK(b.len == 0 && !b.data);
	return sum;
}

/* Moves everything; the largest record must be within the limit. Returns the bytes on the wire. */
static size_t pump(struct channel *from, struct channel *to, struct inbox *in)
{
	size_t wire_bytes = 0;

	for (;;) {
		AUTO(buf_fini) struct buf wire = {0};
		int r = channel_next(from, &wire);

		CHECK(r >= 0);
		if (r == 0)
			return wire_bytes;
		CHECK(wire.len <= CHANNEL_RECORD_BYTES_MAX);
		CHECK(wire.len - NOISE_TAG_BYTES == CHANNEL_SMALL_BYTES ||
		      (wire.len - NOISE_TAG_BYTES) % CHANNEL_PADDING_BYTES == 0);
		CHECK(channel_receive(to, buf_slice(&wire), collect, in) == 0);
		wire_bytes += wire.len;
	}
}

static void test_messages_of_all_sizes(void)
{
	static const size_t sizes[] = {1,     2,     61,    62,	   63,	  64,	 124,
				       125,   126,   127,   128,   129,	  1000,	 8189,
				       8190,  8191,  32764, 32765, 32766, 32767, 32768,
				       32769, 65530, 65536, 99999, 500000};
	struct channel *c[2];
	struct inbox in = {0};
	uint64_t sum = 0;

	make_channels(&usual_limits, c);
	for (size_t i = 0; i < countof(sizes); i++) { /* each alone */
		sum = send_message(c[0], sizes[i], (uint8_t)i, sum);
		size_t wire = pump(c[0], c[1], &in);
		size_t records = sizes[i] / CHANNEL_PLAIN_BYTES_MAX + 1;
		CHECK(wire < sizes[i] + (records + 1) * 19 + CHANNEL_PADDING_BYTES);
	}
	for (size_t i = 0; i < countof(sizes); i++) /* and all at once */
		sum = send_message(c[0], sizes[i], (uint8_t)i, sum);
	CHECK(channel_pending_bytes(c[0]) > 0);
	(void)pump(c[0], c[1], &in);
	CHECK(channel_pending_bytes(c[0]) == 0);
	CHECK(in.count == 2 * countof(sizes) && in.sum == sum);
	destroy_channels(c);
}

static void test_small_messages_share_a_record(void)
{
	struct channel *c[2];
	struct inbox in = {0};
	uint64_t sum = 0;

	make_channels(&usual_limits, c);
	sum = send_message(c[0], 200, 1, sum);
	CHECK(pump(c[0], c[1], &in) == 224 + 16);
	for (uint8_t i = 0; i < 100; i++)
		sum = send_message(c[0], 200, i, sum);
	CHECK(pump(c[0], c[1], &in) < 100 * 203 + 16 + 128);
	CHECK(in.count == 101 && in.sum == sum);
	destroy_channels(c);
}

/*
 * Sends three records, damages the delivery as `how` says, and gives what the receiver said last.
 */
enum damage {
	DAMAGE_BIT,
	DAMAGE_CUT,
	DAMAGE_LONGER,
	DAMAGE_REPEAT,
	DAMAGE_SWAP,
	DAMAGE_SKIP,
	DAMAGE_OTHER_WAY,
};

static int deliver_damaged(enum damage how, size_t at)
{
	struct channel *c[2];
	struct inbox in = {0};
	struct buf wire[3] = {{0}, {0}, {0}};
	int r = 0;

	make_channels(&usual_limits, c);
	for (size_t i = 0; i < 3; i++) {
		(void)send_message(c[0], 100, (uint8_t)i, 0);
		CHECK(channel_next(c[0], &wire[i]) == 1);
	}
	if (how == DAMAGE_BIT)
		wire[0].data[at] ^= 0x80;
	else if (how == DAMAGE_CUT)
		buf_resize(&wire[0], at);
	else if (how == DAMAGE_LONGER)
		buf_u8(&wire[0], 0);
	bool reversed = how == DAMAGE_SWAP || how == DAMAGE_SKIP;
	struct channel *to = c[how == DAMAGE_OTHER_WAY ? 0 : 1];
	r = channel_receive(to, buf_slice(&wire[reversed ? 1 : 0]), collect, &in);
	if (how == DAMAGE_REPEAT) {
		CHECK(r == 0);
		r = channel_receive(to, buf_slice(&wire[0]), collect, &in);
	}
	for (size_t i = 0; i < 3; i++)
		buf_fini(&wire[i]);
	destroy_channels(c);
	return r;
}

static void test_damaged_records(void)
{
	for (size_t at = 0; at < 128 + 16; at++) {
		CHECK(deliver_damaged(DAMAGE_BIT, at) == -EBADMSG);
		CHECK(deliver_damaged(DAMAGE_CUT, at) == -EBADMSG);
	}
	CHECK(deliver_damaged(DAMAGE_LONGER, 0) == -EBADMSG);
	CHECK(deliver_damaged(DAMAGE_REPEAT, 0) == -EBADMSG);
	CHECK(deliver_damaged(DAMAGE_SWAP, 0) == -EBADMSG);
	CHECK(deliver_damaged(DAMAGE_SKIP, 0) == -EBADMSG);
	CHECK(deliver_damaged(DAMAGE_OTHER_WAY, 0) == -EBADMSG);
}

static void test_rekey(void)
{
	static const struct channel_limits limits[] = {
		{1, 1u << 30, 1u << 20}, /* after every record */
		{3, 1u << 30, 1u << 20},
		{1u << 16, 256, 1u << 20}, /* by bytes */
		{1u << 16, 1, 1u << 20},
	};

	for (size_t i = 0; i < countof(limits); i++) {
		struct channel *c[2];
		struct inbox there = {0};
		struct inbox back = {0};
		uint64_t sum = 0;

		make_channels(&limits[i], c);
		for (uint8_t k = 0; k < 50; k++) {
			sum = send_message(c[0], 40u + k * 11u, k, sum);
			(void)pump(c[0], c[1], &there);
			(void)send_message(c[1], 5, k, 0);
			(void)pump(c[1], c[0], &back);
		}
		CHECK(there.sum == sum && there.count == 50 && back.count == 50);
		destroy_channels(c);
	}
}

/* Two sides that would rekey at different records cannot understand each other for long. */
static void test_rekey_mismatch(void)
{
	struct channel *a[2];
	struct channel *b[2];
	const struct channel_limits early = {3, 1u << 30, 1u << 20};
	const struct channel_limits late = {4, 1u << 30, 1u << 20};
	struct inbox in = {0};

	make_channels(&early, a);
	make_channels(&late, b);
	for (size_t i = 0; i < 4; i++) {
		AUTO(buf_fini) struct buf wire = {0};

		(void)send_message(a[0], 10, 0, 0);
		CHECK(channel_next(a[0], &wire) == 1);
		CHECK(channel_receive(b[1], buf_slice(&wire), collect, &in) ==
		      (i < 3 ? 0 : -EBADMSG));
	}
	destroy_channels(a);
	destroy_channels(b);
}

static void test_message_limit(void)
{
	const struct channel_limits big = {1u << 16, 1u << 30, 200000};
	const struct channel_limits small = {1u << 16, 1u << 30, 100000};

	for (size_t len = 99999; len <= 100001; len++) {
		struct channel *a[2];
		struct channel *b[2];
		struct inbox in = {0};
		int r = 0;

		make_channels(&big, a);
		make_channels(&small, b);
		(void)send_message(a[0], len, 0, 0);
		for (;;) {
			AUTO(buf_fini) struct buf wire = {0};

			if (channel_next(a[0], &wire) == 0 || r < 0)
				break;
			r = channel_receive(b[1], buf_slice(&wire), collect, &in);
		}
		CHECK(r == (len > 100000 ? -EMSGSIZE : 0));
		CHECK(in.count == (len > 100000 ? 0 : 1));
		destroy_channels(a);
		destroy_channels(b);
	}
}

static void test_bye(void)
{
	struct channel *c[2];
	struct inbox in = {0};
	AUTO(buf_fini) struct buf wire = {0};

	make_channels(&usual_limits, c);
	(void)send_message(c[0], 100000, 0, 0);
	CHECK(channel_next(c[0], &wire) == 1); /* in the middle of a message */
	CHECK(channel_receive(c[1], buf_slice(&wire), collect, &in) == 0);
	CHECK(channel_bye_received(c[1]) == -1);
	channel_bye(c[0], CHANNEL_BYE_DUPLICATE);
	(void)send_message(c[0], 10, 0, 0); /* dropped */
	(void)pump(c[0], c[1], &in);
	CHECK(channel_bye_is_sent(c[0]));
	CHECK(channel_bye_received(c[1]) == CHANNEL_BYE_DUPLICATE);
	CHECK(in.count == 0);
	CHECK(channel_receive(c[1], buf_slice(&wire), collect, &in) == -EPROTO);
	destroy_channels(c);
}

/* Authentic records with nonsense inside. */
static int open_plain(const char *hex, size_t pad_to, uint8_t pad_with)
{
	struct noise_key seal = {.cipher = NOISE_CHACHAPOLY, .k = {9}};
	struct noise_key open = seal;
	struct noise_key unused = seal;
	struct inbox in = {0};
	AUTO(buf_fini) struct buf plain = {0};
	AUTO(buf_fini) struct buf wire = {0};

	from_hex(hex, &plain);
	while (plain.len < pad_to)
		buf_u8(&plain, pad_with);
	CHECK(noise_key_seal(&seal, SLICE("", 0), buf_slice(&plain), &wire) == 0);
	struct channel *c = channel_create(&unused, &open, NULL);
	int r = channel_receive(c, buf_slice(&wire), collect, &in);
	channel_destroy(c);
	return r;
}

static void test_malformed_plaintext(void)
{
	CHECK(open_plain("0641", 128, 0) == 0);		 /* one message "A" */
	CHECK(open_plain("", 128, 0) == 0);		 /* padding only */
	CHECK(open_plain("", 0, 0) == -EBADMSG);	 /* nothing */
	CHECK(open_plain("0641", 127, 0) == -EBADMSG);	 /* not padded */
	CHECK(open_plain("064100", 128, 1) == -EBADMSG); /* padding that is not zeros */
	CHECK(open_plain("01", 128, 0) == -EBADMSG);	 /* an empty part */
	CHECK(open_plain("02", 128, 0) == -EBADMSG);	 /* an empty message */
	CHECK(open_plain("0441", 128, 0) == -EBADMSG);	 /* padding with a length */
	CHECK(open_plain("fe07", 128, 0) == -EBADMSG);	 /* longer than the record */
	CHECK(open_plain("fe8080808001", 128, 0) == -EBADMSG);
	CHECK(open_plain("ffffffffffffffffffff", 128, 255) == -EBADMSG);
	CHECK(open_plain("0700", 128, 0) == 0);		   /* BYE */
	CHECK(open_plain("07ff", 128, 0) == -EBADMSG);	   /* for an unknown reason */
	CHECK(open_plain("0b0000", 128, 0) == -EBADMSG);   /* with two */
	CHECK(open_plain("07000641", 128, 0) == -EBADMSG); /* and a message after it */
}

/* ---- transports and pairing ----------------------------------------------------------------- */

struct end {
	struct transport *t;
	enum hello_status answer;
	const uint8_t *secret;
	bool up;
	struct inbox in;
	struct pair *pair;
	const struct keys *keys;
	int admitted;
};

static enum hello_status end_lookup(void *ctx, const struct hello *h, uint8_t ret_secret[32])
{
	struct end *e = ctx;

	(void)h;
	memcpy(ret_secret, e->secret, 32);
	return e->answer;
}

static void end_up(void *ctx)
{
	struct end *e = ctx;

	e->up = true;
}

static int end_message(void *ctx, struct slice message)
{
	struct end *e = ctx;

	return e->pair ? pair_receive(e->pair, message) : collect(&e->in, message);
}

static struct transport *open_end(struct end *e, bool initiator, enum hello_mode mode)
{
	const struct transport_options o = {
		.keys = e->keys,
		.handler = {.lookup = end_lookup, .up = end_up, .message = end_message, .ctx = e},
		.initiator = initiator,
		.mode = mode,
		.secret = e->secret,
		.nameplate = 7,
	};

	return transport_create(&o);
}

/* One wire message from a to b. 0 = there was none; < 0 what b said. */
static int carry(struct end *a, struct end *b)
{
	AUTO(buf_fini) struct buf wire = {0};

	if (transport_next(a->t, &wire) != 1)
		return 0;
	int r = transport_receive(b->t, buf_slice(&wire));
	return r < 0 ? r : 1;
}

static int carry_all(struct end *a, struct end *b)
{
	for (;;) {
		int there = carry(a, b);
		int back = there < 0 ? 0 : carry(b, a);

		if (there < 0 || back < 0)
			return there < 0 ? there : back;
		if (there == 0 && back == 0)
			return 0;
	}
}

static void test_transport_sync(void)
{
	struct end a = {.keys = alice, .secret = keys_device(bob)->dh_pk};
	struct end b = {.keys = bob, .secret = keys_device(alice)->dh_pk};
	struct buf message = {0};

	a.t = open_end(&a, true, HELLO_SYNC);
	b.t = open_end(&b, false, HELLO_SYNC);
	CHECK(carry_all(&a, &b) == 0 && a.up && b.up);
	buf_append(&message, "hello", 5);
	transport_send(a.t, &message);
	CHECK(carry_all(&a, &b) == 0 && b.in.count == 1 && b.in.bytes == 5);
	transport_bye(b.t, CHANNEL_BYE_SHUTDOWN);
	CHECK(carry_all(&a, &b) == -ECANCELED);
	CHECK(transport_bye_received(a.t) == CHANNEL_BYE_SHUTDOWN);
	transport_destroy(a.t);
	transport_destroy(b.t);
}

static void test_transport_refusals(void)
{
	for (int status = HELLO_UNKNOWN; status < HELLO_STATUS_COUNT; status++) {
		struct end a = {.keys = alice, .secret = secret_a};
		struct end b = {.keys = bob, .secret = secret_a};

		b.answer = (enum hello_status)status;
		a.t = open_end(&a, true, HELLO_LINK);
		b.t = open_end(&b, false, HELLO_LINK);
		CHECK(carry_all(&a, &b) == -ECANCELED);
		CHECK(transport_status(a.t) == b.answer && !a.up && !b.up);
		CHECK(transport_next(b.t, &(struct buf){0}) < 0); /* it closes */
		transport_destroy(a.t);
		transport_destroy(b.t);
	}
}

static void test_transport_wrong_secret(void)
{
	for (int mode = HELLO_LINK; mode <= HELLO_CODE; mode++) {
		struct end a = {.keys = alice, .secret = secret_b};
		struct end b = {.keys = bob, .secret = secret_a};

		a.t = open_end(&a, true, (enum hello_mode)mode);
		b.t = open_end(&b, false, (enum hello_mode)mode);
		CHECK(carry_all(&a, &b) == -EBADMSG);
		CHECK(transport_secret_was_wrong(b.t) && !b.up);
		transport_destroy(a.t);
		transport_destroy(b.t);
	}
}

static void ends_for(enum hello_mode mode, struct end e[2])
{
	bool sync = mode == HELLO_SYNC;

	e[0] = (struct end){.keys = alice, .secret = sync ? keys_device(bob)->dh_pk : secret_a};
	e[1] = (struct end){.keys = bob, .secret = sync ? keys_device(alice)->dh_pk : secret_a};
	e[0].t = open_end(&e[0], true, mode);
	e[1].t = open_end(&e[1], false, mode);
}

/* Messages both ways before, during and after; then again; then one of the renewal's records is damaged. */
static void test_transport_renew(void)
{
	for (size_t damaged = 0; damaged < 4; damaged++) {
		struct end e[2];
		int r = 0;

		ends_for(HELLO_SYNC, e);
		CHECK(carry_all(&e[0], &e[1]) == 0 && e[0].up && e[1].up);
		for (unsigned round = 0; round < 3; round++) {
			for (size_t i = 0; i < 2; i++) {
				struct buf message = {0};

				buf_append(&message, "before", 6);
				transport_send(e[i].t, &message);
			}
			transport_renew(e[0].t);
			transport_renew(e[0].t); /* one is under way */
			CHECK(carry(&e[0], &e[1]) == 1);
			struct buf message = {0};
			buf_append(&message, "during", 6);
			transport_send(e[1].t, &message);
			CHECK(carry_all(&e[0], &e[1]) == 0);
			CHECK(transport_renewal_count(e[0].t) == round + 1);
			CHECK(transport_renewal_count(e[1].t) == round + 1);
			CHECK(e[0].in.count == 2 * (round + 1) && e[1].in.count == round + 1);
		}
		/* Whichever of the three records is damaged: nothing after it opens. */
		transport_renew(e[0].t);
		for (size_t m = 0; m < 3 && r >= 0; m++) {
			AUTO(buf_fini) struct buf wire = {0};

			CHECK(transport_next(e[m % 2].t, &wire) == 1);
			if (m == damaged)
				wire.data[wire.len - 1] ^= 1;
			r = transport_receive(e[1 - m % 2].t, buf_slice(&wire));
		}
		CHECK(damaged == 3 ? r == 0 : r == -EBADMSG);
		transport_destroy(e[0].t);
		transport_destroy(e[1].t);
	}
}

/* Every byte of every wire message before the records, changed, or all cut from there: never up on both sides. */
static void tamper(enum hello_mode mode, bool cut)
{
	size_t messages = mode == HELLO_SYNC ? 4 : 5;

	for (size_t n = 0; n < messages; n++) {
		size_t len = 1;

		for (size_t at = 0; at < len; at++) {
			struct end e[2];
			int r = 0;

			ends_for(mode, e);
			for (size_t m = 0; m < messages && r >= 0; m++) {
				AUTO(buf_fini) struct buf wire = {0};

				CHECK(transport_next(e[m % 2].t, &wire) == 1);
				if (m == n)
					len = wire.len;
				if (m == n && cut)
					buf_resize(&wire, at);
				else if (m == n)
					wire.data[at] ^= 1;
				r = transport_receive(e[1 - m % 2].t, buf_slice(&wire));
			}
			CHECK(r < 0 || !e[0].up || !e[1].up);
			transport_destroy(e[0].t);
			transport_destroy(e[1].t);
		}
	}
}

static void test_transport_tampering(void)
{
	for (int mode = HELLO_SYNC; mode <= HELLO_CODE; mode++) {
		tamper((enum hello_mode)mode, false);
		tamper((enum hello_mode)mode, true);
	}
}

/* A later program offers 2 to 9 and says more in its hello: we choose ours, and what is more is bound all the same. */
static void test_transport_versions(void)
{
	AUTO(buf_fini) struct buf hello = {0};
	AUTO(buf_fini) struct buf out = {0};
	struct hello h = {.version_min = HELLO_VERSION, .version_max = 9, .mode = HELLO_LINK};
	struct hello_answer answer;
	struct end b = {.keys = bob, .secret = secret_a};

	hello_encode(&h, &hello);
	buf_append(&hello, "more", 4);
	b.t = open_end(&b, false, HELLO_LINK);
	CHECK(transport_receive(b.t, buf_slice(&hello)) == 0 && transport_next(b.t, &out) == 1);
	CHECK(hello_answer_decode(buf_slice(&out), &answer) == 0);
	CHECK(answer.version == HELLO_VERSION && answer.status == HELLO_OK);
	transport_destroy(b.t);

	static const uint8_t strangers[][2] = {{1, 1}, {HELLO_VERSION + 1, 9}};
	for (size_t i = 0; i < countof(strangers); i++) {
		h.version_min = strangers[i][0];
		h.version_max = strangers[i][1];
		buf_clear(&hello);
		buf_clear(&out);
		hello_encode(&h, &hello);
		b = (struct end){.keys = bob, .secret = secret_a};
		b.t = open_end(&b, false, HELLO_LINK);
		CHECK(transport_receive(b.t, buf_slice(&hello)) == 0);
		CHECK(transport_next(b.t, &out) == 1 && transport_next(b.t, &out) < 0);
		CHECK(hello_answer_decode(buf_slice(&out), &answer) == 0);
		CHECK(answer.status == HELLO_VERSION_REFUSED);
		transport_destroy(b.t);
	}
}

/* Nobody gets more than a hello's worth of attention before the handshake is done. */
static void test_transport_long_before_handshake(void)
{
	for (size_t m = 0; m < 2; m++) {
		AUTO(buf_fini) struct buf wire = {0};
		struct end b = {.keys = bob, .secret = secret_a};

		b.t = open_end(&b, false, HELLO_LINK);
		buf_resize(&wire, TRANSPORT_HELLO_BYTES_MAX + m);
		CHECK(transport_receive(b.t, buf_slice(&wire)) == (m ? -EMSGSIZE : -EBADMSG));
		transport_destroy(b.t);
	}
}

static int end_admit(void *ctx, const struct device *d, struct slice cert, const char *endpoint)
{
	struct end *e = ctx;
	struct device again;

	CHECK(device_from_cert(cert, &again) == 0 && again.actor == d->actor);
	CHECK(d->actor == keys_device(alice)->actor && endpoint[0] == 0);
	e->admitted++;
	return 0;
}

static void start_pair(struct end *e, enum pair_role role, const uint8_t *device_id)
{
	struct pair_options o = {
		.role = role,
		.keys = e->keys,
		.device_id = device_id,
		.admit = end_admit,
		.ctx = e,
	};

	transport_hash(e->t, o.hash);
	transport_remote_pk(e->t, o.remote_pk);
	e->pair = pair_create(&o);
}

/* Speaks until nobody has anything to say. < 0: what the last pair_receive() said. */
static int talk(struct end *a, struct end *b)
{
	for (;;) {
		struct end *const from[2] = {a, b};
		bool said = false;

		for (size_t i = 0; i < 2; i++) {
			AUTO(buf_fini) struct buf message = {0};

			if (pair_is_asking(from[i]->pair)) {
				CHECK(pair_next(from[i]->pair, &message) == 0); /* nothing before */
				pair_approve(from[i]->pair, SLICE_STR("the keys of the house"),
					     SLICE("", 0));
			}
			if (pair_next(from[i]->pair, &message) != 1)
				continue;
			said = true;
			int r = pair_receive(from[1 - i]->pair, buf_slice(&message));
			if (r < 0)
				return r;
		}
		if (!said)
			return 0;
	}
}

/* The keys with which b speaks as inviter, and the device id the link has told a. */
static int pair_up(const struct keys *inviter, const uint8_t *device_id, struct end *a,
		   struct end *b)
{
	*a = (struct end){.keys = alice, .secret = secret_a};
	*b = (struct end){.keys = bob, .secret = secret_a};
	a->t = open_end(a, true, HELLO_LINK);
	b->t = open_end(b, false, HELLO_LINK);
	CHECK(carry_all(a, b) == 0 && a->up && b->up);
	b->keys = inviter;
	start_pair(a, PAIR_JOINER, device_id);
	start_pair(b, PAIR_INVITER, NULL);
	return talk(a, b);
}

static void end_pair(struct end *a, struct end *b)
{
	pair_destroy(a->pair);
	pair_destroy(b->pair);
	transport_destroy(a->t);
	transport_destroy(b->t);
}

static void test_pair(void)
{
	AUTO(buf_fini) struct buf welcome = {0};
	struct end a, b;
	uint8_t hash[2][32];
	char words[2][NET_WORDS_BYTES];

	CHECK(pair_up(bob, keys_device(bob)->id, &a, &b) == 0);
	CHECK(pair_is_done(a.pair) && pair_is_done(b.pair) && b.admitted == 1);
	CHECK(pair_device(a.pair)->actor == keys_device(bob)->actor);
	pair_take_welcome(a.pair, &welcome);
	CHECK(slice_eq(buf_slice(&welcome), SLICE_STR("the keys of the house")));
	transport_hash(a.t, hash[0]);
	transport_hash(b.t, hash[1]);
	pair_words(hash[0], words[0]);
	pair_words(hash[1], words[1]);
	CHECK(strcmp(words[0], words[1]) == 0);
	hash[1][0] ^= 1;
	pair_words(hash[1], words[1]);
	CHECK(strcmp(words[0], words[1]) != 0);
	end_pair(&a, &b);
}

static void test_pair_with_another(void)
{
	struct end a, b;

	/* Another device than the link names. */
	CHECK(pair_up(bob, keys_device(mallory)->id, &a, &b) == -EACCES);
	CHECK(b.admitted == 0);
	end_pair(&a, &b);
	/* A certificate that is not the handshake's static key. */
	CHECK(pair_up(mallory, keys_device(mallory)->id, &a, &b) == -EACCES);
	CHECK(b.admitted == 0);
	end_pair(&a, &b);
}

static void test_pair_out_of_turn(void)
{
	for (uint8_t type = 0; type < 6; type++) {
		struct end a, b;
		uint8_t message[2] = {type, 0};

		CHECK(pair_up(bob, keys_device(bob)->id, &a, &b) == 0);
		CHECK(pair_receive(a.pair, SLICE(message, 2)) == -EPROTO);
		CHECK(pair_receive(b.pair, SLICE(message, 2)) == -EPROTO);
		pair_destroy(b.pair);
		start_pair(&b, PAIR_INVITER, NULL);
		CHECK(pair_receive(b.pair, SLICE(message, 2)) == (type == 1 ? -EBADMSG : -EPROTO));
		CHECK(pair_receive(b.pair, SLICE("", 0)) == -EBADMSG);
		end_pair(&a, &b);
	}
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"messages_of_all_sizes", test_messages_of_all_sizes},
		{"small_messages_share_a_record", test_small_messages_share_a_record},
		{"damaged_records", test_damaged_records},
		{"rekey", test_rekey},
		{"rekey_mismatch", test_rekey_mismatch},
		{"message_limit", test_message_limit},
		{"bye", test_bye},
		{"malformed_plaintext", test_malformed_plaintext},
		{"transport_sync", test_transport_sync},
		{"transport_refusals", test_transport_refusals},
		{"transport_wrong_secret", test_transport_wrong_secret},
		{"transport_tampering", test_transport_tampering},
		{"transport_renew", test_transport_renew},
		{"transport_versions", test_transport_versions},
		{"transport_long_before_handshake", test_transport_long_before_handshake},
		{"pair", test_pair},
		{"pair_with_another", test_pair_with_another},
		{"pair_out_of_turn", test_pair_out_of_turn},
	};

	digest_init();
	make_keys();
	for (size_t i = 0; i < countof(tests); i++) {
		tests[i].run();
		(void)printf("ok %s\n", tests[i].name);
	}
	keys_destroy(alice);
	keys_destroy(bob);
	keys_destroy(mallory);
	return 0;
}
