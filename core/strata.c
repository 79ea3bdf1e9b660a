/*
 * Strata in the store: folding envelopes into them, and finding changes in them.
 *
 *   C stream actor seq_last    8 bytes arrival, the stratum (core/stratum.h)
 *
 * A fold is two steps, each of which may be the last before a crash. First, in one batch, the stratum is
 * stored, takes over the arrival of its first envelope, and `folded` of the feed moves to its end. Then
 * the envelopes up to `folded` are swept away, some hundred in a batch. Until that is done, changes are there
 * twice, which is the same as being there once: whoever passes on or reads asks the stratum first.
 *
 * A stratum stands in the order of arrivals where its first envelope stood, or before: then all that
 * arrived before an envelope is passed on before it, if the receiver keeps a stratum until all its
 * parts can be applied.
 */
#include "core/db_i.h"
#include "core/stratum.h"

#include <stdlib.h>
#include <string.h>

/** Envelopes swept away in one batch. */
#define SWEEP_MAX 256
/** The search for a whole stratum is repeated when so many changes more are below the cut, if not before. */
#define RETRY_CHANGES 128

void strata_key(struct buf *key, const struct id *stream, uint64_t actor, uint64_t seq_last)
{
	feed_key(key, 'C', stream, actor);
	buf_be64(key, seq_last);
}

static bool take_first(void *ctx, struct slice key, struct slice value)
{
	struct buf *out = ctx;

	(void)key;
	buf_clear(out);
	buf_slice_append(out, value);
	return false;
}

int strata_find(struct store_txn *t, const struct id *stream, uint64_t actor, uint64_t seq,
		struct buf *ret)
{
	AUTO(buf_fini) struct buf prefix = {0};
	AUTO(buf_fini) struct buf from = {0};
	struct envelope_range range;

	feed_key(&prefix, 'C', stream, actor);
	strata_key(&from, stream, actor, seq);
	buf_clear(ret);
	int r = store_scan(t, buf_slice(&prefix), buf_slice(&from), take_first, ret);
	if (r < 0)
		return r;
	if (ret->len == 0)
		return -ENOENT;
	if (ret->len < STRATUM_HEAD_BYTES ||
	    stratum_range(SLICE(ret->data + STRATUM_HEAD_BYTES, ret->len - STRATUM_HEAD_BYTES),
			  &range) < 0)
		return -EIO;
	return range.seq_first <= seq ? 0 : -ENOENT;
}

/** The stratum that was read last: who reads history reads the next change, too. */
struct strata_cache {
	struct id stream;
	uint64_t actor;
	uint64_t first;
	uint64_t count;
	struct buf body;
	size_t *starts; /**< of each change in body */
};

void strata_cache_drop(struct db *db)
{
	struct strata_cache *c = STEAL(db->strata_cache);

	if (!c)
		return;
	buf_fini(&c->body);
	free(c->starts);
	free(c);
}

static int cache_load(struct txn *t, const struct id *stream, uint64_t actor, uint64_t seq)
{
	AUTO(buf_fini) struct buf value = {0};
	struct stratum s = {0};
	struct envelope_place at = epoch_place(t->db, stream, actor);
	int r = strata_find(t->store, stream, actor, seq, &value);

	if (r == 0)
		r = stratum_open(
			&at, SLICE(value.data + STRATUM_HEAD_BYTES, value.len - STRATUM_HEAD_BYTES),
			&s);
	if (r < 0)
		return r == -EBADMSG ? -EIO : r;
	strata_cache_drop(t->db);
	struct strata_cache *c = xcalloc(1, sizeof(*c));
	*c = (struct strata_cache){
		.stream = *stream,
		.actor = actor,
		.first = s.seq_first,
		.count = s.count,
		.starts = xcalloc((size_t)s.count, sizeof(*c->starts)),
	};
	struct reader b = reader_init(buf_slice(&s.body));
	for (uint64_t i = 0; i < s.count; i++) {
		c->starts[i] = s.body.len - reader_left(&b);
		(void)reader_bytes(&b, s.body.len);
	}
	c->body = s.body;
	s.body = (struct buf){0};
	stratum_fini(&s);
	t->db->strata_cache = c;
	return 0;
}

int strata_load_change(struct txn *t, const struct id *stream, uint64_t actor, uint64_t seq,
		       struct buf *ret)
{
	const struct strata_cache *c = t->db->strata_cache;

	if (!c || c->actor != actor || !id_eq(&c->stream, stream) || seq < c->first ||
	    seq - c->first >= c->count) {
		int r = cache_load(t, stream, actor, seq);

		if (r < 0)
			return r;
		c = t->db->strata_cache;
	}
	size_t start = c->starts[seq - c->first];
	struct reader b = reader_init(SLICE(c->body.data + start, c->body.len - start));
	struct slice change = reader_bytes(&b, c->body.len);
	buf_clear(ret);
	buf_slice_append(ret, change);
	return b.bad ? -EIO : 0;
}

/* ---- folding ------------------------------------------------------------------------------------ */

/** The envelopes that become one stratum. */
struct fold {
	struct db *db;
	struct envelope_place at; /**< prev: before the envelope that comes next */
	uint64_t first;		  /**< of the stratum */
	uint64_t cut;
	uint64_t arrival;
	uint8_t prev[DIGEST_BYTES]; /**< before the first */
	uint64_t count;
	struct stratum s;
	size_t part_cap;
	size_t *ends; /**< of each part's changes in s.body */
	bool whole;
	int error;
};

static int add_part(struct fold *f, const struct envelope_range *range, struct slice envelope)
{
	AUTO(buf_fini) struct buf changes = {0};
	int r = envelope_open(&f->at, NULL, envelope, &changes);

	if (r < 0)
		return -EIO;
	if (f->s.part_count == f->part_cap) {
		f->part_cap = f->part_cap ? f->part_cap * 2 : 64;
		f->s.parts = xreallocarray(f->s.parts, f->part_cap, sizeof(*f->s.parts));
		f->ends = xreallocarray(f->ends, f->part_cap, sizeof(*f->ends));
	}
	buf_slice_append(&f->s.body, buf_slice(&changes));
	f->ends[f->s.part_count] = f->s.body.len;
	struct stratum_part *p = &f->s.parts[f->s.part_count++];
	*p = (struct stratum_part){.count = range->count};
	envelope_hash(&f->at, envelope, p->hash);
	memcpy(f->at.prev, p->hash, sizeof(p->hash));
	memcpy(f->s.signature, envelope_signature(envelope), sizeof(f->s.signature));
	f->count += range->count;
	f->whole = f->count >= f->db->env.stratum_changes || f->s.body.len >= STRATUM_BYTES;
	return 0;
}

static bool add_envelope(void *ctx, struct slice key, struct slice value)
{
	struct fold *f = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct envelope_range range;

	(void)reader_take(&k, 25);
	uint64_t first = reader_be64(&k);
	uint64_t arrival = reader_be64(&v);
	struct slice prev = reader_take(&v, DIGEST_BYTES);
	struct slice envelope = reader_take(&v, reader_left(&v));

	f->error = k.bad || v.bad || envelope_range(envelope, &range) < 0 ? -EIO : 0;
	if (f->error < 0 || first != f->first + f->count || first + range.count - 1 > f->cut)
		return false;
	if (f->count == 0) {
		f->arrival = arrival;
		memcpy(f->at.prev, prev.data, prev.len);
		memcpy(f->prev, prev.data, prev.len);
	} else if (memcmp(f->at.prev, prev.data, prev.len) != 0) {
		f->error = -EIO;
		return false;
	}
	const uint8_t *root_key = envelope_key(&f->at, envelope);
	if (!root_key || (f->count > 0 && root_key != f->at.root_key)) {
		f->error = root_key ? 0 : -EIO;
		f->whole = root_key != NULL;
		return false;
	}
	f->at.root_key = root_key;
	f->error = add_part(f, &range, envelope);
	return f->error == 0 && !f->whole;
}

static int collect(struct fold *f)
{
	AUTO(buf_fini) struct buf prefix = {0};
	AUTO(buf_fini) struct buf from = {0};
	struct store_txn *t = store_begin(f->db->store);

	feed_key(&prefix, 'e', &f->at.stream, f->at.actor);
	feed_key(&from, 'e', &f->at.stream, f->at.actor);
	buf_be64(&from, f->first);
	int r = store_scan(t, buf_slice(&prefix), buf_slice(&from), add_envelope, f);
	store_abort(t);
	size_t start = 0;
	for (size_t i = 0; i < f->s.part_count; i++) {
		f->s.parts[i].changes = SLICE(f->s.body.data + start, f->ends[i] - start);
		start = f->ends[i];
	}
	f->s.seq_first = f->first;
	f->s.count = f->count;
	return r < 0 ? r : f->error;
}

/* Nothing is given up before the stratum has given back every envelope's hash. */
static int check(const struct fold *f, struct slice packed, const uint8_t *sign_pk)
{
	AUTO(stratum_fini) struct stratum s = {0};
	int r = stratum_open(&f->at, packed, &s);

	if (r == 0)
		r = stratum_verify(&f->at, &s, sign_pk);
	if (r == 0 &&
	    (s.part_count != f->s.part_count || memcmp(s.prev, f->prev, sizeof(s.prev)) != 0))
		r = -EIO;
	for (size_t i = 0; r == 0 && i < s.part_count; i++)
		r = memcmp(s.parts[i].hash, f->s.parts[i].hash, DIGEST_BYTES) == 0 ? 0 : -EIO;
	return r < 0 ? -EIO : 0;
}

static int store_stratum(const struct fold *f, struct slice packed)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	uint64_t last = f->first + f->count - 1;
	struct txn *t = db_begin(f->db);
	struct feed *feed = txn_feed(t, &f->at.stream, f->at.actor);

	if (feed->folded + 1 != f->first) { /* somebody else did it meanwhile */
		db_abort(t);
		return 1;
	}
	strata_key(&key, &f->at.stream, f->at.actor, last);
	buf_be64(&value, f->arrival);
	buf_slice_append(&value, packed);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	feed_arrival_key(&key, f->arrival);
	feed_arrival_value(&value, feed, f->first, last, true);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	feed->folded = last;
	feed->retry_at = 0;
	int r = db_commit_quiet(t);
	return r < 0 ? r : 1;
}

/* Strata that came from elsewhere may stand where the next would begin. */
static int pass_over(struct db *db, const struct feed_pos *at)
{
	AUTO(buf_fini) struct buf value = {0};
	struct envelope_range range;
	struct txn *t = db_begin(db);
	const struct feed *have = feed_find(db, &at->stream, at->actor);
	int r = have ? strata_find(t->store, &at->stream, at->actor, have->folded + 1, &value)
		     : -ENOENT;

	if (r == 0)
		r = stratum_range(
			SLICE(value.data + STRATUM_HEAD_BYTES, value.len - STRATUM_HEAD_BYTES),
			&range);
	if (r < 0) {
		db_abort(t);
		return r == -ENOENT ? 0 : -EIO;
	}
	txn_feed(t, &at->stream, at->actor)->folded = range.seq_first + range.count - 1;
	r = db_commit_quiet(t);
	return r < 0 ? r : 1;
}

/* Copies what is needed of the feed and its author; false when there is nothing to fold now. */
static bool fold_begin(struct fold *f, const struct feed_pos *cut, uint8_t sign_pk[KEYS_PK_BYTES])
{
	struct db *db = f->db;

	db_lock(db);
	struct feed *feed = feed_find(db, &cut->stream, cut->actor);
	const struct member *m = member_find(db, cut->actor);
	/* Before the log is all here, nobody knows where strata begin. */
	bool useful = feed && m && feed->snap == 0 && feed->folded < cut->seq &&
		      cut->seq >= feed->retry_at;
	if (useful) {
		f->at = epoch_place(db, &cut->stream, cut->actor);
		f->first = feed->folded + 1;
		f->cut = cut->seq;
		memcpy(sign_pk, m->device.sign_pk, KEYS_PK_BYTES);
	}
	mutex_unlock(&db->lock);
	return useful;
}

/* There was not a whole stratum: the search is not repeated before there may be one. */
static void retry_later(const struct fold *f)
{
	uint64_t changes = f->count ? f->count : 1;
	uint64_t lack = (STRATUM_BYTES - f->s.body.len) / (f->s.body.len / changes + 1) + 1;
	uint64_t more = lack < RETRY_CHANGES ? lack : RETRY_CHANGES;

	db_lock(f->db);
	struct feed *feed = feed_find(f->db, &f->at.stream, f->at.actor);
	if (feed)
		feed->retry_at = f->cut + more;
	mutex_unlock(&f->db->lock);
}

int strata_fold(struct db *db, const struct feed_pos *cut)
{
	AUTO(buf_fini) struct buf packed = {0};
	struct fold f = {.db = db};
	struct envelope_place at;
	uint8_t sign_pk[KEYS_PK_BYTES];

	if (!fold_begin(&f, cut, sign_pk))
		return 0;
	int r = pass_over(db, cut);
	if (r == 0)
		r = collect(&f);
	if (r == 0 && f.whole) {
		at = f.at;
		memcpy(at.prev, f.prev, sizeof(at.prev));
		stratum_pack(&at, &f.s, &packed);
		r = check(&f, buf_slice(&packed), sign_pk);
		if (r == 0)
			r = store_stratum(&f, buf_slice(&packed));
	} else if (r == 0) {
		retry_later(&f);
	}
	stratum_fini(&f.s);
	free(f.ends);
	return r;
}

/* ---- sweeping ----------------------------------------------------------------------------------- */

struct sweep {
	struct txn *t;
	uint64_t folded;
	uint64_t last; /**< start of the last envelope that was looked at */
	size_t count;
	bool more;
};

static bool sweep_envelope(void *ctx, struct slice key, struct slice value)
{
	struct sweep *w = ctx;
	AUTO(buf_fini) struct buf arrival = {0};
	AUTO(buf_fini) struct buf order = {0};
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);

	(void)reader_take(&k, 25);
	uint64_t first = reader_be64(&k);
	feed_arrival_key(&arrival, reader_be64(&v));
	if (k.bad || v.bad || first > w->folded)
		return false;
	w->more = w->count == SWEEP_MAX;
	if (w->more)
		return false;
	w->last = first;
	w->count++;
	store_delete(w->t->store, key);
	/* The first envelope's arrival is the stratum's now. */
	if (store_get(w->t->store, buf_slice(&arrival), &order) == 0 && order.len &&
	    order.data[order.len - 1] == 0)
		store_delete(w->t->store, buf_slice(&arrival));
	return true;
}

int strata_sweep(struct db *db, const struct feed_pos *feed)
{
	AUTO(buf_fini) struct buf prefix = {0};
	AUTO(buf_fini) struct buf from = {0};
	struct txn *t = db_begin(db);
	const struct feed *have = feed_find(db, &feed->stream, feed->actor);

	/* What has not been applied yet may still come as envelopes, and be swept when it has. */
	uint64_t folded = !have ? 0 : have->folded < have->seq ? have->folded : have->seq;
	if (!have || have->swept >= folded) {
		db_abort(t);
		return 0;
	}
	struct sweep w = {.t = t, .folded = folded, .last = have->swept};
	store_frees_space(t->store);
	feed_key(&prefix, 'e', &feed->stream, feed->actor);
	feed_key(&from, 'e', &feed->stream, feed->actor);
	buf_be64(&from, have->swept + 1);
	int r = store_scan(t->store, buf_slice(&prefix), buf_slice(&from), sweep_envelope, &w);
	if (r < 0) {
		db_abort(t);
		return r;
	}
	r = db_commit_quiet(t);
	if (r == 0) {
		db_lock(db);
		struct feed *f = feed_find(db, &feed->stream, feed->actor);
		if (f)
			f->swept = w.more ? w.last : folded;
		mutex_unlock(&db->lock);
	}
	return r < 0 ? r : w.count > 0;
}
