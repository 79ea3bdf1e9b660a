/*
 * The life of one connection: one state, one function that takes events, one that changes the
 * state.
 */
#include "net/transport.h"

#include "core/log.h"

#include <stdlib.h>
#include <string.h>

#define PAIR_MESSAGE_BYTES_MAX (4u << 20)

struct transport {
	struct transport_options options;
	enum transport_state state;
	enum hello_mode mode;
	enum hello_status status;
	uint8_t secret[32];
	uint8_t expect_pk[KEYS_PK_BYTES]; /* initiator of RELAY */
	struct cpace cpace;		  /* initiator of a code, until the answer */
	uint8_t features;		  /* ours */
	struct buf said;		  /* both hellos: the prologue */
	struct buf out;			  /* at most one message of hello or handshake */
	struct noise *noise;
	struct channel *channel;
	uint8_t hash[NOISE_HASH_BYTES];
	uint8_t remote_pk[KEYS_PK_BYTES];
	bool secret_was_wrong;
	bool bye_wanted;
	bool aes;			      /* the cipher */
	uint8_t renew_hash[NOISE_HASH_BYTES]; /* of the newest handshake */
	struct noise_key next_receive;	      /* responder: after step 3 */
	bool has_next_receive;
	uint64_t renewal_count;
};

static void enter(struct transport *s, enum transport_state state)
{
	static const char *const names[] = {
		[TRANSPORT_HELLO] = "hello",
		[TRANSPORT_HANDSHAKE] = "handshake",
		[TRANSPORT_UP] = "up",
		[TRANSPORT_CLOSED] = "closed",
	};

	assert(state > s->state);
	log_debug("transport %p: %s -> %s", (void *)s, names[s->state], names[state]);
	s->state = state;
	if (state == TRANSPORT_UP || state == TRANSPORT_CLOSED) {
		noise_destroy(STEAL(s->noise));
		wipe(s->secret, sizeof(s->secret));
	}
}

/* Adds a hello to the prologue, with its length in front. */
static void say(struct transport *s, struct slice hello)
{
	buf_bytes(&s->said, hello);
}

/* CPACE: what the code's words make of this channel. Replaces the words' digest in s->secret. */
static void start_cpace(struct transport *s, uint32_t nameplate, const uint8_t sid[CPACE_SID_BYTES],
			struct cpace *c)
{
	AUTO(buf_fini) struct buf ci = {0};
	struct cpace_input in = {.prs = SLICE(s->secret, sizeof(s->secret))};

	buf_printf(&ci, "blaze/2 pair %u", nameplate);
	in.ci = buf_slice(&ci);
	memcpy(in.sid, sid, sizeof(in.sid));
	cpace_start(c, &in, NULL);
}

static int finish_cpace(struct transport *s, struct cpace *c, const uint8_t *theirs)
{
	const struct slice none = SLICE("", 0);
	uint8_t key[CPACE_KEY_BYTES];
	int r = cpace_finish(c, s->options.initiator, theirs, none, none, key);

	if (r == 0)
		memcpy(s->secret, key, sizeof(s->secret));
	wipe(key, sizeof(key));
	return r;
}

static void start_recover(const struct transport *s, struct hello *h)
{
	const struct transport_options *o = &s->options;

	random_bytes(h->nonce, sizeof(h->nonce));
	h->hint = hello_recover_hint(o->account_pk, h->nonce, o->has_database ? &o->database : NULL);
	for (size_t i = 0; i < o->without_count; i++)
		hello_add_without(h, &o->without[i]);
}

static void start_hello(struct transport *s)
{
	struct hello h = {
		.version_min = HELLO_VERSION_MIN,
		.version_max = HELLO_VERSION,
		.mode = s->mode,
		.features = s->features,
		.nameplate = s->options.nameplate,
	};

	if (s->mode == HELLO_SYNC) {
		random_bytes(h.nonce, sizeof(h.nonce));
		h.hint = hello_hint(keys_device(s->options.keys)->dh_pk, s->secret,
				    &s->options.database, h.nonce);
	} else if (s->mode == HELLO_RECOVER) {
		start_recover(s, &h);
	} else if (s->mode == HELLO_LINK) {
		hello_invite_id(s->secret, h.invite);
	} else if (s->mode == HELLO_CODE) {
		random_bytes(h.sid, sizeof(h.sid));
		start_cpace(s, h.nameplate, h.sid, &s->cpace);
		memcpy(h.share, s->cpace.share, sizeof(h.share));
	}
	hello_encode(&h, &s->out);
	say(s, buf_slice(&s->out));
}

struct transport *transport_create(const struct transport_options *options)
{
	struct transport *s = xcalloc(1, sizeof(*s));

	s->options = *options;
	s->options.secret = NULL; /* borrowed for this call only */
	s->options.expect_pk = NULL;
	s->features = noise_has_aes() ? HELLO_FEATURE_AES : 0;
	buf_append(&s->said, "blaze/2", strlen("blaze/2"));
	if (options->initiator) {
		s->mode = options->mode;
		memcpy(s->secret, options->secret, sizeof(s->secret));
		if (s->mode == HELLO_RELAY)
			memcpy(s->expect_pk, options->expect_pk, sizeof(s->expect_pk));
		start_hello(s);
	}
	return s;
}

void transport_destroy(struct transport *s)
{
	if (!s)
		return;
	noise_destroy(s->noise);
	channel_destroy(s->channel);
	buf_fini(&s->said);
	buf_fini(&s->out);
	wipe(s, sizeof(*s));
	free(s);
}

enum transport_state transport_state(const struct transport *s)
{
	return s->state;
}

enum hello_mode transport_mode(const struct transport *s)
{
	return s->mode;
}

static void start_handshake(struct transport *s, uint8_t peer_features)
{
	bool aes = s->features & peer_features & HELLO_FEATURE_AES;
	bool pair = s->mode != HELLO_SYNC;
	struct noise_options o = {
		.pattern = pair ? NOISE_XXPSK3 : NOISE_KK,
		.cipher = aes ? NOISE_AESGCM : NOISE_CHACHAPOLY,
		.initiator = s->options.initiator,
		.prologue = buf_slice(&s->said),
		.keys = s->options.keys,
		.remote_pk = pair ? NULL : s->secret,
		.psk = pair ? s->secret : NULL,
	};

	s->aes = aes;
	s->noise = noise_create(&o);
	enter(s, TRANSPORT_HANDSHAKE);
}

static void finish_handshake(struct transport *s)
{
	const struct channel_limits pair_limits = {
		.rekey_records = 1u << 16,
		.rekey_bytes = 1u << 30,
		.message_bytes_max = PAIR_MESSAGE_BYTES_MAX,
	};
	struct noise_key send;
	struct noise_key receive;

	noise_hash(s->noise, s->hash);
	memcpy(s->renew_hash, s->hash, sizeof(s->renew_hash));
	noise_remote_pk(s->noise, s->remote_pk);
	noise_split(s->noise, &send, &receive);
	bool pairing = s->mode != HELLO_SYNC && s->mode != HELLO_RELAY;
	s->channel = channel_create(&send, &receive, pairing ? &pair_limits : NULL);
	enter(s, TRANSPORT_UP);
	s->options.handler.up(s->options.handler.ctx);
}

static int write_handshake(struct transport *s)
{
	if (s->out.len > 0)
		return -EPROTO; /* the peer answers what it cannot have read yet */
	int r = noise_write(s->noise, SLICE("", 0), &s->out);
	if (r >= 0 && noise_is_done(s->noise))
		finish_handshake(s);
	return r;
}

/* ---- events --------------------------------------------------------------------------------- */

static int handle_hello(struct transport *s, struct slice wire)
{
	struct hello h = {0};
	struct hello_answer a = {.version = HELLO_VERSION, .features = s->features};
	int r = hello_decode(wire, &h);

	if (r == -EPROTONOSUPPORT) {
		a.status = HELLO_VERSION_REFUSED;
	} else if (r < 0) {
		return r;
	} else {
		a.status = s->options.handler.lookup(s->options.handler.ctx, &h, s->secret);
		a.version = hello_choose_version(&h);
	}
	s->mode = h.mode;
	if (a.status == HELLO_OK && h.mode == HELLO_CODE) {
		struct cpace c;

		start_cpace(s, h.nameplate, h.sid, &c);
		a.has_share = true;
		memcpy(a.share, c.share, sizeof(a.share));
		if (finish_cpace(s, &c, h.share) < 0)
			return -EBADMSG;
	}
	s->status = a.status;
	random_bytes(a.nonce, sizeof(a.nonce));
	hello_answer_encode(&a, &s->out);
	if (a.status != HELLO_OK) {
		enter(s, TRANSPORT_CLOSED);
		return 0; /* closes when the answer is sent */
	}
	say(s, wire);
	say(s, buf_slice(&s->out));
	start_handshake(s, h.features);
	return 0;
}

static int handle_answer(struct transport *s, struct slice wire)
{
	struct hello_answer a;
	int r = hello_answer_decode(wire, &a);

	if (r < 0)
		return r;
	s->status = a.status;
	if (a.status != HELLO_OK)
		return -ECANCELED;
	if (s->mode == HELLO_CODE && (!a.has_share || finish_cpace(s, &s->cpace, a.share) < 0))
		return -EBADMSG;
	say(s, wire);
	start_handshake(s, a.features);
	return write_handshake(s);
}

/* A relay is known by its key, and learns who we are only if it has it. */
static bool is_expected(const struct transport *s)
{
	uint8_t pk[KEYS_PK_BYTES];

	noise_remote_pk(s->noise, pk);
	return memcmp(pk, s->expect_pk, sizeof(pk)) == 0;
}

static int handle_handshake(struct transport *s, struct slice wire)
{
	AUTO(buf_fini) struct buf payload = {0};
	bool last_of_pair = s->mode != HELLO_SYNC && noise_message_count(s->noise) == 2;
	int r = noise_read(s->noise, wire, &payload);

	s->secret_was_wrong = r < 0 && last_of_pair;
	if (r < 0)
		return r;
	if (payload.len > 0)
		return -EPROTO;
	if (s->mode == HELLO_RELAY && s->options.initiator && !is_expected(s))
		return -EKEYREJECTED;
	if (noise_must_write(s->noise))
		return write_handshake(s);
	if (noise_is_done(s->noise))
		finish_handshake(s);
	return 0;
}

/* ---- RENEW ---------------------------------------------------------------------------------- */

enum renew_step {
	RENEW_ASK = 1,
	RENEW_ANSWER = 2,
	RENEW_END = 3,
};

static void start_renewal(struct transport *s)
{
	AUTO(buf_fini) struct buf prologue = {0};

	buf_append(&prologue, "blaze/2 renew", strlen("blaze/2 renew"));
	buf_append(&prologue, s->renew_hash, sizeof(s->renew_hash));
	const struct noise_options o = {
		.pattern = NOISE_KK,
		.cipher = s->aes ? NOISE_AESGCM : NOISE_CHACHAPOLY,
		.initiator = s->options.initiator,
		.prologue = buf_slice(&prologue),
		.keys = s->options.keys,
		.remote_pk = s->remote_pk,
	};
	s->noise = noise_create(&o);
}

/* The handshake's message goes out; with the last one of a side, its key changes. */
static int say_renewal(struct transport *s, enum renew_step step, struct noise_key *send)
{
	AUTO(buf_fini) struct buf content = {0};
	int r = 0;

	buf_u8(&content, (uint8_t)step);
	if (step == RENEW_END)
		buf_u8(&content, 0);
	else
		r = noise_write(s->noise, SLICE("", 0), &content);
	if (r < 0)
		return r;
	if (step == RENEW_ANSWER) {
		noise_hash(s->noise, s->renew_hash);
		noise_split(s->noise, send, &s->next_receive);
		s->has_next_receive = true;
		noise_destroy(STEAL(s->noise));
	}
	channel_control(s->channel, buf_slice(&content), send);
	return 0;
}

void transport_renew(struct transport *s)
{
	bool may = s->state == TRANSPORT_UP && s->mode == HELLO_SYNC && s->options.initiator;

	if (!may || s->noise || s->bye_wanted || channel_control_waits(s->channel))
		return;
	start_renewal(s);
	if (say_renewal(s, RENEW_ASK, NULL) < 0)
		noise_destroy(STEAL(s->noise)); /* cannot be: we know both keys */
}

static int handle_ask(struct transport *s, struct slice message)
{
	AUTO(buf_fini) struct buf payload = {0};
	struct noise_key send;

	if (s->options.initiator || s->mode != HELLO_SYNC || s->noise || s->has_next_receive)
		return -EPROTO;
	start_renewal(s);
	int r = noise_read(s->noise, message, &payload);
	if (r == 0 && payload.len > 0)
		r = -EPROTO;
	return r < 0 ? r : say_renewal(s, RENEW_ANSWER, &send);
}

static int handle_renewal_answer(struct transport *s, struct slice message)
{
	AUTO(buf_fini) struct buf payload = {0};
	struct noise_key send;
	struct noise_key receive;

	if (!s->options.initiator || !s->noise)
		return -EPROTO;
	int r = noise_read(s->noise, message, &payload);
	if (r < 0 || payload.len > 0)
		return r < 0 ? r : -EPROTO;
	noise_hash(s->noise, s->renew_hash);
	noise_split(s->noise, &send, &receive);
	noise_destroy(STEAL(s->noise));
	channel_receive_with(s->channel, &receive);
	s->renewal_count++;
	return say_renewal(s, RENEW_END, &send);
}

static int handle_control(struct transport *s, struct slice content)
{
	struct reader r = reader_init(content);
	uint8_t step = reader_u8(&r);
	struct slice message = reader_take(&r, reader_left(&r));

	if (step == RENEW_ASK)
		return handle_ask(s, message);
	if (step == RENEW_ANSWER)
		return handle_renewal_answer(s, message);
	if (step != RENEW_END || !s->has_next_receive)
		return -EPROTO;
	channel_receive_with(s->channel, &s->next_receive);
	s->has_next_receive = false;
	s->renewal_count++;
	return 0;
}

uint64_t transport_renewal_count(const struct transport *s)
{
	return s->renewal_count;
}

uint64_t transport_byte_count(const struct transport *s)
{
	return s->channel ? channel_byte_count(s->channel) : 0;
}

static int handle_record(struct transport *s, struct slice wire)
{
	int r = channel_receive(s->channel, wire, s->options.handler.message,
				s->options.handler.ctx);

	if (r >= 0 && channel_bye_received(s->channel) >= 0)
		return -ECANCELED;
	struct slice control = channel_received_control(s->channel);
	return r < 0 || control.len == 0 ? r : handle_control(s, control);
}

static int handle(struct transport *s, struct slice wire)
{
	switch (s->state) {
	case TRANSPORT_HELLO:
		return s->options.initiator ? handle_answer(s, wire) : handle_hello(s, wire);
	case TRANSPORT_HANDSHAKE:
		return handle_handshake(s, wire);
	case TRANSPORT_UP:
		return s->bye_wanted ? 0 : handle_record(s, wire);
	case TRANSPORT_CLOSED:
		break;
	}
	return s->out.len > 0 ? 0 : -EPROTO; /* our refusal is still on its way */
}

int transport_receive(struct transport *s, struct slice wire)
{
	size_t max = s->state < TRANSPORT_UP ? TRANSPORT_HELLO_BYTES_MAX : TRANSPORT_WIRE_BYTES_MAX;
	int r = wire.len > max ? -EMSGSIZE : handle(s, wire);

	if (r < 0 && s->state != TRANSPORT_CLOSED)
		enter(s, TRANSPORT_CLOSED);
	return r;
}

int transport_next(struct transport *s, struct buf *out)
{
	if (s->out.len > 0) {
		buf_slice_append(out, buf_slice(&s->out));
		buf_clear(&s->out);
		return 1;
	}
	if (s->state == TRANSPORT_CLOSED)
		return -ECANCELED;
	if (s->state != TRANSPORT_UP)
		return 0;
	int r = channel_next(s->channel, out);
	if (r == 0 && channel_bye_is_sent(s->channel)) {
		enter(s, TRANSPORT_CLOSED);
		return -ECANCELED;
	}
	return r;
}

void transport_send(struct transport *s, struct buf *message)
{
	assert(s->channel);
	channel_send(s->channel, message);
}

size_t transport_pending_bytes(const struct transport *s)
{
	return s->channel ? channel_pending_bytes(s->channel) : 0;
}

void transport_bye(struct transport *s, enum channel_bye reason)
{
	s->bye_wanted = true;
	if (s->state == TRANSPORT_UP)
		channel_bye(s->channel, reason);
	else if (s->state != TRANSPORT_CLOSED)
		enter(s, TRANSPORT_CLOSED);
}

enum hello_status transport_status(const struct transport *s)
{
	return s->status;
}

bool transport_secret_was_wrong(const struct transport *s)
{
	return s->secret_was_wrong;
}

int transport_bye_received(const struct transport *s)
{
	return s->channel ? channel_bye_received(s->channel) : -1;
}

void transport_hash(const struct transport *s, uint8_t ret[NOISE_HASH_BYTES])
{
	assert(s->channel);
	memcpy(ret, s->hash, NOISE_HASH_BYTES);
}

void transport_remote_pk(const struct transport *s, uint8_t ret[KEYS_PK_BYTES])
{
	assert(s->channel);
	memcpy(ret, s->remote_pk, KEYS_PK_BYTES);
}
