/*
 * A store in memory, in place of core/store.c: linked instead of it. A sorted array, and a list of what
 * the last batches replaced, so that a power cut can take them back.
 */
#include "tests/sim/memory.h"

#include "core/arena.h"
#include "core/store_txn.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	struct slice key;
	struct slice value;
};

/* What a batch replaced. */
struct undo {
	struct slice key;
	struct slice value;
	bool existed;
	uint32_t batch;
};

struct store {
	char *dir;
	struct store *next;
	struct entry *entries;
	size_t count;
	size_t cap;
	struct entry *saved; /* see disk_save(); its bytes are never freed */
	size_t saved_count;
	struct arena arena; /* keys and values since the last disk_restore() */
	struct undo *undo;
	size_t undo_count;
	size_t undo_cap;
	uint32_t batch; /* since the last barrier */
	struct store_txn *deferred;
	bool frozen;
	unsigned iterators;
};

static struct store *disks;

static struct store *find(const char *dir)
{
	for (struct store *s = disks; s; s = s->next) {
		if (strcmp(s->dir, dir) == 0)
			return s;
	}
	return NULL;
}

static struct store *disk(const char *dir)
{
	struct store *s = find(dir);

	assert(s);
	return s;
}

/* The first entry that is not below key. */
static size_t lower_bound(const struct store *s, struct slice key)
{
	size_t low = 0;
	size_t high = s->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (slice_cmp(s->entries[mid].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static const struct entry *lookup(const struct store *s, struct slice key)
{
	size_t i = lower_bound(s, key);

	return i < s->count && slice_eq(s->entries[i].key, key) ? &s->entries[i] : NULL;
}

/* The slices live in the store's arena. */
static void set(struct store *s, struct slice key, struct slice value)
{
	size_t i = lower_bound(s, key);

	if (i < s->count && slice_eq(s->entries[i].key, key)) {
		s->entries[i].value = value;
		return;
	}
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 256;
		s->entries = xreallocarray(s->entries, s->cap, sizeof(*s->entries));
	}
	memmove(&s->entries[i + 1], &s->entries[i], (s->count - i) * sizeof(*s->entries));
	s->entries[i] = (struct entry){key, value};
	s->count++;
}

static void unset(struct store *s, struct slice key)
{
	size_t i = lower_bound(s, key);

	if (i == s->count || !slice_eq(s->entries[i].key, key))
		return;
	s->count--;
	memmove(&s->entries[i], &s->entries[i + 1], (s->count - i) * sizeof(*s->entries));
}

static void write_one(struct store *s, const struct pending *p)
{
	const struct entry *old = lookup(s, p->key);
	struct slice key = old ? old->key : arena_copy(&s->arena, p->key);

	if (s->undo_count == s->undo_cap) {
		s->undo_cap = s->undo_cap ? s->undo_cap * 2 : 64;
		s->undo = xreallocarray(s->undo, s->undo_cap, sizeof(*s->undo));
	}
	s->undo[s->undo_count++] =
		(struct undo){key, old ? old->value : SLICE("", 0), old, s->batch};
	if (p->deleted)
		unset(s, key);
	else
		set(s, key, arena_copy(&s->arena, p->value));
}

static void write_all(struct store *s, const struct store_txn *t)
{
	const struct pending *p = NULL;

	if (s->frozen)
		return;
	assert(s->iterators == 0);
	for (size_t i = 0; s->deferred && (p = store_txn_pending(s->deferred, i)); i++)
		write_one(s, p);
	for (size_t i = 0; t && (p = store_txn_pending(t, i)); i++)
		write_one(s, p);
	s->batch++;
	store_abort(STEAL(s->deferred));
}

/* ---- core/store.h and core/store_txn.h --------------------------------------------------------- */

int store_create(const char *dir, struct why *why)
{
	if (find(dir))
		return why_set(why, -EEXIST, "'%s' is there", dir);
	struct store *s = xcalloc(1, sizeof(*s));
	s->dir = xstrdup(dir);
	s->next = disks;
	disks = s;
	return 0;
}

int store_open(const char *dir, struct store **ret, struct why *why)
{
	struct store *s = find(dir);

	if (!s)
		return why_set(why, -EBADMSG, "'%s' is not there", dir);
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	(void)store_sync(s);
	store_abort(STEAL(s->deferred));
}

int store_compact(struct store *s)
{
	(void)s;
	return 0;
}

int store_sync(struct store *s)
{
	if (s->frozen)
		return 0;
	if (s->deferred)
		write_all(s, NULL);
	s->undo_count = 0;
	s->batch = 0;
	return 0;
}

int store_health(struct store *s)
{
	(void)s;
	return 0;
}

int store_read(struct store *s, struct slice key, struct buf *ret)
{
	const struct pending *p = s->deferred ? store_txn_find(s->deferred, key) : NULL;

	buf_clear(ret);
	if (p && p->deleted)
		return -ENOENT;
	const struct entry *e = p ? NULL : lookup(s, key);
	if (!p && !e)
		return -ENOENT;
	buf_slice_append(ret, p ? p->value : e->value);
	return 0;
}

int store_write_pending(struct store *s, const struct store_txn *t)
{
	write_all(s, t);
	return 0;
}

int store_defer_pending(struct store *s, const struct store_txn *t)
{
	if (!s->deferred)
		s->deferred = store_begin(s);
	store_txn_merge(s->deferred, t);
	return 0;
}

int store_write_deferred(struct store *s)
{
	if (s->deferred)
		write_all(s, NULL);
	return 0;
}

struct pending *store_pending_in(struct store *s, const struct store_txn *own,
				 const struct store_range *range, struct arena *copies,
				 size_t *ret_count)
{
	struct pending *list = NULL;
	const struct pending *p = NULL;

	*ret_count = 0;
	for (size_t i = 0; s->deferred && (p = store_txn_pending(s->deferred, i)); i++) {
		if (!store_range_has(range, p->key) || store_txn_find(own, p->key))
			continue;
		list = xreallocarray(list, *ret_count + 1, sizeof(*list));
		list[(*ret_count)++] = (struct pending){
			.key = arena_copy(copies, p->key),
			.value = arena_copy(copies, p->value),
			.deleted = p->deleted,
		};
	}
	return list;
}

void store_tend(struct store *s)
{
	(void)s;
}

void store_tend_stop(struct store *s)
{
	(void)s;
}

struct store_iter {
	struct store *s;
	size_t at;
};

struct store_iter *store_iter_create(struct store *s, struct slice start)
{
	struct store_iter *i = xmalloc(sizeof(*i));

	*i = (struct store_iter){s, lower_bound(s, start)};
	s->iterators++;
	return i;
}

bool store_iter_get(const struct store_iter *i, struct slice *key, struct slice *value)
{
	if (i->at >= i->s->count)
		return false;
	*key = i->s->entries[i->at].key;
	*value = i->s->entries[i->at].value;
	return true;
}

void store_iter_next(struct store_iter *i)
{
	i->at++;
}

int store_iter_destroy(struct store_iter *i)
{
	i->s->iterators--;
	free(i);
	return 0;
}

/* Keys and values stay in the arena while the store is open. */
struct store_view {
	struct store copy;
};

struct store_view *store_view_create(struct store *s)
{
	struct store_view *v = xcalloc(1, sizeof(*v));

	write_all(s, NULL);
	v->copy.count = s->count;
	v->copy.entries = xmemdup(s->entries, s->count * sizeof(*s->entries));
	return v;
}

void store_view_destroy(struct store_view *v)
{
	if (!v)
		return;
	free(v->copy.entries);
	free(v);
}

int store_view_scan(struct store_view *v, struct slice prefix, struct slice from,
		    bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx)
{
	for (size_t i = lower_bound(&v->copy, from.len ? from : prefix); i < v->copy.count; i++) {
		const struct entry *e = &v->copy.entries[i];

		if (e->key.len < prefix.len || memcmp(e->key.data, prefix.data, prefix.len) != 0 ||
		    !fn(ctx, e->key, e->value))
			break;
	}
	return 0;
}

int store_view_read(struct store_view *v, struct slice key, struct buf *ret)
{
	const struct entry *e = lookup(&v->copy, key);

	buf_clear(ret);
	if (e)
		buf_slice_append(ret, e->value);
	return e ? 0 : -ENOENT;
}

/* ---- disks ------------------------------------------------------------------------------------- */

void disk_save(const char *dir)
{
	struct store *s = disk(dir);

	s->saved = xmemdup(s->entries, s->count * sizeof(*s->entries));
	s->saved_count = s->count;
	/* Its bytes stay; the next ones go elsewhere. */
	s->arena = (struct arena){0};
	s->undo_count = 0;
}

void disk_restore(const char *dir)
{
	struct store *s = disk(dir);

	store_abort(STEAL(s->deferred));
	arena_fini(&s->arena);
	memcpy(s->entries, s->saved, s->saved_count * sizeof(*s->entries));
	s->count = s->saved_count;
	s->undo_count = 0;
	s->batch = 0;
	s->frozen = false;
}

void disk_freeze(const char *dir)
{
	struct store *s = disk(dir);

	store_abort(STEAL(s->deferred));
	s->frozen = true;
}

void disk_thaw(const char *dir, bool cut, uint32_t n)
{
	struct store *s = disk(dir);
	uint32_t keep = n % (s->batch + 1);

	s->frozen = false;
	while (cut && s->undo_count && s->undo[s->undo_count - 1].batch >= keep) {
		const struct undo *u = &s->undo[--s->undo_count];

		if (u->existed)
			set(s, u->key, u->value);
		else
			unset(s, u->key);
	}
	if (cut)
		s->batch = keep;
}

bool disk_is_durable(const char *dir)
{
	const struct store *s = disk(dir);

	return s->undo_count == 0 && !s->deferred;
}

bool disk_same(const char *a, const char *b, uint8_t c)
{
	const struct store *x = disk(a);
	const struct store *y = disk(b);
	size_t i = lower_bound(x, SLICE(&c, 1));
	size_t j = lower_bound(y, SLICE(&c, 1));

	for (;; i++, j++) {
		bool more = i < x->count && x->entries[i].key.data[0] == c;

		if (more != (j < y->count && y->entries[j].key.data[0] == c))
			return false;
		if (!more)
			return true;
		if (!slice_eq(x->entries[i].key, y->entries[j].key) ||
		    !slice_eq(x->entries[i].value, y->entries[j].value))
			return false;
	}
}
