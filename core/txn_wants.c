/* What a transaction does about values whose chunks may be missing; see wants.h. */
#include "core/db_i.h"

#include <stdlib.h>
#include <string.h>

struct importing {
	struct txn *t;
	struct txn_node *tn;
};

static struct txn_want *find(const struct txn *t, const struct id *node, struct opid op)
{
	for (size_t i = 0; i < t->want_count; i++) {
		if (opid_eq(t->wants[i].want.op, op) && id_eq(&t->wants[i].want.node, node))
			return &t->wants[i];
	}
	return NULL;
}

static void set(struct txn *t, const struct want *like, bool ended)
{
	struct txn_want *known = find(t, &like->node, like->op);

	if (known) {
		known->ended = ended;
		return;
	}
	t->wants = xreallocarray(t->wants, t->want_count + 1, sizeof(*t->wants));
	t->wants[t->want_count++] = (struct txn_want){.want = *like, .ended = ended};
}

static bool is_wanted(const struct txn *t, const struct id *node, struct opid op)
{
	const struct txn_want *known = find(t, node, op);

	return known ? !known->ended : wants_find(&t->db->wants, node, op) != NULL;
}

/* Whether what the state shows is all here. */
static bool is_whole(const struct txn *t, const struct txn_node *tn)
{
	struct opid shown = doc_shown_raw(tn->doc, NULL);

	return doc_mode(tn->doc) != DOC_CHUNKS || !is_wanted(t, &tn->n.id, shown);
}

/* Shows the state itself again, if that can be. */
static void try_whole(struct txn *t, struct txn_node *tn)
{
	if (!tn->shown || !is_whole(t, tn))
		return;
	doc_destroy(STEAL(tn->shown));
	tn->content_changed = true;
	tn->is_rendered = false;
}

void txn_apply_doc(struct txn *t, struct txn_node *tn, const struct op *op, struct stamp stamp)
{
	bool missing = op->kind == OP_CHUNKS && t->remote && manifest_is_sound(op->value) &&
		       !wants_have_all(t->db->packs, &t->db->parts, op->value);

	if (missing) {
		const struct want want = {
			.node = tn->n.id, .op = stamp.id, .stream = tn->n.stream, .seq = t->seq};

		set(t, &want, false);
		if (!tn->shown)
			tn->shown = doc_clone(tn->doc);
		txn_attach_side(t, tn);
	} else if (tn->shown) {
		doc_apply(tn->shown, op, stamp.id, stamp.hlc);
	}
	doc_apply(tn->doc, op, stamp.id, stamp.hlc);
	tn->doc_changed = true;
	tn->is_rendered = false;
	tn->content_changed = tn->content_changed || !missing;
	try_whole(t, tn);
}

static void want_missing(void *ctx, struct opid id, struct slice manifest)
{
	struct importing *i = ctx;
	/* Its change's number is not known here: nothing of that author's is acknowledged before. */
	const struct want want = {.node = i->tn->n.id, .op = id, .stream = i->tn->n.stream, .seq = 1};

	if (!wants_have_all(i->t->db->packs, &i->t->db->parts, manifest))
		set(i->t, &want, false);
}

void txn_import_doc(struct txn *t, struct txn_node *tn, struct doc *doc)
{
	struct importing i = {t, tn};

	doc_destroy(STEAL(tn->shown));
	doc_destroy(tn->doc);
	tn->doc = doc;
	doc_manifests(doc, want_missing, &i);
	if (!is_whole(t, tn))
		tn->shown = doc_create();
	txn_attach_side(t, tn);
	tn->doc_changed = true;
	tn->content_changed = true;
}

static struct slice key_want(struct buf *key, const struct id *node, struct opid op)
{
	buf_clear(key);
	buf_append(key, "Kw", 2);
	id_write(key, node);
	buf_be64(key, op.lamport);
	buf_be64(key, op.actor);
	return buf_slice(key);
}

static struct slice key_shown(struct buf *key, const struct id *node)
{
	buf_clear(key);
	buf_append(key, "Ks", 2);
	id_write(key, node);
	return buf_slice(key);
}

int txn_load_shown(struct txn *t, struct txn_node *tn, struct slice rendered)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf state = {0};
	int r = store_get(t->store, key_shown(&key, &tn->n.id), &state);

	return r < 0 ? r : doc_decode(buf_slice(&state), rendered, &tn->shown);
}

int txn_old_shown(const struct txn *t, const struct id *node, struct buf *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	return store_read(t->db->store, key_shown(&key, node), ret);
}

struct alive {
	struct opid *items;
	size_t count;
};

static void add_alive(void *ctx, struct opid id, struct slice manifest)
{
	struct alive *a = ctx;

	(void)manifest;
	a->items = xreallocarray(a->items, a->count + 1, sizeof(*a->items));
	a->items[a->count++] = id;
}

static bool is_alive(const struct alive *a, struct opid id)
{
	for (size_t i = 0; i < a->count; i++) {
		if (opid_eq(a->items[i], id))
			return true;
	}
	return false;
}

/* What something newer has replaced is not waited for. */
static void end_replaced(struct txn *t, const struct txn_node *tn)
{
	const struct wants *w = &t->db->wants;
	struct alive a = {0};

	doc_manifests(tn->doc, add_alive, &a);
	for (size_t i = 0; i < w->count; i++) {
		if (id_eq(&w->items[i].node, &tn->n.id) && !is_alive(&a, w->items[i].op))
			set(t, &w->items[i], true);
	}
	for (size_t i = 0; i < t->want_count; i++) {
		if (id_eq(&t->wants[i].want.node, &tn->n.id) && !is_alive(&a, t->wants[i].want.op))
			t->wants[i].ended = true;
	}
	free(a.items);
}

void txn_write_shown(struct txn *t, struct txn_node *tn, struct slice rendered)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	if (tn->shown) {
		doc_encode(tn->shown, rendered, &value);
		store_put(t->store, key_shown(&key, &tn->n.id), buf_slice(&value));
	} else if (tn->n.waiting) {
		store_delete(t->store, key_shown(&key, &tn->n.id));
	}
	tn->n.waiting = tn->shown != NULL;
	tn->n.absent = tn->shown && doc_mode(tn->shown) == DOC_EMPTY;
	if (t->want_count || t->db->wants.count)
		end_replaced(t, tn);
}

void txn_write_wants(struct txn *t)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	for (size_t i = 0; i < t->want_count; i++) {
		const struct want *w = &t->wants[i].want;
		struct slice k = key_want(&key, &w->node, w->op);

		if (t->wants[i].ended) {
			store_delete(t->store, k);
			continue;
		}
		buf_clear(&value);
		id_write(&value, &w->stream);
		buf_varint(&value, w->seq);
		store_put(t->store, k, buf_slice(&value));
	}
}

void txn_publish_wants(struct txn *t)
{
	for (size_t i = 0; i < t->want_count; i++) {
		const struct want *w = &t->wants[i].want;

		if (t->wants[i].ended)
			wants_remove(&t->db->wants, &w->node, w->op);
		else
			wants_add(&t->db->wants, w);
	}
}

int txn_end_want(struct txn *t, const struct want *want)
{
	struct txn_node *tn = txn_node(t, &want->node);
	struct doc *doc = NULL;

	if (!tn)
		return -EIO;
	set(t, want, true);
	if (!tn->known)
		return 0;
	int r = txn_doc(t, tn, &doc);
	if (r < 0)
		return r;
	try_whole(t, tn);
	struct stamp stamp = {0};
	stamp.id = doc_shown_raw(doc, &stamp.hlc);
	if (tn->content_changed && stamp.id.lamport && stamp_beats(stamp, tn->n.content))
		tn->n.content = stamp;
	tn->dirty = true;
	return 0;
}

static bool load_want(void *ctx, struct slice key, struct slice value)
{
	struct db *db = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct want w = {0};

	(void)reader_take(&k, 2);
	w.node = id_read(&k);
	w.op.lamport = reader_be64(&k);
	w.op.actor = reader_be64(&k);
	w.stream = id_read(&v);
	w.seq = reader_varint(&v);
	if (reader_finish(&k) == 0 && reader_finish(&v) == 0)
		wants_add(&db->wants, &w);
	return true;
}

int txn_load_wants(struct db *db)
{
	struct store_txn *t = store_begin(db->store);
	int r = store_scan(t, SLICE_STR("Kw"), SLICE("", 0), load_want, db);

	store_abort(t);
	return r;
}
