/*
 * The tree: where nodes are, whether they live, and under which names they are shown.
 *
 * Where directories are, core/tree_dirs.c decides. Records cannot contain anything, so their place is
 * simply the MOVE with the highest id.
 *
 * Living is apart from place: a node with a token is alive, and so is a directory with a living child.
 * That way a deleted directory reappears, where it was, when somebody elsewhere put something in it.
 *
 * Children index: 'd' parent name -> ids of the living nodes there, 16 bytes each.
 */
#include "core/db_i.h"
#include "core/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 4096

static struct slice key_children(struct buf *key, const struct id *parent, struct slice name)
{
	(void)key_node(key, 'd', parent);
	buf_slice_append(key, name);
	return buf_slice(key);
}

/* Adds node to, or takes it out of, the list at (parent, name). */
static int children_edit(struct txn *t, const struct node *n, bool add)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf list = {0};
	AUTO(buf_fini) struct buf out = {0};
	struct slice k = key_children(&key, &n->parent, buf_slice(&n->name));
	int r = store_get(t->store, k, &list);

	if (r < 0 && r != -ENOENT)
		return r;
	for (size_t i = 0; i + sizeof(n->id.b) <= list.len; i += sizeof(n->id.b)) {
		if (memcmp(list.data + i, n->id.b, sizeof(n->id.b)) != 0)
			buf_append(&out, list.data + i, sizeof(n->id.b));
	}
	if (add)
		id_write(&out, &n->id);
	if (out.len)
		store_put(t->store, k, buf_slice(&out));
	else
		store_delete(t->store, k);
	txn_group(t, &n->parent, buf_slice(&n->name));
	return 0;
}

int tree_reindex(struct txn *t, struct txn_node *tn)
{
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		bool alive = node_is_alive(&tn->n);

		if (alive == tn->n.indexed)
			return 0;
		int r = children_edit(t, &tn->n, alive);
		if (r < 0)
			return r;
		tn->n.indexed = alive;
		tn->dirty = true;
		struct txn_node *parent = txn_node(t, &tn->n.parent);
		if (!parent)
			return -EIO;
		assert(alive || parent->n.child_count > 0);
		parent->n.child_count += alive ? 1 : (uint64_t)-1;
		parent->dirty = true;
		tn = parent;
	}
	return 0;
}

static int unindex(struct txn *t, struct txn_node *tn)
{
	if (!tn->n.indexed)
		return 0;
	int r = children_edit(t, &tn->n, false);
	tn->n.indexed = false;
	tn->dirty = true;
	struct txn_node *parent = txn_node(t, &tn->n.parent);
	if (r < 0 || !parent)
		return -EIO;
	assert(parent->n.child_count > 0);
	parent->n.child_count--;
	parent->dirty = true;
	return tree_reindex(t, parent);
}

int tree_unplace(struct txn *t, struct txn_node *tn)
{
	tn->n.place = (struct opid){0}; /* not alive, whatever is below it */
	return unindex(t, tn);
}

int tree_place(struct txn *t, struct txn_node *tn, const struct tree_place *to)
{
	AUTO(buf_fini) struct buf copy = {0};
	bool moved = !id_eq(&tn->n.parent, &to->parent);
	int r = tree_unplace(t, tn);

	if (r < 0)
		return r;
	buf_slice_append(&copy, to->name);
	buf_clear(&tn->n.name);
	buf_slice_append(&tn->n.name, buf_slice(&copy));
	tn->n.parent = to->parent;
	tn->n.place = to->move;
	tn->dirty = true;
	tn->projected = tn->projected || moved; /* the shown name may stay the same */
	return tree_reindex(t, tn);
}

bool tree_is_inside(struct txn *t, const struct id *node, const struct id *ancestor)
{
	struct id at = *node;

	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		if (id_eq(&at, ancestor))
			return true;
		if (id_eq(&at, &t->db->root))
			return false;
		struct txn_node *tn = txn_node(t, &at);
		if (!tn || tn->n.place.lamport == 0)
			return false;
		at = tn->n.parent;
	}
	return true; /* deeper than anyone builds on purpose: refuse */
}

/* Asked several times for each save, mostly of the same collection. */
static struct id collection_stream(struct db *db, const struct id *collection)
{
	if (id_is_zero(collection) || !id_eq(&db->collection, collection)) {
		db->collection_stream = feed_stream_id(db, "collection", collection);
		db->collection = *collection;
	}
	return db->collection_stream;
}

struct id tree_stream_below(struct txn *t, const struct txn_node *parent)
{
	struct db *db = t->db;

	if (id_eq(&parent->n.id, &db->root))
		return db->root_stream;
	if (parent->n.place.lamport && id_eq(&parent->n.parent, &db->root))
		return collection_stream(db, &parent->n.id);
	return parent->n.stream;
}

/* ---- operations ------------------------------------------------------------------------------- */

struct id tree_new_id(const struct id *parent, struct slice name, enum node_kind kind,
		      unsigned generation)
{
	uint8_t tail[3] = {(uint8_t)kind, (uint8_t)(generation >> 8), (uint8_t)generation};
	const struct slice parts[] = {SLICE(parent->b, sizeof(parent->b)), name,
				      SLICE(tail, sizeof(tail))};

	return digest_id("blaze node", parts, countof(parts));
}

static bool tree_is_id_of(const struct op *op)
{
	for (unsigned g = 0; g < TREE_GENERATIONS; g++) {
		struct id id = tree_new_id(&op->parent, op->name, op->node_kind, g);

		if (id_eq(&id, &op->node))
			return true;
	}
	return false;
}

/* A MOVE counts only inside its own stream: else a member of one could reach into another. */
static bool move_is_legal(struct txn *t, const struct id *stream, const struct op *op,
			  const struct txn_node *tn)
{
	const struct txn_node *parent = txn_node(t, &op->parent);

	if (!parent || op->node_kind == NODE_NONE || id_eq(&op->node, &t->db->root) ||
	    id_eq(&op->node, &op->parent) ||
	    (parent->n.kind != NODE_NONE && parent->n.kind != NODE_DIR))
		return false;
	/* The id says where a node was created and as what: nobody can make two of one. */
	if (tn->n.kind == NODE_NONE && !tree_is_id_of(op))
		return false;
	if (tn->n.kind != NODE_NONE && (tn->n.kind != op->node_kind || !id_eq(&tn->n.stream, stream)))
		return false;
	struct id direct = collection_stream(t->db, &op->parent);
	if (id_eq(stream, &direct))
		return parent->n.place.lamport == 0 || id_eq(&parent->n.parent, &t->db->root);
	struct id below = tree_stream_below(t, parent);
	return id_eq(stream, &below) && (parent->n.kind == NODE_DIR || parent->n.kind == NODE_NONE);
}

static int apply_move(struct txn *t, const struct id *stream, const struct op *op,
		      struct txn_node *tn, struct opid id)
{
	if (!move_is_legal(t, stream, op, tn))
		return 0;
	if (tn->n.kind == NODE_NONE) {
		tn->n.kind = op->node_kind;
		tn->n.stream = *stream;
		tn->known = true;
		tn->dirty = true;
	}
	struct tree_place to = {.move = id, .parent = op->parent, .name = op->name};
	if (tn->n.kind == NODE_DIR)
		return tree_dirs_move(t, stream, tn, &to);
	return opid_cmp(id, tn->n.place) > 0 ? tree_place(t, tn, &to) : 0;
}

static int apply_content(struct txn *t, const struct op *op, struct txn_node *tn, struct stamp stamp)
{
	struct doc *doc = NULL;

	if (tn->n.kind == NODE_DIR || (op->kind == OP_CHUNKS && tn->n.kind != NODE_RECORD))
		return 0;
	int r = txn_doc(t, tn, &doc);
	if (r < 0)
		return r;
	txn_apply_doc(t, tn, op, stamp);
	r = doc_error(doc);
	if (r < 0)
		return r;
	if (tn->content_changed && stamp_beats(stamp, tn->n.content))
		tn->n.content = stamp;
	return 0;
}

static int apply_touch(struct txn *t, const struct op *op, struct txn_node *tn, struct stamp stamp)
{
	static const struct opid none;

	bool lived = tn->n.token_count > 0;
	int r = 0;

	if (op->kind == OP_TOUCH && !lived)
		follow_revived(t, tn, op->pred_count > 0);
	tn->carried = false;
	tn->news = t->news = stamp;
	node_touch(&tn->n, op->preds, op->pred_count, op->kind == OP_TOUCH ? stamp.id : none);
	if (lived && tn->n.token_count == 0)
		r = hold_deleted(t, tn, stamp);
	else if (tn->n.held && tn->n.token_count > 0)
		hold_clear(t, tn);
	if (r < 0)
		return r;
	if (stamp_beats(stamp, tn->n.last))
		tn->n.last = stamp;
	tn->dirty = true;
	return tree_reindex(t, tn);
}

int tree_apply(struct txn *t, const struct id *stream, const struct op *op, struct stamp stamp)
{
	if (op->kind == OP_AUTH)
		return id_eq(stream, &t->db->auth_stream)
			       ? member_put(t, op->value, stamp.id, t->seq)
			       : 0;
	if (id_eq(&op->node, &t->db->root))
		return 0;
	struct txn_node *tn = txn_node(t, &op->node);
	if (!tn)
		return -EIO;
	if (op->kind != OP_MOVE && (tn->n.kind == NODE_NONE || !id_eq(&tn->n.stream, stream)))
		return 0; /* not this stream's to change */
	switch (op->kind) {
	case OP_TOUCH:
	case OP_DELETE:
		return apply_touch(t, op, tn, stamp);
	case OP_MOVE:
		return apply_move(t, stream, op, tn, stamp.id);
	case OP_EXEC:
		if (stamp_beats(stamp, tn->n.exec_stamp)) {
			tn->projected = tn->projected || tn->n.exec != op->exec;
			tn->n.exec = op->exec;
			tn->n.exec_stamp = stamp;
			tn->dirty = true;
		}
		return 0;
	case OP_ORIGIN:
		return follow_origin(t, tn, op, stamp.id);
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
		return apply_content(t, op, tn, stamp);
	case OP_AUTH:
		break;
	}
	return 0;
}

/* ---- projection ------------------------------------------------------------------------------- */

struct names {
	struct txn *t;
	struct id dir;
};

static bool push_group(void *ctx, struct slice key, struct slice value)
{
	struct names *n = ctx;

	(void)value;
	txn_group(n->t, &n->dir, SLICE(key.data + 17, key.len - 17));
	return true;
}

/* A directory came into view or left it: so does everything below. */
static int push_children(struct txn *t, const struct txn_node *tn)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct names n = {.t = t, .dir = tn->n.id};

	if (tn->n.kind != NODE_DIR || tn->n.child_count == 0)
		return 0;
	return store_scan(t->store, key_node(&prefix, 'd', &tn->n.id), SLICE("", 0), push_group, &n);
}

static int set_shown(struct txn *t, struct txn_node *tn, bool visible, const char *shown)
{
	bool same_name = slice_eq(buf_slice(&tn->n.shown), SLICE_STR(shown));

	if (tn->n.visible == visible && (same_name || !visible))
		return 0;
	bool flipped = tn->n.visible != visible;
	tn->n.visible = visible;
	if (visible) {
		buf_clear(&tn->n.shown);
		buf_append(&tn->n.shown, shown, strlen(shown));
	}
	tn->dirty = true;
	tn->projected = true;
	if (flipped && tn->n.kind == NODE_RECORD)
		t->record_count += visible ? 1 : (uint64_t)-1;
	return flipped ? push_children(t, tn) : 0;
}

static int by_place(const void *a, const void *b)
{
	const struct txn_node *x = *(struct txn_node *const *)a;
	const struct txn_node *y = *(struct txn_node *const *)b;
	int c = opid_cmp(x->n.place, y->n.place);

	return c ? c : id_cmp(&x->n.id, &y->n.id);
}

void tree_suffix(const struct id *node, char out[TREE_SUFFIX_BYTES])
{
	char hex[ID_HEX_BYTES];

	id_hex(node, hex);
	(void)snprintf(out, TREE_SUFFIX_BYTES, "~%.8s", hex);
}

/* The node that came first keeps the plain name, on every device; the others get a part of their id. */
static int project_group(struct txn *t, const struct group *g)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf list = {0};
	struct txn_node *parent = txn_node(t, &g->parent);
	int r = store_get(t->store, key_children(&key, &g->parent, g->name), &list);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || !parent)
		return -EIO;
	size_t count = list.len / sizeof(struct id);
	AUTO(free_ptr) struct txn_node **nodes = xcalloc(count, sizeof(struct txn_node *));
	for (size_t i = 0; i < count; i++) {
		struct id id;

		memcpy(id.b, list.data + i * sizeof(id.b), sizeof(id.b));
		nodes[i] = txn_node(t, &id);
		if (!nodes[i])
			return -EIO;
	}
	if (count > 1)
		qsort(nodes, count, sizeof(struct txn_node *), by_place);
	for (size_t i = 0; r == 0 && i < count; i++) {
		char suffix[TREE_SUFFIX_BYTES] = "";

		if (i > 0 || !name_is_plain(g->name))
			tree_suffix(&nodes[i]->n.id, suffix);
		AUTO(free_ptr) char *shown = name_show(g->name, suffix);
		r = set_shown(t, nodes[i], parent->n.visible && parent->n.kind == NODE_DIR, shown);
	}
	return r;
}

bool tree_is_shown(const struct txn_node *tn)
{
	return tn->n.visible && !tn->n.absent;
}

void tree_info(struct txn *t, const struct txn_node *tn, struct node_info *ret)
{
	(void)t;
	*ret = (struct node_info){
		.id = tn->n.id,
		.kind = tn->n.kind,
		.visible = tree_is_shown(tn),
		.parent = tn->n.parent,
		.size = tn->n.size,
		.exec = tn->n.exec,
		.modified_ms = (tn->n.content.hlc ? tn->n.content.hlc : tn->n.last.hlc) >> 16,
		.author = tn->n.last.id.actor,
		.rev = tn->n.last.id,
		.conflicts = tn->n.conflicts,
		.raw = tn->n.raw,
		.chunked = tn->n.chunked,
	};
	ret->name = xmalloc(tn->n.shown.len + 1);
	if (tn->n.shown.len)
		memcpy(ret->name, tn->n.shown.data, tn->n.shown.len);
	ret->name[tn->n.shown.len] = 0;
}

/* Problems are few; an index of them keeps `status` cheap. */
static void index_problem(struct txn *t, const struct txn_node *tn)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf old = {0};
	size_t len = tn->n.shown.len;
	bool json =
		len > 5 && strncasecmp((const char *)tn->n.shown.data + len - 5, ".json", 5) == 0;
	bool problem =
		tn->n.visible && tn->n.kind == NODE_RECORD &&
		(tn->n.conflicts > 0 || ((tn->n.raw || tn->n.chunked) && json && tn->n.size > 0));
	struct slice k = key_node(&key, 'p', &tn->n.id);
	bool listed = tn->stored && store_get(t->store, k, &old) == 0;

	if (problem && !listed)
		store_put(t->store, k, SLICE("", 0));
	else if (!problem && listed)
		store_delete(t->store, k);
}

static void tell_one(struct txn *t, struct txn_node *tn)
{
	struct node_info info;

	tn->told = true;
	if (tn->projected || tn->content_changed)
		txn_watch_node(t, tn);
	if (!t->db->view.node_changed || !(tn->projected || tn->content_changed))
		return;
	tree_info(t, tn, &info);
	t->view_called = true;
	t->db->view.node_changed(t->db->view.ctx, t, &info, tn->content_changed);
	node_info_fini(&info);
}

/* Parents before children, so that there is a directory to put the child in. */
static int tell_view(struct txn *t)
{
	for (struct txn_node *tn = t->first; tn; tn = tn->next) {
		while (!tn->told && (tn->projected || tn->content_changed)) {
			struct txn_node *top = tn;

			for (unsigned depth = 0; depth < DEPTH_MAX && top->n.visible; depth++) {
				struct txn_node *up = txn_node(t, &top->n.parent);

				if (!up)
					return -EIO;
				if (up->told || !up->projected || !up->n.visible || up == top)
					break;
				top = up;
			}
			tell_one(t, top);
		}
	}
	return 0;
}

int tree_project(struct txn *t)
{
	int r = tree_dirs_settle(t);

	for (struct txn_node *tn = t->first; r == 0 && tn; tn = tn->next) {
		if (tn->n.visible && !tn->n.indexed && !id_eq(&tn->n.id, &t->db->root))
			r = set_shown(t, tn, false, "");
	}
	for (size_t i = 0; r == 0 && i < t->group_count; i++) {
		struct group g = t->groups[i]; /* the array may grow meanwhile */

		r = project_group(t, &g);
	}
	for (struct txn_node *tn = t->first; r == 0 && tn; tn = tn->next) {
		if (tn->content_changed || tn->projected)
			index_problem(t, tn);
	}
	return r == 0 ? tell_view(t) : r;
}
