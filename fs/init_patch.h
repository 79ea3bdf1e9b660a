/*
 * Puts two flags into the answer to FUSE_INIT, the first thing written to the device, which we pass through
 * our own writev.
 *
 * FUSE_PARALLEL_DIROPS: libfuse 3.14 offers it, and then never says so to the kernel, so that lookups and
 * listings of one directory wait for each other. (Fixed upstream in 3.15, "Pass FUSE_PARALLEL_DIROPS to
 * kernel".)
 *
 * FUSE_HANDLE_KILLPRIV_V2, which libfuse 3.14 does not know: without it the kernel asks for
 * security.capability before every write. With it, taking set-user-id and set-group-id away is the file
 * system's work, and libfuse hides the bits that say when: the caller decides (vfs_drop_set_ids).
 */
#ifndef BLAZE_FS_INIT_PATCH_H
#define BLAZE_FS_INIT_PATCH_H

#include <stdatomic.h>

struct fuse_session;

struct init_patch {
	/** Called in a worker, once, when the kernel has accepted the connection. NULL is allowed. */
	void (*ready)(void *ctx);
	void *ctx;
	atomic_bool answered;
};

/** After fuse_session_mount(). The session's user data must begin with the struct init_patch. */
int init_patch_install(struct fuse_session *se);

#endif
