/* Lines that clash: which ones is in the document, what they were in either version in the history. */
#include "core/clash.h"

#include "core/db_i.h"
#include "core/diff.h"
#include "core/history.h"

#include <stdio.h>
#include <stdlib.h>

struct found {
	struct doc_clash *items;
	size_t count;
	struct buf text;
};

static void keep(void *ctx, const struct doc_clash *c)
{
	struct found *f = ctx;

	f->items = xreallocarray(f->items, f->count + 1, sizeof(*f->items));
	f->items[f->count++] = *c;
}

static int find(struct db *db, const struct id *node, struct found *ret)
{
	struct txn *t = db_begin(db);
	struct txn_node *tn = txn_node(t, node);
	const struct doc *doc = NULL;
	int r = !tn ? -EIO : tn->known ? txn_shown(t, tn, &doc) : -ENOENT;

	if (r == 0)
		doc_clashes(doc, keep, ret);
	if (ret->count)
		doc_render(doc, &ret->text);
	db_abort(t);
	return r;
}

/* The lines of `to` that became, or come from, those in [pos, end) of `from`. */
static struct slice lines_in(struct slice from, struct slice to, uint64_t pos, uint64_t end)
{
	struct diff_edits e = {0};
	size_t shift = 0; /* modulo */
	size_t first = pos;
	size_t last = end;

	diff_text(from, to, DIFF_BUDGET / 4, &e);
	for (size_t i = 0; i < e.count && e.items[i].pos < end; i++) {
		const struct diff_edit *x = &e.items[i];

		if (x->pos < pos)
			first = (x->pos + x->len > pos ? x->pos : pos + x->text.len - x->len) +
				shift;
		shift += x->text.len - x->len;
		last = (x->pos + x->len > end ? x->pos + x->len : end) + shift;
	}
	if (e.count == 0 || e.items[0].pos >= end)
		last = end;
	diff_edits_fini(&e);
	assert(first <= to.len && last <= to.len && first <= last);
	while (first > 0 && to.data[first - 1] != '\n')
		first--;
	while (last < to.len && (last == first || to.data[last - 1] != '\n'))
		last++;
	return SLICE(to.data + first, last - first);
}

/* What the author of the operation had made of the lines. */
static void take_version(struct history *h, const struct found *f, const struct doc_clash *c,
			 struct opid op, struct clash *ret, struct history_state *state)
{
	char rev[HISTORY_REV_BYTES];
	size_t i = 0;

	history_rev(op, rev);
	if (!h || history_find(h, rev, &i) < 0)
		return;
	ret->time_ms = history_at(h, i)->time_ms;
	if (history_at(h, i)->missing || history_after(h, i, HISTORY_CONTENT, state) < 0)
		return;
	ret->here = !state->chunked;
	if (ret->here)
		ret->lines = lines_in(buf_slice(&f->text), buf_slice(&state->content), c->pos,
				      c->pos + c->len);
}

int clash_list(struct db *db, const struct id *node, void (*fn)(void *ctx, const struct clash *c),
	       void *ctx)
{
	struct found f = {0};
	struct history *h = NULL;
	int r = find(db, node, &f);

	if (f.count)
		(void)history_open(db, node, &h);
	for (size_t i = 0; i < 2 * f.count; i++) {
		const struct doc_clash *c = &f.items[i / 2];
		struct opid op = i % 2 ? c->b : c->a;
		struct history_state state = {0};
		struct device author = {0};
		struct clash one = {
			.line = c->line,
			.line_count = c->line_count,
			.now = SLICE(f.text.data + c->pos, c->len),
			.pos = c->pos,
			.lines = SLICE("", 0),
			.author_name = author.name,
		};

		if (db_member(db, op.actor, &author) < 0)
			(void)snprintf(author.name, sizeof(author.name), "unknown");
		take_version(h, &f, c, op, &one, &state);
		fn(ctx, &one);
		history_state_fini(&state);
	}
	history_close(h);
	free(f.items);
	buf_fini(&f.text);
	return r;
}

int clash_use(struct db *db, const struct id *node, uint64_t pos, struct slice now,
	      struct slice lines)
{
	AUTO(buf_fini) struct buf text = {0};
	AUTO(buf_fini) struct buf after = {0};
	struct txn *t = db_begin_command(db, "blaze conflict");
	int r = db_read(t, node, &text);
	bool there = r == 0 && pos <= text.len && now.len <= text.len - pos &&
		     slice_eq(SLICE(text.data + pos, now.len), now);

	if (there) {
		buf_append(&after, text.data, pos);
		buf_slice_append(&after, lines);
		buf_append(&after, text.data + pos + now.len, text.len - pos - now.len);
		r = db_put_content(t, node, NULL, buf_slice(&after));
	}
	if (r <= 0) {
		db_abort(t);
		return r;
	}
	r = db_commit(t);
	return r < 0 ? r : 1;
}
