/* Making, running and shortening programs. */
#include "tests/sim/program.h"

#include "core/compact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often a kind occurs when it does; a program has a random part of the kinds, so that the rare meet. */
static const struct {
	enum step_kind kind;
	uint32_t weight;
	bool always;
} kinds[] = {
	{STEP_CREATE, 20, true},  {STEP_SAVE, 40, true},    {STEP_TALK, 14, true},
	{STEP_MKDIR, 10, false},  {STEP_SYMLINK, 2, false}, {STEP_READ, 16, false},
	{STEP_STALE, 16, false},  {STEP_DELETE, 8, false},  {STEP_MOVE, 16, false},
	{STEP_EXEC, 8, false},	  {STEP_CUT_OFF, 8, false}, {STEP_RESTART, 3, false},
	{STEP_KILL, 3, false},	  {STEP_POWER, 4, false},   {STEP_SKEW, 4, false},
	{STEP_COMPACT, 6, false}, {STEP_MONTHS, 3, false},  {STEP_FOLLOW, 8, false},
	{STEP_MERGE, 4, false},
};

void program_from_seed(struct program *p, uint64_t seed)
{
	struct rng r = {seed * 0x9e3779b97f4a7c15u};
	uint32_t total = 0;
	bool used[countof(kinds)];

	*p = (struct program){.count = 2 + rng_below(&r, DEVICES_MAX - 1),
			      .variant = rng_below(&r, VARIANTS)};
	for (size_t i = 0; i < countof(kinds); i++) {
		used[i] = kinds[i].always || !rng_once_in(&r, 3);
		total += used[i] ? kinds[i].weight : 0;
	}
	size_t length = 4 + rng_below(&r, STEPS_MAX - 4);
	if (!rng_once_in(&r, 4))
		length = 4 + length / 3;
	while (p->length < length) {
		uint32_t pick = rng_below(&r, total);
		size_t i = 0;

		for (; !used[i] || pick >= kinds[i].weight; i++)
			pick -= used[i] ? kinds[i].weight : 0;
		p->steps[p->length++] = (struct step){
			kinds[i].kind, (uint8_t)rng_below(&r, p->count), rng_below(&r, UINT32_MAX)};
	}
}

void program_print(const struct program *p, struct buf *out)
{
	buf_printf(out, "%u.%u", p->count, p->variant);
	for (size_t i = 0; i < p->length; i++)
		buf_printf(out, " %c%u.%x", (char)p->steps[i].kind, p->steps[i].device,
			   p->steps[i].seed);
}

bool program_parse(const char *text, struct program *ret)
{
	int at = 0;

	*ret = (struct program){0};
	if (sscanf(text, "%u.%u%n", &ret->count, &ret->variant, &at) != 2 || ret->count < 2 ||
	    ret->count > DEVICES_MAX || ret->variant >= VARIANTS)
		return false;
	for (text += at; *text; text += at) {
		char kind = 0;
		unsigned device = 0;
		unsigned seed = 0;
		bool known = false;

		if (sscanf(text, " %c%u.%x%n", &kind, &device, &seed, &at) != 3 ||
		    device >= ret->count || ret->length == STEPS_MAX)
			return false;
		for (size_t i = 0; i < countof(kinds); i++)
			known = known || kinds[i].kind == (enum step_kind)kind;
		if (!known)
			return false;
		ret->steps[ret->length++] =
			(struct step){(enum step_kind)kind, (uint8_t)device, seed};
	}
	return true;
}

static void run_step(struct sim *s, const struct step *step)
{
	struct side *d = &s->devices[step->device];
	struct rng r = {step->seed};
	struct side *other =
		&s->devices[(step->device + 1 + rng_below(&r, s->count - 1)) % s->count];

	s->now_ms += rng_below(&r, 3) * rng_below(&r, 2000);
	switch (step->kind) {
	case STEP_TALK:
	case STEP_CUT_OFF:
		tell(s, "%s and %s talk%s", d->dir, other->dir,
		     step->kind == STEP_TALK ? "" : " until they are cut off");
		side_talk(d, other, &r, step->kind == STEP_TALK ? UINT32_MAX : rng_below(&r, 12));
		break;
	case STEP_RESTART:
	case STEP_KILL:
	case STEP_POWER:
		tell(s, "%s ends (%c)", d->dir, (char)step->kind);
		side_restart(d, step->kind, rng_below(&r, 100));
		break;
	case STEP_SKEW:
		d->skew_ms = (int64_t)rng_below(&r, 4000) * (rng_once_in(&r, 3) ? 100000 : 10);
		break;
	case STEP_COMPACT:
		tell(s, "%s compacts", d->dir);
		while (db_compact_step(d->db) == 1)
			;
		break;
	case STEP_FOLLOW:
		(void)follow_all(d);
		break;
	case STEP_MONTHS:
		s->now_ms += 2 * COMPACT_SILENT_MS;
		break;
	case STEP_CREATE:
	case STEP_MKDIR:
	case STEP_SYMLINK:
	case STEP_SAVE:
	case STEP_READ:
	case STEP_STALE:
	case STEP_DELETE:
	case STEP_MOVE:
	case STEP_MERGE:
	case STEP_EXEC:
		edit(d, step, &r);
		break;
	}
}

void program_run(const struct program *p, bool verbose)
{
	struct sim *s = xcalloc(1, sizeof(*s));
	struct rng r = {p->length};

	s->verbose = verbose;
	family_open(s, p->count, p->variant);
	for (size_t i = 0; i < p->length; i++)
		run_step(s, &p->steps[i]);
	check_all(s, &r);
	family_close(s);
	free(s);
}

void program_shrink(struct program *p, bool (*fails)(const struct program *p))
{
	for (size_t chunk = p->length / 2; chunk > 0; chunk /= 2) {
		for (size_t at = 0; at + chunk <= p->length;) {
			struct program less = *p;

			memmove(&less.steps[at], &less.steps[at + chunk],
				(p->length - at - chunk) * sizeof(*less.steps));
			less.length -= chunk;
			if (fails(&less))
				*p = less;
			else
				at += chunk;
		}
	}
}
