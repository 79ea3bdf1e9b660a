/*
 * The history in words: what a change did to a record, told against what its author had seen.
 */
#ifndef BLAZE_CLI_TELL_H
#define BLAZE_CLI_TELL_H

#include "cli/out.h"
#include "core/history.h"

/** What one change did to one node. Free with tell_fini(). */
struct tell {
	struct opid rev;
	uint64_t time_ms;
	char author[DEVICE_NAME_BYTES_MAX + 1];
	char program[CHANGE_PROGRAM_BYTES_MAX + 1]; /**< "" unknown */
	struct buf summary; /**< "priority 2 → 1, status …", "+3 -1 lines", "renamed to …" */
	struct buf json;    /**< members of a JSON object, each with a comma in front; see README */
	struct id parent_before; /**< where the node was; zero = nowhere */
	struct id parent_after;
	bool left; /**< it went to another collection, and says so there too */
};
void tell_fini(struct tell *t);

/** Tells the i-th change. */
int tell_change(struct db *db, struct history *h, size_t i, struct tell *ret);
/** Appends a JSON value's source text as a person is shown it: on one line, and not for ever. */
void tell_value(struct buf *out, struct slice value);

#endif
