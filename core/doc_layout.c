/*
 * How a save is formatted: for each of its values, what the style does not say. What base says already
 * is kept where it still holds, so that a save which changes no formatting says nothing.
 */
#include "core/doc_i.h"

#include <string.h>

static struct slice part(const struct diff *x, size_t start, size_t end)
{
	assert(start <= end && end <= x->bytes.len);
	return SLICE(x->bytes.data + start, end - start);
}

static const struct json_node *node_at(const struct diff *x, uint32_t i)
{
	return &x->json->nodes[i];
}

static size_t child_start(const struct json_node *n)
{
	return n->key_end ? n->key_start : n->start;
}

/* What stands between this child and the comma before it. */
static struct slice before_child(const struct diff *x, const struct json_node *previous,
				 const struct json_node *n)
{
	size_t at = previous->end;

	while (x->bytes.data[at] != ',')
		at++;
	return part(x, at + 1, child_start(n));
}

/* What stands between this child and the comma after it. */
static struct slice after_child(const struct diff *x, const struct json_node *n)
{
	size_t at = n->end;

	while (x->bytes.data[at] != ',')
		at++;
	return part(x, n->end, at);
}

/* How many of the container's children have something else before them. */
static size_t count_other(const struct diff *x, const struct json_node *n, struct slice sep)
{
	size_t other = 0;
	const struct json_node *previous = node_at(x, n->first_child);

	while (previous->next != JSON_NONE) {
		const struct json_node *c = node_at(x, previous->next);

		other += !slice_eq(before_child(x, previous, c), sep);
		previous = c;
	}
	return other;
}

/* What most of the container's children, all but the first, have before them (Boyer and Moore). */
static struct slice usual_sep(const struct diff *x, const struct json_node *n)
{
	struct slice usual = {0};
	size_t lead = 0;
	const struct json_node *previous = node_at(x, n->first_child);

	while (previous->next != JSON_NONE) {
		const struct json_node *c = node_at(x, previous->next);
		struct slice sep = before_child(x, previous, c);

		if (lead == 0)
			usual = sep;
		lead += slice_eq(sep, usual) ? 1 : (size_t)-1;
		previous = c;
	}
	return usual;
}

static void choose_sep(const struct diff *x, const struct json_node *n, const struct space *now,
		       struct space *ret, size_t depth)
{
	struct slice plain = doc_style_lay(&x->style, n->kind == JSON_ARRAY, depth, ret).sep;

	if (n->child_count < 2) {
		if (now->mask & SPACE_SEP)
			doc_space_set(ret, SPACE_SEP, doc_space_text(now, SPACE_SEP));
		return;
	}
	if (now->mask & SPACE_SEP && count_other(x, n, doc_space_text(now, SPACE_SEP)) == 0) {
		doc_space_set(ret, SPACE_SEP, doc_space_text(now, SPACE_SEP));
		return;
	}
	size_t other = count_other(x, n, plain);
	if (other == 0)
		return;
	struct slice usual = usual_sep(x, n);
	if (count_other(x, n, usual) < other)
		doc_space_set(ret, SPACE_SEP, usual);
}

static void container_space(const struct diff *x, const struct json_node *n, size_t depth,
			    const struct space *now, struct space *ret)
{
	bool is_array = n->kind == JSON_ARRAY;

	if (n->child_count == 0) {
		struct slice inside = part(x, n->start + 1u, n->end - 1u);

		/* What it says about members it has no more may be of use again. */
		ret->mask |= now->mask & (SPACE_INLINE | SPACE_BROKEN);
		if (inside.len)
			doc_space_set(ret, SPACE_OPEN, inside);
		return;
	}
	struct slice open = part(x, n->start + 1u, child_start(node_at(x, n->first_child)));
	struct slice close = part(x, node_at(x, n->last_child)->end, n->end - 1u);
	bool broken = memchr(open.data, '\n', open.len) != NULL;
	const struct space none = {0};
	if (broken != doc_style_breaks(&x->style, is_array, depth, &none))
		ret->mask |= broken ? SPACE_BROKEN : SPACE_INLINE;
	struct lay lay = doc_style_lay(&x->style, is_array, depth, ret);
	if (!slice_eq(lay.open, open))
		doc_space_set(ret, SPACE_OPEN, open);
	if (!slice_eq(lay.close, close))
		doc_space_set(ret, SPACE_CLOSE, close);
	choose_sep(x, n, now, ret, depth);
}

struct slice doc_layout_value(struct diff *x, uint32_t node)
{
	const struct json_node *n = node_at(x, node);
	struct slice source = part(x, n->start, n->end);

	if (n->kind == JSON_SCALAR)
		return source;
	buf_clear(&x->scratch);
	json_squeeze(source, &x->scratch);
	return buf_slice(&x->scratch);
}

/* A container that is one value: on one line, broken, or as it is. */
static void value_space(struct diff *x, uint32_t node, size_t depth, struct space *ret)
{
	const struct json_node *n = node_at(x, node);
	struct slice source = part(x, n->start, n->end);
	AUTO(buf_fini) struct buf shown = {0};

	if (n->kind == JSON_ARRAY) {
		const struct space none = {0};

		container_space(x, n, depth, &none, ret);
	}
	doc_space_value(&x->style, depth, ret, doc_layout_value(x, node), &shown);
	if (slice_eq(buf_slice(&shown), source))
		return;
	ret->mask &= ~(unsigned)(SPACE_OPEN | SPACE_SEP | SPACE_CLOSE);
	doc_space_set(ret, SPACE_VALUE, source);
}

static void key_space(struct diff *x, const struct json_node *n, struct space *ret)
{
	struct slice colon = part(x, n->key_end, n->start);
	struct slice source = part(x, n->key_start + 1u, n->key_end - 1u);

	if (!slice_eq(colon, x->style.text[STYLE_COLON]))
		doc_space_set(ret, SPACE_COLON, colon);
	if (slice_eq(source, n->key) && doc_style_is_plain(&x->style, source))
		return;
	buf_clear(&x->scratch);
	doc_style_key(&x->style, n->key, &x->scratch);
	if (!slice_eq(buf_slice(&x->scratch), source))
		doc_space_set(ret, SPACE_KEY, source);
}

void doc_layout_space(struct diff *x, uint32_t node, size_t depth, const struct place_in *in,
		      struct space *ret)
{
	const struct json_node *n = node_at(x, node);
	const struct space *now = &in->now;

	ret->mask = 0; /* not the texts, which the mask says are there */
	if (n->key_end)
		key_space(x, n, ret);
	if (in->previous != JSON_NONE) {
		struct slice sep = before_child(x, node_at(x, in->previous), n);

		if (!slice_eq(sep, in->sep))
			doc_space_set(ret, SPACE_BEFORE, sep);
	} else if (now->mask & SPACE_BEFORE) {
		doc_space_set(ret, SPACE_BEFORE, doc_space_text(now, SPACE_BEFORE));
	}
	if (n->next != JSON_NONE) {
		struct slice after = after_child(x, n);

		if (after.len)
			doc_space_set(ret, SPACE_AFTER, after);
	} else if (now->mask & SPACE_AFTER) {
		doc_space_set(ret, SPACE_AFTER, doc_space_text(now, SPACE_AFTER));
	}
	if (n->kind == JSON_DEEP || (!in->is_list && doc_match_is_flat(x->json, node)))
		value_space(x, node, depth, ret);
	else if (n->kind != JSON_SCALAR)
		container_space(x, n, depth, now, ret);
}

static void put_head(struct diff *x, unsigned kind, const struct space *space, struct buf *out)
{
	AUTO(buf_fini) struct buf blob = {0};

	doc_space_encode(space, &blob);
	x->spaces += blob.len;
	buf_u8(out, (uint8_t)(kind | (blob.len ? NODE_SPACE : 0)));
	if (blob.len)
		buf_bytes(out, buf_slice(&blob));
}

void doc_layout_tree(struct diff *x, uint32_t node, size_t depth, const struct place_in *in,
		     struct buf *out)
{
	const struct json_node *n = node_at(x, node);
	struct space space;

	const struct space none = {0};
	const struct space *own = in->bare ? &none : &space;
	doc_layout_space(x, node, depth, in, &space);
	if (n->kind == JSON_SCALAR || n->kind == JSON_DEEP || doc_match_is_flat(x->json, node)) {
		put_head(x, SIB_TEXT, own, out);
		buf_bytes(out, doc_layout_value(x, node));
		return;
	}
	bool is_array = n->kind == JSON_ARRAY;
	put_head(x, is_array ? SIB_ARRAY : SIB_OBJECT, own, out);
	buf_varint(out, n->child_count);
	if (is_array) {
		unsigned name = doc_match_id(x->json, node);

		buf_u8(out, name < ID_NAMES ? (uint8_t)(name + 1) : 0);
		if (name == ID_NAMES && n->child_count)
			buf_be64(out, doc_match_node(&x->matching, node));
	}
	struct place_in inner = {
		.previous = JSON_NONE,
		.sep = doc_style_lay(&x->style, is_array, depth, &space).sep,
	};
	for (uint32_t c = n->first_child; c != JSON_NONE; c = node_at(x, c)->next) {
		if (!is_array)
			buf_bytes(out, node_at(x, c)->key);
		doc_layout_tree(x, c, depth + 1, &inner, out);
		inner.previous = c;
	}
}
