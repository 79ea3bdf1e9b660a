/* core/change. Prints "ok NAME" for each test. */
#include "core/change.h"
#include "tests/unit/doc_helpers.h"

static void test_change_round_trip(void)
{
	AUTO(change_fini) struct change c = {.actor = 5, .hlc = 1234567890123};
	AUTO(change_fini) struct change back = {0};
	AUTO(buf_fini) struct buf wire = {0};
	AUTO(buf_fini) struct buf again = {0};
	const struct id other = {{9}};

	for (int kind = OP_TOUCH; kind <= OP_ORIGIN; kind++) {
		if (kind == OP_AUTH + 1 || (kind > OP_SPACE && kind < OP_ORIGIN))
			continue; /* 16 and 17 mean something else on the wire */
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
		op->has_place = kind != OP_UNSET;
		op->clears = true;
		op->count = 3;
		op->place = (struct place){SLICE_STR("xy"), -300, op->lamport - 2, 7};
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
	const struct op *set = &back.ops.items[3];
	CHECK(set->kind == OP_SET && set->has_place && set->clears && set->place.rank == -300);
	CHECK(set->place.waypoint == set->lamport - 2 && set->place.index == 7);
	CHECK(slice_eq(set->place.prefix, SLICE_STR("xy")));
	CHECK(back.ops.items[11].kind == OP_INSERT && back.ops.items[11].count == 3);
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
		{"\x05\x04\x00\xff\x1f", 5},	 /* ops */
		{"\x05\x14\x00\xff\x1f", 5},	 /* deps */
		{"\x05\x04\x00\xc1\x84\x3d", 6}, /* ops, above the limit */
		{"\x05\x18\x00\x01\x01", 5},	 /* first with the same node */
		{"\x05\x18\x00\x01\x21", 5},	 /* a node that is not there */
		{"\x05\x10\x00\x21", 4},	 /* lamport 0 */
		{"\x09\x00\x00\x00\x00\x00", 6}, /* version */
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct change c;

		CHECK(change_decode(SLICE(rows[i].bytes, rows[i].len), 5, &c) == -EBADMSG);
	}
}

int main(void)
{
	RUN(change_round_trip);
	RUN(change_of_nothing);
	RUN(change_hostile_counts);
	return 0;
}
