/*
 * The strata of one connection that wait for what they depend on. Part of the engine in core/sync.h, which
 * owns it. In memory only: what is lost with the connection is sent again.
 */
#ifndef BLAZE_CORE_SYNC_STRATA_H
#define BLAZE_CORE_SYNC_STRATA_H

#include "core/strata.h"

/** Of strata that wait, per connection. */
#define SYNC_STRATA_BYTES_MAX (64u << 20)

/** Zero-initialise. */
struct sync_strata {
	struct strata_job **jobs;
	size_t count;
	size_t bytes;
};

void sync_strata_fini(struct sync_strata *w);
/**
 * Takes a stratum and applies what can be applied. *ret_pos is its last change. -EAGAIN: it was not kept and
 * has to be sent again; -EBADMSG, -EACCES, -EIO, -ENOSPC.
 */
int sync_strata_receive(struct sync_strata *w, struct db *db, struct slice packed,
			struct feed_pos *ret_pos);
/** After anything was applied: goes on with what waited. -EIO, -ENOSPC. */
int sync_strata_retry(struct sync_strata *w);

#endif
