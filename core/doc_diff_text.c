/* From a save of text to edits. */
#include "core/diff.h"
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

/** A quarter of what a diff may cost at most: it is made under the database's lock. */
#define TEXT_DIFF_BUDGET (DIFF_BUDGET / 4)

/* Whether one of the lines in text[start, end) is there from its first byte to its last, and not blank. */
static bool has_whole_line(struct slice text, size_t start, size_t end)
{
	while (start < end) {
		bool begins = start == 0 || text.data[start - 1] == '\n';
		const uint8_t *nl = memchr(text.data + start, '\n', end - start);
		size_t line_end = nl ? (size_t)(nl - text.data) : end;

		if (begins && line_end > start && (nl || end == text.len))
			return true;
		start = line_end + 1;
	}
	return false;
}

/*
 * A save that has next to nothing of what was read (no line, and less than half of the bytes of the shorter)
 * is no edit of it, but a new text in its place. Two of those, merged, would be one after the other.
 */
static bool is_new_text(struct slice before, struct slice after, const struct diff_edits *e)
{
	size_t shorter = before.len < after.len ? before.len : after.len;
	size_t kept = 0;
	size_t at = 0;

	for (size_t i = 0; i <= e->count; i++) {
		size_t end = i < e->count ? e->items[i].pos : before.len;

		if (has_whole_line(before, at, end))
			return false;
		kept += end - at;
		at = i < e->count ? end + e->items[i].len : end;
	}
	return 2 * kept < shorter;
}

static void encode(const struct diff_edits *from, struct buf *out)
{
	struct text_edits e = {0};

	for (size_t i = 0; i < from->count; i++) {
		const struct diff_edit *x = &from->items[i];

		text_edits_add(&e, (struct text_edit){x->pos, x->len, x->text});
	}
	text_edits_encode(&e, out);
	text_edits_fini(&e);
}

const struct root *doc_shown_text(const struct doc *d)
{
	uint32_t best = d->raw.count ? doc_reg_best(d, d->raw) : DOC_NONE;

	return best == DOC_NONE || d->sibs[best].root == DOC_NONE ? NULL
								  : &d->roots[d->sibs[best].root];
}

/* An empty file that was just created here, and that nobody else has seen: what is written now is its beginning. */
static bool is_beginning(const struct doc *d, const struct root *r, const struct doc_stamp *stamp)
{
	return stamp->unseen && d->seen_count == 1 && d->seen[0].blank && d->raw.count == 1 &&
	       doc_root_text(r).len == 0;
}

bool doc_diff_text(const struct doc *base, struct slice bytes, const struct doc_stamp *stamp,
		   struct buf *ret_edits)
{
	const struct root *r = doc_shown_text(base);
	struct diff_edits e = {0};

	if (!r || stamp->whole || !doc_is_text(bytes) || is_beginning(base, r, stamp))
		return false;
	struct slice before = doc_root_text(r);
	diff_text(before, bytes, TEXT_DIFF_BUDGET, &e);
	bool fits = e.count <= TEXT_EDITS_MAX && !is_new_text(before, bytes, &e);
	if (fits)
		encode(&e, ret_edits);
	diff_edits_fini(&e);
	return fits;
}

size_t doc_text_preds(const struct doc *base, struct opid *ret)
{
	const struct root *r = doc_shown_text(base);
	size_t n = 0;

	assert(r);
	for (uint32_t i = 0; i < r->count; i++) {
		if (ret)
			ret[n] = r->heads[i].id;
		n++;
	}
	for (uint32_t i = base->raw.first; i != DOC_NONE; i = base->sibs[i].next) {
		const struct sib *s = &base->sibs[i];
		const struct root *other = s->root == DOC_NONE ? NULL : &base->roots[s->root];

		if (!other && ret)
			ret[n] = s->id;
		n += !other;
		for (uint32_t k = 0; other && other != r && k < other->count; k++) {
			if (!other->heads[k].alive)
				continue;
			if (ret)
				ret[n] = other->heads[k].id;
			n++;
		}
	}
	return n;
}
