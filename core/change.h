/*
 * Changes: what one save became. A change is a list of operations that take effect together; it is
 * the unit of atomicity (one LevelDB batch), of order (one seq in its feed) and of history.
 *
 * Every operation has an id (lamport, actor). Registers are multi-value: an operation names in
 * `preds` the operations whose effect it replaces, that is, those its author saw. What it did not see
 * stays beside it as a sibling. The shown sibling is the one with the highest (hlc, lamport, actor);
 * since only concurrent writes are ever siblings, a wrong clock cannot beat a causally later write.
 *
 * A node is alive while it has tokens. Each change to a node carries one OP_TOUCH, whose id becomes a
 * token and replaces the tokens in its preds; OP_DELETE removes the tokens in its preds and adds none.
 * So a delete takes away only what its author saw, and a concurrent edit wins over it.
 *
 * Wire form of a change (varints as in core/bytes.h; `op` draws one operation): u8 version = 5, then a row. In a batch
 * (core/batch.h) rows follow each other, and `before` reaches back into the rows before; alone, all before is nothing.
 *
 *   row:
 *   u8 1 a counter follows | 2 a program follows, else it is that of the row before | 4 deps follow |
 *      8 a lamport follows, else it is the next | op_count << 4; 0: it follows
 *   [varint op_count]
 *   varint zigzag milliseconds of the hlc, from the row's before
 *   [varint counter]          the hlc's low 16 bits
 *   [u8 program]              0 = unknown; up to CHANGE_PROGRAM_BYTES_MAX: so many bytes of its name
 *                             follow; above: one of the names everybody knows (change_program.c)
 *   [varint dep_count, then (actor << 1, varint seq) each]: heads of the other feeds of this stream which
 *                             advanced since the author's previous change
 *   [varint lamport]          of the first operation, from the next after the row before
 *   op_count times:
 *     [u8 17, varint lamports left out before it]
 *     u8 kind, 16 = SET of VALUE_TEXT that neither clears nor has a place | 0x20 if the node is not that of the
 *              operation before | preds << 6: 0 none, 1 the one operation that is predicted (core/batch.h), 2 one of
 *              the author's: back, 3: actor << 1 | 1, back; or varint count << 1, then (actor << 1, back) each
 *     [node]
 *     [preds]
 *     fields by kind:
 *       TOUCH DELETE UNRAW     nothing
 *       MOVE                   u8 node_kind, node parent, bytes name
 *       SET                    path, [u8 value_kind | 0x40 if it clears | 0x80 if a place follows], bytes value,
 *                              [place]; the u8 unless it is 16
 *       UNSET                  path, u8 1 if it clears, else 0
 *       INSERT                 path, place, varint count, bytes value
 *       PLACE                  path, place
 *       SPACE                  path, bytes value
 *       RAW LAYOUT AUTH TEXT CHUNKS   bytes value
 *       EXEC                   u8 0 or 1
 *       ORIGIN                 node, u8 1 if it is carried over, else 0
 *   node:  varint, 0 = 16 bytes of a new one follow, n = the n-th last new one; before the first new one: 16 bytes
 *   path:  varint length << 1, then a new one; or n << 1 | 1, n new ones before the last
 *   actor: varint, 0 = the author, 1 = 8 bytes (big-endian) of a new one follow, n + 2 = the n-th of the first 32
 *   back:  varint zigzag, the operation's lamport less the pred's
 *   place: bytes prefix, varint zigzag rank, varint (lamport - waypoint), varint zigzag index
 */
#ifndef BLAZE_CORE_CHANGE_H
#define BLAZE_CORE_CHANGE_H

#include "core/arena.h"
#include "core/id.h"

enum op_kind {
	OP_TOUCH = 1,  /**< the node was changed by its author; its token */
	OP_MOVE = 2,   /**< create, rename, move: parent and name of the node */
	OP_DELETE = 3, /**< takes away the tokens in preds */
	OP_SET = 4,    /**< one JSON field */
	OP_UNSET = 5,  /**< removes one JSON field */
	OP_RAW = 6, /**< the whole value: text, binary, a symlink's target, JSON that does not parse */
	OP_UNRAW = 7, /**< the value is JSON fields again */
	OP_LAYOUT =
		8,   /**< how all of a JSON record is formatted; value is a style, see core/doc.h */
	OP_EXEC = 9, /**< the owner-executable bit */
	OP_AUTH = 10, /**< who may do what: value is drawn in core/auth.h (stream `auth` only) */
	OP_TEXT =
		11, /**< edits (core/text.h) of the text whose heads are the first preds; see core/doc.h */
	OP_CHUNKS = 12, /**< the whole value, as a manifest (core/manifest.h); a sibling of RAW */
	OP_INSERT = 13, /**< new elements of a JSON array, side by side */
	OP_PLACE = 14,	/**< moves a member or element within its object or array */
	OP_SPACE = 15,	/**< how one JSON field is formatted where the style does not say so */
	OP_ORIGIN = 18	/**< which node of another collection this one was: see core/follow.h */
};

enum node_kind {
	NODE_NONE = 0,
	NODE_DIR = 1,
	NODE_RECORD = 2,
	NODE_SYMLINK = 3
};

enum value_kind {
	VALUE_TEXT = 1, /**< a JSON value's source text, exactly as written */
	VALUE_TREE = 2	/**< an object or array with all that is in it; drawn in core/doc_i.h */
};

/* Limits, checked when decoding. */
#define CHANGE_OPS_MAX 1000000
#define CHANGE_PREDS_MAX 4096
#define CHANGE_ACTORS_MAX 4096
#define CHANGE_NAME_BYTES_MAX 4096
#define CHANGE_PATH_BYTES_MAX (1 << 20)
/** Of a program's name: what the kernel keeps of it. */
#define CHANGE_PROGRAM_BYTES_MAX 15
#define CHANGE_PLACE_BYTES_MAX 4096
/** A record's largest content that is one value, not chunks. */
#define RECORD_BYTES_MAX (64u << 20)
/** A change's largest encoding: a record's content and some operations. What is larger cannot travel. */
#define CHANGE_BYTES_MAX (RECORD_BYTES_MAX + (8u << 20))

/** A place among the children of an object or array; see core/doc_i.h. */
struct place {
	struct slice prefix;
	int64_t rank;
	uint64_t waypoint; /**< lamport of the author's operation that began the run; may be this one's */
	int64_t index;
};

struct op {
	enum op_kind kind;
	struct id node;
	uint64_t lamport; /**< with the change's author, the operation's id */
	struct opid *preds;
	size_t pred_count;
	enum node_kind node_kind;   /**< MOVE */
	struct id parent;	    /**< MOVE; ORIGIN: the node it was */
	struct slice name;	    /**< MOVE */
	struct slice path;	    /**< SET, UNSET, INSERT, PLACE, SPACE: see core/doc.h */
	enum value_kind value_kind; /**< SET */
	bool clears;		    /**< SET, UNSET: what preds say holds for all beneath, too */
	bool has_place;		    /**< SET; always for INSERT and PLACE */
	struct place place;	    /**< SET, INSERT, PLACE */
	uint32_t count;		    /**< INSERT: elements in value */
	struct slice value;	    /**< SET, INSERT, SPACE, RAW, LAYOUT, AUTH, TEXT, CHUNKS */
	bool exec;		    /**< EXEC */
	bool carried; /**< ORIGIN: this change brings what others made of that node since */
};

/** A growing list of operations with the memory they point at. Zero-initialise. */
struct ops {
	struct op *items;
	size_t count;
	size_t cap;
	struct arena arena;
};

/** Appends a zeroed operation. The pointer is valid until the next ops_add. */
struct op *ops_add(struct ops *ops, enum op_kind kind, const struct id *node, uint64_t lamport);
/** Room for n preds in the arena, set on op (the list's last operation). */
struct opid *ops_preds(struct ops *ops, struct op *op, size_t n);
void ops_fini(struct ops *ops);

struct dep {
	uint64_t actor;
	uint64_t seq;
};

struct change {
	uint64_t actor; /**< the author; not on the wire, the feed says it */
	uint64_t hlc;
	/** Name of the program that saved, as its device gave it: any bytes, at most CHANGE_PROGRAM_BYTES_MAX. */
	struct slice program;
	struct dep *deps; /**< in ops.arena */
	size_t dep_count;
	struct ops ops;
};

/** What of a node it writes, by the operation that is foremost for that: UNSET writes what SET does. */
enum op_kind change_writes(enum op_kind kind);
void change_encode(const struct change *c, struct buf *out);
/** The program's name as in a change's wire form. Longer names are cut. */
void change_program_encode(struct slice program, struct buf *out);
/** The inverse; borrowed from the input or static. Unknown codes are an empty name. */
struct slice change_program_decode(struct reader *r);
/**
 * Decodes a change by actor. The operations' slices borrow from `bytes`; preds and deps are in the
 * arena. Lamports are strictly increasing and below 2^62. -EBADMSG when malformed, and *ret is
 * then empty. Free with change_fini().
 */
int change_decode(struct slice bytes, uint64_t actor, struct change *ret);
void change_fini(struct change *c);

#endif
