/*
 * Between the mount's daemon and its echo helper (echo.h): one packet a request, and a page of memory that both
 * see. The two are the same program, so nothing here has to survive a version.
 */
#ifndef BLAZE_FS_ECHO_WIRE_H
#define BLAZE_FS_ECHO_WIRE_H

#include "core/base.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>

/** Requests the helper is given before it has to say that they are done. */
#define ECHO_BATCH_MAX 64

enum echo_op {
	ECHO_SETUP, /**< path: the mountpoint; arg: the user id, arg2: the group id to be */
	ECHO_CREATE,
	ECHO_MKDIR,
	ECHO_SYMLINK,
	ECHO_MODIFY,
	ECHO_ATTRIB,
	ECHO_UNLINK,
	ECHO_RMDIR,
	ECHO_RENAME,
	ECHO_FLUSH /**< answer with one byte once all before it is done */
};

struct echo_request {
	uint32_t op;
	uint32_t arg;
	uint32_t arg2;
	uint32_t seq;
	char path[PATH_MAX]; /**< from the mountpoint, without a slash in front; NUL-terminated */
	char to[PATH_MAX];   /**< ECHO_RENAME */
};

struct echo_shared {
	_Atomic uint32_t current;	     /**< the seq that the helper is executing; 0 = none */
	_Atomic int results[ECHO_BATCH_MAX]; /**< by seq % ECHO_BATCH_MAX: 0 or -errno */
};

/** The helper's whole life: ends when the other end of fd does. */
_Noreturn void echo_helper_run(int fd, struct echo_shared *shared);

#endif
