/* Validation and escaping of names. */
#include "core/name.h"

#include <string.h>
#include <strings.h>

/* Length of one UTF-8 sequence and its code point; 0 when invalid. */
static size_t decode(struct slice s, size_t i, uint32_t *ret)
{
	static const uint32_t min[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t c = s.data[i];
	size_t n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
	uint32_t v = n == 1 ? c : n == 2 ? c & 0x1f : n == 3 ? c & 0x0f : c & 0x07;

	if (n == 0 || n > s.len - i)
		return 0;
	for (size_t k = 1; k < n; k++) {
		if ((s.data[i + k] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s.data[i + k] & 0x3f);
	}
	if (v < min[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*ret = v;
	return n;
}

static bool is_invisible(uint32_t c)
{
	return (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x2069) || c == 0xfeff || c == 0x061c || c == 0x00ad;
}

static bool is_bad(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == '/' || is_invisible(c);
}

bool name_is_reserved(struct slice name)
{
	static const char word[] = ".blaze";
	size_t have = 0;
	uint32_t c = 0;

	for (size_t i = 0; i < name.len;) {
		size_t n = decode(name, i, &c);

		if (n == 0)
			return false;
		i += n;
		if (is_invisible(c))
			continue;
		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (have == strlen(word) || c != (uint8_t)word[have++])
			return false;
	}
	return have == strlen(word);
}

static bool is_dots(struct slice name)
{
	return slice_eq(name, SLICE_STR(".")) || slice_eq(name, SLICE_STR(".."));
}

bool name_is_plain(struct slice name)
{
	uint32_t c = 0;

	if (name.len == 0 || name.len > NAME_BYTES_MAX || is_dots(name) || name_is_reserved(name))
		return false;
	for (size_t i = 0; i < name.len;) {
		size_t n = decode(name, i, &c);

		if (n == 0 || is_bad(c))
			return false;
		i += n;
	}
	return true;
}

static void escape(struct slice name, struct buf *out)
{
	bool whole = is_dots(name) || name_is_reserved(name);
	uint32_t c = 0;

	for (size_t i = 0; i < name.len;) {
		size_t n = decode(name, i, &c);

		if (n > 0 && !is_bad(c) && !(whole && i == 0)) {
			buf_append(out, name.data + i, n);
		} else {
			n = n ? n : 1;
			for (size_t k = 0; k < n; k++)
				buf_printf(out, "%%%02X", name.data[i + k]);
		}
		i += n;
	}
	if (name.len == 0)
		buf_printf(out, "%%00");
}

/* Cuts to at most max bytes, at a character. */
static void cut(struct buf *b, size_t max)
{
	if (b->len <= max)
		return;
	while (max > 0 && (b->data[max] & 0xc0) == 0x80)
		max--;
	b->len = max;
}

char *name_show(struct slice name, const char *suffix)
{
	AUTO(buf_fini) struct buf plain = {0};
	struct buf out = {0};

	if (name_is_plain(name))
		buf_slice_append(&plain, name);
	else
		escape(name, &plain);
	size_t stem = plain.len;
	for (size_t i = plain.len; *suffix && i > 1; i--) {
		if (plain.data[i - 1] == '.') {
			stem = i - 1;
			break;
		}
	}
	struct slice extension = SLICE(plain.data + stem, plain.len - stem);
	if (extension.len > 32) {
		stem = plain.len;
		extension.len = 0;
	}
	buf_append(&out, plain.data, stem);
	cut(&out, NAME_BYTES_MAX - extension.len - strlen(suffix));
	buf_append(&out, suffix, strlen(suffix));
	buf_slice_append(&out, extension);
	return buf_str(&out);
}
