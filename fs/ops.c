/*
 * The operations table, what is negotiated with the kernel, and the ways to reply.
 *
 * Left out on purpose: getlk, setlk and flock (the kernel keeps locks by itself, which is right for one
 * machine); bmap and poll. Nothing here blocks for longer than the database's lock, so FUSE_INTERRUPT needs
 * no handler: libfuse notes it and the request is answered as usual.
 */
#include "fs/ops.h"

#include "core/log.h"
#include "core/platform.h"

#include <stdlib.h>

/** Seconds; a day stands for ever, because every change from elsewhere is notified. */
#define KEEP_SECONDS 86400.0

#define MESSAGE_BYTES_MAX (1024u * 1024u)

struct ops_ctx *ops_of(fuse_req_t req)
{
	struct ops_ctx *o = fuse_req_userdata(req);

	assert(o);
	return o;
}

struct vfs_caller ops_caller(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct vfs_caller){
		.uid = ctx->uid,
		.gid = ctx->gid,
		.pid = ctx->pid,
		.umask = ctx->umask,
	};
}

int ops_errno(int r)
{
	assert(r <= 0);
	switch (r) {
	case -EMSGSIZE:
		return EFBIG;
	case -EBADMSG:
	case -EPROTO:
		return EIO;
	case -ENODATA:
		return PLATFORM_NO_ATTRIBUTE;
	case -ENOSYS:
		/* The kernel would take it for "never ask again", for every file. */
		return EOPNOTSUPP;
	default:
		return -r;
	}
}

bool ops_is_reserved(const struct ops_ctx *o, uint64_t parent, const char *name)
{
	if (!o->special)
		return false;
	return special_owns(parent) || (parent == VFS_ROOT_INO && special_is_reserved(name));
}

double ops_timeout(uint64_t ino)
{
	return special_owns(ino) ? 0.0 : KEEP_SECONDS;
}

void ops_entry(const struct stat *st, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.ino = st->st_ino,
		.attr = *st,
		.attr_timeout = ops_timeout(st->st_ino),
		.entry_timeout = ops_timeout(st->st_ino),
	};
}

/* ---- what is open ---------------------------------------------------------------------------- */

void ops_ctx_init(struct ops_ctx *o)
{
	mutex_init(&o->lock);
	mutex_init(&o->sync_lock);
	cond_init(&o->sync_asked);
	o->opens = NULL;
}

static void close_one(const struct ops_ctx *o, struct ops_open *open)
{
	switch (open->kind) {
	case OPS_FILE:
		vfs_release(o->vfs, open->handle);
		break;
	case OPS_DIR:
		vfs_closedir(o->vfs, open->handle);
		break;
	case OPS_ECHO:
		break;
	case OPS_SPECIAL_FILE:
		special_close(o->special, open->handle);
		break;
	case OPS_SPECIAL_DIR:
		special_closedir(o->special, open->handle);
		break;
	}
	free(open);
}

void ops_ctx_fini(struct ops_ctx *o)
{
	while (o->opens) {
		struct ops_open *open = o->opens;

		o->opens = open->next;
		close_one(o, open);
	}
	cond_fini(&o->sync_asked);
	mutex_fini(&o->sync_lock);
	mutex_fini(&o->lock);
}

void ops_open(struct ops_ctx *o, enum ops_kind kind, void *handle, struct fuse_file_info *fi)
{
	struct ops_open *open = xcalloc(1, sizeof(*open));

	open->kind = kind;
	open->handle = handle;
	mutex_lock(&o->lock);
	open->next = o->opens;
	if (open->next)
		open->next->prev = open;
	o->opens = open;
	mutex_unlock(&o->lock);
	fi->fh = (uintptr_t)open;
}

void ops_close(struct ops_ctx *o, const struct fuse_file_info *fi)
{
	struct ops_open *open = (void *)(uintptr_t)fi->fh; /* NOLINT(performance-no-int-to-ptr) */

	mutex_lock(&o->lock);
	if (open->prev)
		open->prev->next = open->next;
	else
		o->opens = open->next;
	if (open->next)
		open->next->prev = open->prev;
	mutex_unlock(&o->lock);
	close_one(o, open);
}

void ops_forget(struct ops_ctx *o, uint64_t ino, uint64_t count)
{
	if (!special_owns(ino))
		vfs_forget(o->vfs, ino, count);
	else if (o->special)
		special_forget(o->special, ino, count);
}

/* ---- replies --------------------------------------------------------------------------------- */

/* A failing reply means that the kernel has given the request up: only we remember it then. */

void ops_reply(fuse_req_t req, int r)
{
	(void)fuse_reply_err(req, ops_errno(r));
}

void ops_reply_entry(fuse_req_t req, int r, const struct stat *st)
{
	struct fuse_entry_param e;
	struct ops_ctx *o = ops_of(req);

	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	ops_entry(st, &e);
	if (fuse_reply_entry(req, &e) < 0)
		ops_forget(o, st->st_ino, 1);
}

void ops_reply_attr(fuse_req_t req, int r, const struct stat *st)
{
	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_attr(req, st, ops_timeout(st->st_ino));
}

/* ---- the table ------------------------------------------------------------------------------- */

static void want(struct fuse_conn_info *conn, unsigned cap)
{
	conn->want |= conn->capable & cap;
}

/* Nothing is opened: the kernel does without, and the daemon with what the kernel tells it otherwise. */
static void init_no_open(struct ops_ctx *o, struct fuse_conn_info *conn)
{
	if (!(conn->capable & FUSE_CAP_NO_OPEN_SUPPORT)) {
		log_warn("this kernel cannot do without opens: option noopen is ignored");
		o->no_open = false;
		return;
	}
	/* With it, the kernel would leave O_TRUNC to an OPEN that it does not send. */
	conn->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC;
	/* What special.h shows cannot be opened past the page cache; its times tell when it has changed. */
	want(conn, FUSE_CAP_AUTO_INVAL_DATA);
	vfs_set_no_open(o->vfs);
}

static void init(void *userdata, struct fuse_conn_info *conn)
{
	struct ops_ctx *o = userdata;

	/* Written-back pages would overwrite merged content, and hide sizes that change remotely. */
	conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
	/* Pages are dropped by notifications, not by comparing times. */
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	/* Splicing costs more than copying for messages of our size. */
	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	/* Without it O_TRUNC would be a SETATTR of its own, before the open that explains it. */
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	want(conn, FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	/* Whether a link may be followed depends on where it is, and its directory may move (vfs_readlink). */
	conn->want &= ~(unsigned)FUSE_CAP_CACHE_SYMLINKS;
	want(conn, FUSE_CAP_ASYNC_READ);
	if (conn->max_write > MESSAGE_BYTES_MAX)
		conn->max_write = MESSAGE_BYTES_MAX;
	if (conn->max_readahead > MESSAGE_BYTES_MAX)
		conn->max_readahead = MESSAGE_BYTES_MAX;
	if (o->no_open)
		init_no_open(o, conn);
}

const struct fuse_lowlevel_ops ops_table = {
	.init = init,
	.lookup = ops_name_lookup,
	.forget = ops_name_forget,
	.forget_multi = ops_name_forget_multi,
	.mknod = ops_name_mknod,
	.mkdir = ops_name_mkdir,
	.unlink = ops_name_unlink,
	.rmdir = ops_name_rmdir,
	.symlink = ops_name_symlink,
	.rename = ops_name_rename,
	.link = ops_name_link,
	.create = ops_name_create,
	.getattr = ops_attr_getattr,
	.setattr = ops_attr_setattr,
	.readlink = ops_attr_readlink,
	.statfs = ops_attr_statfs,
	.access = ops_attr_access,
	.setxattr = ops_attr_setxattr,
	.getxattr = ops_attr_getxattr,
	.listxattr = ops_attr_listxattr,
	.removexattr = ops_attr_removexattr,
	.open = ops_file_open,
	.read = ops_file_read,
	.write = ops_file_write,
	.flush = ops_file_flush,
	.release = ops_file_release,
	.fsync = ops_file_fsync,
	.fallocate = ops_file_fallocate,
	.lseek = ops_file_lseek,
	.copy_file_range = ops_file_copy_range,
	.ioctl = ops_file_ioctl,
	.opendir = ops_dir_open,
	.readdir = ops_dir_read,
	.readdirplus = ops_dir_readplus,
	.releasedir = ops_dir_release,
	.fsyncdir = ops_dir_fsync,
};
