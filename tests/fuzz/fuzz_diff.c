/* diff_text(), diff_hashes(): the edits make the second half of the input of the first, whatever the budget. */
#include "core/diff.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool is_inside(struct slice s, bool sound, size_t at)
{
	return sound && at < s.len && (s.data[at] & 0xc0) == 0x80;
}

static void text(struct slice from, struct slice to, uint64_t budget)
{
	AUTO(diff_edits_fini) struct diff_edits e = {0};
	AUTO(buf_fini) struct buf out = {0};
	bool sound = slice_is_utf8(from) && slice_is_utf8(to);
	size_t at = 0;

	diff_text(from, to, budget, &e);
	for (size_t i = 0; i < e.count; i++) {
		const struct diff_edit *d = &e.items[i];

		assert(d->pos >= at && (i == 0 || d->pos > at) && d->pos + d->len <= from.len);
		assert(d->len || d->text.len);
		assert(!is_inside(from, sound, d->pos) && !is_inside(from, sound, d->pos + d->len));
		buf_append(&out, from.data + at, d->pos - at);
		assert(!is_inside(to, sound, out.len));
		buf_slice_append(&out, d->text);
		assert(!is_inside(to, sound, out.len));
		at = d->pos + d->len;
	}
	buf_append(&out, from.data + at, from.len - at);
	assert(slice_eq(buf_slice(&out), to));
}

static void hashes(struct slice from, struct slice to, uint64_t budget)
{
	AUTO(diff_pairs_fini) struct diff_pairs p = {0};
	AUTO(free_ptr) uint64_t *a = xcalloc(from.len, sizeof(*a));
	AUTO(free_ptr) uint64_t *b = xcalloc(to.len, sizeof(*b));

	for (size_t i = 0; i < from.len; i++)
		a[i] = from.data[i];
	for (size_t i = 0; i < to.len; i++)
		b[i] = to.data[i];
	diff_hashes(a, from.len, b, to.len, budget, &p);
	for (size_t i = 0; i < p.count; i++) {
		assert(a[p.items[i].from] == b[p.items[i].to]);
		assert(i == 0 ||
		       (p.items[i].from > p.items[i - 1].from && p.items[i].to > p.items[i - 1].to));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 2)
		return 0;
	size_t cut = 2 + (len - 2) * data[0] / 255;
	uint64_t budget = data[1] < 128 ? DIFF_BUDGET : data[1] - 128u;

	text(SLICE(data + 2, cut - 2), SLICE(data + cut, len - cut), budget);
	hashes(SLICE(data + 2, cut - 2), SLICE(data + cut, len - cut), budget);
	return 0;
}
