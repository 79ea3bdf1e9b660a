/*
 * A node's record in the store: place, tokens, and what it looks like. Plain data; core/tree.c
 * maintains it.
 */
#ifndef BLAZE_CORE_NODE_H
#define BLAZE_CORE_NODE_H

#include "core/change.h"

/** When something was last changed. The highest operation id wins: a clock cannot outbid what came after. */
struct stamp {
	uint64_t hlc;
	struct opid id;
};

struct node {
	struct id id;
	enum node_kind kind; /**< NODE_NONE while only mentioned, as a parent */
	struct id stream;
	struct id parent;
	struct buf name;   /**< as its author gave it */
	struct opid place; /**< the MOVE in force; lamport 0 = none yet */
	struct opid born;  /**< of a directory: its lowest MOVE */
	bool holds_dirs;   /**< some MOVE ever named it as the parent of a directory */
	bool roamed; /**< of a directory: its MOVEs name several parents, or one was skipped */
	struct opid *tokens; /**< sorted; none = deleted */
	size_t token_count;
	uint64_t child_count; /**< alive children: keeps a deleted directory alive */
	bool exec;
	struct stamp exec_stamp;
	struct id origin; /**< the node of another collection that it was; zero = none: core/follow.h */
	struct opid origin_op; /**< which said so: the highest */
	struct stamp content;  /**< the last change of content */
	struct stamp last;     /**< the last change of anything; its id is the revision */
	uint64_t size;
	uint32_t conflicts;
	bool raw;
	bool chunked; /**< what is shown is in chunks; key 'r' holds the manifest */
	bool waiting; /**< for chunks: what is shown is an older state, under 'Ks' (core/wants.h) */
	bool absent;  /**< waiting, and there is no older one */
	bool held;    /**< deleted, and kept in sight: see core/hold.h */
	bool indexed; /**< listed among its parent's children */
	bool visible; /**< as projected */
	struct buf shown; /**< as projected */
};

void node_fini(struct node *n);
void node_encode(const struct node *n, struct buf *out);
/** *ret must be zeroed; fini it in either case. -EBADMSG. */
int node_decode(const struct id *id, struct slice bytes, struct node *ret);

bool node_is_alive(const struct node *n);
/**
 * Replaces the tokens in preds, and what the author of `add` had put before; add.lamport 0 = adds none. An author
 * has seen its own changes, so there is one token a device at most, and no order of arrival makes a difference.
 */
void node_touch(struct node *n, const struct opid *preds, size_t pred_count, struct opid add);
/** Whether a beats b. */
bool stamp_beats(struct stamp a, struct stamp b);

#endif
