/* Private to the store: what store_txn.c needs of store.c and the other way round. */
#ifndef BLAZE_CORE_STORE_TXN_H
#define BLAZE_CORE_STORE_TXN_H

#include "core/store.h"

struct pending {
	struct slice key;
	struct slice value;
	bool deleted;
};

/** The i-th pending write, or NULL past the last. */
const struct pending *store_txn_pending(const struct store_txn *t, size_t i);
bool store_txn_frees(const struct store_txn *t);
/** Writes all pending writes as one batch. */
int store_write_pending(struct store *s, const struct store_txn *t);

struct store_iter;

/** Over committed keys >= start; NULL when the store is closed. */
struct store_iter *store_iter_create(struct store *s, struct slice start);
bool store_iter_get(const struct store_iter *i, struct slice *key, struct slice *value);
void store_iter_next(struct store_iter *i);
/** -EIO if the iteration met damage. */
int store_iter_destroy(struct store_iter *i);

#endif
