/* Messages between the mounts of a home. */
#include "net/ride.h"

#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS_MAX 600000
#define NUMBER_MAX (1u << 30)

static void put_endpoint(struct buf *out, const struct endpoint *e)
{
	buf_bytes(out, SLICE_STR(e->host));
	buf_varint(out, e->port);
	buf_u8(out, e->tls);
}

void ride_encode(const struct ride *r, struct buf *out)
{
	buf_u8(out, (uint8_t)r->kind);
	buf_varint(out, r->lane);
	if (r->device)
		buf_append(out, r->device, DIGEST_BYTES);
	if (r->kind == RIDE_HELLO || r->kind == RIDE_DIAL || r->kind == RIDE_MORE ||
	    r->kind == RIDE_LISTENING)
		buf_varint(out, r->number);
	if (r->kind == RIDE_DIAL || r->kind == RIDE_OPENED || r->kind == RIDE_OFFER)
		put_endpoint(out, &r->at);
	buf_slice_append(out, r->content);
}

static void take_endpoint(struct reader *in, struct endpoint *ret)
{
	struct slice host = reader_bytes(in, sizeof(ret->host) - 1);
	uint64_t port = reader_varint_max(in, UINT16_MAX);
	uint8_t tls = reader_u8(in);

	if (in->bad || tls > 1 || (host.len && memchr(host.data, 0, host.len))) {
		in->bad = true;
		return;
	}
	if (host.len)
		memcpy(ret->host, host.data, host.len);
	ret->port = (uint16_t)port;
	ret->tls = tls;
}

static bool has_content(enum ride_kind kind)
{
	return kind == RIDE_OFFER || kind == RIDE_DATA || kind == RIDE_CLOSE ||
	       kind == RIDE_LISTEN || kind == RIDE_LISTENING;
}

int ride_decode(struct slice message, struct ride *ret)
{
	struct reader in = reader_init(message);
	struct ride r = {.kind = (enum ride_kind)reader_u8(&in)};

	r.lane = reader_varint(&in);
	if (in.bad || r.kind < RIDE_HELLO || r.kind >= RIDE_KINDS)
		return -EBADMSG;
	if (r.kind == RIDE_DIAL || (r.kind == RIDE_TRUST && reader_left(&in) > 0))
		r.device = reader_take(&in, DIGEST_BYTES).data;
	if (r.kind == RIDE_HELLO || r.kind == RIDE_LISTENING || r.kind == RIDE_MORE)
		r.number = reader_varint_max(&in, NUMBER_MAX);
	if (r.kind == RIDE_DIAL)
		r.number = reader_varint_max(&in, DEADLINE_MS_MAX);
	if (r.kind == RIDE_DIAL || r.kind == RIDE_OPENED || r.kind == RIDE_OFFER)
		take_endpoint(&in, &r.at);
	if (has_content(r.kind))
		r.content = reader_take(&in, reader_left(&in));
	int err = reader_finish(&in);
	if (err < 0)
		return err;
	*ret = r;
	return 0;
}

/* ---- the queue ------------------------------------------------------------------------------ */

static struct buf *add(struct ride_queue *q)
{
	if (q->at > 0 && q->at == q->count)
		q->at = q->count = 0;
	if (q->at > 64 && q->at * 2 > q->count) {
		memmove(q->items, q->items + q->at, (q->count - q->at) * sizeof(*q->items));
		q->count -= q->at;
		q->at = 0;
	}
	q->items = xreallocarray(q->items, q->count + 1, sizeof(*q->items));
	q->items[q->count] = (struct buf){0};
	return &q->items[q->count++];
}

void ride_queue_push(struct ride_queue *q, struct slice message)
{
	buf_slice_append(add(q), message);
	q->bytes += message.len;
}

void ride_queue_say(struct ride_queue *q, const struct ride *r)
{
	struct buf *b = add(q);

	ride_encode(r, b);
	q->bytes += b->len;
}

bool ride_queue_pop(struct ride_queue *q, struct buf *out)
{
	if (q->at == q->count)
		return false;
	struct buf *b = &q->items[q->at++];

	q->bytes -= b->len;
	buf_slice_append(out, buf_slice(b));
	buf_fini(b);
	return true;
}

void ride_queue_fini(struct ride_queue *q)
{
	while (q->at < q->count)
		buf_fini(&q->items[q->at++]);
	free(q->items);
	*q = (struct ride_queue){0};
}
