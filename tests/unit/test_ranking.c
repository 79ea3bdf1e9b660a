/* Which relay is used, by a clock of the test's own: net/ranking.h, and what net/liveness.h makes of a relay that is silent. */
#include "net/liveness.h"
#include "net/ranking.h"

#include "tests/unit/check.h"

#define RELAYS 3
#define LEAST RANKING_RETURN_MS

static struct rank relays[RELAYS];
static size_t used;
static uint64_t now;

static void begin(void)
{
	for (size_t i = 0; i < RELAYS; i++)
		relays[i] = (struct rank){0};
	used = RANKING_NONE;
	now = 1000;
}

static size_t choose(void)
{
	struct rank *ranks[RELAYS] = {&relays[0], &relays[1], &relays[2]};

	used = ranking_choose(ranks, RELAYS, used, LEAST, now);
	return used;
}

static uint64_t due(void)
{
	struct rank *ranks[RELAYS] = {&relays[0], &relays[1], &relays[2]};

	return ranking_due(ranks, RELAYS, used, LEAST);
}

static void note(size_t i, bool open, bool in_doubt)
{
	ranking_note(&relays[i], open, in_doubt, now);
}

static void all_open(void)
{
	for (size_t i = 0; i < RELAYS; i++)
		note(i, true, false);
}

static void test_the_first_of_the_list(void)
{
	begin();
	CHECK(choose() == RANKING_NONE && due() == UINT64_MAX);
	note(2, true, false);
	CHECK(choose() == 2);
	now += 50; /* the others are only slower to be dialled */
	all_open();
	CHECK(choose() == 0 && due() == UINT64_MAX);
}

static void test_failover_and_return(void)
{
	begin();
	all_open();
	CHECK(choose() == 0);
	now += 1000000;
	note(0, true, true);
	CHECK(choose() == 1 && due() == UINT64_MAX);
	/* Well again: but only for half a minute is it believed. */
	now += 500;
	note(0, true, false);
	CHECK(choose() == 1 && due() == now + LEAST);
	now += LEAST - 1;
	CHECK(choose() == 1);
	now += 1;
	CHECK(choose() == 0);
	/* It fails again: twice as long, and so on to ten minutes. */
	uint64_t wait = LEAST;
	for (unsigned i = 0; i < 8; i++) {
		wait = 2 * wait < LEAST * RANKING_RETURN_MAX ? 2 * wait : LEAST * RANKING_RETURN_MAX;
		now += 1000;
		note(0, false, false);
		CHECK(choose() == 1);
		note(0, true, false);
		CHECK(due() == now + wait);
		/* In between it goes once more, as a spare: it begins anew to be well, and not with twice the time. */
		now += wait - 1;
		note(0, false, false);
		CHECK(choose() == 1);
		note(0, true, false);
		CHECK(due() == now + wait);
		now += wait;
		CHECK(choose() == 0);
	}
	CHECK(wait == LEAST * RANKING_RETURN_MAX && wait == 600000);
	/* Well for ten minutes, and what was is forgotten. */
	now += wait;
	note(0, false, false);
	CHECK(choose() == 1);
	note(0, true, false);
	CHECK(due() == now + LEAST);
}

static void test_several_fail(void)
{
	begin();
	all_open();
	CHECK(choose() == 0);
	note(0, false, false);
	CHECK(choose() == 1);
	note(0, true, false); /* back, but unproven: the third goes before it */
	note(1, true, true);
	CHECK(choose() == 2);
	note(2, false, false);
	CHECK(choose() == 0); /* better than nobody */
	note(0, false, false);
	CHECK(choose() == RANKING_NONE || used == 1);
	note(1, false, false);
	CHECK(choose() == RANKING_NONE);
	/* One in doubt is used on, if there is no other. */
	note(1, true, false);
	CHECK(choose() == 1);
	note(1, true, true);
	CHECK(choose() == 1);
	note(2, true, false);
	CHECK(choose() == 2);
}

static void test_round_trips(void)
{
	begin();
	all_open();
	ranking_measured(&relays[0], 40000, now);
	ranking_measured(&relays[1], 33000, now); /* less than twice as fast: the same class */
	ranking_measured(&relays[2], 5000, now);
	CHECK(choose() == 2);
	CHECK(ranking_is_unsure(&relays[0]) && !ranking_is_unsure(&relays[2]));
	for (unsigned i = 1; i < RANKING_FIRST; i++)
		ranking_measured(&relays[2], 100000, now); /* the best of the first ones */
	CHECK(choose() == 2 && relays[2].rtt_class == 0);
	/* The weather changes: nothing, for half a minute. */
	now += 100000;
	for (unsigned i = 0; i < 50; i++)
		ranking_measured(&relays[2], 300000, now);
	CHECK(choose() == 2 && due() == now + LEAST);
	now += LEAST - 1;
	CHECK(choose() == 2);
	for (unsigned i = 0; i < 50; i++)
		ranking_measured(&relays[2], 5000, now); /* and back */
	now += 10 * LEAST;
	CHECK(choose() == 2);
	for (unsigned i = 0; i < 50; i++)
		ranking_measured(&relays[2], 300000, now);
	now += LEAST;
	CHECK(choose() == 0);
	/* Near is near: a loopback that is ten times as fast is no reason. */
	begin();
	all_open();
	ranking_measured(&relays[0], 3000, now);
	ranking_measured(&relays[1], 100, now);
	CHECK(choose() == 0);
}

/* What a relay that stops to answer costs: at most two seconds, from the change that nobody acknowledges. */
static void test_in_doubt_within_two_seconds(void)
{
	struct liveness l;
	bool in_doubt = false;
	uint64_t at = 5000;

	liveness_start(&l, 0);
	liveness_heard(&l, at); /* the last word, at the moment of the change */
	liveness_said(&l);
	l.waiting = true;
	for (unsigned i = 0; !in_doubt; i++) {
		CHECK(i < 10);
		at = liveness_due(&l);
		in_doubt = liveness_check(&l, at, 1) == LIVENESS_IN_DOUBT;
	}
	CHECK(at - 5000 == 2 * LIVENESS_HURRY_MS && at - 5000 < 2000);
	/* An upload on a slow line gets the time that it takes. */
	liveness_start(&l, 0);
	l.waiting = true;
	l.slack_ms = 4000;
	CHECK(liveness_check(&l, LIVENESS_HURRY_MS, 1) == LIVENESS_ASK);
	CHECK(liveness_check(&l, 2 * LIVENESS_HURRY_MS + 3999, 1) == LIVENESS_GOOD);
	CHECK(liveness_check(&l, 2 * LIVENESS_HURRY_MS + 4000, 1) == LIVENESS_IN_DOUBT);
	CHECK(liveness_check(&l, LIVENESS_HURRY_MS + LIVENESS_ANSWER_MS + 3999, 1) ==
	      LIVENESS_IN_DOUBT);
	CHECK(liveness_check(&l, LIVENESS_HURRY_MS + LIVENESS_ANSWER_MS + 4000, 1) == LIVENESS_DEAD);
}

int main(void)
{
	test_the_first_of_the_list();
	test_failover_and_return();
	test_several_fail();
	test_round_trips();
	test_in_doubt_within_two_seconds();
	return 0;
}
