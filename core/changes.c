/*
 * Changes as they are stored: loose, in the sealed envelope they travelled in, or in a stratum. Who reads a node's whole
 * history asks for neighbours one after the other, and opening an envelope costs more than all else: the
 * last one stays open.
 */
#include "core/db_i.h"

#include <string.h>

struct locate {
	uint64_t seq;
	uint64_t first;
	struct buf value;
	bool found;
};

static bool last_at_or_before(void *ctx, struct slice key, struct slice value)
{
	struct locate *l = ctx;
	struct reader r = reader_init(key);

	(void)reader_take(&r, 25);
	uint64_t first = reader_be64(&r);
	if (r.bad || first > l->seq)
		return false;
	l->first = first;
	l->found = true;
	buf_clear(&l->value);
	buf_slice_append(&l->value, value);
	return true;
}

static int open_envelope(struct txn *t, const struct feed_pos *pos, struct slice stored,
			 struct buf *body)
{
	const struct member *m = member_find(t->db, pos->actor);
	struct envelope_place at = epoch_place(t->db, &pos->stream, pos->actor);

	if (!m || stored.len < ENVELOPE_HEAD_BYTES)
		return -EIO;
	memcpy(at.prev, stored.data + 8, sizeof(at.prev));
	return envelope_open(
		&at, m->device.sign_pk,
		SLICE(stored.data + ENVELOPE_HEAD_BYTES, stored.len - ENVELOPE_HEAD_BYTES), body);
}

static uint64_t count_changes(const struct buf *body)
{
	struct reader r = reader_init(buf_slice(body));
	uint64_t n = 0;

	for (; reader_left(&r) && !r.bad; n++)
		(void)reader_bytes(&r, body->len);
	return n;
}

/* Opens the envelope that holds the change. */
static int load_envelope(struct changes_body *body, struct txn *t, const struct feed_pos *pos)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf from = {0};
	struct locate l = {.seq = pos->seq};

	body->last.seq = 0;
	feed_key(&key, 'e', &pos->stream, pos->actor);
	feed_key(&from, 'e', &pos->stream, pos->actor);
	buf_be64(&from, pos->seq > ENVELOPE_CHANGES_MAX ? pos->seq - ENVELOPE_CHANGES_MAX : 1);
	int r = store_scan(t->store, buf_slice(&key), buf_slice(&from), last_at_or_before, &l);
	if (r == 0 && !l.found)
		r = -ENOENT;
	buf_clear(&body->bytes);
	if (r == 0)
		r = open_envelope(t, pos, buf_slice(&l.value), &body->bytes);
	buf_fini(&l.value);
	if (r < 0)
		return r == -ENOENT ? r : -EIO;
	body->first = l.first;
	body->last = *pos;
	body->last.seq = l.first + count_changes(&body->bytes) - 1;
	return pos->seq <= body->last.seq ? 0 : -ENOENT;
}

static struct changes_body *find_open(struct changes *c, const struct feed_pos *pos)
{
	for (size_t i = 0; i < countof(c->open); i++) {
		struct changes_body *b = &c->open[i];

		if (b->last.seq && feed_pos_cmp(&b->last, pos) == 0)
			return b;
	}
	return &c->open[c->next++ % countof(c->open)];
}

static int take_change(const struct changes_body *body, uint64_t seq, struct buf *ret)
{
	struct reader b = reader_init(buf_slice(&body->bytes));

	for (uint64_t i = body->first; i < seq; i++)
		(void)reader_bytes(&b, body->bytes.len);
	struct slice change = reader_bytes(&b, body->bytes.len);
	if (b.bad)
		return -EIO;
	buf_slice_append(ret, change);
	return 0;
}

int changes_get(struct changes *c, struct txn *t, const struct feed_pos *pos, struct buf *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct changes_body *body = find_open(c, pos);

	buf_clear(ret);
	if (body->last.seq && feed_pos_cmp(&body->last, pos) == 0 && pos->seq >= body->first &&
	    pos->seq <= body->last.seq)
		return take_change(body, pos->seq, ret);
	feed_key(&key, 'c', &pos->stream, pos->actor);
	buf_be64(&key, pos->seq);
	int r = store_get(t->store, buf_slice(&key), ret);
	if (r != -ENOENT)
		return r;
	r = load_envelope(body, t, pos);
	if (r == -ENOENT)
		return strata_load_change(t, &pos->stream, pos->actor, pos->seq, ret);
	return r < 0 ? r : take_change(body, pos->seq, ret);
}

void changes_fini(struct changes *c)
{
	for (size_t i = 0; i < countof(c->open); i++)
		buf_fini(&c->open[i].bytes);
	*c = (struct changes){0};
}

/* ---- large ones ------------------------------------------------------------------------------- */

/** Fewer operations are decoded as quickly as they are compared; more take 5 MiB. */
#define RECENT_OPS_MIN 64
#define RECENT_OPS_MAX 32768

const struct change *changes_recent(const struct db *db, const struct feed_pos *pos)
{
	return db->recent_pos.seq == pos->seq && pos->seq && feed_pos_cmp(&db->recent_pos, pos) == 0
		       ? &db->recent
		       : NULL;
}

void changes_keep(struct db *db, const struct feed_pos *pos, struct change *c, struct buf *bytes)
{
	if (c->ops.count < RECENT_OPS_MIN || c->ops.count > RECENT_OPS_MAX) {
		change_fini(c);
		return;
	}
	changes_forget(db);
	db->recent = *c;
	db->recent_bytes = *bytes;
	db->recent_pos = *pos;
	*c = (struct change){0};
	*bytes = (struct buf){0};
}

void changes_forget(struct db *db)
{
	change_fini(&db->recent);
	buf_fini(&db->recent_bytes);
	db->recent = (struct change){0};
	db->recent_bytes = (struct buf){0};
	db->recent_pos.seq = 0;
}
