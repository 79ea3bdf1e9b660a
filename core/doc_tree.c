/* Trees: new values with all that is in them, in one operation; drawn in doc_i.h. */
#include "core/doc_i.h"

#include <string.h>

const char *const doc_id_names[ID_NAMES] = {"id", "_id", "uuid", "key", "name"};

struct node_head {
	enum sib_kind kind;
	struct slice space;
	struct slice text;
	uint32_t count;
	unsigned id_name; /* ID_NAMES: none */
	uint64_t digest;
};

static struct node_head take_head(struct reader *r)
{
	struct node_head h = {.id_name = ID_NAMES};
	unsigned flags = reader_u8(r);

	h.kind = (enum sib_kind)(flags & 3);
	if (flags > (NODE_SPACE | SIB_ARRAY) || h.kind > SIB_ARRAY)
		r->bad = true;
	if (flags & NODE_SPACE)
		h.space = reader_bytes(r, SIZE_MAX);
	if (r->bad || h.kind == SIB_TEXT) {
		h.kind = SIB_TEXT;
		h.text = reader_bytes(r, SIZE_MAX);
		return h;
	}
	h.count = (uint32_t)reader_varint_max(r, JSON_NODES_MAX);
	if (h.kind != SIB_ARRAY)
		return h;
	unsigned name = reader_u8(r);
	if (name > ID_NAMES)
		r->bad = true;
	else if (name)
		h.id_name = name - 1;
	else if (h.count)
		h.digest = reader_be64(r);
	return h;
}

/* Steps over what is in the container `h`. Containers are at most `room` deep. */
static void skip_inside(struct reader *r, const struct node_head *h, size_t room)
{
	if (h->kind != SIB_TEXT && room == 0)
		r->bad = true;
	for (uint32_t i = 0; h->kind != SIB_TEXT && i < h->count && !r->bad; i++) {
		if (h->kind == SIB_OBJECT)
			(void)reader_bytes(r, SIZE_MAX);
		struct node_head child = take_head(r);
		skip_inside(r, &child, room - 1);
	}
}

/* The text of the object's member that tells it apart; empty if it has none. */
static struct slice id_member(struct reader r, unsigned name)
{
	struct slice want = SLICE_STR(doc_id_names[name]);
	struct node_head h = take_head(&r);

	for (uint32_t i = 0; h.kind == SIB_OBJECT && i < h.count && !r.bad; i++) {
		struct slice key = reader_bytes(&r, SIZE_MAX);
		struct node_head member = take_head(&r);

		if (slice_eq(key, want))
			return member.kind == SIB_TEXT && !r.bad ? member.text : SLICE("", 0);
		skip_inside(&r, &member, DOC_DEPTH_MAX);
	}
	return SLICE("", 0);
}

static bool id_is_sound(struct slice token)
{
	return token.len > 0 && token.len <= ID_BYTES_MAX;
}

static void check_node(struct reader *r, size_t depth, const struct slice *key)
{
	struct node_head h = take_head(r);

	if (r->bad || !doc_space_is_sound(h.space, key) ||
	    (h.kind == SIB_TEXT && !json_is_value(h.text)) ||
	    (h.kind != SIB_TEXT && h.count && depth >= DOC_DEPTH_MAX)) {
		r->bad = true;
		return;
	}
	for (uint32_t i = 0; i < h.count && !r->bad; i++) {
		struct slice member = {0};

		if (h.kind == SIB_OBJECT)
			member = reader_bytes(r, SIZE_MAX);
		else if (h.id_name < ID_NAMES && !id_is_sound(id_member(*r, h.id_name)))
			r->bad = true;
		if (!r->bad)
			check_node(r, depth + 1, h.kind == SIB_OBJECT ? &member : NULL);
	}
}

bool doc_tree_is_sound(struct slice tree, size_t count, size_t depth, const struct slice *key)
{
	struct reader r = reader_init(tree);

	for (size_t i = 0; i < count && !r.bad; i++)
		check_node(&r, depth, key);
	return reader_finish(&r) == 0 && depth <= DOC_DEPTH_MAX;
}

void doc_item_key(unsigned name, struct slice token, struct buf *out)
{
	buf_u8(out, (uint8_t)(name + 1));
	buf_slice_append(out, token);
}

bool doc_lost_id(const struct doc *d, uint32_t f, struct slice *ret_name, struct slice *ret_token)
{
	const struct field *field = &d->fields[f];

	if (!field->is_item || field->key.data[0] == 0 || field->reg.count)
		return false;
	struct slice name = SLICE_STR(doc_id_names[field->key.data[0] - 1]);
	uint32_t member = doc_child(d, f, (struct doc_key){name, false}, DOC_NONE);
	if (member != DOC_NONE && doc_is_there(d, member))
		return false;
	*ret_name = name;
	*ret_token = SLICE(field->key.data + 1, field->key.len - 1);
	return true;
}

struct maker {
	struct doc *d;
	struct opid id;
	uint64_t hlc;
	struct reader r;
	struct buf key; /* of the item being made */
};

static uint32_t child_of(struct maker *m, uint32_t parent, struct doc_key key, uint32_t hint)
{
	uint32_t f = doc_child(m->d, parent, key, hint);

	if (f != DOC_NONE)
		return f;
	if (key.is_item)
		key.bytes = arena_copy(&m->d->arena, key.bytes);
	return doc_child_add(m->d, parent, key);
}

static void add_place(struct maker *m, uint32_t f, uint32_t i)
{
	const struct step step = {.waypoint = m->id, .index = (int64_t)i};
	struct doc *d = m->d;
	struct reg reg = d->fields[f].place;
	const struct held before = doc_held(d, f);

	buf_clear(&m->key);
	doc_step_put(&m->key, &step);
	doc_reg_add(d, &reg, m->id)->value = arena_copy(&d->arena, buf_slice(&m->key));
	d->fields[f].place = reg;
	doc_field_count(d, f, &before);
}

static void add_value(struct maker *m, uint32_t f, const struct node_head *h)
{
	struct doc *d = m->d;
	struct reg reg = d->fields[f].reg;
	const struct held before = doc_held(d, f);
	struct sib *s = doc_reg_add(d, &reg, m->id);

	s->hlc = m->hlc;
	s->kind = h->kind;
	s->value = h->kind == SIB_TEXT ? h->text : SLICE("", 0);
	d->fields[f].reg = reg;
	if (h->space.len) {
		reg = d->fields[f].space;
		doc_reg_add(d, &reg, m->id)->value = h->space;
		d->fields[f].space = reg;
	}
	doc_field_count(d, f, &before);
}

static void make_node(struct maker *m, uint32_t f);

static void make_item(struct maker *m, uint32_t array, const struct node_head *h, uint32_t i)
{
	buf_clear(&m->key);
	if (h->id_name < ID_NAMES) {
		doc_item_key(h->id_name, id_member(m->r, h->id_name), &m->key);
	} else {
		const struct step step = {.waypoint = {0, h->digest}, .index = (int64_t)i};

		buf_u8(&m->key, 0);
		doc_step_put(&m->key, &step);
	}
	uint32_t f = child_of(m, array, (struct doc_key){buf_slice(&m->key), true}, DOC_NONE);
	if (h->id_name < ID_NAMES)
		add_place(m, f, i);
	make_node(m, f);
}

static void make_node(struct maker *m, uint32_t f)
{
	struct node_head h = take_head(&m->r);

	add_value(m, f, &h);
	for (uint32_t i = 0; i < h.count; i++) {
		if (h.kind == SIB_ARRAY) {
			make_item(m, f, &h, i);
			continue;
		}
		struct doc_key key = {reader_bytes(&m->r, SIZE_MAX), false};
		uint32_t child = child_of(m, f, key, DOC_NONE);
		add_place(m, child, i);
		make_node(m, child);
	}
	assert(!m->r.bad);
}

static struct maker maker_of(struct doc *d, struct slice tree, struct opid id, uint64_t hlc)
{
	struct slice own = arena_copy(&d->arena, tree);

	d->copied += tree.len;
	return (struct maker){.d = d, .id = id, .hlc = hlc, .r = reader_init(own)};
}

void doc_tree_apply(struct doc *d, uint32_t f, struct slice tree, struct opid id, uint64_t hlc)
{
	struct maker m = maker_of(d, tree, id, hlc);

	make_node(&m, f);
	buf_fini(&m.key);
}

void doc_tree_insert(struct doc *d, uint32_t f, const struct op *op, struct opid id, uint64_t hlc)
{
	struct maker m = maker_of(d, op->value, id, hlc);

	for (uint32_t i = 0; i < op->count; i++) {
		buf_clear(&m.key);
		buf_u8(&m.key, 0);
		doc_place_of(&op->place, id, i, &m.key);
		uint32_t child =
			child_of(&m, f, (struct doc_key){buf_slice(&m.key), true}, DOC_NONE);
		make_node(&m, child);
	}
	buf_fini(&m.key);
}

static void node_text(struct reader *r, size_t room, struct buf *out)
{
	struct node_head h = take_head(r);

	if (h.kind == SIB_TEXT) {
		buf_slice_append(out, h.text);
		return;
	}
	if (room == 0)
		r->bad = true;
	buf_u8(out, h.kind == SIB_ARRAY ? '[' : '{');
	for (uint32_t i = 0; i < h.count && !r->bad; i++) {
		if (i)
			buf_printf(out, ", ");
		if (h.kind == SIB_OBJECT) {
			buf_u8(out, '"');
			buf_json_string(out, reader_bytes(r, SIZE_MAX));
			buf_printf(out, "\": ");
		}
		node_text(r, room - 1, out);
	}
	buf_u8(out, h.kind == SIB_ARRAY ? ']' : '}');
}

void doc_tree_text(struct slice tree, size_t count, struct buf *out)
{
	struct reader r = reader_init(tree);

	for (size_t i = 0; i < count && !r.bad; i++) {
		if (i)
			buf_printf(out, ", ");
		node_text(&r, DOC_DEPTH_MAX + 1, out);
	}
}
