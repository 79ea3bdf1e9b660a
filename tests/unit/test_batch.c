/* core/batch.h: changes told by what those before them said. Prints "ok NAME" for each test. */
#include "core/batch.h"
#include "core/change.h"
#include "tests/unit/doc_helpers.h"

#include <string.h>

#define ACTOR 7
#define SEEDS 400

static uint64_t rnd_state;

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rnd_state >> 33) % n;
}

/* Some nodes and paths, so that they come again; now and then many. */
static struct id some_node(void)
{
	uint32_t n = rnd(4) ? rnd(3) : rnd(300);

	return (struct id){{(uint8_t)n, (uint8_t)(n >> 8), 3}};
}

static struct slice some_path(struct arena *a)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "\1key%u", rnd(4) ? rnd(3) : rnd(300));
	return rnd(10) ? arena_copy(a, SLICE_STR(text)) : SLICE("", 0);
}

static void random_preds(struct ops *ops, struct op *op)
{
	static const size_t counts[] = {0, 1, 1, 1, 2, 40};
	struct opid *preds = ops_preds(ops, op, counts[rnd(countof(counts))]);

	for (size_t i = 0; i < op->pred_count; i++)
		preds[i] = (struct opid){.lamport = 1 + rnd((uint32_t)op->lamport + 9),
					 .actor = rnd(2) ? ACTOR : 90 + rnd(60)};
}

static void random_op(struct ops *ops, uint64_t lamport)
{
	const struct id node = some_node();
	struct op *op = ops_add(ops, (enum op_kind)(1 + rnd(OP_SPACE)), &node, lamport);

	random_preds(ops, op);
	if (op->kind == OP_MOVE) {
		op->node_kind = NODE_RECORD;
		op->parent = some_node();
		op->name = SLICE_STR("x.json");
	}
	op->path = some_path(&ops->arena);
	op->value_kind = rnd(4) ? VALUE_TEXT : VALUE_TREE;
	op->value = rnd(2) ? SLICE_STR("true") : SLICE("", 0);
	op->has_place = op->kind == OP_INSERT || op->kind == OP_PLACE ||
			(op->kind == OP_SET && rnd(3) == 0);
	op->place =
		(struct place){SLICE_STR("p"), (int64_t)rnd(9) - 4, 1 + rnd((uint32_t)lamport), -1};
	op->clears = rnd(4) == 0;
	op->exec = rnd(2);
}

static void random_change(struct buf *out, uint64_t *lamport, uint64_t *hlc)
{
	static const char *const programs[] = {"vim", "vim", "jq", "", "an unknown one"};
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(change_fini) struct change c = {.actor = ACTOR};
	size_t count = rnd(10) ? rnd(4) : rnd(40);

	*hlc += (uint64_t)rnd(3) << (rnd(2) ? 0 : 16);
	c.hlc = *hlc;
	c.program = SLICE_STR(programs[rnd(countof(programs))]);
	c.dep_count = rnd(5) ? 0 : 1 + rnd(40);
	c.deps = arena_alloc(&c.ops.arena, 40 * sizeof(*c.deps));
	for (size_t i = 0; i < c.dep_count; i++)
		c.deps[i] = (struct dep){.actor = 90 + i, .seq = rnd(1000)};
	for (size_t i = 0; i < count; i++) {
		*lamport += 1 + (rnd(5) ? 0 : rnd(1000));
		random_op(&c.ops, *lamport);
	}
	change_encode(&c, &bytes);
	buf_bytes(out, buf_slice(&bytes));
}

static void make_batch(struct buf *out, size_t count)
{
	uint64_t lamport = rnd(100000);
	uint64_t hlc = (uint64_t)rnd(1000000) << 16;

	buf_clear(out);
	for (size_t i = 0; i < count; i++)
		random_change(out, &lamport, &hlc);
}

static void expect_the_same(struct slice changes, size_t count, struct buf *coded)
{
	AUTO(buf_fini) struct buf back = {0};

	buf_clear(coded);
	batch_encode(ACTOR, changes, count, coded);
	CHECK(batch_decode(ACTOR, buf_slice(coded), count, SIZE_MAX, &back) == 0);
	CHECK(slice_eq(changes, buf_slice(&back)));
}

/* What goes in comes out, byte for byte; in rows, and never in more bytes than a code. */
static void test_batch_round_trip(void)
{
	AUTO(buf_fini) struct buf changes = {0};
	AUTO(buf_fini) struct buf coded = {0};

	for (rnd_state = 1; rnd_state <= SEEDS; rnd_state++) {
		uint64_t seed = rnd_state;
		size_t count = 1 + rnd(seed % 10 ? 8 : 256);

		make_batch(&changes, count);
		expect_the_same(buf_slice(&changes), count, &coded);
		CHECK(coded.data[0] == 1 && coded.len <= changes.len + 1);
		rnd_state = seed;
	}
}

/* What is no change, or stands in a way nobody writes, or has lamports that fall, passes as it is. */
static void test_batch_of_anything(void)
{
	AUTO(buf_fini) struct buf changes = {0};
	AUTO(buf_fini) struct buf later = {0};
	AUTO(buf_fini) struct buf coded = {0};
	uint64_t lamport = 1000;
	uint64_t hlc = 0;

	rnd_state = 5;
	buf_bytes(&changes, SLICE_STR("no change at all"));
	expect_the_same(buf_slice(&changes), 1, &coded);
	CHECK(coded.data[0] == 0);
	expect_the_same(SLICE_STR("\xff\xff\xff"), 1, &coded);
	CHECK(coded.data[0] == 0);
	while (changes.len < 100)
		random_change(&changes, &lamport, &hlc);
	do {
		lamport = 1;
		buf_clear(&later);
		random_change(&later, &lamport, &hlc);
	} while (lamport == 1);
	lamport = 100000;
	buf_clear(&changes);
	do {
		buf_clear(&changes);
		random_change(&changes, &lamport, &hlc);
	} while (lamport == 100000);
	buf_slice_append(&changes, buf_slice(&later));
	expect_the_same(buf_slice(&changes), 2, &coded);
	CHECK(coded.data[0] == 0);
}

/* No prefix of a batch is one, no flipped bit is a crash, and what passes can be written again. */
static void test_batch_damaged(void)
{
	AUTO(buf_fini) struct buf changes = {0};
	AUTO(buf_fini) struct buf coded = {0};
	AUTO(buf_fini) struct buf back = {0};

	rnd_state = 11;
	make_batch(&changes, 12);
	batch_encode(ACTOR, buf_slice(&changes), 12, &coded);
	for (size_t i = 0; i < coded.len; i++) {
		buf_clear(&back);
		CHECK(batch_decode(ACTOR, SLICE(coded.data, i), 12, SIZE_MAX, &back) == -EBADMSG);
		for (int bit = 0; i > 0 && bit < 8; bit++) {
			AUTO(buf_fini) struct buf again = {0};

			coded.data[i] ^= (uint8_t)(1 << bit);
			buf_clear(&back);
			if (batch_decode(ACTOR, buf_slice(&coded), 12, SIZE_MAX, &back) == 0)
				expect_the_same(buf_slice(&back), 12, &again);
			coded.data[i] ^= (uint8_t)(1 << bit);
		}
	}
	buf_clear(&back);
	CHECK(batch_decode(ACTOR, buf_slice(&coded), 12, changes.len - 1, &back) == -EBADMSG);
}

/* Edits of the same field: the node's id, the key and what is replaced are told once. */
static void test_batch_says_things_once(void)
{
	AUTO(buf_fini) struct buf changes = {0};
	AUTO(buf_fini) struct buf coded = {0};
	uint64_t lamport = 1000;

	for (unsigned i = 0; i < 101; i++) {
		AUTO(change_fini)
		struct change c = {.actor = ACTOR, .hlc = (UINT64_C(1700000000000) + i) << 16};
		AUTO(buf_fini) struct buf bytes = {0};
		struct op *touch = ops_add(&c.ops, OP_TOUCH, &node_id, lamport);
		*ops_preds(&c.ops, touch, 1) = (struct opid){lamport - 2, ACTOR};
		struct op *set = ops_add(&c.ops, OP_SET, &node_id, lamport + 1);
		*ops_preds(&c.ops, set, 1) = (struct opid){lamport - 1, ACTOR};
		set->path = SLICE_STR("\1name");
		set->value_kind = VALUE_TEXT;
		set->value = SLICE_STR("12345");
		change_encode(&c, &bytes);
		buf_bytes(&changes, buf_slice(&bytes));
		lamport += 2;
	}
	expect_the_same(buf_slice(&changes), 101, &coded);
	/* Head, clock, two operations, path, length and five digits. */
	CHECK(coded.len < 101 * 11 + 50);
}

int main(void)
{
	RUN(batch_round_trip);
	RUN(batch_of_anything);
	RUN(batch_damaged);
	RUN(batch_says_things_once);
	return 0;
}
