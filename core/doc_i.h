/*
 * Inside of core/doc: shared by doc*.c and nobody else.
 *
 * Fields form a tree: a field is found under its parent by its key, and its path is the keys from the
 * root down. doc.fields[0] is the root and always there. Its children are members (of the object it
 * may be) and items (of the array it may be); they do not get in each other's way. A field is live
 * while it or anything beneath it has a value; it is kept while anything of it is in the state, a
 * place or a space included. Others stay in memory until doc_compact(). Siblings of all registers
 * live in one pool, linked in ascending order of their ids.
 *
 *   path      per level: varint key length << 1 | is_item, key
 *   item key  u8 0, then the place it was born at; or u8 1 + index in ID_NAMES and the source text of
 *             the member of that name when it was made. So an element keeps its identity when it is
 *             moved or that member is edited, and two devices that make the element of one id unite.
 *
 * Places are byte strings that sort as memcmp says, with room between any two (Fugue as strings): no
 * tombstones, nothing to look up. A place is one or more steps, from the root of Fugue's tree down:
 *
 *   step      signed rank, unsigned lamport, 8 bytes actor: the waypoint, that is the operation that
 *             began the run; signed index in the run, unsigned own lamport - the waypoint's
 *             (all in an encoding that keeps their order, see doc_place.c)
 *
 * Elements put in one after the other by one device share a waypoint, in either direction, so that
 * runs put at one place at the same time never mix. Lamport 0: the actor is a digest of the array's
 * content instead, so that equal arrays made at the same time are one.
 *
 * Trees (VALUE_TREE, and the elements of OP_INSERT) hold new values with all that is in them:
 *
 *   node      u8 kind | 4 if a space follows, [bytes space]
 *     TEXT    bytes source text
 *     OBJECT  varint n, n times (bytes key, node); their places are steps 0..n-1 of this operation
 *     ARRAY   varint n, u8 1 + index in ID_NAMES: where items have their key from; or u8 0 and,
 *             unless n is 0, 8 bytes digest of the content: the waypoint of all; then n nodes
 *
 * State, as doc_encode() writes it (varint and bytes as in core/bytes.h):
 *
 *   u8 version = 7
 *   varint seen_count, then (8 bytes actor, varint lamport << 1 | blank) each, ascending: the last operation of
 *                      each actor who ever wrote here; what is not above it is a duplicate
 *   raw                varint sibling_count, siblings
 *   style              likewise
 *   root               a field without its key
 *   covers             varint n, each: a token, an operation; both as 8 bytes actor, varint lamport
 *
 *   field              u8 FIELD_* flags | min(sibling_count, 3)
 *                      [varint sibling_count - 3]   if it is 3 or more
 *                      [varint kept_children]       FIELD_CHILDREN
 *                      key: nothing                 FIELD_KEY_NEXT: a step after the item's before
 *                           varint n, bytes x       FIELD_ITEM: n bytes of the one before, and x
 *                           bytes                   a member's
 *                      siblings
 *                      [varint count, siblings]     FIELD_PLACES: varint n, bytes x each, as above;
 *                                                   FIELD_PLACE_NEXT: a step after the place before,
 *                                                   made by the first sibling's operation
 *                      [varint count, siblings]     FIELD_SPACES, with bytes each
 *                      kept_children fields, members first, each in the order shown
 *   sibling            u8 SIB_* flags; SIB_SHADED: see struct sib
 *                      [varint index in seen]       SIB_ACTOR, else that of the sibling before
 *                      [varint zigzag difference]   SIB_LAMPORT, else the sibling before's, + 1 if
 *                                                   SIB_NEXT
 *                      [varint zigzag difference]   SIB_HLC, else that of the sibling before
 *                      bytes value                  of a SIB_TEXT
 *                      text                         of raw and style; of a SIB_CHUNKS, a manifest
 *                                                SIB_ROOT: before the text, 16 bytes root, varint (other heads)
 *                                                << 1 | fresh, each: 8 bytes actor, varint lamport,
 *                                                varint hlc, u8 alive
 *                                                and after it clashes
 *   clashes            varint count, each: varint bytes since the one before, varint lines, twice
 *                      8 bytes actor, varint lamport
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

enum sib_kind {
	SIB_TEXT,
	SIB_OBJECT,
	SIB_ARRAY,
	SIB_CHUNKS /**< of the raw register only: a manifest */
};

struct sib {
	struct opid id;
	uint64_t hlc;
	struct slice value; /**< of a SIB_TEXT, a place, a space, raw, style */
	enum sib_kind kind;
	uint32_t next;
	uint32_t root; /**< of the raw register only: the text this stands for, or DOC_NONE */
	/**
	 * Beneath a field that was given a value of another kind by somebody who had seen this: there no more, but
	 * kept, and shown if others, who had not seen that, bring the object or array around it back. Whoever gives
	 * the field a value next takes it away.
	 */
	bool shaded;
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
	struct text_clash *clashes; /**< owned; lines that several changed */
	size_t clash_count;
};

struct doc_mem;

/** Who wrote a whole value had seen the fields of this actor up to this operation; see doc_cover.c. */
struct cover {
	struct opid token; /**< the operation that wrote it, an edit of a text included */
	struct opid upto;
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
	uint32_t child_count;  /**< dead ones included */
	uint32_t live_members; /**< children */
	uint32_t live_items;   /**< children */
	uint32_t live;	       /**< values here and beneath, but shaded ones */
	uint32_t shaded;       /**< shaded values here and beneath */
	uint32_t kept;	       /**< values, places and spaces here and beneath */
	struct reg reg;
	struct reg place; /**< the winner has the highest id */
	struct reg space; /**< likewise */
	bool is_item;
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
	struct reg style;
	struct seen *seen; /**< ascending by actor */
	uint32_t seen_count;
	uint32_t seen_cap;
	uint32_t *index; /**< hash table of field + 1; NULL while all objects are small */
	uint32_t index_cap;
	uint64_t seed;
	struct root *roots;
	uint32_t root_count;
	uint32_t root_cap;
	struct cover *covers; /**< ascending by token and actor */
	uint32_t cover_count;
	uint32_t cover_cap;
	struct doc_side side; /**< put is NULL: `mem` is used */
	struct doc_mem *mem;
	int error;     /**< of the side, the first one */
	bool is_fork;  /**< keeps nothing beside itself */
	uint8_t *blob; /**< the decoded state; keys and values borrow from it */
	struct arena arena;
	size_t copied;	   /**< bytes put in the arena by doc_apply() */
	size_t compact_at; /**< garbage may dominate when `copied` exceeds this */
};

/** A key with the kind of child it is of. */
struct doc_key {
	struct slice bytes;
	bool is_item;
};

/** A field to put in order. */
struct ranked {
	struct slice place; /**< empty: after all that have one */
	struct slice key;
	uint32_t field;
	bool is_item;
};

struct ranking {
	struct ranked *items;
	size_t count;
	size_t cap;
};

enum rank_what {
	RANK_MEMBERS,	     /**< live ones */
	RANK_MEMBERS_SORTED, /**< live ones, by key */
	RANK_ITEMS,	     /**< live ones */
	RANK_KEPT	     /**< all that is in the state */
};

/* doc_state.c: registers and the field tree. */

/** Makes room in a new document, so that it need not grow little by little. */
void doc_reserve(struct doc *d, uint32_t fields, uint32_t sibs);
/** A copy that borrows base's strings. base must outlive it. */
struct doc *doc_fork(const struct doc *base);
/** Notes that id was applied. false if it was already. *ret_before is the author's entry before, lamport 0 = none. */
bool doc_see(struct doc *d, struct opid id, struct seen **ret, struct seen *ret_before);
/** Adds a sibling, or gives the one of this id; the pointer is valid until the next call. */
struct sib *doc_reg_add(struct doc *d, struct reg *reg, struct opid id);
/** Takes out those of `preds` that are there and returns how many were. */
uint32_t doc_reg_remove(struct doc *d, struct reg *reg, const struct opid *preds, size_t count);
/** Takes out those that an actor in `preds` wrote no later than the id there. */
void doc_reg_cover(struct doc *d, struct reg *reg, const struct opid *preds, size_t count);
/** The same, but those that are not shaded yet are shaded instead. */
void doc_reg_shade(struct doc *d, struct reg *reg, const struct opid *preds, size_t count);
/** The sibling with the highest (hlc, lamport, actor), DOC_NONE if there is none. */
uint32_t doc_reg_best(const struct doc *d, struct reg reg);
/** The sibling with the highest id, DOC_NONE if there is none. */
uint32_t doc_reg_last(const struct doc *d, struct reg reg);
/** Negative if a is the older by (hlc, lamport, actor). */
int doc_sib_cmp(const struct sib *a, const struct sib *b);
/** `hint` is the field it might be, or DOC_NONE. */
uint32_t doc_child(const struct doc *d, uint32_t parent, struct doc_key key, uint32_t hint);
/** Adds a child that is not there yet. */
uint32_t doc_child_add(struct doc *d, uint32_t parent, struct doc_key key);
/** The field at this path, or DOC_NONE. If make, it is created where missing. */
uint32_t doc_field_at(struct doc *d, struct slice path, bool make);
/** What the registers of a field hold. */
struct held {
	uint32_t live;	 /**< values, but shaded ones */
	uint32_t shaded; /**< values */
	uint32_t kept;	 /**< values, places and spaces */
};

struct held doc_held(const struct doc *d, uint32_t f);
/** Corrects the counts, here and above, of a field that held `before`. */
void doc_field_count(struct doc *d, uint32_t f, const struct held *before);
/** Whether the field is shown if what it is in is: it is live, or shaded. */
bool doc_is_there(const struct doc *d, uint32_t f);
/** The field after f, depth first, within the subtree `top`. If !into, f's children are skipped. */
uint32_t doc_walk(const struct doc *d, uint32_t f, uint32_t top, bool into);
/**
 * What the live field f is shown as. *ret_text is the winner among its text siblings, DOC_NONE if it
 * has none.
 */
enum sib_kind doc_shows(const struct doc *d, uint32_t f, uint32_t *ret_text);
/** The newest value of f as an object or array, and of what is in it. */
uint32_t doc_newest(const struct doc *d, uint32_t f, enum sib_kind kind);
/** A field's place among its siblings; empty if it has none. */
struct slice doc_field_place(const struct doc *d, uint32_t f);
/** Appends children of f, in order. */
void doc_rank_children(const struct doc *d, uint32_t f, enum rank_what what, struct ranking *out);
void doc_path(const struct doc *d, uint32_t f, struct buf *out);
void doc_path_add(struct buf *path, struct doc_key key);
/** The next key of a path. */
struct doc_key doc_path_key(struct reader *r);
/** A place, or the text of a member. */
bool doc_item_key_is_sound(struct slice key);
/** Well-formed and at most DOC_DEPTH_MAX keys. *ret_last is the last one's. */
bool doc_path_is_sound(struct slice path, size_t *ret_depth, struct doc_key *ret_last);

/* doc.c */

/** doc_losers() as it would be without the whole values that hide the fields. */
void doc_losers_among_fields(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l),
			     void *ctx);

/* doc_place.c */

/** The last step of a place, and where it starts. */
struct step {
	int64_t rank;
	struct opid waypoint;
	int64_t index;
	uint64_t own; /**< own lamport - the waypoint's */
};

#define DOC_PLACE_BYTES_MAX (CHANGE_PLACE_BYTES_MAX + 64)

void doc_step_put(struct buf *out, const struct step *s);
/** Reads one step; bad when malformed. */
struct step doc_step_take(struct reader *r);
bool doc_place_is_sound(struct slice place);
/** Appends the place one index after `place`, which is sound and not empty. */
void doc_place_next(struct slice place, struct buf *out);
/** Whether `place` is one index after `before`, which may be empty: then it is not. */
bool doc_place_is_next(struct slice before, struct slice place);
/** Appends the place an operation gives the i-th of its elements. */
void doc_place_of(const struct place *p, struct opid op, uint32_t i, struct buf *out);
/**
 * A place for `count` new ones between two (empty: before or after all), given to operation `id` of
 * its author. false if there is no room because they are not in ascending order, or too deep.
 */
bool doc_place_between(struct slice left, struct slice right, struct opid id, uint32_t count,
		       struct arena *arena, struct place *ret);

/* doc_space.c: how values are formatted. */

/** What a space can say, in the order it is written; the first two are without text. */
enum {
	SPACE_INLINE = 1,  /**< a container on one line, though the style says otherwise */
	SPACE_BROKEN = 2,  /**< likewise, one member a line */
	SPACE_BEFORE = 4,  /**< between the comma before and the key or value */
	SPACE_OPEN = 8,	   /**< after a container's bracket */
	SPACE_SEP = 16,	   /**< SPACE_BEFORE of all that is in this container */
	SPACE_CLOSE = 32,  /**< before a container's closing bracket */
	SPACE_COLON = 64,  /**< the colon with what is around it */
	SPACE_AFTER = 128, /**< between the value and the comma after it */
	SPACE_KEY = 256,   /**< the key's source, without its quotes */
	SPACE_VALUE = 512, /**< the source of a container that is one value */
	SPACE_ALL = 1023
};

#define SPACE_TEXTS 8

struct space {
	unsigned mask;
	struct slice text[SPACE_TEXTS]; /**< from SPACE_BEFORE on */
};

enum {
	STYLE_CRLF = 1,
	STYLE_OBJECTS_BROKEN = 2,
	STYLE_ARRAYS_BROKEN = 4,
	STYLE_ASCII = 8,   /**< keys: \u for what is not ASCII */
	STYLE_SLASH = 16,  /**< keys: \/ */
	STYLE_HTML = 32,   /**< keys: \u for < > & */
	STYLE_SORTED = 64, /**< members are in the order of their keys */
	STYLE_ALL = 127
};

#define STYLE_TEXTS 8

enum style_text {
	STYLE_UNIT,	/**< of indentation */
	STYLE_COMMA,	/**< after a comma on one line */
	STYLE_COLON,	/**< with what is around it */
	STYLE_PAD,	/**< inside the braces of an object on one line */
	STYLE_PAD_LIST, /**< inside the brackets of an array on one line */
	STYLE_TRAIL,	/**< after a comma that ends a line */
	STYLE_PREFIX,	/**< before the root: byte order mark, whitespace */
	STYLE_SUFFIX	/**< after the root */
};

struct style {
	struct opid id; /**< spaces that are not above it are void */
	unsigned flags;
	uint8_t depth; /**< containers in this many others and deeper are on one line */
	struct slice text[STYLE_TEXTS];
	struct buf ladder; /**< trail, line end, and units for every depth */
	size_t trail_len;
	size_t nl_len;
};

/** The whitespace of one container. */
struct lay {
	struct slice open;
	struct slice sep;
	struct slice close;
};

/** Fills *ret from the winner, or the default; free with doc_style_fini(). */
void doc_style_of(const struct doc *d, struct style *ret);
/** All on one line, and all spaces void. */
void doc_style_plain(struct style *ret);
bool doc_style_decode(struct slice blob, struct style *ret);
void doc_style_encode(const struct style *s, struct buf *out);
/** The style that fits the text best. Its texts borrow from it. */
void doc_style_guess(const struct json *j, struct style *ret);
void doc_style_fini(struct style *s);
bool doc_style_breaks(const struct style *s, bool is_array, size_t depth, const struct space *own);
struct lay doc_style_lay(const struct style *s, bool is_array, size_t depth,
			 const struct space *own);
/** The key is spelled as it is. */
bool doc_style_is_plain(const struct style *s, struct slice key);
void doc_style_key(const struct style *s, struct slice key, struct buf *out);

bool doc_space_decode(struct slice blob, struct space *ret);
/** Decodes, and the key it spells is this one (NULL: there is none). */
bool doc_space_is_sound(struct slice blob, const struct slice *key);
void doc_space_encode(const struct space *s, struct buf *out);
/** What holds for f under this style. */
void doc_space_of(const struct doc *d, const struct style *s, uint32_t f, struct space *ret);
struct slice doc_space_text(const struct space *s, unsigned bit);
void doc_space_set(struct space *s, unsigned bit, struct slice text);
/** A container that is one value, as it is shown. */
void doc_space_value(const struct style *s, size_t depth, const struct space *own,
		     struct slice value, struct buf *out);

/* doc_tree.c */

#define NODE_SPACE 4u
/** Names of members that may tell the elements of an array apart. */
#define ID_NAMES 5
#define ID_BYTES_MAX 64
extern const char *const doc_id_names[ID_NAMES];

/** The tree is well-formed at a path of this many keys. */
bool doc_tree_is_sound(struct slice tree, size_t count, size_t depth, const struct slice *key);
/** Makes the tree the value of f. */
void doc_tree_apply(struct doc *d, uint32_t f, struct slice tree, struct opid id, uint64_t hlc);
/** Makes OP_INSERT's elements. */
void doc_tree_insert(struct doc *d, uint32_t f, const struct op *op, struct opid id, uint64_t hlc);
/** The tree as JSON on one line. */
void doc_tree_text(struct slice tree, size_t count, struct buf *out);
/**
 * Whether the item f, shown as an object, lacks the member it is known by: it was deleted, and is there again only
 * because somebody edited something in it who had not seen that. Then it is shown with this member as its first.
 */
bool doc_lost_id(const struct doc *d, uint32_t f, struct slice *ret_name, struct slice *ret_token);
/** The key of an item known by its member doc_id_names[name]. */
void doc_item_key(unsigned name, struct slice token, struct buf *out);

/* doc.c */

/** doc_apply() of an operation known to be well-formed. */
void doc_apply_sound(struct doc *d, const struct op *op, struct opid id, uint64_t hlc);

/* doc_render.c */

/** What is in f as an object or array, on one line. */
void doc_render_container(const struct doc *d, uint32_t f, bool is_array, struct buf *out);

/* doc_match.c: which element of the save is which of base. */

struct matching {
	const struct doc *base;
	const struct json *json;
	uint64_t *node_hash;  /* by node, 0 = not known yet */
	uint64_t *field_hash; /* by field, likewise */
};

/** What a node of the save, a live field of base says, whatever its formatting and order of keys. */
uint64_t doc_match_node(struct matching *m, uint32_t node);
uint64_t doc_match_field(struct matching *m, uint32_t field);
/** The index of the name that tells all elements apart, or ID_NAMES. */
unsigned doc_match_id(const struct json *j, uint32_t array);
/**
 * Fills match[i] for the i-th of the array's elements: an index into `items` (base's elements in the
 * order shown), each at most once, or DOC_NONE.
 */
void doc_match_items(struct matching *m, uint32_t array, const struct ranking *items, size_t first,
		     uint32_t *match);
/** Marks which of the matched ones stay where they are: a longest ascending run. */
void doc_match_stay(const uint32_t *match, size_t count, uint8_t *stay);
/** A number, string or other short value, or an array that is one value. */
bool doc_match_is_flat(const struct json *j, uint32_t node);

/* doc_edit.c: the operations a JSON save becomes. */

struct diff {
	const struct doc *base;
	struct slice bytes;
	const struct id *node;
	const struct doc_stamp *stamp;
	struct ops *ops;
	size_t first;	    /* of ops, the first one made here */
	size_t paths_bytes; /* of all paths so far */
	bool too_large;	    /* for a change: give up */
	bool firm;	    /* write containers anew where others compete with them, places too */
	const struct json *json;
	struct style style;
	bool restyled; /* base's spaces are void */
	size_t spaces; /* what formatting costs so far, in bytes */
	struct matching matching;
	uint32_t *rank; /* by field of base: where it stands among the container's at hand */
	struct buf path;
	struct buf scratch;
	struct ranking ranking;
};

/** An operation that replaces nothing yet. */
struct op *doc_edit_op(struct diff *x, enum op_kind kind);
/** It replaces all of this register. */
void doc_edit_preds(struct diff *x, struct op *op, struct reg reg);
/**
 * An operation on the raw register that replaces all of it. Preds are never empty if the document is not:
 * without any, the operation would say that its author knew of nothing. Of fields that a whole value hides they
 * say what was seen, by the last operation of everybody on one: what was not, is among the losers.
 */
struct op *doc_edit_raw(struct diff *x, enum op_kind kind);
/** Appends the operations that turn base's fields into x->json, in x->style. */
void doc_edit(struct diff *x);

/* doc_layout.c: how the save is formatted. */

/** Where a node of the save stands. */
struct place_in {
	uint32_t previous; /**< sibling before it, or JSON_NONE */
	struct slice sep;  /**< what its container has between two */
	struct space now;  /**< what base says of it */
	bool is_list;	   /**< base keeps it as an array with elements, however short it is */
	bool bare;	   /**< its tree does not say its space */
};

/** The space of a node. Its texts borrow from the save, the style and in->now. */
void doc_layout_space(struct diff *x, uint32_t node, size_t depth, const struct place_in *in,
		      struct space *ret);
/** Appends a new value's tree. */
void doc_layout_tree(struct diff *x, uint32_t node, size_t depth, const struct place_in *in,
		     struct buf *out);
/** A node's value as it is kept: the token, or a container without whitespace, in x->scratch. */
struct slice doc_layout_value(struct diff *x, uint32_t node);

/* doc_text.c: the raw register */

/** RAW, CHUNKS, UNRAW, TEXT. initial: its author knew of nothing in this document. */
void doc_apply_raw(struct doc *d, const struct op *op, struct opid id, uint64_t hlc, bool initial);
/** A raw sibling's bytes. */
struct slice doc_sib_text(const struct doc *d, const struct sib *s);
/** What an operation that replaces the raw value has to name. ret NULL: only the count. */
size_t doc_raw_tokens(const struct doc *d, struct opid *ret);
struct slice doc_root_text(const struct root *r);
/** Brings the root's text its graph from this lamport on. -ENOENT: its heads are not in there. */
int doc_load_log(struct doc *d, struct root *r, uint64_t from);
/** A root without heads. The pointer is valid until the next call. */
struct root *doc_root_add(struct doc *d, const struct id *id);
void doc_root_head(struct root *r, struct head head);
/** Brings the root's sibling in line with its tokens. false if it has none. */
bool doc_root_show(struct doc *d, struct root *r);
void doc_roots_fini(struct doc *d);
/** Copies from's roots to d, which has none; the contents are borrowed. */
void doc_roots_copy(struct doc *d, const struct doc *from);

/* doc_diff_text.c */

/** The text that is shown; NULL if something else is. */
const struct root *doc_shown_text(const struct doc *d);

/**
 * Appends the edits of a save to `ret_edits`. false: the save is to be kept as a whole, because it or what is
 * shown is no text, or because they have next to nothing in common.
 */
bool doc_diff_text(const struct doc *base, struct slice bytes, const struct doc_stamp *stamp,
		   struct buf *ret_edits);
/** What such an operation has to name: the text's heads, then all other tokens. ret NULL: only the count. */
size_t doc_text_preds(const struct doc *base, struct opid *ret);

/* doc_clash.c: lines that several changed */

/** How the text of a root stood before an operation. */
struct before_edit {
	bool on_top; /**< the operation's author knew of all there is */
	uint64_t len;
	bool open; /**< no line feed at its end */
};

struct before_edit doc_clashes_before(struct root *r, const struct text_event *v);
/** Brings the root's clashes in line after v was applied. A negative errno of the side. */
int doc_clashes_after(struct doc *d, struct root *r, const struct text_event *v,
		      const struct before_edit *before);
/** Runs of lines. */
size_t doc_clash_count(const struct doc *d);
void doc_clashes_copy(struct root *to, const struct root *from);
void doc_clashes_fini(struct root *r);
/** After the text. */
void doc_clashes_encode(const struct root *r, struct buf *out);
void doc_clashes_decode(struct root *r, struct slice text, struct reader *in);

/* doc_root.c */

/** On its own, with its text. */
void doc_root_encode(const struct root *root, struct buf *out);
/** The content borrows from `bytes`. root->id and sib are left alone. */
int doc_root_decode(struct root *root, struct slice bytes);
/** Beside its sibling, without its text. */
void doc_root_write(const struct doc *d, const struct sib *s, struct buf *out);
/** Adds the root of a sibling just read. */
void doc_root_read(struct doc *d, uint32_t sib, struct reader *r);

/* doc_cover.c */

/** Whether a whole value was put in the place of a field's value `id`, and is still there. */
bool doc_is_covered(const struct doc *d, struct opid id);
/** Notes what the author of a whole value had seen: all of an actor's up to the operation that preds name. */
void doc_cover(struct doc *d, const struct op *op, struct opid token);
void doc_covers_copy(struct doc *d, const struct doc *from);
/** What says nothing any more is left out. */
void doc_covers_encode(const struct doc *d, struct buf *out);
void doc_covers_decode(struct doc *d, struct reader *r);

/* doc_mem.c */

struct doc_mem *doc_mem_create(void);
struct doc_mem *doc_mem_clone(const struct doc_mem *from);
void doc_mem_destroy(struct doc_mem *m);
const struct doc_side *doc_mem_side(const struct doc_mem *m);

#endif
