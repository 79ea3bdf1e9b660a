/*
 * What changed between two contents, as a person is told it: JSON by fields, text by lines. Knows nothing of
 * operations: it compares what is shown before with what is shown after.
 */
#ifndef BLAZE_CORE_DELTA_H
#define BLAZE_CORE_DELTA_H

#include "core/bytes.h"

enum delta_kind {
	DELTA_ADDED,
	DELTA_REMOVED,
	DELTA_CHANGED
};

/** All borrowed until fn returns. */
struct delta_field {
	enum delta_kind kind;
	/**
	 * "a.b", an element of an array by what identifies it or by its place: "items[id=7].qty", "tags[2]" (from 0;
	 * the new one, of a removed element the old one); "" is the whole value.
	 */
	const char *path;
	struct slice from; /**< source text; empty when added */
	struct slice to;   /**< empty when removed */
};

/**
 * Calls fn for every field that differs, in the order of the new text, removed ones after their siblings.
 * Whitespace makes no difference. Elements of arrays are told apart by a member that identifies them, if all
 * have one (id, _id, uuid, key, name), else by what they have in common. -EBADMSG when one is not JSON.
 */
int delta_fields(struct slice from, struct slice to,
		 void (*fn)(void *ctx, const struct delta_field *f), void *ctx);

/** No NUL in the first 8 KiB. */
bool delta_is_text(struct slice content);

struct delta_lines {
	uint64_t added;
	uint64_t removed;
};

/** A changed line counts on both sides. */
struct delta_lines delta_lines(struct slice from, struct slice to);
/** Appends hunks as diff -u has them, with three lines around; nothing if the contents are the same. */
void delta_unified(struct slice from, struct slice to, struct buf *out);

#endif
