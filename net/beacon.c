/* TXT records of DNS-SD. */
#include "net/beacon.h"

#include <stdlib.h>
#include <string.h>

#define STRING_BYTES_MAX 255
/* Bytes in one string: a multiple of 3, so that what is put together is base64 again. */
#define PIECE_BYTES 186
#define PIECES_MAX 3
#define SECRET_BYTES_MAX (BEACON_NONCE_BYTES + BEACON_HINTS_MAX * BEACON_HINT_BYTES)

static_assert(SECRET_BYTES_MAX <= PIECE_BYTES * PIECES_MAX, "all hints have a place");

static const char *const piece_keys[PIECES_MAX] = {"h", "h1", "h2"};

/* ---- hints ----------------------------------------------------------------------------------- */

static struct id hint_of(const struct beacon *b, const uint8_t speaker_pk[KEYS_PK_BYTES],
			 const uint8_t listener_pk[KEYS_PK_BYTES], const struct id *database)
{
	const struct slice parts[] = {
		SLICE(speaker_pk, KEYS_PK_BYTES),
		SLICE(listener_pk, KEYS_PK_BYTES),
		SLICE(database->b, sizeof(database->b)),
		SLICE(b->nonce, sizeof(b->nonce)),
	};

	return digest_id("blaze nearby", parts, countof(parts));
}

void beacon_add_hint(struct beacon *b, const uint8_t speaker_pk[KEYS_PK_BYTES],
		     const uint8_t listener_pk[KEYS_PK_BYTES], const struct id *database)
{
	struct id hint = hint_of(b, speaker_pk, listener_pk, database);

	if (b->hint_count < BEACON_HINTS_MAX)
		memcpy(b->hints[b->hint_count++], hint.b, BEACON_HINT_BYTES);
}

bool beacon_is_for(const struct beacon *b, const uint8_t speaker_pk[KEYS_PK_BYTES],
		   const uint8_t listener_pk[KEYS_PK_BYTES], const struct id *database)
{
	struct id hint = hint_of(b, speaker_pk, listener_pk, database);

	for (size_t i = 0; i < b->hint_count; i++) {
		if (memcmp(b->hints[i], hint.b, BEACON_HINT_BYTES) == 0)
			return true;
	}
	return false;
}

void beacon_add_address(struct beacon *b, const char *text)
{
	struct endpoint e;

	if (b->address_count < BEACON_ADDRESSES_MAX && endpoint_parse(text, &e) == 0 && e.port > 0 &&
	    endpoint_is_numeric(&e) && !endpoint_is_any(&e) && !endpoint_is_loopback(&e))
		b->addresses[b->address_count++] = e;
}

/* ---- the record ------------------------------------------------------------------------------ */

static void add_string(struct buf *out, const char *key, const char *value)
{
	size_t len = strlen(key) + 1 + strlen(value);

	assert(len <= STRING_BYTES_MAX);
	buf_u8(out, (uint8_t)len);
	buf_printf(out, "%s=%s", key, value);
}

void beacon_encode(const struct beacon *b, struct buf *out)
{
	AUTO(buf_fini) struct buf secret = {0};
	AUTO(buf_fini) struct buf addresses = {0};
	char text[ENDPOINT_TEXT_BYTES];

	add_string(out, "v", "1");
	buf_append(&secret, b->nonce, sizeof(b->nonce));
	buf_append(&secret, b->hints, b->hint_count * BEACON_HINT_BYTES);
	for (size_t i = 0, at = 0; i < PIECES_MAX && at < secret.len; i++, at += PIECE_BYTES) {
		AUTO(buf_fini) struct buf piece = {0};
		size_t left = secret.len - at;

		base64_encode(SLICE(secret.data + at, left < PIECE_BYTES ? left : PIECE_BYTES),
			      &piece);
		add_string(out, piece_keys[i], buf_str(&piece));
	}
	for (size_t i = 0; i < b->address_count; i++) {
		endpoint_format(&b->addresses[i], text);
		if (addresses.len + 1 + strlen(text) < STRING_BYTES_MAX - strlen("a="))
			buf_printf(&addresses, "%s%s", addresses.len ? "," : "", text);
	}
	if (addresses.len > 0)
		add_string(out, "a", buf_str(&addresses));
}

/* What was read of a record, before it is made sense of. */
struct parts {
	bool version;
	struct slice pieces[PIECES_MAX];
	bool has[PIECES_MAX];
	struct slice addresses;
	bool has_addresses;
};

static bool has_key(struct slice string, const char *key, struct slice *ret_value)
{
	struct reader r = reader_init(string);

	if (!slice_eq(reader_take(&r, strlen(key)), slice_str(key)) || reader_u8(&r) != '=' || r.bad)
		return false;
	*ret_value = reader_take(&r, reader_left(&r));
	return true;
}

/* Keys that are not known are left out, a key a second time is an error. */
static int take_string(struct parts *p, struct slice string)
{
	struct slice value;

	for (size_t i = 0; i < PIECES_MAX; i++) {
		if (!has_key(string, piece_keys[i], &value))
			continue;
		if (p->has[i])
			return -EBADMSG;
		p->has[i] = true;
		p->pieces[i] = value;
	}
	if (has_key(string, "a", &value)) {
		if (p->has_addresses)
			return -EBADMSG;
		p->has_addresses = true;
		p->addresses = value;
	}
	if (has_key(string, "v", &value)) {
		if (p->version || !slice_eq(value, SLICE_STR("1")))
			return -EBADMSG;
		p->version = true;
	}
	return 0;
}

static int take_hints(const struct parts *p, struct beacon *b)
{
	AUTO(buf_fini) struct buf secret = {0};

	for (size_t i = 0; i < PIECES_MAX && p->has[i]; i++) {
		AUTO(buf_fini) struct buf piece = {0};

		if (base64_decode((const char *)p->pieces[i].data, p->pieces[i].len, &piece) < 0)
			return -EBADMSG;
		buf_slice_append(&secret, buf_slice(&piece));
	}
	if (secret.len < BEACON_NONCE_BYTES || secret.len > SECRET_BYTES_MAX ||
	    (secret.len - BEACON_NONCE_BYTES) % BEACON_HINT_BYTES != 0)
		return -EBADMSG;
	memcpy(b->nonce, secret.data, BEACON_NONCE_BYTES);
	b->hint_count = (secret.len - BEACON_NONCE_BYTES) / BEACON_HINT_BYTES;
	memcpy(b->hints, secret.data + BEACON_NONCE_BYTES, secret.len - BEACON_NONCE_BYTES);
	return 0;
}

static void take_addresses(const struct parts *p, struct beacon *b)
{
	AUTO(free_ptr) char *text = xmalloc(p->addresses.len + 1);
	char *rest = NULL;

	memcpy(text, p->has_addresses ? p->addresses.data : (const uint8_t *)"", p->addresses.len);
	text[p->addresses.len] = 0;
	for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
		beacon_add_address(b, word);
}

int beacon_decode(struct slice txt, struct beacon *ret)
{
	struct reader r = reader_init(txt);
	struct beacon b = {0};
	struct parts p = {0};

	if (txt.len > BEACON_BYTES_MAX)
		return -EBADMSG;
	while (!r.bad && reader_left(&r) > 0) {
		struct slice string = reader_take(&r, reader_u8(&r));

		if (!r.bad && take_string(&p, string) < 0)
			return -EBADMSG;
	}
	if (r.bad || !p.version || take_hints(&p, &b) < 0)
		return -EBADMSG;
	take_addresses(&p, &b);
	*ret = b;
	return 0;
}
