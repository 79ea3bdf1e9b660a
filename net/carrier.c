/* Passing lanes on to other processes. */
#include "net/carrier.h"

#include "net/ride.h"

#include "core/log.h"

#include <stdlib.h>
#include <string.h>

struct link;

/* A lane that is a rider's, or may be. */
struct passed {
	struct carrier *carrier;
	struct link *link; /* whose it is, or who is asked now; NULL = nobody any more */
	uint64_t number;   /* in the link */
	struct lane *lane;
	bool offered;	  /* the rider has not said yet whether it is his */
	bool ended;	  /* by the rider: what waits is sent, then it is closed */
	struct buf hello; /* offered */
	struct ride_queue out;
	uint64_t taken; /* bytes sent on and not given back */
};

struct link {
	struct carrier *carrier;
	struct ws_conn *ws;
	uint64_t serial; /* the order in which they came */
	bool greeted;
	uint64_t next_number;
	struct ride_queue out;
};

struct carrier {
	struct carrier_options options;
	struct link **links;
	size_t link_count;
	struct passed **passed;
	size_t passed_count;
	uint64_t last_serial;
};

static void say(struct link *k, const struct ride *m)
{
	if (!k)
		return;
	ride_queue_say(&k->out, m);
	ws_want_write(k->ws);
}

static struct passed *passed_create(struct carrier *c)
{
	struct passed *p = xcalloc(1, sizeof(*p));

	p->carrier = c;
	c->passed = xreallocarray(c->passed, c->passed_count + 1, sizeof(*c->passed));
	c->passed[c->passed_count++] = p;
	return p;
}

static void passed_destroy(struct passed *p)
{
	struct carrier *c = p->carrier;
	size_t i = 0;

	while (c->passed[i] != p)
		i++;
	c->passed[i] = c->passed[--c->passed_count];
	ride_queue_fini(&p->out);
	buf_fini(&p->hello);
	free(p);
}

static struct passed *passed_find(const struct link *k, uint64_t number)
{
	for (size_t i = 0; i < k->carrier->passed_count; i++) {
		struct passed *p = k->carrier->passed[i];

		if (p->link == k && p->number == number)
			return p;
	}
	return NULL;
}

/* ---- the lane's side ------------------------------------------------------------------------ */

static void on_lane_connected(void *user)
{
	const struct passed *p = user;

	say(p->link, &(struct ride){.kind = RIDE_OPENED, .lane = p->number, .at = p->lane->remote});
}

static int on_lane_received(void *user, struct slice message)
{
	struct passed *p = user;

	if (!p->link)
		return 0; /* its end is on the way */
	if (p->link->out.bytes > RIDE_WAITING_MAX) {
		log_warn("a mount of this home does not read what comes for it: cutting it off "
			 "from a peer");
		return -ENOBUFS;
	}
	say(p->link, &(struct ride){.kind = RIDE_DATA, .lane = p->number, .content = message});
	return 0;
}

static int on_lane_writable(void *user, struct buf *out)
{
	struct passed *p = user;
	size_t before = out->len;

	if (!ride_queue_pop(&p->out, out))
		return p->ended ? -ECANCELED : 0;
	p->taken += out->len - before;
	if (p->taken >= RIDE_WINDOW / 4) {
		say(p->link,
		    &(struct ride){.kind = RIDE_MORE, .lane = p->number, .number = p->taken});
		p->taken = 0;
	}
	return 1;
}

static void on_lane_closed(void *user, const char *reason)
{
	struct passed *p = user;

	if (!p->ended)
		say(p->link, &(struct ride){.kind = RIDE_CLOSE,
					    .lane = p->number,
					    .content = SLICE_STR(reason)});
	passed_destroy(p);
}

static void on_lane_retired(void *user)
{
	const struct passed *p = user;

	say(p->link, &(struct ride){.kind = RIDE_RETIRE, .lane = p->number});
}

static const struct lane_handler lane_handler = {
	.connected = on_lane_connected,
	.received = on_lane_received,
	.writable = on_lane_writable,
	.closed = on_lane_closed,
	.retired = on_lane_retired,
};

/* ---- whose is it? --------------------------------------------------------------------------- */

static struct link *next_link(const struct carrier *c, uint64_t after)
{
	struct link *next = NULL;

	for (size_t i = 0; i < c->link_count; i++) {
		struct link *k = c->links[i];

		if (k->greeted && k->serial > after && (!next || k->serial < next->serial))
			next = k;
	}
	return next;
}

/* All are asked, in the same order, whatever is in the HELLO: the answer takes as long if nobody has the database. */
static void ask_next(struct passed *p, uint64_t after)
{
	struct carrier *c = p->carrier;
	struct lane *l = p->lane;
	struct link *k = next_link(c, after);

	p->link = k;
	if (!k) {
		passed_destroy(p);
		c->options.unwanted(c->options.ctx, l);
		return;
	}
	p->number = k->next_number;
	k->next_number += 2;
	say(k, &(struct ride){.kind = RIDE_OFFER,
			      .lane = p->number,
			      .at = l->remote,
			      .content = buf_slice(&p->hello)});
}

void carrier_offer(struct carrier *c, struct lane *l, struct slice hello)
{
	struct passed *p = passed_create(c);

	p->lane = l;
	p->offered = true;
	buf_slice_append(&p->hello, hello);
	l->handler = &lane_handler;
	l->user = p;
	ask_next(p, 0);
}

static void receive_take(struct passed *p)
{
	p->offered = false;
	buf_fini(&p->hello);
	p->hello = (struct buf){0};
	trunks_taken(p->lane);
}

/* ---- the rider's side ----------------------------------------------------------------------- */

static int receive_dial(struct link *k, const struct ride *m)
{
	const struct lane_target target = {
		.at = &m->at, .device = m->device, .deadline_ms = m->number};

	if (m->lane % 2 == 0 || passed_find(k, m->lane))
		return -EPROTO;
	struct passed *p = passed_create(k->carrier);
	p->link = k;
	p->number = m->lane;
	p->lane = trunks_dial(k->carrier->options.trunks, &target, &lane_handler, p);
	return 0;
}

static void receive_listen(struct link *k, const struct ride *m)
{
	const struct carrier_options *o = &k->carrier->options;
	AUTO(free_ptr)
	char *address = xasprintf("%.*s", (int)m->content.len, (const char *)m->content.data);
	char bound[ENDPOINT_TEXT_BYTES] = "";
	struct why why = {""};
	int r = o->listen(o->ctx, address, bound, &why);

	say(k, &(struct ride){.kind = RIDE_LISTENING,
			      .lane = m->lane,
			      .number = r < 0 ? (uint64_t)-r : 0,
			      .content = SLICE_STR(r < 0 ? why.text : bound)});
}

/* The rider ended it: what waits goes out first. */
static void end(struct passed *p)
{
	p->ended = true;
	if (p->offered)
		lane_close(p->lane);
	else
		lane_want_write(p->lane);
	if (p->out.at == p->out.count)
		lane_close(p->lane); /* it may never have been open */
}

static int receive_for_lane(struct link *k, const struct ride *m)
{
	struct passed *p = passed_find(k, m->lane);

	if (!p || p->ended)
		return 0;
	switch (m->kind) {
	case RIDE_TAKE:
		receive_take(p);
		break;
	case RIDE_PASS:
		if (!p->offered)
			return -EPROTO;
		ask_next(p, k->serial);
		break;
	case RIDE_DATA:
		ride_queue_push(&p->out, m->content);
		lane_want_write(p->lane);
		break;
	case RIDE_CLOSE:
		end(p);
		break;
	case RIDE_TRUST:
		lane_trust(p->lane, m->device);
		break;
	case RIDE_DOUBT:
		lane_doubt(p->lane);
		break;
	case RIDE_HELLO:
	case RIDE_DIAL:
	case RIDE_OPENED:
	case RIDE_OFFER:
	case RIDE_RETIRE:
	case RIDE_MORE:
	case RIDE_LISTEN:
	case RIDE_LISTENING:
	case RIDE_KINDS:
		return -EPROTO;
	}
	return 0;
}

static int receive_hello(struct link *k, const struct ride *m)
{
	say(k, &(struct ride){.kind = RIDE_HELLO, .number = RIDE_VERSION});
	if (m->number != RIDE_VERSION) {
		log_warn("a mount of this home is of another version, and has its own connections: "
			 "mount it again");
		return 0;
	}
	k->greeted = true;
	return 0;
}

static int on_received(void *user, struct slice message)
{
	struct link *k = user;
	struct ride m;
	int r = ride_decode(message, &m);

	if (r < 0)
		return r;
	if (m.kind == RIDE_HELLO)
		return receive_hello(k, &m);
	if (!k->greeted)
		return -EPROTO;
	if (m.kind == RIDE_DIAL)
		return receive_dial(k, &m);
	if (m.kind != RIDE_LISTEN)
		return receive_for_lane(k, &m);
	receive_listen(k, &m);
	return 0;
}

static int on_writable(void *user, struct buf *out)
{
	struct link *k = user;

	return ride_queue_pop(&k->out, out);
}

/* The first lane of this rider that has not been told. */
static struct passed *find_of(const struct link *k)
{
	for (size_t i = 0; i < k->carrier->passed_count; i++) {
		if (k->carrier->passed[i]->link == k)
			return k->carrier->passed[i];
	}
	return NULL;
}

static void on_closed(void *user, const char *reason)
{
	struct link *k = user;
	struct carrier *c = k->carrier;
	struct passed *p = NULL;
	size_t i = 0;

	(void)reason;
	while (c->links[i] != k)
		i++;
	c->links[i] = c->links[--c->link_count];
	while ((p = find_of(k))) {
		p->link = NULL;
		if (p->offered)
			ask_next(p, k->serial);
		else
			end(p);
	}
	ride_queue_fini(&k->out);
	free(k);
}

static const struct ws_handler handler = {
	.received = on_received,
	.writable = on_writable,
	.closed = on_closed,
};

void *carrier_accept(struct carrier *c, struct ws_conn *ws)
{
	struct link *k = xcalloc(1, sizeof(*k));

	k->carrier = c;
	k->ws = ws;
	k->serial = ++c->last_serial;
	k->next_number = 2;
	c->links = xreallocarray(c->links, c->link_count + 1, sizeof(*c->links));
	c->links[c->link_count++] = k;
	ws_use(ws, &handler);
	ws_trust(ws); /* the same user's: net/ws.h has looked */
	return k;
}

struct carrier *carrier_create(const struct carrier_options *options)
{
	struct carrier *c = xcalloc(1, sizeof(*c));

	c->options = *options;
	return c;
}

void carrier_destroy(struct carrier *c)
{
	if (!c)
		return;
	assert(c->link_count == 0 && c->passed_count == 0);
	free(c->links);
	free(c->passed);
	free(c);
}
