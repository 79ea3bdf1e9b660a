/*
 * Strata: many consecutive envelopes of one feed, packed. Everybody can make one, of any feed, and
 * whoever gets it need not trust who made it: unpacked, the envelopes' bytes and hashes are made again
 * (all but the signature is a function of place and content), and the last envelope's signature, by the
 * feed's author, vouches for the chain that ends there. So an envelope costs a stratum a byte for its
 * count, not 64 of signature and 24 of nonce.
 *
 *   u8 version = 1
 *   varint seq_first, varint count
 *   box (core/envelope.h) of
 *     32 bytes hash of the envelope before the first; zeros before the feed's first
 *     64 bytes signature of the last envelope
 *     zip (core/zip.h) of
 *       varint envelope_count, then the count of changes of each
 *       u8 code; the changes, as core/stratum_code.h says (1) or each as length-prefixed bytes (0)
 *
 * A stratum ends with the envelope that reaches a multiple of STRATUM_CHANGES or STRATUM_BYTES since it
 * began, or before the first one under another key; it begins where the one before ended. So devices agree where strata end without a word.
 *
 * Sans store. No state, any thread.
 */
#ifndef BLAZE_CORE_STRATUM_H
#define BLAZE_CORE_STRATUM_H

#include "core/envelope.h"

#define STRATUM_CHANGES 4096
/** Of changes, as envelopes hold them. One envelope may be larger, and is a stratum by itself then. */
#define STRATUM_BYTES (1u << 20)

/** What one envelope held. */
struct stratum_part {
	uint64_t count;
	struct slice changes;	    /**< `count` length-prefixed ones */
	uint8_t hash[DIGEST_BYTES]; /**< the envelope's; set by stratum_verify() */
};

/** An opened one. Zero-initialise; stratum_fini() frees. */
struct stratum {
	uint64_t seq_first;
	uint64_t count;
	uint8_t prev[DIGEST_BYTES];
	uint8_t signature[KEYS_SIGNATURE_BYTES];
	const uint8_t *root_key; /**< all of it is under this one; set by stratum_open() */
	struct stratum_part *parts;
	size_t part_count;
	struct buf body; /**< what parts borrow from */
};

/** at->prev: the hash of the envelope before. s: all but hashes; body is not used. Appends. */
void stratum_pack(const struct envelope_place *at, const struct stratum *s, struct buf *out);
/** What anyone can read of it. -EBADMSG. */
int stratum_range(struct slice packed, struct envelope_range *ret);
/** at->prev is not used. Proves who had the database's key, not who the author was. -EBADMSG, -ENOKEY. */
int stratum_open(const struct envelope_place *at, struct slice packed, struct stratum *ret);
/** Makes the hash of every part; -EBADMSG if the author did not sign the last. at->prev is not used. */
int stratum_verify(const struct envelope_place *at, struct stratum *s,
		   const uint8_t sign_pk[KEYS_PK_BYTES]);
void stratum_fini(struct stratum *s);

#endif
