/* BLAKE2b-256 with a domain, and random bytes for keys and nonces. */
#ifndef BLAZE_CORE_DIGEST_H
#define BLAZE_CORE_DIGEST_H

#include "core/id.h"

#define DIGEST_BYTES 32

/** Must run before anything else of core; safe to repeat. Ends the process if libsodium cannot start. */
void digest_init(void);
/** BLAKE2b-256 over domain (a C string) and the parts, each preceded by its length. */
void digest(uint8_t out[DIGEST_BYTES], const char *domain, const struct slice *parts, size_t count);
/** The first 16 bytes of digest(). */
struct id digest_id(const char *domain, const struct slice *parts, size_t count);
/** BLAKE2b with a key, of 16 to 64 bytes. */
void digest_keyed(uint8_t *out, size_t out_len, const uint8_t key[DIGEST_BYTES], struct slice bytes);
#define DIGEST_SUM_BYTES 8
#define DIGEST_SUM_KEY_BYTES 16
/** SipHash-2-4: tells damage and leftovers, not forgeries. */
void digest_sum(uint8_t out[DIGEST_SUM_BYTES], const uint8_t key[DIGEST_SUM_KEY_BYTES],
		struct slice bytes);
/** From the system's generator. */
void random_bytes(void *out, size_t len);
/** Overwrites a secret; never optimised away. */
void wipe(void *p, size_t len);
/** Constant time. */
bool secret_eq(const void *a, const void *b, size_t len);
/** URL-safe base64 without padding. */
void base64_encode(struct slice in, struct buf *out);
int base64_decode(const char *text, size_t len, struct buf *out);

#endif
