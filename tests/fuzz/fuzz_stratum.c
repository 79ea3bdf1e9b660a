/* Strata: the columns, which only a member could have sealed, and the outside. What is accepted is packed again. */
#include "core/stratum.h"
#include "core/stratum_code.h"
#include "core/zip.h"

#include <string.h>

#define MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void columns(struct slice in)
{
	AUTO(buf_fini) struct buf out = {0};
	AUTO(buf_fini) struct buf again = {0};
	AUTO(buf_fini) struct buf once_more = {0};
	struct reader r = reader_init(in);
	uint64_t count = 0;

	if (stratum_decode(5, &r, MAX, &out) < 0)
		return;
	struct reader c = reader_init(buf_slice(&out));
	for (; reader_left(&c); count++)
		(void)reader_bytes(&c, MAX);
	stratum_encode(5, buf_slice(&out), count, &again);
	struct reader a = reader_init(buf_slice(&again));
	int err = stratum_decode(5, &a, 2 * MAX, &once_more);
	assert(err == 0 && slice_eq(buf_slice(&out), buf_slice(&once_more)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t root_key[DIGEST_BYTES] = {1};
	const struct envelope_place at = {.root_key = root_key, .actor = 5};
	AUTO(stratum_fini) struct stratum s = {0};
	AUTO(buf_fini) struct buf out = {0};

	digest_init();
	if (len == 0)
		return 0;
	struct slice rest = SLICE(data + 1, len - 1);
	if (data[0] % 3 == 0)
		columns(rest);
	else if (data[0] % 3 == 1)
		(void)zip_unpack(rest, MAX, &out);
	else
		(void)stratum_open(&at, rest, &s);
	return 0;
}
