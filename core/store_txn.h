/* Private to the store: what store_txn.c needs of store.c and the other way round. */
#ifndef BLAZE_CORE_STORE_TXN_H
#define BLAZE_CORE_STORE_TXN_H

#include "core/store.h"

/** Of a key: keys here are our own ids, not an attacker's choice. */
uint64_t store_hash(struct slice key);

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
/** A transaction that holds a copy of what is deferred, or NULL. */
struct store_txn *store_deferred_copy(struct store *s);

struct store_iter;

/** Over committed keys >= start; NULL when the store is closed. */
struct store_iter *store_iter_create(struct store *s, struct slice start);
bool store_iter_get(const struct store_iter *i, struct slice *key, struct slice *value);
void store_iter_next(struct store_iter *i);
/** -EIO if the iteration met damage. */
int store_iter_destroy(struct store_iter *i);

#endif
