/* TXT records from the local network: any bytes. What is accepted says the same after another round. */
#include "net/beacon.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(buf_fini) struct buf txt = {0};
	struct beacon b;
	struct beacon again;

	digest_init();
	if (beacon_decode(SLICE(data, size), &b) < 0)
		return 0;
	if (b.hint_count > BEACON_HINTS_MAX || b.address_count > BEACON_ADDRESSES_MAX)
		abort();
	for (size_t i = 0; i < b.address_count; i++) {
		const struct endpoint *e = &b.addresses[i];

		if (e->port == 0 || !endpoint_is_numeric(e) || endpoint_is_loopback(e))
			abort();
	}
	beacon_encode(&b, &txt);
	if (beacon_decode(buf_slice(&txt), &again) < 0 || again.hint_count != b.hint_count ||
	    again.address_count > b.address_count ||
	    memcmp(again.nonce, b.nonce, sizeof(b.nonce)) != 0 ||
	    memcmp(again.hints, b.hints, b.hint_count * BEACON_HINT_BYTES) != 0)
		abort();
	return 0;
}
