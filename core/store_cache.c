/* A hash table of pairs: a new key replaces the less recently used of the two in its place. */
#include "core/store_cache.h"

#include "core/store_txn.h"

#include <stdlib.h>
#include <string.h>

#define PAIRS 4096
#define KEY_BYTES_MAX 280
#define VALUE_BYTES_MAX 512

/** The key, then the value. */
struct cached {
	uint64_t hash;
	uint8_t *bytes; /**< NULL = nothing here */
	uint16_t room;
	uint16_t key_len;
	uint16_t value_len;
	bool absent;
};

struct store_cache {
	struct cached pairs[PAIRS][2]; /**< the first was used last */
};

struct store_cache *store_cache_create(void)
{
	return xcalloc(1, sizeof(struct store_cache));
}

void store_cache_destroy(struct store_cache *c)
{
	for (size_t i = 0; c && i < PAIRS; i++) {
		free(c->pairs[i][0].bytes);
		free(c->pairs[i][1].bytes);
	}
	free(c);
}

static bool is_at(const struct cached *e, uint64_t h, struct slice key)
{
	return e->bytes && e->hash == h && slice_eq(SLICE(e->bytes, e->key_len), key);
}

static void swap(struct cached *pair)
{
	struct cached second = pair[1];

	pair[1] = pair[0];
	pair[0] = second;
}

static struct cached *find(struct store_cache *c, uint64_t h, struct slice key)
{
	struct cached *pair = c->pairs[h % PAIRS];

	if (is_at(&pair[0], h, key))
		return &pair[0];
	if (!is_at(&pair[1], h, key))
		return NULL;
	swap(pair);
	return &pair[0];
}

int store_cache_get(struct store_cache *c, struct slice key, struct buf *ret)
{
	const struct cached *e = find(c, store_hash(key), key);

	if (!e)
		return -EAGAIN;
	if (e->absent)
		return -ENOENT;
	buf_append(ret, e->bytes + e->key_len, e->value_len);
	return 0;
}

static void put(struct store_cache *c, struct slice key, struct slice value, bool absent)
{
	uint64_t h = store_hash(key);
	struct cached *e = find(c, h, key);

	if (key.len > KEY_BYTES_MAX || value.len > VALUE_BYTES_MAX) {
		store_cache_drop(c, key);
		return;
	}
	if (!e) {
		swap(c->pairs[h % PAIRS]);
		e = &c->pairs[h % PAIRS][0];
	}
	if (e->room < key.len + value.len || !e->bytes) {
		e->room = (uint16_t)(key.len + value.len + 1);
		e->bytes = xreallocarray(e->bytes, e->room, 1);
	}
	e->hash = h;
	e->key_len = (uint16_t)key.len;
	e->value_len = (uint16_t)value.len;
	e->absent = absent;
	if (key.len)
		memcpy(e->bytes, key.data, key.len);
	if (value.len)
		memcpy(e->bytes + key.len, value.data, value.len);
}

void store_cache_put(struct store_cache *c, struct slice key, struct slice value)
{
	put(c, key, value, false);
}

void store_cache_put_absent(struct store_cache *c, struct slice key)
{
	put(c, key, SLICE("", 0), true);
}

void store_cache_drop(struct store_cache *c, struct slice key)
{
	struct cached *e = find(c, store_hash(key), key);

	if (!e)
		return;
	free(e->bytes);
	*e = (struct cached){0};
}
