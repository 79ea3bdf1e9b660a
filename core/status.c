/* The table of peers. A database has few members: a linear search is the fastest one. */
#include "core/status.h"

#include "core/rate.h"
#include "core/thread.h"
#include "core/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct traffic {
	struct rate up;
	struct rate down;
};

struct status {
	struct watch *watch;
	struct mutex lock;
	struct peer_status *peers; /* protected by lock, as all below */
	struct traffic *traffic;   /* of each */
	size_t peer_count;
	struct relay_status *relays;
	size_t relay_count;
	char listen[ENDPOINT_BYTES_MAX + 1];
};

struct status *status_create(void)
{
	struct status *s = xcalloc(1, sizeof(*s));

	mutex_init(&s->lock);
	return s;
}

void status_destroy(struct status *s)
{
	if (!s)
		return;
	mutex_fini(&s->lock);
	free(s->peers);
	free(s->traffic);
	free(s->relays);
	free(s);
}

void status_set_watch(struct status *s, struct watch *w)
{
	s->watch = w;
}

/* What those who watch are told about. */
struct shown {
	enum peer_state state;
	enum peer_path path;
};

static struct shown shown_of(const struct peer_status *p)
{
	return (struct shown){.state = p->state, .path = p->path};
}

static bool is_connected(const struct shown *s)
{
	return s->state == PEER_SYNCING || s->state == PEER_SYNCED;
}

static void tell(struct status *s, uint64_t actor, const struct shown *before,
		 const struct shown *after, const char *error)
{
	struct watch_batch batch = {0};
	bool was = is_connected(before);
	bool is = is_connected(after);

	if (!watch_is_on(s->watch))
		return;
	struct watch_event e = {
		.time_ms = watch_now_ms(),
		.actor = actor,
		.via = is ? after->path : before->path,
	};
	if (was != is || (is && before->path != after->path)) {
		struct watch_event link = e;

		link.kind = was == is ? WATCH_REROUTED : is ? WATCH_CONNECTED : WATCH_DISCONNECTED;
		link.text = is ? NULL : xstrdup(error);
		watch_batch_add(&batch, &link);
	}
	if (after->state == PEER_SYNCED && before->state != PEER_SYNCED) {
		e.kind = WATCH_SYNCED;
		watch_batch_add(&batch, &e);
	}
	watch_tell(s->watch, &batch);
}

static struct peer_status *find_locked(struct status *s, uint64_t actor)
{
	for (size_t i = 0; i < s->peer_count; i++) {
		if (s->peers[i].actor == actor)
			return &s->peers[i];
	}
	return NULL;
}

void status_edit(struct status *s, uint64_t actor, void (*edit)(struct peer_status *p, void *ctx),
		 void *ctx)
{
	mutex_lock(&s->lock);
	struct peer_status *p = find_locked(s, actor);
	if (!p) {
		s->peers = xreallocarray(s->peers, s->peer_count + 1, sizeof(*s->peers));
		s->traffic = xreallocarray(s->traffic, s->peer_count + 1, sizeof(*s->traffic));
		s->traffic[s->peer_count] = (struct traffic){0};
		p = &s->peers[s->peer_count++];
		*p = (struct peer_status){.actor = actor, .state = PEER_OFFLINE, .rtt_us = -1};
	}
	struct shown before = shown_of(p);
	struct traffic *traffic = &s->traffic[p - s->peers];
	rate_note(&traffic->up, monotonic_ms(), p->up_bytes);
	rate_note(&traffic->down, monotonic_ms(), p->down_bytes);
	edit(p, ctx);
	assert(p->actor == actor);
	struct shown after = shown_of(p);
	AUTO(free_ptr) char *error = xstrdup(p->last_error);
	mutex_unlock(&s->lock);
	tell(s, actor, &before, &after, error);
}

bool status_get(struct status *s, uint64_t actor, struct peer_status *ret)
{
	mutex_lock(&s->lock);
	const struct peer_status *p = find_locked(s, actor);
	if (p) {
		const struct traffic *traffic = &s->traffic[p - s->peers];

		*ret = *p;
		ret->up_rate = rate_of(&traffic->up, monotonic_ms(), p->up_bytes);
		ret->down_rate = rate_of(&traffic->down, monotonic_ms(), p->down_bytes);
	}
	mutex_unlock(&s->lock);
	return p;
}

void status_set_listen(struct status *s, const char *endpoint)
{
	mutex_lock(&s->lock);
	(void)snprintf(s->listen, sizeof(s->listen), "%s", endpoint);
	mutex_unlock(&s->lock);
}

void status_get_listen(struct status *s, char out[ENDPOINT_BYTES_MAX + 1])
{
	mutex_lock(&s->lock);
	(void)snprintf(out, sizeof(s->listen), "%s", s->listen);
	mutex_unlock(&s->lock);
}

void status_set_relay(struct status *s, const struct relay_status *relay)
{
	size_t i = 0;

	mutex_lock(&s->lock);
	while (i < s->relay_count && (s->relays[i].path != relay->path ||
				      strcmp(s->relays[i].address, relay->address) != 0))
		i++;
	if (i == s->relay_count)
		s->relays = xreallocarray(s->relays, ++s->relay_count, sizeof(struct relay_status));
	s->relays[i] = *relay;
	mutex_unlock(&s->lock);
}

void status_clear_relays(struct status *s, enum peer_path path)
{
	size_t kept = 0;

	mutex_lock(&s->lock);
	for (size_t i = 0; i < s->relay_count; i++) {
		if (s->relays[i].path != path)
			s->relays[kept++] = s->relays[i];
	}
	s->relay_count = kept;
	mutex_unlock(&s->lock);
}

size_t status_get_relays(struct status *s, struct relay_status **ret)
{
	mutex_lock(&s->lock);
	size_t n = s->relay_count;
	*ret = xmemdup(s->relays, n * sizeof(**ret));
	mutex_unlock(&s->lock);
	return n;
}

const char *peer_state_name(enum peer_state state)
{
	static const char *const names[] = {
		[PEER_OFFLINE] = "offline",
		[PEER_CONNECTING] = "connecting",
		[PEER_SYNCING] = "syncing",
		[PEER_SYNCED] = "synced",
	};

	assert((size_t)state < countof(names));
	return names[state];
}

const char *peer_path_name(enum peer_path path)
{
	static const char *const names[] = {
		[PATH_NONE] = "",	[PATH_DIRECT] = "direct", [PATH_LOCAL] = "local",
		[PATH_RELAY] = "relay", [PATH_FOLDER] = "folder",
	};

	assert((size_t)path < countof(names));
	return names[path];
}
