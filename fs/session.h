/*
 * A mount: the FUSE session, its loop, and the way to stop it.
 *
 *   session_create()   mounts; the kernel's requests wait
 *   session_run()      answers them, from several threads, until it is unmounted or stopped
 *   session_destroy()  unmounts if that did not happen, forgets the vfs's notices
 *
 * Signals: the caller decides which ones end the mount, and its handler calls session_stop(). session_run()
 * catches SIGUSR2, with which it wakes itself, and leaves it caught.
 */
#ifndef BLAZE_FS_SESSION_H
#define BLAZE_FS_SESSION_H

#include "core/why.h"

struct echo_helper;
struct special;
struct vfs;
struct session;

struct session_options {
	struct vfs *vfs;
	struct special *special; /**< .blaze; NULL = there is none */
	/** Raises inotify's events for what changes elsewhere (echo.h); outlives the session. NULL: nobody does. */
	struct echo_helper *echo_helper;
	const char *mountpoint;
	const char *name;	  /**< of the database, shown by mount(8) and df(1) */
	bool no_open;		  /**< opens are not sent here: see vfs_set_no_open() */
	const char *fuse_options; /**< more of libfuse's -o options, such as "allow_other,ro"; or NULL */
	/**
	 * Called once, from a worker thread, when the kernel has accepted the mount: from here on file
	 * system calls are answered. Must not wait for the mount. NULL is allowed.
	 */
	void (*ready)(void *ctx);
	void *ready_ctx;
};

/**
 * Mounts, and directs the vfs's notices to the kernel. vfs and special must outlive the session. May run
 * fusermount3.
 *
 * The mountpoint: -ENOENT, -ENOTDIR, -EBUSY (a FUSE file system is there), -ENOTCONN (a dead one is),
 * -EACCES. -EINVAL: an option libfuse does not know. -ENODEV: no /dev/fuse. -EPERM: all other refusals.
 */
int session_create(const struct session_options *options, struct session **ret, struct why *why);

/**
 * Returns 0 after the unmount or session_stop(), -errno when the connection to the kernel broke. Requests
 * under way are answered first. Once only for a session.
 */
int session_run(struct session *s);

/** Ends session_run(), also one that has not begun. From any thread or signal handler, any number of times. */
void session_stop(struct session *s);

/** NULL is allowed. Programs with open files on a stopped mount get ENOTCONN from here on. */
void session_destroy(struct session *s);

/** The real path it is mounted at. */
const char *session_mountpoint(const struct session *s);

#endif
