/* See core/second.h. */
#include "core/second.h"

#include "core/db_chunks.h"
#include "core/db_i.h"
#include "core/digest.h"
#include "core/history.h"
#include "core/name.h"

#include <stdlib.h>

/** A value of this device's. */
struct second {
	struct opid id;
	struct opid shown;
	struct buf value;
	bool chunked;
	bool found;
};

struct looking {
	const struct db *db;
	const struct doc *doc;
	struct second *s;
};

static void second_fini(struct second *s)
{
	buf_fini(&s->value);
}

/* The newest one of ours. */
static void take_own(void *ctx, const struct doc_loser *l)
{
	struct looking *x = ctx;
	struct second *s = x->s;
	struct doc_loser shown;

	if (!l->raw || l->id.actor != x->db->actor || !doc_shown_at(x->doc, l, &shown) ||
	    (s->found && opid_cmp(l->id, s->id) < 0))
		return;
	s->found = true;
	s->id = l->id;
	s->shown = shown.id;
	s->chunked = l->chunks;
	buf_clear(&s->value);
	buf_slice_append(&s->value, l->value);
}

static void find(const struct db *db, const struct doc *doc, struct second *ret)
{
	struct looking x = {.db = db, .doc = doc, .s = ret};

	doc_losers(doc, take_own, &x);
}

void second_note(struct txn *t, const struct txn_node *tn)
{
	AUTO(second_fini) struct second s = {0};
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	if (!t->remote || tn->n.conflicts == 0 || tn->shown)
		return;
	find(t->db, tn->doc, &s);
	if (!s.found)
		return;
	store_put(t->store, key_node(&key, 'Y', &tn->n.id), SLICE("", 0));
	t->db->second_due = true;
}

static bool take_due(void *ctx, struct slice key, struct slice value)
{
	struct reader k = reader_init(key);

	(void)value;
	(void)reader_u8(&k);
	*(struct id *)ctx = id_read(&k);
	return false;
}

/* Whether the two values began apart from each other: neither was written over something of the other's. */
static bool began_apart(struct db *db, const struct id *node, const struct second *s)
{
	struct history *h = NULL;
	size_t i = 0;
	size_t k = 0;
	bool apart = history_open(db, node, &h) == 0 && history_with(h, s->id, &i) == 0 &&
		     history_with(h, s->shown, &k) == 0 && history_are_apart(h, i, k);

	history_close(h);
	return apart;
}

/* "notes~1a2b3c4d.txt": the record's, and the device's. */
static char *name_of(const struct txn *t, const struct node *n)
{
	AUTO(buf_fini) struct buf who = {0};
	char suffix[TREE_SUFFIX_BYTES];

	buf_be64(&who, t->db->actor);
	const struct slice parts[] = {SLICE(n->id.b, sizeof(n->id.b)), buf_slice(&who)};
	struct id id = digest_id("blaze second", parts, countof(parts));
	tree_suffix(&id, suffix);
	return name_show(buf_slice(&n->name), suffix);
}

static int put_beside(struct txn *t, const struct txn_node *tn, const struct second *s)
{
	AUTO(free_ptr) char *name = name_of(t, &tn->n);
	const struct id parent = tn->n.parent;
	const enum node_kind kind = tn->n.kind;
	const bool exec = tn->n.exec;
	struct id node;

	(void)db_new_id(t, &parent, name, kind, 0, &node);
	const struct txn_node *there = txn_node(t, &node);
	if (!there)
		return -EIO;
	/* It has come to this before: nobody says that this value was made over the one that is there. */
	bool again = there->known && there->n.token_count > 0;
	struct doc *base = again ? doc_create() : NULL;
	int r = db_put_node(t, &node, kind, &parent, name);
	if (r == 0)
		r = s->chunked ? db_put_chunks(t, &node, base, buf_slice(&s->value))
			       : db_put_content(t, &node, base, buf_slice(&s->value));
	doc_destroy(base);
	if (r >= 0 && kind == NODE_RECORD)
		r = db_put_exec(t, &node, exec);
	return r < 0 ? r : 0;
}

static int take_away(struct txn *t, struct txn_node *tn, struct doc *doc, const struct second *s)
{
	const struct doc_stamp stamp = {.actor = t->db->actor, .hlc = t->hlc, .lamport = &t->lamport};
	const struct doc_which which = {.id = s->id};
	const struct id stream = tn->n.stream;
	struct ops *ops = &txn_draft(t, &stream)->ops;
	size_t first = ops->count;
	int r = 0;

	if (!doc_settle(doc, &which, false, &tn->n.id, &stamp, ops))
		return 0;
	for (size_t i = first; r == 0 && i < ops->count; i++) {
		const struct op *op = &ops->items[i];
		struct stamp at = {.hlc = t->hlc, .id = {op->lamport, t->db->actor}};

		r = tree_apply(t, &stream, op, at);
	}
	return r == 0 ? txn_touch(t, &stream, tn) : r;
}

/* Within a transaction: the record may have changed since somebody looked, and is then looked at again. */
static int part(struct txn *t, const struct id *node, const struct second *s)
{
	AUTO(second_fini) struct second now = {0};
	struct txn_node *tn = txn_node(t, node);
	struct doc *doc = NULL;

	if (!tn)
		return -EIO;
	int r = txn_doc(t, tn, &doc);
	if (r < 0)
		return r;
	find(t->db, doc, &now);
	if (!now.found || !opid_eq(now.id, s->id) || !opid_eq(now.shown, s->shown) ||
	    !tree_is_shown(tn) || tn->shown)
		return now.found ? 1 : 0;
	r = put_beside(t, tn, s);
	return r == 0 ? take_away(t, tn, doc, s) : r;
}

/* 1 = there is a node, and *ret what of this device's is not shown there, if it still is. */
static int look(struct db *db, struct id *node, struct second *ret)
{
	struct txn *t = db_begin(db);
	struct doc *doc = NULL;
	int r = db->second_due ? store_scan(t->store, SLICE_STR("Y"), SLICE("", 0), take_due, node)
			       : 0;

	if (r == 0 && id_is_zero(node))
		db->second_due = false;
	struct txn_node *tn = r == 0 && !id_is_zero(node) ? txn_node(t, node) : NULL;
	if (tn && tn->known && tree_is_shown(tn)) {
		r = txn_doc(t, tn, &doc);
		if (doc && !tn->shown)
			find(db, doc, ret);
	}
	db_abort(t);
	return r < 0 ? r : !id_is_zero(node);
}

int second_step(struct db *db)
{
	AUTO(second_fini) struct second s = {0};
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct id node = {{0}};
	int r = look(db, &node, &s);

	if (r <= 0)
		return r;
	bool apart = s.found && began_apart(db, &node, &s);
	struct txn *t = db_begin_command(db, "blaze");
	r = apart ? part(t, &node, &s) : 0;
	if (r < 0) {
		db_abort(t);
		return r;
	}
	if (r == 0)
		store_delete(t->store, key_node(&key, 'Y', &node));
	r = db_commit(t);
	return r < 0 ? r : 1;
}
