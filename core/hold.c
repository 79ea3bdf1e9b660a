/* See core/hold.h. */
#include "core/hold.h"

#include "core/db_i.h"
#include "core/follow.h"

#include <stdlib.h>
#include <string.h>

/** Records whose hold ends in one transaction. */
#define END_BATCH 1000
#define DEPTH_MAX 4096

struct window {
	uint64_t time_ms;
	uint64_t count;
	uint64_t next_check;
	uint64_t all;
	bool held;
};

/* Whose deletions in which collection. */
struct hold_place {
	struct id dir;
	uint64_t actor;
};

static struct slice place_key(struct buf *key, char kind, const struct hold_place *p)
{
	buf_clear(key);
	buf_u8(key, 'D');
	buf_u8(key, (uint8_t)kind);
	id_write(key, &p->dir);
	buf_be64(key, p->actor);
	return buf_slice(key);
}

static struct slice listed_key(struct buf *key, const struct hold_place *p, const struct id *node)
{
	(void)place_key(key, 'l', p);
	id_write(key, node);
	return buf_slice(key);
}

static struct slice node_key(struct buf *key, const struct id *node)
{
	buf_clear(key);
	buf_u8(key, 'D');
	buf_u8(key, 'n');
	id_write(key, node);
	return buf_slice(key);
}

static bool decode_window(struct slice value, struct window *ret)
{
	struct reader r = reader_init(value);

	ret->time_ms = reader_varint(&r);
	ret->count = reader_varint(&r);
	ret->next_check = reader_varint(&r);
	ret->all = reader_varint(&r);
	ret->held = reader_u8(&r);
	return reader_finish(&r) == 0;
}

static bool load_window(struct txn *t, const struct hold_place *p, struct window *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	return store_get(t->store, place_key(&key, 'w', p), &value) == 0 &&
	       decode_window(buf_slice(&value), ret);
}

static void store_window(struct txn *t, const struct hold_place *p, const struct window *w)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	buf_varint(&value, w->time_ms);
	buf_varint(&value, w->count);
	buf_varint(&value, w->next_check);
	buf_varint(&value, w->all);
	buf_u8(&value, w->held);
	store_put(t->store, place_key(&key, 'w', p), buf_slice(&value));
}

struct ids {
	struct id *items;
	size_t count;
	size_t max;
};

/* The last 16 bytes of the keys. */
static bool add_listed(void *ctx, struct slice key, struct slice value)
{
	struct ids *l = ctx;

	(void)value;
	l->items = xreallocarray(l->items, l->count + 1, sizeof(*l->items));
	memcpy(l->items[l->count++].b, key.data + key.len - sizeof(struct id), sizeof(struct id));
	return l->count < l->max;
}

static int list_nodes(struct txn *t, const struct hold_place *p, size_t max, struct ids *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;

	*ret = (struct ids){.max = max};
	return store_scan(t->store, place_key(&key, 'l', p), SLICE("", 0), add_listed, ret);
}

/* ---- how many records are left -------------------------------------------------------------------- */

static bool add_children(void *ctx, struct slice key, struct slice value)
{
	struct ids *l = ctx;

	(void)key;
	for (size_t i = 0; i + sizeof(struct id) <= value.len; i += sizeof(struct id)) {
		l->items = xreallocarray(l->items, l->count + 1, sizeof(*l->items));
		memcpy(l->items[l->count++].b, value.data + i, sizeof(struct id));
	}
	return l->count < l->max;
}

/* Living records of the collection, counted up to `limit`. */
static int count_left(struct txn *t, const struct id *dir, uint64_t limit, uint64_t *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct ids dirs = {.items = xmemdup(dir, sizeof(*dir)), .count = 1};
	bool is_root = id_eq(dir, &t->db->root);
	int r = 0;

	*ret = 0;
	for (size_t i = 0; r == 0 && i < dirs.count && *ret < limit; i++) {
		struct ids found = {.max = (size_t)limit + 64};

		r = store_scan(t->store, key_node(&key, 'd', &dirs.items[i]), SLICE("", 0),
			       add_children, &found);
		for (size_t k = 0; r == 0 && k < found.count && *ret < limit; k++) {
			const struct txn_node *tn = txn_node(t, &found.items[k]);

			if (!tn)
				r = -EIO;
			else if (tn->n.kind != NODE_DIR)
				*ret += tn->n.token_count > 0;
			else if (!is_root)
				(void)add_children(&dirs, SLICE("", 0),
						   SLICE(tn->n.id.b, sizeof(tn->n.id.b)));
		}
		free(found.items);
	}
	free(dirs.items);
	return r;
}

/* ---- holding --------------------------------------------------------------------------------------- */

static bool collection_of(struct txn *t, const struct txn_node *tn, struct id *ret)
{
	*ret = t->db->root;
	for (unsigned depth = 0; tn && depth < DEPTH_MAX; depth++) {
		if (id_eq(&tn->n.parent, &t->db->root))
			return true;
		*ret = tn->n.parent;
		tn = txn_node(t, &tn->n.parent);
		if (tn && tn->n.place.lamport == 0)
			return false;
	}
	return false;
}

static void hold_node(struct txn *t, const struct hold_place *p, struct txn_node *tn)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	id_write(&value, &p->dir);
	buf_be64(&value, p->actor);
	store_put(t->store, node_key(&key, &tn->n.id), buf_slice(&value));
	tn->n.held = true;
	tn->dirty = true;
}

/* It is more than half of them: what went before comes back. */
static int hold_all(struct txn *t, const struct hold_place *p)
{
	struct ids l;
	int r = list_nodes(t, p, SIZE_MAX, &l);

	for (size_t i = 0; r == 0 && i < l.count; i++) {
		struct txn_node *tn = txn_node(t, &l.items[i]);

		if (!tn) {
			r = -EIO;
		} else if (tn->n.token_count == 0 && tn->n.kind != NODE_DIR) {
			hold_node(t, p, tn);
			r = tree_reindex(t, tn);
		}
	}
	free(l.items);
	return r;
}

static int forget_list(struct txn *t, const struct hold_place *p)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct ids l;
	int r = list_nodes(t, p, SIZE_MAX, &l);

	for (size_t i = 0; r == 0 && i < l.count; i++)
		store_delete(t->store, listed_key(&key, p, &l.items[i]));
	free(l.items);
	return r;
}

static bool is_listed(struct txn *t, const struct hold_place *p)
{
	struct ids l;
	bool any = list_nodes(t, p, 1, &l) == 0 && l.count > 0;

	free(l.items);
	return any;
}

static int check(struct txn *t, const struct hold_place *p, struct window *w, struct stamp stamp)
{
	uint64_t left = 0;
	uint64_t limit = 2 * w->count + 64;
	int r = count_left(t, &p->dir, limit, &left);

	if (r < 0)
		return r;
	/* Each further deletion also takes one from what is left. */
	w->next_check = w->count + (left > w->count ? (left - w->count) / 2 : 0) + 1;
	if (left >= w->count)
		return 0;
	w->held = true;
	w->all = left + w->count;
	r = hold_all(t, p);
	if (r == 0)
		txn_watch_held(t, &p->dir, stamp, w->count, w->all);
	return r;
}

int hold_deleted(struct txn *t, struct txn_node *tn, struct stamp stamp)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct hold_place p = {.actor = stamp.id.actor};
	struct window w = {0};
	uint64_t now = stamp.hlc >> 16;

	if (!t->remote || !t->db->holds || p.actor == t->db->actor || tn->n.kind == NODE_DIR ||
	    !tn->n.visible || now < t->db->joined_ms || !collection_of(t, tn, &p.dir) ||
	    follow_has_left(t, &tn->n.id))
		return 0;
	bool open = load_window(t, &p, &w);
	if (!open || (w.held && !is_listed(t, &p)) ||
	    (!w.held && (now > w.time_ms + HOLD_WINDOW_MS || now + HOLD_WINDOW_MS < w.time_ms))) {
		int r = open ? forget_list(t, &p) : 0;

		if (r < 0)
			return r;
		w = (struct window){.next_check = HOLD_MIN + 1};
	}
	w.time_ms = now > w.time_ms ? now : w.time_ms;
	w.count++;
	store_put(t->store, listed_key(&key, &p, &tn->n.id), SLICE("", 0));
	int r = 0;
	if (w.held)
		hold_node(t, &p, tn);
	else if (w.count >= w.next_check)
		r = check(t, &p, &w, stamp);
	store_window(t, &p, &w);
	return r;
}

void hold_clear(struct txn *t, struct txn_node *tn)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	int r = store_get(t->store, node_key(&key, &tn->n.id), &value);
	struct reader v = reader_init(buf_slice(&value));
	struct hold_place p = {.dir = id_read(&v)};

	p.actor = reader_be64(&v);
	tn->n.held = false;
	tn->dirty = true;
	if (r < 0 || reader_finish(&v) < 0)
		return;
	store_delete(t->store, buf_slice(&key));
	store_delete(t->store, listed_key(&key, &p, &tn->n.id));
}

/* The collections' changes come in any order: the deletion may have been here before the word that it is a move. */
int hold_moved(struct txn *t, const struct id *node)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct txn_node *tn = txn_node(t, node);
	struct hold_place p = {0};
	struct window w = {0};

	if (!tn)
		return -EIO;
	p.actor = tn->n.last.id.actor;
	if (!tn->known || tn->n.token_count > 0 || !collection_of(t, tn, &p.dir))
		return 0;
	if (store_get(t->store, listed_key(&key, &p, node), &value) < 0 || !load_window(t, &p, &w))
		return 0;
	w.count -= w.count > 0;
	store_window(t, &p, &w);
	store_delete(t->store, listed_key(&key, &p, node));
	if (!tn->n.held)
		return 0;
	hold_clear(t, tn);
	return tree_reindex(t, tn);
}

int hold_enable(struct db *db)
{
	AUTO(free_ptr) char *since = NULL;
	int r = db_get_setting(db, "holds since", &since);

	if (r == -ENOENT) {
		db->joined_ms = db->env.now_ms(db->env.ctx);
		since = xasprintf("%llu", (unsigned long long)db->joined_ms);
		r = db_set_setting(db, "holds since", since);
	} else if (r == 0) {
		db->joined_ms = strtoull(since, NULL, 10);
	}
	db->holds = r == 0;
	return r;
}

/* ---- asking and answering -------------------------------------------------------------------------- */

struct holds {
	struct hold_place *places;
	struct window *windows;
	size_t count;
};

static bool add_hold(void *ctx, struct slice key, struct slice value)
{
	struct holds *h = ctx;
	struct reader k = reader_init(key);
	struct window w = {0};

	(void)reader_take(&k, 2);
	struct hold_place p = {.dir = id_read(&k)};
	p.actor = reader_be64(&k);
	if (reader_finish(&k) < 0 || !decode_window(value, &w) || !w.held)
		return true;
	h->places = xreallocarray(h->places, h->count + 1, sizeof(*h->places));
	h->windows = xreallocarray(h->windows, h->count + 1, sizeof(*h->windows));
	h->places[h->count] = p;
	h->windows[h->count++] = w;
	return true;
}

static void holds_fini(struct holds *h)
{
	free(h->places);
	free(h->windows);
}

/* The collection's name; the caller's. */
static char *name_of(struct txn *t, const struct id *dir)
{
	const struct txn_node *tn = txn_node(t, dir);

	if (!tn || id_eq(dir, &t->db->root))
		return xstrdup("");
	char *name = xmalloc(tn->n.shown.len + 1);
	if (tn->n.shown.len)
		memcpy(name, tn->n.shown.data, tn->n.shown.len);
	name[tn->n.shown.len] = 0;
	return name;
}

void hold_list(struct db *db, void (*fn)(void *ctx, const struct hold *h), void *ctx)
{
	AUTO(holds_fini) struct holds h = {0};
	struct txn *t = db_begin(db);
	int r = store_scan(t->store, SLICE_STR("Dw"), SLICE("", 0), add_hold, &h);
	AUTO(free_ptr) struct hold *list = xcalloc(h.count, sizeof(*list));
	AUTO(free_ptr) char **names = xcalloc(2 * h.count, sizeof(*names));
	size_t count = 0;

	for (size_t i = 0; r == 0 && i < h.count; i++) {
		const struct member *m = member_find(db, h.places[i].actor);
		struct ids l;

		r = list_nodes(t, &h.places[i], SIZE_MAX, &l);
		free(l.items);
		if (r < 0 || l.count == 0)
			continue;
		names[2 * count] = name_of(t, &h.places[i].dir);
		names[2 * count + 1] = xstrdup(m ? m->device.name : "another device");
		list[count] =
			(struct hold){.path = names[2 * count],
				      .author = names[2 * count + 1],
				      .count = l.count,
				      .all = l.count > h.windows[i].all ? l.count : h.windows[i].all,
				      .time_ms = h.windows[i].time_ms};
		count++;
	}
	db_abort(t);
	for (size_t i = 0; i < count; i++) {
		fn(ctx, &list[i]);
		free(names[2 * i]);
		free(names[2 * i + 1]);
	}
}

static int end_one(struct txn *t, struct txn_node *tn, bool accept)
{
	if (!tn)
		return -EIO;
	if (accept || tn->n.token_count > 0) {
		hold_clear(t, tn);
		return tree_reindex(t, tn);
	}
	struct id stream = tn->n.stream;
	const struct op *op = txn_op(t, &stream, OP_TOUCH, &tn->n.id);
	struct stamp stamp = {.hlc = t->hlc, .id = {.lamport = op->lamport, .actor = t->db->actor}};
	return tree_apply(t, &stream, op, stamp); /* which clears the hold */
}

/* Some of a place's records. 1 = there may be more. */
static int end_some(struct db *db, const struct hold_place *p, bool accept, uint64_t *count)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct txn *t = db_begin(db);
	struct ids l;
	int r = list_nodes(t, p, END_BATCH, &l);

	t->remote = true; /* the kernel knows nothing of it */
	for (size_t i = 0; r == 0 && i < l.count; i++) {
		store_delete(t->store, listed_key(&key, p, &l.items[i]));
		r = end_one(t, txn_node(t, &l.items[i]), accept);
	}
	if (l.count == 0)
		store_delete(t->store, place_key(&key, 'w', p));
	free(l.items);
	if (r < 0) {
		db_abort(t);
		return r;
	}
	r = db_commit(t);
	if (r == 0)
		*count += l.count;
	return r < 0 ? r : l.count > 0;
}

int hold_end(struct db *db, const char *path, bool accept, uint64_t *ret_count)
{
	AUTO(holds_fini) struct holds h = {0};
	struct txn *t = db_begin(db);
	int r = store_scan(t->store, SLICE_STR("Dw"), SLICE("", 0), add_hold, &h);
	size_t kept = 0;

	for (size_t i = 0; i < h.count; i++) {
		AUTO(free_ptr) char *name = name_of(t, &h.places[i].dir);

		if (!path || strcmp(name, path) == 0)
			h.places[kept++] = h.places[i];
	}
	db_abort(t);
	*ret_count = 0;
	for (size_t i = 0; r == 0 && i < kept; i++) {
		do
			r = end_some(db, &h.places[i], accept, ret_count);
		while (r == 1);
	}
	return r < 0 ? r : *ret_count ? 0 : -ENOENT;
}
