/*
 * One line per event on standard error.
 *
 * Only the function where an error stops logs it; core logs nothing above debug. Text that came from
 * outside goes through log_quote(). Never logged: keys, file contents, whole frames.
 */
#ifndef BLAZE_CORE_LOG_H
#define BLAZE_CORE_LOG_H

#include "core/base.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/** Text of any origin made safe for a terminal: controls and invalid UTF-8 as \xNN. Caller frees. */
char *log_quote(const void *text, size_t len);

#endif
