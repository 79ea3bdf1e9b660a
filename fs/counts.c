/* A hash table with open addressing: linear probing, and no tombstones, so that it can shrink by use. */
#include "fs/counts.h"

#include <stdlib.h>

#define SLOTS_MIN 1024

static size_t home(const struct counts *c, uint64_t ino)
{
	return (size_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (c->slot_count - 1);
}

/* The slot of ino, or the free one where it would go. */
static size_t slot_of(const struct counts *c, uint64_t ino)
{
	size_t i = home(c, ino);

	while (c->slots[i].ino && c->slots[i].ino != ino)
		i = (i + 1) & (c->slot_count - 1);
	return i;
}

static void resize(struct counts *c, size_t slot_count)
{
	struct count *old = c->slots;
	size_t old_count = c->slot_count;

	c->slots = xcalloc(slot_count, sizeof(*c->slots));
	c->slot_count = slot_count;
	for (size_t i = 0; i < old_count; i++) {
		if (old[i].ino)
			c->slots[slot_of(c, old[i].ino)] = old[i];
	}
	free(old);
}

void counts_put(struct counts *c, uint64_t ino, struct count value)
{
	if (c->used + 1 > c->slot_count / 3 * 2)
		resize(c, c->slot_count ? c->slot_count * 2 : SLOTS_MIN);
	struct count *at = &c->slots[slot_of(c, ino)];

	c->used += at->ino == 0;
	*at = value;
	at->ino = ino;
}

bool counts_take(struct counts *c, uint64_t ino, struct count *ret)
{
	if (c->used == 0)
		return false;
	size_t mask = c->slot_count - 1;
	size_t hole = slot_of(c, ino);

	if (!c->slots[hole].ino)
		return false;
	*ret = c->slots[hole];
	/* Whoever was pushed past the hole moves into it. */
	for (size_t i = (hole + 1) & mask; c->slots[i].ino; i = (i + 1) & mask) {
		size_t from = home(c, c->slots[i].ino);

		if (((i - from) & mask) >= ((i - hole) & mask)) {
			c->slots[hole] = c->slots[i];
			hole = i;
		}
	}
	c->slots[hole] = (struct count){0};
	c->used--;
	if (c->slot_count > SLOTS_MIN && c->used < c->slot_count / 8)
		resize(c, c->slot_count / 2);
	return true;
}

void counts_fini(struct counts *c)
{
	free(c->slots);
	*c = (struct counts){0};
}
