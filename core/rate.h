/*
 * Bytes a second over the last seconds, of a count that grows now and then. No clock, no lock: times are the caller's,
 * in milliseconds of one monotonic clock. Zero-initialise.
 */
#ifndef BLAZE_CORE_RATE_H
#define BLAZE_CORE_RATE_H

#include <stdint.h>

/** What happened longer ago does not count. */
#define RATE_WINDOW_MS 4000
/** A burst is spread over so long at least: nobody can tell how long it will last. */
#define RATE_LEAST_MS 1000
#define RATE_SAMPLES 9

struct rate {
	struct {
		uint64_t ms; /**< 0: none yet */
		uint64_t count;
	} samples[RATE_SAMPLES]; /**< a ring; next is the oldest */
	unsigned next;
};

/** The count was this until now. Call it before each time that it grows. */
void rate_note(struct rate *r, uint64_t now_ms, uint64_t count);
/** A second, now that the count is this. */
uint64_t rate_of(const struct rate *r, uint64_t now_ms, uint64_t count);

#endif
