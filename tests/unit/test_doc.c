/*
 * core/json, core/change and core/doc.
 *
 *   test_doc [SEED [ROUNDS]]   the tests; the random ones print the seed when they fail
 *   test_doc bench             times of the common paths
 */
#include "core/doc.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t seed_first = 1;
static uint64_t seed_now;
static uint64_t random_state;

static uint64_t rnd(uint64_t below)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	uint64_t x = random_state ^ (random_state >> 29);
	return (x * 0x9e3779b97f4a7c15u >> 20) % below;
}

static void seed_set(uint64_t seed)
{
	seed_now = seed;
	random_state = seed * 0x9e3779b97f4a7c15u + 12345;
	for (int i = 0; i < 4; i++)
		(void)rnd(2);
}

static void show(const char *name, struct slice s)
{
	(void)fprintf(stderr, "%s (%zu bytes): %.*s\n", name, s.len, (int)s.len,
		      s.len ? (const char *)s.data : "");
}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "%s:%d: %s failed, seed %llu\n", __FILE__, __LINE__, \
				      #condition, (unsigned long long)seed_now);                   \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* A replica: a document and the clocks its saves need. */
struct replica {
	struct doc *doc;
	uint64_t actor;
	uint64_t lamport;
	uint64_t hlc;
};

static const struct id node_id = {{7}};

static struct replica replica_new(uint64_t actor)
{
	return (struct replica){doc_create(), actor, 0, 1000};
}

static void replica_fini(struct replica *r)
{
	doc_destroy(r->doc);
}

static struct buf render(const struct doc *d)
{
	struct buf out = {0};

	doc_render(d, &out);
	return out;
}

static void expect_render(const struct doc *d, struct slice want)
{
	AUTO(buf_fini) struct buf got = render(d);

	if (!slice_eq(buf_slice(&got), want)) {
		show("got", buf_slice(&got));
		show("want", want);
	}
	CHECK(slice_eq(buf_slice(&got), want));
}

static void expect_text(const struct doc *d, const char *want)
{
	expect_render(d, SLICE_STR(want));
}

/* Applies all of another's operations. */
static void deliver(struct replica *r, const struct ops *ops, uint64_t actor, uint64_t hlc)
{
	for (size_t i = 0; i < ops->count; i++) {
		const struct op *op = &ops->items[i];

		doc_apply(r->doc, op, (struct opid){op->lamport, actor}, hlc);
		if (r->lamport < op->lamport)
			r->lamport = op->lamport;
	}
	if (r->hlc < hlc)
		r->hlc = hlc;
}

/* A save by a program that read base. The operations go to `ops` and into r. */
static bool save_on(struct replica *r, const struct doc *base, struct slice bytes, bool json,
		    struct ops *ops)
{
	r->hlc++;
	const struct doc_stamp stamp = {r->actor, r->hlc, &r->lamport};
	bool any = doc_diff(base, bytes, json, &node_id, &stamp, ops);

	CHECK(any == (ops->count > 0));
	deliver(r, ops, r->actor, r->hlc);
	return any;
}

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

static struct buf encode(const struct doc *d)
{
	AUTO(buf_fini) struct buf rendered = render(d);
	struct buf out = {0};

	doc_encode(d, buf_slice(&rendered), &out);
	return out;
}

static void expect_same_state(const struct doc *a, const struct doc *b)
{
	AUTO(buf_fini) struct buf x = encode(a);
	AUTO(buf_fini) struct buf y = encode(b);

	CHECK(slice_eq(buf_slice(&x), buf_slice(&y)));
}

/* Encodes, decodes and expects nothing to have changed. */
static void expect_round_trip(const struct doc *d)
{
	AUTO(buf_fini) struct buf rendered = render(d);
	AUTO(buf_fini) struct buf state = {0};
	AUTO(buf_fini) struct buf again = {0};
	struct doc *copy = NULL;

	doc_encode(d, buf_slice(&rendered), &state);
	CHECK(doc_decode(buf_slice(&state), buf_slice(&rendered), &copy) == 0);
	doc_encode(copy, buf_slice(&rendered), &again);
	CHECK(slice_eq(buf_slice(&state), buf_slice(&again)));
	expect_render(copy, buf_slice(&rendered));
	doc_destroy(copy);
	buf_clear(&state);
	doc_encode(d, SLICE("", 0), &state);
	CHECK(doc_decode(buf_slice(&state), SLICE("", 0), &copy) == 0);
	expect_render(copy, buf_slice(&rendered));
	expect_same_state(copy, d);
	doc_destroy(copy);
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

/* ---- json ---- */

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
	CHECK(j.count == 4 && j.nodes[0].child_count == 2 && j.nodes[0].start == 1);
	CHECK(j.nodes[0].first_child == 1 && j.nodes[0].last_child == 2 && j.nodes[1].next == 2);
	CHECK(j.nodes[1].kind == JSON_ARRAY && j.nodes[1].first_child == JSON_NONE);
	CHECK(memcmp(text + j.nodes[1].start, "[1, {\"x\":2}]",
		     j.nodes[1].end - j.nodes[1].start) == 0);
	CHECK(memcmp(text + j.nodes[1].key_start, "\"a\"", 3) == 0);
	CHECK(slice_eq(j.nodes[2].key, SLICE_STR("b")) && j.nodes[3].parent == 2);
	json_fini(&j);
}

static void test_json_limits(void)
{
	struct json j;

	for (size_t depth = DOC_DEPTH_MAX; depth <= DOC_DEPTH_MAX + 1; depth++) {
		AUTO(buf_fini) struct buf b = {0};

		for (size_t i = 0; i < depth; i++)
			buf_u8(&b, '[');
		for (size_t i = 0; i < depth; i++)
			buf_u8(&b, ']');
		CHECK(json_scan(buf_slice(&b), &j, NULL) == (depth > DOC_DEPTH_MAX ? -EBADMSG : 0));
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

/* ---- change ---- */

static void test_change_round_trip(void)
{
	AUTO(change_fini) struct change c = {.actor = 5, .hlc = 1234567890123};
	AUTO(change_fini) struct change back = {0};
	AUTO(buf_fini) struct buf wire = {0};
	AUTO(buf_fini) struct buf again = {0};
	const struct id other = {{9}};

	for (int kind = OP_TOUCH; kind <= OP_MEMBER; kind++) {
		struct op *op = ops_add(&c.ops, (enum op_kind)kind, kind < 4 ? &node_id : &other,
					(uint64_t)kind * 10);
		struct opid *preds = ops_preds(&c.ops, op, (size_t)kind % 3);

		for (size_t i = 0; i < op->pred_count; i++)
			preds[i] = (struct opid){i + 1, i ? 5 : 77};
		op->node_kind = kind == OP_MOVE ? NODE_RECORD : NODE_NONE;
		op->name = kind == OP_MOVE ? SLICE_STR("name") : SLICE("", 0);
		op->path = SLICE_STR("\x01"
				     "a");
		op->value_kind = VALUE_TEXT;
		op->value = SLICE_STR("true");
		op->ord = (struct opid){3, 99};
		op->exec = true;
	}
	c.deps = arena_alloc(&c.ops.arena, 2 * sizeof(*c.deps));
	c.deps[0] = (struct dep){77, 4};
	c.deps[1] = (struct dep){6, 5};
	c.dep_count = 2;
	change_encode(&c, &wire);
	CHECK(change_decode(buf_slice(&wire), 5, &back) == 0);
	CHECK(back.ops.count == c.ops.count && back.hlc == c.hlc && back.dep_count == 2);
	CHECK(back.deps[1].actor == 6 && back.deps[1].seq == 5);
	CHECK(back.ops.items[3].ord.actor == 99 && back.ops.items[3].ord.lamport == 3);
	CHECK(slice_eq(back.ops.items[1].name, SLICE_STR("name")) && back.ops.items[8].exec);
	change_encode(&back, &again);
	CHECK(slice_eq(buf_slice(&wire), buf_slice(&again)));
	/* No prefix is a change, and no flipped bit is a crash. */
	for (size_t i = 0; i < wire.len; i++) {
		struct change bad;

		CHECK(change_decode(SLICE(wire.data, i), 5, &bad) == -EBADMSG && !bad.ops.items);
		for (int bit = 0; bit < 8; bit++) {
			wire.data[i] ^= (uint8_t)(1 << bit);
			if (change_decode(buf_slice(&wire), 5, &bad) == 0)
				change_fini(&bad);
			wire.data[i] ^= (uint8_t)(1 << bit);
		}
	}
}

static void test_change_of_nothing(void)
{
	struct change c = {.actor = 5, .hlc = 7};
	struct change back;
	AUTO(buf_fini) struct buf wire = {0};

	change_encode(&c, &wire);
	CHECK(change_decode(buf_slice(&wire), 5, &back) == 0 && back.ops.count == 0 && back.hlc == 7);
	change_fini(&back);
}

static void test_change_hostile_counts(void)
{
	/* Large counts without the input to back them must not allocate or loop. */
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{"\x01\x01\x01\xff\x1f", 5},		     /* actors */
		{"\x01\x01\x01\x00\xff\x1f", 6},	     /* deps */
		{"\x01\x01\x01\x00\x00\xc0\x84\x3d", 8},     /* ops */
		{"\x01\x00\x01\x00\x00\x01\x81\x00\x00", 9}, /* first with same node */
		{"\x02\x00\x00\x00\x00\x00", 6},	     /* version */
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct change c;

		CHECK(change_decode(SLICE(rows[i].bytes, rows[i].len), 5, &c) == -EBADMSG);
	}
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
	CHECK(second.count == 1 && second.items[0].kind == OP_RAW && second.items[0].pred_count == 1);
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
		{"{\"a\":1,\"b\":{\"x\":1}}", "{\"a\":1,\"b\":{\"x\":1},\"c\":{\"y\":{\"z\":1}}}", 3},
		{"{\"a\":1,\"b\":{}}", "{\"a\":1,\"b\":{\"x\":1,\"y\":[1,2]}}", 2},
		{"{\"a\":1,\"b\":2,\"c\":3}", "{\"d\":4}", 4},
		{"{\"a\":1}", "{}", 1},
		/* One line, as python's json.dump. */
		{"{\"a\": 1, \"b\": 2}", "{\"a\": 1, \"b\": 2, \"c\": \"x\"}", 1},
		{"{\"a\": 1}", "{\"a\": 1, \"b\": {\"c\": 1, \"d\": {}}}", 3},
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
		{"{}\n", "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": []\n  }\n}\n", 3},
		{"{\n  \"a\": {\n    \"b\": 1\n  }\n}\n",
		 "{\n  \"a\": {\n    \"b\": 1\n  },\n  \"c\": {\n    \"d\": {\n      \"e\": {}\n    }\n  }\n}\n",
		 3},
		{"{\n  \"a\": {},\n  \"b\": 1\n}\n",
		 "{\n  \"a\": {\n    \"x\": 1,\n    \"y\": 2\n  },\n  \"b\": 1\n}\n", 2},
		{"{\n  \"a\": [\n    1\n  ]\n}\n", "{\n  \"a\": [\n    1,\n    2\n  ]\n}\n", 1},
		{"{\n  \"a\": 1,\n  \"b\": 2\n}\n",
		 "{\n  \"a\": {\n    \"x\": 1\n  },\n  \"b\": 2\n}\n", 2},
		{"{\n  \"a\": {\n    \"x\": 1\n  },\n  \"b\": 2\n}\n",
		 "{\n  \"a\": null,\n  \"b\": 2\n}\n", 2},
		/* By four, and tabs, CRLF, a byte order mark. */
		{"{\n    \"a\": 1\n}",
		 "{\n    \"a\": 1,\n    \"b\": {\n        \"c\": {\n            \"d\": 1\n        }\n    }\n}",
		 3},
		{"{\n    \"a\": {}\n}", "{\n    \"a\": {\n        \"c\": 1\n    }\n}", 1},
		{"{\n\t\"a\": {}\n}", "{\n\t\"a\": {\n\t\t\"c\": 1\n\t},\n\t\"d\": {}\n}", 2},
		{"\xef\xbb\xbf{\r\n  \"a\": {}\r\n}\r\n",
		 "\xef\xbb\xbf{\r\n  \"a\": {\r\n    \"c\": 1\r\n  },\r\n  \"d\": 1\r\n}\r\n", 2},
		/* One record a line. */
		{"{\n \"u1\": {\"n\": 1, \"m\": 2},\n \"u2\": {\"n\": 1, \"m\": 2}\n}",
		 "{\n \"u1\": {\"n\": 1, \"m\": 2},\n \"u2\": {\"n\": 1, \"m\": 2},\n \"u3\": {\"n\": 1, \"m\": 2}\n}",
		 3},
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
	CHECK(count_kind(&ops, OP_LAYOUT) == 0 && ops.count == 4);
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
	CHECK(ops.count == 1 && ops.items[0].kind == OP_SET && ops.items[0].ord.lamport);
	expect_text(q.doc, "{\"a\":1,\"c\":5,\"b\":1}");
	replica_fini(&q);
	replica_fini(&r);
}

static void test_doc_reformat_is_one_layout(void)
{
	AUTO(ops_fini) struct ops ops = {0};
	struct replica r = replica_new(1);

	save(&r, "{\"a\":1,\"b\":[1,2]}");
	CHECK(save_on(&r, r.doc, SLICE_STR("{ \"a\": 1,\n\"b\": [1,\n2] }"), true, &ops));
	CHECK(ops.count == 1 && ops.items[0].kind == OP_LAYOUT && ops.items[0].pred_count == 1);
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
		 "{\"o\":{\"y\":3}}", "o=7;"},
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
		{"{\"a\":1}", "{\"a\":1", "{\"a\":2}", "{\"a\":1", ""},
		{"{\"a\":1}", "{\"a\":2}", "{\"a\":1", "{\"a\":1", ""},
		{"{\"a\":1}", "{\"a\":", "{\"a\"", "{\"a\"", "RAW={\"a\":;"},
		{"{\"a\":", "{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":1}", NULL},
		{"{\"a\":", "{\"a\":1}", "{\"b\":", "{\"b\":", ""},
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

	expect_text(p.a.doc, "{\"o\":{\"x\":5}}");
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
	static const char *const values[] = {"",    " 1", "1 ", "{}", "1,2", "tru", "\357\273\2771",
					     "1\n", "[1}"};
	static const char *const paths[] = {"\005ab", "\x80",
					    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"};
	struct op op = {.kind = OP_SET,
			.value_kind = VALUE_TEXT,
			.path = SLICE("\x01"
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
	static const char path[] = "\x01"
				   "a"
				   "\x03"
				   "b.c"
				   "\x00"
				   "\x02"
				   "d\n"
				   "\x02"
				   "\xc3\xa9"
				   "\x01"
				   "\"";
	AUTO(buf_fini) struct buf out = {0};

	doc_path_text(SLICE(path, sizeof(path) - 1), &out);
	CHECK(strcmp(buf_str(&out), "a.\"b.c\".\"\".\"d\\u000a\".\xc3\xa9.\"\\\"\"") == 0);
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
		CHECK(save_on(&r, r.doc, buf_slice(&b), true, &ops));
		CHECK((doc_mode(r.doc) == DOC_RAW) == rows[i].raw);
		expect_render(r.doc, buf_slice(&b));
		replica_fini(&r);
	}
}

static struct buf big_record(size_t bytes)
{
	struct buf b = {0};

	buf_u8(&b, '{');
	for (size_t i = 0; b.len < bytes; i++)
		buf_printf(&b, "%s\n  \"field_%zu\": \"value %zu\"", i ? "," : "", i, i * 7);
	buf_printf(&b, "\n}\n");
	return b;
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
	CHECK(doc_mode(r.doc) == DOC_JSON && count_kind(&ops, OP_LAYOUT) == 1);
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

/* ---- random ---- */

static void put_str(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

static void random_space(struct buf *b)
{
	static const char *const spaces[] = {"", "", "", "", " ", "\n", "\r\n  ", "\t", "  "};

	put_str(b, spaces[rnd(countof(spaces))]);
}

static void random_key(struct buf *b)
{
	static const char *const keys[] = {
		"a",	    "b", "c",	"d",	"e",   "long key",	 "\\u00e9",
		"\xc3\xa9", "",	 "\\n", "\\\"", "x.y", "\\ud83d\\ude00", "\x7f"};

	buf_printf(b, "\"%s\"", keys[rnd(countof(keys))]);
}

static void random_scalar(struct buf *b)
{
	static const char *const scalars[] = {"0",
					      "-0",
					      "1",
					      "2",
					      "3",
					      "1e400",
					      "10000000000000000999",
					      "1.0",
					      "true",
					      "null",
					      "\"\"",
					      "\"a\"",
					      "\"\\u00e9\"",
					      "\"\xc3\xa9\"",
					      "\"[ \\\" ,\""};

	put_str(b, scalars[rnd(countof(scalars))]);
}

static void random_value(struct buf *b, unsigned depth)
{
	uint64_t n = rnd(5);
	uint64_t kind = depth ? rnd(6) : 0;

	if (kind < 3) {
		random_scalar(b);
		return;
	}
	buf_u8(b, kind == 3 ? '[' : '{');
	random_space(b);
	for (uint64_t i = 0; i < n; i++) {
		if (i)
			buf_u8(b, ',');
		random_space(b);
		if (kind > 3) {
			if (rnd(12))
				buf_printf(b, "\"%c\"", (char)('a' + (int)i + (int)rnd(2) * 5));
			else
				random_key(b);
			random_space(b);
			buf_u8(b, ':');
			random_space(b);
		}
		random_value(b, depth - 1);
		random_space(b);
	}
	buf_u8(b, kind == 3 ? ']' : '}');
}

static void splice(struct buf *b, size_t start, size_t end, struct slice with)
{
	struct buf out = {0};

	CHECK(start <= end && end <= b->len);
	buf_append(&out, b->data, start);
	buf_slice_append(&out, with);
	if (end < b->len)
		buf_append(&out, b->data + end, b->len - end);
	buf_fini(b);
	*b = out;
}

static void random_bytes_edit(struct buf *b)
{
	static const char *const bits[] = {"{", "}", "[",  "]",	   ",",	 ":", "\"",
					   "1", " ", "\n", "\xff", "\\", "",  "\xef\xbb\xbf",
					   "\r"};
	size_t at = rnd(b->len + 1);
	size_t end = at + rnd(3);

	const char *with = bits[rnd(countof(bits))];

	splice(b, at, end < b->len ? end : b->len, SLICE_STR(with));
}

/* Adds, takes out or rewrites something in a JSON text. */
static void random_json_edit(struct buf *b, const struct json *j)
{
	const struct json_node *n = &j->nodes[rnd(j->count)];
	AUTO(buf_fini) struct buf with = {0};
	size_t at = n->end;

	switch (rnd(6)) {
	case 0: /* a new value */
	case 1:
		random_value(&with, rnd(4) ? 0 : 2);
		splice(b, n->start, n->end, buf_slice(&with));
		break;
	case 2: /* a new member */
	case 3:
		if (n->kind != JSON_OBJECT)
			break;
		at = n->end - 1;
		buf_slice_append(&with, SLICE_STR(n->child_count ? "," : ""));
		random_key(&with);
		buf_u8(&with, ':');
		random_value(&with, rnd(3) ? 0 : 2);
		splice(b, at, at, buf_slice(&with));
		break;
	case 4: /* one less */
		if (n->parent == JSON_NONE)
			break;
		if (n->next != JSON_NONE)
			splice(b, n->key_start, j->nodes[n->next].key_start, SLICE("", 0));
		else if (j->nodes[n->parent].child_count == 1)
			splice(b, n->key_start, n->end, SLICE("", 0));
		else {
			for (at = n->key_start; b->data[at] != ','; at--)
				continue;
			splice(b, at, n->end, SLICE("", 0));
		}
		break;
	default:
		random_space(&with);
		splice(b, n->start, n->start, buf_slice(&with));
		break;
	}
}

/* What a program might save after reading `shown`. */
static struct buf random_save(struct slice shown)
{
	struct buf b = {0};
	uint64_t edits = 1 + rnd(3);

	if (rnd(15) == 0 || shown.len > 3000) {
		if (rnd(8) == 0)
			buf_slice_append(&b, SLICE_STR("\xef\xbb\xbf"));
		random_space(&b);
		random_value(&b, 3);
		random_space(&b);
		return b;
	}
	buf_slice_append(&b, shown);
	if (rnd(12) == 0)
		random_bytes_edit(&b);
	for (uint64_t i = 0; i < edits; i++) {
		struct json j;

		if (json_scan(buf_slice(&b), &j, NULL) == 0)
			random_json_edit(&b, &j);
		else if (rnd(3) == 0) {
			buf_clear(&b);
			random_value(&b, 3);
		}
		json_fini(&j);
	}
	return b;
}

/* P1: what is saved is what is read back, after any history. */
static void test_random_saves_come_back(uint64_t rounds)
{
	for (uint64_t round = 0; round < rounds; round++) {
		seed_set(seed_first + round);
		struct replica r = replica_new(1);

		for (int i = 0; i < 30; i++) {
			AUTO(buf_fini) struct buf shown = render(r.doc);
			AUTO(buf_fini) struct buf b = random_save(buf_slice(&shown));
			AUTO(ops_fini) struct ops ops = {0};

			(void)save_on(&r, r.doc, buf_slice(&b), rnd(30) != 0, &ops);
			expect_render(r.doc, buf_slice(&b));
			if (rnd(6) == 0)
				expect_round_trip(r.doc);
		}
		replica_fini(&r);
	}
}

#define PEERS 4
#define SAVES 24

struct sent {
	struct ops ops;
	uint64_t hlc;
	size_t needs[PEERS]; /* how many of each peer's changes the author had */
};

struct world {
	struct replica peers[PEERS];
	struct sent sent[PEERS][SAVES];
	size_t sent_count[PEERS];
	size_t has[PEERS][PEERS];
};

/* Gives `to` the next change of `from` that it may have. */
static bool hand_over(struct world *w, size_t to, size_t from)
{
	size_t next = w->has[to][from];

	if (to == from || next == w->sent_count[from])
		return false;
	const struct sent *s = &w->sent[from][next];
	for (size_t i = 0; i < PEERS; i++) {
		if (i != from && s->needs[i] > w->has[to][i])
			return false;
	}
	deliver(&w->peers[to], &s->ops, w->peers[from].actor, s->hlc);
	w->has[to][from]++;
	if (next && rnd(4) == 0) {
		const struct sent *old = &w->sent[from][rnd(next + 1)];

		deliver(&w->peers[to], &old->ops, w->peers[from].actor, old->hlc);
	}
	return true;
}

static void world_save(struct world *w, size_t i, const struct doc *stale)
{
	struct replica *p = &w->peers[i];
	const struct doc *base = stale && rnd(3) == 0 ? stale : p->doc;
	AUTO(buf_fini) struct buf shown = render(base);
	AUTO(buf_fini) struct buf b = random_save(buf_slice(&shown));
	struct sent *s = &w->sent[i][w->sent_count[i]];

	if (rnd(3) == 0)
		p->hlc = rnd(2000); /* a clock that is wrong */
	CHECK(w->sent_count[i] < SAVES);
	(void)save_on(p, base, buf_slice(&b), rnd(40) != 0, &s->ops);
	if (base == p->doc)
		expect_render(p->doc, buf_slice(&b));
	s->hlc = p->hlc;
	memcpy(s->needs, w->has[i], sizeof(s->needs));
	w->sent_count[i]++;
	w->has[i][i]++;
}

/* P3: whoever has the same changes shows the same bytes and stores the same state. */
static void test_random_replicas_converge(uint64_t rounds)
{
	for (uint64_t round = 0; round < rounds; round++) {
		struct world *w = xcalloc(1, sizeof(*w));
		struct doc *stale = NULL;
		size_t stale_of = 0;

		seed_set(seed_first + round);
		for (size_t i = 0; i < PEERS; i++)
			w->peers[i] = replica_new(100 - i * 7);
		for (int step = 0; step < 80; step++) {
			size_t i = rnd(PEERS);

			if (rnd(3) == 0 && w->sent_count[i] < SAVES)
				world_save(w, i, stale_of == i ? stale : NULL);
			else
				(void)hand_over(w, i, rnd(PEERS));
			if (rnd(10) == 0) {
				doc_destroy(stale);
				stale = doc_clone(w->peers[i].doc);
				stale_of = i;
			}
		}
		for (bool any = true; any;) {
			any = false;
			for (int k = 0; k < PEERS * PEERS * 4; k++)
				any |= hand_over(w, rnd(PEERS), rnd(PEERS));
			for (size_t k = 0; k < PEERS * PEERS; k++)
				any |= hand_over(w, k / PEERS, k % PEERS);
		}
		AUTO(buf_fini) struct buf shown = render(w->peers[0].doc);
		for (size_t i = 1; i < PEERS; i++) {
			expect_render(w->peers[i].doc, buf_slice(&shown));
			expect_same_state(w->peers[0].doc, w->peers[i].doc);
			CHECK(doc_conflict_count(w->peers[i].doc) ==
			      doc_conflict_count(w->peers[0].doc));
		}
		expect_round_trip(w->peers[0].doc);
		/* The next save settles all, and is read back. */
		AUTO(ops_fini) struct ops ops = {0};
		(void)save_on(&w->peers[0], w->peers[0].doc, SLICE_STR("{\"x\": 1}"), true, &ops);
		expect_text(w->peers[0].doc, "{\"x\": 1}");
		for (size_t i = 0; i < PEERS; i++) {
			replica_fini(&w->peers[i]);
			for (size_t k = 0; k < w->sent_count[i]; k++)
				ops_fini(&w->sent[i][k].ops);
		}
		doc_destroy(stale);
		free(w);
	}
}

/* ---- bench ---- */

static double now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void bench(const char *name, struct buf *text, size_t value_at, int rounds)
{
	struct replica r = replica_new(1);
	AUTO(ops_fini) struct ops create = {0};
	double t[6] = {0};

	(void)save_on(&r, r.doc, buf_slice(text), true, &create);
	for (int i = 0; i < rounds; i++) {
		AUTO(ops_fini) struct ops ops = {0};
		AUTO(buf_fini) struct buf state = {0};
		AUTO(buf_fini) struct buf rendered = {0};
		struct doc *copy = NULL;
		struct json j;
		const struct doc_stamp stamp = {1, 5000 + (uint64_t)i, &r.lamport};

		text->data[value_at] = (uint8_t)('0' + (text->data[value_at] - '0' + 1) % 10);
		double start = now_us();
		CHECK(json_scan(buf_slice(text), &j, NULL) == 0);
		json_fini(&j);
		t[0] += now_us() - start;
		start = now_us();
		(void)doc_diff(r.doc, buf_slice(text), true, &node_id, &stamp, &ops);
		t[1] += now_us() - start;
		CHECK(ops.count == 1);
		start = now_us();
		doc_apply(r.doc, &ops.items[0], (struct opid){ops.items[0].lamport, 1}, stamp.hlc);
		t[2] += now_us() - start;
		start = now_us();
		doc_render(r.doc, &rendered);
		t[3] += now_us() - start;
		start = now_us();
		doc_encode(r.doc, buf_slice(&rendered), &state);
		t[4] += now_us() - start;
		start = now_us();
		CHECK(doc_decode(buf_slice(&state), buf_slice(&rendered), &copy) == 0);
		t[5] += now_us() - start;
		CHECK(slice_eq(buf_slice(&rendered), buf_slice(text)));
		doc_destroy(copy);
		if (i == 0)
			(void)printf("%s: %zu bytes, state %zu bytes\n", name, text->len, state.len);
	}
	(void)printf("  us: scan %.2f diff %.2f apply %.2f render %.2f encode %.2f decode %.2f\n",
		     t[0] / rounds, t[1] / rounds, t[2] / rounds, t[3] / rounds, t[4] / rounds,
		     t[5] / rounds);
	replica_fini(&r);
}

static int bench_all(void)
{
	static const char small[] =
		"{\"name\": \"Alice Example\", \"email\": \"alice@example.org\", \"age\": 40, \"admin\": false, "
		"\"tags\": [\"a\", \"b\"], \"address\": {\"street\": \"Main\", \"zip\": \"12345\"}, \"visits\": 17, "
		"\"score\": 1.25}\n";
	AUTO(buf_fini) struct buf b = {0};
	AUTO(buf_fini) struct buf large = big_record(100000);
	AUTO(buf_fini) struct buf laid = {0};

	buf_append(&b, small, sizeof(small) - 1);
	bench("small", &b, (size_t)(strstr(small, "17") - small) + 1, 100000);
	size_t at = 50000 + strcspn((char *)large.data + 50000, "v") + 6;
	bench("large", &large, at, 300);
	buf_slice_append(&laid, buf_slice(&large));
	laid.data[1] = ' ';
	laid.data[2] = '\n';
	bench("large with a layout", &laid, at, 300);
	return 0;
}

static void run(const char *name, void (*fn)(void))
{
	fn();
	(void)printf("ok %s\n", name);
	(void)fflush(stdout);
}

static uint64_t rounds_max = 400;

static void test_doc_random_saves(void)
{
	test_random_saves_come_back(rounds_max);
}

static void test_doc_random_convergence(void)
{
	test_random_replicas_converge(rounds_max);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "bench") == 0)
		return bench_all();
	if (argc > 1)
		seed_first = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		rounds_max = strtoull(argv[2], NULL, 10);
#define RUN(test) run(#test, test_##test)
	RUN(json_accepts);
	RUN(json_rejects);
	RUN(json_nodes);
	RUN(json_limits);
	RUN(json_same);
	RUN(change_round_trip);
	RUN(change_of_nothing);
	RUN(change_hostile_counts);
	RUN(doc_saves_come_back);
	RUN(doc_no_op_save_adds_nothing);
	RUN(doc_empty_file);
	RUN(doc_text_records_stay_raw);
	RUN(doc_tools_need_no_layout);
	RUN(doc_new_file_in_jq_form_needs_no_layout);
	RUN(doc_order_survives_edits);
	RUN(doc_reformat_is_one_layout);
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
	RUN(doc_random_saves);
	RUN(doc_random_convergence);
	return 0;
}
