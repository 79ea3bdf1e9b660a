/*
 * The log of before a snapshot, as it comes in: verified, kept, and entered in the history; see snapshot.h.
 * Nothing of it is applied: the snapshot has its effect.
 */
#include "core/snapshot.h"
#include "core/snapshot_i.h"
#include "core/stratum.h"

#include <stdlib.h>
#include <string.h>

/** Changes entered in the history in one transaction. */
#define BATCH_CHANGES 256

size_t db_snapshot_gaps(struct db *db, struct snapshot_gap **ret)
{
	size_t n = 0;

	db_lock(db);
	*ret = xcalloc(db->feed_count, sizeof(**ret));
	for (size_t i = 0; i < db->feed_count && !db->installing; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->snap)
			(*ret)[n++] = (struct snapshot_gap){.stream = f->stream,
							    .actor = f->actor,
							    .filled = f->filled,
							    .snap = f->snap};
	}
	mutex_unlock(&db->lock);
	return n;
}

uint64_t db_history_missing(struct db *db)
{
	struct snapshot_gap *gaps = NULL;
	size_t count = db_snapshot_gaps(db, &gaps);
	uint64_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += gaps[i].snap - gaps[i].filled;
	free(gaps);
	return n;
}

uint64_t db_snapshot_gaps_filled(struct db *db)
{
	db_lock(db);
	uint64_t n = db->gaps_filled;
	mutex_unlock(&db->lock);
	return n;
}

static uint64_t load_arrival(struct txn *t)
{
	AUTO(buf_fini) struct buf value = {0};

	if (store_get(t->store, SLICE_STR("m fill"), &value) < 0)
		return 1;
	struct reader r = reader_init(buf_slice(&value));
	return reader_varint(&r);
}

static void store_arrival(struct txn *t, uint64_t arrival)
{
	AUTO(buf_fini) struct buf value = {0};

	buf_varint(&value, arrival);
	store_put(t->store, SLICE_STR("m fill"), buf_slice(&value));
}

/* Enters `count` changes from seq on; *r stands at the first. */
static int enter(struct txn *t, const struct feed *f, uint64_t seq, uint64_t count, struct reader *r)
{
	for (uint64_t i = 0; i < count; i++) {
		AUTO(change_fini) struct change c = {0};
		struct slice bytes = reader_bytes(r, CHANGE_BYTES_MAX);

		if (r->bad || change_decode(bytes, f->actor, &c) < 0)
			return -EBADMSG;
		txn_history(t, &c, &f->stream, seq + i);
	}
	return 0;
}

/* The log is here up to `last`, whose envelope has this hash. */
static void advance(struct txn *t, struct feed *f, uint64_t last, const uint8_t head[DIGEST_BYTES])
{
	f->filled = last;
	memcpy(f->fill_head, head, sizeof(f->fill_head));
	if (last < f->snap)
		return;
	if (last > f->snap || memcmp(f->fill_head, f->snap_head, sizeof(f->snap_head)) != 0)
		snapshot_doubt(t);
	f->snap = f->filled = 0;
	t->db->gaps_filled++;
	f->swept = 0;
}

static int fill_envelope(struct txn *t, struct feed *f, const uint8_t *sign_pk,
			 struct slice envelope)
{
	AUTO(buf_fini) struct buf changes = {0};
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct envelope_place at = epoch_place(t->db, &f->stream, f->actor);
	struct envelope_range range;
	uint8_t head[DIGEST_BYTES];
	uint64_t arrival = load_arrival(t);

	memcpy(at.prev, f->fill_head, sizeof(at.prev));
	if (envelope_range(envelope, &range) < 0)
		return -EBADMSG;
	uint64_t last = range.seq_first + range.count - 1;
	if (f->snap == 0 || last <= f->filled)
		return 0;
	if (range.seq_first != f->filled + 1)
		return -EAGAIN;
	int r = envelope_open(&at, sign_pk, envelope, &changes);
	struct reader c = reader_init(buf_slice(&changes));
	if (r == 0)
		r = enter(t, f, range.seq_first, range.count, &c);
	if (r < 0)
		return r;
	feed_key(&key, 'e', &f->stream, f->actor);
	buf_be64(&key, range.seq_first);
	buf_be64(&value, arrival);
	buf_append(&value, at.prev, sizeof(at.prev));
	buf_slice_append(&value, envelope);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	feed_arrival_key(&key, arrival);
	feed_arrival_value(&value, f, range.seq_first, last, false);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	store_arrival(t, arrival + 1);
	envelope_hash(&at, envelope, head);
	advance(t, f, last, head);
	return 1;
}

/* Where the log goes on in the stratum: the part, and its first change. -EAGAIN, -EBADMSG. */
static int find_part(const struct feed *f, const struct stratum *s, size_t *ret_part)
{
	uint64_t seq = s->seq_first;
	size_t i = 0;

	if (s->seq_first > f->filled + 1)
		return -EAGAIN;
	while (i < s->part_count && seq <= f->filled)
		seq += s->parts[i++].count;
	const uint8_t *prev = i ? s->parts[i - 1].hash : s->prev;
	if (i == s->part_count || seq != f->filled + 1 ||
	    memcmp(prev, f->fill_head, sizeof(f->fill_head)) != 0)
		return -EBADMSG;
	*ret_part = i;
	return 0;
}

/* Enters parts from *part on, but what came after the snapshot. 1 = there are more. */
static int enter_parts(struct txn *t, struct feed *f, const struct stratum *s, size_t *part,
		       uint64_t *seq)
{
	uint64_t count = 0;
	int r = 0;

	while (r == 0 && *part < s->part_count && *seq <= f->snap && count < BATCH_CHANGES) {
		const struct stratum_part *p = &s->parts[*part];
		struct reader c = reader_init(p->changes);

		r = enter(t, f, *seq, p->count, &c);
		count += p->count;
		*seq += p->count;
		++*part;
	}
	return r < 0 ? r : *part < s->part_count && *seq <= f->snap;
}

static int fill_stratum(struct db *db, const struct feed_pos *pos, struct stratum *s,
			struct slice packed)
{
	size_t part = SIZE_MAX;
	uint64_t seq = 0;
	int r = 1;

	while (r == 1) {
		struct txn *t = db_begin(db);
		struct feed *f = txn_feed(t, &pos->stream, pos->actor);

		if (f->snap == 0 || f->filled >= s->seq_first + s->count - 1) {
			db_abort(t);
			return 0;
		}
		if (part == SIZE_MAX)
			r = find_part(f, s, &part);
		seq = seq ? seq : f->filled + 1;
		if (r == 1 || r == 0)
			r = enter_parts(t, f, s, &part, &seq);
		if (r == 0) { /* all is entered: from here on it is found in the stratum */
			uint64_t arrival = load_arrival(t);

			r = strata_put(t, f, s, packed, &arrival);
			store_arrival(t, arrival);
			advance(t, f, seq - 1, s->parts[part - 1].hash);
			int err = r < 0 ? r : db_commit_changed(t);
			if (r < 0)
				db_abort(t);
			return err < 0 ? err : 1;
		}
		if (r < 0) {
			db_abort(t);
			return r;
		}
		int err = db_commit_quiet(t);
		if (err < 0)
			return err;
	}
	return r;
}

int db_snapshot_fill(struct db *db, const struct feed_item *item, struct slice bytes)
{
	AUTO(stratum_fini) struct stratum s = {0};
	struct device author;

	db_lock(db);
	const struct member *m = member_find(db, item->pos.actor);
	const struct envelope_place at = epoch_place(db, &item->pos.stream, item->pos.actor);
	if (m)
		author = m->device;
	mutex_unlock(&db->lock);
	if (!m)
		return -EACCES;
	if (item->packed) {
		int r = stratum_open(&at, bytes, &s);

		if (r == 0)
			r = stratum_verify(&at, &s, author.sign_pk);
		return r < 0 ? r : fill_stratum(db, &item->pos, &s, bytes);
	}
	struct txn *t = db_begin(db);
	const struct feed *have = feed_find(db, &item->pos.stream, item->pos.actor);
	int r = have && have->snap ? fill_envelope(t, txn_feed(t, &have->stream, have->actor),
						   author.sign_pk, bytes)
				   : 0;
	if (r <= 0) {
		db_abort(t);
		return r;
	}
	r = db_commit_changed(t);
	return r < 0 ? r : 1;
}
