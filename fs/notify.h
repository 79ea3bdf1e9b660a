/*
 * Tells the kernel to forget what a change from elsewhere made untrue.
 *
 * A notification may wait inside the kernel for a request in flight (a page being read, a directory
 * being searched). So it is never sent from a request handler or under a lock such a handler takes, and
 * the workers must go on answering until the last one has returned: notify_close() comes before the end
 * of the loop, not after it.
 */
#ifndef BLAZE_FS_NOTIFY_H
#define BLAZE_FS_NOTIFY_H

#include "core/thread.h"
#include "fs/vfs.h"

struct echo;
struct fuse_session;

struct notify {
	struct fuse_session *se;
	struct echo *echo; /**< NULL: events are raised for nothing that changes elsewhere */
	struct mutex lock;
	struct cond idle;
	unsigned sending; /**< protected by lock */
	bool closed;	  /**< protected by lock */
};

void notify_init(struct notify *n, struct fuse_session *se);
void notify_fini(struct notify *n);

/** For vfs_set_notify(); ctx is the struct notify. Does nothing once closed. */
void notify_send(void *ctx, struct vfs_notice *notice);
/** The same without an echo: the kernel forgets, and nobody who watches is told. */
void notify_plainly(void *ctx, const struct vfs_notice *notice);
/** Returns when no notification is under way; later ones are dropped. May be called twice. */
void notify_close(struct notify *n);

#endif
