/*
 * core/diff: what the edits make of the old text is the new one, on whatever it is tried; where they
 * may begin; that they are small; that nothing takes long. Prints "ok NAME" for each test.
 */
#include "core/diff.h"
#include "tests/unit/doc_helpers.h"

static uint64_t state = 1;

static uint32_t rnd(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

static bool is_boundary(struct slice s, size_t at)
{
	return at == s.len || (s.data[at] & 0xc0) != 0x80;
}

/* Nothing of a line that is not UTF-8 is kept beside an edit of it. */
static bool is_edge(struct slice s, bool sound, size_t at)
{
	size_t start = at;
	size_t end = at;

	if (sound)
		return is_boundary(s, at);
	if (at == 0 || at == s.len || s.data[at - 1] == '\n')
		return true;
	while (start > 0 && s.data[start - 1] != '\n')
		start--;
	while (end < s.len && s.data[end] != '\n')
		end++;
	return slice_is_utf8(SLICE(s.data + start, end - start)) && is_boundary(s, at);
}

static void check_edits(struct slice from, struct slice to, const struct diff_edits *e)
{
	AUTO(buf_fini) struct buf out = {0};
	bool from_sound = slice_is_utf8(from);
	bool to_sound = slice_is_utf8(to);
	size_t at = 0;

	for (size_t i = 0; i < e->count; i++) {
		const struct diff_edit *d = &e->items[i];

		CHECK(d->pos >= at && (i == 0 || d->pos > at));
		CHECK(d->len > 0 || d->text.len > 0);
		CHECK(d->pos + d->len <= from.len);
		CHECK(is_edge(from, from_sound, d->pos) &&
		      is_edge(from, from_sound, d->pos + d->len));
		if (i > 0 && d->pos - at < DIFF_JOIN_BYTES && out.len &&
		    out.data[out.len - 1] != '\n')
			CHECK(memchr(from.data + at, '\n', d->pos - at));
		buf_append(&out, from.data + at, d->pos - at);
		CHECK(is_edge(to, to_sound, out.len));
		CHECK(d->text.data == to.data + out.len);
		buf_slice_append(&out, d->text);
		CHECK(is_edge(to, to_sound, out.len));
		at = d->pos + d->len;
	}
	buf_append(&out, from.data + at, from.len - at);
	CHECK(slice_eq(buf_slice(&out), to));
}

/* Returns how many bytes the edits delete and insert. */
static size_t cost(struct slice from, struct slice to)
{
	AUTO(diff_edits_fini) struct diff_edits e = {0};
	AUTO(diff_edits_fini) struct diff_edits again = {0};
	size_t bytes = 0;

	diff_text(from, to, DIFF_BUDGET, &e);
	check_edits(from, to, &e);
	diff_text(from, to, DIFF_BUDGET, &again);
	CHECK(again.count == e.count);
	for (size_t i = 0; i < e.count; i++) {
		CHECK(e.items[i].pos == again.items[i].pos && e.items[i].len == again.items[i].len);
		bytes += e.items[i].len + e.items[i].text.len;
	}
	return bytes;
}

/* The edits as "pos-len+text" with a space between. */
static void expect_edits(const char *from, const char *to, const char *want)
{
	AUTO(diff_edits_fini) struct diff_edits e = {0};
	AUTO(buf_fini) struct buf got = {0};

	diff_text(SLICE_STR(from), SLICE_STR(to), DIFF_BUDGET, &e);
	check_edits(SLICE_STR(from), SLICE_STR(to), &e);
	for (size_t i = 0; i < e.count; i++) {
		buf_printf(&got, "%s%zu-%zu+", i ? " " : "", e.items[i].pos, e.items[i].len);
		buf_slice_append(&got, e.items[i].text);
	}
	if (strcmp(buf_str(&got), want) != 0) {
		(void)fprintf(stderr, "%s -> %s: %s, not %s\n", from, to, buf_str(&got), want);
		abort();
	}
}

static void test_small_edits(void)
{
	expect_edits("", "", "");
	expect_edits("", "a", "0-0+a");
	expect_edits("a", "", "0-1+");
	expect_edits("same\n", "same\n", "");
	expect_edits("milk\n", "milk\neggs\n", "5-0+eggs\n");
	expect_edits("b", "b\nc", "1-0+\nc");
	expect_edits("one two three\n", "one 2 three\n", "4-3+2");
	expect_edits("the colour of it\n", "the color of it\n", "8-1+");
	expect_edits("hel", "hello world", "3-0+lo world");
	/* Characters that happen to be shared do not tear words apart. */
	expect_edits("port: 8080\n", "port: 9090\n", "6-3+909");
	/* Two edits of one line stay two if enough stands between them. */
	expect_edits("alpha beta gamma\n", "ALPHA beta GAMMA\n", "0-5+ALPHA 11-5+GAMMA");
	expect_edits("a b c\n", "x b y\n", "0-5+x b y");
	/* Lines stay apart, however short. */
	expect_edits("a\nb\nc\n", "x\nb\ny\n", "0-1+x 4-1+y");
}

static void test_lines_are_anchors(void)
{
	expect_edits(
		"void f()\n{\n\tone();\n}\n\nvoid g()\n{\n\ttwo();\n}\n",
		"void f()\n{\n\tone();\n}\n\nvoid h()\n{\n\tnew();\n}\n\nvoid g()\n{\n\ttwo();\n}\n",
		"22-0+void h()\n{\n\tnew();\n}\n\n");
	/* A line that moved in: only the indentation is new. */
	expect_edits("if a:\nfoo(1)\nbar(2)\n", "if a:\n  foo(1)\n  bar(2)\n", "6-0+   13-0+  ");
	/* The first is gone, the second was changed. */
	expect_edits("remove this line\nkeep most of this\n", "keep all of this\n",
		     "0-17+ 22-4+all");
}

static void test_utf8_stays_whole(void)
{
	expect_edits("caf\xc3\xa9\n", "caf\xc3\xa8\n", "3-2+\xc3\xa8");
	expect_edits("\xe4\xb8\xad\xe6\x96\x87", "\xe4\xb8\xad\xe5\x9b\xbd\xe6\x96\x87",
		     "3-0+\xe5\x9b\xbd");
	expect_edits("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x81", "0-4+\xf0\x9f\x98\x81");
	/* The same last byte, another character. */
	expect_edits("\xc3\xa9", "\xc4\xa9", "0-2+\xc4\xa9");
}

static void test_broken_lines_are_replaced_whole(void)
{
	expect_edits("ok line\nbad \xff line\nok too\n", "ok line\nbad \xfe line\nok also\n",
		     "8-11+bad \xfe line\n 22-2+als");
	expect_edits("latin \xe9t\xe9 end\n", "latin \xe9t\xe9 END\n", "0-14+latin \xe9t\xe9 END\n");
	expect_edits("was fine\n", "was f\xffne\n", "0-9+was f\xffne\n");
}

static void test_crlf_flip(void)
{
	expect_edits("a\nb\nc\n", "a\r\nb\r\nc\r\n", "1-0+\r 3-0+\r 5-0+\r");
	expect_edits("a\r\nb\r\n", "a\nb\n", "1-1+ 4-1+");
}

/* ---- random ------------------------------------------------------------------------------------- */

static void random_text(struct buf *b, uint32_t tokens)
{
	static const char *const pieces[] = {
		"a",	 "b",	     "the ",
		"value", " = ",	     "{",
		"}",	 "\n",	     "\n",
		"\n\n",	 "\t",	     "  ",
		"1",	 "42",	     ";",
		"\r\n",	 "\xc3\xa9", "\xe4\xb8\xad",
		"\xff",	 "\xc3",     "\x80",
		"",	 "x_y",	     ", ",
		"(",	 ")",	     "\xf0\x9f\x98\x80",
	};
	uint32_t kinds = rnd(countof(pieces)) + 1;
	bool broken = rnd(4) == 0;

	buf_clear(b);
	while (tokens-- > 0) {
		const char *p = pieces[rnd(kinds)];

		if (broken || slice_is_utf8(SLICE_STR(p)))
			buf_append(b, p, strlen(p));
	}
}

static void mutate(const struct buf *from, struct buf *to)
{
	AUTO(buf_fini) struct buf extra = {0};
	size_t at = 0;

	buf_clear(to);
	for (uint32_t n = rnd(6); n > 0; n--) {
		size_t keep = from->len > at ? rnd((uint32_t)(from->len - at) + 1) : 0;
		size_t skip = from->len > at + keep && rnd(2)
				      ? rnd((uint32_t)(from->len - at - keep) / 4 + 2)
				      : 0;

		buf_append(to, from->data + at, keep);
		at += keep + skip > from->len - at ? from->len - at : keep + skip;
		random_text(&extra, rnd(5));
		buf_slice_append(to, buf_slice(&extra));
	}
	buf_append(to, from->data + at, from->len - at);
}

static void test_random_texts(void)
{
	AUTO(buf_fini) struct buf a = {0};
	AUTO(buf_fini) struct buf b = {0};

	for (uint32_t i = 0; i < 4000; i++) {
		AUTO(diff_edits_fini) struct diff_edits e = {0};

		state = seed_now = i + 1;
		random_text(&a, rnd(120));
		if (rnd(4))
			mutate(&a, &b);
		else
			random_text(&b, rnd(120));
		(void)cost(buf_slice(&a), buf_slice(&b));
		diff_text(buf_slice(&a), buf_slice(&b), rnd(50), &e);
		check_edits(buf_slice(&a), buf_slice(&b), &e);
	}
	seed_now = 0;
}

/* ---- large -------------------------------------------------------------------------------------- */

enum {
	LINES = 100000
};

static void numbered(struct buf *b, const char *format, bool reverse)
{
	buf_clear(b);
	for (uint32_t i = 0; i < LINES; i++) {
		uint32_t n = reverse ? LINES - 1 - i : i;

		buf_printf(b, "%u %s %u of a file of many lines\n", n, format, n * 7);
	}
}

static void test_large_different(void)
{
	AUTO(buf_fini) struct buf a = {0};
	AUTO(buf_fini) struct buf b = {0};

	numbered(&a, "line", false);
	numbered(&b, "line", true);
	(void)cost(buf_slice(&a), buf_slice(&b));
	/* One word in each line. */
	numbered(&b, "row", false);
	CHECK(cost(buf_slice(&a), buf_slice(&b)) == LINES * 7);
	buf_clear(&b);
	for (uint32_t i = 0; i < LINES; i++)
		buf_printf(&b, "%08x%08x%08x%08x\n", rnd(UINT32_MAX), i, rnd(9), rnd(UINT32_MAX));
	CHECK(cost(buf_slice(&a), buf_slice(&b)) <= a.len + b.len);
}

static void test_large_equal_lines(void)
{
	AUTO(buf_fini) struct buf a = {0};
	AUTO(buf_fini) struct buf b = {0};

	for (uint32_t i = 0; i < LINES; i++) {
		buf_printf(&a, "all lines are equal\n");
		buf_printf(&b, "%s", i % 2 ? "all lines are equal\n" : "not all\n");
	}
	(void)cost(buf_slice(&a), buf_slice(&b));
	buf_clear(&b);
	buf_append(&b, a.data, a.len / 2);
	CHECK(cost(buf_slice(&a), buf_slice(&b)) == a.len - b.len);
	/* Few kinds of line, a few hundred edits: found although no line is unique. */
	buf_clear(&a);
	buf_clear(&b);
	for (uint32_t i = 0; i < LINES; i++) {
		uint32_t kind = rnd(20);

		buf_printf(&a, "kind %u\n", kind);
		buf_printf(&b, "kind %u\n", i % 500 ? kind : kind + 1);
	}
	CHECK(cost(buf_slice(&a), buf_slice(&b)) <= 200 * 6);
}

static void test_large_one_line(void)
{
	AUTO(buf_fini) struct buf a = {0};
	AUTO(buf_fini) struct buf b = {0};

	for (uint32_t i = 0; i < 60000; i++) {
		buf_printf(&a, "{\"k%u\":%u},", i, rnd(100));
		buf_printf(&b, "{\"k%u\":%u},", i, i % 1000 ? rnd(1) + 7 : 1000);
	}
	(void)cost(buf_slice(&a), buf_slice(&b));
	b.len = 0;
	buf_append(&b, a.data, a.len);
	b.data[5] = 'X';
	b.data[b.len - 6] = 'X';
	CHECK(cost(buf_slice(&a), buf_slice(&b)) < 100);
	/* Without anything to cut at. */
	for (size_t i = 0; i < a.len; i++) {
		a.data[i] = (uint8_t)('a' + rnd(26));
		b.data[i] = (uint8_t)('a' + rnd(26));
	}
	(void)cost(buf_slice(&a), buf_slice(&b));
	memset(a.data, '\n', a.len);
	memset(b.data, '{', b.len);
	(void)cost(buf_slice(&a), buf_slice(&b));
	for (size_t i = 0; i < b.len; i++)
		b.data[i] = rnd(2) ? '\n' : '{';
	(void)cost(buf_slice(&a), buf_slice(&b));
}

/* ---- sequences ---------------------------------------------------------------------------------- */

static size_t lcs(const uint64_t *a, size_t n, const uint64_t *b, size_t m)
{
	AUTO(free_ptr) size_t *row = xcalloc(m + 1, sizeof(*row));

	for (size_t i = 0; i < n; i++) {
		size_t diagonal = 0;

		for (size_t j = 0; j < m; j++) {
			size_t up = row[j + 1];
			size_t best = up > row[j] ? up : row[j];

			row[j + 1] = a[i] == b[j] ? diagonal + 1 : best;
			diagonal = up;
		}
	}
	return row[m];
}

static void check_pairs(const uint64_t *a, const uint64_t *b, const struct diff_pairs *p)
{
	for (size_t i = 0; i < p->count; i++) {
		CHECK(a[p->items[i].from] == b[p->items[i].to]);
		CHECK(i == 0 || (p->items[i].from > p->items[i - 1].from &&
				 p->items[i].to > p->items[i - 1].to));
	}
}

static void test_hashes_find_the_longest(void)
{
	uint64_t a[300];
	uint64_t b[300];

	for (uint32_t i = 0; i < 800; i++) {
		AUTO(diff_pairs_fini) struct diff_pairs p = {0};
		AUTO(diff_pairs_fini) struct diff_pairs short_of = {0};

		state = seed_now = i + 1;
		size_t n = rnd(300);
		size_t m = rnd(300);
		uint32_t kinds = rnd(rnd(2) ? 4 : 300) + 1;
		for (size_t k = 0; k < n; k++)
			a[k] = rnd(kinds) * 0x9e3779b97f4a7c15u;
		for (size_t k = 0; k < m; k++)
			b[k] = rnd(4) && k < n ? a[k] : rnd(kinds) * 0x9e3779b97f4a7c15u;
		diff_hashes(a, n, b, m, DIFF_BUDGET, &p);
		check_pairs(a, b, &p);
		CHECK(p.count == lcs(a, n, b, m));
		diff_hashes(a, n, b, m, rnd(2000), &short_of);
		check_pairs(a, b, &short_of);
		CHECK(short_of.count <= p.count);
	}
	seed_now = 0;
}

static void test_large_hashes(void)
{
	enum {
		COUNT = 200000
	};
	AUTO(free_ptr) uint64_t *a = xcalloc(COUNT, sizeof(*a));
	AUTO(free_ptr) uint64_t *b = xcalloc(COUNT, sizeof(*b));

	for (unsigned kind = 0; kind < 4; kind++) {
		AUTO(diff_pairs_fini) struct diff_pairs p = {0};

		for (uint32_t i = 0; i < COUNT; i++)
			a[i] = kind == 0 ? i : rnd(kind == 1 ? 2 : COUNT);
		for (uint32_t i = 0; i < COUNT; i++) {
			b[i] = kind == 0 ? COUNT - i : kind == 3 ? a[(i + 77) % COUNT] : rnd(3);
		}
		diff_hashes(a, COUNT, b, COUNT, DIFF_BUDGET, &p);
		check_pairs(a, b, &p);
		CHECK(kind != 3 || p.count >= COUNT - 77);
	}
}

int main(void)
{
	RUN(small_edits);
	RUN(lines_are_anchors);
	RUN(utf8_stays_whole);
	RUN(broken_lines_are_replaced_whole);
	RUN(crlf_flip);
	RUN(random_texts);
	RUN(large_different);
	RUN(large_equal_lines);
	RUN(large_one_line);
	RUN(hashes_find_the_longest);
	RUN(large_hashes);
	return 0;
}
