/* Thin envelopes: whatever comes out was not signed by anybody, and must not open. */
#include "core/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t root_key[DIGEST_BYTES] = {1};
	const uint8_t sign_pk[KEYS_PK_BYTES] = {2};
	const struct envelope_place at = {.root_key = root_key, .actor = 5};
	AUTO(buf_fini) struct buf envelope = {0};
	AUTO(buf_fini) struct buf thin = {0};
	AUTO(buf_fini) struct buf out = {0};
	struct envelope_range a;
	struct envelope_range b;

	digest_init();
	if (envelope_thicken(&at, SLICE(data, len), &envelope) < 0)
		return 0;
	int r = envelope_thin_range(SLICE(data, len), &a);
	assert(r == 0);
	r = envelope_range(buf_slice(&envelope), &b);
	assert(r == 0 && a.seq_first == b.seq_first && a.count == b.count);
	r = envelope_open(&at, sign_pk, buf_slice(&envelope), &out);
	assert(r < 0);
	/* It may be compressed better, and changes padded as nobody pads them cannot be opened. */
	(void)envelope_thin(&at, buf_slice(&envelope), &thin);
	return 0;
}
