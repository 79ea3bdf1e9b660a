/*
 * Owned and borrowed bytes, and the bounded cursor every decoder uses.
 *
 * A reader's error is sticky: reads past the end or malformed varints return zero values and set
 * `bad`; the caller checks once, with reader_finish(). So decoders have no pointer arithmetic and no
 * way to forget a check in the middle.
 *
 * Integers are little-endian base-128 varints (LEB128, minimal, at most 10 bytes) unless a name says
 * be16/be32/be64 (big-endian, for keys that must sort).
 */
#ifndef BLAZE_CORE_BYTES_H
#define BLAZE_CORE_BYTES_H

#include "core/base.h"

#include <string.h>

/** Borrowed, read-only. */
struct slice {
	const uint8_t *data;
	size_t len;
};

/** Owned and growing. Zero-initialise; buf_fini() frees. */
struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	bool lent; /**< data is BUF_SHORT's, not from malloc */
};

#define BUF_SHORT_BYTES 64
/** Empty, with room on the stack of the block it is declared in: for keys. It cannot be handed over. */
#define BUF_SHORT                                                                           \
	{                                                                                   \
		.data = (uint8_t[BUF_SHORT_BYTES]){0}, .cap = BUF_SHORT_BYTES, .lent = true \
	}

#define SLICE(p, n) ((struct slice){(const uint8_t *)(p), (n)})
/** The text without its NUL. */
#define SLICE_STR(s) slice_str(s)

struct slice slice_str(const char *s);

bool slice_eq(struct slice a, struct slice b);
/** memcmp order, shorter first on a tie: <0, 0, >0. */
int slice_cmp(struct slice a, struct slice b);
/** RFC 3629: no surrogates, no overlong forms. */
bool slice_is_utf8(struct slice s);

void buf_fini(struct buf *b);
struct slice buf_slice(const struct buf *b);
void buf_clear(struct buf *b);
/** Makes room for extra more bytes and returns where they go; len does not change. */
static inline uint8_t *buf_reserve(struct buf *b, size_t extra);
/** Grows with zeros or shrinks. */
void buf_resize(struct buf *b, size_t len);
static inline void buf_append(struct buf *b, const void *data, size_t len);
static inline void buf_slice_append(struct buf *b, struct slice s);
static inline void buf_u8(struct buf *b, uint8_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be32(struct buf *b, uint32_t v);
static inline void buf_be64(struct buf *b, uint64_t v);
void buf_varint(struct buf *b, uint64_t v);
/** varint length, then the bytes. */
void buf_bytes(struct buf *b, struct slice s);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Appends a NUL that len does not count and returns the text. */
char *buf_str(struct buf *b);
/** The string a JSON writer needs between quotes: escapes ", \ and controls; invalid UTF-8 becomes U+FFFD. */
void buf_json_string(struct buf *b, struct slice s);

/* A save puts some thousand numbers into buffers: what is called that often is not worth a call. */

/** buf_reserve() where there is no room. */
uint8_t *buf_grow(struct buf *b, size_t extra);

static inline uint8_t *buf_reserve(struct buf *b, size_t extra)
{
	return b->data && extra <= b->cap - b->len ? b->data + b->len : buf_grow(b, extra);
}

static inline void buf_append(struct buf *b, const void *data, size_t len)
{
	if (len)
		memcpy(buf_reserve(b, len), data, len);
	b->len += len;
}

static inline void buf_slice_append(struct buf *b, struct slice s)
{
	buf_append(b, s.data, s.len);
}

static inline void buf_u8(struct buf *b, uint8_t v)
{
	*buf_reserve(b, 1) = v;
	b->len++;
}

static inline void buf_be64(struct buf *b, uint64_t v)
{
	uint8_t *p = buf_reserve(b, 8);

	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
	b->len += 8;
}

struct reader {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

struct reader reader_init(struct slice s);
size_t reader_left(const struct reader *r);
uint8_t reader_u8(struct reader *r);
uint16_t reader_be16(struct reader *r);
uint32_t reader_be32(struct reader *r);
uint64_t reader_be64(struct reader *r);
uint64_t reader_varint(struct reader *r);
/** A varint that must not exceed max. */
uint64_t reader_varint_max(struct reader *r, uint64_t max);
/** n bytes, borrowed from the input; an empty slice when there are fewer. */
struct slice reader_take(struct reader *r, size_t n);
/** Length-prefixed bytes, borrowed, at most max. */
struct slice reader_bytes(struct reader *r, size_t max);
/** Copies exactly n bytes to out, or zeros it. */
void reader_copy(struct reader *r, void *out, size_t n);
/** 0 if all was well-formed and consumed, else -EBADMSG. */
int reader_finish(const struct reader *r);

#endif
