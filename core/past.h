/*
 * The whole tree as it was at a time: directories, names, contents. Read-only, worked out where it is looked at,
 * and kept for a moment.
 *
 * At time T, a node is what core/history.h says of T. A directory is where the moves made by then put it
 * (core/moves.h, which skips those that would have closed a cycle), and it is there while it, or something in
 * it, was. Several nodes of one name are told apart as they are today. So all that is seen at T depends on the
 * changes made by T and nothing else: devices that hold the same ones show the same, and a change that
 * arrives late appears in the past, too.
 *
 * What did not change since T, which is most of most trees, costs one look at an index; the rest is replayed.
 * Memory: one entry for each thing in the directories looked at last, at most some PAST_ENTRIES_MAX of them
 * (or one directory that has more).
 *
 * A struct past is for one thread at a time, and not within a transaction: it takes the database's lock, for
 * a moment each time.
 */
#ifndef BLAZE_CORE_PAST_H
#define BLAZE_CORE_PAST_H

#include "core/db.h"

struct past;

#define PAST_ENTRIES_MAX 65536

struct past_node {
	struct id id;
	enum node_kind kind;
	char *name; /**< as shown then */
	bool exec;
	bool same; /**< nothing of it has changed since */
	uint64_t modified_ms;
	uint64_t author; /**< of its last change */
	uint64_t size;	 /**< of content; UINT64_MAX = past_size() has to work it out */
};

/** db must outlive it. ms: UINT64_MAX is as it is now. */
struct past *past_create(struct db *db, uint64_t ms);
/** NULL is allowed. */
void past_destroy(struct past *p);
uint64_t past_time_ms(const struct past *p);
struct db *past_db(const struct past *p);

/** The children of a directory, by name. Borrowed until the next call. -ENOENT when it was not there. */
int past_children(struct past *p, const struct id *dir, const struct past_node **ret,
		  size_t *ret_count);
/** One of them. */
int past_child(struct past *p, const struct id *dir, const char *name, const struct past_node **ret);
/** What is known of a node then, without its name. -ENOENT when it was not there. */
int past_node(struct past *p, const struct id *node, struct past_node *ret);
/** Along a path of names shown then; "" is the root, for which *ret is NULL. -ENOENT, -ENOTDIR. */
int past_resolve(struct past *p, const char *path, struct id *ret_id, const struct past_node **ret);
/** The content of a record, or a symlink's target, appended; *ret_chunked: it is a manifest (core/manifest.h). */
int past_read(struct past *p, const struct id *node, struct buf *out, bool *ret_chunked);
int past_size(struct past *p, const struct past_node *n, uint64_t *ret);

#endif
