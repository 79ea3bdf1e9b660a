/*
 * What is kept of an inode that the kernel knows and nobody uses here: how often it was looked up, and as of
 * when. 16 bytes each, so that a `find` over a million files fits into memory. The caller locks.
 */
#ifndef BLAZE_FS_COUNTS_H
#define BLAZE_FS_COUNTS_H

#include "core/base.h"

#include <stdint.h>

/** Zero-initialise; counts_fini(). */
struct counts {
	struct count *slots; /**< a power of two of them, at most two thirds used */
	size_t slot_count;
	size_t used;
};

struct count {
	uint64_t ino; /**< 0 = free */
	uint32_t lookups;
	uint32_t epoch;
};

/** Replaces what was there; ino is not 0. */
void counts_put(struct counts *c, uint64_t ino, struct count value);
/** Takes the entry out; false if there is none. */
bool counts_take(struct counts *c, uint64_t ino, struct count *ret);
void counts_fini(struct counts *c);

#endif
