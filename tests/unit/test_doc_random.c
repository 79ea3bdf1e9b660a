/*
 * core/doc, random: histories of one replica and of several.
 *
 *   test_doc_random [SEED [ROUNDS]]   the tests; they print the seed when they fail
 *   test_doc_random bench             times of the common paths
 */
#include "core/doc.h"
#include "core/json.h"
#include "tests/unit/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t seed_first = 1;
static uint64_t rounds_max = 400;

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

/* Objects with ids, of which two devices may make the same. */
static void random_elements(struct buf *b)
{
	static const char *const names[] = {"id", "name", "key"};
	const char *name = names[rnd(countof(names))];
	uint64_t n = rnd(4);

	buf_u8(b, '[');
	for (uint64_t i = 0; i < n; i++) {
		buf_printf(b, "%s{\"%s\":%d,\"a\":", i ? "," : "", name, (int)(i * 3 + rnd(3)));
		random_scalar(b);
		buf_u8(b, '}');
	}
	buf_u8(b, ']');
}

static void random_value(struct buf *b, unsigned depth)
{
	uint64_t n = rnd(5);
	uint64_t kind = depth ? rnd(8) : 0;

	if (kind == 7) {
		random_elements(b);
		return;
	}

	if (kind < 3) {
		random_scalar(b);
		return;
	}
	buf_u8(b, kind == 3 || kind == 6 ? '[' : '{');
	random_space(b);
	for (uint64_t i = 0; i < n; i++) {
		if (i)
			buf_u8(b, ',');
		random_space(b);
		if (kind != 3 && kind != 6) {
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
	buf_u8(b, kind == 3 || kind == 6 ? ']' : '}');
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

static size_t child_start(const struct json_node *n)
{
	return n->key_end ? n->key_start : n->start;
}

/* A member or element into a container, at either end. */
static void random_insert(struct buf *b, const struct json_node *n)
{
	AUTO(buf_fini) struct buf with = {0};
	bool front = rnd(2);
	bool one_more = n->child_count > 0;

	if (one_more && !front)
		buf_u8(&with, ',');
	if (n->kind == JSON_OBJECT) {
		random_key(&with);
		buf_u8(&with, ':');
	}
	random_value(&with, rnd(3) ? 0 : 2);
	if (one_more && front)
		buf_u8(&with, ',');
	splice(b, front ? n->start + 1u : n->end - 1u, front ? n->start + 1u : n->end - 1u,
	       buf_slice(&with));
}

static void random_delete(struct buf *b, const struct json *j, const struct json_node *n)
{
	size_t at = child_start(n);

	if (n->next != JSON_NONE) {
		splice(b, at, child_start(&j->nodes[n->next]), SLICE("", 0));
	} else if (j->nodes[n->parent].child_count == 1) {
		splice(b, at, n->end, SLICE("", 0));
	} else {
		while (b->data[at] != ',')
			at--;
		splice(b, at, n->end, SLICE("", 0));
	}
}

/* A member or element changes places with the next one, or is there twice (elements only). */
static void random_move(struct buf *b, const struct json *j, const struct json_node *n)
{
	if (n->next == JSON_NONE)
		return;
	const struct json_node *next = &j->nodes[n->next];
	struct slice first = {b->data + child_start(n), n->end - child_start(n)};
	struct slice between = {b->data + n->end, child_start(next) - n->end};
	struct slice second = {b->data + child_start(next), next->end - child_start(next)};
	AUTO(buf_fini) struct buf with = {0};
	bool twice = !n->key_end && rnd(3) == 0;

	buf_slice_append(&with, second);
	buf_slice_append(&with, between);
	buf_slice_append(&with, twice ? second : first);
	splice(b, child_start(n), next->end, buf_slice(&with));
}

/* Adds, takes out, moves or rewrites something in a JSON text. */
static void random_json_edit(struct buf *b, const struct json *j)
{
	const struct json_node *n = &j->nodes[rnd(j->count)];
	AUTO(buf_fini) struct buf with = {0};

	switch (rnd(8)) {
	case 0: /* a new value */
	case 1:
		random_value(&with, rnd(4) ? 0 : 2);
		splice(b, n->start, n->end, buf_slice(&with));
		break;
	case 2: /* one more */
	case 3:
		if (n->kind == JSON_OBJECT || n->kind == JSON_ARRAY)
			random_insert(b, n);
		break;
	case 4: /* one less */
		if (n->parent != JSON_NONE)
			random_delete(b, j, n);
		break;
	case 5:
	case 6:
		random_move(b, j, n);
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

			struct json j;
			bool json = rnd(30) != 0;

			bool any = save_on(&r, r.doc, buf_slice(&b), json, &ops);
			expect_render(r.doc, buf_slice(&b));
			/* JSON is never kept as text for want of formatting. */
			bool valid = json_scan(buf_slice(&b), &j, NULL) == 0;
			json_fini(&j);
			CHECK(!(any && json && valid) || doc_mode(r.doc) == DOC_JSON);
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

static void test_doc_random_saves(void)
{
	test_random_saves_come_back(rounds_max);
}

static void test_doc_random_convergence(void)
{
	test_random_replicas_converge(rounds_max);
}

/* ---- bench ---- */

static double now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
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
		const struct doc_stamp stamp = {
			.actor = 1, .hlc = 5000 + (uint64_t)i, .lamport = &r.lamport};

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

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "bench") == 0)
		return bench_all();
	if (argc > 1)
		seed_first = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		rounds_max = strtoull(argv[2], NULL, 10);
	RUN(doc_random_saves);
	RUN(doc_random_convergence);
	return 0;
}
