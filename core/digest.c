/* Hashing, randomness, wiping and base64, on libsodium. */
#include "core/digest.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(DIGEST_BYTES == crypto_generichash_BYTES, "BLAKE2b-256");

void digest_init(void)
{
	if (sodium_init() < 0) {
		(void)fputs("blaze: libsodium cannot start\n", stderr);
		abort();
	}
}

/* The length in front keeps ("ab", "c") and ("a", "bc") apart. */
static void update(crypto_generichash_state *state, struct slice part)
{
	uint8_t len[8];

	for (size_t i = 0; i < sizeof(len); i++)
		len[i] = (uint8_t)((uint64_t)part.len >> (8 * (sizeof(len) - 1 - i)));
	(void)crypto_generichash_update(state, len, sizeof(len));
	if (part.len > 0)
		(void)crypto_generichash_update(state, part.data, part.len);
}

void digest(uint8_t out[DIGEST_BYTES], const char *domain, const struct slice *parts, size_t count)
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, DIGEST_BYTES);
	update(&state, SLICE_STR(domain));
	for (size_t i = 0; i < count; i++)
		update(&state, parts[i]);
	(void)crypto_generichash_final(&state, out, DIGEST_BYTES);
	wipe(&state, sizeof(state));
}

struct id digest_id(const char *domain, const struct slice *parts, size_t count)
{
	uint8_t full[DIGEST_BYTES];
	struct id id;

	digest(full, domain, parts, count);
	memcpy(id.b, full, sizeof(id.b));
	return id;
}

void digest_keyed(uint8_t *out, size_t out_len, const uint8_t key[DIGEST_BYTES], struct slice bytes)
{
	(void)crypto_generichash(out, out_len, bytes.data, bytes.len, key, DIGEST_BYTES);
}

static_assert(DIGEST_SUM_BYTES == crypto_shorthash_BYTES &&
		      DIGEST_SUM_KEY_BYTES == crypto_shorthash_KEYBYTES,
	      "SipHash-2-4");

void digest_sum(uint8_t out[DIGEST_SUM_BYTES], const uint8_t key[DIGEST_SUM_KEY_BYTES],
		struct slice bytes)
{
	(void)crypto_shorthash(out, bytes.data, bytes.len, key);
}

void random_bytes(void *out, size_t len)
{
	randombytes_buf(out, len);
}

void wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}

bool secret_eq(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

void base64_encode(struct slice in, struct buf *out)
{
	size_t size = sodium_base64_encoded_len(in.len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	char *text = (char *)buf_reserve(out, size);

	(void)sodium_bin2base64(text, size, in.data, in.len,
				sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	out->len += size - 1;
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
	size_t cap = len / 4 * 3 + 3;
	size_t n = 0;
	uint8_t *bytes = buf_reserve(out, cap);

	if (sodium_base642bin(bytes, cap, text, len, NULL, &n, NULL,
			      sodium_base64_VARIANT_URLSAFE_NO_PADDING) < 0)
		return -EBADMSG;
	out->len += n;
	return 0;
}
