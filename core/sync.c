/*
 * The sync engine of one connection; see sync.h for the messages.
 *
 * A connection begins with a barrier (db_sync), so that what DIGEST and HAVE state is durable here; what is
 * acknowledged, ACK alone says, for a change may be here without its chunks. From then on `vv` is what the peer holds or was sent, and
 * `cursor` walks our envelopes in order of arrival.
 */
#include "core/sync.h"

#include "core/compact.h"
#include "core/quarantine.h"
#include "core/sync_chunks.h"
#include "core/sync_contacts.h"
#include "core/sync_feeds.h"
#include "core/sync_kept.h"
#include "core/sync_snapshot.h"
#include "core/sync_strata.h"
#include "core/vv.h"

#include <stdlib.h>
#include <string.h>

enum message {
	MESSAGE_HELLO = 1,
	MESSAGE_DIGEST = 2,
	MESSAGE_HAVE = 3,
	MESSAGE_ENVELOPE = 4,
	MESSAGE_ACK = 5,
	MESSAGE_THIN = 15,
	MESSAGE_HAVE_AUTH = 17,
	MESSAGE_STRATUM = 20,
};

#define ENDPOINT_MAX 255
#define CONTACTS_BYTES 8

/** What we last told this peer of one device's acknowledgements. */
struct told {
	uint64_t device;
	struct vv vv;
};

struct sync {
	struct db *db;
	uint64_t peer;
	uint64_t now_ms;
	char endpoint[ENDPOINT_MAX + 1];
	char peer_endpoint[ENDPOINT_MAX + 1];
	bool hello_sent;
	bool digest_sent;
	bool have_wanted; /**< a HAVE has to go out */
	bool have_sent;
	bool hello_came;
	bool vv_known;
	bool auth_known; /**< vv says what it has of `auth`, at least */
	bool auth_told;
	bool stuck; /**< something could not be applied: ask again after the next change here */
	uint64_t stuck_at;
	struct vv vv;
	uint64_t cursor;
	uint64_t gaps_filled;	   /**< when the cursor was set out */
	uint64_t granted_at;	   /**< db_grant_revision() then, if the peer does not get all */
	struct sync_strata strata; /**< that wait */
	uint64_t idle_at; /**< generation at which there was nothing left to say; 0 = look */
	bool in_sync;
	int64_t clock_skew_ms;
	struct told *told;
	size_t told_count;
	struct sync_contacts contacts;
	struct sync_kept kept;
	struct sync_feeds feeds;
	struct sync_chunks *chunks;
	struct sync_snapshot *snapshot;
};

/* As it is in ACK. */
static int vv_read_short(struct sync *s, struct reader *r, struct vv *ret)
{
	uint64_t count = reader_varint_max(r, VV_ENTRIES_MAX);

	if (r->bad || count > reader_left(r) / 2)
		return -EBADMSG;
	ret->pos = xcalloc((size_t)count, sizeof(*ret->pos));
	for (uint64_t i = 0; i < count && !r->bad; i++) {
		struct feed_pos *p = &ret->pos[ret->count++];

		*p = sync_feeds_read(&s->feeds, r);
		p->seq = reader_varint(r);
	}
	return vv_finish(r, ret);
}

struct sync *sync_create(const struct sync_options *options)
{
	struct sync *s = xcalloc(1, sizeof(*s));

	s->db = options->db;
	s->peer = options->peer;
	s->now_ms = options->now_ms;
	s->chunks = sync_chunks_create(s->db, s->peer);
	s->snapshot = sync_snapshot_create(s->db, s->peer);
	(void)strncpy(s->endpoint, options->endpoint, ENDPOINT_MAX);
	return s;
}

void sync_destroy(struct sync *s)
{
	if (!s)
		return;
	vv_fini(&s->vv);
	sync_strata_fini(&s->strata);
	sync_contacts_fini(&s->contacts);
	sync_kept_fini(&s->kept);
	sync_feeds_fini(&s->feeds);
	for (size_t i = 0; i < s->told_count; i++)
		vv_fini(&s->told[i].vv);
	free(s->told);
	sync_chunks_destroy(s->chunks);
	sync_snapshot_destroy(s->snapshot);
	free(s);
}

/* GRANT: leaves what the peer may hear of. Returns how many. */
static size_t leave_granted(struct sync *s, struct feed_pos *pos, size_t n)
{
	size_t kept = 0;

	if (!db_is_bounded(s->db, s->peer))
		return n;
	for (size_t i = 0; i < n; i++) {
		if (db_may_have(s->db, s->peer, &pos[i].stream))
			pos[kept++] = pos[i];
	}
	return kept;
}

/* What is here, as far as it concerns the peer. */
static size_t have(struct sync *s, struct feed_pos **ret)
{
	size_t n = db_have(s->db, ret);

	n = leave_granted(s, *ret, n);
	return db_is_outside(s->db, s->peer) ? sync_kept_have(s->db, s->peer, ret, n) : n;
}

static void digest_of(struct sync *s, uint8_t out[DIGEST_BYTES])
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct feed_pos *here = NULL;
	size_t n = have(s, &here);

	vv_write(&bytes, here, n);
	free(here);
	struct slice part = buf_slice(&bytes);
	digest(out, "blaze have", &part, 1);
}

/* ---- incoming --------------------------------------------------------------------------------- */

static int receive_hello(struct sync *s, struct reader *r)
{
	uint64_t version = reader_varint(r);
	struct id id = id_read(r);
	struct id ours = db_id(s->db);
	uint64_t clock = reader_varint(r);
	struct slice endpoint = reader_bytes(r, ENDPOINT_MAX);
	struct slice contacts = reader_take(r, CONTACTS_BYTES);
	uint8_t our_contacts[CONTACTS_BYTES];

	if (reader_finish(r) < 0)
		return -EBADMSG;
	if (s->hello_came || version != SYNC_VERSION || !id_eq(&id, &ours) ||
	    memchr(endpoint.data, 0, endpoint.len))
		return -EPROTO;
	s->hello_came = true;
	contact_digest(s->db, our_contacts);
	sync_contacts_start(&s->contacts, s->db,
			    memcmp(our_contacts, contacts.data, sizeof(our_contacts)) == 0);
	db_heard(s->db, s->peer);
	s->clock_skew_ms = (int64_t)(clock - s->now_ms);
	memcpy(s->peer_endpoint, endpoint.data, endpoint.len);
	return 0;
}

/* The peer stated this after a barrier: it holds it durably, and its own all in all. */
static int set_peer_vv(struct sync *s, struct vv *vv)
{
	int r = 0;

	vv_fini(&s->vv);
	s->vv = *vv;
	*vv = (struct vv){0};
	s->vv_known = true;
	s->cursor = 0;
	s->kept.confined = 0;
	for (size_t i = 0; r >= 0 && i < s->vv.count; i++) {
		if (s->vv.pos[i].actor == s->peer)
			r = db_set_acked(s->db, s->peer, &s->vv.pos[i], 1);
	}
	return r < 0 ? r : 0;
}

static int receive_digest(struct sync *s, struct reader *r)
{
	uint8_t ours[DIGEST_BYTES];
	struct slice theirs = reader_take(r, DIGEST_BYTES);

	if (reader_finish(r) < 0)
		return -EBADMSG;
	int sealed = db_seal(s->db);
	if (sealed < 0)
		return sealed;
	digest_of(s, ours);
	if (memcmp(ours, theirs.data, sizeof(ours)) != 0) {
		s->have_wanted = true;
		return 0;
	}
	struct vv same = {0};
	same.count = have(s, &same.pos);
	int err = set_peer_vv(s, &same);
	vv_fini(&same);
	return err;
}

static int receive_have(struct sync *s, struct reader *r)
{
	struct vv vv = {0};
	int err = vv_read(r, &vv);

	if (err == 0)
		err = set_peer_vv(s, &vv);
	vv_fini(&vv);
	/* The digests may have looked equal to us, and not to the peer, whom changes reached in between. */
	s->have_wanted = s->have_wanted || !s->have_sent;
	return err;
}

/* OUTSIDE, as the peer sees it, or so we hear: no more than `auth` is said yet. */
static int receive_have_auth(struct sync *s, struct reader *r)
{
	struct vv vv = {0};
	int err = vv_read(r, &vv);

	if (err == 0 && !s->vv_known) {
		vv_fini(&s->vv);
		s->vv = vv;
		s->auth_known = true;
		s->cursor = 0;
		s->have_wanted = s->have_wanted || !s->have_sent;
		return 0;
	}
	vv_fini(&vv);
	return err;
}

static int receive_envelope(struct sync *s, struct reader *r, bool thin)
{
	struct feed_pos pos = sync_feeds_read(&s->feeds, r);
	struct slice envelope = reader_take(r, reader_left(r));
	if (r->bad)
		return -EBADMSG;
	int err = thin ? db_apply_thin(s->db, &pos.stream, pos.actor, envelope, &pos.seq)
		       : db_apply_envelope(s->db, &pos.stream, pos.actor, envelope, &pos.seq);
	if ((err == -EACCES || err == -EBADMSG) && !sync_kept_may_go_on(&s->kept, s->db, s->peer))
		return -EACCES;
	if (err == -EAGAIN || err == -EACCES) {
		s->stuck = true;
		s->stuck_at = db_generation(s->db);
		return 0;
	}
	if (err == -EBADMSG)
		return 0; /* counted there; one bad feed must not cut the others off */
	if (err < 0 || err == DB_KEPT)
		return err < 0 ? err : 0;
	vv_raise(&s->vv, &pos);
	return s->strata.count ? sync_strata_retry(&s->strata) : 0;
}

static int receive_stratum(struct sync *s, struct reader *r)
{
	struct feed_pos pos = sync_feeds_read(&s->feeds, r);
	struct slice packed = reader_take(r, reader_left(r));

	if (r->bad)
		return -EBADMSG;
	if (db_is_outside(s->db, s->peer))
		return 0;
	int err = sync_strata_receive(&s->strata, s->db, packed, &pos);
	if (err == -EAGAIN || err == -EACCES) {
		s->stuck = true;
		s->stuck_at = db_generation(s->db);
	} else if (err == 0) {
		vv_raise(&s->vv, &pos);
	} else if (err != -EBADMSG) {
		return err;
	}
	return 0;
}

static int receive_ack(struct sync *s, struct reader *r)
{
	uint64_t device = reader_be64(r);
	struct vv vv = {0};
	int err = vv_read_short(s, r, &vv);

	if (err == 0 && !db_is_outside(s->db, s->peer))
		err = db_set_acked(s->db, device, vv.pos, vv.count);
	vv_fini(&vv);
	return err < 0 ? err : 0;
}

static int receive_kept(struct sync *s, struct reader *r)
{
	struct vv vv = {0};
	int err = vv_read(r, &vv);

	if (err == 0)
		sync_kept_receive(&s->kept, s->db, vv.pos, vv.count);
	else
		vv_fini(&vv);
	return err;
}

int sync_receive(struct sync *s, struct slice message)
{
	struct reader r = reader_init(message);
	uint8_t type = reader_u8(&r);

	if (type != MESSAGE_HELLO && !s->hello_came)
		return -EPROTO;
	if (type >= SYNC_CHUNKS_WANT && type <= SYNC_CHUNKS_MORE)
		return sync_chunks_receive(s->chunks, type, &r);
	s->idle_at = 0;
	if (!sync_kept_listens(s->db, s->peer, type))
		return 0;
	if (type >= SYNC_SNAPSHOT_ASK && type <= SYNC_LOG)
		return sync_snapshot_receive(s->snapshot, type, &r);
	switch (type) {
	case MESSAGE_HELLO:
		return receive_hello(s, &r);
	case MESSAGE_DIGEST:
		return receive_digest(s, &r);
	case MESSAGE_HAVE:
		return receive_have(s, &r);
	case MESSAGE_HAVE_AUTH:
		return receive_have_auth(s, &r);
	case MESSAGE_ENVELOPE:
	case MESSAGE_THIN:
		return receive_envelope(s, &r, type == MESSAGE_THIN);
	case MESSAGE_STRATUM:
		return receive_stratum(s, &r);
	case MESSAGE_ACK:
		return receive_ack(s, &r);
	case SYNC_ENDPOINT:
		return sync_contacts_receive(&s->contacts, s->db, &r);
	case SYNC_KEPT:
		return receive_kept(s, &r);
	default:
		return -EBADMSG;
	}
}

/* ---- outgoing --------------------------------------------------------------------------------- */

static void next_hello(struct sync *s, struct buf *out)
{
	struct id id = db_id(s->db);
	uint8_t contacts[CONTACTS_BYTES];

	buf_u8(out, MESSAGE_HELLO);
	buf_varint(out, SYNC_VERSION);
	id_write(out, &id);
	buf_varint(out, s->now_ms);
	buf_bytes(out, SLICE_STR(s->endpoint));
	contact_digest(s->db, contacts);
	buf_append(out, contacts, sizeof(contacts));
	s->hello_sent = true;
}

static int next_digest(struct sync *s, struct buf *out)
{
	uint8_t ours[DIGEST_BYTES];
	int r = db_seal(s->db);

	if (r == 0)
		r = db_sync(s->db);
	if (r < 0)
		return r;
	digest_of(s, ours);
	buf_u8(out, MESSAGE_DIGEST);
	buf_append(out, ours, sizeof(ours));
	s->digest_sent = true;
	return 1;
}

static int next_have(struct sync *s, struct buf *out)
{
	struct feed_pos *here = NULL;
	int r = db_sync(s->db);

	if (r < 0)
		return r;
	size_t n = have(s, &here);
	buf_u8(out, MESSAGE_HAVE);
	vv_write(out, here, n);
	free(here);
	s->have_wanted = false;
	s->have_sent = true;
	s->stuck = false;
	return 1;
}

static int next_have_auth(struct sync *s, struct buf *out)
{
	struct feed_pos *here = NULL;
	int r = db_sync(s->db);

	if (r < 0)
		return r;
	size_t n = db_have(s->db, &here);
	n = leave_granted(s, here, n);
	buf_u8(out, MESSAGE_HAVE_AUTH);
	vv_write(out, here, n);
	free(here);
	s->auth_told = true;
	return 1;
}

static int sync_own(struct sync *s, const struct feed_pos *pos)
{
	struct vv durable = {0};

	durable.count = db_durable(s->db, &durable.pos);
	const struct feed_pos *have = vv_find(&durable, pos);
	bool safe = have && have->seq >= pos->seq;
	vv_fini(&durable);
	return safe ? 0 : db_sync(s->db);
}

static void put_envelope(struct sync *s, const struct feed_item *item, struct slice envelope,
			 struct buf *out)
{
	buf_u8(out, item->packed ? MESSAGE_STRATUM : MESSAGE_THIN);
	sync_feeds_write(&s->feeds, &item->pos, out);
	if (!item->packed && db_thin_envelope(s->db, s->peer, item, envelope, out) == 0)
		return;
	if (!item->packed)
		out->data[0] = MESSAGE_ENVELOPE;
	buf_slice_append(out, envelope);
}

/* The next envelope that the peer lacks and may have. */
static int find_envelope(struct sync *s, uint64_t *cursor, struct feed_item *ret_item,
			 struct buf *ret)
{
	bool bounded = db_is_bounded(s->db, s->peer);
	uint64_t revision = bounded ? db_grant_revision(s->db) : 0;
	int r = 0;

	if (revision != s->granted_at)
		*cursor = 0; /* what was passed over may be for it now */
	s->granted_at = revision;
	bool confined = db_is_removed(s->db);
	if (confined)
		sync_kept_confine(&s->kept, s->db, &s->vv.pos, &s->vv.count);
	do {
		buf_clear(ret);
		r = db_next_envelope(s->db, cursor, s->vv.pos, s->vv.count, ret_item, ret);
	} while (r > 0 && ((bounded && !db_may_have(s->db, s->peer, &ret_item->pos.stream)) ||
			   (confined && !db_gives(s->db, &ret_item->pos)) ||
			   (!s->vv_known && !db_is_auth(s->db, &ret_item->pos.stream))));
	return r;
}

static int next_envelope(struct sync *s, struct buf *out)
{
	AUTO(buf_fini) struct buf envelope = {0};
	struct feed_item item;
	int r = db_seal(s->db);

	if (r < 0)
		return r;
	uint64_t filled = db_snapshot_gaps_filled(s->db);
	uint64_t cursor = filled == s->gaps_filled ? s->cursor : 0;
	s->gaps_filled = filled;
	r = find_envelope(s, &cursor, &item, &envelope);
	/* A number given away must never be issued again after a power cut: durable first. */
	if (r > 0 && item.pos.actor == db_actor(s->db)) {
		int err = sync_own(s, &item.pos);

		r = err < 0 ? err : r;
	}
	if (r >= 0)
		s->cursor = cursor;
	if (r <= 0)
		return r;
	put_envelope(s, &item, buf_slice(&envelope), out);
	vv_raise(&s->vv, &item.pos);
	return 1;
}

/* What is kept here of others, and not there. */
static int next_kept(struct sync *s, struct buf *out)
{
	AUTO(buf_fini) struct buf envelope = {0};
	struct feed_item item;
	int r = sync_kept_next(&s->kept, s->db, s->vv.pos, s->vv.count, &item, &envelope);

	if (r <= 0)
		return r;
	buf_u8(out, MESSAGE_ENVELOPE);
	sync_feeds_write(&s->feeds, &item.pos, out);
	buf_slice_append(out, buf_slice(&envelope));
	return r;
}

static bool next_kept_list(struct sync *s, struct buf *out)
{
	struct feed_pos *list = NULL;
	size_t n = 0;

	if (!s->vv_known || !sync_kept_tell(&s->kept, s->db, &list, &n))
		return false;
	buf_u8(out, SYNC_KEPT);
	vv_write(out, list, n);
	free(list);
	return true;
}

static struct told *told_of(struct sync *s, uint64_t device)
{
	for (size_t i = 0; i < s->told_count; i++) {
		if (s->told[i].device == device)
			return &s->told[i];
	}
	s->told = xreallocarray(s->told, s->told_count + 1, sizeof(*s->told));
	struct told *t = &s->told[s->told_count++];
	*t = (struct told){.device = device};
	return t;
}

/* What `device` holds and this peer was not told yet. Takes `now`. */
static bool next_ack_of(struct sync *s, uint64_t device, struct vv *now, struct buf *out)
{
	AUTO(buf_fini) struct buf entries = {0};
	struct told *t = told_of(s, device);
	size_t n = 0;

	for (size_t i = 0; i < now->count; i++) {
		const struct feed_pos *p = &now->pos[i];
		const struct feed_pos *before = vv_find(&t->vv, p);

		if (p->seq == 0 || p->actor == device || (before && before->seq >= p->seq))
			continue; /* that an author holds its own feed goes without saying */
		sync_feeds_write(&s->feeds, p, &entries);
		buf_varint(&entries, p->seq);
		n++;
	}
	vv_fini(&t->vv);
	t->vv = *now;
	*now = (struct vv){0};
	if (n == 0)
		return false;
	buf_u8(out, MESSAGE_ACK);
	buf_be64(out, device);
	buf_varint(out, n);
	buf_slice_append(out, buf_slice(&entries));
	return true;
}

/* Our own acknowledgement, then those of third devices that this peer may not see directly. */
static bool next_ack(struct sync *s, struct buf *out)
{
	struct vv now = {0};
	struct device *peers = NULL;

	now.count = db_durable(s->db, &now.pos);
	now.count = leave_granted(s, now.pos, now.count);
	bool found = next_ack_of(s, db_actor(s->db), &now, out);
	vv_fini(&now);
	size_t n = found ? 0 : db_peers(s->db, &peers);
	for (size_t i = 0; !found && i < n; i++) {
		if (peers[i].actor == s->peer)
			continue;
		now.count = db_get_acked(s->db, peers[i].actor, &now.pos);
		now.count = leave_granted(s, now.pos, now.count);
		found = next_ack_of(s, peers[i].actor, &now, out);
		vv_fini(&now);
	}
	free(peers);
	return found;
}

/*
 * Our changes are acknowledged, everything the peer has is here, and it was told so. What others made
 * need not be acknowledged by the one who sent it.
 */
static bool same_changes(struct sync *s)
{
	struct vv here = {0};
	struct vv acked = {0};
	const struct vv *told = &told_of(s, db_actor(s->db))->vv;
	bool same = true;

	here.count = have(s, &here.pos);
	acked.count = db_get_acked(s->db, s->peer, &acked.pos);
	for (size_t i = 0; same && i < here.count; i++) {
		const struct feed_pos *p = &here.pos[i];

		if (p->actor == db_actor(s->db))
			same = vv_holds(&acked, p);
		else
			same = vv_holds(&s->vv, p) && vv_holds(told, p);
	}
	for (size_t i = 0; same && i < s->vv.count; i++)
		same = vv_holds(&here, &s->vv.pos[i]);
	vv_fini(&here);
	vv_fini(&acked);
	return same;
}

static int next_background(struct sync *s, struct buf *out)
{
	int r = s->vv_known ? sync_snapshot_next_log(s->snapshot, out) : 0;

	return r != 0 ? r : sync_chunks_next_bulk(s->chunks, out);
}

static int next(struct sync *s, bool content, struct buf *out)
{
	buf_clear(out);
	if (!s->hello_sent) {
		next_hello(s, out);
		return 1;
	}
	if (!s->hello_came)
		return 0;
	if (s->vv_known && sync_chunks_next(s->chunks, out))
		return 1;
	uint64_t generation = db_generation(s->db);
	if (s->idle_at == generation + 1)
		return content ? next_background(s, out) : 0;
	int waited = s->strata.count ? sync_strata_retry(&s->strata) : 0;
	if (waited < 0)
		return waited;
	if (!s->digest_sent)
		return next_digest(s, out);
	int r = content ? sync_snapshot_next(s->snapshot, out) : 0;
	if (r != 0)
		return r;
	bool outside = db_is_outside(s->db, s->peer);
	bool known = s->vv_known || s->auth_known;
	/* OUTSIDE: who was removed hears of it before it hears what is wanted of it. */
	if (outside && s->have_wanted && !s->auth_told)
		r = next_have_auth(s, out);
	else if (outside && known && content)
		r = next_envelope(s, out);
	if (r != 0)
		return r;
	if ((s->have_wanted || (s->stuck && generation != s->stuck_at)) &&
	    (!outside || (known && content))) {
		r = outside ? 0 : sync_snapshot_before_have(s->snapshot, out);
		if (r == 0)
			r = next_have(s, out);
		if (r != -EAGAIN)
			return r;
	}
	r = known && content && !outside ? next_envelope(s, out) : 0;
	if (r != 0)
		return r;
	if (next_ack(s, out))
		return 1;
	/* A relay dials nobody: where people's devices are is not its business. */
	bool bounded = db_is_bounded(s->db, s->peer);
	r = bounded ? 0 : sync_contacts_next(&s->contacts, s->db, s->peer, out);
	if (r == 0 && !bounded)
		r = next_kept_list(s, out);
	if (r == 0 && !bounded && content)
		r = next_kept(s, out);
	if (r != 0)
		return r;
	if (!content)
		return 0;
	s->in_sync = s->vv_known && !s->stuck && !s->have_wanted && same_changes(s);
	s->idle_at = generation + 1;
	return next_background(s, out);
}

int sync_next(struct sync *s, struct buf *out)
{
	return next(s, true, out);
}

int sync_next_free(struct sync *s, struct buf *out)
{
	return next(s, false, out);
}

bool sync_costs(struct slice message)
{
	static const uint8_t types[] = {MESSAGE_ENVELOPE, MESSAGE_THIN, MESSAGE_STRATUM,
					SYNC_SNAPSHOT_PIECE, SYNC_LOG};

	return message.len > 0 && memchr(types, message.data[0], sizeof(types));
}

int sync_settle(struct sync *s)
{
	return db_sync(s->db);
}

void sync_get_info(const struct sync *s, struct sync_info *ret)
{
	*ret = (struct sync_info){
		.hello = s->hello_came,
		.in_sync = s->in_sync,
		.clock_skew_ms = s->clock_skew_ms,
		.endpoint = s->peer_endpoint,
	};
}
