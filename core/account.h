/*
 * ACCOUNT: 16 random bytes on paper, as 14 words (core/words.h): 128 bits, and 12 that tell a slip of the pen. Who has them can
 * let a new device into the person's databases when all others that could are gone, or out of reach of the person.
 *
 *   words      = 16 bytes entropy, the first 12 bits of digest("blaze account check", entropy)
 *   account    = Ed25519 from the seed digest("blaze account", entropy)
 *   text       = base64url of the account's public key, in the setting "account" of each database
 *
 * The secret is kept nowhere. No state, any thread.
 */
#ifndef BLAZE_CORE_ACCOUNT_H
#define BLAZE_CORE_ACCOUNT_H

#include "core/keys.h"

#define ACCOUNT_WORDS 14
#define ACCOUNT_ENTROPY_BYTES 16
#define ACCOUNT_SETTING "account"

/** Wipe after use. */
struct account {
	uint8_t entropy[ACCOUNT_ENTROPY_BYTES];
	uint8_t pk[KEYS_PK_BYTES];
};

void account_create(struct account *ret);
/** Appends the words, with blanks between them. */
void account_words(const struct account *a, struct buf *out);
/** -ENOENT a word that is none of ours, -EINVAL not 14, -EBADMSG they do not belong together: one is wrong. */
int account_from_words(struct slice text, struct account *ret);
void account_sign(const struct account *a, struct slice message, uint8_t ret[KEYS_SIGNATURE_BYTES]);
/** Its public key as text, and back. -EINVAL. */
void account_text(const uint8_t pk[KEYS_PK_BYTES], struct buf *out);
int account_parse(const char *text, uint8_t ret_pk[KEYS_PK_BYTES]);

#endif
