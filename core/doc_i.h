/*
 * Inside of core/doc: shared by doc*.c and nobody else.
 *
 * Fields form a tree: a field is found under its parent by its decoded key, and its path is the
 * keys from the root down. doc.fields[0] is the root and always there. A field is live while it or
 * anything beneath it has a sibling; dead ones stay in memory until doc_compact() and are not part
 * of the state. Siblings of all registers live in one pool, linked in ascending order of their ids.
 *
 * State, as doc_encode() writes it (varint and bytes as in core/bytes.h):
 *
 *   u8 version = 1
 *   varint seen_count, then (8 bytes actor, varint lamport) each, ascending: the last operation of
 *                      each actor who ever wrote here; what is not above it is a duplicate
 *   raw                varint sibling_count, siblings
 *   layout             varint sibling_count, siblings
 *   root               a field without its key
 *
 *   field              varint live_children << 2 | min(sibling_count, 3)
 *                      [varint sibling_count - 3]   if it is 3 or more
 *                      bytes key
 *                      siblings
 *                      live_children fields, in the order of (ord, key)
 *   sibling            u8 SIB_* flags
 *                      [varint index in seen]       SIB_ACTOR, else that of the sibling before
 *                      [varint zigzag difference]   SIB_LAMPORT, else the sibling before's + 1
 *                      [varint zigzag difference]   SIB_HLC, else that of the sibling before
 *                      [varint lamport, varint 0 and 8 bytes actor or index in seen + 1]   SIB_ORD
 *                      bytes value                  of a VALUE_TEXT
 *                      text                         of raw and layout
 *                                                SIB_CHUNKS: the text is a manifest
 *   text               varint n, varint m, bytes x: the first n bytes of the rendering, x, and its
 *                      last m bytes
 */
#ifndef BLAZE_CORE_DOC_I_H
#define BLAZE_CORE_DOC_I_H

#include "core/doc.h"
#include "core/json.h"

/** No such field, sibling. */
#define DOC_NONE UINT32_MAX

struct sib {
	struct opid id;
	struct opid ord; /**< never 0; of a field's only */
	uint64_t hlc;
	struct slice value;
	enum value_kind kind;
	uint32_t next;
};

/** A multi-value register. */
struct reg {
	uint32_t first;
	uint32_t count;
};

struct field {
	struct slice key;
	uint32_t parent;
	uint32_t next;
	uint32_t first_child;
	uint32_t last_child;
	uint32_t child_count; /**< dead ones included */
	uint32_t live_children;
	uint32_t live; /**< siblings here and beneath */
	struct reg reg;
};

struct seen {
	uint64_t actor;
	uint64_t lamport;
};

struct doc {
	struct field *fields;
	uint32_t field_count;
	uint32_t field_cap;
	struct sib *sibs;
	uint32_t sib_count;
	uint32_t sib_cap;
	uint32_t sib_free; /**< list of unused ones */
	struct reg raw;
	struct reg layout;
	struct seen *seen; /**< ascending by actor */
	uint32_t seen_count;
	uint32_t seen_cap;
	uint32_t *index; /**< hash table of field + 1; NULL while all objects are small */
	uint32_t index_cap;
	uint64_t seed;
	uint8_t *blob; /**< the decoded state; keys and values borrow from it */
	struct arena arena;
	size_t copied;	   /**< bytes put in the arena by doc_apply() */
	size_t compact_at; /**< garbage may dominate when `copied` exceeds this */
};

/** A field to put in order. */
struct ranked {
	struct opid ord;
	struct slice key;
	uint32_t field;
};

struct ranking {
	struct ranked *items;
	size_t count;
	size_t cap;
};

/* doc_state.c: registers and the field tree. */

/** A copy that borrows base's strings. base must outlive it. */
struct doc *doc_fork(const struct doc *base);
/** Notes that id was applied. false if it was already. */
bool doc_see(struct doc *d, struct opid id);
/** Adds a sibling; the pointer is valid until the next call. */
struct sib *doc_reg_add(struct doc *d, struct reg *reg, struct opid id);
/** Takes out those of `preds` that are there and returns how many were. */
uint32_t doc_reg_remove(struct doc *d, struct reg *reg, const struct opid *preds, size_t count);
/** The sibling with the highest (hlc, lamport, actor), DOC_NONE if there is none. */
uint32_t doc_reg_best(const struct doc *d, struct reg reg);
/** Negative if a is the older by (hlc, lamport, actor). */
int doc_sib_cmp(const struct sib *a, const struct sib *b);
/** `hint` is the field it might be, or DOC_NONE. */
uint32_t doc_child(const struct doc *d, uint32_t parent, struct slice key, uint32_t hint);
/** Adds a child that is not there yet. */
uint32_t doc_child_add(struct doc *d, uint32_t parent, struct slice key);
/** The field at this path, or DOC_NONE. If make, it is created where missing. */
uint32_t doc_field_at(struct doc *d, struct slice path, bool make);
/** Adds to the count of live siblings, here and above. */
void doc_field_count(struct doc *d, uint32_t f, int32_t delta);
/** The field after f, depth first, within the subtree `top`. If !into, f's children are skipped. */
uint32_t doc_walk(const struct doc *d, uint32_t f, uint32_t top, bool into);
/**
 * Whether the live field f is shown as an object. *ret_text is the winner among its text siblings,
 * DOC_NONE if it has none.
 */
bool doc_shows_object(const struct doc *d, uint32_t f, uint32_t *ret_text);
/** A live field's place among its siblings. */
struct opid doc_field_ord(const struct doc *d, uint32_t f);
/** Appends f's live children, in order, except those set in `skip` (by field; NULL: none). */
void doc_rank_children(const struct doc *d, uint32_t f, const uint8_t *skip, struct ranking *out);
void doc_path(const struct doc *d, uint32_t f, struct buf *out);
/** Well-formed and at most DOC_DEPTH_MAX keys. */
bool doc_path_is_sound(struct slice path);

/* doc.c */

/** doc_apply() of an operation known to be well-formed. */
void doc_apply_sound(struct doc *d, const struct op *op, struct opid id, uint64_t hlc);

/* doc_render.c */

/** doc_render(); `layout` is the layout winner's text scanned, NULL if there is no usable one. */
void doc_render_with(const struct doc *d, const struct json *layout, struct buf *out);
/**
 * Scans the layout winner's text into `storage` and returns that, or NULL if there is none or it is
 * no JSON. json_fini() the storage in either case.
 */
const struct json *doc_scan_layout(const struct doc *d, struct json *storage);

#endif
