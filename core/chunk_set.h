/* A set of chunk ids in memory. Zero-initialise. Not thread-safe. */
#ifndef BLAZE_CORE_CHUNK_SET_H
#define BLAZE_CORE_CHUNK_SET_H

#include "core/chunk.h"

struct chunk_set {
	struct chunk_id *slots; /**< a power of two, at most half full; zero: free */
	size_t slot_count;
	size_t count;
	uint64_t salt; /**< ids are a member's to choose, slots are not */
};

/** false: it was in it already. */
bool chunk_set_add(struct chunk_set *s, const struct chunk_id *id);
bool chunk_set_has(const struct chunk_set *s, const struct chunk_id *id);
void chunk_set_fini(struct chunk_set *s);

#endif
