/* How commands write sizes, times, names and paths for people; and what JSON output is put together from. */
#ifndef BLAZE_CLI_SHOW_H
#define BLAZE_CLI_SHOW_H

#include "core/auth.h"

/**
 * Text from outside (names, summaries, paths) made safe for a terminal: control characters, invalid
 * UTF-8 and characters that reorder or hide text become \xNN; other UTF-8 stays. Caller frees.
 */
char *show_text(const char *text);
/** "55 B", "1.2 kB", "340 MB". */
void show_size(struct buf *out, uint64_t bytes);
/** "0.4 s", "12 s", "3 min", "2 h". */
void show_duration(struct buf *out, uint64_t ms);
/** "now", "14:02:11" (today), "Nov 21 14:02", "2025-11-21", in local time. */
void show_time(struct buf *out, uint64_t then_ms, uint64_t now_ms);
/** "2026-11-22T14:02:11.123Z". */
void show_rfc3339(struct buf *out, uint64_t ms);
/** A path with the home directory as "~", quoted where a shell would need it. */
void show_path(struct buf *out, const char *path);
/** `"key":"value",` with value escaped. */
void show_json_text(struct buf *out, const char *key, const char *value);
const char *show_plural(uint64_t n);
/** What a device may do: "read", "write", "manage", "owner"; "relay" is no person's to give. */
const char *show_role(enum member_role role);
/** The role of that name, of those a person can give; 0 = there is none. */
enum member_role show_parse_role(const char *text);
/** Wall clock in milliseconds. */
uint64_t show_now_ms(void);

#endif
