/* Numbers from a seed; each step of a program has its own, so that a program can be shortened. */
#ifndef BLAZE_TESTS_SIM_RNG_H
#define BLAZE_TESTS_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

/** 0 to n - 1; n is not 0. */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	r->state += 0x9e3779b97f4a7c15u;
	uint64_t x = r->state;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((x ^ x >> 31) >> 32) % n;
}

static inline bool rng_once_in(struct rng *r, uint32_t n)
{
	return rng_below(r, n) == 0;
}

#endif
