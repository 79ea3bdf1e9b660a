/*
 * Private to the files of the semantic layer: vfs*.c, ns.c, publish.c, project.c, bases.c.
 *
 * All state is protected by the database's lock, that is, by being inside a transaction; only the queue of
 * notices has a lock of its own, so that the publisher can wait without holding the database.
 *
 * Store keys, all under 'L':
 *   i ino8               inode           d parent8 name   ino8, u32 type    b ino8   own bytes, if few (bytes.h)
 *   n node16             ino8            x ino8 name      extended attribute
 *   g parent8 name       node16, u8 kind, serial: a record gone from here, to be deleted after its grace time
 *   h ino8               a file that still has to be published                m        next ino
 *   k ino8 parent8 name  a further name of an inode: u8 1 and node16 if it is bound, else u8 0
 *   u   something shown may be gone: check at the next start
 */
#ifndef BLAZE_FS_VFS_I_H
#define BLAZE_FS_VFS_I_H

#include "core/thread.h"
#include "fs/bases.h"
#include "fs/counts.h"
#include "fs/untold.h"
#include "fs/vfs.h"

#include <time.h>

/** How long a record that vanished is waited for under its name (vim, tar, git checkout re-create it). */
#define GRACE_MS 1200
/** How long a file with a temporary's name is held back. */
#define HOLD_MS 1000
/** A symlink is often renamed over something right after (ln -sf). */
#define HOLD_SYMLINK_MS 200
/** A file that stays open is published at the latest this long after its first unpublished write. */
#define LONG_OPEN_MS 2000
/** What could not be published is tried again after this. */
#define RETRY_MS 1000

/** A further name of an inode (links.c). */
struct link {
	uint64_t parent;
	char *name;
	struct id node; /**< the record of this name, if bound */
	bool bound;
};

struct inode {
	uint64_t ino;
	mode_t mode;
	uint32_t nlink;
	uid_t uid;
	gid_t gid;
	dev_t rdev;
	uint64_t size;
	struct timespec atime;
	struct timespec mtime;
	struct timespec ctime;
	uint64_t parent; /**< where its primary name is; 0 = nowhere any more */
	char *name;
	struct id node; /**< the node shown here, if bound; else the one whose content it still reads */
	struct id was; /**< the record it was and is no more, to be named by the next one; zero = none */
	bool bound;
	bool local;	 /**< never published: by its own name or that of a directory above */
	bool own_bytes;	 /**< stored content is the inode's own; else it is the node's rendering */
	bool own_chunks; /**< own, and what is under 'b' is a manifest */
	bool plain;	 /**< has never had an extended attribute */
	uint64_t stored_file; /**< the number of the file it is in; 0 = it is under 'b' */
	uint64_t stored_size;
	struct link *links; /**< its further names; always in memory with it */
	size_t link_count;

	/* In memory only. */
	struct id origin; /**< the record it was, before it was renamed away from origin_name */
	uint64_t origin_parent; /**< 0 = it was none */
	char *origin_name;
	uint64_t lookups;
	unsigned opens;
	unsigned writers;
	bool gone; /**< not in the store any more: lives until it is closed, */
	bool kept; /**< or, for who looked it up before it went, until the kernel forgets it */
	struct buf xattrs; /**< once gone: see vfs_xattr.c */
	uint64_t file;	   /**< the number of the file that holds the content; 0 = none does */
	struct backing *backing; /**< that file, if open */
	uint64_t blocks;	 /**< what it takes of the disk, if not */
	bool loaded;		 /**< there is no file, and data holds the content, or: */
	struct manifest *chunks; /**< content is in chunks, and these are they */
	struct buf data;
	struct bulk *bulk;     /**< what bulk.c knows of it, or NULL */
	uint64_t writes;       /**< counts changes of content */
	uint64_t wrote_ms;     /**< monotonic: the last one */
	bool dirty;	       /**< content is newer than what is stored */
	bool emptied;	       /**< it was truncated to nothing since it was stored */
	bool waits;	       /**< in the list of what is dirty and stays on the device */
	uint64_t store_due_ms; /**< monotonic: when that is stored */
	struct inode *wait_prev;
	struct inode *wait_next;
	bool unpublished; /**< stored or not, it is not yet a change */
	uint64_t due_ms; /**< monotonic: publish at this time; UINT64_MAX = only when written again */
	size_t due_index;     /**< in the queue, while unpublished */
	uint64_t base_epoch;  /**< which content the first unpublished write was based on */
	uint64_t whole_epoch; /**< the same, should the writes turn out to replace everything */
	struct bases *bases;  /**< and where that is several: see bases.h; or NULL */
	bool took_over;	      /**< they do, whatever `replaced` says */
	uint64_t replaced;    /**< bytes written without a gap from the start since then */
	bool base_empty;      /**< on none: it was created beside a remote file of the same name */
	uint64_t epoch;	      /**< at creation */
	pid_t writer;	      /**< who opened it for writing last */
	char program[CHANGE_PROGRAM_BYTES_MAX + 1]; /**< that wrote what is unpublished; "" not known yet */
	pid_t mover;				    /**< who renamed it last */
	bool listing_kept;	   /**< of a directory: the kernel may keep the listing it has */
	uint64_t names_changed_ms; /**< when they last did without the kernel, or it came into memory */
	unsigned notices;	   /**< NOTICE_MODIFY queued and not yet delivered */
	uint64_t reader_ms;	   /**< monotonic: when it was last opened to be read */
	uint64_t held_ms; /**< monotonic: since when readers are shown what was before; 0 = they are not */
	uint64_t held_epoch; /**< of that content */
	struct inode *next_held;
	struct vfs_handle *quiet; /**< the writer that nobody closes (quiet.c), */
	uint64_t quiet_due_ms;	  /**< monotonic: when it is closed, */
	bool quiet_spared;	  /**< and whether that was put off */
	struct inode *quiet_prev;
	struct inode *quiet_next;
	struct inode *next_in_slot;
	struct inode *newer; /**< in the order they came into memory */
	struct inode *older;
	bool touched; /**< written in the running operation; before which it was: */
	bool was_dirty;
	uint64_t was_file;
	uint64_t was_size;
	bool told_large; /**< somebody was told that it is too large to travel */
};

struct vfs_handle {
	struct inode *inode;
	int flags;
	pid_t pid;
	bool keep_cache;
	uint64_t epoch; /**< at the open */
};

/** A record vanished from (parent, name); whether it is still gone, the store's key 'g' says. */
struct grave {
	uint64_t parent;
	char *name;
	uint64_t serial; /**< which one: a record may have been in and out of a grave before */
	uint64_t due_ms;
	char program[CHANGE_PROGRAM_BYTES_MAX + 1]; /**< that took it away; "" unknown */
};

/** The content a node had until epoch_end; or what a program takes it for, if BASES_OWN is set there. */
struct snapshot {
	struct id node;
	uint64_t epoch_end;
	struct doc *doc;   /**< NULL: in `packed`, and nobody has asked for it yet */
	struct buf packed; /**< the document's state and rendering */
	size_t unzipped;   /**< what `packed` is when unzipped; 0 = it is not zipped */
	size_t bytes;	   /**< what that takes, and the document about */
	bool hides_change; /**< what came after it looks the same: it changed what the text hides */
};

/** Thread `tid` read `node` at `epoch`; in the table if tid is not 0. */
struct reading {
	struct id node;
	pid_t tid;
	pid_t pid;
	pid_t parent;
	uint64_t epoch;
	uint64_t number; /**< the higher the later */
};

/** Whose a thread is, as far as it was known at asked_ms. */
struct process {
	pid_t tid;
	pid_t pid;
	pid_t parent;
	uint64_t asked_ms;
};

/** What a process was called a moment ago. */
struct program {
	pid_t pid; /**< 0 = none */
	uint64_t asked_ms;
	char name[CHANGE_PROGRAM_BYTES_MAX + 1];
};

/** A directory that left (parent, name) for what looks like a backup's: swap.c. */
struct left {
	uint64_t parent;
	uint64_t ino;
	uint64_t due_ms; /**< until when another one may take its place */
	char name[256];
};

#define LEFT_MAX 16
#define GRAVE_BITS (1u << 16)
/** Files and directories in both that a swap may have: they change in one transaction. */
#define SWAP_ENTRIES_MAX 8192

/** Inodes with something unpublished, the next one due on top. */
struct due_queue {
	struct inode **heap;
	size_t count;
	size_t cap;
};

#define INODE_SLOTS 65536
/** Inodes that nobody uses and that are kept in memory all the same. */
#define INODES_KEPT 4096
#define READINGS 4096
#define PROCESSES 256
#define SNAPSHOTS 256
/** Counters by two bytes of the node's id: most nodes are in neither table, and need not be looked for. */
#define SNAPSHOT_SLOTS 4096
#define READING_SLOTS 16384
#define SNAPSHOT_BYTES_MAX (16u << 20)

struct vfs {
	struct db *db;
	uid_t uid;
	gid_t gid;
	uint64_t next_ino;
	uint64_t ino_limit;		  /**< numbers below are taken in the store */
	struct inode *slots[INODE_SLOTS]; /**< what is in memory, */
	struct inode *newest;		  /**< and a list of it */
	struct inode *oldest;
	size_t inode_count;
	uint64_t operation;	/**< the transaction that used an inode last */
	struct counts counts;	/**< lookups of what is not in memory */
	struct untold untold;	/**< names that the kernel takes for something else */
	struct inode **touched; /**< by the running operation */
	size_t touched_count;
	size_t touched_cap;
	struct grave *graves; /**< a queue, the oldest first; starts at grave_first */
	size_t grave_first;
	size_t grave_end;
	size_t grave_cap;
	uint64_t grave_count; /**< keys 'g' */
	uint8_t grave_seen[GRAVE_BITS / 8]; /**< a bit for the hash of each; cleared when there is none */
	bool grave_any_seen;
	uint64_t grave_serial;
	struct left left[LEFT_MAX]; /**< a ring; next_left is the oldest */
	size_t next_left;
	struct due_queue due;
	struct inode *waiting; /**< written, not stored, and not to be published: the oldest first */
	struct inode *waiting_last;
	struct doomed *doomed; /**< files that the running operation gives up */
	struct inode *imports; /**< list of inodes to be imported: bulk.c */
	uint64_t epoch;	       /**< counts changes of content that came from elsewhere */
	struct inode *held;    /**< list of inodes whose readers are shown what was before */
	struct shown_waiter *waiters;
	struct inode *quiet; /**< inodes with a writer that nobody closes, by when that is done */
	struct inode *quiet_last;
	bool no_open;	 /**< vfs_set_no_open() */
	bool is_mounted; /**< somebody takes notices */
	uint16_t snapshot_nodes[SNAPSHOT_SLOTS];
	uint16_t reading_nodes[READING_SLOTS];
	struct snapshot snapshots[SNAPSHOTS]; /**< a ring; next_snapshot is the oldest */
	size_t next_snapshot;
	size_t snapshot_bytes;
	struct reading readings[READINGS];
	struct program programs[64];
	uint64_t reading_count;
	struct process processes[PROCESSES];

	struct mutex queue_lock;
	struct cond queue_changed;  /**< the publisher waits on it, */
	struct cond sync_changed;   /**< the syncer on this, */
	struct cond import_changed; /**< the importer on this */
	bool import_soon;
	uint64_t wake_at; /**< when the publisher looks for work by itself */
	struct vfs_notice *notices;
	size_t notice_count;
	uint64_t notices_queued; /**< ever, */
	uint64_t notices_told; /**< and of these the kernel has been told, there was none, or the echo does it */
	uint64_t names_told; /**< how often `untold` became less */
	struct doomed *removals; /**< files that no batch names any more; a crash leaves them to bytes_sweep() */
	bool delivering;
	void (*notify)(void *ctx, struct vfs_notice *n);
	void *notify_ctx;
	bool stop;
	bool kick;	/**< timers changed */
	bool sync_soon; /**< something from elsewhere was applied: make it durable and acknowledge it */
	bool sync_later;
	struct db_observer observer;
	struct thread publisher;
	struct thread syncer;
	struct thread tender; /**< of the store */
	struct thread importer;
};

/* ns.c: the local namespace in the store */
/**
 * A transaction's first use of inodes: what memory need not hold may leave it now, and only now, for pointers
 * are held from here on. ns_get() and ns_new() do it; who begins with an inode from elsewhere has to.
 */
void ns_begin(struct vfs *v, const struct txn *t);
struct inode *ns_get(struct vfs *v, struct txn *t, uint64_t ino);
/** Only if it is in memory. */
struct inode *ns_cached(struct vfs *v, uint64_t ino);
/** 1 if the store has an inode of this number, 0 if not, or an error. */
int ns_exists(struct txn *t, uint64_t ino);
struct inode *ns_new(struct vfs *v, struct txn *t, mode_t mode);
/** A number that nothing else has, an inode's or a file's. */
uint64_t ns_number(struct vfs *v, struct txn *t);
/** The running operation writes the inode: should it fail, memory goes back to what the store says. */
void ns_touch(struct vfs *v, struct inode *i);
/** Stages the inode's record. */
void ns_put(struct vfs *v, struct txn *t, struct inode *i);
/** Removes every trace; the memory stays while it is in use. */
void ns_remove(struct vfs *v, struct txn *t, struct inode *i);
void ns_free(struct inode *i);
/** Frees the memory if nobody uses it, and the kernel does not know it. */
void ns_release(struct vfs *v, struct inode *i);
/** The kernel forgets that many lookups. */
void ns_forget(struct vfs *v, uint64_t ino, uint64_t count);
/**
 * 0 and *ret_ino, -ENOENT. A record whose name has to be shown escaped is found by its own name too, for the
 * program that created it.
 */
int ns_find(struct vfs *v, struct txn *t, uint64_t parent, const char *name, uint64_t *ret_ino);
/**
 * Links the inode at (parent, name): entry, parent's times and link count. An inode that has a name gets a
 * further one; else it is the primary name.
 */
void ns_link(struct vfs *v, struct txn *t, struct inode *parent, const char *name, struct inode *i);
/** Takes the primary name away, for ns_link() or links_promote() to give the inode another one. */
void ns_unlink(struct vfs *v, struct txn *t, struct inode *parent, const char *name,
	       struct inode *i);
bool ns_is_empty(struct vfs *v, struct txn *t, uint64_t dir);
void ns_bind(struct vfs *v, struct txn *t, struct inode *i, const struct id *node);
void ns_unbind(struct vfs *v, struct txn *t, struct inode *i);
/** The node is shown by this inode, and by no other. */
void ns_put_node(struct vfs *v, struct txn *t, const struct id *node, uint64_t ino);
/** The inode that shows this node; 0 = none. */
uint64_t ns_ino_of(struct vfs *v, struct txn *t, const struct id *node);
struct slice ns_key(struct buf *key, char kind, uint64_t ino);
struct slice ns_dentry_key(struct buf *key, char kind, uint64_t parent, const char *name);
void ns_stat(const struct inode *i, struct stat *ret);
void ns_touch_times(struct vfs *v, struct txn *t, struct inode *i, bool modified);
/** Ends an operation: commits if r >= 0, else takes back what it did in memory. Returns the result. */
int ns_end(struct vfs *v, struct txn *t, int r);
/** As ns_end(), for what need not survive a crash before the file's close: it waits for the next batch. */
int ns_end_later(struct vfs *v, struct txn *t, int r);
struct timespec ns_now(void);

/**
 * Whether a program may have it open, or be about to open what it looked up: without opens, it may be whatever the
 * kernel knows.
 */
static inline bool ns_may_be_open(const struct vfs *v, const struct inode *i)
{
	return i->opens || ((v->no_open || i->kept) && i->lookups);
}

/* quiet.c: files without opens and closes; the first two do nothing where there are any */
/** Content is about to change: the inode has a writer, until it is quiet. */
void quiet_wrote(struct vfs *v, struct inode *i, pid_t pid);
/** After content changed, or its length: stores it, for no close will. */
int quiet_store(struct vfs *v, struct txn *t, struct inode *i);
/** Closes a writer that is due at now_ms, or any; false if there is none. */
bool quiet_settle(struct vfs *v, uint64_t now_ms, bool all);
/** Monotonic time of the next one; UINT64_MAX = there is none. */
uint64_t quiet_next_due(const struct vfs *v);

/* due.c */
void due_add(struct due_queue *q, struct inode *i, uint64_t due_ms);
void due_set(struct due_queue *q, struct inode *i, uint64_t due_ms);
void due_remove(struct due_queue *q, struct inode *i);
/** The one that is due first, or NULL. */
struct inode *due_first(const struct due_queue *q);

/* publish.c, publish_tree.c: when bytes become changes */
/** Whether a name in this directory would be published. */
bool publish_wants(const struct inode *parent, const char *name);
/** Stores what was written; publishes it unless it has to wait (force: it may not). */
int publish_file(struct vfs *v, struct txn *t, struct inode *i, bool force);
/** mkdir: one that looks temporary is held back, with all that is in it, until it is renamed or quiet. */
int publish_made_dir(struct vfs *v, struct txn *t, struct inode *parent, struct inode *dir);
int publish_held_dir(struct vfs *v, struct txn *t, struct inode *dir, bool force);
int publish_new_dir(struct vfs *v, struct txn *t, struct inode *parent, struct inode *dir);
int publish_revive(struct vfs *v, struct txn *t, struct inode *dir);
int publish_symlink(struct vfs *v, struct txn *t, struct inode *i);
/** The record at (parent, name) is gone: start its grace time. */
int publish_gone(struct vfs *v, struct txn *t, struct inode *parent, const char *name,
		 struct inode *i);
struct rename_from {
	struct inode *parent;
	const char *name;
	const struct id *over; /**< the record that the new name showed before, or NULL */
	const struct vfs_caller *caller;
};
/** After `i` was linked at its new name. */
int publish_renamed(struct vfs *v, struct txn *t, struct inode *i, const struct rename_from *from);
void publish_mark(struct vfs *v, struct txn *t, struct inode *i, uint64_t delay_ms);
/** After a write: sees to it that it is stored and published in time. t NULL: when it was marked before. */
void publish_written(struct vfs *v, struct txn *t, struct inode *i);
void publish_unmark(struct vfs *v, struct txn *t, struct inode *i);
/** Publishes a directory's contents, or takes them out again. */
int publish_subtree(struct vfs *v, struct txn *t, struct inode *dir);
int publish_withdraw(struct vfs *v, struct txn *t, struct inode *dir);
/** The inode is about to stop being the record it is bound to, and may become another one. */
void publish_leaves(struct inode *i);
/** It has become the record it is bound to now: says which one it was, and ends that. */
int publish_arrived(struct vfs *v, struct txn *t, struct inode *i);
bool publish_safe_target(struct vfs *v, struct txn *t, const struct inode *parent,
			 struct slice target);
int publish_load(struct vfs *v, struct txn *t);
void publish_recheck(struct vfs *v, struct txn *t, struct inode *i);

/** For links.c: the same for one of several names. */
bool publish_is_half_written(struct vfs *v, struct txn *t, struct inode *i, const char *name);
/** Whether a new file of this name may be about to be renamed, and waits. */
bool publish_is_temporary(struct vfs *v, struct txn *t, uint64_t parent, const char *name);
/** The node that a name stands for: one out of its grave, the one it was, or a new one. */
void publish_node_for(struct vfs *v, struct txn *t, struct inode *i, const struct inode *parent,
		      const char *name, struct id *ret);
/** What a record shows, as db_shown() says it. */
struct rendering {
	struct buf bytes;
	bool chunked; /**< bytes is a manifest */
};
struct saving {
	struct slice bytes;
	bool chunked;		/**< bytes is a manifest */
	const struct doc *base; /**< what the program had read; NULL = what is there now */
	bool exec;
	struct doc *own; /**< out: what the program takes the record to be now, if base was given; to be freed */
};
/** Puts a content into the record of one of an inode's names; *ret_merged is what that then says. */
int publish_put(struct txn *t, const struct link *name, const struct inode *parent,
		struct saving *s, struct rendering *ret_merged);
/** The content is what the records say, *merged, which the inode takes. */
void publish_done(struct vfs *v, struct txn *t, struct inode *i, struct rendering *merged);
/** Whether a record shows this. */
bool publish_shows(struct txn *t, const struct id *node, struct slice bytes, bool chunked);
int publish_stay_here(struct vfs *v, struct txn *t, struct inode *i);

/* links.c: inodes with several names. Works on singly linked inodes and directories, too */
int links_load(struct txn *t, struct inode *i);
void links_fini(struct inode *i);
/** A name more, not bound. */
void links_add(struct txn *t, struct inode *i, uint64_t parent, const char *name);
/** 0 is the primary name, link_count the last. Borrowed. */
struct link links_at(const struct inode *i, size_t k);
/** Makes the name `name` in dir the primary one; it may be asked for as ns_find() finds it. */
int links_select(struct vfs *v, struct txn *t, struct inode *i, const struct inode *dir,
		 const char *name);
/** Binds the k-th name, which is not bound. */
void links_bind(struct vfs *v, struct txn *t, struct inode *i, size_t k, const struct id *node);
/** Makes the name bound to this node the primary one. */
int links_select_node(struct vfs *v, struct txn *t, struct inode *i, const struct id *node);
/** The primary name was unlinked: unbinds it, and another one takes its place. */
int links_promote(struct vfs *v, struct txn *t, struct inode *i);
/** The executable bit of every record. */
int links_put_exec(struct txn *t, const struct inode *i);
/** Whether the node does not say what the inode's other records say. */
bool links_differ(struct txn *t, const struct inode *i, const struct id *node);
/** publish_file() for an inode with several names. */
int links_publish(struct vfs *v, struct txn *t, struct inode *i, bool force);
/** The inode was linked at (dir, name): publishes that name, now or after its hold. */
int links_made(struct vfs *v, struct txn *t, struct inode *i, struct inode *dir, const char *name);

/* swap.c: directories that take each other's place */
/** The directory, which was a record, is somewhere else now than at (parent, name). */
void swap_left(struct vfs *v, const struct inode *parent, const char *name, const struct inode *dir);
/**
 * A directory has come to parent. 1 = it is now the directory that left its name for a backup's a moment ago, and all in it
 * is what was there; 0 = there was none. pid: who renamed it.
 */
int swap_in(struct vfs *v, struct txn *t, struct inode *fresh, struct inode *parent, pid_t pid);

/* collector.c: chunks that nobody needs; by the importer only */
/** How often collector_look() is to be called, ms. */
uint64_t collector_look_ms(void);
/** Collects if it is time. Takes long, in small steps, and ends early when there is something to import. No lock is held. */
void collector_look(struct vfs *v);

/* graves.c: records gone from their names, which may yet come back */
/** 0 and what is buried there, or -ENOENT. */
int graves_find(struct vfs *v, struct txn *t, uint64_t parent, const char *name,
		struct id *ret_node, enum node_kind *ret_kind);
/** Buries the record that `was` is bound to; what was in a grave of that name is deleted. */
int graves_dig(struct vfs *v, struct txn *t, uint64_t parent, const char *name,
	       const struct inode *was);
/** The record of this name is taken over. */
void graves_forget(struct vfs *v, struct txn *t, uint64_t parent, const char *name);
/** The grace is over: the record is deleted, unless it lives on, here or under another name. */
void graves_bury(struct vfs *v, struct txn *t, const struct grave *g);
/** Deletes at once whatever is buried at this name. */
void graves_bury_now(struct vfs *v, struct txn *t, uint64_t parent, const char *name);
/** The oldest grave if it is due at now_ms; takes it out of the queue. */
bool graves_next(struct vfs *v, uint64_t now_ms, struct grave *ret);
/** At the start, and after a failed operation: the graves are those in the store. */
int graves_load(struct vfs *v, struct txn *t);

/* project.c: changes from elsewhere */
void project_node(void *ctx, struct txn *t, const struct node_info *n, bool content_changed);
/** After a change from elsewhere was written, or could not be. */
void project_committed(void *ctx, struct txn *t, int result);
/** Shows what the database has and the namespace has not. */
int project_all(struct vfs *v);
/** The kernel's pages of this inode are old. */
void project_modified(struct vfs *v, struct txn *t, struct inode *i);

/* shown.c: a reader sees one version, whole */
/** Whether the content that i shows has to stay for its readers, although n's is another now. */
bool shown_hold(struct vfs *v, struct txn *t, struct inode *i, uint64_t new_size);
/** Readers are shown the current content from here on, and the kernel is told. */
void shown_switch(struct vfs *v, struct txn *t, struct inode *i);
/** The same without telling: i is being written, or gone. */
void shown_forget(struct vfs *v, struct inode *i);
/** Switches what was held for too long. */
void shown_settle(struct vfs *v, struct txn *t, uint64_t now_ms);
/** Monotonic time of the next one; UINT64_MAX = none is held. */
uint64_t shown_next_due(const struct vfs *v);
/** The epoch of the content that i shows. */
uint64_t shown_epoch(const struct vfs *v, const struct inode *i);
/** Whether an open has to wait: the kernel's pages are about to be dropped, or readers to be let go. */
bool shown_must_wait(const struct vfs *v, const struct inode *i);
struct shown_waiter {
	void (*retry)(void *ctx);
	void *ctx;
	struct shown_waiter *next;
};
/** Takes the list, to be called and freed without a lock. */
struct shown_waiter *shown_take_waiters(struct vfs *v);

/* program.c: who writes */
/** What is unpublished of i was written by this process. */
void program_wrote(struct vfs *v, struct inode *i, pid_t pid);
/** i's content becomes part of t's change. */
void program_publishes(struct vfs *v, struct txn *t, struct inode *i);
/** The process causes t's change, unless a content in it says better who did. */
void program_acts(struct vfs *v, struct txn *t, pid_t pid);

/* vfs.c */
/** Something has to be looked at by monotonic due_ms; and something was written. */
void vfs_kick(struct vfs *v, uint64_t due_ms);

/* vfs_xattr.c */
/** For an inode that is gone: goes on having this attribute until it is closed. */
void vfs_keep_xattr(struct inode *i, struct slice name, struct slice value);

/* vfs_attr.c */
/** h: the handle it came through, or NULL; pid: who asks. */
int vfs_resize(struct vfs *v, struct txn *t, struct inode *i, uint64_t size,
	       const struct vfs_handle *h, pid_t pid);
/** Takes set-user-id and set-group-id away, as a write or a new owner does. */
void vfs_drop_set_ids(const struct vfs_caller *c, struct inode *i);
/** The epoch of what was last read through a handle, as far as an open to read and write says. */
uint64_t vfs_handle_epoch(const struct vfs *v, const struct vfs_handle *h);

#endif
