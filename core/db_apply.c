/* Applying what other devices sent: verify, decrypt, decode, and only then touch anything. */
#include "core/db_i.h"

#include <stdlib.h>
#include <string.h>

/** How far ahead of everything known a change may be: more than any honest device gets before it syncs. */
#define LAMPORT_JUMP_MAX (UINT64_C(1) << 40)
/** Feeds a member may have: its streams. */
#define FEEDS_PER_MEMBER_MAX 1024

static bool deps_are_here(const struct db *db, const struct id *stream, const struct change *c)
{
	for (size_t i = 0; i < c->dep_count; i++) {
		const struct feed *f = feed_find(db, stream, c->deps[i].actor);

		if (!f || f->seq < c->deps[i].seq)
			return false;
	}
	return true;
}

/*
 * A feed's lamports only rise, and no one can use up the clock: each device has to be able to count on from
 * the highest it saw, for ever.
 */
static bool lamports_are_honest(const struct txn *t, const struct feed *f, const struct change *c)
{
	if (c->ops.count == 0)
		return false;
	return c->ops.items[0].lamport > f->lamport &&
	       c->ops.items[c->ops.count - 1].lamport <= t->lamport + LAMPORT_JUMP_MAX;
}

static int apply_change(struct txn *t, struct feed *f, uint64_t seq, struct slice bytes)
{
	struct change c = {0};
	int r = change_decode(bytes, f->actor, &c);

	if (r < 0)
		return r;
	if (!deps_are_here(t->db, &f->stream, &c))
		r = -EAGAIN;
	else if (!lamports_are_honest(t, f, &c))
		r = -EBADMSG;
	t->seq = seq;
	for (size_t i = 0; r == 0 && i < c.ops.count; i++) {
		const struct op *op = &c.ops.items[i];
		struct stamp stamp = {.hlc = c.hlc,
				      .id = {.lamport = op->lamport, .actor = f->actor}};

		r = tree_apply(t, &f->stream, op, stamp);
		if (op->lamport > t->lamport)
			t->lamport = op->lamport;
		if (op->lamport > f->lamport)
			f->lamport = op->lamport;
	}
	if (r == 0) {
		txn_history(t, &c, &f->stream, seq);
		/* A clock far ahead is not followed: it would spread to every device for ever. */
		if (c.hlc >> 16 > t->now_ms + 60000)
			flags_raise(t->db, f->actor, FLAG_CLOCK);
		else if (c.hlc > t->hlc)
			t->hlc = c.hlc;
		f->seq = seq;
	}
	change_fini(&c);
	return r;
}

/* 1 when it is the feed's next, 0 when it is old, -EAGAIN when something is missing before it. */
static int is_next(const struct feed *f, const struct envelope_range *range)
{
	uint64_t have = f ? f->seq : 0;

	if (range->seq_first + range->count - 1 <= have)
		return 0;
	return range->seq_first == have + 1 ? 1 : -EAGAIN;
}

int db_apply_changes(struct txn *t, struct feed *f, const struct envelope_range *range,
		     struct slice body)
{
	struct reader r = reader_init(body);
	int err = 0;

	for (uint64_t i = 0; err == 0 && i < range->count; i++) {
		struct slice bytes = reader_bytes(&r, body.len);

		err = r.bad ? -EBADMSG : apply_change(t, f, range->seq_first + i, bytes);
	}
	return err == 0 ? reader_finish(&r) : err;
}

static size_t feed_count_of(const struct db *db, uint64_t actor)
{
	size_t n = 0;

	for (size_t i = 0; i < db->feed_count; i++)
		n += db->feeds[i].actor == actor;
	return n;
}

void db_held_back(struct db *db)
{
	db_lock(db);
	db->held_back++;
	mutex_unlock(&db->lock);
}

int db_apply_admits(const struct db *db, const struct id *stream, uint64_t actor, uint64_t last,
		    const uint8_t hash[DIGEST_BYTES])
{
	const struct member *m = member_find(db, actor);

	if ((db->installing || db->snapshot_taker) && !id_eq(stream, &db->auth_stream))
		return -EAGAIN;
	const struct member *own = member_find(db, db->actor);
	/* Who is removed hears who is a member, and no more: the others have gone on without it. */
	bool outside = own && own->removed && !id_eq(stream, &db->auth_stream);
	if (!m || outside || !member_admits(db, m, stream, last, hash))
		return -EACCES;
	if (!feed_find(db, stream, actor) && feed_count_of(db, actor) >= FEEDS_PER_MEMBER_MAX)
		return -EBADMSG;
	return 0;
}

int db_apply_next(struct txn *t, const struct id *stream, uint64_t actor, struct slice envelope)
{
	AUTO(buf_fini) struct buf body = {0};
	struct db *db = t->db;
	struct envelope_range range;
	int r = envelope_range(envelope, &range);
	const struct member *m = member_find(db, actor);
	const struct feed *have = feed_find(db, stream, actor);

	if (r < 0)
		return r;
	/* Our own feed, longer than we know it: this store is an old copy, and a peer refills it. */
	if (actor == db->actor && have && have->sealed != have->seq)
		return 0;
	struct envelope_place at = epoch_place(db, stream, actor);
	if (have)
		memcpy(at.prev, have->head, sizeof(at.prev));
	r = envelope_open(&at, m->device.sign_pk, envelope, &body);
	if (r < 0)
		return r == -ENOKEY ? -EAGAIN : r;
	/* The transaction's feed may move when another is added: none is, while changes are applied. */
	struct feed *f = txn_feed(t, stream, actor);
	r = db_apply_changes(t, f, &range, buf_slice(&body));
	if (r == 0)
		feed_arrive(t, f, range.seq_first, range.count, envelope);
	return r < 0 ? r : 1;
}

static int apply_locked(struct txn *t, const struct id *stream, uint64_t actor,
			struct slice envelope)
{
	const struct db *db = t->db;
	const struct feed *have = feed_find(db, stream, actor);
	struct envelope_place at = epoch_place(db, stream, actor);
	uint8_t hash[DIGEST_BYTES];
	struct envelope_range range;
	int r = envelope_range(envelope, &range);

	if (r < 0)
		return r;
	if (!member_find(db, actor))
		return -EACCES;
	r = is_next(have, &range);
	if (r == -EAGAIN)
		return quarantine_take(t, stream, actor, envelope);
	if (r <= 0)
		return r;
	if (have)
		memcpy(at.prev, have->head, sizeof(at.prev));
	uint64_t last = range.seq_first + range.count - 1;
	memset(hash, 0, sizeof(hash));
	if (!member_may_write(db, member_find(db, actor), stream, last))
		envelope_hash(&at, envelope, hash); /* it counts only if it was adopted */
	r = db_apply_admits(db, stream, actor, last, hash);
	if (r == -EACCES)
		return quarantine_take(t, stream, actor, envelope);
	return r < 0 ? r : db_apply_next(t, stream, actor, envelope);
}

/* Makes a thin one whole, if it is the feed's next; as apply_locked() otherwise. */
static int apply_thin_locked(struct txn *t, const struct id *stream, uint64_t actor,
			     struct slice thin)
{
	AUTO(buf_fini) struct buf envelope = {0};
	const struct feed *have = feed_find(t->db, stream, actor);
	struct envelope_place at = epoch_place(t->db, stream, actor);
	struct envelope_range range;
	int r = envelope_thin_range(thin, &range);

	if (r == 0)
		r = is_next(have, &range);
	const struct kept *kept = r == -EAGAIN ? quarantine_find(t->db, stream, actor) : NULL;
	if (kept && range.seq_first <= kept->last)
		return -EEXIST;
	if (r <= 0 && (!kept || range.seq_first != kept->last + 1))
		return r;
	if (kept || have)
		memcpy(at.prev, kept ? kept->head : have->head, sizeof(at.prev));
	r = envelope_thicken(&at, thin, &envelope);
	if (r < 0)
		return r == -ENOKEY ? -EAGAIN : r;
	return apply_locked(t, stream, actor, buf_slice(&envelope));
}

/* What a refusal says of the feed's author. */
static void flag_refused(struct db *db, uint64_t actor, int r)
{
	const struct member *m = member_find(db, actor);
	const struct member *own = member_find(db, db->actor);

	if (!m || actor == db->actor)
		return;
	if (r == -EBADMSG)
		flags_raise(db, actor, FLAG_FEED);
	else if (r == -EACCES && own && !own->removed && (m->removed || m->role < MEMBER_WRITE))
		flags_raise(db, actor, FLAG_CUT);
}

static int apply(struct db *db, const struct id *stream, uint64_t actor, struct slice bytes,
		 bool thin)
{
	struct txn *t = db_begin(db);
	t->remote = true;
	int r = thin ? apply_thin_locked(t, stream, actor, bytes)
		     : apply_locked(t, stream, actor, bytes);

	if (r == -EAGAIN || r == -EACCES || r == -EBADMSG)
		db->held_back++;
	if (r <= 0) {
		flag_refused(db, actor, r);
		db_abort(t);
		return r == -EEXIST ? DB_KEPT : r;
	}
	/* It may be what something adopted has waited for. */
	db->kept_due = db->kept_due || db->kept_waiting;
	int err = db_commit(t);
	return err < 0 ? err : r;
}

int db_apply_envelope(struct db *db, const struct id *stream, uint64_t actor, struct slice envelope,
		      uint64_t *ret_last_seq)
{
	struct envelope_range range = {0};

	if (envelope_range(envelope, &range) == 0)
		*ret_last_seq = range.seq_first + range.count - 1;
	return apply(db, stream, actor, envelope, false);
}

int db_apply_thin(struct db *db, const struct id *stream, uint64_t actor, struct slice thin,
		  uint64_t *ret_last_seq)
{
	struct envelope_range range = {0};

	if (envelope_thin_range(thin, &range) == 0)
		*ret_last_seq = range.seq_first + range.count - 1;
	return apply(db, stream, actor, thin, true);
}
