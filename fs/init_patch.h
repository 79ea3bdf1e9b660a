/*
 * Puts a flag back that libfuse 3.14 drops: it offers FUSE_CAP_PARALLEL_DIROPS, and then never says so
 * to the kernel, so that lookups and listings of one directory wait for each other. (Fixed upstream in
 * 3.15, "Pass FUSE_PARALLEL_DIROPS to kernel".)
 *
 * The reply to FUSE_INIT is the first thing written to the device; we pass it through our own writev.
 * FUSE_HANDLE_KILLPRIV_V2 is left out: libfuse 3.14 hides from the handlers which write should take
 * set-user-id away, so the promise it makes could not be kept.
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
