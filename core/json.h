/*
 * A lossless JSON scanner: it reports where each token stands in the source text and changes nothing.
 *
 * Strict RFC 8259, in a loop with an explicit stack. A UTF-8 byte order mark in front is allowed.
 * Rejected, and thus kept as text by core/doc: duplicate keys (decoded) in one object, lone
 * surrogates, invalid UTF-8, more than DOC_DEPTH_MAX levels of objects and arrays, more than
 * CHANGE_OPS_MAX members, anything after the value. All this holds inside arrays too.
 */
#ifndef BLAZE_CORE_JSON_H
#define BLAZE_CORE_JSON_H

#include "core/arena.h"

enum json_kind {
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_SCALAR /**< string, number, true, false, null */
};

/** One value of the text. Offsets count bytes from the start of the text. */
struct json_node {
	enum json_kind kind;
	size_t start;	  /**< first byte of the value */
	size_t end;	  /**< one past its last byte */
	size_t key_start; /**< of the member's key string with its quotes; member of an object only */
	size_t key_end;
	struct slice key;     /**< decoded; borrowed from the text or the tree's arena */
	uint32_t parent;      /**< index; the root's is JSON_NONE */
	uint32_t first_child; /**< members of an object in source order; arrays have none reported */
	uint32_t last_child;
	uint32_t next; /**< next sibling */
	uint32_t child_count;
};

#define JSON_NONE UINT32_MAX

struct json {
	struct slice text;	 /**< borrowed */
	struct json_node *nodes; /**< [0] is the root; objects' members, depth first */
	size_t count;
	struct arena arena;
};

struct json_error {
	size_t line;	  /**< from 1 */
	size_t column;	  /**< from 1, in bytes */
	const char *what; /**< static text, such as "expected a value" */
};

/**
 * Scans text. 0, or -EBADMSG with *error (may be NULL) filled. The tree borrows the text; free it with
 * json_fini() in either case.
 */
int json_scan(struct slice text, struct json *ret, struct json_error *error);
void json_fini(struct json *j);

/**
 * Whether two values' source texts are the same value: equal but for whitespace between tokens. Both
 * are the text of one JSON value, without whitespace around it.
 */
bool json_same(struct slice a, struct slice b);

/** A hash for tables of keys. Give it a seed an author of keys cannot know, such as an address. */
uint64_t json_key_hash(struct slice key, uint64_t seed);

#endif
