/* Who waits, who knocked, and what passes between them. */
#include "relay/splice.h"

#include "core/log.h"
#include "net/attempts.h"
#include "net/transport.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE_MS 60000

struct splice_guest {
	struct splices *splices;
	void *connection;
	struct waiting *waiting; /* NULL: the device hung up */
	char place[ENDPOINT_TEXT_BYTES];
	bool is_near; /* loopback */
	size_t bytes;
	struct buf *queue; /* messages for it */
	size_t first;
	size_t count;
};

struct waiting {
	void *device;
	uint64_t request;
	uint64_t nameplate;
	uint8_t invite[MAIL_INVITE_BYTES];
	uint64_t until_ms;
	size_t bytes;		    /* to the guest */
	struct splice_guest *guest; /* NULL: still waiting */
};

struct splices {
	struct splice_ops ops;
	struct waiting **items;
	size_t count;
	struct splice_guest **guests;
	size_t guest_count;
	size_t queued;		  /* bytes for guests */
	struct attempts attempts; /* by place */
	uint64_t minute_ms;
	unsigned misses; /* in that minute */
};

struct splices *splice_create(const struct splice_ops *ops)
{
	struct splices *v = xcalloc(1, sizeof(*v));

	v->ops = *ops;
	return v;
}

void splice_destroy(struct splices *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->count; i++)
		free(v->items[i]);
	assert(v->guest_count == 0);
	free(v->items);
	free(v->guests);
	free(v);
}

/* ---- those that wait ----------------------------------------------------------------------------- */

static struct waiting *find(const struct splices *v, const void *device, uint64_t request)
{
	for (size_t i = 0; i < v->count; i++) {
		if (v->items[i]->device == device && v->items[i]->request == request)
			return v->items[i];
	}
	return NULL;
}

/* It is over; the guest gets what is on its way, and is closed then. */
static void drop(struct splices *v, struct waiting *w)
{
	size_t i = 0;

	while (v->items[i] != w)
		i++;
	v->items[i] = v->items[--v->count];
	if (w->guest) {
		w->guest->waiting = NULL;
		v->ops.wake(w->guest->connection);
	}
	free(w);
}

static void hang_up(struct splices *v, struct waiting *w)
{
	v->ops.say(w->device, &(struct mail){.type = MAIL_HANG_UP, .request = w->request});
	drop(v, w);
}

/* 0, or an enum mail_error. */
static uint8_t may_wait(const struct splices *v, const void *device, const struct mail *m)
{
	size_t own = 0;

	for (size_t i = 0; i < v->count; i++) {
		const struct waiting *w = v->items[i];

		if (w->nameplate == m->nameplate ||
		    memcmp(w->invite, m->invite, sizeof(w->invite)) == 0)
			return MAIL_ERROR_TAKEN;
		own += w->device == device;
	}
	return v->count >= SPLICE_COUNT_MAX || own >= SPLICE_PER_DEVICE_MAX ? MAIL_ERROR_QUOTA : 0;
}

void splice_wait(struct splices *v, void *device, const struct mail *m, uint64_t now_ms)
{
	bool valid = m->nameplate >= 1 && m->nameplate <= HELLO_NAMEPLATE_MAX;

	splice_tick(v, now_ms);
	if (find(v, device, m->request))
		return; /* it was answered */
	uint8_t code = valid ? may_wait(v, device, m) : MAIL_ERROR_TAKEN;
	if (code == 0) {
		struct waiting *w = xcalloc(1, sizeof(*w));

		w->device = device;
		w->request = m->request;
		w->nameplate = m->nameplate;
		memcpy(w->invite, m->invite, sizeof(w->invite));
		w->until_ms = now_ms + SPLICE_WAIT_MS;
		v->items = xreallocarray(v->items, v->count + 1, sizeof(struct waiting *));
		v->items[v->count++] = w;
	}
	v->ops.say(device, &(struct mail){.type = MAIL_WAITS, .request = m->request, .code = code});
}

void splice_leave(struct splices *v, void *device, uint64_t request)
{
	struct waiting *w = find(v, device, request);

	if (w)
		drop(v, w);
}

void splice_pass(struct splices *v, void *device, const struct mail *m)
{
	struct waiting *w = find(v, device, m->request);
	struct splice_guest *g = w ? w->guest : NULL;

	if (!g)
		return;
	w->bytes += m->rest.len;
	if (m->rest.len > TRANSPORT_WIRE_BYTES_MAX || w->bytes > SPLICE_DEVICE_BYTES ||
	    v->queued + m->rest.len > SPLICE_QUEUED_BYTES) {
		log_info("a pairing was ended: it said more than there is room for");
		hang_up(v, w);
		return;
	}
	v->queued += m->rest.len;
	g->queue = xreallocarray(g->queue, g->count + 1, sizeof(*g->queue));
	g->queue[g->count] = (struct buf){0};
	buf_slice_append(&g->queue[g->count++], m->rest);
	v->ops.wake(g->connection);
}

void splice_gone(struct splices *v, void *device)
{
	for (size_t i = v->count; i > 0; i--) {
		if (v->items[i - 1]->device == device)
			drop(v, v->items[i - 1]);
	}
}

/* ---- those that knock ---------------------------------------------------------------------------- */

static struct waiting *find_wanted(const struct splices *v, const struct hello *h)
{
	for (size_t i = 0; i < v->count; i++) {
		struct waiting *w = v->items[i];

		if (h->mode == HELLO_CODE ? w->nameplate == h->nameplate
					  : memcmp(w->invite, h->invite, sizeof(w->invite)) == 0)
			return w;
	}
	return NULL;
}

/* Codes are not answered while so many ask for what is not there: else somebody would try them all. */
static bool may_miss(struct splices *v, uint64_t now_ms)
{
	if (v->minute_ms == 0 || now_ms - v->minute_ms >= MINUTE_MS) {
		v->minute_ms = now_ms;
		v->misses = 0;
	}
	return v->misses < SPLICE_MISSES_MINUTE;
}

static bool has_too_many(const struct splices *v, const char *place, bool is_near)
{
	size_t n = 0;

	for (size_t i = 0; i < v->guest_count; i++)
		n += strcmp(v->guests[i]->place, place) == 0;
	return v->guest_count >= SPLICE_GUESTS_MAX || (!is_near && n >= SPLICE_GUESTS_PER_PLACE_MAX);
}

static void note_miss(struct splices *v, const struct hello *h, const char *place, uint64_t now_ms)
{
	if (h->mode == HELLO_CODE && ++v->misses == SPLICE_MISSES_MINUTE)
		log_warn("%d knocks at codes that are not here in a minute: none is answered until it "
			 "is over; links are",
			 SPLICE_MISSES_MINUTE);
	if (place[0] && attempts_failed(&v->attempts, 0, place, now_ms))
		log_warn("%s: %d knocks in a minute: it is not listened to for a minute", place,
			 ATTEMPTS_MAX);
}

static struct splice_guest *let_in(struct splices *v, struct waiting *w, void *connection)
{
	struct splice_guest *g = xcalloc(1, sizeof(*g));

	g->splices = v;
	g->connection = connection;
	g->waiting = w;
	w->guest = g;
	v->guests = xreallocarray(v->guests, v->guest_count + 1, sizeof(struct splice_guest *));
	v->guests[v->guest_count++] = g;
	return g;
}

enum hello_status splice_knock(struct splices *v, struct slice hello, const struct endpoint *from,
			       void *connection, uint64_t now_ms, struct splice_guest **ret)
{
	char place[ENDPOINT_TEXT_BYTES];
	bool is_near =
		endpoint_is_loopback(from); /* perhaps a TLS proxy: everybody comes from there */
	struct hello h = {0};

	splice_tick(v, now_ms);
	endpoint_place(from, place);
	if (hello_decode(hello, &h) < 0 || (h.mode != HELLO_CODE && h.mode != HELLO_LINK))
		return HELLO_UNKNOWN;
	if ((!is_near && !attempts_may(&v->attempts, 0, place, now_ms)) ||
	    (h.mode == HELLO_CODE && !may_miss(v, now_ms)) || has_too_many(v, place, is_near))
		return HELLO_LATER;
	struct waiting *w = find_wanted(v, &h);
	if (!w || w->guest) {
		note_miss(v, &h, is_near ? "" : place, now_ms);
		return w ? HELLO_BUSY : HELLO_UNKNOWN;
	}
	*ret = let_in(v, w, connection);
	memcpy((*ret)->place, place, sizeof(place));
	w->until_ms = now_ms + SPLICE_TALK_MS;
	v->ops.say(w->device,
		   &(struct mail){.type = MAIL_KNOCK, .request = w->request, .rest = hello});
	return HELLO_OK;
}

int splice_receive(struct splice_guest *g, struct slice message)
{
	struct splices *v = g->splices;
	struct waiting *w = g->waiting;

	if (!w)
		return 0; /* what it is told is still on its way */
	g->bytes += message.len;
	if (g->bytes > SPLICE_GUEST_BYTES || message.len == 0)
		return -EMSGSIZE;
	v->ops.say(w->device,
		   &(struct mail){.type = MAIL_PASS, .request = w->request, .rest = message});
	return 0;
}

int splice_next(struct splice_guest *g, struct buf *out)
{
	if (g->first < g->count) {
		struct buf *b = &g->queue[g->first++];

		buf_slice_append(out, buf_slice(b));
		g->splices->queued -= b->len;
		buf_fini(b);
		return 1;
	}
	g->first = g->count = 0;
	return g->waiting ? 0 : -ECANCELED;
}

void splice_end(struct splice_guest *g)
{
	struct splices *v = g->splices;
	size_t i = 0;

	if (g->waiting) {
		g->waiting->guest = NULL;
		hang_up(v, g->waiting);
	}
	while (v->guests[i] != g)
		i++;
	v->guests[i] = v->guests[--v->guest_count];
	for (size_t n = g->first; n < g->count; n++) {
		v->queued -= g->queue[n].len;
		buf_fini(&g->queue[n]);
	}
	free(g->queue);
	free(g);
}

/* ---- time ---------------------------------------------------------------------------------------- */

void splice_tick(struct splices *v, uint64_t now_ms)
{
	for (size_t i = v->count; i > 0; i--) {
		if (v->items[i - 1]->until_ms <= now_ms)
			hang_up(v, v->items[i - 1]);
	}
}

size_t splice_count(const struct splices *v)
{
	return v->count;
}
