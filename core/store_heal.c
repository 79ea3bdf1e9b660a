/*
 * The healing that LevelDB 1.23 needs: after a failed append it goes on acknowledging records that its reader will
 * drop, so a handle that failed once is never written again.
 *
 * `unsynced` holds a copy of every batch written since the last successful barrier. When an append or
 * a flush fails, pages of the log may be lost although write(2) accepted them; the healed store gets
 * them again, in order, in one batch with sync=1.
 */
#include "core/store_i.h"

#include <unistd.h>

/* Writes everything not yet on stable storage, and all layers, into a fresh handle. */
static int reput(struct store *s)
{
	leveldb_writebatch_t *all = leveldb_writebatch_create();
	char *message = NULL;

	if (s->syncing)
		leveldb_writebatch_append(all, s->syncing);
	leveldb_writebatch_append(all, s->unsynced);
	for (size_t i = 0; i < LAYER_COUNT; i++) {
		if (s->layers[i])
			store_txn_may_be_written(s->layers[i]);
	}
	const struct store_txn *const layers[] = {s->layers[0], s->layers[1], s->layers[2]};
	static_assert(LAYER_COUNT == 3, "all of them");
	(void)store_gather(all, layers, LAYER_COUNT);
	store_mark(s, all, s->number + 1); /* the journal has nothing of what was deferred */
	leveldb_write(s->db, s->sync_options, all, &message);
	leveldb_writebatch_destroy(all);
	if (message)
		return store_error_code(message);
	s->gap = s->marked = s->durable = s->promised = ++s->number;
	store_layers_written(s);
	if (s->journal)
		journal_restart(s->journal);
	leveldb_writebatch_clear(s->unsynced);
	s->unsynced_bytes = 0;
	s->synced = ++s->written;
	return 0;
}

int store_heal(struct store *s, bool frees)
{
	if (s->failure == -ENOSPC && !store_has_room(s)) {
		if (!frees)
			return -ENOSPC;
		s->low = true;
		(void)unlink(s->ballast);
	}
	/* No callback of a scan writes, so this ends. */
	while (s->iter_count)
		cond_wait(&s->iter_gone, &s->lock);
	store_drop_views(s);
	if (s->db)
		leveldb_close(s->db);
	int r = store_handle_open(s, NULL);
	if (r == 0)
		r = reput(s);
	s->failure = r;
	if (r == 0 && !s->low)
		store_ballast_make(s);
	cond_broadcast(&s->settled);
	return r;
}

int store_admit(struct store *s, bool frees)
{
	if (!s->low || frees)
		return 0;
	if (!store_has_room(s))
		return -ENOSPC;
	s->low = false;
	store_ballast_make(s);
	return 0;
}

/* What LevelDB's handle shows, which is not yet what failed. */
static void put_back(struct store *s, struct slice key)
{
	char *message = NULL;
	size_t len = 0;
	char *value = leveldb_get(s->db, s->read_options, (const char *)key.data, key.len, &len,
				  &message);

	if (value)
		store_put(s->layers[LAYER_DEFERRED], key, SLICE(value, len));
	else if (!message)
		store_delete(s->layers[LAYER_DEFERRED], key);
	leveldb_free(value);
	leveldb_free(message);
}

/*
 * A batch that failed may be in the log all the same, and is there when the log is read again. Its writer is told
 * that it failed and goes on from what was before: that is deferred, so that everybody reads it, and it is written
 * with the next batch, or as soon as the handle is open again. The handle does not show the batch yet.
 */
void store_undo(struct store *s, const struct store_txn *t)
{
	const struct pending *p = NULL;

	if (!s->layers[LAYER_DEFERRED])
		s->layers[LAYER_DEFERRED] = store_begin(s);
	for (size_t i = 0; i < LAYER_COUNT; i++) {
		if (s->layers[i])
			store_txn_may_be_written(s->layers[i]);
	}
	for (size_t i = 0; t && (p = store_txn_pending(t, i)); i++) {
		const struct pending *before = store_layers_find(s, p->key);

		if (!before)
			put_back(s, p->key);
		/* else: what a layer says is written over it. */
	}
}
