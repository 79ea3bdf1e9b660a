/*
 * Strata that come from other devices. A stratum may hold changes that depend on what comes after it, in
 * another feed: so it is opened and verified once, and then applied as far as that goes, again and again.
 *
 * Threads: any; a job belongs to one.
 */
#ifndef BLAZE_CORE_STRATA_H
#define BLAZE_CORE_STRATA_H

#include "core/db.h"

struct strata_job;

/** Verifies a stratum, without the lock. -EBADMSG forged or damaged, -EACCES not a member's. */
int strata_job_create(struct db *db, const struct id *stream, uint64_t actor, struct slice packed,
		      struct strata_job **ret);
void strata_job_destroy(struct strata_job *j);
/** Its last change. */
struct feed_pos strata_job_pos(const struct strata_job *j);
/** Memory it holds. */
size_t strata_job_bytes(const struct strata_job *j);
/**
 * Applies what can be applied, some hundred changes a transaction. 0 = all of it is applied now, -EAGAIN
 * something is missing before the rest, -EBADMSG, -EACCES as db_apply_envelope(), -EIO, -ENOSPC.
 */
int strata_job_apply(struct strata_job *j);

#endif
