/*
 * What a program does to the bytes it read, at random: edits of JSON texts in the manner of a person or
 * of a formatter, edits of lines and words. Everything new that is written carries a token: a character
 * that occurs nowhere else in the history, so that what became of it can be told.
 */
#ifndef BLAZE_TESTS_SIM_MUTATE_H
#define BLAZE_TESTS_SIM_MUTATE_H

#include "core/bytes.h"
#include "tests/sim/rng.h"

#define TOKENS_MAX 1024

/** A set of tokens. */
struct tokens {
	uint64_t bits[TOKENS_MAX / 64];
};

void tokens_add(struct tokens *set, uint32_t token);
bool tokens_has(const struct tokens *set, uint32_t token);
/** Adds those that occur in the bytes. */
void tokens_scan(struct tokens *set, struct slice bytes);
void tokens_merge(struct tokens *set, const struct tokens *other);
/** Of `set`, those that are not in `other`. Whether there is any. */
bool tokens_minus(const struct tokens *set, const struct tokens *other, struct tokens *ret);
void tokens_print(const struct tokens *set);
/** The next unused token's character. `*next` counts; at TOKENS_MAX it stays, and "?" is put. */
void token_put(struct buf *out, uint32_t *next);

/** How a record's bytes are made and edited. */
enum content {
	CONTENT_JSON,
	CONTENT_TEXT,
	CONTENT_BINARY
};

void mutate_create(enum content kind, struct rng *r, uint32_t *next, struct buf *out);
/** `from` may be anything: what is not JSON is edited as text, unless it is replaced. */
void mutate(enum content kind, struct slice from, struct rng *r, uint32_t *next, struct buf *out);

#endif
