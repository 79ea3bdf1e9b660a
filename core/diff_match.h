/*
 * Private to core/diff: a common subsequence of two sequences of small integers, in bounded time.
 *
 * Ranges are split at anchors, elements that occur once on either side (Bram Cohen's patience diff:
 * the longest increasing subsequence of them); what is between, and has none, goes to Myers' linear
 * space algorithm (E. Myers: An O(ND) Difference Algorithm, 1986). Where that would need more than
 * `reach` steps from either end, the range is split at the point that came furthest, or given up.
 * Elements that the other side does not have are left out first, so that two ranges with nothing in
 * common cost one pass.
 */
#ifndef BLAZE_CORE_DIFF_MATCH_H
#define BLAZE_CORE_DIFF_MATCH_H

#include "core/base.h"

#define DIFF_UNMATCHED UINT32_MAX

/** Each id is below `kinds` of struct diff_match_rules. */
struct diff_seq {
	const uint32_t *ids;
	uint32_t count;
};

struct diff_match_rules {
	uint32_t kinds;
	uint32_t exact; /**< ranges of at most so many elements, both sides together, need no anchors */
	uint32_t reach; /**< Myers' steps from either end; the budget may allow fewer */
	bool greedy; /**< beyond the reach: split at the furthest point; else the range is given up */
};

/**
 * ret_match[i] becomes the element of `b` that is the same as the i-th of `a`, ascending, or DIFF_UNMATCHED.
 * Takes the elements that Myers' algorithm looked at from *budget. false: a range was given up, for this
 * or for the reach.
 */
bool diff_match(struct diff_seq a, struct diff_seq b, const struct diff_match_rules *rules,
		uint64_t *budget, uint32_t *ret_match);

#endif
