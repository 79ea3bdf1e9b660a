/*
 * net/cpace and core/words. Prints "ok NAME" for each test.
 *
 * The known answers are those of draft-irtf-cfrg-cpace for ristretto255 and SHA-512.
 */
#include "net/cpace.h"

#include "core/digest.h"
#include "core/words.h"
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SID "7e4b4791d6a8ef019b936c79fb7f2c57"
#define SECRET_A "da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08"
#define SHARE_A "d40fb265a7abeaee7939d91a585fe59f7053f982c296ec413c624c669308f87a"
#define SECRET_B "d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d"
#define SHARE_B "08bcf6e9777a9c313a3db6daa510f2d398403319c2341bd506a92e672eb7e307"
#define ISK                                                                \
	"4c5469a16b2364c4b944ebc1a79e51d1674ad47db26e8718154f59faebfaa52d" \
	"8346f30aa58377117eb20d527f2cbc5c76381f7fd372e89df8239f87f2e02ed1"
#define NOT_CANONICAL "2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"

static void from_hex(const char *hex, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned byte = 0;

		CHECK(sscanf(hex + 2 * i, "%2x", &byte) == 1);
		out[i] = (uint8_t)byte;
	}
}

static struct cpace_input vector_input(void)
{
	struct cpace_input in = {.prs = SLICE_STR("Password"),
				 .ci = SLICE_STR("oc\x0b"
						 "B_responder\x0b"
						 "A_initiator")};

	from_hex(SID, in.sid, sizeof(in.sid));
	return in;
}

static void test_vectors(void)
{
	struct cpace_input in = vector_input();
	struct cpace a, b;
	uint8_t scalar[32], want[64], isk[64];

	from_hex(SECRET_A, scalar, 32);
	cpace_start(&a, &in, scalar);
	from_hex(SHARE_A, want, 32);
	CHECK(memcmp(a.share, want, 32) == 0);
	from_hex(SECRET_B, scalar, 32);
	cpace_start(&b, &in, scalar);
	from_hex(SHARE_B, want, 32);
	CHECK(memcmp(b.share, want, 32) == 0);

	from_hex(ISK, want, 64);
	CHECK(cpace_finish(&a, true, b.share, SLICE_STR("ADa"), SLICE_STR("ADb"), isk) == 0);
	CHECK(memcmp(isk, want, 64) == 0);
	CHECK(cpace_finish(&b, false, a.share, SLICE_STR("ADa"), SLICE_STR("ADb"), isk) == 0);
	CHECK(memcmp(isk, want, 64) == 0);
	puts("ok vectors");
}

/* What changes between the two sides of one exchange. */
static bool agree(struct cpace_input ours, struct cpace_input theirs)
{
	struct cpace a, b;
	uint8_t ka[64], kb[64];

	cpace_start(&a, &ours, NULL);
	cpace_start(&b, &theirs, NULL);
	CHECK(memcmp(a.share, b.share, 32) != 0);
	CHECK(cpace_finish(&a, true, b.share, SLICE("", 0), SLICE("", 0), ka) == 0);
	CHECK(cpace_finish(&b, false, a.share, SLICE("", 0), SLICE("", 0), kb) == 0);
	return memcmp(ka, kb, sizeof(ka)) == 0;
}

static void test_agreement(void)
{
	struct cpace_input in = vector_input();
	struct cpace_input other = in;

	CHECK(agree(in, in));
	other.prs = SLICE_STR("Passwore");
	CHECK(!agree(in, other));
	other = in;
	other.ci = SLICE_STR("somebody else");
	CHECK(!agree(in, other));
	other = in;
	other.sid[15] ^= 1;
	CHECK(!agree(in, other));
	puts("ok agreement");
}

static void test_bad_shares(void)
{
	struct cpace_input in = vector_input();
	uint8_t share[32] = {0}, isk[64];
	struct cpace a;

	CHECK(!cpace_share_is_valid(share)); /* the neutral element */
	cpace_start(&a, &in, NULL);
	CHECK(cpace_finish(&a, true, share, SLICE("", 0), SLICE("", 0), isk) == -EBADMSG);
	from_hex(NOT_CANONICAL, share, 32);
	CHECK(!cpace_share_is_valid(share));
	cpace_start(&a, &in, NULL);
	CHECK(cpace_finish(&a, true, share, SLICE("", 0), SLICE("", 0), isk) == -EBADMSG);
	memset(share, 0xff, sizeof(share));
	CHECK(!cpace_share_is_valid(share));
	/* Our own share is no attack here: whoever sends it back does not know its secret. */
	cpace_start(&a, &in, NULL);
	CHECK(cpace_share_is_valid(a.share));
	puts("ok bad_shares");
}

static void test_words(void)
{
	uint8_t bytes[18], again[18];
	AUTO(buf_fini) struct buf text = {0};

	for (unsigned i = 0; i < WORDS_COUNT; i++) {
		const char *word = words_get(i);

		CHECK(strlen(word) <= WORDS_LETTERS_MAX && strlen(word) >= 3);
		CHECK(words_find(SLICE_STR(word)) == (int)i);
		CHECK(i == 0 || strcmp(words_get(i - 1), word) < 0);
		if (strlen(word) > 4) /* four letters are enough, and only for one word */
			CHECK(words_find(SLICE(word, 4)) == (int)i);
	}
	CHECK(words_find(SLICE_STR("WaLnUt")) == words_find(SLICE_STR("walnut")));
	CHECK(words_find(SLICE_STR("walnuts")) < 0 && words_find(SLICE_STR("")) < 0);

	random_bytes(bytes, sizeof(bytes));
	bytes[17] &= 0xf0; /* 14 words are 140 bits */
	words_encode(bytes, 14, " ", &text);
	CHECK(words_decode(buf_slice(&text), again, sizeof(again), 14) == 0);
	CHECK(memcmp(bytes, again, sizeof(bytes)) == 0);
	CHECK(words_decode(buf_slice(&text), again, sizeof(again), 13) == -E2BIG);
	CHECK(words_decode(SLICE_STR("1. acorn 2. walnut"), again, sizeof(again), 3) == -EINVAL);
	CHECK(words_decode(SLICE_STR("acorn xyzzy"), again, sizeof(again), 2) == -ENOENT);
	puts("ok words");
}

int main(void)
{
	digest_init();
	test_vectors();
	test_agreement();
	test_bad_shares();
	test_words();
	return 0;
}
