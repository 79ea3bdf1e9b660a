/* Open addressing over an array; the hash is salted. */
#include "core/idset.h"

#include "core/digest.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64

static size_t slot_of(const struct idset *s, const struct id *id)
{
	uint64_t a = 0;
	uint64_t b = 0;

	memcpy(&a, id->b, sizeof(a));
	memcpy(&b, id->b + sizeof(a), sizeof(b));
	a = (a ^ s->salt) * UINT64_C(0xff51afd7ed558ccd);
	size_t i = (size_t)(((a ^ b ^ a >> 32) * UINT64_C(0xc4ceb9fe1a85ec53)) >> 32);

	for (i &= s->slot_count - 1; s->slots[i]; i = (i + 1) & (s->slot_count - 1)) {
		if (id_eq(&s->items[s->slots[i] - 1], id))
			break;
	}
	return i;
}

static void grow(struct idset *s)
{
	free(s->slots);
	s->slot_count = s->slot_count ? s->slot_count * 2 : SLOTS_MIN;
	s->slots = xcalloc(s->slot_count, sizeof(*s->slots));
	s->items = xreallocarray(s->items, s->slot_count / 2, sizeof(*s->items));
	for (size_t i = 0; i < s->count; i++)
		s->slots[slot_of(s, &s->items[i])] = (uint32_t)i + 1;
}

size_t idset_find(const struct idset *s, const struct id *id)
{
	if (s->count == 0)
		return SIZE_MAX;
	uint32_t slot = s->slots[slot_of(s, id)];
	return slot ? slot - 1 : SIZE_MAX;
}

size_t idset_add(struct idset *s, const struct id *id)
{
	if (!s->salt)
		random_bytes(&s->salt, sizeof(s->salt));
	if (s->count * 2 >= s->slot_count)
		grow(s);
	size_t i = slot_of(s, id);
	if (!s->slots[i]) {
		assert(s->count < UINT32_MAX - 1);
		s->items[s->count++] = *id;
		s->slots[i] = (uint32_t)s->count;
	}
	return s->slots[i] - 1;
}

void idset_fini(struct idset *s)
{
	free(s->items);
	free(s->slots);
	*s = (struct idset){0};
}
