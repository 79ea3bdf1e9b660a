/*
 * Where directories are. Each stream has a log of their MOVEs; which of these are in force, and which were
 * skipped because they would have put a directory inside itself, core/moves.h says.
 *
 *   t stream lamport actor     16 bytes node, 16 bytes parent, bytes name
 *
 * Asking it costs a reading of the whole log, so that is left for the MOVEs that need it. A MOVE does not
 * if it is the latest of its stream (then the tree as it stands decides), and of those that come late
 *
 *   - that of a directory which never held a directory: nothing can be above what it moves to but what was
 *     there anyway, so it closes no cycle, and no other move looks at where it is. All its moves take
 *     effect, and the last one is its place.
 *   - that of a directory which has always been in this parent, from an earlier move on: whatever the
 *     others ask, they find the same parents. A rename is such a move.
 *
 * The rest wait until the end of the transaction and are then taken in together. What is in memory for it
 * stays there while more are to be expected.
 */
#include "core/db_i.h"
#include "core/moves.h"

#include <stdlib.h>
#include <string.h>

/** Transactions without a late move after which memory gives the moves up, */
#define MOVES_IDLE_TXNS 64
/** and how many it keeps at all, some 64 MiB. */
#define MOVES_KEPT_MAX (1u << 20)

static struct slice log_key(struct buf *key, const struct id *stream, struct opid id)
{
	(void)key_node(key, 't', stream);
	buf_be64(key, id.lamport);
	buf_be64(key, id.actor);
	return buf_slice(key);
}

static void log_add(struct txn *t, const struct id *stream, const struct id *node,
		    const struct tree_place *to)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	id_write(&value, node);
	id_write(&value, &to->parent);
	buf_bytes(&value, to->name);
	store_put(t->store, log_key(&key, stream, to->move), buf_slice(&value));
}

bool tree_dirs_know(struct txn *t, const struct id *stream, struct opid move)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	return store_get(t->store, log_key(&key, stream, move), &value) == 0;
}

struct loading {
	struct moves *moves;
	bool bad;
};

static bool load_one(void *ctx, struct slice key, struct slice value)
{
	struct loading *l = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct opid id;

	(void)reader_take(&k, 17);
	id.lamport = reader_be64(&k);
	id.actor = reader_be64(&k);
	struct id node = id_read(&v);
	struct id parent = id_read(&v);
	(void)reader_bytes(&v, CHANGE_NAME_BYTES_MAX);
	l->bad = reader_finish(&k) < 0 || reader_finish(&v) < 0;
	if (!l->bad)
		moves_add(l->moves, id, &node, &parent);
	return !l->bad;
}

void tree_dirs_forget(struct db *db)
{
	moves_destroy(db->moves);
	db->moves = NULL;
}

static bool is_loaded(const struct txn *t, const struct id *stream)
{
	return t->db->moves && id_eq(&t->db->moves_stream, stream);
}

/* Reads the log, in which the newest MOVE is already. */
static int load(struct txn *t, const struct id *stream)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct loading l = {.moves = moves_create(t->db->salt)};

	tree_dirs_forget(t->db);
	t->db->moves = l.moves;
	t->db->moves_stream = *stream;
	t->moves_changed = true;
	int r = store_scan(t->store, key_node(&prefix, 't', stream), SLICE("", 0), load_one, &l);
	return r == 0 && l.bad ? -EIO : r;
}

/* Whether another device's operation of this stream is above this one. */
static bool is_late(const struct txn *t, const struct id *stream, struct opid id)
{
	const struct db *db = t->db;

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor != id.actor && f->lamport >= id.lamport && id_eq(&f->stream, stream))
			return true;
	}
	for (size_t i = 0; i < t->feed_count; i++) {
		const struct feed *f = &t->feeds[i];

		if (f->actor != id.actor && f->lamport >= id.lamport && id_eq(&f->stream, stream))
			return true;
	}
	return false;
}

/* See above. Whatever order they come in, each such MOVE takes effect, and the highest one lasts. */
static bool is_simple(const struct node *n, const struct tree_place *to)
{
	return !n->holds_dirs ||
	       (!n->roamed && id_eq(&n->parent, &to->parent) && opid_cmp(to->move, n->born) > 0);
}

/* Without a limit to depth, for moves.c has none. There is no cycle: the tree is settled. */
static bool is_above(struct txn *t, const struct id *node, struct id below)
{
	while (!id_eq(&below, node)) {
		const struct txn_node *tn = txn_node(t, &below);

		if (!tn || tn->n.place.lamport == 0)
			return false;
		below = tn->n.parent;
	}
	return true;
}

static void remember(struct txn_node *tn, struct txn_node *parent, const struct tree_place *to)
{
	struct node *n = &tn->n;

	if (n->born.lamport && !id_eq(&n->parent, &to->parent))
		n->roamed = true;
	if (n->born.lamport == 0 || opid_cmp(to->move, n->born) < 0)
		n->born = to->move;
	if (!parent->n.holds_dirs) {
		parent->n.holds_dirs = true;
		parent->dirty = true;
	}
	tn->dirty = true;
}

int tree_dirs_move(struct txn *t, const struct id *stream, struct txn_node *tn,
		   const struct tree_place *to)
{
	struct txn_node *parent = txn_node(t, &to->parent);
	bool simple = is_simple(&tn->n, to);
	bool slow = !simple && (t->moves_unsettled || is_late(t, stream, to->move));

	if (!parent)
		return -EIO;
	remember(tn, parent, to);
	log_add(t, stream, &tn->n.id, to);
	if (t->moves_unsettled && !is_loaded(t, stream)) { /* of another stream */
		int r = tree_dirs_settle(t);
		if (r < 0)
			return r;
	}
	if (is_loaded(t, stream)) {
		moves_add(t->db->moves, to->move, &tn->n.id, &to->parent);
		t->moves_changed = true;
	} else if (slow) {
		int r = load(t, stream);
		if (r < 0)
			return r;
	}
	if (slow) {
		t->moves_unsettled = true;
		t->db->moves_used = t->number;
		return 0;
	}
	if (simple)
		return opid_cmp(to->move, tn->n.place) > 0 ? tree_place(t, tn, to) : 0;
	if (!is_above(t, &tn->n.id, to->parent))
		return tree_place(t, tn, to);
	tn->n.roamed = true;
	return 0;
}

struct settling {
	struct txn *t;
	struct moves_place *items;
	size_t count;
	size_t cap;
	int error;
};

static void collect(void *ctx, const struct moves_place *p)
{
	struct settling *s = ctx;
	struct txn_node *tn = txn_node(s->t, &p->node);

	if (!tn) {
		s->error = -EIO;
		return;
	}
	if (p->skipped && !tn->n.roamed)
		tn->n.roamed = tn->dirty = true;
	if (opid_eq(tn->n.place, p->place))
		return;
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->items = xreallocarray(s->items, s->cap, sizeof(*s->items));
	}
	s->items[s->count++] = *p;
}

static int place_again(struct txn *t, const struct moves_place *p)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct txn_node *tn = txn_node(t, &p->node);

	if (!tn)
		return -EIO;
	if (p->place.lamport == 0)
		return 0;
	int r = store_get(t->store, log_key(&key, &t->db->moves_stream, p->place), &value);
	struct reader v = reader_init(buf_slice(&value));
	(void)reader_take(&v, 2 * sizeof(struct id));
	struct tree_place to = {.move = p->place,
				.parent = p->parent,
				.name = reader_bytes(&v, CHANGE_NAME_BYTES_MAX)};
	if (r < 0 || reader_finish(&v) < 0)
		return -EIO;
	return tree_place(t, tn, &to);
}

int tree_dirs_settle(struct txn *t)
{
	struct settling s = {.t = t};
	struct db *db = t->db;

	if (!t->moves_unsettled) {
		bool idle = db->moves && t->number - db->moves_used > MOVES_IDLE_TXNS;

		if (idle)
			tree_dirs_forget(db);
		return 0;
	}
	t->moves_unsettled = false;
	moves_settle(db->moves, collect, &s);
	int r = s.error;
	/* All leave their places first: one by one, a and b that change places would be inside each other. */
	for (size_t i = 0; r == 0 && i < s.count; i++)
		r = tree_unplace(t, txn_node(t, &s.items[i].node));
	for (size_t i = 0; r == 0 && i < s.count; i++)
		r = place_again(t, &s.items[i]);
	free(s.items);
	if (moves_count(db->moves) > MOVES_KEPT_MAX)
		tree_dirs_forget(db);
	return r;
}
