/* core/rate.h: what counts, and for how long. */
#include "tests/unit/check.h"

#include "core/rate.h"

static void nothing_known_is_no_rate(void)
{
	struct rate r = {0};

	CHECK(rate_of(&r, 5000, 1000) == 0);
}

static void burst_is_spread_over_a_second(void)
{
	struct rate r = {0};

	rate_note(&r, 10000, 500);
	CHECK(rate_of(&r, 10001, 2500) == 2000);
	CHECK(rate_of(&r, 11000, 2500) == 2000);
	CHECK(rate_of(&r, 12000, 2500) == 1000);
}

static void what_is_long_ago_does_not_count(void)
{
	struct rate r = {0};

	rate_note(&r, 10000, 0);
	CHECK(rate_of(&r, 10000 + RATE_WINDOW_MS, 8000) == 2000);
	CHECK(rate_of(&r, 10001 + RATE_WINDOW_MS, 8000) == 0);
}

static void even_flow_has_its_rate_for_ever(void)
{
	struct rate r = {0};

	for (uint64_t ms = 1000; ms < 100000; ms += 7) {
		rate_note(&r, ms, ms * 3);
		if (ms > 1000 + RATE_WINDOW_MS)
			CHECK(rate_of(&r, ms, ms * 3) == 3000);
	}
}

static void count_that_begins_anew_is_no_rate(void)
{
	struct rate r = {0};

	rate_note(&r, 10000, 1 << 20);
	CHECK(rate_of(&r, 10500, 100) == 0);
}

int main(void)
{
	nothing_known_is_no_rate();
	burst_is_spread_over_a_second();
	what_is_long_ago_does_not_count();
	even_flow_has_its_rate_for_ever();
	count_that_begins_anew_is_no_rate();
	return 0;
}
