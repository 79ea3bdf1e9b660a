/* Content in chunks: saving, reading, what is missing and what arrives. */
#include "core/db_chunks.h"

#include "core/db_i.h"
#include "core/log.h"

#include <stdlib.h>
#include <string.h>

/** What has arrived is made durable soon when it is this much. */
#define FLUSH_SOON_BYTES (16u << 20)
/** Chunks looked up in one go. */
#define SCAN_MAX 1024
/** Every so many chunks that arrive, observers hear of it. */
#define TELL_EVERY 64

/* ---- content -------------------------------------------------------------------------------------- */

int db_shown(struct txn *t, const struct id *node, struct buf *ret, bool *ret_chunked)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct txn_node *tn = txn_node(t, node);

	if (!tn)
		return -EIO;
	if (tn->doc && tn->content_changed) {
		buf_clear(ret);
		buf_slice_append(ret, txn_rendered(tn));
		*ret_chunked = doc_mode(tn->shown ? tn->shown : tn->doc) == DOC_CHUNKS;
		return 0;
	}
	*ret_chunked = tn->n.chunked;
	int r = store_get(t->store, key_node(&key, 'r', node), ret);
	return r == -ENOENT && tn->known ? 0 : r; /* nothing was ever written into it */
}

int db_old_shown(struct txn *t, const struct id *node, struct buf *ret, bool *ret_chunked)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct node old = {0};
	int r = store_read(t->db->store, key_node(&key, 'n', node), ret);

	if (r == 0)
		r = node_decode(node, buf_slice(ret), &old);
	*ret_chunked = old.chunked;
	node_fini(&old);
	return r < 0 ? r : store_read(t->db->store, key_node(&key, 'r', node), ret);
}

int db_manifest(struct txn *t, const struct id *node, struct manifest **ret)
{
	AUTO(buf_fini) struct buf shown = {0};
	bool chunked = false;
	int r = db_shown(t, node, &shown, &chunked);

	if (r < 0)
		return r;
	if (!chunked)
		return -ENODATA;
	return db_manifest_decode(t->db, buf_slice(&shown), ret) < 0 ? -EIO : 0;
}

int db_manifest_decode(struct db *db, struct slice manifest, struct manifest **ret)
{
	return manifest_decode(manifest, &db->parts, ret, NULL);
}

bool db_chunks_are_here(struct db *db, struct slice manifest)
{
	struct manifest *m = NULL;

	if (db_manifest_decode(db, manifest, &m) < 0)
		return false;
	bool all = true;
	for (size_t i = 0; all && i < m->part_count; i++)
		all = packs_state(db->packs, &m->parts[i]) == PACKS_INDEXED;
	for (size_t i = 0; all && i < m->count; i++)
		all = chunk_id_is_zero(&m->entries[i].id) ||
		      packs_state(db->packs, &m->entries[i].id) == PACKS_INDEXED;
	manifest_unref(m);
	return all;
}

/* Any lock may be held. */
static int read_chunk(struct db *db, const struct chunk_id *id, struct buf *ret)
{
	int r = packs_read(db->packs, id, ret);

	if (r == -EIO) /* noted: the next flush sees to it */
		__atomic_store_n(&db->chunks_due, true, __ATOMIC_RELAXED);
	return r;
}

static int get_part(void *ctx, const struct chunk_id *id, struct buf *ret)
{
	return read_chunk(ctx, id, ret);
}

static int put_part(void *ctx, struct slice part, struct chunk_id *ret_id)
{
	const struct db *db = ctx;

	*ret_id = chunk_id_of(&db->chunk_keys, part);
	return packs_put(db->packs, ret_id, part);
}

static void want_damaged(struct db *db)
{
	AUTO(free_ptr) struct packs_damage *all = NULL;
	size_t n = packs_damages(db->packs, &all);

	for (size_t i = 0; i < n; i++)
		wants_add_repair(&db->wants, &all[i].id, all[i].length);
}

void db_chunks_init(struct db *db)
{
	db->parts = (struct manifest_store){.get = get_part, .put = put_part, .ctx = db};
	want_damaged(db);
}

/* The chunk, from the few read last or from its pack. The cache's lock is held. */
static int read_cached(struct db *db, const struct chunk_id *id, const struct buf **ret)
{
	struct chunk_cache *c = &db->chunk_cache;

	for (size_t i = 0; i < countof(c->items); i++) {
		if (chunk_id_eq(&c->items[i].id, id)) {
			*ret = &c->items[i].bytes;
			return 0;
		}
	}
	struct cached_chunk *slot = &c->items[c->next++ % countof(c->items)];
	slot->id = (struct chunk_id){{0}};
	int r = read_chunk(db, id, &slot->bytes);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	slot->id = *id;
	*ret = &slot->bytes;
	return 0;
}

static int read_entry(struct db *db, const struct manifest *m, size_t entry, uint64_t offset,
		      size_t size, struct buf *ret)
{
	const struct buf *bytes = NULL;

	if (chunk_id_is_zero(&m->entries[entry].id)) {
		buf_resize(ret, ret->len + size);
		return 0;
	}
	size_t from = (size_t)(offset - m->entries[entry].offset);
	mutex_lock(&db->chunk_cache.lock);
	int r = read_cached(db, &m->entries[entry].id, &bytes);
	if (r == 0 && bytes->len != manifest_length(m, entry))
		r = -EIO; /* a manifest that lies about a length */
	if (r == 0)
		buf_append(ret, bytes->data + from, size);
	mutex_unlock(&db->chunk_cache.lock);
	return r;
}

int db_chunks_read(struct db *db, const struct manifest *m, uint64_t offset, size_t size,
		   struct buf *ret)
{
	int r = 0;

	if (offset >= m->size)
		return 0;
	uint64_t end = m->size - offset < size ? m->size : offset + size;
	for (size_t e = manifest_find(m, offset); r == 0 && offset < end; e++) {
		uint64_t stop = m->entries[e].offset + manifest_length(m, e);

		stop = stop < end ? stop : end;
		r = read_entry(db, m, e, offset, (size_t)(stop - offset), ret);
		offset = stop;
	}
	if (r < 0 && db_chunks_are_due(db)) {
		db_lock(db);
		db_unlock_changed(db); /* somebody flushes, and so asks for it */
	}
	return r;
}

/* ---- what is missing ------------------------------------------------------------------------------ */

void db_get_missing(struct db *db, struct db_missing *ret)
{
	db_lock(db);
	*ret = (struct db_missing){.file_count = db->wants.count - db->wants.repair_count,
				   .damaged_count = db->wants.repair_count,
				   .byte_count = db->wants.missing_bytes,
				   .bad_count = db->wants.bad_count};
	mutex_unlock(&db->lock);
}

struct find_manifest {
	struct opid op;
	struct buf found;
};

static void match_manifest(void *ctx, struct opid id, struct slice manifest)
{
	struct find_manifest *f = ctx;

	if (opid_eq(id, f->op) && !f->found.len)
		buf_slice_append(&f->found, manifest);
}

/* The next want whose manifest was not looked at yet; NULL = none. */
static struct want *unread_want(struct db *db)
{
	for (size_t i = 0; i < db->wants.count; i++) {
		if (!db->wants.items[i].m)
			return &db->wants.items[i];
	}
	return NULL;
}

static void read_want(struct txn *t, struct want *want)
{
	struct find_manifest f = {.op = want->op};
	struct txn_node *tn = txn_node(t, &want->node);
	struct manifest *m = NULL;
	struct manifest *lacking = NULL;
	struct doc *doc = NULL;

	if (tn && txn_doc(t, tn, &doc) == 0)
		doc_manifests(doc, match_manifest, &f);
	int r = manifest_decode(buf_slice(&f.found), &t->db->parts, &m, &lacking);
	/* Without a value there is nothing to wait for, nor where a part is not what it should be. */
	want->partial = r == -ENOENT;
	want->m = want->partial ? lacking
		  : r == 0	? wants_list(m)
				: manifest_create(CHUNK_ORDER_MIN);
	manifest_unref(m);
	buf_fini(&f.found);
}

/* Looks up chunks of what came, a part at a time. true: there is more to look up. */
static bool scan_some(struct db *db)
{
	struct txn *t = db_begin(db);
	struct want *want = unread_want(db);

	if (want)
		read_want(t, want);
	bool more = wants_scan(&db->wants, db->packs, SCAN_MAX) || unread_want(db);
	db_abort(t);
	return more;
}

/* Goes on with one want whose chunks are complete; false when there is none. */
static bool show_one(struct db *db, int *ret)
{
	struct txn *t = db_begin(db);
	struct want *want = wants_complete(&db->wants);

	if (!want) {
		db_abort(t);
		return false;
	}
	if (want->repair || want->partial) {
		if (want->repair)
			wants_remove(&db->wants, &want->node, want->op);
		else
			wants_look_again(&db->wants, want);
		db_abort(t);
		return true;
	}
	t->remote = true;
	*ret = txn_end_want(t, want);
	if (*ret < 0)
		db_abort(t);
	else
		*ret = db_commit_changed(t);
	return *ret == 0;
}

/* What was found damaged since the last time is remembered, and wanted. */
static int flush_damages(struct db *db)
{
	struct txn *t = db_begin(db);

	packs_stage_damages(db->packs, t->store);
	if (!store_is_dirty(t->store)) {
		db_abort(t);
		return 0;
	}
	want_damaged(db);
	return db_commit_changed(t);
}

static int flush_fresh(struct db *db)
{
	struct packs_batch *b = NULL;
	int r = packs_sync(db->packs, &b);

	if (r < 0 || !b)
		return r;
	struct txn *t = db_begin(db);
	packs_stage(db->packs, b, t->store);
	r = db_commit_quiet(t);
	db_lock(db);
	for (size_t i = 0; r == 0 && i < packs_batch_count(b); i++)
		wants_settled(&db->wants, packs_batch_id(b, i));
	packs_settle(db->packs, b, r == 0);
	mutex_unlock(&db->lock);
	return r;
}

/* Shows what is complete. What was parts of manifests so far is chunks then, which are to be asked for. */
static int show_all(struct db *db)
{
	int r = 0;

	do {
		while (scan_some(db))
			;
	} while (show_one(db, &r));
	return r;
}

int db_chunks_flush(struct db *db)
{
	mutex_lock(&db->flush_lock);
	__atomic_store_n(&db->chunks_due, false, __ATOMIC_RELAXED);
	int r = flush_fresh(db);
	if (r == 0)
		r = flush_damages(db);
	db_lock(db);
	bool wanted = db->wants.count > 0;
	uint64_t serial = db->wants.serial;
	mutex_unlock(&db->lock);
	if (r == 0 && wanted)
		r = show_all(db);
	db_lock(db);
	if (db->wants.serial != serial)
		db_unlock_changed(db); /* there is more to ask for */
	else
		mutex_unlock(&db->lock);
	mutex_unlock(&db->flush_lock);
	return r;
}

void db_chunks_hold(struct db *db)
{
	(void)__atomic_add_fetch(&db->imports, 1, __ATOMIC_SEQ_CST);
}

void db_chunks_release(struct db *db)
{
	(void)__atomic_sub_fetch(&db->imports, 1, __ATOMIC_SEQ_CST);
}

bool db_chunks_are_due(struct db *db)
{
	return __atomic_load_n(&db->chunks_due, __ATOMIC_RELAXED);
}

/* ---- peers ---------------------------------------------------------------------------------------- */

size_t db_chunks_ask(struct db *db, const struct wants_asking *a, struct chunk_id *ret)
{
	db_lock(db);
	bool idle = db->wants.count == 0;
	mutex_unlock(&db->lock);
	if (idle || db->limited || packs_fresh_bytes(db->packs) > DB_CHUNKS_FLUSH_BYTES)
		return 0;
	(void)scan_some(db);
	db_lock(db);
	size_t n = wants_ask(&db->wants, a, ret);
	mutex_unlock(&db->lock);
	return n;
}

uint64_t db_chunks_missing(struct db *db, const struct chunk_id *id)
{
	uint64_t length = 0;

	db_lock(db);
	(void)wants_is_missing(&db->wants, id, &length);
	mutex_unlock(&db->lock);
	return length;
}

uint64_t db_chunks_lacked(struct db *db, uint64_t peer, const struct chunk_id *id)
{
	db_lock(db);
	uint64_t serial = wants_lacked(&db->wants, peer, id);
	mutex_unlock(&db->lock);
	return serial;
}

void db_chunks_unask(struct db *db, uint64_t peer)
{
	db_lock(db);
	wants_unask(&db->wants, peer);
	mutex_unlock(&db->lock);
}

int db_chunks_arrived(struct db *db, const struct chunk_id *id, struct slice sealed)
{
	AUTO(buf_fini) struct buf bytes = {0};

	if (db_chunks_missing(db, id) == 0) /* nobody makes us store what nothing names */
		return 0;
	int r = chunk_open(&db->chunk_keys, id, sealed, &bytes);
	if (r == 0)
		r = packs_put(db->packs, id, buf_slice(&bytes));
	db_lock(db);
	db->wants.bad_count += r == -EBADMSG;
	if (r < 0) {
		mutex_unlock(&db->lock);
		return r;
	}
	wants_arrived(&db->wants, id);
	db->arrivals++;
	bool due = db->wants.missing_bytes == 0 || packs_fresh_bytes(db->packs) > FLUSH_SOON_BYTES;
	if (due)
		__atomic_store_n(&db->chunks_due, true, __ATOMIC_RELAXED);
	if (db->wants.missing_bytes == 0 || db->arrivals % TELL_EVERY == 0)
		db_unlock_changed(db); /* somebody may be waiting to flush, or to pass it on */
	else
		mutex_unlock(&db->lock);
	return packs_fresh_bytes(db->packs) > 2 * DB_CHUNKS_FLUSH_BYTES ? db_chunks_flush(db) : 1;
}

int db_chunks_send(struct db *db, const struct chunk_id *id, struct buf *out)
{
	AUTO(buf_fini) struct buf bytes = {0};
	int r = read_chunk(db, id, &bytes);

	if (r == 0)
		chunk_seal(&db->chunk_keys, id, buf_slice(&bytes), out);
	return r < 0 ? -ENOENT : 0;
}

uint64_t db_chunks_arrivals(struct db *db)
{
	db_lock(db);
	uint64_t n = db->arrivals;
	mutex_unlock(&db->lock);
	return n;
}
