/* A small table of who failed how often. */
#include "net/attempts.h"

#include <stdio.h>
#include <string.h>

static struct attempt_entry *find(struct attempts *a, uint64_t who, const char *address,
				  uint64_t now_ms)
{
	for (size_t i = 0; i < ATTEMPTS_COUNT; i++) {
		struct attempt_entry *e = &a->entries[i];

		if (e->address[0] && now_ms - e->since_ms >= ATTEMPTS_MS)
			e->address[0] = 0;
		if (e->address[0] && e->who == who && strcmp(e->address, address) == 0)
			return e;
	}
	return NULL;
}

bool attempts_may(struct attempts *a, uint64_t who, const char *address, uint64_t now_ms)
{
	const struct attempt_entry *e = find(a, who, address, now_ms);

	return !e || e->count < ATTEMPTS_MAX;
}

bool attempts_failed(struct attempts *a, uint64_t who, const char *address, uint64_t now_ms)
{
	struct attempt_entry *e = find(a, who, address, now_ms);

	for (size_t i = 0; !e && i < ATTEMPTS_COUNT; i++) {
		if (!a->entries[i].address[0])
			e = &a->entries[i];
	}
	if (!e) {
		e = &a->entries[0];
		for (size_t i = 1; i < ATTEMPTS_COUNT; i++) {
			if (a->entries[i].since_ms < e->since_ms)
				e = &a->entries[i];
		}
		e->address[0] = 0;
	}
	if (!e->address[0]) {
		*e = (struct attempt_entry){.who = who, .since_ms = now_ms};
		(void)snprintf(e->address, sizeof(e->address), "%s", address[0] ? address : "?");
	}
	if (e->count >= ATTEMPTS_MAX || ++e->count < ATTEMPTS_MAX)
		return false;
	e->since_ms = now_ms; /* the minute it has to wait */
	return true;
}

bool attempts_take(struct attempts *a, uint64_t who, const char *address, uint64_t now_ms)
{
	if (!attempts_may(a, who, address, now_ms))
		return false;
	(void)attempts_failed(a, who, address, now_ms);
	return true;
}
