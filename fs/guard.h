/*
 * A process that ends the kernel's connection to a daemon that was killed.
 *
 * The kernel does so by itself when the last descriptor of /dev/fuse is closed. But a thread of the daemon that tells
 * it to forget a name waits for the lock of the directory, which a program may hold that waits for the daemon's
 * answer. Nothing can end such a thread, so the descriptor stays open, and both wait for ever. The guard aborts the
 * connection as soon as the daemon's main thread is gone: requests fail with ENOTCONN, the program lets the lock go, and
 * the daemon ends. The mount stays where it is, dead, so that nobody writes into the directory below.
 *
 * It holds no key and nothing of the mount, and asks nothing of the mount. It is in a session of its own: who kills
 * the daemon's whole process group leaves it to do its work.
 */
#ifndef BLAZE_FS_GUARD_H
#define BLAZE_FS_GUARD_H

#include "core/why.h"

#include <sys/types.h>

struct guard {
	pid_t pid; /**< 0: there is none */
	int socket;
};

/** In the main thread, before any other is started and before keys are loaded. */
int guard_spawn(struct guard *ret, struct why *why);
/** From now on it guards what is mounted at this absolute path. */
void guard_watch(struct guard *g, const char *mountpoint);
/** Before the mount is taken away: ends and reaps it. May be called twice, and on zeroed memory. */
void guard_reap(struct guard *g);

#endif
