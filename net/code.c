/* Pairing codes to text and back. */
#include "net/code.h"

#include "net/hello.h"

#include <stdio.h>
#include <string.h>

#define CODE_BLANKS " \t\r\n\"'"
/** In a QR code, so that whoever reads it knows what it is. */
#define CODE_PREFIX "blaze:pair/"
#define CODE_BYTES ((CODE_WORDS * WORDS_BITS + 7) / 8)

/* The same for every way of writing the words. */
static void secret_of(const uint8_t bits[CODE_BYTES], uint8_t ret[DIGEST_BYTES])
{
	AUTO(buf_fini) struct buf words = {0};

	words_encode(bits, CODE_WORDS, "-", &words);
	struct slice part = buf_slice(&words);
	digest(ret, "blaze code words", &part, 1);
	wipe(words.data, words.len);
}

void code_make(uint32_t nameplate, char ret_text[CODE_TEXT_BYTES], uint8_t ret_secret[DIGEST_BYTES])
{
	AUTO(buf_fini) struct buf words = {0};
	uint8_t bits[CODE_BYTES];

	assert(nameplate >= 1 && nameplate <= HELLO_NAMEPLATE_MAX);
	random_bytes(bits, sizeof(bits));
	words_encode(bits, CODE_WORDS, "-", &words);
	(void)snprintf(ret_text, CODE_TEXT_BYTES, "%u-%s", nameplate, buf_str(&words));
	secret_of(bits, ret_secret);
	wipe(bits, sizeof(bits));
	wipe(words.data, words.len);
}

/* Takes the nameplate off the front. 0 = there is none. */
static uint32_t cut_nameplate(const char **text)
{
	const char *p = *text + strspn(*text, CODE_BLANKS);

	if (strncmp(p, CODE_PREFIX, strlen(CODE_PREFIX)) == 0)
		p += strlen(CODE_PREFIX);
	size_t digits = strspn(p, "0123456789");
	uint32_t n = 0;

	if (digits == 0 || digits > 6 || p[digits] != '-')
		return 0;
	for (size_t i = 0; i < digits; i++)
		n = n * 10 + (uint32_t)(p[i] - '0');
	*text = p + digits + 1;
	return n;
}

bool code_is_like(const char *text)
{
	const char *rest = text;

	if (cut_nameplate(&rest) == 0 || (*rest | 0x20) < 'a' || (*rest | 0x20) > 'z')
		return false;
	size_t words = strcspn(rest, "@");
	return strcspn(rest, "/:.") >= words;
}

int code_parse(const char *text, uint32_t *ret_nameplate, uint8_t ret_secret[DIGEST_BYTES])
{
	uint8_t bits[CODE_BYTES];
	const char *rest = text;
	uint32_t nameplate = cut_nameplate(&rest);

	if (nameplate == 0)
		return -EINVAL;
	int r = words_decode(SLICE(rest, strcspn(rest, "@")), bits, sizeof(bits), CODE_WORDS);
	if (r < 0)
		return r == -ENOENT ? r : -EINVAL;
	*ret_nameplate = nameplate;
	secret_of(bits, ret_secret);
	wipe(bits, sizeof(bits));
	return 0;
}

void code_write_relay(const struct endpoint *relay, char out[ENDPOINT_TEXT_BYTES])
{
	struct endpoint e = *relay;

	e.tls = false; /* both ways are tried */
	endpoint_format(&e, out);
	if (e.port == CODE_RELAY_PORT)
		*strrchr(out, ':') = 0;
}

int code_relay(const char *text, struct endpoint *ret)
{
	const char *at = strchr(text, '@');
	char copy[ENDPOINT_TEXT_BYTES];
	char whole[ENDPOINT_TEXT_BYTES];

	if (!at)
		return 0;
	size_t len = strcspn(++at, CODE_BLANKS);
	if (len + strlen(":65535") >= sizeof(copy) || at[len + strspn(at + len, CODE_BLANKS)])
		return -EINVAL;
	(void)snprintf(copy, sizeof(copy), "%.*s", (int)len, at);
	const char *colon = strrchr(copy, ':');
	bool has_port = colon && copy[len - 1] != ']';
	(void)snprintf(whole, sizeof(whole), has_port ? "%s" : "%s:%u", copy, CODE_RELAY_PORT);
	if (endpoint_parse(whole, ret) < 0 || ret->port == 0)
		return -EINVAL;
	return 1;
}
