/* Lines of a text that several people changed without knowing of each other (core/text.h): kept with its root. */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** The first look further back into the log, in lamports. */
#define LOOK_BACK_MIN 64
#define LOOK_BACK_FACTOR 16

struct before_edit doc_clashes_before(struct root *r, const struct text_event *v)
{
	struct before_edit b = {.on_top = v->parent_count == r->count};

	for (uint32_t i = 0; i < r->count && b.on_top; i++) {
		bool known = false;

		for (size_t k = 0; k < v->parent_count; k++)
			known = known || opid_eq(v->parents[k], r->heads[i].id);
		b.on_top = known;
	}
	if (r->clash_count) {
		struct slice text = doc_root_text(r);

		b.len = text.len;
		b.open = text.len && text.data[text.len - 1] != '\n';
	}
	return b;
}

static void forget(struct root *r)
{
	free(r->clashes);
	r->clashes = NULL;
	r->clash_count = 0;
}

static uint64_t oldest(const struct root *r)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < r->clash_count; i++) {
		const struct text_clash *c = &r->clashes[i];

		least = c->a.lamport < least ? c->a.lamport : least;
		least = c->b.lamport < least ? c->b.lamport : least;
	}
	return least;
}

static int find(struct doc *d, struct root *r)
{
	struct text_clash *found = NULL;
	size_t count = 0;
	uint64_t from = oldest(r);
	int e = text_clashes(r->text, r->clashes, r->clash_count, &found, &count);

	for (uint64_t back = LOOK_BACK_MIN; e == -ENOENT && from; back *= LOOK_BACK_FACTOR) {
		from = from > back ? from - back : 0;
		e = doc_load_log(d, r, from);
		if (e == 0)
			e = text_clashes(r->text, r->clashes, r->clash_count, &found, &count);
	}
	/* Operations that never were can only be named by a state from elsewhere. */
	if (e == -ENOENT)
		e = text_clashes(r->text, NULL, 0, &found, &count);
	if (e < 0)
		return e;
	forget(r);
	r->clashes = found;
	r->clash_count = count;
	return 0;
}

int doc_clashes_after(struct doc *d, struct root *r, const struct text_event *v,
		      const struct before_edit *before)
{
	if (!before->on_top)
		return find(d, r);
	if (r->clash_count)
		r->clash_count = text_clashes_shift(r->clashes, r->clash_count, &v->edits,
						    before->len, before->open);
	return 0;
}

void doc_clashes_copy(struct root *to, const struct root *from)
{
	to->clashes = from->clash_count
			      ? xmemdup(from->clashes, from->clash_count * sizeof(*to->clashes))
			      : NULL;
}

void doc_clashes_fini(struct root *r)
{
	forget(r);
}

size_t doc_clash_count(const struct doc *d)
{
	const struct root *r = doc_shown_text(d);
	size_t n = 0;

	for (size_t i = 0; r && i < r->clash_count; n++)
		i += text_clashes_together(r->clashes + i, r->clash_count - i);
	return n;
}

void doc_clashes(const struct doc *d, void (*fn)(void *ctx, const struct doc_clash *c), void *ctx)
{
	const struct root *r = doc_shown_text(d);
	uint64_t line = 1;
	uint64_t at = 0;

	for (size_t i = 0; r && i < r->clash_count;) {
		const struct text_clash *c = &r->clashes[i];
		struct slice text = doc_root_text(r);
		size_t n = text_clashes_together(c, r->clash_count - i);
		const struct text_clash *last = &c[n - 1];

		for (; at < c->pos; at++)
			line += text.data[at] == '\n';
		fn(ctx, &(struct doc_clash){.line = line,
					    .line_count = n,
					    .pos = c->pos,
					    .len = last->pos + last->len - c->pos,
					    .a = c->a,
					    .b = c->b});
		i += n;
	}
}

/* ---- bytes ---- */

void doc_clashes_encode(const struct root *r, struct buf *out)
{
	size_t groups = 0;
	uint64_t at = 0;
	size_t n = 0;

	for (size_t i = 0; i < r->clash_count; i += n, groups++)
		n = text_clashes_together(r->clashes + i, r->clash_count - i);
	buf_varint(out, groups);
	for (size_t i = 0; i < r->clash_count; i += n) {
		const struct text_clash *c = &r->clashes[i];

		n = text_clashes_together(c, r->clash_count - i);
		buf_varint(out, c->pos - at);
		buf_varint(out, n);
		opid_write(out, c->a);
		opid_write(out, c->b);
		at = c[n - 1].pos + c[n - 1].len;
	}
}

/* Adds the lines of one group; *at is where the one before ended. */
static void take_group(struct root *r, struct slice text, uint64_t *at, struct reader *in)
{
	uint64_t skip = reader_varint_max(in, text.len - *at);
	uint64_t lines = reader_varint_max(in, text.len);
	struct text_clash c = {.pos = *at + skip, .a = opid_read(in)};

	c.b = opid_read(in);
	in->bad = in->bad || lines == 0 ||
		  (c.pos > 0 && c.pos <= text.len && text.data[c.pos - 1] != '\n');
	for (uint64_t i = 0; i < lines && !in->bad; i++) {
		const uint8_t *nl =
			c.pos < text.len ? memchr(text.data + c.pos, '\n', text.len - c.pos) : NULL;

		c.len = (nl ? (uint64_t)(nl - text.data) + 1 : text.len) - c.pos;
		if (c.len == 0) {
			in->bad = true;
			return;
		}
		if ((r->clash_count & (r->clash_count - 1)) == 0)
			r->clashes =
				xreallocarray(r->clashes, r->clash_count ? r->clash_count * 2 : 1,
					      sizeof(*r->clashes));
		r->clashes[r->clash_count++] = c;
		c.pos += c.len;
	}
	*at = c.pos;
}

void doc_clashes_decode(struct root *r, struct slice text, struct reader *in)
{
	uint64_t groups = reader_varint_max(in, reader_left(in));
	uint64_t at = 0;

	for (uint64_t i = 0; i < groups && !in->bad; i++)
		take_group(r, text, &at, in);
}
