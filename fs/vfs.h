/*
 * The mount's semantics, without FUSE: inodes, names, bytes, modes, times, locks of the local namespace,
 * and above it the publisher, which decides when bytes become changes. A front end (libfuse here, macFUSE
 * or NFS elsewhere) translates its requests into these calls, one to one, and replies exactly once.
 *
 * All functions return 0 or a negative errno unless they say otherwise, may be called from any thread, and
 * never wait for the network. Names are NUL-terminated and dead after the call.
 */
#ifndef BLAZE_FS_VFS_H
#define BLAZE_FS_VFS_H

#include "core/db.h"

#include <sys/stat.h>
#include <sys/types.h>

struct vfs;
struct vfs_handle; /**< an open file */
struct vfs_dir;	   /**< an open directory: a stable listing taken at its first read */

#define VFS_ROOT_INO 1

/** Who asks. */
struct vfs_caller {
	uid_t uid;
	gid_t gid;
	pid_t pid; /**< a thread id on Linux; 0 = unknown */
	mode_t umask;
};

/**
 * What changed here because of another device or a merge, and the kernel therefore has to be told. Only what it
 * may know: of a file and a directory it has never looked up it is told nothing.
 */
enum vfs_notice_kind {
	NOTICE_MODIFY, /**< the content of ino, and its attributes */
	NOTICE_ATTR,   /**< the attributes of ino */
	NOTICE_CREATE, /**< ino appeared at (parent, name) */
	NOTICE_DELETE, /**< ino is gone from (parent, name) */
	NOTICE_MOVE    /**< ino went from (parent, name) to (to_parent, to_name) */
};

struct vfs_notice {
	enum vfs_notice_kind kind;
	mode_t mode; /**< of ino */
	bool linked; /**< NOTICE_DELETE: ino has other names */
	uint64_t ino;
	uint64_t parent; /**< where ino is, or was; 0 = nowhere */
	char *dir;	 /**< path of parent from the root, when that was so; NULL: it had none */
	char *name;
	uint64_t to_parent; /**< NOTICE_MOVE only, as all that follows */
	char *to_dir;
	char *to_name;
};

/** The kernel knows; to be called for each notice whose name notify() took, as they come, without a lock. */
void vfs_told(struct vfs *v, const struct vfs_notice *list, size_t count);

/** Frees names and paths. */
void vfs_notice_fini(struct vfs_notice *n);

struct vfs_options {
	struct db *db;
	uid_t uid; /**< owner of everything that came from elsewhere */
	gid_t gid;
};

/** Attaches to db and reconciles what happened while it was not attached. Starts the publisher thread. */
int vfs_create(const struct vfs_options *options, struct vfs **ret, struct why *why);
/** Publishes what is still held back, stops the publisher, detaches. */
void vfs_destroy(struct vfs *v);

/**
 * Where notices go: called by the publisher thread without any lock held, so it may block in the kernel. It
 * may take the names, leaving NULL, and then has to call vfs_told(). NULL: notices are dropped.
 */
void vfs_set_notify(struct vfs *v, void (*notify)(void *ctx, struct vfs_notice *n), void *ctx);

/** Changes in files still open or held back for a moment (temporary names, deletes in their grace time). */
uint64_t vfs_held_count(struct vfs *v);
/** Calls fn with the path of each file that stays on this device because it is too large. Under the lock. */
void vfs_too_large(void *v, void (*fn)(void *ctx, const char *path), void *ctx);
/** Waits until vfs_held_count() is 0 or monotonic deadline_ms. false on timeout. */
bool vfs_settle(struct vfs *v, uint64_t deadline_ms);

/** The same for names that are gone only. */
bool vfs_settle_gone(struct vfs *v, uint64_t deadline_ms);
/** Waits until the kernel has been told of all that has changed here up to now. */
bool vfs_settle_told(struct vfs *v, uint64_t deadline_ms);

/* ---- names. Every success that fills *ret adds one to the inode's lookup count. ---------------- */

/** tid: the thread that the kernel asks for; 0 = one that cannot be seen from here, -1 = the kernel does not ask. */
int vfs_lookup(struct vfs *v, pid_t tid, uint64_t parent, const char *name, struct stat *ret);
/** Looks up an inode by its number; one that has no name any more too, as long as somebody uses it. */
int vfs_lookup_ino(struct vfs *v, uint64_t ino, struct stat *ret);
void vfs_forget(struct vfs *v, uint64_t ino, uint64_t count);
struct vfs_forgotten {
	uint64_t ino;
	uint64_t count;
};
void vfs_forget_many(struct vfs *v, const struct vfs_forgotten *list, size_t count);
int vfs_mkdir(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name,
	      mode_t mode, struct stat *ret);
int vfs_mknod(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name,
	      mode_t mode, dev_t rdev, struct stat *ret);
int vfs_symlink(struct vfs *v, const struct vfs_caller *c, const char *target, uint64_t parent,
		const char *name, struct stat *ret);
int vfs_link(struct vfs *v, uint64_t ino, uint64_t parent, const char *name, struct stat *ret);
int vfs_create_file(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name,
		    mode_t mode, int flags, struct vfs_handle **ret_handle, struct stat *ret);

/* These do not touch lookup counts. -ESTALE: the kernel may take the name for something else (untold.h). */
int vfs_unlink(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name);
int vfs_rmdir(struct vfs *v, const struct vfs_caller *c, uint64_t parent, const char *name);
/** flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int vfs_rename(struct vfs *v, const struct vfs_caller *c, uint64_t old_parent, const char *old_name,
	       uint64_t new_parent, const char *new_name, unsigned flags);

/* ---- attributes ----------------------------------------------------------------------------- */

#define VFS_SET_MODE 1u
#define VFS_SET_UID 2u
#define VFS_SET_GID 4u
#define VFS_SET_SIZE 8u
#define VFS_SET_ATIME 16u
#define VFS_SET_MTIME 32u
#define VFS_SET_ATIME_NOW 64u
#define VFS_SET_MTIME_NOW 128u

int vfs_getattr(struct vfs *v, uint64_t ino, struct stat *ret);
/** h: the handle it came through (ftruncate), or NULL. `to` holds the fields named in `set`. */
int vfs_setattr(struct vfs *v, const struct vfs_caller *c, uint64_t ino, struct vfs_handle *h,
		const struct stat *to, unsigned set, struct stat *ret);
/** The target, NUL-terminated in *ret (cleared first). */
int vfs_readlink(struct vfs *v, uint64_t ino, struct buf *ret);

struct statvfs;
int vfs_statfs(struct vfs *v, struct statvfs *ret);

/** Values in *ret (cleared first). Names beginning "blaze." are read-only facts about a record. -ENODATA. */
int vfs_getxattr(struct vfs *v, uint64_t ino, const char *name, struct buf *ret);
/** NUL-separated names; the "blaze." ones are hidden, those of "trusted." from all but root. */
int vfs_listxattr(struct vfs *v, const struct vfs_caller *c, uint64_t ino, struct buf *ret);
/** flags: XATTR_CREATE, XATTR_REPLACE. -EOPNOTSUPP for system.*, -EPERM for blaze.*. */
int vfs_setxattr(struct vfs *v, uint64_t ino, const char *name, struct slice value, int flags);
int vfs_removexattr(struct vfs *v, uint64_t ino, const char *name);

/* ---- files ---------------------------------------------------------------------------------- */

/**
 * flags: open(2)'s; O_TRUNC is done here (FUSE_CAP_ATOMIC_O_TRUNC). -EAGAIN: the content is just being replaced
 * by another device's; vfs_open_later() says when it can be opened.
 */
int vfs_open(struct vfs *v, const struct vfs_caller *c, uint64_t ino, int flags,
	     struct vfs_handle **ret);
/** Calls retry(ctx) once, within a fraction of a second, from this or another thread without any lock held. */
void vfs_open_later(struct vfs *v, uint64_t ino, void (*retry)(void *ctx), void *ctx);
/** Up to size bytes at offset into *ret (cleared first); fewer only at the end. */
int vfs_read(struct vfs *v, struct vfs_handle *h, uint64_t offset, size_t size, struct buf *ret);
/** All or nothing. Visible to other readers here at once. append: at the end, wherever that is by now. */
int vfs_write(struct vfs *v, const struct vfs_caller *c, struct vfs_handle *h, uint64_t offset,
	      struct slice data, bool append);
/** close(2) of one descriptor: what was written becomes a change, and survives kill -9 from here on. */
int vfs_flush(struct vfs *v, struct vfs_handle *h);
/** As flush, of whatever anybody wrote to the file. */
int vfs_store(struct vfs *v, struct vfs_handle *h);
/** All that was stored, and every name, survives a power cut. */
int vfs_sync(struct vfs *v);
/** Last use of the handle; frees it. */
void vfs_release(struct vfs *v, struct vfs_handle *h);

/**
 * The front end is not told of opens and closes (quiet.c): each write is stored before it returns, and published when
 * no other has come for a moment. Called once, before the first request.
 */
void vfs_set_no_open(struct vfs *v);
/** In place of an open file, for one request; writes: it is one that changes content. -ESTALE. */
int vfs_borrow(struct vfs *v, const struct vfs_caller *c, uint64_t ino, bool writes,
	       struct vfs_handle **ret);
void vfs_return(struct vfs *v, struct vfs_handle *h);
/** Takes what vfs_create_file() gave, for no close will come. */
void vfs_created(struct vfs *v, struct vfs_handle *h);
/** mode as fallocate(2): 0, FALLOC_FL_KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE; else -EOPNOTSUPP. */
int vfs_fallocate(struct vfs *v, const struct vfs_caller *c, struct vfs_handle *h, int mode,
		  uint64_t offset, uint64_t length);
/** SEEK_DATA and SEEK_HOLE only: the file is data, then one hole at its end. -ENXIO past the end. */
int vfs_lseek(struct vfs *v, struct vfs_handle *h, uint64_t offset, int whence, uint64_t *ret);
/** Whether the kernel may keep the pages it has of this file, as of the open. */
bool vfs_keep_cache(const struct vfs_handle *h);
uint64_t vfs_handle_ino(const struct vfs_handle *h);

/* ---- directories ---------------------------------------------------------------------------- */

struct vfs_dirent {
	const char *name;
	uint64_t ino;
	mode_t type; /**< S_IFMT bits */
};

int vfs_opendir(struct vfs *v, uint64_t ino, struct vfs_dir **ret);
/** Whether the kernel may keep the listing it has of this directory. */
bool vfs_dir_keep_cache(const struct vfs_dir *d);
/**
 * The index-th entry; "." and ".." are 0 and 1. 1 = filled, 0 = past the end. Index 0 takes the listing
 * anew (rewinddir). The entry is borrowed until the next call on this directory.
 */
int vfs_readdir(struct vfs *v, struct vfs_dir *d, uint64_t index, struct vfs_dirent *ret);
/** Looks up the index-th entry, from 2 on; it may be gone by now. */
int vfs_lookup_listed(struct vfs *v, const struct vfs_dir *d, uint64_t index, struct stat *ret);
void vfs_closedir(struct vfs *v, struct vfs_dir *d);

/* ---- for commands --------------------------------------------------------------------------- */

/** The node shown at ino; -ENOENT for what is only local. */
int vfs_node(struct vfs *v, uint64_t ino, struct id *ret);

#endif
