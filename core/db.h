/*
 * One database on this device: the façade of core. Opens the store, turns edits into changes, applies
 * the changes of others, tells what is missing where.
 *
 * Threads: every function may be called from any thread, unless it says otherwise. A transaction
 * holds the database's lock from db_begin() to db_commit() or db_abort(): CPU work and one LevelDB
 * batch, never I/O on a network, never a reply. Observers are called after the unlock.
 */
#ifndef BLAZE_CORE_DB_H
#define BLAZE_CORE_DB_H

#include "core/auth.h"
#include "core/change.h"
#include "core/doc.h"
#include "core/keys.h"
#include "core/store.h"

struct db;
struct txn;

/** Time from outside, so that a simulator can run the same code. NULL functions mean the system's. */
struct db_env {
	uint64_t (*now_ms)(void *ctx);
	void *ctx;
	uint64_t stratum_changes; /**< 0 = STRATUM_CHANGES; less makes a simulator's short histories fold */
};

/* ---- opening -------------------------------------------------------------------------------- */

/** The directory of a database: holds `format`, `store/` and what db.c says. Creates it; -EEXIST if there. */
int db_create(const char *dir, const char *name, const struct keys *keys, struct why *why);
/** The same, of a person's account: account_text(), or NULL. */
int db_create_for(const char *dir, const char *name, const struct keys *keys, const char *account,
		  struct why *why);
/** As db_create(), from what db_welcome() said on another device. */
int db_join(const char *dir, const struct keys *keys, struct slice welcome, struct why *why);
/** Which database a welcome is to. -EPROTO another version's, -EBADMSG. */
int db_welcome_id(struct slice welcome, struct id *ret);
/** What the database of a welcome is called there; the text is not checked. Caller frees. -EPROTO, -EBADMSG. */
int db_welcome_name(struct slice welcome, char **ret);
/** Whether it is db_welcome_relay()'s. As db_welcome_id(). */
int db_welcome_is_limited(struct slice welcome, bool *ret);
/**
 * -ENOENT no such database, -EBUSY another process has it open, -EBADMSG damaged or foreign,
 * -EPROTONOSUPPORT made by a newer version (nothing is touched then), -ENOSPC full disk.
 * keys must outlive the db. Call after the last fork.
 */
int db_open(const char *dir, const struct keys *keys, const struct db_env *env, struct db **ret,
	    struct why *why);
/** Seals what is not sealed yet, closes the store. No thread may use it any more. */
void db_close(struct db *db);

const char *db_name(const struct db *db);
/** The directory it lives in. */
const char *db_dir(const struct db *db);
struct id db_id(const struct db *db);
uint64_t db_actor(const struct db *db);
struct id db_root(const struct db *db);

/* ---- watching ------------------------------------------------------------------------------- */

/** Called after a commit, without the lock; must only enqueue or wake. */
struct db_observer {
	void (*changed)(void *ctx);
	void *ctx;
	struct db_observer *next; /**< the db's */
};

void db_observe(struct db *db, struct db_observer *o);
/** Returns when no call of o is running any more. */
void db_unobserve(struct db *db, struct db_observer *o);

struct watch;
/** Where commits say what they changed: core/watch.h. */
struct watch *db_watch(struct db *db);

/** Counts commits; with db_wait_change() the way to wait for anything. */
uint64_t db_generation(struct db *db);
/** Waits until the generation is not `seen` or monotonic deadline_ms passed. Returns the generation. */
uint64_t db_wait_change(struct db *db, uint64_t seen, uint64_t deadline_ms);

/* ---- transactions --------------------------------------------------------------------------- */

struct node_info {
	struct id id;
	enum node_kind kind;
	bool visible; /**< alive, every directory up to the root is too, and chunks of a version are all here */
	struct id parent;
	char *name;    /**< as shown: escaped, and told apart from siblings of the same name */
	uint64_t size; /**< of the rendered content, or of a symlink's target */
	bool exec;
	uint64_t modified_ms; /**< wall clock of the last change of content, from its author */
	uint64_t author;      /**< of the last change */
	struct opid rev;      /**< the last token: changes whenever the node does */
	uint32_t conflicts;   /**< values that lost and were not reviewed */
	bool raw;	      /**< content is shown as a whole value, not as JSON fields */
	bool chunked;	      /**< content is in chunks: core/db_chunks.h */
};

void node_info_fini(struct node_info *n);

/**
 * The layer above that mirrors nodes in the same batch (fs/): called under the lock, during the
 * transaction, for every node whose projection changed: shown name, place, visibility, content, exec.
 */
struct db_view {
	void (*node_changed)(void *ctx, struct txn *t, const struct node_info *n,
			     bool content_changed);
	/**
	 * Under the lock, at the end of a remote transaction in which node_changed was called: 0, or why it was
	 * not written; then t reads what is in the store.
	 */
	void (*committed)(void *ctx, struct txn *t, int result);
	void *ctx;
};

/** Attach before any other thread uses db. NULL detaches. */
void db_set_view(struct db *db, const struct db_view *view);
/** Whether changes were applied while no view was attached; the view then has to catch up. */
bool db_is_unseen(struct db *db);
/** The view has caught up, as of this transaction. */
void db_set_seen(struct txn *t);

/** Wall clock, as db_env has it. */
uint64_t db_now_ms(const struct db *db);

struct txn *db_begin(struct db *db);
/**
 * The lock alone, for what only looks at memory that transactions protect: a tenth of a transaction's cost,
 * which counts where a program opens a file.
 */
void db_enter(struct db *db);
void db_leave(struct db *db);
/** Whether this transaction has looked for the node, and the database does not have it yet. */
bool db_is_new(const struct txn *t, const struct id *node);
/** Store access that sees this transaction's own writes; for fs' own keys (prefix 'L', see store.h). */
struct store_txn *db_store(struct txn *t);
/**
 * Does everything of db_commit() but the writing: no node may be edited any more, the store still may.
 * A failure leaves the transaction to be aborted.
 */
int db_prepare(struct txn *t);
/**
 * Writes one batch: the changes made, and all else put into db_store(). -EIO, -ENOSPC: nothing was
 * done, the caller must undo what it keeps in memory. Always ends the transaction.
 */
int db_commit(struct txn *t);
void db_abort(struct txn *t);
/**
 * For who keeps something in memory that goes with the store: takes back all that the transaction did. It goes on
 * as a new one, and nobody has come in between.
 */
void db_restart(struct txn *t);
/** db_commit(), but a failure is a db_restart(); db_abort() is still to be called then. */
int db_try_commit(struct txn *t);
/** The same, but what is no change may wait for the next batch or db_sync(): see store_defer(). */
int db_try_commit_later(struct txn *t);
/** Wall clock of the transaction, ms. */
uint64_t txn_now_ms(const struct txn *t);
/** The program that makes the changes of this transaction: for the history. The first name given stays. */
void db_set_program(struct txn *t, const char *name);
/** That name, "" = none was given. */
const char *db_program(const struct txn *t);
/**
 * A transaction for a command: its edits are this device's changes, and the view is told of them as of those
 * that come from elsewhere.
 */
struct txn *db_begin_command(struct db *db, const char *program);
/** Whether a remote envelope is being applied (node_changed callbacks may ask). */
bool txn_is_remote(const struct txn *t);
/** No two transactions have the same. */
uint64_t txn_number(const struct txn *t);

/** -ENOENT when the node was never seen. Free with node_info_fini(). */
int db_node(struct txn *t, const struct id *node, struct node_info *ret);
/**
 * The id a node created at (parent, name) gets: the same on every device that creates it there. Counts from
 * generation `from` on past nodes of that id that live elsewhere by now; returns the generation taken.
 */
unsigned db_new_id(struct txn *t, const struct id *parent, const char *name, enum node_kind kind,
		   unsigned from, struct id *ret);
/**
 * Creates the node at (parent, name), or moves it there, or revives it. -EXDEV when the node exists
 * in another stream; -ELOOP when it would be inside itself.
 */
int db_put_node(struct txn *t, const struct id *node, enum node_kind kind, const struct id *parent,
		const char *name);
/**
 * The same for a save: a node that is in this directory already, and shown as `name` because its own name has
 * to be escaped or told apart from a sibling's, keeps its own.
 */
int db_keep_node(struct txn *t, const struct id *node, enum node_kind kind, const struct id *parent,
		 const char *name);
/** To another directory, under the name the node has of its own. */
int db_move_into(struct txn *t, const struct id *node, const struct id *parent);
/**
 * Deletes a directory; what lives in it, shown or not, goes to another one, or stays if that is in another stream. So
 * nothing is deleted that nobody has seen.
 */
int db_merge_dir(struct txn *t, const struct id *from, const struct id *to);
/** Whether a node below parent belongs to the stream that node belongs to. */
bool db_same_stream(struct txn *t, const struct id *node, const struct id *new_parent);
/**
 * A save. base: the content the saving program had read, NULL = the current one. 1 = changed,
 * 0 = nothing to do, -EFBIG above RECORD_BYTES_MAX. The node must exist (db_put_node).
 */
int db_put_content(struct txn *t, const struct id *node, const struct doc *base, struct slice bytes);
/**
 * The same; if base is not NULL, *ret_own is the caller's document of what the saving program takes the node to
 * be now: base and this save, without what others changed meanwhile. NULL when there was nothing to do.
 */
int db_put_content_from(struct txn *t, const struct id *node, const struct doc *base,
			struct slice bytes, struct doc **ret_own);
/** 1 changed, 0 not. */
int db_put_exec(struct txn *t, const struct id *node, bool exec);
/** Takes away what this device has seen of the node (and, for a directory, of all below it). */
int db_delete(struct txn *t, const struct id *node);
/** The node's current bytes: one Get. Cleared first. -ENOENT; -EFBIG: it is in chunks. */
int db_read(struct txn *t, const struct id *node, struct buf *ret);
/** The node's content as a document, to be a later save's base. */
int db_doc(struct txn *t, const struct id *node, struct doc **ret);
/** As db_read(), as it was before this transaction. */
int db_old_read(struct txn *t, const struct id *node, struct buf *ret);
/** As db_doc(), as it was before this transaction, but what doc_decode() takes. Both are cleared first. */
int db_old_state(struct txn *t, const struct id *node, struct buf *ret_state,
		 struct buf *ret_rendered);
/** Children of a directory in no order. fn gets borrowed infos; visible ones only. */
int db_children(struct txn *t, const struct id *dir,
		void (*fn)(void *ctx, const struct node_info *n), void *ctx);

/** The child shown under this name. -ENOENT. */
int db_child(struct txn *t, const struct id *dir, const char *name, struct id *ret);

/** The program that made the node's last change, as its device calls it. -ENOENT: not known, or not here any more. */
int db_saved_by(struct txn *t, const struct id *node, char out[CHANGE_PROGRAM_BYTES_MAX + 1]);
/** How many other devices acknowledged the node's last change. */
uint32_t db_synced_count(struct txn *t, const struct id *node);
/** fsync: everything committed before this call survives a power cut. Not within a transaction. */
int db_sync(struct db *db);
/** For a thread of the owner's, until db_tend_stop(): see store_tend(). */
void db_tend(struct db *db);
void db_tend_stop(struct db *db);

/* ---- members and peers ---------------------------------------------------------------------- */

/** Everything a new device needs to join: ids, name, keys, certificates. Secret. */
void db_welcome(struct db *db, struct buf *out);
/** Whether this device may admit one of this role: 0, or -EPERM. */
int db_may_admit(struct db *db, enum member_role role, struct why *why);
/** Admits a device: a change in the stream `auth`. 0 also if it is a member already; -EPERM this device may not. */
int db_admit(struct db *db, const struct slice cert, enum member_role role);
struct member_info {
	struct device device;
	enum member_role role;
	bool removed;
	bool own;	      /**< this device */
	uint64_t admitted_by; /**< 0 = it is the founder */
	uint64_t removed_by;
};

/** What this device may do, an enum member_role; 0 when it was removed. Any thread. */
int db_own_role(struct db *db);
/** What a member with the role `relay` may read (core/grant.h). */
struct grant_info {
	struct id collection; /**< the directory's node */
	char name[256];	      /**< what it was called when it was granted */
};

/** Of a current member; *ret is the caller's to free. */
size_t db_grants(struct db *db, uint64_t actor, struct grant_info **ret);
/** Admits the device as a relay, if it is not one, and grants it the collections. -EPERM, -EEXIST it has another role, -EBADMSG. */
int db_grant(struct db *db, struct slice cert, const struct grant_info *list, size_t count);
/** The welcome of who has the role `relay`: no key but that of `auth`. After db_grant(). For db_join(). */
void db_welcome_relay(struct db *db, struct buf *out);
/**
 * Which of its admissions a relay goes by: another one once it was removed and let in again, when what it was granted before
 * does not count any more. Zero: it has not come yet. Any thread.
 */
struct opid db_own_admission(struct db *db);
/** Whether this device joined with db_welcome_relay(). */
bool db_is_limited(const struct db *db);
/** Whether the peer gets only what db_may_have() says, for it has the role `relay`. */
bool db_is_bounded(struct db *db, uint64_t peer);
/** Whether the peer may be given what is in the stream, as it is. */
bool db_may_have(struct db *db, uint64_t peer, const struct id *stream);
/** Another number whenever db_may_have() may say something else. */
uint64_t db_grant_revision(struct db *db);
/** Who was ever named as a member and connects with this key; removed: is none now. -ENOENT. */
int db_member_by_key(struct db *db, const uint8_t dh_pk[KEYS_PK_BYTES], struct member_info *ret);
/** All that ever were, the most senior first. Returns the count; *ret is the caller's to free. */
size_t db_members(struct db *db, struct member_info **ret);
/**
 * Removes a device, and begins a new epoch: what it writes after what is here is accepted by nobody who hears of it, and what
 * others write it cannot read. -ENOENT no such member, -EINVAL this device itself, -EPERM this device may not.
 */
int db_remove_member(struct db *db, uint64_t actor, struct why *why);
/**
 * Gives a member another role. What it wrote while it could do more stays. -ENOENT no such member, -EPERM this device may not:
 * it can neither give more than it has, nor take from who has been a member for longer.
 */
int db_set_role(struct db *db, uint64_t actor, enum member_role role, struct why *why);
/** Whether this device may only read; changes made here are refused with -EROFS. Any thread, no lock. */
bool db_is_read_only(const struct db *db);
/** The account's public key. -ENOENT. */
int db_account(struct db *db, uint8_t ret_pk[KEYS_PK_BYTES]);
/** Something that a device did in `auth`. Strings are borrowed until the call returns. */
struct member_act {
	uint64_t seq; /**< number of the change in its feed of `auth` */
	enum auth_kind kind;
	const char *about; /**< name of the device, or of the setting; "" */
};
/** All of them, in order. fn is called under the lock. */
void db_member_acts(struct db *db, uint64_t actor,
		    void (*fn)(void *ctx, const struct member_act *act), void *ctx);
/** Whether others have removed this device. */
bool db_is_removed(struct db *db);
/** Settings of the whole database: the last one to write wins. *ret is the caller's; -ENOENT. */
int db_get_shared(struct db *db, const char *name, char **ret);
/** -EPERM this device may not, -E2BIG. */
int db_set_shared(struct db *db, const char *name, const char *value);
/** -ENOENT when no such device ever was a member. */
int db_member(struct db *db, uint64_t actor, struct device *ret);
/** The same within a transaction. */
int db_member_locked(struct db *db, uint64_t actor, struct device *ret);
/** All devices that are members now, but this one and relays. Returns the count; *ret is the caller's to free. */
size_t db_peers(struct db *db, struct device **ret);
/** Where a peer was last reached ("host:port"), "" unknown. */
void db_peer_endpoint(struct db *db, uint64_t actor, char out[256]);
int db_set_peer_endpoint(struct db *db, uint64_t actor, const char *endpoint);
/** Small settings of this device only, such as "listen". *ret is the caller's; -ENOENT. */
int db_get_setting(struct db *db, const char *key, char **ret);
int db_set_setting(struct db *db, const char *key, const char *value);

/* ---- truth about sync ----------------------------------------------------------------------- */

struct db_stats {
	uint64_t record_count;	  /**< visible records */
	uint64_t change_count;	  /**< changes made on this device, ever */
	uint64_t pending_count;	  /**< made here, not yet held by every other device */
	uint64_t pending_bytes;	  /**< their size, as far as known */
	uint64_t conflict_count;  /**< records with values to review */
	uint64_t held_back_count; /**< envelopes received that cannot be applied yet */
	size_t peer_count;
};

void db_get_stats(struct db *db, struct db_stats *ret);
/** Changes made here that this peer has not acknowledged. */
uint64_t db_peer_behind(struct db *db, uint64_t peer);
/** Whether every change of this device up to now is acknowledged by every peer (true without peers). */
bool db_is_acked(struct db *db);
/**
 * Visible records with conflicts or with a name ending in .json whose content is not merged by field. fn is called
 * without the lock.
 */
void db_problems(struct db *db, void (*fn)(void *ctx, const struct node_info *n, const char *path),
		 void *ctx);

/** A value that lost against the one shown. Everything is borrowed until fn returns. */
struct db_loser {
	bool whole;   /**< the whole content, byte for byte as it was saved; else a JSON field */
	bool chunked; /**< whole, and value is its manifest (core/manifest.h); all chunks are here */
	const char *path; /**< of the field, for people; "" when whole, and for the root itself */
	struct slice key; /**< the same, as doc_which has it */
	struct slice value; /**< a field's JSON text as it was written; objects and arrays on one line */
	struct opid id;
	const char *author_name; /**< of the device that wrote it */
	uint64_t time_ms;	 /**< wall clock of its author */
	struct slice shown; /**< a field's value that is shown instead, likewise; empty: nothing is */
	const char *shown_author;
	uint64_t shown_ms;
};

/**
 * Every value of a record that doc_losers() reports: whole values by id, fields in the order of the
 * document and then by id. fn is called without the lock. -ENOENT when there never was such a node.
 */
int db_losers(struct db *db, const struct id *node, void (*fn)(void *ctx, const struct db_loser *l),
	      void *ctx);

/* ---- paths (history: core/history.h) ------------------------------------------------------------ */

/** Resolves a '/'-separated path of shown names. -ENOENT. deleted: also finds what was deleted last. */
int db_resolve(struct db *db, const char *path, bool deleted, struct id *ret);
/** The path of shown names that leads to the node; of one that is gone, led to it last. "" is the root. */
char *db_path(struct db *db, const struct id *node);
/** Whether node is dir or, as far as is known, below it, or was when it was deleted. */
bool db_is_below(struct db *db, const struct id *node, const struct id *dir);

/* ---- for core/sync.c ------------------------------------------------------------------------ */

struct feed_pos {
	struct id stream;
	uint64_t actor;
	uint64_t seq;
};

/** What is applied here, sorted by (stream, actor). Returns the count; *ret is the caller's. */
size_t db_have(struct db *db, struct feed_pos **ret);
/** What is applied here and survives a power cut, sorted; as of the last db_sync(). Caller frees. */
size_t db_durable(struct db *db, struct feed_pos **ret);
/** Seals this device's loose changes into envelopes. Cheap when there are none. */
int db_seal(struct db *db);
/** What is passed on as one: an envelope, or a stratum (core/stratum.h). */
struct feed_item {
	struct feed_pos pos;	    /**< seq = its last */
	bool packed;		    /**< a stratum */
	uint8_t prev[DIGEST_BYTES]; /**< of an envelope: hash of the feed's one before */
};

/**
 * The first envelope or stratum at or after arrival number *cursor (advanced past it) whose last seq is above
 * what vv says. 1 = found; 0 = no more.
 */
int db_next_envelope(struct db *db, uint64_t *cursor, const struct feed_pos *vv, size_t vv_count,
		     struct feed_item *ret_item, struct buf *ret);
/** It is in the quarantine (core/quarantine.h). */
#define DB_KEPT 2
/**
 * Applies an envelope. 1 applied, 0 had it already, DB_KEPT, -EAGAIN something it depends on is missing,
 * -EBADMSG forged, damaged or malformed, -EACCES not a member, -EIO/-ENOSPC store.
 */
int db_apply_envelope(struct db *db, const struct id *stream, uint64_t actor, struct slice envelope,
		      uint64_t *ret_last_seq);
/**
 * Appends a stored envelope as envelope_thin() does, for a member. -EBADMSG: this device has no key to it; -EACCES: peer shall
 * have none.
 */
int db_thin_envelope(struct db *db, uint64_t peer, const struct feed_item *item,
		     struct slice envelope, struct buf *out);
/** As db_apply_envelope(), of a thin one. */
int db_apply_thin(struct db *db, const struct id *stream, uint64_t actor, struct slice thin,
		  uint64_t *ret_last_seq);
/** What a device told it holds. 1 if news. */
int db_set_acked(struct db *db, uint64_t device, const struct feed_pos *vv, size_t count);
/** What is known of what a device holds. Returns the count; *ret is the caller's. */
size_t db_get_acked(struct db *db, uint64_t device, struct feed_pos **ret);

#endif
