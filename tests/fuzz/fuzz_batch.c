/* batch_decode(): what it accepts is written again to no more bytes, which give the same changes. */
#include "core/batch.h"

#define MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(buf_fini) struct buf out = {0};
	AUTO(buf_fini) struct buf again = {0};
	AUTO(buf_fini) struct buf once_more = {0};

	if (len == 0)
		return 0;
	size_t count = 1 + data[0];
	if (batch_decode(5, SLICE(data + 1, len - 1), count, MAX, &out) < 0)
		return 0;
	batch_encode(5, buf_slice(&out), count, &again);
	int r = batch_decode(5, buf_slice(&again), count, 2 * MAX, &once_more);
	assert(r == 0 && slice_eq(buf_slice(&out), buf_slice(&once_more)));
	return 0;
}
