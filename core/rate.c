/* A ring of what the count was, one for each half second in which it grew. */
#include "core/rate.h"

#define APART_MS (RATE_WINDOW_MS / (RATE_SAMPLES - 1))

void rate_note(struct rate *r, uint64_t now_ms, uint64_t count)
{
	unsigned last = (r->next + RATE_SAMPLES - 1) % RATE_SAMPLES;

	if (r->samples[last].ms && now_ms < r->samples[last].ms + APART_MS)
		return;
	r->samples[r->next].ms = now_ms;
	r->samples[r->next].count = count;
	r->next = (r->next + 1) % RATE_SAMPLES;
}

uint64_t rate_of(const struct rate *r, uint64_t now_ms, uint64_t count)
{
	for (unsigned i = 0; i < RATE_SAMPLES; i++) {
		unsigned k = (r->next + i) % RATE_SAMPLES;
		uint64_t ms = r->samples[k].ms;

		if (ms == 0 || ms > now_ms || ms + RATE_WINDOW_MS < now_ms ||
		    r->samples[k].count > count)
			continue;
		uint64_t span = now_ms - ms < RATE_LEAST_MS ? RATE_LEAST_MS : now_ms - ms;
		return (count - r->samples[k].count) * 1000 / span;
	}
	return 0;
}
