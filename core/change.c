/*
 * Operation lists, and changes to and from their wire form (drawn in change.h).
 */
#include "core/change.h"

#include "core/change_context.h"

#include <stdlib.h>
#include <string.h>

#define CHANGE_VERSION 5
#define SET_CLEARS 0x40u
#define SET_PLACE 0x80u
/* A row's first byte. */
#define ROW_COUNTER 0x01u
#define ROW_PROGRAM 0x02u
#define ROW_DEPS 0x04u
#define ROW_LAMPORT 0x08u
#define ROW_OPS_SHIFT 4
#define ROW_OPS_MAX 15u
/* An operation's first byte. */
#define OP_KIND 0x1fu
#define OP_PLAIN_SET 16u
#define OP_GAP 17u
#define OP_OTHER_NODE 0x20u
#define OP_PREDS 0xc0u
#define PREDS_NONE 0x00u
#define PREDS_PREDICTED 0x40u
#define PREDS_OWN 0x80u
#define PREDS_LIST 0xc0u
#define LAMPORT_MAX (((uint64_t)1 << 62) - 1)

struct op *ops_add(struct ops *ops, enum op_kind kind, const struct id *node, uint64_t lamport)
{
	if (ops->count == ops->cap) {
		ops->cap = ops->cap ? ops->cap * 2 : 8;
		ops->items = xreallocarray(ops->items, ops->cap, sizeof(*ops->items));
	}
	struct op *op = &ops->items[ops->count++];
	*op = (struct op){.kind = kind, .node = *node, .lamport = lamport};
	return op;
}

struct opid *ops_preds(struct ops *ops, struct op *op, size_t n)
{
	assert(ops->count > 0 && op == &ops->items[ops->count - 1]);
	op->preds = n ? arena_alloc(&ops->arena, n * sizeof(*op->preds)) : NULL;
	op->pred_count = n;
	return op->preds;
}

void ops_fini(struct ops *ops)
{
	free(ops->items);
	arena_fini(&ops->arena);
	*ops = (struct ops){0};
}

void change_fini(struct change *c)
{
	ops_fini(&c->ops);
	*c = (struct change){0};
}

static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (v & 1 ? UINT64_MAX : 0));
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void put_place(struct buf *out, const struct op *op)
{
	const struct place *p = &op->place;

	assert(p->waypoint <= op->lamport && p->prefix.len <= CHANGE_PLACE_BYTES_MAX);
	buf_bytes(out, p->prefix);
	buf_varint(out, zigzag(p->rank));
	buf_varint(out, op->lamport - p->waypoint);
	buf_varint(out, zigzag(p->index));
}

/* Number of an actor: 0 = the author, 1 = a new one, n + 2 = the n-th of the table. The last bit is `odd`. */
static void put_actor(struct buf *out, struct change_context *x, uint64_t author, uint64_t actor,
		      unsigned odd)
{
	size_t n = 0;

	if (actor == author) {
		buf_varint(out, odd);
		return;
	}
	while (n < x->actor_count && x->actors[n] != actor)
		n++;
	if (n < x->actor_count) {
		buf_varint(out, (uint64_t)(n + 2) << 1 | odd);
		return;
	}
	buf_varint(out, 2 | odd);
	buf_be64(out, actor);
	if (x->actor_count < countof(x->actors))
		x->actors[x->actor_count++] = actor;
}

/* id outlives the context. */
static void put_node(struct buf *out, struct change_context *x, const struct id *id)
{
	struct slice name = SLICE(id->b, sizeof(id->b));
	size_t i = intern_find(&x->nodes, name);

	if (i != SIZE_MAX) {
		buf_varint(out, x->nodes.count - i);
		return;
	}
	if (x->nodes.count)
		buf_varint(out, 0);
	id_write(out, id);
	intern_add(&x->nodes, name);
}

static void put_path(struct buf *out, struct change_context *x, struct slice path)
{
	size_t i = intern_find(&x->paths, path);

	if (i != SIZE_MAX) {
		buf_varint(out, (uint64_t)(x->paths.count - 1 - i) << 1 | 1);
		return;
	}
	buf_varint(out, (uint64_t)path.len << 1);
	buf_slice_append(out, path);
	intern_add(&x->paths, path);
}

static bool is_plain_set(const struct op *op)
{
	return op->kind == OP_SET && op->value_kind == VALUE_TEXT && !op->clears && !op->has_place;
}

static void put_set(struct buf *out, struct change_context *x, const struct op *op)
{
	put_path(out, x, op->path);
	if (!is_plain_set(op))
		buf_u8(out, (uint8_t)(op->value_kind | (op->clears ? SET_CLEARS : 0) |
				      (op->has_place ? SET_PLACE : 0)));
	buf_bytes(out, op->value);
	if (op->has_place)
		put_place(out, op);
}

static void put_fields(struct buf *out, struct change_context *x, const struct op *op)
{
	switch (op->kind) {
	case OP_TOUCH:
	case OP_DELETE:
	case OP_UNRAW:
		break;
	case OP_MOVE:
		buf_u8(out, (uint8_t)op->node_kind);
		put_node(out, x, &op->parent);
		buf_bytes(out, op->name);
		break;
	case OP_SET:
		put_set(out, x, op);
		break;
	case OP_UNSET:
		put_path(out, x, op->path);
		buf_u8(out, op->clears);
		break;
	case OP_INSERT:
		put_path(out, x, op->path);
		put_place(out, op);
		buf_varint(out, op->count);
		buf_bytes(out, op->value);
		break;
	case OP_PLACE:
		put_path(out, x, op->path);
		put_place(out, op);
		break;
	case OP_SPACE:
		put_path(out, x, op->path);
		buf_bytes(out, op->value);
		break;
	case OP_RAW:
	case OP_LAYOUT:
	case OP_AUTH:
	case OP_TEXT:
	case OP_CHUNKS:
		buf_bytes(out, op->value);
		break;
	case OP_EXEC:
		buf_u8(out, op->exec);
		break;
	case OP_ORIGIN:
		put_node(out, x, &op->parent);
		buf_u8(out, op->carried);
		break;
	}
}

static unsigned preds_how(const struct change_context *x, const struct op *op, uint64_t author)
{
	if (op->pred_count == 0)
		return PREDS_NONE;
	if (op->pred_count > 1)
		return PREDS_LIST;
	if (opid_eq(op->preds[0], change_context_last(x, op)))
		return PREDS_PREDICTED;
	return op->preds[0].actor == author ? PREDS_OWN : PREDS_LIST;
}

/* How far a lamport is back from the operation's. */
static void put_back(struct buf *out, const struct op *op, uint64_t lamport)
{
	buf_varint(out, zigzag((int64_t)(op->lamport - lamport)));
}

static void put_preds(struct buf *out, struct change_context *x, const struct op *op,
		      uint64_t author, unsigned how)
{
	if (how == PREDS_OWN) {
		put_back(out, op, op->preds[0].lamport);
	} else if (how == PREDS_LIST && op->pred_count == 1) {
		put_actor(out, x, author, op->preds[0].actor, 1);
		put_back(out, op, op->preds[0].lamport);
	} else if (how == PREDS_LIST) {
		buf_varint(out, (uint64_t)op->pred_count << 1);
		for (size_t i = 0; i < op->pred_count; i++) {
			put_actor(out, x, author, op->preds[i].actor, 0);
			put_back(out, op, op->preds[i].lamport);
		}
	}
}

/* gap: lamports left out before it. */
static void put_op(struct buf *out, struct change_context *x, const struct op *op, uint64_t author,
		   uint64_t gap)
{
	struct slice node = SLICE(op->node.b, sizeof(op->node.b));
	bool other = !slice_eq(node, x->node);
	unsigned how = preds_how(x, op, author);

	assert(op->lamport <= LAMPORT_MAX && op->pred_count <= CHANGE_PREDS_MAX);
	if (gap) {
		buf_u8(out, OP_GAP);
		buf_varint(out, gap);
	}
	buf_u8(out, (uint8_t)((is_plain_set(op) ? OP_PLAIN_SET : (unsigned)op->kind) | how |
			      (other ? OP_OTHER_NODE : 0)));
	if (other)
		put_node(out, x, &op->node);
	x->node = node;
	put_preds(out, x, op, author, how);
	put_fields(out, x, op);
	change_context_wrote(x, op, author);
}

static void put_deps(struct buf *out, struct change_context *x, const struct change *c)
{
	buf_varint(out, c->dep_count);
	for (size_t i = 0; i < c->dep_count; i++) {
		put_actor(out, x, c->actor, c->deps[i].actor, 0);
		buf_varint(out, c->deps[i].seq);
	}
}

bool change_write(const struct change *c, struct change_context *x, struct buf *out)
{
	size_t ops = c->ops.count;
	uint64_t first = ops ? c->ops.items[0].lamport : x->lamport;
	uint64_t counter = c->hlc & 0xffff;
	unsigned head = 0;

	assert(ops <= CHANGE_OPS_MAX && (ops == 0 || first > 0));
	if (first < x->lamport)
		return false;
	if (counter)
		head |= ROW_COUNTER;
	if (!slice_eq(c->program, x->program))
		head |= ROW_PROGRAM;
	if (c->dep_count)
		head |= ROW_DEPS;
	if (first > x->lamport)
		head |= ROW_LAMPORT;
	if (ops <= ROW_OPS_MAX)
		head |= (unsigned)ops << ROW_OPS_SHIFT;
	buf_u8(out, (uint8_t)head);
	if (head >> ROW_OPS_SHIFT == 0)
		buf_varint(out, ops);
	buf_varint(out, zigzag((int64_t)(c->hlc >> 16) - (int64_t)x->ms));
	x->ms = c->hlc >> 16;
	if (head & ROW_COUNTER)
		buf_varint(out, counter);
	if (head & ROW_PROGRAM)
		change_program_encode(c->program, out);
	x->program = c->program;
	if (head & ROW_DEPS)
		put_deps(out, x, c);
	if (head & ROW_LAMPORT)
		buf_varint(out, first - x->lamport);
	for (size_t i = 0; i < ops; i++) {
		const struct op *op = &c->ops.items[i];

		assert(i == 0 || op->lamport >= x->lamport);
		put_op(out, x, op, c->actor, i ? op->lamport - x->lamport : 0);
		x->lamport = op->lamport + 1;
	}
	return true;
}

void change_encode(const struct change *c, struct buf *out)
{
	AUTO(change_context_fini) struct change_context x = {0};

	buf_u8(out, CHANGE_VERSION);
	bool written = change_write(c, &x, out);
	assert(written);
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* A count of things that take at least `bytes` each, so that it cannot outrun the input. */
static size_t take_count(struct reader *r, size_t max, size_t bytes)
{
	size_t n = (size_t)reader_varint_max(r, max);

	if (n > reader_left(r) / bytes) {
		r->bad = true;
		return 0;
	}
	return n;
}

/* The inverse of put_actor(), from the number without its last bit. */
static uint64_t take_actor(struct reader *r, struct change_context *x, uint64_t author, uint64_t n)
{
	if (n == 0)
		return author;
	if (n >= 2) {
		if (n - 2 < x->actor_count)
			return x->actors[n - 2];
		r->bad = true;
		return author;
	}
	uint64_t actor = reader_be64(r);
	if (actor == author)
		r->bad = true;
	if (x->actor_count < countof(x->actors))
		x->actors[x->actor_count++] = actor;
	return actor;
}

static uint64_t take_actor_even(struct reader *r, struct change_context *x, uint64_t author)
{
	uint64_t n = reader_varint(r);

	if (n & 1)
		r->bad = true;
	return take_actor(r, x, author, n >> 1);
}

static struct slice take_node(struct reader *r, struct change_context *x)
{
	uint64_t n = x->nodes.count ? reader_varint_max(r, x->nodes.count) : 0;

	if (n)
		return intern_at(&x->nodes, x->nodes.count - (size_t)n);
	struct slice name = reader_take(r, sizeof(struct id));
	/* Twice the same: nobody writes that. */
	if (r->bad || intern_find(&x->nodes, name) != SIZE_MAX)
		r->bad = true;
	else
		intern_add(&x->nodes, name);
	return name;
}

static struct id id_of(struct slice name)
{
	struct reader r = reader_init(name);

	return id_read(&r);
}

static struct slice take_path(struct reader *r, struct change_context *x)
{
	uint64_t n = reader_varint(r);

	if (n & 1) {
		if (n >> 1 < x->paths.count)
			return intern_at(&x->paths, x->paths.count - 1 - (size_t)(n >> 1));
		r->bad = true;
	}
	if (n >> 1 > CHANGE_PATH_BYTES_MAX)
		r->bad = true;
	struct slice path = reader_take(r, r->bad ? 0 : (size_t)(n >> 1));
	if (!r->bad && intern_find(&x->paths, path) != SIZE_MAX)
		r->bad = true;
	if (!r->bad)
		intern_add(&x->paths, path);
	return path;
}

static uint64_t take_back(struct reader *r, uint64_t lamport)
{
	uint64_t back = lamport - (uint64_t)unzigzag(reader_varint(r));

	if (back == 0 || back > LAMPORT_MAX)
		r->bad = true;
	return back;
}

static void take_place(struct reader *r, struct op *op)
{
	struct place *p = &op->place;

	p->prefix = reader_bytes(r, CHANGE_PLACE_BYTES_MAX);
	p->rank = unzigzag(reader_varint(r));
	p->waypoint = op->lamport - reader_varint_max(r, op->lamport);
	p->index = unzigzag(reader_varint(r));
	op->has_place = true;
}

static void take_set(struct reader *r, struct change_context *x, struct op *op, bool plain)
{
	op->path = take_path(r, x);
	uint8_t kind = plain ? VALUE_TEXT : reader_u8(r);
	op->value = reader_bytes(r, RECORD_BYTES_MAX);
	op->clears = kind & SET_CLEARS;
	if (kind & SET_PLACE)
		take_place(r, op);
	kind &= (uint8_t) ~(SET_CLEARS | SET_PLACE);
	if (kind != VALUE_TEXT && kind != VALUE_TREE)
		r->bad = true;
	else
		op->value_kind = kind;
	if (is_plain_set(op) != plain)
		r->bad = true;
}

static void take_insert(struct reader *r, struct change_context *x, struct op *op)
{
	op->path = take_path(r, x);
	take_place(r, op);
	op->count = (uint32_t)reader_varint_max(r, CHANGE_OPS_MAX);
	op->value = reader_bytes(r, RECORD_BYTES_MAX);
}

static bool take_bool(struct reader *r)
{
	uint8_t v = reader_u8(r);

	if (v > 1)
		r->bad = true;
	return v == 1;
}

static void take_fields(struct reader *r, struct change_context *x, struct op *op, bool plain)
{
	switch (op->kind) {
	case OP_TOUCH:
	case OP_DELETE:
	case OP_UNRAW:
		break;
	case OP_MOVE:
		op->node_kind = (enum node_kind)reader_u8(r);
		op->parent = id_of(take_node(r, x));
		op->name = reader_bytes(r, CHANGE_NAME_BYTES_MAX);
		if (op->node_kind > NODE_SYMLINK)
			r->bad = true;
		break;
	case OP_SET:
		take_set(r, x, op, plain);
		break;
	case OP_UNSET:
		op->path = take_path(r, x);
		op->clears = take_bool(r);
		break;
	case OP_INSERT:
		take_insert(r, x, op);
		break;
	case OP_PLACE:
		op->path = take_path(r, x);
		take_place(r, op);
		break;
	case OP_SPACE:
		op->path = take_path(r, x);
		op->value = reader_bytes(r, RECORD_BYTES_MAX);
		break;
	case OP_RAW:
	case OP_LAYOUT:
	case OP_AUTH:
	case OP_TEXT:
	case OP_CHUNKS:
		op->value = reader_bytes(r, RECORD_BYTES_MAX);
		break;
	case OP_EXEC:
		op->exec = take_bool(r);
		break;
	case OP_ORIGIN:
		op->parent = id_of(take_node(r, x));
		op->carried = take_bool(r);
		break;
	}
}

/* The preds that are told; a prediction needs the path first. */
static void take_preds(struct reader *r, struct change_context *x, struct change *c, struct op *op,
		       unsigned how)
{
	size_t count = how == PREDS_NONE ? 0 : 1;
	uint64_t n = how == PREDS_LIST ? reader_varint(r) : 0;

	if (how == PREDS_LIST && !(n & 1)) {
		/* An actor and a lamport take a byte each at least. */
		count = (size_t)(n >> 1);
		if (n >> 1 > CHANGE_PREDS_MAX || count > reader_left(r) / 2)
			r->bad = true;
	}
	if (r->bad)
		return;
	struct opid *preds = ops_preds(&c->ops, op, count);
	for (size_t i = 0; i < count && how != PREDS_PREDICTED; i++) {
		preds[i].actor = how == PREDS_OWN ? c->actor
				 : n & 1	  ? take_actor(r, x, c->actor, n >> 1)
						  : take_actor_even(r, x, c->actor);
		preds[i].lamport = take_back(r, op->lamport);
	}
}

static void take_gap(struct reader *r, uint8_t *byte, uint64_t *lamport)
{
	uint64_t gap = reader_varint_max(r, LAMPORT_MAX);

	if (gap >= LAMPORT_MAX - *lamport)
		r->bad = true;
	else
		*lamport += gap;
	*byte = reader_u8(r);
}

/* Reads one operation. */
static void take_op(struct reader *r, struct change_context *x, struct change *c)
{
	uint64_t lamport = x->lamport;
	uint8_t byte = reader_u8(r);

	if (byte == OP_GAP && c->ops.count > 0)
		take_gap(r, &byte, &lamport);
	unsigned kind = byte & OP_KIND;
	unsigned how = byte & OP_PREDS;
	bool plain = kind == OP_PLAIN_SET;
	if (kind < OP_TOUCH || kind == OP_GAP || kind > OP_ORIGIN || lamport > LAMPORT_MAX)
		r->bad = true;
	struct slice node = byte & OP_OTHER_NODE && !r->bad ? take_node(r, x) : x->node;
	if (r->bad || node.len == 0) {
		r->bad = true;
		return;
	}
	x->node = node;
	x->lamport = lamport + 1;
	const struct id id = id_of(node);
	struct op *op = ops_add(&c->ops, plain ? OP_SET : (enum op_kind)kind, &id, lamport);
	take_preds(r, x, c, op, how);
	take_fields(r, x, op, plain);
	if (r->bad)
		return;
	struct opid last = change_context_last(x, op);
	if (how == PREDS_PREDICTED) {
		op->preds[0] = last;
		r->bad = last.lamport == 0;
	}
	change_context_wrote(x, op, c->actor);
}

static void take_deps(struct reader *r, struct change_context *x, struct change *c)
{
	/* At least one: else the row would not say that there are any. */
	c->dep_count = take_count(r, CHANGE_ACTORS_MAX, 2);
	if (c->dep_count == 0) {
		r->bad = true;
		return;
	}
	c->deps = arena_alloc(&c->ops.arena, c->dep_count * sizeof(*c->deps));
	for (size_t i = 0; i < c->dep_count; i++) {
		c->deps[i].actor = take_actor_even(r, x, c->actor);
		c->deps[i].seq = reader_varint(r);
	}
}

static void take_clock(struct reader *r, struct change_context *x, struct change *c, unsigned head)
{
	x->ms += (uint64_t)unzigzag(reader_varint(r));
	if (x->ms >> 48) {
		r->bad = true;
		return;
	}
	c->hlc = x->ms << 16;
	if (head & ROW_COUNTER) {
		uint64_t counter = reader_varint_max(r, 0xffff);

		c->hlc |= counter;
		if (counter == 0)
			r->bad = true;
	}
}

void change_read(struct reader *r, struct change_context *x, struct change *ret)
{
	unsigned head = reader_u8(r);
	size_t ops = head >> ROW_OPS_SHIFT;

	/* An operation takes a byte at least. */
	if (ops == 0) {
		ops = take_count(r, CHANGE_OPS_MAX, 1);
		if (ops && ops <= ROW_OPS_MAX)
			r->bad = true;
	}
	take_clock(r, x, ret, head);
	if (head & ROW_PROGRAM)
		x->program = change_program_decode(r);
	ret->program = x->program;
	if (head & ROW_DEPS)
		take_deps(r, x, ret);
	if (head & ROW_LAMPORT) {
		uint64_t gap = reader_varint_max(r, LAMPORT_MAX);

		if (gap == 0 || ops == 0 || gap > LAMPORT_MAX - x->lamport)
			r->bad = true;
		else
			x->lamport += gap;
	}
	if (ops && x->lamport == 0)
		r->bad = true;
	for (size_t i = 0; i < ops && !r->bad; i++)
		take_op(r, x, ret);
}

int change_decode(struct slice bytes, uint64_t actor, struct change *ret)
{
	AUTO(change_context_fini) struct change_context x = {0};
	AUTO(change_fini) struct change c = {.actor = actor};
	struct reader r = reader_init(bytes);

	*ret = (struct change){0};
	if (reader_u8(&r) != CHANGE_VERSION)
		r.bad = true;
	if (!r.bad)
		change_read(&r, &x, &c);
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = c;
	c = (struct change){0};
	return 0;
}

enum op_kind change_writes(enum op_kind kind)
{
	if (kind == OP_DELETE)
		return OP_TOUCH;
	if (kind == OP_UNSET)
		return OP_SET;
	return kind == OP_UNRAW || kind == OP_TEXT ? OP_RAW : kind;
}
