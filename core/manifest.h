/*
 * Manifests: the chunks that a file is made of, in order. Nothing here touches a disk.
 *
 *   u8 version = 2
 *   u8 order               log2 of the average chunk (core/chunk.h)
 *   varint size            of the file
 *   u8 level, entries      as in a part
 *
 * A long list is a tree: it is cut into parts, which are kept and travel as chunks, and what is left is the list of the
 * parts, which may be cut again. So a small change in a large file is one new part on each level. The cuts depend on
 * the entries alone (ids are digests, and one in some 64 ends a part), so an entry put in front moves one cut.
 *
 *   u8 level               0: the entries are pieces of the file; n + 1: parts whose level is n
 *   entries, to the end    varint length << 1 | is_hole, then 24 bytes id unless it is a hole
 *
 * A hole reads as zeros and is no chunk; it is on level 0. An entry's length is how much of the file it stands for.
 * Lengths add up to the size; a chunk has 1 to CHUNK_BYTES_MAX bytes; two holes are never next to each other. So a file
 * has one manifest for each way of cutting it.
 */
#ifndef BLAZE_CORE_MANIFEST_H
#define BLAZE_CORE_MANIFEST_H

#include "core/chunk.h"

/** The largest file that travels. */
#define MANIFEST_FILE_BYTES_MAX (1ull << 40)
/** Pieces of a file. */
#define MANIFEST_ENTRIES_MAX (1u << 22)
#define MANIFEST_LEVELS_MAX 4
/** Of a manifest or a part. */
#define MANIFEST_PART_BYTES_MAX (64u << 10)
/** About how long a part is, for who counts what is still to come. */
#define MANIFEST_PART_BYTES 2048

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
	struct chunk_id *parts; /**< of the tree, on all levels */
	size_t part_count;
	struct buf root;       /**< as it is stored; empty until it was sealed */
	struct manifest *next; /**< of all whose chunks somebody here may count on */
	struct manifest **at;  /**< NULL: it is not sealed */
	unsigned refs;	       /**< atomic */
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

/** Where parts are kept. */
struct manifest_store {
	/** Clears ret first. < 0: it is not here, or damaged. */
	int (*get)(void *ctx, const struct chunk_id *id, struct buf *ret);
	/** Keeps a part. < 0: it cannot. */
	int (*put)(void *ctx, struct slice part, struct chunk_id *ret_id);
	void *ctx;
};

/**
 * Calls fn for every manifest in memory that was sealed or decoded, of whatever database. fn must not create or free
 * any.
 */
void manifest_each(void (*fn)(void *ctx, const struct manifest *m), void *ctx);

/** Nothing will be added: cuts it into parts, which it puts. -EFBIG: too long a list. */
int manifest_seal(struct manifest *m, const struct manifest_store *s);
/** Appends a sealed one, without its parts. */
void manifest_encode(const struct manifest *m, struct buf *out);
/**
 * The inverse, with its parts. -EBADMSG when malformed. -ENOENT when parts could not be got: then *ret_lacking, unless it is
 * NULL, is a list whose entries are those, as far as they are known.
 */
int manifest_decode(struct slice bytes, const struct manifest_store *s, struct manifest **ret,
		    struct manifest **ret_lacking);
/** Calls fn with what is known of one whose parts could not all be got: those parts and entries that are. */
void manifest_mark_known(struct slice bytes, const struct manifest_store *s,
			 void (*fn)(void *ctx, const struct manifest *m), void *ctx);
/** Whether this is a manifest, its parts aside. */
bool manifest_is_sound(struct slice bytes);
/** The size of the file, of a sound manifest. */
uint64_t manifest_size(struct slice bytes);

#endif
