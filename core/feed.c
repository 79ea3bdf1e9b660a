/*
 * Feeds: what is applied of every (stream, device), how this device's own loose changes become sealed
 * envelopes, in which order envelopes are passed on, and what other devices acknowledged.
 *
 *   f stream actor             varint seq, sealed, declared, lamport, folded; 32 bytes head; varint snap;
 *                              if that is not 0: varint filled, 32 bytes snap_head, 32 bytes fill_head
 *   c stream actor seq         an own change not yet sealed
 *   e stream actor seq_first   8 bytes arrival, 32 bytes hash of the envelope before, the envelope
 *   q arrival                  16 bytes stream, 8 bytes actor, varint seq_first, varint seq_last,
 *                              u8 1 = a stratum (core/strata.c), 0 = an envelope
 *   u device                   varint wall clock ms when it last showed that it lives, to a day
 *   v device stream actor      varint seq
 */
#include "core/db_i.h"

#include <stdlib.h>
#include <string.h>

/** Feeds remembered per device: what a hostile peer can make us store. */
#define ACKED_FEEDS_MAX 65536

void feed_key(struct buf *key, uint8_t prefix, const struct id *stream, uint64_t actor)
{
	(void)key_node(key, prefix, stream);
	buf_be64(key, actor);
}

struct id feed_stream_id(const struct db *db, const char *label, const struct id *node)
{
	const struct slice parts[] = {
		SLICE(db->id.b, sizeof(db->id.b)),
		SLICE_STR(label),
		SLICE(node->b, sizeof(node->b)),
	};

	return digest_id("blaze stream id", parts, countof(parts));
}

int feed_pos_cmp(const struct feed_pos *a, const struct feed_pos *b)
{
	int c = id_cmp(&a->stream, &b->stream);

	return c ? c : (a->actor > b->actor) - (a->actor < b->actor);
}

static int feed_cmp(const struct feed *f, const struct id *stream, uint64_t actor)
{
	int c = id_cmp(&f->stream, stream);

	return c ? c : (f->actor > actor) - (f->actor < actor);
}

/* Index of the first feed that is not before (stream, actor). */
static size_t feed_index(const struct db *db, const struct id *stream, uint64_t actor)
{
	size_t lo = 0;
	size_t hi = db->feed_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (feed_cmp(&db->feeds[mid], stream, actor) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct feed *feed_find(const struct db *db, const struct id *stream, uint64_t actor)
{
	size_t i = feed_index(db, stream, actor);

	return i < db->feed_count && feed_cmp(&db->feeds[i], stream, actor) == 0 ? &db->feeds[i]
										 : NULL;
}

static void feed_set(struct db *db, const struct feed *f)
{
	size_t i = feed_index(db, &f->stream, f->actor);

	if (i == db->feed_count || feed_cmp(&db->feeds[i], &f->stream, f->actor) != 0) {
		db->feeds = xreallocarray(db->feeds, db->feed_count + 1, sizeof(*db->feeds));
		memmove(db->feeds + i + 1, db->feeds + i, (db->feed_count - i) * sizeof(*db->feeds));
		db->feed_count++;
	}
	db->feeds[i] = *f;
}

void feed_publish(struct txn *t)
{
	for (size_t i = 0; i < t->feed_count; i++)
		feed_set(t->db, &t->feeds[i]);
}

void feed_write(struct txn *t, const struct feed *f)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	feed_key(&key, 'f', &f->stream, f->actor);
	buf_varint(&value, f->seq);
	buf_varint(&value, f->sealed);
	buf_varint(&value, f->declared);
	buf_varint(&value, f->lamport);
	buf_varint(&value, f->folded);
	buf_append(&value, f->head, sizeof(f->head));
	buf_varint(&value, f->snap);
	if (f->snap) {
		buf_varint(&value, f->filled);
		buf_append(&value, f->snap_head, sizeof(f->snap_head));
		buf_append(&value, f->fill_head, sizeof(f->fill_head));
	}
	store_put(t->store, buf_slice(&key), buf_slice(&value));
}

struct load {
	struct db *db;
	bool bad;
};

static bool load_feed(void *ctx, struct slice key, struct slice value)
{
	struct load *l = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct feed f = {0};

	(void)reader_u8(&k);
	f.stream = id_read(&k);
	f.actor = reader_be64(&k);
	f.seq = reader_varint(&v);
	f.sealed = reader_varint(&v);
	f.declared = reader_varint(&v);
	f.lamport = reader_varint(&v);
	f.folded = reader_varint(&v);
	reader_copy(&v, f.head, sizeof(f.head));
	f.snap = reader_varint(&v);
	if (f.snap) {
		f.filled = reader_varint(&v);
		reader_copy(&v, f.snap_head, sizeof(f.snap_head));
		reader_copy(&v, f.fill_head, sizeof(f.fill_head));
	}
	if (reader_finish(&k) < 0 || reader_finish(&v) < 0 || f.sealed > f.seq) {
		l->bad = true;
		return false;
	}
	if (f.lamport > l->db->lamport)
		l->db->lamport = f.lamport;
	feed_set(l->db, &f);
	return true;
}

struct acked *feed_acked_of(struct db *db, uint64_t device)
{
	for (size_t i = 0; i < db->acked_count; i++) {
		if (db->acked[i].device == device)
			return &db->acked[i];
	}
	db->acked = xreallocarray(db->acked, db->acked_count + 1, sizeof(*db->acked));
	struct acked *a = &db->acked[db->acked_count++];
	*a = (struct acked){.device = device};
	return a;
}

static size_t pos_index(const struct feed_pos *vv, size_t count, const struct feed_pos *at)
{
	size_t lo = 0;
	size_t hi = count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (feed_pos_cmp(&vv[mid], at) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t feed_pos_seq(const struct feed_pos *vv, size_t count, const struct id *stream,
		      uint64_t actor)
{
	struct feed_pos at = {.stream = *stream, .actor = actor};
	size_t i = pos_index(vv, count, &at);

	return i < count && feed_pos_cmp(&vv[i], &at) == 0 ? vv[i].seq : 0;
}

/* Raises the entry for p; true if that was news. */
static bool acked_raise(struct acked *a, const struct feed_pos *p)
{
	size_t i = pos_index(a->pos, a->count, p);

	if (i < a->count && feed_pos_cmp(&a->pos[i], p) == 0) {
		if (a->pos[i].seq >= p->seq)
			return false;
	} else {
		a->pos = xreallocarray(a->pos, a->count + 1, sizeof(*a->pos));
		memmove(a->pos + i + 1, a->pos + i, (a->count - i) * sizeof(*a->pos));
		a->count++;
	}
	a->pos[i] = *p;
	return true;
}

static bool load_acked(void *ctx, struct slice key, struct slice value)
{
	struct load *l = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct feed_pos p = {0};

	(void)reader_u8(&k);
	uint64_t device = reader_be64(&k);
	p.stream = id_read(&k);
	p.actor = reader_be64(&k);
	p.seq = reader_varint(&v);
	if (reader_finish(&k) < 0 || reader_finish(&v) < 0) {
		l->bad = true;
		return false;
	}
	(void)acked_raise(feed_acked_of(l->db, device), &p);
	return true;
}

static bool load_heard(void *ctx, struct slice key, struct slice value)
{
	struct load *l = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);

	(void)reader_u8(&k);
	uint64_t device = reader_be64(&k);
	uint64_t heard_ms = reader_varint(&v);
	l->bad = l->bad || reader_finish(&k) < 0 || reader_finish(&v) < 0;
	if (!l->bad)
		feed_acked_of(l->db, device)->heard_ms = heard_ms;
	return !l->bad;
}

int feed_load(struct db *db)
{
	struct store_txn *t = store_begin(db->store);
	struct load l = {.db = db};
	int r = store_scan(t, SLICE_STR("f"), SLICE("", 0), load_feed, &l);

	if (r == 0)
		r = store_scan(t, SLICE_STR("v"), SLICE("", 0), load_acked, &l);
	if (r == 0)
		r = store_scan(t, SLICE_STR("u"), SLICE("", 0), load_heard, &l);
	store_abort(t);
	return r == 0 && l.bad ? -EBADMSG : r;
}

/* ---- sealing ---------------------------------------------------------------------------------- */

void feed_arrival_key(struct buf *key, uint64_t arrival)
{
	buf_clear(key);
	buf_u8(key, 'q');
	buf_be64(key, arrival);
}

void feed_arrival_value(struct buf *value, const struct feed *f, uint64_t first, uint64_t last,
			bool packed)
{
	buf_clear(value);
	id_write(value, &f->stream);
	buf_be64(value, f->actor);
	buf_varint(value, first);
	buf_varint(value, last);
	buf_u8(value, packed);
}

static void arrive(struct txn *t, const struct feed *f, uint64_t seq_first, uint64_t count,
		   struct slice envelope)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	uint64_t arrival = t->arrival++;

	feed_key(&key, 'e', &f->stream, f->actor);
	buf_be64(&key, seq_first);
	buf_be64(&value, arrival);
	buf_append(&value, f->head, sizeof(f->head));
	buf_slice_append(&value, envelope);
	store_put(t->store, buf_slice(&key), buf_slice(&value));

	feed_arrival_key(&key, arrival);
	feed_arrival_value(&value, f, seq_first, seq_first + count - 1, false);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
}

void feed_arrive(struct txn *t, struct feed *f, uint64_t seq_first, uint64_t count,
		 struct slice envelope)
{
	struct envelope_place at = epoch_place(t->db, &f->stream, f->actor);

	memcpy(at.prev, f->head, sizeof(at.prev));
	arrive(t, f, seq_first, count, envelope);
	envelope_hash(&at, envelope, f->head);
	f->sealed = seq_first + count - 1;
}

/* HEARD: what was made before and after it does not go into one envelope. */
static uint64_t seal_limit(const struct db *db, const struct feed *f)
{
	const struct member *own = member_find(db, db->actor);
	uint64_t heard = own ? member_heard(db, own, &f->stream) : UINT64_MAX;

	return f->sealed < heard && heard < f->seq ? heard : f->seq;
}

/* Takes as many loose changes as fit into one envelope. */
static int seal_next(struct txn *t, struct feed *f)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf envelope = {0};
	struct buf loose[ENVELOPE_CHANGES_MAX] = {{0}};
	struct slice slices[ENVELOPE_CHANGES_MAX];
	size_t count = 0;
	size_t bytes = 0;
	uint64_t limit = seal_limit(t->db, f);
	int r = 0;

	while (count < ENVELOPE_CHANGES_MAX && f->sealed + count < limit) {
		feed_key(&key, 'c', &f->stream, f->actor);
		buf_be64(&key, f->sealed + count + 1);
		r = store_get(t->store, buf_slice(&key), &loose[count]);
		if (r < 0 || (count > 0 && bytes + loose[count].len > ENVELOPE_GATHER_BYTES))
			break;
		bytes += loose[count].len;
		slices[count] = buf_slice(&loose[count]);
		store_delete(t->store, buf_slice(&key));
		count++;
	}
	if (count > 0) {
		struct envelope_place at = epoch_place(t->db, &f->stream, f->actor);

		memcpy(at.prev, f->head, sizeof(at.prev));
		envelope_seal(&at, t->db->keys, f->sealed + 1, slices, count, &envelope);
		feed_arrive(t, f, f->sealed + 1, count, buf_slice(&envelope));
	}
	for (size_t i = 0; i < countof(loose); i++)
		buf_fini(&loose[i]);
	return count > 0 ? 0 : r == -ENOENT ? -EIO : r;
}

/* The first own feed with loose changes, or NULL. The root stream goes first: it names the others. */
static const struct feed *loose_feed(const struct db *db)
{
	const struct feed *found = NULL;

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor != db->actor || f->sealed == f->seq)
			continue;
		if (id_eq(&f->stream, &db->auth_stream))
			return f;
		if (!found || id_eq(&f->stream, &db->root_stream))
			found = f;
	}
	return found;
}

bool feed_has_loose(const struct db *db)
{
	return loose_feed(db) != NULL;
}

static bool is_auth_due(struct db *db)
{
	db_lock(db);
	bool due = db->auth_due;
	mutex_unlock(&db->lock);
	return due;
}

int db_seal(struct db *db)
{
	int err = is_auth_due(db) ? member_tend(db) : 0;

	if (err == 0)
		err = quarantine_retry(db);
	if (err < 0)
		return err;
	for (;;) {
		struct txn *t = db_begin(db);
		const struct feed *f = loose_feed(db);

		if (!f) {
			db_abort(t);
			return 0;
		}
		int r = seal_next(t, txn_feed(t, &f->stream, f->actor));
		if (r < 0) {
			db_abort(t);
			return r;
		}
		r = db_commit_quiet(t);
		if (r < 0)
			return r;
	}
}

/* ---- passing on ------------------------------------------------------------------------------- */

size_t db_have(struct db *db, struct feed_pos **ret)
{
	size_t n = 0;

	db_lock(db);
	struct feed_pos *vv = xcalloc(db->feed_count, sizeof(*vv));
	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->sealed && snapshot_covers(db, f))
			vv[n++] = (struct feed_pos){
				.stream = f->stream, .actor = f->actor, .seq = f->sealed};
	}
	mutex_unlock(&db->lock);
	*ret = vv;
	return n;
}

struct pick {
	const struct feed_pos *vv;
	size_t vv_count;
	uint64_t arrival;
	struct feed_pos pos; /**< seq = first of the envelope */
	uint64_t last;
	bool packed;
	bool found;
	bool bad;
};

static bool pick_wanted(void *ctx, struct slice key, struct slice value)
{
	struct pick *p = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);

	(void)reader_u8(&k);
	p->arrival = reader_be64(&k);
	p->pos.stream = id_read(&v);
	p->pos.actor = reader_be64(&v);
	p->pos.seq = reader_varint(&v);
	p->last = reader_varint(&v);
	p->packed = reader_u8(&v);
	p->bad = reader_finish(&k) < 0 || reader_finish(&v) < 0;
	uint64_t have = feed_pos_seq(p->vv, p->vv_count, &p->pos.stream, p->pos.actor);
	/* What would leave a gap is of no use there. */
	p->found = !p->bad && p->last > have && p->pos.seq <= have + 1;
	return !p->found && !p->bad;
}

/* Where the earliest envelope stands that vv lacks; 1 when that cannot be told quickly. */
static uint64_t first_missing(struct txn *t, const struct feed_pos *vv, size_t vv_count)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	uint64_t first = t->arrival;

	for (size_t i = 0; i < t->db->feed_count; i++) {
		const struct feed *f = &t->db->feeds[i];
		uint64_t have = feed_pos_seq(vv, vv_count, &f->stream, f->actor);

		if (have >= f->sealed)
			continue;
		feed_key(&key, 'e', &f->stream, f->actor);
		buf_be64(&key, have + 1);
		if (strata_find(t->store, &f->stream, f->actor, have + 1, &value) < 0 &&
		    store_get(t->store, buf_slice(&key), &value) < 0)
			return 1;
		struct reader r = reader_init(buf_slice(&value));
		uint64_t arrival = reader_be64(&r);
		if (arrival < first)
			first = arrival;
	}
	return first;
}

int db_next_envelope(struct db *db, uint64_t *cursor, const struct feed_pos *vv, size_t vv_count,
		     struct feed_item *ret_item, struct buf *ret)
{
	AUTO(buf_fini) struct buf from = {0};
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct pick p = {.vv = vv, .vv_count = vv_count};
	struct txn *t = db_begin(db);
	int r = 0;

	if (*cursor == 0)
		*cursor = first_missing(t, vv, vv_count);
	if (*cursor < t->arrival) {
		buf_u8(&from, 'q');
		buf_be64(&from, *cursor);
		r = store_scan(t->store, SLICE_STR("q"), buf_slice(&from), pick_wanted, &p);
		*cursor = p.found ? p.arrival + 1 : t->arrival;
	}
	if (r == 0 && p.bad)
		r = -EIO;
	size_t head = p.packed ? STRATUM_HEAD_BYTES : ENVELOPE_HEAD_BYTES;
	if (r == 0 && p.found) {
		feed_key(&key, p.packed ? 'C' : 'e', &p.pos.stream, p.pos.actor);
		buf_be64(&key, p.packed ? p.last : p.pos.seq);
		r = store_get(t->store, buf_slice(&key), ret);
		if (r == -ENOENT || (r == 0 && ret->len < head))
			r = -EIO;
	}
	db_abort(t);
	if (r < 0 || !p.found)
		return r;
	*ret_item = (struct feed_item){.pos = p.pos, .packed = p.packed};
	if (!p.packed)
		memcpy(ret_item->prev, ret->data + head - DIGEST_BYTES, DIGEST_BYTES);
	memmove(ret->data, ret->data + head, ret->len - head);
	ret->len -= head;
	ret_item->pos.seq = p.last;
	return 1;
}

int db_thin_envelope(struct db *db, uint64_t peer, const struct feed_item *item,
		     struct slice envelope, struct buf *out)
{
	struct envelope_place at = epoch_place(db, &item->pos.stream, item->pos.actor);

	db_lock(db);
	const struct member *m = member_find(db, peer);
	bool may = m && member_is_current(m) && m->role >= MEMBER_READ;
	mutex_unlock(&db->lock);
	if (!may)
		return -EACCES;
	memcpy(at.prev, item->prev, sizeof(at.prev));
	return envelope_thin(&at, envelope, out);
}

/* ---- acknowledgements ------------------------------------------------------------------------- */

static uint64_t own_sealed(const struct db *db, const struct id *stream)
{
	const struct feed *f = feed_find(db, stream, db->actor);

	return f ? f->sealed : 0;
}

int db_set_acked(struct db *db, uint64_t device, const struct feed_pos *vv, size_t count)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	bool news = false;

	if (device == db->actor)
		return 0;
	struct txn *t = db_begin(db);
	if (!member_find(db, device)) {
		db_abort(t);
		return 0;
	}
	struct acked *a = feed_acked_of(db, device);
	for (size_t i = 0; i < count; i++) {
		struct feed_pos p = vv[i];

		if (p.actor == db->actor && p.seq > own_sealed(db, &p.stream))
			continue; /* nobody can hold what was not made yet */

		/* A peer may well hold what has not arrived here yet; only how much of it is bounded. */
		if (p.seq == 0 || a->count >= ACKED_FEEDS_MAX || !acked_raise(a, &p))
			continue;
		news = true;
		buf_clear(&key);
		buf_clear(&value);
		buf_u8(&key, 'v');
		buf_be64(&key, device);
		id_write(&key, &p.stream);
		buf_be64(&key, p.actor);
		buf_varint(&value, p.seq);
		store_put(t->store, buf_slice(&key), buf_slice(&value));
	}
	if (!news) {
		db_abort(t);
		return 0;
	}
	(void)compact_heard(t, a);
	int r = db_commit_changed(t);
	return r < 0 ? r : 1;
}

size_t db_get_acked(struct db *db, uint64_t device, struct feed_pos **ret)
{
	db_lock(db);
	const struct acked *a = feed_acked_of(db, device);
	size_t n = a->count;

	*ret = xmemdup(a->pos, n * sizeof(*a->pos));
	mutex_unlock(&db->lock);
	return n;
}

/* Own changes that this device did not acknowledge. */
static uint64_t behind_locked(struct db *db, uint64_t device)
{
	const struct acked *a = feed_acked_of(db, device);
	const struct member *m = member_find(db, device);
	uint64_t n = 0;

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor != db->actor || (m && !grant_covers(db, m, &f->stream)))
			continue;
		uint64_t acked = feed_pos_seq(a->pos, a->count, &f->stream, f->actor);
		n += f->seq > acked ? f->seq - acked : 0;
	}
	return n;
}

uint64_t db_peer_behind(struct db *db, uint64_t peer)
{
	db_lock(db);
	uint64_t n = behind_locked(db, peer);
	mutex_unlock(&db->lock);
	return n;
}

/* A relay is not one of a person's devices: what only it has, and in part, is not safe. */
static bool is_waited_for(const struct member *m)
{
	return member_is_current(m) && m->role != MEMBER_RELAY;
}

bool db_is_acked(struct db *db)
{
	bool all = true;

	db_lock(db);
	for (size_t i = 0; i < db->member_count; i++) {
		uint64_t device = db->members[i].device.actor;

		all = all && (device == db->actor || !is_waited_for(&db->members[i]) ||
			      behind_locked(db, device) == 0);
	}
	mutex_unlock(&db->lock);
	return all;
}

uint64_t feed_pending_locked(struct db *db)
{
	uint64_t n = 0;

	for (size_t i = 0; i < db->member_count; i++) {
		uint64_t device = db->members[i].device.actor;
		bool counts = device != db->actor && is_waited_for(&db->members[i]);
		uint64_t behind = counts ? behind_locked(db, device) : 0;

		n = behind > n ? behind : n;
	}
	return n;
}
