/* CPace on libsodium's ristretto255; the names are those of the draft. */
#include "net/cpace.h"

#include "core/digest.h"

#include <sodium.h>
#include <string.h>

#define DSI "CPaceRistretto255"
#define DSI_ISK "CPaceRistretto255_ISK"
#define SHA512_BLOCK_BYTES 128

static_assert(CPACE_SHARE_BYTES == crypto_core_ristretto255_BYTES, "an element");
static_assert(CPACE_KEY_BYTES == crypto_hash_sha512_BYTES, "ISK");
static_assert(crypto_core_ristretto255_HASHBYTES == crypto_hash_sha512_BYTES, "one hash, one point");

/* The length of what buf_bytes() puts, for strings below 128 bytes: prepend_len() of the draft. */
static size_t with_length(size_t len)
{
	assert(len < 128);
	return len + 1;
}

/* calculate_generator: the words are padded so that hashing them fills a block, whatever comes after. */
static void make_generator(const struct cpace_input *in, uint8_t ret[CPACE_SHARE_BYTES])
{
	AUTO(buf_fini) struct buf text = {0};
	uint8_t zeros[SHA512_BLOCK_BYTES] = {0};
	uint8_t hash[crypto_hash_sha512_BYTES];
	size_t before = with_length(in->prs.len) + with_length(strlen(DSI));
	size_t zpad = before + 1 < SHA512_BLOCK_BYTES ? SHA512_BLOCK_BYTES - 1 - before : 0;

	(void)buf_reserve(&text, 4 * SHA512_BLOCK_BYTES); /* so that no copy is left behind */
	buf_bytes(&text, SLICE_STR(DSI));
	buf_bytes(&text, in->prs);
	buf_bytes(&text, SLICE(zeros, zpad));
	buf_bytes(&text, in->ci);
	buf_bytes(&text, SLICE(in->sid, sizeof(in->sid)));
	(void)crypto_hash_sha512(hash, text.data, text.len);
	(void)crypto_core_ristretto255_from_hash(ret, hash);
	wipe(text.data, text.len);
	wipe(hash, sizeof(hash));
}

void cpace_start(struct cpace *c, const struct cpace_input *input, const uint8_t *scalar)
{
	uint8_t g[CPACE_SHARE_BYTES];
	int r;

	memcpy(c->sid, input->sid, sizeof(c->sid));
	make_generator(input, g);
	do {
		if (scalar)
			memcpy(c->scalar, scalar, sizeof(c->scalar));
		else
			crypto_core_ristretto255_scalar_random(c->scalar);
		r = crypto_scalarmult_ristretto255(c->share, c->scalar, g);
	} while (r != 0 && !scalar);
	assert(r == 0);
	wipe(g, sizeof(g));
}

bool cpace_share_is_valid(const uint8_t share[CPACE_SHARE_BYTES])
{
	static const uint8_t neutral[CPACE_SHARE_BYTES];

	return crypto_core_ristretto255_is_valid_point(share) == 1 &&
	       memcmp(share, neutral, sizeof(neutral)) != 0;
}

int cpace_finish(struct cpace *c, bool initiator, const uint8_t theirs[CPACE_SHARE_BYTES],
		 struct slice ada, struct slice adb, uint8_t ret_key[CPACE_KEY_BYTES])
{
	AUTO(buf_fini) struct buf text = {0};
	uint8_t k[CPACE_SHARE_BYTES];

	/* scalar_mult_vfy: refuses what is no element, and the neutral one as a result. */
	int r = crypto_scalarmult_ristretto255(k, c->scalar, theirs);
	wipe(c->scalar, sizeof(c->scalar));
	if (r != 0 || !cpace_share_is_valid(theirs))
		return -EBADMSG;
	(void)buf_reserve(&text, 4 * SHA512_BLOCK_BYTES);
	buf_bytes(&text, SLICE_STR(DSI_ISK));
	buf_bytes(&text, SLICE(c->sid, sizeof(c->sid)));
	buf_bytes(&text, SLICE(k, sizeof(k)));
	buf_bytes(&text, SLICE(initiator ? c->share : theirs, CPACE_SHARE_BYTES));
	buf_bytes(&text, ada);
	buf_bytes(&text, SLICE(initiator ? theirs : c->share, CPACE_SHARE_BYTES));
	buf_bytes(&text, adb);
	(void)crypto_hash_sha512(ret_key, text.data, text.len);
	wipe(text.data, text.len);
	wipe(k, sizeof(k));
	return 0;
}
