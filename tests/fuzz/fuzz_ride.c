/* net/ride.h: what the mounts of a home say to each other: what is read and written again is the same. */
#include "net/ride.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(buf_fini) struct buf out = {0};
	struct ride m;

	if (ride_decode(SLICE(data, size), &m) < 0)
		return 0;
	ride_encode(&m, &out);
	if (!slice_eq(buf_slice(&out), SLICE(data, size)))
		abort();
	return 0;
}
