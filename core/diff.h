/*
 * What changed between two versions: edits that turn one text into another, and the elements two
 * sequences have in common. Both take bounded time and memory on any input, and depend on nothing but
 * their arguments.
 *
 * Text is compared line by line first (patience diff, see core/diff_match.h), which keeps edits
 * where a person would see them and makes large files cheap. Changed lines are then compared with
 * those they became: by words, and a word with a word by characters. So an edit is small enough
 * to stand beside somebody else's edit of the same line, but does not tear words apart over letters
 * they happen to share.
 */
#ifndef BLAZE_CORE_DIFF_H
#define BLAZE_CORE_DIFF_H

#include "core/bytes.h"

/** Elements that may be compared in search of the shortest script: some 50 ms. */
#define DIFF_BUDGET (16u << 20)
/** Edits on one line with fewer unchanged bytes between them become one. */
#define DIFF_JOIN_BYTES 4
/** Sequences that are small enough to be compared exactly. */
#define DIFF_EXACT_MAX 4096
/** Text above this is more than diff_text() takes; so are sequences of more elements. */
#define DIFF_BYTES_MAX (512u << 20)

/** Puts `text` in the place of `len` bytes at `pos` of the old text. */
struct diff_edit {
	size_t pos;
	size_t len;
	struct slice text; /**< borrowed from the new text */
};

/** Zero-initialise. */
struct diff_edits {
	struct diff_edit *items;
	size_t count;
	size_t cap;
};

/**
 * Appends the edits that turn `from` into `to`, ascending; none touch or overlap, none is empty. No
 * edit begins or ends inside a UTF-8 sequence of either text; lines that are not UTF-8 are replaced
 * as a whole. When the budget is used up, what was not yet compared is replaced as a whole.
 */
void diff_text(struct slice from, struct slice to, uint64_t budget, struct diff_edits *out);
void diff_edits_fini(struct diff_edits *e);

/** Elements of the same hash. */
struct diff_pair {
	uint32_t from;
	uint32_t to;
};

/** Zero-initialise. */
struct diff_pairs {
	struct diff_pair *items;
	size_t count;
	size_t cap;
};

/**
 * Appends a common subsequence, ascending on both sides: a longest one if they have at most
 * DIFF_EXACT_MAX elements together, else one that goes through elements which occur once on either
 * side where there are such. Elements are the same when their hashes are: whoever hashes what others
 * wrote sees to it that nobody can choose the hash.
 */
void diff_hashes(const uint64_t *from, size_t from_count, const uint64_t *to, size_t to_count,
		 uint64_t budget, struct diff_pairs *out);
void diff_pairs_fini(struct diff_pairs *p);

#endif
