/* core/json. Prints "ok NAME" for each test. */
#include "core/json.h"
#include "tests/unit/doc_helpers.h"

#include <stdio.h>
#include <string.h>

static void test_json_accepts(void)
{
	static const char *const texts[] = {
		"0",
		" -0 ",
		"1e400",
		"10000000000000000999",
		"-1.5E-7",
		"\"\"",
		"\"\\u00e9\\n\"",
		"\"\\ud83d\\ude00\"",
		"true",
		"null",
		"[]",
		"[[],{}]",
		"{}",
		"{\"a\":[{\"a\":1,\"b\":2}]}",
		"\xef\xbb\xbf{}",
		"\t\r\n 1 \n",
		"\"\x7f\"",
		"{\"\":{\"\":1}}",
		"\"\xf4\x8f\xbf\xbf\"",
		"\"\\u0000\"",
		"{\"a\":1,\"A\":1}",
		"[1,1]",
		"[{\"a\":1},{\"a\":1}]",
	};

	for (size_t i = 0; i < countof(texts); i++) {
		struct json j;

		CHECK(json_scan(SLICE_STR(texts[i]), &j, NULL) == 0);
		json_fini(&j);
	}
}

static void test_json_rejects(void)
{
	static const struct {
		const char *text;
		size_t line, column;
	} rows[] = {
		{"", 1, 1},
		{" ", 1, 2},
		{"01", 1, 2},
		{"1.", 1, 3},
		{".5", 1, 1},
		{"+1", 1, 1},
		{"1e", 1, 3},
		{"-", 1, 2},
		{"tru", 1, 1},
		{"truex", 1, 5},
		{"\"", 1, 2},
		{"\"\n\"", 1, 2},
		{"\"\\x\"", 1, 2},
		{"\"\\u12\"", 1, 2},
		{"\"\\ud800\"", 1, 2},
		{"\"\\udc00\"", 1, 2},
		{"\"\\ud800\\u0041\"", 1, 2},
		{"\"\xff\"", 1, 2},
		{"\"\xc0\x80\"", 1, 2},
		{"\"\xed\xa0\x80\"", 1, 2},
		{"\"\xf4\x90\x80\x80\"", 1, 2},
		{"[1,]", 1, 4},
		{"[1 2]", 1, 4},
		{"[", 1, 2},
		{"]", 1, 1},
		{"[}", 1, 2},
		{"{]", 1, 2},
		{"{\"a\"}", 1, 5},
		{"{\"a\":}", 1, 6},
		{"{\"a\":1,}", 1, 8},
		{"{a:1}", 1, 2},
		{"{\n\"a\":1\n\"b\":2}", 3, 1},
		{"{}{}", 1, 3},
		{"{\"a\":1,\"a\":2}", 1, 13},
		{"{\"a\":1,\"\\u0061\":2}", 1, 18},
		{"[{\"a\":1,\"a\":2}]", 1, 14},
		{"\xef\xbb\xbf", 1, 4},
		{" \xef\xbb\xbf{}", 1, 2},
		{"1 // x", 1, 3},
		{"NaN", 1, 1},
		{"\"a", 1, 3},
		{"\"\\", 1, 2},
		{"'a'", 1, 1},
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct json j;
		struct json_error e = {0};

		CHECK(json_scan(SLICE_STR(rows[i].text), &j, &e) == -EBADMSG);
		if (e.line != rows[i].line || e.column != rows[i].column)
			(void)fprintf(stderr, "'%s': %zu:%zu %s\n", rows[i].text, e.line, e.column,
				      e.what);
		CHECK(e.line == rows[i].line && e.column == rows[i].column && e.what);
		json_fini(&j);
	}
}

static void test_json_nodes(void)
{
	const char *text = " {\"a\" : [1, {\"x\":2}] ,\"\\u0062\":{\"c\":null}} ";
	struct json j;

	CHECK(json_scan(SLICE_STR(text), &j, NULL) == 0);
	CHECK(j.count == 7 && j.nodes[0].child_count == 2 && j.nodes[0].start == 1);
	CHECK(j.nodes[0].first_child == 1 && j.nodes[0].last_child == 5 && j.nodes[1].next == 5);
	CHECK(j.nodes[1].kind == JSON_ARRAY && j.nodes[1].child_count == 2);
	CHECK(j.nodes[2].kind == JSON_SCALAR && j.nodes[2].key_end == 0 && j.nodes[2].next == 3);
	CHECK(j.nodes[3].kind == JSON_OBJECT && j.nodes[4].parent == 3);
	CHECK(memcmp(text + j.nodes[1].start, "[1, {\"x\":2}]",
		     j.nodes[1].end - j.nodes[1].start) == 0);
	CHECK(memcmp(text + j.nodes[1].key_start, "\"a\"", 3) == 0);
	CHECK(slice_eq(j.nodes[5].key, SLICE_STR("b")) && j.nodes[6].parent == 5);
	json_fini(&j);
}

static void test_json_limits(void)
{
	struct json j;

	static const size_t depths[] = {DOC_DEPTH_MAX, DOC_DEPTH_MAX + 1, 10000, JSON_DEPTH_MAX,
					JSON_DEPTH_MAX + 1};
	for (size_t k = 0; k < countof(depths); k++) {
		AUTO(buf_fini) struct buf b = {0};
		size_t depth = depths[k];

		for (size_t i = 0; i < depth; i++)
			buf_u8(&b, '[');
		for (size_t i = 0; i < depth; i++)
			buf_u8(&b, ']');
		CHECK(json_scan(buf_slice(&b), &j, NULL) == (depth > JSON_DEPTH_MAX ? -EBADMSG : 0));
		if (depth > DOC_DEPTH_MAX && depth <= JSON_DEPTH_MAX) {
			CHECK(j.count == DOC_DEPTH_MAX + 1);
			CHECK(j.nodes[DOC_DEPTH_MAX].kind == JSON_DEEP);
			CHECK(j.nodes[DOC_DEPTH_MAX].end == b.len - DOC_DEPTH_MAX);
		}
		json_fini(&j);
	}
	/* Many keys, the last one twice. */
	for (size_t n = 1; n < 300000; n = n * 3 + 1) {
		AUTO(buf_fini) struct buf b = {0};

		buf_u8(&b, '{');
		for (size_t i = 0; i < n; i++)
			buf_printf(&b, "\"key%zu\":%zu,", i, i);
		buf_printf(&b, "\"key%zu\":0}", n);
		CHECK(json_scan(buf_slice(&b), &j, NULL) == 0);
		json_fini(&j);
		b.len -= 3;
		while (b.data[b.len - 1] != 'y')
			b.len--;
		buf_printf(&b, "%zu\":0}", n / 2);
		CHECK(json_scan(buf_slice(&b), &j, NULL) == -EBADMSG);
		json_fini(&j);
	}
}

static void test_json_same(void)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{"1", "1", true},
		{"1", "1.0", false},
		{"[1,2]", "[ 1 ,\n2 ]", true},
		{"[\"a b\"]", "[\"ab\"]", false},
		{"[\"a\\\" b\"]", "[ \"a\\\" b\" ]", true},
		{"[\"\\\\\", 1]", "[\"\\\\\",1]", true},
		{"[]", "[ ]", true},
		{"[1]", "[12]", false},
		{"[1,2]", "[12]", false},
		{"\"a\"", "\"\\u0061\"", false},
		{"[{\"a\": 1}]", "[{\"a\":1}]", true},
		{"[\"\\\" \"]", "[\"\\\"\"]", false},
	};

	for (size_t i = 0; i < countof(rows); i++) {
		CHECK(json_same(SLICE_STR(rows[i].a), SLICE_STR(rows[i].b)) == rows[i].same);
		CHECK(json_same(SLICE_STR(rows[i].b), SLICE_STR(rows[i].a)) == rows[i].same);
	}
}

int main(void)
{
	RUN(json_accepts);
	RUN(json_rejects);
	RUN(json_nodes);
	RUN(json_limits);
	RUN(json_same);
	return 0;
}
