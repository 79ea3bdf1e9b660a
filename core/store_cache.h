/*
 * What was last read from or written to the store, so that the keys every operation asks for again (its
 * directory, its node) cost no search in LevelDB; also that a key is absent. It forgets as it likes and holds
 * small values only. The caller locks, and passes on every write.
 */
#ifndef BLAZE_CORE_STORE_CACHE_H
#define BLAZE_CORE_STORE_CACHE_H

#include "core/bytes.h"

struct store_cache;

struct store_cache *store_cache_create(void);
void store_cache_destroy(struct store_cache *c);
/** 0 and the value appended to *ret, -ENOENT: the store has no such key, -EAGAIN: not known here. */
int store_cache_get(struct store_cache *c, struct slice key, struct buf *ret);
void store_cache_put(struct store_cache *c, struct slice key, struct slice value);
void store_cache_put_absent(struct store_cache *c, struct slice key);
/** What is known of this key may be wrong from now on. */
void store_cache_drop(struct store_cache *c, struct slice key);

#endif
