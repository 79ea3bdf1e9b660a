/* Streams of one connection. */
#include "net/mux.h"

#include <stdlib.h>
#include <string.h>

enum control {
	CONTROL_OPEN = 1,
	CONTROL_ACCEPT = 2,
	CONTROL_REFUSE = 3,
	CONTROL_CLOSE = 4,
	CONTROL_CREDIT = 5,
	CONTROL_PING = 6,
	CONTROL_PONG = 7,
};

/* Nobody has a reason to give more. */
#define CREDIT_MAX (1 << 30)
/* Answers to OPENs that the peer does not fetch: then it only makes us remember them. */
#define CONTROL_BYTES_MAX 65536

struct stream {
	uint64_t number;
	void *user;
	int64_t credit; /* what may still be sent */
	int64_t taken;	/* what came, and was not given back */
};

struct mux {
	struct mux_handler handler;
	bool initiator;
	struct stream streams[MUX_STREAMS_MAX];
	size_t count;
	size_t turn;	   /* whose it is */
	uint64_t next_own; /* the number our next stream gets */
	uint64_t last_theirs;
	int64_t credit; /* of the connection: number 0 in CREDIT */
	int64_t taken;
	struct buf control; /* to be sent */
	struct buf message;
	bool ping_wanted;
	uint64_t ping;
	bool pong_wanted;
	uint64_t pong;
	bool pong_came;
	uint64_t pong_token;
};

struct mux *mux_create(const struct mux_handler *handler, bool initiator)
{
	struct mux *m = xcalloc(1, sizeof(*m));

	m->handler = *handler;
	m->initiator = initiator;
	m->credit = MUX_CREDIT;
	m->next_own = initiator ? 1 : 2;
	return m;
}

void mux_destroy(struct mux *m)
{
	if (!m)
		return;
	buf_fini(&m->control);
	if (m->message.data)
		wipe(m->message.data, m->message.cap);
	buf_fini(&m->message);
	free(m);
}

void mux_tag(const uint8_t handshake_hash[32], const struct id *database, uint8_t ret[MUX_TAG_BYTES])
{
	const struct slice parts[] = {SLICE(handshake_hash, 32), SLICE(database->b, 16)};
	struct id tag = digest_id("blaze database", parts, countof(parts));

	memcpy(ret, tag.b, MUX_TAG_BYTES);
}

/* ---- streams -------------------------------------------------------------------------------- */

static struct stream *find(struct mux *m, uint64_t number)
{
	for (size_t i = 0; i < m->count; i++) {
		if (m->streams[i].number == number)
			return &m->streams[i];
	}
	return NULL;
}

static int add(struct mux *m, uint64_t number, void *user)
{
	if (m->count == MUX_STREAMS_MAX)
		return -ENOSPC;
	m->streams[m->count++] =
		(struct stream){.number = number, .user = user, .credit = MUX_STREAM_CREDIT};
	return 0;
}

static void drop(struct mux *m, struct stream *s)
{
	*s = m->streams[--m->count];
}

static void say(struct mux *m, enum control what, uint64_t number)
{
	buf_u8(&m->control, (uint8_t)what);
	buf_varint(&m->control, number);
}

int mux_open(struct mux *m, const uint8_t tag[MUX_TAG_BYTES], void *user)
{
	int r = add(m, m->next_own, user);

	if (r < 0)
		return r;
	say(m, CONTROL_OPEN, m->next_own);
	buf_append(&m->control, tag, MUX_TAG_BYTES);
	m->next_own += 2;
	return 0;
}

void mux_close(struct mux *m, const void *user)
{
	for (size_t i = 0; i < m->count; i++) {
		if (m->streams[i].user != user)
			continue;
		say(m, CONTROL_CLOSE, m->streams[i].number);
		drop(m, &m->streams[i]);
		return;
	}
}

size_t mux_stream_count(const struct mux *m)
{
	return m->count;
}

/* ---- control -------------------------------------------------------------------------------- */

static int receive_open(struct mux *m, struct reader *r)
{
	uint64_t number = reader_varint(r);
	struct slice tag = reader_take(r, MUX_TAG_BYTES);

	if (r->bad)
		return -EBADMSG;
	if (number % 2 == (m->initiator ? 1 : 0) || number <= m->last_theirs)
		return -EPROTO;
	m->last_theirs = number;
	void *user = m->count < MUX_STREAMS_MAX ? m->handler.opened(m->handler.ctx, tag.data) : NULL;
	say(m, user ? CONTROL_ACCEPT : CONTROL_REFUSE, number);
	return user ? add(m, number, user) : 0;
}

static int receive_end(struct mux *m, struct reader *r)
{
	uint64_t number = reader_varint(r);
	struct stream *s = r->bad ? NULL : find(m, number);

	if (r->bad)
		return -EBADMSG;
	if (!s)
		return 0; /* both ended it */
	void *user = s->user;
	drop(m, s);
	m->handler.closed(user);
	return 0;
}

static int receive_credit(struct mux *m, struct reader *r)
{
	uint64_t number = reader_varint(r);
	uint64_t bytes = reader_varint_max(r, CREDIT_MAX);
	struct stream *s = number ? find(m, number) : NULL;

	if (r->bad)
		return -EBADMSG;
	int64_t *credit = number == 0 ? &m->credit : s ? &s->credit : NULL;
	if (!credit)
		return 0;
	*credit += (int64_t)bytes;
	return *credit > CREDIT_MAX ? -EPROTO : 0;
}

static int receive_control(struct mux *m, struct reader *r)
{
	switch (reader_u8(r)) {
	case CONTROL_OPEN:
		return receive_open(m, r);
	case CONTROL_ACCEPT:
		(void)reader_varint(r); /* it is in use already */
		break;
	case CONTROL_REFUSE:
	case CONTROL_CLOSE:
		return receive_end(m, r);
	case CONTROL_CREDIT:
		return receive_credit(m, r);
	case CONTROL_PING:
		m->pong = reader_be64(r);
		m->pong_wanted = true;
		break;
	case CONTROL_PONG:
		m->pong_token = reader_be64(r);
		m->pong_came = true;
		break;
	default:
		return -EBADMSG;
	}
	return r->bad ? -EBADMSG : 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

static void say_credit(struct mux *m, uint64_t number, int64_t bytes)
{
	say(m, CONTROL_CREDIT, number);
	buf_varint(&m->control, (uint64_t)bytes);
}

/* CREDIT: what this stream took is durable, and may come again. */
static int settle(struct mux *m, struct stream *s)
{
	int r = m->handler.settle(s->user);

	if (r < 0)
		return r;
	say_credit(m, s->number, s->taken);
	say_credit(m, 0, s->taken);
	m->taken -= s->taken;
	s->taken = 0;
	return 0;
}

static int settle_all(struct mux *m)
{
	for (size_t i = 0; i < m->count; i++) {
		int r = m->streams[i].taken > 0 ? settle(m, &m->streams[i]) : 0;

		if (r < 0)
			return r;
	}
	say_credit(m, 0, m->taken); /* of streams that ended */
	m->taken = 0;
	return 0;
}

static int take(struct mux *m, uint64_t number, size_t bytes)
{
	struct stream *s = find(m, number);

	m->taken += (int64_t)bytes;
	if (s)
		s->taken += (int64_t)bytes;
	if (m->taken >= MUX_CREDIT / 2)
		return settle_all(m);
	return s && s->taken >= MUX_STREAM_CREDIT / 2 ? settle(m, s) : 0;
}

/* Whether there was such a stream: it ended here, and the peer has not heard of it yet. */
static bool is_past(const struct mux *m, uint64_t number)
{
	bool ours = number % 2 == m->next_own % 2;

	return ours ? number < m->next_own : number <= m->last_theirs;
}

static int receive_content(struct mux *m, uint64_t number, struct slice content)
{
	struct stream *s = find(m, number);
	bool costs = m->handler.costs(content);

	if (!s && !is_past(m, number))
		return -EPROTO;
	int r = s ? m->handler.message(s->user, content) : 0;
	return r < 0 || !costs ? r : take(m, number, content.len);
}

int mux_receive(struct mux *m, struct slice message)
{
	struct reader r = reader_init(message);
	uint64_t number = reader_varint(&r);
	int err = 0;

	if (r.bad || reader_left(&r) == 0)
		return -EBADMSG;
	if (number > 0)
		return receive_content(m, number, reader_take(&r, reader_left(&r)));
	while (err >= 0 && reader_left(&r) > 0)
		err = receive_control(m, &r);
	return err < 0 ? err : m->control.len > CONTROL_BYTES_MAX ? -EPROTO : 0;
}

static bool next_control(struct mux *m, struct buf *out)
{
	if (m->control.len == 0 && !m->ping_wanted && !m->pong_wanted)
		return false;
	buf_varint(out, 0);
	buf_slice_append(out, buf_slice(&m->control));
	buf_clear(&m->control);
	if (m->pong_wanted) {
		buf_u8(out, CONTROL_PONG);
		buf_be64(out, m->pong);
	}
	if (m->ping_wanted) {
		buf_u8(out, CONTROL_PING);
		buf_be64(out, m->ping);
	}
	m->pong_wanted = false;
	m->ping_wanted = false;
	return true;
}

static int next_of(struct mux *m, struct stream *s, struct buf *out)
{
	bool content = s->credit > 0 && m->credit > 0;
	int r = m->handler.next(s->user, content, &m->message);

	if (r <= 0)
		return r;
	if (m->handler.costs(buf_slice(&m->message))) {
		assert(content);
		s->credit -= (int64_t)m->message.len;
		m->credit -= (int64_t)m->message.len;
	}
	buf_varint(out, s->number);
	buf_slice_append(out, buf_slice(&m->message));
	return 1;
}

int mux_next(struct mux *m, struct buf *out)
{
	buf_clear(out);
	if (next_control(m, out))
		return 1;
	for (size_t i = 0; i < m->count; i++) {
		struct stream *s = &m->streams[m->turn++ % m->count];
		int r = next_of(m, s, out);

		if (r != 0)
			return r;
	}
	return 0;
}

/* ---- liveness ------------------------------------------------------------------------------- */

void mux_ping(struct mux *m, uint64_t token)
{
	m->ping_wanted = true;
	m->ping = token;
}

bool mux_pong(struct mux *m, uint64_t *ret_token)
{
	bool came = m->pong_came;

	*ret_token = m->pong_token;
	m->pong_came = false;
	return came;
}

bool mux_is_owed(const struct mux *m)
{
	bool owed = m->credit < MUX_CREDIT / 2;

	for (size_t i = 0; i < m->count; i++)
		owed = owed || m->streams[i].credit < MUX_STREAM_CREDIT / 2;
	return owed;
}
