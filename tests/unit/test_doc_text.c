/*
 * core/doc, texts: what becomes of concurrent saves of one text, by example and at random.
 *
 *   test_doc_text [SEED [ROUNDS]]   prints the seed when it fails
 */
#include "core/doc_i.h"
#include "tests/unit/random.h"

static uint64_t seed_first = 1;
static uint64_t rounds_max = 600;

/* ---- by example: both save over a common base, then each gets the other's ---- */

struct two {
	struct replica r[2];
	struct ops base;
	struct ops ops[2];
	uint64_t hlc[2];
};

static void two_begin(struct two *w, const char *base)
{
	*w = (struct two){.r = {replica_new(1), replica_new(2)}};
	if (base) {
		(void)save_on(&w->r[0], w->r[0].doc, SLICE_STR(base), false, &w->base);
		deliver(&w->r[1], &w->base, 1, w->r[0].hlc);
	}
}

static void two_save(struct two *w, size_t who, const char *text)
{
	ops_fini(&w->ops[who]);
	(void)save_on(&w->r[who], w->r[who].doc, SLICE_STR(text), false, &w->ops[who]);
	expect_text(w->r[who].doc, text);
	w->hlc[who] = w->r[who].hlc;
}

static void two_meet(struct two *w)
{
	uint64_t hlc[] = {w->hlc[0], w->hlc[1]};

	deliver(&w->r[0], &w->ops[1], 2, hlc[1]);
	deliver(&w->r[1], &w->ops[0], 1, hlc[0]);
	expect_same_state(w->r[0].doc, w->r[1].doc);
	expect_round_trip(w->r[0].doc);
}

static void two_end(struct two *w)
{
	for (size_t i = 0; i < 2; i++) {
		replica_fini(&w->r[i]);
		ops_fini(&w->ops[i]);
	}
	ops_fini(&w->base);
}

/* clashes: how many runs of lines both have changed. */
static void expect_lines(const char *base, const char *a, const char *b, const char *want,
			 size_t clashes)
{
	struct two w;

	two_begin(&w, base);
	two_save(&w, 0, a);
	two_save(&w, 1, b);
	two_meet(&w);
	expect_text(w.r[0].doc, want);
	CHECK(doc_conflict_count(w.r[0].doc) == clashes);
	two_end(&w);
}

static void expect_merge(const char *base, const char *a, const char *b, const char *want)
{
	expect_lines(base, a, b, want, 0);
}

static void test_doc_text_both_edits_are_in(void)
{
	expect_merge("1\n2\n3\n4\n5\n", "1\nzwei\n3\n4\n5\n", "1\n2\n3\nvier\n5\n",
		     "1\nzwei\n3\nvier\n5\n");
	expect_merge("one\n", "zero\none\n", "one\ntwo\n", "zero\none\ntwo\n");
	expect_lines("the quick fox\n", "the very quick fox\n", "the quick brown fox\n",
		     "the very quick brown fox\n", 1);
	expect_merge("a\nb\nc\nd\n", "a\nd\n", "a\nb\nc\nd\ne\n", "a\nd\ne\n");
	expect_merge("x\ny\n", "x\ny\n", "x\ny\nz\n", "x\ny\nz\n");
	expect_merge("x\ny\nz\n", "x\nz\n", "x\nz\n", "x\nz\n");
	/* Line ends on one side, a line on the other. */
	expect_merge("a\nb\n", "a\r\nb\r\n", "a\nb\nc\n", "a\r\nb\r\nc\n");
	/* Deleted by one, edited in by the other: what was written stays. */
	expect_lines("a\nb\nc\n", "a\nc\n", "a\nb NEW\nc\n", "a\n NEWc\n", 1);
}

static void test_doc_text_appends_stay_whole(void)
{
	struct two w;
	AUTO(buf_fini) struct buf got = {0};

	two_begin(&w, "start\n");
	two_save(&w, 0, "start\na1\na2\n");
	two_save(&w, 1, "start\nb1\nb2\n");
	two_meet(&w);
	doc_render(w.r[0].doc, &got);
	CHECK(slice_eq(buf_slice(&got), SLICE_STR("start\na1\na2\nb1\nb2\n")) ||
	      slice_eq(buf_slice(&got), SLICE_STR("start\nb1\nb2\na1\na2\n")));
	two_end(&w);
}

static void test_doc_text_created_alike_is_one(void)
{
	struct two w;

	two_begin(&w, NULL);
	two_save(&w, 0, "same\ntext\n");
	two_save(&w, 1, "same\ntext\n");
	two_meet(&w);
	expect_text(w.r[0].doc, "same\ntext\n");
	CHECK(doc_conflict_count(w.r[0].doc) == 0);
	two_save(&w, 0, "SAME\nsame\ntext\n");
	two_save(&w, 1, "same\ntext\nTEXT\n");
	two_meet(&w);
	expect_text(w.r[0].doc, "SAME\nsame\ntext\nTEXT\n");
	two_end(&w);
}

static void test_doc_text_edits_meet_a_late_beginning(void)
{
	struct two w;

	/* The second device's beginning arrives after the first has already edited. */
	two_begin(&w, NULL);
	two_save(&w, 0, "same\ntext\n");
	two_save(&w, 1, "same\ntext\n");
	struct ops first = w.ops[0];
	uint64_t hlc = w.hlc[0];
	w.ops[0] = (struct ops){0};
	two_save(&w, 0, "same\nnew text\n");
	deliver(&w.r[1], &first, 1, hlc);
	two_meet(&w);
	expect_text(w.r[0].doc, "same\nnew text\n");
	two_save(&w, 0, "the same\nnew text\n");
	two_save(&w, 1, "same\nnew text\nend\n");
	two_meet(&w);
	expect_text(w.r[0].doc, "the same\nnew text\nend\n");
	ops_fini(&first);
	two_end(&w);
}

static void test_doc_text_created_unlike_is_a_conflict(void)
{
	struct two w;

	two_begin(&w, NULL);
	two_save(&w, 0, "from a\n");
	two_save(&w, 1, "other, from b\n");
	two_meet(&w);
	CHECK(doc_conflict_count(w.r[0].doc) == 1);
	two_save(&w, 1, "both: from a, from b\n");
	deliver(&w.r[0], &w.ops[1], 2, w.hlc[1]);
	expect_text(w.r[0].doc, "both: from a, from b\n");
	CHECK(doc_conflict_count(w.r[0].doc) == 0);
	two_end(&w);
}

/* A program that touches a file, then writes it, on both devices. */
static void test_doc_text_touched_first_is_one(void)
{
	struct replica r[2] = {replica_new(1), replica_new(2)};
	struct ops ops[2] = {0};

	for (size_t i = 0; i < 2; i++) {
		CHECK(save_on(&r[i], r[i].doc, SLICE("", 0), false, &ops[i]));
		struct doc_stamp stamp = {.actor = r[i].actor,
					  .hlc = r[i].hlc,
					  .lamport = &r[i].lamport,
					  .unseen = true};
		AUTO(ops_fini) struct ops more = {0};
		CHECK(doc_diff(r[i].doc, SLICE_STR("content\n"), false, &node_id, &stamp, &more));
		deliver(&r[i], &more, r[i].actor, r[i].hlc);
		deliver(&r[!i], &ops[i], r[i].actor, r[i].hlc);
		deliver(&r[!i], &more, r[i].actor, r[i].hlc);
		expect_text(r[i].doc, "content\n");
	}
	expect_text(r[0].doc, "content\n");
	expect_same_state(r[0].doc, r[1].doc);
	CHECK(doc_conflict_count(r[0].doc) == 0);
	for (size_t i = 0; i < 2; i++) {
		ops_fini(&ops[i]);
		replica_fini(&r[i]);
	}
}

static void test_doc_text_stale_save_keeps_what_came_in(void)
{
	struct two w;

	two_begin(&w, "1\n2\n3\n");
	struct doc *stale = doc_clone(w.r[0].doc);
	two_save(&w, 1, "1\n2\n3\nfrom b\n");
	deliver(&w.r[0], &w.ops[1], 2, w.hlc[1]);
	AUTO(ops_fini) struct ops ops = {0};
	(void)save_on(&w.r[0], stale, SLICE_STR("1\nnew\n2\n3\n"), false, &ops);
	expect_text(w.r[0].doc, "1\nnew\n2\n3\nfrom b\n");
	deliver(&w.r[1], &ops, 1, w.r[0].hlc);
	expect_same_state(w.r[0].doc, w.r[1].doc);
	doc_destroy(stale);
	two_end(&w);
}

static void test_doc_text_edit_survives_a_new_text(void)
{
	struct two w;

	two_begin(&w, "alpha\nbeta\n");
	two_save(&w, 0, "alpha\nbeta\ngamma\n");
	two_save(&w, 1, "something else entirely, quite long\n");
	CHECK(w.ops[1].items[0].kind == OP_RAW && w.ops[0].items[0].kind == OP_TEXT);
	two_meet(&w);
	CHECK(doc_conflict_count(w.r[0].doc) == 1);
	two_end(&w);
}

/* ---- at random: every word anyone wrote is there, or taken away by somebody who saw it ---- */

#define PEERS 4
#define SAVES 20
#define WORDS (PEERS * SAVES * 4)
#define WORD_BYTES 9

struct sent {
	struct ops ops;
	uint64_t hlc;
	size_t needs[PEERS];
};

struct world {
	struct replica peers[PEERS];
	struct doc_mem *mem[PEERS];
	struct sent sent[PEERS][SAVES];
	size_t sent_count[PEERS];
	size_t has[PEERS][PEERS];
	char words[WORDS][WORD_BYTES + 1];
	bool dropped[WORDS]; /* by somebody who saw it */
	size_t word_count;
	struct doc *stale;
	size_t stale_of;
	bool json;
};

static bool contains(struct slice text, const char *word)
{
	return text.len && memmem(text.data, text.len, word, strlen(word)) != NULL;
}

static const char *new_word(struct world *w)
{
	char *word = w->words[w->word_count];

	CHECK(w->word_count < WORDS);
	/* One letter three times, used for nothing else: no two words have any in common. */
	uint32_t letter = 0x4e00 + (uint32_t)w->word_count;
	for (size_t i = 0; i < WORD_BYTES; i += 3) {
		word[i] = (char)(0xe0 | letter >> 12);
		word[i + 1] = (char)(0x80 | (letter >> 6 & 63));
		word[i + 2] = (char)(0x80 | (letter & 63));
	}
	word[WORD_BYTES] = 0;
	w->word_count++;
	return word;
}

static size_t line_start(struct slice text, size_t at)
{
	while (at > 0 && at <= text.len && text.data[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_end(struct slice text, size_t at)
{
	while (at < text.len && text.data[at] != '\n')
		at++;
	return at < text.len ? at + 1 : at;
}

static void one_edit(struct world *w, struct buf *b)
{
	struct buf out = {0};
	struct slice text = buf_slice(b);
	size_t at = line_start(text, rnd(text.len + 1));
	size_t end = line_end(text, at);

	if (text.len)
		buf_append(&out, text.data, at);
	switch (rnd(6)) {
	case 0: /* a line less */
		at = end;
		break;
	case 1: /* one word more in a line */
		if (end > at && text.data[end - 1] == '\n')
			end--;
		if (end > at)
			buf_append(&out, text.data + at, end - at);
		buf_printf(&out, " %s", new_word(w));
		at = end;
		break;
	case 2: /* at the end, as a log */
		if (text.len > at)
			buf_append(&out, text.data + at, text.len - at);
		at = text.len;
		buf_printf(&out, "%s\n", new_word(w));
		break;
	default:
		buf_printf(&out, "%s%s", new_word(w), rnd(5) ? "\n" : "\r\n");
		break;
	}
	if (text.len > at)
		buf_append(&out, text.data + at, text.len - at);
	buf_fini(b);
	*b = out;
}

static struct buf random_text(struct world *w, struct slice shown)
{
	struct buf b = {0};

	switch (rnd(30)) {
	case 0: /* something else */
		buf_printf(&b, "%s\n%s\n", new_word(w), new_word(w));
		return b;
	case 1: /* a binary */
		buf_printf(&b, "%s", new_word(w));
		buf_u8(&b, 0);
		return b;
	case 2:
		buf_printf(&b, "{\"key\": \"%s\"}\n", new_word(w));
		return b;
	case 3: /* the same again, or nothing at all */
		if (rnd(2))
			buf_slice_append(&b, shown);
		return b;
	default:
		break;
	}
	buf_slice_append(&b, shown);
	for (uint64_t n = 1 + rnd(3); n > 0; n--)
		one_edit(w, &b);
	return b;
}

static void world_save(struct world *w, size_t i)
{
	struct replica *p = &w->peers[i];
	bool stale = w->stale && w->stale_of == i && rnd(3) == 0;
	const struct doc *base = stale ? w->stale : p->doc;
	AUTO(buf_fini) struct buf shown = render(base);
	size_t old_words = w->word_count;
	AUTO(buf_fini) struct buf b = random_text(w, buf_slice(&shown));
	struct sent *s = &w->sent[i][w->sent_count[i]];

	for (size_t k = 0; k < w->word_count; k++)
		w->dropped[k] = w->dropped[k] ||
				((k >= old_words || contains(buf_slice(&shown), w->words[k])) &&
				 !contains(buf_slice(&b), w->words[k]));
	if (rnd(3) == 0)
		p->hlc = rnd(2000); /* a clock that is wrong */
	p->hlc++;
	struct doc_stamp stamp = {.actor = p->actor, .hlc = p->hlc, .lamport = &p->lamport};
	/* A save over several values settles them: those that lost, it does away with, unless it is no change. */
	if (doc_diff(base, buf_slice(&b), w->json, &node_id, &stamp, &s->ops)) {
		for (size_t k = 0; k < w->word_count; k++)
			w->dropped[k] = w->dropped[k] || (base->raw.count > 1 &&
							  !contains(buf_slice(&b), w->words[k]));
	}
	deliver(p, &s->ops, p->actor, p->hlc);
	if (!stale)
		expect_render(p->doc, buf_slice(&b));
	s->hlc = p->hlc;
	memcpy(s->needs, w->has[i], sizeof(s->needs));
	w->sent_count[i]++;
	w->has[i][i]++;
}

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
	if (rnd(6) == 0) { /* again */
		const struct sent *old = &w->sent[from][rnd(next + 1)];

		deliver(&w->peers[to], &old->ops, w->peers[from].actor, old->hlc);
	}
	return true;
}

/* The state goes through its code; the log stays where it was. */
static void restart(struct world *w, size_t i)
{
	AUTO(buf_fini) struct buf rendered = render(w->peers[i].doc);
	AUTO(buf_fini) struct buf state = {0};
	struct doc *again = NULL;

	doc_encode(w->peers[i].doc, buf_slice(&rendered), &state);
	CHECK(doc_decode(buf_slice(&state), buf_slice(&rendered), &again) == 0);
	doc_destroy(w->peers[i].doc);
	doc_set_side(again, doc_mem_side(w->mem[i]));
	w->peers[i].doc = again;
}

static void add_loser(void *ctx, const struct doc_loser *l)
{
	struct buf *all = ctx;

	buf_slice_append(all, l->value);
	buf_u8(all, '\n');
}

static void world_check(struct world *w)
{
	AUTO(buf_fini) struct buf all = render(w->peers[0].doc);

	for (size_t i = 1; i < PEERS; i++) {
		expect_render(w->peers[i].doc, buf_slice(&all));
		expect_same_state(w->peers[0].doc, w->peers[i].doc);
		CHECK(doc_error(w->peers[i].doc) == 0);
	}
	expect_round_trip(w->peers[0].doc);
	buf_u8(&all, '\n');
	doc_losers(w->peers[0].doc, add_loser, &all);
	for (size_t i = 0; i < w->word_count; i++) {
		/* Fields and whole values hide each other; only what is text throughout is judged. */
		if (!w->json && !w->dropped[i] && !contains(buf_slice(&all), w->words[i])) {
			(void)fprintf(stderr, "lost: %s\n", w->words[i]);
			show("left", buf_slice(&all));
			CHECK(false);
		}
	}
}

static void world_run(struct world *w)
{
	w->json = rnd(4) == 0;
	for (size_t i = 0; i < PEERS; i++) {
		w->peers[i] = replica_new(100 - i * 7);
		w->mem[i] = doc_mem_create();
		doc_set_side(w->peers[i].doc, doc_mem_side(w->mem[i]));
	}
	for (int step = 0; step < 90; step++) {
		size_t i = rnd(PEERS);

		if (rnd(3) == 0 && w->sent_count[i] < SAVES)
			world_save(w, i);
		else
			(void)hand_over(w, i, rnd(PEERS));
		if (rnd(10) == 0) {
			doc_destroy(w->stale);
			w->stale = doc_clone(w->peers[i].doc);
			w->stale_of = i;
		}
		if (rnd(5) == 0)
			restart(w, rnd(PEERS));
	}
	for (bool any = true; any;) {
		any = false;
		for (int k = 0; k < PEERS * PEERS * 4; k++)
			any |= hand_over(w, rnd(PEERS), rnd(PEERS));
		for (size_t k = 0; k < PEERS * PEERS; k++)
			any |= hand_over(w, k / PEERS, k % PEERS);
	}
}

static void test_doc_text_random(void)
{
	for (uint64_t round = 0; round < rounds_max; round++) {
		struct world *w = xcalloc(1, sizeof(*w));

		seed_set(seed_first + round);
		world_run(w);
		world_check(w);
		for (size_t i = 0; i < PEERS; i++) {
			replica_fini(&w->peers[i]);
			doc_mem_destroy(w->mem[i]);
			for (size_t k = 0; k < w->sent_count[i]; k++)
				ops_fini(&w->sent[i][k].ops);
		}
		doc_destroy(w->stale);
		free(w);
	}
	seed_now = 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seed_first = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		rounds_max = strtoull(argv[2], NULL, 10);
	RUN(doc_text_both_edits_are_in);
	RUN(doc_text_appends_stay_whole);
	RUN(doc_text_created_alike_is_one);
	RUN(doc_text_edits_meet_a_late_beginning);
	RUN(doc_text_created_unlike_is_a_conflict);
	RUN(doc_text_touched_first_is_one);
	RUN(doc_text_stale_save_keeps_what_came_in);
	RUN(doc_text_edit_survives_a_new_text);
	RUN(doc_text_random);
	return 0;
}
