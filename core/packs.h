/*
 * Where chunks are kept: append-only files beside the store, at most some 64 MiB each, and an index in the store.
 *
 *   DIR/chunks/<number>      eight hexadecimal digits; records, one after the other:
 *   record                   be32 length, 24 bytes id, the chunk
 *
 * Store keys:
 *   k id24    varint pack, offset of the chunk's bytes, length
 *   Kp        varint pack, offset: all before is in the index, or superfluous
 *   Kr id24   empty: the chunk was found damaged
 *
 * What the index names is whole: a chunk enters it after its pack was flushed to stable storage (packs_sync()). Until
 * then it is known in memory, and readable. After a crash, what was appended behind the mark is read again, kept as
 * far as each record is what its id says, and the rest is cut off. So nothing that had arrived is fetched again.
 *
 * A chunk that does not read as what its id says is damaged: it counts as not here, so that it is put again when it
 * comes from a peer or is saved once more, and takes the place of the damaged one in the index. Until then the index
 * keeps the old place, because a disk that cannot be read now may be readable later.
 *
 * Threads: any, but for the three steps of a flush, which the caller serialises.
 */
#ifndef BLAZE_CORE_PACKS_H
#define BLAZE_CORE_PACKS_H

#include "core/chunk.h"
#include "core/store.h"

/** A pack that has reached this is not appended to. */
#define PACK_BYTES_MAX (64u << 20)

struct packs;

/** keys and store outlive it. Reads what a crash left behind. */
int packs_open(const char *dir, struct store *store, const struct chunk_keys *keys,
	       struct packs **ret);
void packs_close(struct packs *p);

/** Keeps a chunk: 1 = it was not here. -ENOSPC, -EIO and the like: nothing was done. */
int packs_put(struct packs *p, const struct chunk_id *id, struct slice bytes);
enum packs_state {
	PACKS_NONE,
	PACKS_FRESH,   /**< here, and not in the index yet */
	PACKS_INDEXED, /**< and that is durable once the store was synced */
};
enum packs_state packs_state(struct packs *p, const struct chunk_id *id);
bool packs_has(struct packs *p, const struct chunk_id *id);
/** Clears ret first. -ENOENT; -EIO: it is not any more what it was, which is logged, and noted as damage. */
int packs_read(struct packs *p, const struct chunk_id *id, struct buf *ret);

struct packs_damage {
	struct chunk_id id;
	uint64_t length;
};

/** The chunks known to be damaged. Returns the count; *ret is the caller's to free. */
size_t packs_damages(struct packs *p, struct packs_damage **ret);
/** Stages that they are damaged, for the next start. */
void packs_stage_damages(struct packs *p, struct store_txn *t);
/** Bytes put and not yet in the index. */
uint64_t packs_fresh_bytes(struct packs *p);

/* ---- what nobody needs (packs_sweep.c) ----------------------------------------------------------- */

/**
 * From here on, every chunk that somebody puts or asks for counts as needed, until packs_watch_end(). So who says
 * afterwards what is not needed (core/collect.c) cannot be overtaken by who begins to need it. One at a time.
 */
void packs_watch_begin(struct packs *p);
void packs_watch_end(struct packs *p);
/**
 * Takes chunks that are not needed out of the index: stages it; those asked for meanwhile stay. Until packs_drop_end()
 * they count as not here. Returns the count; *ret_bytes is added to.
 */
size_t packs_drop(struct packs *p, const struct chunk_id *ids, size_t count, struct store_txn *t,
		  uint64_t *ret_bytes);
void packs_drop_end(struct packs *p);

/** How full a pack is. */
struct packs_use {
	uint64_t pack;
	uint64_t file_bytes;
	uint64_t live_bytes; /**< of chunks in the index, their heads included */
};

/** All packs that are there, ascending; what is not in the index yet counts as live. Caller frees. */
int packs_uses(struct packs *p, struct packs_use **ret, size_t *ret_count);
/** Bytes of all packs, without reading the index. */
int packs_file_bytes(const struct packs *p, uint64_t *ret);
/** Appends go to a new pack from here on, if this one is appended to. */
int packs_leave(struct packs *p, uint64_t pack);
/**
 * Copies the chunks of a pack to where chunks are appended, some at a time: 1 = they wait for a flush, 0 = there are none
 * left. -EIO: one of them cannot be read; it is noted as damage.
 */
int packs_move_some(struct packs *p, uint64_t pack);
/** Stages that recovery after a crash begins at the pack appended to. Nothing fresh may be in others. false: there is. */
bool packs_stage_mark(struct packs *p, struct store_txn *t);
/** Removes a pack that nothing in the index names, once that is durable. */
int packs_remove(struct packs *p, uint64_t pack);

struct packs_batch;

/** Step one, which waits for the disk: what was put until now is durable. *ret NULL: there is nothing. */
int packs_sync(struct packs *p, struct packs_batch **ret);
/** Step two: stages its place in the index. */
void packs_stage(struct packs *p, const struct packs_batch *b, struct store_txn *t);
/** Step three, after the transaction: written or not. Frees the batch. */
void packs_settle(struct packs *p, struct packs_batch *b, bool written);

/** The chunks of a batch, for whoever waits for them. */
size_t packs_batch_count(const struct packs_batch *b);
const struct chunk_id *packs_batch_id(const struct packs_batch *b, size_t i);

#endif
