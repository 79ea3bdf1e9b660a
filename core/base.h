/*
 * The few macros everything uses: scope cleanup, ownership hand-over, checked allocation.
 *
 * Running out of memory ends the process: LevelDB's C interface cannot report it, so no caller could
 * survive it anyway, and the store is safe against being killed. Sizes that come from outside are
 * bounded by a named limit before they reach an allocation.
 */
#ifndef BLAZE_CORE_BASE_H
#define BLAZE_CORE_BASE_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Runs fn(&variable) when the variable leaves its scope. */
#define AUTO(fn) __attribute__((cleanup(fn)))

/** Hands the pointer over and forgets it here. */
#define STEAL(p)                        \
	(__extension__({                \
		__typeof__(p) p_ = (p); \
		(p) = NULL;             \
		p_;                     \
	}))

#define countof(a) (sizeof(a) / sizeof((a)[0]))

/** The struct that contains this member. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Never NULL; zero-sized requests get one byte. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/** Overflow of count * size ends the process. */
void *xreallocarray(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
void *xmemdup(const void *data, size_t size) __attribute__((malloc, returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

/** For AUTO(): frees what a `char *` or `uint8_t *` local points at. */
void free_ptr(void *pointer_to_pointer);
/** For AUTO(): closes an `int` descriptor unless it is negative. */
void close_fd(int *fd);

#endif
