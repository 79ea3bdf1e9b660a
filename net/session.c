/* The life of one connection: one state, one function that takes events, one that changes the state. */
#include "net/session.h"

#include "core/log.h"

#include <stdlib.h>
#include <string.h>

#define PAIR_MESSAGE_BYTES_MAX (4u << 20)

struct session {
	struct session_options options;
	enum session_state state;
	enum hello_mode mode;
	enum hello_status status;
	uint8_t secret[32];
	uint8_t features;	/* ours */
	struct buf said;	/* both hellos: the prologue */
	struct buf out;		/* at most one message of hello or handshake */
	struct noise *noise;
	struct channel *channel;
	uint8_t hash[NOISE_HASH_BYTES];
	uint8_t remote_pk[KEYS_PK_BYTES];
	bool secret_was_wrong;
	bool bye_wanted;
};

static void enter(struct session *s, enum session_state state)
{
	static const char *const names[] = {
		[SESSION_HELLO] = "hello",
		[SESSION_HANDSHAKE] = "handshake",
		[SESSION_UP] = "up",
		[SESSION_CLOSED] = "closed",
	};

	assert(state > s->state);
	log_debug("session %p: %s -> %s", (void *)s, names[s->state], names[state]);
	s->state = state;
	if (state == SESSION_UP || state == SESSION_CLOSED) {
		noise_destroy(STEAL(s->noise));
		wipe(s->secret, sizeof(s->secret));
	}
}

/* Adds a hello to the prologue, with its length in front. */
static void say(struct session *s, struct slice hello)
{
	buf_bytes(&s->said, hello);
}

static void start_hello(struct session *s)
{
	struct hello h = {.mode = s->mode, .features = s->features};

	if (s->mode == HELLO_SYNC) {
		random_bytes(h.nonce, sizeof(h.nonce));
		h.hint = hello_hint(keys_device(s->options.keys)->dh_pk, s->secret, h.nonce);
	} else {
		hello_invite_id(s->secret, h.invite);
	}
	hello_encode(&h, &s->out);
	say(s, buf_slice(&s->out));
}

struct session *session_create(const struct session_options *options)
{
	struct session *s = xcalloc(1, sizeof(*s));

	s->options = *options;
	s->options.secret = NULL; /* borrowed for this call only */
	s->features = noise_has_aes() ? HELLO_FEATURE_AES : 0;
	buf_append(&s->said, "blaze/1", strlen("blaze/1"));
	if (options->initiator) {
		s->mode = options->mode;
		memcpy(s->secret, options->secret, sizeof(s->secret));
		start_hello(s);
	}
	return s;
}

void session_destroy(struct session *s)
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

enum session_state session_state(const struct session *s)
{
	return s->state;
}

enum hello_mode session_mode(const struct session *s)
{
	return s->mode;
}

static void start_handshake(struct session *s, uint8_t peer_features)
{
	bool aes = s->features & peer_features & HELLO_FEATURE_AES;
	bool pair = s->mode == HELLO_PAIR;
	struct noise_options o = {
		.pattern = pair ? NOISE_XXPSK3 : NOISE_KK,
		.cipher = aes ? NOISE_AESGCM : NOISE_CHACHAPOLY,
		.initiator = s->options.initiator,
		.prologue = buf_slice(&s->said),
		.keys = s->options.keys,
		.remote_pk = pair ? NULL : s->secret,
		.psk = pair ? s->secret : NULL,
	};

	s->noise = noise_create(&o);
	enter(s, SESSION_HANDSHAKE);
}

static void finish_handshake(struct session *s)
{
	const struct channel_limits pair_limits = {
		.rekey_records = 1u << 16,
		.rekey_bytes = 1u << 30,
		.message_bytes_max = PAIR_MESSAGE_BYTES_MAX,
	};
	struct noise_key send;
	struct noise_key receive;

	noise_hash(s->noise, s->hash);
	noise_remote_pk(s->noise, s->remote_pk);
	noise_split(s->noise, &send, &receive);
	s->channel = channel_create(&send, &receive, s->mode == HELLO_PAIR ? &pair_limits : NULL);
	enter(s, SESSION_UP);
	s->options.handler.up(s->options.handler.ctx);
}

static int write_handshake(struct session *s)
{
	if (s->out.len > 0)
		return -EPROTO; /* the peer answers what it cannot have read yet */
	int r = noise_write(s->noise, SLICE("", 0), &s->out);
	if (r >= 0 && noise_is_done(s->noise))
		finish_handshake(s);
	return r;
}

/* ---- events --------------------------------------------------------------------------------- */

static int handle_hello(struct session *s, struct slice wire)
{
	struct hello h = {0};
	struct hello_answer a = {.features = s->features};
	int r = hello_decode(wire, &h);

	if (r == -EPROTONOSUPPORT)
		a.status = HELLO_VERSION_REFUSED;
	else if (r < 0)
		return r;
	else
		a.status = s->options.handler.lookup(s->options.handler.ctx, &h, s->secret);
	s->mode = h.mode;
	s->status = a.status;
	random_bytes(a.nonce, sizeof(a.nonce));
	hello_answer_encode(&a, &s->out);
	if (a.status != HELLO_OK) {
		enter(s, SESSION_CLOSED);
		return 0; /* closes when the answer is sent */
	}
	say(s, wire);
	say(s, buf_slice(&s->out));
	start_handshake(s, h.features);
	return 0;
}

static int handle_answer(struct session *s, struct slice wire)
{
	struct hello_answer a;
	int r = hello_answer_decode(wire, &a);

	if (r < 0)
		return r;
	s->status = a.status;
	if (a.status != HELLO_OK)
		return -ECANCELED;
	say(s, wire);
	start_handshake(s, a.features);
	return write_handshake(s);
}

static int handle_handshake(struct session *s, struct slice wire)
{
	AUTO(buf_fini) struct buf payload = {0};
	bool last_of_pair = s->mode == HELLO_PAIR && noise_message_count(s->noise) == 2;
	int r = noise_read(s->noise, wire, &payload);

	s->secret_was_wrong = r < 0 && last_of_pair;
	if (r < 0)
		return r;
	if (payload.len > 0)
		return -EPROTO;
	if (noise_must_write(s->noise))
		return write_handshake(s);
	if (noise_is_done(s->noise))
		finish_handshake(s);
	return 0;
}

static int handle_record(struct session *s, struct slice wire)
{
	int r = channel_receive(s->channel, wire, s->options.handler.message, s->options.handler.ctx);

	if (r >= 0 && channel_bye_received(s->channel) >= 0)
		return -ECANCELED;
	return r;
}

static int handle(struct session *s, struct slice wire)
{
	switch (s->state) {
	case SESSION_HELLO:
		return s->options.initiator ? handle_answer(s, wire) : handle_hello(s, wire);
	case SESSION_HANDSHAKE:
		return handle_handshake(s, wire);
	case SESSION_UP:
		return s->bye_wanted ? 0 : handle_record(s, wire);
	case SESSION_CLOSED:
		break;
	}
	return s->out.len > 0 ? 0 : -EPROTO; /* our refusal is still on its way */
}

int session_receive(struct session *s, struct slice wire)
{
	int r = wire.len > SESSION_WIRE_BYTES_MAX ? -EMSGSIZE : handle(s, wire);

	if (r < 0 && s->state != SESSION_CLOSED)
		enter(s, SESSION_CLOSED);
	return r;
}

int session_next(struct session *s, struct buf *out)
{
	if (s->out.len > 0) {
		buf_slice_append(out, buf_slice(&s->out));
		buf_clear(&s->out);
		return 1;
	}
	if (s->state == SESSION_CLOSED)
		return -ECANCELED;
	if (s->state != SESSION_UP)
		return 0;
	int r = channel_next(s->channel, out);
	if (r == 0 && channel_bye_is_sent(s->channel)) {
		enter(s, SESSION_CLOSED);
		return -ECANCELED;
	}
	return r;
}

void session_send(struct session *s, struct buf *message)
{
	assert(s->channel);
	channel_send(s->channel, message);
}

size_t session_pending_bytes(const struct session *s)
{
	return s->channel ? channel_pending_bytes(s->channel) : 0;
}

void session_bye(struct session *s, enum channel_bye reason)
{
	s->bye_wanted = true;
	if (s->state == SESSION_UP)
		channel_bye(s->channel, reason);
	else if (s->state != SESSION_CLOSED)
		enter(s, SESSION_CLOSED);
}

enum hello_status session_status(const struct session *s)
{
	return s->status;
}

bool session_secret_was_wrong(const struct session *s)
{
	return s->secret_was_wrong;
}

int session_bye_received(const struct session *s)
{
	return s->channel ? channel_bye_received(s->channel) : -1;
}

void session_hash(const struct session *s, uint8_t ret[NOISE_HASH_BYTES])
{
	assert(s->channel);
	memcpy(ret, s->hash, NOISE_HASH_BYTES);
}

void session_remote_pk(const struct session *s, uint8_t ret[KEYS_PK_BYTES])
{
	assert(s->channel);
	memcpy(ret, s->remote_pk, KEYS_PK_BYTES);
}
