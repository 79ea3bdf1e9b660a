/* A cursor over the text, one form after the other. */
#include "core/when.h"

#include "core/bytes.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#define SECOND_MS UINT64_C(1000)
#define DAY_MS (UINT64_C(86400) * SECOND_MS)
#define YEAR_MAX 9999

struct cursor {
	const char *p;
};

static bool take(struct cursor *c, const char *any)
{
	if (!*c->p || !strchr(any, *c->p))
		return false;
	c->p++;
	return true;
}

/* Exactly `digits` digits; -1 if there are others. */
static int number(struct cursor *c, int digits)
{
	int n = 0;

	for (int i = 0; i < digits; i++, c->p++) {
		if (*c->p < '0' || *c->p > '9')
			return -1;
		n = n * 10 + (*c->p - '0');
	}
	return *c->p >= '0' && *c->p <= '9' ? -1 : n;
}

/* HH:MM[:SS[.fraction]]; with_dashes: "-" may stand for ":". */
static bool clock_time(struct cursor *c, bool with_dashes, struct tm *tm, uint64_t *ret_ms)
{
	const char *separators = with_dashes ? ":-" : ":";

	tm->tm_hour = number(c, 2);
	if (tm->tm_hour < 0 || tm->tm_hour > 23 || !take(c, separators))
		return false;
	tm->tm_min = number(c, 2);
	tm->tm_sec = 0;
	*ret_ms = 0;
	if (tm->tm_min < 0 || tm->tm_min > 59)
		return false;
	/* What follows may be an offset instead. */
	struct cursor after = *c;
	if (!take(c, separators))
		return true;
	tm->tm_sec = number(c, 2);
	if (*c->p == ':' || tm->tm_sec < 0) {
		*c = after;
		tm->tm_sec = 0;
		return after.p[0] == '-';
	}
	if (tm->tm_sec > 60)
		return false;
	if (*c->p == '.') {
		uint64_t unit = 100;

		c->p++;
		if (*c->p < '0' || *c->p > '9')
			return false;
		for (; *c->p >= '0' && *c->p <= '9'; c->p++, unit /= 10)
			*ret_ms += (uint64_t)(*c->p - '0') * unit;
	}
	return true;
}

static bool offset(struct cursor *c, int64_t *ret_seconds)
{
	int sign = *c->p == '-' ? -1 : 1;

	if (take(c, "Zz")) {
		*ret_seconds = 0;
		return true;
	}
	if (!take(c, "+-"))
		return false;
	int hours = number(c, 2);
	if (hours < 0 || hours > 23 || !take(c, ":"))
		return false;
	int minutes = number(c, 2);
	*ret_seconds = sign * (hours * 3600 + minutes * 60);
	return minutes >= 0 && minutes <= 59;
}

static bool from_seconds(int64_t seconds, uint64_t ms, uint64_t *ret)
{
	if (seconds < 0)
		return false;
	*ret = (uint64_t)seconds * SECOND_MS + ms;
	return true;
}

static bool local(struct tm *tm, uint64_t ms, uint64_t *ret)
{
	tm->tm_isdst = -1;
	return from_seconds((int64_t)mktime(tm), ms, ret);
}

static bool is_date(const struct tm *tm)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year = tm->tm_year + 1900;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	if (year < 1970 || year > YEAR_MAX || tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1)
		return false;
	return tm->tm_mday <= days[tm->tm_mon] - (tm->tm_mon == 1 && !leap);
}

/* Days since 1970 of a date of the Gregorian calendar. */
static int64_t days_of(const struct tm *tm)
{
	int64_t y = tm->tm_year + 1900 - (tm->tm_mon < 2);
	int64_t m = tm->tm_mon < 2 ? tm->tm_mon + 10 : tm->tm_mon - 2;
	int64_t era = y / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * m + 2) / 5 + tm->tm_mday - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static bool date(const char *text, uint64_t *ret)
{
	struct cursor c = {text};
	struct tm tm = {0};
	uint64_t ms = 0;
	int64_t seconds = 0;

	tm.tm_year = number(&c, 4) - 1900;
	if (!take(&c, "-"))
		return false;
	tm.tm_mon = number(&c, 2) - 1;
	if (!take(&c, "-"))
		return false;
	tm.tm_mday = number(&c, 2);
	if (!is_date(&tm))
		return false;
	if (!*c.p)
		return local(&tm, 0, ret);
	if (!take(&c, "Tt _") || !clock_time(&c, true, &tm, &ms))
		return false;
	if (!*c.p)
		return local(&tm, ms, ret);
	if (!offset(&c, &seconds) || *c.p)
		return false;
	int64_t there = days_of(&tm) * 86400 + tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
	return from_seconds(there - seconds, ms, ret);
}

static bool localtime_of(uint64_t ms, struct tm *ret)
{
	time_t t = (time_t)(ms / SECOND_MS);

	return localtime_r(&t, ret) != NULL;
}

/* The last time it was this late. */
static bool time_of_day(const char *text, uint64_t now_ms, uint64_t *ret)
{
	struct cursor c = {text};
	struct tm tm;
	struct tm at = {0};
	uint64_t ms = 0;

	if (!localtime_of(now_ms, &tm) || !clock_time(&c, false, &at, &ms) || *c.p)
		return false;
	for (int back = 0; back <= 1; back++) {
		at.tm_year = tm.tm_year;
		at.tm_mon = tm.tm_mon;
		at.tm_mday = tm.tm_mday - back;
		struct tm day = at;
		if (!local(&day, ms, ret))
			return false;
		if (*ret <= now_ms)
			return true;
	}
	return false;
}

static const struct unit {
	const char *name;
	uint64_t ms;
} units[] = {
	{"s", SECOND_MS},
	{"sec", SECOND_MS},
	{"secs", SECOND_MS},
	{"second", SECOND_MS},
	{"seconds", SECOND_MS},
	{"m", 60 * SECOND_MS},
	{"min", 60 * SECOND_MS},
	{"mins", 60 * SECOND_MS},
	{"minute", 60 * SECOND_MS},
	{"minutes", 60 * SECOND_MS},
	{"h", 3600 * SECOND_MS},
	{"hour", 3600 * SECOND_MS},
	{"hours", 3600 * SECOND_MS},
	{"d", DAY_MS},
	{"day", DAY_MS},
	{"days", DAY_MS},
	{"w", 7 * DAY_MS},
	{"week", 7 * DAY_MS},
	{"weeks", 7 * DAY_MS},
};

/* "5min-ago", "5 min ago". */
static bool ago(const char *text, uint64_t now_ms, uint64_t *ret)
{
	uint64_t n = 0;
	size_t len = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > 1000000000)
			return false;
	}
	text += strspn(text, " -_");
	while ((text[len] >= 'a' && text[len] <= 'z') || (text[len] >= 'A' && text[len] <= 'Z'))
		len++;
	const char *rest = text + len;
	size_t gap = strspn(rest, " -_");
	if (gap == 0 || strcasecmp(rest + gap, "ago") != 0)
		return false;
	for (size_t i = 0; i < countof(units); i++) {
		if (strlen(units[i].name) != len || strncasecmp(units[i].name, text, len) != 0)
			continue;
		*ret = n * units[i].ms < now_ms ? now_ms - n * units[i].ms : 0;
		return true;
	}
	return false;
}

static bool word(const char *text, uint64_t now_ms, uint64_t *ret)
{
	struct tm tm;

	if (strcasecmp(text, "now") == 0) {
		*ret = now_ms;
		return true;
	}
	if (strcasecmp(text, "yesterday") == 0) {
		*ret = now_ms > DAY_MS ? now_ms - DAY_MS : 0;
		return true;
	}
	if (strcasecmp(text, "today") != 0 || !localtime_of(now_ms, &tm))
		return false;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	return local(&tm, 0, ret);
}

bool when_is_relative(const char *text)
{
	uint64_t ms = 0;

	return !date(text, &ms);
}

int when_parse(const char *text, uint64_t now_ms, uint64_t *ret, struct why *why)
{
	if (word(text, now_ms, ret) || ago(text, now_ms, ret) || date(text, ret) ||
	    time_of_day(text, now_ms, ret))
		return 0;
	return why_set(why, -EINVAL,
		       "not a time: write it as 14:00, 2026-11-23, 2026-11-23T14:00, 5min-ago or "
		       "yesterday");
}
