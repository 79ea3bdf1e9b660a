/* Lanes through another process. */
#include "net/rider.h"

#include "net/ride.h"

#include "core/log.h"
#include "core/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 2000
/* A dial is the carrier's to give up; should it not, we do after so much more. */
#define SPARE_MS 2000
#define REASON_BYTES 128

struct rider_lane {
	struct lane lane; /* first */
	struct rider *rider;
	uint64_t number;
	bool opened;
	bool wants;
	bool ended;
	bool ended_there;
	uint64_t window;
	uint64_t deadline_ms; /* until it is opened; 0 = it is */
	char reason[REASON_BYTES];
};

struct rider {
	struct rider_options options;
	struct ws_conn *link; /* NULL: none */
	bool open;
	bool up;
	int err; /* why we gave it up */
	uint64_t next_number;
	struct rider_lane **lanes;
	size_t lane_count;
	size_t turn;
	struct ride_queue queue;
};

static void say(struct rider *r, const struct ride *m)
{
	ride_queue_say(&r->queue, m);
	if (r->open)
		ws_want_write(r->link);
}

static void say_kind(struct rider_lane *l, enum ride_kind kind)
{
	say(l->rider, &(struct ride){.kind = kind, .lane = l->number});
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static void end(struct rider_lane *l)
{
	l->ended = true;
	l->rider->options.due(l->rider->options.ctx);
}

static void on_want_write(struct lane *lane)
{
	struct rider_lane *l = container_of(lane, struct rider_lane, lane);

	l->wants = true;
	if (l->rider->open)
		ws_want_write(l->rider->link);
}

static void on_close(struct lane *lane)
{
	end(container_of(lane, struct rider_lane, lane));
}

static void on_trust(struct lane *lane, const uint8_t *device)
{
	struct rider_lane *l = container_of(lane, struct rider_lane, lane);

	say(l->rider, &(struct ride){.kind = RIDE_TRUST, .lane = l->number, .device = device});
}

static void on_doubt(struct lane *lane)
{
	say_kind(container_of(lane, struct rider_lane, lane), RIDE_DOUBT);
}

static const struct lane_ops ops = {
	.want_write = on_want_write,
	.close = on_close,
	.trust = on_trust,
	.doubt = on_doubt,
};

static struct rider_lane *lane_create(struct rider *r, bool incoming, uint64_t number)
{
	struct rider_lane *l = xcalloc(1, sizeof(*l));

	l->lane.ops = &ops;
	l->lane.incoming = incoming;
	l->rider = r;
	l->number = number;
	l->window = RIDE_WINDOW;
	r->lanes = xreallocarray(r->lanes, r->lane_count + 1, sizeof(struct rider_lane *));
	r->lanes[r->lane_count++] = l;
	return l;
}

static struct rider_lane *lane_find(const struct rider *r, uint64_t number)
{
	for (size_t i = 0; i < r->lane_count; i++) {
		if (r->lanes[i]->number == number)
			return r->lanes[i];
	}
	return NULL;
}

static struct rider_lane *take_ended(struct rider *r)
{
	for (size_t i = 0; i < r->lane_count; i++) {
		struct rider_lane *l = r->lanes[i];

		if (!l->ended)
			continue;
		r->lanes[i] = r->lanes[--r->lane_count];
		return l;
	}
	return NULL;
}

static void reap(struct rider *r)
{
	struct rider_lane *l = NULL;

	while ((l = take_ended(r))) {
		if (!l->ended_there)
			say_kind(l, RIDE_CLOSE);
		l->lane.handler->closed(l->lane.user, l->reason);
		free(l);
	}
}

struct lane *rider_dial(struct rider *r, const struct lane_target *target,
			const struct lane_handler *handler, void *user)
{
	struct rider_lane *l = lane_create(r, false, r->next_number);

	r->next_number += 2;
	l->lane.handler = handler;
	l->lane.user = user;
	l->lane.remote = *target->at;
	l->deadline_ms = monotonic_ms() + target->deadline_ms + SPARE_MS;
	say(r, &(struct ride){.kind = RIDE_DIAL,
			      .lane = l->number,
			      .device = target->device,
			      .at = *target->at,
			      .number = target->deadline_ms});
	r->options.due(r->options.ctx);
	return &l->lane;
}

void rider_listen(struct rider *r, uint64_t request, const char *address)
{
	assert(r->up);
	say(r, &(struct ride){.kind = RIDE_LISTEN, .lane = request, .content = SLICE_STR(address)});
}

/* ---- what the carrier says ------------------------------------------------------------------ */

static int receive_hello(struct rider *r, const struct ride *m)
{
	if (m->number != RIDE_VERSION) {
		r->err = -EPROTONOSUPPORT;
		return -EPROTONOSUPPORT;
	}
	r->up = true;
	r->options.up(r->options.ctx);
	return 0;
}

static int receive_offer(struct rider *r, const struct ride *m)
{
	bool ours = r->lane_count < LANE_COUNT_MAX && r->options.knows(r->options.ctx, m->content);

	say(r, &(struct ride){.kind = ours ? RIDE_TAKE : RIDE_PASS, .lane = m->lane});
	if (!ours)
		return 0;
	struct rider_lane *l = lane_create(r, true, m->lane);
	l->opened = true;
	l->lane.remote = m->at;
	r->options.accept(r->options.ctx, &l->lane);
	l->lane.down += ws_frame_bytes(m->content.len + 1, l->lane.incoming);
	if (l->lane.handler->received(l->lane.user, m->content) < 0)
		end(l);
	return 0;
}

static void receive_listening(struct rider *r, const struct ride *m)
{
	AUTO(free_ptr)
	char *text = xasprintf("%.*s", (int)m->content.len, (const char *)m->content.data);

	r->options.listening(r->options.ctx, m->lane, -(int)m->number, text);
}

static void receive_opened(struct rider_lane *l, const struct ride *m)
{
	l->opened = true;
	l->deadline_ms = 0;
	l->lane.remote = m->at;
	l->lane.handler->connected(l->lane.user);
}

static void receive_data(struct rider_lane *l, struct slice content)
{
	l->lane.down += ws_frame_bytes(content.len + 1, l->lane.incoming);
	if (l->lane.handler->received(l->lane.user, content) < 0)
		end(l);
}

static int receive_for_lane(struct rider *r, const struct ride *m)
{
	struct rider_lane *l = lane_find(r, m->lane);

	if (!l || l->ended)
		return 0; /* ended here already */
	switch (m->kind) {
	case RIDE_OPENED:
		receive_opened(l, m);
		break;
	case RIDE_DATA:
		receive_data(l, m->content);
		break;
	case RIDE_CLOSE:
		l->ended_there = true;
		(void)snprintf(l->reason, sizeof(l->reason), "%.*s", (int)m->content.len,
			       (const char *)m->content.data);
		end(l);
		break;
	case RIDE_RETIRE:
		l->lane.handler->retired(l->lane.user);
		break;
	case RIDE_MORE:
		l->window += m->number;
		on_want_write(&l->lane);
		break;
	case RIDE_HELLO:
	case RIDE_DIAL:
	case RIDE_OFFER:
	case RIDE_TAKE:
	case RIDE_PASS:
	case RIDE_TRUST:
	case RIDE_DOUBT:
	case RIDE_LISTEN:
	case RIDE_LISTENING:
	case RIDE_KINDS:
		return -EPROTO;
	}
	return 0;
}

static int receive(struct rider *r, const struct ride *m)
{
	if (m->kind == RIDE_HELLO)
		return receive_hello(r, m);
	if (!r->up)
		return -EPROTO;
	if (m->kind == RIDE_OFFER)
		return receive_offer(r, m);
	if (m->kind != RIDE_LISTENING)
		return receive_for_lane(r, m);
	receive_listening(r, m);
	return 0;
}

static int on_received(void *user, struct slice message)
{
	struct rider *r = user;
	struct ride m;
	int err = ride_decode(message, &m);

	if (err >= 0)
		err = receive(r, &m);
	reap(r);
	return err;
}

/* ---- what it is told ------------------------------------------------------------------------ */

/* One message of a lane. */
static bool next_of(struct rider_lane *l, struct buf *out)
{
	size_t before = out->len;

	if (!l->opened || !l->wants || l->ended || l->window == 0)
		return false;
	ride_encode(&(struct ride){.kind = RIDE_DATA, .lane = l->number}, out);
	size_t header = out->len - before;
	int err = l->lane.handler->writable(l->lane.user, out);
	if (err > 0) {
		size_t len = out->len - before - header;

		l->window -= len < l->window ? len : l->window;
		l->lane.up += ws_frame_bytes(len + 1, !l->lane.incoming);
		return true;
	}
	out->len = before;
	l->wants = false;
	if (err < 0)
		end(l);
	return false;
}

static int on_writable(void *user, struct buf *out)
{
	struct rider *r = user;

	if (ride_queue_pop(&r->queue, out))
		return 1;
	bool said = false;
	for (size_t n = r->lane_count; !said && n > 0 && r->lane_count > 0; n--)
		said = next_of(r->lanes[r->turn++ % r->lane_count], out);
	if (said)
		return 1;
	reap(r);
	return ride_queue_pop(&r->queue, out);
}

/* ---- the link ------------------------------------------------------------------------------- */

static void on_connected(void *user)
{
	struct rider *r = user;

	r->open = true;
	ws_want_write(r->link);
}

static void drop_lanes(struct rider *r, const char *reason)
{
	for (size_t i = 0; i < r->lane_count; i++) {
		struct rider_lane *l = r->lanes[i];

		if (!l->ended)
			(void)snprintf(l->reason, sizeof(l->reason), "%s", reason);
		l->ended = true;
		l->ended_there = true;
	}
	reap(r);
}

static void on_closed(void *user, const char *reason)
{
	struct rider *r = user;
	bool was_open = r->open;
	int err = r->err < 0 ? r->err : -ENOTCONN;

	(void)reason;
	r->link = NULL;
	r->open = false;
	r->up = false;
	r->err = 0;
	if (was_open) {
		ride_queue_fini(&r->queue);
		drop_lanes(r, "the connection changes hands");
	}
	r->options.down(r->options.ctx, err);
}

static const struct ws_handler handler = {
	.connected = on_connected,
	.received = on_received,
	.writable = on_writable,
	.closed = on_closed,
};

void rider_connect(struct rider *r, const struct endpoint *carrier)
{
	struct ride_queue dialled = r->queue;

	assert(!r->link);
	r->queue = (struct ride_queue){0};
	ride_queue_say(&r->queue, &(struct ride){.kind = RIDE_HELLO, .number = RIDE_VERSION});
	AUTO(buf_fini) struct buf message = {0};
	while (ride_queue_pop(&dialled, &message)) {
		struct ride m;

		/* What the last attempt did not get to say; but the greeting once. */
		if (ride_decode(buf_slice(&message), &m) == 0 && m.kind != RIDE_HELLO)
			ride_queue_push(&r->queue, buf_slice(&message));
		buf_clear(&message);
	}
	ride_queue_fini(&dialled);
	r->link = ws_dial_with(r->options.ws, carrier, NULL, CONNECT_MS, &handler, r);
}

void rider_abandon(struct rider *r)
{
	ride_queue_fini(&r->queue);
	drop_lanes(r, "the connection changes hands");
	ride_queue_fini(&r->queue);
}

uint64_t rider_tick(struct rider *r, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < r->lane_count; i++) {
		struct rider_lane *l = r->lanes[i];

		if (l->deadline_ms == 0)
			continue;
		if (now_ms >= l->deadline_ms) {
			(void)snprintf(l->reason, sizeof(l->reason), WS_TIMED_OUT);
			l->ended = true;
		} else if (l->deadline_ms < next) {
			next = l->deadline_ms;
		}
	}
	reap(r);
	return next;
}

struct rider *rider_create(const struct rider_options *options)
{
	struct rider *r = xcalloc(1, sizeof(*r));

	r->options = *options;
	r->next_number = 1;
	return r;
}

void rider_destroy(struct rider *r)
{
	if (!r)
		return;
	drop_lanes(r, "");
	ride_queue_fini(&r->queue);
	free(r->lanes);
	free(r);
}
