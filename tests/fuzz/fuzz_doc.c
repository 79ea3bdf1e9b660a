/* doc_diff(), doc_apply(), doc_render(): what is saved is read back; two saves an input. */
#include "core/doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void save(struct doc *d, struct slice bytes, uint64_t *lamport)
{
	AUTO(ops_fini) struct ops ops = {0};
	AUTO(buf_fini) struct buf out = {0};
	AUTO(buf_fini) struct buf state = {0};
	const struct id node = {{1}};
	const struct doc_stamp stamp = {.actor = 7, .hlc = 1000 + *lamport, .lamport = lamport};
	struct doc *copy = NULL;

	(void)doc_diff(d, bytes, bytes.len % 2, &node, &stamp, &ops); /* as JSON, as text */
	for (size_t i = 0; i < ops.count; i++)
		doc_apply(d, &ops.items[i], (struct opid){ops.items[i].lamport, 7}, stamp.hlc);
	doc_render(d, &out);
	assert(slice_eq(buf_slice(&out), bytes));
	doc_encode(d, bytes, &state);
	int r = doc_decode(buf_slice(&state), bytes, &copy);
	assert(r == 0);
	buf_clear(&out);
	doc_render(copy, &out);
	assert(slice_eq(buf_slice(&out), bytes));
	doc_destroy(copy);
	/* Any bytes at all must do no harm as a state. */
	if (doc_decode(bytes, bytes, &copy) == 0) {
		(void)doc_conflict_count(copy);
		doc_render(copy, &out);
		doc_destroy(copy);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct doc *d = doc_create();
	uint64_t lamport = 0;

	save(d, SLICE(data, len / 2), &lamport);
	save(d, SLICE(data + len / 2, len - len / 2), &lamport);
	doc_destroy(d);
	return 0;
}
