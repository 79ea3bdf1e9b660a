/*
 * doc_diff(), doc_apply(), doc_render(): what is saved is read back, two devices that hear of each
 * other show the same, and no operation and no state from elsewhere does harm.
 *
 * The input is up to four saves, separated by a 0xff byte each: the first two are made one after the
 * other on one device, the others concurrently on two.
 */
#include "core/doc.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct device {
	struct doc *doc;
	uint64_t actor;
	uint64_t lamport;
};

static void expect_bytes(const struct doc *d, struct slice bytes)
{
	AUTO(buf_fini) struct buf out = {0};

	doc_render(d, &out);
	assert(slice_eq(buf_slice(&out), bytes));
}

static void expect_round_trip(const struct doc *d, struct slice shown)
{
	AUTO(buf_fini) struct buf state = {0};
	AUTO(buf_fini) struct buf again = {0};
	struct doc *copy = NULL;

	doc_encode(d, shown, &state);
	int r = doc_decode(buf_slice(&state), shown, &copy);
	assert(r == 0);
	expect_bytes(copy, shown);
	doc_encode(copy, shown, &again);
	assert(slice_eq(buf_slice(&state), buf_slice(&again)));
	doc_destroy(copy);
}

static void apply(struct device *to, const struct ops *ops, uint64_t actor)
{
	for (size_t i = 0; i < ops->count; i++) {
		const struct op *op = &ops->items[i];

		doc_apply(to->doc, op, (struct opid){op->lamport, actor}, 1000 + op->lamport);
		if (to->lamport < op->lamport)
			to->lamport = op->lamport;
	}
}

static void save(struct device *x, struct slice bytes, struct ops *ops)
{
	const struct id node = {{1}};
	const struct doc_stamp stamp = {
		.actor = x->actor, .hlc = 1000 + x->lamport, .lamport = &x->lamport};

	(void)doc_diff(x->doc, bytes, bytes.len % 8 != 3, &node, &stamp, ops); /* else as text */
	apply(x, ops, x->actor);
	expect_bytes(x->doc, bytes);
	expect_round_trip(x->doc, bytes);
}

/* Any bytes at all must do no harm as a state, and as operations. */
static void try_hostile(const struct doc *doc, struct slice bytes)
{
	AUTO(buf_fini) struct buf out = {0};
	struct change c;
	struct doc *copy = NULL;

	if (doc_decode(bytes, bytes, &copy) == 0) {
		(void)doc_conflict_count(copy);
		doc_render(copy, &out);
		doc_destroy(copy);
	}
	if (change_decode(bytes, 99, &c) < 0)
		return;
	copy = doc_clone(doc);
	for (size_t i = 0; i < c.ops.count; i++)
		doc_apply(copy, &c.ops.items[i], (struct opid){c.ops.items[i].lamport, 99}, c.hlc);
	buf_clear(&out);
	doc_render(copy, &out);
	expect_round_trip(copy, buf_slice(&out));
	(void)doc_conflict_count(copy);
	doc_destroy(copy);
	change_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct slice saves[4] = {{data, len}, {data, 0}, {data, 0}, {data, 0}};
	struct device a = {.doc = doc_create(), .actor = 7};
	struct device b = {.actor = 3};
	struct ops ops[4] = {{0}};
	AUTO(buf_fini) struct buf shown = {0};

	for (size_t i = 0; i < 3; i++) {
		const uint8_t *end = saves[i].len ? memchr(saves[i].data, 0xff, saves[i].len) : NULL;

		if (!end)
			break;
		size_t n = (size_t)(end - saves[i].data);
		saves[i + 1] = SLICE(end + 1, saves[i].len - n - 1);
		saves[i].len = n;
	}
	save(&a, saves[0], &ops[0]);
	save(&a, saves[1], &ops[1]);
	b.doc = doc_clone(a.doc);
	b.lamport = a.lamport;
	save(&a, saves[2], &ops[2]);
	save(&b, saves[3], &ops[3]);
	apply(&a, &ops[3], b.actor);
	apply(&b, &ops[2], a.actor);
	doc_render(a.doc, &shown);
	expect_bytes(b.doc, buf_slice(&shown));
	expect_round_trip(b.doc, buf_slice(&shown));
	try_hostile(a.doc, SLICE(data, len));
	for (size_t i = 0; i < 4; i++)
		ops_fini(&ops[i]);
	doc_destroy(a.doc);
	doc_destroy(b.doc);
	return 0;
}
