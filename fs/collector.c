/*
 * Chunks that nobody needs, in the background: the importer has them collected (core/collect.h) when it has nothing to
 * import and so much has come that it is worth it. It works a fifth of the time, and gives up at once when there is
 * something to import, when somebody asks for a collection, or at the end; what was done until then stays done.
 */
#include "core/collect.h"
#include "core/log.h"
#include "fs/bulk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/** How often is looked whether it is time. */
#define LOOK_MS (UINT64_C(10) * 60 * 1000)
/** Of each so many milliseconds, one is used. */
#define PACE 5
#define PAUSE_MS_MAX 1000

uint64_t collector_look_ms(void)
{
	const char *text = getenv("BLAZE_COLLECT_MS"); /* for tests */
	char *end = NULL;
	uint64_t ms = text ? strtoull(text, &end, 10) : 0;

	return ms && !*end ? ms : LOOK_MS;
}

struct pace {
	struct vfs *v;
	uint64_t since_ms; /**< it has been at work */
};

static bool must_stop(struct vfs *v)
{
	return v->stop || v->import_soon || db_collect_is_awaited(v->db);
}

static bool rest(void *ctx)
{
	struct pace *p = ctx;
	uint64_t now = monotonic_ms();
	uint64_t pause = (now - p->since_ms) * (PACE - 1);
	uint64_t until = now + (pause < PAUSE_MS_MAX ? pause : PAUSE_MS_MAX);

	mutex_lock(&p->v->queue_lock);
	bool stop = must_stop(p->v);
	while (!stop && pause && cond_wait_until(&p->v->import_changed, &p->v->queue_lock, until))
		stop = must_stop(p->v);
	stop = stop || must_stop(p->v);
	mutex_unlock(&p->v->queue_lock);
	if (pause)
		p->since_ms = monotonic_ms();
	return stop;
}

void collector_look(struct vfs *v)
{
	struct pace pace = {.v = v, .since_ms = monotonic_ms()};
	const struct collect_options options = {
		.stored = bulk_stored, .is_cancelled = rest, .ctx = &pace};
	struct collect_stats stats = {0};

	if (!db_collect_is_due(v->db))
		return;
	int r = db_collect(v->db, &options, &stats);
	if (r == 0 && stats.garbage_count)
		log_info("%" PRIu64 " pieces of large files (%" PRIu64
			 " bytes) that were of no use are removed",
			 stats.garbage_count, stats.garbage_bytes);
	if (r < 0 && r != -EAGAIN &&
	    r != -ECANCELED) /* nothing is lost; tried again at the next look */
		log_warn("pieces of large files could not be looked through: %s", strerror(-r));
}
