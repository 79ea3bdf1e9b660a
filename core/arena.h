/* Bump allocation for many small things that die together. Zero-initialise; arena_fini() frees all. */
#ifndef BLAZE_CORE_ARENA_H
#define BLAZE_CORE_ARENA_H

#include "core/bytes.h"

struct arena_block;

struct arena {
	struct arena_block *head;
	struct arena_block *spare; /**< of arena_clear(); all of one size */
};

/** Zeroed, aligned for any type, valid until arena_fini(). */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
struct slice arena_copy(struct arena *a, struct slice s);
/** As arena_fini(), but keeps memory for what comes. */
void arena_clear(struct arena *a);
void arena_fini(struct arena *a);

#endif
