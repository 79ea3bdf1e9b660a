/*
 * A text that several people edit at the same time: an event graph and the text it leads to. Knows no
 * documents, nodes, files or store.
 *
 * An operation is what one save did: edits, in the coordinates of the text its author saw, and the
 * operations that text was made of (its parents). At rest there is only the text, its heads (the
 * operations nobody has built upon yet) and, elsewhere, a log of where and how much was edited. An
 * operation whose parents are the heads applies as it is. Any other is transformed: the part of the
 * graph that is concurrent to it, and nothing before, is replayed in a tracker that knows for each
 * piece of text whether the operation's author had it.
 *
 * Sources: Gentle and Kleppmann, "Collaborative Text Editing with Eg-walker" (EuroSys 2025) for the
 * graph and the replay; Weidner and Kleppmann, "The Art of the Fugue" (2023) for the order of concurrent
 * insertions (FugueMax, in the form of YjsMod): two texts inserted at one place never interleave.
 * Which text results is a function of the operations alone, not of the order they arrived in.
 *
 * Units are bytes. Whoever makes edits (core/doc_diff.c) puts no boundary inside a UTF-8 sequence,
 * and so no merge can cut one.
 *
 * Wire form of edits (varint and bytes as in core/bytes.h), one after the other to the end:
 *   varint skip << 2 | kind    bytes left alone since the edit before
 *     kind 0  bytes inserted
 *     kind 1  varint bytes deleted
 *     kind 2  varint bytes deleted, bytes inserted in their place
 *     kind 3  the same deletion and insertion as the edit before: a change of all line ends costs
 *             a byte or two a line
 *
 * Not thread-safe; pure computation.
 */
#ifndef BLAZE_CORE_TEXT_H
#define BLAZE_CORE_TEXT_H

#include "core/arena.h"
#include "core/id.h"

/** Of one operation. */
#define TEXT_EDITS_MAX (1u << 20)
/** Longest insertion that kind 3 may repeat. */
#define TEXT_REPEAT_BYTES_MAX 16

/** In the coordinates of the text before the operation. */
struct text_edit {
	uint64_t pos;
	uint64_t del;	  /**< bytes deleted from pos on */
	struct slice ins; /**< put in their place */
};

/** Ascending, not overlapping. Zero-initialise. */
struct text_edits {
	struct text_edit *items;
	size_t count;
	size_t cap;
};

void text_edits_add(struct text_edits *e, struct text_edit edit);
void text_edits_fini(struct text_edits *e);
/** Appends the wire form. */
void text_edits_encode(const struct text_edits *e, struct buf *out);
/** Slices borrow from `bytes`. -EBADMSG when malformed; *ret must be zeroed; fini it in either case. */
int text_edits_decode(struct slice bytes, struct text_edits *ret);
/** Appends `before` with the edits applied. -EINVAL if they reach beyond its end. */
int text_edits_apply(const struct text_edits *e, struct slice before, struct buf *out);

struct text;

/** A text without a graph. `heads` are the operations it is made of, ids only. */
struct text *text_create(struct slice content, const struct opid *heads, size_t head_count);
void text_destroy(struct text *t);

size_t text_len(const struct text *t);
/** The text now; valid until it is changed. */
struct slice text_content(struct text *t);

/** One operation, as a log keeps it: without what was inserted. */
struct text_event {
	struct opid id;
	const struct opid *parents; /**< empty: the text at the beginning of the log */
	size_t parent_count;
	uint64_t len; /**< of the text its author saw */
	/** A place, a deletion and an insertion each; ins.data may be NULL. Without any the event changes nothing. */
	struct text_edits edits;
};

/** What text_apply() found out about an operation. */
enum text_outcome {
	TEXT_APPLIED,
	TEXT_BEYOND, /**< it reaches beyond the end of the text its author saw: it changed nothing, but counts */
	TEXT_MISSING, /**< the graph here does not reach back far enough: text_load() more; nothing changed */
};

/**
 * Applies an operation that was not applied before. Its parents must have been. *ret_len is how long the
 * text was that its author saw, which a log has to keep.
 */
enum text_outcome text_apply(struct text *t, struct opid id, const struct opid *parents,
			     size_t parent_count, const struct text_edits *e, uint64_t *ret_len);

/**
 * Replaces the graph. `events` are in an order in which each comes after its parents, and the text's heads
 * are among them (else nothing happens, and false). A parent that is not counts as unknown, or, if `whole`, as the beginning.
 */
bool text_load(struct text *t, const struct text_event *events, size_t count, bool whole);

/** Sorts events so that each comes after its parents and one author's stay together. */
void text_sort(struct text_event *events, size_t count);

/** An event's log form, without its id. */
void text_event_encode(const struct text_event *v, struct buf *out);
/** Parents go to `arena`. -EBADMSG; fini ret->edits in either case. */
int text_event_decode(struct slice bytes, struct opid id, struct arena *arena,
		      struct text_event *ret);

/* ---- lines that several changed ---------------------------------------------------------------- */

/**
 * A line, with its line feed, that two operations changed which did not know of each other, and nobody since
 * who knew of both. An operation changes a line if bytes it inserted are in it (line ends do not count), or if it
 * deleted something within it. So lines added or deleted beside it are no clash, nor are line ends that change.
 * It is settled by any operation that knows of both and changes the line or where it begins or ends, or that has
 * no edits at all. A function of the operations, as the text is.
 */
struct text_clash {
	uint64_t pos;
	uint64_t len;
	struct opid a; /**< the latest of the operations that clash */
	struct opid b; /**< the latest of those it clashes with */
};

/**
 * Finds all clashes of a text after an operation that was concurrent to others. `known` are those there were before
 * it. Ascending; *ret is the caller's to free. -ENOENT: the graph does not reach back to them, text_load() more.
 */
int text_clashes(struct text *t, const struct text_clash *known, size_t known_count,
		 struct text_clash **ret, size_t *ret_count);
/**
 * The same clashes after an operation on top of all others. The text was `len` long before, and, if `open`, without
 * a line feed at its end. Returns how many are left.
 */
size_t text_clashes_shift(struct text_clash *all, size_t count, const struct text_edits *e,
			  uint64_t len, bool open);
/** How many lines the first clashes cover that stand together and are by the same operations. */
size_t text_clashes_together(const struct text_clash *all, size_t count);

/* ---- the whole history in one piece ------------------------------------------------------------ */

/** Keeps what is inserted from now on, so that text_export() can write it. The text must be new and empty. */
void text_keep_history(struct text *t);
/** Appends all operations of a text that keeps its history: columns, compressed. */
void text_export(const struct text *t, struct buf *out);
/** The inverse: the text with its whole graph, that keeps its history. -EBADMSG. */
int text_import(struct slice bytes, struct text **ret);
/** The heads. *ret is the caller's to free. */
size_t text_heads(const struct text *t, struct opid **ret);

#endif
