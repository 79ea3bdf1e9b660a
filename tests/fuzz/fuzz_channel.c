/*
 * Records of a peer that holds the keys and means ill: each input is cut into plaintexts, sealed,
 * and received. First byte of a piece: its length in units of 128 bytes; the limits are small, so
 * that rekeying and the message limit are reached.
 */
#include "net/channel.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct channel_limits limits = {3, 4096, 1000};

static int take(void *ctx, struct slice message)
{
	size_t *bytes = ctx;

	if (message.len == 0 || message.len > limits.message_bytes_max)
		abort();
	for (size_t i = 0; i < message.len; i++)
		*bytes += message.data[i]; /* reads every byte, for the sanitizer */
	return 0;
}

/* What the channel does after a record, so that ours opens there. */
static void count(struct noise_key *key, uint64_t *records, uint64_t *bytes, size_t len)
{
	*records += 1;
	*bytes += len;
	if (*records < limits.rekey_records && *bytes < limits.rekey_bytes)
		return;
	noise_key_rekey(key);
	*records = 0;
	*bytes = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct noise_key seal = {.cipher = NOISE_CHACHAPOLY, .k = {1}};
	struct noise_key open = seal;
	struct noise_key unused = seal;
	struct reader r = reader_init(SLICE(data, size));
	uint64_t records = 0;
	uint64_t bytes = 0;
	size_t sum = 0;

	digest_init();
	struct channel *c = channel_create(&unused, &open, &limits);
	int result = 0;
	while (result >= 0 && reader_left(&r) > 0) {
		AUTO(buf_fini) struct buf plain = {0};
		AUTO(buf_fini) struct buf wire = {0};
		size_t len = (size_t)(reader_u8(&r) + 1) * CHANNEL_PADDING_BYTES;
		size_t left = reader_left(&r);

		buf_slice_append(&plain, reader_take(&r, left < len ? left : len));
		buf_resize(&plain, len);
		(void)noise_key_seal(&seal, SLICE("", 0), buf_slice(&plain), &wire);
		count(&seal, &records, &bytes, len);
		result = channel_receive(c, buf_slice(&wire), take, &sum);
		if (result == -EBADMSG && wire.len > CHANNEL_RECORD_BYTES_MAX)
			abort();
	}
	channel_destroy(c);
	return 0;
}
