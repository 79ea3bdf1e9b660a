/* core/watch: what readers of different pace are told, and that nothing is told twice or lost unsaid. */
#include "core/watch.h"

#include "core/thread.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

static void tell(struct watch *w, uint64_t n, uint64_t time_ms, size_t path_len)
{
	struct watch_batch b = {0};

	for (uint64_t i = 0; i < n; i++) {
		struct watch_event e = {.kind = WATCH_CHANGED, .time_ms = time_ms + i};

		e.path = xmalloc(path_len + 1);
		memset(e.path, 'p', path_len);
		e.path[path_len] = 0;
		watch_batch_add(&b, &e);
	}
	watch_tell(w, &b);
	CHECK(b.count == 0 && b.lost == 0);
}

struct seen {
	uint64_t count; /* taken and lost */
	uint64_t lost;
	uint64_t since;
	uint64_t last;
};

/* All there is. */
static struct seen take(struct watch *w, struct watcher *r)
{
	struct watch_event events[7];
	struct watch_gap gap;
	struct seen s = {0};
	size_t n;

	while ((n = watch_take(w, r, events, countof(events), &gap, 0)) || gap.count) {
		s.count += n + gap.count;
		s.lost += gap.count;
		s.since = gap.count ? gap.since_ms : s.since;
		for (size_t i = 0; i < n; i++) {
			CHECK(events[i].seq > s.last && events[i].path && events[i].from);
			s.last = events[i].seq;
			watch_event_fini(&events[i]);
		}
	}
	return s;
}

static void test_readers_of_different_pace(void)
{
	struct watch *w = watch_create();
	struct watcher quick;
	struct watcher slow;

	CHECK(!watch_is_on(w));
	tell(w, 3, 1, 1); /* to nobody */
	watch_join(w, &quick);
	watch_join(w, &slow);
	CHECK(watch_is_on(w));
	for (unsigned i = 0; i < 5; i++) {
		tell(w, WATCH_EVENTS_MAX / 2, 1000 + i, 10);
		struct seen s = take(w, &quick);
		CHECK(s.count == WATCH_EVENTS_MAX / 2 && s.lost == 0);
	}
	struct seen s = take(w, &slow);
	CHECK(s.count == WATCH_EVENTS_MAX / 2 * 5 && s.lost == WATCH_EVENTS_MAX / 2 * 3);
	CHECK(s.since == 1000);
	CHECK(take(w, &slow).count == 0);
	watch_leave(w, &slow);
	tell(w, 1, 5, 1);
	CHECK(take(w, &quick).count == 1);
	watch_leave(w, &quick);
	CHECK(!watch_is_on(w));
	watch_destroy(w);
}

static void test_long_paths_and_large_batches_are_bounded(void)
{
	struct watch *w = watch_create();
	struct watcher r;

	watch_join(w, &r);
	tell(w, 100, 1, 1 << 20);
	struct seen s = take(w, &r);
	CHECK(s.count == 100 && s.lost >= 96 && s.lost < 100);
	tell(w, 3ull * WATCH_EVENTS_MAX, 77, 1);
	s = take(w, &r);
	CHECK(s.count == 3ull * WATCH_EVENTS_MAX && s.lost == 2ull * WATCH_EVENTS_MAX);
	CHECK(s.since == 77 + WATCH_EVENTS_MAX); /* what was lost came last, all at once */
	watch_leave(w, &r);
	watch_destroy(w);
}

static void *tell_many(void *arg)
{
	for (unsigned i = 0; i < 2000; i++)
		tell(arg, 1 + i % 9, i, i % 50);
	return NULL;
}

static void test_threads(void)
{
	struct watch *w = watch_create();
	struct thread threads[2];
	struct watcher r;
	uint64_t want = 0;
	uint64_t got = 0;

	for (unsigned i = 0; i < 2000; i++)
		want += 2 * (1 + i % 9);
	watch_join(w, &r);
	for (size_t i = 0; i < countof(threads); i++)
		thread_start(&threads[i], "teller", tell_many, w);
	while (got < want) {
		struct watch_event events[64];
		struct watch_gap gap;
		size_t n = watch_take(w, &r, events, countof(events), &gap, monotonic_ms() + 10000);

		CHECK(n || gap.count);
		got += n + gap.count;
		for (size_t i = 0; i < n; i++)
			watch_event_fini(&events[i]);
	}
	CHECK(got == want);
	for (size_t i = 0; i < countof(threads); i++)
		thread_join(&threads[i]);
	watch_leave(w, &r);
	watch_destroy(w);
}

int main(void)
{
	test_readers_of_different_pace();
	test_long_paths_and_large_batches_are_bounded();
	test_threads();
	return 0;
}
