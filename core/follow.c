/* See core/follow.h. */
#include "core/follow.h"

#include "core/db_chunks.h"
#include "core/db_i.h"
#include "core/history.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- links ----------------------------------------------------------------------------------- */

static struct slice key_lives_on(struct buf *key, const struct id *was, const struct id *node)
{
	(void)key_node(key, 'o', was);
	id_write(key, node);
	return buf_slice(key);
}

void follow_take(struct txn *t, struct txn_node *tn, const struct id *origin, struct opid id)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	if (opid_cmp(id, tn->n.origin_op) <= 0)
		return;
	if (tn->n.origin_op.lamport)
		store_delete(t->store, key_lives_on(&key, &tn->n.origin, &tn->n.id));
	tn->n.origin = *origin;
	tn->n.origin_op = id;
	tn->dirty = true;
	store_put(t->store, key_lives_on(&key, origin, &tn->n.id), SLICE("", 0));
}

int follow_origin(struct txn *t, struct txn_node *tn, const struct op *op, struct opid id)
{
	tn->carried = op->carried;
	follow_take(t, tn, &op->parent, id);
	return hold_moved(t, &op->parent);
}

/* A token without a predecessor is of somebody who had seen the node dead, and wants it back. */
void follow_revived(struct txn *t, struct txn_node *tn, bool edit)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	bool ours = tn->stored && store_get(t->store, key_node(&key, 'w', &tn->n.id), &value) == 0;

	if (!ours)
		return;
	if (!edit && !tn->carried) {
		store_delete(t->store, buf_slice(&key));
		store_delete(t->store, key_node(&key, 'W', &tn->n.id));
		return;
	}
	store_put(t->store, key_node(&key, 'W', &tn->n.id), SLICE("", 0));
	t->db->follow_due = true;
}

static struct op *add_origin(struct txn *t, const struct txn_node *tn, const struct id *was)
{
	struct op *op = txn_op(t, &tn->n.stream, OP_ORIGIN, &tn->n.id);

	op->parent = *was;
	return op;
}

static int apply_op(struct txn *t, const struct txn_node *tn, const struct op *op)
{
	const struct stamp stamp = {.hlc = t->hlc, .id = {op->lamport, t->db->actor}};
	const struct id stream = tn->n.stream;

	return tree_apply(t, &stream, op, stamp);
}

int follow_put_origin(struct txn *t, const struct id *node, const struct id *was)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	const struct txn_node *tn = txn_node(t, node);
	const struct txn_node *old = txn_node(t, was);

	if (!tn || !old)
		return -EIO;
	if (!tn->known || !old->known || id_eq(node, was))
		return 0;
	id_write(&value, node);
	store_put(t->store, key_node(&key, 'w', was), buf_slice(&value));
	if (old->n.token_count > 0) { /* an edit came between its end and this */
		store_put(t->store, key_node(&key, 'W', was), SLICE("", 0));
		t->db->follow_due = true;
	}
	return apply_op(t, tn, add_origin(t, tn, was));
}

int follow_was(struct txn *t, const struct id *node, struct id *ret)
{
	const struct txn_node *tn = txn_node(t, node);

	if (!tn)
		return -EIO;
	if (!tn->known || !tn->n.origin_op.lamport || id_eq(&tn->n.origin, node))
		return -ENOENT;
	*ret = tn->n.origin;
	return 0;
}

struct successor {
	struct txn *t;
	struct id *ret;
	bool found;
};

static bool take_successor(void *ctx, struct slice key, struct slice value)
{
	struct successor *s = ctx;
	struct reader k = reader_init(key);

	(void)value;
	(void)reader_take(&k, 17);
	struct id id = id_read(&k);
	const struct txn_node *tn = k.bad ? NULL : txn_node(s->t, &id);
	if (!tn || !node_is_alive(&tn->n))
		return true;
	*s->ret = id;
	s->found = true;
	return false;
}

static bool note_any(void *ctx, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	*(bool *)ctx = true;
	return false;
}

bool follow_has_left(struct txn *t, const struct id *node)
{
	AUTO(buf_fini) struct buf prefix = {0};
	bool left = false;

	int r = store_scan(t->store, key_node(&prefix, 'o', node), SLICE("", 0), note_any, &left);
	return r == 0 && left;
}

int follow_is(struct txn *t, const struct id *node, struct id *ret)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct successor s = {.t = t, .ret = ret};
	int r = store_scan(t->store, key_node(&prefix, 'o', node), SLICE("", 0), take_successor, &s);

	return r < 0 ? r : s.found ? 0 : -ENOENT;
}

/* ---- taking over what came late -------------------------------------------------------------- */

/** One node that lives again. */
struct late {
	struct db *db;
	struct id was;
	struct id node;		   /**< which it lives on as */
	struct history_state left; /**< it, when it was left last */
	struct history_state now;  /**< and what it is */
	struct opid rev;	   /**< of that */
	struct doc *base;	   /**< the new node as it was made of `left` */
	struct buf base_bytes;
	bool base_chunked;
	struct slice merged; /**< what the new node should be, as seen by who knows `base` */
	struct buf room;
	bool chunked;
};

static void late_fini(struct late *l)
{
	history_state_fini(&l->left);
	history_state_fini(&l->now);
	doc_destroy(l->base);
	buf_fini(&l->base_bytes);
	buf_fini(&l->room);
}

static bool take_due(void *ctx, struct slice key, struct slice value)
{
	struct reader k = reader_init(key);

	(void)value;
	(void)reader_u8(&k);
	*(struct id *)ctx = id_read(&k);
	return false;
}

/* 1 = there is one. */
static int next_due(struct db *db, struct late *l)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct txn *t = db_begin(db);
	int r = db->follow_due ? 0 : -ENOENT;

	if (r == 0)
		r = store_scan(t->store, SLICE_STR("W"), SLICE("", 0), take_due, &l->was);
	if (r == 0 && id_is_zero(&l->was))
		db->follow_due = false;
	if (r == 0 && !id_is_zero(&l->was))
		r = store_get(t->store, key_node(&key, 'w', &l->was), &value);
	struct reader v = reader_init(buf_slice(&value));
	if (r == 0 && value.len) {
		l->node = id_read(&v);
		struct slice state = reader_left(&v) ? reader_bytes(&v, SIZE_MAX) : SLICE("", 0);
		struct slice rendered = reader_left(&v) ? reader_bytes(&v, SIZE_MAX) : SLICE("", 0);
		if (v.bad || (state.len && doc_decode(state, rendered, &l->base) < 0))
			r = -EIO;
		buf_slice_append(&l->base_bytes, rendered);
		l->base_chunked = l->base && doc_mode(l->base) == DOC_CHUNKS;
	}
	db_abort(t);
	return r == -ENOENT ? 0 : r < 0 ? r : !id_is_zero(&l->was);
}

/* What it was when this device left it, and what it is. -ENODATA: nobody knows any more. */
static int read_was(struct late *l)
{
	struct history *h = NULL;
	size_t left = SIZE_MAX;
	int r = history_open(l->db, &l->was, &h);

	for (size_t i = 0; r == 0 && i < history_count(h); i++) {
		const struct history_change *c = history_at(h, i);

		if (c->deletes && c->rev.actor == db_actor(l->db))
			left = i;
		if (c->missing)
			r = -ENODATA;
	}
	if (r == 0 && left == SIZE_MAX)
		r = -ENODATA;
	if (r == 0)
		r = history_before(h, left, HISTORY_CONTENT | HISTORY_DOC, &l->left);
	if (r == 0)
		r = history_when(h, UINT64_MAX, HISTORY_CONTENT | HISTORY_DOC, &l->now);
	if (r == 0 && (!l->left.doc || !l->now.doc)) /* a directory has nothing to merge */
		r = -ENODATA;
	if (r == 0)
		l->rev = history_at(h, history_count(h) - 1)->rev;
	history_close(h);
	return r == -ENOENT ? -ENODATA : r;
}

/* The new node, when it was made of the old one. */
static int read_base(struct late *l)
{
	AUTO(history_state_fini) struct history_state s = {0};
	struct history *h = NULL;
	size_t made = SIZE_MAX;

	if (l->base)
		return 0;
	int r = history_open(l->db, &l->node, &h);
	for (size_t i = 0; r == 0 && i < history_count(h); i++) {
		const struct history_change *c = history_at(h, i);

		if (c->rev.actor == db_actor(l->db) && id_eq(&c->origin, &l->was))
			made = i;
	}
	if (r == 0)
		r = made == SIZE_MAX ? -ENODATA
				     : history_after(h, made, HISTORY_CONTENT | HISTORY_DOC, &s);
	history_close(h);
	if (r == 0 && !s.doc)
		r = -ENODATA;
	if (r < 0)
		return r == -ENOENT ? -ENODATA : r;
	l->base = STEAL(s.doc);
	l->base_chunked = s.chunked;
	buf_slice_append(&l->base_bytes, buf_slice(&s.content));
	return 0;
}

static bool is_json_name(struct slice name)
{
	return name.len > 5 && strncasecmp((const char *)name.data + name.len - 5, ".json", 5) == 0;
}

/*
 * The new node may have been made with more than the old one said: with what was being written when it was moved. Then
 * that is merged with what came late as if it had been saved into the old one.
 */
static void merge(struct late *l)
{
	struct ops ops = {0};
	uint64_t lamport = doc_last_lamport(l->now.doc);
	const struct doc_stamp stamp = {
		.actor = db_actor(l->db), .hlc = UINT64_MAX >> 1, .lamport = &lamport};
	bool any = l->left.chunked || l->now.chunked || l->base_chunked;

	l->merged = buf_slice(&l->now.content);
	l->chunked = l->now.chunked;
	if (l->left.chunked == l->base_chunked &&
	    slice_eq(buf_slice(&l->left.content), buf_slice(&l->base_bytes)))
		return;
	if (any) { /* values that are whole: both stay, side by side */
		doc_destroy(l->base);
		l->base = doc_create();
		return;
	}
	(void)doc_diff(l->left.doc, buf_slice(&l->base_bytes),
		       is_json_name(buf_slice(&l->now.name)), &l->was, &stamp, &ops);
	for (size_t i = 0; i < ops.count; i++)
		doc_apply(l->now.doc, &ops.items[i],
			  (struct opid){ops.items[i].lamport, stamp.actor}, stamp.hlc);
	doc_render(l->now.doc, &l->room);
	l->merged = buf_slice(&l->room);
	ops_fini(&ops);
}

/* The next thing that comes late is compared with this. */
static void keep_base(struct txn *t, const struct late *l, const struct doc *own)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	AUTO(buf_fini) struct buf state = {0};
	AUTO(buf_fini) struct buf rendered = {0};

	doc_render(own, &rendered);
	doc_encode(own, buf_slice(&rendered), &state);
	id_write(&value, &l->node);
	buf_bytes(&value, buf_slice(&state));
	buf_bytes(&value, buf_slice(&rendered));
	store_put(t->store, key_node(&key, 'w', &l->was), buf_slice(&value));
}

static int put_late(struct txn *t, struct late *l, struct txn_node *tn)
{
	struct doc *own = NULL;
	struct op *op = add_origin(t, tn, &l->was);

	op->carried = true;
	int r = apply_op(t, tn, op);
	if (r == 0)
		r = l->chunked ? db_put_chunks(t, &l->node, l->base, l->merged)
			       : db_put_content_from(t, &l->node, l->base, l->merged, &own);
	if (r >= 0 && l->now.exec != l->left.exec)
		r = db_put_exec(t, &l->node, l->now.exec);
	if (r >= 0)
		r = txn_touch(t, &tn->n.stream, tn);
	if (r >= 0)
		r = db_delete(t, &l->was);
	if (r >= 0 && (own || !l->chunked))
		keep_base(t, l, own ? own : l->base);
	doc_destroy(own);
	return r < 0 ? r : 0;
}

/* Not yet: another change has come, or chunks of it have not. -EAGAIN, -ENODATA. */
static int check(struct txn *t, const struct late *l)
{
	const struct txn_node *was = txn_node(t, &l->was);
	const struct txn_node *tn = txn_node(t, &l->node);

	if (!was || !tn)
		return -EIO;
	if (was->n.token_count == 0 || !tn->known || l->now.conflicts > 0)
		return -ENODATA;
	return was->n.waiting || !opid_eq(was->n.last.id, l->rev) ? -EAGAIN : 0;
}

int follow_step(struct db *db)
{
	AUTO(late_fini) struct late l = {.db = db};
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	int r = next_due(db, &l);

	if (r <= 0)
		return r;
	r = read_was(&l);
	if (r == 0)
		r = read_base(&l);
	if (r < 0 && r != -ENODATA)
		return r;
	struct txn *t = db_begin_command(db, "blaze move");
	if (r == 0)
		r = check(t, &l);
	if (r == 0) {
		merge(&l);
		r = put_late(t, &l, txn_node(t, &l.node));
	}
	if (r == -ENODATA) { /* it stays where it is */
		db_restart(t);
		r = 0;
	}
	if (r < 0) {
		db_abort(t);
		return r == -EAGAIN ? 0 : r;
	}
	store_delete(t->store, key_node(&key, 'W', &l.was));
	r = db_commit(t);
	return r < 0 ? r : 1;
}
