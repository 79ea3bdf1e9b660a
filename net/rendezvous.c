/* Invitations that wait at a relay, and the lanes that come of it. */
#include "net/rendezvous.h"

#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A relay that hangs up again and again is not told for ever. */
#define WAITS_MAX (4 * INVITE_COUNT_MAX)

enum wait_state {
	WAIT_SAID,
	WAIT_WAITING,
	WAIT_REFUSED,
	WAIT_TALKING,
};

struct wait {
	struct lane lane; /* while it talks; the first member */
	struct rendezvous *rendezvous;
	uint64_t request;
	uint64_t invite;
	enum wait_state state;
	bool wants;	  /* to say something */
	bool ended;	  /* to be told to the lane's user */
	bool ended_there; /* the relay knows */
};

struct rendezvous {
	struct rendezvous_options options;
	struct endpoint relay;
	char shown[INVITE_RELAY_BYTES];
	bool open;
	uint64_t last_request;
	unsigned said; /* WAITs since it was opened */
	struct wait **waits;
	size_t count;
	size_t turn;
};

struct rendezvous *rendezvous_create(const struct rendezvous_options *options)
{
	struct rendezvous *v = xcalloc(1, sizeof(*v));

	v->options = *options;
	v->relay = *options->relay;
	(void)snprintf(v->shown, sizeof(v->shown), "%s", options->shown);
	v->options.relay = NULL;
	v->options.shown = NULL;
	return v;
}

void rendezvous_destroy(struct rendezvous *v)
{
	if (!v)
		return;
	assert(v->count == 0);
	free(v->waits);
	free(v);
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void say_kind(const struct rendezvous *v, enum mail_type type, const struct wait *w)
{
	if (v->open)
		v->options.say(v->options.ctx, &(struct mail){.type = type, .request = w->request});
}

static struct wait *take_ended(struct rendezvous *v)
{
	for (size_t i = 0; i < v->count; i++) {
		struct wait *w = v->waits[i];

		if (!w->ended)
			continue;
		v->waits[i] = v->waits[--v->count];
		return w;
	}
	return NULL;
}

/* Not within a call of the lane's user. */
static void reap(struct rendezvous *v)
{
	struct wait *w = NULL;

	while ((w = take_ended(v))) {
		if (!w->ended_there)
			say_kind(v, w->state == WAIT_TALKING ? MAIL_HANG_UP : MAIL_UNWAIT, w);
		if (w->state == WAIT_TALKING)
			w->lane.handler->closed(w->lane.user, "");
		free(w);
	}
}

void rendezvous_close(struct rendezvous *v)
{
	v->open = false;
	for (size_t i = 0; i < v->count; i++)
		v->waits[i]->ended = true;
	reap(v);
}

/* ---- the lane ------------------------------------------------------------------------------- */

static void on_want_write(struct lane *l)
{
	struct wait *w = container_of(l, struct wait, lane);

	w->wants = true;
	w->rendezvous->options.wake(w->rendezvous->options.ctx);
}

static void on_close(struct lane *l)
{
	struct wait *w = container_of(l, struct wait, lane);

	w->ended = true;
	w->rendezvous->options.wake(w->rendezvous->options.ctx);
}

/* The relay has limits of its own, and there is no other way to go. */
static void on_trust(struct lane *l, const uint8_t *device)
{
	(void)l;
	(void)device;
}

static void on_doubt(struct lane *l)
{
	(void)l;
}

static const struct lane_ops ops = {
	.want_write = on_want_write,
	.close = on_close,
	.trust = on_trust,
	.doubt = on_doubt,
};

static bool next_of(struct rendezvous *v, struct wait *w)
{
	AUTO(buf_fini) struct buf message = {0};

	if (w->state != WAIT_TALKING || !w->wants || w->ended)
		return false;
	int r = w->lane.handler->writable(w->lane.user, &message);
	if (r > 0) {
		w->lane.up += message.len;
		v->options.say(v->options.ctx, &(struct mail){.type = MAIL_PASS,
							      .request = w->request,
							      .rest = buf_slice(&message)});
		return true;
	}
	w->wants = false;
	w->ended = w->ended || r < 0;
	return false;
}

int rendezvous_fill(struct rendezvous *v)
{
	bool said = false;

	for (size_t n = v->count; v->open && !said && n > 0; n--)
		said = next_of(v, v->waits[v->turn++ % v->count]);
	if (said)
		return 1;
	reap(v);
	return 0;
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void wait_for(struct rendezvous *v, const struct invite_wait *i)
{
	struct wait *w = xcalloc(1, sizeof(*w));
	struct buf id = {0};
	struct mail m = {.type = MAIL_WAIT, .nameplate = i->nameplate};

	static_assert(MAIL_INVITE_BYTES == HELLO_INVITE_BYTES, "an invitation's id");
	w->rendezvous = v;
	w->invite = i->id;
	w->request = m.request = ++v->last_request;
	if (++v->said == WAITS_MAX)
		log_warn("relay %s: too many knocks: no invitation waits there any more", v->shown);
	v->waits = xreallocarray(v->waits, v->count + 1, sizeof(struct wait *));
	v->waits[v->count++] = w;
	buf_be64(&id, i->id);
	memcpy(m.invite, id.data, sizeof(m.invite));
	buf_fini(&id);
	v->options.say(v->options.ctx, &m);
}

static struct wait *find_invite(const struct rendezvous *v, uint64_t invite)
{
	for (size_t i = 0; i < v->count; i++) {
		if (v->waits[i]->invite == invite)
			return v->waits[i];
	}
	return NULL;
}

void rendezvous_refresh(struct rendezvous *v)
{
	struct invite_wait list[INVITE_COUNT_MAX];

	if (!v->open)
		return;
	size_t count = invites_waiting(v->options.host->invites, list);
	for (size_t i = 0; i < v->count; i++) {
		struct wait *w = v->waits[i];
		bool alive = w->state == WAIT_TALKING; /* ends by itself */

		for (size_t k = 0; k < count; k++)
			alive = alive || list[k].id == w->invite;
		w->ended = w->ended || !alive;
	}
	reap(v);
	for (size_t k = 0; k < count; k++) {
		if (!list[k].claimed && !find_invite(v, list[k].id) && v->said < WAITS_MAX)
			wait_for(v, &list[k]);
	}
}

void rendezvous_open(struct rendezvous *v)
{
	v->open = true;
	v->said = 0;
	rendezvous_refresh(v);
}

/* ---- what the relay says -------------------------------------------------------------------- */

static void on_waits(struct rendezvous *v, struct wait *w, uint8_t code)
{
	struct invite_place place = {.code = code};

	if (w->state != WAIT_SAID)
		return;
	w->state = code == 0 ? WAIT_WAITING : WAIT_REFUSED;
	if (code != 0)
		log_info("relay %s: an invitation cannot wait there (%u)", v->shown, code);
	memcpy(place.relay, v->shown, sizeof(place.relay));
	invites_placed(v->options.host->invites, w->invite, &place);
}

static void deliver(struct wait *w, struct slice message)
{
	w->lane.down += message.len;
	if (w->lane.handler->received(w->lane.user, message) < 0)
		w->ended = true;
}

static void on_knock(struct rendezvous *v, struct wait *w, struct slice hello)
{
	const struct rendezvous_host *host = v->options.host;
	struct hello h = {0};

	if (w->state != WAIT_WAITING)
		return;
	w->lane.ops = &ops;
	w->lane.incoming = true;
	w->lane.remote.port = v->relay.port;
	/* No address, so nothing that who comes says of its own is taken for one at the relay's. */
	(void)snprintf(w->lane.remote.host, sizeof(w->lane.remote.host), "through %.200s",
		       v->relay.host);
	w->lane.handler = host->handler;
	/* Nothing but pairing is begun there. That an invitation is over, the lane's user says. */
	if (hello_decode(hello, &h) == 0 && (h.mode == HELLO_CODE || h.mode == HELLO_LINK))
		w->lane.user = host->accepted(host->ctx, &w->lane);
	if (!w->lane.user) {
		w->ended = true; /* it goes on waiting */
		say_kind(v, MAIL_HANG_UP, w);
		w->ended_there = true;
		return;
	}
	w->state = WAIT_TALKING;
	deliver(w, hello);
}

int rendezvous_receive(struct rendezvous *v, const struct mail *m)
{
	struct wait *w = NULL;

	for (size_t i = 0; !w && i < v->count; i++)
		w = v->waits[i]->request == m->request ? v->waits[i] : NULL;
	if (!w || w->ended)
		return 0; /* ended here already */
	if (m->type == MAIL_WAITS) {
		on_waits(v, w, m->code);
	} else if (m->type == MAIL_KNOCK) {
		on_knock(v, w, m->rest);
	} else if (m->type == MAIL_PASS) {
		if (w->state == WAIT_TALKING)
			deliver(w, m->rest);
	} else if (w->state == WAIT_TALKING) {
		w->ended = true;
		w->ended_there = true;
	} else {
		w->state = WAIT_REFUSED; /* it waited long enough */
	}
	reap(v);
	rendezvous_refresh(v);
	return 0;
}
