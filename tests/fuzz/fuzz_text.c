/* core/text: edits, events and whole histories from any bytes; what decodes applies without harm. */
#include "core/text.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Whole lines, in order; looking again from what is known gives the same. */
static void clashes(struct text *t)
{
	struct slice text = text_content(t);
	struct text_clash *all = NULL;
	struct text_clash *again = NULL;
	size_t count = 0;
	size_t count_again = 0;
	uint64_t at = 0;

	int r = text_clashes(t, NULL, 0, &all, &count);
	assert(r == 0);
	for (size_t i = 0; i < count; i++) {
		const struct text_clash *c = &all[i];

		assert(c->pos >= at && c->len > 0 && c->pos + c->len <= text.len);
		assert(c->pos == 0 || text.data[c->pos - 1] == '\n');
		at = c->pos + c->len;
		assert(at == text.len || text.data[at - 1] == '\n');
	}
	r = text_clashes(t, all, count, &again, &count_again);
	assert(r == 0 && count_again == count);
	free(all);
	free(again);
}

static void edits(struct slice bytes)
{
	static const char base[] = "The quick brown fox\njumps over\nthe lazy dog\n";
	AUTO(text_edits_fini) struct text_edits e = {0};
	AUTO(buf_fini) struct buf plain = {0};
	const struct opid ids[] = {{1, 1}, {1, 2}, {2, 1}};
	uint64_t seen = 0;

	if (text_edits_decode(bytes, &e) < 0)
		return;
	/* Twice at the same time, then once more on top of the first. */
	struct text *t = text_create(SLICE_STR(base), NULL, 0);
	enum text_outcome r = text_apply(t, ids[0], NULL, 0, &e, &seen);
	bool fits = text_edits_apply(&e, SLICE_STR(base), &plain) == 0;
	assert((r == TEXT_APPLIED) == fits);
	if (fits)
		assert(slice_eq(text_content(t), buf_slice(&plain)));
	(void)text_apply(t, ids[1], NULL, 0, &e, &seen);
	(void)text_apply(t, ids[2], ids, 1, &e, &seen);
	clashes(t);
	text_destroy(t);
}

static void events(struct slice bytes)
{
	AUTO(buf_fini) struct buf again = {0};
	struct arena arena = {0};
	struct text_event v = {0};

	if (text_event_decode(bytes, (struct opid){1000, 7}, &arena, &v) == 0) {
		struct text *t = text_create(SLICE("", 0), &v.id, 1);

		text_event_encode(&v, &again);
		(void)text_load(t, &v, 1, true);
		text_destroy(t);
	}
	text_edits_fini(&v.edits);
	arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct text *t = NULL;

	if (len == 0)
		return 0;
	struct slice rest = SLICE(data + 1, len - 1);
	if (data[0] % 3 == 0)
		edits(rest);
	else if (data[0] % 3 == 1)
		events(rest);
	else if (text_import(rest, &t) == 0)
		text_destroy(t);
	return 0;
}
