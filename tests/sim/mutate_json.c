/*
 * A text of JSON is taken apart into values with their places; an edit replaces some bytes and leaves the
 * others, as a person would, or the whole text is put in another form, as a formatter does.
 */
#include "tests/sim/mutate_json.h"

#include "core/json.h"
#include "tests/sim/mutate.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* A value; a member's begins at its key. */
struct value {
	size_t member;
	size_t start;
	size_t end;
	uint32_t parent;
	uint32_t index; /* among its siblings */
	uint32_t count; /* of children */
	char kind;	/* '{', '[' or 's' */
};

struct parsed {
	struct slice text;
	struct value *values; /* depth first */
	uint32_t count;
	uint32_t cap;
	size_t at;
};

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct parsed *p)
{
	while (p->at < p->text.len && is_space(p->text.data[p->at]))
		p->at++;
}

static void skip_string(struct parsed *p)
{
	for (p->at++; p->text.data[p->at] != '"'; p->at++) {
		if (p->text.data[p->at] == '\\')
			p->at++;
	}
	p->at++;
}

static uint32_t add_value(struct parsed *p, uint32_t parent, uint32_t index, size_t member)
{
	if (p->count == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 32;
		p->values = xreallocarray(p->values, p->cap, sizeof(*p->values));
	}
	p->values[p->count] =
		(struct value){member, p->at, 0, parent, index, 0, (char)p->text.data[p->at]};
	return p->count++;
}

/* The text is known to be well-formed, and not deep. */
static void parse_value(struct parsed *p, uint32_t parent, uint32_t index, size_t member)
{
	uint32_t v = add_value(p, parent, index, member);
	char open = p->values[v].kind;
	char close = open == '{' ? '}' : ']';

	if (open == '"')
		skip_string(p);
	while (open != '"' && open != '{' && open != '[' && p->at < p->text.len &&
	       !is_space(p->text.data[p->at]) && !memchr(",]}", p->text.data[p->at], 3))
		p->at++;
	if (open == '{' || open == '[') {
		p->at++;
		for (skip_space(p); p->text.data[p->at] != (uint8_t)close; skip_space(p)) {
			if (p->text.data[p->at] == ',') {
				p->at++;
				continue;
			}
			size_t start = p->at;
			if (open == '{') {
				skip_string(p);
				skip_space(p);
				p->at++;
				skip_space(p);
			}
			parse_value(p, v, p->values[v].count++, start);
		}
		p->at++;
	} else {
		p->values[v].kind = 's';
	}
	p->values[v].end = p->at;
}

/* ---- new values -------------------------------------------------------------------------------- */

static void put_value(struct rng *r, uint32_t *next, unsigned depth, struct buf *out);

static void put_string(uint32_t *next, struct buf *out)
{
	buf_u8(out, '"');
	token_put(out, next);
	buf_u8(out, '"');
}

static void put_object(struct rng *r, uint32_t *next, unsigned depth, struct buf *out)
{
	uint32_t key = rng_below(r, 3);

	buf_u8(out, '{');
	for (uint32_t n = rng_below(r, 3), i = 0; i < n; i++) {
		buf_printf(out, "%s\"%c\": ", i ? ", " : "", (char)('a' + key + i));
		put_value(r, next, depth + 1, out);
	}
	buf_u8(out, '}');
}

static void put_array(struct rng *r, uint32_t *next, unsigned depth, struct buf *out)
{
	bool records = rng_once_in(r, 2);
	uint32_t id = rng_below(r, 4);

	buf_u8(out, '[');
	for (uint32_t n = rng_below(r, 4), i = 0; i < n; i++) {
		buf_printf(out, "%s", i ? ", " : "");
		if (!records) {
			put_value(r, next, depth + 1, out);
			continue;
		}
		buf_printf(out, "{\"id\": %u, \"v\": ", id + i);
		put_string(next, out);
		buf_u8(out, '}');
	}
	buf_u8(out, ']');
}

static void put_value(struct rng *r, uint32_t *next, unsigned depth, struct buf *out)
{
	static const char *const plain[] = {"0", "1.0", "-0", "1e400", "true", "null", "\"\""};
	uint32_t how = rng_below(r, depth < 3 ? 12 : 9);

	if (how < 8)
		put_string(next, out);
	else if (how == 8)
		buf_printf(out, "%s", plain[rng_below(r, countof(plain))]);
	else if (how == 9)
		put_array(r, next, depth, out);
	else
		put_object(r, next, depth, out);
}

void mutate_json_create(struct rng *r, uint32_t *next, struct buf *out)
{
	bool inline_form = rng_once_in(r, 3);
	const char *gap = inline_form ? "" : "\n  ";

	buf_u8(out, '{');
	for (uint32_t n = rng_below(r, 4), i = 0; i < n; i++) {
		buf_printf(out, "%s%s\"%c\": ", i ? "," : "", gap, (char)('a' + i));
		put_value(r, next, 1, out);
	}
	buf_printf(out, "%s}%s", inline_form ? "" : "\n", rng_once_in(r, 4) ? "" : "\n");
}

/* ---- edits ------------------------------------------------------------------------------------- */

static void splice(const struct parsed *p, size_t start, size_t end, const struct buf *with,
		   struct buf *out)
{
	buf_append(out, p->text.data, start);
	buf_slice_append(out, buf_slice(with));
	buf_append(out, p->text.data + end, p->text.len - end);
}

static uint32_t child(const struct parsed *p, uint32_t parent, uint32_t index)
{
	for (uint32_t i = parent + 1; i < p->count; i++) {
		if (p->values[i].parent == parent && p->values[i].index == index)
			return i;
	}
	return NONE;
}

static void delete_value(const struct parsed *p, uint32_t v, struct buf *out)
{
	const struct value *x = &p->values[v];
	const struct buf nothing = {0};
	uint32_t before = x->index ? child(p, x->parent, x->index - 1) : NONE;
	uint32_t after = child(p, x->parent, x->index + 1);

	if (before != NONE)
		splice(p, p->values[before].end, x->end, &nothing, out);
	else if (after != NONE)
		splice(p, x->member, p->values[after].member, &nothing, out);
	else
		splice(p, x->member, x->end, &nothing, out);
}

static bool has_key(const struct parsed *p, uint32_t object, char key)
{
	for (uint32_t i = object + 1; i < p->count; i++) {
		const uint8_t *k = p->text.data + p->values[i].member;

		if (p->values[i].parent == object && k[1] == (uint8_t)key && k[2] == '"')
			return true;
	}
	return false;
}

/* A new child of the container v, behind one of its children or alone. */
static bool insert_value(const struct parsed *p, uint32_t v, struct rng *r, uint32_t *next,
			 struct buf *out)
{
	const struct value *x = &p->values[v];
	AUTO(buf_fini) struct buf with = {0};
	char key = (char)('a' + rng_below(r, 8));
	uint32_t after = x->count ? child(p, v, rng_below(r, x->count)) : NONE;

	if (x->kind == '{' && has_key(p, v, key))
		return false;
	if (after != NONE)
		buf_printf(&with, ", ");
	if (x->kind == '{')
		buf_printf(&with, "\"%c\": ", key);
	put_value(r, next, 1, &with);
	size_t at = after == NONE ? x->start + 1 : p->values[after].end;
	splice(p, at, at, &with, out);
	return true;
}

static void swap_values(const struct parsed *p, uint32_t v, uint32_t w, struct buf *out)
{
	const struct value *x = &p->values[v];
	const struct value *y = &p->values[w];

	buf_append(out, p->text.data, x->member);
	buf_append(out, p->text.data + y->member, y->end - y->member);
	buf_append(out, p->text.data + x->end, y->member - x->end);
	buf_append(out, p->text.data + x->member, x->end - x->member);
	buf_append(out, p->text.data + y->end, p->text.len - y->end);
}

/* Another form of the same: without spaces, or one member a line. */
static void reformat(const struct parsed *p, struct rng *r, struct buf *out)
{
	bool minify = rng_once_in(r, 2);
	unsigned indent = rng_once_in(r, 2) ? 2 : 4;
	unsigned depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < p->text.len; i++) {
		uint8_t c = p->text.data[i];

		if (!quoted && is_space(c))
			continue;
		if (!quoted && (c == '}' || c == ']') && !minify)
			buf_printf(out, "\n%*s", (int)(--depth * indent), "");
		buf_u8(out, c);
		if (c == '"' && (!quoted || p->text.data[i - 1] != '\\'))
			quoted = !quoted;
		if (quoted || minify)
			continue;
		depth += c == '{' || c == '[';
		if (c == ':')
			buf_u8(out, ' ');
		if (c == '{' || c == '[' || c == ',')
			buf_printf(out, "\n%*s", (int)(depth * indent), "");
	}
	buf_u8(out, '\n');
}

static bool edit_once(const struct parsed *p, struct rng *r, uint32_t *next, struct buf *out)
{
	AUTO(buf_fini) struct buf with = {0};
	uint32_t v = rng_below(r, p->count);
	const struct value *x = &p->values[v];
	uint32_t how = rng_below(r, 16);

	if (how == 0) {
		reformat(p, r, out);
		return true;
	}
	if (how < 4 && v > 0) {
		delete_value(p, v, out);
		return true;
	}
	if (how == 4 && v > 0) {
		uint32_t w = child(p, x->parent, x->index + 1);

		if (w != NONE)
			swap_values(p, v, w, out);
		return w != NONE;
	}
	if (x->kind != 's' && !rng_once_in(r, 6))
		return insert_value(p, v, r, next, out);
	if (v == 0 && x->kind != 's' && !rng_once_in(r, 4))
		return false;
	put_value(r, next, 1, &with);
	splice(p, x->start, x->end, &with, out);
	return true;
}

bool mutate_json(struct slice from, struct rng *r, uint32_t *next, struct buf *out)
{
	AUTO(buf_fini) struct buf text = {0};
	struct json j;
	bool sound = json_scan(from, &j, NULL) == 0;

	json_fini(&j);
	if (!sound)
		return false;
	buf_slice_append(&text, from);
	for (uint32_t n = rng_below(r, 3) + 1; n > 0; n--) {
		AUTO(buf_fini) struct buf edited = {0};
		struct parsed p = {.text = buf_slice(&text)};

		if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
			p.at = 3;
		skip_space(&p);
		parse_value(&p, NONE, 0, p.at);
		if (edit_once(&p, r, next, &edited)) {
			buf_clear(&text);
			buf_slice_append(&text, buf_slice(&edited));
		}
		free(p.values);
	}
	buf_slice_append(out, buf_slice(&text));
	return true;
}
