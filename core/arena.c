/* Bump allocation: blocks in a list, the newest in front. */
#include "core/arena.h"

#include <stdlib.h>
#include <string.h>

struct arena_block {
	struct arena_block *next;
	size_t used;
	size_t size;
	_Alignas(16) uint8_t data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
	size = (size + 15) & ~(size_t)15;
	if (!a->head || a->head->size - a->head->used < size) {
		size_t room = size > 2048 ? size : 4096 - sizeof(struct arena_block);
		struct arena_block *b = xmalloc(sizeof(*b) + room);

		b->next = a->head;
		b->used = 0;
		b->size = room;
		a->head = b;
	}
	void *p = a->head->data + a->head->used;
	a->head->used += size;
	memset(p, 0, size);
	return p;
}

struct slice arena_copy(struct arena *a, struct slice s)
{
	uint8_t *p = arena_alloc(a, s.len);

	if (s.len)
		memcpy(p, s.data, s.len);
	return SLICE(p, s.len);
}

void arena_fini(struct arena *a)
{
	while (a->head) {
		struct arena_block *b = a->head;

		a->head = b->next;
		free(b);
	}
}
