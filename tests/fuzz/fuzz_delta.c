/* What people are told: two contents compared, and a time as they typed it. The first byte says how much is which. */
#include "core/delta.h"
#include "core/when.h"

#include <stdlib.h>
#include <string.h>

static void take(void *ctx, const struct delta_field *f)
{
	size_t *n = ctx;

	assert(f->kind == DELTA_ADDED ? f->from.len == 0 && f->to.len > 0 : f->from.len > 0);
	assert(strlen(f->path) < SIZE_MAX);
	++*n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(buf_fini) struct buf hunks = {0};
	AUTO(free_ptr) char *text = xmalloc(size + 1);
	uint64_t ms = 0;
	size_t n = 0;

	memcpy(text, data, size);
	text[size] = 0;
	if (when_parse(text, UINT64_C(1795400000000), &ms, NULL) == 0)
		assert(ms < UINT64_C(1) << 48);
	if (size == 0)
		return 0;
	size_t cut = (size - 1) * data[0] / 255;
	struct slice a = SLICE(data + 1, cut);
	struct slice b = SLICE(data + 1 + cut, size - 1 - cut);
	if (delta_fields(a, a, take, &n) == 0)
		assert(n == 0);
	(void)delta_fields(a, b, take, &n);
	delta_unified(a, b, &hunks);
	assert((hunks.len == 0) == slice_eq(a, b));
	struct delta_lines l = delta_lines(a, b);
	assert((l.added + l.removed == 0) == slice_eq(a, b));
	return 0;
}
