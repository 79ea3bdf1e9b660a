/* Applying strata that came from other devices; see strata.h. */
#include "core/strata.h"

#include "core/db_i.h"
#include "core/stratum.h"

#include <stdlib.h>
#include <string.h>

/** Applied in one transaction, but for a larger envelope. */
#define BATCH_CHANGES 256
#define BATCH_BYTES (256u << 10)

struct strata_job {
	struct db *db;
	struct id stream;
	uint64_t actor;
	struct buf packed;
	struct stratum s;
	size_t next;	   /**< part */
	uint64_t next_seq; /**< its first change */
	size_t limit;	   /**< parts from here on cannot be applied now */
};

int strata_job_create(struct db *db, const struct id *stream, uint64_t actor, struct slice packed,
		      struct strata_job **ret)
{
	struct strata_job *j = xcalloc(1, sizeof(*j));
	struct device author;

	db_lock(db);
	const struct member *m = member_find(db, actor);
	struct envelope_place at = epoch_place(db, stream, actor);
	int r = m ? 0 : -EACCES;
	if (m)
		author = m->device;
	mutex_unlock(&db->lock);

	j->db = db;
	j->stream = *stream;
	j->actor = actor;
	buf_slice_append(&j->packed, packed);
	if (r == 0)
		r = stratum_open(&at, packed, &j->s);
	if (r == 0)
		r = stratum_verify(&at, &j->s, author.sign_pk);
	if (r < 0) {
		strata_job_destroy(j);
		return r == -ENOKEY ? -EAGAIN : r;
	}
	j->next_seq = j->s.seq_first;
	*ret = j;
	return 0;
}

void strata_job_destroy(struct strata_job *j)
{
	if (!j)
		return;
	buf_fini(&j->packed);
	stratum_fini(&j->s);
	free(j);
}

static uint64_t last_seq(const struct strata_job *j)
{
	return j->s.seq_first + j->s.count - 1;
}

struct feed_pos strata_job_pos(const struct strata_job *j)
{
	return (struct feed_pos){.stream = j->stream, .actor = j->actor, .seq = last_seq(j)};
}

size_t strata_job_bytes(const struct strata_job *j)
{
	return j->packed.len + j->s.body.cap + j->s.part_count * sizeof(*j->s.parts);
}

struct first {
	uint64_t arrival;
	uint64_t seq;
	bool found;
};

static bool take_arrival(void *ctx, struct slice key, struct slice value)
{
	struct first *f = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);

	(void)reader_take(&k, 25);
	f->seq = reader_be64(&k);
	f->arrival = reader_be64(&v);
	f->found = !k.bad && !v.bad;
	return false;
}

int strata_put(struct txn *t, struct feed *f, const struct stratum *s, struct slice packed,
	       uint64_t *arrival)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf from = {0};
	AUTO(buf_fini) struct buf value = {0};
	uint64_t last = s->seq_first + s->count - 1;
	struct first first = {0};

	strata_key(&key, &f->stream, f->actor, last);
	int r = store_get(t->store, buf_slice(&key), &value);
	if (r != -ENOENT)
		return r;
	/* Where its first envelope stands, if that is here: what depends on it must come after. */
	feed_key(&key, 'e', &f->stream, f->actor);
	feed_key(&from, 'e', &f->stream, f->actor);
	buf_be64(&from, s->seq_first);
	r = store_scan(t->store, buf_slice(&key), buf_slice(&from), take_arrival, &first);
	if (r < 0)
		return r;
	if (!first.found || first.seq != s->seq_first)
		first.arrival = (*arrival)++;
	strata_key(&key, &f->stream, f->actor, last);
	buf_be64(&value, first.arrival);
	buf_slice_append(&value, packed);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	feed_arrival_key(&key, first.arrival);
	feed_arrival_value(&value, f, s->seq_first, last, true);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	if (f->folded + 1 >= s->seq_first && f->folded < last)
		f->folded = last;
	return 0;
}

/* Whether the feed stands where the part begins. 1 = it is past the part. */
static int part_is_next(const struct strata_job *j, const struct feed *f)
{
	uint64_t last = j->next_seq + j->s.parts[j->next].count - 1;
	const uint8_t *prev = j->next ? j->s.parts[j->next - 1].hash : j->s.prev;

	if (f->seq >= last)
		return 1;
	if (f->seq + 1 < j->next_seq)
		return -EAGAIN;
	/* As with envelopes: our own feed, and this store is an old copy that has gone on. */
	if (j->actor == j->db->actor && f->sealed != f->seq)
		return -EAGAIN;
	return f->seq + 1 == j->next_seq && memcmp(f->head, prev, DIGEST_BYTES) == 0 ? 0 : -EBADMSG;
}

static int apply_part(struct txn *t, struct strata_job *j, struct feed *f)
{
	const struct stratum_part *p = &j->s.parts[j->next];
	const struct envelope_range range = {.seq_first = j->next_seq, .count = p->count};
	int r = db_apply_changes(t, f, &range, p->changes);

	if (r == 0) {
		memcpy(f->head, p->hash, sizeof(f->head));
		f->sealed = f->seq;
	}
	return r;
}

/* All of it, or nothing: what is stored is passed on. */
static int admits(const struct strata_job *j)
{
	uint64_t last = j->s.seq_first - 1;
	int r = 0;

	for (size_t i = 0; r == 0 && i < j->s.part_count; i++) {
		last += j->s.parts[i].count;
		r = db_apply_admits(j->db, &j->stream, j->actor, last, j->s.parts[i].hash);
	}
	return r;
}

/* One transaction: parts are applied, or passed over, or the limit comes down. */
static int apply_some(struct strata_job *j)
{
	const struct strata_job before = *j;
	uint64_t changes = 0;
	size_t bytes = 0;
	struct txn *t = db_begin(j->db);
	int r = admits(j);
	struct feed *f = txn_feed(t, &j->stream, j->actor);

	t->remote = true;
	while (r == 0 && j->next < j->limit && changes < BATCH_CHANGES && bytes < BATCH_BYTES) {
		const struct stratum_part *p = &j->s.parts[j->next];

		r = part_is_next(j, f);
		if (r == 0)
			r = apply_part(t, j, f);
		if (r < 0)
			break;
		changes += r == 0 ? p->count : 0;
		bytes += r == 0 ? p->changes.len : 0;
		j->next++;
		j->next_seq += p->count;
		r = 0;
	}
	/* What cannot be applied yet ends the transaction before it; what goes before goes alone. */
	if (r == -EAGAIN) {
		j->limit = j->next;
		r = changes ? 1 : 0;
	}
	if (r == 0 && changes)
		r = strata_put(t, f, &j->s, buf_slice(&j->packed), &t->arrival);
	if (r == 0 && changes)
		r = db_commit(t);
	else
		db_abort(t);
	if (r != 0) {
		j->next = before.next;
		j->next_seq = before.next_seq;
	}
	return r < 0 ? r : 0;
}

int strata_job_apply(struct strata_job *j)
{
	int r = 0;

	j->limit = j->s.part_count;
	while (r == 0 && j->next < j->limit)
		r = apply_some(j);
	if (r == -EBADMSG || r == -EACCES)
		db_held_back(j->db);
	return r < 0 ? r : j->next < j->s.part_count ? -EAGAIN : 0;
}
