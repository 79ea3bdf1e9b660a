/* Words for people. */
#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * Decodes one UTF-8 sequence: its length, or 0 when invalid. What buf_json_string() would have to
 * replace is invalid.
 */
static size_t decode(struct slice s, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t c = s.data[0];
	size_t n = c < 0x80		   ? 1
		   : c >= 0xc2 && c < 0xe0 ? 2
		   : c >= 0xe0 && c < 0xf0 ? 3
		   : c >= 0xf0 && c < 0xf5 ? 4
					   : 0;
	uint32_t v = n == 1 ? c : n == 2 ? c & 0x1f : n == 3 ? c & 0x0f : c & 0x07;

	if (n == 0 || n > s.len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s.data[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s.data[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*ret = v;
	return n;
}

/* Controls (C0, DEL, C1), and what reorders or hides text: bidi marks, zero width, line separators, tags. */
static bool is_unsafe(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x00, 0x1f},	  {0x7f, 0x9f},	      {0xad, 0xad},	{0x061c, 0x061c},
		{0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f}, {0xfeff, 0xfeff},
		{0xfff9, 0xfffb}, {0xe0000, 0xe007f},
	};

	for (size_t i = 0; i < countof(ranges); i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return false;
}

char *show_text(const char *text)
{
	struct buf out = {0};
	struct reader r = reader_init(SLICE_STR(text));

	while (reader_left(&r)) {
		uint32_t c = 0;
		size_t n = decode(SLICE(r.p, reader_left(&r)), &c);
		struct slice bytes = reader_take(&r, n ? n : 1);

		if (n && !is_unsafe(c)) {
			buf_slice_append(&out, bytes);
			continue;
		}
		for (size_t i = 0; i < bytes.len; i++)
			buf_printf(&out, "\\x%02x", bytes.data[i]);
	}
	return buf_str(&out);
}

const char *show_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

void show_size(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 999.5 && u + 1 < countof(units)) {
		v /= 1000;
		u++;
	}
	buf_printf(out, u > 0 && v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

void show_duration(struct buf *out, uint64_t ms)
{
	if (ms < 9950)
		buf_printf(out, "%.1f s", (double)ms / 1000);
	else if (ms < UINT64_C(120000))
		buf_printf(out, "%" PRIu64 " s", (ms + 500) / 1000);
	else if (ms < UINT64_C(7200000))
		buf_printf(out, "%" PRIu64 " min", (ms + 30000) / 60000);
	else
		buf_printf(out, "%" PRIu64 " h", (ms + 1800000) / 3600000);
}

void show_time(struct buf *out, uint64_t then_ms, uint64_t now_ms)
{
	time_t then = (time_t)(then_ms / 1000);
	time_t now = (time_t)(now_ms / 1000);
	struct tm a;
	struct tm b;
	char text[32];

	if (then_ms <= now_ms + 1000 && then_ms + 5000 > now_ms) {
		buf_printf(out, "now");
		return;
	}
	(void)localtime_r(&then, &a);
	(void)localtime_r(&now, &b);
	bool today = a.tm_year == b.tm_year && a.tm_yday == b.tm_yday;
	size_t n = today		    ? strftime(text, sizeof(text), "%H:%M:%S", &a)
		   : a.tm_year == b.tm_year ? strftime(text, sizeof(text), "%b %e %H:%M", &a)
					    : strftime(text, sizeof(text), "%Y-%m-%d", &a);
	buf_append(out, text, n);
}

void show_rfc3339(struct buf *out, uint64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char text[32];

	(void)gmtime_r(&s, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(out, "%s.%03uZ", text, (unsigned)(ms % 1000));
}

void show_path(struct buf *out, const char *path)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "@%+=:,./_-";
	const char *home = getenv("HOME");
	size_t n = home ? strlen(home) : 0;
	const char *rest = path;

	if (n > 1 && strncmp(path, home, n) == 0 && (path[n] == '/' || path[n] == 0))
		rest = path + n;
	AUTO(free_ptr) char *safe = show_text(rest);
	bool quote = rest[strspn(rest, plain)] != 0;

	buf_printf(out, quote ? "%s'%s'" : "%s%s", rest == path ? "" : "~", safe);
}

void show_json_text(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, "\"%s\":\"", key);
	buf_json_string(out, SLICE_STR(value));
	buf_printf(out, "\",");
}

uint64_t show_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *const role_names[] = {
	[MEMBER_RELAY] = "relay",   [MEMBER_READ] = "read",   [MEMBER_WRITE] = "write",
	[MEMBER_MANAGE] = "manage", [MEMBER_OWNER] = "owner",
};

const char *show_role(enum member_role role)
{
	return role < countof(role_names) && role_names[role] ? role_names[role] : "none";
}

enum member_role show_parse_role(const char *text)
{
	for (enum member_role role = MEMBER_READ; role <= MEMBER_OWNER; role++) {
		if (strcmp(text, role_names[role]) == 0)
			return role;
	}
	return 0;
}
