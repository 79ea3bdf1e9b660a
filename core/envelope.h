/*
 * Sealed envelopes: consecutive changes of one feed, as they travel and as they are stored.
 *
 *   u8 version = 4
 *   16 bytes tag          pseudonym of the feed: keyed digest of stream and author
 *   varint seq_first, varint count
 *   16 bytes commitment   digest of the feed key: XChaCha20-Poly1305 alone would let one ciphertext
 *                         open under two keys
 *   24 bytes nonce        keyed digest of the plaintext and all that it is bound to; never the seq,
 *                         which a restored backup would use again for other content
 *   bytes ciphertext      XChaCha20-Poly1305 over: varint length, then `length` bytes of changes
 *                         (as core/batch.h says), then zeros up to Padmé's next size
 *   64 bytes signature    Ed25519 by the author over the hash
 *
 * hash = digest of all before the signature and of the hidden part, which is bound but not sent:
 * stream, author and the hash of the feed's previous envelope. So an envelope verifies only in its
 * place, and a feed is a hash chain. Keys: stream key = keyed digest of the epoch's key and the
 * stream; feed key and tag = keyed digests of that and the author. So who is given a stream's key
 * (core/grant.h) can do all with that stream, and learns of no other.
 *
 * All but the signature is a function of place and content. Who holds the changes can therefore make
 * the bytes and the hash of an envelope again: core/stratum.h keeps the changes only, and the last
 * signature vouches for all before it.
 */
#ifndef BLAZE_CORE_ENVELOPE_H
#define BLAZE_CORE_ENVELOPE_H

#include "core/keys.h"

#define ENVELOPE_CHANGES_MAX 256
/** Loose changes are gathered up to this many bytes; a single larger change travels alone. */
#define ENVELOPE_GATHER_BYTES (256u << 10)

/** The keys of the database's epochs (core/epoch.h), 32 bytes each, the first one first. Never changes. */
struct envelope_ring {
	size_t count;
	const uint8_t *keys[];
};

/** Where an envelope belongs: what both sides know without being told. */
struct envelope_place {
	const uint8_t *root_key; /**< 32 bytes: what is sealed, is sealed under it */
	/** Opening tries these, the newest first: the commitment says which it is. NULL: root_key only. */
	const struct envelope_ring *ring;
	bool granted; /**< both are of this stream alone: envelope_stream_key() of the epochs' keys */
	struct id stream;
	uint64_t actor;
	uint8_t prev[DIGEST_BYTES]; /**< hash of the feed's previous envelope; zeros before the first */
};

struct envelope_range {
	uint64_t seq_first;
	uint64_t count;
};

void envelope_stream_key(const uint8_t root_key[DIGEST_BYTES], const struct id *stream,
			 uint8_t ret[DIGEST_BYTES]);
void envelope_seal(const struct envelope_place *at, const struct keys *keys, uint64_t seq_first,
		   const struct slice *changes, size_t count, struct buf *out);
/** What anyone can read of it. -EBADMSG. */
int envelope_range(struct slice envelope, struct envelope_range *ret);
/**
 * Checks everything, then decrypts: *ret gets `count` length-prefixed changes. -EBADMSG; -ENOKEY: it is signed, and
 * sealed under a key that is not here. sign_pk NULL: the signature was checked before.
 */
int envelope_open(const struct envelope_place *at, const uint8_t sign_pk[KEYS_PK_BYTES],
		  struct slice envelope, struct buf *ret);
/**
 * The same for who has the keys and the place, over a connection that is sealed itself, without what follows from them:
 *
 *   varint seq_first, varint count, 16 bytes commitment, varint (length * 2 + 1 if compressed), so many bytes of
 *   changes (compressed: core/zip.h), 64 bytes signature
 *
 * Appends. -EBADMSG: cannot be opened here.
 */
int envelope_thin(const struct envelope_place *at, struct slice envelope, struct buf *out);
/** The range a thin one says. -EBADMSG. */
int envelope_thin_range(struct slice thin, struct envelope_range *ret);
/** The inverse; clears ret. What comes out is still to be opened and verified. -EBADMSG, -ENOKEY. */
int envelope_thicken(const struct envelope_place *at, struct slice thin, struct buf *ret);

/** The key it is sealed under, of those of the place; NULL: none of them. */
const uint8_t *envelope_key(const struct envelope_place *at, struct slice envelope);
/** What envelope_seal_piece() adds: a random nonce in front, and the tag. */
#define ENVELOPE_PIECE_EXTRA_BYTES (24 + 16)
/** Seals a piece that stands by itself, unsigned: who knows the name it is bound to can check what it is. Appends. */
void envelope_seal_piece(const uint8_t key[DIGEST_BYTES], struct slice bound, struct slice plain,
			 struct buf *out);
/** The inverse; clears ret first. -EBADMSG. */
int envelope_open_piece(const uint8_t key[DIGEST_BYTES], struct slice bound, struct slice sealed,
			struct buf *ret);
/** Seals a key under another that is used for nothing else, to DIGEST_BYTES + 16 bytes. */
void envelope_seal_key(const uint8_t with[DIGEST_BYTES], struct slice bound,
		       const uint8_t key[DIGEST_BYTES], uint8_t ret[DIGEST_BYTES + 16]);
/** -EBADMSG. */
int envelope_open_key(const uint8_t with[DIGEST_BYTES], struct slice bound,
		      const uint8_t sealed[DIGEST_BYTES + 16], uint8_t ret_key[DIGEST_BYTES]);
/** Of a well-formed one. */
void envelope_hash(const struct envelope_place *at, struct slice envelope,
		   uint8_t ret[DIGEST_BYTES]);
/** Of the envelope that holds these `count` length-prefixed changes, which need not be here. */
void envelope_rehash(const struct envelope_place *at, uint64_t seq_first, struct slice changes,
		     size_t count, uint8_t ret[DIGEST_BYTES]);
/** The author's, of a well-formed envelope; borrowed. */
const uint8_t *envelope_signature(struct slice envelope);
bool envelope_is_signed(const uint8_t hash[DIGEST_BYTES],
			const uint8_t signature[KEYS_SIGNATURE_BYTES],
			const uint8_t sign_pk[KEYS_PK_BYTES]);

/* ---- other sealed bytes about a feed, or about something with a place like a feed's ------------- */

/**
 * Appends tag, commitment, nonce and ciphertext as drawn above, under a key of their own, bound to
 * `header` and the place. Nobody signs them.
 */
void envelope_box(const struct envelope_place *at, struct slice header, struct slice plain,
		  struct buf *out);
/** The inverse; *ret is cleared first, *ret_key is the key it is under. -EBADMSG, -ENOKEY. */
int envelope_unbox(const struct envelope_place *at, struct slice header, struct slice box,
		   struct buf *ret, const uint8_t **ret_key);

#endif
