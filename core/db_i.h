/*
 * Private to core/db*.c, tree.c, feed.c, member.c, txn.c: the database and its transactions.
 * Everything in struct db below `lock` is protected by it, unless it says otherwise.
 */
#ifndef BLAZE_CORE_DB_I_H
#define BLAZE_CORE_DB_I_H

#include "core/db.h"
#include "core/envelope.h"
#include "core/epoch.h"
#include "core/flags.h"
#include "core/grant.h"
#include "core/member.h"
#include "core/node.h"
#include "core/quarantine.h"
#include "core/thread.h"
#include "core/wants.h"
#include "core/watch.h"

/** (stream, device): what is applied of it, and how far it is sealed. */
struct feed {
	struct id stream;
	uint64_t actor;
	uint64_t seq;	   /**< last applied change */
	uint64_t sealed;   /**< last change inside an envelope; = seq but for our own */
	uint64_t declared; /**< seq our own last change of this stream named as dependency */
	uint64_t lamport;  /**< highest of the feed */
	uint64_t folded;   /**< the changes up to here are in strata; may be ahead of seq */
	uint8_t head[DIGEST_BYTES]; /**< hash of the last envelope */
	/** The changes up to `snap` came as a snapshot; of those, the log is here up to `filled`. 0 = all is here. */
	uint64_t snap;
	uint64_t filled;
	uint8_t snap_head[DIGEST_BYTES]; /**< hash of the envelope that ends with `snap`, as its sender said */
	uint8_t fill_head[DIGEST_BYTES]; /**< and of the one that ends with `filled` */
	uint64_t swept; /**< no envelopes are left that start up to here; in memory only */
	uint64_t retry_at; /**< the cut at which there may be a whole stratum to fold; in memory only */
};

struct acked {
	uint64_t device;
	uint64_t heard_ms;    /**< wall clock when it last showed that it lives; 0 unknown */
	struct feed_pos *pos; /**< sorted */
	size_t count;
};

/** The chunks read last. */
struct chunk_cache {
	struct mutex lock; /**< a leaf */
	struct cached_chunk {
		struct chunk_id id;
		struct buf bytes;
	} items[4];
	size_t next;
};

struct db {
	char *dir;
	char *name;
	struct id id;
	struct id root;
	struct id root_stream;
	struct id auth_stream;
	uint8_t root_key[DIGEST_BYTES];	 /**< zeros if limited */
	bool limited;			 /**< joined as a relay; does not change */
	uint8_t auth_key[DIGEST_BYTES];	 /**< of the stream `auth`, if limited */
	_Atomic(struct grants *) grants; /**< what it can open, if limited: core/grant.c */
	uint8_t **grant_keys;
	size_t grant_key_count;
	_Atomic(const struct envelope_ring *) ring; /**< all epochs' keys; replaced, never changed */
	_Atomic(const uint8_t *) seal_key;	    /**< the current epoch's */
	const struct keys *keys;
	uint64_t actor;
	struct db_env env;
	struct store *store;
	int lock_fd;
	struct chunk_keys chunk_keys;
	struct packs *packs;
	struct manifest_store parts; /**< of manifests: in packs */
	struct chunk_cache chunk_cache;
	struct id pack_next; /**< where packing of logs goes on (txn_side.c); protected by lock */
	uint64_t pack_again_ms; /**< when it begins anew */
	struct change recent; /**< decoded, see changes_recent(); its slices are of recent_bytes */
	struct buf recent_bytes;
	struct feed_pos recent_pos; /**< seq 0: there is none */
	struct mutex collect_lock;  /**< one collection at a time; taken before flush_lock */
	unsigned collects;	    /**< under way or waiting for that; atomic */
	uint64_t contact_revision;  /**< atomic: core/contact.c */
	size_t imports; /**< atomic: those under way, which count on chunks that no change names yet */
	struct mutex flush_lock; /**< one flush of chunks at a time; taken before `lock` */

	struct mutex observers_lock; /**< protects observers; held while they are called */
	struct db_observer *observers;
	struct watch *watch;

	struct mutex lock;
	struct cond changed;
	uint64_t generation;
	uint64_t txn_count;
	struct db_view view;
	struct id collection;	     /**< whose stream was last asked for */
	struct id collection_stream; /**< and which it is */
	uint64_t salt; /**< of hash tables: nobody can choose which nodes share a slot */
	uint64_t lamport;
	uint64_t hlc;
	uint64_t arrival;      /**< number the next envelope gets */
	uint64_t record_count; /**< visible records */
	bool holds;	       /**< hold_enable() was called */
	bool second_due;       /**< the same of second_step() */
	bool follow_due;       /**< there may be something for follow_step() to do */
	uint64_t joined_ms;    /**< before which deletions are not held */
	struct flag *flags;    /**< core/flags.h */
	_Atomic size_t flag_count;
	uint64_t held_back; /**< envelopes refused since start because something was missing */
	struct feed *feeds; /**< sorted by (stream, actor) */
	size_t feed_count;
	struct feed_pos *durable; /**< applied and on stable storage; sorted */
	size_t durable_count;
	struct buf founder; /**< certificate */
	struct buf own_cert;
	struct auth_entry *auth; /**< operations of `auth`, sorted */
	size_t auth_count;
	struct member *members; /**< what they make of the devices, by seniority; removed ones too */
	size_t member_count;
	struct kept *kept; /**< core/quarantine.c; in no order */
	size_t kept_count;
	uint64_t kept_revision;
	bool kept_due;		/**< quarantine_retry() may have something to do */
	bool kept_waiting;	/**< something that was adopted waits for what it builds on */
	bool auth_due;		/**< member_tend() may have something to do */
	_Atomic bool read_only; /**< this device may not write */
	struct envelope_ring **rings;
	size_t ring_count;
	uint8_t **epoch_keys; /**< all but the first */
	size_t epoch_key_count;
	struct moves *moves; /**< of directories of one stream, while late ones come in: tree_dirs.c */
	struct id moves_stream;
	uint64_t moves_used; /**< by this transaction last */
	struct acked *acked;
	size_t acked_count;
	struct wants wants;
	uint64_t arrivals;			 /**< chunks that came from peers */
	bool chunks_due;			 /**< atomic: somebody should flush them */
	struct strata_cache *strata_cache;	 /**< or NULL */
	struct snapshot_source *snapshot_source; /**< that is being given to others, or NULL */
	bool joined;				 /**< the database was there before this device */
	uint64_t gaps_filled;	    /**< feeds whose log became whole since the start */
	const void *snapshot_taker; /**< the connection through which one is coming in, or NULL */
	bool installing; /**< a snapshot that is all here: nothing is applied before it is done */
	bool doubtful;	 /**< the history received is not that of the snapshot */
};

/** A node as this transaction sees it. */
struct txn_node {
	struct node n;
	bool known;   /**< was in the store, or was created here */
	bool stored;  /**< was in the store */
	bool dirty;   /**< to be written back */
	bool touched; /**< this transaction's own change has touched it */
	bool carried; /**< its next TOUCH brings what others made of its origin: core/follow.c */
	bool content_changed;
	bool projected;	  /**< its projection changed: the view has to hear of it */
	bool told;	  /**< the view has */
	bool doc_changed; /**< doc or shown */
	bool is_rendered; /**< rendered is what is shown */
	struct stamp news; /**< of the last operation that touched it in this transaction; lamport 0 = none */
	struct buf rendered;
	struct doc *doc;      /**< NULL until needed */
	struct doc_side side; /**< of both documents: keys 'x' in the store */
	struct doc *shown; /**< once doc is there: what is shown in its place while chunks are missing, or NULL */
	struct txn_node *next_in_slot;
	struct txn_node *next; /**< in order of first use */
};

/** A change being made on this device, one per stream touched. */
struct draft {
	struct id stream;
	struct ops ops;
};

/** (parent, name) whose shown names have to be worked out again. */
struct group {
	struct id parent;
	struct slice name; /**< in txn.arena */
};

#define TXN_SLOTS 64

/** A want that begins or ends. */
struct txn_want {
	struct want want;
	bool ended;
};

struct txn {
	struct db *db;
	struct store_txn *store;
	struct arena arena;
	uint64_t number; /**< of all since the start */
	uint64_t now_ms;
	uint64_t hlc;
	uint64_t lamport;
	uint64_t arrival;
	uint64_t record_count;
	bool remote;
	bool moves_changed;   /**< db->moves was, and has to go unless this is committed */
	bool moves_unsettled; /**< directories are not yet where they should be */
	uint64_t seq;	      /**< of the change being applied, if remote */
	bool view_called;
	char program[CHANGE_PROGRAM_BYTES_MAX + 1]; /**< that makes the changes made here */
	bool prepared;
	struct txn_node **slots; /**< a power of two, or none yet */
	size_t slot_count;
	size_t node_count;
	struct txn_node *first;
	struct txn_node **last;
	struct draft *drafts;
	size_t draft_count;
	struct group *groups;
	size_t group_count;
	size_t group_cap;
	struct feed *feeds; /**< copies of feeds that change; become the db's at commit */
	size_t feed_count;
	struct auth_entry *auth; /**< operations of `auth` */
	size_t auth_count;
	struct kept *kept; /**< copies of what changes of the quarantine; become the db's at commit */
	size_t kept_count;
	struct txn_want *wants;
	size_t want_count;
	struct stamp news;	    /**< of the last operation that touched anything */
	struct watch_batch watched; /**< told when it is committed */
};

/* txn.c */
/** The node, loaded or blank. NULL only when the store failed. */
struct txn_node *txn_node(struct txn *t, const struct id *id);
/** Its document, loaded on first use. */
int txn_doc(struct txn *t, struct txn_node *tn, struct doc **ret);
/** The same, of what is shown. */
int txn_shown(struct txn *t, struct txn_node *tn, const struct doc **ret);
/** What a changed node shows, as bytes: rendered once. Valid until its content changes again. */
struct slice txn_rendered(struct txn_node *tn);
/** An operation of this device's own change, appended to the draft of the stream. */
struct op *txn_op(struct txn *t, const struct id *stream, enum op_kind kind, const struct id *node);
struct draft *txn_draft(struct txn *t, const struct id *stream);
/** This transaction's copy of a feed, created if new. */
struct feed *txn_feed(struct txn *t, const struct id *stream, uint64_t actor);
void txn_group(struct txn *t, const struct id *parent, struct slice name);
/** Records in the history that the change touched its nodes, and which directories they came into. */
void txn_history(struct txn *t, const struct change *c, const struct id *stream, uint64_t seq);

/** db_commit() that wakes nobody (sealing is no news), and one that does in any case. */
int db_commit_quiet(struct txn *t);
int db_commit_changed(struct txn *t);

/* txn_watch.c */
/** Before the node is written: what of it is shown otherwise from now on. */
void txn_watch_node(struct txn *t, const struct txn_node *tn);
/** A bulk deletion is held: `count` of all records of a collection. */
void txn_watch_held(struct txn *t, const struct id *dir, struct stamp stamp, uint64_t count,
		    uint64_t all);
/** EVALUATE has come to this; what it was before is still in db. Under the lock. */
void txn_watch_members(struct db *db, const struct evaluation *e);
void txn_watch_committed(struct txn *t);

/* txn_side.c */
/** Lets the node's documents keep what they keep beside their state in the store. */
void txn_attach_side(struct txn *t, struct txn_node *tn);
/**
 * Packs what some documents keep beside their state, if nobody changed them for that long: 1 = there are more, 0 = all were
 * looked at, and it begins anew. at_once: however little it is.
 */
int txn_pack_sides(struct db *db, uint64_t quiet_ms, bool at_once);

/* txn_wants.c */
/** Applies an operation to the node's loaded document. */
/** Takes doc as the node's whole state, from a snapshot; what it names may be missing here. */
void txn_import_doc(struct txn *t, struct txn_node *tn, struct doc *doc);
void txn_apply_doc(struct txn *t, struct txn_node *tn, const struct op *op, struct stamp stamp);
/** For txn_doc(): what a waiting node shows. */
int txn_load_shown(struct txn *t, struct txn_node *tn, struct slice rendered);
/** The state that is shown while chunks are missing, as of before the transaction; -ENOENT. */
int txn_old_shown(const struct txn *t, const struct id *node, struct buf *ret);
/** Stages it. */
void txn_write_shown(struct txn *t, struct txn_node *tn, struct slice rendered);
void txn_write_wants(struct txn *t);
/** Makes the transaction's wants the database's. */
void txn_publish_wants(struct txn *t);
/** All chunks of a want are here. */
int txn_end_want(struct txn *t, const struct want *want);
int txn_load_wants(struct db *db);

/* db_edit.c */
/** Every change to a node renews its token, once. */
int txn_touch(struct txn *t, const struct id *stream, struct txn_node *tn);

/* db_query.c */
/** Deeper than anyone builds on purpose. */
#define DB_DEPTH_MAX 4096
/** Shown names from the root to the node; cleared first. */
void db_path_of(struct txn *t, const struct txn_node *tn, struct buf *out);

/* tree.c */
/** Where a MOVE puts a node. */
struct tree_place {
	struct opid move;
	struct id parent;
	struct slice name;
};
/** Puts the node there, whatever else is known of where it should be. */
int tree_place(struct txn *t, struct txn_node *tn, const struct tree_place *to);
/** The node is nowhere, until tree_place(). */
int tree_unplace(struct txn *t, struct txn_node *tn);
/** Whether a visible node has anything to show. */
bool tree_is_shown(const struct txn_node *tn);
/** The effect of one operation on nodes and documents. 0 also for operations without effect. */
int tree_apply(struct txn *t, const struct id *stream, const struct op *op, struct stamp stamp);
/** Works out shown names and visibility of everything that changed, and tells the view. */
int tree_project(struct txn *t);
/** Nodes that a name may have had one after the other, all still alive elsewhere. */
#define TREE_GENERATIONS 1024
/** The id of the generation-th node created as `kind` at (parent, name). */
struct id tree_new_id(const struct id *parent, struct slice name, enum node_kind kind,
		      unsigned generation);
/** The stream that children of parent belong to. */
struct id tree_stream_below(struct txn *t, const struct txn_node *parent);
/** Brings the index in line with whether the node is alive, and its parents after it. */
int tree_reindex(struct txn *t, struct txn_node *tn);
/** What tells a node apart from a sibling of the same name, in front of its extension: "~1a2b3c4d". */
#define TREE_SUFFIX_BYTES 10
void tree_suffix(const struct id *node, char out[TREE_SUFFIX_BYTES]);
/** Whether node is ancestor or below it. */
bool tree_is_inside(struct txn *t, const struct id *node, const struct id *ancestor);
void tree_info(struct txn *t, const struct txn_node *tn, struct node_info *ret);

/* hold.c */
/** A change deleted the node, which is still indexed: holds it if it is one of very many. */
int hold_deleted(struct txn *t, struct txn_node *tn, struct stamp stamp);
/** The node is held no more, because it lives again or was deleted here. The caller reindexes. */
void hold_clear(struct txn *t, struct txn_node *tn);
/** This node was no deletion: it lives on in another collection. */
int hold_moved(struct txn *t, const struct id *node);

/* follow.c */
/** The effect of an OP_ORIGIN. */
int follow_origin(struct txn *t, struct txn_node *tn, const struct op *op, struct opid id);
/** A dead node gets a token; edit: from a change whose author saw it living. */
void follow_revived(struct txn *t, struct txn_node *tn, bool edit);
/** The node has this origin, as far as is known now: for a snapshot. */
void follow_take(struct txn *t, struct txn_node *tn, const struct id *origin, struct opid id);

/* second.c */
/** A document was written: whether a value of this device's is not shown now. */
void second_note(struct txn *t, const struct txn_node *tn);

/* tree_dirs.c */
/** Applies the MOVE of a directory of this stream: at once, or in tree_dirs_settle(). */
int tree_dirs_move(struct txn *t, const struct id *stream, struct txn_node *tn,
		   const struct tree_place *to);
/** Whether this MOVE of a directory is in the log. */
bool tree_dirs_know(struct txn *t, const struct id *stream, struct opid move);
/** Puts all directories where the moves applied so far want them. */
int tree_dirs_settle(struct txn *t);
/** What is in memory of directories no longer says what the store says. */
void tree_dirs_forget(struct db *db);

/* feed.c */
/** What is known of a device; created if new. Valid until the next call. */
struct acked *feed_acked_of(struct db *db, uint64_t device);
struct feed *feed_find(const struct db *db, const struct id *stream, uint64_t actor);
int feed_load(struct db *db);
void feed_write(struct txn *t, const struct feed *f);
/** Makes the transaction's feeds the database's. */
void feed_publish(struct txn *t);
struct id feed_stream_id(const struct db *db, const char *label, const struct id *node);
int feed_pos_cmp(const struct feed_pos *a, const struct feed_pos *b);
/** 0 when absent. */
uint64_t feed_pos_seq(const struct feed_pos *vv, size_t count, const struct id *stream,
		      uint64_t actor);
void feed_key(struct buf *key, uint8_t prefix, const struct id *stream, uint64_t actor);
/** What stands before the envelope in its store value. */
#define ENVELOPE_HEAD_BYTES (8 + DIGEST_BYTES)
#define STRATUM_HEAD_BYTES 8
/** Key of the order of arrivals, and what stands there: an envelope, or a stratum (core/strata.c). */
void feed_arrival_key(struct buf *key, uint64_t arrival);
void feed_arrival_value(struct buf *value, const struct feed *f, uint64_t first, uint64_t last,
			bool packed);
/** Stores an envelope as the feed's next. */
void feed_arrive(struct txn *t, struct feed *f, uint64_t seq_first, uint64_t count,
		 struct slice envelope);
/** Whether some change of this device is not in an envelope yet. */
bool feed_has_loose(const struct db *db);
/** Own changes that some peer did not acknowledge yet. */
uint64_t feed_pending_locked(struct db *db);

/* compact.c */
/** As db_heard(), within a transaction; true if there is something to write. */
bool compact_heard(struct txn *t, struct acked *a);

/* snapshot.c, snapshot_install.c */
void snapshot_fini(struct db *db);
/** What a former run left half done. */
int snapshot_load(struct db *db);
/** Whether all of the feed's changes are applied here: not while they are being installed. */
bool snapshot_covers(const struct db *db, const struct feed *f);

/* strata.c, strata_apply.c */
/** Folds one stratum of what is below the cut. 1 = done, 0 = there is not a whole one, -EIO, -ENOSPC. */
int strata_fold(struct db *db, const struct feed_pos *cut);
/** Takes away some envelopes that are in strata. 1 = there may be more. */
int strata_sweep(struct db *db, const struct feed_pos *feed);
/** Key of the stratum that ends with this change. */
void strata_key(struct buf *key, const struct id *stream, uint64_t actor, uint64_t seq_last);
/** The stratum that holds a change, with its arrival before it, as stored. -ENOENT. */
int strata_find(struct store_txn *t, const struct id *stream, uint64_t actor, uint64_t seq,
		struct buf *ret);
/** Gives up what is kept for the next strata_load_change(). The lock is held, or nobody else is there. */
void strata_cache_drop(struct db *db);
/** The bytes of a change that is in a stratum. -ENOENT, -EIO. */
int strata_load_change(struct txn *t, const struct id *stream, uint64_t actor, uint64_t seq,
		       struct buf *ret);

struct stratum;
/** Stores a verified stratum, at the arrival of what is here of it, else at *arrival, which is counted on. */
int strata_put(struct txn *t, struct feed *f, const struct stratum *s, struct slice packed,
	       uint64_t *arrival);

/* db_apply.c */
/** Counts something that was refused. */
void db_held_back(struct db *db);
/** Applies what an envelope held to this transaction's copy of the feed. -EAGAIN, -EBADMSG. */
int db_apply_changes(struct txn *t, struct feed *f, const struct envelope_range *range,
		     struct slice changes);
/**
 * Whether the changes of an envelope with this hash, up to `last`, may be applied. -EACCES not a member, or not as far as that;
 * -EBADMSG more feeds than anybody has, -EAGAIN a snapshot comes first.
 */
int db_apply_admits(const struct db *db, const struct id *stream, uint64_t actor, uint64_t last,
		    const uint8_t hash[DIGEST_BYTES]);
/** Applies the feed's next envelope, which is admitted. 1, or < 0. */
int db_apply_next(struct txn *t, const struct id *stream, uint64_t actor, struct slice envelope);

/* quarantine.c */
int quarantine_load(struct db *db);
/** What is kept of this feed, or NULL. */
const struct kept *quarantine_find(const struct db *db, const struct id *stream, uint64_t actor);
/**
 * An envelope that is not admitted: keeps it, if it may be adopted later. DB_KEPT, or -EEXIST it was before; -EACCES it is
 * refused, 0 is applied already, -EAGAIN something is missing before it, -EBADMSG.
 */
int quarantine_take(struct txn *t, const struct id *stream, uint64_t actor, struct slice envelope);
/** One of what is kept; borrowed from what it was read into. */
struct kept_envelope {
	uint64_t last;	     /**< change */
	const uint8_t *hash; /**< DIGEST_BYTES */
	struct slice envelope;
};
/** The one that begins with `first`, which is kept. -EIO. */
int quarantine_read(struct txn *t, const struct kept *k, uint64_t first, struct buf *ret,
		    struct kept_envelope *ret_e);
/** Gives up what ends after the change `beyond`. */
int quarantine_drop(struct txn *t, const struct kept *which, uint64_t beyond);
/** Gives up all that is kept of a device, and keeps no more of it. */
int quarantine_refuse(struct txn *t, uint64_t actor);
/** Applies what has been adopted meanwhile, and drops what never will be. */
int quarantine_retry(struct db *db);
/** What the transaction keeps is kept. */
void quarantine_publish(struct txn *t);

/* changes.c */
/** An envelope, opened. */
struct changes_body {
	struct feed_pos last; /**< its last change; seq 0 = none */
	uint64_t first;
	struct buf bytes;
};
/** Reads stored changes, loose or in their envelopes; remembers envelopes of some feeds. Zero-initialise. */
struct changes {
	struct changes_body open[4];
	unsigned next;
};
/** The change's bytes. -ENOENT when it is not here (any more), -EIO. */
int changes_get(struct changes *c, struct txn *t, const struct feed_pos *pos, struct buf *ret);
void changes_fini(struct changes *c);
/**
 * Of a change with many operations, which is about as many nodes, each of whose histories asks for it: the one decoded
 * last, or NULL. Under the lock, as long as that is held.
 */
const struct change *changes_recent(const struct db *db, const struct feed_pos *pos);
/** Keeps a decoded change for that, with the bytes it borrows from; takes both over. */
void changes_keep(struct db *db, const struct feed_pos *pos, struct change *c, struct buf *bytes);
void changes_forget(struct db *db);

/* member.c */
int member_load(struct db *db);
void member_fini(struct db *db);
/** Any device that ever was a member, removed ones too. Valid until a transaction with operations of `auth` is committed. */
const struct member *member_find(const struct db *db, uint64_t actor);
/** Whether it is one now. */
bool member_is_current(const struct member *m);
/** Whether this device may admit, remove, grant. */
bool member_may_manage(const struct db *db);
/** Whether changes of this feed up to `last` count. */
bool member_may_write(const struct db *db, const struct member *m, const struct id *stream,
		      uint64_t last);
/** The same of an envelope: also if it was adopted. */
bool member_admits(const struct db *db, const struct member *m, const struct id *stream,
		   uint64_t last, const uint8_t hash[DIGEST_BYTES]);
/** Where the feed stood when its author said that it had heard of its removal; UINT64_MAX: it has not, or is not removed. */
uint64_t member_heard(const struct db *db, const struct member *m, const struct id *stream);
/** Whether an operation is worth keeping: well-formed, its certificate signed, or of a later version. */
bool member_op_is_valid(struct slice value);
/** Takes an operation of a change in `auth`. */
int member_put(struct txn *t, struct slice value, struct opid id, uint64_t seq);
/** Makes one, as a change of this device. */
void member_do(struct txn *t, const struct auth_op *op);
/** The transaction's operations have effect. */
void member_publish(struct txn *t);
void member_txn_fini(struct txn *t);
/** What follows from the members as they are: WITNESS, joint epochs, keys for those who were passed over. */
int member_tend(struct db *db);
/** CUT: all that is here of the device's feeds, of `auth` no more than `keep`. Appends. */
void member_cuts(const struct db *db, uint64_t actor, uint64_t keep, struct buf *out);
/** As stored: without the key's prefix, as in a welcome. */
void member_entry_encode(const struct auth_entry *e, struct buf *key, struct buf *value);
#define DB_WELCOME_VERSION 3

/* db.c */
void db_lock(struct db *db);
/** Unlocks, then wakes waiters and observers. */
void db_unlock_changed(struct db *db);
/** Next stamp of the hybrid clock: never behind what was seen, never more than a minute ahead of now. */
uint64_t db_tick(const struct db *db, uint64_t now_ms);

/* keys */
struct slice key_node(struct buf *key, uint8_t prefix, const struct id *node);

#endif
