/* A set of ids in the order they were added. Nobody who chooses ids can make it slow. */
#ifndef BLAZE_CORE_IDSET_H
#define BLAZE_CORE_IDSET_H

#include "core/id.h"

/** Zero-initialise; idset_fini() frees. */
struct idset {
	struct id *items;
	size_t count;
	uint32_t *slots; /**< index + 1, 0 = free */
	size_t slot_count;
	uint64_t salt;
};

/** The id's index; it is added if it is not there. At most UINT32_MAX - 1 of them. */
size_t idset_add(struct idset *s, const struct id *id);
/** SIZE_MAX if it is not there. */
size_t idset_find(const struct idset *s, const struct id *id);
void idset_fini(struct idset *s);

#endif
