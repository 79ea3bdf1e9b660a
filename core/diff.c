/*
 * Text: the common lines at both ends are left out, the rest is cut into lines, and these are matched.
 * A run of changed lines is matched once more without its white space, so that a line which was
 * indented meets itself; what then has no counterpart is matched by words as one block. If that
 * is too much for the budget, and there are as many lines before as after, each is compared with
 * the one in its place: that is what replacing a word throughout a large file looks like.
 */
#include "core/diff.h"

#include "core/diff_match.h"

#include <stdlib.h>
#include <string.h>

/** A longer line is cut at punctuation: some files have no other lines. */
#define LINE_BYTES_MAX 4096
/** Blocks above this are not compared by words. */
#define WORDS_BYTES_MAX (2u << 20)
#define LINE_REACH 2048
#define WORD_REACH 2048
/** A word that differs more became another word. */
#define CHAR_REACH 32

/* The same number for the same bytes, from 0 up. */
struct table {
	struct kind {
		const uint8_t *data;
		uint32_t len;
		uint32_t hash;
	} * kinds;
	uint32_t count;
	uint32_t cap;
	uint32_t *slots; /* kind + 1 */
	uint32_t slot_count;
	uint32_t slot_cap;
	uint64_t seed;
};

/* One side cut into tokens. */
struct tokens {
	uint32_t *start; /* one more than tokens: where the last one ends */
	uint32_t *ids;
	uint32_t count;
	uint32_t cap;
};

/* Bytes [a0, a1) of the old text became [b0, b1) of the new. */
struct hunk {
	uint32_t a0;
	uint32_t a1;
	uint32_t b0;
	uint32_t b1;
};

enum level {
	LEVEL_LINES,
	LEVEL_LOOSE, /* the same lines without white space */
	LEVEL_WORDS,
	LEVEL_CHARS,
	LEVELS
};

struct cut {
	struct tokens side[2];
	uint32_t *matches;
	uint32_t cap;
};

struct diff_run {
	const uint8_t *a;
	const uint8_t *b;
	bool sound; /* both are UTF-8, but for what both have at their ends */
	uint64_t budget;
	struct table table;
	struct cut cuts[LEVELS];
	struct diff_edits *out;
	size_t first; /* of out: made here */
};

/* ---- tokens ------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

static uint64_t hash_bytes(const uint8_t *p, size_t len, uint64_t seed)
{
	uint64_t h = seed ^ len;
	uint64_t word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = mix(h ^ word);
	}
	word = 0;
	memcpy(&word, p, len);
	return mix(h ^ word);
}

static void table_reset(struct table *t, uint32_t slots)
{
	uint32_t n = 64;

	while (n < slots)
		n *= 2;
	if (n > t->slot_cap) {
		t->slots = xreallocarray(t->slots, n, sizeof(*t->slots));
		t->slot_cap = n;
	}
	memset(t->slots, 0, n * sizeof(*t->slots));
	t->slot_count = n;
	t->count = 0;
	/* Only to choose slots: nobody who writes a text can make it slow. The result does not show it. */
	t->seed = (uint64_t)(uintptr_t)t;
}

static void table_grow(struct table *t)
{
	uint32_t count = t->count;

	table_reset(t, t->slot_count * 2);
	t->count = count;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t slot = t->kinds[i].hash & (t->slot_count - 1);

		while (t->slots[slot])
			slot = (slot + 1) & (t->slot_count - 1);
		t->slots[slot] = i + 1;
	}
}

static uint32_t intern(struct table *t, const uint8_t *data, uint32_t len)
{
	uint32_t hash = (uint32_t)hash_bytes(data, len, t->seed);

	if (t->count >= t->slot_count / 2)
		table_grow(t);
	uint32_t slot = hash & (t->slot_count - 1);
	for (; t->slots[slot]; slot = (slot + 1) & (t->slot_count - 1)) {
		const struct kind *k = &t->kinds[t->slots[slot] - 1];

		if (k->hash == hash && k->len == len && memcmp(k->data, data, len) == 0)
			return t->slots[slot] - 1;
	}
	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->kinds = xreallocarray(t->kinds, t->cap, sizeof(*t->kinds));
	}
	t->kinds[t->count] = (struct kind){data, len, hash};
	t->slots[slot] = ++t->count;
	return t->count - 1;
}

static void add_token(struct tokens *t, uint32_t id, uint32_t end)
{
	if (t->count + 1 >= t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->start = xreallocarray(t->start, t->cap, sizeof(*t->start));
		t->ids = xreallocarray(t->ids, t->cap, sizeof(*t->ids));
	}
	t->ids[t->count] = id;
	t->start[++t->count] = end;
}

static void add_bytes(struct diff_run *x, struct tokens *t, const uint8_t *text, uint32_t end)
{
	uint32_t start = t->start[t->count];

	add_token(t, intern(&x->table, text + start, end - start), end);
}

static void start_tokens(struct tokens *t, uint32_t at)
{
	t->count = 0;
	if (t->cap == 0) {
		t->cap = 64;
		t->start = xreallocarray(NULL, t->cap, sizeof(*t->start));
		t->ids = xreallocarray(NULL, t->cap, sizeof(*t->ids));
	}
	t->start[0] = at;
}

static uint32_t line_end(const uint8_t *text, uint32_t at, uint32_t end)
{
	const uint8_t *nl = at < end ? memchr(text + at, '\n', end - at) : NULL;

	return nl ? (uint32_t)(nl - text) + 1 : end;
}

static bool is_sound(const struct diff_run *x, const uint8_t *text, uint32_t start, uint32_t end)
{
	return x->sound || slice_is_utf8(SLICE(text + start, end - start));
}

/* Where a long line may be cut. */
static bool is_joint(uint8_t c)
{
	return c == ',' || c == ';' || c == '{' || c == '}' || c == '>';
}

static void cut_lines(struct diff_run *x, struct tokens *t, const uint8_t *text, uint32_t at,
		      uint32_t end)
{
	start_tokens(t, at);
	while (at < end) {
		uint32_t next = line_end(text, at, end);

		if (next - at > LINE_BYTES_MAX && is_sound(x, text, at, next)) {
			for (uint32_t i = at; i + 1 < next; i++) {
				if (is_joint(text[i]))
					add_bytes(x, t, text, i + 1);
			}
		}
		add_bytes(x, t, text, next);
		at = next;
	}
}

static bool is_word(uint8_t c)
{
	return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static void cut_line_into_words(struct diff_run *x, struct tokens *t, const uint8_t *text,
				uint32_t at, uint32_t end)
{
	while (at < end) {
		uint32_t next = at + 1;

		if (is_word(text[at])) {
			while (next < end && is_word(text[next]))
				next++;
		} else if (is_blank(text[at])) {
			while (next < end && is_blank(text[next]))
				next++;
		}
		add_bytes(x, t, text, next);
		at = next;
	}
}

static void cut_words(struct diff_run *x, struct tokens *t, const uint8_t *text, uint32_t at,
		      uint32_t end)
{
	start_tokens(t, at);
	if (is_sound(x, text, at, end)) {
		cut_line_into_words(x, t, text, at, end);
		return;
	}
	while (at < end) {
		uint32_t next = line_end(text, at, end);

		if (is_sound(x, text, at, next))
			cut_line_into_words(x, t, text, at, next);
		else
			add_bytes(x, t, text, next);
		at = next;
	}
}

static bool is_continuation(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

static void cut_chars(struct diff_run *x, struct tokens *t, const uint8_t *text, uint32_t at,
		      uint32_t end)
{
	start_tokens(t, at);
	while (at < end) {
		uint32_t next = at + 1;

		while (next < end && is_continuation(text[next]))
			next++;
		add_bytes(x, t, text, next);
		at = next;
	}
}

/* ---- edits -------------------------------------------------------------------------------------- */

/* The part of h that differs. */
static struct hunk trim(const struct diff_run *x, struct hunk h)
{
	const uint8_t *a = x->a;
	const uint8_t *b = x->b;
	struct hunk t = h;

	while (t.a0 < t.a1 && t.b0 < t.b1 && a[t.a0] == b[t.b0]) {
		t.a0++;
		t.b0++;
	}
	while (t.a0 > h.a0 && ((t.a0 < t.a1 && is_continuation(a[t.a0])) ||
			       (t.b0 < t.b1 && is_continuation(b[t.b0])))) {
		t.a0--;
		t.b0--;
	}
	while (t.a1 > t.a0 && t.b1 > t.b0 && a[t.a1 - 1] == b[t.b1 - 1]) {
		t.a1--;
		t.b1--;
	}
	while (t.a1 < h.a1 && is_continuation(a[t.a1])) {
		t.a1++;
		t.b1++;
	}
	return t;
}

static bool begins_line(const uint8_t *text, const uint8_t *at)
{
	return at == text || at[-1] == '\n';
}

/* Whether so little is unchanged between two edits of one line that they are one. */
static bool joins(const struct diff_run *x, const struct diff_edit *last, uint32_t pos)
{
	const uint8_t *a_end = x->a + last->pos + last->len;
	const uint8_t *b_end = last->text.data + last->text.len;
	size_t between = (size_t)(x->a + pos - a_end);

	if (between == 0)
		return true;
	return between < DIFF_JOIN_BYTES && !memchr(a_end, '\n', between) &&
	       !(begins_line(x->a, a_end) && begins_line(x->b, b_end));
}

static void emit(struct diff_run *x, struct hunk h)
{
	struct diff_edits *out = x->out;

	if (is_sound(x, x->a, h.a0, h.a1) && is_sound(x, x->b, h.b0, h.b1))
		h = trim(x, h);
	if (h.a0 == h.a1 && h.b0 == h.b1)
		return;
	struct diff_edit *last = out->count > x->first ? &out->items[out->count - 1] : NULL;
	if (last && joins(x, last, h.a0)) {
		last->len = h.a1 - last->pos;
		last->text.len = (size_t)(x->b + h.b1 - last->text.data);
		return;
	}
	if (out->count == out->cap) {
		out->cap = out->cap ? out->cap * 2 : 16;
		out->items = xreallocarray(out->items, out->cap, sizeof(*out->items));
	}
	assert(out->items);
	out->items[out->count++] = (struct diff_edit){
		.pos = h.a0, .len = h.a1 - h.a0, .text = SLICE(x->b + h.b0, h.b1 - h.b0)};
}

/* ---- words and characters ----------------------------------------------------------------------- */

/* Spends half of what is left at most, so that something is left for whatever comes after. */
static bool match_cut(struct diff_run *x, enum level level, struct diff_match_rules rules)
{
	struct cut *c = &x->cuts[level];
	const struct tokens *t = c->side;
	uint64_t share = x->budget / 2;

	if (t[0].count > c->cap) {
		c->cap = t[0].count;
		free(c->matches);
		c->matches = xreallocarray(NULL, c->cap, sizeof(*c->matches));
	}
	rules.kinds = x->table.count;
	x->budget -= share;
	bool whole = diff_match((struct diff_seq){t[0].ids, t[0].count},
				(struct diff_seq){t[1].ids, t[1].count}, &rules, &share, c->matches);
	x->budget += share;
	return whole;
}

/* A run of tokens without a match: [i0, i1) became [j0, j1). */
struct gap {
	uint32_t i0;
	uint32_t i1;
	uint32_t j0;
	uint32_t j1;
};

/* The next gap after *g, which begins as zeros. false if there is none. */
static bool next_gap(const struct cut *c, struct gap *g)
{
	uint32_t i = g->i1;
	uint32_t j = g->j1;

	while (i < c->side[0].count && c->matches[i] == j) {
		i++;
		j++;
	}
	*g = (struct gap){i, i, j, j};
	while (g->i1 < c->side[0].count && c->matches[g->i1] == DIFF_UNMATCHED)
		g->i1++;
	g->j1 = g->i1 < c->side[0].count ? c->matches[g->i1] : c->side[1].count;
	return g->i1 > g->i0 || g->j1 > g->j0;
}

static struct hunk gap_bytes(const struct cut *c, struct gap g)
{
	return (struct hunk){c->side[0].start[g.i0], c->side[0].start[g.i1], c->side[1].start[g.j0],
			     c->side[1].start[g.j1]};
}

static void diff_chars(struct diff_run *x, struct hunk h)
{
	const struct diff_match_rules rules = {.reach = CHAR_REACH, .exact = UINT32_MAX};
	struct cut *c = &x->cuts[LEVEL_CHARS];
	struct gap g = {0, 0, 0, 0};

	table_reset(&x->table, 0);
	cut_chars(x, &c->side[0], x->a, h.a0, h.a1);
	cut_chars(x, &c->side[1], x->b, h.b0, h.b1);
	if (!match_cut(x, LEVEL_CHARS, rules)) {
		emit(x, h);
		return;
	}
	while (next_gap(c, &g))
		emit(x, gap_bytes(c, g));
}

/* false: too large or too different, nothing was done. */
static bool diff_words(struct diff_run *x, struct hunk h)
{
	const struct diff_match_rules rules = {
		.reach = WORD_REACH, .exact = DIFF_EXACT_MAX, .greedy = true};
	struct cut *c = &x->cuts[LEVEL_WORDS];
	struct gap g = {0, 0, 0, 0};

	if (x->budget == 0 || h.a1 - h.a0 + (h.b1 - h.b0) > WORDS_BYTES_MAX)
		return false;
	table_reset(&x->table, 0);
	cut_words(x, &c->side[0], x->a, h.a0, h.a1);
	cut_words(x, &c->side[1], x->b, h.b0, h.b1);
	if (!match_cut(x, LEVEL_WORDS, rules))
		return false;
	while (next_gap(c, &g)) {
		struct hunk w = gap_bytes(c, g);

		if (g.i1 - g.i0 == 1 && g.j1 - g.j0 == 1 && is_word(x->a[w.a0]) &&
		    is_word(x->b[w.b0]) && is_sound(x, x->a, w.a0, w.a1) &&
		    is_sound(x, x->b, w.b0, w.b1))
			diff_chars(x, w);
		else
			emit(x, w);
	}
	return true;
}

/* ---- lines -------------------------------------------------------------------------------------- */

/* Lines that became others, not even alike. */
static void diff_block(struct diff_run *x, struct gap g)
{
	const struct cut *lines = &x->cuts[LEVEL_LINES];
	struct hunk h = gap_bytes(lines, g);
	uint32_t count = g.i1 - g.i0;

	if (h.a0 == h.a1 || h.b0 == h.b1) {
		emit(x, h);
		return;
	}
	if (diff_words(x, h))
		return;
	if (count != g.j1 - g.j0 || count == 1) {
		emit(x, h);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct gap line = {g.i0 + i, g.i0 + i + 1, g.j0 + i, g.j0 + i + 1};

		h = gap_bytes(lines, line);
		if (!diff_words(x, h))
			emit(x, h);
	}
}

/* A line's hash without its white space; blank lines are like no other. */
static uint64_t loose_hash(const struct diff_run *x, struct slice line, uint64_t unique)
{
	uint64_t h = x->table.seed;
	uint64_t word = 0;
	unsigned filled = 0;
	bool blank = true;

	for (size_t i = 0; i < line.len; i++) {
		if (line.data[i] <= ' ')
			continue;
		blank = false;
		word = word << 8 | line.data[i];
		if (++filled == sizeof(word)) {
			h = mix(h ^ word);
			filled = 0;
			word = 0;
		}
	}
	return blank ? unique : mix(mix(h ^ word) ^ filled);
}

static void cut_loose(struct diff_run *x, unsigned side, uint32_t from, uint32_t to,
		      uint64_t *hashes)
{
	const struct tokens *lines = &x->cuts[LEVEL_LINES].side[side];
	struct tokens *t = &x->cuts[LEVEL_LOOSE].side[side];
	const uint8_t *text = side ? x->b : x->a;

	start_tokens(t, lines->start[from]);
	for (uint32_t i = from; i < to; i++) {
		uint32_t start = lines->start[i];
		uint32_t end = lines->start[i + 1];

		*hashes = loose_hash(x, SLICE(text + start, end - start), 2 * (uint64_t)i + side);
		add_token(t, intern(&x->table, (const uint8_t *)hashes, sizeof(*hashes)), end);
		hashes++;
	}
}

static void diff_lines(struct diff_run *x, struct gap g)
{
	const struct diff_match_rules rules = {.reach = LINE_REACH, .greedy = true};
	struct cut *c = &x->cuts[LEVEL_LOOSE];
	size_t a_count = g.i1 - g.i0;
	size_t b_count = g.j1 - g.j0;
	struct gap at = {0, 0, 0, 0};

	if (a_count == 0 || b_count == 0 || a_count + b_count == 2) {
		diff_block(x, g);
		return;
	}
	AUTO(free_ptr) uint64_t *hashes = xreallocarray(NULL, a_count + b_count, sizeof(*hashes));
	table_reset(&x->table, 0);
	cut_loose(x, 0, g.i0, g.i1, hashes);
	cut_loose(x, 1, g.j0, g.j1, hashes + a_count);
	(void)match_cut(x, LEVEL_LOOSE, rules);
	for (uint32_t i = 0; i <= a_count; i++) {
		uint32_t match = i < a_count ? c->matches[i] : (uint32_t)b_count;

		if (match == DIFF_UNMATCHED)
			continue;
		diff_block(x, (struct gap){g.i0 + at.i0, g.i0 + i, g.j0 + at.j0, g.j0 + match});
		if (i < a_count)
			diff_block(x, (struct gap){g.i0 + i, g.i0 + i + 1, g.j0 + match,
						   g.j0 + match + 1});
		at.i0 = i + 1;
		at.j0 = match + 1;
	}
}

/* What both have at their ends, whole lines of it. */
static struct hunk without_common_ends(struct slice from, struct slice to)
{
	struct hunk h = {0, (uint32_t)from.len, 0, (uint32_t)to.len};

	while (h.a0 < h.a1 && h.b0 < h.b1 && from.data[h.a0] == to.data[h.b0]) {
		h.a0++;
		h.b0++;
	}
	if (h.a0 < h.a1 || h.b0 < h.b1) {
		while (h.a0 > 0 && from.data[h.a0 - 1] != '\n') {
			h.a0--;
			h.b0--;
		}
	}
	while (h.a1 > h.a0 && h.b1 > h.b0 && from.data[h.a1 - 1] == to.data[h.b1 - 1]) {
		h.a1--;
		h.b1--;
	}
	/* To where a line begins on both sides. */
	uint32_t end = line_end(from.data, h.a1, (uint32_t)from.len);
	h.b1 += end - h.a1;
	h.a1 = end;
	return h;
}

void diff_text(struct slice from, struct slice to, uint64_t budget, struct diff_edits *out)
{
	const struct diff_match_rules rules = {.reach = LINE_REACH, .greedy = true};
	struct hunk h = {0, 0, 0, 0};
	struct gap g = {0, 0, 0, 0};

	assert(from.len <= DIFF_BYTES_MAX && to.len <= DIFF_BYTES_MAX);
	if (slice_eq(from, to))
		return;
	h = without_common_ends(from, to);
	struct diff_run x = {
		.a = from.data,
		.b = to.data,
		.sound = slice_is_utf8(SLICE(from.data + h.a0, h.a1 - h.a0)) &&
			 slice_is_utf8(SLICE(to.data + h.b0, h.b1 - h.b0)),
		.budget = budget,
		.out = out,
		.first = out->count,
	};
	struct cut *lines = &x.cuts[LEVEL_LINES];
	table_reset(&x.table, 0);
	cut_lines(&x, &lines->side[0], x.a, h.a0, h.a1);
	cut_lines(&x, &lines->side[1], x.b, h.b0, h.b1);
	(void)match_cut(&x, LEVEL_LINES, rules);
	while (next_gap(lines, &g))
		diff_lines(&x, g);
	for (size_t i = 0; i < LEVELS; i++) {
		for (size_t side = 0; side < 2; side++) {
			free(x.cuts[i].side[side].start);
			free(x.cuts[i].side[side].ids);
		}
		free(x.cuts[i].matches);
	}
	free(x.table.kinds);
	free(x.table.slots);
}

void diff_edits_fini(struct diff_edits *e)
{
	free(e->items);
	*e = (struct diff_edits){0};
}

/* ---- sequences ---------------------------------------------------------------------------------- */

static uint32_t *intern_hashes(struct table *t, const uint64_t *hashes, size_t count)
{
	uint32_t *ids = xreallocarray(NULL, count, sizeof(*ids));

	for (size_t i = 0; i < count; i++)
		ids[i] = intern(t, (const uint8_t *)&hashes[i], sizeof(hashes[i]));
	return ids;
}

void diff_hashes(const uint64_t *from, size_t from_count, const uint64_t *to, size_t to_count,
		 uint64_t budget, struct diff_pairs *out)
{
	struct table t = {0};

	assert(from_count <= DIFF_BYTES_MAX && to_count <= DIFF_BYTES_MAX);
	table_reset(&t, 0);
	AUTO(free_ptr) uint32_t *a = intern_hashes(&t, from, from_count);
	AUTO(free_ptr) uint32_t *b = intern_hashes(&t, to, to_count);
	AUTO(free_ptr) uint32_t *matches = xreallocarray(NULL, from_count, sizeof(*matches));
	const struct diff_match_rules rules = {
		.kinds = t.count, .exact = DIFF_EXACT_MAX, .reach = DIFF_EXACT_MAX, .greedy = true};
	(void)diff_match((struct diff_seq){a, (uint32_t)from_count},
			 (struct diff_seq){b, (uint32_t)to_count}, &rules, &budget, matches);
	for (uint32_t i = 0; i < from_count; i++) {
		if (matches[i] == DIFF_UNMATCHED)
			continue;
		if (out->count == out->cap) {
			out->cap = out->cap ? out->cap * 2 : 16;
			out->items = xreallocarray(out->items, out->cap, sizeof(*out->items));
		}
		out->items[out->count++] = (struct diff_pair){i, matches[i]};
	}
	free(t.kinds);
	free(t.slots);
}

void diff_pairs_fini(struct diff_pairs *p)
{
	free(p->items);
	*p = (struct diff_pairs){0};
}
