/* JSON, compared field by field. */
#include "core/delta.h"

#include "core/diff.h"
#include "core/digest.h"
#include "core/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/** Larger arrays are told as one value. */
#define ELEMENTS_MAX 100000
/** Arrays within arrays; deeper ones are told as one value. */
#define DEPTH_MAX 32

struct compare {
	void (*fn)(void *ctx, const struct delta_field *f);
	void *ctx;
	struct buf path;
	uint64_t seed;
	unsigned depth;
};

static void compare_values(struct compare *c, struct slice from, struct slice to);

static void report(struct compare *c, enum delta_kind kind, struct slice from, struct slice to)
{
	const struct delta_field f = {
		.kind = kind, .path = buf_str(&c->path), .from = from, .to = to};

	c->fn(c->ctx, &f);
}

static struct slice value_of(const struct json *j, const struct json_node *n)
{
	return SLICE(j->text.data + n->start, n->end - n->start);
}

static bool is_plain_key(struct slice key)
{
	for (size_t i = 0; i < key.len; i++) {
		if (key.data[i] <= ' ' || key.data[i] == 0x7f || strchr(".\"[]=", key.data[i]))
			return false;
	}
	return key.len > 0;
}

/* Returns the length of the path before. */
static size_t push_key(struct compare *c, struct slice key)
{
	size_t len = c->path.len;

	if (len)
		buf_u8(&c->path, '.');
	if (is_plain_key(key)) {
		buf_slice_append(&c->path, key);
		return len;
	}
	buf_u8(&c->path, '"');
	buf_json_string(&c->path, key);
	buf_u8(&c->path, '"');
	return len;
}

/* ---- objects --------------------------------------------------------------------------------- */

struct member {
	struct slice key;
	const struct json_node *node;
};

static int by_key(const void *a, const void *b)
{
	return slice_cmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

/* The members of an object by key. The caller frees. */
static struct member *index_members(const struct json *j, const struct json_node *object)
{
	struct member *list = xcalloc(object->child_count, sizeof(*list));
	size_t n = 0;

	for (uint32_t i = object->first_child; i != JSON_NONE; i = j->nodes[i].next)
		list[n++] = (struct member){.key = j->nodes[i].key, .node = &j->nodes[i]};
	if (n > 1)
		qsort(list, n, sizeof(*list), by_key);
	return list;
}

static const struct json_node *find_member(const struct member *list, size_t count, struct slice key)
{
	const struct member wanted = {.key = key};
	const struct member *m = count ? bsearch(&wanted, list, count, sizeof(*list), by_key) : NULL;

	return m ? m->node : NULL;
}

static void compare_nodes(struct compare *c, const struct json *a, const struct json_node *from,
			  const struct json *b, const struct json_node *to);

static void compare_objects(struct compare *c, const struct json *a, const struct json_node *from,
			    const struct json *b, const struct json_node *to)
{
	AUTO(free_ptr) struct member *old = index_members(a, from);
	AUTO(free_ptr) struct member *now = index_members(b, to);

	for (uint32_t i = to->first_child; i != JSON_NONE; i = b->nodes[i].next) {
		const struct json_node *n = &b->nodes[i];
		const struct json_node *was = find_member(old, from->child_count, n->key);
		size_t len = push_key(c, n->key);

		if (was)
			compare_nodes(c, a, was, b, n);
		else
			report(c, DELTA_ADDED, SLICE("", 0), value_of(b, n));
		c->path.len = len;
	}
	for (uint32_t i = from->first_child; i != JSON_NONE; i = a->nodes[i].next) {
		const struct json_node *n = &a->nodes[i];

		if (find_member(now, to->child_count, n->key))
			continue;
		size_t len = push_key(c, n->key);
		report(c, DELTA_REMOVED, value_of(a, n), SLICE("", 0));
		c->path.len = len;
	}
}

/* ---- arrays ---------------------------------------------------------------------------------- */

struct elements {
	struct slice *items;
	size_t count;
};

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice trim(struct slice s)
{
	while (s.len && is_space(s.data[0]))
		s = SLICE(s.data + 1, s.len - 1);
	while (s.len && is_space(s.data[s.len - 1]))
		s.len--;
	return s;
}

static void add_element(struct elements *e, struct slice text)
{
	if ((e->count & (e->count - 1)) == 0)
		e->items = xreallocarray(e->items, e->count ? e->count * 2 : 1, sizeof(*e->items));
	e->items[e->count++] = trim(text);
}

/* Takes an array's source text, which is known to be well-formed, apart. */
static struct elements split(struct slice array)
{
	struct elements e = {0};
	size_t depth = 0;
	size_t start = 1;
	bool quoted = false;

	for (size_t i = 0; i < array.len; i++) {
		uint8_t c = array.data[i];

		if (quoted) {
			i += c == '\\';
			quoted = c != '"';
			continue;
		}
		quoted = c == '"';
		depth += c == '[' || c == '{';
		bool ends = depth == 1 && (c == ',' || c == ']');
		depth -= c == ']' || c == '}';
		if (ends && (c == ',' || trim(SLICE(array.data + start, i - start)).len))
			add_element(&e, SLICE(array.data + start, i - start));
		if (ends)
			start = i + 1;
	}
	return e;
}

/* Equal for texts that json_same() calls the same. */
static uint64_t hash_value(const struct compare *c, struct slice value)
{
	AUTO(buf_fini) struct buf bare = {0};
	bool quoted = false;

	for (size_t i = 0; i < value.len; i++) {
		uint8_t byte = value.data[i];

		if (quoted || !is_space(byte))
			buf_u8(&bare, byte);
		if (quoted && byte == '\\' && i + 1 < value.len)
			buf_u8(&bare, value.data[++i]);
		else if (byte == '"')
			quoted = !quoted;
	}
	return json_key_hash(buf_slice(&bare), c->seed);
}

/* The scalar under `key` of an object's source text; empty = it has none. */
static struct slice member_text(struct slice object, const char *key)
{
	AUTO(json_fini) struct json j;
	struct slice found = SLICE("", 0);

	if (json_scan(object, &j, NULL) < 0 || j.nodes[0].kind != JSON_OBJECT)
		return found;
	for (uint32_t i = j.nodes[0].first_child; i != JSON_NONE; i = j.nodes[i].next) {
		const struct json_node *n = &j.nodes[i];

		if (n->kind == JSON_SCALAR && slice_eq(n->key, SLICE_STR(key)))
			found = value_of(&j, n); /* within `object`, which stays */
	}
	return found;
}

struct named {
	struct slice id;
	size_t index;
};

static int by_id(const void *a, const void *b)
{
	const struct named *x = a;
	const struct named *y = b;
	int c = slice_cmp(x->id, y->id);

	return c ? c : (x->index > y->index) - (x->index < y->index);
}

/* The elements by their identifying member, or NULL if this is none. The caller frees. */
static struct named *name_elements(const struct elements *e, const char *key)
{
	struct named *list = xcalloc(e->count, sizeof(*list));
	bool ok = true;

	for (size_t i = 0; i < e->count && ok; i++) {
		list[i] = (struct named){.id = member_text(e->items[i], key), .index = i};
		ok = list[i].id.len > 0;
	}
	if (ok && e->count > 1)
		qsort(list, e->count, sizeof(*list), by_id);
	for (size_t i = 1; i < e->count && ok; i++)
		ok = !slice_eq(list[i - 1].id, list[i].id);
	if (ok)
		return list;
	free(list);
	return NULL;
}

static size_t push_id(struct compare *c, const char *key, struct slice id)
{
	size_t len = c->path.len;
	bool quoted = id.len >= 2 && id.data[0] == '"';

	buf_printf(&c->path, "[%s=", key);
	buf_slice_append(&c->path, quoted ? SLICE(id.data + 1, id.len - 2) : id);
	buf_u8(&c->path, ']');
	return len;
}

static size_t find_named(const struct named *list, size_t count, struct slice id)
{
	size_t lo = 0;
	size_t hi = count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(list[mid].id, id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < count && slice_eq(list[lo].id, id) ? list[lo].index : SIZE_MAX;
}

static bool compare_named(struct compare *c, const struct elements *from, const struct elements *to,
			  const char *key)
{
	AUTO(free_ptr) struct named *old = name_elements(from, key);
	AUTO(free_ptr) struct named *now = old ? name_elements(to, key) : NULL;

	if (!old || !now)
		return false;
	for (size_t i = 0; i < to->count; i++) {
		struct slice id = member_text(to->items[i], key);
		size_t was = find_named(old, from->count, id);
		size_t len = push_id(c, key, id);

		if (was == SIZE_MAX)
			report(c, DELTA_ADDED, SLICE("", 0), to->items[i]);
		else
			compare_values(c, from->items[was], to->items[i]);
		c->path.len = len;
	}
	for (size_t i = 0; i < from->count; i++) {
		struct slice id = member_text(from->items[i], key);

		if (find_named(now, to->count, id) != SIZE_MAX)
			continue;
		size_t len = push_id(c, key, id);
		report(c, DELTA_REMOVED, from->items[i], SLICE("", 0));
		c->path.len = len;
	}
	return true;
}

static size_t push_index(struct compare *c, size_t i)
{
	size_t len = c->path.len;

	buf_printf(&c->path, "[%zu]", i);
	return len;
}

/* Elements between two that both sides have: in turn, what is left over was added or removed. */
static void compare_gap(struct compare *c, const struct elements *from, struct diff_pair at,
			const struct elements *to, struct diff_pair end)
{
	for (; at.from < end.from || at.to < end.to; at.from++, at.to++) {
		bool was = at.from < end.from;
		bool is = at.to < end.to;
		size_t len = push_index(c, is ? at.to : at.from);

		if (was && is)
			compare_values(c, from->items[at.from], to->items[at.to]);
		else if (is)
			report(c, DELTA_ADDED, SLICE("", 0), to->items[at.to]);
		else
			report(c, DELTA_REMOVED, from->items[at.from], SLICE("", 0));
		c->path.len = len;
	}
}

static void compare_sequences(struct compare *c, const struct elements *from,
			      const struct elements *to)
{
	AUTO(free_ptr) uint64_t *a = xcalloc(from->count, sizeof(*a));
	AUTO(free_ptr) uint64_t *b = xcalloc(to->count, sizeof(*b));
	AUTO(diff_pairs_fini) struct diff_pairs same = {0};
	struct diff_pair at = {0};

	for (size_t i = 0; i < from->count; i++)
		a[i] = hash_value(c, from->items[i]);
	for (size_t i = 0; i < to->count; i++)
		b[i] = hash_value(c, to->items[i]);
	diff_hashes(a, from->count, b, to->count, DIFF_BUDGET, &same);
	for (size_t i = 0; i < same.count; i++) {
		compare_gap(c, from, at, to, same.items[i]);
		at = (struct diff_pair){same.items[i].from + 1, same.items[i].to + 1};
	}
	compare_gap(c, from, at, to, (struct diff_pair){(uint32_t)from->count, (uint32_t)to->count});
}

static void compare_arrays(struct compare *c, struct slice from, struct slice to)
{
	static const char *const keys[] = {"id", "_id", "uuid", "key", "name"};
	struct elements a = split(from);
	struct elements b = split(to);
	bool done = false;

	if (a.count > ELEMENTS_MAX || b.count > ELEMENTS_MAX) {
		report(c, DELTA_CHANGED, from, to);
		done = true;
	}
	for (size_t k = 0; k < countof(keys) && !done && a.count && b.count; k++)
		done = compare_named(c, &a, &b, keys[k]);
	if (!done)
		compare_sequences(c, &a, &b);
	free(a.items);
	free(b.items);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void compare_nodes(struct compare *c, const struct json *a, const struct json_node *from,
			  const struct json *b, const struct json_node *to)
{
	struct slice x = value_of(a, from);
	struct slice y = value_of(b, to);

	if (json_same(x, y))
		return;
	if (c->depth >= DEPTH_MAX || from->kind != to->kind || from->kind == JSON_SCALAR) {
		report(c, DELTA_CHANGED, x, y);
		return;
	}
	c->depth++;
	if (from->kind == JSON_OBJECT)
		compare_objects(c, a, from, b, to);
	else
		compare_arrays(c, x, y);
	c->depth--;
}

static int compare_texts(struct compare *c, struct slice from, struct slice to)
{
	AUTO(json_fini) struct json a;
	AUTO(json_fini) struct json b;
	int r = json_scan(from, &a, NULL);
	int s = json_scan(to, &b, NULL);

	if (r < 0 || s < 0)
		return -EBADMSG;
	compare_nodes(c, &a, &a.nodes[0], &b, &b.nodes[0]);
	return 0;
}

static void compare_values(struct compare *c, struct slice from, struct slice to)
{
	if (compare_texts(c, from, to) < 0)
		report(c, DELTA_CHANGED, from, to);
}

int delta_fields(struct slice from, struct slice to,
		 void (*fn)(void *ctx, const struct delta_field *f), void *ctx)
{
	struct compare c = {.fn = fn, .ctx = ctx};

	random_bytes(&c.seed, sizeof(c.seed));
	int r = compare_texts(&c, from, to);
	buf_fini(&c.path);
	return r;
}
