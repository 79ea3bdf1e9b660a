/*
 * Private to the store: its state, and what its files need of each other.
 *
 *   store.c         opening, committing, reading
 *   store_sync.c    the barriers: of the journal, of LevelDB
 *   store_disk.c    LevelDB's handle, the ballast, the flushing of log files
 *   store_heal.c    after an error: a new handle, and everything again
 *   store_layers.c  committed writes that LevelDB does not have yet
 *   store_tend.c    the journal, and the thread that brings its records to LevelDB
 *   store_view.c    iterators and views          store_txn.c, store_cache.c  see their headers
 */
#ifndef BLAZE_CORE_STORE_I_H
#define BLAZE_CORE_STORE_I_H

#include "core/journal.h"
#include "core/store.h"
#include "core/store_cache.h"
#include "core/store_txn.h"
#include "core/thread.h"

#include <leveldb/c.h>

/** Memory of a batch that is kept for the next. */
#define STORE_SPARE_BYTES_MAX (256u << 10)

/** More unsynced data than this is flushed. */
#define STORE_UNSYNCED_BYTES_MAX (64u << 20)

/** Committed writes on their way to LevelDB; who asks for a key sees the last of these that has it. */
enum store_layer {
	LAYER_OLD,   /**< in the journal; the tending thread writes them now, nobody changes them */
	LAYER_YOUNG, /**< in the journal */
	LAYER_DEFERRED, /**< nowhere: goes with the next batch, before it */
	LAYER_COUNT
};

struct store {
	char *dir; /**< holds store/, the journal and ballast */
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
	struct store_txn *layers[LAYER_COUNT];
	struct store_txn *spare_layer; /**< the next LAYER_YOUNG, empty, or NULL: its memory is warm */
	struct store_cache *known; /**< of what is in LevelDB: whoever asks looks into the layers first */
	struct store_view *views;
	size_t iter_count; /**< open iterators, and others who use the handle: it may not be closed */
	struct cond iter_gone;
	uint64_t written; /**< batches that LevelDB ever got */
	size_t in_memory; /**< bytes that LevelDB has got and may not have in a table; about */
	uint64_t synced;  /**< of those, on stable storage */

	struct journal *journal; /**< NULL: every commit goes to LevelDB itself */
	uint8_t epoch[JOURNAL_EPOCH_BYTES];
	bool broken;	 /**< flushing it failed: nobody counts on it any more, nothing is added */
	uint64_t number; /**< of the last commit, in the journal or in LevelDB */
	uint64_t marked; /**< LevelDB has everything up to this one, */
	uint64_t durable; /**< and on stable storage up to this one: the journal keeps all behind it, */
	uint64_t gap;	  /**< but not this one nor what begins the epoch, and not 0 */
	uint64_t promised; /**< up to this one, in LevelDB or in the journal, it is on stable storage */
	struct buf payload;  /**< of the record being made */
	struct cond tend;    /**< there is something to do for the tending thread */
	struct cond settled; /**< LAYER_OLD is empty again, or cannot be emptied */
	bool tend_stop;
};

/* ---- store_disk.c -------------------------------------------------------------------------------- */

/** Takes ownership of message. */
int store_error_code(char *message);
void store_options_init(struct store *s);
void store_options_fini(struct store *s);
/** Best effort: a disk without room for it just has none until there is room again. */
void store_ballast_make(const struct store *s);
bool store_has_room(const struct store *s);
/** Opens the handle, at the price of the ballast if need be. */
int store_handle_open(struct store *s, struct why *why);
/** Makes durable what was written before. Under sync_lock, not under lock. */
int store_flush_logs(struct store *s);

/* ---- store_heal.c, under the lock ---------------------------------------------------------------- */

/** Whether a batch may use the disk: the last of its room is for deletions. */
int store_admit(struct store *s, bool frees);
/** The failed handle is closed and opened anew, with all that may be lost. While the disk is full it stays open for reading. */
int store_heal(struct store *s, bool frees);
/** The batch of the layers and of t failed: all read what was before t. */
void store_undo(struct store *s, const struct store_txn *t);

/* ---- store_layers.c, under the lock -------------------------------------------------------------- */

/** The newest pending write of this key, or NULL. */
const struct pending *store_layers_find(const struct store *s, struct slice key);
/** Whether LevelDB lacks anything that is committed or deferred. */
bool store_layers_any(const struct store *s);
/** LevelDB has all of them. */
void store_layers_written(struct store *s);
/**
 * Adds to the batch what these layers (NULL = empty) say, oldest first: of each key the last word, and no deletion of
 * what was never written. Returns how many bytes that is.
 */
size_t store_gather(leveldb_writebatch_t *batch, const struct store_txn *const *layers,
		    size_t count);
/** What of t (or NULL) was written is known now, from the write of this index on: no layer says it any more. */
void store_learn(struct store *s, const struct store_txn *t, size_t from, size_t count);
/** What a failed batch was about is not known. */
void store_unlearn(struct store *s, const struct store_txn *t);

/* ---- store_view.c, under the lock ----------------------------------------------------------------- */

/** All views are stale from now on. */
void store_drop_views(struct store *s);

/* ---- store_tend.c, under the lock ---------------------------------------------------------------- */

/** Commits what is deferred and t (or NULL) through the journal. -EAGAIN: it has to go to LevelDB itself. */
int store_journal_commit(struct store *s, const struct store_txn *t);
/** In every batch: the journal's records up to this number are in LevelDB. */
void store_mark(const struct store *s, leveldb_writebatch_t *batch, uint64_t number);
/** LevelDB got a batch of so many bytes. */
void store_wrote(struct store *s, size_t bytes);
/** Waits until the tending thread writes nothing, or cannot. */
void store_wait_settled(struct store *s);
/** When the store is opened: LevelDB gets what it does not have of the journal. */
int store_journal_replay(struct store *s, struct why *why);

/* ---- store_sync.c, without the lock -------------------------------------------------------------- */

/** Everything is in LevelDB, and durable there. */
int store_flush(struct store *s);
/** What LevelDB has is durable there. With sync_lock held. */
int store_barrier(struct store *s);

/* ---- store.c, under the lock --------------------------------------------------------------------- */

/** One batch of all layers but LAYER_OLD, which is empty, and of t (or NULL). */
int store_try_write(struct store *s, const struct store_txn *t);
/** Brings everything to LevelDB. */
int store_settle_all(struct store *s);

#endif
