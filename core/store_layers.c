/* Writes over writes: the newest counts. */
#include "core/store_i.h"

#include "core/arena.h"

#include <string.h>

const struct pending *store_layers_find(const struct store *s, struct slice key)
{
	const struct pending *p = NULL;

	for (size_t i = LAYER_COUNT; i-- > 0 && !p;)
		p = s->layers[i] ? store_txn_find(s->layers[i], key) : NULL;
	return p;
}

bool store_layers_any(const struct store *s)
{
	for (size_t i = 0; i < LAYER_COUNT; i++) {
		if (s->layers[i])
			return true;
	}
	return false;
}

void store_layers_written(struct store *s)
{
	for (size_t i = 0; i < LAYER_COUNT; i++) {
		store_learn(s, s->layers[i], 0, SIZE_MAX);
		store_abort(STEAL(s->layers[i]));
	}
}

static const struct pending *find_in(const struct store_txn *const *layers, size_t count,
				     struct slice key)
{
	const struct pending *p = NULL;

	while (count-- > 0 && !p)
		p = layers[count] ? store_txn_find(layers[count], key) : NULL;
	return p;
}

/* Whether p, of layer i, deletes what was never written: it would be a stone in the way of every scan. */
static bool is_for_nothing(const struct pending *p, const struct store_txn *const *layers, size_t i)
{
	const struct pending *older = p->deleted ? find_in(layers, i, p->key) : NULL;

	return p->deleted && (older ? older->fresh : p->fresh);
}

size_t store_gather(leveldb_writebatch_t *batch, const struct store_txn *const *layers, size_t count)
{
	const struct pending *p = NULL;
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t n = 0; layers[i] && (p = store_txn_pending(layers[i], n)); n++) {
			const char *key = (const char *)p->key.data;

			if (find_in(layers + i + 1, count - i - 1, p->key) ||
			    is_for_nothing(p, layers, i))
				continue;
			if (p->deleted)
				leveldb_writebatch_delete(batch, key, p->key.len);
			else
				leveldb_writebatch_put(batch, key, p->key.len,
						       (const char *)p->value.data, p->value.len);
			bytes += p->key.len + p->value.len;
		}
	}
	return bytes;
}

/* Changes, envelopes and the history are written once, and hardly ever read again soon. */
static bool is_written_once(struct slice key)
{
	return key.len && memchr("cehq", key.data[0], 4);
}

void store_learn(struct store *s, const struct store_txn *t, size_t from, size_t count)
{
	const struct pending *p = NULL;

	for (size_t i = from; t && i - from < count && (p = store_txn_pending(t, i)); i++) {
		if (is_written_once(p->key))
			store_cache_drop(s->known, p->key);
		else if (p->deleted)
			store_cache_put_absent(s->known, p->key);
		else
			store_cache_put(s->known, p->key, p->value);
	}
}

void store_unlearn(struct store *s, const struct store_txn *t)
{
	const struct pending *p = NULL;

	for (size_t i = 0; t && (p = store_txn_pending(t, i)); i++)
		store_cache_drop(s->known, p->key);
}

/** What is gathered for a scan, of one layer at a time. */
struct gathering {
	const struct store_txn *own;
	const struct store_txn *const *newer; /**< layers over this one */
	size_t newer_count;
	struct arena *copies;
	struct pending *list;
	size_t count;
	size_t room;
};

static void add_copy(void *ctx, const struct pending *p)
{
	struct gathering *g = ctx;

	if (store_txn_find(g->own, p->key) || find_in(g->newer, g->newer_count, p->key))
		return;
	if (g->count == g->room) {
		g->room = g->room ? g->room * 2 : 16;
		g->list = xreallocarray(g->list, g->room, sizeof(*g->list));
	}
	g->list[g->count++] = (struct pending){
		.key = arena_copy(g->copies, p->key),
		.value = arena_copy(g->copies, p->value),
		.deleted = p->deleted,
	};
}

struct pending *store_pending_in(struct store *s, const struct store_txn *own,
				 const struct store_range *range, struct arena *copies,
				 size_t *ret_count)
{
	struct gathering g = {.own = own, .copies = copies};

	mutex_lock(&s->lock);
	const struct store_txn *const layers[] = {s->layers[0], s->layers[1], s->layers[2]};
	static_assert(LAYER_COUNT == 3, "all of them");
	for (size_t i = 0; i < LAYER_COUNT; i++) {
		g.newer = layers + i + 1;
		g.newer_count = LAYER_COUNT - i - 1;
		if (s->layers[i])
			store_txn_in_range(s->layers[i], range, add_copy, &g);
	}
	mutex_unlock(&s->lock);
	*ret_count = g.count;
	return g.list;
}
