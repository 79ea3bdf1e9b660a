/* The state of a document as bytes and back; drawn in doc_i.h. */
#include "core/doc_i.h"
#include "core/manifest.h"

#include <stdlib.h>
#include <string.h>

#define DOC_VERSION 7

#define SIB_KINDS 3u /* enum sib_kind */
#define SIB_ACTOR 4u
#define SIB_LAMPORT 8u
#define SIB_HLC 16u
#define SIB_NEXT 32u
#define SIB_ROOT 64u
#define SIB_SHADED 128u

#define FIELD_CHILDREN 4u
#define FIELD_ITEM 8u
#define FIELD_KEY_NEXT 16u
#define FIELD_PLACES 32u
#define FIELD_PLACE_NEXT 64u
#define FIELD_SPACES 128u

/* The siblings are coded relative to the one before. */
struct last {
	uint32_t actor;
	uint64_t lamport;
	uint64_t hlc;
};

/* What a child's key and place are coded relative to. */
struct before {
	struct slice key;
	struct slice place;
};

struct encoder {
	const struct doc *d;
	struct slice rendered;
	struct buf *out;
	struct last last;
	struct ranking ranking;
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
	unsigned flags = s->kind;
	bool next = s->id.lamport == e->last.lamport + 1;

	assert(actor != DOC_NONE);
	flags |= actor == e->last.actor ? 0 : SIB_ACTOR;
	flags |= next ? SIB_NEXT : s->id.lamport == e->last.lamport ? 0 : SIB_LAMPORT;
	flags |= s->hlc == e->last.hlc ? 0 : SIB_HLC;
	flags |= s->root == DOC_NONE ? 0 : SIB_ROOT;
	flags |= s->shaded ? SIB_SHADED : 0;
	buf_u8(e->out, (uint8_t)flags);
	if (flags & SIB_ACTOR)
		buf_varint(e->out, actor);
	if (flags & SIB_LAMPORT)
		buf_varint(e->out, zigzag(s->id.lamport, e->last.lamport));
	if (flags & SIB_HLC)
		buf_varint(e->out, zigzag(s->hlc, e->last.hlc));
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
		if (s->root != DOC_NONE)
			doc_clashes_encode(&e->d->roots[s->root], e->out);
	}
}

static void put_shared(struct encoder *e, struct slice before, struct slice s)
{
	size_t n = common_prefix(before, s);

	buf_varint(e->out, n);
	buf_bytes(e->out, SLICE(s.data + n, s.len - n));
}

/* An item born in a run; what is in between may be gone. */
static struct slice birth_place(struct slice key)
{
	return key.len && key.data[0] == 0 ? SLICE(key.data + 1, key.len - 1) : SLICE("", 0);
}

/* Places and spaces have no time: theirs is that of the sibling before. */
static void put_untimed(struct encoder *e, const struct sib *s)
{
	struct sib copy = *s;

	copy.hlc = e->last.hlc;
	copy.kind = SIB_TEXT;
	put_sib(e, &copy);
}

static void put_places(struct encoder *e, const struct field *field, struct before *before)
{
	buf_varint(e->out, field->place.count);
	for (uint32_t i = field->place.first; i != DOC_NONE; i = e->d->sibs[i].next) {
		put_untimed(e, &e->d->sibs[i]);
		put_shared(e, before->place, e->d->sibs[i].value);
		before->place = e->d->sibs[i].value;
	}
}

static unsigned field_flags(struct encoder *e, const struct field *f, size_t children,
			    const struct before *before)
{
	const struct doc *d = e->d;
	unsigned flags = f->reg.count < 3 ? f->reg.count : 3;

	flags |= children ? FIELD_CHILDREN : 0;
	flags |= f->is_item ? FIELD_ITEM : 0;
	if (f->is_item && birth_place(f->key).len &&
	    doc_place_is_next(birth_place(before->key), birth_place(f->key)))
		flags |= FIELD_KEY_NEXT;
	if (f->place.count == 1 && f->reg.count &&
	    opid_eq(d->sibs[f->place.first].id, d->sibs[f->reg.first].id) &&
	    d->sibs[f->place.first].shaded == d->sibs[f->reg.first].shaded &&
	    doc_place_is_next(before->place, d->sibs[f->place.first].value))
		flags |= FIELD_PLACE_NEXT;
	else if (f->place.count)
		flags |= FIELD_PLACES;
	flags |= f->space.count ? FIELD_SPACES : 0;
	return flags;
}

static void put_field(struct encoder *e, uint32_t f, size_t children, struct before *before)
{
	const struct doc *d = e->d;
	const struct field *field = &d->fields[f];
	unsigned flags = field_flags(e, field, children, before);

	buf_u8(e->out, (uint8_t)flags);
	if ((flags & 3) == 3)
		buf_varint(e->out, field->reg.count - 3);
	if (children)
		buf_varint(e->out, children);
	if (field->is_item && !(flags & FIELD_KEY_NEXT))
		put_shared(e, before->key, field->key);
	else if (!field->is_item && f != 0)
		buf_bytes(e->out, field->key);
	for (uint32_t i = field->reg.first; i != DOC_NONE; i = d->sibs[i].next) {
		put_sib(e, &d->sibs[i]);
		if (d->sibs[i].kind == SIB_TEXT)
			buf_bytes(e->out, d->sibs[i].value);
	}
	before->key = field->is_item ? field->key : before->key;
	if (flags & FIELD_PLACES)
		put_places(e, field, before);
	else if (flags & FIELD_PLACE_NEXT)
		before->place = d->sibs[field->place.first].value;
	if (!(flags & FIELD_SPACES))
		return;
	buf_varint(e->out, field->space.count);
	for (uint32_t i = field->space.first; i != DOC_NONE; i = d->sibs[i].next) {
		put_untimed(e, &d->sibs[i]);
		buf_bytes(e->out, d->sibs[i].value);
	}
}

/* At most DOC_DEPTH_MAX deep. */
static void put_tree(struct encoder *e, uint32_t f, struct before *before)
{
	struct before inner = {SLICE("", 0), SLICE("", 0)};
	size_t first = e->ranking.count;

	doc_rank_children(e->d, f, RANK_KEPT, &e->ranking);
	size_t end = e->ranking.count;
	put_field(e, f, end - first, before);
	for (size_t i = first; i < end; i++)
		put_tree(e, e->ranking.items[i].field, &inner);
	e->ranking.count = first;
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
	put_texts(&e, d->style);
	struct before none = {SLICE("", 0), SLICE("", 0)};
	put_tree(&e, 0, &none);
	doc_covers_encode(d, out);
	free(e.ranking.items);
}

struct decoder {
	struct doc *d;
	struct slice rendered;
	struct reader r;
	struct last last;
	struct buf next;
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

/*
 * *last is the register's sibling before. NULL if it is malformed. The value is not set. The register of
 * texts sets ret_root.
 */
static struct sib *take_sib_of(struct decoder *c, struct reg *reg, struct opid *last, bool *ret_root)
{
	struct reader *r = &c->r;
	unsigned flags = reader_u8(r);
	*ret_root = flags & SIB_ROOT;
	struct last now = c->last;

	if (flags & SIB_ACTOR)
		now.actor = (uint32_t)reader_varint_max(r, DOC_NONE);
	if (flags & SIB_LAMPORT)
		now.lamport = unzigzag(reader_varint(r), c->last.lamport);
	else if (flags & SIB_NEXT)
		now.lamport++;
	if (flags & SIB_HLC)
		now.hlc = unzigzag(reader_varint(r), c->last.hlc);
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
	s->kind = (enum sib_kind)(flags & SIB_KINDS);
	s->shaded = flags & SIB_SHADED;
	s->hlc = now.hlc;
	c->last = now;
	return s;
}

/* The same, where no text may stand. */
static struct sib *take_sib(struct decoder *c, struct reg *reg, struct opid *last)
{
	bool is_root = false;
	struct sib *s = take_sib_of(c, reg, last, &is_root);

	if (is_root)
		c->r.bad = true;
	return is_root ? NULL : s;
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
	if (!c->r.bad) {
		struct root *root = &c->d->roots[c->d->root_count - 1];

		root->content = text;
		doc_clashes_decode(root, text, &c->r);
	}
	s->value = SLICE("", 0);
}

static void take_texts(struct decoder *c, struct reg *reg)
{
	uint32_t n = take_count(&c->r);
	struct opid last = {0};

	for (uint32_t i = 0; i < n && !c->r.bad; i++) {
		bool is_root = false;
		struct sib *s = take_sib_of(c, reg, &last, &is_root);

		if (s && is_root && (reg != &c->d->raw || s->kind != SIB_TEXT))
			c->r.bad = true;
		else if (s && is_root)
			take_root_text(c, s);
		else if (s)
			s->value = take_text(c);
		if (s && s->kind == SIB_CHUNKS && (reg != &c->d->raw || !manifest_is_sound(s->value)))
			c->r.bad = true;
	}
}

/* n bytes of the one before, and some more. */
static struct slice take_shared(struct decoder *c, struct slice before)
{
	size_t n = (size_t)reader_varint_max(&c->r, before.len);
	struct slice rest = reader_bytes(&c->r, SIZE_MAX);

	if (n == 0 || c->r.bad)
		return rest;
	uint8_t *p = arena_alloc(&c->d->arena, n + rest.len);
	memcpy(p, before.data, n);
	if (rest.len)
		memcpy(p + n, rest.data, rest.len);
	return SLICE(p, n + rest.len);
}

static struct slice take_next(struct decoder *c, struct slice before, bool is_key)
{
	struct slice place = is_key ? birth_place(before) : before;

	if (place.len == 0 || c->r.bad) {
		c->r.bad = true;
		return SLICE("", 0);
	}
	buf_clear(&c->next);
	if (is_key)
		buf_u8(&c->next, 0);
	doc_place_next(place, &c->next);
	return arena_copy(&c->d->arena, buf_slice(&c->next));
}

static struct slice take_key(struct decoder *c, unsigned flags, struct before *before)
{
	if (!(flags & FIELD_ITEM))
		return reader_bytes(&c->r, SIZE_MAX);
	struct slice key = flags & FIELD_KEY_NEXT ? take_next(c, before->key, true)
						  : take_shared(c, before->key);
	before->key = key;
	if (!c->r.bad && !doc_item_key_is_sound(key))
		c->r.bad = true;
	return key;
}

static void take_places(struct decoder *c, uint32_t f, struct before *before)
{
	uint32_t n = take_count(&c->r);
	struct opid last = {0};
	struct reg reg = c->d->fields[f].place;

	for (uint32_t i = 0; i < n && !c->r.bad; i++) {
		struct sib *s = take_sib(c, &reg, &last);

		if (!s)
			return;
		uint32_t self = (uint32_t)(s - c->d->sibs);
		before->place = take_shared(c, before->place);
		c->d->sibs[self].value = before->place;
		if (!c->r.bad && !doc_place_is_sound(before->place))
			c->r.bad = true;
	}
	c->d->fields[f].place = reg;
}

/* A step after the place before, by the operation of the field's first value. */
static void take_place_next(struct decoder *c, uint32_t f, struct before *before)
{
	struct doc *d = c->d;
	struct reg reg = d->fields[f].place;

	if (!d->fields[f].reg.count) {
		c->r.bad = true;
		return;
	}
	before->place = take_next(c, before->place, false);
	const struct sib first = d->sibs[d->fields[f].reg.first];
	struct sib *s = doc_reg_add(d, &reg, first.id);
	s->value = before->place;
	s->shaded = first.shaded;
	d->fields[f].place = reg;
}

static void take_spaces(struct decoder *c, uint32_t f)
{
	uint32_t n = take_count(&c->r);
	struct opid last = {0};
	struct reg reg = c->d->fields[f].space;

	for (uint32_t i = 0; i < n && !c->r.bad; i++) {
		struct sib *s = take_sib(c, &reg, &last);

		if (s)
			s->value = reader_bytes(&c->r, SIZE_MAX);
	}
	c->d->fields[f].space = reg;
}

static void take_values(struct decoder *c, uint32_t f, uint64_t count)
{
	struct opid last = {0};
	struct reg reg = c->d->fields[f].reg;

	for (uint64_t i = 0; i < count && !c->r.bad; i++) {
		struct sib *s = take_sib(c, &reg, &last);

		if (s && s->kind == SIB_CHUNKS)
			c->r.bad = true;
		if (s && s->kind == SIB_TEXT)
			s->value = reader_bytes(&c->r, SIZE_MAX);
	}
	c->d->fields[f].reg = reg;
}

/* Reads a field beneath `parent` (DOC_NONE: the root) and all that is in it. */
static void take_tree(struct decoder *c, uint32_t parent, size_t depth, struct before *before)
{
	struct before inner = {SLICE("", 0), SLICE("", 0)};
	unsigned flags = reader_u8(&c->r);
	uint64_t count = flags & 3;
	uint64_t children = 0;
	uint32_t f = 0;

	if (count == 3)
		count += take_count(&c->r);
	if (flags & FIELD_CHILDREN)
		children = take_count(&c->r);
	if (parent != DOC_NONE) {
		struct doc_key key = {take_key(c, flags, before), flags & FIELD_ITEM};

		if (c->r.bad || (flags & (3 | FIELD_CHILDREN | FIELD_PLACES | FIELD_SPACES)) == 0) {
			c->r.bad = true;
			return;
		}
		f = doc_child_add(c->d, parent, key);
	}
	take_values(c, f, count);
	if (flags & FIELD_PLACES)
		take_places(c, f, before);
	else if (flags & FIELD_PLACE_NEXT)
		take_place_next(c, f, before);
	if (flags & FIELD_SPACES)
		take_spaces(c, f);
	doc_field_count(c->d, f, &(struct held){0});
	if (children && depth == DOC_DEPTH_MAX)
		c->r.bad = true;
	for (uint64_t i = 0; i < children && !c->r.bad; i++)
		take_tree(c, f, depth + 1, &inner);
}

int doc_decode(struct slice state, struct slice rendered, struct doc **ret)
{
	struct doc *d = doc_create();

	/* What a field and a sibling of a usual record take; of texts, the state is long for other reasons. */
	doc_reserve(d, 4 + (uint32_t)(state.len < 2048 ? state.len / 20 : 100),
		    8 + (uint32_t)(state.len < 2048 ? state.len / 10 : 200));
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
	take_texts(&c, &d->style);
	struct before none = {SLICE("", 0), SLICE("", 0)};
	take_tree(&c, DOC_NONE, 0, &none);
	doc_covers_decode(d, &c.r);
	buf_fini(&c.next);
	if (reader_finish(&c.r) < 0) {
		doc_destroy(d);
		return -EBADMSG;
	}
	*ret = d;
	return 0;
}
