/*
 * The journal before LevelDB. LevelDB spends on a batch what the rest of a save costs together, so a save only writes
 * a record of the journal, which kill -9 cannot take away, and stays readable in a layer (store_layers.c); a thread
 * brings layers to LevelDB, one batch for many saves. No barrier (core/store_sync.c) waits for that thread.
 *
 * Every batch says up to which number LevelDB has everything (MARK). After a crash the row of records without a gap
 * that holds that number or the next is applied. So a power cut that takes the end of LevelDB's log, or a part of the
 * journal, leaves what was there at some moment, never a mixture: batches and records are in one order.
 */
#include "core/store_i.h"

#include <string.h>
#include <unistd.h>

/** The key of MARK: the epoch, be64 number. No such key: the journal is of no interest. */
#define MARK "J"
/** Larger commits go to LevelDB themselves: writing them twice would cost more than the wait. */
#define PAYLOAD_BYTES_MAX (256u << 10)
/** Memory of a record that is kept for the next. */
#define PAYLOAD_BYTES_KEPT (64u << 10)
/** The tending thread begins when so much waits, or after so many milliseconds. */
#define TEND_BYTES (256u << 10)
#define TEND_MS 200
#define LEARN_AT_ONCE 64
/** Memory of a layer that is kept for the next. */
#define SPARE_LAYER_BYTES_MAX (512u << 10)
/** After a failure it tries again so often. */
#define RETRY_MS 1000
/** When nothing was written for so long, LevelDB's memory becomes a table, if there is so much in it. */
#define QUIET_MS 500
#define QUIET_BYTES_MIN (1u << 20)

void store_mark(const struct store *s, leveldb_writebatch_t *batch, uint64_t number)
{
	uint8_t value[JOURNAL_EPOCH_BYTES + 8];

	if (!s->journal)
		return;
	memcpy(value, s->epoch, JOURNAL_EPOCH_BYTES);
	for (unsigned i = 0; i < 8; i++)
		value[JOURNAL_EPOCH_BYTES + i] = (uint8_t)(number >> (56 - 8 * i));
	leveldb_writebatch_put(batch, MARK, 1, (const char *)value, sizeof(value));
}

/* ---- committing ---------------------------------------------------------------------------------- */

/* payload = (varint 2 * key length + 1 if deleted, key, bytes value unless deleted)... */
static void encode(struct buf *b, const struct store_txn *t)
{
	const struct pending *p = NULL;

	for (size_t i = 0; t && (p = store_txn_pending(t, i)); i++) {
		buf_varint(b, p->key.len << 1 | p->deleted);
		buf_slice_append(b, p->key);
		if (!p->deleted)
			buf_bytes(b, p->value);
	}
}

static size_t bytes_of(const struct store_txn *t)
{
	return t ? store_txn_bytes(t) : 0;
}

int store_journal_commit(struct store *s, const struct store_txn *t)
{
	struct store_txn *deferred = s->layers[LAYER_DEFERRED];

	if (!s->journal || s->broken || bytes_of(deferred) + bytes_of(t) > PAYLOAD_BYTES_MAX)
		return -EAGAIN;
	buf_clear(&s->payload);
	encode(&s->payload, deferred);
	encode(&s->payload, t);
	/* What fails here, LevelDB may still take: it says what is wrong with the disk. */
	if (journal_append(s->journal, s->number + 1, buf_slice(&s->payload)) < 0)
		return -EAGAIN;
	s->number++;
	size_t before = bytes_of(s->layers[LAYER_YOUNG]);
	if (!s->layers[LAYER_YOUNG])
		s->layers[LAYER_YOUNG] = s->spare_layer ? STEAL(s->spare_layer) : store_begin(s);
	if (deferred)
		store_txn_merge(s->layers[LAYER_YOUNG], deferred);
	if (t)
		store_txn_merge(s->layers[LAYER_YOUNG], t);
	store_abort(STEAL(s->layers[LAYER_DEFERRED]));
	size_t now = bytes_of(s->layers[LAYER_YOUNG]);
	if (before == 0 || (before < TEND_BYTES && now >= TEND_BYTES))
		cond_broadcast(&s->tend);
	return 0;
}

void store_wait_settled(struct store *s)
{
	while (s->layers[LAYER_OLD] && !s->failure)
		cond_wait(&s->settled, &s->lock);
}

/* ---- after a crash ------------------------------------------------------------------------------- */

/* The writes of one record, in order, behind those before it. */
static int add_record(void *ctx, uint64_t number, struct slice payload)
{
	leveldb_writebatch_t *batch = ctx;
	struct reader r = reader_init(payload);

	(void)number;
	while (reader_left(&r) && !r.bad) {
		uint64_t head = reader_varint_max(&r, (uint64_t)JOURNAL_ROOM << 1);
		struct slice key = reader_take(&r, head >> 1);
		struct slice value = head & 1 ? SLICE("", 0) : reader_bytes(&r, JOURNAL_ROOM);

		if (r.bad)
			break;
		if (head & 1)
			leveldb_writebatch_delete(batch, (const char *)key.data, key.len);
		else
			leveldb_writebatch_put(batch, (const char *)key.data, key.len,
					       (const char *)value.data, value.len);
	}
	return reader_finish(&r);
}

static int replay_after(struct store *s, struct slice mark, struct why *why)
{
	leveldb_writebatch_t *batch = leveldb_writebatch_create();
	struct reader reader = reader_init(mark);
	const uint8_t *epoch = reader_take(&reader, JOURNAL_EPOCH_BYTES).data;
	uint64_t number = reader_be64(&reader);
	char *message = NULL;
	int r = reader_finish(&reader);

	if (r == 0)
		r = journal_read(s->dir, epoch, number, add_record, batch);
	leveldb_writebatch_delete(batch, MARK, 1);
	if (r == 0)
		leveldb_write(s->db, s->sync_options, batch, &message);
	leveldb_writebatch_destroy(batch);
	if (message) {
		(void)why_set(why, 0, "the journal in '%s' cannot be applied: %s", s->dir, message);
		return store_error_code(message);
	}
	if (r < 0)
		(void)why_set(why, 0, "the journal in '%s' cannot be read: %s", s->dir,
			      strerror(-r));
	return r;
}

int store_journal_replay(struct store *s, struct why *why)
{
	AUTO(buf_fini) struct buf mark = {0};
	int r = store_read(s, SLICE(MARK, 1), &mark);

	if (r == 0)
		r = replay_after(s, buf_slice(&mark), why);
	else if (r == -EIO)
		(void)why_set(why, 0, "the store in '%s' is damaged", s->dir);
	store_cache_drop(s->known, SLICE(MARK, 1));
	return r == -ENOENT ? 0 : r;
}

/* ---- the tending thread -------------------------------------------------------------------------- */

/* From here on, commits go through the journal; on a disk in trouble they do not. */
static void begin(struct store *s)
{
	struct journal *j = NULL;

	store_wait_settled(s);
	if (s->failure || !s->db || s->low || !store_has_room(s))
		return;
	random_bytes(s->epoch, sizeof(s->epoch));
	if (journal_open(s->dir, s->epoch, &j) < 0)
		return;
	s->journal = j;
	s->broken = false;
	if (store_try_write(s, NULL) < 0) { /* says where the epoch begins */
		s->journal = NULL;
		journal_close(j);
	}
}

/*
 * LevelDB has everything on stable storage, and needs no journal; or the journal stays, for who opens the store next.
 * With sync_lock and the lock, which it gives away for a while.
 */
static void end(struct store *s)
{
	if (!s->journal || store_settle_all(s) < 0)
		return;
	mutex_unlock(&s->lock);
	int r = store_barrier(s);
	mutex_lock(&s->lock);
	if (r < 0 || s->failure || s->durable < s->number || store_layers_any(s))
		return;
	char *message = NULL;
	leveldb_delete(s->db, s->write_options, MARK, 1, &message);
	if (!message) {
		journal_close(STEAL(s->journal));
		s->written++;
		leveldb_writebatch_delete(s->unsynced, MARK, 1);
		return;
	}
	s->failure = store_error_code(message);
}

/*
 * What was written last would stay in LevelDB's memory until more comes: some megabytes, and a log that has to be read
 * if the process is killed. The range has nothing in it; LevelDB empties its memory before it looks.
 */
static void empty_memory(struct store *s)
{
	static const char end[] = "\xff\xff";

	s->in_memory = 0;
	if (!s->db || s->low || !store_has_room(s))
		return;
	s->iter_count++;
	mutex_unlock(&s->lock);
	leveldb_compact_range(s->db, end, sizeof(end), end, sizeof(end));
	mutex_lock(&s->lock);
	s->iter_count--;
	cond_broadcast(&s->iter_gone);
	mutex_unlock(&s->lock);
	mutex_lock(&s->sync_lock);
	(void)store_barrier(s); /* for the copies of what is not synced */
	mutex_unlock(&s->sync_lock);
	mutex_lock(&s->lock);
}

void store_wrote(struct store *s, size_t bytes)
{
	bool few = s->in_memory < QUIET_BYTES_MIN;

	s->written++;
	s->in_memory += bytes;
	if (few && s->in_memory >= QUIET_BYTES_MIN)
		cond_broadcast(&s->tend);
}

static bool is_idle(const struct store *s)
{
	return !s->tend_stop && !s->layers[LAYER_YOUNG] && !s->failure;
}

/* Until enough waits, or for long enough. False: stop. */
static bool wait_for_work(struct store *s)
{
	while (is_idle(s)) {
		uint64_t written = s->written;

		if (s->in_memory < QUIET_BYTES_MIN)
			cond_wait(&s->tend, &s->lock);
		else if (!cond_wait_until(&s->tend, &s->lock, monotonic_ms() + QUIET_MS) &&
			 is_idle(s) && s->written == written)
			empty_memory(s);
	}
	uint64_t deadline = monotonic_ms() + (s->failure ? RETRY_MS : TEND_MS);
	while (!s->tend_stop && bytes_of(s->layers[LAYER_YOUNG]) < TEND_BYTES &&
	       cond_wait_until(&s->tend, &s->lock, deadline))
		;
	return !s->tend_stop;
}

/* LAYER_OLD and its mark, without the lock: the caller sees to it that nobody closes the handle meanwhile. */
static char *write_old(struct store *s, leveldb_writebatch_t *batch, uint64_t number)
{
	const struct store_txn *old = s->layers[LAYER_OLD];
	char *message = NULL;

	mutex_unlock(&s->lock);
	(void)store_gather(batch, &old, 1);
	store_mark(s, batch, number);
	leveldb_write(s->db, s->write_options, batch, &message);
	mutex_lock(&s->lock);
	return message;
}

/* What was in the layer is still known when it is gone. Others get the lock in between: there are thousands. */
static void drop_old(struct store *s)
{
	struct store_txn *old = s->layers[LAYER_OLD];

	for (size_t from = 0; store_txn_pending(old, from); from += LEARN_AT_ONCE) {
		store_learn(s, old, from, LEARN_AT_ONCE);
		mutex_unlock(&s->lock);
		mutex_lock(&s->lock);
	}
	s->layers[LAYER_OLD] = NULL;
	if (s->spare_layer || store_txn_bytes(old) > SPARE_LAYER_BYTES_MAX) {
		store_abort(old);
		return;
	}
	store_txn_clear(old);
	s->spare_layer = old;
}

/* LAYER_YOUNG becomes LAYER_OLD, and goes to LevelDB. Nobody writes to LevelDB or heals it in the meantime. */
static void settle_young(struct store *s)
{
	leveldb_writebatch_t *batch = leveldb_writebatch_create();

	s->layers[LAYER_OLD] = STEAL(s->layers[LAYER_YOUNG]);
	size_t bytes = store_txn_bytes(s->layers[LAYER_OLD]);
	uint64_t number = s->number;
	s->iter_count++;
	char *message = write_old(s, batch, number);
	if (message) {
		s->failure = store_error_code(message);
	} else {
		leveldb_writebatch_append(s->unsynced, batch);
		s->unsynced_bytes += bytes;
		store_wrote(s, bytes);
		s->marked = number;
		drop_old(s);
	}
	leveldb_writebatch_destroy(batch);
	if (s->payload.cap > PAYLOAD_BYTES_KEPT)
		buf_fini(&s->payload);
	s->iter_count--;
	cond_broadcast(&s->iter_gone);
	if (message)
		(void)store_heal(s, false);
	cond_broadcast(&s->settled);
}

/* The journal's other file is written again only when LevelDB cannot lose what it holds. Gives the lock away for a while. */
static void turn(struct store *s)
{
	if (!s->journal || s->failure || !journal_is_filling(s->journal))
		return;
	if (journal_other_last(s->journal) > s->durable) {
		mutex_unlock(&s->lock);
		mutex_lock(&s->sync_lock);
		(void)store_barrier(s);
		mutex_unlock(&s->sync_lock);
		mutex_lock(&s->lock);
	}
	if (journal_other_last(s->journal) <= s->durable)
		journal_turn(s->journal);
}

static void tend_once(struct store *s)
{
	if (s->failure) {
		if (store_layers_any(s))
			(void)store_heal(s, false);
		return;
	}
	turn(s);
	store_wait_settled(s);
	if (!s->failure && s->layers[LAYER_YOUNG] && s->journal)
		settle_young(s);
}

void store_tend(struct store *s)
{
	mutex_lock(&s->lock);
	begin(s);
	while (wait_for_work(s)) {
		tend_once(s);
		if (s->unsynced_bytes > STORE_UNSYNCED_BYTES_MAX) {
			mutex_unlock(&s->lock);
			(void)store_flush(s);
			mutex_lock(&s->lock);
		}
	}
	mutex_unlock(&s->lock);
	mutex_lock(&s->sync_lock);
	mutex_lock(&s->lock);
	end(s);
	s->tend_stop = false;
	mutex_unlock(&s->lock);
	mutex_unlock(&s->sync_lock);
}

void store_tend_stop(struct store *s)
{
	mutex_lock(&s->lock);
	s->tend_stop = true;
	cond_broadcast(&s->tend);
	mutex_unlock(&s->lock);
}
