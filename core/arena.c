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

#define ROOM (4096 - sizeof(struct arena_block))

static void add_block(struct arena *a, size_t size)
{
	size_t room = size > 2048 ? size : ROOM;
	struct arena_block *b = room == ROOM ? a->spare : NULL;

	if (b)
		a->spare = b->next;
	else
		b = xmalloc(sizeof(*b) + room);
	b->next = a->head;
	b->used = 0;
	b->size = room;
	a->head = b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size = (size + 15) & ~(size_t)15;
	if (!a->head || a->head->size - a->head->used < size)
		add_block(a, size);
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

void arena_clear(struct arena *a)
{
	while (a->head) {
		struct arena_block *b = a->head;

		a->head = b->next;
		if (b->size != ROOM) {
			free(b);
			continue;
		}
		b->next = a->spare;
		a->spare = b;
	}
}

static void free_all(struct arena_block *b)
{
	while (b) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
}

void arena_fini(struct arena *a)
{
	free_all(STEAL(a->head));
	free_all(STEAL(a->spare));
}
