/* Records: framing, padding, counters, rekeying. */
#include "net/channel.h"

#include "core/sync.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_HEADER_BYTES_MAX 3

enum kind {
	KIND_PADDING,
	KIND_PART,
	KIND_LAST,
	KIND_BYE,
};

struct direction {
	struct noise_key key;
	uint64_t record_count; /* since the last rekey, as is byte_count */
	uint64_t byte_count;
	uint64_t total; /* bytes since the key came from a handshake */
};

struct channel {
	struct channel_limits limits;
	struct direction send;
	struct direction receive;

	/* A ring of whole messages; `sent` bytes of the first are in records already. */
	struct buf *queue;
	size_t queue_cap;
	size_t queue_first;
	size_t queue_count;
	size_t sent;
	size_t pending_bytes;
	bool bye_wanted;
	bool bye_sent;
	enum channel_bye bye_reason;

	struct buf control; /* a control frame that waits */
	struct noise_key next_send;
	bool has_next_send;
	struct buf control_in;

	struct buf plain_out;
	struct buf plain_in;
	struct buf partial; /* a message still growing */
	int bye_received;
};

static_assert(CHANNEL_PLAIN_BYTES_MAX % CHANNEL_PADDING_BYTES == 0, "full records need no padding");
static_assert(CHANNEL_PLAIN_BYTES_MAX * 4 < 1 << (7 * FRAME_HEADER_BYTES_MAX), "frame header");

struct channel *channel_create(struct noise_key *send, struct noise_key *receive,
			       const struct channel_limits *limits)
{
	static const struct channel_limits usual = {
		.rekey_records = 1u << 16,
		.rekey_bytes = 1u << 30,
		.message_bytes_max = SYNC_MESSAGE_BYTES_MAX,
	};
	struct channel *c = xcalloc(1, sizeof(*c));

	c->limits = limits ? *limits : usual;
	assert(c->limits.rekey_records > 0 && c->limits.rekey_bytes > 0);
	c->send.key = *send;
	c->receive.key = *receive;
	c->bye_received = -1;
	wipe(send, sizeof(*send));
	wipe(receive, sizeof(*receive));
	return c;
}

static void wipe_buf(struct buf *b)
{
	if (b->data)
		wipe(b->data, b->cap);
	buf_fini(b);
}

static void drop_queue(struct channel *c)
{
	for (size_t i = 0; i < c->queue_count; i++)
		wipe_buf(&c->queue[(c->queue_first + i) % c->queue_cap]);
	c->queue_first = 0;
	c->queue_count = 0;
	c->sent = 0;
	c->pending_bytes = 0;
}

void channel_destroy(struct channel *c)
{
	if (!c)
		return;
	drop_queue(c);
	free(c->queue);
	buf_fini(&c->control);
	buf_fini(&c->control_in);
	wipe_buf(&c->plain_out);
	wipe_buf(&c->plain_in);
	wipe_buf(&c->partial);
	wipe(c, sizeof(*c));
	free(c);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void grow_queue(struct channel *c)
{
	size_t cap = c->queue_cap ? c->queue_cap * 2 : 16;
	struct buf *queue = xcalloc(cap, sizeof(*queue));

	for (size_t i = 0; i < c->queue_count; i++)
		queue[i] = c->queue[(c->queue_first + i) % c->queue_cap];
	free(c->queue);
	c->queue = queue;
	c->queue_cap = cap;
	c->queue_first = 0;
}

void channel_send(struct channel *c, struct buf *message)
{
	assert(message->len > 0 && message->len <= c->limits.message_bytes_max);
	if (c->bye_wanted) {
		buf_fini(message);
		return;
	}
	if (c->queue_count == c->queue_cap)
		grow_queue(c);
	c->queue[(c->queue_first + c->queue_count++) % c->queue_cap] = *message;
	c->pending_bytes += message->len;
	*message = (struct buf){0};
}

void channel_bye(struct channel *c, enum channel_bye reason)
{
	if (c->bye_wanted)
		return;
	drop_queue(c);
	c->bye_wanted = true;
	c->bye_reason = reason;
}

size_t channel_pending_bytes(const struct channel *c)
{
	return c->pending_bytes;
}

bool channel_bye_is_sent(const struct channel *c)
{
	return c->bye_sent;
}

/* Counts a record on both sides alike, and rekeys after the one that reaches a limit. */
static void count_record(const struct channel *c, struct direction *d, size_t plain_len)
{
	d->record_count++;
	d->byte_count += plain_len;
	d->total += plain_len;
	if (d->record_count < c->limits.rekey_records && d->byte_count < c->limits.rekey_bytes)
		return;
	noise_key_rekey(&d->key);
	d->record_count = 0;
	d->byte_count = 0;
}

static void put_frame(struct buf *plain, enum kind kind, struct slice content)
{
	buf_varint(plain, content.len * 4 + kind);
	buf_slice_append(plain, content);
}

/* Moves as much of the first message as fits. */
static void fill_from_queue(struct channel *c)
{
	struct buf *first = &c->queue[c->queue_first];
	size_t room = CHANNEL_PLAIN_BYTES_MAX - c->plain_out.len - FRAME_HEADER_BYTES_MAX;
	size_t left = first->len - c->sent;
	size_t n = left < room ? left : room;

	put_frame(&c->plain_out, n == left ? KIND_LAST : KIND_PART, SLICE(first->data + c->sent, n));
	c->sent += n;
	c->pending_bytes -= n;
	if (c->sent < first->len)
		return;
	buf_fini(first);
	c->queue_first = (c->queue_first + 1) % c->queue_cap;
	c->queue_count--;
	c->sent = 0;
}

static size_t padded(size_t len)
{
	size_t unit = len <= CHANNEL_SMALL_BYTES ? CHANNEL_SMALL_BYTES : CHANNEL_PADDING_BYTES;

	return (len + unit - 1) / unit * unit;
}

/* The record that ends with it is sealed: the next one is under the new key, if there is one. */
static void control_is_out(struct channel *c)
{
	buf_clear(&c->control);
	if (!c->has_next_send)
		return;
	wipe(&c->send, sizeof(c->send));
	c->send.key = c->next_send;
	wipe(&c->next_send, sizeof(c->next_send));
	c->has_next_send = false;
}

int channel_next(struct channel *c, struct buf *out)
{
	buf_clear(&c->plain_out);
	if (c->bye_sent)
		return 0;
	if (c->bye_wanted) {
		uint8_t reason = (uint8_t)c->bye_reason;

		put_frame(&c->plain_out, KIND_BYE, SLICE(&reason, 1));
		c->bye_sent = true;
	}
	bool control = !c->bye_wanted && c->control.len > 0;
	if (control)
		put_frame(&c->plain_out, KIND_BYE, buf_slice(&c->control));
	while (!control && c->queue_count > 0 &&
	       c->plain_out.len + FRAME_HEADER_BYTES_MAX < CHANNEL_PLAIN_BYTES_MAX)
		fill_from_queue(c);
	if (c->plain_out.len == 0)
		return 0;
	buf_resize(&c->plain_out, padded(c->plain_out.len));
	assert(c->plain_out.len <= CHANNEL_PLAIN_BYTES_MAX);
	int r = noise_key_seal(&c->send.key, SLICE("", 0), buf_slice(&c->plain_out), out);
	if (r < 0)
		return r;
	count_record(c, &c->send, c->plain_out.len);
	if (control)
		control_is_out(c);
	return 1;
}

void channel_control(struct channel *c, struct slice content, struct noise_key *send)
{
	assert(content.len >= 2 && content.len < CHANNEL_PLAIN_BYTES_MAX / 2 && c->control.len == 0);
	buf_slice_append(&c->control, content);
	c->has_next_send = send != NULL;
	if (!send)
		return;
	c->next_send = *send;
	wipe(send, sizeof(*send));
}

bool channel_control_waits(const struct channel *c)
{
	return c->control.len > 0;
}

struct slice channel_received_control(const struct channel *c)
{
	return buf_slice(&c->control_in);
}

void channel_receive_with(struct channel *c, struct noise_key *receive)
{
	wipe(&c->receive, sizeof(c->receive));
	c->receive.key = *receive;
	wipe(receive, sizeof(*receive));
}

uint64_t channel_byte_count(const struct channel *c)
{
	return c->send.total + c->receive.total;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* The partial buffer grows by what really came, never by what was announced. */
static int take_part(struct channel *c, struct slice content)
{
	if (content.len > c->limits.message_bytes_max - c->partial.len)
		return -EMSGSIZE;
	buf_slice_append(&c->partial, content);
	return 0;
}

static int take_last(struct channel *c, struct slice content, int (*fn)(void *, struct slice),
		     void *ctx)
{
	if (content.len > c->limits.message_bytes_max - c->partial.len)
		return -EMSGSIZE;
	if (c->partial.len == 0)
		return fn(ctx, content);
	buf_slice_append(&c->partial, content);
	struct buf message = c->partial;
	c->partial = (struct buf){0};
	int r = fn(ctx, buf_slice(&message));
	wipe_buf(&message);
	return r;
}

static int take_padding(struct reader *r)
{
	struct slice rest = reader_take(r, reader_left(r));

	for (size_t i = 0; i < rest.len; i++) {
		if (rest.data[i] != 0)
			return -EBADMSG;
	}
	return 0;
}

static int take_frame(struct channel *c, struct reader *r, int (*fn)(void *, struct slice),
		      void *ctx)
{
	uint64_t header = reader_varint_max(r, CHANNEL_PLAIN_BYTES_MAX * 4);
	enum kind kind = (enum kind)(header & 3);
	struct slice content = reader_take(r, (size_t)(header >> 2));

	if (r->bad || c->bye_received >= 0)
		return -EBADMSG;
	if (kind == KIND_PADDING)
		return content.len == 0 ? take_padding(r) : -EBADMSG;
	if (content.len == 0)
		return -EBADMSG;
	if (kind == KIND_PART)
		return take_part(c, content);
	if (kind == KIND_LAST)
		return take_last(c, content, fn, ctx);
	if (content.len > 1 && content.data[0] >= 1 && content.data[0] <= CHANNEL_CONTROL_STEPS) {
		buf_slice_append(&c->control_in, content);
		return take_padding(r);
	}
	if (content.len != 1 || content.data[0] >= CHANNEL_BYE_COUNT)
		return -EBADMSG;
	c->bye_received = content.data[0];
	return take_padding(r);
}

int channel_receive(struct channel *c, struct slice record,
		    int (*fn)(void *ctx, struct slice message), void *ctx)
{
	if (c->bye_received >= 0)
		return -EPROTO;
	if (record.len > CHANNEL_RECORD_BYTES_MAX)
		return -EMSGSIZE;
	buf_clear(&c->plain_in);
	buf_clear(&c->control_in);
	int r = noise_key_open(&c->receive.key, SLICE("", 0), record, &c->plain_in);
	if (r < 0)
		return r;
	size_t len = c->plain_in.len;
	if (len == 0 || len != padded(len))
		return -EBADMSG;
	count_record(c, &c->receive, len);

	struct reader in = reader_init(buf_slice(&c->plain_in));
	while (r >= 0 && reader_left(&in) > 0)
		r = take_frame(c, &in, fn, ctx);
	return r < 0 ? r : 0;
}

int channel_bye_received(const struct channel *c)
{
	return c->bye_received;
}
