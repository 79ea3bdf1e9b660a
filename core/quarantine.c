/* What is kept for a person to decide; see quarantine.h. */
#include "core/db_i.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES DIGEST_BYTES

static void entry_key(struct buf *key, const struct id *stream, uint64_t actor, uint64_t first)
{
	buf_clear(key);
	feed_key(key, 'Q', stream, actor);
	buf_be64(key, first);
}

static bool is_of(const struct kept *k, const struct id *stream, uint64_t actor)
{
	return k->actor == actor && id_eq(&k->stream, stream);
}

const struct kept *quarantine_find(const struct db *db, const struct id *stream, uint64_t actor)
{
	for (size_t i = 0; i < db->kept_count; i++) {
		if (is_of(&db->kept[i], stream, actor))
			return &db->kept[i];
	}
	return NULL;
}

/* This transaction's copy, created if new. Valid until the next call. */
static struct kept *stage(struct txn *t, const struct id *stream, uint64_t actor)
{
	const struct kept *now = quarantine_find(t->db, stream, actor);

	for (size_t i = 0; i < t->kept_count; i++) {
		if (is_of(&t->kept[i], stream, actor))
			return &t->kept[i];
	}
	t->kept = xreallocarray(t->kept, t->kept_count + 1, sizeof(*t->kept));
	struct kept *k = &t->kept[t->kept_count++];
	*k = now ? *now : (struct kept){.stream = *stream, .actor = actor};
	return k;
}

static void set(struct db *db, const struct kept *k)
{
	size_t i = 0;

	while (i < db->kept_count && !is_of(&db->kept[i], &k->stream, k->actor))
		i++;
	if (k->count == 0 && i < db->kept_count) {
		db->kept[i] = db->kept[--db->kept_count];
	} else if (k->count > 0) {
		if (i == db->kept_count)
			db->kept = xreallocarray(db->kept, ++db->kept_count, sizeof(*db->kept));
		db->kept[i] = *k;
	}
}

void quarantine_publish(struct txn *t)
{
	for (size_t i = 0; i < t->kept_count; i++)
		set(t->db, &t->kept[i]);
	t->db->kept_revision += t->kept_count > 0;
}

/* ---- what is there ------------------------------------------------------------------------------ */

struct load {
	struct db *db;
	bool bad;
};

static bool load_one(void *ctx, struct slice key, struct slice value)
{
	struct load *l = ctx;
	struct reader k = reader_init(key);
	struct envelope_range range;

	(void)reader_u8(&k);
	struct id stream = id_read(&k);
	uint64_t actor = reader_be64(&k);
	uint64_t first = reader_be64(&k);
	l->bad = reader_finish(&k) < 0 || value.len < HEAD_BYTES ||
		 envelope_range(SLICE(value.data + HEAD_BYTES, value.len - HEAD_BYTES), &range) < 0 ||
		 range.seq_first != first;
	if (l->bad)
		return false;
	const struct kept *now = quarantine_find(l->db, &stream, actor);
	struct kept all =
		now ? *now : (struct kept){.stream = stream, .actor = actor, .first = first};
	all.last = first + range.count - 1;
	all.count++;
	all.bytes += value.len;
	memcpy(all.head, value.data, sizeof(all.head));
	set(l->db, &all);
	return true;
}

int quarantine_load(struct db *db)
{
	struct store_txn *t = store_begin(db->store);
	struct load l = {.db = db};
	int r = store_scan(t, SLICE_STR("Q"), SLICE("", 0), load_one, &l);

	store_abort(t);
	db->kept_due = db->kept_count > 0;
	return r == 0 && l.bad ? -EBADMSG : r;
}

int quarantine_read(struct txn *t, const struct kept *k, uint64_t first, struct buf *ret,
		    struct kept_envelope *ret_e)
{
	AUTO(buf_fini) struct buf key = {0};
	struct envelope_range range;

	entry_key(&key, &k->stream, k->actor, first);
	int r = store_get(t->store, buf_slice(&key), ret);
	if (r == 0 && ret->len < HEAD_BYTES)
		r = -EIO;
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	ret_e->envelope = SLICE(ret->data + HEAD_BYTES, ret->len - HEAD_BYTES);
	if (envelope_range(ret_e->envelope, &range) < 0)
		return -EIO;
	ret_e->hash = ret->data;
	ret_e->last = range.seq_first + range.count - 1;
	return 0;
}

/* ---- keeping ------------------------------------------------------------------------------------ */

static void refusal_key(struct buf *key, uint64_t actor)
{
	buf_u8(key, 'R');
	buf_be64(key, actor);
}

static bool is_refused(struct txn *t, const struct member *m)
{
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf value = {0};

	refusal_key(&key, m->device.actor);
	if (store_get(t->store, buf_slice(&key), &value) < 0)
		return false;
	struct reader r = reader_init(buf_slice(&value));
	const struct opid id = {.lamport = reader_be64(&r), .actor = reader_be64(&r)};
	return !r.bad && opid_eq(id, m->removal);
}

static bool has_room(const struct db *db, uint64_t actor, size_t len)
{
	uint64_t all = len;
	uint64_t bytes = len;
	uint64_t count = 1;

	for (size_t i = 0; i < db->kept_count; i++) {
		const struct kept *k = &db->kept[i];

		all += k->bytes;
		bytes += k->actor == actor ? k->bytes : 0;
		count += k->actor == actor ? k->count : 0;
	}
	return all <= QUARANTINE_ALL_BYTES_MAX && bytes <= QUARANTINE_BYTES_MAX &&
	       count <= QUARANTINE_COUNT_MAX;
}

/* What is in it can be read, and may be applied one day. */
static int check_content(struct slice body, uint64_t count, uint64_t actor)
{
	struct reader r = reader_init(body);
	int err = 0;

	for (uint64_t i = 0; err == 0 && i < count; i++) {
		struct change c = {0};
		struct slice bytes = reader_bytes(&r, body.len);

		err = r.bad ? -EBADMSG : change_decode(bytes, actor, &c);
		if (err == 0)
			change_fini(&c);
	}
	return err == 0 ? reader_finish(&r) : err;
}

/* Something that is kept already, or another envelope in its place: the device tells different things. */
static int compare(struct txn *t, const struct kept *k, const struct envelope_range *range,
		   struct slice envelope)
{
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf value = {0};

	if (!k || range->seq_first < k->first)
		return 0; /* applied */
	entry_key(&key, &k->stream, k->actor, range->seq_first);
	int r = store_get(t->store, buf_slice(&key), &value);
	if (r < 0)
		return r == -ENOENT ? -EBADMSG : r;
	return value.len > HEAD_BYTES &&
			       slice_eq(SLICE(value.data + HEAD_BYTES, value.len - HEAD_BYTES),
					envelope)
		       ? -EEXIST
		       : -EBADMSG;
}

static int keep(struct txn *t, const struct member *m, const struct envelope_place *at,
		struct slice envelope, const struct envelope_range *range)
{
	AUTO(buf_fini) struct buf body = {0};
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf value = {0};
	int r = envelope_open(at, m->device.sign_pk, envelope, &body);

	if (r == 0)
		r = check_content(buf_slice(&body), range->count, at->actor);
	if (r < 0)
		return r == -ENOKEY ? -EACCES : r; /* under a key that it was not given */
	struct kept *k = stage(t, &at->stream, at->actor);
	envelope_hash(at, envelope, k->head);
	buf_append(&value, k->head, sizeof(k->head));
	buf_slice_append(&value, envelope);
	entry_key(&key, &at->stream, at->actor, range->seq_first);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	k->first = k->count ? k->first : range->seq_first;
	k->last = range->seq_first + range->count - 1;
	k->count++;
	k->bytes += value.len;
	return DB_KEPT;
}

/* Whether work of this kind is kept at all, for this device to show. */
static bool is_kept_of(const struct db *db, const struct member *m, const struct id *stream)
{
	const struct member *own = member_find(db, db->actor);

	return m->was_cut && m != own && own && member_is_current(own) && !db->limited &&
	       !id_eq(stream, &db->auth_stream) && (m->removed || m->role < MEMBER_WRITE);
}

int quarantine_take(struct txn *t, const struct id *stream, uint64_t actor, struct slice envelope)
{
	const struct db *db = t->db;
	const struct member *m = member_find(db, actor);
	const struct kept *k = quarantine_find(db, stream, actor);
	const struct feed *have = feed_find(db, stream, actor);
	struct envelope_place at = epoch_place(db, stream, actor);
	struct envelope_range range;
	int r = envelope_range(envelope, &range);

	if (r < 0)
		return r;
	uint64_t last = range.seq_first + range.count - 1;
	uint64_t after = k ? k->last : have ? have->seq : 0;
	if (db->installing || db->snapshot_taker || member_may_write(db, m, stream, last))
		return -EAGAIN;
	if (!is_kept_of(db, m, stream) || is_refused(t, m) || last > member_heard(db, m, stream) ||
	    (range.seq_first > after && !has_room(db, actor, envelope.len)))
		return -EACCES;
	if (range.seq_first <= after)
		return compare(t, k, &range, envelope);
	if (range.seq_first != after + 1)
		return -EAGAIN;
	if (k || have)
		memcpy(at.prev, k ? k->head : have->head, sizeof(at.prev));
	return keep(t, m, &at, envelope, &range);
}

/* ---- what becomes of it ---------------------------------------------------------------------------- */

/* Takes the first off. */
static void shift(struct txn *t, struct kept *k, uint64_t last, size_t len)
{
	AUTO(buf_fini) struct buf key = {0};

	entry_key(&key, &k->stream, k->actor, k->first);
	store_delete(t->store, buf_slice(&key));
	k->first = last + 1;
	k->bytes -= len;
	k->count--;
}

struct drop {
	struct txn *t;
	struct kept *k;
	uint64_t beyond; /* what ends after this goes */
	uint64_t kept;
};

static bool drop_one(void *ctx, struct slice key, struct slice value)
{
	struct drop *d = ctx;
	struct envelope_range range = {0};

	(void)envelope_range(SLICE(value.data + HEAD_BYTES, value.len - HEAD_BYTES), &range);
	uint64_t last = range.seq_first + range.count - 1;
	if (last > d->beyond) {
		store_delete(d->t->store, key);
		return true;
	}
	d->k->count++;
	d->k->bytes += value.len;
	d->k->last = last;
	memcpy(d->k->head, value.data, sizeof(d->k->head));
	return true;
}

int quarantine_drop(struct txn *t, const struct kept *which, uint64_t beyond)
{
	AUTO(buf_fini) struct buf prefix = {0};
	struct kept *k = stage(t, &which->stream, which->actor);
	struct drop d = {.t = t, .k = k, .beyond = beyond};

	feed_key(&prefix, 'Q', &k->stream, k->actor);
	k->count = k->bytes = 0;
	store_frees_space(t->store);
	return store_scan(t->store, buf_slice(&prefix), SLICE("", 0), drop_one, &d);
}

int quarantine_refuse(struct txn *t, uint64_t actor)
{
	AUTO(buf_fini) struct buf key = {0};
	AUTO(buf_fini) struct buf value = {0};
	const struct member *m = member_find(t->db, actor);
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->db->kept_count; i++) {
		if (t->db->kept[i].actor == actor)
			r = quarantine_drop(t, &t->db->kept[i], 0);
	}
	refusal_key(&key, actor);
	buf_be64(&value, m->removal.lamport);
	buf_be64(&value, m->removal.actor);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	return r;
}

/* Whether ADOPT names something else in the place of this envelope. */
static bool is_passed_over(const struct member *m, const struct kept *k,
			   const struct kept_envelope *e)
{
	const struct adopted *a = member_adopted(m, &k->stream, k->first);

	return a && (a->first != k->first || a->last != e->last ||
		     memcmp(a->hash, e->hash, sizeof(a->hash)) != 0);
}

/* The first of what is kept of a feed. 1 = something was done, 0 = nothing is to be done now. */
static int settle_first(struct txn *t, const struct kept *k)
{
	AUTO(buf_fini) struct buf value = {0};
	const struct member *m = member_find(t->db, k->actor);
	const struct feed *have = feed_find(t->db, &k->stream, k->actor);
	struct kept_envelope e;
	uint64_t heard = m ? member_heard(t->db, m, &k->stream) : 0;
	int r = quarantine_read(t, k, k->first, &value, &e);

	if (r < 0)
		return r;
	if (k->first <= (have ? have->seq : 0)) {
		shift(t, stage(t, &k->stream, k->actor), e.last, value.len);
		return 1; /* it came otherwise */
	}
	r = db_apply_admits(t->db, &k->stream, k->actor, e.last, e.hash);
	if (r == 0) {
		r = db_apply_next(t, &k->stream, k->actor, e.envelope);
		if (r > 0)
			shift(t, stage(t, &k->stream, k->actor), e.last, value.len);
		t->db->kept_waiting = t->db->kept_waiting || r == -EAGAIN;
	}
	if (m && is_passed_over(m, k, &e))
		return -EBADMSG;
	if (r == -EACCES && k->last > heard) {
		r = quarantine_drop(t, k, heard);
		return r < 0 ? r : 1;
	}
	return r == -EAGAIN || r == -EACCES ? 0 : r;
}

/* One transaction. 1 = there may be more. */
static int retry_feed(struct db *db, size_t i)
{
	struct txn *t = db_begin(db);
	t->remote = true;
	int r = i < db->kept_count ? settle_first(t, &db->kept[i]) : 0;
	if (r == -EBADMSG) {
		/* It cannot be what it was adopted for, or something else was: nobody will ever apply it. */
		flags_raise(db, db->kept[i].actor, FLAG_FEED);
		db_restart(t);
		r = quarantine_drop(t, &db->kept[i], 0);
		r = r < 0 ? r : 1;
	}
	if (r <= 0) {
		db_abort(t);
		return r;
	}
	int err = db_commit(t);
	return err < 0 ? err : 1;
}

static size_t begin_retry(struct db *db)
{
	db_lock(db);
	size_t count = db->kept_due ? db->kept_count : 0;
	db->kept_due = false;
	db->kept_waiting = count > 0 ? false : db->kept_waiting;
	mutex_unlock(&db->lock);
	return count;
}

int quarantine_retry(struct db *db)
{
	size_t count = begin_retry(db);
	bool moved = count > 0;
	int r = 0;

	/* What one feed waits for may be in another; a feed that is done with makes room for the last one. */
	while (r >= 0 && moved) {
		moved = false;
		for (size_t i = 0; r >= 0 && i < count; i++) {
			while ((r = retry_feed(db, i)) > 0)
				moved = true;
		}
	}
	return r < 0 ? r : 0;
}

/* ---- for core/sync_kept.c -------------------------------------------------------------------------- */

static int pos_cmp(const void *a, const void *b)
{
	return feed_pos_cmp(a, b);
}

size_t db_kept(struct db *db, struct feed_pos **ret)
{
	db_lock(db);
	size_t n = db->kept_count;
	struct feed_pos *list = xcalloc(n, sizeof(*list));
	for (size_t i = 0; i < n; i++) {
		const struct kept *k = &db->kept[i];

		list[i] = (struct feed_pos){.stream = k->stream, .actor = k->actor, .seq = k->last};
	}
	mutex_unlock(&db->lock);
	if (n)
		qsort(list, n, sizeof(*list), pos_cmp);
	*ret = list;
	return n;
}

uint64_t db_kept_revision(struct db *db)
{
	db_lock(db);
	uint64_t revision = db->kept_revision + 1;
	mutex_unlock(&db->lock);
	return revision;
}

/* Where a feed stands with what is kept of it. */
static uint64_t stands_at(const struct db *db, const struct id *stream, uint64_t actor)
{
	const struct kept *k = quarantine_find(db, stream, actor);
	const struct feed *f = feed_find(db, stream, actor);

	return k ? k->last : f ? f->sealed : 0;
}

bool db_lacks_kept(struct db *db, const struct feed_pos *theirs, size_t count)
{
	struct txn *t = db_begin(db);
	bool lacks = false;

	for (size_t i = 0; i < count && !lacks; i++) {
		const struct feed_pos *p = &theirs[i];
		const struct member *m = member_find(db, p->actor);

		lacks = m && is_kept_of(db, m, &p->stream) && !is_refused(t, m) &&
			p->seq > stands_at(db, &p->stream, p->actor) && has_room(db, p->actor, 0);
	}
	db_abort(t);
	return lacks;
}

int db_next_kept(struct db *db, const struct feed_pos *after, struct feed_item *ret_item,
		 struct buf *ret)
{
	struct txn *t = db_begin(db);
	const struct kept *k = quarantine_find(db, &after->stream, after->actor);
	struct kept_envelope e = {0};
	bool found = k && after->seq + 1 >= k->first && after->seq < k->last &&
		     quarantine_read(t, k, after->seq + 1, ret, &e) == 0;

	db_abort(t);
	if (!found)
		return 0;
	*ret_item = (struct feed_item){.pos = *after};
	ret_item->pos.seq = e.last;
	memmove(ret->data, e.envelope.data, e.envelope.len);
	ret->len = e.envelope.len;
	return 1;
}

size_t db_have_of(struct db *db, uint64_t actor, struct feed_pos **ret)
{
	struct txn *t = db_begin(db);
	const struct member *m = member_find(db, actor);
	struct feed_pos *list = xcalloc(db->feed_count + db->kept_count, sizeof(*list));
	bool refused = m && is_refused(t, m);
	size_t n = 0;

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor == actor && f->sealed && !id_eq(&f->stream, &db->auth_stream))
			list[n++] = (struct feed_pos){.stream = f->stream, .actor = actor};
	}
	for (size_t i = 0; i < db->kept_count; i++) {
		const struct kept *k = &db->kept[i];

		if (k->actor == actor && !feed_find(db, &k->stream, actor))
			list[n++] = (struct feed_pos){.stream = k->stream, .actor = actor};
	}
	for (size_t i = 0; i < n; i++)
		list[i].seq = refused ? INT64_MAX : stands_at(db, &list[i].stream, actor);
	db_abort(t);
	if (n)
		qsort(list, n, sizeof(*list), pos_cmp);
	*ret = list;
	return n;
}

bool db_is_outside(struct db *db, uint64_t actor)
{
	db_lock(db);
	const struct member *m = member_find(db, actor);
	bool outside = m && m->removed;
	mutex_unlock(&db->lock);
	return outside;
}

size_t db_have_of_others(struct db *db, struct feed_pos **ret)
{
	size_t n = 0;

	db_lock(db);
	struct feed_pos *list = xcalloc(db->feed_count, sizeof(*list));
	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor != db->actor && !id_eq(&f->stream, &db->auth_stream))
			list[n++] = (struct feed_pos){
				.stream = f->stream, .actor = f->actor, .seq = f->sealed};
	}
	mutex_unlock(&db->lock);
	*ret = list;
	return n;
}

bool db_gives(struct db *db, const struct feed_pos *pos)
{
	db_lock(db);
	const struct member *own = member_find(db, db->actor);
	bool gives = !own || !own->removed || id_eq(&pos->stream, &db->auth_stream) ||
		     pos->seq <= member_heard(db, own, &pos->stream);
	mutex_unlock(&db->lock);
	return gives;
}

bool db_is_auth(const struct db *db, const struct id *stream)
{
	return id_eq(stream, &db->auth_stream);
}
