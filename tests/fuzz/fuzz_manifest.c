/*
 * manifest_decode(): what is taken is written the same, its parts aside, and any cutting gives the bytes back. The input is
 * the manifest, and its parts: each with be16 of length, and known by the first byte of its id.
 */
#include "core/manifest.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void cut(const uint8_t *data, size_t len)
{
	static struct chunk_keys keys;
	static bool ready;
	const uint8_t root[DIGEST_BYTES] = {1};
	AUTO(buf_fini) struct buf code = {0};

	if (!ready)
		chunk_keys_init(&keys, root);
	ready = true;
	struct manifest *m = manifest_create(CHUNK_ORDER_MIN);
	for (size_t at = 0; at < len;) {
		struct slice rest = SLICE(data + at, len - at);
		size_t n = chunk_cut(&keys, CHUNK_ORDER_MIN, rest);
		struct chunk_id id = chunk_id_of(&keys, SLICE(rest.data, n));

		assert(n > 0 && n <= rest.len);
		if (chunk_is_hole(SLICE(rest.data, n)))
			manifest_add_hole(m, n);
		else
			manifest_add(m, &id, n);
		at += n;
	}
	assert(m->size == len);
	if (m->count <= 64 && manifest_seal(m, NULL) == 0) {
		manifest_encode(m, &code);
		assert(manifest_is_sound(buf_slice(&code)));
	}
	manifest_unref(m);
}

struct input {
	struct slice parts[256];
	size_t count;
};

static int get(void *ctx, const struct chunk_id *id, struct buf *ret)
{
	const struct input *in = ctx;

	buf_clear(ret);
	if (id->b[0] >= in->count)
		return -ENOENT;
	buf_slice_append(ret, in->parts[id->b[0]]);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(buf_fini) struct buf code = {0};
	struct input in = {0};
	struct reader r = reader_init(SLICE(data, len));
	const struct manifest_store store = {.get = get, .ctx = &in};
	struct manifest *m = NULL;

	while (!r.bad && reader_left(&r) && in.count < 256) {
		uint8_t head[2] = {0};

		reader_copy(&r, head, 2);
		size_t n = (size_t)head[0] << 8 | head[1];
		in.parts[in.count++] = reader_take(&r, n < reader_left(&r) ? n : reader_left(&r));
	}
	if (in.count && manifest_decode(in.parts[0], &store, &m, NULL) == 0) {
		manifest_encode(m, &code);
		assert(slice_eq(buf_slice(&code), in.parts[0]));
		for (uint64_t at = 0; at < m->size; at += m->size / 16 + 1)
			assert(m->entries[manifest_find(m, at)].offset <= at);
		manifest_unref(m);
	}
	cut(data, len);
	return 0;
}
