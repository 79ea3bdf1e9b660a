/* json_scan(): nodes lie inside the text and inside each other; a value is the same as itself. */
#include "core/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct json j;
	struct json_error e;

	if (json_scan(SLICE(data, len), &j, &e) == 0) {
		for (size_t i = 0; i < j.count; i++) {
			const struct json_node *n = &j.nodes[i];

			assert(n->start < n->end && n->end <= len);
			assert((n->parent == JSON_NONE) == (i == 0));
			if (i == 0)
				continue;
			const struct json_node *p = &j.nodes[n->parent];
			assert(n->parent < i && p->child_count > 0);
			assert(p->start < n->start && n->end < p->end);
			if (p->kind == JSON_ARRAY)
				continue;
			assert(p->kind == JSON_OBJECT);
			assert(p->start < n->key_start && n->key_end < n->start);
			assert(data[n->key_start] == '"' && data[n->key_end - 1] == '"');
		}
		struct slice root =
			SLICE(data + j.nodes[0].start, j.nodes[0].end - j.nodes[0].start);
		assert(json_same(root, root));
	} else {
		assert(e.line > 0 && e.column > 0 && e.what);
	}
	json_fini(&j);
	return 0;
}
