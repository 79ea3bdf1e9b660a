/* Accounts on libsodium. */
#include "core/account.h"

#include "core/words.h"

#include <sodium.h>
#include <string.h>

#define WORD_BYTES ((ACCOUNT_WORDS * WORDS_BITS + 7) / 8)

static_assert(ACCOUNT_WORDS * WORDS_BITS == ACCOUNT_ENTROPY_BYTES * 8 + 12, "12 bits of check");

static void derive(struct account *a, uint8_t sk[crypto_sign_SECRETKEYBYTES])
{
	const struct slice part = SLICE(a->entropy, sizeof(a->entropy));
	uint8_t seed[DIGEST_BYTES];

	static_assert(sizeof(seed) == crypto_sign_SEEDBYTES, "a seed");
	digest(seed, "blaze account", &part, 1);
	(void)crypto_sign_seed_keypair(a->pk, sk, seed);
	wipe(seed, sizeof(seed));
}

static void add_check(const struct account *a, uint8_t bits[WORD_BYTES])
{
	const struct slice part = SLICE(a->entropy, sizeof(a->entropy));
	uint8_t sum[DIGEST_BYTES];

	digest(sum, "blaze account check", &part, 1);
	memcpy(bits, a->entropy, sizeof(a->entropy));
	bits[ACCOUNT_ENTROPY_BYTES] = sum[0];
	bits[ACCOUNT_ENTROPY_BYTES + 1] = sum[1] & 0xf0;
}

void account_create(struct account *ret)
{
	uint8_t sk[crypto_sign_SECRETKEYBYTES];

	random_bytes(ret->entropy, sizeof(ret->entropy));
	derive(ret, sk);
	wipe(sk, sizeof(sk));
}

void account_words(const struct account *a, struct buf *out)
{
	uint8_t bits[WORD_BYTES];

	add_check(a, bits);
	words_encode(bits, ACCOUNT_WORDS, " ", out);
	wipe(bits, sizeof(bits));
}

int account_from_words(struct slice text, struct account *ret)
{
	uint8_t sk[crypto_sign_SECRETKEYBYTES];
	uint8_t bits[WORD_BYTES];
	uint8_t again[WORD_BYTES];
	int r = words_decode(text, bits, sizeof(bits), ACCOUNT_WORDS);

	if (r == 0) {
		memcpy(ret->entropy, bits, sizeof(ret->entropy));
		add_check(ret, again);
		r = secret_eq(bits, again, sizeof(bits)) ? 0 : -EBADMSG;
	}
	if (r == 0)
		derive(ret, sk);
	wipe(bits, sizeof(bits));
	wipe(again, sizeof(again));
	wipe(sk, sizeof(sk));
	return r == -E2BIG ? -EINVAL : r;
}

void account_sign(const struct account *a, struct slice message, uint8_t ret[KEYS_SIGNATURE_BYTES])
{
	struct account copy = *a;
	uint8_t sk[crypto_sign_SECRETKEYBYTES];

	derive(&copy, sk);
	(void)crypto_sign_detached(ret, NULL, message.data, message.len, sk);
	wipe(sk, sizeof(sk));
	wipe(&copy, sizeof(copy));
}

void account_text(const uint8_t pk[KEYS_PK_BYTES], struct buf *out)
{
	base64_encode(SLICE(pk, KEYS_PK_BYTES), out);
}

int account_parse(const char *text, uint8_t ret_pk[KEYS_PK_BYTES])
{
	AUTO(buf_fini) struct buf b = {0};
	size_t len = strcspn(text, " \n");

	if (base64_decode(text, len, &b) < 0 || b.len != KEYS_PK_BYTES)
		return -EINVAL;
	memcpy(ret_pk, b.data, KEYS_PK_BYTES);
	return 0;
}
