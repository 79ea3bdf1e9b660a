/*
 * A lossless JSON scanner: it reports where each token stands in the source text and changes nothing.
 *
 * Strict RFC 8259, in a loop with an explicit stack. A UTF-8 byte order mark in front is allowed.
 * Rejected, and thus kept as text by core/doc: duplicate keys (decoded) in one object, lone
 * surrogates, invalid UTF-8, more than JSON_DEPTH_MAX levels of objects and arrays, more than
 * JSON_NODES_MAX values, anything after the value. A container beneath DOC_DEPTH_MAX others is checked
 * likewise, but reported as one value (JSON_DEEP), without what is in it.
 */
#ifndef BLAZE_CORE_JSON_H
#define BLAZE_CORE_JSON_H

#include "core/arena.h"

/** Containers in containers; what is deeper is kept as text. */
#define JSON_DEPTH_MAX 100000
/** Values in one text; 56 bytes of memory each here, some 130 in core/doc. */
#define JSON_NODES_MAX 1000000
/** A record of more JSON is kept as one value: its fields and its layout together could be twice the text. */
#define JSON_RECORD_BYTES_MAX (16u << 20)

enum json_kind {
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_SCALAR, /**< string, number, true, false, null */
	JSON_DEEP    /**< an object or array in DOC_DEPTH_MAX others */
};

/** One value of the text. Offsets count bytes from the start of the text. */
struct json_node {
	enum json_kind kind;
	uint32_t start;	    /**< first byte of the value */
	uint32_t end;	    /**< one past its last byte */
	uint32_t key_start; /**< of the member's key string with its quotes; member of an object only */
	uint32_t key_end;
	uint32_t parent;      /**< index; the root's is JSON_NONE */
	uint32_t first_child; /**< members or elements in source order */
	uint32_t last_child;
	uint32_t next; /**< next sibling */
	uint32_t child_count;
	struct slice key; /**< decoded; borrowed from the text or the tree's arena */
};

#define JSON_NONE UINT32_MAX

struct json {
	struct slice text;	 /**< borrowed */
	struct json_node *nodes; /**< [0] is the root; depth first */
	size_t count;
	struct arena arena;
};

struct json_error {
	size_t line;	  /**< from 1 */
	size_t column;	  /**< from 1, in bytes */
	const char *what; /**< static text, such as "expected a value" */
	bool limit;	  /**< it may well be JSON, but is beyond a limit, which `what` names */
};

/**
 * Scans text. 0, or -EBADMSG with *error (may be NULL) filled. The tree borrows the text; free it with
 * json_fini() in either case.
 */
int json_scan(struct slice text, struct json *ret, struct json_error *error);
void json_fini(struct json *j);
/** Appends why a record is not merged by field, for people: one sentence without a full stop. */
void json_say(const struct json_error *e, struct buf *out);
/** The same of a record above JSON_RECORD_BYTES_MAX. */
void json_say_large(struct buf *out);

/**
 * Whether two values' source texts are the same value: equal but for whitespace between tokens. Both
 * are the text of one JSON value, without whitespace around it.
 */
bool json_same(struct slice a, struct slice b);

/**
 * Appends the source text of one valid value without the whitespace between its tokens: the form in
 * which a container is stored as one value.
 */
void json_squeeze(struct slice value, struct buf *out);

/** Whether the text is one valid value with nothing around it. */
bool json_is_value(struct slice text);

/** The key a string's source (between its quotes) says, in `a` if it has escapes. false if it is none. */
bool json_key_decode(struct slice inside, struct arena *a, struct slice *ret);

/** A hash for tables of keys. Give it a seed an author of keys cannot know, such as an address. */
uint64_t json_key_hash(struct slice key, uint64_t seed);

#endif
