/* core/envelope.h: thin envelopes. Prints "ok NAME" for each test. */
#include "core/envelope.h"
#include "tests/unit/doc_helpers.h"

#include <unistd.h>

#define CHANGES 40

static struct keys *author(void)
{
	static struct keys *keys;
	char path[] = "/tmp/blaze-test-envelope-XXXXXX";
	struct why why = {0};

	if (keys)
		return keys;
	digest_init();
	int fd = mkstemp(path);
	CHECK(fd >= 0 && close(fd) == 0 && unlink(path) == 0);
	CHECK(keys_create(path, "author", &keys, &why) == 0 && unlink(path) == 0);
	return keys;
}

static const uint8_t root_key[DIGEST_BYTES] = {1};

static struct envelope_place place(void)
{
	return (struct envelope_place){.root_key = root_key,
				       .stream = {{3}},
				       .actor = keys_device(author())->actor,
				       .prev = {9}};
}

static void make(struct buf *envelope)
{
	const struct envelope_place at = place();
	struct slice changes[CHANGES];
	static char texts[CHANGES][64];

	for (int i = 0; i < CHANGES; i++) {
		int n = snprintf(texts[i], sizeof(texts[i]), "change %d, change %d, change %d", i,
				 i, i);

		changes[i] = SLICE(texts[i], (size_t)n);
	}
	envelope_seal(&at, author(), 7, changes, CHANGES, envelope);
}

/* What comes out is byte for byte what went in, and it is smaller on the way. */
static void test_thin_and_back(void)
{
	const struct envelope_place at = place();
	AUTO(buf_fini) struct buf envelope = {0};
	AUTO(buf_fini) struct buf thin = {0};
	AUTO(buf_fini) struct buf back = {0};
	struct envelope_range range;

	make(&envelope);
	CHECK(envelope_thin(&at, buf_slice(&envelope), &thin) == 0);
	CHECK(thin.len * 2 < envelope.len);
	CHECK(envelope_thin_range(buf_slice(&thin), &range) == 0);
	CHECK(range.seq_first == 7 && range.count == CHANGES);
	CHECK(envelope_thicken(&at, buf_slice(&thin), &back) == 0);
	CHECK(slice_eq(buf_slice(&envelope), buf_slice(&back)));
}

/* Only who has the keys, and only where it belongs. */
static void test_thin_needs_its_place(void)
{
	const uint8_t other_key[DIGEST_BYTES] = {2};
	struct envelope_place at = place();
	AUTO(buf_fini) struct buf envelope = {0};
	AUTO(buf_fini) struct buf thin = {0};
	AUTO(buf_fini) struct buf back = {0};
	AUTO(buf_fini) struct buf out = {0};

	make(&envelope);
	at.root_key = other_key;
	CHECK(envelope_thin(&at, buf_slice(&envelope), &thin) == -EBADMSG && thin.len == 0);
	at = place();
	CHECK(envelope_thin(&at, buf_slice(&envelope), &thin) == 0);
	at.prev[0]++;
	CHECK(envelope_thicken(&at, buf_slice(&thin), &back) < 0 ||
	      envelope_open(&at, keys_device(author())->sign_pk, buf_slice(&back), &out) == -EBADMSG);
}

/* Nothing that was changed on the way opens. */
static void test_thin_damaged(void)
{
	const struct envelope_place at = place();
	AUTO(buf_fini) struct buf envelope = {0};
	AUTO(buf_fini) struct buf thin = {0};

	make(&envelope);
	CHECK(envelope_thin(&at, buf_slice(&envelope), &thin) == 0);
	for (size_t i = 0; i < thin.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			AUTO(buf_fini) struct buf back = {0};
			AUTO(buf_fini) struct buf out = {0};

			thin.data[i] ^= (uint8_t)(1u << bit);
			if (envelope_thicken(&at, buf_slice(&thin), &back) == 0 &&
			    !slice_eq(buf_slice(&envelope), buf_slice(&back)))
				CHECK(envelope_open(&at, keys_device(author())->sign_pk,
						    buf_slice(&back), &out) == -EBADMSG);
			thin.data[i] ^= (uint8_t)(1u << bit);
		}
		CHECK(envelope_thicken(&at, SLICE(thin.data, i), &envelope) == -EBADMSG);
		make(&envelope);
	}
}

int main(void)
{
	RUN(thin_and_back);
	RUN(thin_needs_its_place);
	RUN(thin_damaged);
	keys_destroy(author());
	return 0;
}
