/* Strata that wait; see sync_strata.h. */
#include "core/sync_strata.h"

#include <stdlib.h>

static void drop(struct sync_strata *w, size_t i)
{
	w->bytes -= strata_job_bytes(w->jobs[i]);
	strata_job_destroy(w->jobs[i]);
	w->count--;
	for (; i < w->count; i++)
		w->jobs[i] = w->jobs[i + 1];
}

void sync_strata_fini(struct sync_strata *w)
{
	while (w->count)
		drop(w, w->count - 1);
	free(w->jobs);
	*w = (struct sync_strata){0};
}

int sync_strata_retry(struct sync_strata *w)
{
	bool moved = true;

	while (moved) {
		moved = false;
		for (size_t i = 0; i < w->count;) {
			int r = strata_job_apply(w->jobs[i]);

			if (r == -EAGAIN) {
				i++;
				continue;
			}
			drop(w, i);
			if (r < 0 && r != -EBADMSG && r != -EACCES)
				return r;
			moved = moved || r == 0;
		}
	}
	return 0;
}

int sync_strata_receive(struct sync_strata *w, struct db *db, struct slice packed,
			struct feed_pos *ret_pos)
{
	struct strata_job *j = NULL;
	int r = strata_job_create(db, &ret_pos->stream, ret_pos->actor, packed, &j);

	if (r < 0)
		return r;
	*ret_pos = strata_job_pos(j);
	if (w->bytes + strata_job_bytes(j) > SYNC_STRATA_BYTES_MAX && w->count > 0) {
		strata_job_destroy(j);
		return -EAGAIN;
	}
	w->jobs = xreallocarray(w->jobs, w->count + 1, sizeof(struct strata_job *));
	w->jobs[w->count++] = j;
	w->bytes += strata_job_bytes(j);
	return sync_strata_retry(w);
}
