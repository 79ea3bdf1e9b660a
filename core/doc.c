/* What happens to a document from outside: operations; and what it tells: mode, losers, paths. */
#include "core/doc_i.h"
#include "core/manifest.h"

#include <stdlib.h>
#include <string.h>

/* Drops dead fields and the strings of removed siblings. */
static void doc_compact(struct doc *d)
{
	AUTO(buf_fini) struct buf state = {0};
	struct doc *fresh = NULL;

	doc_encode(d, SLICE("", 0), &state);
	int r = doc_decode(buf_slice(&state), SLICE("", 0), &fresh);
	assert(r == 0);
	if (fresh->compact_at < state.len)
		fresh->compact_at = state.len;
	struct doc old = *d;
	*d = *fresh;
	*fresh = old;
	d->side = old.side;
	d->error = old.error;
	d->mem = STEAL(fresh->mem);
	doc_destroy(fresh);
}

/* No place from elsewhere may be where numbers end. */
static bool place_is_sound(const struct place *p)
{
	const int64_t far = (int64_t)1 << 60;

	return p->rank > -far && p->rank < far && p->index > -far && p->index < far &&
	       (p->prefix.len == 0 || doc_place_is_sound(p->prefix));
}

/* Operations on fields: well-formed by themselves, whatever is in the document. */
static bool field_op_is_sound(const struct op *op)
{
	size_t depth = 0;
	struct doc_key last;

	if (!doc_path_is_sound(op->path, &depth, &last) ||
	    (op->has_place && !place_is_sound(&op->place)))
		return false;
	const struct slice *key = depth && !last.is_item ? &last.bytes : NULL;
	if (op->kind == OP_SET && op->value_kind == VALUE_TEXT)
		return json_is_value(op->value);
	if (op->kind == OP_SET)
		return doc_tree_is_sound(op->value, 1, depth, key);
	if (op->kind == OP_INSERT)
		return op->has_place && op->count > 0 &&
		       doc_tree_is_sound(op->value, op->count, depth + 1, NULL);
	if (op->kind == OP_PLACE)
		return op->has_place && depth > 0;
	return op->kind == OP_UNSET || doc_space_is_sound(op->value, key);
}

static bool is_field_op(enum op_kind kind)
{
	return kind == OP_SET || kind == OP_UNSET || kind == OP_INSERT || kind == OP_PLACE ||
	       kind == OP_SPACE;
}

/* It is built on something, and comes after that in the order of all operations. */
static bool is_sound_text(const struct op *op)
{
	AUTO(text_edits_fini) struct text_edits e = {0};

	for (size_t i = 0; i < op->pred_count; i++) {
		if (op->preds[i].lamport >= op->lamport)
			return false;
	}
	return op->pred_count > 0 && text_edits_decode(op->value, &e) == 0;
}

/* Only a broken or hostile program makes others; every replica ignores those alike. */
static bool is_sound(const struct op *op)
{
	if (op->kind == OP_CHUNKS)
		return manifest_is_sound(op->value);
	if (op->kind == OP_TEXT)
		return is_sound_text(op);
	return is_field_op(op->kind)
		       ? field_op_is_sound(op)
		       : op->kind == OP_RAW || op->kind == OP_UNRAW || op->kind == OP_LAYOUT;
}

static struct sib *add_text(struct doc *d, struct reg *reg, struct opid id, struct slice text)
{
	struct sib *s = doc_reg_add(d, reg, id);

	s->value = arena_copy(&d->arena, text);
	d->copied += text.len;
	return s;
}

/* Which registers of a field an operation replaces. */
enum {
	OF_VALUE = 1,
	OF_PLACE = 2,
	OF_SPACE = 4
};

/* The registers of `now`, which was a copy: the fields may have moved. */
static void put_registers(struct doc *d, uint32_t f, const struct field *now,
			  const struct held *before)
{
	struct field *field = &d->fields[f];

	field->reg = now->reg;
	field->place = now->place;
	field->space = now->space;
	doc_field_count(d, f, before);
}

static void remove_seen(struct doc *d, uint32_t f, const struct op *op, unsigned of)
{
	struct field now = d->fields[f];
	const struct held before = doc_held(d, f);

	if (of & OF_VALUE)
		doc_reg_cover(d, &now.reg, op->preds, op->pred_count);
	if (of & OF_PLACE)
		doc_reg_cover(d, &now.place, op->preds, op->pred_count);
	if (of & OF_SPACE)
		doc_reg_cover(d, &now.space, op->preds, op->pred_count);
	put_registers(d, f, &now, &before);
}

/* The first who gives a value of another kind shades what he had seen, whoever comes next takes it out. */
static void shade_seen(struct doc *d, uint32_t f, const struct op *op)
{
	struct field now = d->fields[f];
	const struct held before = doc_held(d, f);

	doc_reg_shade(d, &now.reg, op->preds, op->pred_count);
	doc_reg_shade(d, &now.place, op->preds, op->pred_count);
	doc_reg_shade(d, &now.space, op->preds, op->pred_count);
	put_registers(d, f, &now, &before);
}

/* Takes out these values and no others: a conflict is settled. */
static void remove_named(struct doc *d, uint32_t f, const struct op *op)
{
	struct reg reg = d->fields[f].reg;
	const struct held before = doc_held(d, f);

	(void)doc_reg_remove(d, &reg, op->preds, op->pred_count);
	d->fields[f].reg = reg;
	doc_field_count(d, f, &before);
}

/* What is beneath f goes; `kind` is that of the value it is given, NULL: it goes itself. */
static void remove_beneath(struct doc *d, uint32_t f, const struct op *op, const enum sib_kind *kind)
{
	for (uint32_t c = d->fields[f].first_child; c != DOC_NONE; c = d->fields[c].next) {
		bool shade = kind && *kind != (d->fields[c].is_item ? SIB_ARRAY : SIB_OBJECT);

		for (uint32_t at = c; at != DOC_NONE;
		     at = doc_walk(d, at, c, d->fields[at].kept > 0)) {
			if (shade)
				shade_seen(d, at, op);
			else
				remove_seen(d, at, op, OF_VALUE | OF_PLACE | OF_SPACE);
		}
	}
}

/* Adds to one of the registers of f. */
static void add_to(struct doc *d, uint32_t f, unsigned of, struct opid id, struct slice text)
{
	struct field *field = &d->fields[f];
	struct reg reg = of == OF_PLACE ? field->place : field->space;
	const struct held before = doc_held(d, f);

	(void)add_text(d, &reg, id, text);
	if (of == OF_PLACE)
		field->place = reg;
	else
		field->space = reg;
	doc_field_count(d, f, &before);
}

static void apply_place(struct doc *d, uint32_t f, const struct op *op, struct opid id)
{
	AUTO(buf_fini) struct buf place = {0};

	doc_place_of(&op->place, id, 0, &place);
	add_to(d, f, OF_PLACE, id, buf_slice(&place));
}

static void apply_set(struct doc *d, uint32_t f, const struct op *op, struct opid id, uint64_t hlc)
{
	unsigned of = OF_VALUE | (op->has_place ? OF_PLACE | OF_SPACE : 0u);

	remove_seen(d, f, op, of);
	if (op->clears) {
		/* A tree begins with its root's kind. */
		enum sib_kind kind = op->value_kind == VALUE_TREE
					     ? (enum sib_kind)(op->value.data[0] & 3)
					     : SIB_TEXT;

		remove_beneath(d, f, op, &kind);
	}
	if (op->has_place)
		apply_place(d, f, op, id);
	if (op->value_kind == VALUE_TREE) {
		doc_tree_apply(d, f, op->value, id, hlc);
		return;
	}
	struct reg reg = d->fields[f].reg;
	const struct held before = doc_held(d, f);
	struct sib *s = add_text(d, &reg, id, op->value);
	s->hlc = hlc;
	s->kind = SIB_TEXT;
	d->fields[f].reg = reg;
	doc_field_count(d, f, &before);
}

static void apply_field(struct doc *d, const struct op *op, struct opid id, uint64_t hlc)
{
	uint32_t f = doc_field_at(d, op->path, op->kind != OP_UNSET);

	if (f == DOC_NONE)
		return;
	if (op->kind == OP_SET) {
		apply_set(d, f, op, id, hlc);
	} else if (op->kind == OP_INSERT) {
		doc_tree_insert(d, f, op, id, hlc);
	} else if (op->kind == OP_UNSET && op->clears) {
		remove_seen(d, f, op, OF_VALUE | OF_PLACE | OF_SPACE);
		remove_beneath(d, f, op, NULL);
	} else if (op->kind == OP_UNSET) {
		remove_named(d, f, op);
	} else if (op->kind == OP_PLACE) {
		remove_seen(d, f, op, OF_PLACE);
		apply_place(d, f, op, id);
	} else {
		remove_seen(d, f, op, OF_SPACE);
		if (op->value.len)
			add_to(d, f, OF_SPACE, id, op->value);
	}
}

void doc_apply_sound(struct doc *d, const struct op *op, struct opid id, uint64_t hlc)
{
	struct seen *seen = NULL;
	struct seen before;

	assert(id.lamport > 0);
	if (!doc_see(d, id, &seen, &before))
		return;
	bool first = before.lamport == 0 && op->pred_count == 0;
	seen->blank = first && op->kind == OP_RAW && op->value.len == 0;
	if (is_field_op(op->kind)) {
		apply_field(d, op, id, hlc);
	} else if (op->kind == OP_LAYOUT) {
		doc_reg_cover(d, &d->style, op->preds, op->pred_count);
		add_text(d, &d->style, id, op->value)->hlc = hlc;
	} else {
		doc_apply_raw(d, op, id, hlc, first || before.blank);
	}
}

void doc_apply(struct doc *d, const struct op *op, struct opid id, uint64_t hlc)
{
	if (!is_sound(op))
		return;
	doc_apply_sound(d, op, id, hlc);
	if (d->copied > d->compact_at)
		doc_compact(d);
}

enum doc_mode doc_mode(const struct doc *d)
{
	if (d->raw.count)
		return d->sibs[doc_reg_best(d, d->raw)].kind == SIB_CHUNKS ? DOC_CHUNKS : DOC_RAW;
	return d->fields[0].live ? DOC_JSON : DOC_EMPTY;
}

static void report(const struct doc *d, const struct sib *s, const struct doc_loser *where,
		   void (*fn)(void *ctx, const struct doc_loser *l), void *ctx)
{
	struct doc_loser l = *where;

	l.value = doc_sib_text(d, s);
	l.chunks = s->kind == SIB_CHUNKS;
	l.container = s->kind == SIB_OBJECT ? '{' : s->kind == SIB_ARRAY ? '[' : 0;
	l.id = s->id;
	l.hlc = s->hlc;
	fn(ctx, &l);
}

static void raw_losers(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l),
		       void *ctx)
{
	const struct sib *shown = &d->sibs[doc_reg_best(d, d->raw)];
	const struct doc_loser where = {.path = SLICE("", 0), .raw = true};

	for (uint32_t i = d->raw.first; i != DOC_NONE; i = d->sibs[i].next) {
		if (d->sibs[i].kind != shown->kind ||
		    !slice_eq(doc_sib_text(d, &d->sibs[i]), doc_sib_text(d, shown)))
			report(d, &d->sibs[i], &where, fn, ctx);
	}
}

/* Fields under a whole value whose author had not seen them. */
static void hidden_losers(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l),
			  void *ctx)
{
	AUTO(buf_fini) struct buf path = {0};
	struct doc_loser where = {0};
	bool into = true;

	for (uint32_t f = 0; f != DOC_NONE; f = doc_walk(d, f, 0, into)) {
		into = d->fields[f].live > 0;
		for (uint32_t i = d->fields[f].reg.first; i != DOC_NONE; i = d->sibs[i].next) {
			if (d->sibs[i].shaded || d->sibs[i].kind != SIB_TEXT ||
			    doc_is_covered(d, d->sibs[i].id))
				continue;
			buf_clear(&path);
			doc_path(d, f, &path);
			where.path = path.len ? buf_slice(&path) : SLICE("", 0);
			report(d, &d->sibs[i], &where, fn, ctx);
		}
	}
}

struct losing {
	const struct doc *d;
	void (*fn)(void *ctx, const struct doc_loser *l);
	void *ctx;
};

/* What of f's own values is not shown. `shown` is the sibling whose text is, if that is the kind. */
static void own_losers(const struct losing *x, uint32_t f, const enum sib_kind *kind, uint32_t shown)
{
	const struct doc *d = x->d;
	AUTO(buf_fini) struct buf path = {0};
	struct doc_loser where = {0};

	for (uint32_t i = d->fields[f].reg.first; i != DOC_NONE; i = d->sibs[i].next) {
		const struct sib *s = &d->sibs[i];

		if (s->shaded || (kind && s->kind == *kind &&
				  (*kind != SIB_TEXT || json_same(s->value, d->sibs[shown].value))))
			continue;
		if (!path.data)
			doc_path(d, f, &path);
		where.path = path.len ? buf_slice(&path) : SLICE("", 0);
		report(d, s, &where, x->fn, x->ctx);
	}
}

/* If `hidden`, something above f is shown in its place. */
static void field_losers(const struct losing *x, uint32_t f, bool hidden)
{
	const struct doc *d = x->d;
	const struct field *field = &d->fields[f];
	uint32_t text = DOC_NONE;
	enum sib_kind kind = doc_shows(d, f, &text);

	if (hidden || field->reg.count > 1 || (kind != SIB_TEXT && text != DOC_NONE) ||
	    (field->reg.count == 1 && d->sibs[field->reg.first].kind != kind))
		own_losers(x, f, hidden ? NULL : &kind, text);
	for (uint32_t c = field->first_child; c != DOC_NONE; c = d->fields[c].next) {
		enum sib_kind in = d->fields[c].is_item ? SIB_ARRAY : SIB_OBJECT;

		if (d->fields[c].live)
			field_losers(x, c, hidden || kind != in);
	}
}

void doc_losers_among_fields(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l),
			     void *ctx)
{
	const struct losing x = {d, fn, ctx};

	if (d->fields[0].live)
		field_losers(&x, 0, false);
}

void doc_losers(const struct doc *d, void (*fn)(void *ctx, const struct doc_loser *l), void *ctx)
{
	if (d->raw.count) {
		raw_losers(d, fn, ctx);
		hidden_losers(d, fn, ctx);
	} else {
		doc_losers_among_fields(d, fn, ctx);
	}
}

static void count_loser(void *ctx, const struct doc_loser *l)
{
	size_t *n = ctx;

	(void)l;
	++*n;
}

size_t doc_conflict_count(const struct doc *d)
{
	size_t n = 0;

	doc_losers(d, count_loser, &n);
	return n + doc_clash_count(d);
}

void doc_manifests(const struct doc *d,
		   void (*fn)(void *ctx, struct opid id, struct slice manifest), void *ctx)
{
	for (uint32_t i = d->raw.first; i != DOC_NONE; i = d->sibs[i].next) {
		if (d->sibs[i].kind == SIB_CHUNKS)
			fn(ctx, d->sibs[i].id, d->sibs[i].value);
	}
}

struct opid doc_shown_raw(const struct doc *d, uint64_t *ret_hlc)
{
	static const struct opid none;

	if (d->raw.count == 0)
		return none;
	const struct sib *s = &d->sibs[doc_reg_best(d, d->raw)];
	if (ret_hlc)
		*ret_hlc = s->hlc;
	return s->id;
}

static bool is_plain_key(struct slice key)
{
	for (size_t i = 0; i < key.len; i++) {
		uint8_t c = key.data[i];

		if (c < 0x20 || c == 0x7f || c == '.' || c == '"' || c == '[')
			return false;
	}
	return key.len > 0;
}

/* A string without its quotes where that can be told from a number; any other token as it is. */
static void put_id(struct slice token, struct buf *out)
{
	struct slice inside = {token.data + 1, token.len - 2};
	bool plain = token.len > 2 && token.data[0] == '"';

	for (size_t i = 0; plain && i < inside.len; i++)
		plain = inside.data[i] > 0x20 && inside.data[i] != 0x7f &&
			!memchr("\"\\[]=", inside.data[i], 5);
	if (plain && !memchr("-0123456789", inside.data[0], 11)) {
		buf_slice_append(out, inside);
		return;
	}
	for (size_t i = 0; i < token.len; i++) {
		if (token.data[i] == 0x7f) /* the only control that stands in a token as it is */
			buf_printf(out, "\\u007f");
		else
			buf_u8(out, token.data[i]);
	}
}

/* The index of item f as shown, or "?". */
static void put_index(const struct doc *d, uint32_t f, struct buf *out)
{
	AUTO(free_ptr) struct ranked *items = NULL;
	struct ranking all = {0};

	if (f != DOC_NONE && doc_is_there(d, f))
		doc_rank_children(d, d->fields[f].parent, RANK_ITEMS, &all);
	items = all.items;
	for (size_t i = 0; i < all.count; i++) {
		if (items[i].field == f) {
			buf_printf(out, "%zu", i);
			return;
		}
	}
	buf_printf(out, "?");
}

void doc_path_show(const struct doc *d, struct slice path, struct buf *out)
{
	struct reader r = reader_init(path);
	uint32_t f = d ? 0 : DOC_NONE;

	for (bool first = true; reader_left(&r); first = false) {
		struct doc_key key = doc_path_key(&r);

		if (r.bad)
			return;
		if (f != DOC_NONE)
			f = doc_child(d, f, key, DOC_NONE);
		if (key.is_item && key.bytes.len > 1) {
			uint8_t tag = key.bytes.data[0];

			buf_u8(out, '[');
			if (tag && tag <= ID_NAMES) {
				buf_printf(out, "%s=", doc_id_names[tag - 1]);
				put_id(SLICE(key.bytes.data + 1, key.bytes.len - 1), out);
			} else {
				put_index(d, f, out);
			}
			buf_u8(out, ']');
			continue;
		}
		if (!first)
			buf_u8(out, '.');
		if (is_plain_key(key.bytes)) {
			buf_slice_append(out, key.bytes);
			continue;
		}
		buf_u8(out, '"');
		buf_json_string(out, key.bytes);
		buf_u8(out, '"');
	}
}

void doc_path_text(struct slice path, struct buf *out)
{
	doc_path_show(NULL, path, out);
}

void doc_value_text(const struct op *op, struct buf *out)
{
	if (op->kind == OP_INSERT)
		doc_tree_text(op->value, op->count, out);
	else if (op->kind == OP_SET && op->value_kind == VALUE_TREE)
		doc_tree_text(op->value, 1, out);
	else
		buf_slice_append(out, op->value);
}

uint64_t doc_last_lamport(const struct doc *d)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < d->seen_count; i++)
		last = d->seen[i].lamport > last ? d->seen[i].lamport : last;
	return last;
}
