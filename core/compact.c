/* The stable cut, and who is waited for; see compact.h. */
#include "core/compact.h"

#include "core/db_i.h"
#include "core/snapshot.h"
#include "core/snapshot_i.h"
#include "core/stratum.h"

#include <stdlib.h>
#include <string.h>

/** Logs of texts are packed when nobody wrote for so long; all are looked at that often. */
#define PACK_QUIET_MS (UINT64_C(3600) * 1000)
#define PACK_AGAIN_MS (UINT64_C(24) * 3600 * 1000)
/** How exactly it is known when a device was last heard of: it is written down once in this time. */
#define HEARD_STEP_MS (UINT64_C(24) * 3600 * 1000)

static int write_heard(struct txn *t, struct acked *a)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	a->heard_ms = t->now_ms;
	buf_u8(&key, 'u');
	buf_be64(&key, a->device);
	buf_varint(&value, a->heard_ms);
	store_put(t->store, buf_slice(&key), buf_slice(&value));
	return 1;
}

bool compact_heard(struct txn *t, struct acked *a)
{
	/* A clock that was set back must not make a living device old. */
	if (a->heard_ms && t->now_ms - a->heard_ms < HEARD_STEP_MS)
		return false;
	return write_heard(t, a);
}

void db_heard(struct db *db, uint64_t device)
{
	struct txn *t = db_begin(db);

	if (device != db->actor && member_find(db, device) &&
	    compact_heard(t, feed_acked_of(db, device)))
		(void)db_commit_quiet(t);
	else
		db_abort(t);
}

static bool is_silent(const struct acked *a, uint64_t now_ms)
{
	return a->heard_ms && now_ms > a->heard_ms && now_ms - a->heard_ms > COMPACT_SILENT_MS;
}

/* Members of whom nothing was ever heard have until 90 days from now. */
static void note_members(struct txn *t)
{
	for (size_t i = 0; i < t->db->member_count; i++) {
		uint64_t device = t->db->members[i].device.actor;
		bool counts = device != t->db->actor && member_is_current(&t->db->members[i]);
		struct acked *a = counts ? feed_acked_of(t->db, device) : NULL;

		if (a && a->heard_ms == 0)
			(void)write_heard(t, a);
	}
}

static uint64_t cut_locked(struct db *db, const struct feed *f, uint64_t now_ms)
{
	uint64_t cut = feed_pos_seq(db->durable, db->durable_count, &f->stream, f->actor);

	cut = cut < f->sealed ? cut : f->sealed;
	for (size_t i = 0; i < db->member_count; i++) {
		uint64_t device = db->members[i].device.actor;

		/* An author holds what it made. */
		if (device == db->actor || device == f->actor ||
		    !member_is_current(&db->members[i]) ||
		    !grant_covers(db, &db->members[i], &f->stream))
			continue;
		const struct acked *a = feed_acked_of(db, device);
		if (is_silent(a, now_ms))
			continue;
		uint64_t has = feed_pos_seq(a->pos, a->count, &f->stream, f->actor);
		cut = has < cut ? has : cut;
	}
	return cut;
}

size_t db_cut(struct db *db, struct feed_pos **ret)
{
	struct txn *t = db_begin(db);
	struct feed_pos *cut = xcalloc(db->feed_count, sizeof(*cut));
	size_t n = db->feed_count;

	snapshot_expire(db, t->now_ms);
	note_members(t);
	for (size_t i = 0; i < n; i++) {
		const struct feed *f = &db->feeds[i];

		cut[i] = (struct feed_pos){
			.stream = f->stream,
			.actor = f->actor,
			.seq = cut_locked(db, f, t->now_ms),
		};
	}
	*ret = cut;
	(void)db_commit_quiet(t);
	return n;
}

/* Nobody asked for them, and they would wait loose for years. */
static bool has_many_loose(struct db *db)
{
	bool many = false;

	db_lock(db);
	for (size_t i = 0; i < db->feed_count; i++)
		many = many || db->feeds[i].seq - db->feeds[i].sealed >= db->env.stratum_changes;
	mutex_unlock(&db->lock);
	return many;
}

/* Logs of texts, once a day. */
static int pack_some(struct db *db)
{
	bool small = db->env.stratum_changes < STRATUM_CHANGES; /* a simulator's */

	db_lock(db);
	uint64_t now = db_now_ms(db);
	bool wait = !small && id_is_zero(&db->pack_next) && now < db->pack_again_ms;
	mutex_unlock(&db->lock);
	if (wait)
		return 0;
	int r = txn_pack_sides(db, small ? 0 : PACK_QUIET_MS, small);
	db_lock(db);
	if (r == 0)
		db->pack_again_ms = now + PACK_AGAIN_MS;
	mutex_unlock(&db->lock);
	return r;
}

int db_pack_texts(struct db *db)
{
	db_lock(db);
	db->pack_next = (struct id){{0}};
	mutex_unlock(&db->lock);
	int r = 1;
	while (r == 1)
		r = txn_pack_sides(db, 0, true);
	return r == 0 ? store_compact(db->store) : r;
}

int db_compact_step(struct db *db)
{
	if (db_is_installing(db))
		return db_snapshot_step(db);
	AUTO(free_ptr) struct feed_pos *cut = NULL;
	size_t n = db_cut(db, &cut);
	int r = has_many_loose(db) ? db_seal(db) : 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = strata_sweep(db, &cut[i]);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = strata_fold(db, &cut[i]);
	return r == 0 ? pack_some(db) : r;
}

static bool add_stratum(void *ctx, struct slice key, struct slice value)
{
	struct compact_stats *s = ctx;

	(void)key;
	s->strata_count++;
	s->strata_bytes += value.len;
	return true;
}

int db_get_compact_stats(struct db *db, struct compact_stats *ret)
{
	struct compact_stats s = {0};
	struct txn *t = db_begin(db);

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		s.change_count += f->seq;
		s.missing_count += f->snap - f->filled;
		s.cut_count += cut_locked(db, f, t->now_ms);
		s.folded_count += f->folded < f->seq ? f->folded : f->seq;
	}
	for (size_t i = 0; i < db->member_count; i++) {
		uint64_t device = db->members[i].device.actor;

		s.silent_count += device != db->actor && member_is_current(&db->members[i]) &&
				  is_silent(feed_acked_of(db, device), t->now_ms);
	}
	db_abort(t);
	/* Without the lock: there may be many. */
	struct store_txn *st = store_begin(db->store);
	int r = store_scan(st, SLICE_STR("C"), SLICE("", 0), add_stratum, &s);
	store_abort(st);
	if (r == 0)
		*ret = s;
	return r;
}
