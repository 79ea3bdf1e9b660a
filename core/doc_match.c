/*
 * Which element of a saved array is which of base.
 *
 * By id where the elements have one. Otherwise equal ones first: what begins and ends alike, a longest
 * common subsequence of what is between (or, where that would take too long, the k-th of equal ones
 * with the k-th), then equal ones that moved. What is left between two matched neighbours is paired by
 * likeness: objects with half of their keys in common, and values one by one where there are as many
 * on either side.
 *
 * Hashes say what is equal. They need not resist an attacker: who makes two values collide gets a worse
 * diff of his own save, which still renders to his bytes. They are the same on every device, because
 * the digest of a new array is one (little-endian, as all that Blaze runs on).
 */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

#define FLAT_NUMBERS_MIN 2
#define FLAT_NUMBERS_MAX 4
/** Cells of the table for a longest common subsequence, and for likeness. */
#define LCS_CELLS_MAX (1u << 20)
#define LIKE_CELLS_MAX 4096
#define SEED 0x51ed270b27b4d2c1u

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccdu;

	return h ^ (h >> 32);
}

/* Never 0, which stands for unknown. */
static uint64_t known(uint64_t h)
{
	return h ? h : 1;
}

static uint64_t hash_text(struct slice s)
{
	return known(json_key_hash(s, SEED));
}

/* A flat array kept as one value hashes as its elements would. */
static uint64_t hash_value(struct slice s)
{
	uint64_t h = SEED + 2;
	size_t start = 1;

	if (s.len < 3 || s.data[0] != '[')
		return hash_text(s);
	for (size_t i = 1; i < s.len; i++) {
		if (memchr("[{\"", s.data[i], 3))
			return hash_text(s);
		if (s.data[i] == ',' || i + 1 == s.len) {
			h = mix(h, hash_text(SLICE(s.data + start, i - start)));
			start = i + 1;
		}
	}
	return known(h);
}

static struct slice node_text(const struct json *j, const struct json_node *n)
{
	return SLICE(j->text.data + n->start, n->end - n->start);
}

uint64_t doc_match_node(struct matching *m, uint32_t node)
{
	const struct json_node *n = &m->json->nodes[node];
	uint64_t h = n->kind == JSON_ARRAY ? SEED + 2 : SEED + 1;

	if (m->node_hash[node])
		return m->node_hash[node];
	if (n->kind == JSON_SCALAR) {
		h = hash_text(node_text(m->json, n));
	} else if (n->kind == JSON_DEEP) {
		AUTO(buf_fini) struct buf value = {0};

		json_squeeze(node_text(m->json, n), &value);
		h = hash_value(buf_slice(&value));
	}
	for (uint32_t c = n->first_child; c != JSON_NONE; c = m->json->nodes[c].next) {
		uint64_t value = doc_match_node(m, c);

		/* Members count in any order. */
		h = n->kind == JSON_ARRAY ? mix(h, value)
					  : h + mix(hash_text(m->json->nodes[c].key), value);
	}
	m->node_hash[node] = known(h);
	return m->node_hash[node];
}

static uint64_t hash_items(struct matching *m, uint32_t field)
{
	struct ranking items = {0};
	uint64_t h = SEED + 2;

	doc_rank_children(m->base, field, RANK_ITEMS, &items);
	for (size_t i = 0; i < items.count; i++)
		h = mix(h, doc_match_field(m, items.items[i].field));
	free(items.items);
	return h;
}

uint64_t doc_match_field(struct matching *m, uint32_t field)
{
	const struct doc *d = m->base;
	struct slice name;
	struct slice token;
	uint32_t text = DOC_NONE;
	uint64_t h = SEED + 1;

	if (m->field_hash[field])
		return m->field_hash[field];
	switch (doc_shows(d, field, &text)) {
	case SIB_CHUNKS:
		break;
	case SIB_TEXT:
		h = hash_value(d->sibs[text].value);
		break;
	case SIB_ARRAY:
		h = hash_items(m, field);
		break;
	case SIB_OBJECT:
		for (uint32_t c = d->fields[field].first_child; c != DOC_NONE;
		     c = d->fields[c].next) {
			if (doc_is_there(d, c) && !d->fields[c].is_item)
				h += mix(hash_text(d->fields[c].key), doc_match_field(m, c));
		}
		if (doc_lost_id(d, field, &name, &token))
			h += mix(hash_text(name), hash_text(token));
		break;
	}
	m->field_hash[field] = known(h);
	return m->field_hash[field];
}

bool doc_match_is_flat(const struct json *j, uint32_t node)
{
	const struct json_node *n = &j->nodes[node];

	if (n->kind != JSON_ARRAY || n->child_count < FLAT_NUMBERS_MIN ||
	    n->child_count > FLAT_NUMBERS_MAX)
		return false;
	for (uint32_t c = n->first_child; c != JSON_NONE; c = j->nodes[c].next) {
		uint8_t first = j->text.data[j->nodes[c].start];

		if (first != '-' && (first < '0' || first > '9'))
			return false;
	}
	return true;
}

static struct slice node_member(const struct json *j, uint32_t node, struct slice name)
{
	for (uint32_t c = j->nodes[node].first_child; c != JSON_NONE; c = j->nodes[c].next) {
		if (slice_eq(j->nodes[c].key, name))
			return j->nodes[c].kind == JSON_SCALAR ? node_text(j, &j->nodes[c])
							       : SLICE("", 0);
	}
	return SLICE("", 0);
}

/* A string or number that is short enough to be part of a key. */
static bool is_id(struct slice token)
{
	return token.len > 0 && token.len <= ID_BYTES_MAX &&
	       memchr("\"-0123456789", token.data[0], 12);
}

/* From texts to numbers. */
struct table {
	struct slice *keys;
	uint32_t *values;
	size_t cap;
};

static void table_init(struct table *t, size_t count)
{
	t->cap = 16;
	while (t->cap < 2 * count)
		t->cap *= 2;
	t->keys = xcalloc(t->cap, sizeof(*t->keys));
	t->values = xmalloc(t->cap * sizeof(*t->values));
}

static void table_fini(struct table *t)
{
	free(t->keys);
	free(t->values);
}

/* Where the key is, or would go. */
static size_t table_at(const struct table *t, struct slice key)
{
	size_t at = (size_t)json_key_hash(key, (uintptr_t)t->keys) & (t->cap - 1);

	while (t->keys[at].data && !slice_eq(t->keys[at], key))
		at = (at + 1) & (t->cap - 1);
	return at;
}

static bool tells_apart(const struct json *j, uint32_t array, struct slice name)
{
	const struct json_node *n = &j->nodes[array];
	struct table t;
	bool unique = is_id(node_member(j, n->first_child, name));

	if (!unique)
		return false;
	table_init(&t, n->child_count);
	for (uint32_t c = n->first_child; unique && c != JSON_NONE; c = j->nodes[c].next) {
		struct slice token =
			j->nodes[c].kind == JSON_OBJECT ? node_member(j, c, name) : SLICE("", 0);

		unique = is_id(token);
		if (!unique)
			break;
		size_t at = table_at(&t, token);
		unique = !t.keys[at].data;
		t.keys[at] = token;
	}
	table_fini(&t);
	return unique;
}

unsigned doc_match_id(const struct json *j, uint32_t array)
{
	const struct json_node *n = &j->nodes[array];
	unsigned name = 0;

	if (n->child_count == 0 || j->nodes[n->first_child].kind != JSON_OBJECT)
		return ID_NAMES;
	while (name < ID_NAMES && !tells_apart(j, array, SLICE_STR(doc_id_names[name])))
		name++;
	return name;
}

/* One array and what is known of its elements. */
struct pairing {
	struct matching *m;
	const struct ranked *items;
	size_t item_count;
	uint32_t *nodes;
	size_t node_count;
	uint32_t *match; /* by node */
	uint8_t *taken;	 /* by item */
};

static void pair(struct pairing *p, size_t node, size_t item)
{
	assert(p->match[node] == DOC_NONE && !p->taken[item]);
	p->match[node] = (uint32_t)item;
	p->taken[item] = 1;
}

static bool same(const struct pairing *p, size_t node, size_t item)
{
	return doc_match_node(p->m, p->nodes[node]) == doc_match_field(p->m, p->items[item].field);
}

/* What the item shows for this member. */
static struct slice item_member(const struct doc *d, uint32_t field, struct slice name)
{
	uint32_t text = DOC_NONE;

	if (doc_shows(d, field, &text) != SIB_OBJECT)
		return SLICE("", 0);
	struct slice own;
	struct slice token;
	if (doc_lost_id(d, field, &own, &token) && slice_eq(own, name))
		return token;
	uint32_t f = doc_child(d, field, (struct doc_key){name, false}, DOC_NONE);
	if (f == DOC_NONE || !doc_is_there(d, f) || doc_shows(d, f, &text) != SIB_TEXT)
		return SLICE("", 0);
	return d->sibs[text].value;
}

static void pair_by_id(struct pairing *p, struct slice name)
{
	struct table t;

	table_init(&t, p->item_count);
	for (size_t i = 0; i < p->item_count; i++) {
		struct slice token = item_member(p->m->base, p->items[i].field, name);
		size_t at = is_id(token) ? table_at(&t, token) : 0;

		if (is_id(token) && !t.keys[at].data) {
			t.keys[at] = token;
			t.values[at] = (uint32_t)i;
		}
	}
	for (size_t n = 0; n < p->node_count; n++) {
		size_t at = table_at(&t, node_member(p->m->json, p->nodes[n], name));

		if (t.keys[at].data)
			pair(p, n, t.values[at]);
	}
	table_fini(&t);
}

/* A longest common subsequence of nodes [n0, n1) and items [i0, i1). */
static void pair_lcs(struct pairing *p, size_t n0, size_t n1, size_t i0, size_t i1)
{
	size_t rows = n1 - n0;
	size_t cols = i1 - i0;
	uint32_t *len = xcalloc((rows + 1) * (cols + 1), sizeof(*len));

	for (size_t a = rows; a--;) {
		for (size_t b = cols; b--;) {
			uint32_t *at = &len[a * (cols + 1) + b];

			if (same(p, n0 + a, i0 + b))
				*at = at[cols + 2] + 1;
			else
				*at = at[1] > at[cols + 1] ? at[1] : at[cols + 1];
		}
	}
	for (size_t a = 0, b = 0; a < rows && b < cols;) {
		const uint32_t *at = &len[a * (cols + 1) + b];

		if (same(p, n0 + a, i0 + b))
			pair(p, n0 + a++, i0 + b++);
		else if (at[1] > at[cols + 1])
			b++;
		else
			a++;
	}
	free(len);
}

/* The k-th of equal ones with the k-th: those that moved, or are too many for a table. */
static void pair_equal(struct pairing *p)
{
	size_t cap = 16;

	while (cap < 2 * p->item_count)
		cap *= 2;
	uint32_t *heads = xcalloc(cap, sizeof(*heads)); /* item + 1, the first of this hash */
	uint32_t *next = xcalloc(p->item_count + 1, sizeof(*next));
	for (size_t i = p->item_count; i--;) {
		if (p->taken[i])
			continue;
		size_t at = (size_t)doc_match_field(p->m, p->items[i].field) & (cap - 1);
		next[i] = heads[at];
		heads[at] = (uint32_t)i + 1;
	}
	for (size_t n = 0; n < p->node_count; n++) {
		if (p->match[n] != DOC_NONE)
			continue;
		uint32_t *link = &heads[(size_t)doc_match_node(p->m, p->nodes[n]) & (cap - 1)];
		while (*link && !same(p, n, *link - 1))
			link = &next[*link - 1];
		if (*link) {
			pair(p, n, *link - 1);
			*link = next[*link - 1];
		}
	}
	free(heads);
	free(next);
}

/* 0 if they are not alike; more for members that are equal. */
static uint32_t likeness(const struct pairing *p, size_t node, size_t item)
{
	const struct json *j = p->m->json;
	const struct doc *d = p->m->base;
	const struct json_node *n = &j->nodes[p->nodes[node]];
	uint32_t field = p->items[item].field;
	uint32_t text = DOC_NONE;
	uint32_t keys = 0;
	uint32_t equal = 0;
	uint32_t hint = d->fields[field].first_child;

	if (n->kind != JSON_OBJECT || doc_shows(d, field, &text) != SIB_OBJECT)
		return 0;
	for (uint32_t c = n->first_child; c != JSON_NONE; c = j->nodes[c].next) {
		uint32_t f = doc_child(d, field, (struct doc_key){j->nodes[c].key, false}, hint);

		if (f == DOC_NONE || !doc_is_there(d, f))
			continue;
		hint = d->fields[f].next;
		keys++;
		equal += doc_match_node(p->m, c) == doc_match_field(p->m, f);
	}
	uint32_t most = d->fields[field].live_members > n->child_count
				? d->fields[field].live_members
				: n->child_count;
	return keys && keys * 2 >= most ? 1 + 4 * equal : 0;
}

/* Nodes and items in between matched ones that are neighbours on both sides. */
struct gap {
	size_t n0, n1, i0, i1;
};

/* The best pairing that keeps the order. */
static void pair_alike(struct pairing *p, const struct gap *g)
{
	size_t rows = g->n1 - g->n0;
	size_t cols = g->i1 - g->i0;
	uint32_t *like = xcalloc(rows * cols, sizeof(*like));
	uint32_t *best = xcalloc((rows + 1) * (cols + 1), sizeof(*best));

	for (size_t a = rows; a--;) {
		for (size_t b = cols; b--;) {
			uint32_t l = likeness(p, g->n0 + a, g->i0 + b);
			uint32_t *at = &best[a * (cols + 1) + b];

			like[a * cols + b] = l;
			*at = at[1] > at[cols + 1] ? at[1] : at[cols + 1];
			if (l && at[cols + 2] + l > *at)
				*at = at[cols + 2] + l;
		}
	}
	for (size_t a = 0, b = 0; a < rows && b < cols;) {
		const uint32_t *at = &best[a * (cols + 1) + b];
		uint32_t l = like[a * cols + b];

		if (l && *at == at[cols + 2] + l)
			pair(p, g->n0 + a++, g->i0 + b++);
		else if (at[1] > at[cols + 1])
			b++;
		else
			a++;
	}
	free(like);
	free(best);
}

static bool is_text(const struct pairing *p, size_t node, size_t item)
{
	enum json_kind kind = p->m->json->nodes[p->nodes[node]].kind;
	uint32_t text = DOC_NONE;
	enum sib_kind shown = doc_shows(p->m->base, p->items[item].field, &text);

	/* Arrays in arrays: what they are now is told when they are compared. */
	return kind == JSON_ARRAY ? shown != SIB_OBJECT : kind == JSON_SCALAR && shown == SIB_TEXT;
}

static void pair_gap(struct pairing *p, const struct gap *g)
{
	size_t rows = g->n1 - g->n0;
	size_t cols = g->i1 - g->i0;

	if (rows == 0 || cols == 0)
		return;
	if (rows <= LIKE_CELLS_MAX / cols)
		pair_alike(p, g);
	if (rows != cols)
		return;
	for (size_t k = 0; k < rows; k++) {
		if (p->match[g->n0 + k] != DOC_NONE || p->taken[g->i0 + k])
			continue;
		if (is_text(p, g->n0 + k, g->i0 + k) || likeness(p, g->n0 + k, g->i0 + k))
			pair(p, g->n0 + k, g->i0 + k);
	}
}

static void pair_gaps(struct pairing *p)
{
	for (size_t n = 0; n < p->node_count;) {
		struct gap g = {.n0 = n};

		if (p->match[n] != DOC_NONE) {
			n++;
			continue;
		}
		while (n < p->node_count && p->match[n] == DOC_NONE)
			n++;
		g.n1 = n;
		g.i0 = g.n0 ? p->match[g.n0 - 1] + 1 : 0;
		for (g.i1 = g.i0; g.i1 < p->item_count && !p->taken[g.i1]; g.i1++)
			continue;
		pair_gap(p, &g);
	}
}

static void pair_by_content(struct pairing *p)
{
	size_t start = 0;
	size_t nodes = p->node_count;
	size_t items = p->item_count;

	while (start < nodes && start < items && same(p, start, start)) {
		pair(p, start, start);
		start++;
	}
	while (nodes > start && items > start && same(p, nodes - 1, items - 1))
		pair(p, --nodes, --items);
	if (nodes == start || items == start)
		return;
	if (nodes - start <= LCS_CELLS_MAX / (items - start))
		pair_lcs(p, start, nodes, start, items);
	pair_equal(p);
}

void doc_match_items(struct matching *m, uint32_t array, const struct ranking *items, size_t first,
		     uint32_t *match)
{
	const struct json_node *n = &m->json->nodes[array];
	unsigned name = doc_match_id(m->json, array);
	size_t count = 0;
	struct pairing p = {
		.m = m,
		.items = items->items + first,
		.item_count = items->count - first,
		.nodes = xmalloc(n->child_count * sizeof(*p.nodes)),
		.node_count = n->child_count,
		.match = match,
		.taken = xcalloc(items->count - first + 1, 1),
	};

	for (uint32_t c = n->first_child; c != JSON_NONE; c = m->json->nodes[c].next) {
		match[count] = DOC_NONE;
		p.nodes[count++] = c;
	}
	if (name < ID_NAMES)
		pair_by_id(&p, SLICE_STR(doc_id_names[name]));
	else
		pair_by_content(&p);
	/* Another id is another element; another name or key may be a new one for the old. */
	if (name >= 3)
		pair_gaps(&p);
	free(p.nodes);
	free(p.taken);
}

void doc_match_stay(const uint32_t *match, size_t count, uint8_t *stay)
{
	uint32_t *tails =
		xmalloc((count + 1) * sizeof(*tails)); /* node that ends a run of length i */
	uint32_t *back = xmalloc((count + 1) * sizeof(*back));
	size_t len = 0;

	for (size_t n = 0; n < count; n++) {
		size_t lo = 0;
		size_t hi = len;

		stay[n] = 0;
		if (match[n] == DOC_NONE)
			continue;
		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;

			if (match[tails[mid]] < match[n])
				lo = mid + 1;
			else
				hi = mid;
		}
		back[n] = lo ? tails[lo - 1] : DOC_NONE;
		tails[lo] = (uint32_t)n;
		if (lo == len)
			len++;
	}
	for (uint32_t n = len ? tails[len - 1] : DOC_NONE; n != DOC_NONE; n = back[n])
		stay[n] = 1;
	free(tails);
	free(back);
}
