/*
 * The Noise handshake (noiseprotocol.org, revision 34), sans I/O: two patterns, two ciphers.
 *
 *   XXpsk3, first contact:                        KK, devices that know each other:
 *
 *     initiator            responder                initiator            responder
 *        │── e ───────────────▶│  48 bytes              │   (both statics known)  │
 *        │◀─ e, ee, s, es ─────│  96                    │── e, es, ss ───────────▶│  48 bytes
 *        │── s, se, psk ──────▶│  64                    │◀─ e, ee, se ────────────│  48
 *        ╞═════ records ═══════╡                        ╞═════ records ═══════════╡
 *
 * X25519, SHA-256 (so that Noise's HKDF is RFC 5869 with an empty info), AES-256-GCM or
 * ChaCha20-Poly1305. The prologue must hold everything said before, so that a changed word of it
 * makes the handshake fail. Refused: a peer that shows our own static or ephemeral key
 * (reflection), points of low order. After any failure the handshake is dead. Secrets are wiped as
 * soon as they are used.
 */
#ifndef BLAZE_NET_NOISE_H
#define BLAZE_NET_NOISE_H

#include "core/keys.h"

#define NOISE_HASH_BYTES 32
#define NOISE_SECRET_BYTES 32 /* of a pre-shared key */
#define NOISE_TAG_BYTES 16
/** Longest handshake message with an empty payload. */
#define NOISE_MESSAGE_BYTES_MAX (32 + 32 + 16 + 16)

enum noise_pattern {
	NOISE_XXPSK3,
	NOISE_KK,
};

enum noise_cipher {
	NOISE_CHACHAPOLY,
	NOISE_AESGCM,
};

/** Whether this processor has AES instructions, without which NOISE_AESGCM must not be used. */
bool noise_has_aes(void);

/* ---- one direction of a finished handshake -------------------------------------------------- */

/** A key and its counter. Wipe after use. */
struct noise_key {
	enum noise_cipher cipher;
	uint8_t k[32];
	uint64_t n; /**< messages so far; 2^64 - 1 is never used for one */
};

/** Appends ciphertext and tag. -EPROTO when the counter is used up. */
int noise_key_seal(struct noise_key *key, struct slice ad, struct slice plain, struct buf *out);
/** Appends the plaintext. -EBADMSG when the sender did not seal this as its next one. */
int noise_key_open(struct noise_key *key, struct slice ad, struct slice sealed, struct buf *out);
/** Replaces the key by one from which the old one cannot be found. The counter goes on. */
void noise_key_rekey(struct noise_key *key);

/* ---- the handshake -------------------------------------------------------------------------- */

struct noise_options {
	enum noise_pattern pattern;
	enum noise_cipher cipher;
	bool initiator;
	struct slice prologue;
	const struct keys *keys;  /**< must outlive the handshake */
	const uint8_t *remote_pk; /**< KK: the peer's static key */
	const uint8_t *psk;	  /**< XXpsk3: NOISE_SECRET_BYTES */
	const uint8_t *ephemeral; /**< known-answer tests only; NULL = random */
};

struct noise;

struct noise *noise_create(const struct noise_options *options);
void noise_destroy(struct noise *n);
/** Whether the next message is ours to write. Never true when done. */
bool noise_must_write(const struct noise *n);
bool noise_is_done(const struct noise *n);
/** How many messages went either way. */
size_t noise_message_count(const struct noise *n);
/** Appends our next message. -EBADMSG: dead, or the peer's key is of low order or our own. */
int noise_write(struct noise *n, struct slice payload, struct buf *out);
/**
 * Takes the peer's next message and appends its payload. -EBADMSG: not what an honest peer sends.
 */
int noise_read(struct noise *n, struct slice message, struct buf *payload);
/** The peer's static key, once two messages were exchanged: a responder's is authentic then, an initiator's when all is done. */
void noise_remote_pk(const struct noise *n, uint8_t ret[KEYS_PK_BYTES]);
/** The handshake hash, once done: the same on both sides, and different for every handshake. */
void noise_hash(const struct noise *n, uint8_t ret[NOISE_HASH_BYTES]);
/** The keys of both directions, once done; wipes them here. */
void noise_split(struct noise *n, struct noise_key *ret_send, struct noise_key *ret_receive);

/**
 * HKDF-SHA256 with an empty info: the first count (1 to 3) blocks of 32 bytes. For RFC 5869's
 * vectors.
 */
void noise_hkdf(const uint8_t salt[32], struct slice input, uint8_t (*ret)[32], size_t count);

#endif
