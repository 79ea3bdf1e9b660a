/* Mark and sweep of chunks; see collect.h. */
#include "core/collect.h"

#include "core/chunk_set.h"
#include "core/compact.h"
#include "core/db_i.h"
#include "core/snapshot.h"

#include <stdlib.h>
#include <string.h>

/** Nodes or changes looked at in one transaction. */
#define STEP_MAX 64
/** Places in the index that are taken away in one. */
#define DROP_MAX 512
/** A pack is copied when one in so many of its bytes is of use to nobody. */
#define COPY_FRACTION 8

/** A version from before the time that the caller gave. */
struct old {
	struct opid op;
	struct buf manifest;
};

struct marking {
	struct db *db;
	const struct collect_options *o;
	struct chunk_set needed;
	struct feed_pos *cut;
	size_t cut_count;
	struct old *olds;
	size_t old_count;
	size_t old_cap;
	struct opid *replaced; /* by changes from before the time */
	size_t replaced_count;
	size_t replaced_cap;
	uint64_t version_count;
};

static bool is_cancelled(const struct marking *m)
{
	return m->o->is_cancelled && m->o->is_cancelled(m->o->ctx);
}

/* ---- marking ------------------------------------------------------------------------------------- */

static void mark_list(void *ctx, const struct manifest *list)
{
	struct marking *m = ctx;

	for (size_t i = 0; i < list->part_count; i++)
		(void)chunk_set_add(&m->needed, &list->parts[i]);
	for (size_t i = 0; i < list->count; i++) {
		if (!chunk_id_is_zero(&list->entries[i].id))
			(void)chunk_set_add(&m->needed, &list->entries[i].id);
	}
}

static void mark_manifest(void *ctx, struct slice manifest)
{
	struct marking *m = ctx;
	struct manifest *list = NULL;

	if (manifest_decode(manifest, &m->db->parts, &list, NULL) == -ENOENT)
		manifest_mark_known(manifest, &m->db->parts, mark_list, m);
	if (list)
		mark_list(m, list);
	manifest_unref(list);
}

static void mark_value(void *ctx, struct opid id, struct slice manifest)
{
	(void)id;
	mark_manifest(ctx, manifest);
}

/* ---- what records have now ----------------------------------------------------------------------- */

struct nodes {
	struct id ids[STEP_MAX];
	size_t count;
};

static bool add_node(void *ctx, struct slice key, struct slice value)
{
	struct nodes *n = ctx;
	struct reader k = reader_init(key);

	(void)value;
	(void)reader_u8(&k);
	struct id id = id_read(&k);
	if (reader_finish(&k) == 0)
		n->ids[n->count++] = id;
	return n->count < STEP_MAX;
}

static int mark_node(struct marking *m, struct txn *t, const struct id *id)
{
	struct txn_node *tn = txn_node(t, id);
	struct doc *doc = NULL;
	const struct doc *shown = NULL;
	int r = tn ? txn_doc(t, tn, &doc) : -EIO;

	if (r == 0)
		doc_manifests(doc, mark_value, m);
	if (r == 0)
		r = txn_shown(t, tn, &shown);
	if (r == 0)
		doc_manifests(shown, mark_value, m);
	return r;
}

static int mark_states(struct marking *m)
{
	AUTO(buf_fini) struct buf from = {0};
	struct nodes n;
	int r = 0;

	do {
		struct txn *t = db_begin(m->db);

		n.count = 0;
		r = store_scan(t->store, SLICE_STR("s"), buf_slice(&from), add_node, &n);
		for (size_t i = 0; r == 0 && i < n.count; i++)
			r = mark_node(m, t, &n.ids[i]);
		if (n.count)
			(void)key_node(&from, 's', &n.ids[n.count - 1]);
		buf_u8(&from, 0); /* behind it */
		db_abort(t);
		if (r == 0 && is_cancelled(m))
			r = -ECANCELED;
	} while (r == 0 && n.count == STEP_MAX);
	return r;
}

/* ---- what they had ------------------------------------------------------------------------------- */

/* What a whole value from before the time says: of itself, and of those it took the place of. */
static void note_old(struct marking *m, const struct op *op, uint64_t actor)
{
	for (size_t i = 0; i < op->pred_count; i++) {
		if (m->replaced_count == m->replaced_cap) {
			m->replaced_cap = m->replaced_cap ? m->replaced_cap * 2 : 64;
			m->replaced =
				xreallocarray(m->replaced, m->replaced_cap, sizeof(*m->replaced));
		}
		m->replaced[m->replaced_count++] = op->preds[i];
	}
	if (op->kind != OP_CHUNKS)
		return;
	if (m->old_count == m->old_cap) {
		m->old_cap = m->old_cap ? m->old_cap * 2 : 64;
		m->olds = xreallocarray(m->olds, m->old_cap, sizeof(*m->olds));
	}
	struct old *o = &m->olds[m->old_count++];
	*o = (struct old){.op = {.lamport = op->lamport, .actor = actor}};
	buf_slice_append(&o->manifest, op->value);
}

static void mark_change(struct marking *m, const struct change *c, bool below_cut)
{
	bool old = below_cut && c->hlc >> 16 < m->o->before_ms;

	for (size_t i = 0; i < c->ops.count; i++) {
		const struct op *op = &c->ops.items[i];
		bool whole = op->kind == OP_CHUNKS || op->kind == OP_RAW || op->kind == OP_UNRAW;

		if (old && whole)
			note_old(m, op, c->actor);
		else if (op->kind == OP_CHUNKS)
			mark_manifest(m, op->value);
	}
}

static int opid_order(const void *a, const void *b)
{
	return opid_cmp(*(const struct opid *)a, *(const struct opid *)b);
}

/* Old versions stay if nothing had taken their place by then. */
static void mark_olds(struct marking *m)
{
	if (m->replaced_count)
		qsort(m->replaced, m->replaced_count, sizeof(*m->replaced), opid_order);
	for (size_t i = 0; i < m->old_count; i++) {
		const struct old *o = &m->olds[i];

		if (m->replaced_count && bsearch(&o->op, m->replaced, m->replaced_count,
						 sizeof(*m->replaced), opid_order))
			m->version_count++;
		else
			mark_manifest(m, buf_slice(&o->manifest));
	}
}

/* Some changes of a feed, from *seq on, which moves behind them. 0 = there are no more. */
static int mark_some(struct marking *m, const struct feed_pos *feed, uint64_t *seq)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct changes changes = {0};
	struct feed_pos pos = *feed;
	struct txn *t = db_begin(m->db);
	const struct feed *f = feed_find(m->db, &feed->stream, feed->actor);
	uint64_t end = f ? f->seq : 0;
	int r = 0;

	for (unsigned n = 0; r == 0 && n < STEP_MAX && *seq <= end; n++, ++*seq) {
		AUTO(change_fini) struct change c = {0};

		pos.seq = *seq;
		r = changes_get(&changes, t, &pos, &bytes);
		if (r == 0)
			r = change_decode(buf_slice(&bytes), feed->actor, &c) < 0 ? -EIO : 0;
		if (r == 0)
			mark_change(m, &c, *seq <= feed->seq);
		if (r == -ENOENT) /* from before this device joined, and not here yet */
			r = 0;
	}
	bool more = *seq <= end;
	changes_fini(&changes);
	db_abort(t);
	return r < 0 ? r : more;
}

static int mark_history(struct marking *m)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->cut_count; i++) {
		uint64_t seq = 1;

		do {
			r = mark_some(m, &m->cut[i], &seq);
			if (r > 0 && is_cancelled(m))
				r = -ECANCELED;
		} while (r > 0);
	}
	if (r == 0)
		mark_olds(m);
	return r;
}

static int mark_stored(struct marking *m)
{
	struct store_view *view = m->o->stored ? store_view_create(m->db->store) : NULL;
	int r = m->o->stored && !view ? -EIO : 0;

	if (view)
		r = m->o->stored(view, mark_manifest, m);
	store_view_destroy(view);
	return r;
}

static int mark(struct marking *m)
{
	m->cut_count = db_cut(m->db, &m->cut);
	manifest_each(mark_list, m);
	int r = mark_stored(m);
	if (r == 0)
		r = mark_states(m);
	return r == 0 ? mark_history(m) : r;
}

/* ---- sweeping ------------------------------------------------------------------------------------ */

struct garbage {
	struct marking *m;
	struct chunk_id ids[DROP_MAX];
	size_t count;
	uint64_t chunk_count;
	struct buf from;
};

static bool add_garbage(void *ctx, struct slice key, struct slice value)
{
	struct garbage *g = ctx;
	struct reader k = reader_init(key);
	struct chunk_id id;

	(void)value;
	(void)reader_u8(&k);
	reader_copy(&k, id.b, sizeof(id.b));
	if (reader_finish(&k) < 0)
		return true;
	g->chunk_count++;
	buf_clear(&g->from);
	buf_slice_append(&g->from, key);
	buf_u8(&g->from, 0);
	if (!chunk_set_has(&g->m->needed, &id))
		g->ids[g->count++] = id;
	return g->count < DROP_MAX;
}

/* Takes those out of the index. */
static int drop_some(struct db *db, const struct garbage *g, bool dry_run,
		     struct collect_stats *stats)
{
	struct txn *t = db_begin(db);

	stats->garbage_count +=
		packs_drop(db->packs, g->ids, g->count, t->store, &stats->garbage_bytes);
	for (size_t i = 0; !dry_run && i < g->count; i++)
		wants_drop_repair(&db->wants, &g->ids[i]);
	int r = 0;
	if (dry_run)
		db_abort(t);
	else
		r = db_commit_quiet(t);
	packs_drop_end(db->packs);
	return r;
}

static int drop(struct marking *m, struct collect_stats *stats)
{
	struct garbage g = {.m = m};
	int r = 0;

	do {
		struct store_txn *t = store_begin(m->db->store);

		g.count = 0;
		r = store_scan(t, SLICE_STR("k"), buf_slice(&g.from), add_garbage, &g);
		store_abort(t);
		if (r == 0 && g.count)
			r = drop_some(m->db, &g, m->o->dry_run, stats);
		if (r == 0 && is_cancelled(m))
			r = -ECANCELED;
	} while (r == 0 && g.count == DROP_MAX);
	stats->chunk_count = g.chunk_count;
	buf_fini(&g.from);
	return r;
}

/* Everything in the index is durable, and recovery looks behind. */
static int settle(struct db *db)
{
	int r = db_chunks_flush(db);

	if (r < 0)
		return r;
	struct txn *t = db_begin(db);
	bool staged = packs_stage_mark(db->packs, t->store);
	r = db_commit_quiet(t);
	if (r == 0)
		r = store_sync(db->store);
	return r == 0 && !staged ? -EAGAIN : r;
}

/* Copies what is needed out of one pack, and removes it. */
static int copy_pack(struct db *db, uint64_t pack)
{
	int r = packs_leave(db->packs, pack);

	while (r == 0 && (r = packs_move_some(db->packs, pack)) == 1)
		r = db_chunks_flush(db);
	if (r == 0)
		r = settle(db);
	return r == 0 ? packs_remove(db->packs, pack) : r;
}

static int copy_packs(const struct marking *m)
{
	AUTO(free_ptr) struct packs_use *uses = NULL;
	size_t count = 0;
	int r = packs_uses(m->db->packs, &uses, &count);

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct packs_use *u = &uses[i];
		uint64_t dead = u->file_bytes > u->live_bytes ? u->file_bytes - u->live_bytes : 0;

		if (dead * COPY_FRACTION < u->file_bytes || u->file_bytes == 0)
			continue;
		r = is_cancelled(m) ? -ECANCELED : copy_pack(m->db, u->pack);
		/* Damaged chunks in it keep it; somebody put more at this moment. */
		if (r == -EIO || r == -EAGAIN || r == -EBUSY)
			r = 0;
	}
	return r;
}

static int collect(struct marking *m, struct collect_stats *stats)
{
	uint64_t before = 0;
	int r = packs_file_bytes(m->db->packs, &before);

	if (r < 0 || before == 0) { /* most databases */
		*stats = (struct collect_stats){0};
		return r;
	}
	r = mark(m);
	if (r == 0)
		r = drop(m, stats);
	stats->version_count = m->version_count;
	if (r == 0 && !m->o->dry_run)
		r = copy_packs(m);
	if (r == 0)
		r = packs_file_bytes(m->db->packs, &stats->file_bytes);
	stats->freed_bytes = before > stats->file_bytes ? before - stats->file_bytes : 0;
	return r;
}

/* ---- when ---------------------------------------------------------------------------------------- */

static struct slice last_key(void)
{
	return SLICE_STR("m collect");
}

/* For db_collect_is_due(): how much there was afterwards, and when. */
static int note_last(struct db *db, uint64_t file_bytes)
{
	AUTO(buf_fini) struct buf value = {0};
	struct txn *t = db_begin(db);

	buf_varint(&value, file_bytes);
	buf_varint(&value, t->now_ms);
	store_put(t->store, last_key(), buf_slice(&value));
	return db_commit_quiet(t);
}

bool db_collect_is_due(struct db *db)
{
	AUTO(buf_fini) struct buf value = {0};
	uint64_t bytes = 0;
	uint64_t last = 0;
	uint64_t last_ms = 0;
	uint64_t changes = 0;

	if (packs_file_bytes(db->packs, &bytes) < 0 || bytes == 0 ||
	    bytes > COLLECT_UNASKED_BYTES_MAX || db_history_missing(db))
		return false;
	struct txn *t = db_begin(db);
	if (store_get(t->store, last_key(), &value) == 0) {
		struct reader r = reader_init(buf_slice(&value));

		last = reader_varint(&r);
		last_ms = reader_varint(&r);
	}
	for (size_t i = 0; i < db->feed_count; i++)
		changes += db->feeds[i].seq;
	uint64_t now = t->now_ms;
	db_abort(t);
	uint64_t grown = bytes > last ? bytes - last : 0;
	bool much = grown >= COLLECT_GROWTH_BYTES && grown >= last / 4 &&
		    grown / COLLECT_CHANGE_BYTES >= changes;
	return much || (last_ms && now > last_ms && now - last_ms > COLLECT_AGE_MS);
}

bool db_collect_is_awaited(struct db *db)
{
	return __atomic_load_n(&db->collects, __ATOMIC_RELAXED) > 1;
}

int db_collect(struct db *db, const struct collect_options *o, struct collect_stats *ret)
{
	struct marking m = {.db = db, .o = o};
	struct collect_stats stats = {0};

	(void)__atomic_add_fetch(&db->collects, 1, __ATOMIC_RELAXED);
	mutex_lock(&db->collect_lock);
	int r = db_chunks_flush(db);
	packs_watch_begin(db->packs);
	/* What was begun before the watch may count on chunks that nobody named yet. */
	if (r == 0 && __atomic_load_n(&db->imports, __ATOMIC_SEQ_CST))
		r = -EAGAIN;
	if (r == 0)
		r = collect(&m, &stats);
	packs_watch_end(db->packs);
	if (r == 0 && !o->dry_run && stats.file_bytes)
		r = note_last(db, stats.file_bytes);
	mutex_unlock(&db->collect_lock);
	(void)__atomic_sub_fetch(&db->collects, 1, __ATOMIC_RELAXED);
	chunk_set_fini(&m.needed);
	for (size_t i = 0; i < m.old_count; i++)
		buf_fini(&m.olds[i].manifest);
	free(m.olds);
	free(m.replaced);
	free(m.cut);
	if (r == 0)
		*ret = stats;
	return r;
}
