/* side_unpack(): what is taken out and packed again is taken out the same. The input is what zstd would give. */
#include "core/side_pack.h"
#include "core/zip.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct all {
	struct side_entry items[256];
	struct buf keys[256];
	struct buf values[256];
	size_t count;
	size_t seen;
};

static void keep(void *ctx, const struct side_entry *e)
{
	struct all *a = ctx;

	if (a->count == 256)
		return;
	buf_slice_append(&a->keys[a->count], e->key);
	buf_slice_append(&a->values[a->count], e->value);
	a->items[a->count] =
		(struct side_entry){buf_slice(&a->keys[a->count]), buf_slice(&a->values[a->count])};
	a->count++;
}

static void compare(void *ctx, const struct side_entry *e)
{
	struct all *a = ctx;

	assert(a->seen < a->count && slice_eq(e->key, a->items[a->seen].key));
	assert(slice_eq(e->value, a->items[a->seen++].value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(free_ptr) struct all *a = xcalloc(1, sizeof(*a));
	AUTO(buf_fini) struct buf packed = {0};
	AUTO(buf_fini) struct buf again = {0};

	buf_u8(&packed, 1);
	zip_pack(SLICE(data, len), 1, &packed);
	if (side_unpack(buf_slice(&packed), keep, a) == 0 && a->count < 256) {
		side_pack(a->items, a->count, &again);
		assert(side_unpack(buf_slice(&again), compare, a) == 0 && a->seen == a->count);
	}
	(void)side_unpack(SLICE(data, len), keep, a);
	for (size_t i = 0; i < a->count; i++) {
		buf_fini(&a->keys[i]);
		buf_fini(&a->values[i]);
	}
	return 0;
}
