/*
 * What the mount says about itself: the directory .blaze at the root, hidden from listings of the root,
 * found by lookup there and nowhere else.
 *
 *   README  status  status.json  state  version  peers/NAME/{state,path,rtt_ms,behind,last_seen,fingerprint}
 *   conflicts/{PATH@DEVICE,PATH@fields,PATH@lines} (fs/special_conflicts.h)
 *   at/TIME/…  deleted/…  history/… (fs/special_past.h)
 *
 * Programs ask for the size first and open afterwards, so a file's content is made when it is looked at
 * and kept for SPECIAL_KEEP_MS: lookup, getattr and open within that time speak of the same bytes; only
 * a conflict that ends meanwhile is -ENOENT. An open file keeps its bytes until it is closed. Making them
 * takes the database's lock for a moment and never waits for the network.
 *
 * Knows nothing of FUSE. Inode numbers have bit 63 set; lookup counts matter for at/, deleted/ and history/ only. All functions return
 * 0 or a negative errno unless they say otherwise, and may be called from any thread.
 */
#ifndef BLAZE_FS_SPECIAL_H
#define BLAZE_FS_SPECIAL_H

#include "core/report.h"
#include "fs/vfs.h"

#define SPECIAL_NAME ".blaze"
#define SPECIAL_KEEP_MS 100
/** More devices than this have no directory in peers/ (the table in `status` has them all). */
#define SPECIAL_PEERS_MAX 1024

struct special;
/** The text of README. */
extern const char special_readme[];
#define SPECIAL_PEER_NAME_BYTES DEVICE_LABEL_BYTES
/** The i-th device's name as a file name: its own, or its label where that would be unclear. */
void special_peer_name(const struct device *peers, size_t i, char out[SPECIAL_PEER_NAME_BYTES]);
/** Milliseconds, -1 unknown; what `blaze init` showed there. */
void special_put_rtt(const struct peer_status *p, struct buf *out);
/** When it was last connected. */
void special_put_seen(const struct peer_status *p, struct buf *out);
void special_put_fingerprint(struct db *db, uint64_t actor, struct buf *out);
struct special_handle; /**< an open file */
struct special_dir;    /**< an open directory */

struct special_options {
	/** db, status and mountpoint must outlive the special; held_count is asked of vfs each time. */
	struct report_source report;
	struct vfs *vfs;     /**< NULL: held_count stays as given */
	const char *version; /**< for the file of that name; outlives the special */
	uid_t uid;	     /**< owner of all: who mounted */
	gid_t gid;
};

struct special *special_create(const struct special_options *options);
/** All handles must be closed. NULL is allowed. */
void special_destroy(struct special *s);

/** Whether ino is one of ours. */
static inline bool special_owns(uint64_t ino)
{
	return ino >> 63;
}

/** Whether nobody may make this name in the root: ".blaze" and what begins with it, in any case. */
bool special_is_reserved(const char *name);

/** parent: the mount's root or one of ours. -ENOENT, -ENOTDIR. */
int special_lookup(struct special *s, uint64_t parent, const char *name, struct stat *ret);
/** The kernel forgets that many lookups of ino. */
void special_forget(struct special *s, uint64_t ino, uint64_t count);
/**
 * rename(2) out of deleted/: brings it back as `new_name` in the directory that shows new_dir. -EEXIST, -EXDEV as
 * restore_deleted(). Out of conflicts/, over the record it belongs to: that value is used from now on; elsewhere
 * -EXDEV. -EPERM for anything else.
 */
int special_move_out(struct special *s, uint64_t parent, const char *name, const struct id *new_dir,
		     const char *new_name);
/** In conflicts/: what is shown is kept, and this no longer. -EPERM elsewhere. */
int special_unlink(struct special *s, uint64_t parent, const char *name);
/** A symlink's target, NUL not included. -EINVAL for what is none. */
int special_readlink(struct special *s, uint64_t ino, struct buf *ret);
int special_getattr(struct special *s, uint64_t ino, struct stat *ret);

/** For reading; -EISDIR. */
int special_open(struct special *s, uint64_t ino, struct special_handle **ret);
/** The same, with the bytes of which special_getattr() spoke last, for who cannot keep it open meanwhile. */
int special_open_shown(struct special *s, uint64_t ino, struct special_handle **ret);
/** Up to size bytes into *ret (cleared first); fewer only at the end. -EIO: a chunk is not here. */
int special_read(const struct special_handle *h, uint64_t offset, size_t size, struct buf *ret);
/** SEEK_DATA and SEEK_HOLE. -ENXIO past the end. */
int special_lseek(const struct special_handle *h, uint64_t offset, int whence, uint64_t *ret);
void special_close(struct special *s, struct special_handle *h);

int special_opendir(struct special *s, uint64_t ino, struct special_dir **ret);
/** As vfs_readdir(): 1 = filled, 0 = past the end; "." and ".." are 0 and 1. */
int special_readdir(struct special_dir *d, uint64_t index, struct vfs_dirent *ret);
void special_closedir(struct special *s, struct special_dir *d);

#endif
