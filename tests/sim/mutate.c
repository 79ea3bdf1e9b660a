/* Edits of lines, words and bytes; tokens. */
#include "tests/sim/mutate.h"

#include "tests/sim/mutate_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tokens: the characters U+4E00 to U+51FF --------------------------------------------------- */

#define FIRST_TOKEN 0x4e00u

void tokens_add(struct tokens *set, uint32_t token)
{
	set->bits[token / 64] |= UINT64_C(1) << token % 64;
}

bool tokens_has(const struct tokens *set, uint32_t token)
{
	return set->bits[token / 64] >> token % 64 & 1;
}

void tokens_scan(struct tokens *set, struct slice bytes)
{
	const uint8_t *p = bytes.data;
	size_t i = 0;

	while (i + 2 < bytes.len) {
		uint32_t c = (uint32_t)(p[i] & 15) << 12 | (uint32_t)(p[i + 1] & 63) << 6 |
			     (p[i + 2] & 63);

		if (p[i] >> 4 != 14 || p[i + 1] >> 6 != 2 || p[i + 2] >> 6 != 2 ||
		    c < FIRST_TOKEN || c >= FIRST_TOKEN + TOKENS_MAX) {
			i++;
			continue;
		}
		tokens_add(set, c - FIRST_TOKEN);
		i += 3;
	}
}

void tokens_merge(struct tokens *set, const struct tokens *other)
{
	for (size_t i = 0; i < countof(set->bits); i++)
		set->bits[i] |= other->bits[i];
}

bool tokens_minus(const struct tokens *set, const struct tokens *other, struct tokens *ret)
{
	uint64_t any = 0;

	for (size_t i = 0; i < countof(set->bits); i++) {
		ret->bits[i] = set->bits[i] & ~other->bits[i];
		any |= ret->bits[i];
	}
	return any != 0;
}

static void put_char(struct buf *out, uint32_t c)
{
	buf_u8(out, (uint8_t)(0xe0 | c >> 12));
	buf_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
	buf_u8(out, (uint8_t)(0x80 | (c & 63)));
}

void tokens_print(const struct tokens *set)
{
	AUTO(buf_fini) struct buf out = {0};

	for (uint32_t i = 0; i < TOKENS_MAX; i++) {
		if (tokens_has(set, i))
			put_char(&out, FIRST_TOKEN + i);
	}
	(void)fprintf(stderr, "%s\n", buf_str(&out));
}

void token_put(struct buf *out, uint32_t *next)
{
	if (*next >= TOKENS_MAX)
		buf_u8(out, '?');
	else
		put_char(out, FIRST_TOKEN + (*next)++);
}

/* ---- text -------------------------------------------------------------------------------------- */

struct lines {
	struct slice *items;
	size_t count;
};

static struct lines split(struct slice s)
{
	struct lines l = {xreallocarray(NULL, s.len + 1, sizeof(struct slice)), 0};
	size_t start = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] == '\n' || i + 1 == s.len) {
			l.items[l.count++] = SLICE(s.data + start, i + 1 - start);
			start = i + 1;
		}
	}
	return l;
}

static void put_words(struct rng *r, uint32_t *next, struct buf *out)
{
	static const char *const words[] = {"the", "a", "line", "of", "x = 1;", "}", "value"};

	for (uint32_t n = rng_below(r, 3); n > 0; n--)
		buf_printf(out, "%s ", words[rng_below(r, countof(words))]);
	token_put(out, next);
	for (uint32_t n = rng_below(r, 3); n > 0; n--)
		buf_printf(out, " %s", words[rng_below(r, countof(words))]);
}

static void put_line(struct rng *r, uint32_t *next, struct buf *out)
{
	put_words(r, next, out);
	buf_u8(out, '\n');
}

/* A word or two somewhere within the line. */
static void edit_line(struct slice line, struct rng *r, uint32_t *next, struct buf *out)
{
	size_t at = rng_below(r, (uint32_t)line.len + 1);
	size_t skip = 0;

	while (at < line.len && line.data[at] != ' ' && line.data[at] != '\n')
		at++;
	if (rng_once_in(r, 2)) {
		while (at + skip < line.len && line.data[at + skip] != '\n' && skip < 6)
			skip++;
		while (at + skip < line.len && line.data[at + skip] >> 6 == 2)
			skip++;
	}
	buf_append(out, line.data, at);
	buf_u8(out, ' ');
	token_put(out, next);
	buf_append(out, line.data + at + skip, line.len - at - skip);
}

static void flip_line_ends(struct slice from, struct buf *out)
{
	bool crlf = memchr(from.data, '\r', from.len) != NULL;

	for (size_t i = 0; i < from.len; i++) {
		if (crlf && from.data[i] == '\r')
			continue;
		if (!crlf && from.data[i] == '\n')
			buf_u8(out, '\r');
		buf_u8(out, from.data[i]);
	}
}

static void mutate_lines(const struct lines *l, struct rng *r, uint32_t *next, struct buf *out)
{
	size_t at = rng_below(r, (uint32_t)l->count + 1);
	size_t span = rng_below(r, 3);
	uint32_t how = rng_below(r, 6);

	for (size_t i = 0; i <= l->count; i++) {
		if (i == at && (how < 2 || l->count == 0)) { /* new lines */
			for (size_t n = 0; n <= span; n++)
				put_line(r, next, out);
		}
		if (i == l->count)
			break;
		bool in = i >= at && i <= at + span;
		if (in && how == 2) /* gone */
			continue;
		if (in && how == 3)
			put_line(r, next, out);
		else if (in && how == 4)
			edit_line(l->items[i], r, next, out);
		else if (in && how == 5 && i + 1 < l->count && i == at) { /* swapped */
			buf_slice_append(out, l->items[i + 1]);
			buf_slice_append(out, l->items[i]);
			i++;
		} else
			buf_slice_append(out, l->items[i]);
	}
}

static void mutate_text(struct slice from, struct rng *r, uint32_t *next, struct buf *out)
{
	struct lines l = split(from);

	if (rng_once_in(r, 24))
		flip_line_ends(from, out);
	else if (rng_once_in(r, 30))
		put_words(r, next, out); /* everything anew */
	else if (rng_once_in(r, 40) && from.len)
		buf_append(out, from.data, from.len - 1);
	else
		mutate_lines(&l, r, next, out);
	free(l.items);
}

static void mutate_binary(struct slice from, struct rng *r, uint32_t *next, struct buf *out)
{
	size_t at = rng_below(r, (uint32_t)from.len + 1);

	while (at < from.len && from.data[at] >> 6 == 2)
		at++;
	buf_append(out, from.data, at);
	token_put(out, next);
	buf_u8(out, 0);
	buf_append(out, from.data + at, from.len - at);
}

/* ---- all --------------------------------------------------------------------------------------- */

void mutate_create(enum content kind, struct rng *r, uint32_t *next, struct buf *out)
{
	if (kind == CONTENT_JSON && !rng_once_in(r, 16)) {
		mutate_json_create(r, next, out);
		return;
	}
	AUTO(buf_fini) struct buf lines = {0};
	for (uint32_t n = rng_below(r, 5); n > 0; n--)
		put_line(r, next, &lines);
	if (kind == CONTENT_BINARY)
		mutate_binary(buf_slice(&lines), r, next, out);
	else
		buf_slice_append(out, buf_slice(&lines));
}

void mutate(enum content kind, struct slice from, struct rng *r, uint32_t *next, struct buf *out)
{
	if (kind == CONTENT_BINARY) {
		mutate_binary(from, r, next, out);
		return;
	}
	if (kind == CONTENT_JSON) {
		if (rng_once_in(r, 20)) { /* half written */
			buf_append(out, "{\"half\": \"", 10);
			token_put(out, next);
			return;
		}
		if (mutate_json(from, r, next, out))
			return;
		if (rng_once_in(r, 2)) { /* repaired */
			mutate_json_create(r, next, out);
			return;
		}
	}
	mutate_text(from, r, next, out);
}
