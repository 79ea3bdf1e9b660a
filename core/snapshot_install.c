/*
 * Taking snapshots: pieces are kept until all are here, then installed; see snapshot.h.
 *
 * This device may have made changes before. The snapshot says up to which it has them. Of a node that it has, too,
 * the snapshot's state is taken, and what later own changes did to the node is done again on top of it: none of
 * them saw anything that the snapshot's author had not from this device itself.
 *
 *   Zo stream     varint: the last own change of this stream that is in the snapshot
 */
#include "core/snapshot.h"
#include "core/snapshot_i.h"
#include "core/zip.h"

#include <stdlib.h>
#include <string.h>

/** Of entries, unzipped: one node, and what is below the limit beside it. */
#define PLAIN_BYTES_MAX ((size_t)SNAPSHOT_PIECE_BYTES + 3 * (size_t)RECORD_BYTES_MAX)
#define CURSOR_BYTES_MAX 256
/** How far the lamports of a new database may be: as for changes (core/db_apply.c). */
#define LAMPORT_MAX (UINT64_C(1) << 40)

struct head {
	struct id id;
	uint64_t author;
	uint64_t count;
	struct buf cursor;
	bool complete;
	uint64_t installed;
};

static void head_fini(struct head *h)
{
	buf_fini(&h->cursor);
}

static int head_load(struct store_txn *t, struct head *ret)
{
	AUTO(buf_fini) struct buf value = {0};
	int r = store_get(t, SLICE_STR("Zh"), &value);

	if (r < 0)
		return r;
	struct reader v = reader_init(buf_slice(&value));
	ret->id = id_read(&v);
	ret->author = reader_be64(&v);
	ret->count = reader_varint(&v);
	buf_slice_append(&ret->cursor, reader_bytes(&v, CURSOR_BYTES_MAX));
	ret->complete = reader_u8(&v);
	ret->installed = reader_varint(&v);
	return reader_finish(&v) < 0 ? -EIO : 0;
}

static void head_store(struct store_txn *t, const struct head *h)
{
	AUTO(buf_fini) struct buf value = {0};

	id_write(&value, &h->id);
	buf_be64(&value, h->author);
	buf_varint(&value, h->count);
	buf_bytes(&value, buf_slice(&h->cursor));
	buf_u8(&value, h->complete);
	buf_varint(&value, h->installed);
	store_put(t, SLICE_STR("Zh"), buf_slice(&value));
}

static struct slice piece_key(struct buf *key, uint64_t index)
{
	buf_clear(key);
	buf_append(key, "Zp", 2);
	buf_be64(key, index);
	return buf_slice(key);
}

bool snapshot_covers(const struct db *db, const struct feed *f)
{
	return !db->installing || f->snap == 0;
}

int snapshot_load(struct db *db)
{
	AUTO(head_fini) struct head h = {0};
	AUTO(buf_fini) struct buf value = {0};
	struct store_txn *t = store_begin(db->store);
	int r = head_load(t, &h);

	store_abort(t);
	db->installing = r == 0 && h.complete;
	db->joined = store_read(db->store, SLICE_STR("m joined"), &value) == 0;
	db->doubtful = store_read(db->store, SLICE_STR("m doubtful"), &value) == 0;
	return r == -ENOENT ? 0 : r;
}

bool db_is_installing(struct db *db)
{
	db_lock(db);
	bool is = db->installing;
	mutex_unlock(&db->lock);
	return is;
}

bool db_is_doubtful(struct db *db)
{
	db_lock(db);
	bool is = db->doubtful;
	mutex_unlock(&db->lock);
	return is;
}

bool db_snapshot_is_pending(struct db *db)
{
	db_lock(db);
	bool pending = db->installing || db->snapshot_taker;
	mutex_unlock(&db->lock);
	return pending;
}

void snapshot_doubt(struct txn *t)
{
	t->db->doubtful = true;
	store_put(t->store, SLICE_STR("m doubtful"), SLICE("", 0));
}

bool db_snapshot_wanted(struct db *db, const void *taker)
{
	db_lock(db);
	/* A snapshot is of everything: who may not have that takes the log. */
	bool wanted = db->joined && !db->limited && !db->installing &&
		      (!db->snapshot_taker || db->snapshot_taker == taker);

	for (size_t i = 0; wanted && i < db->feed_count; i++)
		wanted = db->feeds[i].actor == db->actor ||
			 id_eq(&db->feeds[i].stream, &db->auth_stream);
	if (wanted)
		db->snapshot_taker = taker;
	mutex_unlock(&db->lock);
	return wanted;
}

void db_snapshot_leave(struct db *db, const void *taker)
{
	db_lock(db);
	if (db->snapshot_taker != taker) {
		mutex_unlock(&db->lock);
		return;
	}
	db->snapshot_taker = NULL;
	db_unlock_changed(db); /* the other connections wait for that */
}

int db_snapshot_held(struct db *db, struct id *id, uint64_t *count, struct buf *cursor)
{
	AUTO(head_fini) struct head h = {0};
	struct txn *t = db_begin(db);
	int r = head_load(t->store, &h);

	db_abort(t);
	*id = h.id;
	*count = h.count;
	buf_clear(cursor);
	buf_slice_append(cursor, buf_slice(&h.cursor));
	return r == -ENOENT ? 0 : r;
}

static void drop(struct txn *t, const struct head *h)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	for (uint64_t i = h->installed + 1; i <= h->count; i++)
		store_delete(t->store, piece_key(&key, i));
	store_delete(t->store, SLICE_STR("Zh"));
	t->db->installing = false;
}

int db_snapshot_drop(struct db *db)
{
	AUTO(head_fini) struct head h = {0};
	struct txn *t = db_begin(db);
	int r = head_load(t->store, &h);

	if (r < 0 || h.installed) {
		db_abort(t);
		return r == -ENOENT ? 0 : r;
	}
	drop(t, &h);
	return db_commit_changed(t);
}

int snapshot_read(struct reader *r, struct snapshot_item *ret)
{
	if (reader_left(r) == 0)
		return 0;
	*ret = (struct snapshot_item){.kind = (enum snapshot_entry)reader_u8(r), .id = id_read(r)};
	switch (ret->kind) {
	case SNAPSHOT_FEED:
		ret->actor = reader_be64(r);
		ret->seq = reader_varint_max(r, UINT64_MAX >> 2);
		ret->lamport = reader_varint_max(r, LAMPORT_MAX);
		ret->head = reader_take(r, DIGEST_BYTES);
		break;
	case SNAPSHOT_MOVE:
		ret->move.lamport = reader_be64(r);
		ret->move.actor = reader_be64(r);
		ret->value = reader_bytes(r, PLAIN_BYTES_MAX);
		break;
	case SNAPSHOT_NODE:
		ret->value = reader_bytes(r, PLAIN_BYTES_MAX);
		ret->state = reader_bytes(r, PLAIN_BYTES_MAX);
		ret->rendered = reader_bytes(r, PLAIN_BYTES_MAX);
		break;
	case SNAPSHOT_MORE:
		ret->rest = reader_bytes(r, 64);
		ret->value = reader_bytes(r, PLAIN_BYTES_MAX);
		break;
	default:
		r->bad = true;
	}
	return r->bad ? -EBADMSG : 1;
}

/* Whether the entries can be read at all: before anything of them is installed. */
static int check(struct slice zipped)
{
	AUTO(buf_fini) struct buf plain = {0};
	struct snapshot_item item;
	int r = zip_unpack(zipped, PLAIN_BYTES_MAX, &plain);
	struct reader e = reader_init(buf_slice(&plain));

	while (r == 0 && (r = snapshot_read(&e, &item)) == 1)
		r = 0;
	return r;
}

static int open_piece(struct db *db, uint64_t author, const struct id *id, struct slice envelope,
		      struct buf *body)
{
	const struct envelope_place at = snapshot_place(db, id, author);
	struct device d;

	if (db_member(db, author, &d) < 0)
		return -EACCES;
	return envelope_open(&at, d.sign_pk, envelope, body);
}

int db_snapshot_receive(struct db *db, uint64_t author, const struct id *id, struct slice envelope)
{
	AUTO(buf_fini) struct buf body = {0};
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(head_fini) struct head h = {0};
	struct envelope_range range;
	int r = envelope_range(envelope, &range);

	if (r == 0)
		r = open_piece(db, author, id, envelope, &body);
	if (r < 0)
		return r;
	struct reader b = reader_init(buf_slice(&body));
	struct reader c = reader_init(reader_bytes(&b, body.len));
	uint8_t last = reader_u8(&c);
	struct slice cursor = reader_bytes(&c, CURSOR_BYTES_MAX);
	struct slice zipped = reader_take(&c, reader_left(&c));
	if (range.count != 1 || reader_finish(&b) < 0 || c.bad || last > 1 || check(zipped) < 0)
		return -EBADMSG;
	struct txn *t = db_begin(db);
	r = head_load(t->store, &h);
	if (r == -ENOENT || (r == 0 && !h.complete && !id_eq(&h.id, id) && range.seq_first == 1)) {
		if (r == 0)
			drop(t, &h);
		h.id = *id;
		h.author = author;
		h.count = 0;
		r = 0;
	}
	if (r < 0 || h.complete || !id_eq(&h.id, id) || h.author != author ||
	    range.seq_first != h.count + 1) {
		db_abort(t);
		return r < 0 ? r : -EBADMSG;
	}
	h.count++;
	h.complete = last;
	buf_clear(&h.cursor);
	buf_slice_append(&h.cursor, cursor);
	store_put(t->store, piece_key(&key, h.count), zipped);
	head_store(t->store, &h);
	if (last)
		db->installing = true; /* from here on the pieces are enough */
	r = last ? db_commit_changed(t) : db_commit_quiet(t);
	return r < 0 ? r : last;
}

/* ---- installing --------------------------------------------------------------------------------- */

static struct slice own_key(struct buf *key, const struct id *stream)
{
	buf_clear(key);
	buf_append(key, "Zo", 2);
	id_write(key, stream);
	return buf_slice(key);
}

static int install_feed(struct txn *t, const struct snapshot_item *e)
{
	struct feed *f = txn_feed(t, &e->id, e->actor);

	if (id_eq(&e->id, &t->db->auth_stream) || e->seq == 0)
		return 0;
	if (f->seq) { /* our own, and we were here before: what we have is newer, or this is an old copy */
		AUTO(buf_fini) struct buf key = BUF_SHORT;
		AUTO(buf_fini) struct buf value = {0};

		buf_varint(&value, e->seq);
		store_put(t->store, own_key(&key, &e->id), buf_slice(&value));
		return f->seq >= e->seq ? 0 : -EBADMSG;
	}
	f->seq = f->sealed = f->snap = e->seq;
	f->lamport = e->lamport;
	memcpy(f->head, e->head.data, e->head.len);
	memcpy(f->snap_head, e->head.data, e->head.len);
	t->lamport = e->lamport > t->lamport ? e->lamport : t->lamport;
	return 0;
}

static int install_move(struct txn *t, const struct snapshot_item *e)
{
	struct reader v = reader_init(e->value);
	struct id node = id_read(&v);
	struct tree_place to = {.move = e->move, .parent = id_read(&v)};

	to.name = reader_bytes(&v, CHANGE_NAME_BYTES_MAX);
	if (reader_finish(&v) < 0 || e->move.lamport == 0 || e->move.lamport > t->lamport ||
	    id_eq(&node, &to.parent) || id_eq(&node, &t->db->root))
		return -EBADMSG;
	struct txn_node *tn = txn_node(t, &node);
	if (!tn)
		return -EIO;
	if (tree_dirs_know(t, &e->id, e->move)) /* one of our own */
		return 0;
	if (tn->n.kind != NODE_NONE && (tn->n.kind != NODE_DIR || !id_eq(&tn->n.stream, &e->id)))
		return 0;
	tn->n.kind = NODE_DIR;
	tn->n.stream = e->id;
	tn->known = tn->dirty = true;
	to.name = arena_copy(&t->arena, to.name);
	return tree_dirs_move(t, &e->id, tn, &to);
}

/** What this device did to a node and the snapshot does not know. */
struct own {
	struct txn *t;
	const struct txn_node *tn;
	uint64_t known; /**< own changes up to this are in the snapshot */
	uint64_t *seqs; /**< the others */
	size_t count;
	size_t cap;
};

static bool note_own(void *ctx, struct slice key, struct slice value)
{
	struct own *o = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);

	(void)reader_take(&k, 33);
	uint64_t actor = reader_be64(&k);
	struct id stream = id_read(&v);
	uint64_t seq = reader_varint(&v);
	if (actor != o->t->db->actor || !id_eq(&stream, &o->tn->n.stream) || seq <= o->known)
		return true;
	if (o->count == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 16;
		o->seqs = xreallocarray(o->seqs, o->cap, sizeof(*o->seqs));
	}
	o->seqs[o->count++] = seq;
	return true;
}

static int seq_cmp(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int do_again(struct own *o, struct changes *changes, uint64_t seq)
{
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(change_fini) struct change c = {0};
	const struct feed_pos pos = {.stream = o->tn->n.stream, .actor = o->t->db->actor, .seq = seq};
	int r = changes_get(changes, o->t, &pos, &bytes);

	if (r == 0)
		r = change_decode(buf_slice(&bytes), pos.actor, &c);
	for (size_t i = 0; r == 0 && i < c.ops.count; i++) {
		const struct op *op = &c.ops.items[i];
		const struct stamp stamp = {.hlc = c.hlc,
					    .id = {.lamport = op->lamport, .actor = pos.actor}};

		/* Its place is the highest of all moves anyway. */
		if (id_eq(&op->node, &o->tn->n.id) && op->kind != OP_MOVE)
			r = tree_apply(o->t, &pos.stream, op, stamp);
	}
	return r;
}

/*
 * The history of a node is in the order of clocks, and this device's may have been set back since. What it did is
 * done again in the order in which it was done: another order loses what is no longer above its last lamport.
 */
static int do_own_again(struct txn *t, const struct txn_node *tn)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct own o = {.t = t, .tn = tn};
	struct changes changes = {0};
	int r = store_get(t->store, own_key(&key, &tn->n.stream), &value);

	if (r < 0 && r != -ENOENT)
		return r;
	struct reader v = reader_init(buf_slice(&value));
	o.known = r == 0 ? reader_varint(&v) : 0;
	r = store_scan(t->store, key_node(&key, 'h', &tn->n.id), SLICE("", 0), note_own, &o);
	if (o.count)
		qsort(o.seqs, o.count, sizeof(*o.seqs), seq_cmp);
	for (size_t i = 0; r == 0 && i < o.count; i++) {
		if (i == 0 || o.seqs[i] != o.seqs[i - 1]) /* a change may come back to a node */
			r = do_again(&o, &changes, o.seqs[i]);
	}
	changes_fini(&changes);
	free(o.seqs);
	return r;
}

static int install_content(struct txn *t, struct txn_node *tn, const struct snapshot_item *e)
{
	struct doc *doc = NULL;

	if (e->state.len == 0)
		return 0;
	if (doc_decode(e->state, e->rendered, &doc) < 0)
		return -EBADMSG;
	if (doc_last_lamport(doc) > t->lamport) {
		doc_destroy(doc);
		return -EBADMSG;
	}
	txn_import_doc(t, tn, doc);
	return 0;
}

static bool is_sound(const struct txn *t, const struct node *n)
{
	uint64_t max = n->place.lamport;

	for (size_t i = 0; i < n->token_count; i++) {
		if (n->tokens[i].lamport == 0)
			return false;
		max = n->tokens[i].lamport > max ? n->tokens[i].lamport : max;
	}
	max = n->exec_stamp.id.lamport > max ? n->exec_stamp.id.lamport : max;
	max = n->origin_op.lamport > max ? n->origin_op.lamport : max;
	max = n->content.id.lamport > max ? n->content.id.lamport : max;
	max = n->last.id.lamport > max ? n->last.id.lamport : max;
	return max <= t->lamport && !id_eq(&n->id, &n->parent);
}

static int take_node(struct txn *t, struct txn_node *tn, const struct node *n)
{
	struct tree_place to = {.move = n->place, .parent = n->parent, .name = buf_slice(&n->name)};

	tn->n.kind = n->kind;
	tn->n.stream = n->stream;
	tn->known = tn->dirty = true;
	tn->n.token_count = 0;
	for (size_t i = 0; i < n->token_count; i++)
		node_touch(&tn->n, NULL, 0, n->tokens[i]);
	tn->projected = tn->projected || tn->n.exec != n->exec;
	tn->n.exec = n->exec;
	tn->n.exec_stamp = n->exec_stamp;
	if (n->origin_op.lamport)
		follow_take(t, tn, &n->origin, n->origin_op);
	tn->n.content = n->content;
	tn->n.last = n->last;
	if (!tn->n.visible) { /* what is deleted is found under the name it was shown by */
		buf_clear(&tn->n.shown);
		buf_slice_append(&tn->n.shown, buf_slice(&n->shown));
	}
	/* Directories are where their moves say. */
	if (n->kind != NODE_DIR && opid_cmp(n->place, tn->n.place) > 0)
		return tree_place(t, tn, &to);
	return tree_reindex(t, tn);
}

/** What is being installed in one transaction. */
struct installing {
	struct txn *t;
	struct txn_node *ours; /**< the last node, if we had changed it: its turn comes after its last entry */
};

static bool delete_key(void *ctx, struct slice key, struct slice value)
{
	(void)value;
	store_delete(ctx, key);
	return true;
}

static int finish_node(struct installing *i)
{
	struct txn_node *tn = STEAL(i->ours);

	return tn ? do_own_again(i->t, tn) : 0;
}

static int install_node(struct installing *i, const struct snapshot_item *e)
{
	AUTO(node_fini) struct node n = {0};
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct txn *t = i->t;

	if (id_eq(&e->id, &t->db->root))
		return 0;
	if (node_decode(&e->id, e->value, &n) < 0 || !is_sound(t, &n))
		return -EBADMSG;
	struct txn_node *tn = txn_node(t, &e->id);
	if (!tn)
		return -EIO;
	if (n.kind == NODE_NONE ||
	    (tn->n.kind != NODE_NONE && (tn->n.kind != n.kind || !id_eq(&tn->n.stream, &n.stream))))
		return 0;
	int r = take_node(t, tn, &n);
	if (r == 0 && tn->stored)
		r = store_scan(t->store, key_node(&key, 'x', &e->id), SLICE("", 0), delete_key,
			       t->store);
	if (r == 0 && n.kind != NODE_DIR)
		r = install_content(t, tn, e);
	i->ours = tn->stored ? tn : NULL;
	return r;
}

static int install_entry(struct installing *i, const struct snapshot_item *e)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	int r = e->kind == SNAPSHOT_MORE ? 0 : finish_node(i);

	if (r < 0)
		return r;
	switch (e->kind) {
	case SNAPSHOT_FEED:
		return install_feed(i->t, e);
	case SNAPSHOT_MOVE:
		return install_move(i->t, e);
	case SNAPSHOT_NODE:
		return install_node(i, e);
	case SNAPSHOT_MORE:
		(void)key_node(&key, 'x', &e->id);
		buf_slice_append(&key, e->rest);
		store_put(i->t->store, buf_slice(&key), e->value);
		return 0;
	}
	return -EBADMSG;
}

/* Arrivals from here on, and those for the log of before. */
static void set_arrivals(struct txn *t)
{
	AUTO(buf_fini) struct buf value = {0};

	if (t->arrival >= SNAPSHOT_ARRIVALS) /* not the first one, and the one before said nothing */
		return;
	buf_varint(&value, t->arrival);
	store_put(t->store, SLICE_STR("m fill"), buf_slice(&value));
	t->arrival = SNAPSHOT_ARRIVALS;
}

static int install(struct txn *t, const struct head *h)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf zipped = {0};
	AUTO(buf_fini) struct buf plain = {0};
	struct snapshot_item item;
	int r = store_get(t->store, piece_key(&key, h->installed + 1), &zipped);

	if (r == 0)
		r = zip_unpack(buf_slice(&zipped), PLAIN_BYTES_MAX, &plain);
	struct reader e = reader_init(buf_slice(&plain));
	if (r == 0 && h->installed == 0)
		set_arrivals(t);
	struct installing i = {.t = t};
	while (r == 0 && (r = snapshot_read(&e, &item)) == 1) {
		r = install_entry(&i, &item);
		/* One entry that cannot be does not keep the others out; but somebody should know. */
		if (r == -EBADMSG && item.kind != SNAPSHOT_FEED) {
			snapshot_doubt(t);
			r = 0;
		}
	}
	if (r == 0)
		r = finish_node(&i);
	store_delete(t->store, buf_slice(&key));
	return r;
}

int db_snapshot_step(struct db *db)
{
	AUTO(head_fini) struct head h = {0};
	struct txn *t = db_begin(db);
	int r = db->installing ? head_load(t->store, &h) : -ENOENT;

	if (r < 0) {
		db_abort(t);
		return r == -ENOENT ? 0 : r;
	}
	t->remote = true;
	r = install(t, &h);
	if (r < 0) {
		/* It says less of our own feed than it should, or nonsense; nothing of it was shown yet. */
		db_restart(t);
		if (r == -EBADMSG && h.installed == 0)
			drop(t, &h);
		int err = db_commit_changed(t);
		return err < 0 ? err : r;
	}
	h.installed++;
	bool more = h.installed < h.count;
	if (more)
		head_store(t->store, &h);
	else /* "Zh", and own changes that were known */
		(void)store_scan(t->store, SLICE_STR("Z"), SLICE("", 0), delete_key, t->store);
	r = db_commit(t);
	if (r == 0 && !more) {
		db_lock(db);
		db->installing = false;
		db_unlock_changed(db);
	}
	return r < 0 ? r : more;
}
