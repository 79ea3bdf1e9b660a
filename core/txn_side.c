/*
 * What documents keep beside their state: in the store, under 'x' node16. What has been left alone for a while is packed
 * (core/side_pack.h), under 'x' node16 'p', and unpacked by the first that looks for something in it. What stands under a
 * key of its own counts, whatever a pack says of that key.
 */
#include "core/db_i.h"
#include "core/side_pack.h"

#include <stdlib.h>
#include <string.h>

#define PACK "p"
/** Not packed again before that many entries came, and a quarter of those packed. */
#define PACK_ENTRIES_MIN 16
#define PACK_FRACTION 4
/** Nodes looked at in one step. */
#define STEP_NODES 32

struct side_ctx {
	struct txn *t;
	struct id node;
	bool unpacked;
};

static struct slice key_side(struct buf *key, const struct side_ctx *c, struct slice own)
{
	(void)key_node(key, 'x', &c->node);
	buf_slice_append(key, own);
	return buf_slice(key);
}

static void side_put(void *ctx, struct slice key, struct slice value)
{
	AUTO(buf_fini) struct buf k = {0};
	const struct side_ctx *c = ctx;

	store_put(c->t->store, key_side(&k, c, key), value);
}

struct unpacking {
	struct side_ctx *c;
	struct buf key;
	struct buf have;
};

static void put_back(void *ctx, const struct side_entry *e)
{
	struct unpacking *u = ctx;
	struct store_txn *s = u->c->t->store;
	struct slice k = key_side(&u->key, u->c, e->key);

	if (store_get(s, k, &u->have) == -ENOENT)
		store_put(s, k, e->value);
}

/* Gives every entry its own key again, in this transaction. */
static int unpack(struct side_ctx *c)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf packed = {0};
	struct unpacking u = {.c = c};

	if (c->unpacked)
		return 0;
	int r = store_get(c->t->store, key_side(&key, c, SLICE_STR(PACK)), &packed);
	if (r == 0)
		r = side_unpack(buf_slice(&packed), put_back, &u) < 0 ? -EIO : 0;
	if (r == 0)
		store_delete(c->t->store, buf_slice(&key));
	buf_fini(&u.key);
	buf_fini(&u.have);
	if (r < 0 && r != -ENOENT)
		return r;
	c->unpacked = true;
	return 0;
}

static int side_get(void *ctx, struct slice key, struct buf *ret)
{
	AUTO(buf_fini) struct buf k = {0};
	struct side_ctx *c = ctx;
	int r = unpack(c);

	return r < 0 ? r : store_get(c->t->store, key_side(&k, c, key), ret);
}

struct side_scan {
	doc_side_fn *fn;
	void *arg;
};

static bool without_prefix(void *ctx, struct slice key, struct slice value)
{
	const struct side_scan *s = ctx;
	size_t prefix = 1 + sizeof(struct id);

	return s->fn(s->arg, SLICE(key.data + prefix, key.len - prefix), value);
}

static int side_scan(void *ctx, struct slice prefix, struct slice from, doc_side_fn *fn, void *arg)
{
	AUTO(buf_fini) struct buf p = {0};
	AUTO(buf_fini) struct buf f = {0};
	struct side_ctx *c = ctx;
	struct side_scan s = {fn, arg};
	int r = unpack(c);

	return r < 0 ? r
		     : store_scan(c->t->store, key_side(&p, c, prefix),
				  from.len ? key_side(&f, c, from) : from, without_prefix, &s);
}

void txn_attach_side(struct txn *t, struct txn_node *tn)
{
	if (!tn->side.ctx) {
		struct side_ctx *c = arena_alloc(&t->arena, sizeof(*c));

		*c = (struct side_ctx){.t = t, .node = tn->n.id};
		tn->side = (struct doc_side){
			.ctx = c, .put = side_put, .get = side_get, .scan = side_scan};
	}
	doc_set_side(tn->doc, &tn->side);
	if (tn->shown)
		doc_set_side(tn->shown, &tn->side);
}

/* ---- packing ------------------------------------------------------------------------------------ */

/** All entries of one node. */
struct packing {
	struct buf key; /* 'x' node16: what stands before an entry's own key */
	struct side_entry *items;
	size_t count;
	size_t cap;
	size_t bytes;
	size_t loose; /* with keys of their own */
	struct arena arena;
	struct buf packed;
};

static void packing_fini(struct packing *p)
{
	buf_fini(&p->key);
	buf_fini(&p->packed);
	arena_fini(&p->arena);
	free(p->items);
}

static void add_entry(struct packing *p, struct slice key, struct slice value)
{
	if (p->count == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 64;
		p->items = xreallocarray(p->items, p->cap, sizeof(*p->items));
	}
	p->items[p->count++] =
		(struct side_entry){arena_copy(&p->arena, key), arena_copy(&p->arena, value)};
	p->bytes += key.len + value.len;
}

static bool gather_entry(void *ctx, struct slice key, struct slice value)
{
	struct packing *p = ctx;
	struct slice own = SLICE(key.data + p->key.len, key.len - p->key.len);

	if (slice_eq(own, SLICE_STR(PACK)))
		buf_slice_append(&p->packed, value);
	else
		add_entry(p, own, value);
	return p->bytes < SIDE_PACK_BYTES_MAX / 2;
}

/* The first p->loose entries are sorted. */
static void add_packed(void *ctx, const struct side_entry *e)
{
	struct packing *p = ctx;
	size_t lo = 0;
	size_t hi = p->loose;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(p->items[mid].key, e->key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == p->loose || !slice_eq(p->items[lo].key, e->key))
		add_entry(p, e->key, e->value);
}

static int pack_node(struct txn *t, const struct id *node, bool at_once)
{
	AUTO(packing_fini) struct packing p = {0};
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf out = {0};

	buf_slice_append(&p.key, key_node(&key, 'x', node));
	int r = store_scan(t->store, buf_slice(&p.key), SLICE("", 0), gather_entry, &p);
	p.loose = p.count;
	if (r < 0 || p.loose == 0 || (!at_once && p.loose < PACK_ENTRIES_MIN) ||
	    p.bytes >= SIDE_PACK_BYTES_MAX / 2)
		return r;
	if (p.packed.len && side_unpack(buf_slice(&p.packed), add_packed, &p) < 0)
		return 0; /* who needs it will say so; nothing is made worse here */
	if (p.bytes >= SIDE_PACK_BYTES_MAX / 2 ||
	    (!at_once && p.loose < (p.count - p.loose) / PACK_FRACTION))
		return 0;
	for (size_t i = 0; i < p.loose; i++) {
		buf_clear(&key);
		buf_slice_append(&key, buf_slice(&p.key));
		buf_slice_append(&key, p.items[i].key);
		store_delete(t->store, buf_slice(&key));
	}
	side_pack(p.items, p.count, &out);
	buf_clear(&key);
	buf_slice_append(&key, buf_slice(&p.key));
	buf_append(&key, PACK, 1);
	store_put(t->store, buf_slice(&key), buf_slice(&out));
	return 0;
}

static bool take_node(void *ctx, struct slice key, struct slice value)
{
	struct id *node = ctx;
	struct reader k = reader_init(key);

	(void)value;
	(void)reader_u8(&k);
	*node = id_read(&k);
	return false;
}

int txn_pack_sides(struct db *db, uint64_t quiet_ms, bool at_once)
{
	struct txn *t = db_begin(db);
	bool more = true;
	int r = 0;

	for (unsigned n = 0; r == 0 && more && n < STEP_NODES; n++) {
		AUTO(buf_fini) struct buf from = {0};
		struct id node = {{0}};

		(void)key_node(&from, 'x', &db->pack_next);
		r = store_scan(t->store, SLICE_STR("x"), buf_slice(&from), take_node, &node);
		more = r == 0 && !id_is_zero(&node);
		struct txn_node *tn = more ? txn_node(t, &node) : NULL;
		if (tn && (tn->n.last.hlc >> 16) + quiet_ms <= t->now_ms)
			r = pack_node(t, &node, at_once);
		db->pack_next = node;
		for (size_t i = sizeof(node.b); more && i > 0 && ++db->pack_next.b[i - 1] == 0; i--)
			;
	}
	int e = r < 0 ? r : db_commit_quiet(t);
	if (r < 0)
		db_abort(t);
	return e < 0 ? e : more;
}
