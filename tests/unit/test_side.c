/* core/side_pack: what a document keeps beside its state comes out of a pack as it went in; damage is refused. */
#include "core/side_pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 3000

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

struct entries {
	struct buf keys[ENTRIES];
	struct buf values[ENTRIES];
	struct side_entry items[ENTRIES];
	size_t count;
	size_t seen;
};

/* Edits of three texts by some authors, now and then one of another kind. */
static void make(struct entries *e, size_t count)
{
	uint64_t lamport = 5;

	for (e->count = 0; e->count < count; e->count++) {
		struct buf *key = &e->keys[e->count];
		bool event = rnd(20) != 0;

		lamport += rnd(3) ? 1 : rnd(1000);
		buf_u8(key, event ? 'e' : 'd');
		buf_be64(key, e->count * 3 / count); /* ascending */
		buf_be64(key, event ? 0 : lamport);
		if (event)
			buf_be64(key, lamport);
		if (event)
			buf_be64(key, 1 + rnd(7));
		for (size_t n = rnd(event ? 12 : 300); n > 0; n--)
			buf_u8(&e->values[e->count], (uint8_t)rnd(5));
		e->items[e->count] =
			(struct side_entry){buf_slice(key), buf_slice(&e->values[e->count])};
	}
}

static void check(void *ctx, const struct side_entry *got)
{
	struct entries *e = ctx;

	assert(e->seen < e->count);
	assert(slice_eq(got->key, e->items[e->seen].key));
	assert(slice_eq(got->value, e->items[e->seen++].value));
}

static void ignore(void *ctx, const struct side_entry *got)
{
	assert(got->key.len > 0);
	++*(size_t *)ctx;
}

static void test(size_t count)
{
	AUTO(free_ptr) struct entries *e = xcalloc(1, sizeof(*e));
	AUTO(buf_fini) struct buf packed = {0};
	size_t plain = 0;
	size_t ignored = 0;

	make(e, count);
	for (size_t i = 0; i < count; i++)
		plain += e->items[i].key.len + e->items[i].value.len;
	for (size_t i = count; i > 1; i--) { /* in any order */
		size_t k = rnd((uint32_t)i);
		struct side_entry was = e->items[i - 1];

		e->items[i - 1] = e->items[k];
		e->items[k] = was;
	}
	side_pack(e->items, count, &packed);
	assert(side_unpack(buf_slice(&packed), check, e) == 0 && e->seen == count);
	(void)printf("# %zu entries, %zu bytes, packed %zu\n", count, plain, packed.len);
	assert(count < 100 || packed.len * 3 < plain);
	for (size_t len = 0; len < packed.len; len += 1 + packed.len / 50)
		assert(side_unpack(SLICE(packed.data, len), ignore, &ignored) < 0);
	for (unsigned i = 0; i < 300; i++) {
		size_t at = rnd((uint32_t)packed.len);
		uint8_t was = packed.data[at];

		packed.data[at] ^= (uint8_t)(1 + rnd(255));
		(void)side_unpack(buf_slice(&packed), ignore, &ignored);
		packed.data[at] = was;
	}
	for (size_t i = 0; i < count; i++) {
		buf_fini(&e->keys[i]);
		buf_fini(&e->values[i]);
	}
}

int main(void)
{
	test(0);
	test(1);
	test(ENTRIES);
	(void)printf("ok packs of logs\n");
	return 0;
}
