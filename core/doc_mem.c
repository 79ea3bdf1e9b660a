/* What a document keeps beside its state, in memory: for one that has no store, as in a replay or a test. */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	struct buf key;
	struct buf value;
};

struct doc_mem {
	struct doc_side side;
	struct entry *items; /* ascending by key */
	size_t count;
	size_t cap;
};

/* Where the key is, or should be. */
static size_t place(const struct doc_mem *m, struct slice key)
{
	size_t lo = 0;
	size_t hi = m->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(buf_slice(&m->items[mid].key), key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_at(const struct doc_mem *m, size_t i, struct slice key)
{
	return i < m->count && slice_eq(buf_slice(&m->items[i].key), key);
}

static void mem_put(void *ctx, struct slice key, struct slice value)
{
	struct doc_mem *m = ctx;
	size_t i = place(m, key);

	if (!is_at(m, i, key)) {
		if (m->count == m->cap) {
			m->cap = m->cap ? m->cap * 2 : 8;
			m->items = xreallocarray(m->items, m->cap, sizeof(*m->items));
		}
		memmove(&m->items[i + 1], &m->items[i], (m->count - i) * sizeof(*m->items));
		m->items[i] = (struct entry){0};
		buf_slice_append(&m->items[i].key, key);
		m->count++;
	}
	buf_clear(&m->items[i].value);
	buf_slice_append(&m->items[i].value, value);
}

static int mem_get(void *ctx, struct slice key, struct buf *ret)
{
	const struct doc_mem *m = ctx;
	size_t i = place(m, key);

	if (!is_at(m, i, key))
		return -ENOENT;
	buf_clear(ret);
	buf_slice_append(ret, buf_slice(&m->items[i].value));
	return 0;
}

static int mem_scan(void *ctx, struct slice prefix, struct slice from, doc_side_fn *fn, void *arg)
{
	const struct doc_mem *m = ctx;

	for (size_t i = place(m, from.len ? from : prefix); i < m->count; i++) {
		struct slice key = buf_slice(&m->items[i].key);

		if (key.len < prefix.len || memcmp(key.data, prefix.data, prefix.len) != 0)
			break;
		if (!fn(arg, key, buf_slice(&m->items[i].value)))
			break;
	}
	return 0;
}

struct doc_mem *doc_mem_create(void)
{
	struct doc_mem *m = xcalloc(1, sizeof(*m));

	m->side = (struct doc_side){.ctx = m, .put = mem_put, .get = mem_get, .scan = mem_scan};
	return m;
}

const struct doc_side *doc_mem_side(const struct doc_mem *m)
{
	return &m->side;
}

struct doc_mem *doc_mem_clone(const struct doc_mem *from)
{
	struct doc_mem *m = doc_mem_create();

	for (size_t i = 0; i < from->count; i++)
		mem_put(m, buf_slice(&from->items[i].key), buf_slice(&from->items[i].value));
	return m;
}

void doc_mem_destroy(struct doc_mem *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++) {
		buf_fini(&m->items[i].key);
		buf_fini(&m->items[i].value);
	}
	free(m->items);
	free(m);
}
