/*
 * One line for a person, beside the error code for the program: what failed, why, and what to do.
 * Functions whose failures a person has to act on take a `struct why *`, and fill it on failure.
 */
#ifndef BLAZE_CORE_WHY_H
#define BLAZE_CORE_WHY_H

#include "core/base.h"

struct why {
	char text[512]; /**< no newline; without the "blaze: " in front */
};

/** Fills why (which may be NULL) and returns r. */
int why_set(struct why *why, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
