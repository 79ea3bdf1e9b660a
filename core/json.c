/*
 * The scanner: each round of the loop in json_scan() consumes one token, scalar or key.
 *
 * Members and elements become nodes; what is in a container at DOC_DEPTH_MAX is checked in the same way
 * but not reported.
 */
#include "core/json.h"

#include "core/doc.h"

#include <stdlib.h>
#include <string.h>

/** Up to this many keys are compared with each other; beyond, a hash table finds duplicates. */
#define KEYS_PAIRWISE_MAX 12

struct level {
	uint32_t node; /* JSON_NONE when not reported */
	bool is_array;
	size_t first_key; /* of this object in scanner.keys */
};

enum expect {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END,
	EXPECT_KEY,
	EXPECT_KEY_OR_END,
	EXPECT_MORE, /* a comma, the container's end, or the text's */
	EXPECT_NOTHING,
	EXPECT_FAILED
};

struct scanner {
	struct slice text;
	size_t at;
	struct json *json;
	size_t node_cap;
	struct level *stack;
	size_t depth;
	size_t depth_cap;
	struct level stack_small[DOC_DEPTH_MAX]; /* enough for nearly all */
	struct slice *keys;			 /* of all open objects */
	size_t key_count;
	size_t key_cap;
	uint32_t *table;
	size_t table_cap;
	size_t key_start; /* the key read last, waiting for its value */
	size_t key_end;
	const char *what;
	bool limit; /* what names one */
};

static enum expect fail(struct scanner *s, const char *what)
{
	if (!s->what)
		s->what = what;
	return EXPECT_FAILED;
}

static_assert(JSON_NODES_MAX == 1000000 && JSON_DEPTH_MAX == 100000, "as people are told");

static enum expect fail_limit(struct scanner *s, const char *what)
{
	s->limit = !s->what;
	return fail(s, what);
}

static int peek(const struct scanner *s)
{
	return s->at < s->text.len ? s->text.data[s->at] : -1;
}

static bool is_space(int c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* Length of the multi-byte UTF-8 sequence at `at`, or 0. */
static size_t utf8_multi(struct slice t, size_t at)
{
	const uint8_t *p = t.data + at;
	size_t left = t.len - at;
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;

	if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
		return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

/* Four hex digits at `at`, or -1. */
static int hex4(struct slice t, size_t at)
{
	int v = 0;

	if (t.len - at < 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		int c = t.data[at + i];
		int low = c | 0x20;

		if (is_digit(c))
			v = v * 16 + c - '0';
		else if (low >= 'a' && low <= 'f')
			v = v * 16 + low - 'a' + 10;
		else
			return -1;
	}
	return v;
}

/*
 * The escape at `at` (a backslash): its length in the text, and its code point. 0 if it is none, or
 * a surrogate without its other half.
 */
static size_t escape(struct slice t, size_t at, uint32_t *ret_point)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";

	if (t.len - at < 2)
		return 0;
	uint8_t c = t.data[at + 1];
	const char *simple = c ? strchr(from, c) : NULL;
	if (simple) {
		*ret_point = (uint8_t)to[simple - from];
		return 2;
	}
	int high = c == 'u' ? hex4(t, at + 2) : -1;
	if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
		return 0;
	*ret_point = (uint32_t)high;
	if (high < 0xd800 || high > 0xdbff)
		return 6;
	if (t.len - at < 12 || t.data[at + 6] != '\\' || t.data[at + 7] != 'u')
		return 0;
	int low = hex4(t, at + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*ret_point = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
	return 12;
}

/* Steps over bytes that need no look inside a string, eight at a time. */
static size_t skip_plain(struct slice t, size_t at)
{
	const uint64_t ones = 0x0101010101010101u;
	const uint64_t tops = 0x8080808080808080u;

	while (t.len - at >= 8) {
		uint64_t v;

		memcpy(&v, t.data + at, 8);
		uint64_t quote = v ^ (ones * '"');
		uint64_t slash = v ^ (ones * '\\');
		uint64_t odd = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
			       ((v - ones * 0x20) & ~v) | v;
		odd &= tops;
		/* The lowest mark is right; those above it may come of what was carried. */
		if (odd && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
			return at + (size_t)__builtin_ctzll(odd) / 8;
		if (odd)
			break;
		at += 8;
	}
	return at;
}

/* From the opening quote to after the closing one. */
static bool scan_string(struct scanner *s, bool *ret_escaped)
{
	struct slice t = s->text;
	size_t at = s->at + 1;
	const char *what = "unterminated string";

	*ret_escaped = false;
	for (;;) {
		at = skip_plain(t, at);
		if (at >= t.len)
			break;
		uint8_t c = t.data[at];
		size_t n = 1;
		uint32_t point = 0;
		if (c == '"') {
			s->at = at + 1;
			return true;
		}
		what = "control character in a string";
		if (c < 0x20)
			break;
		if (c == '\\') {
			what = "bad escape or lone surrogate in a string";
			n = escape(t, at, &point);
			*ret_escaped = true;
		} else if (c >= 0x80) {
			what = "invalid UTF-8";
			n = utf8_multi(t, at);
		}
		if (n == 0)
			break;
		what = "unterminated string";
		at += n;
	}
	s->at = at;
	(void)fail(s, what);
	return false;
}

static size_t utf8_put(uint8_t *out, uint32_t point)
{
	if (point < 0x80) {
		out[0] = (uint8_t)point;
		return 1;
	}
	size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
	for (size_t i = n - 1; i > 0; i--) {
		out[i] = (uint8_t)(0x80 | (point & 0x3f));
		point >>= 6;
	}
	out[0] = (uint8_t)((0xf00u >> n) | point);
	return n;
}

/* What a valid string's inside, which contains escapes, says. Never longer than its source. */
static struct slice decode_string(struct arena *a, struct slice inside)
{
	uint8_t *out = arena_alloc(a, inside.len);
	size_t len = 0;
	size_t at = 0;

	while (at < inside.len) {
		uint32_t point = 0;

		if (inside.data[at] != '\\') {
			out[len++] = inside.data[at++];
			continue;
		}
		size_t n = escape(inside, at, &point);
		assert(n > 0);
		at += n;
		len += utf8_put(out + len, point);
	}
	assert(len <= inside.len);
	return SLICE(out, len);
}

static bool scan_digits(struct scanner *s)
{
	size_t start = s->at;

	while (is_digit(peek(s)))
		s->at++;
	return s->at > start;
}

static bool scan_number(struct scanner *s)
{
	if (peek(s) == '-')
		s->at++;
	if (peek(s) == '0')
		s->at++;
	else if (!scan_digits(s))
		return false;
	if (peek(s) == '.') {
		s->at++;
		if (!scan_digits(s))
			return false;
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		return scan_digits(s);
	}
	return true;
}

static bool scan_scalar(struct scanner *s)
{
	static const char *const words[] = {"true", "false", "null"};
	int c = peek(s);
	bool escaped = false;

	if (c == '"')
		return scan_string(s, &escaped);
	if (c == '-' || is_digit(c)) {
		bool ok = scan_number(s);

		if (!ok)
			(void)fail(s, "malformed number");
		return ok;
	}
	for (size_t i = 0; i < countof(words); i++) {
		size_t n = strlen(words[i]);

		if (s->text.len - s->at >= n && memcmp(s->text.data + s->at, words[i], n) == 0) {
			s->at += n;
			return true;
		}
	}
	(void)fail(s, "expected a value");
	return false;
}

/* A node for the value that starts here, linked to its parent, or JSON_NONE in what is too deep. */
static uint32_t add_node(struct scanner *s, enum json_kind kind)
{
	struct json *j = s->json;
	const struct level *top = s->depth ? &s->stack[s->depth - 1] : NULL;

	if (top && top->node == JSON_NONE)
		return JSON_NONE;
	if (top && j->nodes[top->node].kind == JSON_DEEP)
		return JSON_NONE;
	if (j->count == s->node_cap) {
		s->node_cap *= 2;
		j->nodes = xreallocarray(j->nodes, s->node_cap, sizeof(*j->nodes));
	}
	uint32_t self = (uint32_t)j->count++;
	struct json_node *n = &j->nodes[self];
	*n = (struct json_node){
		.kind = kind != JSON_SCALAR && s->depth >= DOC_DEPTH_MAX ? JSON_DEEP : kind,
		.start = (uint32_t)s->at,
		.parent = top ? top->node : JSON_NONE,
		.first_child = JSON_NONE,
		.last_child = JSON_NONE,
		.next = JSON_NONE,
	};
	if (top) {
		struct json_node *parent = &j->nodes[top->node];

		if (!top->is_array) {
			n->key = s->keys[s->key_count - 1];
			n->key_start = (uint32_t)s->key_start;
			n->key_end = (uint32_t)s->key_end;
		}
		if (parent->last_child == JSON_NONE)
			parent->first_child = self;
		else
			j->nodes[parent->last_child].next = self;
		parent->last_child = self;
		parent->child_count++;
	}
	return self;
}

static void push(struct scanner *s, struct level level)
{
	if (s->depth == s->depth_cap) {
		struct level *old = s->stack == s->stack_small ? NULL : s->stack;

		s->depth_cap *= 4;
		s->stack = xreallocarray(old, s->depth_cap, sizeof(*s->stack));
		if (!old)
			memcpy(s->stack, s->stack_small, sizeof(s->stack_small));
	}
	s->stack[s->depth++] = level;
}

static enum expect scan_value(struct scanner *s)
{
	int c = peek(s);
	enum json_kind kind = c == '{' ? JSON_OBJECT : c == '[' ? JSON_ARRAY : JSON_SCALAR;

	if (s->json->count >= JSON_NODES_MAX)
		return fail_limit(s, "of more than 1,000,000 values");
	uint32_t node = add_node(s, kind);
	if (kind == JSON_SCALAR) {
		if (!scan_scalar(s))
			return EXPECT_FAILED;
		if (node != JSON_NONE)
			s->json->nodes[node].end = (uint32_t)s->at;
		return EXPECT_MORE;
	}
	if (s->depth == JSON_DEPTH_MAX)
		return fail_limit(s, "nested more than 100,000 levels deep");
	push(s, (struct level){
			.node = node,
			.is_array = kind == JSON_ARRAY,
			.first_key = s->key_count,
		});
	s->at++;
	return kind == JSON_ARRAY ? EXPECT_VALUE_OR_END : EXPECT_KEY_OR_END;
}

static enum expect scan_key(struct scanner *s)
{
	bool escaped = false;

	if (peek(s) != '"')
		return fail(s, "expected a key");
	s->key_start = s->at;
	if (!scan_string(s, &escaped))
		return EXPECT_FAILED;
	s->key_end = s->at;
	struct slice key = SLICE(s->text.data + s->key_start + 1, s->key_end - s->key_start - 2);
	if (escaped)
		key = decode_string(&s->json->arena, key);
	if (s->key_count == s->key_cap) {
		s->key_cap = s->key_cap ? s->key_cap * 2 : 32;
		s->keys = xreallocarray(s->keys, s->key_cap, sizeof(*s->keys));
	}
	s->keys[s->key_count++] = key;
	while (is_space(peek(s)))
		s->at++;
	if (peek(s) != ':')
		return fail(s, "expected a colon");
	s->at++;
	return EXPECT_VALUE;
}

uint64_t json_key_hash(struct slice key, uint64_t seed)
{
	uint64_t h = seed ^ (key.len * 0x9e3779b97f4a7c15u);
	size_t at = 0;

	while (at < key.len) {
		uint64_t v = 0;
		size_t n = key.len - at < 8 ? key.len - at : 8;

		memcpy(&v, key.data + at, n);
		h = (h ^ v) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
		at += n;
	}
	h *= 0xc4ceb9fe1a85ec53u;
	return h ^ (h >> 29);
}

static bool has_duplicate_hashed(struct scanner *s, const struct slice *keys, size_t n)
{
	size_t cap = 32;

	while (cap < 2 * n)
		cap *= 2;
	if (cap > s->table_cap) {
		free(s->table);
		s->table = xcalloc(cap, sizeof(*s->table));
		s->table_cap = cap;
	} else {
		memset(s->table, 0, cap * sizeof(*s->table));
	}
	for (size_t i = 0; i < n; i++) {
		size_t at = (size_t)json_key_hash(keys[i], (uintptr_t)s->table) & (cap - 1);

		while (s->table[at]) {
			if (slice_eq(keys[s->table[at] - 1], keys[i]))
				return true;
			at = (at + 1) & (cap - 1);
		}
		s->table[at] = (uint32_t)i + 1;
	}
	return false;
}

/* Whether two of the keys from the first-th on are the same. */
static bool has_duplicate(struct scanner *s, size_t first)
{
	size_t n = s->key_count - first;

	if (n < 2)
		return false;
	const struct slice *keys = s->keys + first;
	if (n > KEYS_PAIRWISE_MAX)
		return has_duplicate_hashed(s, keys, n);
	for (size_t i = 1; i < n; i++) {
		for (size_t k = 0; k < i; k++) {
			if (slice_eq(keys[i], keys[k]))
				return true;
		}
	}
	return false;
}

static enum expect close_container(struct scanner *s)
{
	assert(s->depth > 0);
	const struct level *top = &s->stack[s->depth - 1];

	if (has_duplicate(s, top->first_key))
		return fail(s, "duplicate key");
	s->key_count = top->first_key;
	s->at++;
	if (top->node != JSON_NONE)
		s->json->nodes[top->node].end = (uint32_t)s->at;
	s->depth--;
	return EXPECT_MORE;
}

static enum expect scan_more(struct scanner *s)
{
	int c = peek(s);

	if (s->depth == 0)
		return c < 0 ? EXPECT_NOTHING : fail(s, "text after the value");
	bool is_array = s->stack[s->depth - 1].is_array;
	if (c == ',') {
		s->at++;
		return is_array ? EXPECT_VALUE : EXPECT_KEY;
	}
	if (c == (is_array ? ']' : '}'))
		return close_container(s);
	return fail(s, is_array ? "expected a comma or ]" : "expected a comma or }");
}

static enum expect step(struct scanner *s, enum expect expect)
{
	while (is_space(peek(s)))
		s->at++;
	switch (expect) {
	case EXPECT_VALUE_OR_END:
		return peek(s) == ']' ? close_container(s) : scan_value(s);
	case EXPECT_VALUE:
		return scan_value(s);
	case EXPECT_KEY_OR_END:
		return peek(s) == '}' ? close_container(s) : scan_key(s);
	case EXPECT_KEY:
		return scan_key(s);
	case EXPECT_MORE:
		return scan_more(s);
	case EXPECT_NOTHING:
	case EXPECT_FAILED:
		break;
	}
	assert(false);
	return EXPECT_FAILED;
}

static void report(const struct scanner *s, struct json_error *error)
{
	size_t line = 1;
	size_t line_start = 0;

	for (size_t i = 0; i < s->at; i++) {
		if (s->text.data[i] == '\n') {
			line++;
			line_start = i + 1;
		}
	}
	*error = (struct json_error){line, s->at - line_start + 1, s->what, s->limit};
}

int json_scan(struct slice text, struct json *ret, struct json_error *error)
{
	struct scanner s;
	enum expect expect = EXPECT_VALUE;

	/* Not a zeroing initialiser: the stack is large and needs none. */
	s.text = text;
	s.at = text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	s.json = ret;
	s.depth = 0;
	s.depth_cap = DOC_DEPTH_MAX;
	s.stack = s.stack_small;
	s.keys = NULL;
	s.key_count = s.key_cap = 0;
	s.table = NULL;
	s.table_cap = 0;
	s.key_start = s.key_end = 0;
	s.what = NULL;
	s.limit = false;
	s.node_cap = (text.len < 65536 ? text.len : 65536) / 16 + 4;
	*ret = (struct json){.text = text};
	ret->nodes = xreallocarray(NULL, s.node_cap, sizeof(*ret->nodes));
	if (text.len >= UINT32_MAX)
		expect = fail_limit(&s, "of 4 GiB or more");
	while (expect != EXPECT_NOTHING && expect != EXPECT_FAILED)
		expect = step(&s, expect);
	free(s.keys);
	free(s.table);
	if (s.stack != s.stack_small)
		free(s.stack);
	if (expect == EXPECT_NOTHING) {
		assert(ret->count > 0 && s.depth == 0);
		return 0;
	}
	assert(s.what && s.at <= text.len);
	if (error)
		report(&s, error);
	return -EBADMSG;
}

void json_say(const struct json_error *e, struct buf *out)
{
	if (e->limit)
		buf_printf(out, "JSON %s (line %zu, column %zu)", e->what, e->line, e->column);
	else
		buf_printf(out, "not valid JSON, %s (line %zu, column %zu)", e->what, e->line,
			   e->column);
	buf_printf(out, ": kept as text, not merged by field");
}

void json_say_large(struct buf *out)
{
	buf_printf(out, "JSON of more than %u MiB: kept as one value, not merged by field",
		   JSON_RECORD_BYTES_MAX >> 20);
}

void json_fini(struct json *j)
{
	free(j->nodes);
	arena_fini(&j->arena);
	*j = (struct json){0};
}

bool json_same(struct slice a, struct slice b)
{
	size_t i = 0;
	size_t k = 0;
	bool in_string = false;

	if (slice_eq(a, b))
		return true;
	if (a.len == 0 || b.len == 0 || a.data[0] != b.data[0] ||
	    (a.data[0] != '[' && a.data[0] != '{'))
		return false;
	for (;;) {
		while (!in_string && i < a.len && is_space(a.data[i]))
			i++;
		while (!in_string && k < b.len && is_space(b.data[k]))
			k++;
		if (i == a.len || k == b.len)
			return i == a.len && k == b.len;
		if (a.data[i] != b.data[k])
			return false;
		/* Inside a string, a backslash takes the next byte with it. */
		if (in_string && a.data[i] == '\\' && i + 1 < a.len && k + 1 < b.len) {
			i++;
			k++;
			if (a.data[i] != b.data[k])
				return false;
		} else if (a.data[i] == '"') {
			in_string = !in_string;
		}
		i++;
		k++;
	}
}

void json_squeeze(struct slice value, struct buf *out)
{
	bool in_string = false;

	(void)buf_reserve(out, value.len);
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.data[i];

		if (!in_string && is_space(c))
			continue;
		buf_u8(out, c);
		if (in_string && c == '\\' && i + 1 < value.len)
			buf_u8(out, value.data[++i]);
		else if (c == '"')
			in_string = !in_string;
	}
}

bool json_is_value(struct slice text)
{
	struct json j;
	bool ok = json_scan(text, &j, NULL) == 0 && j.nodes[0].start == 0 &&
		  j.nodes[0].end == text.len;

	json_fini(&j);
	return ok;
}

bool json_key_decode(struct slice inside, struct arena *a, struct slice *ret)
{
	size_t at = 0;
	bool escaped = false;

	while (at < inside.len) {
		uint8_t c = inside.data[at];
		uint32_t point = 0;
		size_t n = c == '\\'   ? escape(inside, at, &point)
			   : c >= 0x80 ? utf8_multi(inside, at)
				       : (size_t)(c >= 0x20 && c != '"');

		if (n == 0)
			return false;
		escaped = escaped || c == '\\';
		at += n;
	}
	*ret = escaped ? decode_string(a, inside) : inside;
	return true;
}
