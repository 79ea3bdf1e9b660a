/*
 * RENDEZVOUS without sockets: a device and a relay that says what it likes; the whole way through the relay's table; and
 * somebody in the middle who guesses. Prints "ok NAME" for each test.
 */
#include "net/pair.h"
#include "net/rendezvous.h"
#include "net/transport.h"
#include "relay/splice.h"

#include "tests/unit/check.h"
#include "tests/unit/cores.h"

#define SAID_MAX 512

static struct side desk;
static struct keys *phone_keys, *mallory_keys;

/* ---- an inviter's end of a lane --------------------------------------------------------------- */

struct end {
	const struct keys *keys;
	struct transport *t;
	struct lane *lane;
	struct invites *invites; /* NULL: `secret` */
	uint8_t secret[32];
	uint64_t invite;
	bool up;
	bool wrong;
};

static unsigned accepted_count, closed_count;
static struct end *last_end;

static enum hello_status lookup(void *ctx, const struct hello *h, uint8_t ret_secret[32])
{
	struct end *e = ctx;

	if (e->invites)
		return invites_claim(e->invites, h, ret_secret, &e->invite);
	memcpy(ret_secret, e->secret, 32);
	return HELLO_OK;
}

static void up(void *ctx)
{
	struct end *e = ctx;

	e->up = true;
}

static int message(void *ctx, struct slice m)
{
	(void)ctx;
	(void)m;
	return 0;
}

static struct end *open_end(const struct keys *keys, bool initiator, const uint8_t *secret)
{
	struct end *e = xcalloc(1, sizeof(*e));
	const struct transport_options o = {
		.keys = keys,
		.handler = {.lookup = lookup, .up = up, .message = message, .ctx = e},
		.initiator = initiator,
		.mode = HELLO_CODE,
		.secret = secret,
		.nameplate = 482913,
	};

	e->keys = keys;
	if (secret)
		memcpy(e->secret, secret, 32);
	e->t = transport_create(&o);
	return e;
}

static void close_end(struct end *e)
{
	transport_destroy(e->t);
	free(e);
}

static int on_received(void *user, struct slice m)
{
	struct end *e = user;
	int r = transport_receive(e->t, m);

	lane_want_write(e->lane);
	return r;
}

static int on_writable(void *user, struct buf *out)
{
	struct end *e = user;

	return transport_next(e->t, out);
}

static void on_closed(void *user, const char *reason)
{
	struct end *e = user;

	(void)reason;
	closed_count++;
	if (e->invite && transport_secret_was_wrong(e->t))
		invites_wrong(e->invites, e->invite);
	else if (e->invite)
		invites_release(e->invites, e->invite);
	close_end(e);
}

static const struct lane_handler handler = {
	.received = on_received, .writable = on_writable, .closed = on_closed};

static void *accept_lane(void *ctx, struct lane *l)
{
	struct end *e = open_end(desk.keys, false, NULL);

	e->lane = l;
	e->invites = ctx;
	accepted_count++;
	last_end = e;
	return e;
}

/* ---- a relay that writes down what it is told ------------------------------------------------- */

static struct said {
	struct mail m;
	struct buf rest;
} said[SAID_MAX];
static size_t said_count;

static void say(void *ctx, const struct mail *m)
{
	(void)ctx;
	CHECK(said_count < SAID_MAX);
	said[said_count].m = *m;
	buf_clear(&said[said_count].rest);
	buf_slice_append(&said[said_count++].rest, m->rest);
}

static void wake(void *ctx)
{
	(void)ctx;
}

struct scene {
	struct invites *invites;
	struct rendezvous_host host;
	struct rendezvous *v;
	struct invite_secrets secrets;
	uint64_t invite;
};

static void begin(struct scene *s)
{
	const struct endpoint relay = {.host = "relay.example.org", .port = 7710};
	const struct invite_options options = {.ttl_ms = INVITE_TTL_MS, .role = MEMBER_OWNER};

	*s = (struct scene){.invites = invites_create(desk.db)};
	s->host = (struct rendezvous_host){.invites = s->invites,
					   .accepted = accept_lane,
					   .handler = &handler,
					   .ctx = s->invites};
	s->v = rendezvous_create(&(struct rendezvous_options){.host = &s->host,
							      .relay = &relay,
							      .shown = "ws://relay.example.org:7710",
							      .say = say,
							      .wake = wake});
	random_bytes(s->secrets.link, sizeof(s->secrets.link));
	memset(s->secrets.code, 7, sizeof(s->secrets.code));
	s->secrets.nameplate = 482913;
	CHECK(invites_add(s->invites, &options, &s->secrets, &s->invite) == 0);
	said_count = 0;
	accepted_count = closed_count = 0;
	rendezvous_open(s->v);
	CHECK(said_count == 1 && said[0].m.type == MAIL_WAIT && said[0].m.nameplate == 482913);
}

static void finish(struct scene *s)
{
	rendezvous_close(s->v);
	rendezvous_destroy(s->v);
	invites_destroy(s->invites);
	CHECK(accepted_count == closed_count);
}

static void tell(struct scene *s, enum mail_type type, uint64_t request, struct slice rest)
{
	CHECK(rendezvous_receive(
		      s->v, &(struct mail){.type = type, .request = request, .rest = rest}) == 0);
	while (rendezvous_fill(s->v) > 0)
		;
}

static uint64_t last_wait(void)
{
	size_t i = said_count;

	while (i > 0 && said[i - 1].m.type != MAIL_WAIT)
		i--;
	return i > 0 ? said[i - 1].m.request : 0;
}

static void hello_of(struct end *e, struct buf *out)
{
	buf_clear(out);
	CHECK(transport_next(e->t, out) == 1);
}

/* ---- the tests -------------------------------------------------------------------------------- */

static void test_out_of_turn(void)
{
	struct scene s;
	AUTO(buf_fini) struct buf hello = {0};
	struct end *joiner = open_end(phone_keys, true, (const uint8_t[32]){7});

	begin(&s);
	hello_of(joiner, &hello);
	uint64_t request = last_wait();
	tell(&s, MAIL_KNOCK, request, buf_slice(&hello)); /* it has not said that we wait */
	tell(&s, MAIL_PASS, request, SLICE_STR("x"));
	tell(&s, MAIL_KNOCK, request + 1, buf_slice(&hello));
	tell(&s, MAIL_HANG_UP, request + 1, SLICE_STR(""));
	CHECK(accepted_count == 0 && said_count == 1);
	tell(&s, MAIL_WAITS, request, SLICE_STR(""));
	tell(&s, MAIL_PASS, request, SLICE_STR("x"));
	tell(&s, MAIL_WAITS, request, SLICE_STR(""));
	CHECK(accepted_count == 0 && said_count == 1);
	tell(&s, MAIL_KNOCK, request, buf_slice(&hello));
	CHECK(accepted_count == 1 && said[1].m.type == MAIL_PASS && said[1].m.request == request);
	tell(&s, MAIL_KNOCK, request, buf_slice(&hello));
	CHECK(accepted_count == 1);
	CHECK(!endpoint_is_numeric(&last_end->lane->remote));
	tell(&s, MAIL_PASS, request, SLICE_STR("junk"));
	CHECK(closed_count == 1 && said[said_count - 1].m.type == MAIL_HANG_UP);
	close_end(joiner);
	finish(&s);
}

static void test_nothing_but_pairing(void)
{
	static const enum hello_mode modes[] = {HELLO_SYNC, HELLO_RELAY, HELLO_RECOVER};
	struct scene s;
	AUTO(buf_fini) struct buf hello = {0};

	begin(&s);
	for (size_t i = 0; i < countof(modes); i++) {
		struct hello h = {.version_min = HELLO_VERSION_MIN,
				  .version_max = HELLO_VERSION,
				  .mode = modes[i]};

		buf_clear(&hello);
		hello_encode(&h, &hello);
		uint64_t request = last_wait();
		tell(&s, MAIL_WAITS, request, SLICE_STR(""));
		tell(&s, MAIL_KNOCK, request, buf_slice(&hello));
		CHECK(accepted_count == 0 && last_wait() == request + 1); /* it waits on */
	}
	tell(&s, MAIL_WAITS, last_wait(), SLICE_STR(""));
	tell(&s, MAIL_KNOCK, last_wait(), SLICE_STR("Bjunk"));
	CHECK(accepted_count == 0);
	finish(&s);
}

static void test_a_relay_that_never_stops(void)
{
	struct scene s;
	AUTO(buf_fini) struct buf hello = {0};
	struct hello h = {
		.version_min = HELLO_VERSION_MIN, .version_max = HELLO_VERSION, .mode = HELLO_LINK};

	begin(&s);
	hello_invite_id(s.secrets.link, h.invite);
	hello_encode(&h, &hello);
	for (int i = 0; i < 1000; i++) {
		uint64_t request = last_wait();

		said_count = said_count > SAID_MAX / 2 ? 0 : said_count;
		tell(&s, MAIL_WAITS, request, SLICE_STR(""));
		tell(&s, MAIL_KNOCK, request, buf_slice(&hello));
		tell(&s, MAIL_HANG_UP, request, SLICE_STR(""));
		if (accepted_count == (unsigned)i)
			break;
	}
	CHECK(accepted_count > 100 && accepted_count < 200 && accepted_count == closed_count);
	/* Nothing was used up: it is the relay that is not asked any more, until it is there anew. */
	CHECK(invites_know(s.invites, &h));
	said_count = 0;
	rendezvous_close(s.v);
	rendezvous_open(s.v);
	CHECK(said_count == 1 && said[0].m.type == MAIL_WAIT);
	finish(&s);
}

static void test_comes_and_goes(void)
{
	struct scene s;
	struct invite_place places[4];
	AUTO(buf_fini) struct buf hello = {0};
	struct end *joiner = open_end(phone_keys, true, (const uint8_t[32]){7});

	begin(&s);
	CHECK(rendezvous_receive(s.v, &(struct mail){.type = MAIL_WAITS,
						     .request = last_wait(),
						     .code = MAIL_ERROR_TAKEN}) == 0);
	CHECK(invites_places(s.invites, s.invite, places, 4) == 1 &&
	      places[0].code == MAIL_ERROR_TAKEN &&
	      strcmp(places[0].relay, "ws://relay.example.org:7710") == 0);
	rendezvous_refresh(s.v);
	CHECK(said_count == 1); /* it is not asked twice */
	/* The relay is restarted: asked anew, and its new word counts. */
	uint64_t before = last_wait();
	rendezvous_close(s.v);
	rendezvous_open(s.v);
	CHECK(said_count == 2 && last_wait() > before);
	tell(&s, MAIL_WAITS, last_wait(), SLICE_STR(""));
	CHECK(invites_places(s.invites, s.invite, places, 4) == 1 && places[0].code == 0);
	/* It goes in the middle of a conversation: that is an end, and a code is void. */
	hello_of(joiner, &hello);
	tell(&s, MAIL_KNOCK, last_wait(), buf_slice(&hello));
	CHECK(accepted_count == 1 && closed_count == 0);
	rendezvous_close(s.v);
	CHECK(closed_count == 1);
	said_count = 0;
	rendezvous_open(s.v);
	CHECK(said_count == 0);
	close_end(joiner);
	finish(&s);

	begin(&s);
	tell(&s, MAIL_WAITS, last_wait(), SLICE_STR(""));
	invites_cancel(s.invites, s.invite);
	rendezvous_refresh(s.v);
	CHECK(said_count == 2 && said[1].m.type == MAIL_UNWAIT && said[1].m.request == last_wait());
	finish(&s);
}

/* ---- the whole way ---------------------------------------------------------------------------- */

static void say_to_device(void *device, const struct mail *m)
{
	struct scene *s = device;

	CHECK(rendezvous_receive(s->v, m) == 0);
}

/* Moves what there is between joiner, table and device until there is no more. < 0: what the joiner said. */
static int carry(struct scene *s, struct splices *v, struct end *joiner, struct splice_guest *g)
{
	for (bool any = true; any;) {
		AUTO(buf_fini) struct buf out = {0};

		any = false;
		if (transport_next(joiner->t, &out) == 1) {
			CHECK(splice_receive(g, buf_slice(&out)) == 0);
			any = true;
		}
		while (rendezvous_fill(s->v) > 0)
			any = true;
		for (size_t i = 0; i < said_count; i++) {
			said[i].m.rest = buf_slice(&said[i].rest);
			if (said[i].m.type == MAIL_PASS)
				splice_pass(v, s, &said[i].m);
			else
				splice_leave(v, s, said[i].m.request);
		}
		said_count = 0;
		buf_clear(&out);
		int r = splice_next(g, &out);
		if (r > 0 && (r = transport_receive(joiner->t, buf_slice(&out))) < 0)
			return r;
		any = any || r > 0 || out.len > 0;
	}
	return 0;
}

static struct splices *wait_there(struct scene *s)
{
	const struct splice_ops ops = {.say = say_to_device, .wake = wake};
	struct splices *v = splice_create(&ops);

	splice_wait(v, s, &said[0].m, 1000);
	said_count = 0;
	return v;
}

static void test_the_whole_way(void)
{
	for (int right = 0; right <= 1; right++) {
		const struct endpoint e = {.host = "10.0.0.1"};
		AUTO(buf_fini) struct buf hello = {0};
		struct splice_guest *g = NULL;
		struct scene s;
		uint8_t secret[32];

		begin(&s);
		memset(secret, right ? 7 : 8, sizeof(secret));
		struct splices *v = wait_there(&s);
		struct end *joiner = open_end(phone_keys, true, secret);
		hello_of(joiner, &hello);
		CHECK(splice_knock(v, buf_slice(&hello), &e, joiner, 1000, &g) == HELLO_OK);
		CHECK(carry(&s, v, joiner, g) == 0);
		CHECK(accepted_count == 1 && joiner->up); /* it has said its last word */
		if (right) {
			uint8_t here[NOISE_HASH_BYTES], there[NOISE_HASH_BYTES];

			transport_hash(joiner->t, here);
			transport_hash(last_end->t, there);
			CHECK(last_end->up && closed_count == 0 &&
			      memcmp(here, there, sizeof(here)) == 0);
		} else {
			CHECK(closed_count == 1 && splice_count(v) == 0);
			CHECK(splice_next(g, &hello) == -ECANCELED);
		}
		splice_end(g);
		CHECK(closed_count == 1 && splice_count(v) == 0);
		close_end(joiner);
		finish(&s);
		splice_destroy(v);
	}
}

/* What one says, to the other; < 0: what that one said. */
static int exchange_all(struct end *a, struct end *b)
{
	for (bool any = true; any;) {
		struct end *ends[] = {a, b};

		any = false;
		for (size_t i = 0; i < 2; i++) {
			AUTO(buf_fini) struct buf out = {0};

			if (transport_next(ends[i]->t, &out) != 1)
				continue;
			any = true;
			int r = transport_receive(ends[!i]->t, buf_slice(&out));
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* A relay that takes the part of each to the other: with wrong words, and with words that it guessed. */
static void test_somebody_in_the_middle(void)
{
	for (int lucky = 0; lucky <= 1; lucky++) {
		uint8_t words[32] = {7};
		uint8_t guess[32] = {(uint8_t)(lucky ? 7 : 8)};
		struct end *joiner = open_end(phone_keys, true, words);
		struct end *to_joiner = open_end(mallory_keys, false, guess);
		struct end *to_inviter = open_end(mallory_keys, true, guess);
		struct end *inviter = open_end(desk.keys, false, words);
		int near = exchange_all(joiner, to_joiner);
		int far = exchange_all(to_inviter, inviter);

		if (!lucky) {
			/* It learns that it was wrong, once from each, and neither tells it anything more. */
			CHECK(near == -EBADMSG && far == -EBADMSG && !inviter->up && !to_joiner->up);
			CHECK(transport_secret_was_wrong(inviter->t));
		} else {
			uint8_t here[NOISE_HASH_BYTES], there[NOISE_HASH_BYTES];
			char shown[2][NET_WORDS_BYTES];

			CHECK(near == 0 && far == 0 && joiner->up && inviter->up);
			transport_hash(joiner->t, here);
			transport_hash(inviter->t, there);
			pair_words(here, shown[0]);
			pair_words(there, shown[1]);
			CHECK(strcmp(shown[0], shown[1]) != 0);
		}
		close_end(joiner);
		close_end(to_joiner);
		close_end(to_inviter);
		close_end(inviter);
	}
}

#define RUN(name) (test_##name(), (void)printf("ok " #name "\n"))

int main(void)
{
	struct why why = {""};

	digest_init();
	(void)snprintf(base, sizeof(base), "%s/blaze-rendezvous-XXXXXX",
		       getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	CHECK(mkdtemp(base));
	family(&desk, 1, 0);
	AUTO(free_ptr) char *phone = xasprintf("%s/phone", base);
	AUTO(free_ptr) char *mallory = xasprintf("%s/mallory", base);
	CHECK(keys_create(phone, "phone", &phone_keys, &why) == 0);
	CHECK(keys_create(mallory, "mallory", &mallory_keys, &why) == 0);
	RUN(out_of_turn);
	RUN(nothing_but_pairing);
	RUN(a_relay_that_never_stops);
	RUN(comes_and_goes);
	RUN(the_whole_way);
	RUN(somebody_in_the_middle);
	for (size_t i = 0; i < SAID_MAX; i++)
		buf_fini(&said[i].rest);
	keys_destroy(phone_keys);
	keys_destroy(mallory_keys);
	side_destroy(&desk);
	(void)nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}
