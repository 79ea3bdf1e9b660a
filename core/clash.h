/*
 * Lines of text that two devices changed without knowing of each other (core/text.h), as a person is shown them: what
 * the lines are now, and what each of the two had made of them. Not within a transaction.
 */
#ifndef BLAZE_CORE_CLASH_H
#define BLAZE_CORE_CLASH_H

#include "core/db.h"

/** One of the two versions of lines that clash. Everything is borrowed until fn returns. */
struct clash {
	uint64_t line;	     /**< the first one, from 1 */
	uint64_t line_count; /**< as they are now */
	struct slice now;    /**< these lines */
	uint64_t pos;	     /**< where they begin, in bytes */
	bool here; /**< else this version's history has not arrived yet, and `lines` is empty */
	struct slice lines; /**< the version */
	const char *author_name;
	uint64_t time_ms; /**< 0 = unknown */
};

/**
 * Calls fn for both versions of all lines that clash, in the order of the text, without the lock. Changes nothing
 * where there are none. -ENOENT when there never was such a node.
 */
int clash_list(struct db *db, const struct id *node, void (*fn)(void *ctx, const struct clash *c),
	       void *ctx);

/**
 * A save: `lines` in the place of `now`, if that is still there at pos. 1 = done, 0 = it is not there any more, or
 * a negative errno.
 */
int clash_use(struct db *db, const struct id *node, uint64_t pos, struct slice now,
	      struct slice lines);

#endif
