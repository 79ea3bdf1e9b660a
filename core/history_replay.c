/* States of one node, replayed from its changes: what it was before and after each, and at a time. See history_i.h. */
#include "core/history_i.h"

#include "core/manifest.h"

#include <stdlib.h>
#include <string.h>

static void replay_op(struct replay *r, const struct op *op, struct stamp stamp)
{
	static const struct opid none;
	struct node *n = &r->n;

	switch (op->kind) {
	case OP_TOUCH:
	case OP_DELETE:
		node_touch(n, op->preds, op->pred_count, op->kind == OP_TOUCH ? stamp.id : none);
		if (stamp_beats(stamp, n->last))
			n->last = stamp;
		break;
	case OP_MOVE:
		if (opid_cmp(stamp.id, n->place) <= 0)
			break;
		n->kind = op->node_kind;
		n->place = stamp.id;
		n->parent = op->parent;
		buf_clear(&n->name);
		buf_slice_append(&n->name, op->name);
		break;
	case OP_EXEC:
		if (!stamp_beats(stamp, n->exec_stamp))
			break;
		n->exec = op->exec;
		n->exec_stamp = stamp;
		break;
	case OP_ORIGIN:
	case OP_AUTH:
		break;
	case OP_SET:
	case OP_UNSET:
	case OP_RAW:
	case OP_UNRAW:
	case OP_LAYOUT:
	case OP_TEXT:
	case OP_CHUNKS:
	case OP_INSERT:
	case OP_PLACE:
	case OP_SPACE:
		if (n->kind == NODE_DIR || (op->kind == OP_CHUNKS && n->kind != NODE_RECORD))
			break;
		doc_apply(r->doc, op, stamp.id, stamp.hlc);
		r->is_rendered = false;
		if (stamp_beats(stamp, n->content))
			n->content = stamp;
		break;
	}
}

static int replay_visit(struct history *h, struct replay *r, size_t i)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct change c = {0};
	int err = history_read(h, NULL, i, &bytes, &c);

	if (err == -ENOENT)
		return 0;
	for (size_t k = 0; err == 0 && k < c.ops.count; k++) {
		const struct op *op = &c.ops.items[k];
		struct stamp stamp = {.hlc = c.hlc, .id = {op->lamport, c.actor}};

		if (id_eq(&op->node, &h->node))
			replay_op(r, op, stamp);
	}
	change_fini(&c);
	return err;
}

static bool is_within(const struct history *h, const uint32_t *a, const uint32_t *b)
{
	for (size_t k = 0; k < h->author_count; k++) {
		if (a[k] > b[k])
			return false;
	}
	return true;
}

static uint64_t sum(const struct history *h, const uint32_t *counts)
{
	uint64_t n = 0;

	for (size_t k = 0; k < h->author_count; k++)
		n += counts[k];
	return n;
}

/* The replay that has to go the shortest way to `counts`, or a fresh one. */
static struct replay *nearest(struct history *h, const uint32_t *counts)
{
	struct replay *best = NULL;
	struct replay *oldest = &h->replays[0];

	for (size_t i = 0; i < REPLAYS; i++) {
		struct replay *r = &h->replays[i];

		if (r->counts && is_within(h, r->counts, counts) &&
		    (!best || sum(h, r->counts) > sum(h, best->counts)))
			best = r;
		if (r->used < oldest->used)
			oldest = r;
	}
	if (!best) {
		best = oldest;
		history_replay_fini(best);
		best->counts = xcalloc(h->author_count, sizeof(*best->counts));
		best->doc = doc_create();
		best->n.id = h->node;
	}
	best->used = ++h->clock;
	return best;
}

/* The next visit to replay on the way to `counts`; SIZE_MAX when there. */
static size_t next_visit(const struct history *h, const struct replay *r, const uint32_t *counts)
{
	size_t next = SIZE_MAX;

	for (size_t k = 0; k < h->author_count; k++) {
		if (r->counts[k] < counts[k] && h->authors[k].visits[r->counts[k]] < next)
			next = h->authors[k].visits[r->counts[k]];
	}
	return next;
}

/*
 * Brings a replay to `counts`. Going on from a smaller set may apply an operation after one of a higher
 * lamport, but only after a concurrent one, which makes no difference.
 */
static int replay_to(struct history *h, const uint32_t *counts, struct replay **ret)
{
	struct replay *r = nearest(h, counts);

	for (size_t i; (i = next_visit(h, r, counts)) != SIZE_MAX;) {
		int err = replay_visit(h, r, i);

		if (err < 0) {
			history_replay_fini(r);
			return err;
		}
		r->counts[h->visits[i].author]++;
	}
	*ret = r;
	return 0;
}

static void take_state(const struct history *h, struct replay *r, unsigned want,
		       struct history_state *ret)
{
	const struct node *n = &r->n;

	*ret = (struct history_state){
		.known = n->place.lamport != 0,
		.alive = n->place.lamport != 0 && n->token_count > 0,
		.parent = n->parent,
		.place = n->place,
		.exec = n->exec,
		.modified_ms = (n->content.hlc ? n->content.hlc : n->last.hlc) >> 16,
		.author = n->last.id.actor,
	};
	buf_slice_append(&ret->name, buf_slice(&n->name));
	if (h->kind == NODE_DIR)
		return;
	if (want & HISTORY_DOC)
		ret->doc = doc_clone(r->doc);
	if (!(want & HISTORY_CONTENT))
		return;
	if (!r->is_rendered) {
		buf_clear(&r->rendered);
		doc_render(r->doc, &r->rendered);
		r->is_rendered = true;
	}
	ret->conflicts = doc_conflict_count(r->doc);
	ret->chunked = doc_mode(r->doc) == DOC_CHUNKS;
	ret->size = ret->chunked ? manifest_size(buf_slice(&r->rendered)) : r->rendered.len;
	buf_slice_append(&ret->content, buf_slice(&r->rendered));
}

void history_state_fini(struct history_state *s)
{
	buf_fini(&s->name);
	buf_fini(&s->content);
	doc_destroy(s->doc);
	*s = (struct history_state){0};
}

static int state_of(struct history *h, const uint32_t *counts, unsigned want,
		    struct history_state *ret)
{
	struct replay *replay = NULL;
	int r = replay_to(h, counts, &replay);

	if (r == 0)
		take_state(h, replay, want, ret);
	return r;
}

static void counts_before(const struct history *h, size_t i, uint32_t *counts)
{
	if (h->seen) {
		memcpy(counts, h->seen + i * h->author_count, h->author_count * sizeof(*counts));
		return;
	}
	memset(counts, 0, h->author_count * sizeof(*counts));
	for (size_t k = 0; k < i; k++)
		counts[h->visits[k].author]++;
}

int history_before(struct history *h, size_t i, unsigned want, struct history_state *ret)
{
	struct id node;

	h = history_part(h, &i, &node);
	AUTO(free_ptr) uint32_t *counts = xcalloc(h->author_count, sizeof(*counts));
	counts_before(h, i, counts);
	return state_of(h, counts, want, ret);
}

int history_after(struct history *h, size_t i, unsigned want, struct history_state *ret)
{
	struct id node;

	h = history_part(h, &i, &node);
	AUTO(free_ptr) uint32_t *counts = xcalloc(h->author_count, sizeof(*counts));
	counts_before(h, i, counts);
	counts[h->visits[i].author] = h->visits[i].ordinal;
	return state_of(h, counts, want, ret);
}

/* Times only rise within an author's changes, and with what they are on top of: this is a set with causes. */
static void counts_when(const struct history *h, uint64_t ms, uint32_t *counts)
{
	for (size_t i = 0; i < h->count; i++) {
		if (h->visits[i].c.time_ms <= ms)
			counts[h->visits[i].author] = h->visits[i].ordinal;
	}
}

static uint64_t first_ms(const struct history *h)
{
	uint64_t ms = UINT64_MAX;

	for (size_t i = 0; i < h->count; i++)
		ms = h->visits[i].c.time_ms < ms ? h->visits[i].c.time_ms : ms;
	return ms;
}

int history_when(struct history *h, uint64_t ms, unsigned want, struct history_state *ret)
{
	/* Before it was this node, it was another. */
	while (h->origin && first_ms(h) > ms)
		h = h->origin;
	AUTO(free_ptr) uint32_t *counts = xcalloc(h->author_count, sizeof(*counts));
	counts_when(h, ms, counts);
	return state_of(h, counts, want, ret);
}

int history_moves(struct history *h, uint64_t ms,
		  void (*fn)(void *ctx, const struct op *op, uint64_t actor), void *ctx)
{
	for (size_t i = 0; i < h->count; i++) {
		AUTO(buf_fini) struct buf bytes = {0};
		struct change c = {0};

		if (h->visits[i].c.time_ms > ms)
			continue;
		int r = history_read(h, NULL, i, &bytes, &c);
		for (size_t k = 0; r == 0 && k < c.ops.count; k++) {
			const struct op *op = &c.ops.items[k];

			if (op->kind == OP_MOVE && id_eq(&op->node, &h->node))
				fn(ctx, op, c.actor);
		}
		change_fini(&c);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

int history_with(const struct history *h, struct opid op, size_t *ret)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct visit *v = &h->visits[i];

		if (v->pos.actor != op.actor || op.lamport < v->lamport_first ||
		    op.lamport > v->lamport_last)
			continue;
		*ret = i;
		return 0;
	}
	return -ENOENT;
}

bool history_are_apart(const struct history *h, size_t i, size_t j)
{
	AUTO(free_ptr) uint32_t *a = xcalloc(h->author_count, sizeof(*a));
	AUTO(free_ptr) uint32_t *b = xcalloc(h->author_count, sizeof(*b));

	if (!h->seen || h->visits[i].author == h->visits[j].author)
		return false;
	counts_before(h, i, a);
	counts_before(h, j, b);
	a[h->visits[i].author] = b[h->visits[j].author] = 1;
	for (size_t k = 0; k < h->author_count; k++) {
		if (a[k] && b[k])
			return false;
	}
	return true;
}
