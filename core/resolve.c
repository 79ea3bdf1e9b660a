/* Each settling is a few operations that take siblings away. */
#include "core/resolve.h"

#include "core/db_i.h"

static int settle(struct db *db, const struct id *node, const struct doc_which *loser, bool use)
{
	struct txn *t = db_begin_command(db, "blaze conflict");
	struct txn_node *tn = txn_node(t, node);
	struct doc *doc = NULL;
	int r = !tn ? -EIO : tn->known ? txn_doc(t, tn, &doc) : -ENOENT;

	if (r < 0) {
		db_abort(t);
		return r;
	}
	struct id stream = tn->n.stream;
	struct doc_stamp stamp = {.actor = db->actor, .hlc = t->hlc, .lamport = &t->lamport};
	struct ops *ops = &txn_draft(t, &stream)->ops;

	if (!doc_settle(doc, loser, use, node, &stamp, ops)) {
		db_abort(t);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < ops->count; i++) {
		const struct op *op = &ops->items[i];
		struct stamp at = {.hlc = t->hlc, .id = {op->lamport, db->actor}};

		r = tree_apply(t, &stream, op, at);
	}
	if (r == 0)
		r = txn_touch(t, &stream, tn);
	if (r < 0) {
		db_abort(t);
		return r;
	}
	r = db_commit(t);
	return r < 0 ? r : 1;
}

int resolve_keep(struct db *db, const struct id *node)
{
	return settle(db, node, NULL, false);
}

int resolve_drop(struct db *db, const struct id *node, const struct doc_which *loser)
{
	return settle(db, node, loser, false);
}

int resolve_use(struct db *db, const struct id *node, const struct doc_which *loser)
{
	return settle(db, node, loser, true);
}
