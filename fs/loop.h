/*
 * Who reads requests. One worker reads, answers, and reads again, while its caches are warm and it need not be woken;
 * the others come in when there is more to do than one can, or when an answer takes long.
 *
 *   - While requests of several threads are there before their reader is, another worker reads too.
 *   - A lone reader looks out for the next request for some microseconds before it sleeps, unless that was in vain or
 *     somebody else wanted the processor.
 *   - A worker that is not done within a millisecond or two reads no more; the usher lets another in. So one that
 *     waits for a disk or a lock holds up nobody.
 */
#ifndef BLAZE_FS_LOOP_H
#define BLAZE_FS_LOOP_H

#include "fs/ops.h"

struct loop;

struct loop *loop_create(struct fuse_session *se);
/** Answers requests until loop_stop() or the end of the mount; in the caller's thread only the usher. 0 or -errno. */
int loop_run(struct loop *l);
/** From any thread, before or while it runs. */
void loop_stop(struct loop *l);
void loop_destroy(struct loop *l);

#endif
