/* The entries of a snapshot's piece: what is accepted lies within the input, and reading ends. */
#include "core/snapshot_i.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader r = reader_init(SLICE(data, len));
	struct snapshot_item item;

	while (snapshot_read(&r, &item) == 1) {
		AUTO(node_fini) struct node n = {0};
		struct doc *doc = NULL;

		assert(item.value.len <= len && item.state.len <= len && item.rest.len <= 64);
		if (item.kind != SNAPSHOT_NODE || node_decode(&item.id, item.value, &n) < 0)
			continue;
		if (doc_decode(item.state, item.rendered, &doc) == 0) {
			AUTO(buf_fini) struct buf shown = {0};

			(void)doc_last_lamport(doc);
			doc_render(doc, &shown);
			doc_destroy(doc);
		}
	}
	return 0;
}
