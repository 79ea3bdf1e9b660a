/*
 * Sealed envelopes: consecutive changes of one feed, as they travel and as they are stored.
 *
 *   u8 version = 1
 *   16 bytes tag          pseudonym of the feed: keyed digest of stream and author
 *   varint seq_first, varint count
 *   16 bytes commitment   digest of the feed key: XChaCha20-Poly1305 alone would let one ciphertext
 *                         open under two keys
 *   24 bytes nonce        random; never the seq, which a restored backup would repeat
 *   bytes ciphertext      XChaCha20-Poly1305 over: varint length, then `length` bytes of changes
 *                         (each as length-prefixed bytes), then zeros up to Padmé's next size
 *   64 bytes signature    Ed25519 by the author over a digest of all before it and the hidden part
 *
 * The hidden part is bound but not sent: stream, author and the hash of the feed's previous envelope.
 * So an envelope verifies only in its place, and a feed is a hash chain. Keys: stream key = keyed
 * digest of the database's root key and the stream; feed key = keyed digest of that and the author.
 */
#ifndef BLAZE_CORE_ENVELOPE_H
#define BLAZE_CORE_ENVELOPE_H

#include "core/keys.h"

#define ENVELOPE_CHANGES_MAX 256
/** Loose changes are gathered up to this many bytes; a single larger change travels alone. */
#define ENVELOPE_GATHER_BYTES (256u << 10)

/** Where an envelope belongs: what both sides know without being told. */
struct envelope_place {
	const uint8_t *root_key; /**< 32 bytes */
	struct id stream;
	uint64_t actor;
	uint8_t prev[DIGEST_BYTES]; /**< hash of the feed's previous envelope; zeros before the first */
};

struct envelope_range {
	uint64_t seq_first;
	uint64_t count;
};

void envelope_seal(const struct envelope_place *at, const struct keys *keys, uint64_t seq_first,
		   const struct slice *changes, size_t count, struct buf *out);
/** What anyone can read of it. -EBADMSG. */
int envelope_range(struct slice envelope, struct envelope_range *ret);
/** Checks everything, then decrypts: *ret gets `count` length-prefixed changes. -EBADMSG. */
int envelope_open(const struct envelope_place *at, const uint8_t sign_pk[KEYS_PK_BYTES],
		  struct slice envelope, struct buf *ret);
/** What envelope_seal_piece() adds: a random nonce in front, and the tag. */
#define ENVELOPE_PIECE_EXTRA_BYTES (24 + 16)
/** Seals a piece that stands by itself, unsigned: who knows the name it is bound to can check what it is. Appends. */
void envelope_seal_piece(const uint8_t key[DIGEST_BYTES], struct slice bound, struct slice plain,
			 struct buf *out);
/** The inverse; clears ret first. -EBADMSG. */
int envelope_open_piece(const uint8_t key[DIGEST_BYTES], struct slice bound, struct slice sealed,
			struct buf *ret);
void envelope_hash(struct slice envelope, uint8_t ret[DIGEST_BYTES]);

#endif
