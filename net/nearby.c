/* Members and pairing codes on the local network. */
#include "net/nearby.h"

#include "core/log.h"
#include "core/thread.h"
#include "net/beacon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Found and not looked at yet; more than so many at once are strangers' mischief. */
#define EVENTS_MAX 32
#define SIGHTINGS_MAX 64
#define NAMEPLATE_TEXT_BYTES 16

struct event {
	char name[DNSSD_NAME_BYTES];
	bool found;
	struct buf txt;
};

/* Where a member is, by what service. */
struct sighting {
	char name[DNSSD_NAME_BYTES];
	uint64_t actor;
	struct endpoint at[BEACON_ADDRESSES_MAX];
	size_t count;
};

struct nearby {
	struct nearby_options options;
	struct dnssd *dnssd;
	struct mutex lock;
	struct event events[EVENTS_MAX]; /* protected by lock */
	size_t event_count;
	struct sighting sightings[SIGHTINGS_MAX];
	size_t sighting_count;
	char name[DNSSD_NAME_BYTES]; /* what we announce; "" = nothing */
	uint8_t said[DIGEST_BYTES];  /* of whom and where it was announced */
};

/* ---- from the thread of DNS-SD ---------------------------------------------------------------- */

static void add_event(struct nearby *n, const char *name, struct slice txt, bool found)
{
	mutex_lock(&n->lock);
	bool room = n->event_count < EVENTS_MAX && txt.len <= BEACON_BYTES_MAX;
	if (room) {
		struct event *e = &n->events[n->event_count++];

		*e = (struct event){.found = found};
		(void)snprintf(e->name, sizeof(e->name), "%s", name);
		buf_slice_append(&e->txt, txt);
	}
	mutex_unlock(&n->lock);
	if (room)
		n->options.wake(n->options.ctx);
}

static void on_found(void *ctx, const char *name, struct slice txt)
{
	add_event(ctx, name, txt, true);
}

static void on_lost(void *ctx, const char *name)
{
	add_event(ctx, name, SLICE("", 0), false);
}

/* ---- members ---------------------------------------------------------------------------------- */

/* "" = all. They stay in the order in which they were found. */
static void forget(struct nearby *n, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->sighting_count; i++) {
		if (name[0] && strcmp(n->sightings[i].name, name) != 0)
			n->sightings[kept++] = n->sightings[i];
	}
	n->sighting_count = kept;
}

static bool find_speaker(struct nearby *n, const struct beacon *b, struct device *ret)
{
	AUTO(free_ptr) struct device *members = NULL;
	size_t count = db_peers(n->options.db, &members);
	const uint8_t *own = keys_device(n->options.keys)->dh_pk;
	struct id id = db_id(n->options.db);

	for (size_t i = 0; i < count; i++) {
		if (!beacon_is_for(b, members[i].dh_pk, own, &id))
			continue;
		*ret = members[i];
		return true;
	}
	return false;
}

static void take(struct nearby *n, const struct event *e)
{
	struct device speaker;
	struct beacon b;

	forget(n, e->name);
	if (!e->found || strcmp(e->name, n->name) == 0 ||
	    beacon_decode(buf_slice(&e->txt), &b) < 0 || b.address_count == 0 ||
	    !find_speaker(n, &b, &speaker) || n->sighting_count == SIGHTINGS_MAX)
		return;
	struct sighting *s = &n->sightings[n->sighting_count++];
	*s = (struct sighting){.actor = speaker.actor, .count = b.address_count};
	memcpy(s->name, e->name, sizeof(s->name));
	memcpy(s->at, b.addresses, sizeof(s->at));
	log_debug("%s is on the local network, at %s", speaker.name, s->at[0].host);
	n->options.found(n->options.ctx, speaker.actor);
}

void nearby_woken(struct nearby *n)
{
	struct event events[EVENTS_MAX];

	mutex_lock(&n->lock);
	size_t count = n->event_count;
	memcpy(events, n->events, count * sizeof(events[0]));
	n->event_count = 0;
	mutex_unlock(&n->lock);
	for (size_t i = 0; i < count; i++) {
		take(n, &events[i]);
		buf_fini(&events[i].txt);
	}
}

void nearby_add_routes(const struct nearby *n, uint64_t actor, struct routes *r)
{
	for (size_t i = n->sighting_count; i > 0; i--) { /* the latest first */
		const struct sighting *s = &n->sightings[i - 1];

		for (size_t j = 0; s->actor == actor && j < s->count; j++)
			routes_add(r, &s->at[j]);
	}
}

/* ---- what we say ------------------------------------------------------------------------------ */

/* Of all that it is about, but the nonce. */
static void digest_of(const struct beacon *b, const struct device *members, size_t count,
		      uint8_t ret[DIGEST_BYTES])
{
	AUTO(buf_fini) struct buf text = {0};
	char address[ENDPOINT_TEXT_BYTES];

	for (size_t i = 0; i < b->address_count; i++) {
		endpoint_format(&b->addresses[i], address);
		buf_printf(&text, "%s ", address);
	}
	for (size_t i = 0; i < count; i++)
		buf_append(&text, members[i].id, sizeof(members[i].id));
	const struct slice part = buf_slice(&text);
	digest(ret, "blaze nearby said", &part, 1);
}

static void say(struct nearby *n, const struct beacon *b)
{
	AUTO(buf_fini) struct buf txt = {0};
	struct id id;
	char hex[ID_HEX_BYTES];

	beacon_encode(b, &txt);
	random_bytes(&id, sizeof(id));
	id_hex(&id, hex);
	(void)snprintf(n->name, sizeof(n->name), "%s", hex);
	dnssd_announce(n->dnssd, DNSSD_DEVICES, n->name, b->addresses[0].port, buf_slice(&txt));
}

void nearby_say(struct nearby *n, char (*addresses)[ENDPOINT_TEXT_BYTES], size_t count)
{
	AUTO(free_ptr) struct device *members = NULL;
	struct id id = db_id(n->options.db);
	uint8_t about[DIGEST_BYTES];
	struct beacon b = {0};

	if (!n->dnssd)
		return;
	size_t member_count = db_peers(n->options.db, &members);
	for (size_t i = 0; i < count; i++)
		beacon_add_address(&b, addresses[i]);
	digest_of(&b, members, member_count, about);
	if (memcmp(about, n->said, sizeof(about)) == 0)
		return;
	memcpy(n->said, about, sizeof(about));
	if (n->name[0])
		dnssd_withdraw(n->dnssd, DNSSD_DEVICES, n->name);
	n->name[0] = 0;
	if (b.address_count == 0 || member_count == 0)
		return;
	random_bytes(b.nonce, sizeof(b.nonce));
	for (size_t i = 0; i < member_count; i++)
		beacon_add_hint(&b, keys_device(n->options.keys)->dh_pk, members[i].dh_pk, &id);
	say(n, &b);
}

/* ---- life ------------------------------------------------------------------------------------- */

struct nearby *nearby_create(const struct nearby_options *options)
{
	struct nearby *n = xcalloc(1, sizeof(*n));
	const struct dnssd_handler handler = {.found = on_found, .lost = on_lost, .ctx = n};

	n->options = *options;
	mutex_init(&n->lock);
	n->dnssd = dnssd_start(DNSSD_DEVICES, &handler);
	return n;
}

void nearby_stop(struct nearby *n)
{
	if (n)
		dnssd_stop(STEAL(n->dnssd));
}

void nearby_destroy(struct nearby *n)
{
	if (!n)
		return;
	nearby_stop(n);
	for (size_t i = 0; i < n->event_count; i++)
		buf_fini(&n->events[i].txt);
	mutex_fini(&n->lock);
	free(n);
}

/* ---- pairing codes ---------------------------------------------------------------------------- */

void nearby_invite(struct nearby *n, uint32_t nameplate, char (*addresses)[ENDPOINT_TEXT_BYTES],
		   size_t count)
{
	AUTO(buf_fini) struct buf txt = {0};
	char name[NAMEPLATE_TEXT_BYTES];
	struct beacon b = {0};

	for (size_t i = 0; i < count; i++)
		beacon_add_address(&b, addresses[i]);
	if (b.address_count == 0)
		return;
	random_bytes(b.nonce, sizeof(b.nonce));
	beacon_encode(&b, &txt);
	(void)snprintf(name, sizeof(name), "%u", nameplate);
	dnssd_announce(n->dnssd, DNSSD_CODES, name, b.addresses[0].port, buf_slice(&txt));
}

void nearby_withdraw(struct nearby *n, uint32_t nameplate)
{
	char name[NAMEPLATE_TEXT_BYTES];

	(void)snprintf(name, sizeof(name), "%u", nameplate);
	dnssd_withdraw(n->dnssd, DNSSD_CODES, name);
}

struct lookup {
	char name[NAMEPLATE_TEXT_BYTES];
	struct mutex lock;
	struct cond done;
	struct beacon found; /* protected by lock: what the first said */
	bool none;	     /* protected by lock: nobody will say anything */
};

static void on_code(void *ctx, const char *name, struct slice txt)
{
	struct lookup *l = ctx;
	struct beacon b;

	if (strcmp(name, l->name) != 0 || beacon_decode(txt, &b) < 0)
		return;
	mutex_lock(&l->lock);
	if (l->found.address_count == 0)
		l->found = b;
	cond_broadcast(&l->done);
	mutex_unlock(&l->lock);
}

static void on_code_lost(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
}

static void on_no_codes(void *ctx)
{
	struct lookup *l = ctx;

	mutex_lock(&l->lock);
	l->none = true;
	cond_broadcast(&l->done);
	mutex_unlock(&l->lock);
}

size_t nearby_lookup(uint32_t nameplate, uint64_t timeout_ms, char (*out)[ENDPOINT_TEXT_BYTES],
		     size_t max)
{
	struct lookup l = {.found = {.address_count = 0}};
	const struct dnssd_handler handler = {
		.found = on_code,
		.lost = on_code_lost,
		.none = on_no_codes,
		.ctx = &l,
	};
	uint64_t deadline_ms = monotonic_ms() + timeout_ms;
	size_t n = 0;

	(void)snprintf(l.name, sizeof(l.name), "%u", nameplate);
	mutex_init(&l.lock);
	cond_init(&l.done);
	struct dnssd *d = dnssd_start(DNSSD_CODES, &handler);
	mutex_lock(&l.lock);
	while (d && !l.none && l.found.address_count == 0 &&
	       cond_wait_until(&l.done, &l.lock, deadline_ms))
		;
	mutex_unlock(&l.lock);
	dnssd_stop(d); /* from here on nobody calls on_code() */
	for (; n < max && n < l.found.address_count; n++)
		endpoint_format(&l.found.addresses[n], out[n]);
	cond_fini(&l.done);
	mutex_fini(&l.lock);
	return n;
}
