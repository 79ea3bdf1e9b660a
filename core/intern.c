/* Things by number; see intern.h. Few are looked through, many are found by hash. */
#include "core/intern.h"

#include <stdlib.h>
#include <string.h>

uint64_t intern_hash(uint64_t h, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.data[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

static const struct slice *items_of(const struct intern *t)
{
	return t->items ? t->items : t->few;
}

static uint32_t *slot_of(const struct intern *t, struct slice s)
{
	size_t mask = t->slot_count - 1;
	size_t i = intern_hash(0xcbf29ce484222325u, s) & mask;

	while (t->slots[i] && !slice_eq(t->items[t->slots[i] - 1], s))
		i = (i + 1) & mask;
	return &t->slots[i];
}

size_t intern_find(const struct intern *t, struct slice s)
{
	const struct slice *items = items_of(t);

	if (t->slots) {
		uint32_t n = *slot_of(t, s);

		return n ? n - 1 : SIZE_MAX;
	}
	for (size_t i = t->count; i-- > 0;) {
		if (slice_eq(items[i], s))
			return i;
	}
	return SIZE_MAX;
}

/* From the few to a list with hashes. */
static void grow(struct intern *t)
{
	size_t cap = t->cap ? t->cap * 2 : 64;
	struct slice *items = xreallocarray(NULL, cap, sizeof(*items));

	memcpy(items, items_of(t), t->count * sizeof(*items));
	free(t->items);
	free(t->slots);
	t->items = items;
	t->cap = cap;
	t->slot_count = 4 * cap;
	t->slots = xcalloc(t->slot_count, sizeof(*t->slots));
	for (size_t i = 0; i < t->count; i++)
		*slot_of(t, items[i]) = (uint32_t)i + 1;
}

void intern_add(struct intern *t, struct slice s)
{
	if (!t->items && t->count < countof(t->few)) {
		t->few[t->count++] = s;
		return;
	}
	if (t->count == t->cap || !t->items)
		grow(t);
	t->items[t->count++] = s;
	*slot_of(t, s) = (uint32_t)t->count;
}

struct slice intern_at(const struct intern *t, size_t i)
{
	assert(i < t->count);
	return items_of(t)[i];
}

void intern_fini(struct intern *t)
{
	free(t->items);
	free(t->slots);
	*t = (struct intern){0};
}
