/* The queue of what happened: a ring, and a place in it for each watcher. */
#include "core/watch.h"

#include "core/thread.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What one call of watch_take() hands out, about. */
#define TAKE_BYTES_MAX 32768

struct watch {
	struct mutex lock;
	struct cond told;
	atomic_size_t watcher_count;
	/* The rest is protected by lock. */
	struct watcher *watchers;
	struct watch_event *ring; /* NULL while nobody watches; event n is at n % WATCH_EVENTS_MAX */
	uint64_t first;		  /* the oldest that is here */
	uint64_t next;		  /* the number of the next one */
	size_t bytes;
};

void watch_event_fini(struct watch_event *e)
{
	free(e->path);
	free(e->from);
	free(e->text);
	*e = (struct watch_event){0};
}

bool watch_is_change(enum watch_kind kind)
{
	return kind < WATCH_CONNECTED;
}

static size_t size_of(const struct watch_event *e)
{
	return sizeof(*e) + (e->path ? strlen(e->path) : 0) + (e->from ? strlen(e->from) : 0) +
	       (e->text ? strlen(e->text) : 0);
}

static void note_lost(uint64_t *count, uint64_t *since, uint64_t n, uint64_t time_ms)
{
	*since = *count == 0 || time_ms < *since ? time_ms : *since;
	*count += n;
}

uint64_t watch_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- batches ------------------------------------------------------------------------------------ */

void watch_batch_add(struct watch_batch *b, struct watch_event *e)
{
	size_t bytes = size_of(e);

	/* What the queue could not hold anyway need not be collected: a snapshot is a million events. */
	if (b->count == WATCH_EVENTS_MAX || b->bytes + bytes > WATCH_BYTES_MAX) {
		note_lost(&b->lost, &b->lost_since, 1, e->time_ms);
		watch_event_fini(e);
		return;
	}
	if ((b->count & (b->count - 1)) == 0)
		b->events =
			xreallocarray(b->events, b->count ? b->count * 2 : 1, sizeof(*b->events));
	b->events[b->count++] = *e;
	b->bytes += bytes;
	*e = (struct watch_event){0};
}

void watch_batch_clear(struct watch_batch *b)
{
	for (size_t i = 0; i < b->count; i++)
		watch_event_fini(&b->events[i]);
	free(b->events);
	*b = (struct watch_batch){0};
}

/* ---- the queue ---------------------------------------------------------------------------------- */

struct watch *watch_create(void)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	mutex_init(&w->lock);
	cond_init(&w->told);
	w->first = w->next = 1;
	return w;
}

static void drop_first_locked(struct watch *w)
{
	struct watch_event *e = &w->ring[w->first % WATCH_EVENTS_MAX];

	w->bytes -= size_of(e);
	w->first++;
	watch_event_fini(e);
}

static void forget_locked(struct watch *w)
{
	while (w->first < w->next)
		drop_first_locked(w);
	free(STEAL(w->ring));
}

void watch_destroy(struct watch *w)
{
	if (!w)
		return;
	assert(!w->watchers);
	cond_fini(&w->told);
	mutex_fini(&w->lock);
	free(w);
}

bool watch_is_on(const struct watch *w)
{
	return w && atomic_load_explicit(&w->watcher_count, memory_order_relaxed) > 0;
}

/* Watchers that have not taken it never will. */
static void make_room_locked(struct watch *w, size_t bytes)
{
	while (w->first < w->next &&
	       (w->next - w->first == WATCH_EVENTS_MAX || w->bytes + bytes > WATCH_BYTES_MAX)) {
		uint64_t time_ms = w->ring[w->first % WATCH_EVENTS_MAX].time_ms;

		for (struct watcher *r = w->watchers; r; r = r->next) {
			if (r->at > w->first)
				continue;
			r->at = w->first + 1;
			note_lost(&r->lost, &r->lost_since, 1, time_ms);
		}
		drop_first_locked(w);
	}
}

static void put_locked(struct watch *w, struct watch_event *e)
{
	size_t bytes = size_of(e);

	make_room_locked(w, bytes);
	e->seq = w->next++;
	w->ring[e->seq % WATCH_EVENTS_MAX] = *e;
	w->bytes += bytes;
	*e = (struct watch_event){0};
}

void watch_tell(struct watch *w, struct watch_batch *b)
{
	if (b->count == 0)
		return;
	mutex_lock(&w->lock);
	for (size_t i = 0; i < b->count && w->ring; i++)
		put_locked(w, &b->events[i]);
	/* A watcher has to have got so far before it hears that more came: the count of all goes on. */
	for (struct watcher *r = w->watchers; r && b->lost; r = r->next)
		note_lost(&r->lost, &r->lost_since, b->lost, b->lost_since);
	cond_broadcast(&w->told);
	mutex_unlock(&w->lock);
	watch_batch_clear(b);
}

void watch_relay(struct watch *w, enum watch_kind kind, enum peer_path via, const char *address,
		 const char *what)
{
	struct watch_batch batch = {0};
	struct watch_event e = {.kind = kind, .time_ms = watch_now_ms(), .via = via};

	if (!watch_is_on(w))
		return;
	e.text = xstrdup(address);
	e.from = what ? xstrdup(what) : NULL;
	watch_batch_add(&batch, &e);
	watch_tell(w, &batch);
}

/* ---- watchers ----------------------------------------------------------------------------------- */

void watch_join(struct watch *w, struct watcher *r)
{
	mutex_lock(&w->lock);
	if (!w->ring)
		w->ring = xcalloc(WATCH_EVENTS_MAX, sizeof(*w->ring));
	*r = (struct watcher){.next = w->watchers, .at = w->next};
	w->watchers = r;
	atomic_fetch_add(&w->watcher_count, 1);
	mutex_unlock(&w->lock);
}

void watch_leave(struct watch *w, struct watcher *r)
{
	mutex_lock(&w->lock);
	struct watcher **at = &w->watchers;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	atomic_fetch_sub(&w->watcher_count, 1);
	if (!w->watchers)
		forget_locked(w);
	mutex_unlock(&w->lock);
}

static char *copy_text(const char *s)
{
	return xstrdup(s ? s : "");
}

static struct watch_event copy(const struct watch_event *e)
{
	struct watch_event c = *e;

	c.path = copy_text(e->path);
	c.from = copy_text(e->from);
	c.text = copy_text(e->text);
	return c;
}

size_t watch_take(struct watch *w, struct watcher *r, struct watch_event *ret, size_t max,
		  struct watch_gap *ret_gap, uint64_t deadline_ms)
{
	size_t bytes = 0;
	size_t n = 0;

	mutex_lock(&w->lock);
	while (r->at == w->next && r->lost == 0 && cond_wait_until(&w->told, &w->lock, deadline_ms))
		;
	*ret_gap = (struct watch_gap){.count = r->lost, .since_ms = r->lost_since};
	r->lost = 0;
	for (; n < max && r->at < w->next && bytes < TAKE_BYTES_MAX; r->at++) {
		const struct watch_event *e = &w->ring[r->at % WATCH_EVENTS_MAX];

		bytes += size_of(e);
		ret[n++] = copy(e);
	}
	mutex_unlock(&w->lock);
	return n;
}
