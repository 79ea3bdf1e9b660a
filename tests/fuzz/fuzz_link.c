/* Pairing links and endpoints: any text. What is accepted must survive another round. */
#include "net/link.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_link(const char *text)
{
	struct link l = {0};
	struct link again = {0};
	AUTO(buf_fini) struct buf out = {0};

	if (link_decode(text, &l) < 0)
		return;
	link_encode(&l, &out);
	if (link_decode(buf_str(&out), &again) < 0 || l.address_count != again.address_count ||
	    memcmp(l.secret, again.secret, sizeof(l.secret)) != 0 ||
	    memcmp(l.device, again.device, sizeof(l.device)) != 0 || l.expiry_s != again.expiry_s)
		abort();
	for (size_t i = 0; i < l.address_count; i++) {
		if (strcmp(l.addresses[i], again.addresses[i]) != 0)
			abort();
	}
}

static void check_endpoint(const char *text)
{
	struct endpoint e;
	struct endpoint again;
	char out[ENDPOINT_TEXT_BYTES];
	char told[ENDPOINT_TEXT_BYTES];

	if (endpoint_parse(text, &e) < 0)
		return;
	endpoint_format(&e, out);
	if (endpoint_parse(out, &again) < 0 || strcmp(e.host, again.host) != 0 ||
	    e.port != again.port)
		abort();
	(void)endpoint_is_loopback(&e);
	if (endpoint_resolve_told(text, &e, told) && endpoint_parse(told, &again) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(free_ptr) char *text = xmalloc(size + 1);

	digest_init();
	memcpy(text, data, size);
	text[size] = 0;
	check_link(text);
	check_endpoint(text);
	return 0;
}
