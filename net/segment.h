/*
 * SEGMENT in net/PROTOCOL.md: a file of a folder relay, which is written once and says itself what it is. Its head tells what is
 * in it, so that nobody has to read a folder of gigabytes to know what it holds.
 *
 *   segment = "blaze seg1", 16 bytes mailbox, 16 bytes writer, be64 number, be64 length of all, be32 count,
 *             count × (be32 length of the sealed part, what is before it in the item: core/mailbox.h),
 *             32 bytes digest of the body, 64 bytes signature over "blaze segment" and the digest of all before,
 *             body: the sealed parts
 *
 * The writer is called by its slot's tag under the first key. A reader that does not know it yet cannot check the signature; the items are
 * sealed and signed themselves.
 *
 * Sans I/O. No state, any thread.
 */
#ifndef BLAZE_NET_SEGMENT_H
#define BLAZE_NET_SEGMENT_H

#include "core/keys.h"
#include "core/mailbox.h"

/** The largest item and what is around it. */
#define SEGMENT_BYTES_MAX (80u << 20)
#define SEGMENT_ITEMS_MAX 16384
/** Before the items. */
#define SEGMENT_FIXED_BYTES (10 + 16 + 16 + 8 + 8 + 4)
#define SEGMENT_ITEM_HEAD_BYTES_MAX (4 + 1 + 8 + 16 + 10 + 5)
/** Of a head. */
#define SEGMENT_HEAD_BYTES_MAX \
	(SEGMENT_FIXED_BYTES + SEGMENT_ITEMS_MAX * SEGMENT_ITEM_HEAD_BYTES_MAX + 32 + 64)

struct segment_item {
	enum mailbox_kind kind;
	uint64_t epoch;
	struct id tag;
	uint64_t first; /**< envelopes and strata, else 0 */
	uint64_t count;
	uint32_t offset; /**< of the sealed part, within the segment */
	uint32_t len;
};

struct segment {
	struct id mailbox;
	struct id writer;
	uint64_t number;
	uint32_t size; /**< of all */
	uint32_t head; /**< of the head */
	struct segment_item *items;
	size_t count;
	uint8_t body[DIGEST_BYTES];
	uint8_t text[DIGEST_BYTES]; /**< what is signed */
	uint8_t signature[KEYS_SIGNATURE_BYTES];
};

/**
 * Reads a head from the beginning of a file of `size` bytes. -EAGAIN: the head is longer than what is there; -EBADMSG: this is
 * no segment, or not all of one. Free with segment_fini().
 */
int segment_decode(struct slice beginning, uint64_t size, struct segment *ret);
void segment_fini(struct segment *s);
bool segment_is_signed(const uint8_t text[DIGEST_BYTES],
		       const uint8_t signature[KEYS_SIGNATURE_BYTES],
		       const uint8_t sign_pk[KEYS_PK_BYTES]);
/** Whether the whole file is what its head says. */
bool segment_is_whole(const struct segment *s, struct slice file);
/** The item of which `sealed` is the sealed part. Appends. */
void segment_item(const struct segment_item *i, struct slice sealed, struct buf *out);

/** Of items that mailbox_item_decode() takes, at most SEGMENT_ITEMS_MAX. Appends; fills ret, whose items the caller frees. */
void segment_encode(struct segment *s, const struct keys *keys, const struct slice *items,
		    size_t count, struct buf *out);

#endif
