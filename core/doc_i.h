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
 *   u8 version = 3
 *   varint seen_count, then (8 bytes actor, varint lamport << 1 | blank) each, ascending: the last operation of
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
 *                                                SIB_COVERED: see struct sib
 *                                                SIB_ROOT: before the text, 16 bytes root, varint (other heads)
 *                                                << 1 | fresh, each: 8 bytes actor, varint lamport,
 *                                                varint hlc, u8 alive
 *   text               varint n, varint m, bytes x: the first n bytes of the rendering, x, and its
 *                      last m bytes
 */
#ifndef BLAZE_CORE_DOC_I_H
#define BLAZE_CORE_DOC_I_H

#include "core/doc.h"
#include "core/json.h"
#include "core/text.h"

/** No such field, sibling. */
#define DOC_NONE UINT32_MAX

struct sib {
	struct opid id;
	struct opid ord; /**< never 0; of a field's only */
	uint64_t hlc;
	struct slice value;
	enum value_kind kind;
	uint32_t next;
	uint32_t root; /**< of the raw register only: the text this stands for, or DOC_NONE */
	bool covered;  /**< of a field: who wrote a whole value had seen it */
};

/** An operation on a text that no other is built upon. */
struct head {
	struct opid id;
	uint64_t hlc;
	bool alive; /**< it is a token, too: nothing has replaced it */
};

/** A text of the raw register; see doc_text.c. Its sibling has the id and time of its best token, and no value. */
struct root {
	struct id id;
	struct head *heads; /**< ascending by id */
	uint32_t count;
	uint32_t cap;
	bool fresh;	      /**< never edited: its log is empty */
	uint32_t sib;	      /**< DOC_NONE while it has no token */
	struct slice content; /**< while text is NULL */
	struct text *text;
};

struct doc_mem;

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
	bool blank; /**< all it did was to begin with an empty text */
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
	struct root *roots;
	uint32_t root_count;
	uint32_t root_cap;
	struct doc_side side; /**< put is NULL: `mem` is used */
	struct doc_mem *mem;
	int error;     /**< of the side, the first one */
	bool is_fork;  /**< keeps nothing beside itself */
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
/** Notes that id was applied. false if it was already. *ret_before is the author's entry before, lamport 0 = none. */
bool doc_see(struct doc *d, struct opid id, struct seen **ret, struct seen *ret_before);
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

/* doc_text.c: the raw register */

/** RAW, CHUNKS, UNRAW, TEXT. initial: its author knew of nothing in this document. */
void doc_apply_raw(struct doc *d, const struct op *op, struct opid id, uint64_t hlc, bool initial);
/** A raw sibling's bytes. */
struct slice doc_sib_text(const struct doc *d, const struct sib *s);
/** What an operation that replaces the raw value has to name. ret NULL: only the count. */
size_t doc_raw_tokens(const struct doc *d, struct opid *ret);
struct slice doc_root_text(const struct root *r);
/** A root without heads. The pointer is valid until the next call. */
struct root *doc_root_add(struct doc *d, const struct id *id);
void doc_root_head(struct root *r, struct head head);
/** Brings the root's sibling in line with its tokens. false if it has none. */
bool doc_root_show(struct doc *d, struct root *r);
void doc_roots_fini(struct doc *d);
/** Copies from's roots to d, which has none; the contents are borrowed. */
void doc_roots_copy(struct doc *d, const struct doc *from);

/* doc_diff_text.c */

/**
 * Appends the edits of a save to `ret_edits`. false: the save is to be kept as a whole, because it or what is
 * shown is no text, or because they have next to nothing in common.
 */
bool doc_diff_text(const struct doc *base, struct slice bytes, const struct doc_stamp *stamp,
		   struct buf *ret_edits);
/** What such an operation has to name: the text's heads, then all other tokens. ret NULL: only the count. */
size_t doc_text_preds(const struct doc *base, struct opid *ret);

/* doc_root.c */

/** On its own, with its text. */
void doc_root_encode(const struct root *root, struct buf *out);
/** The content borrows from `bytes`. root->id and sib are left alone. */
int doc_root_decode(struct root *root, struct slice bytes);
/** Beside its sibling, without its text. */
void doc_root_write(const struct doc *d, const struct sib *s, struct buf *out);
/** Adds the root of a sibling just read. */
void doc_root_read(struct doc *d, uint32_t sib, struct reader *r);

/* doc_mem.c */

struct doc_mem *doc_mem_create(void);
struct doc_mem *doc_mem_clone(const struct doc_mem *from);
void doc_mem_destroy(struct doc_mem *m);
const struct doc_side *doc_mem_side(const struct doc_mem *m);

#endif
