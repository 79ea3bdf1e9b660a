/* Pairing links to text and back. */
#include "net/link.h"

#include <string.h>

#define LINK_PREFIX "blaze:pair#v1."
#define LINK_BLANKS " \t\r\n"
#define RELAY_SCHEME "ws://"

void link_encode(const struct link *l, struct buf *out)
{
	assert(l->address_count >= 1 && l->address_count <= LINK_ADDRESSES_MAX);
	buf_printf(out, "%s", LINK_PREFIX);
	base64_encode(SLICE(l->secret, sizeof(l->secret)), out);
	buf_u8(out, '.');
	base64_encode(SLICE(l->device, sizeof(l->device)), out);
	buf_printf(out, ".%llu.", (unsigned long long)l->expiry_s);
	for (size_t i = 0; i < l->address_count; i++) {
		struct endpoint e = {.port = 0};
		int r = endpoint_parse_dialled(l->addresses[i], &e);

		assert(r == 0 && (l->is_relay[i] || !e.tls));
		buf_printf(out, "%s%s%s", i > 0 ? "," : "",
			   l->is_relay[i] && !e.tls ? RELAY_SCHEME : "", l->addresses[i]);
	}
}

/* Cuts off what is before the next separator. false when there is none. */
static bool cut(struct slice *rest, char separator, struct slice *ret)
{
	const uint8_t *at = rest->len ? memchr(rest->data, separator, rest->len) : NULL;

	if (!at)
		return false;
	*ret = SLICE(rest->data, (size_t)(at - rest->data));
	*rest = SLICE(at + 1, rest->len - ret->len - 1);
	return true;
}

static bool decode_bytes(struct slice text, uint8_t *ret, size_t len)
{
	struct buf b = {0};
	bool ok = base64_decode((const char *)text.data, text.len, &b) >= 0 && b.len == len;

	if (ok)
		memcpy(ret, b.data, len);
	if (b.data)
		wipe(b.data, b.cap);
	buf_fini(&b);
	return ok;
}

static bool decode_number(struct slice text, uint64_t *ret)
{
	uint64_t v = 0;

	if (text.len == 0 || text.len > 18)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(text.data[i] - '0');
	}
	*ret = v;
	return true;
}

static bool decode_address(struct slice text, struct link *l)
{
	struct endpoint e;
	char copy[ENDPOINT_TEXT_BYTES];

	if (l->address_count == LINK_ADDRESSES_MAX || text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.data, text.len);
	copy[text.len] = 0;
	bool plain = strncmp(copy, RELAY_SCHEME, strlen(RELAY_SCHEME)) == 0;
	const char *address = plain ? copy + strlen(RELAY_SCHEME) : copy;
	if (strlen(copy) != text.len || endpoint_parse_dialled(address, &e) < 0 || e.port == 0 ||
	    (plain && e.tls))
		return false;
	l->is_relay[l->address_count] = plain || e.tls;
	endpoint_format(&e, l->addresses[l->address_count++]);
	return true;
}

static bool decode_addresses(struct slice text, struct link *l)
{
	struct slice one;

	while (cut(&text, ',', &one)) {
		if (!decode_address(one, l))
			return false;
	}
	return decode_address(text, l);
}

int link_decode(const char *text, struct link *ret)
{
	AUTO(link_fini) struct link l = {0};
	const size_t prefix_len = strlen(LINK_PREFIX);
	struct slice secret, device, expiry;

	text += strspn(text, LINK_BLANKS);
	if (strncmp(text, LINK_PREFIX, prefix_len) != 0)
		return -EINVAL;
	struct slice rest = SLICE(text + prefix_len, strcspn(text + prefix_len, LINK_BLANKS));
	const char *after = text + prefix_len + rest.len;
	if (after[strspn(after, LINK_BLANKS)] != 0 || rest.len > LINK_BYTES_MAX)
		return -EINVAL;
	if (!cut(&rest, '.', &secret) || !cut(&rest, '.', &device) || !cut(&rest, '.', &expiry))
		return -EINVAL;
	if (!decode_bytes(secret, l.secret, sizeof(l.secret)) ||
	    !decode_bytes(device, l.device, sizeof(l.device)) ||
	    !decode_number(expiry, &l.expiry_s) || !decode_addresses(rest, &l))
		return -EINVAL;
	*ret = l;
	return 0;
}

void link_fini(struct link *l)
{
	wipe(l->secret, sizeof(l->secret));
}
