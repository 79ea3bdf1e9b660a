/* Cutting content into chunks, and their names. */
#include "core/chunk.h"

#include "core/envelope.h"

#include <string.h>

/** Files up to this have the smallest chunks; */
#define SMALL_FILE_BYTES (64ull << 20)
/** larger ones, some that many. */
#define CHUNKS_PER_FILE_BITS 14
/** Bits by which a cut is made less likely before the average, and more likely behind it (FastCDC's NC2). */
#define NORMALISATION 2

static void derive(uint8_t out[DIGEST_BYTES], const char *domain,
		   const uint8_t root_key[DIGEST_BYTES], uint8_t number)
{
	const struct slice parts[] = {SLICE(root_key, DIGEST_BYTES), SLICE(&number, 1)};

	digest(out, domain, parts, countof(parts));
}

void chunk_keys_init(struct chunk_keys *k, const uint8_t root_key[DIGEST_BYTES])
{
	const size_t per_digest = DIGEST_BYTES / sizeof(k->gear[0]);

	derive(k->id_key, "blaze chunk id", root_key, 0);
	derive(k->seal_key, "blaze chunk seal", root_key, 0);
	for (size_t i = 0; i < countof(k->gear); i += per_digest) {
		uint8_t bytes[DIGEST_BYTES];

		derive(bytes, "blaze chunk gear", root_key, (uint8_t)(i / per_digest));
		struct reader r = reader_init(SLICE(bytes, sizeof(bytes)));
		for (size_t j = 0; j < per_digest; j++)
			k->gear[i + j] = reader_be64(&r);
		wipe(bytes, sizeof(bytes));
	}
}

struct chunk_id chunk_id_of(const struct chunk_keys *k, struct slice bytes)
{
	struct chunk_id id;

	digest_keyed(id.b, sizeof(id.b), k->id_key, bytes);
	return id;
}

bool chunk_id_eq(const struct chunk_id *a, const struct chunk_id *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

int chunk_id_cmp(const struct chunk_id *a, const struct chunk_id *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

bool chunk_id_is_zero(const struct chunk_id *id)
{
	static const struct chunk_id zero;

	return chunk_id_eq(id, &zero);
}

unsigned chunk_order(uint64_t file_size)
{
	unsigned order = CHUNK_ORDER_MIN;

	if (file_size > SMALL_FILE_BYTES)
		order++;
	while (order < CHUNK_ORDER_MAX && file_size >> order > 1u << CHUNKS_PER_FILE_BITS)
		order++;
	return order;
}

size_t chunk_max(unsigned order)
{
	return (size_t)4 << order;
}

size_t chunk_cut(const struct chunk_keys *k, unsigned order, struct slice bytes)
{
	size_t max = bytes.len < chunk_max(order) ? bytes.len : chunk_max(order);
	size_t average = (size_t)1 << order;
	size_t at = average / 4;
	uint64_t hash = 0;

	/* A sum of 64 bytes: the highest bits depend on all of them. */
	for (unsigned bits = order + NORMALISATION;; bits = order - NORMALISATION) {
		uint64_t mask = ~(uint64_t)0 << (64 - bits);
		size_t end = bits > order && max > average ? average : max;

		for (; at < end; at++) {
			hash = (hash << 1) + k->gear[bytes.data[at]];
			if ((hash & mask) == 0)
				return at + 1;
		}
		if (at >= max)
			return max;
	}
}

bool chunk_is_hole(struct slice bytes)
{
	return bytes.len == 0 ||
	       (bytes.data[0] == 0 && memcmp(bytes.data, bytes.data + 1, bytes.len - 1) == 0);
}

void chunk_seal(const struct chunk_keys *k, const struct chunk_id *id, struct slice bytes,
		struct buf *out)
{
	envelope_seal_piece(k->seal_key, SLICE(id->b, sizeof(id->b)), bytes, out);
}

int chunk_open(const struct chunk_keys *k, const struct chunk_id *id, struct slice sealed,
	       struct buf *ret)
{
	if (sealed.len > CHUNK_BYTES_MAX + ENVELOPE_PIECE_EXTRA_BYTES)
		return -EBADMSG;
	int r = envelope_open_piece(k->seal_key, SLICE(id->b, sizeof(id->b)), sealed, ret);
	if (r < 0)
		return r;
	struct chunk_id is = chunk_id_of(k, buf_slice(ret));
	return chunk_id_eq(&is, id) && ret->len > 0 ? 0 : -EBADMSG;
}
