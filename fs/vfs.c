/*
 * The semantic layer's life: attaching to a database, and its two threads. The publisher settles what is
 * due and delivers notices to the kernel; the syncer makes things durable in the background, and small.
 */
#include "core/compact.h"
#include "core/follow.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/second.h"
#include "fs/bulk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/** How long unsynced writes may stay in the page cache only. */
#define SYNC_DELAY_MS 1000
/** While something waits to be flushed, compaction may take this much of each second. */
/** Directories above a file that a message names. */
#define PATH_DEPTH_MAX 256
#define COMPACT_MS 200
/** Deletions that make one change: `rm -rf` is a few, not thousands. */
#define BURIALS_MAX 256

void vfs_kick(struct vfs *v, uint64_t due_ms)
{
	mutex_lock(&v->queue_lock);
	if (due_ms < v->wake_at) {
		v->kick = true;
		v->wake_at = due_ms;
		cond_broadcast(&v->queue_changed);
	}
	if (!v->sync_later) {
		v->sync_later = true;
		cond_broadcast(&v->sync_changed);
	}
	mutex_unlock(&v->queue_lock);
}

/* Anything that became a change, by whatever way, is made durable soon. */
static void database_changed(void *ctx)
{
	struct vfs *v = ctx;

	bool now = db_chunks_are_due(v->db);
	mutex_lock(&v->queue_lock);
	if (!v->sync_soon && (now || !v->sync_later))
		cond_broadcast(&v->sync_changed);
	v->sync_soon = v->sync_soon || now;
	v->sync_later = true;
	mutex_unlock(&v->queue_lock);
}

/* ---- publishing what is due --------------------------------------------------------------------- */

static struct inode *due_inode(struct vfs *v, uint64_t now, bool all)
{
	struct inode *i = due_first(&v->due);

	return i && (i->due_ms <= now || (all && i->due_ms != UINT64_MAX)) ? i : NULL;
}

static int publish_due(struct vfs *v, struct txn *t, struct inode *i, bool force)
{
	if (S_ISLNK(i->mode))
		return publish_symlink(v, t, i);
	if (S_ISDIR(i->mode) && !i->gone)
		return publish_held_dir(v, t, i, force);
	if (!S_ISREG(i->mode) || i->gone) {
		publish_unmark(v, t, i);
		return 0;
	}
	return publish_file(v, t, i, force || i->writers == 0);
}

static void set_due(struct vfs *v, struct inode *i, uint64_t due_ms)
{
	i->store_due_ms = due_ms;
	if (i->unpublished)
		due_set(&v->due, i, due_ms);
}

/*
 * A file that has to be durable before it is stored: that is waited for without the lock. Ends the
 * transaction; false if it failed.
 */
static bool sync_first(struct vfs *v, struct txn *t, struct inode *i, uint64_t now)
{
	struct backing *b = bytes_pin(i);
	uint64_t ino = i->ino;

	set_due(v, i, now + RETRY_MS);
	db_abort(t);
	int r = bytes_sync(v, b);
	bytes_unpin(v, b);
	db_enter(v->db);
	i = ns_cached(v, ino);
	if (i && r == 0)
		set_due(v, i, now);
	db_leave(v->db);
	return r == 0;
}

/* Stores or publishes a file. Ends the transaction; false if it failed. */
static bool settle_inode(struct vfs *v, struct txn *t, struct inode *i, bool force)
{
	uint64_t ino = i->ino;

	set_due(v, i, monotonic_ms() + RETRY_MS);
	int r = publish_due(v, t, i, force);
	if (r == 0)
		ns_release(v, i);
	r = ns_end(v, t, r);
	if (r < 0)
		log_warn("file %llu could not be published: %s; trying again",
			 (unsigned long long)ino, strerror(-r));
	return r == 0;
}

/* Settles one thing that is due; false when nothing is. */
static bool settle_one(struct vfs *v, bool all)
{
	uint64_t now = monotonic_ms();
	struct txn *t = db_begin(v->db);
	ns_begin(v, t);
	struct inode *i = due_inode(v, now, all);
	struct inode *stays = i ? NULL : bytes_next_due(v, all ? UINT64_MAX : now);

	i = i ? i : stays;
	if (i && bytes_is_unsafe(i))
		return sync_first(v, t, i, now);
	shown_settle(v, t, now);
	if (stays)
		bytes_stop_waiting(v, stays);
	if (i)
		return settle_inode(v, t, i, all);
	struct grave g;
	unsigned count = 0;
	store_frees_space(db_store(t));
	while (count < BURIALS_MAX && graves_next(v, all ? UINT64_MAX : now, &g)) {
		graves_bury(v, t, &g);
		free(g.name);
		count++;
	}
	(void)ns_end(v, t, 0);
	return count > 0;
}

/* Monotonic time at which settle_one() has something to do; UINT64_MAX = never. */
static uint64_t next_due(struct vfs *v)
{
	uint64_t next = UINT64_MAX;
	struct txn *t = db_begin(v->db);

	const struct inode *first = due_first(&v->due);
	if (first)
		next = first->due_ms;
	if (v->waiting && v->waiting->store_due_ms < next)
		next = v->waiting->store_due_ms;
	if (v->grave_first < v->grave_end && v->graves[v->grave_first].due_ms < next)
		next = v->graves[v->grave_first].due_ms;
	uint64_t held = shown_next_due(v);
	uint64_t quiet = quiet_next_due(v);
	db_abort(t);
	held = quiet < held ? quiet : held;
	return held < next ? held : next;
}

/* ---- notices ------------------------------------------------------------------------------------ */

void vfs_notice_fini(struct vfs_notice *n)
{
	free(STEAL(n->dir));
	free(STEAL(n->name));
	free(STEAL(n->to_dir));
	free(STEAL(n->to_name));
}

static void delivered(struct vfs *v, struct vfs_notice *list, size_t count)
{
	vfs_told(v, list, count);
	struct txn *t = db_begin(v->db);
	for (size_t k = 0; k < count; k++) {
		bool content = list[k].kind == NOTICE_MODIFY;
		struct inode *i = content ? ns_get(v, t, list[k].ino) : NULL;

		vfs_notice_fini(&list[k]);

		if (!i)
			continue;
		if (i->notices)
			i->notices--;
		ns_release(v, i);
	}
	db_abort(t);
}

/* Opens that waited for the kernel to forget; they may wait again. */
static void call_waiters(struct vfs *v)
{
	struct txn *t = db_begin(v->db);
	struct shown_waiter *w = shown_take_waiters(v);

	db_abort(t);
	while (w) {
		struct shown_waiter *next = w->next;

		w->retry(w->ctx);
		free(w);
		w = next;
	}
}

/* Takes the queue and passes it on; v->queue_lock is held before and after. */
static void deliver_locked(struct vfs *v)
{
	struct vfs_notice *list = STEAL(v->notices);
	size_t count = v->notice_count;
	void (*notify)(void *ctx, struct vfs_notice *n) = v->notify;
	void *ctx = v->notify_ctx;

	v->notice_count = 0;
	v->delivering = true;
	mutex_unlock(&v->queue_lock);
	/* They were queued inside a transaction: the kernel may ask back only once that has ended. */
	db_abort(db_begin(v->db));
	for (size_t k = 0; notify && k < count; k++)
		notify(ctx, &list[k]);
	delivered(v, list, count);
	free(list);
	call_waiters(v);
	mutex_lock(&v->queue_lock);
	v->delivering = false;
	v->notices_told += count;
	cond_broadcast(&v->queue_changed);
}

static void *publisher_run(void *arg)
{
	struct vfs *v = arg;

	mutex_lock(&v->queue_lock);
	while (!v->stop) {
		if (v->notice_count) {
			deliver_locked(v);
			continue;
		}
		v->kick = false;
		v->wake_at = UINT64_MAX;
		struct doomed *removals = STEAL(v->removals);
		mutex_unlock(&v->queue_lock);
		bytes_settle_doomed(removals, true);
		while (quiet_settle(v, monotonic_ms(), false) || settle_one(v, false))
			;
		uint64_t next = next_due(v);
		mutex_lock(&v->queue_lock);
		if (v->stop || v->kick || v->notice_count)
			continue;
		v->wake_at = next;
		if (next == UINT64_MAX)
			cond_wait(&v->queue_changed, &v->queue_lock);
		else
			(void)cond_wait_until(&v->queue_changed, &v->queue_lock, next);
	}
	mutex_unlock(&v->queue_lock);
	return NULL;
}

/* Takes over what came for records that were moved away, and gives files that gave way a name. */
static int follow(struct vfs *v)
{
	int r = 1;

	if (db_is_read_only(v->db)) /* it is somebody else's to do */
		return 0;
	while (r == 1)
		r = follow_step(v->db);
	for (r = r == 0 ? 1 : r; r == 1;)
		r = second_step(v->db);
	return r;
}

/* Folds what is old, one step after the other, until something more urgent comes. */
static void compact_locked(struct vfs *v)
{
	uint64_t until = monotonic_ms() + COMPACT_MS;
	unsigned steps = 0;
	int r = 1;

	for (; r == 1 && !v->stop && !v->sync_soon && (!v->sync_later || monotonic_ms() < until);
	     steps++) {
		mutex_unlock(&v->queue_lock);
		r = db_compact_step(v->db);
		mutex_lock(&v->queue_lock);
	}
	if (r < 0) /* nothing is lost by that; it is tried again after the next change */
		log_warn("old changes could not be compacted: %s", strerror(-r));
	if (steps > 1) { /* compressing takes tens of megabytes */
		mutex_unlock(&v->queue_lock);
		platform_trim_memory();
		mutex_lock(&v->queue_lock);
	}
}

static void *syncer_run(void *arg)
{
	struct vfs *v = arg;

	bytes_sweep(v);
	mutex_lock(&v->queue_lock);
	while (!v->stop) {
		if (!v->sync_soon && !v->sync_later) {
			cond_wait(&v->sync_changed, &v->queue_lock);
			continue;
		}
		uint64_t until = monotonic_ms() + SYNC_DELAY_MS;
		while (!v->sync_soon && !v->stop &&
		       cond_wait_until(&v->sync_changed, &v->queue_lock, until))
			;
		v->sync_soon = v->sync_later = false;
		mutex_unlock(&v->queue_lock);
		int r = db_sync(v->db);
		if (r < 0)
			log_err("the store could not be flushed: %s", strerror(-r));
		int followed = follow(v);
		if (followed <
		    0) /* the records stay in sight where they were; tried again after the next change */
			log_warn("what came late for records here could not be settled: %s",
				 strerror(-followed));
		mutex_lock(&v->queue_lock);
		if (r == 0)
			compact_locked(v);
	}
	mutex_unlock(&v->queue_lock);
	return NULL;
}

static void *importer_run(void *arg)
{
	struct vfs *v = arg;
	uint64_t every = collector_look_ms();
	uint64_t look_at = monotonic_ms() + every;

	mutex_lock(&v->queue_lock);
	while (!v->stop) {
		if (!v->import_soon) {
			if (cond_wait_until(&v->import_changed, &v->queue_lock, look_at))
				continue;
			mutex_unlock(&v->queue_lock);
			collector_look(v);
			look_at = monotonic_ms() + every;
			mutex_lock(&v->queue_lock);
			continue;
		}
		v->import_soon = false;
		mutex_unlock(&v->queue_lock);
		while (bulk_import_one(v, false))
			;
		mutex_lock(&v->queue_lock);
	}
	mutex_unlock(&v->queue_lock);
	return NULL;
}

void vfs_set_notify(struct vfs *v, void (*notify)(void *ctx, struct vfs_notice *n), void *ctx)
{
	struct txn *t = db_begin(v->db);

	v->is_mounted = notify != NULL;
	db_abort(t);
	mutex_lock(&v->queue_lock);
	v->notify = notify;
	v->notify_ctx = ctx;
	while (v->delivering) /* so that the caller may take away what ctx points at */
		cond_wait(&v->queue_changed, &v->queue_lock);
	mutex_unlock(&v->queue_lock);
	if (!notify)
		call_waiters(v);
}

/* ---- settling ----------------------------------------------------------------------------------- */

uint64_t vfs_held_count(struct vfs *v)
{
	struct txn *t = db_begin(v->db);
	uint64_t n = v->grave_count + v->due.count;

	db_abort(t);
	return n;
}

static void put_path(struct vfs *v, struct txn *t, const struct inode *i, struct buf *out)
{
	const struct inode *up[PATH_DEPTH_MAX];
	size_t n = 0;

	for (; i && i->name && n < PATH_DEPTH_MAX; i = i->parent ? ns_get(v, t, i->parent) : NULL)
		up[n++] = i;
	while (n > 0)
		buf_printf(out, "%s%s", out->len ? "/" : "", up[--n]->name);
}

void vfs_too_large(void *vfs, void (*fn)(void *ctx, const char *path), void *ctx)
{
	struct vfs *v = vfs;
	struct txn *t = db_begin(v->db);

	for (size_t k = 0; k < v->due.count; k++) {
		const struct inode *i = v->due.heap[k];
		AUTO(buf_fini) struct buf path = {0};

		if (!i->told_large || i->due_ms != UINT64_MAX)
			continue;
		put_path(v, t, i, &path);
		fn(ctx, buf_str(&path));
	}
	db_abort(t);
}

static uint64_t gone_count(struct vfs *v)
{
	struct txn *t = db_begin(v->db);
	uint64_t n = v->grave_count;

	db_abort(t);
	return n;
}

static bool settle(struct vfs *v, uint64_t (*count)(struct vfs *v), uint64_t deadline_ms)
{
	for (;;) {
		uint64_t seen = db_generation(v->db);
		uint64_t now = monotonic_ms();

		if (count(v) == 0)
			return true;
		if (now >= deadline_ms)
			return false;
		uint64_t step = now + 20 < deadline_ms ? now + 20 : deadline_ms;
		(void)db_wait_change(v->db, seen, step);
	}
}

bool vfs_settle(struct vfs *v, uint64_t deadline_ms)
{
	return settle(v, vfs_held_count, deadline_ms);
}

bool vfs_settle_gone(struct vfs *v, uint64_t deadline_ms)
{
	return settle(v, gone_count, deadline_ms);
}

/* Of names that are gone the echo tells, which is nobody's thread here. v->queue_lock is held before and after. */
static bool names_are_untold(struct vfs *v)
{
	mutex_unlock(&v->queue_lock);
	db_enter(v->db);
	bool ret = v->untold.count > 0;
	db_leave(v->db);
	mutex_lock(&v->queue_lock);
	return ret;
}

bool vfs_settle_told(struct vfs *v, uint64_t deadline_ms)
{
	mutex_lock(&v->queue_lock);
	uint64_t queued = v->notices_queued;
	while (v->notices_told < queued && !v->stop && monotonic_ms() < deadline_ms)
		(void)cond_wait_until(&v->queue_changed, &v->queue_lock, deadline_ms);
	bool told = v->notices_told >= queued;
	uint64_t seen = v->names_told;
	while (told && names_are_untold(v)) {
		while (v->names_told == seen && !v->stop && monotonic_ms() < deadline_ms)
			(void)cond_wait_until(&v->queue_changed, &v->queue_lock, deadline_ms);
		told = v->names_told != seen;
		seen = v->names_told;
	}
	mutex_unlock(&v->queue_lock);
	return told;
}

/* ---- life --------------------------------------------------------------------------------------- */

static int load_root(struct vfs *v, struct txn *t, bool *ret_fresh)
{
	AUTO(buf_fini) struct buf value = {0};
	int r = store_get(db_store(t), SLICE_STR("Lm"), &value);

	if (r < 0 && r != -ENOENT)
		return r;
	*ret_fresh = r == -ENOENT;
	if (r == 0) {
		struct reader n = reader_init(buf_slice(&value));

		v->next_ino = v->ino_limit = reader_varint(&n);
		return n.bad ? -EIO : 0;
	}
	struct id root = db_root(v->db);
	v->next_ino = v->ino_limit = VFS_ROOT_INO;
	struct inode *i = ns_new(v, t, S_IFDIR | 0755);
	i->nlink = 2;
	i->parent = VFS_ROOT_INO;
	ns_bind(v, t, i, &root);
	return 0;
}

static int attach(struct vfs *v)
{
	const struct db_view view = {
		.node_changed = project_node, .committed = project_committed, .ctx = v};
	AUTO(buf_fini) struct buf value = {0};
	bool fresh = false;
	struct txn *t = db_begin(v->db);
	bool unsure = store_get(db_store(t), SLICE_STR("Lu"), &value) == 0;
	int r = load_root(v, t, &fresh);

	if (r == 0)
		r = publish_load(v, t);
	r = ns_end(v, t, r);
	if (r < 0)
		return r;
	db_set_view(v->db, &view);
	return fresh || unsure || db_is_unseen(v->db) ? project_all(v) : 0;
}

static void free_memory(struct vfs *v)
{
	bytes_settle_doomed(STEAL(v->removals), true);
	bases_fini(v);
	for (size_t s = 0; s < INODE_SLOTS; s++) {
		while (v->slots[s]) {
			struct inode *i = v->slots[s];

			v->slots[s] = i->next_in_slot;
			ns_free(i);
		}
	}
	for (size_t g = v->grave_first; g < v->grave_end; g++)
		free(v->graves[g].name);
	free(v->graves);
	free(v->due.heap);
	counts_fini(&v->counts);
	untold_fini(&v->untold);
	free(v->touched);
	for (size_t k = 0; k < v->notice_count; k++)
		vfs_notice_fini(&v->notices[k]);
	free(v->notices);
	cond_fini(&v->sync_changed);
	cond_fini(&v->import_changed);
	cond_fini(&v->queue_changed);
	mutex_fini(&v->queue_lock);
	free(v);
}

static void *tender_run(void *arg)
{
	db_tend(arg);
	return NULL;
}

int vfs_create(const struct vfs_options *options, struct vfs **ret, struct why *why)
{
	struct vfs *v = xcalloc(1, sizeof(*v));

	v->db = options->db;
	v->uid = options->uid;
	v->gid = options->gid;
	v->epoch = 1;
	mutex_init(&v->queue_lock);
	cond_init(&v->queue_changed);
	cond_init(&v->sync_changed);
	cond_init(&v->import_changed);
	int r = attach(v);
	if (r < 0) {
		db_set_view(v->db, NULL);
		free_memory(v);
		return why_set(why, r, "the local namespace of '%s' cannot be read: %s",
			       db_name(options->db), strerror(-r));
	}
	v->observer = (struct db_observer){.changed = database_changed, .ctx = v};
	db_observe(v->db, &v->observer);
	thread_start(&v->publisher, "publisher", publisher_run, v);
	thread_start(&v->syncer, "syncer", syncer_run, v);
	thread_start(&v->importer, "importer", importer_run, v);
	thread_start(&v->tender, "tender", tender_run, v->db);
	*ret = v;
	return 0;
}

/* What waits is in the store and is published after the next start, should this fail. */
static void publish_all(struct vfs *v)
{
	while (quiet_settle(v, 0, true) || settle_one(v, true) || bulk_import_one(v, true))
		;
}

void vfs_destroy(struct vfs *v)
{
	if (!v)
		return;
	mutex_lock(&v->queue_lock);
	v->stop = true;
	v->notify = NULL;
	cond_broadcast(&v->queue_changed);
	cond_broadcast(&v->sync_changed);
	cond_broadcast(&v->import_changed);
	mutex_unlock(&v->queue_lock);
	thread_join(&v->publisher);
	thread_join(&v->syncer);
	thread_join(&v->importer);
	db_unobserve(v->db, &v->observer);
	publish_all(v);
	db_tend_stop(v->db);
	thread_join(&v->tender);
	db_set_view(v->db, NULL);
	free_memory(v);
}

int vfs_statfs(struct vfs *v, struct statvfs *ret)
{
	if (statvfs(db_dir(v->db), ret) != 0)
		return -errno;
	ret->f_namemax = 255;
	return 0;
}
