/*
 * Rendering: a walk over the layout's text and the field tree side by side.
 *
 * `pos` is how far the layout's text has been dealt with. Text that stays is not copied piece by
 * piece: pos lags behind until something differs, and copy_to() then takes all of it at once. What
 * the layout lacks is written straight to the output.
 *
 * Objects are on an explicit stack. A frame first goes through the members the layout has, then
 * through those it lacks ("extra"). An object the layout does not have has only extra members.
 */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** What stands around the members of an object. */
struct style {
	struct slice open;  /**< after { */
	struct slice sep;   /**< between two members, comma included */
	struct slice close; /**< before } */
	struct slice colon; /**< between key and value, colon included */
};

struct frame {
	uint32_t field;
	uint32_t lnode;	 /* this object in the layout, or JSON_NONE */
	uint32_t model;	 /* an object in the layout to copy the style of, or JSON_NONE */
	uint32_t member; /* the layout's member to look at next */
	uint32_t before; /* the one before it */
	uint32_t last;	 /* the layout's member put out last */
	uint32_t hint;	 /* the field the next member probably is */
	uint32_t laid;	 /* live children found in the layout */
	bool closing;	 /* all members of the layout are dealt with */
	bool styled;
	bool searched;	      /* child_model is known */
	uint32_t child_model; /* the model for objects in here that have none of their own */
	size_t first_extra;   /* the extra members' places in render.extras */
	size_t extra;
	size_t end_extra;
	struct style style;
};

struct render {
	const struct doc *d;
	const struct json *layout;
	struct buf *out;
	size_t pos;
	uint8_t *laid; /* by field: it is in the layout */
	struct ranking extras;
	struct arena arena; /* made-up whitespace */
	size_t depth;
	struct frame stack[DOC_DEPTH_MAX + 1];
};

static const struct json_node *lnode(const struct render *r, uint32_t i)
{
	assert(i != JSON_NONE);
	return &r->layout->nodes[i];
}

static struct slice ltext(const struct render *r, size_t start, size_t end)
{
	assert(start <= end && end <= r->layout->text.len);
	return SLICE(r->layout->text.data + start, end - start);
}

static void copy_to(struct render *r, size_t end)
{
	buf_slice_append(r->out, ltext(r, r->pos, end));
	r->pos = end;
}

static void put(struct render *r, const char *s)
{
	buf_append(r->out, s, strlen(s));
}

/* Where the last line in `space` begins, or len + 1 if there is just one. */
static size_t indent_start(struct slice space)
{
	size_t i = space.len;

	while (i > 0 && space.data[i - 1] != '\n')
		i--;
	return i ? i : space.len + 1;
}

static bool is_multiline(struct slice space)
{
	return indent_start(space) <= space.len;
}

static struct slice join(struct render *r, struct slice a, struct slice b)
{
	uint8_t *p = arena_alloc(&r->arena, a.len + b.len);

	if (a.len)
		memcpy(p, a.data, a.len);
	if (b.len)
		memcpy(p + a.len, b.data, b.len);
	return SLICE(p, a.len + b.len);
}

/* The style of an object in the layout that has members: that of its last ones. */
static struct style style_of(struct render *r, uint32_t object)
{
	const struct json_node *o = lnode(r, object);
	const struct json_node *first = lnode(r, o->first_child);
	const struct json_node *last = lnode(r, o->last_child);
	struct style s = {
		.open = ltext(r, o->start + 1, first->key_start),
		.close = ltext(r, last->end, o->end - 1),
		.colon = ltext(r, last->key_end, last->start),
	};

	if (first != last) {
		/* The node before the last member's is of the member before it, or inside that. */
		uint32_t i = o->last_child - 1;

		while (lnode(r, i)->parent != object)
			i = lnode(r, i)->parent;
		s.sep = ltext(r, lnode(r, i)->end, last->key_start);
	} else if (is_multiline(s.open)) {
		s.sep = join(r, SLICE_STR(","), s.open);
	} else {
		s.sep = s.colon.data[s.colon.len - 1] == ':' ? SLICE_STR(",") : SLICE_STR(", ");
	}
	return s;
}

/* The style of an object for which there is no model, in a parent of this style. */
static struct style style_inside(struct render *r, const struct style *parent)
{
	struct slice open = parent->open;
	size_t start = indent_start(open);

	if (start > open.len)
		return *parent;
	bool crlf = start >= 2 && open.data[start - 2] == '\r';
	struct slice line_end = crlf ? SLICE_STR("\r\n") : SLICE_STR("\n");
	struct slice indent = {open.data + start, open.len - start};
	struct slice unit = SLICE_STR("  ");
	size_t outer_start = indent_start(parent->close);
	if (outer_start <= parent->close.len) {
		size_t outer = parent->close.len - outer_start;

		if (outer < indent.len &&
		    memcmp(parent->close.data + outer_start, indent.data, outer) == 0)
			unit = SLICE(indent.data + outer, indent.len - outer);
	}
	struct style s = {.colon = parent->colon};
	s.close = join(r, line_end, indent);
	s.open = join(r, s.close, unit);
	s.sep = join(r, SLICE_STR(","), s.open);
	return s;
}

/* The style of the frame at this depth; those above it are worked out on the way. */
static const struct style *style_at(struct render *r, size_t depth)
{
	size_t i = depth;

	while (i > 0 && !r->stack[i].styled && r->stack[i].model == JSON_NONE)
		i--;
	for (; i <= depth; i++) {
		struct frame *f = &r->stack[i];

		if (f->styled)
			continue;
		if (f->model != JSON_NONE)
			f->style = style_of(r, f->model);
		else if (i > 0)
			f->style = style_inside(r, &r->stack[i - 1].style);
		else
			f->style = (struct style){SLICE_STR("\n  "), SLICE_STR(",\n  "),
						  SLICE_STR("\n"), SLICE_STR(": ")};
		f->styled = true;
	}
	return &r->stack[depth].style;
}

/* The last member of the frame's model that is an object with members. */
static uint32_t find_child_model(const struct render *r, struct frame *f)
{
	if (f->searched)
		return f->child_model;
	f->searched = true;
	f->child_model = JSON_NONE;
	if (f->model == JSON_NONE)
		return JSON_NONE;
	for (uint32_t m = lnode(r, f->model)->first_child; m != JSON_NONE; m = lnode(r, m)->next) {
		if (lnode(r, m)->child_count)
			f->child_model = m;
	}
	return f->child_model;
}

static void push(struct render *r, uint32_t field, uint32_t node)
{
	assert(r->depth <= DOC_DEPTH_MAX);
	struct frame *f = &r->stack[r->depth];
	bool has_members = node != JSON_NONE && lnode(r, node)->child_count > 0;

	*f = (struct frame){
		.field = field,
		.lnode = node,
		.model = has_members ? node : JSON_NONE,
		.member = has_members ? lnode(r, node)->first_child : JSON_NONE,
		.before = JSON_NONE,
		.last = JSON_NONE,
		.hint = r->d->fields[field].first_child,
	};
	if (!has_members && r->depth && r->d->fields[field].live_children)
		f->model = find_child_model(r, f - 1);
	r->depth++;
}

/* Puts a field out where the layout has the value `node`. */
static void put_over(struct render *r, uint32_t field, uint32_t node)
{
	const struct json_node *m = lnode(r, node);
	uint32_t text = DOC_NONE;

	if (doc_shows_object(r->d, field, &text)) {
		if (m->kind == JSON_OBJECT) {
			push(r, field, node);
			return;
		}
		copy_to(r, m->start);
		r->pos = m->end;
		push(r, field, JSON_NONE);
		return;
	}
	struct slice value = r->d->sibs[text].value;
	if (m->kind != JSON_OBJECT && json_same(value, ltext(r, m->start, m->end)))
		return;
	copy_to(r, m->start);
	r->pos = m->end;
	buf_slice_append(r->out, value);
}

/* The next of the layout's members: it stays where it is, or is passed over. */
static void laid_member(struct render *r, struct frame *f)
{
	uint32_t self = f->member;
	uint32_t before = f->before;
	const struct json_node *m = lnode(r, self);
	uint32_t field = doc_child(r->d, f->field, m->key, f->hint);

	f->before = self;
	f->member = m->next;
	if (field == DOC_NONE || !r->d->fields[field].live)
		return;
	r->laid[field] = 1;
	f->laid++;
	f->hint = r->d->fields[field].next;
	if (f->last != before && f->last == JSON_NONE) {
		copy_to(r, lnode(r, lnode(r, f->lnode)->first_child)->key_start);
		r->pos = m->key_start;
	} else if (f->last != before) {
		copy_to(r, lnode(r, f->last)->end);
		r->pos = lnode(r, before)->end;
	}
	f->last = self;
	put_over(r, field, self);
}

/* After the layout's members: cuts the gone ones at the end, gets ready for the extra ones. */
static void begin_extras(struct render *r, struct frame *f)
{
	const struct json_node *o = f->lnode == JSON_NONE ? NULL : lnode(r, f->lnode);

	f->closing = true;
	f->first_extra = r->extras.count;
	if (f->laid < r->d->fields[f->field].live_children)
		doc_rank_children(r->d, f->field, r->laid, &r->extras);
	f->extra = f->first_extra;
	f->end_extra = r->extras.count;
	bool has_extras = f->extra < f->end_extra;
	if (!o || o->first_child == JSON_NONE) {
		if (o && has_extras) {
			copy_to(r, o->start + 1);
			r->pos = o->end - 1;
		} else if (!o) {
			put(r, "{");
		}
		if (has_extras)
			buf_slice_append(r->out, style_at(r, r->depth - 1)->open);
		return;
	}
	if (!has_extras && f->last == o->last_child)
		return;
	if (f->last != JSON_NONE) {
		copy_to(r, lnode(r, f->last)->end);
		r->pos = lnode(r, o->last_child)->end;
	} else if (has_extras) {
		copy_to(r, lnode(r, o->first_child)->key_start);
		r->pos = lnode(r, o->last_child)->end;
	} else {
		copy_to(r, o->start + 1);
		r->pos = o->end - 1;
	}
}

static void extra_member(struct render *r, struct frame *f)
{
	const struct style *style = style_at(r, r->depth - 1);
	uint32_t field = r->extras.items[f->extra].field;
	uint32_t text = DOC_NONE;

	if (f->last != JSON_NONE || f->extra > f->first_extra)
		buf_slice_append(r->out, style->sep);
	f->extra++;
	put(r, "\"");
	buf_json_string(r->out, r->d->fields[field].key);
	put(r, "\"");
	buf_slice_append(r->out, style->colon);
	if (doc_shows_object(r->d, field, &text))
		push(r, field, JSON_NONE);
	else
		buf_slice_append(r->out, r->d->sibs[text].value);
}

static void end_object(struct render *r, struct frame *f)
{
	bool empty_in_layout = f->lnode == JSON_NONE || lnode(r, f->lnode)->child_count == 0;

	if (empty_in_layout && f->end_extra > f->first_extra)
		buf_slice_append(r->out, style_at(r, r->depth - 1)->close);
	if (f->lnode == JSON_NONE)
		put(r, "}");
	r->extras.count = f->first_extra;
	r->depth--;
}

static void put_root(struct render *r)
{
	uint32_t text = DOC_NONE;

	if (r->layout)
		put_over(r, 0, 0);
	else if (doc_shows_object(r->d, 0, &text))
		push(r, 0, JSON_NONE);
	else
		buf_slice_append(r->out, r->d->sibs[text].value);
	while (r->depth) {
		struct frame *f = &r->stack[r->depth - 1];

		if (f->member != JSON_NONE)
			laid_member(r, f);
		else if (!f->closing)
			begin_extras(r, f);
		else if (f->extra < f->end_extra)
			extra_member(r, f);
		else
			end_object(r, f);
	}
	if (r->layout)
		copy_to(r, r->layout->text.len);
	else
		put(r, "\n");
}

void doc_render_with(const struct doc *d, const struct json *layout, struct buf *out)
{
	struct render r;

	switch (doc_mode(d)) {
	case DOC_EMPTY:
		return;
	case DOC_RAW:
	case DOC_CHUNKS:
		buf_slice_append(out, doc_sib_text(d, &d->sibs[doc_reg_best(d, d->raw)]));
		return;
	case DOC_JSON:
		break;
	}
	/* Not a zeroing initialiser: the stack is large and needs none. */
	r.d = d;
	r.layout = layout;
	r.out = out;
	r.pos = 0;
	r.laid = xcalloc(d->field_count, 1);
	r.extras = (struct ranking){0};
	r.arena = (struct arena){0};
	r.depth = 0;
	put_root(&r);
	free(r.laid);
	free(r.extras.items);
	arena_fini(&r.arena);
}

const struct json *doc_scan_layout(const struct doc *d, struct json *storage)
{
	*storage = (struct json){0};
	if (!d->layout.count)
		return NULL;
	struct slice text = d->sibs[doc_reg_best(d, d->layout)].value;
	return json_scan(text, storage, NULL) == 0 ? storage : NULL;
}

void doc_render(const struct doc *d, struct buf *out)
{
	AUTO(json_fini) struct json storage = {0};

	doc_render_with(d, doc_mode(d) == DOC_JSON ? doc_scan_layout(d, &storage) : NULL, out);
}
