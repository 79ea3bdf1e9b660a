/* Buffers and bounded cursors: the only place that does pointer arithmetic on wire bytes. */
#include "core/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_BYTES_MIN 128

struct slice slice_str(const char *s)
{
	return SLICE(s, strlen(s));
}

bool slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.data, b.data, n) : 0;

	if (c)
		return c;
	return (a.len > b.len) - (a.len < b.len);
}

void buf_fini(struct buf *b)
{
	if (b->data && !b->lent)
		free(b->data);
	*b = (struct buf){0};
}

struct slice buf_slice(const struct buf *b)
{
	return SLICE(b->data, b->len);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

uint8_t *buf_grow(struct buf *b, size_t extra)
{
	size_t need = 0;

	if (__builtin_add_overflow(b->len, extra, &need))
		abort();
	if (need > b->cap || !b->data) {
		size_t cap = b->cap < BUF_BYTES_MIN ? BUF_BYTES_MIN : b->cap * 2;

		b->cap = cap < need ? need : cap;
		if (b->data && !b->lent) {
			b->data = xreallocarray(b->data, b->cap, 1);
		} else {
			const uint8_t *lent = b->data;

			b->data = xmalloc(b->cap);
			if (lent)
				memcpy(b->data, lent, b->len);
			b->lent = false;
		}
	}
	return b->data + b->len;
}

void buf_resize(struct buf *b, size_t len)
{
	if (len > b->len) {
		size_t extra = len - b->len;

		memset(buf_reserve(b, extra), 0, extra);
	}
	b->len = len;
}

static void put_be(struct buf *b, uint64_t v, size_t bytes)
{
	uint8_t *p = buf_reserve(b, bytes);

	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
	b->len += bytes;
}

void buf_be16(struct buf *b, uint16_t v)
{
	put_be(b, v, 2);
}

void buf_be32(struct buf *b, uint32_t v)
{
	put_be(b, v, 4);
}

void buf_varint(struct buf *b, uint64_t v)
{
	uint8_t *p = buf_reserve(b, 10);
	size_t n = 0;

	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	b->len += n;
}

void buf_bytes(struct buf *b, struct slice s)
{
	buf_varint(b, s.len);
	buf_slice_append(b, s);
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	va_list again;

	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	assert(n >= 0);
	(void)vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, format, again);
	va_end(again);
	b->len += (size_t)n;
}

char *buf_str(struct buf *b)
{
	*buf_reserve(b, 1) = 0;
	return (char *)b->data;
}

/* Length of the valid UTF-8 sequence at p, or 0. RFC 3629: no surrogates, nothing over U+10FFFF. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	static const struct {
		uint8_t lo, hi, min2, max2, len;
	} rows[] = {
		{0x00, 0x7f, 0, 0, 1},	     {0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < countof(rows); i++) {
		if (p[0] < rows[i].lo || p[0] > rows[i].hi)
			continue;
		if (rows[i].len > left)
			return 0;
		if (rows[i].len > 1 && (p[1] < rows[i].min2 || p[1] > rows[i].max2))
			return 0;
		for (size_t k = 2; k < rows[i].len; k++) {
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		}
		return rows[i].len;
	}
	return 0;
}

bool slice_is_utf8(struct slice s)
{
	const uint64_t high = 0x8080808080808080u;
	size_t i = 0;

	while (i < s.len) {
		uint64_t word;

		if (s.len - i >= sizeof(word)) {
			memcpy(&word, s.data + i, sizeof(word));
			if (!(word & high)) {
				i += sizeof(word);
				continue;
			}
		}
		size_t n = utf8_len(s.data + i, s.len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

void buf_json_string(struct buf *b, struct slice s)
{
	size_t i = 0;

	while (i < s.len) {
		size_t n = utf8_len(s.data + i, s.len - i);

		if (n == 0) {
			buf_append(b, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (s.data[i] == '"' || s.data[i] == '\\') {
			buf_u8(b, '\\');
			buf_u8(b, s.data[i]);
		} else if (s.data[i] < 0x20 || s.data[i] == 0x7f) {
			buf_printf(b, "\\u%04x", s.data[i]);
		} else {
			buf_append(b, s.data + i, n);
		}
		i += n;
	}
}

struct reader reader_init(struct slice s)
{
	return (struct reader){.p = s.data, .end = s.len ? s.data + s.len : s.data};
}

size_t reader_left(const struct reader *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->p);
}

struct slice reader_take(struct reader *r, size_t n)
{
	if (n > reader_left(r)) {
		r->bad = true;
		return SLICE("", 0);
	}
	struct slice s = {r->p, n};
	if (n)
		r->p += n;
	return s;
}

static uint64_t take_be(struct reader *r, size_t bytes)
{
	struct slice s = reader_take(r, bytes);
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++)
		v = v << 8 | s.data[i];
	return v;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)take_be(r, 1);
}

uint16_t reader_be16(struct reader *r)
{
	return (uint16_t)take_be(r, 2);
}

uint32_t reader_be32(struct reader *r)
{
	return (uint32_t)take_be(r, 4);
}

uint64_t reader_be64(struct reader *r)
{
	return take_be(r, 8);
}

uint64_t reader_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte = reader_u8(r);

		if (r->bad || (shift == 63 && byte > 1) || (byte == 0 && shift > 0))
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

uint64_t reader_varint_max(struct reader *r, uint64_t max)
{
	uint64_t v = reader_varint(r);

	if (v > max) {
		r->bad = true;
		return 0;
	}
	return v;
}

struct slice reader_bytes(struct reader *r, size_t max)
{
	return reader_take(r, (size_t)reader_varint_max(r, max));
}

void reader_copy(struct reader *r, void *out, size_t n)
{
	struct slice s = reader_take(r, n);

	if (s.len == n && n)
		memcpy(out, s.data, n);
	else
		memset(out, 0, n);
}

int reader_finish(const struct reader *r)
{
	return !r->bad && r->p == r->end ? 0 : -EBADMSG;
}
