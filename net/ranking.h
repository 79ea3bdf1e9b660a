/*
 * FAILOVER of net/PROTOCOL.md: which of several relays is used; the others are spares. Sans I/O: times are monotonic
 * milliseconds of the caller's clock.
 *
 * Better is, first, who answers; then the lower class of round trip (RANKING_NEAR_US, and twice as much each time); then who
 * stands earlier in the list, so that all devices come to use the same one. One that fails while it is used is left at once
 * for the best that is well. It is taken again, when it has been well for its time of return: RANKING_RETURN_MS, twice as
 * long each time it failed within RANKING_RETURN_MAX times that, after it had been taken again. So has one that became
 * faster than the one that is used, so that nothing flaps with the weather.
 */
#ifndef BLAZE_NET_RANKING_H
#define BLAZE_NET_RANKING_H

#include "core/base.h"

#define RANKING_RETURN_MS 30000
/** The longest time of return is so many times the shortest: ten minutes. */
#define RANKING_RETURN_MAX 20
/** Nobody can tell round trips below this from each other. */
#define RANKING_NEAR_US 8000
/** The best of the first so many measurements is believed. */
#define RANKING_FIRST 4
/** What ranking_choose() returns when nobody can be used. */
#define RANKING_NONE SIZE_MAX

/** What is known of one relay. Begins as zeros. */
struct rank {
	bool open;		/**< connected, its mailbox is open */
	bool well;		/**< and it is in no doubt */
	unsigned rtt_class;	/**< 0 = near, or not known */
	unsigned measured;	/**< so many times, up to RANKING_FIRST */
	uint64_t rtt_us;	/**< smoothed */
	uint64_t well_since_ms; /**< since when it is well, and its class what it is */
	uint64_t return_ms; /**< how long it has to be well before it is taken again; 0 = it never failed */
	uint64_t taken_ms; /**< when it was taken last; 0 = never */
};

/** How it is now. in_doubt: it owes an answer, or does not take what it is given. */
void ranking_note(struct rank *r, bool open, bool in_doubt, uint64_t now_ms);
/** A round trip was measured. */
void ranking_measured(struct rank *r, uint64_t rtt_us, uint64_t now_ms);
/** Whether to measure again at once: it looks slow, and that may have been chance. */
bool ranking_is_unsure(const struct rank *r);

/**
 * Which to use, or RANKING_NONE; `used` is the one used by now, or RANKING_NONE. least_ms is RANKING_RETURN_MS, but in tests.
 */
size_t ranking_choose(struct rank *const *ranks, size_t count, size_t used, uint64_t least_ms,
		      uint64_t now_ms);
/** When ranking_choose() may say something else, if nothing is noted meanwhile; UINT64_MAX = never. */
uint64_t ranking_due(struct rank *const *ranks, size_t count, size_t used, uint64_t least_ms);

#endif
