/*
 * The operations a JSON save becomes: a walk over the save and base's fields side by side.
 *
 * What base does not have becomes one operation with all that is in it, and neighbouring new elements
 * of an array share one. What the save does not have is one operation as well, which takes away what
 * base had there and beneath. What stands elsewhere among its siblings gets a new place, as few as
 * possible. What is formatted otherwise than the style and base say gets a space.
 */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** Operations of other kinds may share the change. */
#define EDIT_OPS_MAX (CHANGE_OPS_MAX - 1024)
/** Paths repeat their beginnings; a save whose paths outgrow it by this factor is kept as text. */
#define PATHS_PER_BYTE_MAX 16
#define PATHS_BYTES_MIN 65536
#define PATHS_BYTES_MAX (256u << 20)
/** What an operation costs on the wire besides path and value, about. */
#define OP_BYTES 8
/** More than any formatting costs: the style does not do. */
#define SPACES_UNFIT ((size_t)1 << 40)

/* A child of the container at hand. */
struct kid {
	uint32_t node;
	uint32_t field; /* DOC_NONE if base shows none */
	bool stays;
};

/* The container at hand. */
struct box {
	uint32_t node;
	uint32_t field;
	size_t depth;
	bool is_array;
	unsigned id_name; /* what tells its elements apart; ID_NAMES: nothing, or not known yet */
	struct kid *kids;
	size_t count;
	size_t path_len;    /* of its path */
	struct place_in in; /* of the kid at hand */
	struct slice left;  /* place of what was put before, empty: nothing */
};

struct op *doc_edit_op(struct diff *x, enum op_kind kind)
{
	if (x->ops->count - x->first > EDIT_OPS_MAX)
		x->too_large = true;
	return ops_add(x->ops, kind, x->node, ++*x->stamp->lamport);
}

/* Per actor the latest of what an operation replaces. */
struct context {
	struct opid *items;
	size_t count;
	size_t cap;
};

static void context_note(struct context *c, struct opid id)
{
	size_t k = 0;

	while (k < c->count && c->items[k].actor != id.actor)
		k++;
	if (k == c->count) {
		if (c->count == c->cap) {
			c->cap = c->cap ? c->cap * 2 : 4;
			c->items = xreallocarray(c->items, c->cap, sizeof(*c->items));
		}
		c->items[c->count++] = id;
	} else if (c->items[k].lamport < id.lamport) {
		c->items[k] = id;
	}
}

static void context_add(struct context *c, const struct doc *d, struct reg reg)
{
	for (uint32_t i = reg.first; i != DOC_NONE; i = d->sibs[i].next)
		context_note(c, d->sibs[i].id);
}

/* All values of fields. */
static void context_add_values(struct context *c, const struct doc *d)
{
	bool into = true;

	for (uint32_t f = 0; f != DOC_NONE; f = doc_walk(d, f, 0, into)) {
		into = d->fields[f].live > 0;
		context_add(c, d, d->fields[f].reg);
	}
}

/* Hands the context to the operation, which is the last one. */
static void context_give(struct diff *x, struct context *c, struct op *op)
{
	if (c->count > CHANGE_PREDS_MAX)
		x->too_large = true;
	else if (c->count)
		memcpy(ops_preds(x->ops, op, c->count), c->items, c->count * sizeof(*c->items));
	free(c->items);
}

void doc_edit_preds(struct diff *x, struct op *op, struct reg reg)
{
	struct context c = {0};

	context_add(&c, x->base, reg);
	context_give(x, &c, op);
}

struct op *doc_edit_raw(struct diff *x, enum op_kind kind)
{
	const struct doc *d = x->base;
	size_t (*tokens)(const struct doc *, struct opid *) =
		kind == OP_TEXT ? doc_text_preds : doc_raw_tokens;
	size_t n = tokens(d, NULL);
	struct op *op = doc_edit_op(x, kind);

	struct context hidden = {0};
	if (kind != OP_UNRAW)
		context_add_values(&hidden, d);
	if (n + hidden.count == 0 && d->seen_count)
		context_note(&hidden, (struct opid){d->seen[0].lamport, d->seen[0].actor});
	if (n + hidden.count > CHANGE_PREDS_MAX)
		x->too_large = true;
	if (!x->too_large) {
		struct opid *preds = ops_preds(x->ops, op, n + hidden.count);

		if (n)
			(void)tokens(d, preds);
		for (size_t i = 0; i < hidden.count; i++)
			preds[n + i] = hidden.items[i];
	}
	free(hidden.items);
	return op;
}

/* All that base has at f and beneath. */
static void preds_beneath(struct diff *x, struct op *op, uint32_t f)
{
	const struct doc *d = x->base;
	struct context c = {0};

	for (uint32_t at = f; at != DOC_NONE; at = doc_walk(d, at, f, d->fields[at].kept > 0)) {
		context_add(&c, d, d->fields[at].reg);
		context_add(&c, d, d->fields[at].place);
		context_add(&c, d, d->fields[at].space);
	}
	context_give(x, &c, op);
}

/* The operation is about x->path. */
static void set_path(struct diff *x, struct op *op)
{
	size_t max = x->bytes.len < PATHS_BYTES_MAX / PATHS_PER_BYTE_MAX
			     ? x->bytes.len * PATHS_PER_BYTE_MAX + PATHS_BYTES_MIN
			     : PATHS_BYTES_MAX;

	if (op->kind == OP_UNSET)
		max = PATHS_BYTES_MAX;
	x->paths_bytes += x->path.len;
	if (x->path.len > CHANGE_PATH_BYTES_MAX || x->paths_bytes > max)
		x->too_large = true;
	else
		op->path = arena_copy(&x->ops->arena, buf_slice(&x->path));
}

static bool is_one_value(const struct diff *x, uint32_t node)
{
	enum json_kind kind = x->json->nodes[node].kind;

	return kind == JSON_SCALAR || kind == JSON_DEEP || doc_match_is_flat(x->json, node);
}

/* Gives the operation the node's whole value. */
static void set_value(struct diff *x, struct op *op, uint32_t node, size_t depth,
		      const struct place_in *in)
{
	AUTO(buf_fini) struct buf tree = {0};

	if (is_one_value(x, node)) {
		struct space space;

		doc_layout_space(x, node, depth, in, &space);
		if (space.mask == 0 || in->bare) {
			op->value_kind = VALUE_TEXT;
			op->value = arena_copy(&x->ops->arena, doc_layout_value(x, node));
			return;
		}
	}
	op->value_kind = VALUE_TREE;
	doc_layout_tree(x, node, depth, in, &tree);
	op->value = arena_copy(&x->ops->arena, buf_slice(&tree));
}

static bool has_beneath(const struct field *f)
{
	return f->kept > f->reg.count + f->place.count + f->space.count;
}

/* Where base already has f, takes its value's place, and that of all beneath. */
static void replace(struct diff *x, uint32_t node, uint32_t f, size_t depth, struct place_in *in)
{
	struct op *op = doc_edit_op(x, OP_SET);

	op->clears = has_beneath(&x->base->fields[f]);
	if (op->clears)
		preds_beneath(x, op, f);
	else
		doc_edit_preds(x, op, x->base->fields[f].reg);
	set_path(x, op);
	in->bare = true; /* base may have a space for it, to which the other is compared */
	set_value(x, op, node, depth, in);
	in->bare = false;
}

static struct space space_now(const struct diff *x, uint32_t f)
{
	struct space now = {0};

	if (!x->restyled)
		doc_space_of(x->base, &x->style, f, &now);
	return now;
}

/* Says how f is formatted, unless that is known. */
static void edit_space(struct diff *x, uint32_t f, const struct space *now, const struct space *want)
{
	AUTO(buf_fini) struct buf a = {0};
	AUTO(buf_fini) struct buf b = {0};

	if (now->mask == 0 && want->mask == 0)
		return;
	doc_space_encode(now, &a);
	doc_space_encode(want, &b);
	if (slice_eq(buf_slice(&a), buf_slice(&b)))
		return;
	struct op *op = doc_edit_op(x, OP_SPACE);
	doc_edit_preds(x, op, x->base->fields[f].space);
	set_path(x, op);
	op->value = arena_copy(&x->ops->arena, buf_slice(&b));
	x->spaces += b.len + x->path.len + OP_BYTES;
}

static void unset(struct diff *x, uint32_t f)
{
	size_t len = x->path.len;
	const struct field *field = &x->base->fields[f];
	struct op *op = doc_edit_op(x, OP_UNSET);

	doc_path_add(&x->path, (struct doc_key){field->key, field->is_item});
	op->clears = true;
	preds_beneath(x, op, f);
	set_path(x, op);
	x->path.len = len;
}

/* Where the next stays that has a place. */
static struct slice place_after(const struct diff *x, const struct box *b, size_t i)
{
	while (i < b->count && !b->kids[i].stays)
		i++;
	return i < b->count ? doc_field_place(x->base, b->kids[i].field) : SLICE("", 0);
}

/* Gives the operation a place for n after b->left, and moves that on. */
static void set_place(struct diff *x, struct box *b, size_t i, uint32_t n, struct op *op)
{
	const struct opid id = {op->lamport, x->stamp->actor};
	struct buf last = {0};

	op->has_place = true;
	if (!doc_place_between(b->left, place_after(x, b, i + n), id, n, &x->ops->arena,
			       &op->place)) {
		/* Only if siblings stand where no program of ours puts them: all get new places. */
		x->spaces += SPACES_UNFIT;
		op->place = (struct place){SLICE("", 0), 0, id.lamport, 0};
	}
	doc_place_of(&op->place, id, n - 1, &last);
	b->left = arena_copy(&x->ops->arena, buf_slice(&last));
	buf_fini(&last);
}

/* How the i-th kid stands in its container. */
static void enter_kid(struct diff *x, struct box *b, size_t i)
{
	const struct kid *k = &b->kids[i];

	b->in.previous = i ? b->kids[i - 1].node : JSON_NONE;
	b->in.now.mask = 0;
	b->in.is_list = false;
	if (k->field != DOC_NONE)
		b->in.now = space_now(x, k->field);
}

/* The key a new kid has by itself. false if it is an element that is known by its place. */
static bool own_key(const struct diff *x, const struct box *b, const struct kid *k, unsigned name,
		    struct buf *out)
{
	if (!b->is_array) {
		doc_path_add(out, (struct doc_key){x->json->nodes[k->node].key, false});
		return true;
	}
	if (name == ID_NAMES)
		return false;
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	uint32_t c = x->json->nodes[k->node].first_child;
	while (!slice_eq(x->json->nodes[c].key, SLICE_STR(doc_id_names[name])))
		c = x->json->nodes[c].next;
	const struct json_node *n = &x->json->nodes[c];
	doc_item_key(name, SLICE(x->bytes.data + n->start, n->end - n->start), &key);
	struct doc_key item = {buf_slice(&key), true};
	uint32_t f = b->field == DOC_NONE ? DOC_NONE : doc_child(x->base, b->field, item, DOC_NONE);
	/* An element made under this id has another one now. */
	if (f != DOC_NONE && doc_is_there(x->base, f))
		return false;
	doc_path_add(out, item);
	return true;
}

static void add_child(struct diff *x, struct box *b, size_t i)
{
	struct op *op = doc_edit_op(x, OP_SET);
	struct reader r = reader_init(SLICE(x->path.data + b->path_len, x->path.len - b->path_len));
	uint32_t f = doc_child(x->base, b->field, doc_path_key(&r), DOC_NONE);

	enter_kid(x, b, i);
	if (f != DOC_NONE)
		preds_beneath(x, op, f); /* places left over */
	op->clears = op->pred_count > 0;
	set_path(x, op);
	set_place(x, b, i, 1, op);
	set_value(x, op, b->kids[i].node, b->depth + 1, &b->in);
}

static void insert_run(struct diff *x, struct box *b, size_t i, size_t end)
{
	AUTO(buf_fini) struct buf tree = {0};
	struct op *op = doc_edit_op(x, OP_INSERT);

	op->count = (uint32_t)(end - i);
	set_path(x, op);
	set_place(x, b, i, op->count, op);
	for (size_t k = i; k < end; k++) {
		enter_kid(x, b, k);
		doc_layout_tree(x, b->kids[k].node, b->depth + 1, &b->in, &tree);
	}
	op->value = arena_copy(&x->ops->arena, buf_slice(&tree));
}

/* Puts in what is new from the i-th kid on and returns how many. */
static size_t add_new(struct diff *x, struct box *b, size_t i)
{
	size_t end = i;

	for (; end < b->count && b->kids[end].field == DOC_NONE; end++) {
		x->path.len = b->path_len;
		if (!own_key(x, b, &b->kids[end], b->id_name, &x->path))
			continue;
		if (end > i)
			break;
		add_child(x, b, i);
		x->path.len = b->path_len;
		return 1;
	}
	x->path.len = b->path_len;
	insert_run(x, b, i, end);
	return end - i;
}

static void edit_value(struct diff *x, uint32_t node, uint32_t f, size_t depth, struct place_in *in);

static void edit_kid(struct diff *x, struct box *b, size_t i)
{
	struct kid *k = &b->kids[i];
	const struct field *field = &x->base->fields[k->field];

	doc_path_add(&x->path, (struct doc_key){field->key, field->is_item});
	if (!k->stays) {
		struct op *op = doc_edit_op(x, OP_PLACE);

		doc_edit_preds(x, op, field->place);
		set_path(x, op);
		set_place(x, b, i, 1, op);
	} else if (doc_field_place(x->base, k->field).len) {
		b->left = doc_field_place(x->base, k->field);
	}
	enter_kid(x, b, i);
	edit_value(x, k->node, k->field, b->depth + 1, &b->in);
	x->path.len = b->path_len;
}

/* Which kids stay: as many as possible, but none without a place before one that gets a place. */
static void choose_stays(struct diff *x, struct box *b, const uint32_t *match)
{
	AUTO(free_ptr) uint8_t *stay = xmalloc(b->count + 1);
	bool moved_after = false;

	doc_match_stay(match, b->count, stay);
	for (size_t i = b->count; i--;) {
		struct kid *k = &b->kids[i];

		k->stays = stay[i] && !x->firm &&
			   !(moved_after && doc_field_place(x->base, k->field).len == 0);
		moved_after = moved_after || !k->stays;
	}
	if (b->is_array || !(x->style.flags & STYLE_SORTED))
		return;
	/* Their keys say where members stand: nothing is to be moved. */
	for (size_t i = 0; i < b->count; i++) {
		if (i && slice_cmp(x->json->nodes[b->kids[i - 1].node].key,
				   x->json->nodes[b->kids[i].node].key) > 0)
			x->spaces += SPACES_UNFIT;
		b->kids[i].stays = b->kids[i].field != DOC_NONE;
	}
}

/* Takes out what is not in the save, and fills match with the places of kids in base. */
static void match_kids(struct diff *x, struct box *b, uint32_t *match)
{
	const struct doc *d = x->base;
	bool sorted = !b->is_array && x->style.flags & STYLE_SORTED;
	size_t first = x->ranking.count;
	uint32_t c = x->json->nodes[b->node].first_child;
	uint32_t hint = d->fields[b->field].first_child;

	doc_rank_children(d, b->field,
			  b->is_array ? RANK_ITEMS
			  : sorted    ? RANK_MEMBERS_SORTED
				      : RANK_MEMBERS,
			  &x->ranking);
	size_t count = x->ranking.count - first;
	const struct ranked *items = x->ranking.items + first;
	for (size_t k = 0; k < count; k++)
		x->rank[items[k].field] = (uint32_t)k;
	if (b->is_array)
		doc_match_items(&x->matching, b->node, &x->ranking, first, match);
	for (size_t i = 0; i < b->count; i++, c = x->json->nodes[c].next) {
		struct kid *k = &b->kids[i];

		k->node = c;
		k->field = DOC_NONE;
		if (b->is_array) {
			k->field = match[i] == DOC_NONE ? DOC_NONE : items[match[i]].field;
		} else {
			struct doc_key key = {x->json->nodes[c].key, false};
			uint32_t f = doc_child(d, b->field, key, hint);

			hint = f == DOC_NONE ? hint : d->fields[f].next;
			k->field = f != DOC_NONE && doc_is_there(d, f) ? f : DOC_NONE;
			match[i] = k->field == DOC_NONE ? DOC_NONE : x->rank[f];
		}
		if (k->field != DOC_NONE)
			x->rank[k->field] = DOC_NONE;
	}
	for (size_t k = 0; k < count; k++) {
		if (x->rank[items[k].field] != DOC_NONE)
			unset(x, items[k].field);
	}
	x->ranking.count = first;
}

/* The container is here and there. Its own space is `own`. */
static void edit_inside(struct diff *x, uint32_t node, uint32_t f, size_t depth,
			const struct space *own)
{
	const struct json_node *n = &x->json->nodes[node];
	bool is_array = n->kind == JSON_ARRAY;
	AUTO(free_ptr) struct kid *kids = xmalloc((n->child_count + 1) * sizeof(*kids));
	AUTO(free_ptr) uint32_t *match = xmalloc((n->child_count + 1) * sizeof(*match));
	struct box b = {
		.node = node,
		.field = f,
		.depth = depth,
		.is_array = is_array,
		.id_name = ID_NAMES,
		.kids = kids,
		.count = n->child_count,
		.path_len = x->path.len,
		.in = {.sep = doc_style_lay(&x->style, is_array, depth, own).sep},
		.left = SLICE("", 0),
	};

	match_kids(x, &b, match);
	choose_stays(x, &b, match);
	for (size_t i = 0; i < b.count && !x->too_large;) {
		if (kids[i].field != DOC_NONE) {
			edit_kid(x, &b, i++);
			continue;
		}
		if (is_array && b.id_name == ID_NAMES)
			b.id_name = doc_match_id(x->json, node);
		i += add_new(x, &b, i);
	}
}

/* Whether base has values of other kinds at f, or none of its own that says what it is. */
static bool competes(const struct doc *d, uint32_t f, enum sib_kind kind)
{
	const struct field *field = &d->fields[f];
	bool other = kind == SIB_OBJECT ? field->live_items : field->live_members;

	for (uint32_t i = field->reg.first; i != DOC_NONE; i = d->sibs[i].next)
		other = other || d->sibs[i].kind != kind;
	return other || !field->reg.count;
}

static void edit_value(struct diff *x, uint32_t node, uint32_t f, size_t depth, struct place_in *in)
{
	const struct doc *d = x->base;
	const struct json_node *n = &x->json->nodes[node];
	uint32_t text = DOC_NONE;
	enum sib_kind shown = doc_shows(d, f, &text);
	struct space want;

	in->is_list = shown == SIB_ARRAY && n->kind == JSON_ARRAY;
	if (!in->is_list && is_one_value(x, node)) {
		if (shown != SIB_TEXT || !slice_eq(d->sibs[text].value, doc_layout_value(x, node)) ||
		    (x->firm && has_beneath(&d->fields[f])))
			replace(x, node, f, depth, in);
		doc_layout_space(x, node, depth, in, &want);
		edit_space(x, f, &in->now, &want);
		return;
	}
	enum sib_kind kind = n->kind == JSON_ARRAY ? SIB_ARRAY : SIB_OBJECT;
	bool emptied = n->child_count == 0 && !d->fields[f].reg.count;
	bool anew = shown != kind || emptied || (x->firm && competes(d, f, kind));
	if (anew)
		replace(x, node, f, depth, in);
	doc_layout_space(x, node, depth, in, &want);
	edit_space(x, f, &in->now, &want);
	if (!anew)
		edit_inside(x, node, f, depth, &want);
}

/* A value that lost among the fields, and that a whole value was put in the place of since: it is gone for good. */
static void drop_if_covered(void *ctx, const struct doc_loser *l)
{
	struct diff *x = ctx;

	if (!doc_is_covered(x->base, l->id))
		return;
	struct op *op = doc_edit_op(x, OP_UNSET);
	*ops_preds(x->ops, op, 1) = l->id;
	op->path = arena_copy(&x->ops->arena, l->path);
}

void doc_edit(struct diff *x)
{
	const struct doc *d = x->base;
	struct place_in in = {.previous = JSON_NONE, .sep = SLICE("", 0)};

	if (d->raw.count) {
		(void)doc_edit_raw(x, OP_UNRAW);
		doc_losers_among_fields(d, drop_if_covered, x);
	}
	if (x->restyled) {
		AUTO(buf_fini) struct buf blob = {0};
		struct op *op = doc_edit_op(x, OP_LAYOUT);

		doc_edit_preds(x, op, d->style);
		doc_style_encode(&x->style, &blob);
		op->value = arena_copy(&x->ops->arena, buf_slice(&blob));
	}
	const struct json_node *root = &x->json->nodes[0];
	if (!slice_eq(x->style.text[STYLE_PREFIX], SLICE(x->bytes.data, root->start)) ||
	    !slice_eq(x->style.text[STYLE_SUFFIX],
		      SLICE(x->bytes.data + root->end, x->bytes.len - root->end)))
		x->spaces += SPACES_UNFIT;
	buf_clear(&x->path);
	in.now = space_now(x, 0);
	if (d->fields[0].live) {
		edit_value(x, 0, 0, 0, &in);
		return;
	}
	struct op *op = doc_edit_op(x, OP_SET);
	preds_beneath(x, op, 0);
	op->clears = op->pred_count > 0;
	set_path(x, op);
	set_value(x, op, 0, 0, &in);
}
