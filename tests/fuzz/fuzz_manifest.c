/* manifest_decode(): what is taken is written the same, and any cutting gives the bytes back. */
#include "core/manifest.h"

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
	manifest_encode(m, &code);
	assert(m->size == len && manifest_is_sound(buf_slice(&code)));
	manifest_unref(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(buf_fini) struct buf code = {0};
	struct manifest *m = NULL;

	if (manifest_decode(SLICE(data, len), &m) == 0) {
		manifest_encode(m, &code);
		assert(slice_eq(buf_slice(&code), SLICE(data, len)));
		for (uint64_t at = 0; at < m->size; at += m->size / 16 + 1)
			assert(m->entries[manifest_find(m, at)].offset <= at);
		manifest_unref(m);
	}
	cut(data, len);
	return 0;
}
