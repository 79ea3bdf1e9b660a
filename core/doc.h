/*
 * The content of one record as a CRDT: JSON fields, a raw value, a layout. Knows neither names nor
 * nodes nor the store.
 *
 * State
 *   fields   a tree of multi-value registers: an object's members, found by their keys (decoded, WTF-8,
 *            no normalisation), and an array's elements, found by what they were when they were made
 *            (core/doc_i.h). A path is an encoding of the keys from the root down, the empty one is the
 *            root. A value is a scalar, exactly as written, or says that an object or array is here.
 *            Two to four numbers in an array are one value (a coordinate, a colour, a version), until
 *            the array was longer or shorter once; so is what is deeper than DOC_DEPTH_MAX.
 *   places   where members and elements stand: a list CRDT with moves, also a register per field.
 *   style    how the record is formatted: indentation, line ends, spacing, which containers are broken
 *            into lines, how keys are escaped, what is before and after it; the latest wins.
 *   spaces   how a single field is formatted where the style does not say so. A style voids those that
 *            are older.
 *   raw      multi-value register of the whole bytes. While it has any sibling, the raw winner is
 *            what is shown; the fields stay underneath. A sibling may be a manifest (core/manifest.h)
 *            in place of the bytes; the rendering is that manifest then, and doc_mode() says so.
 *            Bytes that are text (doc_is_text) merge: OP_TEXT says what was edited in which version, and
 *            its preds are, first, the heads of that text, then the other values its author saw. A text is
 *            known by the operation it began with; one that its author made knowing of nothing else in
 *            this document, by its bytes: so two devices that create the same file made one text. What is
 *            not built on a text (a binary, a text that has next to nothing of the old one) is a
 *            sibling of it, and replaces those edits that it names.
 *
 * Which kind is shown where two disagree: the one with the highest (hlc, lamport, actor) among its
 * values here and, for an object or array, what is in it. The losers stay underneath. An object or
 * array is also there while something in it is: an edit wins against a deletion around it. What is in
 * an object or array in whose place a value of another kind was put is kept for that case (sib.shaded).
 *
 * Two devices that make the same array at the same time, of elements without ids: if the content is
 * the same it is one, else the elements of both are there, those of one device after the other's.
 * Rejected: making the values siblings, of which one would vanish from sight.
 *
 * Rendering is a pure function of the state (P3). No whitespace depends on a neighbour's, so that a
 * merge changes the bytes of what it changes.
 *
 * doc_diff() closes the loop (P1): it takes a save apart into operations, renders the result, and
 * where the rendering is not byte for byte the save, the save becomes OP_RAW. So does what is not a
 * JSON text with unique keys and valid UTF-8, or beyond the limits in core/json.h.
 */
#ifndef BLAZE_CORE_DOC_H
#define BLAZE_CORE_DOC_H

#include "core/change.h"

struct doc;

#define DOC_DEPTH_MAX 64

/**
 * Where a document keeps what it seldom needs, under keys of its own: the log of its texts' edits. Without one it
 * keeps that in memory. A log is a function of the operations, like the state.
 */
typedef bool doc_side_fn(void *ctx, struct slice key, struct slice value);

struct doc_side {
	void *ctx;
	void (*put)(void *ctx, struct slice key, struct slice value);
	/** -ENOENT, or another error, which doc_error() tells then. */
	int (*get)(void *ctx, struct slice key, struct buf *ret);
	/** Calls fn for each key with the prefix, not below `from`, ascending, until it returns false. */
	int (*scan)(void *ctx, struct slice prefix, struct slice from, doc_side_fn *fn, void *arg);
};

struct doc *doc_create(void);
void doc_destroy(struct doc *d);
/** What d keeps in memory beside its state is cloned, too; not what it keeps elsewhere: that clone is only a base. */
struct doc *doc_clone(const struct doc *d);
/** ctx must outlive it; before anything is applied. */
void doc_set_side(struct doc *d, const struct doc_side *side);
/** 0, or why the side failed: then the state is not to be kept. */
int doc_error(const struct doc *d);

/**
 * Appends the state to `out`. `rendered` is doc_render()'s output for this very state: texts equal
 * to it (the shown raw value) are not stored a second time.
 */
void doc_encode(const struct doc *d, struct slice rendered, struct buf *out);
/** The inverse; copies what it keeps. -EBADMSG when malformed. */
int doc_decode(struct slice state, struct slice rendered, struct doc **ret);

/**
 * Applies one operation (those on fields, LAYOUT, RAW, CHUNKS, UNRAW, TEXT; others are ignored, and so are those whose
 * path or value is malformed). Operations arrive in causal order, an actor's own by ascending lamport;
 * in which order concurrent ones arrive makes no difference to the state. Applying one twice makes
 * none either: what is not above the actor's last lamport in this document is a duplicate.
 */
void doc_apply(struct doc *d, const struct op *op, struct opid id, uint64_t hlc);

void doc_render(const struct doc *d, struct buf *out);

/** What doc_diff() needs to give ids to the operations it makes. */
struct doc_stamp {
	uint64_t actor;
	uint64_t hlc;
	uint64_t *lamport;  /**< last one used; incremented for each operation */
	bool whole;	    /**< a new value replaces the old as a whole: a symlink's target */
	bool unseen;	    /**< nobody else has seen anything of this record yet */
	struct slice shown; /**< base's rendering, if it is at hand; else empty */
};

/**
 * Appends to `ops` what turns base's rendering into `bytes`, as seen by a program that read base.
 * json: the record's name says it is JSON. Adds nothing when the bytes are those of base's rendering;
 * only if base is new, bytes are empty and json is false, an OP_RAW of nothing is added nevertheless,
 * so that the record exists. Returns true if it added anything. What the operations point at is copied
 * to ops.arena. The first lamport used is above base's last one, too.
 */
bool doc_diff(const struct doc *base, struct slice bytes, bool json, const struct id *node,
	      const struct doc_stamp *stamp, struct ops *ops);

/** The same for content in chunks: an OP_CHUNKS unless base shows this very manifest. */
bool doc_diff_chunks(const struct doc *base, struct slice manifest, const struct id *node,
		     const struct doc_stamp *stamp, struct ops *ops);

/** What a content is to become. */
struct doc_wanted {
	struct slice bytes;
	bool chunked; /**< bytes are a manifest */
	bool json;
};

/** Whether bytes merge as text: no NUL and few controls in the first 8 KiB, at most 4 MiB. */
bool doc_is_text(struct slice bytes);
/**
 * Takes a save back: appends what turns `after`, which it left, into `wanted`, as far as `now` still is what the
 * save made of it. true if that is anything. Nothing is applied.
 */
bool doc_undo(struct doc *after, struct doc *now, const struct doc_wanted *wanted,
	      const struct id *node, const struct doc_stamp *stamp, struct ops *ops);

enum doc_mode {
	DOC_EMPTY, /**< nothing was ever written */
	DOC_RAW,
	DOC_CHUNKS, /**< the rendering is a manifest */
	DOC_JSON
};

enum doc_mode doc_mode(const struct doc *d);

/** One value that lost against the shown one. Slices are valid until fn returns. */
struct doc_loser {
	struct slice path; /**< empty and raw = true: the whole value */
	bool raw;
	bool chunks;	   /**< raw, and value is a manifest */
	uint8_t container; /**< '{' or '[': an object or array, and no value; else 0 */
	struct slice value;
	struct opid id;
	uint64_t hlc;
};

/**
 * Calls fn for every sibling that is not shown and whose value differs from the shown one. While a raw
 * value is shown, that is the other raw values, and the fields that no author of a whole value had seen; the
 * others were replaced, and are reported when they are shown again. Fields beneath a scalar that won against their object are losers one by one.
 */
void doc_losers(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l), void *ctx);
/** Losers, and runs of lines that clash. */
size_t doc_conflict_count(const struct doc *d);

/** Neighbouring lines of the text that is shown which two operations changed that did not know of each other. */
struct doc_clash {
	uint64_t line; /**< from 1 */
	uint64_t line_count;
	uint64_t pos; /**< in bytes */
	uint64_t len;
	struct opid a;
	struct opid b;
};

void doc_clashes(const struct doc *d, void (*fn)(void *ctx, const struct doc_clash *c), void *ctx);
/** The highest lamport of any operation that was applied. */
uint64_t doc_last_lamport(const struct doc *d);

/** A loser by name. One operation may have written several. */
struct doc_which {
	struct opid id;
	struct slice path; /**< encoded; empty: the root, or the whole value */
};

/**
 * Appends operations that settle a conflict: that take away the value that lost (NULL: all that lost, and no
 * line clashes any more), or, if use, all that it lost against. true if there are any. Nothing is applied.
 */
bool doc_settle(const struct doc *d, const struct doc_which *loser, bool use, const struct id *node,
		const struct doc_stamp *stamp, struct ops *ops);
/** What is shown where l lost; of a whole value, only who wrote it when. false: nothing is. */
bool doc_shown_at(const struct doc *d, const struct doc_loser *l, struct doc_loser *ret);
/** Appends the value of a field's loser, or of what is shown there, as JSON; objects and arrays on one line. */
void doc_loser_text(const struct doc *d, const struct doc_loser *l, struct buf *out);

/** Calls fn for every manifest among the raw siblings. */
void doc_manifests(const struct doc *d,
		   void (*fn)(void *ctx, struct opid id, struct slice manifest), void *ctx);
/** The raw sibling that is shown, lamport 0 = none is, and its time unless ret_hlc is NULL. */
struct opid doc_shown_raw(const struct doc *d, uint64_t *ret_hlc);

/**
 * "a.b[id=7].c" for people, from an encoded path; keys with a dot, bracket or control are JSON-quoted.
 * An element without an id is "[?]".
 */
void doc_path_text(struct slice path, struct buf *out);
/** The same, but an element without an id has the index it has in d now, if it is there. */
void doc_path_show(const struct doc *d, struct slice path, struct buf *out);
/** The value an OP_SET or OP_INSERT brings, as JSON on one line. */
void doc_value_text(const struct op *op, struct buf *out);

#endif
