/* Addresses of relays as text. */
#include "net/mailaddr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MARK "#k="
#define PIN_MARK "&p="
#define KEY_BYTES (KEYS_PK_BYTES + sizeof(struct id) + MAIL_TOKEN_BYTES)

static int parse_pin(const char *text, struct mailaddr *a)
{
	AUTO(buf_fini) struct buf pin = {0};

	if (!a->tls || base64_decode(text, strlen(text), &pin) < 0 || pin.len != TLS_PIN_BYTES)
		return -EINVAL;
	memcpy(a->pin, pin.data, sizeof(a->pin));
	a->pinned = true;
	return 0;
}

static int parse_key(const char *text, struct mailaddr *a)
{
	AUTO(buf_fini) struct buf key = {0};
	const char *pin = strstr(text, PIN_MARK);
	size_t len = pin ? (size_t)(pin - text) : strlen(text);

	if (base64_decode(text, len, &key) < 0 || key.len != KEY_BYTES ||
	    (pin && parse_pin(pin + strlen(PIN_MARK), a) < 0))
		return -EINVAL;
	struct reader r = reader_init(buf_slice(&key));
	reader_copy(&r, a->dh_pk, sizeof(a->dh_pk));
	a->sign_id = id_read(&r);
	reader_copy(&r, a->token, sizeof(a->token));
	wipe(key.data, key.len);
	return 0;
}

int mailaddr_parse(const char *text, struct mailaddr *ret, struct why *why)
{
	struct mailaddr a = {.tls = strncmp(text, "wss://", 6) == 0};
	const char *host = text + (a.tls ? 6 : 5);
	const char *mark = strstr(text, KEY_MARK);

	if ((!a.tls && strncmp(text, "ws://", 5) != 0) || !mark)
		return why_set(why, -EINVAL,
			       "that is no relay's address: it looks like wss://HOST:PORT#k=…, as "
			       "blaze-relay setup prints it");
	AUTO(free_ptr) char *endpoint = xasprintf("%.*s", (int)(mark - host), host);
	if (endpoint_parse(endpoint, &a.endpoint) < 0 || a.endpoint.port == 0)
		return why_set(why, -EINVAL, "\"%.200s\" is no HOST:PORT", endpoint);
	if (parse_key(mark + strlen(KEY_MARK), &a) < 0)
		return why_set(why, -EINVAL,
			       "the key in the relay's address is damaged: copy the whole of it");
	*ret = a;
	return 0;
}

void mailaddr_show(const struct mailaddr *a, char out[MAILADDR_TEXT_BYTES])
{
	char endpoint[ENDPOINT_TEXT_BYTES];

	endpoint_format(&a->endpoint, endpoint);
	(void)snprintf(out, MAILADDR_TEXT_BYTES, "%s://%s", a->tls ? "wss" : "ws", endpoint);
}

void mailaddr_format(const struct mailaddr *a, char out[MAILADDR_TEXT_BYTES])
{
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf text = {0};

	buf_append(&key, a->dh_pk, sizeof(a->dh_pk));
	id_write(&key, &a->sign_id);
	buf_append(&key, a->token, sizeof(a->token));
	base64_encode(buf_slice(&key), &text);
	mailaddr_show(a, out);
	size_t n = strlen(out);
	(void)snprintf(out + n, MAILADDR_TEXT_BYTES - n, KEY_MARK "%s", buf_str(&text));
	if (a->pinned) {
		buf_clear(&text);
		base64_encode(SLICE(a->pin, sizeof(a->pin)), &text);
		n = strlen(out);
		(void)snprintf(out + n, MAILADDR_TEXT_BYTES - n, PIN_MARK "%s", buf_str(&text));
	}
	wipe(key.data, key.len);
	wipe(text.data, text.cap);
}

bool mailaddr_is_same_way(const struct mailaddr *a, const struct mailaddr *b)
{
	return a->tls == b->tls && a->pinned == b->pinned && a->endpoint.port == b->endpoint.port &&
	       strcmp(a->endpoint.host, b->endpoint.host) == 0 &&
	       memcmp(a->pin, b->pin, sizeof(a->pin)) == 0;
}

struct id mailaddr_sign_id(const uint8_t sign_pk[KEYS_PK_BYTES])
{
	const struct slice part = SLICE(sign_pk, KEYS_PK_BYTES);

	return digest_id("blaze relay id", &part, 1);
}

void mailaddr_psk(const uint8_t token[MAIL_TOKEN_BYTES], uint8_t ret[32])
{
	const struct slice part = SLICE(token, MAIL_TOKEN_BYTES);

	digest(ret, "blaze relay psk", &part, 1);
}
