/*
 * What is on stable storage. Two barriers:
 *
 *   - of the journal, as long as it has every commit that LevelDB could lose: one file, whose blocks are there already;
 *   - of LevelDB, whose logs are flushed, after it was given everything. It is needed after a commit that went past
 *     the journal, before a file of the journal is written again, and at the end.
 *
 * After a power cut LevelDB holds some beginning of the commits behind `durable`, and the journal, whose records from there
 * on are all there, brings the rest (journal_read()).
 */
#include "core/store_i.h"

int store_barrier(struct store *s)
{
	mutex_lock(&s->lock);
	uint64_t upto = s->written;
	uint64_t marked = s->marked;
	size_t bytes = 0;
	int r = s->failure ? store_heal(s, false) : 0;
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

	r = store_flush_logs(s);
	mutex_lock(&s->lock);
	if (r < 0 && !s->failure)
		s->failure = r;
	if (s->failure)
		r = store_heal(s, false);
	if (r == 0 && s->synced < upto)
		s->synced = upto;
	if (r == 0 && s->durable < marked)
		s->durable = marked;
	if (r == 0 && s->promised < s->durable)
		s->promised = s->durable;
	if (r < 0) { /* keep it for the next attempt, in order */
		leveldb_writebatch_append(s->syncing, s->unsynced);
		leveldb_writebatch_destroy(s->unsynced);
		s->unsynced = STEAL(s->syncing);
	} else if (!s->spare && bytes <= STORE_SPARE_BYTES_MAX) {
		leveldb_writebatch_clear(s->syncing);
		s->spare = STEAL(s->syncing);
	} else {
		leveldb_writebatch_destroy(STEAL(s->syncing));
	}
	mutex_unlock(&s->lock);
	return r;
}

int store_flush(struct store *s)
{
	mutex_lock(&s->lock);
	int written = store_layers_any(s) ? store_settle_all(s) : 0;
	uint64_t mine = s->written;
	mutex_unlock(&s->lock);
	if (written < 0)
		return written;

	mutex_lock(&s->sync_lock);
	mutex_lock(&s->lock);
	bool done = s->synced >= mine && !s->failure;
	mutex_unlock(&s->lock);
	int r = done ? 0 : store_barrier(s);
	mutex_unlock(&s->sync_lock);
	return r;
}

/* Whether the journal has all that LevelDB could lose. Under the lock. */
static bool journal_will_do(const struct store *s)
{
	return s->journal && !s->broken && !s->failure && s->gap <= s->durable;
}

/* With sync_lock held. -EAGAIN: it is not enough, or cannot be trusted. */
static int journal_barrier(struct store *s)
{
	mutex_lock(&s->lock);
	const struct journal *j = journal_will_do(s) ? s->journal : NULL;
	uint64_t upto = s->number;
	unsigned files = j ? journal_take_unsynced(s->journal) : 0;
	mutex_unlock(&s->lock);
	if (!j)
		return -EAGAIN;
	int r = journal_sync(j, files);
	mutex_lock(&s->lock);
	if (r < 0)
		s->broken = true;
	else if (s->promised < upto)
		s->promised = upto;
	mutex_unlock(&s->lock);
	return r < 0 ? -EAGAIN : 0;
}

int store_sync(struct store *s)
{
	int r = store_write_deferred(s);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	uint64_t mine = s->number;
	bool may_be_quick = journal_will_do(s);
	mutex_unlock(&s->lock);
	if (may_be_quick) {
		mutex_lock(&s->sync_lock);
		mutex_lock(&s->lock);
		bool done = s->promised >= mine && !s->failure;
		mutex_unlock(&s->lock);
		r = done ? 0 : journal_barrier(s);
		mutex_unlock(&s->sync_lock);
	}
	return may_be_quick && r != -EAGAIN ? r : store_flush(s);
}
