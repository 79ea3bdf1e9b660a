/* core/contact.h: records of where devices are, from anybody. */
#include "core/contact.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct contact c;
	struct slice body;

	if (contact_decode(SLICE(data, size), &c, &body) < 0)
		return 0;
	if (c.count > CONTACT_ADDRESSES_MAX || body.data != data || body.len + 64 != size)
		abort();
	for (size_t i = 0; i < c.count; i++) {
		if (strlen(c.addresses[i]) == 0 || strlen(c.addresses[i]) >= CONTACT_ADDRESS_BYTES)
			abort();
	}
	return 0;
}
