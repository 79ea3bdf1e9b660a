/* Questions about the database: children, paths, statistics, problems, values that lost. */
#include "core/db_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ids {
	struct id *items;
	size_t count;
};

static bool add_values(void *ctx, struct slice key, struct slice value)
{
	struct ids *l = ctx;

	(void)key;
	for (size_t i = 0; i + sizeof(struct id) <= value.len; i += sizeof(struct id)) {
		l->items = xreallocarray(l->items, l->count + 1, sizeof(*l->items));
		memcpy(l->items[l->count++].b, value.data + i, sizeof(struct id));
	}
	return true;
}

int db_children(struct txn *t, const struct id *dir,
		void (*fn)(void *ctx, const struct node_info *n), void *ctx)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct ids l = {0};
	int r = store_scan(t->store, key_node(&prefix, 'd', dir), SLICE("", 0), add_values, &l);

	for (size_t i = 0; r == 0 && i < l.count; i++) {
		const struct txn_node *tn = txn_node(t, &l.items[i]);
		struct node_info info;

		if (!tn) {
			r = -EIO;
		} else if (tree_is_shown(tn)) {
			tree_info(t, tn, &info);
			fn(ctx, &info);
			node_info_fini(&info);
		}
	}
	free(l.items);
	return r;
}

struct find {
	struct slice name;
	struct id found;
	bool done;
};

static void match_name(void *ctx, const struct node_info *n)
{
	struct find *f = ctx;

	if (!f->done && slice_eq(SLICE_STR(n->name), f->name)) {
		f->found = n->id;
		f->done = true;
	}
}

/* Shown under another name than its own is only what had to be escaped, or told apart: name_show(). */
static bool may_be_changed(struct slice name)
{
	return name.len && (memchr(name.data, '~', name.len) || memchr(name.data, '%', name.len));
}

/* The shown name is most often the name itself, whose index entry is one Get. */
static int find_child(struct txn *t, const struct id *dir, struct slice name, struct id *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf list = {0};
	struct find f = {.name = name};

	(void)key_node(&key, 'd', dir);
	buf_slice_append(&key, name);
	if (store_get(t->store, buf_slice(&key), &list) == 0) {
		struct ids l = {0};

		(void)add_values(&l, SLICE("", 0), buf_slice(&list));
		for (size_t i = 0; i < l.count && !f.done; i++) {
			const struct txn_node *tn = txn_node(t, &l.items[i]);

			if (tn && tree_is_shown(tn) && slice_eq(buf_slice(&tn->n.shown), name)) {
				f.found = tn->n.id;
				f.done = true;
			}
		}
		free(l.items);
	}
	int r = f.done || !may_be_changed(name) ? 0 : db_children(t, dir, match_name, &f);
	if (r == 0 && !f.done)
		return -ENOENT;
	*ret = f.found;
	return r;
}

int db_child(struct txn *t, const struct id *dir, const char *name, struct id *ret)
{
	return find_child(t, dir, SLICE_STR(name), ret);
}

static bool add_ever(void *ctx, struct slice key, struct slice value)
{
	(void)value;
	return add_values(ctx, key, SLICE(key.data + 17, key.len - 17));
}

/* What was deleted from this name last. */
static int find_deleted(struct txn *t, const struct id *dir, struct slice name, struct id *ret)
{
	AUTO(buf_fini) struct buf prefix = {0};
	const struct txn_node *best = NULL;
	struct ids l = {0};
	int r = store_scan(t->store, key_node(&prefix, 'H', dir), SLICE("", 0), add_ever, &l);

	for (size_t i = 0; r == 0 && i < l.count; i++) {
		const struct txn_node *tn = txn_node(t, &l.items[i]);

		if (!tn)
			r = -EIO;
		else if (!tn->n.visible && id_eq(&tn->n.parent, dir) &&
			 slice_eq(buf_slice(&tn->n.shown), name) &&
			 (!best || stamp_beats(tn->n.last, best->n.last)))
			best = tn;
	}
	free(l.items);
	if (r == 0 && best)
		*ret = best->n.id;
	return r < 0 ? r : best ? 0 : -ENOENT;
}

int db_resolve(struct db *db, const char *path, bool deleted, struct id *ret)
{
	struct txn *t = db_begin(db);
	struct id at = db->root;
	int r = 0;

	while (r == 0 && *path) {
		size_t len = strcspn(path, "/");

		if (len > 0) {
			AUTO(free_ptr) char *name = xmalloc(len + 1);
			struct id next;

			memcpy(name, path, len);
			name[len] = 0;
			r = find_child(t, &at, SLICE(name, len), &next);
			if (r == -ENOENT && deleted)
				r = find_deleted(t, &at, SLICE(name, len), &next);
			if (r == 0)
				at = next;
		}
		path += len + (path[len] == '/');
	}
	db_abort(t);
	if (r == 0)
		*ret = at;
	return r;
}

static bool count_key(void *ctx, struct slice key, struct slice value)
{
	struct ids *l = ctx;

	(void)value;
	if (key.len == 17) {
		l->items = xreallocarray(l->items, l->count + 1, sizeof(*l->items));
		memcpy(l->items[l->count++].b, key.data + 1, sizeof(struct id));
	}
	return true;
}

static struct ids problem_ids(struct txn *t)
{
	struct ids l = {0};

	(void)store_scan(t->store, SLICE_STR("p"), SLICE("", 0), count_key, &l);
	return l;
}

struct sizes {
	uint64_t bytes;
	uint64_t count;
};

static bool add_size(void *ctx, struct slice key, struct slice value)
{
	struct sizes *s = ctx;

	(void)key;
	s->bytes += value.len;
	return ++s->count < 100000;
}

/* Bytes of what the furthest-behind peer lacks of our feeds. */
static uint64_t pending_bytes(struct txn *t)
{
	AUTO(buf_fini) struct buf prefix = {0};
	AUTO(buf_fini) struct buf from = {0};
	struct sizes s = {0};
	const struct db *db = t->db;

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];
		uint64_t least = f->seq;

		if (f->actor != db->actor)
			continue;
		for (size_t k = 0; k < db->acked_count; k++) {
			const struct acked *a = &db->acked[k];
			uint64_t seq = feed_pos_seq(a->pos, a->count, &f->stream, f->actor);

			if (a->device != db->actor && seq < least)
				least = seq;
		}
		if (least == f->seq)
			continue;
		for (const char *kind = "ce"; *kind; kind++) {
			buf_clear(&prefix);
			buf_clear(&from);
			feed_key(&prefix, (uint8_t)*kind, &f->stream, f->actor);
			feed_key(&from, (uint8_t)*kind, &f->stream, f->actor);
			buf_be64(&from, least + 1);
			(void)store_scan(t->store, buf_slice(&prefix), buf_slice(&from), add_size,
					 &s);
		}
	}
	return s.bytes;
}

void db_get_stats(struct db *db, struct db_stats *ret)
{
	struct txn *t = db_begin(db);
	struct ids l = problem_ids(t);

	*ret = (struct db_stats){
		.record_count = db->record_count,
		.held_back_count = db->held_back,
		.pending_count = feed_pending_locked(db),
	};
	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor == db->actor && !id_eq(&f->stream, &db->auth_stream))
			ret->change_count += f->seq;
	}
	for (size_t i = 0; i < l.count; i++) {
		const struct txn_node *tn = txn_node(t, &l.items[i]);

		if (tn && tn->n.conflicts > 0)
			ret->conflict_count++;
	}
	for (size_t i = 0; i < db->member_count; i++)
		ret->peer_count += db->members[i].device.actor != db->actor &&
				   member_is_current(&db->members[i]);
	if (ret->pending_count)
		ret->pending_bytes = pending_bytes(t);
	free(l.items);
	db_abort(t);
}

void db_path_of(struct txn *t, const struct txn_node *tn, struct buf *out)
{
	AUTO(buf_fini) struct buf tail = {0};

	buf_clear(out);
	for (unsigned depth = 0; tn && depth < DB_DEPTH_MAX && !id_eq(&tn->n.id, &t->db->root);
	     depth++) {
		buf_clear(&tail);
		buf_slice_append(&tail, buf_slice(&tn->n.shown));
		if (out->len) {
			buf_u8(&tail, '/');
			buf_slice_append(&tail, buf_slice(out));
		}
		buf_clear(out);
		buf_slice_append(out, buf_slice(&tail));
		tn = txn_node(t, &tn->n.parent);
	}
}

char *db_path(struct db *db, const struct id *node)
{
	struct buf path = {0};
	struct txn *t = db_begin(db);

	db_path_of(t, txn_node(t, node), &path);
	db_abort(t);
	return buf_str(&path);
}

bool db_is_below(struct db *db, const struct id *node, const struct id *dir)
{
	struct txn *t = db_begin(db);
	bool below = tree_is_inside(t, node, dir);

	db_abort(t);
	return below;
}

void db_problems(struct db *db, void (*fn)(void *ctx, const struct node_info *n, const char *path),
		 void *ctx)
{
	struct txn *t = db_begin(db);
	struct ids l = problem_ids(t);
	AUTO(free_ptr) struct node_info *infos = xcalloc(l.count, sizeof(*infos));
	AUTO(free_ptr) char **paths = xcalloc(l.count, sizeof(*paths));
	size_t n = 0;

	for (size_t i = 0; i < l.count; i++) {
		const struct txn_node *tn = txn_node(t, &l.items[i]);
		struct buf path = {0};

		if (!tn || !tree_is_shown(tn))
			continue;
		tree_info(t, tn, &infos[n]);
		db_path_of(t, tn, &path);
		paths[n++] = buf_str(&path);
	}
	free(l.items);
	db_abort(t); /* fn may ask the database more */
	for (size_t i = 0; i < n; i++) {
		fn(ctx, &infos[i], paths[i]);
		node_info_fini(&infos[i]);
		free(paths[i]);
	}
}

/** A loser with its own memory: fn runs after the lock is gone. */
struct lost {
	struct db_loser l;
	struct buf path;
	struct buf key;
	struct buf value;
	struct buf shown;
	struct device author;
	struct device shown_author;
};

struct losers {
	struct db *db;
	const struct id *node;
	const struct doc *doc;
	struct lost *items;
	size_t count;
};

static bool is_before(const struct lost *a, const struct lost *b)
{
	return a->l.whole == b->l.whole && slice_eq(buf_slice(&a->path), buf_slice(&b->path)) &&
	       opid_cmp(a->l.id, b->l.id) < 0;
}

static void keep_loser(void *ctx, const struct doc_loser *l)
{
	struct losers *all = ctx;
	struct lost lost = {
		.l = {.whole = l->raw, .chunked = l->chunks, .id = l->id, .time_ms = l->hlc >> 16}};

	if (l->chunks && wants_find(&all->db->wants, all->node, l->id))
		return; /* it is not all here yet */

	doc_path_show(all->doc, l->path, &lost.path);
	buf_slice_append(&lost.key, l->path);
	if (l->raw)
		buf_slice_append(&lost.value, l->value);
	else
		doc_loser_text(all->doc, l, &lost.value);
	if (db_member_locked(all->db, l->id.actor, &lost.author) < 0)
		(void)snprintf(lost.author.name, sizeof(lost.author.name), "unknown");
	struct doc_loser shown;
	if (doc_shown_at(all->doc, l, &shown)) {
		lost.l.shown_ms = shown.hlc >> 16;
		(void)db_member_locked(all->db, shown.id.actor, &lost.shown_author);
		doc_loser_text(all->doc, &shown, &lost.shown);
	}
	all->items = xreallocarray(all->items, all->count + 1, sizeof(*all->items));
	/* Siblings come in the order they arrived here, which says nothing elsewhere. */
	size_t i = all->count++;
	for (; i > 0 && is_before(&lost, &all->items[i - 1]); i--)
		all->items[i] = all->items[i - 1];
	all->items[i] = lost;
}

int db_losers(struct db *db, const struct id *node, void (*fn)(void *ctx, const struct db_loser *l),
	      void *ctx)
{
	struct losers all = {.db = db, .node = node};
	struct txn *t = db_begin(db);
	struct txn_node *tn = txn_node(t, node);
	const struct doc *doc = NULL;
	int r = !tn ? -EIO : tn->known ? txn_shown(t, tn, &doc) : -ENOENT;

	all.doc = doc;
	if (r == 0)
		doc_losers(doc, keep_loser, &all);
	db_abort(t);
	for (size_t i = 0; i < all.count; i++) {
		struct lost *lost = &all.items[i];

		lost->l.path = buf_str(&lost->path);
		lost->l.key = buf_slice(&lost->key);
		lost->l.value = buf_slice(&lost->value);
		lost->l.author_name = lost->author.name;
		lost->l.shown = buf_slice(&lost->shown);
		lost->l.shown_author = lost->shown_author.name;
		fn(ctx, &lost->l);
		buf_fini(&lost->path);
		buf_fini(&lost->key);
		buf_fini(&lost->value);
		buf_fini(&lost->shown);
	}
	free(all.items);
	return r;
}

struct last_change {
	struct opid rev;
	struct feed_pos pos;
};

/* The keys are in the order of clocks, and a clock may be wrong. */
static bool keep_last(void *ctx, struct slice key, struct slice value)
{
	struct last_change *last = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct opid rev;

	(void)reader_take(&k, 17 + 8);
	rev.lamport = reader_be64(&k);
	rev.actor = reader_be64(&k);
	if (opid_cmp(rev, last->rev) <= 0)
		return true;
	last->rev = rev;
	last->pos.actor = rev.actor;
	last->pos.stream = id_read(&v);
	last->pos.seq = reader_varint(&v);
	return true;
}

int db_saved_by(struct txn *t, const struct id *node, char out[CHANGE_PROGRAM_BYTES_MAX + 1])
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	AUTO(buf_fini) struct buf bytes = {0};
	AUTO(changes_fini) struct changes changes = {0};
	const struct txn_node *tn = txn_node(t, node);
	struct change c = {0};

	if (!tn)
		return -EIO;
	(void)key_node(&key, 'h', node);
	buf_be64(&key, tn->n.last.hlc);
	buf_be64(&key, tn->n.last.id.lamport);
	buf_be64(&key, tn->n.last.id.actor);
	int r = store_get(t->store, buf_slice(&key), &value);
	struct reader v = reader_init(buf_slice(&value));
	struct feed_pos pos = {.actor = tn->n.last.id.actor};
	if (r == 0) {
		pos.stream = id_read(&v);
		pos.seq = reader_varint(&v);
		r = reader_finish(&v) < 0 ? -EIO : changes_get(&changes, t, &pos, &bytes);
	}
	if (r == 0)
		r = change_decode(buf_slice(&bytes), pos.actor, &c);
	if (r < 0)
		return r;
	size_t n =
		c.program.len < CHANGE_PROGRAM_BYTES_MAX ? c.program.len : CHANGE_PROGRAM_BYTES_MAX;
	if (n)
		memcpy(out, c.program.data, n);
	out[n] = 0;
	change_fini(&c);
	return n ? 0 : -ENOENT;
}

uint32_t db_synced_count(struct txn *t, const struct id *node)
{
	AUTO(buf_fini) struct buf prefix = {0};
	const struct db *db = t->db;
	struct last_change last = {0};
	const struct feed_pos *p = &last.pos;
	uint32_t n = 0;

	(void)store_scan(t->store, key_node(&prefix, 'h', node), SLICE("", 0), keep_last, &last);
	for (size_t i = 0; p->seq && i < db->acked_count; i++) {
		const struct acked *a = &db->acked[i];

		n += feed_pos_seq(a->pos, a->count, &p->stream, p->actor) >= p->seq;
	}
	return n;
}
