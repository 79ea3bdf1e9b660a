/* Snapshots on one connection; see sync_snapshot.h. */
#include "core/sync_snapshot.h"

#include <stdlib.h>
#include <string.h>

#define GAPS_MAX 65536
#define CURSOR_BYTES_MAX 256
/** Of a feed whose log the peer does not want. */
#define SEQ_ALL UINT64_MAX

enum taking {
	TAKING_NOT,
	TAKING_ASKED,
	TAKING_DONE
};

struct sync_snapshot {
	struct db *db;
	uint64_t peer;
	enum taking taking;
	/* Giving: */
	bool none_wanted;
	bool giving;
	struct id id;
	uint64_t index; /**< of the next piece */
	struct buf cursor;
	/* Giving the log: */
	struct feed_pos *log_vv; /**< what the peer has of it, sorted; NULL: it did not ask */
	uint64_t *log_until;
	size_t log_count;
	uint64_t log_cursor;
	/* Taking the log: */
	bool log_asked;
};

struct sync_snapshot *sync_snapshot_create(struct db *db, uint64_t peer)
{
	struct sync_snapshot *s = xcalloc(1, sizeof(*s));

	s->db = db;
	s->peer = peer;
	return s;
}

void sync_snapshot_destroy(struct sync_snapshot *s)
{
	if (!s)
		return;
	db_snapshot_leave(s->db, s);
	buf_fini(&s->cursor);
	free(s->log_vv);
	free(s->log_until);
	free(s);
}

static void end_taking(struct sync_snapshot *s)
{
	s->taking = TAKING_DONE;
	db_snapshot_leave(s->db, s);
}

/* ---- incoming ----------------------------------------------------------------------------------- */

static int receive_ask(struct sync_snapshot *s, struct reader *r)
{
	struct id asked = id_read(r);
	uint64_t count = reader_varint(r);
	struct slice cursor = reader_bytes(r, CURSOR_BYTES_MAX);

	if (reader_finish(r) < 0)
		return -EBADMSG;
	s->id = asked;
	/* GRANT: a snapshot is of everything. */
	int offered = db_is_bounded(s->db, s->peer) ? 0 : db_snapshot_offer(s->db, &s->id);
	if (offered < 0)
		return offered;
	s->none_wanted = offered == 0;
	s->giving = offered == 1;
	s->index = 1;
	buf_clear(&s->cursor);
	if (count && id_eq(&asked, &s->id)) {
		s->index = count + 1;
		buf_slice_append(&s->cursor, cursor);
	}
	return 0;
}

static int receive_piece(struct sync_snapshot *s, struct reader *r)
{
	struct id id = id_read(r);
	struct slice envelope = reader_take(r, reader_left(r));

	if (r->bad || s->taking != TAKING_ASKED)
		return r->bad ? -EBADMSG : 0;
	int err = db_snapshot_receive(s->db, s->peer, &id, envelope);
	if (err == 1)
		end_taking(s);
	if (err == -EBADMSG || err == -EACCES) { /* then without */
		end_taking(s);
		return db_snapshot_drop(s->db);
	}
	return err < 0 ? err : 0;
}

static int receive_log_ask(struct sync_snapshot *s, struct reader *r)
{
	uint64_t count = reader_varint_max(r, GAPS_MAX);
	struct feed_pos *have = NULL;
	size_t n = db_is_bounded(s->db, s->peer) ? 0 : db_have(s->db, &have);

	free(s->log_vv);
	free(s->log_until);
	s->log_vv = have;
	s->log_count = n;
	s->log_until = xcalloc(n, sizeof(*s->log_until));
	s->log_cursor = 0;
	for (size_t i = 0; i < n; i++)
		have[i].seq = SEQ_ALL;
	for (uint64_t k = 0; k < count && !r->bad; k++) {
		struct id stream = id_read(r);
		uint64_t actor = reader_be64(r);
		uint64_t filled = reader_varint(r);
		uint64_t snap = reader_varint(r);

		for (size_t i = 0; i < n; i++) {
			if (have[i].actor == actor && id_eq(&have[i].stream, &stream) &&
			    filled < snap) {
				have[i].seq = filled;
				s->log_until[i] = snap;
			}
		}
	}
	return reader_finish(r);
}

static int receive_log(struct sync_snapshot *s, struct reader *r)
{
	struct feed_item item = {.packed = reader_u8(r)};

	item.pos.stream = id_read(r);
	item.pos.actor = reader_be64(r);
	struct slice bytes = reader_take(r, reader_left(r));
	if (r->bad)
		return -EBADMSG;
	int err = db_snapshot_fill(s->db, &item, bytes);
	return err == -EIO || err == -ENOSPC ? err : 0;
}

int sync_snapshot_receive(struct sync_snapshot *s, uint8_t type, struct reader *r)
{
	switch ((enum sync_snapshot_message)type) {
	case SYNC_SNAPSHOT_ASK:
		return receive_ask(s, r);
	case SYNC_SNAPSHOT_PIECE:
		return receive_piece(s, r);
	case SYNC_SNAPSHOT_NONE:
		if (s->taking == TAKING_ASKED)
			end_taking(s);
		return reader_finish(r);
	case SYNC_LOG_ASK:
		return receive_log_ask(s, r);
	case SYNC_LOG:
		return receive_log(s, r);
	}
	return -EBADMSG;
}

/* ---- outgoing ----------------------------------------------------------------------------------- */

static int next_piece(struct sync_snapshot *s, struct buf *out)
{
	AUTO(buf_fini) struct buf envelope = {0};
	int r = db_snapshot_piece(s->db, &s->id, s->index, &s->cursor, &envelope);

	if (r == -ESTALE) { /* from the beginning, and another one */
		s->id = (struct id){{0}};
		s->index = 1;
		buf_clear(&s->cursor);
		r = db_snapshot_offer(s->db, &s->id);
		s->giving = r == 1;
		s->none_wanted = r == 0;
		return r < 0 ? r : sync_snapshot_next(s, out);
	}
	if (r < 0)
		return r;
	buf_u8(out, SYNC_SNAPSHOT_PIECE);
	id_write(out, &s->id);
	buf_slice_append(out, buf_slice(&envelope));
	s->index++;
	s->giving = r == 1;
	return 1;
}

int sync_snapshot_next(struct sync_snapshot *s, struct buf *out)
{
	if (s->giving && db_is_bounded(s->db, s->peer)) { /* since it has asked */
		s->giving = false;
		s->none_wanted = true;
	}
	if (s->none_wanted) {
		buf_u8(out, SYNC_SNAPSHOT_NONE);
		s->none_wanted = false;
		return 1;
	}
	return s->giving ? next_piece(s, out) : 0;
}

static int ask(struct sync_snapshot *s, struct buf *out)
{
	AUTO(buf_fini) struct buf cursor = {0};
	struct id id;
	uint64_t count = 0;
	int r = db_snapshot_held(s->db, &id, &count, &cursor);

	if (r < 0)
		return r;
	buf_u8(out, SYNC_SNAPSHOT_ASK);
	id_write(out, &id);
	buf_varint(out, count);
	buf_bytes(out, buf_slice(&cursor));
	s->taking = TAKING_ASKED;
	return 1;
}

int sync_snapshot_before_have(struct sync_snapshot *s, struct buf *out)
{
	if (db_is_installing(s->db)) {
		int r = db_snapshot_step(s->db);

		return r < 0 && r != -EBADMSG ? r : -EAGAIN;
	}
	if (s->taking == TAKING_NOT && db_snapshot_wanted(s->db, s))
		return ask(s, out);
	return db_snapshot_is_pending(s->db) ? -EAGAIN : 0;
}

static int ask_log(struct sync_snapshot *s, struct buf *out)
{
	AUTO(free_ptr) struct snapshot_gap *gaps = NULL;
	size_t n = db_snapshot_gaps(s->db, &gaps);

	if (n == 0)
		return 0;
	buf_u8(out, SYNC_LOG_ASK);
	n = n < GAPS_MAX ? n : GAPS_MAX;
	buf_varint(out, n);
	for (size_t i = 0; i < n; i++) {
		id_write(out, &gaps[i].stream);
		buf_be64(out, gaps[i].actor);
		buf_varint(out, gaps[i].filled);
		buf_varint(out, gaps[i].snap);
	}
	s->log_asked = true;
	return 1;
}

int sync_snapshot_next_log(struct sync_snapshot *s, struct buf *out)
{
	AUTO(buf_fini) struct buf bytes = {0};
	struct feed_item item;

	if (!s->log_asked) {
		int r = ask_log(s, out);

		if (r != 0)
			return r;
	}
	if (!s->log_vv)
		return 0;
	int r = db_next_envelope(s->db, &s->log_cursor, s->log_vv, s->log_count, &item, &bytes);
	if (r <= 0) {
		free(STEAL(s->log_vv));
		return r;
	}
	for (size_t i = 0; i < s->log_count; i++) {
		struct feed_pos *p = &s->log_vv[i];

		if (p->actor == item.pos.actor && id_eq(&p->stream, &item.pos.stream))
			p->seq = item.pos.seq >= s->log_until[i] ? SEQ_ALL : item.pos.seq;
	}
	buf_u8(out, SYNC_LOG);
	buf_u8(out, item.packed);
	id_write(out, &item.pos.stream);
	buf_be64(out, item.pos.actor);
	buf_slice_append(out, buf_slice(&bytes));
	return 1;
}
