/*
 * The process behind a mount.
 *
 *   start   fork (unless in the foreground); then, and only then, open: database, files, network, control
 *           socket, and at last the mount itself
 *   ready   the kernel has accepted the mount: the caller's command says so and ends, --ready-fd and
 *           systemd are told
 *   end     by umount, SIGTERM, SIGINT or SIGHUP: the mount goes first, then commands, then what is held
 *           back is published, connected peers get a moment to take it, network and database are closed
 *
 * In the background it logs to the file `log` in the database's directory.
 */
#ifndef BLAZE_CLI_DAEMON_H
#define BLAZE_CLI_DAEMON_H

#include "cli/out.h"

#include <sys/types.h>

struct daemon_options {
	const char *home;
	const char *name;
	const char *dir;	  /**< the mountpoint */
	const char *listen;	  /**< "A:P", "none", or NULL = as last time */
	const char *fuse_options; /**< for libfuse; may be NULL */
	uid_t uid;		  /**< owner of what came from other devices */
	gid_t gid;
	int ready_fd; /**< gets one line of JSON; -1 = none */
	bool foreground;
	bool echo;   /**< raise inotify's events for changes from other devices */
	bool noopen; /**< opens are not sent to the daemon (vfs_set_no_open) */
	bool quiet;  /**< says nothing when all went well (mount.blaze) */
};

/**
 * Mounts. In the background: returns when the mount answers, or the exit code of why it does not. In the
 * foreground: returns when it has been unmounted.
 */
int daemon_mount(const struct daemon_options *o, struct out *out);

#endif
