/*
 * The FUSE operations: each decodes its request, makes one call of vfs.h or special.h, and replies
 * exactly once. Nothing here decides anything about files.
 *
 * What the kernel may remember is the heart of the speed: entries, attributes and pages practically for
 * ever, names that do not exist too; everything that changes behind the kernel's back goes through
 * notify.h. What special.h shows is remembered for no time at all.
 */
#ifndef BLAZE_FS_OPS_H
#define BLAZE_FS_OPS_H

#include "core/thread.h"
#include "fs/init_patch.h"
#include "fs/special.h"
#include "fs/vfs.h"

#include <fuse_lowlevel.h>

enum ops_kind {
	OPS_FILE,
	OPS_DIR,
	OPS_ECHO, /**< by the echo helper: no handle */
	OPS_SPECIAL_FILE,
	OPS_SPECIAL_DIR
};

/**
 * What the kernel has open, behind fuse_file_info.fh. The list of all is for the end: a program may hold
 * a file open when the mount is stopped, and RELEASE, which nobody waits for, may still be in the queue.
 */
struct ops_open {
	enum ops_kind kind;
	void *handle;		      /**< of vfs.h or special.h */
	struct ops_open *prev, *next; /* protected by ops_ctx->lock */
};

/** The session's user data. Lives as long as the session. */
struct ops_ctx {
	struct init_patch init; /**< first, see init_patch_install() */
	struct vfs *vfs;
	struct special *special;
	struct echo *echo; /**< NULL: there is none */
	bool no_open;	   /**< OPEN and FLUSH are answered once, with ENOSYS (ops_file.c) */
	struct mutex lock;
	struct ops_open *opens; /* protected by lock */
	struct mutex sync_lock;
	struct cond sync_asked;
	struct ops_waiting *waiting; /* protected by sync_lock */
	bool flushing;		     /* protected by sync_lock */
	bool sync_stop;		     /* protected by sync_lock */
	struct thread flushers[2];
};

void ops_ctx_init(struct ops_ctx *o);
/** Closes what is still open. No request may be under way. */
void ops_ctx_fini(struct ops_ctx *o);

/** The table for fuse_session_new(). */
extern const struct fuse_lowlevel_ops ops_table;

static_assert(sizeof(fuse_ino_t) >= sizeof(uint64_t), "a fuse_ino_t must hold an inode number");

/* ---- helpers for the handlers --------------------------------------------------------------- */

struct ops_ctx *ops_of(fuse_req_t req);
struct vfs_caller ops_caller(fuse_req_t req);
/** The errno (positive) a program gets for our error r (negative or 0). */
int ops_errno(int r);
/** Whether (parent, name) belongs to special.h and so may not be created, moved or deleted. */
bool ops_is_reserved(const struct ops_ctx *o, uint64_t parent, const char *name);
/** Fills what the kernel may keep of an inode. */
void ops_entry(const struct stat *st, struct fuse_entry_param *ret);
/** How long the kernel may keep the attributes of ino. */
double ops_timeout(uint64_t ino);

/** Gives lookups of any inode back. */
void ops_forget(struct ops_ctx *o, uint64_t ino, uint64_t count);
/** Replies r; r is 0 or negative. */
void ops_reply(fuse_req_t req, int r);
/** Replies r, or the entry; gives the lookup count back when nobody waits for it any more. */
void ops_reply_entry(fuse_req_t req, int r, const struct stat *st);
void ops_reply_attr(fuse_req_t req, int r, const struct stat *st);
/** Replies when all that is stored so far is on stable storage; between the two functions below. */
void ops_reply_synced(fuse_req_t req);
void ops_sync_start(struct ops_ctx *o);
/** Answers who still waits. */
void ops_sync_stop(struct ops_ctx *o);

/** Remembers in fi what was opened. */
void ops_open(struct ops_ctx *o, enum ops_kind kind, void *handle, struct fuse_file_info *fi);
/** Closes and forgets it. */
void ops_close(struct ops_ctx *o, const struct fuse_file_info *fi);

/**
 * The file that a request is about: an open one, or, without opens, one borrowed for this request. Directories are
 * always open. Between the two: at most one such request a handle. -EBADF: the echo helper's, or a special one.
 */
int ops_file_begin(fuse_req_t req, fuse_ino_t ino, bool writes, const struct fuse_file_info *fi,
		   struct vfs_handle **ret);
void ops_file_end(fuse_req_t req, struct vfs_handle *h);

/** What ops_open() was given. */
static inline void *ops_handle(const struct fuse_file_info *fi)
{
	return ((struct ops_open *)(uintptr_t)fi->fh)->handle; /* NOLINT(performance-no-int-to-ptr) */
}

/* ---- ops_echo.c: requests of the echo helper; true = this was one, and it is answered ---------- */

bool ops_echo_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
/** CREATE (fi is not NULL), MKDIR, SYMLINK. */
bool ops_echo_make(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi);
/** UNLINK, RMDIR, and RENAME from there. */
bool ops_echo_remove(fuse_req_t req, fuse_ino_t parent, const char *name);
bool ops_echo_open(fuse_req_t req, struct fuse_file_info *fi);
bool ops_echo_setattr(fuse_req_t req, fuse_ino_t ino);

/* ---- ops_name.c ------------------------------------------------------------------------------ */

void ops_name_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_name_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void ops_name_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void ops_name_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void ops_name_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ops_name_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_name_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_name_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void ops_name_rename(fuse_req_t req, fuse_ino_t old_parent, const char *old_name,
		     fuse_ino_t new_parent, const char *new_name, unsigned flags);
void ops_name_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void ops_name_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		     struct fuse_file_info *fi);

/* ---- ops_attr.c ------------------------------------------------------------------------------ */

void ops_attr_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_attr_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int set,
		      struct fuse_file_info *fi);
void ops_attr_readlink(fuse_req_t req, fuse_ino_t ino);
void ops_attr_statfs(fuse_req_t req, fuse_ino_t ino);
void ops_attr_access(fuse_req_t req, fuse_ino_t ino, int mask);
void ops_attr_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		       size_t size, int flags);
void ops_attr_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void ops_attr_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void ops_attr_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* ---- ops_file.c ------------------------------------------------------------------------------ */

/** What the kernel may do with a data file opened with fi->flags. */
void ops_file_policy(struct fuse_file_info *fi, const struct vfs_handle *h);
void ops_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi);
void ops_file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		    struct fuse_file_info *fi);
void ops_file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void ops_file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
			struct fuse_file_info *fi);
void ops_file_copy_range(fuse_req_t req, fuse_ino_t from, off_t from_off,
			 struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_off,
			 struct fuse_file_info *to_fi, size_t size, int flags);
void ops_file_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		    struct fuse_file_info *fi);
void ops_file_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		    struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
		    size_t out_size);

/* ---- ops_dir.c ------------------------------------------------------------------------------- */

void ops_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_dir_readplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi);
void ops_dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

#endif
