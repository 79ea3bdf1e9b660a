/*
 * Chunks: large content that is not text is cut into pieces, each known by a keyed digest of its bytes. What two
 * versions, two files or two devices have in common is then stored and sent once.
 *
 * The whole way of a large file, and who does what:
 *   - here           cutting and naming. The cut is content-defined (FastCDC: Xia et al., USENIX ATC 2016, with
 *                    normalised chunking), so a byte inserted in front moves one boundary, not all. Gear table and
 *                    ids are keyed with the database's secret: who sees ids or lengths cannot confirm a guess.
 *   - manifest.h     the list of chunks that makes a file: the value of an OP_CHUNKS, a sibling of the raw value.
 *   - packs.h        where chunks are kept: append-only files beside the store, an index in it.
 *   - db_chunks.h    content in and out of a database; which chunks are missing; what is shown meanwhile.
 *   - sync_chunks.h  asking a peer for chunks, and answering.
 *
 * What counts as large and not text is the caller's to say (fs/bulk.c).
 */
#ifndef BLAZE_CORE_CHUNK_H
#define BLAZE_CORE_CHUNK_H

#include "core/digest.h"

#define CHUNK_ID_BYTES 24
/** Averages are powers of two; a chunk is between a quarter of the average and four times as long. */
#define CHUNK_ORDER_MIN 15 /* 32 KiB, for files up to 64 MiB; */
#define CHUNK_ORDER_MAX 20 /* 1 MiB, so that a file of 1 TiB is a million chunks */
#define CHUNK_BYTES_MAX (4u << CHUNK_ORDER_MAX)

struct chunk_id {
	uint8_t b[CHUNK_ID_BYTES];
};

/** What is derived from the database's secret. Wipe after use. */
struct chunk_keys {
	uint8_t id_key[DIGEST_BYTES];
	uint8_t seal_key[DIGEST_BYTES];
	uint64_t gear[256];
};

void chunk_keys_init(struct chunk_keys *k, const uint8_t root_key[DIGEST_BYTES]);

struct chunk_id chunk_id_of(const struct chunk_keys *k, struct slice bytes);
bool chunk_id_eq(const struct chunk_id *a, const struct chunk_id *b);
int chunk_id_cmp(const struct chunk_id *a, const struct chunk_id *b);
/** All zeros: no chunk's id. */
bool chunk_id_is_zero(const struct chunk_id *id);

/** The order (log2 of the average) for a file of this size. */
unsigned chunk_order(uint64_t file_size);
/** At least that many bytes, or the last ones, have to be at hand for chunk_cut(). */
size_t chunk_max(unsigned order);
/**
 * Length of the first chunk of bytes, which must hold chunk_max() bytes unless the content ends with them. Depends
 * on nothing before them, so that cutting can begin at any boundary.
 */
size_t chunk_cut(const struct chunk_keys *k, unsigned order, struct slice bytes);
/** Only zeros: such a chunk is a hole. */
bool chunk_is_hole(struct slice bytes);

/** As it travels: sealed with the database's key, bound to its id. Appends. */
void chunk_seal(const struct chunk_keys *k, const struct chunk_id *id, struct slice bytes,
		struct buf *out);
/** Opens it and checks that it is what its id says. -EBADMSG: damaged or forged. */
int chunk_open(const struct chunk_keys *k, const struct chunk_id *id, struct slice sealed,
	       struct buf *ret);

#endif
