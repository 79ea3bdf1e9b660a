/* Encoding of node records and the token set. */
#include "core/node.h"

#include <stdlib.h>
#include <string.h>

#define NODE_VERSION 3
/** A token is at least a byte of lamport and an actor. */
#define OPID_BYTES_MIN 9

enum {
	FLAG_EXEC = 1,
	FLAG_RAW = 2,
	FLAG_INDEXED = 4,
	FLAG_VISIBLE = 8,
	FLAG_SHOWN = 16, /**< the shown name differs from the name */
	FLAG_HOLDS_DIRS = 32,
	FLAG_ROAMED = 64,
	FLAG_CHUNKED = 128,
	FLAG_WAITING = 256,
	FLAG_ABSENT = 512,
	FLAG_HELD = 1024,
	FLAG_ORIGIN = 2048,
};

void node_fini(struct node *n)
{
	buf_fini(&n->name);
	buf_fini(&n->shown);
	free(n->tokens);
	n->tokens = NULL;
	n->token_count = 0;
}

/* One that may be missing. */
static void place_write(struct buf *b, struct opid id)
{
	buf_varint(b, id.lamport);
	if (id.lamport)
		buf_be64(b, id.actor);
}

static struct opid place_read(struct reader *r)
{
	struct opid id = {.lamport = reader_varint(r)};

	if (id.lamport)
		id.actor = reader_be64(r);
	return id;
}

static void stamp_write(struct buf *b, struct stamp s)
{
	place_write(b, s.id);
	if (s.id.lamport)
		buf_varint(b, s.hlc);
}

static struct stamp stamp_read(struct reader *r)
{
	struct stamp s = {.id = place_read(r)};

	if (s.id.lamport)
		s.hlc = reader_varint(r);
	return s;
}

void node_encode(const struct node *n, struct buf *out)
{
	bool same_name = slice_eq(buf_slice(&n->shown), buf_slice(&n->name));

	buf_u8(out, NODE_VERSION);
	buf_u8(out, (uint8_t)n->kind);
	buf_varint(out,
		   (n->exec ? FLAG_EXEC : 0u) | (n->raw ? FLAG_RAW : 0u) |
			   (n->indexed ? FLAG_INDEXED : 0u) | (n->visible ? FLAG_VISIBLE : 0u) |
			   (same_name ? 0u : FLAG_SHOWN) | (n->holds_dirs ? FLAG_HOLDS_DIRS : 0u) |
			   (n->roamed ? FLAG_ROAMED : 0u) | (n->chunked ? FLAG_CHUNKED : 0u) |
			   (n->waiting ? FLAG_WAITING : 0u) | (n->absent ? FLAG_ABSENT : 0u) |
			   (n->held ? FLAG_HELD : 0u) | (n->origin_op.lamport ? FLAG_ORIGIN : 0u));
	id_write(out, &n->stream);
	id_write(out, &n->parent);
	buf_bytes(out, buf_slice(&n->name));
	if (!same_name)
		buf_bytes(out, buf_slice(&n->shown));
	place_write(out, n->place);
	if (n->kind == NODE_DIR)
		place_write(out, n->born);
	buf_varint(out, n->token_count);
	for (size_t i = 0; i < n->token_count; i++)
		place_write(out, n->tokens[i]);
	buf_varint(out, n->child_count);
	if (n->origin_op.lamport) {
		id_write(out, &n->origin);
		place_write(out, n->origin_op);
	}
	stamp_write(out, n->exec_stamp);
	stamp_write(out, n->content);
	stamp_write(out, n->last);
	buf_varint(out, n->size);
	buf_varint(out, n->conflicts);
}

int node_decode(const struct id *id, struct slice bytes, struct node *ret)
{
	struct reader r = reader_init(bytes);

	ret->id = *id;
	if (reader_u8(&r) != NODE_VERSION)
		return -EBADMSG;
	ret->kind = (enum node_kind)reader_varint_max(&r, NODE_SYMLINK);
	uint64_t flags = reader_varint(&r);
	ret->exec = flags & FLAG_EXEC;
	ret->raw = flags & FLAG_RAW;
	ret->indexed = flags & FLAG_INDEXED;
	ret->visible = flags & FLAG_VISIBLE;
	ret->holds_dirs = flags & FLAG_HOLDS_DIRS;
	ret->roamed = flags & FLAG_ROAMED;
	ret->chunked = flags & FLAG_CHUNKED;
	ret->waiting = flags & FLAG_WAITING;
	ret->absent = flags & FLAG_ABSENT;
	ret->held = flags & FLAG_HELD;
	ret->stream = id_read(&r);
	ret->parent = id_read(&r);
	buf_slice_append(&ret->name, reader_bytes(&r, CHANGE_NAME_BYTES_MAX));
	if (flags & FLAG_SHOWN)
		buf_slice_append(&ret->shown, reader_bytes(&r, CHANGE_NAME_BYTES_MAX));
	else
		buf_slice_append(&ret->shown, buf_slice(&ret->name));
	ret->place = place_read(&r);
	if (ret->kind == NODE_DIR)
		ret->born = place_read(&r);
	ret->token_count = (size_t)reader_varint_max(&r, reader_left(&r) / OPID_BYTES_MIN);
	ret->tokens = xcalloc(ret->token_count, sizeof(*ret->tokens));
	for (size_t i = 0; i < ret->token_count; i++)
		ret->tokens[i] = place_read(&r);
	ret->child_count = reader_varint(&r);
	if (flags & FLAG_ORIGIN) {
		ret->origin = id_read(&r);
		ret->origin_op = place_read(&r);
	}
	ret->exec_stamp = stamp_read(&r);
	ret->content = stamp_read(&r);
	ret->last = stamp_read(&r);
	ret->size = reader_varint(&r);
	ret->conflicts = (uint32_t)reader_varint_max(&r, UINT32_MAX);
	return reader_finish(&r);
}

bool node_is_alive(const struct node *n)
{
	return n->kind != NODE_NONE && n->place.lamport != 0 &&
	       (n->token_count > 0 || n->child_count > 0 || n->held);
}

static bool is_among(struct opid id, const struct opid *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (opid_eq(id, list[i]))
			return true;
	}
	return false;
}

void node_touch(struct node *n, const struct opid *preds, size_t pred_count, struct opid add)
{
	size_t keep = 0;

	for (size_t i = 0; i < n->token_count; i++) {
		struct opid token = n->tokens[i];
		bool own = add.lamport && token.actor == add.actor;

		if (own && token.lamport > add.lamport)
			add.lamport = 0; /* superseded before it came */
		if (!is_among(token, preds, pred_count) && !(own && token.lamport <= add.lamport))
			n->tokens[keep++] = token;
	}
	n->token_count = keep;
	if (add.lamport == 0)
		return;
	size_t at = 0;
	while (at < keep && opid_cmp(n->tokens[at], add) < 0)
		at++;
	n->tokens = xreallocarray(n->tokens, keep + 1, sizeof(*n->tokens));
	memmove(n->tokens + at + 1, n->tokens + at, (keep - at) * sizeof(*n->tokens));
	n->tokens[at] = add;
	n->token_count = keep + 1;
}

bool stamp_beats(struct stamp a, struct stamp b)
{
	return b.id.lamport == 0 || opid_cmp(a.id, b.id) > 0;
}
