/* Asking one peer for chunks, and answering it. */
#include "core/sync_chunks.h"

#include "core/db_chunks.h"
#include "core/log.h"
#include "core/wants.h"

#include <stdlib.h>
#include <string.h>

/** What is asked for at once should come within about this; the window grows and shrinks until it does. */
#define WINDOW_MS_MIN 100
#define WINDOW_MS_MAX 300
#define WINDOW_BYTES_MIN (256u << 10)

struct sync_chunks {
	struct db *db;
	uint64_t peer;

	/* What we asked for. */
	size_t asked;	      /* unanswered */
	uint64_t asked_bytes; /* of these, as far as known */
	uint64_t window;      /* for them */
	size_t timed; /* answers until one WANT was answered, whose time is taken; 0 = none is */
	uint64_t timed_since_ms;
	uint64_t *lacked; /* wants that the peer has nothing more for at the moment */
	size_t lacked_count;
	bool distrusted; /* it sent something else: it is not asked any more */

	/* What it asked for. */
	struct chunk_id wanted[SYNC_CHUNKS_ASKED_MAX]; /* a ring */
	size_t wanted_first;
	size_t wanted_count;
	struct buf lack;      /* ids to be told of */
	uint64_t lack_at;     /* what had arrived when the first of them was looked for */
	bool told_lack;	      /* and not of more since then: */
	uint64_t arrivals_at; /* what had arrived when the first was looked for that it was told of */
};

struct sync_chunks *sync_chunks_create(struct db *db, uint64_t peer)
{
	struct sync_chunks *s = xcalloc(1, sizeof(*s));

	s->db = db;
	s->peer = peer;
	s->window = SYNC_CHUNKS_WINDOW_BYTES / 4;
	return s;
}

void sync_chunks_destroy(struct sync_chunks *s)
{
	if (!s)
		return;
	db_chunks_unask(s->db, s->peer);
	free(s->lacked);
	buf_fini(&s->lack);
	free(s);
}

static struct chunk_id take_id(struct reader *r)
{
	struct chunk_id id;

	reader_copy(r, id.b, sizeof(id.b));
	return id;
}

/* ---- what the peer asks ------------------------------------------------------------------------- */

static int receive_want(struct sync_chunks *s, struct reader *r)
{
	while (reader_left(r)) {
		struct chunk_id id = take_id(r);

		if (r->bad)
			return -EBADMSG;
		if (s->wanted_count == countof(s->wanted))
			return -EPROTO;
		s->wanted[(s->wanted_first + s->wanted_count++) % countof(s->wanted)] = id;
	}
	return 0;
}

int sync_chunks_next_bulk(struct sync_chunks *s, struct buf *out)
{
	while (s->wanted_count) {
		struct chunk_id id = s->wanted[s->wanted_first];
		uint64_t arrivals = db_chunks_arrivals(s->db);

		s->wanted_first = (s->wanted_first + 1) % countof(s->wanted);
		s->wanted_count--;
		buf_clear(out);
		buf_u8(out, SYNC_CHUNKS_CHUNK);
		buf_append(out, id.b, sizeof(id.b));
		/* GRANT: chunks have no stream, and a relay no key to them. */
		if (!db_is_bounded(s->db, s->peer) && db_chunks_send(s->db, &id, out) == 0)
			return 1;
		if (s->lack.len == 0)
			s->lack_at = arrivals;
		buf_append(&s->lack, id.b, sizeof(id.b));
	}
	return sync_chunks_next(s, out);
}

static bool next_lack(struct sync_chunks *s, struct buf *out)
{
	/* All at once, when the rest was answered: the peer asks anew then. */
	if (s->lack.len == 0 || s->wanted_count)
		return false;
	if (!s->told_lack || s->lack_at < s->arrivals_at)
		s->arrivals_at = s->lack_at;
	s->told_lack = true;
	buf_u8(out, SYNC_CHUNKS_LACK);
	buf_slice_append(out, buf_slice(&s->lack));
	buf_clear(&s->lack);
	return true;
}

static bool next_more(struct sync_chunks *s, struct buf *out)
{
	if (!s->told_lack || db_chunks_arrivals(s->db) == s->arrivals_at)
		return false;
	s->told_lack = false;
	buf_u8(out, SYNC_CHUNKS_MORE);
	return true;
}

/* ---- what we ask -------------------------------------------------------------------------------- */

static bool next_want(struct sync_chunks *s, struct buf *out)
{
	struct chunk_id ids[SYNC_CHUNKS_ASKED_MAX];
	struct wants_asking a = {.peer = s->peer,
				 .lacked = s->lacked,
				 .lacked_count = s->lacked_count,
				 .count_max = SYNC_CHUNKS_ASKED_MAX - s->asked};

	/* Half a window at a time, so that a WANT carries several. */
	if (s->distrusted || s->asked > SYNC_CHUNKS_ASKED_MAX / 2 || s->asked_bytes > s->window / 2)
		return false;
	a.bytes_max = s->window - s->asked_bytes;
	size_t n = db_chunks_ask(s->db, &a, ids);
	if (n == 0)
		return false;
	buf_u8(out, SYNC_CHUNKS_WANT);
	for (size_t i = 0; i < n; i++) {
		buf_append(out, ids[i].b, sizeof(ids[i].b));
		s->asked_bytes += db_chunks_missing(s->db, &ids[i]);
	}
	s->asked += n;
	if (s->timed == 0) {
		s->timed = s->asked;
		s->timed_since_ms = db_now_ms(s->db);
	}
	return true;
}

/* A WANT was answered: how long did it take with all that was before it? */
static void adapt(struct sync_chunks *s)
{
	uint64_t ms = db_now_ms(s->db) - s->timed_since_ms;

	if (ms > WINDOW_MS_MAX && s->window > WINDOW_BYTES_MIN)
		s->window /= 2;
	else if (ms < WINDOW_MS_MIN && s->window < SYNC_CHUNKS_WINDOW_BYTES)
		s->window *= 2;
}

/* One of what we asked for was answered. */
static int answered(struct sync_chunks *s, uint64_t bytes)
{
	if (s->asked == 0)
		return -EPROTO;
	s->asked--;
	if (s->timed && --s->timed == 0)
		adapt(s);
	s->asked_bytes = s->asked == 0 || bytes > s->asked_bytes ? 0 : s->asked_bytes - bytes;
	return 0;
}

static int receive_chunk(struct sync_chunks *s, struct reader *r)
{
	struct chunk_id id = take_id(r);
	struct slice sealed = reader_take(r, reader_left(r));

	if (r->bad)
		return -EBADMSG;
	int e = answered(s, sealed.len);
	if (e < 0)
		return e;
	e = db_chunks_arrived(s->db, &id, sealed);
	if (e != -EBADMSG)
		return e < 0 ? e : 0;
	if (!s->distrusted)
		log_warn("a device sent a chunk that is not what its name says; it is not asked for more");
	s->distrusted = true;
	db_chunks_unask(s->db, s->peer);
	return 0;
}

static int receive_lack(struct sync_chunks *s, struct reader *r)
{
	while (reader_left(r)) {
		struct chunk_id id = take_id(r);

		if (r->bad)
			return -EBADMSG;
		int e = answered(s, db_chunks_missing(s->db, &id));
		if (e < 0)
			return e;
		uint64_t serial = db_chunks_lacked(s->db, s->peer, &id);
		if (serial == 0 || (s->lacked_count && s->lacked[s->lacked_count - 1] == serial))
			continue;
		s->lacked = xreallocarray(s->lacked, s->lacked_count + 1, sizeof(*s->lacked));
		s->lacked[s->lacked_count++] = serial;
	}
	return 0;
}

int sync_chunks_receive(struct sync_chunks *s, uint8_t type, struct reader *r)
{
	switch ((enum sync_chunks_message)type) {
	case SYNC_CHUNKS_WANT:
		return receive_want(s, r);
	case SYNC_CHUNKS_CHUNK:
		return receive_chunk(s, r);
	case SYNC_CHUNKS_LACK:
		return receive_lack(s, r);
	case SYNC_CHUNKS_MORE:
		s->lacked_count = 0;
		return reader_finish(r);
	}
	return -EBADMSG;
}

int sync_chunks_next(struct sync_chunks *s, struct buf *out)
{
	buf_clear(out);
	return next_lack(s, out) || next_more(s, out) || next_want(s, out);
}
