/* Random numbers by seed, which CHECK() names when it fails. */
#ifndef BLAZE_TESTS_UNIT_RANDOM_H
#define BLAZE_TESTS_UNIT_RANDOM_H

#include "tests/unit/doc_helpers.h"

static uint64_t random_state;

static inline uint64_t rnd(uint64_t below)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	uint64_t x = random_state ^ (random_state >> 29);
	return (x * 0x9e3779b97f4a7c15u >> 20) % below;
}

static inline void seed_set(uint64_t seed)
{
	seed_now = seed;
	random_state = seed * 0x9e3779b97f4a7c15u + 12345;
	for (int i = 0; i < 4; i++)
		(void)rnd(2);
}

#endif
