/* change_decode(): what it accepts is encoded and decoded again to the same bytes. */
#include "core/change.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(change_fini) struct change c = {0};
	AUTO(change_fini) struct change again = {0};
	AUTO(buf_fini) struct buf first = {0};
	AUTO(buf_fini) struct buf second = {0};

	if (change_decode(SLICE(data, len), 5, &c) < 0)
		return 0;
	change_encode(&c, &first);
	int r = change_decode(buf_slice(&first), 5, &again);
	assert(r == 0 && again.ops.count == c.ops.count && first.len <= len);
	change_encode(&again, &second);
	assert(slice_eq(buf_slice(&first), buf_slice(&second)));
	return 0;
}
