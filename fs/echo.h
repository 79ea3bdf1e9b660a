/*
 * Echoes: real system calls on our own mount for what changed on another device.
 *
 * The kernel tells who watches with inotify or fanotify only what a program does through it; nothing that a
 * FUSE daemon announces raises an event. So a helper process performs each change from elsewhere once more: it
 * creates, renames, removes or touches the name, and the handler of that request (ops_echo.c) knows the helper
 * by its process id, finds here which change it is about, and answers without doing anything, for the local
 * namespace has the change already.
 *
 * Changes are queued by the vfs's publisher thread, executed in order in batches, one at a time. What cannot be
 * echoed is handed back, to be told to the kernel in the plain way. A queue that has grown long is not waited
 * for: those who watch would have lost events as well.
 */
#ifndef BLAZE_FS_ECHO_H
#define BLAZE_FS_ECHO_H

#include "core/why.h"
#include "fs/vfs.h"

struct echo_shared;

/** The helper process. pid 0: there is none, and nothing is echoed. */
struct echo_helper {
	pid_t pid;
	int socket;
	struct echo_shared *shared;
};

/** Starts the helper; to be called before any thread is started and before keys are loaded. */
int echo_spawn(struct echo_helper *ret, struct why *why);
/** Ends and reaps it. May be called twice, and without echo_spawn() on zeroed memory. */
void echo_reap(struct echo_helper *h);

struct echo;

struct echo_options {
	struct echo_helper *helper; /**< outlives the echo */
	const char *mountpoint;
	struct vfs *vfs; /**< for vfs_told() */
	/** What could not be echoed; called by the echo thread without any lock. */
	void (*failed)(void *ctx, const struct vfs_notice *n);
	void *ctx;
};

/** Starts the thread that feeds the helper. The mount need not answer yet. NULL when there is no helper. */
struct echo *echo_create(const struct echo_options *options);
/**
 * Waits for the batch under way, hands back nothing more, and ends the thread. The mount must still answer.
 * May be called twice, and with NULL.
 */
void echo_stop(struct echo *e);
/** After echo_stop(). NULL is allowed. */
void echo_destroy(struct echo *e);

/** Takes the notice over; false (nothing is taken) when it is not of a kind to echo, or too many wait. */
bool echo_push(struct echo *e, struct vfs_notice *n);

/** Whether requests of this thread are the helper's. */
bool echo_is_helper(const struct echo *e, pid_t pid);
/** A copy, without the paths, of what the helper is executing; for vfs_notice_fini(). False: nothing. */
bool echo_current(struct echo *e, struct vfs_notice *ret);

/** The kernel asked what the name stands for that the helper is about to take away, */
void echo_looked(struct echo *e);
/** and whether it did so for what the helper is executing now, and knows by that which inode is meant. */
bool echo_has_looked(struct echo *e);

#endif
