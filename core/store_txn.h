/* Private to the store: what store_txn.c needs of store.c and the other way round. */
#ifndef BLAZE_CORE_STORE_TXN_H
#define BLAZE_CORE_STORE_TXN_H

#include "core/store.h"

/** Of a key: keys here are our own ids, not an attacker's choice. */
uint64_t store_hash(struct slice key);

struct arena;

struct pending {
	struct slice key;
	struct slice value;
	bool deleted;
	bool fresh; /**< the store does not have the key: deleted again, nothing is to be written */
};

/** The i-th pending write, or NULL past the last. */
const struct pending *store_txn_pending(const struct store_txn *t, size_t i);
/** The pending write of this key, or NULL. */
const struct pending *store_txn_find(const struct store_txn *t, struct slice key);
/** It holds nothing any more, but keeps its memory. */
void store_txn_clear(struct store_txn *t);
/** Adds copies of the pending writes of `from`. */
void store_txn_merge(struct store_txn *into, const struct store_txn *from);
/** None of them is fresh any more. */
void store_txn_may_be_written(struct store_txn *t);
bool store_txn_frees(const struct store_txn *t);
/** Writes all pending writes as one batch. */
int store_write_pending(struct store *s, const struct store_txn *t);
/** Keeps them for the next batch; -EAGAIN: they have to be written now. */
int store_defer_pending(struct store *s, const struct store_txn *t);
int store_write_deferred(struct store *s);

/** A range of keys. */
struct store_range {
	struct slice prefix;
	struct slice from;
};

bool store_range_has(const struct store_range *range, struct slice key);
/** Calls fn for each pending write in the range, in no order; fn adds none. Of thousands it looks at few others. */
void store_txn_in_range(struct store_txn *t, const struct store_range *range,
			void (*fn)(void *ctx, const struct pending *p), void *ctx);
/** Roughly what the pending writes take. */
size_t store_txn_bytes(const struct store_txn *t);
/**
 * What is committed or deferred in the range and not in LevelDB, but for what `own` writes again: copies, in no
 * order. The caller frees the list, and the arena.
 */
struct pending *store_pending_in(struct store *s, const struct store_txn *own,
				 const struct store_range *range, struct arena *copies,
				 size_t *ret_count);

struct store_iter;

/** Over committed keys >= start; NULL when the store is closed. */
struct store_iter *store_iter_create(struct store *s, struct slice start);
bool store_iter_get(const struct store_iter *i, struct slice *key, struct slice *value);
void store_iter_next(struct store_iter *i);
/** -EIO if the iteration met damage. */
int store_iter_destroy(struct store_iter *i);

#endif
