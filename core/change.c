/*
 * Operation lists, and changes to and from their wire form (drawn in change.h).
 */
#include "core/change.h"

#include <stdlib.h>
#include <string.h>

#define CHANGE_VERSION 3
#define SET_CLEARS 0x40u
#define SET_PLACE 0x80u
#define OP_SAME_NODE 0x80
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

/* The actors a change mentions besides its author, ascending. */
struct actors {
	uint64_t *items;
	size_t count;
	size_t cap;
	uint64_t author;
};

static void actors_note(struct actors *a, uint64_t actor)
{
	if (actor == a->author || (a->count && a->items[a->count - 1] == actor))
		return;
	if (a->count == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 16;
		a->items = xreallocarray(a->items, a->cap, sizeof(*a->items));
	}
	a->items[a->count++] = actor;
}

static int actor_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void actors_collect(struct actors *a, const struct change *c)
{
	for (size_t i = 0; i < c->dep_count; i++)
		actors_note(a, c->deps[i].actor);
	for (size_t i = 0; i < c->ops.count; i++) {
		const struct op *op = &c->ops.items[i];

		for (size_t k = 0; k < op->pred_count; k++)
			actors_note(a, op->preds[k].actor);
	}
	size_t n = 0;
	if (a->count > 1)
		qsort(a->items, a->count, sizeof(*a->items), actor_cmp);
	for (size_t i = 0; i < a->count; i++) {
		if (n == 0 || a->items[n - 1] != a->items[i])
			a->items[n++] = a->items[i];
	}
	a->count = n;
	assert(a->count <= CHANGE_ACTORS_MAX);
}

static void put_actor(struct buf *out, const struct actors *a, uint64_t actor)
{
	if (actor == a->author) {
		buf_varint(out, 0);
		return;
	}
	const uint64_t *at = bsearch(&actor, a->items, a->count, sizeof(*a->items), actor_cmp);
	assert(at);
	buf_varint(out, (uint64_t)(at - a->items) + 1);
}

static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (v & 1 ? UINT64_MAX : 0));
}

static void put_place(struct buf *out, const struct op *op)
{
	const struct place *p = &op->place;

	assert(p->waypoint <= op->lamport && p->prefix.len <= CHANGE_PLACE_BYTES_MAX);
	buf_bytes(out, p->prefix);
	buf_varint(out, zigzag(p->rank));
	buf_varint(out, op->lamport - p->waypoint);
	buf_varint(out, zigzag(p->index));
}

static void put_set(struct buf *out, const struct op *op)
{
	buf_bytes(out, op->path);
	buf_u8(out, (uint8_t)(op->value_kind | (op->clears ? SET_CLEARS : 0) |
			      (op->has_place ? SET_PLACE : 0)));
	buf_bytes(out, op->value);
	if (op->has_place)
		put_place(out, op);
}

static void put_op(struct buf *out, const struct op *op, const struct op *before,
		   const struct actors *a)
{
	bool same = before && id_eq(&before->node, &op->node);

	assert(op->lamport <= LAMPORT_MAX && (!before || op->lamport > before->lamport));
	assert(op->pred_count <= CHANGE_PREDS_MAX);
	buf_u8(out, (uint8_t)(op->kind | (same ? OP_SAME_NODE : 0)));
	if (!same)
		id_write(out, &op->node);
	buf_varint(out, before ? op->lamport - before->lamport - 1 : 0);
	buf_varint(out, op->pred_count);
	for (size_t i = 0; i < op->pred_count; i++) {
		put_actor(out, a, op->preds[i].actor);
		buf_varint(out, op->preds[i].lamport);
	}
	switch (op->kind) {
	case OP_TOUCH:
	case OP_DELETE:
	case OP_UNRAW:
		break;
	case OP_MOVE:
		buf_u8(out, (uint8_t)op->node_kind);
		id_write(out, &op->parent);
		buf_bytes(out, op->name);
		break;
	case OP_SET:
		put_set(out, op);
		break;
	case OP_UNSET:
		buf_bytes(out, op->path);
		buf_u8(out, op->clears);
		break;
	case OP_INSERT:
		buf_bytes(out, op->path);
		put_place(out, op);
		buf_varint(out, op->count);
		buf_bytes(out, op->value);
		break;
	case OP_PLACE:
		buf_bytes(out, op->path);
		put_place(out, op);
		break;
	case OP_SPACE:
		buf_bytes(out, op->path);
		buf_bytes(out, op->value);
		break;
	case OP_RAW:
	case OP_LAYOUT:
	case OP_MEMBER:
	case OP_TEXT:
	case OP_CHUNKS:
		buf_bytes(out, op->value);
		break;
	case OP_EXEC:
		buf_u8(out, op->exec);
		break;
	}
}

void change_encode(const struct change *c, struct buf *out)
{
	struct actors a = {.author = c->actor};

	assert(c->ops.count <= CHANGE_OPS_MAX);
	assert(c->ops.count == 0 || c->ops.items[0].lamport > 0);
	actors_collect(&a, c);
	buf_u8(out, CHANGE_VERSION);
	buf_varint(out, c->ops.count ? c->ops.items[0].lamport : 0);
	buf_varint(out, c->hlc);
	change_program_encode(c->program, out);
	buf_varint(out, a.count);
	for (size_t i = 0; i < a.count; i++)
		buf_be64(out, a.items[i]);
	buf_varint(out, c->dep_count);
	for (size_t i = 0; i < c->dep_count; i++) {
		put_actor(out, &a, c->deps[i].actor);
		buf_varint(out, c->deps[i].seq);
	}
	buf_varint(out, c->ops.count);
	for (size_t i = 0; i < c->ops.count; i++)
		put_op(out, &c->ops.items[i], i ? &c->ops.items[i - 1] : NULL, &a);
	free(a.items);
}

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

static uint64_t take_actor(struct reader *r, const struct actors *a)
{
	uint64_t index = reader_varint_max(r, a->count);

	return index ? a->items[index - 1] : a->author;
}

static struct opid take_opid(struct reader *r, const struct actors *a)
{
	struct opid id;

	id.actor = take_actor(r, a);
	id.lamport = reader_varint_max(r, LAMPORT_MAX);
	if (id.lamport == 0)
		r->bad = true;
	return id;
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

static void take_set(struct reader *r, struct op *op)
{
	op->path = reader_bytes(r, CHANGE_PATH_BYTES_MAX);
	uint8_t kind = reader_u8(r);
	op->value = reader_bytes(r, RECORD_BYTES_MAX);
	op->clears = kind & SET_CLEARS;
	if (kind & SET_PLACE)
		take_place(r, op);
	kind &= (uint8_t) ~(SET_CLEARS | SET_PLACE);
	if (kind != VALUE_TEXT && kind != VALUE_TREE)
		r->bad = true;
	else
		op->value_kind = kind;
}

static void take_insert(struct reader *r, struct op *op)
{
	op->path = reader_bytes(r, CHANGE_PATH_BYTES_MAX);
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

static void take_fields(struct reader *r, struct op *op)
{
	switch (op->kind) {
	case OP_TOUCH:
	case OP_DELETE:
	case OP_UNRAW:
		break;
	case OP_MOVE:
		op->node_kind = (enum node_kind)reader_u8(r);
		op->parent = id_read(r);
		op->name = reader_bytes(r, CHANGE_NAME_BYTES_MAX);
		if (op->node_kind > NODE_SYMLINK)
			r->bad = true;
		break;
	case OP_SET:
		take_set(r, op);
		break;
	case OP_UNSET:
		op->path = reader_bytes(r, CHANGE_PATH_BYTES_MAX);
		op->clears = take_bool(r);
		break;
	case OP_INSERT:
		take_insert(r, op);
		break;
	case OP_PLACE:
		op->path = reader_bytes(r, CHANGE_PATH_BYTES_MAX);
		take_place(r, op);
		break;
	case OP_SPACE:
		op->path = reader_bytes(r, CHANGE_PATH_BYTES_MAX);
		op->value = reader_bytes(r, RECORD_BYTES_MAX);
		break;
	case OP_RAW:
	case OP_LAYOUT:
	case OP_MEMBER:
	case OP_TEXT:
	case OP_CHUNKS:
		op->value = reader_bytes(r, RECORD_BYTES_MAX);
		break;
	case OP_EXEC:
		op->exec = take_bool(r);
		break;
	}
}

static bool is_kind(unsigned kind)
{
	return kind >= OP_TOUCH && kind <= OP_SPACE;
}

/* Reads one operation; *lamport is the previous one's, and becomes this one's. */
static void take_op(struct reader *r, struct ops *ops, uint64_t *lamport, const struct actors *a)
{
	bool first = ops->count == 0;
	uint8_t byte = reader_u8(r);
	unsigned kind = byte & (OP_SAME_NODE - 1u);
	bool same = byte & OP_SAME_NODE;

	if (!is_kind(kind) || (same && first))
		r->bad = true;
	if (r->bad)
		return;
	struct id node = same ? ops->items[ops->count - 1].node : id_read(r);
	uint64_t gap = reader_varint_max(r, first ? 0 : LAMPORT_MAX);
	if (gap >= LAMPORT_MAX - *lamport)
		r->bad = true;
	else
		*lamport += gap + 1;
	size_t pred_count = take_count(r, CHANGE_PREDS_MAX, 2);
	if (r->bad)
		return;
	struct op *op = ops_add(ops, (enum op_kind)kind, &node, *lamport);
	struct opid *preds = ops_preds(ops, op, pred_count);
	for (size_t i = 0; i < pred_count; i++)
		preds[i] = take_opid(r, a);
	take_fields(r, op);
}

static void take_deps(struct reader *r, struct change *c, const struct actors *a)
{
	c->dep_count = take_count(r, CHANGE_ACTORS_MAX, 2);
	if (c->dep_count == 0)
		return;
	c->deps = arena_alloc(&c->ops.arena, c->dep_count * sizeof(*c->deps));
	for (size_t i = 0; i < c->dep_count; i++) {
		c->deps[i].actor = take_actor(r, a);
		c->deps[i].seq = reader_varint(r);
	}
}

int change_decode(struct slice bytes, uint64_t actor, struct change *ret)
{
	AUTO(change_fini) struct change c = {.actor = actor};
	AUTO(free_ptr) uint64_t *table = NULL;
	struct reader r = reader_init(bytes);

	*ret = (struct change){0};
	if (reader_u8(&r) != CHANGE_VERSION)
		r.bad = true;
	uint64_t first = reader_varint_max(&r, LAMPORT_MAX);
	c.hlc = reader_varint(&r);
	c.program = change_program_decode(&r);
	struct actors a = {.author = actor, .count = take_count(&r, CHANGE_ACTORS_MAX, 8)};
	table = xreallocarray(NULL, a.count, sizeof(*table));
	a.items = table;
	for (size_t i = 0; i < a.count; i++) {
		a.items[i] = reader_be64(&r);
		if (a.items[i] == actor)
			r.bad = true;
	}
	take_deps(&r, &c, &a);
	/* Kind, lamport and pred count are a byte each at least. */
	size_t op_count = take_count(&r, CHANGE_OPS_MAX, 3);
	if ((first == 0) != (op_count == 0))
		r.bad = true;
	uint64_t lamport = first - 1;
	for (size_t i = 0; i < op_count && !r.bad; i++)
		take_op(&r, &c.ops, &lamport, &a);
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	assert(c.ops.count == op_count);
	*ret = c;
	c = (struct change){0};
	return 0;
}
