/*
 * The history of one node: its changes, and what it was at each of them and at any time.
 *
 * A state of the past is a set of changes, replayed. Two kinds of sets:
 *   - as of a change: what its author had seen of the node, and the change. It says what a save did, told
 *     against what its author saw and not against the entry before it, which may be somebody else's.
 *   - as of a time T: the changes whose time is not after T. A change's time is its author's clock when it
 *     was made, but never before that of a change of this node it was made on top of: a clock that was wrong
 *     cannot show an effect without its cause.
 * Both depend on nothing but the changes, so devices that hold the same ones tell the same past.
 *
 * Changes are ordered by (lamport, actor), which no cause stands behind its effect in. Replaying applies the
 * operations as the live tree does (doc_apply, node_touch); directories' places need all directories' moves
 * and are core/past.h's.
 *
 * Reading takes the database's lock for moments; a struct history is for one thread, and never to be used
 * within a transaction. It knows what was there when it was opened.
 */
#ifndef BLAZE_CORE_HISTORY_H
#define BLAZE_CORE_HISTORY_H

#include "core/db.h"

struct history;

struct history_change {
	struct opid rev;  /**< the node's revision that the change made: its token (blaze.rev) */
	uint64_t hlc;	  /**< of its author */
	uint64_t time_ms; /**< see above */
	char program[CHANGE_PROGRAM_BYTES_MAX + 1]; /**< "" unknown */
	bool deletes;				    /**< it takes the node's tokens away */
	struct id origin; /**< the node of another collection that it went on from; zero = none */
	bool missing;	  /**< it is known of, but not here any more: states after it lack it */
};

/** -ENOENT when there never was such a node. */
int history_open(struct db *db, const struct id *node, struct history **ret);
/**
 * The same with the changes of the nodes it was before it came to this collection (core/follow.h) before its own, as far as
 * they are known here. What follows speaks of all of them, but history_moves(), which knows the node's own alone.
 */
int history_open_whole(struct db *db, const struct id *node, struct history **ret);
/** Which part the i-th change is of: a history of that node alone, and its number there. Borrowed. */
struct history *history_part(struct history *h, size_t *i, struct id *ret_node);
/** NULL is allowed. */
void history_close(struct history *h);

size_t history_count(const struct history *h);
/** In the order above. Borrowed. */
const struct history_change *history_at(const struct history *h, size_t i);
enum node_kind history_kind(const struct history *h);
/** "lamport-actor", as the attribute blaze.rev has it. */
#define HISTORY_REV_BYTES 24
void history_rev(struct opid rev, char out[HISTORY_REV_BYTES]);
/**
 * The change a person means by rev: "1f-3c2a", or any operation of it, or without the device if only one change
 * fits. -ENOENT, -EINVAL malformed, -ENOTUNIQ.
 */
int history_find(const struct history *h, const char *rev, size_t *ret);

/** What the node was. Free with history_state_fini(). */
struct history_state {
	bool known; /**< it had been created */
	bool alive; /**< and not been deleted; a directory may live by what is in it all the same */
	struct id parent;
	struct buf name;   /**< as its author gave it */
	struct opid place; /**< the MOVE in force; of a directory: the last one made */
	bool exec;
	uint64_t modified_ms; /**< of the last change of content */
	uint64_t author;      /**< of the last change */
	struct doc *doc;      /**< a copy of it; with HISTORY_DOC only, else NULL */
	/* With HISTORY_CONTENT only: */
	size_t conflicts;   /**< values that had lost */
	struct buf content; /**< of a record; of a symlink its target */
	bool chunked;	    /**< content is a manifest (core/manifest.h) */
	uint64_t size;	    /**< of the file */
};
void history_state_fini(struct history_state *s);

/** The change that has this operation on the node; -ENOENT. */
int history_with(const struct history *h, struct opid op, size_t *ret);
/**
 * Whether the i-th and the j-th change have nothing in common: neither author had seen anything of what the other's
 * is built on. Of histories of the node alone.
 */
bool history_are_apart(const struct history *h, size_t i, size_t j);

#define HISTORY_CONTENT 1u
#define HISTORY_DOC 2u

/** With the i-th change, and what its author had seen. want: HISTORY_*. */
int history_after(struct history *h, size_t i, unsigned want, struct history_state *ret);
/** What its author had seen. */
int history_before(struct history *h, size_t i, unsigned want, struct history_state *ret);
/** All changes whose time is at most ms. */
int history_when(struct history *h, uint64_t ms, unsigned want, struct history_state *ret);
/** The MOVEs among these, ascending by id. What fn gets is borrowed. */
int history_moves(struct history *h, uint64_t ms,
		  void (*fn)(void *ctx, const struct op *op, uint64_t actor), void *ctx);
/** The i-th change, of which only operations on this node count; it borrows from *bytes. change_fini() it. */
int history_ops(struct history *h, size_t i, struct buf *bytes, struct change *ret);

/* ---- of a tree ------------------------------------------------------------------------------- */

struct history_mark {
	struct id node;
	bool followed; /**< the node is one that another one of these was before */
	uint64_t hlc;
	struct opid rev;
};

/**
 * The newest `max` changes of a node and, if it is a directory, of everything that is below it, was when it was
 * deleted, or has been in one of these directories, and of what these were in other collections. Newest first by their authors' clocks. Caller frees.
 */
int history_recent(struct db *db, const struct id *node, size_t max, struct history_mark **ret,
		   size_t *ret_count);

struct idset;
/** Adds all nodes that ever were in a directory. */
int history_ever_in(struct txn *t, const struct id *dir, struct idset *out);

/**
 * What was deleted from a directory: of each name that nothing shown has now the last one. dirs: also the
 * directories that are there, if something below them was deleted, or finding that out would take
 * long. fn is called without the lock.
 */
int history_deleted(struct db *db, const struct id *dir, bool dirs,
		    void (*fn)(void *ctx, const struct node_info *n), void *ctx);

#endif
