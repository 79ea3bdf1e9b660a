/*
 * Pairing codes: "7-orbit-walnut". The number, the nameplate, says where to ask and is no secret; the words are. Where the
 * inviter waits at a relay, too, the number has six digits and the relay's address may follow: "482913-orbit-walnut@example.org".
 */
#ifndef BLAZE_NET_CODE_H
#define BLAZE_NET_CODE_H

#include "net/endpoint.h"

#include "core/digest.h"
#include "core/words.h"

/** Words of a code: 20 bits, of which somebody gets one guess. */
#define CODE_WORDS 2
/** A code and its NUL. */
#define CODE_TEXT_BYTES (7 + CODE_WORDS * (WORDS_LETTERS_MAX + 1) + 1)

/** The port of a relay's address that has none. */
#define CODE_RELAY_PORT 7710

/** Makes a code for the nameplate, and what HELLO_CODE's secret is for it. */
void code_make(uint32_t nameplate, char ret_text[CODE_TEXT_BYTES], uint8_t ret_secret[DIGEST_BYTES]);
/** Whether text looks like one at all, perhaps with a misspelt word: digits, '-', letters, and perhaps '@' and anything. */
bool code_is_like(const char *text);
/**
 * Blanks around it are allowed, words may be cut to four letters; an address is not looked at. -EINVAL no code, -ENOENT no
 * word of ours.
 */
int code_parse(const char *text, uint32_t *ret_nameplate, uint8_t ret_secret[DIGEST_BYTES]);
/** A relay as it stands in a code: without the port that relays have. */
void code_write_relay(const struct endpoint *relay, char out[ENDPOINT_TEXT_BYTES]);
/** The relay of a code: 1; 0 = it has none; -EINVAL no address. */
int code_relay(const char *text, struct endpoint *ret);

#endif
