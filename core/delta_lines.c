/* Text, compared line by line: counts for a sentence, hunks for `blaze diff`. */
#include "core/delta.h"
#include "core/diff.h"
#include "core/digest.h"
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

#define AROUND 3
#define TEXT_PROBE_BYTES 8192

struct lines {
	struct slice *items; /**< with their line ends */
	uint64_t *hashes;
	size_t count;
};

bool delta_is_text(struct slice content)
{
	size_t n = content.len < TEXT_PROBE_BYTES ? content.len : TEXT_PROBE_BYTES;

	return n == 0 || !memchr(content.data, 0, n);
}

static struct lines split(struct slice text, uint64_t seed)
{
	struct lines l = {0};
	size_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += text.data[i] == '\n' || i + 1 == text.len;
	l.items = xcalloc(count, sizeof(*l.items));
	l.hashes = xcalloc(count, sizeof(*l.hashes));
	while (text.len) {
		const uint8_t *end = memchr(text.data, '\n', text.len);
		size_t n = end ? (size_t)(end - text.data) + 1 : text.len;

		l.items[l.count] = SLICE(text.data, n);
		l.hashes[l.count++] = json_key_hash(SLICE(text.data, n), seed);
		text = SLICE(text.data + n, text.len - n);
	}
	return l;
}

static void lines_fini(struct lines *l)
{
	free(l->items);
	free(l->hashes);
}

struct comparison {
	struct lines from;
	struct lines to;
	struct diff_pairs same;
};

static void compare(struct slice from, struct slice to, struct comparison *ret)
{
	uint64_t seed = 0;

	random_bytes(&seed, sizeof(seed));
	*ret = (struct comparison){.from = split(from, seed), .to = split(to, seed)};
	diff_hashes(ret->from.hashes, ret->from.count, ret->to.hashes, ret->to.count, DIFF_BUDGET,
		    &ret->same);
}

static void comparison_fini(struct comparison *c)
{
	lines_fini(&c->from);
	lines_fini(&c->to);
	diff_pairs_fini(&c->same);
}

struct delta_lines delta_lines(struct slice from, struct slice to)
{
	struct comparison c;

	compare(from, to, &c);
	const struct delta_lines l = {.added = c.to.count - c.same.count,
				      .removed = c.from.count - c.same.count};
	comparison_fini(&c);
	return l;
}

/* The i-th line that both have; behind the last, the ends of both. */
static struct diff_pair pair_at(const struct comparison *c, size_t i)
{
	if (i < c->same.count)
		return c->same.items[i];
	return (struct diff_pair){(uint32_t)c->from.count, (uint32_t)c->to.count};
}

static void put_line(struct buf *out, char sign, struct slice line)
{
	buf_u8(out, (uint8_t)sign);
	buf_slice_append(out, line);
	if (line.len == 0 || line.data[line.len - 1] != '\n')
		buf_printf(out, "\n\\ No newline at end of file\n");
}

static void put_range(struct buf *out, char sign, size_t start, size_t count)
{
	/* Of an empty range, the line before it is named. */
	buf_printf(out, "%c%zu", sign, count ? start + 1 : start);
	if (count != 1)
		buf_printf(out, ",%zu", count);
}

/* Lines from `at` on up to `end`, of which `i` is the first pair not before `at`. */
static void put_hunk(const struct comparison *c, struct diff_pair at, struct diff_pair end,
		     size_t i, struct buf *out)
{
	buf_printf(out, "@@ ");
	put_range(out, '-', at.from, end.from - at.from);
	buf_u8(out, ' ');
	put_range(out, '+', at.to, end.to - at.to);
	buf_printf(out, " @@\n");
	while (at.from < end.from || at.to < end.to) {
		struct diff_pair next = pair_at(c, i++);

		for (; at.from < next.from && at.from < end.from; at.from++)
			put_line(out, '-', c->from.items[at.from]);
		for (; at.to < next.to && at.to < end.to; at.to++)
			put_line(out, '+', c->to.items[at.to]);
		if (at.from < end.from && at.to < end.to) {
			put_line(out, ' ', c->to.items[at.to]);
			at.from++;
			at.to++;
		}
	}
}

/* Whether lines were added or removed just before the i-th pair. */
static bool is_change(const struct comparison *c, size_t i)
{
	struct diff_pair at = pair_at(c, i);
	struct diff_pair before = i ? pair_at(c, i - 1) : (struct diff_pair){UINT32_MAX, UINT32_MAX};

	return at.from != before.from + 1 || at.to != before.to + 1;
}

void delta_unified(struct slice from, struct slice to, struct buf *out)
{
	struct comparison c;

	compare(from, to, &c);
	for (size_t i = 0; i <= c.same.count; i++) {
		if (!is_change(&c, i))
			continue;
		size_t first = i > AROUND ? i - AROUND : 0; /* the pair the hunk begins with */
		struct diff_pair at = pair_at(&c, first);
		if (first == i) /* nothing in common before: it begins where the texts do */
			at = (struct diff_pair){0, 0};
		/* Up to the last change with no more than twice the surroundings before it. */
		size_t last = i;
		for (size_t k = i + 1; k <= c.same.count && k - last <= (size_t)2 * AROUND; k++) {
			if (is_change(&c, k))
				last = k;
		}
		struct diff_pair end = pair_at(&c, c.same.count);
		if (last + AROUND < c.same.count) {
			end = pair_at(&c, last + AROUND - 1);
			end.from++;
			end.to++;
		}
		put_hunk(&c, at, end, first, out);
		i = last;
	}
	comparison_fini(&c);
}
