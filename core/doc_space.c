/*
 * How values are formatted: one style for the record, and for single fields what the style does not
 * say (their space). Only whitespace, and how keys are spelled: what comes from elsewhere is checked,
 * so that no formatting can say anything else.
 *
 *   style     varint STYLE_* flags, u8 depth, then STYLE_TEXTS times bytes
 *   space     varint SPACE_* mask, then bytes for each bit from SPACE_BEFORE on
 */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** Nobody writes more, and it is repeated for each line. */
#define STYLE_TEXT_BYTES_MAX 256
#define NO_DEPTH 255

static bool is_white(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!memchr(" \t\r\n", s.data[i], 4))
			return false;
	}
	return true;
}

static bool is_colon(struct slice s)
{
	const uint8_t *at = s.len ? memchr(s.data, ':', s.len) : NULL;

	if (!at)
		return false;
	size_t n = (size_t)(at - s.data);
	return is_white(SLICE(s.data, n)) && is_white(SLICE(at + 1, s.len - n - 1));
}

static bool is_prefix(struct slice s)
{
	bool bom = s.len >= 3 && memcmp(s.data, "\xef\xbb\xbf", 3) == 0;

	return is_white(bom ? SLICE(s.data + 3, s.len - 3) : s);
}

static void make_ladder(struct style *s)
{
	const struct slice *unit = &s->text[STYLE_UNIT];
	const struct slice *trail = &s->text[STYLE_TRAIL];

	s->trail_len = trail->len;
	s->nl_len = s->flags & STYLE_CRLF ? 2 : 1;
	size_t head = s->trail_len + s->nl_len;
	s->ladder = (struct buf){.len = head + unit->len * (DOC_DEPTH_MAX + 2)};
	s->ladder.cap = s->ladder.len;
	s->ladder.data = xmalloc(s->ladder.cap);
	if (trail->len)
		memcpy(s->ladder.data, trail->data, trail->len);
	memcpy(s->ladder.data + s->trail_len, s->nl_len == 2 ? "\r\n" : "\n", s->nl_len);
	if (unit->len)
		memcpy(s->ladder.data + head, unit->data, unit->len);
	/* Twice as many each time. */
	for (size_t n = unit->len; n && head + n < s->ladder.len; n *= 2) {
		size_t left = s->ladder.len - head - n;

		memcpy(s->ladder.data + head + n, s->ladder.data + head, n < left ? n : left);
	}
}

void doc_style_fini(struct style *s)
{
	buf_fini(&s->ladder);
}

bool doc_style_decode(struct slice blob, struct style *ret)
{
	struct reader r = reader_init(blob);
	struct style s = {0};

	s.flags = (unsigned)reader_varint_max(&r, STYLE_ALL);
	s.depth = reader_u8(&r);
	for (size_t i = 0; i < STYLE_TEXTS; i++) {
		bool outside = i == STYLE_PREFIX || i == STYLE_SUFFIX;

		s.text[i] = reader_bytes(&r, outside ? RECORD_BYTES_MAX : STYLE_TEXT_BYTES_MAX);
		if (!(i == STYLE_COLON	  ? is_colon(s.text[i])
		      : i == STYLE_PREFIX ? is_prefix(s.text[i])
					  : is_white(s.text[i])))
			r.bad = true;
	}
	if (reader_finish(&r) < 0)
		return false;
	*ret = s;
	return true;
}

void doc_style_encode(const struct style *s, struct buf *out)
{
	buf_varint(out, s->flags);
	buf_u8(out, s->depth);
	for (size_t i = 0; i < STYLE_TEXTS; i++)
		buf_bytes(out, s->text[i]);
}

/* That of a new file: indented by two, with a newline at the end, as jq has it. */
static void style_default(struct style *ret)
{
	*ret = (struct style){
		.flags = STYLE_OBJECTS_BROKEN | STYLE_ARRAYS_BROKEN,
		.depth = NO_DEPTH,
		.text = {[STYLE_UNIT] = SLICE_STR("  "),
			 [STYLE_COMMA] = SLICE_STR(" "),
			 [STYLE_COLON] = SLICE_STR(": "),
			 [STYLE_PAD] = SLICE_STR(""),
			 [STYLE_PAD_LIST] = SLICE_STR(""),
			 [STYLE_TRAIL] = SLICE_STR(""),
			 [STYLE_PREFIX] = SLICE_STR(""),
			 [STYLE_SUFFIX] = SLICE_STR("\n")},
	};
}

void doc_style_of(const struct doc *d, struct style *ret)
{
	uint32_t last = doc_reg_last(d, d->style);

	if (last == DOC_NONE || !doc_style_decode(d->sibs[last].value, ret))
		style_default(ret);
	ret->id = last == DOC_NONE ? (struct opid){0} : d->sibs[last].id;
	make_ladder(ret);
}

void doc_style_plain(struct style *ret)
{
	style_default(ret);
	ret->flags = 0;
	ret->id.lamport = UINT64_MAX;
	make_ladder(ret);
}

bool doc_style_breaks(const struct style *s, bool is_array, size_t depth, const struct space *own)
{
	if (own->mask & (SPACE_INLINE | SPACE_BROKEN))
		return own->mask & SPACE_BROKEN;
	return depth < s->depth &&
	       (s->flags & (is_array ? STYLE_ARRAYS_BROKEN : STYLE_OBJECTS_BROKEN));
}

struct lay doc_style_lay(const struct style *s, bool is_array, size_t depth, const struct space *own)
{
	struct lay lay;

	if (doc_style_breaks(s, is_array, depth, own)) {
		size_t unit = s->text[STYLE_UNIT].len;
		const uint8_t *line = s->ladder.data + s->trail_len;

		assert(depth <= DOC_DEPTH_MAX);
		lay.open = SLICE(line, s->nl_len + unit * (depth + 1));
		lay.sep = SLICE(s->ladder.data, s->trail_len + lay.open.len);
		lay.close = SLICE(line, s->nl_len + unit * depth);
	} else {
		lay.open = lay.close = s->text[is_array ? STYLE_PAD_LIST : STYLE_PAD];
		lay.sep = s->text[STYLE_COMMA];
	}
	if (own->mask & SPACE_OPEN)
		lay.open = doc_space_text(own, SPACE_OPEN);
	if (own->mask & SPACE_SEP)
		lay.sep = doc_space_text(own, SPACE_SEP);
	if (own->mask & SPACE_CLOSE)
		lay.close = doc_space_text(own, SPACE_CLOSE);
	return lay;
}

static void put_escaped(struct buf *out, uint32_t point)
{
	if (point >= 0x10000) {
		point -= 0x10000;
		buf_printf(out, "\\u%04x\\u%04x", 0xd800 + (point >> 10), 0xdc00 + (point & 0x3ff));
	} else {
		buf_printf(out, "\\u%04x", point);
	}
}

/* The code point of valid UTF-8 at p, and its length. */
static size_t code_point(const uint8_t *p, size_t left, uint32_t *ret)
{
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 1;
	uint32_t v = n == 1 ? p[0] : p[0] & (0x7fu >> n);

	if (n > left) { /* a key from elsewhere may be anything */
		*ret = 0xfffd;
		return left;
	}
	for (size_t i = 1; i < n; i++)
		v = v << 6 | (p[i] & 0x3f);
	*ret = v;
	return n;
}

bool doc_style_is_plain(const struct style *s, struct slice key)
{
	for (size_t i = 0; i < key.len; i++) {
		uint8_t c = key.data[i];

		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			return false;
	}
	if (s->flags & STYLE_SLASH && key.len && memchr(key.data, '/', key.len))
		return false;
	for (size_t i = 0; s->flags & STYLE_HTML && i < key.len; i++) {
		if (memchr("<>&", key.data[i], 3))
			return false;
	}
	return true;
}

void doc_style_key(const struct style *s, struct slice key, struct buf *out)
{
	static const char shorts[] = "\b\f\n\r\t\"\\";
	static const char letters[] = "bfnrt\"\\";

	if (doc_style_is_plain(s, key)) {
		buf_slice_append(out, key);
		return;
	}
	for (size_t i = 0; i < key.len;) {
		uint8_t c = key.data[i];
		const char *known = c ? strchr(shorts, c) : NULL;

		if (c >= 0x80) {
			uint32_t point = 0;
			size_t n = code_point(key.data + i, key.len - i, &point);

			if (s->flags & STYLE_ASCII)
				put_escaped(out, point);
			else
				buf_append(out, key.data + i, n);
			i += n;
			continue;
		}
		if (known || (c == '/' && s->flags & STYLE_SLASH)) {
			buf_u8(out, '\\');
			buf_u8(out, known ? (uint8_t)letters[known - shorts] : c);
		} else if (c < 0x20 || (c == 0x7f && s->flags & STYLE_ASCII) ||
			   (s->flags & STYLE_HTML && (c == '<' || c == '>' || c == '&'))) {
			put_escaped(out, c);
		} else {
			buf_u8(out, c);
		}
		i++;
	}
}

static size_t text_index(unsigned bit)
{
	size_t i = 0;

	while (((unsigned)SPACE_BEFORE << i) != bit)
		i++;
	assert(i < SPACE_TEXTS);
	return i;
}

struct slice doc_space_text(const struct space *s, unsigned bit)
{
	return s->text[text_index(bit)];
}

void doc_space_set(struct space *s, unsigned bit, struct slice text)
{
	s->mask |= bit;
	s->text[text_index(bit)] = text;
}

bool doc_space_decode(struct slice blob, struct space *ret)
{
	struct reader r = reader_init(blob);

	ret->mask = blob.len ? (unsigned)reader_varint_max(&r, SPACE_ALL) : 0;
	for (unsigned i = 0; i < SPACE_TEXTS; i++) {
		unsigned bit = (unsigned)SPACE_BEFORE << i;

		if (!(ret->mask & bit))
			continue;
		ret->text[i] = reader_bytes(&r, RECORD_BYTES_MAX);
		if (!(bit == SPACE_COLON		       ? is_colon(ret->text[i])
		      : bit == SPACE_KEY || bit == SPACE_VALUE ? true
							       : is_white(ret->text[i])))
			r.bad = true;
	}
	return reader_finish(&r) == 0;
}

bool doc_space_is_sound(struct slice blob, const struct slice *key)
{
	struct space s;
	struct slice spelled = {0};
	struct arena arena = {0};

	if (!doc_space_decode(blob, &s))
		return false;
	bool ok = !(s.mask & SPACE_VALUE) || json_is_value(doc_space_text(&s, SPACE_VALUE));
	if (ok && s.mask & SPACE_KEY)
		ok = key && json_key_decode(doc_space_text(&s, SPACE_KEY), &arena, &spelled) &&
		     slice_eq(spelled, *key);
	arena_fini(&arena);
	return ok;
}

void doc_space_encode(const struct space *s, struct buf *out)
{
	if (!s->mask)
		return;
	buf_varint(out, s->mask);
	for (unsigned i = 0; i < SPACE_TEXTS; i++) {
		if (s->mask & ((unsigned)SPACE_BEFORE << i))
			buf_bytes(out, s->text[i]);
	}
}

void doc_space_of(const struct doc *d, const struct style *s, uint32_t f, struct space *ret)
{
	uint32_t last = doc_reg_last(d, d->fields[f].space);

	if (last == DOC_NONE || opid_cmp(d->sibs[last].id, s->id) <= 0 ||
	    !doc_space_decode(d->sibs[last].value, ret))
		ret->mask = 0;
}

/* An array without strings and containers in it, without whitespace. */
static bool is_flat(struct slice value)
{
	if (value.len < 2 || value.data[0] != '[')
		return false;
	for (size_t i = 1; i < value.len; i++) {
		if (memchr("[{\"", value.data[i], 3))
			return false;
	}
	return true;
}

void doc_space_value(const struct style *s, size_t depth, const struct space *own,
		     struct slice value, struct buf *out)
{
	if (own->mask & SPACE_VALUE && json_same(doc_space_text(own, SPACE_VALUE), value)) {
		buf_slice_append(out, doc_space_text(own, SPACE_VALUE));
		return;
	}
	if (!is_flat(value) || depth > DOC_DEPTH_MAX) {
		buf_slice_append(out, value);
		return;
	}
	if (value.len == 2) {
		buf_u8(out, '[');
		if (own->mask & SPACE_OPEN)
			buf_slice_append(out, doc_space_text(own, SPACE_OPEN));
		buf_u8(out, ']');
		return;
	}
	struct lay lay = doc_style_lay(s, true, depth, own);
	buf_u8(out, '[');
	buf_slice_append(out, lay.open);
	for (size_t i = 1; i + 1 < value.len; i++) {
		buf_u8(out, value.data[i]);
		if (value.data[i] == ',')
			buf_slice_append(out, lay.sep);
	}
	buf_slice_append(out, lay.close);
	buf_u8(out, ']');
}

/* ---- guessing ---- */

/* What the text says about one parameter of the style: the first says, the rest is forgiven. */
struct guess {
	const struct json *j;
	struct style *s;
	size_t forms[2][2];  /* by is_array, is broken */
	size_t inline_depth; /* least depth of a container on one line */
	size_t broken_depth; /* greatest depth of one that is not */
	bool unit, comma, colon, pad[2], trail;
	bool unsorted;
	size_t most_sorted; /* members of the largest object, all in order */
};

static struct slice part(const struct json *j, size_t start, size_t end)
{
	return SLICE(j->text.data + start, end - start);
}

static size_t child_start(const struct json *j, uint32_t i)
{
	const struct json_node *n = &j->nodes[i];

	return n->key_end ? n->key_start : n->start;
}

static void guess_broken(struct guess *g, const struct json_node *n, struct slice open, size_t depth)
{
	const uint8_t *nl = memchr(open.data, '\n', open.len);
	size_t at = (size_t)(nl - open.data);

	g->broken_depth = depth > g->broken_depth ? depth : g->broken_depth;
	if (!g->unit) {
		struct slice indent = {nl + 1, open.len - at - 1};

		g->unit = true;
		if (at > 0 && nl[-1] == '\r')
			g->s->flags |= STYLE_CRLF;
		g->s->text[STYLE_UNIT] = SLICE(indent.data, indent.len / (depth + 1));
	}
	if (!g->trail && n->child_count > 1) {
		const struct json_node *first = &g->j->nodes[n->first_child];
		struct slice sep = part(g->j, first->end, child_start(g->j, first->next));
		const uint8_t *comma = memchr(sep.data, ',', sep.len);
		const uint8_t *end = comma + 1;

		g->trail = true;
		while (end < sep.data + sep.len && (*end == ' ' || *end == '\t'))
			end++;
		size_t trail = (size_t)(end - comma) - 1;
		if (end < sep.data + sep.len && trail <= STYLE_TEXT_BYTES_MAX)
			g->s->text[STYLE_TRAIL] = SLICE(comma + 1, trail);
	}
}

static void guess_inline(struct guess *g, const struct json_node *n, struct slice open, size_t depth)
{
	bool is_array = n->kind == JSON_ARRAY;

	g->inline_depth = depth < g->inline_depth ? depth : g->inline_depth;
	if (!g->pad[is_array]) {
		g->pad[is_array] = true;
		g->s->text[is_array ? STYLE_PAD_LIST : STYLE_PAD] = open;
	}
	if (!g->comma && n->child_count > 1) {
		const struct json_node *first = &g->j->nodes[n->first_child];
		struct slice sep = part(g->j, first->end, child_start(g->j, first->next));
		const uint8_t *after = (const uint8_t *)memchr(sep.data, ',', sep.len) + 1;
		struct slice white = {after, (size_t)(sep.data + sep.len - after)};

		g->comma = true;
		if (!memchr(white.data, '\n', white.len) && white.len <= STYLE_TEXT_BYTES_MAX)
			g->s->text[STYLE_COMMA] = white;
	}
}

static void guess_key(struct guess *g, const struct json_node *n)
{
	struct slice source = part(g->j, n->key_start + 1u, n->key_end - 1u);
	unsigned *flags = &g->s->flags;

	if (!g->colon) {
		struct slice colon = part(g->j, n->key_end, n->start);

		g->colon = true;
		if (colon.len <= STYLE_TEXT_BYTES_MAX)
			g->s->text[STYLE_COLON] = colon;
	}
	for (size_t i = 0; i + 1 < source.len; i++) {
		if (source.data[i] != '\\')
			continue;
		if (source.data[i + 1] == '/')
			*flags |= STYLE_SLASH;
		if (source.data[i + 1] == 'u' && source.len - i >= 6) {
			if (memcmp(&source.data[i + 2], "003", 3) == 0 ||
			    memcmp(&source.data[i + 2], "0026", 4) == 0)
				*flags |= STYLE_HTML;
			else if (memcmp(&source.data[i + 2], "00", 2) != 0 ||
				 source.data[i + 4] >= '8')
				*flags |= STYLE_ASCII;
		}
		i++;
	}
}

static void guess_members(struct guess *g, const struct json_node *n)
{
	struct slice before = {0};
	bool sorted = true;

	for (uint32_t c = n->first_child; c != JSON_NONE; c = g->j->nodes[c].next) {
		guess_key(g, &g->j->nodes[c]);
		if (c != n->first_child && slice_cmp(before, g->j->nodes[c].key) > 0)
			sorted = false;
		before = g->j->nodes[c].key;
	}
	g->unsorted = g->unsorted || !sorted;
	if (sorted && n->child_count > g->most_sorted)
		g->most_sorted = n->child_count;
}

static void guess_forms(struct guess *g)
{
	struct style *s = g->s;

	if (g->inline_depth > g->broken_depth && g->inline_depth < DOC_DEPTH_MAX &&
	    g->forms[0][1] + g->forms[1][1]) {
		s->flags |= STYLE_OBJECTS_BROKEN | STYLE_ARRAYS_BROKEN;
		s->depth = (uint8_t)g->inline_depth;
		/* If only one kind is ever on one line, it is the kind that matters. */
		if (!g->forms[0][0] && g->forms[0][1])
			s->depth = NO_DEPTH;
	}
	if (s->depth == NO_DEPTH) {
		bool objects = g->forms[0][1] >= g->forms[0][0];
		bool arrays = g->forms[1][1] > g->forms[1][0] ||
			      (!g->forms[1][0] && g->forms[0][1] > g->forms[0][0]);

		if (!g->forms[0][0] && !g->forms[0][1])
			objects = arrays;
		s->flags &= ~(unsigned)(STYLE_OBJECTS_BROKEN | STYLE_ARRAYS_BROKEN);
		s->flags |=
			(objects ? STYLE_OBJECTS_BROKEN : 0u) | (arrays ? STYLE_ARRAYS_BROKEN : 0u);
	}
}

void doc_style_guess(const struct json *j, struct style *ret)
{
	struct guess g = {.j = j, .s = ret, .inline_depth = SIZE_MAX};
	const struct json_node *root = &j->nodes[0];
	AUTO(free_ptr) uint8_t *depths = xmalloc(j->count);

	style_default(ret);
	ret->flags = 0;
	ret->text[STYLE_PREFIX] = part(j, 0, root->start);
	ret->text[STYLE_SUFFIX] = part(j, root->end, j->text.len);
	for (uint32_t i = 0; i < j->count; i++) {
		const struct json_node *n = &j->nodes[i];

		depths[i] = n->parent == JSON_NONE ? 0 : (uint8_t)(depths[n->parent] + 1);
		if (!n->child_count)
			continue;
		struct slice open = part(j, n->start + 1u, child_start(j, n->first_child));
		bool broken = memchr(open.data, '\n', open.len) != NULL;
		g.forms[n->kind == JSON_ARRAY][broken]++;
		if (open.len > STYLE_TEXT_BYTES_MAX)
			continue;
		if (broken)
			guess_broken(&g, n, open, depths[i]);
		else
			guess_inline(&g, n, open, depths[i]);
		if (n->kind == JSON_OBJECT)
			guess_members(&g, n);
	}
	if (!g.comma && g.colon && ret->text[STYLE_COLON].len == 1)
		ret->text[STYLE_COMMA] = SLICE_STR("");
	if (!g.unsorted && g.most_sorted >= 5)
		ret->flags |= STYLE_SORTED;
	guess_forms(&g);
	if (!(g.forms[0][0] + g.forms[0][1] + g.forms[1][0] + g.forms[1][1]))
		ret->flags |= STYLE_OBJECTS_BROKEN | STYLE_ARRAYS_BROKEN;
	make_ladder(ret);
}
