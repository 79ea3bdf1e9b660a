/* What programs do on one device, and what must hold right after. */
#include "core/follow.h"
#include "core/second.h"
#include "tests/sim/memory.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES 5

/* ---- looking ----------------------------------------------------------------------------------- */

struct infos {
	struct node_info *items;
	size_t count;
};

static void collect(void *ctx, const struct node_info *n)
{
	struct infos *l = ctx;

	l->items = xreallocarray(l->items, l->count + 1, sizeof(*l->items));
	l->items[l->count] = *n;
	l->items[l->count++].name = xstrdup(n->name);
}

static void infos_fini(struct infos *l)
{
	for (size_t i = 0; i < l->count; i++)
		node_info_fini(&l->items[i]);
	free(l->items);
}

static void scan_loser(void *ctx, const struct db_loser *l)
{
	tokens_scan(ctx, l->value);
}

void record_tokens(struct side *d, const struct id *node, struct tokens *set)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct txn *t = db_begin(d->db);

	if (db_read(t, node, &bytes) == 0)
		tokens_scan(set, buf_slice(&bytes));
	db_abort(t);
	(void)db_losers(d->db, node, scan_loser, set);
}

/* Ids of all records at or below top. */
static void list_records(struct txn *t, const struct node_info *top, struct id **list, size_t *count)
{
	AUTO(infos_fini) struct infos l = {0};

	if (top->kind != NODE_DIR) {
		*list = xreallocarray(*list, *count + 1, sizeof(**list));
		(*list)[(*count)++] = top->id;
		return;
	}
	assert(db_children(t, &top->id, collect, &l) == 0);
	for (size_t i = 0; i < l.count; i++)
		list_records(t, &l.items[i], list, count);
}

void tree_tokens(struct side *d, const struct id *top, struct tokens *set)
{
	AUTO(free_ptr) struct id *list = NULL;
	AUTO(node_info_fini) struct node_info n = {0};
	size_t count = 0;
	struct txn *t = db_begin(d->db);

	assert(db_node(t, top, &n) == 0);
	list_records(t, &n, &list, &count);
	db_abort(t);
	for (size_t i = 0; i < count; i++)
		record_tokens(d, &list[i], set);
}

/* What all other records say: one that was moved may be at both places for a while. */
static void other_tokens(struct side *d, const struct node_info *top, struct tokens *set)
{
	AUTO(free_ptr) struct id *all = NULL;
	AUTO(free_ptr) struct id *below = NULL;
	struct node_info root = {.id = db_root(d->db), .kind = NODE_DIR};
	size_t all_count = 0;
	size_t below_count = 0;
	struct txn *t = db_begin(d->db);

	list_records(t, &root, &all, &all_count);
	list_records(t, top, &below, &below_count);
	db_abort(t);
	for (size_t i = 0; i < all_count; i++) {
		bool other = true;

		for (size_t k = 0; k < below_count; k++)
			other = other && !id_eq(&all[i], &below[k]);
		if (other)
			record_tokens(d, &all[i], set);
	}
}

/* A directory, the root or up to three levels below. */
static struct id pick_dir(struct txn *t, const struct side *d, struct rng *r)
{
	struct id dir = db_root(d->db);

	for (uint32_t depth = rng_below(r, 4); depth > 0; depth--) {
		AUTO(infos_fini) struct infos l = {0};
		uint32_t dirs = 0;

		assert(db_children(t, &dir, collect, &l) == 0);
		for (size_t i = 0; i < l.count; i++) {
			if (l.items[i].kind == NODE_DIR && rng_once_in(r, ++dirs))
				dir = l.items[i].id;
		}
	}
	return dir;
}

/* A child of some directory, of this kind or (NODE_NONE) any. */
static bool pick_node(struct txn *t, const struct side *d, struct rng *r, enum node_kind kind,
		      struct node_info *ret)
{
	for (unsigned attempt = 0; attempt < 4; attempt++) {
		AUTO(infos_fini) struct infos l = {0};
		struct id dir = pick_dir(t, d, r);
		uint32_t fit = 0;

		assert(db_children(t, &dir, collect, &l) == 0);
		for (size_t i = 0; i < l.count; i++) {
			if ((kind == NODE_NONE || l.items[i].kind == kind) && rng_once_in(r, ++fit)) {
				node_info_fini(ret);
				*ret = l.items[i];
				ret->name = xstrdup(l.items[i].name);
			}
		}
		if (fit)
			return true;
	}
	return false;
}

static enum content content_of(const char *name)
{
	size_t len = strlen(name);

	if (len > 5 && strcmp(name + len - 5, ".json") == 0)
		return CONTENT_JSON;
	return len > 4 && strcmp(name + len - 4, ".bin") == 0 ? CONTENT_BINARY : CONTENT_TEXT;
}

static void new_name(struct rng *r, enum node_kind kind, char out[16])
{
	static const char *const suffixes[] = {".json", ".json", ".txt", ".md", ".bin"};

	(void)snprintf(out, 16, "%c%u%s", kind == NODE_DIR ? 'd' : 'f',
		       rng_below(r, 1 + rng_below(r, NAMES)),
		       kind == NODE_DIR ? "" : suffixes[rng_below(r, countof(suffixes))]);
}

/* ---- saving ------------------------------------------------------------------------------------ */

static void fail_with(const struct side *d, const struct tokens *set, const char *what)
{
	tokens_print(set);
	fail(d->sim, "%s: %s", d->dir, what);
}

struct save {
	struct id node;
	const struct doc *base; /* NULL: the current one */
	struct slice read;	/* what the program had read */
	struct tokens seen;	/* in it, or among its losers */
	struct slice written;
	struct tokens before; /* the save */
};

/* After the save: what is gone was seen, what is new is there. */
static void check_save(struct side *d, const struct save *x)
{
	struct tokens written = {0};
	struct tokens read = {0};
	struct tokens after = {0};
	struct tokens lost;
	struct tokens blind;
	struct tokens unseen;

	record_tokens(d, &x->node, &after);
	tokens_scan(&written, x->written);
	tokens_scan(&read, x->read);
	/* What somebody else took away who had seen it may have come back with a text that others edited. */
	if (tokens_minus(&x->before, &after, &lost) && tokens_minus(&lost, &x->seen, &blind) &&
	    tokens_minus(&blind, &d->sim->removed, &unseen))
		fail_with(d, &unseen, "a save took away what its program had not seen");
	struct tokens fresh;
	if (tokens_minus(&written, &read, &fresh) && tokens_minus(&fresh, &after, &blind))
		fail_with(d, &blind, "a save is not there");
	tokens_merge(&d->sim->written, &written);
	tokens_merge(&d->sim->removed, &lost);
	/* It may be there a second time, in a value that another device is about to replace. */
	if (x->base && tokens_minus(&read, &written, &lost))
		tokens_merge(&d->sim->removed, &lost);
	if (x->base)
		return;
	AUTO(buf_fini) struct buf back = {0};
	struct txn *t = db_begin(d->db);
	int r = db_read(t, &x->node, &back);
	db_abort(t);
	if (r != 0 || !slice_eq(buf_slice(&back), x->written))
		fail(d->sim, "%s: reads back as %s", d->dir, buf_str(&back));
}

static void save(struct side *d, struct txn *t, const struct save *x)
{
	if (disk_is_durable(d->dir))
		d->unsynced = (struct tokens){0};
	tokens_scan(&d->unsynced, x->written);
	int r = db_put_content(t, &x->node, x->base, x->written);

	if (r < 0)
		fail(d->sim, "a save was refused: %s", strerror(-r));
	/* An empty file is JSON, or text that is there. */
	if (r > 0 && x->read.len && slice_eq(x->read, x->written))
		fail(d->sim, "a save of what was read is a change");
	assert(db_commit(t) == 0);
	check_save(d, x);
}

static void create(struct side *d, struct rng *r, enum node_kind kind)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct save x = {0};
	char name[16];
	struct txn *t = db_begin(d->db);
	struct id dir = pick_dir(t, d, r);

	new_name(r, kind, name);
	(void)db_new_id(t, &dir, name, kind, 0, &x.node);
	db_abort(t);
	record_tokens(d, &x.node, &x.before);
	x.seen = x.before;
	t = db_begin(d->db);
	int made = db_put_node(t, &x.node, kind, &dir, name);
	tell(d->sim, "%s: create %s: %d", d->dir, name, made);
	if (made != 0 || kind == NODE_DIR) {
		assert(made == 0 || made == -EXDEV || made == -ELOOP);
		assert(db_commit(t) == 0);
		return;
	}
	if (kind == NODE_SYMLINK) {
		buf_printf(&bytes, "to/");
		token_put(&bytes, &d->sim->next_token);
	} else {
		mutate_create(content_of(name), r, &d->sim->next_token, &bytes);
	}
	tell(d->sim, "%s", buf_str(&bytes));
	x.written = buf_slice(&bytes);
	save(d, t, &x);
}

static void save_current(struct side *d, struct rng *r)
{
	AUTO(node_info_fini) struct node_info n = {0};
	AUTO(buf_fini) struct buf read = {0};
	AUTO(buf_fini) struct buf bytes = {0};
	struct txn *t = db_begin(d->db);
	bool found = pick_node(t, d, r, NODE_RECORD, &n);

	if (found)
		assert(db_read(t, &n.id, &read) == 0);
	db_abort(t);
	if (!found)
		return;
	(void)buf_reserve(&read, 1);
	mutate(content_of(n.name), buf_slice(&read), r, &d->sim->next_token, &bytes);
	tell(d->sim, "%s: save %s\n%s", d->dir, n.name, buf_str(&bytes));
	struct save x = {.node = n.id, .read = buf_slice(&read), .written = buf_slice(&bytes)};
	record_tokens(d, &n.id, &x.before);
	x.seen = x.before;
	save(d, db_begin(d->db), &x);
}

void handle_drop(struct handle *h)
{
	doc_destroy(h->doc);
	free(h->name);
	buf_fini(&h->bytes);
	*h = (struct handle){0};
}

static void read_for_later(struct side *d, struct rng *r)
{
	AUTO(node_info_fini) struct node_info n = {0};
	struct handle *h = &d->handles[rng_below(r, HANDLES_MAX)];
	struct txn *t = db_begin(d->db);

	handle_drop(h);
	if (pick_node(t, d, r, NODE_RECORD, &n)) {
		assert(db_doc(t, &n.id, &h->doc) == 0);
		assert(db_read(t, &n.id, &h->bytes) == 0);
		(void)buf_reserve(&h->bytes, 1);
		h->node = n.id;
		h->parent = n.parent;
		h->name = xstrdup(n.name);
		tell(d->sim, "%s: read %s", d->dir, n.name);
	}
	db_abort(t);
	if (h->doc)
		record_tokens(d, &h->node, &h->seen);
}

/* A deleted record comes back, at the name it was read under. */
static int revive(struct txn *t, const struct handle *h)
{
	AUTO(node_info_fini) struct node_info n = {0};

	if (db_node(t, &h->node, &n) == 0 && n.visible)
		return 0;
	return db_put_node(t, &h->node, NODE_RECORD, &h->parent, h->name);
}

static void save_stale(struct side *d, struct rng *r)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct handle *h = &d->handles[rng_below(r, HANDLES_MAX)];

	for (unsigned i = 0; i < HANDLES_MAX && !h->doc; i++)
		h = &d->handles[i];
	if (!h->doc)
		return;
	mutate(content_of(h->name), buf_slice(&h->bytes), r, &d->sim->next_token, &bytes);
	(void)buf_str(&bytes);
	struct save x = {.node = h->node,
			 .base = h->doc,
			 .read = buf_slice(&h->bytes),
			 .seen = h->seen,
			 .written = buf_slice(&bytes)};
	record_tokens(d, &h->node, &x.before);
	struct txn *t = db_begin(d->db);
	int back = revive(t, h);
	tell(d->sim, "%s: stale save %s: %d\n%s", d->dir, h->name, back, buf_str(&bytes));
	if (back == 0)
		save(d, t, &x);
	else
		db_abort(t);
	handle_drop(h);
}

/* ---- names ------------------------------------------------------------------------------------- */

static void remove_node(struct side *d, struct rng *r)
{
	AUTO(node_info_fini) struct node_info n = {0};
	struct id root = db_root(d->db);
	struct tokens before = {0};
	struct tokens below = {0};
	struct tokens after = {0};
	struct tokens others = {0};
	struct tokens lost;
	struct tokens blind;
	struct txn *t = db_begin(d->db);
	bool found = pick_node(t, d, r, NODE_NONE, &n);

	db_abort(t);
	if (!found)
		return;
	tell(d->sim, "%s: delete %s", d->dir, n.name);
	tree_tokens(d, &root, &before);
	tree_tokens(d, &n.id, &below);
	other_tokens(d, &n, &others);
	t = db_begin(d->db);
	assert(db_delete(t, &n.id) >= 0);
	assert(db_commit(t) == 0);
	tree_tokens(d, &root, &after);
	if (tokens_minus(&before, &after, &lost) && tokens_minus(&lost, &below, &blind))
		fail_with(d, &blind, "a delete took away what is elsewhere");
	struct tokens kept;
	if (tokens_minus(&below, &lost, &kept) && tokens_minus(&kept, &others, &blind))
		fail_with(d, &blind, "what was deleted is still there");
	tokens_merge(&d->sim->removed, &lost);
}

bool follow_all(struct side *d)
{
	int r = 1;
	bool any = false;

	for (unsigned rounds = 0; r == 1; rounds++) {
		struct id root = db_root(d->db);
		struct tokens before = {0};
		struct tokens after = {0};
		struct tokens lost;

		if (rounds > 1000)
			fail(d->sim, "%s: moved records are followed for ever", d->dir);
		tree_tokens(d, &root, &before);
		r = follow_step(d->db);
		if (r == 0)
			r = second_step(d->db);
		if (r < 0)
			fail(d->sim, "%s: a moved record cannot be followed: %s", d->dir,
			     strerror(-r));
		tree_tokens(d, &root, &after);
		struct tokens blind;
		if (tokens_minus(&before, &after, &lost) &&
		    tokens_minus(&lost, &d->sim->removed, &blind))
			fail_with(d, &blind, "taking over a change took away content");
		tell(d->sim, "%s: followed: %d", d->dir, r);
		any = any || r == 1;
	}
	return any;
}

/* To another collection: a new node with the same content, which says which one it was. */
static int move_across(struct txn *t, const struct node_info *n, const struct id *to,
		       const char *name)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct id node;
	struct id there;

	/* A record in conflict would leave the value that lost behind. */
	if (n->kind == NODE_DIR || n->conflicts || db_child(t, to, name, &there) == 0)
		return -EXDEV;
	int r = db_read(t, &n->id, &bytes);
	assert(r == 0);
	(void)db_new_id(t, to, name, n->kind, 0, &node);
	r = db_put_node(t, &node, n->kind, to, name);
	if (r < 0)
		return r;
	r = follow_put_origin(t, &node, &n->id);
	if (r == 0)
		r = db_put_content(t, &node, NULL, buf_slice(&bytes));
	if (r >= 0)
		r = db_delete(t, &n->id);
	return r;
}

static void move(struct side *d, struct rng *r)
{
	AUTO(node_info_fini) struct node_info n = {0};
	struct id root = db_root(d->db);
	struct tokens before = {0};
	struct tokens after = {0};
	struct tokens lost;
	char name[16];
	struct txn *t = db_begin(d->db);
	bool found = pick_node(t, d, r, NODE_NONE, &n);
	struct id to = rng_once_in(r, 3) ? n.parent : pick_dir(t, d, r);
	bool across = found && !db_same_stream(t, &n.id, &to);

	db_abort(t);
	if (!found)
		return;
	new_name(r, n.kind, name);
	tree_tokens(d, &root, &before);
	t = db_begin(d->db);
	int moved =
		across ? move_across(t, &n, &to, name) : db_put_node(t, &n.id, n.kind, &to, name);
	if (moved < 0) {
		db_abort(t);
		assert(moved == -ELOOP || moved == -EXDEV);
		return;
	}
	tell(d->sim, "%s: move %s to %s: %d", d->dir, n.name, name, moved);
	assert(db_commit(t) == 0);
	tree_tokens(d, &root, &after);
	if (tokens_minus(&before, &after, &lost))
		fail_with(d, &lost, "a move took away content");
}

/* One directory goes, and what is in it is in another one from then on. */
static void merge_dirs(struct side *d, struct rng *r)
{
	AUTO(node_info_fini) struct node_info n = {0};
	struct id root = db_root(d->db);
	struct tokens before = {0};
	struct tokens after = {0};
	struct tokens lost;
	struct txn *t = db_begin(d->db);
	bool found = pick_node(t, d, r, NODE_DIR, &n);
	struct id to = pick_dir(t, d, r);

	db_abort(t);
	if (!found || id_eq(&n.id, &to))
		return;
	tree_tokens(d, &root, &before);
	t = db_begin(d->db);
	int merged = db_merge_dir(t, &n.id, &to);
	tell(d->sim, "%s: merge %s: %d", d->dir, n.name, merged);
	if (merged < 0) {
		db_abort(t);
		assert(merged == -ELOOP);
		return;
	}
	assert(db_commit(t) == 0);
	tree_tokens(d, &root, &after);
	if (tokens_minus(&before, &after, &lost))
		fail_with(d, &lost, "a merge of directories took away content");
}

static void put_exec(struct side *d, struct rng *r)
{
	AUTO(node_info_fini) struct node_info n = {0};
	struct txn *t = db_begin(d->db);

	if (pick_node(t, d, r, NODE_RECORD, &n))
		assert(db_put_exec(t, &n.id, rng_once_in(r, 2)) >= 0);
	assert(db_commit(t) == 0);
}

void edit(struct side *d, const struct step *step, struct rng *r)
{
	switch (step->kind) {
	case STEP_CREATE:
		create(d, r, NODE_RECORD);
		break;
	case STEP_MKDIR:
		create(d, r, NODE_DIR);
		break;
	case STEP_SYMLINK:
		create(d, r, NODE_SYMLINK);
		break;
	case STEP_SAVE:
		save_current(d, r);
		break;
	case STEP_READ:
		read_for_later(d, r);
		break;
	case STEP_STALE:
		save_stale(d, r);
		break;
	case STEP_DELETE:
		remove_node(d, r);
		break;
	case STEP_MOVE:
		move(d, r);
		break;
	case STEP_MERGE:
		merge_dirs(d, r);
		break;
	case STEP_EXEC:
		put_exec(d, r);
		break;
	case STEP_TALK:
	case STEP_CUT_OFF:
	case STEP_RESTART:
	case STEP_KILL:
	case STEP_POWER:
	case STEP_SKEW:
	case STEP_FOLLOW:
	case STEP_COMPACT:
	case STEP_MONTHS:
		assert(false); /* not an edit */
	}
}
