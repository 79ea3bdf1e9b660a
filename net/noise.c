/*
 * Noise on libsodium. The names (ck, h, k, mix_hash, mix_key) are those of the specification, so
 * that the two can be read side by side.
 */
#include "net/noise.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static_assert(NOISE_HASH_BYTES == crypto_hash_sha256_BYTES, "SHA-256");
static_assert(NOISE_TAG_BYTES == crypto_aead_aes256gcm_ABYTES, "AES-GCM");
static_assert(NOISE_TAG_BYTES == crypto_aead_chacha20poly1305_ietf_ABYTES, "ChaChaPoly");

#define MESSAGES_MAX 3
#define TOKENS_MAX 5

enum token {
	TOKEN_END,
	TOKEN_E,
	TOKEN_S,
	TOKEN_EE,
	TOKEN_ES,
	TOKEN_SE,
	TOKEN_SS,
	TOKEN_PSK,
};

struct pattern {
	const char *name;
	bool statics_known; /* before the first message */
	size_t message_count;
	enum token tokens[MESSAGES_MAX][TOKENS_MAX];
};

static const struct pattern patterns[] = {
	[NOISE_XXPSK3] = {"XXpsk3",
			  false,
			  3,
			  {{TOKEN_E},
			   {TOKEN_E, TOKEN_EE, TOKEN_S, TOKEN_ES},
			   {TOKEN_S, TOKEN_SE, TOKEN_PSK}}},
	[NOISE_KK] = {"KK", true, 2, {{TOKEN_E, TOKEN_ES, TOKEN_SS}, {TOKEN_E, TOKEN_EE, TOKEN_SE}}},
};

static const char *const cipher_names[] = {
	[NOISE_CHACHAPOLY] = "ChaChaPoly",
	[NOISE_AESGCM] = "AESGCM",
};

struct noise {
	const struct pattern *pattern;
	bool initiator;
	const struct keys *keys;
	bool dead;
	bool keyed;	      /* k is set: from here on everything is encrypted */
	bool ephemeral_fixed; /* by a known-answer test */
	size_t message_count;
	uint8_t h[32];
	uint8_t ck[32];
	struct noise_key k;
	uint8_t e_sk[32];
	uint8_t e_pk[32];
	bool has_e;
	uint8_t re[32];
	uint8_t rs[32];
	uint8_t psk[NOISE_SECRET_BYTES];
};

bool noise_has_aes(void)
{
	return crypto_aead_aes256gcm_is_available();
}

/* ---- HKDF and ciphers ----------------------------------------------------------------------- */

static void hmac(const uint8_t key[32], struct slice a, struct slice b, uint8_t out[32])
{
	crypto_auth_hmacsha256_state state;

	(void)crypto_auth_hmacsha256_init(&state, key, 32);
	if (a.len > 0)
		(void)crypto_auth_hmacsha256_update(&state, a.data, a.len);
	if (b.len > 0)
		(void)crypto_auth_hmacsha256_update(&state, b.data, b.len);
	(void)crypto_auth_hmacsha256_final(&state, out);
	wipe(&state, sizeof(state));
}

void noise_hkdf(const uint8_t salt[32], struct slice input, uint8_t (*ret)[32], size_t count)
{
	uint8_t prk[32];

	assert(count >= 1 && count <= 3);
	hmac(salt, input, SLICE("", 0), prk);
	for (size_t i = 0; i < count; i++) {
		uint8_t index = (uint8_t)(i + 1);
		struct slice before = i == 0 ? SLICE("", 0) : SLICE(ret[i - 1], 32);

		hmac(prk, before, SLICE(&index, 1), ret[i]);
	}
	wipe(prk, sizeof(prk));
}

/* Noise counts little-endian for ChaChaPoly and big-endian for AES-GCM. */
static void make_nonce(const struct noise_key *key, uint64_t n, uint8_t nonce[12])
{
	memset(nonce, 0, 12);
	for (size_t i = 0; i < 8; i++) {
		size_t at = key->cipher == NOISE_AESGCM ? 11 - i : 4 + i;

		nonce[at] = (uint8_t)(n >> (8 * i));
	}
}

static void encrypt_at(const struct noise_key *key, uint64_t n, struct slice ad, struct slice plain,
		       uint8_t *out)
{
	uint8_t nonce[12];

	make_nonce(key, n, nonce);
	if (key->cipher == NOISE_AESGCM)
		(void)crypto_aead_aes256gcm_encrypt(out, NULL, plain.data, plain.len, ad.data,
						    ad.len, NULL, nonce, key->k);
	else
		(void)crypto_aead_chacha20poly1305_ietf_encrypt(
			out, NULL, plain.data, plain.len, ad.data, ad.len, NULL, nonce, key->k);
}

int noise_key_seal(struct noise_key *key, struct slice ad, struct slice plain, struct buf *out)
{
	if (key->n == UINT64_MAX)
		return -EPROTO;
	encrypt_at(key, key->n++, ad, plain, buf_reserve(out, plain.len + NOISE_TAG_BYTES));
	out->len += plain.len + NOISE_TAG_BYTES;
	return 0;
}

int noise_key_open(struct noise_key *key, struct slice ad, struct slice sealed, struct buf *out)
{
	uint8_t nonce[12];

	if (key->n == UINT64_MAX)
		return -EPROTO;
	if (sealed.len < NOISE_TAG_BYTES)
		return -EBADMSG;
	size_t len = sealed.len - NOISE_TAG_BYTES;
	uint8_t *plain = buf_reserve(out, len);
	make_nonce(key, key->n, nonce);
	int r = key->cipher == NOISE_AESGCM
			? crypto_aead_aes256gcm_decrypt(plain, NULL, NULL, sealed.data, sealed.len,
							ad.data, ad.len, nonce, key->k)
			: crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed.data,
								    sealed.len, ad.data, ad.len,
								    nonce, key->k);
	if (r < 0)
		return -EBADMSG;
	key->n++;
	out->len += len;
	return 0;
}

void noise_key_rekey(struct noise_key *key)
{
	static const uint8_t zeros[32];
	uint8_t sealed[32 + NOISE_TAG_BYTES];

	encrypt_at(key, UINT64_MAX, SLICE("", 0), SLICE(zeros, sizeof(zeros)), sealed);
	memcpy(key->k, sealed, sizeof(key->k));
	wipe(sealed, sizeof(sealed));
}

/* ---- symmetric state ------------------------------------------------------------------------ */

static void mix_hash(struct noise *n, struct slice data)
{
	crypto_hash_sha256_state state;

	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, n->h, sizeof(n->h));
	if (data.len > 0)
		(void)crypto_hash_sha256_update(&state, data.data, data.len);
	(void)crypto_hash_sha256_final(&state, n->h);
}

static void set_key(struct noise *n, const uint8_t k[32])
{
	memcpy(n->k.k, k, sizeof(n->k.k));
	n->k.n = 0;
	n->keyed = true;
}

static void mix_key(struct noise *n, struct slice input)
{
	uint8_t out[2][32];

	noise_hkdf(n->ck, input, out, 2);
	memcpy(n->ck, out[0], sizeof(n->ck));
	set_key(n, out[1]);
	wipe(out, sizeof(out));
}

static void mix_key_and_hash(struct noise *n, struct slice input)
{
	uint8_t out[3][32];

	noise_hkdf(n->ck, input, out, 3);
	memcpy(n->ck, out[0], sizeof(n->ck));
	mix_hash(n, SLICE(out[1], 32));
	set_key(n, out[2]);
	wipe(out, sizeof(out));
}

static int encrypt_and_hash(struct noise *n, struct slice plain, struct buf *out)
{
	size_t start = out->len;
	int r = 0;

	if (n->keyed)
		r = noise_key_seal(&n->k, SLICE(n->h, sizeof(n->h)), plain, out);
	else
		buf_slice_append(out, plain);
	if (r >= 0)
		mix_hash(n, SLICE(out->data + start, out->len - start));
	return r;
}

static int decrypt_and_hash(struct noise *n, struct slice sealed, struct buf *out)
{
	if (n->keyed) {
		int r = noise_key_open(&n->k, SLICE(n->h, sizeof(n->h)), sealed, out);

		if (r < 0)
			return r;
	} else {
		buf_slice_append(out, sealed);
	}
	mix_hash(n, sealed);
	return 0;
}

/* ---- tokens --------------------------------------------------------------------------------- */

/* Mixes X25519 of (our ephemeral or static) and (their ephemeral or static). */
static int mix_dh(struct noise *n, bool own_ephemeral, bool their_ephemeral)
{
	uint8_t shared[32];
	const uint8_t *pk = their_ephemeral ? n->re : n->rs;
	int r = own_ephemeral ? crypto_scalarmult(shared, n->e_sk, pk)
			      : keys_dh(n->keys, pk, shared);

	if (r < 0)
		return -EBADMSG;
	mix_key(n, SLICE(shared, sizeof(shared)));
	wipe(shared, sizeof(shared));
	return 0;
}

static int mix_token(struct noise *n, enum token token)
{
	switch (token) {
	case TOKEN_EE:
		return mix_dh(n, true, true);
	case TOKEN_ES: /* the initiator's ephemeral, the responder's static */
		return mix_dh(n, n->initiator, !n->initiator);
	case TOKEN_SE:
		return mix_dh(n, !n->initiator, n->initiator);
	case TOKEN_SS:
		return mix_dh(n, false, false);
	case TOKEN_PSK:
		mix_key_and_hash(n, SLICE(n->psk, sizeof(n->psk)));
		return 0;
	case TOKEN_E:
	case TOKEN_S:
	case TOKEN_END:
		break;
	}
	abort(); /* the callers handle these */
}

/* In patterns with a pre-shared key, ephemeral keys are mixed into the key as well. */
static void mix_ephemeral(struct noise *n, const uint8_t pk[32])
{
	mix_hash(n, SLICE(pk, 32));
	if (n->pattern == &patterns[NOISE_XXPSK3])
		mix_key(n, SLICE(pk, 32));
}

static int write_token(struct noise *n, enum token token, struct buf *out)
{
	if (token == TOKEN_E) {
		if (!n->ephemeral_fixed)
			random_bytes(n->e_sk, sizeof(n->e_sk));
		(void)crypto_scalarmult_base(n->e_pk, n->e_sk);
		n->has_e = true;
		buf_append(out, n->e_pk, sizeof(n->e_pk));
		mix_ephemeral(n, n->e_pk);
		return 0;
	}
	if (token == TOKEN_S)
		return encrypt_and_hash(n, SLICE(keys_device(n->keys)->dh_pk, 32), out);
	return mix_token(n, token);
}

static int read_token(struct noise *n, enum token token, struct reader *r)
{
	if (token == TOKEN_E) {
		reader_copy(r, n->re, sizeof(n->re));
		if (r->bad || (n->has_e && secret_eq(n->re, n->e_pk, sizeof(n->re))))
			return -EBADMSG;
		mix_ephemeral(n, n->re);
		return 0;
	}
	if (token == TOKEN_S) {
		AUTO(buf_fini) struct buf rs = {0};
		struct slice sealed = reader_take(r, 32 + (n->keyed ? NOISE_TAG_BYTES : 0));

		if (r->bad || decrypt_and_hash(n, sealed, &rs) < 0)
			return -EBADMSG;
		assert(rs.len == sizeof(n->rs));
		memcpy(n->rs, rs.data, sizeof(n->rs));
		bool own = secret_eq(n->rs, keys_device(n->keys)->dh_pk, sizeof(n->rs));
		return own ? -EBADMSG : 0;
	}
	return mix_token(n, token);
}

/* ---- the handshake -------------------------------------------------------------------------- */

static void start_symmetric(struct noise *n, enum noise_cipher cipher)
{
	char name[64] = "Noise_";

	strcat(name, n->pattern->name);
	strcat(name, "_25519_");
	strcat(name, cipher_names[cipher]);
	strcat(name, "_SHA256");
	size_t len = strlen(name);
	if (len <= sizeof(n->h))
		memcpy(n->h, name, len);
	else
		(void)crypto_hash_sha256(n->h, (const uint8_t *)name, len);
	memcpy(n->ck, n->h, sizeof(n->ck));
	n->k.cipher = cipher;
}

struct noise *noise_create(const struct noise_options *o)
{
	struct noise *n = xcalloc(1, sizeof(*n));
	const uint8_t *own = keys_device(o->keys)->dh_pk;

	assert(o->cipher != NOISE_AESGCM || noise_has_aes());
	n->pattern = &patterns[o->pattern];
	n->initiator = o->initiator;
	n->keys = o->keys;
	if (o->ephemeral) {
		memcpy(n->e_sk, o->ephemeral, sizeof(n->e_sk));
		n->ephemeral_fixed = true;
	}
	if (o->pattern == NOISE_XXPSK3) {
		assert(o->psk);
		memcpy(n->psk, o->psk, sizeof(n->psk));
	}
	start_symmetric(n, o->cipher);
	mix_hash(n, o->prologue);
	if (n->pattern->statics_known) {
		assert(o->remote_pk);
		memcpy(n->rs, o->remote_pk, sizeof(n->rs));
		n->dead = secret_eq(n->rs, own, sizeof(n->rs));
		mix_hash(n, SLICE(n->initiator ? own : n->rs, 32));
		mix_hash(n, SLICE(n->initiator ? n->rs : own, 32));
	}
	return n;
}

void noise_destroy(struct noise *n)
{
	if (!n)
		return;
	wipe(n, sizeof(*n));
	free(n);
}

bool noise_is_done(const struct noise *n)
{
	return !n->dead && n->message_count == n->pattern->message_count;
}

bool noise_must_write(const struct noise *n)
{
	return !n->dead && !noise_is_done(n) && (n->message_count % 2 == 0) == n->initiator;
}

size_t noise_message_count(const struct noise *n)
{
	return n->message_count;
}

/* Forgets everything; all that follows fails. */
static int die(struct noise *n)
{
	const struct pattern *pattern = n->pattern;
	size_t message_count = n->message_count;

	wipe(n, sizeof(*n));
	n->pattern = pattern;
	n->message_count = message_count;
	n->dead = true;
	return -EBADMSG;
}

int noise_write(struct noise *n, struct slice payload, struct buf *out)
{
	if (n->dead)
		return -EBADMSG;
	assert(noise_must_write(n));
	const enum token *tokens = n->pattern->tokens[n->message_count];
	for (size_t i = 0; i < TOKENS_MAX && tokens[i] != TOKEN_END; i++) {
		if (write_token(n, tokens[i], out) < 0)
			return die(n);
	}
	if (encrypt_and_hash(n, payload, out) < 0)
		return die(n);
	n->message_count++;
	return 0;
}

int noise_read(struct noise *n, struct slice message, struct buf *payload)
{
	struct reader r = reader_init(message);

	if (n->dead || noise_is_done(n) || noise_must_write(n))
		return -EBADMSG;
	const enum token *tokens = n->pattern->tokens[n->message_count];
	for (size_t i = 0; i < TOKENS_MAX && tokens[i] != TOKEN_END; i++) {
		if (read_token(n, tokens[i], &r) < 0)
			return die(n);
	}
	if (decrypt_and_hash(n, reader_take(&r, reader_left(&r)), payload) < 0)
		return die(n);
	n->message_count++;
	return 0;
}

void noise_remote_pk(const struct noise *n, uint8_t ret[KEYS_PK_BYTES])
{
	assert(n->message_count >= 2);
	memcpy(ret, n->rs, KEYS_PK_BYTES);
}

void noise_hash(const struct noise *n, uint8_t ret[NOISE_HASH_BYTES])
{
	assert(noise_is_done(n));
	memcpy(ret, n->h, NOISE_HASH_BYTES);
}

void noise_split(struct noise *n, struct noise_key *ret_send, struct noise_key *ret_receive)
{
	uint8_t out[2][32];

	assert(noise_is_done(n));
	noise_hkdf(n->ck, SLICE("", 0), out, 2);
	*ret_send = (struct noise_key){.cipher = n->k.cipher};
	*ret_receive = (struct noise_key){.cipher = n->k.cipher};
	memcpy(ret_send->k, out[n->initiator ? 0 : 1], sizeof(ret_send->k));
	memcpy(ret_receive->k, out[n->initiator ? 1 : 0], sizeof(ret_receive->k));
	wipe(out, sizeof(out));
	wipe(n->ck, sizeof(n->ck));
	wipe(&n->k.k, sizeof(n->k.k));
	wipe(n->e_sk, sizeof(n->e_sk));
	wipe(n->psk, sizeof(n->psk));
}
