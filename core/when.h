/*
 * Times as people type them.
 *
 *   14:00, 14:00:30          the last time a clock here showed that
 *   2026-11-23               the beginning of that day, here
 *   2026-11-23T14:00[:30]    here; a space may stand for the T, - for the : (2026-11-23T14-00-30)
 *   ...Z, ...+01:00          RFC 3339: there
 *   5min-ago, "2 hours ago"  s, sec(onds), m, min(utes), h, hour(s), d, day(s), w, week(s)
 *   now, today, yesterday    today is the beginning of the day, here; yesterday is 24 hours ago
 *
 * "Here" is the local time of this process. Pure otherwise: the present comes in as an argument.
 */
#ifndef BLAZE_CORE_WHEN_H
#define BLAZE_CORE_WHEN_H

#include "core/why.h"

#include <stdint.h>

/** Milliseconds since 1970. -EINVAL, why being filled unless it is NULL. */
int when_parse(const char *text, uint64_t now_ms, uint64_t *ret, struct why *why);
/** Whether it means another time at another moment. */
bool when_is_relative(const char *text);

#endif
