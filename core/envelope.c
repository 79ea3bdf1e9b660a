/* Sealing and opening; see envelope.h for the layout and what is bound. */
#include "core/envelope.h"

#include "core/batch.h"
#include "core/change.h"
#include "core/zip.h"

#include <sodium.h>

#include <string.h>

#define VERSION 4
#define TAG_BYTES 16
#define COMMIT_BYTES 16
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define MAC_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define PLAIN_BYTES_MAX ((size_t)RECORD_BYTES_MAX + (16u << 20))

static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == DIGEST_BYTES, "keys are digests");
static_assert(NONCE_BYTES == 24 && MAC_BYTES == 16, "the drawn layout");

struct feed_keys {
	uint8_t key[DIGEST_BYTES];
	uint8_t commit[DIGEST_BYTES];
	uint8_t tag[DIGEST_BYTES];
};

static void derive(uint8_t out[DIGEST_BYTES], const uint8_t key[DIGEST_BYTES], const char *label,
		   struct slice data)
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, key, DIGEST_BYTES, DIGEST_BYTES);
	(void)crypto_generichash_update(&state, (const uint8_t *)label, strlen(label) + 1);
	(void)crypto_generichash_update(&state, data.data, data.len);
	(void)crypto_generichash_final(&state, out, DIGEST_BYTES);
	wipe(&state, sizeof(state));
}

void envelope_stream_key(const uint8_t root_key[DIGEST_BYTES], const struct id *stream,
			 uint8_t ret[DIGEST_BYTES])
{
	derive(ret, root_key, "blaze stream", SLICE(stream->b, sizeof(stream->b)));
}

static void feed_keys_of(struct feed_keys *k, const struct envelope_place *at,
			 const uint8_t *root_key)
{
	uint8_t stream_key[DIGEST_BYTES];
	AUTO(buf_fini) struct buf feed = {0};

	if (at->granted)
		memcpy(stream_key, root_key, sizeof(stream_key));
	else
		envelope_stream_key(root_key, &at->stream, stream_key);
	buf_be64(&feed, at->actor);
	derive(k->key, stream_key, "blaze feed", buf_slice(&feed));
	derive(k->commit, k->key, "blaze commit", SLICE("", 0));
	id_write(&feed, &at->stream);
	derive(k->tag, stream_key, "blaze tag", buf_slice(&feed));
	wipe(stream_key, sizeof(stream_key));
}

static void feed_keys_init(struct feed_keys *k, const struct envelope_place *at)
{
	feed_keys_of(k, at, at->root_key);
}

static void feed_keys_to_box(struct feed_keys *k)
{
	uint8_t key[DIGEST_BYTES];

	derive(key, k->key, "blaze box", SLICE("", 0));
	memcpy(k->key, key, sizeof(key));
	derive(k->commit, k->key, "blaze commit", SLICE("", 0));
	wipe(key, sizeof(key));
}

/* KEY EPOCH: the keys that have made this commitment; NULL and nothing when none has. */
static const uint8_t *find_keys(const struct envelope_place *at, const uint8_t *commit, bool box,
				struct feed_keys *k)
{
	size_t count = at->ring ? at->ring->count : 1;

	for (size_t i = count; i > 0; i--) {
		const uint8_t *root_key = at->ring ? at->ring->keys[i - 1] : at->root_key;

		feed_keys_of(k, at, root_key);
		if (box)
			feed_keys_to_box(k);
		if (secret_eq(commit, k->commit, COMMIT_BYTES))
			return root_key;
	}
	wipe(k, sizeof(*k));
	return NULL;
}

/* Padmé (Nikitin et al., 2019): at most 12 % more, and the length tells only its order of magnitude. */
static size_t padme(size_t len)
{
	if (len < 32)
		return 32;
	unsigned e = 63 - (unsigned)__builtin_clzll(len);
	unsigned s = 64 - (unsigned)__builtin_clzll(e);
	size_t mask = ((size_t)1 << (e - s)) - 1;

	return (len + mask) & ~mask;
}

/* What the ciphertext and the signature are bound to beyond what is sent. */
static void hidden_part(const struct envelope_place *at, struct slice header, struct buf *out)
{
	buf_slice_append(out, header);
	id_write(out, &at->stream);
	buf_be64(out, at->actor);
	buf_append(out, at->prev, sizeof(at->prev));
}

static void hash_of(const struct envelope_place *at, struct slice sent, uint8_t out[DIGEST_BYTES])
{
	AUTO(buf_fini) struct buf hidden = {0};

	hidden_part(at, SLICE("", 0), &hidden);
	const struct slice parts[] = {buf_slice(&hidden), sent};
	digest(out, "blaze envelope", parts, countof(parts));
}

/*
 * As in SIV: equal nonces mean equal plaintexts in the same place, which gives away nothing. `header` is what
 * goes before the nonce.
 */
static void nonce_of(const struct envelope_place *at, const struct feed_keys *k,
		     struct slice header, struct slice plain, uint8_t out[NONCE_BYTES])
{
	AUTO(buf_fini) struct buf bound = {0};
	uint8_t key[DIGEST_BYTES];
	uint8_t sum[DIGEST_BYTES];
	crypto_generichash_state state;

	hidden_part(at, header, &bound);
	derive(key, k->key, "blaze nonce", buf_slice(&bound));
	(void)crypto_generichash_init(&state, key, sizeof(key), sizeof(sum));
	(void)crypto_generichash_update(&state, plain.data, plain.len);
	(void)crypto_generichash_final(&state, sum, sizeof(sum));
	memcpy(out, sum, NONCE_BYTES);
	wipe(&state, sizeof(state));
	wipe(key, sizeof(key));
}

static void pad(struct slice body, struct buf *plain)
{
	buf_bytes(plain, body);
	buf_resize(plain, padme(plain->len));
}

/* Appends commitment, nonce and ciphertext to what is in *out, which is bound as the header. */
static void seal(const struct envelope_place *at, const struct feed_keys *k, struct slice plain,
		 struct buf *out)
{
	AUTO(buf_fini) struct buf bound = {0};
	uint8_t nonce[NONCE_BYTES];

	buf_append(out, k->commit, COMMIT_BYTES);
	nonce_of(at, k, buf_slice(out), plain, nonce);
	buf_append(out, nonce, sizeof(nonce));
	hidden_part(at, buf_slice(out), &bound);
	buf_varint(out, plain.len + MAC_BYTES);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(buf_reserve(out, plain.len + MAC_BYTES),
							 NULL, plain.data, plain.len, bound.data,
							 bound.len, NULL, nonce, k->key);
	out->len += plain.len + MAC_BYTES;
}

/* What stands before the commitment; clears *out. */
static void begin(const struct feed_keys *k, uint64_t seq_first, uint64_t count, struct buf *out)
{
	buf_clear(out);
	buf_u8(out, VERSION);
	buf_append(out, k->tag, TAG_BYTES);
	buf_varint(out, seq_first);
	buf_varint(out, count);
}

/* All but the signature. */
static void seal_changes(const struct envelope_place *at, uint64_t seq_first, struct slice changes,
			 size_t count, struct buf *out)
{
	AUTO(buf_fini) struct buf coded = {0};
	AUTO(buf_fini) struct buf plain = {0};
	struct feed_keys k;

	assert(count > 0 && count <= ENVELOPE_CHANGES_MAX && seq_first > 0);
	batch_encode(at->actor, changes, count, &coded);
	pad(buf_slice(&coded), &plain);
	feed_keys_init(&k, at);
	begin(&k, seq_first, count, out);
	seal(at, &k, buf_slice(&plain), out);
	wipe(&k, sizeof(k));
}

void envelope_seal(const struct envelope_place *at, const struct keys *keys, uint64_t seq_first,
		   const struct slice *changes, size_t count, struct buf *out)
{
	AUTO(buf_fini) struct buf body = {0};
	uint8_t sum[DIGEST_BYTES];
	uint8_t signature[KEYS_SIGNATURE_BYTES];

	for (size_t i = 0; i < count; i++)
		buf_bytes(&body, changes[i]);
	seal_changes(at, seq_first, buf_slice(&body), count, out);
	hash_of(at, buf_slice(out), sum);
	keys_sign(keys, SLICE(sum, sizeof(sum)), signature);
	buf_append(out, signature, sizeof(signature));
}

void envelope_rehash(const struct envelope_place *at, uint64_t seq_first, struct slice changes,
		     size_t count, uint8_t ret[DIGEST_BYTES])
{
	AUTO(buf_fini) struct buf sent = {0};

	seal_changes(at, seq_first, changes, count, &sent);
	hash_of(at, buf_slice(&sent), ret);
}

struct parsed {
	struct envelope_range range;
	const uint8_t *tag;
	const uint8_t *commit;
	const uint8_t *nonce;
	struct slice unsealed; /**< all before the nonce */
	struct slice header;
	struct slice ciphertext;
	struct slice sent; /**< all but the signature */
	const uint8_t *signature;
};

static void parse_range(struct reader *r, struct parsed *p)
{
	p->range.seq_first = reader_varint_max(r, UINT64_MAX >> 2);
	p->range.count = reader_varint_max(r, ENVELOPE_CHANGES_MAX);
	p->commit = reader_take(r, COMMIT_BYTES).data;
	if (p->range.seq_first == 0 || p->range.count == 0)
		r->bad = true;
}

/* All before the nonce. */
static void parse_head(struct reader *r, struct slice e, struct parsed *p)
{
	if (reader_u8(r) != VERSION)
		r->bad = true;
	p->tag = reader_take(r, TAG_BYTES).data;
	parse_range(r, p);
	p->unsealed = SLICE(e.data, e.len - reader_left(r));
}

static int parse(struct slice e, struct parsed *p)
{
	struct reader r = reader_init(e);

	parse_head(&r, e, p);
	p->nonce = reader_take(&r, NONCE_BYTES).data;
	p->header = SLICE(e.data, e.len - reader_left(&r));
	p->ciphertext = reader_bytes(&r, PLAIN_BYTES_MAX);
	p->sent = SLICE(e.data, e.len - reader_left(&r));
	p->signature = reader_take(&r, KEYS_SIGNATURE_BYTES).data;
	if (reader_finish(&r) < 0 || p->ciphertext.len < MAC_BYTES)
		return -EBADMSG;
	return 0;
}

int envelope_range(struct slice envelope, struct envelope_range *ret)
{
	struct parsed p = {0};
	int r = parse(envelope, &p);

	if (r == 0)
		*ret = p.range;
	return r;
}

/* *ret gets what was padded. What is padded or numbered differently could not be made again, and is refused. */
static int decrypt(const struct envelope_place *at, const struct feed_keys *k,
		   const struct parsed *p, struct buf *ret)
{
	AUTO(buf_fini) struct buf plain = {0};
	AUTO(buf_fini) struct buf again = {0};
	AUTO(buf_fini) struct buf bound = {0};
	uint8_t nonce[NONCE_BYTES];

	hidden_part(at, p->header, &bound);
	if (!secret_eq(p->tag, k->tag, TAG_BYTES) || !secret_eq(p->commit, k->commit, COMMIT_BYTES) ||
	    crypto_aead_xchacha20poly1305_ietf_decrypt(buf_reserve(&plain, p->ciphertext.len), NULL,
						       NULL, p->ciphertext.data, p->ciphertext.len,
						       bound.data, bound.len, p->nonce, k->key) != 0)
		return -EBADMSG;
	plain.len = p->ciphertext.len - MAC_BYTES;
	struct reader r = reader_init(buf_slice(&plain));
	struct slice body = reader_bytes(&r, plain.len);
	if (r.bad)
		return -EBADMSG;
	pad(body, &again);
	nonce_of(at, k, p->unsealed, buf_slice(&plain), nonce);
	if (!slice_eq(buf_slice(&plain), buf_slice(&again)) ||
	    memcmp(nonce, p->nonce, sizeof(nonce)) != 0)
		return -EBADMSG;
	buf_clear(ret);
	buf_slice_append(ret, body);
	return 0;
}

/* As in decrypt(): what nobody would write so is refused. */
static int open_batch(uint64_t actor, struct slice coded, size_t count, struct buf *ret)
{
	AUTO(buf_fini) struct buf again = {0};

	buf_clear(ret);
	if (batch_decode(actor, coded, count, PLAIN_BYTES_MAX, ret) < 0)
		return -EBADMSG;
	batch_encode(actor, buf_slice(ret), count, &again);
	return slice_eq(coded, buf_slice(&again)) ? 0 : -EBADMSG;
}

int envelope_open(const struct envelope_place *at, const uint8_t sign_pk[KEYS_PK_BYTES],
		  struct slice envelope, struct buf *ret)
{
	AUTO(buf_fini) struct buf coded = {0};
	uint8_t sum[DIGEST_BYTES];
	struct parsed p = {0};
	struct feed_keys k;
	int r = parse(envelope, &p);

	if (r < 0)
		return r;
	if (sign_pk) {
		hash_of(at, p.sent, sum);
		if (!envelope_is_signed(sum, p.signature, sign_pk))
			return -EBADMSG;
	}
	if (!find_keys(at, p.commit, false, &k))
		return -ENOKEY;
	r = decrypt(at, &k, &p, &coded);
	wipe(&k, sizeof(k));
	return r == 0 ? open_batch(at->actor, buf_slice(&coded), (size_t)p.range.count, ret) : r;
}

const uint8_t *envelope_key(const struct envelope_place *at, struct slice envelope)
{
	struct parsed p = {0};
	struct feed_keys k;
	const uint8_t *key = parse(envelope, &p) == 0 ? find_keys(at, p.commit, false, &k) : NULL;

	wipe(&k, sizeof(k));
	return key;
}

void envelope_hash(const struct envelope_place *at, struct slice envelope, uint8_t ret[DIGEST_BYTES])
{
	assert(envelope.len > KEYS_SIGNATURE_BYTES);
	hash_of(at, SLICE(envelope.data, envelope.len - KEYS_SIGNATURE_BYTES), ret);
}

const uint8_t *envelope_signature(struct slice envelope)
{
	assert(envelope.len > KEYS_SIGNATURE_BYTES);
	return SLICE(envelope.data + (envelope.len - KEYS_SIGNATURE_BYTES), 0).data;
}

bool envelope_is_signed(const uint8_t hash[DIGEST_BYTES],
			const uint8_t signature[KEYS_SIGNATURE_BYTES],
			const uint8_t sign_pk[KEYS_PK_BYTES])
{
	return keys_verify(sign_pk, SLICE(hash, DIGEST_BYTES), signature);
}

/* ---- thin ones --------------------------------------------------------------------------------- */

#define THIN_ZIP_LEVEL 3

/* What is smaller is not made smaller any more. */
#define THIN_ZIP_BYTES_MIN 512

static void put_packed(struct slice coded, struct buf *out)
{
	AUTO(buf_fini) struct buf packed = {0};

	if (coded.len >= THIN_ZIP_BYTES_MIN)
		zip_pack(coded, THIN_ZIP_LEVEL, &packed);
	bool smaller = packed.len && packed.len < coded.len;
	struct slice part = smaller ? buf_slice(&packed) : coded;
	buf_varint(out, part.len * 2 + (smaller ? 1 : 0));
	buf_slice_append(out, part);
}

int envelope_thin(const struct envelope_place *at, struct slice envelope, struct buf *out)
{
	AUTO(buf_fini) struct buf coded = {0};
	struct parsed p = {0};
	struct feed_keys k;
	int r = parse(envelope, &p);

	if (r < 0)
		return r;
	if (!find_keys(at, p.commit, false, &k))
		return -EBADMSG;
	r = decrypt(at, &k, &p, &coded);
	wipe(&k, sizeof(k));
	if (r < 0)
		return r;
	buf_varint(out, p.range.seq_first);
	buf_varint(out, p.range.count);
	buf_append(out, p.commit, COMMIT_BYTES);
	put_packed(buf_slice(&coded), out);
	buf_append(out, p.signature, KEYS_SIGNATURE_BYTES);
	return 0;
}

struct thin {
	struct parsed head; /* range, commit and signature */
	struct slice changes;
	bool is_packed;
};

static int parse_thin(struct slice thin, struct thin *ret)
{
	struct reader r = reader_init(thin);

	parse_range(&r, &ret->head);
	uint64_t length = reader_varint_max(&r, 2 * (uint64_t)PLAIN_BYTES_MAX + 1);
	ret->is_packed = length & 1;
	ret->changes = reader_take(&r, (size_t)(length / 2));
	ret->head.signature = reader_take(&r, KEYS_SIGNATURE_BYTES).data;
	return reader_finish(&r);
}

int envelope_thin_range(struct slice thin, struct envelope_range *ret)
{
	struct thin t = {0};
	int r = parse_thin(thin, &t);

	if (r == 0)
		*ret = t.head.range;
	return r;
}

int envelope_thicken(const struct envelope_place *at, struct slice thin, struct buf *ret)
{
	AUTO(buf_fini) struct buf coded = {0};
	AUTO(buf_fini) struct buf plain = {0};
	struct thin t = {0};
	struct feed_keys k;
	int r = parse_thin(thin, &t);

	if (r == 0 && t.is_packed)
		r = zip_unpack(t.changes, PLAIN_BYTES_MAX, &coded);
	if (r < 0)
		return r;
	pad(t.is_packed ? buf_slice(&coded) : t.changes, &plain);
	if (!find_keys(at, t.head.commit, false, &k))
		return -ENOKEY;
	begin(&k, t.head.range.seq_first, t.head.range.count, ret);
	seal(at, &k, buf_slice(&plain), ret);
	buf_append(ret, t.head.signature, KEYS_SIGNATURE_BYTES);
	wipe(&k, sizeof(k));
	return 0;
}

/* ---- boxes ------------------------------------------------------------------------------------ */

void envelope_box(const struct envelope_place *at, struct slice header, struct slice plain,
		  struct buf *out)
{
	AUTO(buf_fini) struct buf padded = {0};
	AUTO(buf_fini) struct buf sealed = {0};
	struct feed_keys k;

	pad(plain, &padded);
	feed_keys_init(&k, at);
	feed_keys_to_box(&k);
	buf_slice_append(&sealed, header);
	buf_append(&sealed, k.tag, TAG_BYTES);
	seal(at, &k, buf_slice(&padded), &sealed);
	buf_append(out, sealed.data + header.len, sealed.len - header.len);
	wipe(&k, sizeof(k));
}

int envelope_unbox(const struct envelope_place *at, struct slice header, struct slice box,
		   struct buf *ret, const uint8_t **ret_key)
{
	AUTO(buf_fini) struct buf sealed = {0};
	struct parsed p = {0};
	struct feed_keys k;

	buf_slice_append(&sealed, header);
	buf_slice_append(&sealed, box);
	struct slice all = buf_slice(&sealed);
	struct reader r = reader_init(all);
	(void)reader_take(&r, header.len);
	p.tag = reader_take(&r, TAG_BYTES).data;
	p.commit = reader_take(&r, COMMIT_BYTES).data;
	p.unsealed = SLICE(all.data, all.len - reader_left(&r));
	p.nonce = reader_take(&r, NONCE_BYTES).data;
	p.header = SLICE(all.data, all.len - reader_left(&r));
	p.ciphertext = reader_bytes(&r, PLAIN_BYTES_MAX);
	if (reader_finish(&r) < 0 || p.ciphertext.len < MAC_BYTES)
		return -EBADMSG;
	*ret_key = find_keys(at, p.commit, true, &k);
	if (!*ret_key)
		return -ENOKEY;
	int err = decrypt(at, &k, &p, ret);
	wipe(&k, sizeof(k));
	return err;
}

void envelope_seal_piece(const uint8_t key[DIGEST_BYTES], struct slice bound, struct slice plain,
			 struct buf *out)
{
	uint8_t nonce[NONCE_BYTES];

	random_bytes(nonce, sizeof(nonce));
	buf_append(out, nonce, sizeof(nonce));
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(buf_reserve(out, plain.len + MAC_BYTES),
							 NULL, plain.data, plain.len, bound.data,
							 bound.len, NULL, nonce, key);
	out->len += plain.len + MAC_BYTES;
}

int envelope_open_piece(const uint8_t key[DIGEST_BYTES], struct slice bound, struct slice sealed,
			struct buf *ret)
{
	static_assert(ENVELOPE_PIECE_EXTRA_BYTES == NONCE_BYTES + MAC_BYTES, "as promised");
	buf_clear(ret);
	if (sealed.len < NONCE_BYTES + MAC_BYTES)
		return -EBADMSG;
	size_t len = sealed.len - NONCE_BYTES - MAC_BYTES;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(buf_reserve(ret, len + 1), NULL, NULL,
						       sealed.data + NONCE_BYTES, len + MAC_BYTES,
						       bound.data, bound.len, sealed.data, key) != 0)
		return -EBADMSG;
	ret->len = len;
	return 0;
}

void envelope_seal_key(const uint8_t with[DIGEST_BYTES], struct slice bound,
		       const uint8_t key[DIGEST_BYTES], uint8_t ret[DIGEST_BYTES + 16])
{
	static const uint8_t nonce[NONCE_BYTES];

	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret, NULL, key, DIGEST_BYTES, bound.data,
							 bound.len, NULL, nonce, with);
}

int envelope_open_key(const uint8_t with[DIGEST_BYTES], struct slice bound,
		      const uint8_t sealed[DIGEST_BYTES + 16], uint8_t ret_key[DIGEST_BYTES])
{
	static const uint8_t nonce[NONCE_BYTES];

	return crypto_aead_xchacha20poly1305_ietf_decrypt(ret_key, NULL, NULL, sealed,
							  DIGEST_BYTES + MAC_BYTES, bound.data,
							  bound.len, nonce, with) == 0
		       ? 0
		       : -EBADMSG;
}
