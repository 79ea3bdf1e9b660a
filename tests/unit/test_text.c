/*
 * core/text: random histories against a slow reference, and what concurrent typing must not do.
 *
 *   test_text [SEED [ROUNDS]]   prints the seed when it fails
 */
#include "core/text.h"
#include "tests/unit/random.h"

#define OPS_MAX 60
#define PEERS 4
#define CHARS_MAX 4096

static uint64_t seed_first = 1;
static uint64_t rounds_max = 1500;

/* ---- the reference: every character ever, each with what stood beside it ---- */

struct record {
	struct opid id;
	struct opid parents[OPS_MAX];
	size_t parent_count;
	struct text_edits edits;
	uint8_t bytes[64];
	bool past[OPS_MAX]; /* of the operations before it: it is built on them */
};

struct letter {
	int left;  /* index in `letters`, -1: the beginning */
	int right; /* -1: the end */
	int op;
	bool deleted_by[OPS_MAX];
	uint8_t byte;
};

struct reference {
	struct letter letters[CHARS_MAX];
	int letter_count;
	int order[CHARS_MAX]; /* letters as they stand in the text */
	int count;
};

static int where(const struct reference *f, int letter)
{
	for (int i = 0; i < f->count; i++) {
		if (f->order[i] == letter)
			return i;
	}
	abort();
}

static bool inserted_in(const struct reference *f, int letter, const bool *past)
{
	return f->letters[letter].op < 0 || past[f->letters[letter].op];
}

static bool there_in(const struct reference *f, int letter, const bool *past)
{
	if (!inserted_in(f, letter, past))
		return false;
	for (int i = 0; i < OPS_MAX; i++) {
		if (past[i] && f->letters[letter].deleted_by[i])
			return false;
	}
	return true;
}

/* YjsMod, letter by letter, as published. */
static void reference_insert(struct reference *f, const struct record *ops, int op,
			     const bool *past, uint64_t pos, uint8_t byte)
{
	int left = -1;
	int right = -1;
	int left_at = -1;

	for (int i = 0; i < f->count && pos > 0; i++) {
		if (there_in(f, f->order[i], past) && --pos == 0) {
			left = f->order[i];
			left_at = i;
		}
	}
	CHECK(pos == 0);
	int right_at = left_at + 1;
	while (right_at < f->count && !inserted_in(f, f->order[right_at], past))
		right_at++;
	if (right_at < f->count)
		right = f->order[right_at];
	int dest = left_at + 1;
	bool scanning = false;
	for (int i = dest;; i++) {
		if (!scanning)
			dest = i;
		if (i == right_at)
			break;
		const struct letter *o = &f->letters[f->order[i]];
		int oleft = o->left < 0 ? -1 : where(f, o->left);
		int oright = o->right < 0 ? f->count : where(f, o->right);
		if (oleft < left_at)
			break;
		if (oleft > left_at)
			continue;
		if (oright < right_at) {
			scanning = true;
		} else if (oright == right_at) {
			if (opid_cmp(ops[op].id, ops[o->op].id) < 0)
				break;
			scanning = false;
		} else {
			scanning = false;
		}
	}
	CHECK(f->letter_count < CHARS_MAX);
	memmove(&f->order[dest + 1], &f->order[dest], (size_t)(f->count - dest) * sizeof(int));
	f->order[dest] = f->letter_count;
	f->letters[f->letter_count++] =
		(struct letter){.left = left, .right = right, .op = op, .byte = byte};
	f->count++;
}

static void reference_apply(struct reference *f, const struct record *ops, int op)
{
	bool past[OPS_MAX];
	uint64_t shift = 0;

	memcpy(past, ops[op].past, sizeof(past));
	past[op] = true;
	for (size_t k = 0; k < ops[op].edits.count; k++) {
		const struct text_edit *x = &ops[op].edits.items[k];
		uint64_t pos = x->pos + shift;

		for (uint64_t n = 0; n < x->del; n++) {
			uint64_t left = pos;
			int at = 0;

			while (!there_in(f, f->order[at], past) || left-- > 0)
				at++;
			f->letters[f->order[at]].deleted_by[op] = true;
		}
		for (size_t n = 0; n < x->ins.len; n++)
			reference_insert(f, ops, op, past, pos + n, x->ins.data[n]);
		shift += x->ins.len - x->del;
	}
}

static void expect_reference(const struct reference *f, struct text *t)
{
	bool all[OPS_MAX];
	AUTO(buf_fini) struct buf want = {0};

	memset(all, true, sizeof(all));
	for (int i = 0; i < f->count; i++) {
		if (there_in(f, f->order[i], all))
			buf_u8(&want, f->letters[f->order[i]].byte);
	}
	if (!slice_eq(text_content(t), buf_slice(&want))) {
		show("got", text_content(t));
		show("want", buf_slice(&want));
	}
	CHECK(slice_eq(text_content(t), buf_slice(&want)));
}

/* ---- random histories ---- */

struct peer {
	struct text *text;
	bool has[OPS_MAX];
	struct opid *stale_heads; /* of a version some program still has open */
	size_t stale_count;
	struct buf stale;
	bool stale_has[OPS_MAX];
};

struct world {
	struct record ops[OPS_MAX];
	int op_count;
	struct peer peers[PEERS];
	size_t peer_count;
	struct text_event log[OPS_MAX];
	struct buf base;
	uint64_t lamport;
};

static void apply(struct world *w, struct peer *p, int op)
{
	const struct record *o = &w->ops[op];
	uint64_t len = 0;
	enum text_outcome r =
		text_apply(p->text, o->id, o->parents, o->parent_count, &o->edits, &len);

	if (r == TEXT_MISSING) { /* all that is here is loaded, in some order that can be */
		struct text_event log[OPS_MAX];
		size_t n = 0;

		for (int i = 0; i < w->op_count; i++) {
			if (p->has[i])
				log[n++] = w->log[i];
		}
		text_sort(log, n);
		CHECK(text_load(p->text, log, n, true));
		r = text_apply(p->text, o->id, o->parents, o->parent_count, &o->edits, &len);
	}
	CHECK(r == TEXT_APPLIED);
	p->has[op] = true;
	if (w->log[op].id.lamport)
		CHECK(w->log[op].len == len);
	w->log[op] = (struct text_event){.id = o->id,
					 .parents = o->parents,
					 .parent_count = o->parent_count,
					 .len = len,
					 .edits = o->edits};
}

static void random_edits(struct record *o, struct slice seen)
{
	uint64_t at = 0;
	size_t used = 0;

	for (uint64_t n = 1 + rnd(3); n > 0 && at <= seen.len; n--) {
		struct text_edit x = {.pos = at + rnd(seen.len - at + 1)};

		if (rnd(4) == 0)
			x.pos = at; /* many at the same place */
		x.del = rnd(3) == 0 ? rnd(seen.len - x.pos < 6 ? seen.len - x.pos + 1 : 6) : 0;
		size_t len = rnd(3) == 0 && x.del ? 0 : rnd(5);
		for (size_t i = 0; i < len; i++)
			o->bytes[used + i] = (uint8_t)('a' + rnd(26));
		x.ins = SLICE(o->bytes + used, len);
		used += len;
		at = x.pos + x.del + rnd(3);
		if (x.del || len)
			text_edits_add(&o->edits, x);
	}
}

static void make_op(struct world *w, size_t author)
{
	struct peer *p = &w->peers[author];
	struct record *o = &w->ops[w->op_count];
	bool stale = p->stale_heads && rnd(4) == 0;
	struct opid *heads = NULL;
	size_t n = text_heads(p->text, &heads);

	if (rnd(3) == 0 || !p->stale_heads) {
		free(p->stale_heads);
		p->stale_count = text_heads(p->text, &p->stale_heads);
		buf_clear(&p->stale);
		buf_slice_append(&p->stale, text_content(p->text));
		memcpy(p->stale_has, p->has, sizeof(p->has));
	}
	*o = (struct record){.id = {.lamport = ++w->lamport, .actor = 100 + author}};
	o->parent_count = stale ? p->stale_count : n;
	if (o->parent_count)
		memcpy(o->parents, stale ? p->stale_heads : heads, o->parent_count * sizeof(*heads));
	free(heads);
	memcpy(o->past, stale ? p->stale_has : p->has, sizeof(o->past));
	random_edits(o, stale ? buf_slice(&p->stale) : text_content(p->text));
	AUTO(buf_fini) struct buf want = {0};
	CHECK(text_edits_apply(&o->edits, stale ? buf_slice(&p->stale) : text_content(p->text),
			       &want) == 0);
	bool current = o->parent_count == n && !stale;
	apply(w, p, w->op_count++);
	if (current)
		CHECK(slice_eq(text_content(p->text), buf_slice(&want)));
}

static bool may_have(const struct world *w, const struct peer *p, int op)
{
	for (int i = 0; i < w->op_count; i++) {
		if (w->ops[op].past[i] && !p->has[i])
			return false;
	}
	return !p->has[op];
}

static void deliver_some(struct world *w, size_t to, unsigned most)
{
	for (unsigned tries = 0; tries < most && w->op_count; tries++) {
		int op = (int)rnd((uint64_t)w->op_count);

		if (may_have(w, &w->peers[to], op))
			apply(w, &w->peers[to], op);
	}
}

/* What is stored and read again: the text and its heads alone. */
static void forget_graph(struct peer *p)
{
	struct opid *heads = NULL;
	size_t n = text_heads(p->text, &heads);
	struct text *t = n ? text_create(text_content(p->text), heads, n) : NULL;

	if (t) {
		text_destroy(p->text);
		p->text = t;
	}
	free(heads);
}

static void world_run(struct world *w)
{
	w->peer_count = 2 + rnd(PEERS - 1);
	for (uint64_t n = rnd(12); n > 0; n--)
		buf_u8(&w->base, (uint8_t)('A' + rnd(26)));
	for (size_t i = 0; i < w->peer_count; i++)
		w->peers[i].text = text_create(buf_slice(&w->base), NULL, 0);
	int ops = (int)(5 + rnd(OPS_MAX - 5));
	unsigned chatty = (unsigned)(1 + rnd(12)); /* how much of what is sent arrives soon */
	while (w->op_count < ops) {
		size_t i = rnd(w->peer_count);

		make_op(w, i);
		deliver_some(w, rnd(w->peer_count), chatty);
		if (rnd(8) == 0)
			forget_graph(&w->peers[rnd(w->peer_count)]);
	}
	for (size_t i = 0; i < w->peer_count; i++) {
		for (bool all = false; !all;) {
			deliver_some(w, i, 200);
			all = true;
			for (int k = 0; k < w->op_count; k++)
				all = all && w->peers[i].has[k];
		}
	}
}

static void test_text_random(void)
{
	for (uint64_t round = 0; round < rounds_max; round++) {
		struct world *w = xcalloc(1, sizeof(*w));
		struct reference *f = xcalloc(1, sizeof(*f));

		seed_set(seed_first + round);
		world_run(w);
		for (size_t i = 0; i < w->base.len; i++) {
			f->letters[i] = (struct letter){
				.left = (int)i - 1,
				.right = i + 1 < w->base.len ? (int)i + 1 : -1,
				.op = -1,
				.byte = w->base.data[i],
			};
			f->order[f->count++] = f->letter_count++;
		}
		for (int i = 0; i < w->op_count; i++)
			reference_apply(f, w->ops, i);
		for (size_t i = 0; i < w->peer_count; i++) {
			expect_reference(f, w->peers[i].text);
			text_destroy(w->peers[i].text);
			free(w->peers[i].stale_heads);
			buf_fini(&w->peers[i].stale);
		}
		for (int i = 0; i < w->op_count; i++)
			text_edits_fini(&w->ops[i].edits);
		buf_fini(&w->base);
		free(f);
		free(w);
	}
}

/* ---- two who type at one place ---- */

/* Each types a word of its own, forwards, or backwards by always going back to the start. */
static void type_apart(bool backwards_a, bool backwards_b)
{
	static const char *const words[] = {"abcdef", "UVWXYZ"};
	const bool backwards[] = {backwards_a, backwards_b};
	struct text *at[2];
	struct opid id[2][6];
	uint8_t bytes[2][6];
	struct text_edits edits[2][6] = {0};
	uint64_t len = 0;

	for (size_t p = 0; p < 2; p++) {
		at[p] = text_create(SLICE_STR("()"), NULL, 0);
		for (size_t i = 0; i < 6; i++) {
			size_t n = backwards[p] ? 5 - i : i;

			bytes[p][i] = (uint8_t)words[p][n];
			id[p][i] = (struct opid){i + 1, p + 1};
			text_edits_add(&edits[p][i],
				       (struct text_edit){.pos = backwards[p] ? 1 : 1 + i,
							  .ins = SLICE(&bytes[p][i], 1)});
			CHECK(text_apply(at[p], id[p][i], i ? &id[p][i - 1] : NULL, i != 0,
					 &edits[p][i], &len) == TEXT_APPLIED);
		}
	}
	for (size_t p = 0; p < 2; p++) {
		for (size_t i = 0; i < 6; i++)
			CHECK(text_apply(at[p], id[!p][i], i ? &id[!p][i - 1] : NULL, i != 0,
					 &edits[!p][i], &len) == TEXT_APPLIED);
	}
	bool one = slice_eq(text_content(at[0]), SLICE_STR("(abcdefUVWXYZ)"));
	bool other = slice_eq(text_content(at[0]), SLICE_STR("(UVWXYZabcdef)"));
	if (!one && !other)
		show("interleaved", text_content(at[0]));
	CHECK(one || other);
	CHECK(slice_eq(text_content(at[0]), text_content(at[1])));
	for (size_t p = 0; p < 2; p++) {
		text_destroy(at[p]);
		for (size_t i = 0; i < 6; i++)
			text_edits_fini(&edits[p][i]);
	}
}

static void test_text_typing_never_interleaves(void)
{
	for (int i = 0; i < 4; i++)
		type_apart(i & 1, i & 2);
}

static void test_text_beyond_the_end_changes_nothing(void)
{
	struct text *t = text_create(SLICE_STR("abc"), NULL, 0);
	AUTO(text_edits_fini) struct text_edits e = {0};
	const struct opid id = {1, 1};
	uint64_t len = 0;

	text_edits_add(&e, (struct text_edit){.pos = 2, .del = 2});
	CHECK(text_apply(t, id, NULL, 0, &e, &len) == TEXT_BEYOND);
	CHECK(slice_eq(text_content(t), SLICE_STR("abc")) && len == 3);
	e.items[0] = (struct text_edit){.pos = 0, .ins = SLICE("x", 1)};
	CHECK(text_apply(t, (struct opid){2, 1}, &id, 1, &e, &len) == TEXT_APPLIED);
	/* One that is concurrent, and beyond what its author had, not beyond what is here. */
	e.items[0] = (struct text_edit){.pos = 4, .ins = SLICE("y", 1)};
	CHECK(text_apply(t, (struct opid){2, 2}, &id, 1, &e, &len) == TEXT_BEYOND);
	CHECK(slice_eq(text_content(t), SLICE_STR("xabc")));
	text_destroy(t);
}

/* ---- codes ---- */

static void test_text_codes_round_trip(void)
{
	for (uint64_t round = 0; round < rounds_max; round++) {
		struct record o = {0};
		uint8_t text[40];
		AUTO(buf_fini) struct buf wire = {0};
		AUTO(buf_fini) struct buf again = {0};
		AUTO(text_edits_fini) struct text_edits back = {0};
		struct arena arena = {0};
		struct text_event log = {0};

		seed_set(seed_first + round);
		memset(text, 'x', sizeof(text));
		random_edits(&o, SLICE(text, rnd(sizeof(text))));
		text_edits_encode(&o.edits, &wire);
		CHECK(text_edits_decode(buf_slice(&wire), &back) == 0 && back.count == o.edits.count);
		text_edits_encode(&back, &again);
		CHECK(slice_eq(buf_slice(&wire), buf_slice(&again)));
		const struct opid parents[] = {{3, 9}, {4, 7}};
		struct text_event v = {.id = {5, 9},
				       .parents = parents,
				       .parent_count = rnd(3),
				       .len = rnd(100),
				       .edits = o.edits};
		buf_clear(&wire);
		buf_clear(&again);
		text_event_encode(&v, &wire);
		CHECK(text_event_decode(buf_slice(&wire), v.id, &arena, &log) == 0);
		CHECK(log.parent_count == v.parent_count && log.len == v.len);
		text_event_encode(&log, &again);
		CHECK(slice_eq(buf_slice(&wire), buf_slice(&again)));
		text_edits_fini(&log.edits);
		text_edits_fini(&o.edits);
		arena_fini(&arena);
	}
}

static void test_text_line_ends_are_cheap(void)
{
	AUTO(buf_fini) struct buf wire = {0};
	AUTO(text_edits_fini) struct text_edits e = {0};

	for (uint64_t i = 0; i < 1000; i++)
		text_edits_add(&e, (struct text_edit){.pos = 30 * i, .ins = SLICE("\r", 1)});
	text_edits_encode(&e, &wire);
	CHECK(wire.len < 1010);
}

static void test_text_history_in_one_piece(void)
{
	for (uint64_t round = 0; round < rounds_max / 4; round++) {
		struct world *w = xcalloc(1, sizeof(*w));
		AUTO(buf_fini) struct buf file = {0};
		AUTO(buf_fini) struct buf again = {0};
		struct text *whole = text_create(SLICE("", 0), NULL, 0);
		struct text *copy = NULL;
		uint64_t len = 0;

		seed_set(seed_first + round);
		world_run(w);
		text_keep_history(whole);
		/* The base as an operation of its own, before all others. */
		AUTO(text_edits_fini) struct text_edits first = {0};
		const struct opid first_id = {1, 1};
		text_edits_add(&first, (struct text_edit){.ins = buf_slice(&w->base)});
		CHECK(text_apply(whole, first_id, NULL, 0, &first, &len) == TEXT_APPLIED);
		for (int i = 0; i < w->op_count; i++) {
			const struct record *o = &w->ops[i];
			size_t n = o->parent_count;

			CHECK(text_apply(whole, o->id, n ? o->parents : &first_id, n ? n : 1,
					 &o->edits, &len) == TEXT_APPLIED);
		}
		CHECK(slice_eq(text_content(whole), text_content(w->peers[0].text)));
		text_export(whole, &file);
		CHECK(text_import(buf_slice(&file), &copy) == 0);
		CHECK(slice_eq(text_content(copy), text_content(whole)));
		text_export(copy, &again);
		CHECK(slice_eq(buf_slice(&file), buf_slice(&again)));
		for (size_t i = 0; i < w->peer_count; i++) {
			text_destroy(w->peers[i].text);
			free(w->peers[i].stale_heads);
			buf_fini(&w->peers[i].stale);
		}
		for (int i = 0; i < w->op_count; i++)
			text_edits_fini(&w->ops[i].edits);
		buf_fini(&w->base);
		text_destroy(whole);
		text_destroy(copy);
		free(w);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seed_first = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		rounds_max = strtoull(argv[2], NULL, 10);
	RUN(text_random);
	RUN(text_typing_never_interleaves);
	RUN(text_beyond_the_end_changes_nothing);
	RUN(text_codes_round_trip);
	RUN(text_line_ends_are_cheap);
	RUN(text_history_in_one_piece);
	return 0;
}
