/*
 * LevelDB behind store.h, and the healing that LevelDB 1.23 needs: after a failed append it goes on
 * acknowledging records that its reader will drop, so a handle that failed once is never written again.
 *
 * `unsynced` holds a copy of every batch written since the last successful barrier. When an append or
 * a flush fails, pages of the log may be lost although write(2) accepted them; the healed store gets
 * them again, in order, in one batch with sync=1.
 */
#include "core/store.h"

#include "core/platform.h"
#include "core/store_cache.h"
#include "core/store_txn.h"
#include "core/thread.h"

#include <leveldb/c.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BALLAST_BYTES (16u << 20)
/** Below this much free space a failed store is not reopened: opening writes tables. */
#define HEAL_FREE_BYTES_MIN (12u << 20)
/** More unsynced data than this is flushed by the writer itself. */
#define UNSYNCED_BYTES_MAX (64u << 20)
/** Tables are mapped, 2 MiB each, and what was read of them is resident: this bounds a walk over everything. */
#define OPEN_FILES_MAX 64
/** More deferred writes than this are written. */
#define DEFERRED_MAX 256
/** Memory of a batch that is kept for the next. */
#define SPARE_BYTES_MAX (4u << 20)

struct store {
	char *dir; /**< holds store/ and ballast */
	char *leveldb_dir;
	char *ballast;
	leveldb_options_t *options;
	leveldb_readoptions_t *read_options;
	leveldb_writeoptions_t *write_options;
	leveldb_writeoptions_t *sync_options;
	leveldb_cache_t *cache;
	leveldb_filterpolicy_t *filter;
	struct mutex sync_lock; /**< taken before lock: one barrier at a time */
	uint64_t newest_file;	/**< whose name is flushed; protected by sync_lock */
	struct mutex lock;	/**< protects everything below */
	leveldb_t *db;		/**< NULL when it could not be reopened */
	int failure;		/**< the error that made the handle unwritable, or 0 */
	bool low; /**< the ballast is given up: only what frees space may be written */
	leveldb_writebatch_t *batch; /**< the one being written; kept, because growing it costs */
	leveldb_writebatch_t *unsynced;
	leveldb_writebatch_t *spare; /**< the next `unsynced`, empty, or NULL */
	size_t unsynced_bytes;
	leveldb_writebatch_t *syncing; /**< what the running barrier is about, or NULL */
	struct store_txn *deferred;    /**< goes before the next batch, in the same; or NULL */
	struct store_cache *known;     /**< of what is written, not of what is deferred */
	struct store_view *views;
	size_t iter_count; /**< open iterators: the handle may not be closed */
	struct cond iter_gone;
	uint64_t written; /**< batches ever written */
	uint64_t synced;  /**< of those, on stable storage */
};

/* Takes ownership of message. */
static int error_code(char *message)
{
	int r = -EIO;

	if (strstr(message, strerror(ENOSPC)) || strstr(message, strerror(EDQUOT)))
		r = -ENOSPC;
	else if (strstr(message, "lock"))
		r = -EBUSY;
	else if (strstr(message, "Corruption") || strstr(message, "does not exist"))
		r = -EBADMSG;
	leveldb_free(message);
	return r;
}

static void options_init(struct store *s)
{
	s->options = leveldb_options_create();
	s->cache = leveldb_cache_create_lru(8u << 20);
	s->filter = leveldb_filterpolicy_create_bloom(10);
	leveldb_options_set_paranoid_checks(s->options, 1);
	leveldb_options_set_max_open_files(s->options, OPEN_FILES_MAX);
	leveldb_options_set_write_buffer_size(s->options, 8u << 20);
	leveldb_options_set_cache(s->options, s->cache);
	leveldb_options_set_filter_policy(s->options, s->filter);
	leveldb_options_set_compression(s->options, leveldb_snappy_compression);
	s->read_options = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(s->read_options, 1);
	s->write_options = leveldb_writeoptions_create();
	s->sync_options = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(s->sync_options, 1);
}

static struct store *store_alloc(const char *dir)
{
	struct store *s = xcalloc(1, sizeof(*s));

	s->dir = xstrdup(dir);
	s->leveldb_dir = xasprintf("%s/store", dir);
	s->ballast = xasprintf("%s/ballast", dir);
	options_init(s);
	mutex_init(&s->sync_lock);
	mutex_init(&s->lock);
	cond_init(&s->iter_gone);
	s->batch = leveldb_writebatch_create();
	s->unsynced = leveldb_writebatch_create();
	s->known = store_cache_create();
	return s;
}

struct store_view {
	struct store *s;
	leveldb_readoptions_t *options;
	const leveldb_snapshot_t *snapshot; /**< NULL: stale; protected by the store's lock */
	struct store_view *next;
};

static void drop_views(struct store *s)
{
	for (struct store_view *v = s->views; v; v = v->next) {
		if (v->snapshot)
			leveldb_release_snapshot(s->db, v->snapshot);
		v->snapshot = NULL;
	}
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->db) {
		(void)store_sync(s);
		drop_views(s);
		leveldb_close(s->db);
	}
	store_abort(s->deferred);
	store_cache_destroy(s->known);
	leveldb_writebatch_destroy(s->batch);
	leveldb_writebatch_destroy(s->unsynced);
	if (s->spare)
		leveldb_writebatch_destroy(s->spare);
	leveldb_writeoptions_destroy(s->sync_options);
	leveldb_writeoptions_destroy(s->write_options);
	leveldb_readoptions_destroy(s->read_options);
	leveldb_options_destroy(s->options);
	leveldb_filterpolicy_destroy(s->filter);
	leveldb_cache_destroy(s->cache);
	cond_fini(&s->iter_gone);
	mutex_fini(&s->lock);
	mutex_fini(&s->sync_lock);
	free(s->ballast);
	free(s->leveldb_dir);
	free(s->dir);
	free(s);
}

/* The ballast is best effort: a disk without room for it just has none until there is room again. */
static void ballast_make(const struct store *s)
{
	AUTO(close_fd) int fd = open(s->ballast, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (platform_reserve(fd, BALLAST_BYTES) < 0)
		(void)unlink(s->ballast);
}

static bool has_room(const struct store *s)
{
	struct statvfs fs;

	return statvfs(s->dir, &fs) != 0 ||
	       (uint64_t)fs.f_bavail * fs.f_frsize >= HEAL_FREE_BYTES_MIN;
}

static int leveldb_try_open(struct store *s, struct why *why)
{
	char *message = NULL;

	s->db = leveldb_open(s->options, s->leveldb_dir, &message);
	if (!message)
		return 0;
	s->db = NULL;
	(void)why_set(why, 0, "the store in '%s' cannot be opened: %s", s->dir, message);
	return error_code(message);
}

static int open_with_ballast(struct store *s, struct why *why)
{
	int r = leveldb_try_open(s, why);

	if (r == -ENOSPC && unlink(s->ballast) == 0)
		r = leveldb_try_open(s, why);
	return r;
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
		r = error_code(message);
	} else {
		ballast_make(s);
	}
	store_close(s);
	return r;
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
		r = open_with_ballast(s, why);
	if (r < 0) {
		store_close(s);
		return r;
	}
	if (has_room(s))
		ballast_make(s);
	*ret = s;
	return 0;
}

/* Whether this deletes what was never written. What `before` says of the key counts for more. */
static bool is_for_nothing(const struct pending *p, const struct store_txn *before)
{
	const struct pending *older = before ? store_txn_find(before, p->key) : NULL;

	return p->deleted && (older ? older->fresh : p->fresh);
}

/*
 * Adds the pending writes of t, but those that `over` writes again, and deletions of what was never written,
 * here or in `before`: each would be a stone in the way of every scan.
 */
static size_t gather(leveldb_writebatch_t *batch, const struct store_txn *t,
		     const struct store_txn *before, const struct store_txn *over)
{
	const struct pending *p = NULL;
	size_t bytes = 0;

	for (size_t i = 0; t && (p = store_txn_pending(t, i)); i++) {
		const char *key = (const char *)p->key.data;

		if ((over && store_txn_find(over, p->key)) || is_for_nothing(p, before))
			continue;
		if (p->deleted)
			leveldb_writebatch_delete(batch, key, p->key.len);
		else
			leveldb_writebatch_put(batch, key, p->key.len, (const char *)p->value.data,
					       p->value.len);
		bytes += p->key.len + p->value.len;
	}
	return bytes;
}

/* Changes, envelopes and the history are written once, and hardly ever read again soon. */
static bool is_written_once(struct slice key)
{
	return key.len && memchr("cehq", key.data[0], 4);
}

/* What was written is known now; what a failed batch was about is not. */
static void learn(struct store_cache *known, const struct store_txn *t, bool written)
{
	const struct pending *p = NULL;

	for (size_t i = 0; t && (p = store_txn_pending(t, i)); i++) {
		if (!written || is_written_once(p->key))
			store_cache_drop(known, p->key);
		else if (p->deleted)
			store_cache_put_absent(known, p->key);
		else
			store_cache_put(known, p->key, p->value);
	}
}

/* Writes everything not yet on stable storage, and what is deferred, into a fresh handle. */
static int reput_locked(struct store *s)
{
	leveldb_writebatch_t *all = leveldb_writebatch_create();
	char *message = NULL;

	if (s->syncing)
		leveldb_writebatch_append(all, s->syncing);
	leveldb_writebatch_append(all, s->unsynced);
	(void)gather(all, s->deferred, NULL, NULL);
	leveldb_write(s->db, s->sync_options, all, &message);
	leveldb_writebatch_destroy(all);
	if (s->deferred)
		store_txn_may_be_written(s->deferred);
	if (message)
		return error_code(message);
	learn(s->known, s->deferred, true);
	store_abort(STEAL(s->deferred));
	leveldb_writebatch_clear(s->unsynced);
	s->unsynced_bytes = 0;
	s->synced = s->written;
	return 0;
}

/* A failed handle is closed and opened anew. While the disk is full it stays open for reading. */
static int heal_locked(struct store *s, bool frees)
{
	if (s->failure == -ENOSPC && !has_room(s)) {
		if (!frees)
			return -ENOSPC;
		s->low = true;
		(void)unlink(s->ballast);
	}
	/* No callback of a scan writes, so this ends. */
	while (s->iter_count)
		cond_wait(&s->iter_gone, &s->lock);
	drop_views(s);
	if (s->db)
		leveldb_close(s->db);
	int r = open_with_ballast(s, NULL);
	if (r == 0)
		r = reput_locked(s);
	s->failure = r;
	if (r == 0 && !s->low)
		ballast_make(s);
	return r;
}

/* Whether a batch may use the disk: the last of its room is for deletions. */
static int admit_locked(struct store *s, bool frees)
{
	if (!s->low || frees)
		return 0;
	if (!has_room(s))
		return -ENOSPC;
	s->low = false;
	ballast_make(s);
	return 0;
}

/* One batch of what was deferred and of what t (or NULL) holds. */
static int try_write_locked(struct store *s, const struct store_txn *t)
{
	char *message = NULL;

	leveldb_writebatch_clear(s->batch);
	size_t bytes = gather(s->batch, s->deferred, NULL, t);
	bytes += gather(s->batch, t, s->deferred, NULL);
	leveldb_write(s->db, s->write_options, s->batch, &message);
	if (message) {
		s->failure = error_code(message);
	} else {
		leveldb_writebatch_append(s->unsynced, s->batch);
		s->unsynced_bytes += bytes; /* LevelDB does not say what a batch takes */
		s->written++;
		learn(s->known, s->deferred, true);
		learn(s->known, t, true);
		store_abort(STEAL(s->deferred));
	}
	if (bytes > SPARE_BYTES_MAX) {
		leveldb_writebatch_destroy(s->batch);
		s->batch = leveldb_writebatch_create();
	}
	return message ? s->failure : 0;
}

/*
 * A batch that failed may be in the log all the same, and is there when the log is read again. Its writer is told
 * that it failed and goes on from what was before: that is deferred, so that everybody reads it, and it is written
 * with the next batch, or as soon as the handle is open again. The handle does not show the batch yet.
 */
static void undo_locked(struct store *s, const struct store_txn *t)
{
	const struct pending *p = NULL;

	if (!s->deferred)
		s->deferred = store_begin(s);
	store_txn_may_be_written(s->deferred);
	for (size_t i = 0; t && (p = store_txn_pending(t, i)); i++) {
		char *message = NULL;
		size_t len = 0;

		if (store_txn_find(s->deferred, p->key))
			continue;
		char *value = leveldb_get(s->db, s->read_options, (const char *)p->key.data,
					  p->key.len, &len, &message);
		if (value)
			store_put(s->deferred, p->key, SLICE(value, len));
		else if (!message)
			store_delete(s->deferred, p->key);
		leveldb_free(value);
		leveldb_free(message);
	}
}

/* Writes what was deferred and what t (or NULL) holds: all of it, or nothing. */
static int write_all_locked(struct store *s, const struct store_txn *t)
{
	bool frees = t && store_txn_frees(t);
	int r = admit_locked(s, frees);

	if (r == 0 && (s->failure || !s->db))
		r = heal_locked(s, frees);
	if (r < 0)
		return r;
	r = try_write_locked(s, t);
	for (int again = 1; r < 0; again--) {
		learn(s->known, s->deferred, false);
		learn(s->known, t, false);
		undo_locked(s, t);
		if (!again)
			break;
		r = heal_locked(s, frees);
		if (r < 0)
			break;
		r = try_write_locked(s, t);
	}
	return r;
}

/*
 * A record is in one of the log files or in a table. Tables are synced before their log is removed, so
 * flushing every log that exists now is a barrier; a log that vanishes meanwhile became a table.
 */
static int flush_logs(struct store *s)
{
	DIR *d = opendir(s->leveldb_dir);
	struct dirent *e = NULL;
	uint64_t newest = 0;
	int r = 0;

	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d))) {
		size_t n = strlen(e->d_name);
		uint64_t number = strtoull(e->d_name, NULL, 10);

		newest = number > newest ? number : newest;
		if (n < 4 || strcmp(e->d_name + n - 4, ".log") != 0)
			continue;
		AUTO(close_fd) int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		bool flushed = fd < 0 ? errno == ENOENT : platform_sync_data(fd) == 0;
		if (!flushed)
			r = -errno;
	}
	/* LevelDB numbers its files upwards: none newer, then all their names were flushed before. */
	if (r == 0 && newest != s->newest_file) {
		r = fsync(dirfd(d)) != 0 ? -errno : 0;
		if (r == 0)
			s->newest_file = newest;
	}
	(void)closedir(d);
	return r == 0 || r == -ENOSPC ? r : -EIO;
}

static int barrier(struct store *s)
{
	mutex_lock(&s->lock);
	uint64_t upto = s->written;
	size_t bytes = 0;
	int r = s->failure ? heal_locked(s, false) : 0;
	bool nothing = r < 0 || s->synced >= upto;
	if (!nothing) {
		s->syncing = s->unsynced;
		bytes = s->unsynced_bytes;
		s->unsynced = s->spare ? STEAL(s->spare) : leveldb_writebatch_create();
		s->unsynced_bytes = 0;
	}
	mutex_unlock(&s->lock);
	if (nothing)
		return r;

	r = flush_logs(s);
	mutex_lock(&s->lock);
	if (r < 0 && !s->failure)
		s->failure = r;
	if (s->failure)
		r = heal_locked(s, false);
	if (r == 0 && s->synced < upto)
		s->synced = upto;
	if (r < 0) { /* keep it for the next attempt, in order */
		leveldb_writebatch_append(s->syncing, s->unsynced);
		leveldb_writebatch_destroy(s->unsynced);
		s->unsynced = STEAL(s->syncing);
	} else if (!s->spare && bytes <= SPARE_BYTES_MAX) {
		leveldb_writebatch_clear(s->syncing);
		s->spare = STEAL(s->syncing);
	} else {
		leveldb_writebatch_destroy(STEAL(s->syncing));
	}
	mutex_unlock(&s->lock);
	return r;
}

int store_sync(struct store *s)
{
	mutex_lock(&s->lock);
	int written = s->deferred ? write_all_locked(s, NULL) : 0;
	uint64_t mine = s->written;
	mutex_unlock(&s->lock);
	if (written < 0)
		return written;

	mutex_lock(&s->sync_lock);
	mutex_lock(&s->lock);
	bool done = s->synced >= mine && !s->failure;
	mutex_unlock(&s->lock);
	int r = done ? 0 : barrier(s);
	mutex_unlock(&s->sync_lock);
	return r;
}

int store_health(struct store *s)
{
	mutex_lock(&s->lock);
	int r = s->failure ? heal_locked(s, false) : admit_locked(s, false);
	mutex_unlock(&s->lock);
	return r;
}

int store_read(struct store *s, struct slice key, struct buf *ret)
{
	char *message = NULL;
	size_t len = 0;

	buf_clear(ret);
	mutex_lock(&s->lock);
	const struct pending *p = s->deferred ? store_txn_find(s->deferred, key) : NULL;
	int r = store_cache_get(s->known, key, ret);
	if (p) {
		buf_clear(ret);
		r = p->deleted ? -ENOENT : 0;
		buf_slice_append(ret, p->value);
	}
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
	int r = write_all_locked(s, t);
	bool big = r == 0 && s->unsynced_bytes > UNSYNCED_BYTES_MAX;
	mutex_unlock(&s->lock);
	return big ? store_sync(s) : r;
}

int store_defer_pending(struct store *s, const struct store_txn *t)
{
	mutex_lock(&s->lock);
	/* On a disk in trouble, who asks is to be told at once. */
	bool now = s->failure || s->low || !s->db ||
		   (s->deferred && store_txn_pending(s->deferred, DEFERRED_MAX));
	if (!now && !s->deferred)
		s->deferred = store_begin(s);
	if (!now)
		store_txn_merge(s->deferred, t);
	mutex_unlock(&s->lock);
	return now ? -EAGAIN : 0;
}

int store_write_deferred(struct store *s)
{
	mutex_lock(&s->lock);
	int r = s->deferred ? write_all_locked(s, NULL) : 0;
	mutex_unlock(&s->lock);
	return r;
}

struct store_txn *store_deferred_copy(struct store *s)
{
	struct store_txn *copy = NULL;

	mutex_lock(&s->lock);
	if (s->deferred) {
		copy = store_begin(s);
		store_txn_merge(copy, s->deferred);
	}
	mutex_unlock(&s->lock);
	return copy;
}

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

struct store_view *store_view_create(struct store *s)
{
	struct store_view *v = NULL;

	if (store_write_deferred(s) < 0)
		return NULL;
	mutex_lock(&s->lock);
	if (s->db && !s->failure) {
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
