/*
 * Log lines: one write(2) each, so that lines of several threads never mix; and one line each, whatever
 * the names in it are.
 */
#include "core/log.h"

#include "core/bytes.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_level = LOG_LEVEL_WARN;

void log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

void log_line(enum log_level level, const char *format, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	char line[1024];
	struct timespec now;
	struct tm tm;
	va_list args;

	if ((int)level > atomic_load(&log_level))
		return;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n,
			      ".%03ldZ blaze %s: ", now.tv_nsec / 1000000, names[level]);
	va_start(args, format);
	int r = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	va_end(args);
	if (r > 0)
		n += (size_t)r < sizeof(line) - n - 2 ? (size_t)r : sizeof(line) - n - 2;
	for (size_t i = 0; i < n; i++)
		line[i] = (unsigned char)line[i] < 0x20 ? '?' : line[i];
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, n);
}

char *log_quote(const void *text, size_t len)
{
	const uint8_t *p = text;
	struct buf out = {0};

	for (size_t i = 0; i < len; i++) {
		bool plain = p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\' && p[i] != '\'';

		if (plain)
			buf_u8(&out, p[i]);
		else
			buf_printf(&out, "\\x%02x", p[i]);
	}
	return buf_str(&out);
}
