/* Iterators over what LevelDB has, and views: snapshots of it. */
#include "core/store_i.h"

#include <stdlib.h>
#include <string.h>

struct store_iter {
	struct store *s;
	leveldb_iterator_t *it;
};

/* The lock is held; the handle is open. */
static struct store_iter *iter_create(struct store *s, leveldb_readoptions_t *options)
{
	struct store_iter *i = xmalloc(sizeof(*i));

	i->s = s;
	i->it = leveldb_create_iterator(s->db, options);
	s->iter_count++;
	return i;
}

struct store_iter *store_iter_create(struct store *s, struct slice start)
{
	mutex_lock(&s->lock);
	struct store_iter *i = s->db ? iter_create(s, s->read_options) : NULL;
	mutex_unlock(&s->lock);
	if (i)
		leveldb_iter_seek(i->it, (const char *)start.data, start.len);
	return i;
}

bool store_iter_get(const struct store_iter *i, struct slice *key, struct slice *value)
{
	size_t len = 0;

	if (!leveldb_iter_valid(i->it))
		return false;
	const char *k = leveldb_iter_key(i->it, &len);
	*key = SLICE(k, len);
	const char *v = leveldb_iter_value(i->it, &len);
	*value = SLICE(v, len);
	return true;
}

void store_iter_next(struct store_iter *i)
{
	leveldb_iter_next(i->it);
}

int store_iter_destroy(struct store_iter *i)
{
	char *message = NULL;

	leveldb_iter_get_error(i->it, &message);
	leveldb_iter_destroy(i->it);
	mutex_lock(&i->s->lock);
	i->s->iter_count--;
	cond_broadcast(&i->s->iter_gone);
	mutex_unlock(&i->s->lock);
	free(i);
	if (!message)
		return 0;
	leveldb_free(message);
	return -EIO;
}

int store_compact(struct store *s)
{
	mutex_lock(&s->lock);
	bool open = s->db != NULL;
	s->iter_count += open; /* the handle may not be closed meanwhile */
	mutex_unlock(&s->lock);
	if (!open)
		return -EIO;
	leveldb_compact_range(s->db, NULL, 0, NULL, 0);
	mutex_lock(&s->lock);
	s->iter_count--;
	cond_broadcast(&s->iter_gone);
	mutex_unlock(&s->lock);
	return 0;
}

/* ---- views -------------------------------------------------------------------------------------- */

struct store_view {
	struct store *s;
	leveldb_readoptions_t *options;
	const leveldb_snapshot_t *snapshot; /**< NULL: stale; protected by the store's lock */
	struct store_view *next;
};

void store_drop_views(struct store *s)
{
	for (struct store_view *v = s->views; v; v = v->next) {
		if (v->snapshot)
			leveldb_release_snapshot(s->db, v->snapshot);
		v->snapshot = NULL;
	}
}

struct store_view *store_view_create(struct store *s)
{
	struct store_view *v = NULL;

	mutex_lock(&s->lock);
	if (store_settle_all(s) == 0 && s->db && !s->failure) {
		v = xcalloc(1, sizeof(*v));
		v->s = s;
		v->snapshot = leveldb_create_snapshot(s->db);
		v->options = leveldb_readoptions_create();
		leveldb_readoptions_set_verify_checksums(v->options, 1);
		leveldb_readoptions_set_snapshot(v->options, v->snapshot);
		v->next = s->views;
		s->views = v;
	}
	mutex_unlock(&s->lock);
	return v;
}

void store_view_destroy(struct store_view *v)
{
	if (!v)
		return;
	mutex_lock(&v->s->lock);
	for (struct store_view **p = &v->s->views; *p; p = &(*p)->next) {
		if (*p == v) {
			*p = v->next;
			break;
		}
	}
	if (v->snapshot)
		leveldb_release_snapshot(v->s->db, v->snapshot);
	mutex_unlock(&v->s->lock);
	leveldb_readoptions_destroy(v->options);
	free(v);
}

int store_view_scan(struct store_view *v, struct slice prefix, struct slice from,
		    bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx)
{
	struct slice start = from.len ? from : prefix;
	struct slice key;
	struct slice value;

	mutex_lock(&v->s->lock);
	struct store_iter *i = v->snapshot ? iter_create(v->s, v->options) : NULL;
	mutex_unlock(&v->s->lock);
	if (!i)
		return -ESTALE;
	leveldb_iter_seek(i->it, (const char *)start.data, start.len);
	while (store_iter_get(i, &key, &value) && key.len >= prefix.len &&
	       memcmp(key.data, prefix.data, prefix.len) == 0 && fn(ctx, key, value))
		store_iter_next(i);
	return store_iter_destroy(i);
}

struct taken {
	struct slice key;
	struct buf *value;
	bool found;
};

static bool take_exact(void *ctx, struct slice key, struct slice value)
{
	struct taken *t = ctx;

	t->found = slice_eq(key, t->key);
	if (t->found)
		buf_slice_append(t->value, value);
	return false;
}

int store_view_read(struct store_view *v, struct slice key, struct buf *ret)
{
	struct taken t = {.key = key, .value = ret};

	buf_clear(ret);
	int r = store_view_scan(v, key, SLICE("", 0), take_exact, &t);
	return r < 0 ? r : t.found ? 0 : -ENOENT;
}
