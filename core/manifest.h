/*
 * Manifests: the chunks that a file is made of, in order. Plain data; nothing here touches a disk.
 *
 *   u8 version = 1
 *   u8 order               log2 of the average chunk (core/chunk.h)
 *   varint size            of the file
 *   entries, to the end:   varint length << 1 | is_hole, then 24 bytes id unless it is a hole
 *
 * A hole reads as zeros and is no chunk. Lengths add up to the size; a chunk has 1 to CHUNK_BYTES_MAX bytes; two
 * holes are never next to each other. So a file has one manifest for each way of cutting it.
 */
#ifndef BLAZE_CORE_MANIFEST_H
#define BLAZE_CORE_MANIFEST_H

#include "core/chunk.h"

/** The largest file that travels: its manifest is some 30 MiB. */
#define MANIFEST_FILE_BYTES_MAX (1ull << 40)
#define MANIFEST_BYTES_MAX (64u << 20)

struct manifest_entry {
	struct chunk_id id; /**< zero: a hole */
	uint64_t offset;
};

/** Read-only once built, and shared; manifest_unref() by its last user frees it. */
struct manifest {
	unsigned order;
	uint64_t size;
	struct manifest_entry *entries;
	size_t count;
	size_t cap;
	unsigned refs; /**< atomic */
};

struct manifest *manifest_create(unsigned order);
struct manifest *manifest_ref(struct manifest *m);
/** NULL is ignored. */
void manifest_unref(struct manifest *m);
/** The next piece of the file. */
void manifest_add(struct manifest *m, const struct chunk_id *id, uint64_t length);
void manifest_add_hole(struct manifest *m, uint64_t length);
uint64_t manifest_length(const struct manifest *m, size_t entry);
/** The entry that this offset (below size) lies in. */
size_t manifest_find(const struct manifest *m, uint64_t offset);

void manifest_encode(const struct manifest *m, struct buf *out);
/** -EBADMSG when malformed. */
int manifest_decode(struct slice bytes, struct manifest **ret);
bool manifest_is_sound(struct slice bytes);
/** The size of the file, of a sound manifest. */
uint64_t manifest_size(struct slice bytes);

#endif
