/* Whether the other end is still there. */
#include "net/liveness.h"

void liveness_start(struct liveness *l, uint64_t now_ms)
{
	*l = (struct liveness){.heard_ms = now_ms};
}

void liveness_heard(struct liveness *l, uint64_t now_ms)
{
	l->heard_ms = now_ms;
	l->asked_ms = 0;
	l->in_doubt = false;
}

void liveness_said(struct liveness *l)
{
	l->hurried = 0;
}

void liveness_asked(struct liveness *l, uint64_t now_ms, uint64_t token)
{
	if (l->asked_ms == 0)
		l->asked_ms = now_ms;
	l->token = token;
}

static uint64_t quiet_ms(const struct liveness *l)
{
	uint64_t quiet = LIVENESS_QUIET_MS + (l->lazy ? LIVENESS_LAZY_MS : 0);
	uint64_t hurry = l->hurried < 8 ? (uint64_t)LIVENESS_HURRY_MS << l->hurried : UINT64_MAX;

	return l->waiting && hurry < quiet ? hurry : quiet;
}

static uint64_t dead_ms(const struct liveness *l)
{
	return l->asked_ms + l->slack_ms + (l->owed ? LIVENESS_BUSY_MS : LIVENESS_ANSWER_MS);
}

static uint64_t doubt_ms(const struct liveness *l)
{
	return l->asked_ms + l->slack_ms + LIVENESS_HURRY_MS;
}

enum liveness_state liveness_check(struct liveness *l, uint64_t now_ms, uint64_t token)
{
	if (l->asked_ms == 0) {
		if (now_ms < l->heard_ms + quiet_ms(l))
			return LIVENESS_GOOD;
		l->hurried++;
		liveness_asked(l, now_ms, token);
		return LIVENESS_ASK;
	}
	if (now_ms >= dead_ms(l))
		return LIVENESS_DEAD;
	l->in_doubt = l->in_doubt || (l->waiting && now_ms >= doubt_ms(l));
	return l->in_doubt ? LIVENESS_IN_DOUBT : LIVENESS_GOOD;
}

uint64_t liveness_due(const struct liveness *l)
{
	if (l->asked_ms == 0)
		return l->heard_ms + quiet_ms(l);
	uint64_t doubt = doubt_ms(l);
	uint64_t dead = dead_ms(l);

	return l->waiting && !l->in_doubt && doubt < dead ? doubt : dead;
}
