/*
 * fsync: the bytes are stored by the worker that took the request; then it waits, without a worker, for a
 * thread that flushes. All who came while a flush was running share the next one, however many they are,
 * and nobody else has to wait because every worker does. There are two such threads, which take turns: answering
 * takes about as long as flushing does, and the disk need not wait for that.
 */
#include "fs/ops.h"

#include <stdlib.h>

/** A request that is answered after the next flush. */
struct ops_waiting {
	fuse_req_t req;
	struct ops_waiting *next;
};

static void answer(struct ops_waiting *list, int r)
{
	while (list) {
		struct ops_waiting *next = list->next;

		ops_reply(list->req, r);
		free(list);
		list = next;
	}
}

static void *flusher_run(void *arg)
{
	struct ops_ctx *o = arg;

	mutex_lock(&o->sync_lock);
	while (!o->sync_stop || o->waiting) {
		if (!o->waiting || o->flushing) {
			cond_wait(&o->sync_asked, &o->sync_lock);
			continue;
		}
		struct ops_waiting *list = STEAL(o->waiting);

		o->flushing = true;
		mutex_unlock(&o->sync_lock);
		int r = vfs_sync(o->vfs);
		mutex_lock(&o->sync_lock);
		o->flushing = false;
		if (o->waiting || o->sync_stop)
			cond_broadcast(&o->sync_asked);
		mutex_unlock(&o->sync_lock);
		answer(list, r);
		mutex_lock(&o->sync_lock);
	}
	mutex_unlock(&o->sync_lock);
	return NULL;
}

void ops_sync_start(struct ops_ctx *o)
{
	o->sync_stop = false;
	for (size_t i = 0; i < countof(o->flushers); i++)
		thread_start(&o->flushers[i], "flusher", flusher_run, o);
}

void ops_sync_stop(struct ops_ctx *o)
{
	mutex_lock(&o->sync_lock);
	o->sync_stop = true;
	cond_broadcast(&o->sync_asked);
	mutex_unlock(&o->sync_lock);
	for (size_t i = 0; i < countof(o->flushers); i++)
		thread_join(&o->flushers[i]);
}

void ops_reply_synced(fuse_req_t req)
{
	struct ops_ctx *o = ops_of(req);
	struct ops_waiting *w = xcalloc(1, sizeof(*w));

	w->req = req;
	mutex_lock(&o->sync_lock);
	w->next = o->waiting;
	if (!w->next && !o->flushing)
		cond_broadcast(&o->sync_asked);
	o->waiting = w;
	mutex_unlock(&o->sync_lock);
}
