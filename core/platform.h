/*
 * What Linux and macOS do differently. Only this header and the platform_*.c of the build ask where the
 * program runs; everything else is POSIX.
 *
 * All functions return 0 (or a descriptor) or a negative errno, unless they say otherwise. Descriptors are
 * closed on exec.
 */
#ifndef BLAZE_CORE_PLATFORM_H
#define BLAZE_CORE_PLATFORM_H

#include "core/base.h"

#include <sys/types.h>

struct cond;
struct mutex;
struct thread;

/** What PLATFORM_DARWIN is: macOS, or its stand-in of tests/darwin, which Linux compiles (CMakeLists.txt). */
#ifndef PLATFORM_DARWIN
#define PLATFORM_DARWIN 0
#endif

#if PLATFORM_DARWIN
/* Requests speak Linux' language once platform_rename_flags() and its like have translated them. */
#define RENAME_NOREPLACE 1u
#define RENAME_EXCHANGE 2u
#define FALLOC_FL_KEEP_SIZE 1
#define FALLOC_FL_PUNCH_HOLE 2
#define FALLOC_FL_ZERO_RANGE 16
/** What a program gets that asks for an attribute that is not there. */
#define PLATFORM_NO_ATTRIBUTE ENOATTR
/** For send(2): a reader that went away is an error code. (macOS says so when the socket is made.) */
#define PLATFORM_SEND_FLAGS 0
/** What poll(2) says, when asked, of a peer that will send no more. */
#define PLATFORM_POLLRDHUP POLLHUP
/** Bits to add to the reply to FUSE_INIT (fs/init_patch.h). */
#define PLATFORM_INIT_FLAGS 0u
#define PLATFORM_O_PATH O_RDONLY
#define PLATFORM_FUSE_OPTIONS "nosuid,nodev,default_permissions"
#else
#include <fcntl.h> /* FALLOC_FL_* */
#include <stdio.h> /* RENAME_* */
#define PLATFORM_NO_ATTRIBUTE ENODATA
#define PLATFORM_SEND_FLAGS MSG_NOSIGNAL
#define PLATFORM_POLLRDHUP POLLRDHUP
/* FUSE_PARALLEL_DIROPS and FUSE_HANDLE_KILLPRIV_V2: kernels before 4.7 and 5.11 pass over them. */
#define PLATFORM_INIT_FLAGS (1u << 18 | 1u << 28)
/** For open(2) of a directory that is only a place to start from. */
#define PLATFORM_O_PATH O_PATH
#define PLATFORM_FUSE_OPTIONS "subtype=blaze,nosuid,nodev,default_permissions"
#endif

/* ---- descriptors ---------------------------------------------------------------------------- */

int platform_socket(int family, int type, bool nonblocking);
int platform_socketpair(int type, int ret[2]);
/** sd_notify(3): "READY=1\n" and the like, if a service manager asked for that. */
void platform_tell_systemd(const char *text);
int platform_accept(int listen_fd, bool nonblocking);
/** The user at the other end of a Unix socket. */
int platform_peer_uid(int fd, uid_t *ret);
/**
 * An address for the socket `name` in dir, however long dir is; *ret_dir_fd has to stay open while it is
 * used, -1 = nothing to close.
 */
int platform_socket_path(const char *dir, const char *name, char *path, size_t size,
			 int *ret_dir_fd);

/** A descriptor that poll(2) finds readable for ever after the first platform_event_set(). */
int platform_event_create(void);
/** From any thread or signal handler; leaves errno alone. */
void platform_event_set(int fd);

/* ---- files ---------------------------------------------------------------------------------- */

/** What was written to fd is on stable storage. */
int platform_sync_data(int fd);
/** Reserves room for an empty file. */
int platform_reserve(int fd, uint64_t bytes);
/** fallocate(2), with its modes. */
int platform_allocate(int fd, int mode, uint64_t offset, uint64_t length);
/** Renames, and replaces nothing: -EEXIST. */
int platform_rename_new(const char *from, const char *to);
/** The flags of a FUSE rename as RENAME_NOREPLACE and RENAME_EXCHANGE; others stay what they are. */
unsigned platform_rename_flags(unsigned flags);

/** A descriptor that poll(2) finds readable when something changed in a watched directory. -ENOTSUP: look again and again. */
int platform_watch_create(void);
/** Watching one twice does nothing. */
int platform_watch_add(int fd, const char *dir);
/** Forgets what happened so far. */
void platform_watch_drain(int fd);
/** Whether others can change what is in dir without this kernel hearing of it, as on NFS. */
bool platform_is_remote(const char *dir);

/* ---- mounts --------------------------------------------------------------------------------- */

/** Whether a FUSE file system is what shows path. */
bool platform_is_fuse(const char *path);
/** Whether the topmost mount exactly at this absolute path is a Blaze. Does not ask the mount itself. */
bool platform_is_blaze(const char *path);
/** Whether statfs(2), which no cache answers, says that the process behind a mount is gone. */
bool platform_is_dead(const char *path);
/** What ends the kernel's connection to the process behind a mount. */
struct platform_connection {
	const char *mountpoint;
	char device[32]; /**< as the table of mounts names it */
	int control;	 /**< of the kernel's own file system for that; -1 = that is not mounted */
};
/**
 * Of the topmost mount exactly at this absolute path, which the caller keeps; asks nothing of the mount itself.
 * -ENOTSUP: on this system it need not be aborted, or cannot be.
 */
int platform_connection_open(const char *mountpoint, struct platform_connection *ret);
/** Every request that waits for an answer fails. What is mounted there stays; if it is another one by now, nothing happens. */
void platform_connection_abort(const struct platform_connection *c);
/** -EPERM: only PLATFORM's helper program may, see platform_unmount_helper(). */
int platform_unmount(const char *path, bool lazy);
/** The program, with fusermount3's options, that unmounts for users; NULL = there is none. */
const char *platform_unmount_helper(void);
/** NULL, or one line about why nothing can be mounted on this system. */
const char *platform_no_fuse(void);
/** Enters the mount namespace of a file or a process id. */
int platform_enter_namespace(const char *ns);

/* ---- processes and threads ------------------------------------------------------------------ */

/** What the process is called that this id belongs to, cut to size: a thread's own name does not count. */
int platform_program_name(pid_t pid, char *ret, size_t size);
/**
 * The process of an id of which FUSE says that it asks, and that process' parent; the id itself and 0 where
 * it has ended, or the system does not tell.
 */
void platform_process(pid_t id, pid_t *ret_process, pid_t *ret_parent);
/** Closes this descriptor and all above it. */
void platform_close_from(int fd);
/** Gives this process a name for ps(1), and has it killed when its parent dies, where that can be had. */
void platform_follow_parent(const char *name);
/**
 * Takes a name for ps(1), and waits until the main thread of its parent is gone, of which threads may be left. To be
 * started by that thread. false: it cannot be told.
 */
bool platform_outlive(const char *name, pid_t parent);
/** No debugger of the same user may read this process' memory. */
void platform_hide_memory(void);
/** For a process that lives long, after its last fork: memory that is freed goes back to the system by and by. */
void platform_return_memory(void);
/** After work that took much memory for a moment: what was freed goes back to the system at once. */
void platform_trim_memory(void);
/** Makes getopt_long(3) begin anew. */
void platform_reset_getopt(void);
/** For core/thread.c: a condition whose deadlines are of the monotonic clock. 0 or a positive errno. */
int platform_cond_init(struct cond *c);
/** 0, ETIMEDOUT or another positive errno. */
int platform_cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_ms);
void platform_name_thread(const struct thread *t, const char *name);

#endif
