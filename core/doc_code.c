/* The state of a document as bytes and back; drawn in doc_i.h. */
#include "core/doc_i.h"
#include "core/manifest.h"

#include <stdlib.h>
#include <string.h>

#define DOC_VERSION 3

#define SIB_OBJECT 1u
#define SIB_ORD 2u
#define SIB_ACTOR 4u
#define SIB_LAMPORT 8u
#define SIB_HLC 16u
#define SIB_CHUNKS 32u
#define SIB_ROOT 64u
#define SIB_COVERED 128u

/* The siblings are coded relative to the one before. */
struct last {
	uint32_t actor;
	uint64_t lamport;
	uint64_t hlc;
};

struct encoder {
	const struct doc *d;
	struct slice rendered;
	struct buf *out;
	struct last last;
};

static uint64_t zigzag(uint64_t now, uint64_t before)
{
	uint64_t diff = now - before;

	return diff << 1 ^ (diff >> 63 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t code, uint64_t before)
{
	return before + (code >> 1 ^ (code & 1 ? UINT64_MAX : 0));
}

/* Where `actor` stands in seen, DOC_NONE if it does not. */
static uint32_t seen_index(const struct doc *d, uint64_t actor)
{
	uint32_t lo = 0;
	uint32_t hi = d->seen_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (d->seen[mid].actor < actor)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < d->seen_count && d->seen[lo].actor == actor ? lo : DOC_NONE;
}

static size_t common_prefix(struct slice a, struct slice b)
{
	size_t max = a.len < b.len ? a.len : b.len;
	size_t n = 0;

	while (max - n >= 64 && memcmp(a.data + n, b.data + n, 64) == 0)
		n += 64;
	while (n < max && a.data[n] == b.data[n])
		n++;
	return n;
}

static size_t common_suffix(struct slice a, struct slice b)
{
	size_t max = a.len < b.len ? a.len : b.len;
	size_t n = 0;

	for (; max - n >= 64; n += 64) {
		if (memcmp(a.data + (a.len - n - 64), b.data + (b.len - n - 64), 64) != 0)
			break;
	}
	while (n < max && a.data[a.len - n - 1] == b.data[b.len - n - 1])
		n++;
	return n;
}

static void put_text(struct encoder *e, struct slice text)
{
	struct slice r = e->rendered;
	size_t prefix = common_prefix(text, r);
	struct slice rest = {text.data + prefix, text.len - prefix};
	size_t suffix = common_suffix(rest, SLICE(r.data + prefix, r.len - prefix));

	buf_varint(e->out, prefix);
	buf_varint(e->out, suffix);
	buf_bytes(e->out, SLICE(rest.data, rest.len - suffix));
}

static void put_sib(struct encoder *e, const struct sib *s)
{
	uint32_t actor = seen_index(e->d, s->id.actor);
	unsigned flags = 0;

	assert(actor != DOC_NONE);
	flags |= s->kind == VALUE_OBJECT ? SIB_OBJECT : 0;
	flags |= s->kind == VALUE_CHUNKS ? SIB_CHUNKS : 0;
	flags |= s->root == DOC_NONE ? 0 : SIB_ROOT;
	flags |= s->covered ? SIB_COVERED : 0;
	flags |= opid_eq(s->ord, s->id) ? 0 : SIB_ORD;
	flags |= actor == e->last.actor ? 0 : SIB_ACTOR;
	flags |= s->id.lamport == e->last.lamport + 1 ? 0 : SIB_LAMPORT;
	flags |= s->hlc == e->last.hlc ? 0 : SIB_HLC;
	buf_u8(e->out, (uint8_t)flags);
	if (flags & SIB_ACTOR)
		buf_varint(e->out, actor);
	if (flags & SIB_LAMPORT)
		buf_varint(e->out, zigzag(s->id.lamport, e->last.lamport));
	if (flags & SIB_HLC)
		buf_varint(e->out, zigzag(s->hlc, e->last.hlc));
	if (flags & SIB_ORD) {
		uint32_t owner = seen_index(e->d, s->ord.actor);

		buf_varint(e->out, s->ord.lamport);
		buf_varint(e->out, owner == DOC_NONE ? 0 : (uint64_t)owner + 1);
		if (owner == DOC_NONE)
			buf_be64(e->out, s->ord.actor);
	}
	e->last = (struct last){actor, s->id.lamport, s->hlc};
}

static void put_texts(struct encoder *e, struct reg reg)
{
	buf_varint(e->out, reg.count);
	for (uint32_t i = reg.first; i != DOC_NONE; i = e->d->sibs[i].next) {
		const struct sib *s = &e->d->sibs[i];

		put_sib(e, s);
		if (s->root != DOC_NONE)
			doc_root_write(e->d, s, e->out);
		put_text(e, doc_sib_text(e->d, s));
	}
}

static void put_field(struct encoder *e, uint32_t f)
{
	const struct field *field = &e->d->fields[f];
	uint32_t count = field->reg.count;

	buf_varint(e->out, (uint64_t)field->live_children << 2 | (count < 3 ? count : 3));
	if (count >= 3)
		buf_varint(e->out, count - 3);
	if (f != 0)
		buf_bytes(e->out, field->key);
	for (uint32_t i = field->reg.first; i != DOC_NONE; i = e->d->sibs[i].next) {
		put_sib(e, &e->d->sibs[i]);
		if (e->d->sibs[i].kind == VALUE_TEXT)
			buf_bytes(e->out, e->d->sibs[i].value);
	}
}

/* Puts f's live children on the stack, so that the first comes off first. */
static void push_children(const struct doc *d, uint32_t f, struct ranking *stack)
{
	size_t start = stack->count;

	if (!d->fields[f].live_children)
		return;
	doc_rank_children(d, f, NULL, stack);
	for (size_t end = stack->count; start + 1 < end; start++) {
		struct ranked t = stack->items[start];

		stack->items[start] = stack->items[--end];
		stack->items[end] = t;
	}
}

static void put_fields(struct encoder *e)
{
	struct ranking stack = {0};

	put_field(e, 0);
	push_children(e->d, 0, &stack);
	while (stack.count) {
		uint32_t f = stack.items[--stack.count].field;

		put_field(e, f);
		push_children(e->d, f, &stack);
	}
	free(stack.items);
}

void doc_encode(const struct doc *d, struct slice rendered, struct buf *out)
{
	/* Never NULL, so that one may point past nothing. */
	struct slice shared = rendered.data ? rendered : SLICE("", 0);
	struct encoder e = {.d = d, .rendered = shared, .out = out};

	buf_u8(out, DOC_VERSION);
	buf_varint(out, d->seen_count);
	for (uint32_t i = 0; i < d->seen_count; i++) {
		buf_be64(out, d->seen[i].actor);
		buf_varint(out, d->seen[i].lamport << 1 | d->seen[i].blank);
	}
	put_texts(&e, d->raw);
	put_texts(&e, d->layout);
	put_fields(&e);
}

struct decoder {
	struct doc *d;
	struct slice rendered;
	struct reader r;
	struct last last;
};

/* A count of things that take at least one byte each. */
static uint32_t take_count(struct reader *r)
{
	return (uint32_t)reader_varint_max(r, reader_left(r) < DOC_NONE / 8 ? reader_left(r)
									    : DOC_NONE / 8);
}

static void take_seen(struct decoder *c)
{
	struct doc *d = c->d;
	uint32_t n = take_count(&c->r);

	for (uint32_t i = 0; i < n && !c->r.bad; i++) {
		struct seen *seen = NULL;
		struct seen before;
		struct opid id;

		id.actor = reader_be64(&c->r);
		uint64_t code = reader_varint(&c->r);
		id.lamport = code >> 1;
		if ((i && d->seen[i - 1].actor >= id.actor) || id.lamport == 0)
			c->r.bad = true;
		if (!c->r.bad && doc_see(d, id, &seen, &before))
			seen->blank = code & 1;
	}
}

static struct opid take_ord(struct decoder *c)
{
	struct opid ord = {.lamport = reader_varint(&c->r)};
	uint32_t owner = (uint32_t)reader_varint_max(&c->r, c->d->seen_count);

	ord.actor = owner ? c->d->seen[owner - 1].actor : reader_be64(&c->r);
	if (ord.lamport == 0)
		c->r.bad = true;
	return ord;
}

/* *last is the register's sibling before. NULL if it is malformed. The value is not set. */
static struct sib *take_sib(struct decoder *c, struct reg *reg, struct opid *last, bool *ret_root)
{
	struct reader *r = &c->r;
	unsigned flags = reader_u8(r);
	*ret_root = flags & SIB_ROOT;
	struct last now = {c->last.actor, c->last.lamport + 1, c->last.hlc};
	struct opid ord = {0};

	if (flags & SIB_ACTOR)
		now.actor = (uint32_t)reader_varint_max(r, DOC_NONE);
	if (flags & SIB_LAMPORT)
		now.lamport = unzigzag(reader_varint(r), c->last.lamport);
	if (flags & SIB_HLC)
		now.hlc = unzigzag(reader_varint(r), c->last.hlc);
	if (flags & SIB_ORD)
		ord = take_ord(c);
	if (r->bad || now.actor >= c->d->seen_count || now.lamport == 0 ||
	    now.lamport > c->d->seen[now.actor].lamport) {
		r->bad = true;
		return NULL;
	}
	struct opid id = {.lamport = now.lamport, .actor = c->d->seen[now.actor].actor};
	if (reg->count && opid_cmp(*last, id) >= 0) {
		r->bad = true;
		return NULL;
	}
	*last = id;
	struct sib *s = doc_reg_add(c->d, reg, id);
	s->kind = flags & SIB_OBJECT   ? VALUE_OBJECT
		  : flags & SIB_CHUNKS ? VALUE_CHUNKS
				       : VALUE_TEXT;
	s->hlc = now.hlc;
	s->covered = flags & SIB_COVERED;
	if (flags & SIB_ORD)
		s->ord = ord;
	c->last = now;
	return s;
}

static struct slice take_text(struct decoder *c)
{
	struct slice r = c->rendered;
	size_t prefix = (size_t)reader_varint_max(&c->r, r.len);
	size_t suffix = (size_t)reader_varint_max(&c->r, r.len - prefix);
	struct slice middle = reader_bytes(&c->r, SIZE_MAX);
	size_t len = prefix + suffix + middle.len;

	if (c->r.bad)
		return SLICE("", 0);
	if (len == middle.len)
		return middle;
	uint8_t *text = arena_alloc(&c->d->arena, len);
	if (prefix)
		memcpy(text, r.data, prefix);
	if (middle.len)
		memcpy(text + prefix, middle.data, middle.len);
	if (suffix)
		memcpy(text + len - suffix, r.data + (r.len - suffix), suffix);
	return SLICE(text, len);
}

/* A text's heads come before it, and are known by its sibling. */
static void take_root_text(struct decoder *c, struct sib *s)
{
	uint32_t sib = (uint32_t)(s - c->d->sibs);

	doc_root_read(c->d, sib, &c->r);
	struct slice text = take_text(c);
	if (!c->r.bad)
		c->d->roots[c->d->root_count - 1].content = text;
	s->value = SLICE("", 0);
}

static void take_texts(struct decoder *c, struct reg *reg)
{
	uint32_t n = take_count(&c->r);
	struct opid last = {0};

	for (uint32_t i = 0; i < n && !c->r.bad; i++) {
		bool is_root = false;
		struct sib *s = take_sib(c, reg, &last, &is_root);

		if (s && is_root && (reg != &c->d->raw || s->kind != VALUE_TEXT))
			c->r.bad = true;
		else if (s && is_root)
			take_root_text(c, s);
		else if (s)
			s->value = take_text(c);
		if (s && s->kind == VALUE_CHUNKS &&
		    (reg != &c->d->raw || !manifest_is_sound(s->value)))
			c->r.bad = true;
	}
}

/* Reads a field beneath `parent` (DOC_NONE: the root) and returns how many children follow. */
static uint32_t take_field(struct decoder *c, uint32_t parent, uint32_t *ret_field)
{
	uint64_t head = reader_varint(&c->r);
	uint64_t count = head & 3;
	uint32_t f = 0;
	struct opid last = {0};

	if (count == 3)
		count += take_count(&c->r);
	if (parent != DOC_NONE) {
		struct slice key = reader_bytes(&c->r, SIZE_MAX);

		if (c->r.bad || head == 0)
			goto bad;
		f = doc_child_add(c->d, parent, key);
	}
	*ret_field = f;
	struct reg reg = c->d->fields[f].reg;
	for (uint64_t i = 0; i < count && !c->r.bad; i++) {
		bool is_root = false;
		struct sib *s = take_sib(c, &reg, &last, &is_root);

		if (is_root || (s && s->kind == VALUE_CHUNKS))
			c->r.bad = true;
		if (s && s->kind == VALUE_TEXT)
			s->value = reader_bytes(&c->r, SIZE_MAX);
	}
	c->d->fields[f].reg = reg;
	doc_field_count(c->d, f, (int32_t)reg.count);
	if (c->r.bad || head >> 2 > reader_left(&c->r))
		goto bad;
	return (uint32_t)(head >> 2);
bad:
	c->r.bad = true;
	return 0;
}

static void take_fields(struct decoder *c)
{
	struct {
		uint32_t field;
		uint32_t left;
	} stack[DOC_DEPTH_MAX];
	size_t depth = 1;

	stack[0].field = 0;
	stack[0].left = take_field(c, DOC_NONE, &stack[0].field);
	while (depth && !c->r.bad) {
		uint32_t f = 0;

		if (stack[depth - 1].left == 0) {
			depth--;
			continue;
		}
		stack[depth - 1].left--;
		uint32_t left = take_field(c, stack[depth - 1].field, &f);
		if (left && depth == DOC_DEPTH_MAX) {
			c->r.bad = true;
		} else if (left) {
			stack[depth].field = f;
			stack[depth++].left = left;
		}
	}
}

int doc_decode(struct slice state, struct slice rendered, struct doc **ret)
{
	struct doc *d = doc_create();

	d->blob = xmemdup(state.data, state.len);
	if (d->compact_at < state.len)
		d->compact_at = state.len;
	struct decoder c = {
		.d = d,
		.rendered = rendered,
		.r = reader_init(SLICE(d->blob, state.len)),
	};
	if (reader_u8(&c.r) != DOC_VERSION)
		c.r.bad = true;
	take_seen(&c);
	take_texts(&c, &d->raw);
	take_texts(&c, &d->layout);
	take_fields(&c);
	if (reader_finish(&c.r) < 0) {
		doc_destroy(d);
		return -EBADMSG;
	}
	*ret = d;
	return 0;
}
