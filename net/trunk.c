/* Connections to devices, and the lanes in them. */
#include "net/trunk.h"

#include "core/log.h"
#include "core/thread.h"

#include <stdlib.h>
#include <string.h>

#define ID_BYTES DIGEST_BYTES

struct trunk;

struct trunk_lane {
	struct lane lane; /* first */
	struct trunks *all;
	struct trunk *trunk; /* NULL: it is gone */
	uint64_t number;     /* 0: waits until the trunk is proven */
	bool wants;	     /* to write */
	bool connecting;     /* connected() is to be called */
	bool ended;	     /* closed() is to be called */
	bool ended_there;    /* the peer knows */
	struct buf hello;    /* of an offered one, until it is taken */
	const char *reason;
};

struct trunk {
	struct trunks *all;
	struct ws_conn *ws;
	bool incoming;
	bool open;
	bool bare;   /* one lane, and no numbers */
	bool proven; /* a lane in it has shown who the peer is */
	bool has_device;
	uint8_t device[ID_BYTES]; /* who is at the other end; not proven: whom we dial */
	bool doubted;
	bool retired;	    /* for no new lanes */
	bool finished;	    /* nothing more is said but which lanes have ended */
	uint64_t retire_ms; /* when it is, 0 = need not be */
	uint64_t close_ms;  /* retired, finished */
	uint64_t rank;	    /* the higher, the later it was proven */
	uint64_t next_own;
	uint64_t last_theirs;
	struct trunk_lane **lanes;
	size_t lane_count;
	size_t turn;
	struct buf ends; /* messages that say which lanes have ended, to be sent: varints */
	size_t ends_at;
};

struct trunks {
	struct trunks_options options;
	struct trunk **trunks;
	size_t count;
	struct trunk_lane **gone; /* of trunks that are gone: closed() is to be called */
	size_t gone_count;
	uint64_t last_rank;
};

/* ---- the list ------------------------------------------------------------------------------- */

static struct trunk *trunk_create(struct trunks *t, bool incoming)
{
	struct trunk *k = xcalloc(1, sizeof(*k));

	k->all = t;
	k->incoming = incoming;
	k->next_own = incoming ? 2 : 1;
	t->trunks = xreallocarray(t->trunks, t->count + 1, sizeof(*t->trunks));
	t->trunks[t->count++] = k;
	return k;
}

static void trunk_destroy(struct trunk *k)
{
	struct trunks *t = k->all;
	size_t i = 0;

	while (t->trunks[i] != k)
		i++;
	t->trunks[i] = t->trunks[--t->count];
	buf_fini(&k->ends);
	free(k->lanes);
	free(k);
}

static void due(struct trunks *t)
{
	t->options.due(t->options.ctx);
}

/* Closes when all is said; or soon, if the other side does not listen. */
static void finish(struct trunk *k)
{
	if (k->finished)
		return;
	k->finished = true;
	k->close_ms = monotonic_ms() + TRUNK_BYE_MS;
	if (k->open)
		ws_want_write(k->ws);
	else
		ws_close(k->ws);
	due(k->all);
}

static bool is_local(const struct trunk *k)
{
	return endpoint_is_local(ws_remote(k->ws));
}

static bool leads_to(const struct trunk *k, const uint8_t *device)
{
	return k->has_device && memcmp(k->device, device, ID_BYTES) == 0;
}

/* Whether lanes may be opened in it. */
static bool is_usable(const struct trunk *k)
{
	return k->open && k->proven && !k->doubted && !k->retired && !k->finished;
}

/* The best connection to a device, or NULL. */
static struct trunk *find_best(const struct trunks *t, const uint8_t *device)
{
	struct trunk *best = NULL;

	for (size_t i = 0; i < t->count; i++) {
		struct trunk *k = t->trunks[i];

		if (!is_usable(k) || !leads_to(k, device))
			continue;
		if (!best || (is_local(k) != is_local(best) ? is_local(k) : k->rank > best->rank))
			best = k;
	}
	return best;
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static void want_write(struct trunk_lane *l)
{
	l->wants = true;
	if (l->trunk && l->number > 0)
		ws_want_write(l->trunk->ws);
}

static void on_want_write(struct lane *lane)
{
	want_write(container_of(lane, struct trunk_lane, lane));
}

static void end(struct trunk_lane *l)
{
	l->ended = true;
	due(l->all);
}

static void on_close(struct lane *lane)
{
	end(container_of(lane, struct trunk_lane, lane));
}

static void on_trust(struct lane *lane, const uint8_t *device)
{
	struct trunk_lane *l = container_of(lane, struct trunk_lane, lane);
	struct trunk *k = l->trunk;

	if (!k)
		return;
	ws_trust(k->ws);
	if (k->proven)
		return;
	k->proven = true;
	k->rank = ++k->all->last_rank;
	k->has_device = device != NULL;
	if (device)
		memcpy(k->device, device, ID_BYTES);
	due(k->all); /* others may wait for it */
}

static void on_doubt(struct lane *lane)
{
	const struct trunk_lane *l = container_of(lane, struct trunk_lane, lane);

	if (l->trunk)
		l->trunk->doubted = true;
}

static const struct lane_ops ops = {
	.want_write = on_want_write,
	.close = on_close,
	.trust = on_trust,
	.doubt = on_doubt,
};

static struct trunk_lane *lane_create(struct trunk *k, bool incoming, uint64_t number)
{
	struct trunk_lane *l = xcalloc(1, sizeof(*l));

	l->lane.ops = &ops;
	l->lane.incoming = incoming;
	l->lane.remote = *ws_remote(k->ws);
	l->all = k->all;
	l->trunk = k;
	l->number = number;
	l->reason = "";
	k->lanes = xreallocarray(k->lanes, k->lane_count + 1, sizeof(struct trunk_lane *));
	k->lanes[k->lane_count++] = l;
	return l;
}

static struct trunk_lane *lane_find(const struct trunk *k, uint64_t number)
{
	for (size_t i = 0; i < k->lane_count; i++) {
		if (k->lanes[i]->number == number)
			return k->lanes[i];
	}
	return NULL;
}

static void say_end(struct trunk *k, uint64_t number)
{
	if (k->bare || number == 0)
		return;
	buf_varint(&k->ends, number);
	ws_want_write(k->ws);
}

static void lane_destroy(struct trunk_lane *l)
{
	if (l->lane.handler)
		l->lane.handler->closed(l->lane.user, l->reason);
	buf_fini(&l->hello);
	free(l);
}

static void lane_unlink(struct trunk_lane *l)
{
	struct trunk *k = l->trunk;
	size_t i = 0;

	while (k->lanes[i] != l)
		i++;
	k->lanes[i] = k->lanes[--k->lane_count];
	if (!l->ended_there)
		say_end(k, l->number);
	l->trunk = NULL;
}

/* One lane that has ended, in a connection or left over from one that is gone; NULL = none. */
static struct trunk_lane *take_ended(struct trunks *t)
{
	if (t->gone_count > 0)
		return t->gone[--t->gone_count];
	for (size_t i = 0; i < t->count; i++) {
		struct trunk *k = t->trunks[i];

		for (size_t j = 0; j < k->lane_count; j++) {
			struct trunk_lane *l = k->lanes[j];

			if (!l->ended)
				continue;
			lane_unlink(l);
			return l;
		}
	}
	return NULL;
}

/* Lanes wait until the first one has shown who is there; it may have come to nothing. */
static void give_up_waiting(struct trunk *k)
{
	bool hopeless = k->open && !k->proven;

	for (size_t i = 0; i < k->lane_count; i++)
		hopeless = hopeless && (k->lanes[i]->number == 0 || k->lanes[i]->ended);
	for (size_t i = 0; hopeless && i < k->lane_count; i++) {
		k->lanes[i]->ended = true;
		k->lanes[i]->reason = "nobody there was known to the database that asked first";
	}
}

/* Where nothing of a lane or a connection is being used. closed() may dial, and end others. */
static void reap(struct trunks *t)
{
	struct trunk_lane *l = NULL;

	for (size_t i = 0; i < t->count; i++)
		give_up_waiting(t->trunks[i]);
	while ((l = take_ended(t)))
		lane_destroy(l);
	for (size_t i = 0; i < t->count; i++) {
		struct trunk *k = t->trunks[i];
		bool is_new = k->incoming && k->last_theirs == 0;

		if (k->lane_count == 0 && !is_new)
			finish(k);
	}
}

/* A lane begins: its number is the next one. */
static void start(struct trunk_lane *l)
{
	struct trunk *k = l->trunk;

	l->number = k->next_own;
	k->next_own += 2;
	l->lane.remote = *ws_remote(k->ws);
	l->connecting = true;
}

static void connect_lanes(struct trunk *k)
{
	for (size_t i = 0; i < k->lane_count; i++) {
		struct trunk_lane *l = k->lanes[i];

		if (l->number == 0 && k->proven)
			start(l);
		if (!l->connecting || l->ended)
			continue;
		l->connecting = false;
		l->lane.handler->connected(l->lane.user);
	}
}

/* ---- what comes ----------------------------------------------------------------------------- */

int trunk_decode(struct slice message, uint64_t *ret_lane, struct slice *ret_content)
{
	struct reader r = reader_init(message);
	uint64_t lane = reader_varint(&r);

	if (r.bad || lane == 0)
		return -EBADMSG;
	*ret_lane = lane;
	*ret_content = reader_take(&r, reader_left(&r));
	return 0;
}

static size_t count_offers(const struct trunk *k)
{
	size_t n = 0;

	for (size_t i = 0; i < k->lane_count; i++)
		n += k->lanes[i]->hello.len > 0;
	return n;
}

/* The peer opens a lane. LIMITS: before it has shown who it is, one. */
static int receive_open(struct trunk *k, uint64_t number, struct slice hello)
{
	bool first = k->last_theirs == 0;

	if (number % 2 == k->next_own % 2 || number <= k->last_theirs || (!first && !k->proven) ||
	    (first && !k->incoming && !k->proven))
		return -EPROTO;
	k->last_theirs = number;
	if (k->retired || k->finished || k->lane_count >= LANE_COUNT_MAX ||
	    count_offers(k) >= LANE_OFFERS_MAX) {
		say_end(k, number);
		return 0;
	}
	struct trunk_lane *l = lane_create(k, true, number);
	l->lane.down = ws_frame_bytes(hello.len + 1, k->incoming);
	buf_slice_append(&l->hello, hello);
	k->all->options.offered(k->all->options.ctx, &l->lane, hello);
	if (!l->lane.handler)
		end(l); /* we are about to end */
	return 0;
}

/* Whether there was such a lane: it ended here, and the peer has not heard of it yet. */
static bool is_past(const struct trunk *k, uint64_t number)
{
	return number % 2 == k->next_own % 2 ? number < k->next_own : number <= k->last_theirs;
}

static int receive(struct trunk *k, uint64_t number, struct slice content)
{
	struct trunk_lane *l = lane_find(k, number);

	if (!l && content.len == 0)
		return is_past(k, number) ? 0 : -EPROTO;
	if (!l)
		return is_past(k, number) ? 0 : receive_open(k, number, content);
	if (content.len == 0) {
		l->ended_there = true;
		end(l);
		return 0;
	}
	l->lane.down += ws_frame_bytes(content.len + !k->bare, k->incoming);
	if (l->ended)
		return 0;
	/* Who is not done with what was said first waits for the answer; so does the peer. */
	if (l->hello.len > 0 || l->lane.handler->received(l->lane.user, content) < 0)
		end(l);
	return 0;
}

static int on_received(void *user, struct slice message)
{
	struct trunk *k = user;
	uint64_t number = 1;
	struct slice content = message;

	if (k->incoming && k->last_theirs == 0 && message.len > 0 && message.data[0] == 'B')
		k->bare = true;
	int r = k->bare ? 0 : trunk_decode(message, &number, &content);
	k->doubted = false;
	if (r >= 0)
		r = receive(k, number, content);
	if (r < 0)
		log_info("connection from %s: not what a device says", ws_remote(k->ws)->host);
	reap(k->all);
	return r;
}

/* ---- what goes ------------------------------------------------------------------------------ */

static bool next_end(struct trunk *k, struct buf *out)
{
	if (k->ends_at == k->ends.len)
		return false;
	struct reader r = reader_init(SLICE(k->ends.data + k->ends_at, k->ends.len - k->ends_at));
	buf_varint(out, reader_varint(&r));
	k->ends_at = k->ends.len - reader_left(&r);
	if (k->ends_at == k->ends.len) {
		buf_clear(&k->ends);
		k->ends_at = 0;
	}
	return true;
}

/* One message of a lane; 0 = it has none. */
static bool next_of(struct trunk *k, struct trunk_lane *l, struct buf *out)
{
	size_t before = out->len;

	if (!l->wants || l->ended || l->number == 0 || !l->lane.handler)
		return false;
	if (!k->bare)
		buf_varint(out, l->number);
	int r = l->lane.handler->writable(l->lane.user, out);
	if (r > 0) {
		l->lane.up += ws_frame_bytes(out->len - before, !k->incoming);
		return true;
	}
	out->len = before;
	l->wants = false;
	if (r < 0)
		end(l);
	return false;
}

static int on_writable(void *user, struct buf *out)
{
	struct trunk *k = user;
	bool said = false;

	for (size_t n = k->lane_count; !said && n > 0 && k->lane_count > 0; n--)
		said = next_of(k, k->lanes[k->turn++ % k->lane_count], out);
	if (!said)
		reap(k->all);
	if (!said)
		said = next_end(k, out);
	if (!said && k->finished)
		return -ECANCELED;
	return said;
}

/* ---- a connection's life -------------------------------------------------------------------- */

static void on_connected(void *user)
{
	struct trunk *k = user;

	k->open = true;
	if (k->lane_count > 0)
		start(k->lanes[0]);
	connect_lanes(k);
	reap(k->all);
}

static void on_closed(void *user, const char *reason)
{
	struct trunk *k = user;
	struct trunks *t = k->all;

	t->gone = xreallocarray(t->gone, t->gone_count + k->lane_count + 1, sizeof(*t->gone));
	AUTO(free_ptr) char *why = xstrdup(reason);
	for (size_t i = 0; i < k->lane_count; i++) {
		struct trunk_lane *l = k->lanes[i];

		l->trunk = NULL;
		l->reason = why;
		t->gone[t->gone_count++] = l;
	}
	trunk_destroy(k);
	reap(t);
}

static const struct ws_handler handler = {
	.connected = on_connected,
	.received = on_received,
	.writable = on_writable,
	.closed = on_closed,
};

void *trunks_accept(struct trunks *t, struct ws_conn *ws)
{
	struct trunk *k = trunk_create(t, true);

	k->ws = ws;
	k->open = true;
	ws_use(ws, &handler);
	return k;
}

/* One that is being dialled already, for another database. */
static struct trunk *find_dialled(const struct trunks *t, const struct lane_target *target)
{
	for (size_t i = 0; i < t->count; i++) {
		struct trunk *k = t->trunks[i];
		const struct endpoint *e = ws_remote(k->ws);

		if (!k->incoming && !k->proven && !k->finished && k->lane_count > 0 &&
		    leads_to(k, target->device) && e->port == target->at->port &&
		    e->tls == target->at->tls && strcmp(e->host, target->at->host) == 0)
			return k;
	}
	return NULL;
}

struct lane *trunks_dial(struct trunks *t, const struct lane_target *target,
			 const struct lane_handler *lane_handler, void *user)
{
	const struct ws_tls unpinned = {0};
	struct trunk *k = find_best(t, target->device);
	bool far = k && endpoint_is_local(target->at) && !is_local(k);

	if (!k || far || k->lane_count >= LANE_COUNT_MAX)
		k = find_dialled(t, target);
	if (!k) {
		k = trunk_create(t, false);
		k->has_device = true;
		memcpy(k->device, target->device, ID_BYTES);
		k->ws = ws_dial_with(t->options.ws, target->at, target->at->tls ? &unpinned : NULL,
				     target->deadline_ms, &handler, k);
	}
	struct trunk_lane *l = lane_create(k, false, 0);
	l->lane.handler = lane_handler;
	l->lane.user = user;
	due(t);
	return &l->lane;
}

void trunks_take(struct lane *lane, const struct lane_handler *lane_handler, void *user)
{
	struct trunk_lane *l = container_of(lane, struct trunk_lane, lane);
	AUTO(buf_fini) struct buf hello = l->hello;

	l->hello = (struct buf){0};
	l->lane.handler = lane_handler;
	l->lane.user = user;
	if (!l->ended && lane_handler->received(user, buf_slice(&hello)) < 0)
		end(l);
}

void trunks_taken(struct lane *lane)
{
	buf_clear(&container_of(lane, struct trunk_lane, lane)->hello);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* There is a better one: its lanes say BYE, and begin again there. */
static void retire(struct trunk *k, uint64_t now)
{
	log_debug("one connection to a device is enough: ending the one with %s",
		  ws_remote(k->ws)->host);
	k->retired = true;
	k->close_ms = now + TRUNK_BYE_MS;
	for (size_t i = 0; i < k->lane_count; i++) {
		struct trunk_lane *l = k->lanes[i];

		if (!l->ended)
			l->lane.handler->retired(l->lane.user);
	}
}

static uint64_t tick_trunk(struct trunk *k, uint64_t now)
{
	const struct trunks *t = k->all;

	if (k->retired || k->finished) {
		if (now >= k->close_ms)
			ws_close(k->ws);
		return now >= k->close_ms ? UINT64_MAX : k->close_ms;
	}
	if (!k->proven || !k->has_device)
		return UINT64_MAX;
	const struct trunk *best = find_best(t, k->device);
	if (!best || best == k) {
		k->retire_ms = 0;
		return UINT64_MAX;
	}
	bool decides = memcmp(t->options.own_id, k->device, ID_BYTES) < 0;
	if (k->retire_ms == 0)
		k->retire_ms = now + (decides ? TRUNK_RETIRE_MS : TRUNK_RETIRE_LATE_MS);
	if (now < k->retire_ms)
		return k->retire_ms;
	retire(k, now);
	return k->close_ms;
}

uint64_t trunks_tick(struct trunks *t, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	reap(t);
	for (size_t i = 0; i < t->count; i++) {
		if (t->trunks[i]->open && !t->trunks[i]->finished)
			connect_lanes(t->trunks[i]);
	}
	for (size_t i = 0; i < t->count; i++) {
		uint64_t at = tick_trunk(t->trunks[i], now_ms);

		next = at < next ? at : next;
	}
	reap(t);
	return next;
}

struct trunks *trunks_create(const struct trunks_options *options)
{
	struct trunks *t = xcalloc(1, sizeof(*t));

	t->options = *options;
	return t;
}

void trunks_destroy(struct trunks *t)
{
	if (!t)
		return;
	assert(t->count == 0 && t->gone_count == 0);
	free(t->trunks);
	free(t->gone);
	free(t);
}
