/*
 * Rendering: a walk over what is shown, in order. Each value is put out with the whitespace that the
 * style says, or its own space where it has one; so nothing depends on a neighbour, and a merge
 * touches the bytes of what changed.
 */
#include "core/doc_i.h"

#include <stdlib.h>

struct render {
	const struct doc *d;
	struct style style;
	struct ranking ranking;
	struct buf *out;
};

static void put_value(struct render *r, uint32_t f, size_t depth, const struct space *own);

/* The key and the colon, or nothing before an item. */
static void put_key(struct render *r, uint32_t f, const struct space *own)
{
	const struct field *field = &r->d->fields[f];

	if (field->is_item)
		return;
	buf_u8(r->out, '"');
	if (own->mask & SPACE_KEY)
		buf_slice_append(r->out, doc_space_text(own, SPACE_KEY));
	else
		doc_style_key(&r->style, field->key, r->out);
	buf_u8(r->out, '"');
	buf_slice_append(r->out, own->mask & SPACE_COLON ? doc_space_text(own, SPACE_COLON)
							 : r->style.text[STYLE_COLON]);
}

/* The member that an element has lost, with the comma before the next. */
static void put_lost_id(struct render *r, uint32_t f, const struct lay *lay)
{
	struct slice name;
	struct slice token;

	if (!doc_lost_id(r->d, f, &name, &token))
		return;
	buf_u8(r->out, '"');
	buf_slice_append(r->out, name);
	buf_u8(r->out, '"');
	buf_slice_append(r->out, r->style.text[STYLE_COLON]);
	buf_slice_append(r->out, token);
	buf_u8(r->out, ',');
	buf_slice_append(r->out, lay->sep);
}

static void put_children(struct render *r, size_t first, size_t end, size_t depth,
			 const struct lay *lay)
{
	struct space space;

	for (size_t i = first; i < end; i++) {
		uint32_t c = r->ranking.items[i].field;

		doc_space_of(r->d, &r->style, c, &space);
		if (i > first)
			buf_slice_append(r->out, space.mask & SPACE_BEFORE
							 ? doc_space_text(&space, SPACE_BEFORE)
							 : lay->sep);
		put_key(r, c, &space);
		put_value(r, c, depth + 1, &space);
		if (i + 1 < end) {
			if (space.mask & SPACE_AFTER)
				buf_slice_append(r->out, doc_space_text(&space, SPACE_AFTER));
			buf_u8(r->out, ',');
		}
	}
}

static void put_container(struct render *r, uint32_t f, size_t depth, const struct space *own,
			  bool is_array)
{
	size_t first = r->ranking.count;
	bool sorted = !is_array && r->style.flags & STYLE_SORTED;

	doc_rank_children(r->d, f,
			  is_array ? RANK_ITEMS
			  : sorted ? RANK_MEMBERS_SORTED
				   : RANK_MEMBERS,
			  &r->ranking);
	size_t end = r->ranking.count;
	buf_u8(r->out, is_array ? '[' : '{');
	if (first == end) {
		if (own->mask & SPACE_OPEN)
			buf_slice_append(r->out, doc_space_text(own, SPACE_OPEN));
	} else {
		struct lay lay = doc_style_lay(&r->style, is_array, depth, own);

		buf_slice_append(r->out, lay.open);
		if (!is_array)
			put_lost_id(r, f, &lay);
		put_children(r, first, end, depth, &lay);
		buf_slice_append(r->out, lay.close);
	}
	buf_u8(r->out, is_array ? ']' : '}');
	r->ranking.count = first;
}

static void put_value(struct render *r, uint32_t f, size_t depth, const struct space *own)
{
	uint32_t text = DOC_NONE;
	enum sib_kind kind = doc_shows(r->d, f, &text);

	if (kind != SIB_TEXT) {
		put_container(r, f, depth, own, kind == SIB_ARRAY);
		return;
	}
	struct slice value = r->d->sibs[text].value;
	if (value.len && (value.data[0] == '[' || value.data[0] == '{'))
		doc_space_value(&r->style, depth, own, value, r->out);
	else
		buf_slice_append(r->out, value);
}

static void put_json(struct render *r)
{
	struct space space;

	doc_style_of(r->d, &r->style);
	doc_space_of(r->d, &r->style, 0, &space);
	buf_slice_append(r->out, r->style.text[STYLE_PREFIX]);
	put_value(r, 0, 0, &space);
	buf_slice_append(r->out, r->style.text[STYLE_SUFFIX]);
	doc_style_fini(&r->style);
	free(r->ranking.items);
}

void doc_render_container(const struct doc *d, uint32_t f, bool is_array, struct buf *out)
{
	const struct space none = {0};
	struct render r = {.d = d, .out = out};

	doc_style_plain(&r.style);
	put_container(&r, f, 0, &none, is_array);
	doc_style_fini(&r.style);
	free(r.ranking.items);
}

void doc_render(const struct doc *d, struct buf *out)
{
	struct render r = {.d = d, .out = out};

	switch (doc_mode(d)) {
	case DOC_EMPTY:
		return;
	case DOC_RAW:
	case DOC_CHUNKS:
		buf_slice_append(out, doc_sib_text(d, &d->sibs[doc_reg_best(d, d->raw)]));
		return;
	case DOC_JSON:
		put_json(&r);
		return;
	}
}
