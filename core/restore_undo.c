/* Undo: the changes are found, their before and after replayed, and the difference is taken back. */
#include "core/db_chunks.h"
#include "core/db_i.h"
#include "core/restore.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/** Changes looked through for one that has to do with the node. */
#define LOOK_MAX 1000000

/** One node, and what it was before and after what is taken back. */
struct job {
	struct id node;
	struct opid rev;
	struct history_state before;
	struct history_state after;
};

struct jobs {
	struct job *items;
	size_t count;
};

static void jobs_fini(struct jobs *j)
{
	for (size_t i = 0; i < j->count; i++) {
		history_state_fini(&j->items[i].before);
		history_state_fini(&j->items[i].after);
	}
	free(j->items);
	*j = (struct jobs){0};
}

/* ---- taking back ----------------------------------------------------------------------------- */

static struct stamp stamp_of(const struct txn *t, const struct op *op)
{
	return (struct stamp){.hlc = t->hlc, .id = {.lamport = op->lamport, .actor = t->db->actor}};
}

static bool is_json_name(const struct node *n)
{
	return n->name.len > 5 &&
	       strncasecmp((const char *)n->name.data + n->name.len - 5, ".json", 5) == 0;
}

/* 1 = changed. */
static int undo_content(struct txn *t, const struct job *j)
{
	struct txn_node *tn = txn_node(t, &j->node);
	struct doc *now = NULL;
	bool same = j->before.chunked == j->after.chunked &&
		    slice_eq(buf_slice(&j->before.content), buf_slice(&j->after.content));

	if (!tn)
		return -EIO;
	if (tn->n.kind == NODE_DIR || same || !j->before.known)
		return 0;
	if (j->before.chunked && !db_chunks_are_here(t->db, buf_slice(&j->before.content)))
		return -ENODATA; /* it had been replaced before this device fetched it */
	int r = txn_doc(t, tn, &now);
	if (r < 0)
		return r;
	struct id stream = tn->n.stream;
	struct doc_stamp stamp = {.actor = t->db->actor,
				  .hlc = t->hlc,
				  .lamport = &t->lamport,
				  .whole = tn->n.kind != NODE_RECORD};
	struct doc_wanted wanted = {.bytes = buf_slice(&j->before.content),
				    .chunked = j->before.chunked,
				    .json = tn->n.kind == NODE_RECORD && is_json_name(&tn->n)};
	struct ops *ops = &txn_draft(t, &stream)->ops;
	size_t first = ops->count;

	if (!doc_undo(j->after.doc, now, &wanted, &j->node, &stamp, ops))
		return 0;
	for (size_t i = first; r == 0 && i < ops->count; i++)
		r = tree_apply(t, &stream, &ops->items[i], stamp_of(t, &ops->items[i]));
	if (r == 0)
		r = txn_touch(t, &stream, tn);
	return r < 0 ? r : 1;
}

static bool same_place(const struct history_state *a, const struct history_state *b)
{
	return id_eq(&a->parent, &b->parent) && slice_eq(buf_slice(&a->name), buf_slice(&b->name));
}

/* Moves it back, if it is still where the change put it. */
static int undo_place(struct txn *t, const struct job *j)
{
	const struct txn_node *tn = txn_node(t, &j->node);
	AUTO(buf_fini) struct buf name = {0};

	if (!tn)
		return -EIO;
	if (!j->before.known || same_place(&j->before, &j->after) ||
	    !id_eq(&tn->n.parent, &j->after.parent) ||
	    !slice_eq(buf_slice(&tn->n.name), buf_slice(&j->after.name)))
		return 0;
	buf_slice_append(&name, buf_slice(&j->before.name));
	int r = db_put_node(t, &j->node, tn->n.kind, &j->before.parent, buf_str(&name));
	return r < 0 ? r : 1;
}

/* A node that the change brought to life goes, unless somebody has done something with it since. */
static int undo_birth(struct txn *t, const struct job *j)
{
	const struct txn_node *tn = txn_node(t, &j->node);

	if (!tn)
		return -EIO;
	bool alone = tn->n.token_count == 1 && opid_eq(tn->n.tokens[0], j->rev);
	if (!alone || tn->n.child_count > 0)
		return 0;
	int r = db_delete(t, &j->node);
	return r < 0 ? r : 1;
}

static int undo_death(struct txn *t, const struct job *j)
{
	const struct txn_node *tn = txn_node(t, &j->node);
	AUTO(buf_fini) struct buf name = {0};

	if (!tn)
		return -EIO;
	if (tn->n.token_count > 0)
		return 0;
	struct id parent = tn->n.parent;
	buf_slice_append(&name, buf_slice(&tn->n.name));
	int r = db_put_node(t, &j->node, tn->n.kind, &parent, buf_str(&name));
	return r < 0 ? r : 1;
}

static int undo_exec(struct txn *t, const struct job *j)
{
	const struct txn_node *tn = txn_node(t, &j->node);

	if (!tn)
		return -EIO;
	if (!j->before.known || j->before.exec == j->after.exec || tn->n.exec != j->after.exec)
		return 0;
	return db_put_exec(t, &j->node, j->before.exec);
}

/* 1 = something of it was taken back. */
static int undo_job(struct txn *t, const struct job *j)
{
	static int (*const steps[])(struct txn * t, const struct job *j) = {undo_place, undo_exec,
									    undo_content};
	int done = 0;

	if (j->before.alive && !j->after.alive)
		done = undo_death(t, j);
	for (size_t i = 0; done >= 0 && i < countof(steps); i++) {
		int r = steps[i](t, j);

		done = r < 0 ? r : done || r;
	}
	return done;
}

static bool is_birth(const struct job *j)
{
	return !j->before.alive && j->after.alive;
}

/* What was brought to life goes, directories when they are empty. The number that went, or an error. */
static int undo_births(struct txn *t, const struct jobs *jobs)
{
	AUTO(free_ptr) bool *gone = xcalloc(jobs->count, sizeof(*gone));
	int count = 0;

	for (bool again = true; again;) {
		again = false;
		for (size_t i = jobs->count; i > 0; i--) {
			int r = is_birth(&jobs->items[i - 1]) && !gone[i - 1]
					? undo_birth(t, &jobs->items[i - 1])
					: 0;

			if (r < 0)
				return r;
			gone[i - 1] = gone[i - 1] || r > 0;
			again = again || r > 0;
			count += r > 0;
		}
	}
	return count;
}

static int run(struct db *db, const struct jobs *jobs, struct undone *ret)
{
	struct txn *t = db_begin_command(db, "blaze undo");
	size_t done = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < jobs->count; i++) {
		if (is_birth(&jobs->items[i]))
			continue;
		r = undo_job(t, &jobs->items[i]);
		done += r > 0;
	}
	if (r >= 0)
		r = undo_births(t, jobs);
	if (r < 0) {
		db_abort(t);
		return r;
	}
	done += (size_t)r;
	ret->nodes += done;
	ret->kept += jobs->count - done;
	if (done)
		return db_commit(t);
	db_abort(t);
	return 0;
}

/* ---- which changes --------------------------------------------------------------------------- */

/** A change of this device, and what it did to the node asked for and those below. */
struct own_feed {
	struct id stream;
	uint64_t seq; /**< the next to look at, going back */
};

struct search {
	struct db *db;
	const struct id *top;
	struct changes changes;
	struct own_feed *feeds;
	size_t feed_count;
};

static void open_feeds(struct search *s, struct txn *t)
{
	const struct db *db = t->db;

	s->feeds = xcalloc(db->feed_count, sizeof(*s->feeds));
	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor == db->actor && !id_eq(&f->stream, &db->auth_stream))
			s->feeds[s->feed_count++] =
				(struct own_feed){.stream = f->stream, .seq = f->seq};
	}
}

struct loaded {
	struct change c;
	struct buf bytes;
	bool there;
};

static int load(struct search *s, struct txn *t, const struct own_feed *f, struct loaded *ret)
{
	struct feed_pos pos = {.stream = f->stream, .actor = t->db->actor, .seq = f->seq};

	if (f->seq == 0)
		return 0;
	int r = changes_get(&s->changes, t, &pos, &ret->bytes);
	if (r == 0)
		r = change_decode(buf_slice(&ret->bytes), pos.actor, &ret->c);
	ret->there = r == 0;
	return r == -ENOENT ? 0 : r;
}

static void add_job(struct jobs *jobs, const struct id *node, struct opid rev)
{
	for (size_t i = 0; i < jobs->count; i++) {
		if (id_eq(&jobs->items[i].node, node)) {
			jobs->items[i].rev = rev;
			return;
		}
	}
	if ((jobs->count & (jobs->count - 1)) == 0)
		jobs->items = xreallocarray(jobs->items, jobs->count ? jobs->count * 2 : 1,
					    sizeof(*jobs->items));
	jobs->items[jobs->count++] = (struct job){.node = *node, .rev = rev};
}

/* Was or is the node at top, or below it? */
static bool concerns(struct txn *t, const struct id *top, const struct op *op)
{
	return id_eq(top, &t->db->root) || tree_is_inside(t, &op->node, top) ||
	       (op->kind == OP_MOVE && tree_is_inside(t, &op->parent, top));
}

static void take_change(struct search *s, struct txn *t, const struct change *c, struct jobs *jobs)
{
	for (size_t i = 0; i < c->ops.count; i++) {
		const struct op *op = &c->ops.items[i];

		if (op->kind != OP_AUTH && concerns(t, s->top, op))
			add_job(jobs, &op->node, (struct opid){op->lamport, c->actor});
	}
}

/*
 * The newest changes not looked at yet: those of one transaction, which have one time. 1 = found some, 0 = there
 * are none; jobs may still be empty.
 */
static int previous(struct search *s, struct jobs *jobs)
{
	struct txn *t = db_begin(s->db);
	uint64_t hlc = 0;
	int r = 0;

	if (!s->feeds)
		open_feeds(s, t);
	struct loaded *newest = xcalloc(s->feed_count, sizeof(*newest));
	for (size_t i = 0; r == 0 && i < s->feed_count; i++) {
		r = load(s, t, &s->feeds[i], &newest[i]);
		if (r == 0 && newest[i].there && newest[i].c.hlc > hlc)
			hlc = newest[i].c.hlc;
		if (r == 0 && s->feeds[i].seq && !newest[i].there)
			s->feeds[i].seq = 0; /* not here any more: nor is what came before */
	}
	for (size_t i = 0; i < s->feed_count; i++) {
		if (r == 0 && newest[i].there && newest[i].c.hlc == hlc) {
			take_change(s, t, &newest[i].c, jobs);
			s->feeds[i].seq--;
		}
		change_fini(&newest[i].c);
		buf_fini(&newest[i].bytes);
	}
	db_abort(t);
	free(newest);
	return r < 0 ? r : hlc != 0;
}

static int load_states(struct db *db, struct job *j, struct history *h, size_t i)
{
	struct history *own = NULL;
	int r = 0;

	if (!h) {
		char rev[HISTORY_REV_BYTES];

		r = history_open(db, &j->node, &own);
		h = own;
		history_rev(j->rev, rev);
		if (r == 0)
			r = history_find(h, rev, &i);
	}
	if (r == 0) {
		j->rev = history_at(h, i)->rev;
		r = history_before(h, i, HISTORY_CONTENT, &j->before);
	}
	if (r == 0)
		r = history_after(h, i, HISTORY_CONTENT | HISTORY_DOC, &j->after);
	history_close(own);
	return r;
}

int restore_undo(struct db *db, const struct id *node, size_t count, struct undone *ret)
{
	struct search s = {.db = db, .top = node};
	struct jobs *steps = NULL;
	size_t found = 0;
	int r = 1;

	*ret = (struct undone){0};
	for (size_t looked = 0; r > 0 && found < count && looked < LOOK_MAX; looked++) {
		struct jobs jobs = {0};

		r = previous(&s, &jobs);
		if (jobs.count == 0)
			continue;
		steps = xreallocarray(steps, found + 1, sizeof(*steps));
		steps[found++] = jobs;
	}
	r = r > 0 ? 0 : r;
	if (r == 0 && found == 0)
		r = -ENOENT;
	for (size_t i = 0; i < found; i++) {
		for (size_t k = 0; r == 0 && k < steps[i].count; k++)
			r = load_states(db, &steps[i].items[k], NULL, 0);
		if (r == 0)
			r = run(db, &steps[i], ret);
		ret->changes += r == 0;
		jobs_fini(&steps[i]);
	}
	free(steps);
	free(s.feeds);
	changes_fini(&s.changes);
	return r;
}

int restore_undo_change(struct db *db, const struct id *node, struct history *h, size_t i,
			struct undone *ret)
{
	struct job job = {.node = *node};
	struct jobs jobs = {.items = xmemdup(&job, sizeof(job)), .count = 1};

	*ret = (struct undone){0};
	int r = load_states(db, jobs.items, h, i);
	if (r == 0)
		r = run(db, &jobs, ret);
	ret->changes = r == 0;
	jobs_fini(&jobs);
	return r;
}
