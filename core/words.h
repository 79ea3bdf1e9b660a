/*
 * Secrets and checks as words that people read out and type: 1,024 plain English ones, ten bits each. Whoever
 * types one needs its first four letters only. No state, any thread.
 */
#ifndef BLAZE_CORE_WORDS_H
#define BLAZE_CORE_WORDS_H

#include "core/bytes.h"

#define WORDS_COUNT 1024
#define WORDS_BITS 10
/** Of the longest word. */
#define WORDS_LETTERS_MAX 8

/** The word of the lowest ten bits. */
const char *words_get(unsigned index);
/** Its number: of a whole word, or of four letters and more, in any case. -ENOENT. */
int words_find(struct slice text);
/** Appends the first word_count * 10 bits of bytes, the highest first. */
void words_encode(const uint8_t *bytes, size_t word_count, const char *separator, struct buf *out);
/**
 * The inverse; whatever is not a letter separates words. ret gets `bytes` bytes, the last bits zero. -ENOENT a word that
 * is none of ours, -EINVAL too few, -E2BIG too many.
 */
int words_decode(struct slice text, uint8_t *ret, size_t bytes, size_t word_count);

#endif
