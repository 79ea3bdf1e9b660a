/* Pairing links, codes and endpoints: any text. What is accepted must survive another round. */
#include "net/code.h"
#include "net/hello.h"
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
		if (strcmp(l.addresses[i], again.addresses[i]) != 0 ||
		    l.is_relay[i] != again.is_relay[i])
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

static void check_code(const char *text)
{
	uint8_t secret[DIGEST_BYTES];
	uint32_t nameplate = 0;
	struct endpoint relay;
	struct endpoint again;
	char out[ENDPOINT_TEXT_BYTES];

	(void)code_is_like(text);
	if (code_parse(text, &nameplate, secret) == 0 &&
	    (nameplate == 0 || nameplate > HELLO_NAMEPLATE_MAX))
		abort();
	if (code_relay(text, &relay) <= 0)
		return;
	code_write_relay(&relay, out);
	AUTO(free_ptr) char *whole = xasprintf("1-a-b@%s", out);
	if (relay.port == 0 || code_relay(whole, &again) != 1 ||
	    strcmp(relay.host, again.host) != 0 || relay.port != again.port)
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
	check_code(text);
	return 0;
}
