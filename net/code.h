/*
 * Pairing codes: "7-orbit-walnut". The number, the nameplate, says where to ask and is no secret; the words are.
 */
#ifndef BLAZE_NET_CODE_H
#define BLAZE_NET_CODE_H

#include "core/digest.h"
#include "core/words.h"

/** Words of a code: 20 bits, of which somebody gets one guess. */
#define CODE_WORDS 2
/** A code and its NUL. */
#define CODE_TEXT_BYTES (4 + CODE_WORDS * (WORDS_LETTERS_MAX + 1) + 1)

/** Makes a code for the nameplate, and what HELLO_CODE's secret is for it. */
void code_make(uint32_t nameplate, char ret_text[CODE_TEXT_BYTES], uint8_t ret_secret[DIGEST_BYTES]);
/** Whether text looks like one at all, perhaps with a misspelt word: digits, '-', letters. */
bool code_is_like(const char *text);
/** Blanks around it are allowed, words may be cut to four letters. -EINVAL no code, -ENOENT no word of ours. */
int code_parse(const char *text, uint32_t *ret_nameplate, uint8_t ret_secret[DIGEST_BYTES]);

#endif
