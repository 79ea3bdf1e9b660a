/* Edits made on this device: each becomes operations of the change its transaction makes. */
#include "core/db_chunks.h"
#include "core/db_i.h"
#include "core/json.h"
#include "core/name.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct stamp stamp_of(const struct txn *t, const struct op *op)
{
	return (struct stamp){.hlc = t->hlc, .id = {.lamport = op->lamport, .actor = t->db->actor}};
}

/* Applies the draft's last operation here. */
static int apply_last(struct txn *t, const struct id *stream)
{
	struct ops *ops = &txn_draft(t, stream)->ops;
	const struct op *op = &ops->items[ops->count - 1];

	return tree_apply(t, stream, op, stamp_of(t, op));
}

/* The newest, if one operation cannot name them all: the next one names more. */
static void copy_tokens(struct txn *t, const struct id *stream, struct op *op, const struct node *n)
{
	size_t count = n->token_count < CHANGE_PREDS_MAX ? n->token_count : CHANGE_PREDS_MAX;
	struct opid *preds = ops_preds(&txn_draft(t, stream)->ops, op, count);

	if (count)
		memcpy(preds, n->tokens + n->token_count - count, count * sizeof(*preds));
}

int txn_touch(struct txn *t, const struct id *stream, struct txn_node *tn)
{
	if (tn->touched)
		return 0;
	tn->touched = true;
	struct op *op = txn_op(t, stream, OP_TOUCH, &tn->n.id);
	copy_tokens(t, stream, op, &tn->n);
	return apply_last(t, stream);
}

int db_node(struct txn *t, const struct id *node, struct node_info *ret)
{
	const struct txn_node *tn = txn_node(t, node);

	if (!tn)
		return -EIO;
	if (!tn->known || tn->n.kind == NODE_NONE)
		return -ENOENT;
	tree_info(t, tn, ret);
	return 0;
}

void node_info_fini(struct node_info *n)
{
	free(n->name);
	n->name = NULL;
}

/*
 * The same on every device that creates this name here, so that two offline creates make one node. A
 * number is counted up past nodes of that id which live elsewhere by now, under another name.
 */
unsigned db_new_id(struct txn *t, const struct id *parent, const char *name, enum node_kind kind,
		   unsigned from, struct id *ret)
{
	for (unsigned generation = from;; generation++) {
		*ret = tree_new_id(parent, SLICE_STR(name), kind, generation);
		const struct txn_node *tn = txn_node(t, ret);
		if (!tn || tn->n.kind == NODE_NONE || !node_is_alive(&tn->n))
			return generation;
		if (id_eq(&tn->n.parent, parent) && slice_eq(buf_slice(&tn->n.name), SLICE_STR(name)))
			return generation;
		if (generation + 1 >= TREE_GENERATIONS)
			return generation;
	}
}

bool db_same_stream(struct txn *t, const struct id *node, const struct id *new_parent)
{
	const struct txn_node *tn = txn_node(t, node);
	const struct txn_node *parent = txn_node(t, new_parent);

	if (!tn || !parent)
		return false;
	struct id stream = tree_stream_below(t, parent);
	return tn->n.kind == NODE_NONE || id_eq(&tn->n.stream, &stream);
}

static int put_node(struct txn *t, const struct id *node, enum node_kind kind,
		    const struct id *parent, struct slice name)
{
	struct txn_node *tn = txn_node(t, node);
	struct txn_node *up = txn_node(t, parent);

	if (!tn || !up)
		return -EIO;
	struct id stream = tree_stream_below(t, up);
	if (tn->n.kind != NODE_NONE && !id_eq(&tn->n.stream, &stream))
		return -EXDEV;
	if (tn->n.kind == NODE_DIR && tree_is_inside(t, parent, node))
		return -ELOOP;
	bool placed = tn->n.place.lamport && id_eq(&tn->n.parent, parent) &&
		      slice_eq(buf_slice(&tn->n.name), name);
	if (placed && tn->n.token_count > 0)
		return 0;
	int r = 0;
	if (!placed) { /* first, so that the node has a kind and a stream when it is touched */
		struct op *op = txn_op(t, &stream, OP_MOVE, node);
		op->node_kind = kind;
		op->parent = *parent;
		op->name = arena_copy(&txn_draft(t, &stream)->ops.arena, name);
		r = apply_last(t, &stream);
	}
	return r == 0 ? txn_touch(t, &stream, tn) : r;
}

int db_put_node(struct txn *t, const struct id *node, enum node_kind kind, const struct id *parent,
		const char *name)
{
	return put_node(t, node, kind, parent, SLICE_STR(name));
}

/* Not what the node is shown as: while it is deleted, it is shown as nothing. */
static bool may_be_shown_as(const struct node *n, const char *name)
{
	char suffix[TREE_SUFFIX_BYTES];

	tree_suffix(&n->id, suffix);
	AUTO(free_ptr) char *shown = name_show(buf_slice(&n->name), suffix);
	return strcmp(shown, name) == 0;
}

int db_keep_node(struct txn *t, const struct id *node, enum node_kind kind, const struct id *parent,
		 const char *name)
{
	const struct txn_node *tn = txn_node(t, node);

	if (!tn)
		return -EIO;
	bool here = tn->n.kind != NODE_NONE && id_eq(&tn->n.parent, parent) &&
		    !slice_eq(buf_slice(&tn->n.name), SLICE_STR(name)) &&
		    may_be_shown_as(&tn->n, name);
	AUTO(buf_fini) struct buf own = {0};
	if (here) /* a copy: the node's own may move while it is applied */
		buf_slice_append(&own, buf_slice(&tn->n.name));
	return put_node(t, node, kind, parent, here ? buf_slice(&own) : SLICE_STR(name));
}

int db_move_into(struct txn *t, const struct id *node, const struct id *parent)
{
	AUTO(buf_fini) struct buf name = {0};
	const struct txn_node *tn = txn_node(t, node);

	if (!tn)
		return -EIO;
	if (!tn->known)
		return -ENOENT;
	buf_slice_append(&name, buf_slice(&tn->n.name));
	return put_node(t, node, tn->n.kind, parent, buf_slice(&name));
}

static bool is_json_name(const struct node *n)
{
	return n->name.len > 5 &&
	       strncasecmp((const char *)n->name.data + n->name.len - 5, ".json", 5) == 0;
}

/* Applies the operations doc_diff() appended, from the first-th on. */
static int apply_from(struct txn *t, const struct id *stream, size_t first)
{
	struct ops *ops = &txn_draft(t, stream)->ops;
	int r = 0;

	for (size_t i = first; r == 0 && i < ops->count; i++)
		r = tree_apply(t, stream, &ops->items[i], stamp_of(t, &ops->items[i]));
	return r;
}

/** A change not sealed yet was not sent either. */
struct unsealed {
	uint64_t actor;
	uint64_t sealed;
	bool all; /**< so far */
};

static bool is_unsealed(void *ctx, struct slice key, struct slice value)
{
	struct unsealed *u = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);

	(void)reader_take(&k, 17 + 8 + 8);
	uint64_t actor = reader_be64(&k);
	(void)id_read(&v);
	uint64_t seq = reader_varint(&v);
	u->all = !k.bad && !v.bad && actor == u->actor && seq > u->sealed;
	return u->all;
}

/* Whether all that is known of an empty record is in changes that nobody else can have. */
static bool is_unseen(struct txn *t, const struct txn_node *tn)
{
	AUTO(buf_fini) struct buf prefix = {0};
	const struct feed *own = feed_find(t->db, &tn->n.stream, t->db->actor);
	struct unsealed u = {.actor = t->db->actor, .sealed = own ? own->sealed : 0, .all = true};

	if (tn->n.size > 0 || tn->n.last.id.actor != t->db->actor)
		return false;
	int r = store_scan(t->store, key_node(&prefix, 'h', &tn->n.id), SLICE("", 0), is_unsealed,
			   &u);
	return r == 0 && u.all;
}

int db_put_content(struct txn *t, const struct id *node, const struct doc *base, struct slice bytes)
{
	return db_put_content_from(t, node, base, bytes, NULL);
}

/* Base with the operations from the first-th on. */
static struct doc *own_doc(struct txn *t, const struct id *stream, size_t first,
			   const struct doc *base)
{
	const struct ops *ops = &txn_draft(t, stream)->ops;
	struct doc *own = doc_clone(base);

	for (size_t i = first; i < ops->count; i++) {
		struct stamp stamp = stamp_of(t, &ops->items[i]);

		doc_apply(own, &ops->items[i], stamp.id, stamp.hlc);
	}
	return own;
}

int db_put_content_from(struct txn *t, const struct id *node, const struct doc *base,
			struct slice bytes, struct doc **ret_own)
{
	struct txn_node *tn = txn_node(t, node);
	const struct doc *now = NULL;

	if (!tn)
		return -EIO;
	if (!tn->known)
		return -ENOENT;
	if (bytes.len > RECORD_BYTES_MAX)
		return -EFBIG;
	int r = txn_shown(t, tn, &now);
	if (r < 0)
		return r;
	struct id stream = tn->n.stream;
	struct doc_stamp stamp = {.actor = t->db->actor,
				  .hlc = t->hlc,
				  .lamport = &t->lamport,
				  .whole = tn->n.kind != NODE_RECORD,
				  .unseen = doc_mode(now) == DOC_RAW && is_unseen(t, tn),
				  .shown = base ? SLICE("", 0) : txn_rendered(tn)};
	bool json = tn->n.kind == NODE_RECORD && is_json_name(&tn->n) &&
		    bytes.len <= JSON_RECORD_BYTES_MAX;
	struct ops *ops = &txn_draft(t, &stream)->ops;
	size_t first = ops->count;

	if (!doc_diff(base ? base : now, bytes, json, node, &stamp, ops))
		return 0;
	r = apply_from(t, &stream, first);
	if (r == 0 && !base && tn->content_changed && !tn->shown) {
		/* doc_diff() has tried it out on this very document. */
		buf_clear(&tn->rendered);
		buf_slice_append(&tn->rendered, bytes);
		tn->is_rendered = true;
	}
	if (r == 0 && base && ret_own)
		*ret_own = own_doc(t, &stream, first, base);
	if (r == 0)
		r = txn_touch(t, &stream, tn);
	return r < 0 ? r : 1;
}

int db_put_chunks(struct txn *t, const struct id *node, const struct doc *base,
		  struct slice manifest)
{
	struct txn_node *tn = txn_node(t, node);
	const struct doc *now = NULL;

	if (!tn)
		return -EIO;
	if (!tn->known)
		return -ENOENT;
	int r = txn_shown(t, tn, &now);
	if (r < 0)
		return r;
	struct id stream = tn->n.stream;
	struct doc_stamp stamp = {.actor = t->db->actor, .hlc = t->hlc, .lamport = &t->lamport};
	struct ops *ops = &txn_draft(t, &stream)->ops;
	size_t first = ops->count;

	if (!doc_diff_chunks(base ? base : now, manifest, node, &stamp, ops))
		return 0;
	r = apply_from(t, &stream, first);
	if (r == 0)
		r = txn_touch(t, &stream, tn);
	return r < 0 ? r : 1;
}

int db_put_exec(struct txn *t, const struct id *node, bool exec)
{
	struct txn_node *tn = txn_node(t, node);

	if (!tn)
		return -EIO;
	if (!tn->known)
		return -ENOENT;
	if (tn->n.exec == exec)
		return 0;
	struct id stream = tn->n.stream;
	txn_op(t, &stream, OP_EXEC, node)->exec = exec;
	int r = apply_last(t, &stream);
	if (r == 0)
		r = txn_touch(t, &stream, tn);
	return r < 0 ? r : 1;
}

struct walk {
	struct id *ids;
	size_t count;
};

static bool walk_add(void *ctx, struct slice key, struct slice value)
{
	struct walk *w = ctx;

	(void)key;
	for (size_t i = 0; i + sizeof(struct id) <= value.len; i += sizeof(struct id)) {
		w->ids = xreallocarray(w->ids, w->count + 1, sizeof(*w->ids));
		memcpy(w->ids[w->count++].b, value.data + i, sizeof(struct id));
	}
	return true;
}

static int delete_one(struct txn *t, const struct id *id)
{
	struct txn_node *tn = txn_node(t, id);

	if (!tn)
		return -EIO;
	if (tn->n.held) {
		hold_clear(t, tn);
		return tree_reindex(t, tn);
	}
	struct id stream = tn->n.stream;
	int r = 0;
	while (r == 0 && tn->n.token_count) {
		struct op *op = txn_op(t, &stream, OP_DELETE, id);

		copy_tokens(t, &stream, op, &tn->n);
		r = apply_last(t, &stream);
	}
	return r;
}

int db_delete(struct txn *t, const struct id *node)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct walk w = {0};
	const struct txn_node *top = txn_node(t, node);
	int r = 0;

	if (!top)
		return -EIO;
	if (!top->known)
		return -ENOENT;
	w.ids = xmemdup(node, sizeof(*node));
	w.count = 1;
	for (size_t i = 0; r == 0 && i < w.count; i++) {
		const struct txn_node *tn = txn_node(t, &w.ids[i]);

		if (!tn)
			r = -EIO;
		else if (tn->n.kind == NODE_DIR && tn->n.child_count > 0)
			r = store_scan(t->store, key_node(&prefix, 'd', &tn->n.id), SLICE("", 0),
				       walk_add, &w);
	}
	for (size_t i = w.count; r == 0 && i > 0; i--)
		r = delete_one(t, &w.ids[i - 1]);
	free(w.ids);
	return r;
}

int db_merge_dir(struct txn *t, const struct id *from, const struct id *to)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct walk w = {0};
	int r = store_scan(t->store, key_node(&prefix, 'd', from), SLICE("", 0), walk_add, &w);

	for (size_t i = 0; r == 0 && i < w.count; i++) {
		const struct txn_node *tn = txn_node(t, &w.ids[i]);

		if (!tn)
			r = -EIO;
		else if (node_is_alive(&tn->n) && id_eq(&tn->n.parent, from) &&
			 db_same_stream(t, &w.ids[i], to))
			r = db_move_into(t, &w.ids[i], to);
	}
	free(w.ids);
	return r == 0 ? delete_one(t, from) : r;
}

int db_read(struct txn *t, const struct id *node, struct buf *ret)
{
	bool chunked = false;
	int r = db_shown(t, node, ret, &chunked);

	if (r == 0 && chunked) {
		buf_clear(ret);
		r = -EFBIG;
	}
	return r;
}

int db_doc(struct txn *t, const struct id *node, struct doc **ret)
{
	struct txn_node *tn = txn_node(t, node);
	const struct doc *doc = NULL;

	if (!tn)
		return -EIO;
	if (!tn->known)
		return -ENOENT;
	int r = txn_shown(t, tn, &doc);
	if (r == 0)
		*ret = doc_clone(doc);
	return r;
}

int db_old_read(struct txn *t, const struct id *node, struct buf *ret)
{
	bool chunked = false;
	int r = db_old_shown(t, node, ret, &chunked);

	return r == 0 && chunked ? -EFBIG : r;
}

int db_old_state(struct txn *t, const struct id *node, struct buf *ret_state,
		 struct buf *ret_rendered)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	int r = txn_old_shown(t, node, ret_state);

	if (r == -ENOENT)
		r = store_read(t->db->store, key_node(&key, 's', node), ret_state);
	if (r == 0)
		r = store_read(t->db->store, key_node(&key, 'r', node), ret_rendered);
	return r;
}
