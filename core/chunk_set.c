/* Open addressing, with a salted hash. */
#include "core/chunk_set.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 256

static struct chunk_id *slot_of(const struct chunk_set *s, const struct chunk_id *id)
{
	uint64_t h = 0;

	memcpy(&h, id->b, sizeof(h));
	h = (h ^ s->salt) * UINT64_C(0xff51afd7ed558ccd);
	size_t at = (size_t)(h >> 20) & (s->slot_count - 1);
	while (!chunk_id_is_zero(&s->slots[at]) && !chunk_id_eq(&s->slots[at], id))
		at = (at + 1) & (s->slot_count - 1);
	return &s->slots[at];
}

static void grow(struct chunk_set *s)
{
	struct chunk_set larger = {.slot_count = s->slot_count ? s->slot_count * 2 : SLOTS_MIN,
				   .count = s->count,
				   .salt = s->salt};

	if (!larger.salt)
		random_bytes(&larger.salt, sizeof(larger.salt));
	larger.slots = xcalloc(larger.slot_count, sizeof(*larger.slots));
	for (size_t i = 0; i < s->slot_count; i++) {
		if (!chunk_id_is_zero(&s->slots[i]))
			*slot_of(&larger, &s->slots[i]) = s->slots[i];
	}
	free(s->slots);
	*s = larger;
}

bool chunk_set_add(struct chunk_set *s, const struct chunk_id *id)
{
	if (s->count * 2 >= s->slot_count)
		grow(s);
	struct chunk_id *slot = slot_of(s, id);
	if (!chunk_id_is_zero(slot))
		return false;
	*slot = *id;
	s->count++;
	return true;
}

bool chunk_set_has(const struct chunk_set *s, const struct chunk_id *id)
{
	return s->slot_count && !chunk_id_is_zero(slot_of(s, id));
}

void chunk_set_fini(struct chunk_set *s)
{
	free(s->slots);
	*s = (struct chunk_set){0};
}
