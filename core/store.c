/* Opening, committing, reading. What else the store is made of: store_i.h. */
#include "core/store_i.h"

#include <stdlib.h>
#include <unistd.h>

/** More deferred writes than this are written. */
#define DEFERRED_MAX 256

static struct store *store_alloc(const char *dir)
{
	struct store *s = xcalloc(1, sizeof(*s));

	s->dir = xstrdup(dir);
	s->leveldb_dir = xasprintf("%s/store", dir);
	s->ballast = xasprintf("%s/ballast", dir);
	store_options_init(s);
	mutex_init(&s->sync_lock);
	mutex_init(&s->lock);
	cond_init(&s->iter_gone);
	cond_init(&s->tend);
	cond_init(&s->settled);
	s->batch = leveldb_writebatch_create();
	s->unsynced = leveldb_writebatch_create();
	s->known = store_cache_create();
	return s;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->db) {
		(void)store_flush(s);
		store_drop_views(s);
		leveldb_close(s->db);
	}
	store_layers_written(s); /* or not, but then they are in the journal */
	store_abort(s->spare_layer);
	journal_close(s->journal);
	buf_fini(&s->payload);
	store_cache_destroy(s->known);
	leveldb_writebatch_destroy(s->batch);
	leveldb_writebatch_destroy(s->unsynced);
	if (s->spare)
		leveldb_writebatch_destroy(s->spare);
	store_options_fini(s);
	cond_fini(&s->settled);
	cond_fini(&s->tend);
	cond_fini(&s->iter_gone);
	mutex_fini(&s->lock);
	mutex_fini(&s->sync_lock);
	free(s->ballast);
	free(s->leveldb_dir);
	free(s->dir);
	free(s);
}

int store_create(const char *dir, struct why *why)
{
	struct store *s = store_alloc(dir);
	char *message = NULL;
	int r = 0;

	leveldb_options_set_create_if_missing(s->options, 1);
	leveldb_options_set_error_if_exists(s->options, 1);
	s->db = leveldb_open(s->options, s->leveldb_dir, &message);
	if (message) {
		s->db = NULL;
		(void)why_set(why, 0, "cannot create a store in '%s': %s", dir, message);
		r = store_error_code(message);
	} else {
		store_ballast_make(s);
	}
	store_close(s);
	return r;
}

static int open_and_replay(struct store *s, struct why *why)
{
	int r = store_handle_open(s, why);

	if (r == 0)
		r = store_journal_replay(s, why);
	if (r != -ENOSPC || unlink(s->ballast) != 0)
		return r;
	if (s->db)
		leveldb_close(STEAL(s->db));
	r = store_handle_open(s, why);
	return r < 0 ? r : store_journal_replay(s, why);
}

int store_open(const char *dir, struct store **ret, struct why *why)
{
	struct store *s = store_alloc(dir);
	AUTO(free_ptr) char *current = xasprintf("%s/CURRENT", s->leveldb_dir);
	int r = -EBADMSG;

	if (access(current, F_OK) != 0)
		(void)why_set(
			why, 0,
			"the store in '%s' is damaged: CURRENT is missing; restore the directory from a "
			"backup, or move it away and pair this device again",
			dir);
	else
		r = open_and_replay(s, why);
	if (r < 0) {
		store_close(s);
		return r;
	}
	if (store_has_room(s))
		store_ballast_make(s);
	*ret = s;
	return 0;
}

/* The number of the next commit is in the batch, and counts once that is written. */
int store_try_write(struct store *s, const struct store_txn *t)
{
	const struct store_txn *const layers[] = {
		s->layers[LAYER_YOUNG],
		s->layers[LAYER_DEFERRED],
		t,
	};
	char *message = NULL;

	assert(!s->layers[LAYER_OLD]);
	leveldb_writebatch_clear(s->batch);
	size_t bytes = store_gather(s->batch, layers, 3);
	store_mark(s, s->batch, s->number + 1);
	leveldb_write(s->db, s->write_options, s->batch, &message);
	if (message) {
		s->failure = store_error_code(message);
	} else {
		leveldb_writebatch_append(s->unsynced, s->batch);
		s->unsynced_bytes += bytes; /* LevelDB does not say what a batch takes */
		store_wrote(s, bytes);
		s->gap = s->marked = ++s->number; /* the journal has no such record */
		store_layers_written(s);
		store_learn(s, t, 0, SIZE_MAX);
	}
	if (bytes > STORE_SPARE_BYTES_MAX) {
		leveldb_writebatch_destroy(s->batch);
		s->batch = leveldb_writebatch_create();
	}
	return message ? s->failure : 0;
}

/* Brings all layers and what t (or NULL) holds to LevelDB: all of it, or nothing. */
static int write_through(struct store *s, const struct store_txn *t)
{
	bool frees = t && store_txn_frees(t);

	store_wait_settled(s);
	int r = store_admit(s, frees);
	if (r == 0 && (s->failure || !s->db))
		r = store_heal(s, frees);
	if (r < 0 || (!t && !store_layers_any(s)))
		return r;
	r = store_try_write(s, t);
	for (int again = 1; r < 0; again--) {
		store_unlearn(s, s->layers[LAYER_DEFERRED]);
		store_unlearn(s, t);
		store_undo(s, t);
		if (!again)
			break;
		r = store_heal(s, frees);
		if (r < 0)
			break;
		r = store_try_write(s, t);
	}
	return r;
}

int store_settle_all(struct store *s)
{
	return write_through(s, NULL);
}

/* Makes what is deferred and what t (or NULL) holds survive kill -9: all of it, or nothing. */
static int commit(struct store *s, const struct store_txn *t)
{
	int r = -EAGAIN;

	if (!s->failure && s->db && !s->low)
		r = store_journal_commit(s, t);
	return r == -EAGAIN ? write_through(s, t) : r;
}

int store_health(struct store *s)
{
	mutex_lock(&s->lock);
	int r = s->failure ? store_heal(s, false) : store_admit(s, false);
	mutex_unlock(&s->lock);
	return r;
}

int store_read(struct store *s, struct slice key, struct buf *ret)
{
	char *message = NULL;
	size_t len = 0;

	buf_clear(ret);
	mutex_lock(&s->lock);
	const struct pending *p = store_layers_find(s, key);
	int r = p ? (p->deleted ? -ENOENT : 0) : store_cache_get(s->known, key, ret);
	if (p)
		buf_slice_append(ret, p->value);
	if (r != -EAGAIN) {
		mutex_unlock(&s->lock);
		return r;
	}
	char *value = s->db ? leveldb_get(s->db, s->read_options, (const char *)key.data, key.len,
					  &len, &message)
			    : NULL;
	bool closed = !s->db;
	if (value)
		store_cache_put(s->known, key, SLICE(value, len));
	else if (!message && !closed)
		store_cache_put_absent(s->known, key);
	mutex_unlock(&s->lock);
	if (message) {
		leveldb_free(message);
		return -EIO;
	}
	if (!value)
		return closed ? -EIO : -ENOENT;
	buf_append(ret, value, len);
	leveldb_free(value);
	return 0;
}

int store_write_pending(struct store *s, const struct store_txn *t)
{
	mutex_lock(&s->lock);
	int r = commit(s, t);
	bool big = r == 0 && s->unsynced_bytes > STORE_UNSYNCED_BYTES_MAX;
	mutex_unlock(&s->lock);
	return big ? store_flush(s) : r;
}

int store_defer_pending(struct store *s, const struct store_txn *t)
{
	mutex_lock(&s->lock);
	struct store_txn **deferred = &s->layers[LAYER_DEFERRED];
	/* On a disk in trouble, who asks is to be told at once. */
	bool now = s->failure || s->low || !s->db ||
		   (*deferred && store_txn_pending(*deferred, DEFERRED_MAX));
	if (!now && !*deferred)
		*deferred = store_begin(s);
	if (!now)
		store_txn_merge(*deferred, t);
	mutex_unlock(&s->lock);
	return now ? -EAGAIN : 0;
}

int store_write_deferred(struct store *s)
{
	mutex_lock(&s->lock);
	int r = s->layers[LAYER_DEFERRED] ? commit(s, NULL) : 0;
	mutex_unlock(&s->lock);
	return r;
}
