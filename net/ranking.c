/* Which relay is used. */
#include "net/ranking.h"

static unsigned class_of(uint64_t rtt_us)
{
	unsigned class = 0;

	while (rtt_us >= RANKING_NEAR_US) {
		rtt_us /= 2;
		class ++;
	}
	return class;
}

void ranking_note(struct rank *r, bool open, bool in_doubt, uint64_t now_ms)
{
	bool well = open && !in_doubt;

	if (well && !r->well)
		r->well_since_ms = now_ms;
	r->open = open;
	r->well = well;
}

void ranking_measured(struct rank *r, uint64_t rtt_us, uint64_t now_ms)
{
	bool first = r->measured < RANKING_FIRST;

	/* Whatever comes in between only adds to it: less is worth more than more. */
	if (r->measured == 0 || (first && rtt_us < r->rtt_us))
		r->rtt_us = rtt_us;
	else if (!first)
		r->rtt_us = rtt_us < r->rtt_us ? (r->rtt_us + rtt_us) / 2
					       : (7 * r->rtt_us + rtt_us) / 8;
	r->measured += first;
	unsigned class = class_of(r->rtt_us);
	/* What is only getting known is no change of weather, and does not have to last. */
	if (class != r->rtt_class && !first)
		r->well_since_ms = now_ms;
	r->rtt_class = class;
}

bool ranking_is_unsure(const struct rank *r)
{
	return r->measured < RANKING_FIRST && r->rtt_class > 0;
}

static bool is_better(struct rank *const *ranks, size_t a, size_t b)
{
	if (ranks[a]->rtt_class != ranks[b]->rtt_class)
		return ranks[a]->rtt_class < ranks[b]->rtt_class;
	return a < b;
}

/* When a relay that is well goes before the one that is used. One that was never used need not prove anything. */
static uint64_t returns_ms(const struct rank *r, const struct rank *used, uint64_t least_ms)
{
	uint64_t since = r->well_since_ms;

	if (r->return_ms)
		return since + r->return_ms;
	if (r->taken_ms == 0 && used->rtt_class == 0)
		return since;
	return (since > used->well_since_ms ? since : used->well_since_ms) + least_ms;
}

static void fail(struct rank *r, uint64_t least_ms, uint64_t now_ms)
{
	uint64_t most = least_ms * RANKING_RETURN_MAX;
	bool again = r->return_ms > 0 && now_ms < r->taken_ms + most;

	r->return_ms = again ? 2 * r->return_ms : least_ms;
	if (r->return_ms > most)
		r->return_ms = most;
}

/* The best of all that are well, those that need not prove themselves any more before the others. */
static size_t find_best(struct rank *const *ranks, size_t count, uint64_t now_ms)
{
	size_t best = RANKING_NONE;
	bool best_is_due = false;

	for (size_t i = 0; i < count; i++) {
		bool due = now_ms >= ranks[i]->well_since_ms + ranks[i]->return_ms;

		if (!ranks[i]->well)
			continue;
		if (best == RANKING_NONE || (due && !best_is_due) ||
		    (due == best_is_due && is_better(ranks, i, best))) {
			best = i;
			best_is_due = due;
		}
	}
	return best;
}

size_t ranking_choose(struct rank *const *ranks, size_t count, size_t used, uint64_t least_ms,
		      uint64_t now_ms)
{
	size_t best = used;

	if (used == RANKING_NONE || !ranks[used]->well) {
		best = find_best(ranks, count, now_ms);
		/* With nobody to turn to, one in doubt is better than none. */
		if (best == RANKING_NONE && used != RANKING_NONE && ranks[used]->open)
			return used;
		if (used != RANKING_NONE)
			fail(ranks[used], least_ms, now_ms);
	} else {
		for (size_t i = 0; i < count; i++) {
			if (ranks[i]->well && is_better(ranks, i, best) &&
			    now_ms >= returns_ms(ranks[i], ranks[used], least_ms))
				best = i;
		}
	}
	if (best != used && best != RANKING_NONE)
		ranks[best]->taken_ms = now_ms;
	return best;
}

uint64_t ranking_due(struct rank *const *ranks, size_t count, size_t used, uint64_t least_ms)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; used != RANKING_NONE && i < count; i++) {
		if (!ranks[i]->well || !is_better(ranks, i, used))
			continue;
		uint64_t at = returns_ms(ranks[i], ranks[used], least_ms);

		due = at < due ? at : due;
	}
	return due;
}
