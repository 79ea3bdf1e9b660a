/* Restoring: contents are read first, then one transaction writes what fits into it. */
#include "core/restore.h"

#include "core/db_chunks.h"
#include "core/db_i.h"

#include <stdlib.h>
#include <string.h>

/** Something to bring back; parents come before children. */
struct item {
	size_t parent; /**< index; SIZE_MAX = the root */
	struct id was;
	struct id now; /**< once it is there */
	enum node_kind kind;
	char *name;
	bool exec;
	bool done; /**< a directory that is there, or cannot be */
	bool blocked;
	bool chunked;
	bool unreadable;
	struct buf content;
};

struct restoring {
	struct past *past;
	struct db *db;
	struct item *items;
	size_t count;
	struct restored *ret;
};

static void restoring_fini(struct restoring *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->items[i].name);
		buf_fini(&r->items[i].content);
	}
	free(r->items);
}

static size_t add_item(struct restoring *r, size_t parent, const struct past_node *n)
{
	if ((r->count & (r->count - 1)) == 0)
		r->items = xreallocarray(r->items, r->count ? r->count * 2 : 1, sizeof(*r->items));
	r->items[r->count] = (struct item){.parent = parent,
					   .was = n->id,
					   .kind = n->kind,
					   .name = xstrdup(n->name),
					   .exec = n->exec};
	return r->count++;
}

/* The way to the path, and then all below it. */
static int gather(struct restoring *r, const char *path)
{
	struct id at = db_root(r->db);
	size_t parent = SIZE_MAX;

	while (*path) {
		size_t len = strcspn(path, "/");
		AUTO(free_ptr) char *name = strndup(path, len);
		const struct past_node *n = NULL;

		path += len + (path[len] == '/');
		if (len == 0 || !name)
			continue;
		if (parent != SIZE_MAX && r->items[parent].kind != NODE_DIR)
			return -ENOENT;
		int err = past_child(r->past, &at, name, &n);
		if (err < 0)
			return err;
		at = n->id;
		parent = add_item(r, parent, n);
	}
	size_t first = r->count;
	for (size_t i = parent; i == parent || i < r->count; i = i == parent ? first : i + 1) {
		const struct past_node *list = NULL;
		size_t n = 0;
		struct id dir = i == SIZE_MAX ? db_root(r->db) : r->items[i].was;

		if (i != SIZE_MAX && r->items[i].kind != NODE_DIR)
			continue;
		int err = past_children(r->past, &dir, &list, &n);
		if (err < 0)
			return err;
		for (size_t k = 0; k < n; k++)
			(void)add_item(r, i, &list[k]);
	}
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int is_alive_in(struct txn *t, const struct id *node, const struct id *dir)
{
	const struct txn_node *tn = txn_node(t, node);

	if (!tn)
		return -EIO;
	return tn->known && tn->n.visible && id_eq(&tn->n.parent, dir);
}

/*
 * The node to bring back at (dir, name): what is shown there; else the one it was, if that is gone; else a new
 * one. -EEXIST when something of another kind is there.
 */
static int choose(struct txn *t, const struct item *it, const struct id *dir, struct id *ret)
{
	struct node_info there;
	int r = db_child(t, dir, it->name, ret);

	if (r == 0) {
		r = db_node(t, ret, &there);
		bool same_kind = r == 0 && there.kind == it->kind;
		if (r == 0)
			node_info_fini(&there);
		return r < 0 ? r : same_kind ? 0 : -EEXIST;
	}
	if (r != -ENOENT)
		return r;
	const struct txn_node *was = txn_node(t, &it->was);
	if (!was)
		return -EIO;
	*ret = it->was;
	if (!node_is_alive(&was->n) && db_same_stream(t, &it->was, dir))
		return 0;
	(void)db_new_id(t, dir, it->name, it->kind, 0, ret);
	return 0;
}

/* Asked within the transaction that makes the change, so that they are not collected in between. */
static bool lacks_chunks(struct txn *t, const struct item *it)
{
	return it->chunked && !db_chunks_are_here(t->db, buf_slice(&it->content));
}

static int put_content(struct txn *t, const struct item *it)
{
	if (it->kind == NODE_DIR || it->unreadable)
		return 0;
	int r = it->chunked ? db_put_chunks(t, &it->now, NULL, buf_slice(&it->content))
			    : db_put_content(t, &it->now, NULL, buf_slice(&it->content));
	if (r < 0 || it->kind != NODE_RECORD)
		return r;
	int exec = db_put_exec(t, &it->now, it->exec);
	return exec < 0 ? exec : r || exec;
}

/* 1 = changed, 0 = it was so. */
static int put_item(struct restoring *r, struct txn *t, struct item *it)
{
	const struct item *up = it->parent == SIZE_MAX ? NULL : &r->items[it->parent];
	struct id dir = up ? up->now : db_root(r->db);

	it->done = true;
	it->blocked = up && up->blocked;
	int err = it->blocked ? -EEXIST : choose(t, it, &dir, &it->now);
	if (err == -EEXIST) {
		it->blocked = true;
		r->ret->blocked++;
		return 0;
	}
	int alive = err == 0 ? is_alive_in(t, &it->now, &dir) : err;
	if (alive < 0)
		return alive;
	if (!it->unreadable && lacks_chunks(t, it)) {
		it->unreadable = true;
		r->ret->missing++;
	}
	if (it->unreadable && it->kind != NODE_DIR)
		return 0;
	if (!alive)
		err = db_keep_node(t, &it->now, it->kind, &dir, it->name);
	if (err == 0)
		err = put_content(t, it);
	if (err < 0)
		return err;
	if (it->kind == NODE_DIR)
		return !alive;
	r->ret->records += err || !alive;
	r->ret->same += !err && alive;
	return err || !alive;
}

static void read_content(struct restoring *r, struct item *it)
{
	if (it->kind == NODE_DIR)
		return;
	if (past_read(r->past, &it->was, &it->content, &it->chunked) == 0)
		return;
	it->unreadable = true;
	r->ret->missing++;
}

/* Restores from the i-th item on what fits into one change; *i becomes the next. */
static int write_some(struct restoring *r, size_t *i)
{
	size_t first = *i;
	size_t bytes = 0;
	bool changed = false;
	int err = 0;

	for (; *i < r->count && *i - first < RESTORE_RECORDS && bytes < RESTORE_BYTES; ++*i) {
		read_content(r, &r->items[*i]);
		bytes += r->items[*i].content.len;
	}
	struct txn *t = db_begin_command(r->db, "blaze restore");
	for (size_t k = first; err >= 0 && k < *i; k++) {
		err = put_item(r, t, &r->items[k]);
		changed = changed || err > 0;
		buf_fini(&r->items[k].content);
		r->items[k].content = (struct buf){0};
	}
	if (err < 0 || !changed) {
		db_abort(t);
		return err < 0 ? err : 0;
	}
	r->ret->changes++;
	return db_commit(t);
}

struct counting {
	const struct past_node *then;
	size_t then_count;
	uint64_t newer;
};

static void count_newer(void *ctx, const struct node_info *n)
{
	struct counting *c = ctx;

	for (size_t i = 0; i < c->then_count; i++) {
		if (strcmp(c->then[i].name, n->name) == 0)
			return;
	}
	c->newer++;
}

/* What is in restored directories now, and was not then. */
static int note_newer(struct restoring *r, size_t first)
{
	for (size_t i = first; i < r->count; i++) {
		struct counting c = {0};

		if (r->items[i].kind != NODE_DIR || r->items[i].blocked)
			continue;
		int err = past_children(r->past, &r->items[i].was, &c.then, &c.then_count);
		if (err < 0)
			return err;
		struct txn *t = db_begin(r->db);
		err = db_children(t, &r->items[i].now, count_newer, &c);
		db_abort(t);
		if (err < 0)
			return err;
		r->ret->newer += c.newer;
	}
	return 0;
}

static size_t depth_of(const char *path)
{
	size_t n = 0;

	while (*path) {
		size_t len = strcspn(path, "/");

		n += len > 0;
		path += len + (path[len] == '/');
	}
	return n;
}

int restore_path(struct past *p, const char *path, struct restored *ret)
{
	AUTO(restoring_fini)
	struct restoring r = {.past = p, .db = past_db(p), .ret = ret};
	size_t depth = depth_of(path);

	*ret = (struct restored){0};
	int err = gather(&r, path);
	for (size_t i = 0; err == 0 && i < r.count;)
		err = write_some(&r, &i);
	return err == 0 && depth > 0 ? note_newer(&r, depth - 1) : err;
}

/* Where the node is now or was last, and what it was then. */
static int write_version(struct db *db, const struct id *node, const struct history_state *s,
			 struct restored *ret)
{
	struct txn *t = db_begin_command(db, "blaze restore");
	const struct txn_node *tn = txn_node(t, node);
	struct item it = {.now = *node,
			  .kind = tn ? tn->n.kind : NODE_NONE,
			  .exec = s->exec,
			  .chunked = s->chunked,
			  .content = s->content};
	int r = tn ? 0 : -EIO;
	bool alive = tn && tn->n.visible;

	if (lacks_chunks(t, &it)) {
		db_abort(t);
		ret->missing = 1;
		return 0;
	}
	if (r == 0 && !alive) {
		AUTO(buf_fini) struct buf name = {0};
		struct id parent = tn->n.parent;

		buf_slice_append(&name, buf_slice(&tn->n.name));
		r = db_put_node(t, node, it.kind, &parent, buf_str(&name));
	}
	if (r == 0)
		r = put_content(t, &it);
	if (r < 0 || (r == 0 && alive)) {
		db_abort(t);
		ret->same = r == 0;
		return r;
	}
	ret->records = 1;
	ret->changes = 1;
	return db_commit(t);
}

int restore_version(struct db *db, const struct id *node, struct history *h, size_t i,
		    struct restored *ret)
{
	AUTO(history_state_fini) struct history_state s = {0};
	int r = history_after(h, i, HISTORY_CONTENT, &s);

	*ret = (struct restored){0};
	return r < 0 ? r : write_version(db, node, &s, ret);
}

int restore_when(struct db *db, const struct id *node, struct history *h, uint64_t ms,
		 struct restored *ret)
{
	AUTO(history_state_fini) struct history_state s = {0};
	int r = history_when(h, ms, HISTORY_CONTENT, &s);

	*ret = (struct restored){0};
	if (r == 0 && !s.alive)
		r = -ENOENT;
	return r < 0 ? r : write_version(db, node, &s, ret);
}
