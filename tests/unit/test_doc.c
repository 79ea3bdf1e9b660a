/* core/doc, by example; test_doc_random.c has its random tests. Prints "ok NAME" for each test. */
#include "core/doc.h"
#include "tests/unit/doc_helpers.h"

#include <string.h>

/* A save of JSON over what is there; the operations are dropped. */
static void save(struct replica *r, const char *text)
{
	AUTO(ops_fini) struct ops ops = {0};

	(void)save_on(r, r->doc, SLICE_STR(text), true, &ops);
	expect_text(r->doc, text);
}

static struct replica replica_copy(const struct replica *from, uint64_t actor)
{
	struct replica r = *from;

	r.doc = doc_clone(from->doc);
	r.actor = actor;
	return r;
}

static size_t count_kind(const struct ops *ops, enum op_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < ops->count; i++)
		n += ops->items[i].kind == kind;
	return n;
}

struct losers {
	struct buf text; /* "path=value;" each */
	size_t count;
};

static void collect_loser(void *ctx, const struct doc_loser *l)
{
	struct losers *all = ctx;

	if (l->raw)
		buf_append(&all->text, "RAW", 3);
	doc_path_text(l->path, &all->text);
	buf_u8(&all->text, '=');
	buf_slice_append(&all->text, l->value);
	buf_u8(&all->text, ';');
	all->count++;
}

static void expect_losers(const struct doc *d, const char *want)
{
	struct losers all = {0};

	doc_losers(d, collect_loser, &all);
	if (strcmp(buf_str(&all.text), want) != 0)
		show("losers", buf_slice(&all.text));
	CHECK(strcmp(buf_str(&all.text), want) == 0);
	CHECK(doc_conflict_count(d) == all.count);
	buf_fini(&all.text);
}

/* ---- doc: one replica ---- */

/* Each text is saved after the one before, on one document. */
static void test_doc_saves_come_back(void)
{
	static const char *const texts[] = {
		"{\"a\":1}",
		"{ \"a\" : 1 }",
		"{\"a\":1,\"b\":2}",
		"{\"b\":2,\"a\":1}",
		"{\"b\":2}\n",
		"{}",
		"{\n}",
		"\xef\xbb\xbf{\"a\":1}\r\n",
		"{\r\n  \"a\": 1,\r\n  \"b\": {}\r\n}",
		"{broken",
		"",
		"{\"a\":1,\"a\":2}",
		"[1,2,3]",
		"[1, 2 ,3]",
		"\"text\"",
		" 17 ",
		"null\n\n",
		"{\"\\u00e9\":1}",
		"{\"\xc3\xa9\":1}",
		"{\"e\xcc\x81\":1,\"\xc3\xa9\":2}",
		"{\"n\":1e400}",
		"{\"n\":10000000000000000999, \"m\":-0, \"o\":1.000000000000000005}",
		"{\"a\":{\"b\":{\"c\":{}}}}",
		"{\"a\":{\"b\":{\"c\":1}}}",
		"{\"a\":7}",
		"{\"a\":{\"b\":1},\"a.b\":2,\"\":3,\"\\n\":4}",
		"not json",
		"{\"a\":[ {\"x\":1} ]}",
		"\xff\xfe",
		"{\"a\":[{\"x\":1}]}",
		"// comment\n{\"a\":1}",
		"{\"a\":1}",
	};
	struct replica r = replica_new(1);

	for (size_t i = 0; i < countof(texts); i++) {
		save(&r, texts[i]);
		expect_round_trip(r.doc);
		for (size_t k = 0; k < countof(texts); k++) {
			struct replica copy = replica_copy(&r, 1);

			save(&copy, texts[k]);
			replica_fini(&copy);
		}
	}
	replica_fini(&r);
}

static void test_doc_no_op_save_adds_nothing(void)
{
	static const char *const texts[] = {"{\"a\": 1}", "{ \"a\" :1,\"b\":{}}", "[ 1]", "oops",
					    "",		  "{\n  \"a\": 1\n}\n"};

	for (size_t i = 0; i < countof(texts); i++) {
		AUTO(ops_fini) struct ops ops = {0};
		struct replica r = replica_new(1);

		save(&r, texts[i]);
		CHECK(!save_on(&r, r.doc, SLICE_STR(texts[i]), true, &ops));
		replica_fini(&r);
	}
}

static void test_doc_empty_file(void)
{
	struct replica r = replica_new(1);
	AUTO(ops_fini) struct ops none = {0};
	AUTO(ops_fini) struct ops raw = {0};
	AUTO(ops_fini) struct ops again = {0};

	CHECK(doc_mode(r.doc) == DOC_EMPTY);
	CHECK(!save_on(&r, r.doc, SLICE("", 0), true, &none));
	CHECK(save_on(&r, r.doc, SLICE("", 0), false, &raw));
	CHECK(raw.count == 1 && raw.items[0].kind == OP_RAW && doc_mode(r.doc) == DOC_RAW);
	CHECK(!save_on(&r, r.doc, SLICE("", 0), false, &again));
	replica_fini(&r);
}

static void test_doc_text_records_stay_raw(void)
{
	struct replica r = replica_new(1);
	AUTO(ops_fini) struct ops first = {0};
	AUTO(ops_fini) struct ops second = {0};

	CHECK(save_on(&r, r.doc, SLICE_STR("{\"a\":1}"), false, &first));
	CHECK(save_on(&r, r.doc, SLICE_STR("{\"a\":2}"), false, &second));
	CHECK(second.count == 1 && second.items[0].kind == OP_TEXT &&
	      second.items[0].pred_count == 1);
	expect_text(r.doc, "{\"a\":2}");
	replica_fini(&r);
}

/* What tools make of an edit must not need the layout again. */
static void test_doc_tools_need_no_layout(void)
{
	static const struct {
		const char *before, *after;
		size_t ops;
	} rows[] = {
		/* Compact, as jq -c and JSON.stringify. */
		{"{\"a\":1,\"b\":2}\n", "{\"a\":1,\"b\":3}\n", 1},
		{"{\"a\":1,\"b\":2}\n", "{\"a\":1,\"b\":2,\"c\":3}\n", 1},
		{"{\"a\":1,\"b\":2}", "{\"b\":2}", 1},
		{"{\"a\":1,\"b\":2}", "{\"a\":1}", 1},
		{"{\"a\":1}", "{\"a\":1,\"b\":2}", 1},
		{"{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1,\"c\":3}", 1},
		{"{\"a\":1,\"b\":{\"x\":1}}", "{\"a\":1,\"b\":{\"x\":1},\"c\":{\"y\":{\"z\":1}}}", 1},
		{"{\"a\":1,\"b\":{}}", "{\"a\":1,\"b\":{\"x\":1,\"y\":[1,2]}}", 2},
		{"{\"a\":1,\"b\":2,\"c\":3}", "{\"d\":4}", 4},
		{"{\"a\":1}", "{}", 1},
		/* One line, as python's json.dump. */
		{"{\"a\": 1, \"b\": 2}", "{\"a\": 1, \"b\": 2, \"c\": \"x\"}", 1},
		{"{\"a\": 1}", "{\"a\": 1, \"b\": {\"c\": 1, \"d\": {}}}", 1},
		{"{\"a\": 1, \"b\": 2}", "{\"b\": 2}", 1},
		{"{\"a\": {\"b\": {\"c\": 1}}}", "{\"a\": {\"b\": {\"c\": 1, \"d\": 2}}}", 1},
		{"{\"a\": {\"b\": {\"c\": 1}}}", "{\"a\": {\"b\": {}}}", 1},
		/* Indented by two, as jq. */
		{"{\n  \"a\": 1,\n  \"b\": 2\n}\n", "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}\n",
		 1},
		{"{\n  \"a\": 1,\n  \"b\": 2\n}\n", "{\n  \"b\": 2\n}\n", 1},
		{"{\n  \"a\": 1,\n  \"b\": 2\n}\n", "{\n  \"a\": 1\n}\n", 1},
		{"{\n  \"a\": 1\n}\n", "{\n  \"a\": 1,\n  \"b\": 2\n}\n", 1},
		{"{\n  \"a\": 1\n}\n", "{}\n", 1},
		{"{}\n", "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": []\n  }\n}\n", 2},
		{"{\n  \"a\": {\n    \"b\": 1\n  }\n}\n",
		 "{\n  \"a\": {\n    \"b\": 1\n  },\n  \"c\": {\n    \"d\": {\n      \"e\": {}\n    }\n  }\n}\n",
		 1},
		{"{\n  \"a\": {},\n  \"b\": 1\n}\n",
		 "{\n  \"a\": {\n    \"x\": 1,\n    \"y\": 2\n  },\n  \"b\": 1\n}\n", 2},
		{"{\n  \"a\": [\n    1\n  ]\n}\n", "{\n  \"a\": [\n    1,\n    2\n  ]\n}\n", 1},
		{"{\n  \"a\": 1,\n  \"b\": 2\n}\n",
		 "{\n  \"a\": {\n    \"x\": 1\n  },\n  \"b\": 2\n}\n", 1},
		{"{\n  \"a\": {\n    \"x\": 1\n  },\n  \"b\": 2\n}\n",
		 "{\n  \"a\": null,\n  \"b\": 2\n}\n", 1},
		/* By four, and tabs, CRLF, a byte order mark. */
		{"{\n    \"a\": 1\n}",
		 "{\n    \"a\": 1,\n    \"b\": {\n        \"c\": {\n            \"d\": 1\n        }\n    }\n}",
		 1},
		{"{\n    \"a\": {}\n}", "{\n    \"a\": {\n        \"c\": 1\n    }\n}", 1},
		{"{\n\t\"a\": {}\n}", "{\n\t\"a\": {\n\t\t\"c\": 1\n\t},\n\t\"d\": {}\n}", 2},
		{"\xef\xbb\xbf{\r\n  \"a\": {}\r\n}\r\n",
		 "\xef\xbb\xbf{\r\n  \"a\": {\r\n    \"c\": 1\r\n  },\r\n  \"d\": 1\r\n}\r\n", 2},
		/* One record a line. */
		{"{\n \"u1\": {\"n\": 1, \"m\": 2},\n \"u2\": {\"n\": 1, \"m\": 2}\n}",
		 "{\n \"u1\": {\"n\": 1, \"m\": 2},\n \"u2\": {\"n\": 1, \"m\": 2},\n \"u3\": {\"n\": 1, \"m\": 2}\n}",
		 1},
		{"[1,2]\n", "[1,2,3]\n", 1},
		{"7\n", "8\n", 1},
	};

	for (size_t i = 0; i < countof(rows); i++) {
		AUTO(ops_fini) struct ops ops = {0};
		struct replica r = replica_new(1);

		save(&r, rows[i].before);
		CHECK(save_on(&r, r.doc, SLICE_STR(rows[i].after), true, &ops));
		expect_text(r.doc, rows[i].after);
		CHECK(count_kind(&ops, OP_LAYOUT) == 0 && count_kind(&ops, OP_RAW) == 0);
		CHECK(count_kind(&ops, OP_SPACE) == 0);
		CHECK(ops.count == rows[i].ops);
		replica_fini(&r);
	}
}

static void test_doc_new_file_in_jq_form_needs_no_layout(void)
{
	AUTO(ops_fini) struct ops ops = {0};
	struct replica r = replica_new(1);

	CHECK(save_on(&r, r.doc, SLICE_STR("{\n  \"a\": {\n    \"b\": 1\n  },\n  \"c\": {}\n}\n"),
		      true, &ops));
	CHECK(ops.count == 1 && ops.items[0].kind == OP_SET);
	replica_fini(&r);
}

static void test_doc_order_survives_edits(void)
{
	struct replica r = replica_new(1);

	/* No layout at all, then one that lacks b and c. */
	save(&r, "{\n  \"z\": 1,\n  \"b\": 2,\n  \"c\": 3\n}\n");
	save(&r, "{\n  \"z\": 9,\n  \"b\": 2,\n  \"c\": 3\n}\n");
	save(&r, "{\n  \"z\": 9,\n  \"b\": 8,\n  \"c\": 3\n}\n");
	struct replica q = replica_new(1);
	save(&q, "{\"a\":1}");
	save(&q, "{\"a\":1,\"c\":1}");
	save(&q, "{\"a\":1,\"c\":1,\"b\":1}");
	AUTO(ops_fini) struct ops ops = {0};
	CHECK(save_on(&q, q.doc, SLICE_STR("{\"a\":1,\"c\":5,\"b\":1}"), true, &ops));
	CHECK(ops.count == 1 && ops.items[0].kind == OP_SET && !ops.items[0].has_place);
	expect_text(q.doc, "{\"a\":1,\"c\":5,\"b\":1}");
	replica_fini(&q);
	replica_fini(&r);
}

static void test_doc_reformat_sets_nothing(void)
{
	AUTO(ops_fini) struct ops ops = {0};
	struct replica r = replica_new(1);

	save(&r, "{\"a\":1,\"b\":[1,2]}");
	CHECK(save_on(&r, r.doc, SLICE_STR("{ \"a\": 1,\n\"b\": [1,\n2] }"), true, &ops));
	CHECK(count_kind(&ops, OP_LAYOUT) + count_kind(&ops, OP_SPACE) == ops.count);
	expect_text(r.doc, "{ \"a\": 1,\n\"b\": [1,\n2] }");
	replica_fini(&r);
}

/* ---- doc: two replicas ---- */

/* Both edit `start`, concurrently, and hear of each other. Either order gives the same. */
struct pair {
	struct replica a, b;
	struct ops from_a, from_b;
};

static struct pair pair_edit(const char *start, const char *a, const char *b)
{
	struct pair p = {.a = replica_new(1)};

	save(&p.a, start);
	p.b = replica_copy(&p.a, 2);
	p.b.hlc += 100; /* b wins */
	(void)save_on(&p.a, p.a.doc, SLICE_STR(a), true, &p.from_a);
	(void)save_on(&p.b, p.b.doc, SLICE_STR(b), true, &p.from_b);
	uint64_t hlc_a = p.a.hlc;
	deliver(&p.a, &p.from_b, 2, p.b.hlc);
	deliver(&p.b, &p.from_a, 1, hlc_a);
	expect_same_state(p.a.doc, p.b.doc);
	return p;
}

static void pair_fini(struct pair *p)
{
	replica_fini(&p->a);
	replica_fini(&p->b);
	ops_fini(&p->from_a);
	ops_fini(&p->from_b);
}

static void test_doc_merges(void)
{
	static const struct {
		const char *start, *a, *b, *merged, *losers;
	} rows[] = {
		{"{\"a\":1,\"b\":2}", "{\"a\":5,\"b\":2}", "{\"a\":1,\"b\":6}", "{\"a\":5,\"b\":6}",
		 ""},
		{"{\"a\":1}", "{\"a\":5}", "{\"a\":6}", "{\"a\":6}", "a=5;"},
		{"{\"a\":1}", "{\"a\":5}", "{\"a\":5}", "{\"a\":5}", ""},
		{"{\"a\":1}", "{\"a\":1,\"x\":1}", "{\"a\":1,\"y\":2}", "{\"a\":1,\"x\":1,\"y\":2}",
		 ""},
		{"{\"a\":1,\"b\":2}", "{\"a\":1}", "{\"a\":1,\"b\":3}", "{\"a\":1,\"b\":3}", ""},
		{"{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}", "{\"a\":1}", "{\"a\":1,\"b\":3}", ""},
		{"{\"a\":1,\"b\":2}", "{\"a\":1}", "{\"b\":2}", "{}", ""},
		/* An object is deleted or replaced while a member is edited. */
		{"{\"o\":{\"x\":1,\"y\":2}}", "{}", "{\"o\":{\"x\":1,\"y\":3}}",
		 "{\"o\":{\"y\":3}}", ""},
		{"{\"o\":{\"x\":1,\"y\":2}}", "{\"o\":{\"x\":1,\"y\":3}}", "{}",
		 "{\"o\":{\"y\":3}}", ""},
		{"{\"o\":{\"x\":1,\"y\":2}}", "{\"o\":7}", "{\"o\":{\"x\":1,\"y\":3}}",
		 "{\"o\":{\"x\":1,\"y\":3}}", "o=7;"},
		{"{\"o\":{\"x\":1,\"y\":2}}", "{\"o\":{\"x\":1,\"y\":3}}", "{\"o\":7}", "{\"o\":7}",
		 "o.y=3;"},
		{"{\"o\":1}", "{\"o\":{\"x\":1}}", "{\"o\":{\"y\":1}}", "{\"o\":{\"x\":1,\"y\":1}}",
		 ""},
		{"{\"o\":1}", "{\"o\":{\"x\":1}}", "{\"o\":2}", "{\"o\":2}", "o=;o.x=1;"},
		{"{\"o\":1}", "{\"o\":2}", "{\"o\":{\"x\":1}}", "{\"o\":{\"x\":1}}", "o=2;"},
		/* A reformats, B edits. */
		{"{\"a\":1,\"b\":2}", "{ \"a\": 1,\n \"b\": 2 }\n", "{\"a\":1,\"b\":[3, 4]}",
		 "{ \"a\": 1,\n \"b\": [3, 4] }\n", ""},
		{"{\"a\":1,\"b\":2}", "{ \"a\": 1,\n \"b\": 2 }\n", "{\"a\":1,\"b\":2,\"c\":3}",
		 "{ \"a\": 1,\n \"b\": 2,\n \"c\": 3 }\n", ""},
		/* New files at the same time. */
		{"", "{\n  \"a\": 1\n}\n", "{\n  \"b\": 2\n}\n", "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
		 ""},
		/* A breaks it, B edits a field. */
		{"{\"a\":1}", "{\"a\":1", "{\"a\":2}", "{\"a\":1", "a=2;"},
		{"{\"a\":1}", "{\"a\":2}", "{\"a\":1", "{\"a\":1", "a=2;"},
		{"{\"a\":1}", "{\"a\":", "{\"a\"", "{\"a\"", "RAW={\"a\":;"},
		{"{\"a\":", "{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":1}", NULL},
		{"{\"a\":", "{\"a\":1}", "{\"b\":", "{\"b\":", "a=1;"},
		{"[1,2]", "[1,2,3]", "{\"a\":1}", "{\"a\":1}", "=[1,2,3];"},
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct pair p = pair_edit(rows[i].start, rows[i].a, rows[i].b);

		if (rows[i].losers) {
			expect_text(p.a.doc, rows[i].merged);
			expect_losers(p.a.doc, rows[i].losers);
		}
		expect_round_trip(p.a.doc);
		pair_fini(&p);
	}
}

static void test_doc_stale_save_keeps_remote_edit(void)
{
	AUTO(ops_fini) struct ops remote = {0};
	AUTO(ops_fini) struct ops stale = {0};
	struct replica a = replica_new(1);

	save(&a, "{\"a\":1,\"b\":2,\"c\":3}");
	struct doc *read_before = doc_clone(a.doc);
	struct replica b = replica_copy(&a, 2);
	CHECK(save_on(&b, b.doc, SLICE_STR("{\"a\":1,\"b\":20,\"c\":30}"), true, &remote));
	deliver(&a, &remote, 2, b.hlc);
	CHECK(save_on(&a, read_before, SLICE_STR("{\"a\":10,\"b\":2,\"c\":31}"), true, &stale));
	CHECK(stale.count == 2);
	expect_text(a.doc, "{\"a\":10,\"b\":20,\"c\":31}");
	expect_losers(a.doc, "c=30;");
	/* Writing the shown value says nothing about the loser; another value settles it. */
	save(&a, "{\"a\":11,\"b\":20,\"c\":31}");
	expect_losers(a.doc, "c=30;");
	save(&a, "{\"a\":11,\"b\":20,\"c\":32}");
	expect_losers(a.doc, "");
	doc_destroy(read_before);
	replica_fini(&a);
	replica_fini(&b);
}

static void test_doc_repair_brings_the_edit_back(void)
{
	struct pair p = pair_edit("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2,,}", "{\"a\":1,\"b\":20}");
	struct replica editor = replica_new(1);
	AUTO(ops_fini) struct ops repair = {0};

	expect_text(p.a.doc, "{\"a\":1,\"b\":2,,}");
	CHECK(doc_mode(p.a.doc) == DOC_RAW);
	/* Whoever broke the text had seen the first 2, but not the edit. */
	expect_losers(p.a.doc, "b=20;");
	expect_losers(p.b.doc, "b=20;");
	expect_round_trip(p.a.doc);
	/* The program repairs the text it wrote itself, before it heard of the edit. */
	save(&editor, "{\"a\":1,\"b\":2}");
	doc_destroy(editor.doc);
	editor = replica_new(1);
	AUTO(ops_fini) struct ops start = {0};
	CHECK(save_on(&editor, editor.doc, SLICE_STR("{\"a\":1,\"b\":2}"), true, &start));
	deliver(&editor, &p.from_a, 1, 1002);
	CHECK(save_on(&p.a, editor.doc, SLICE_STR("{\"a\":7,\"b\":2}"), true, &repair));
	CHECK(count_kind(&repair, OP_UNRAW) == 1 && repair.count == 2);
	expect_text(p.a.doc, "{\"a\":7,\"b\":20}");
	deliver(&p.b, &repair, 1, p.a.hlc);
	expect_same_state(p.a.doc, p.b.doc);
	replica_fini(&editor);
	pair_fini(&p);
}

static void test_doc_later_write_beats_a_fast_clock(void)
{
	AUTO(ops_fini) struct ops remote = {0};
	struct replica a = replica_new(1);

	save(&a, "{\"o\":{\"x\":1},\"p\":1}");
	struct replica b = replica_copy(&a, 2);
	b.hlc += 1000000;
	CHECK(save_on(&b, b.doc, SLICE_STR("{\"o\":{\"x\":2},\"p\":2}"), true, &remote));
	uint64_t slow = a.hlc;
	deliver(&a, &remote, 2, b.hlc);
	static const char *const texts[] = {"{\"o\":{\"x\":3},\"p\":3}",
					    "{\"o\":4}",
					    "{\"o\":{}}",
					    "{\"o\":{\"x\":1}}",
					    "[1]",
					    "{}",
					    "{\"o\":5}"};
	for (size_t i = 0; i < countof(texts); i++) {
		a.hlc = slow;
		save(&a, texts[i]);
		expect_losers(a.doc, "");
	}
	replica_fini(&a);
	replica_fini(&b);
}

/* A hidden text sibling with a fast clock must not pop up when the newest member is edited. */
static void test_doc_slow_clock_under_a_hidden_text(void)
{
	struct pair p =
		pair_edit("{\"o\":{\"x\":1,\"y\":2}}", "{\"o\":7}", "{\"o\":{\"x\":5,\"y\":2}}");

	expect_text(p.a.doc, "{\"o\":{\"x\":5,\"y\":2}}");
	for (int i = 0; i < 2; i++) {
		p.a.hlc = 1;
		save(&p.a, i ? "{\"o\":{}}" : "{\"o\":{\"x\":6}}");
	}
	pair_fini(&p);
}

static void test_doc_apply_is_idempotent(void)
{
	struct replica a = replica_new(1);
	struct replica b = replica_new(2);
	struct ops log[6] = {{0}};
	static const char *const texts[] = {"{\"a\":1,\"b\":2}", "{\"a\":2}",	       "oops",
					    "{\"a\":3,\"c\":4}", "{ \"a\":3,\"c\":4}", "[]"};

	for (size_t i = 0; i < countof(texts); i++) {
		CHECK(save_on(&a, a.doc, SLICE_STR(texts[i]), true, &log[i]));
		for (size_t k = 0; k <= i; k++)
			deliver(&b, &log[k], 1, 1001 + k);
		expect_same_state(a.doc, b.doc);
	}
	for (size_t i = 0; i < countof(texts); i++)
		ops_fini(&log[i]);
	replica_fini(&a);
	replica_fini(&b);
}

static void test_doc_ignores_malformed_operations(void)
{
	struct replica r = replica_new(1);
	static const char *const values[] = {"",    " 1", "1 ", "{", "1,2", "tru", "\357\273\2771",
					     "1\n", "[1}"};
	static const char *const paths[] = {"\005ab", "\x80",
					    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"};
	struct op op = {.kind = OP_SET,
			.value_kind = VALUE_TEXT,
			.path = SLICE("\x02"
				      "a",
				      2)};

	save(&r, "{\"a\":1}");
	AUTO(buf_fini) struct buf before = encode(r.doc);
	for (size_t i = 0; i < countof(values); i++) {
		op.value = SLICE_STR(values[i]);
		doc_apply(r.doc, &op, (struct opid){100 + i, 9}, 5000);
	}
	op.value = SLICE_STR("1");
	for (size_t i = 0; i < countof(paths); i++) {
		op.path = SLICE_STR(paths[i]);
		doc_apply(r.doc, &op, (struct opid){100 + i, 9}, 5000);
	}
	AUTO(buf_fini) struct buf after = encode(r.doc);
	CHECK(slice_eq(buf_slice(&before), buf_slice(&after)));
	/* A layout that is no JSON is as none. */
	op.kind = OP_LAYOUT;
	op.value = SLICE_STR("{{{");
	doc_apply(r.doc, &op, (struct opid){200, 9}, 5000);
	expect_text(r.doc, "{\n  \"a\": 1\n}\n");
	save(&r, "{\"a\":1}");
	replica_fini(&r);
}

static void test_doc_path_text(void)
{
	static const struct {
		const char *key;
		size_t len;
		bool is_item;
	} keys[] = {
		{"a", 1, false},	{"b.c", 3, false},
		{"", 0, false},		{"d\n", 2, false},
		{"\001\"x\"", 4, true}, {"\0057", 2, true},
		{"\xc3\xa9", 2, false}, {"\"", 1, false},
		{"e[", 2, false},	{"\005\"a b\"", 6, true},
		{"\005\"7\"", 4, true}, {"\0\x80\1\0\0\0\0\0\0\0\1\x80\0", 13, true},
	};
	AUTO(buf_fini) struct buf path = {0};

	for (size_t i = 0; i < countof(keys); i++) {
		buf_varint(&path, keys[i].len << 1 | keys[i].is_item);
		buf_append(&path, keys[i].key, keys[i].len);
	}
	AUTO(buf_fini) struct buf out = {0};

	doc_path_text(buf_slice(&path), &out);
	const char *want = "a.\"b.c\".\"\".\"d\\u000a\"[id=x][name=7].\xc3\xa9.\"\\\"\".\"e[\""
			   "[name=\"a b\"][name=\"7\"][?]";
	if (strcmp(buf_str(&out), want) != 0)
		show("path", buf_slice(&out));
	CHECK(strcmp(buf_str(&out), want) == 0);
}

static void test_doc_many_siblings(void)
{
	struct replica first = replica_new(1);
	struct replica last = replica_new(1000);
	AUTO(ops_fini) struct ops start = {0};
	AUTO(ops_fini) struct ops settle = {0};

	CHECK(save_on(&first, first.doc, SLICE_STR("{\"a\":1}"), true, &start));
	deliver(&last, &start, 1, first.hlc);
	for (uint64_t i = 0; i < 50; i++) {
		struct replica r = replica_copy(&first, 200 - i);
		AUTO(ops_fini) struct ops ops = {0};
		AUTO(buf_fini) struct buf text = {0};

		buf_printf(&text, "{\"a\":%d}", (int)i + 2);
		CHECK(save_on(&r, r.doc, buf_slice(&text), true, &ops));
		deliver(&last, &ops, 200 - i, r.hlc);
		replica_fini(&r);
	}
	/* Same clock, same lamport: the highest actor. */
	expect_text(last.doc, "{\"a\":2}");
	CHECK(doc_conflict_count(last.doc) == 49);
	expect_round_trip(last.doc);
	CHECK(save_on(&last, last.doc, SLICE_STR("{\"a\":0}"), true, &settle));
	CHECK(settle.count == 1 && settle.items[0].pred_count == 50);
	CHECK(doc_conflict_count(last.doc) == 0);
	replica_fini(&first);
	replica_fini(&last);
}

/* No prefix of a state is one, and no flipped bit does harm. */
static void test_doc_decode_of_damaged_state(void)
{
	struct pair p = pair_edit("{\"a\":1,\"b\":2,\"o\":{\"x\":{}}}", "{\"a\":5,\"o\":[1]}",
				  "{ \"a\":6,\"b\":3,\"o\":{\"x\":{\"y\":1}}}");
	AUTO(buf_fini) struct buf rendered = render(p.a.doc);
	AUTO(buf_fini) struct buf state = encode(p.a.doc);

	for (size_t i = 0; i < state.len; i++) {
		struct doc *d = NULL;

		CHECK(doc_decode(SLICE(state.data, i), buf_slice(&rendered), &d) == -EBADMSG && !d);
		for (int bit = 0; bit < 8; bit++) {
			state.data[i] ^= (uint8_t)(1 << bit);
			if (doc_decode(buf_slice(&state), buf_slice(&rendered), &d) == 0) {
				struct buf out = render(d);

				(void)doc_conflict_count(d);
				buf_fini(&out);
				doc_destroy(d);
			}
			state.data[i] ^= (uint8_t)(1 << bit);
		}
	}
	pair_fini(&p);
}

/* ---- sizes ---- */

/* What would make too large a change is kept as text. */
static void test_doc_oversized_paths_become_raw(void)
{
	static const struct {
		size_t key_bytes, depth, members;
		bool raw;
	} rows[] = {
		{1000, 10, 10, false},
		{100000, 9, 1, false},
		{100000, 11, 1, true},	 /* a path over CHANGE_PATH_BYTES_MAX */
		{50000, 10, 1000, true}, /* all paths together */
	};

	for (size_t i = 0; i < countof(rows); i++) {
		AUTO(buf_fini) struct buf b = {0};
		AUTO(ops_fini) struct ops ops = {0};
		struct replica r = replica_new(1);

		for (size_t k = 0; k < rows[i].depth; k++) {
			buf_printf(&b, "{\"");
			for (size_t n = 0; n < rows[i].key_bytes; n++)
				buf_u8(&b, 'k');
			buf_printf(&b, "\":");
		}
		buf_u8(&b, '{');
		for (size_t k = 0; k < rows[i].members; k++)
			buf_printf(&b, "%s\"%zu\":1", k ? "," : "", k);
		for (size_t k = 0; k < rows[i].depth + 1; k++)
			buf_u8(&b, '}');
		/* Made, it is one operation; an edit of each member names its path. */
		CHECK(save_on(&r, r.doc, buf_slice(&b), true, &ops));
		CHECK(ops.count <= 2 && doc_mode(r.doc) == DOC_JSON);
		for (size_t k = 0; k < b.len; k++) {
			if (b.data[k] == '1' && b.data[k - 1] == ':')
				b.data[k] = '2';
		}
		AUTO(ops_fini) struct ops edit = {0};
		CHECK(save_on(&r, r.doc, buf_slice(&b), true, &edit));
		CHECK((doc_mode(r.doc) == DOC_RAW) == rows[i].raw);
		expect_render(r.doc, buf_slice(&b));
		replica_fini(&r);
	}
}

static void test_doc_large_record(void)
{
	AUTO(buf_fini) struct buf text = big_record(100000);
	AUTO(ops_fini) struct ops create = {0};
	AUTO(change_fini) struct change c = {.actor = 1, .hlc = 1700000000000u << 16};
	AUTO(buf_fini) struct buf wire = {0};
	struct replica r = replica_new(1);

	CHECK(save_on(&r, r.doc, buf_slice(&text), true, &create));
	CHECK(count_kind(&create, OP_LAYOUT) == 0);
	expect_round_trip(r.doc);
	memcpy(text.data + 50000 + strcspn((char *)text.data + 50000, "v"), "VALUE", 5);
	CHECK(save_on(&r, r.doc, buf_slice(&text), true, &c.ops));
	CHECK(c.ops.count == 1);
	change_encode(&c, &wire);
	CHECK(wire.len < 100);
	expect_render(r.doc, buf_slice(&text));
	replica_fini(&r);
}

static void test_doc_encode_shares_with_the_rendering(void)
{
	AUTO(buf_fini) struct buf text = big_record(100000);
	AUTO(buf_fini) struct buf state = {0};
	AUTO(ops_fini) struct ops ops = {0};
	AUTO(ops_fini) struct ops ops2 = {0};
	struct replica r = replica_new(1);
	struct replica q = replica_new(1);

	/* The whole value is shown, then not stored again. */
	CHECK(save_on(&r, r.doc, buf_slice(&text), false, &ops));
	doc_encode(r.doc, buf_slice(&text), &state);
	CHECK(state.len < 50);
	expect_round_trip(r.doc);
	/* So is a layout, even after a field was edited. */
	memcpy(text.data + text.len - 3, "\n\n}", 3);
	memcpy(text.data + 30000 + strcspn((char *)text.data + 30000, "v"), "value", 5);
	save(&q, buf_str(&text));
	memcpy(text.data + 30000 + strcspn((char *)text.data + 30000, "v"), "VALUE", 5);
	CHECK(save_on(&q, q.doc, buf_slice(&text), true, &ops2));
	CHECK(ops2.count == 1);
	buf_clear(&state);
	doc_encode(q.doc, buf_slice(&text), &state);
	CHECK(state.len < 110000);
	expect_round_trip(q.doc);
	replica_fini(&r);
	replica_fini(&q);
}

static void test_doc_emptied_record_stays_json_and_small(void)
{
	AUTO(buf_fini) struct buf text = big_record(1000000);
	AUTO(buf_fini) struct buf state = {0};
	AUTO(ops_fini) struct ops ops = {0};
	struct replica r = replica_new(1);

	text.data[1] = ' ';
	save(&r, buf_str(&text));
	CHECK(save_on(&r, r.doc, SLICE_STR("{}\n"), true, &ops));
	CHECK(doc_mode(r.doc) == DOC_JSON);
	doc_encode(r.doc, SLICE_STR("{}\n"), &state);
	CHECK(state.len < 100);
	replica_fini(&r);
}

static void test_doc_memory_does_not_pile_up(void)
{
	struct replica r = replica_new(1);

	for (int i = 0; i < 3000; i++) {
		AUTO(buf_fini) struct buf b = {0};

		buf_printf(&b, "{\n  \"a\": [%0*d],\n  \"k%d\": 1\n}\n", 500, i, i);
		for (size_t k = 0; b.data[k] != '['; k++)
			continue;
		*(char *)memchr(b.data, '[', b.len) = '"';
		*(char *)memchr(b.data, ']', b.len) = '"';
		save(&r, buf_str(&b));
	}
	AUTO(buf_fini) struct buf state = encode(r.doc);
	CHECK(state.len < 1000);
	replica_fini(&r);
}

int main(void)
{
	RUN(doc_saves_come_back);
	RUN(doc_no_op_save_adds_nothing);
	RUN(doc_empty_file);
	RUN(doc_text_records_stay_raw);
	RUN(doc_tools_need_no_layout);
	RUN(doc_new_file_in_jq_form_needs_no_layout);
	RUN(doc_order_survives_edits);
	RUN(doc_reformat_sets_nothing);
	RUN(doc_merges);
	RUN(doc_stale_save_keeps_remote_edit);
	RUN(doc_repair_brings_the_edit_back);
	RUN(doc_later_write_beats_a_fast_clock);
	RUN(doc_slow_clock_under_a_hidden_text);
	RUN(doc_apply_is_idempotent);
	RUN(doc_ignores_malformed_operations);
	RUN(doc_path_text);
	RUN(doc_many_siblings);
	RUN(doc_decode_of_damaged_state);
	RUN(doc_oversized_paths_become_raw);
	RUN(doc_large_record);
	RUN(doc_encode_shares_with_the_rendering);
	RUN(doc_emptied_record_stays_json_and_small);
	RUN(doc_memory_does_not_pile_up);
	return 0;
}
