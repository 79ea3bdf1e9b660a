/* Pending writes: an append-only array, a hash over it for reads, and merged scans. */
#include "core/store_txn.h"

#include "core/arena.h"
#include "core/thread.h"

#include <stdlib.h>
#include <string.h>

/** Transactions whose memory is kept, and how much of it. */
#define KEPT_MAX 8
#define KEPT_WRITES_MAX 64
#define KEPT_BYTES_MAX (16u << 10)
/** More late writes than this are put in order before a range is looked for. */
#define LATE_MAX 64

struct store_txn {
	struct store *store;
	bool frees;
	struct arena arena;
	struct pending *items;
	size_t count;
	size_t cap;
	size_t bytes;
	uint64_t firsts[4]; /**< a bit for each first byte of a key */
	uint32_t *order;    /**< of the first `ordered` items, by key; the others are few */
	size_t ordered;
	uint32_t *slots; /**< index + 1 into items, 0 = empty; power of two */
	size_t slot_count;
};

/* An operation begins and ends several transactions, nearly all of them small: some are kept for the next. */
static struct {
	struct mutex lock;
	struct store_txn *kept[KEPT_MAX];
	size_t count;
} pool = {.lock = MUTEX_STATIC};

struct store_txn *store_begin(struct store *s)
{
	struct store_txn *t = NULL;

	mutex_lock(&pool.lock);
	if (pool.count)
		t = pool.kept[--pool.count];
	mutex_unlock(&pool.lock);
	if (!t)
		t = xcalloc(1, sizeof(*t));
	t->store = s;
	return t;
}

void store_txn_clear(struct store_txn *t)
{
	arena_clear(&t->arena);
	if (t->slots)
		memset(t->slots, 0, t->slot_count * sizeof(*t->slots));
	memset(t->firsts, 0, sizeof(t->firsts));
	t->count = 0;
	t->ordered = 0;
	t->bytes = 0;
	t->frees = false;
}

uint64_t store_hash(struct slice key)
{
	uint64_t h = key.len;
	size_t i = 0;

	for (; i + 8 <= key.len; i += 8) {
		uint64_t word = 0;

		memcpy(&word, key.data + i, sizeof(word));
		h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	for (; i < key.len; i++)
		h = (h ^ key.data[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 29;
}

/* The slot that holds key, or the empty one where it would go. */
static uint32_t *slot_of(const struct store_txn *t, struct slice key)
{
	size_t mask = t->slot_count - 1;
	size_t i = (size_t)store_hash(key) & mask;

	while (t->slots[i] && !slice_eq(t->items[t->slots[i] - 1].key, key))
		i = (i + 1) & mask;
	return &t->slots[i];
}

static void grow(struct store_txn *t)
{
	t->cap = t->cap ? t->cap * 2 : 16;
	t->items = xreallocarray(t->items, t->cap, sizeof(*t->items));
	free(t->slots);
	t->slot_count = t->cap * 2;
	t->slots = xcalloc(t->slot_count, sizeof(*t->slots));
	for (size_t i = 0; i < t->count; i++)
		*slot_of(t, t->items[i].key) = (uint32_t)i + 1;
}

static struct pending *set(struct store_txn *t, struct slice key, struct slice value, bool deleted)
{
	if (t->count == t->cap)
		grow(t);
	uint32_t *slot = slot_of(t, key);
	if (!*slot) {
		t->items[t->count] = (struct pending){.key = arena_copy(&t->arena, key)};
		t->bytes += key.len;
		if (key.len)
			t->firsts[key.data[0] / 64] |= UINT64_C(1) << key.data[0] % 64;
		*slot = (uint32_t)++t->count;
	}
	assert(t->items && *slot);
	struct pending *p = &t->items[*slot - 1];
	p->value = arena_copy(&t->arena, value);
	p->deleted = deleted;
	t->bytes += value.len;
	return p;
}

void store_put(struct store_txn *t, struct slice key, struct slice value)
{
	(void)set(t, key, value, false);
}

void store_put_fresh(struct store_txn *t, struct slice key, struct slice value)
{
	bool first = !store_txn_find(t, key);
	struct pending *p = set(t, key, value, false);

	p->fresh = p->fresh || first;
}

void store_delete(struct store_txn *t, struct slice key)
{
	(void)set(t, key, SLICE("", 0), true);
}

const struct pending *store_txn_find(const struct store_txn *t, struct slice key)
{
	uint32_t i = t->count ? *slot_of(t, key) : 0;

	return i ? &t->items[i - 1] : NULL;
}

void store_txn_merge(struct store_txn *into, const struct store_txn *from)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct pending *p = &from->items[i];

		if (p->fresh && !p->deleted)
			store_put_fresh(into, p->key, p->value);
		else
			(void)set(into, p->key, p->value, p->deleted);
	}
}

void store_txn_may_be_written(struct store_txn *t)
{
	for (size_t i = 0; i < t->count; i++)
		t->items[i].fresh = false;
}

int store_get_pending(const struct store_txn *t, struct slice key, struct buf *ret)
{
	const struct pending *p = store_txn_find(t, key);

	buf_clear(ret);
	if (!p || p->deleted)
		return -ENOENT;
	buf_slice_append(ret, p->value);
	return 0;
}

int store_get(struct store_txn *t, struct slice key, struct buf *ret)
{
	if (store_txn_find(t, key))
		return store_get_pending(t, key, ret);
	return store_read(t->store, key, ret);
}

int store_writable(struct store_txn *t)
{
	return store_health(t->store);
}

void store_frees_space(struct store_txn *t)
{
	t->frees = true;
}

bool store_txn_frees(const struct store_txn *t)
{
	return t->frees;
}

bool store_is_dirty(const struct store_txn *t)
{
	return t->count > 0;
}

const struct pending *store_txn_pending(const struct store_txn *t, size_t i)
{
	return i < t->count ? &t->items[i] : NULL;
}

static bool has_prefix(struct slice key, struct slice prefix)
{
	return key.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(key.data, prefix.data, prefix.len) == 0);
}

static int by_key(const void *a, const void *b)
{
	return slice_cmp(((const struct pending *)a)->key, ((const struct pending *)b)->key);
}

bool store_range_has(const struct store_range *range, struct slice key)
{
	return has_prefix(key, range->prefix) &&
	       (range->from.len == 0 || slice_cmp(key, range->from) >= 0);
}

static bool may_have(const struct store_txn *t, struct slice prefix)
{
	uint8_t first = prefix.len ? prefix.data[0] : 0;

	return t->count && (prefix.len == 0 || (t->firsts[first / 64] >> first % 64 & 1));
}

size_t store_txn_bytes(const struct store_txn *t)
{
	return t->bytes;
}

static int by_key_of(const void *a, const void *b)
{
	return slice_cmp((*(const struct pending *const *)a)->key,
			 (*(const struct pending *const *)b)->key);
}

/* Sorts what came since, and merges it with what was in order. */
static void put_in_order(struct store_txn *t)
{
	size_t n = t->count - t->ordered;
	AUTO(free_ptr) const struct pending **late = xreallocarray(NULL, n, sizeof(*late));

	for (size_t i = 0; i < n; i++)
		late[i] = &t->items[t->ordered + i];
	qsort(late, n, sizeof(*late), by_key_of);
	t->order = xreallocarray(t->order, t->cap, sizeof(*t->order));
	size_t i = t->ordered;
	for (size_t to = t->count; n > 0; to--) {
		bool old = i > 0 && slice_cmp(t->items[t->order[i - 1]].key, late[n - 1]->key) > 0;

		t->order[to - 1] = old ? t->order[--i] : (uint32_t)(late[--n] - t->items);
	}
	t->ordered = t->count;
}

/* The first in order whose key is not below this. */
static size_t first_from(const struct store_txn *t, struct slice key)
{
	size_t low = 0;
	size_t high = t->ordered;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (slice_cmp(t->items[t->order[mid]].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void store_txn_in_range(struct store_txn *t, const struct store_range *range,
			void (*fn)(void *ctx, const struct pending *p), void *ctx)
{
	struct slice from = range->from.len ? range->from : range->prefix;

	if (!may_have(t, range->prefix))
		return;
	if (t->count - t->ordered > LATE_MAX)
		put_in_order(t);
	for (size_t i = first_from(t, from); i < t->ordered; i++) {
		const struct pending *p = &t->items[t->order[i]];

		if (!has_prefix(p->key, range->prefix))
			break;
		fn(ctx, p);
	}
	for (size_t i = t->ordered; i < t->count; i++) {
		if (store_range_has(range, t->items[i].key))
			fn(ctx, &t->items[i]);
	}
}

/* Copies of the pending writes in range, sorted; the scan's callback may add more meanwhile. */
static struct pending *pending_in(const struct store_txn *t, const struct store_range *range,
				  struct arena *copies, size_t *ret_count)
{
	struct pending *list = store_pending_in(t->store, t, range, copies, ret_count);

	for (size_t i = 0; may_have(t, range->prefix) && i < t->count; i++) {
		if (!store_range_has(range, t->items[i].key))
			continue;
		list = xreallocarray(list, *ret_count + 1, sizeof(*list));
		list[(*ret_count)++] = t->items[i];
	}
	if (*ret_count)
		qsort(list, *ret_count, sizeof(*list), by_key);
	return list;
}

int store_scan(struct store_txn *t, struct slice prefix, struct slice from,
	       bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx)
{
	size_t n = 0;
	size_t i = 0;
	const struct store_range range = {prefix, from};
	AUTO(arena_fini) struct arena copies = {0};
	/* Before the iterator: what is written in between is seen twice rather than not at all. */
	AUTO(free_ptr) struct pending *own = pending_in(t, &range, &copies, &n);
	struct store_iter *it = store_iter_create(t->store, from.len ? from : prefix);
	struct slice key;
	struct slice value;
	bool more = true;

	if (!it)
		return -EIO;
	while (more) {
		bool stored = store_iter_get(it, &key, &value) && has_prefix(key, prefix);
		int order = !stored ? 1 : i < n ? slice_cmp(key, own[i].key) : -1;

		if (!stored && i >= n)
			break;
		if (order < 0) {
			more = fn(ctx, key, value);
		} else {
			if (!own[i].deleted)
				more = fn(ctx, own[i].key, own[i].value);
			i++;
		}
		if (order <= 0)
			store_iter_next(it);
	}
	return store_iter_destroy(it);
}

static bool keep(struct store_txn *t)
{
	bool kept = false;

	if (t->cap > KEPT_WRITES_MAX || t->bytes > KEPT_BYTES_MAX)
		return false;
	store_txn_clear(t);
	mutex_lock(&pool.lock);
	if (pool.count < KEPT_MAX) {
		pool.kept[pool.count++] = t;
		kept = true;
	}
	mutex_unlock(&pool.lock);
	return kept;
}

static void txn_free(struct store_txn *t)
{
	if (keep(t))
		return;
	arena_fini(&t->arena);
	free(t->items);
	free(t->order);
	free(t->slots);
	free(t);
}

int store_commit(struct store_txn *t)
{
	int r = t->count ? store_write_pending(t->store, t) : 0;

	txn_free(t);
	return r;
}

int store_defer(struct store_txn *t)
{
	if (t->count && store_defer_pending(t->store, t) < 0)
		return store_commit(t);
	txn_free(t);
	return 0;
}

int store_settle(struct store_txn *t)
{
	return store_write_deferred(t->store);
}

void store_abort(struct store_txn *t)
{
	if (t)
		txn_free(t);
}
