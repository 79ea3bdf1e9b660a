/*
 * Open files; or, with `-o noopen`, files that are not: OPEN and FLUSH are answered with ENOSYS, once, and the kernel
 * sends no such request again, nor a RELEASE. Then no request has a handle, but those about directories.
 */
#include "fs/ops.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void ops_file_policy(struct fuse_file_info *fi, const struct vfs_handle *h)
{
	/* Pages stay valid from one open to the next, unless a notice about them is under way. */
	fi->keep_cache = vfs_keep_cache(h);
	/* Who cannot have written has nothing to say at close: one round trip less. */
	fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
}

int ops_file_begin(fuse_req_t req, fuse_ino_t ino, bool writes, const struct fuse_file_info *fi,
		   struct vfs_handle **ret)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);

	if (special_owns(ino))
		return -EBADF;
	if (o->no_open)
		return vfs_borrow(o->vfs, &c, ino, writes, ret);
	*ret = ops_handle(fi);
	return *ret ? 0 : -EBADF;
}

void ops_file_end(fuse_req_t req, struct vfs_handle *h)
{
	struct ops_ctx *o = ops_of(req);

	if (h && o->no_open)
		vfs_return(o->vfs, h);
}

static void open_special(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ops_ctx *o = ops_of(req);
	struct special_handle *h = NULL;
	int r = (fi->flags & O_ACCMODE) == O_RDONLY ? special_open(o->special, ino, &h) : -EACCES;

	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	ops_open(o, OPS_SPECIAL_FILE, h, fi);
	fi->direct_io = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) < 0)
		ops_close(o, fi);
}

/** An open that waits for its reply. */
struct opening {
	fuse_req_t req;
	uint64_t ino;
	struct vfs_caller caller;
	struct fuse_file_info fi;
};

/** -EAGAIN: not replied yet. */
static int open_now(const struct opening *p)
{
	struct ops_ctx *o = ops_of(p->req);
	struct fuse_file_info fi = p->fi;
	struct vfs_handle *h = NULL;
	int r = vfs_open(o->vfs, &p->caller, p->ino, fi.flags, &h);

	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		ops_reply(p->req, r);
		return 0;
	}
	ops_open(o, OPS_FILE, h, &fi);
	ops_file_policy(&fi, h);
	if (fuse_reply_open(p->req, &fi) < 0)
		ops_close(o, &fi);
	return 0;
}

static void retry_open(void *ctx)
{
	struct opening *p = ctx;

	if (open_now(p) == -EAGAIN)
		vfs_open_later(ops_of(p->req)->vfs, p->ino, retry_open, p);
	else
		free(p);
}

void ops_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct opening p = {.req = req, .ino = ino, .caller = ops_caller(req), .fi = *fi};

	if (ops_of(req)->no_open) {
		(void)fuse_reply_err(req, ENOSYS);
		return;
	}
	if (special_owns(ino)) {
		open_special(req, ino, fi);
		return;
	}
	if (!ops_echo_open(req, fi) && open_now(&p) == -EAGAIN)
		vfs_open_later(ops_of(req)->vfs, ino, retry_open, xmemdup(&p, sizeof(p)));
}

/** The bytes to read a special file from; *ret_own is to be closed. */
static struct special_handle *special_begin(struct ops_ctx *o, fuse_ino_t ino,
					    const struct fuse_file_info *fi,
					    struct special_handle **ret_own)
{
	if (!o->no_open)
		return ops_handle(fi);
	return special_open_shown(o->special, ino, ret_own) < 0 ? NULL : *ret_own;
}

static void read_special(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			 const struct fuse_file_info *fi)
{
	struct ops_ctx *o = ops_of(req);
	struct special_handle *own = NULL;
	const struct special_handle *h = special_begin(o, ino, fi, &own);

	AUTO(buf_fini) struct buf data = {0};
	int r = h ? special_read(h, (uint64_t)off, size, &data)
		  : -ESTALE; /* a conflict that ended */

	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_buf(req, (const char *)data.data, data.len);
	if (own)
		special_close(o->special, own);
}

void ops_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	AUTO(buf_fini) struct buf data = {0};
	struct vfs_handle *h = NULL;

	if (special_owns(ino)) {
		read_special(req, ino, size, off, fi);
		return;
	}
	int r = ops_file_begin(req, ino, false, fi, &h);
	if (r == 0)
		r = vfs_read(ops_of(req)->vfs, h, (uint64_t)off, size, &data);
	ops_file_end(req, h);
	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_buf(req, (const char *)data.data, data.len);
}

void ops_file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	/* The flags of this write: fcntl may have changed them since the open, and a mapped page has none. */
	bool append = fi->flags & O_APPEND;
	struct vfs_caller c = ops_caller(req);
	struct vfs_handle *h = NULL;
	/* special files cannot be opened for writing, and the echo helper writes nothing */
	int r = ops_file_begin(req, ino, true, fi, &h);

	if (r == 0)
		r = vfs_write(ops_of(req)->vfs, &c, h, (uint64_t)off, SLICE(data, size), append);
	ops_file_end(req, h);
	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_write(req, size);
}

void ops_file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ops_ctx *o = ops_of(req);

	if (o->no_open)
		(void)fuse_reply_err(req, ENOSYS);
	else /* A kernel before 5.16 sends it for the echo helper, too. */
		ops_reply(req, special_owns(ino) || !ops_handle(fi)
				       ? 0
				       : vfs_flush(o->vfs, ops_handle(fi)));
}

void ops_file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (!ops_of(req)->no_open)
		ops_close(ops_of(req), fi);
	ops_reply(req, 0);
}

void ops_file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct vfs_handle *h = NULL;
	int r = special_owns(ino) ? 0 : ops_file_begin(req, ino, false, fi, &h);

	(void)datasync;
	if (h)
		r = vfs_store(ops_of(req)->vfs, h);
	ops_file_end(req, h);
	if (r < 0 || special_owns(ino))
		ops_reply(req, r);
	else
		ops_reply_synced(req);
}

void ops_file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
			struct fuse_file_info *fi)
{
	struct vfs_caller c = ops_caller(req);
	struct vfs_handle *h = NULL;
	int r = ops_file_begin(req, ino, true, fi, &h);

	if (r == 0)
		r = vfs_fallocate(ops_of(req)->vfs, &c, h, mode, (uint64_t)off, (uint64_t)length);
	ops_file_end(req, h);
	ops_reply(req, r);
}

/** One request answers for so much at most; the program asks for the rest, and others get their turn. */
#define COPY_BYTES_MAX ((size_t)16 << 20)
#define COPY_STEP_BYTES ((size_t)1 << 20)

void ops_file_copy_range(fuse_req_t req, fuse_ino_t from, off_t from_off,
			 struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_off,
			 struct fuse_file_info *to_fi, size_t size, int flags)
{
	AUTO(buf_fini) struct buf data = {0};
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);
	struct vfs_handle *source = NULL;
	struct vfs_handle *target = NULL;
	size_t done = 0;
	int r = flags ? -EINVAL : 0;

	if (ops_file_begin(req, from, false, from_fi, &source) < 0 ||
	    ops_file_begin(req, to, true, to_fi, &target) < 0)
		r = -EXDEV; /* the kernel copies what special.h shows by reading it */
	while (r == 0 && done < size && done < COPY_BYTES_MAX) {
		size_t step = size - done < COPY_STEP_BYTES ? size - done : COPY_STEP_BYTES;

		r = vfs_read(o->vfs, source, (uint64_t)from_off + done, step, &data);
		if (r == 0 && data.len == 0)
			break;
		if (r == 0)
			r = vfs_write(o->vfs, &c, target, (uint64_t)to_off + done, buf_slice(&data),
				      false);
		done += r == 0 ? data.len : 0;
	}
	ops_file_end(req, source);
	ops_file_end(req, target);
	if (r < 0 && done == 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_write(req, done);
}

static int seek_special(struct ops_ctx *o, fuse_ino_t ino, const struct fuse_file_info *fi,
			uint64_t off, int whence, uint64_t *ret)
{
	struct special_handle *own = NULL;
	const struct special_handle *h = special_begin(o, ino, fi, &own);
	int r = h ? special_lseek(h, off, whence, ret) : -ESTALE;

	if (own)
		special_close(o->special, own);
	return r;
}

void ops_file_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct vfs_handle *h = NULL;
	uint64_t to = 0;
	int r;

	/* Negative offsets are beyond every file, as the local file systems say. */
	if (off < 0)
		r = -ENXIO;
	else if (special_owns(ino))
		r = seek_special(ops_of(req), ino, fi, (uint64_t)off, whence, &to);
	else if ((r = ops_file_begin(req, ino, false, fi, &h)) == 0)
		r = vfs_lseek(ops_of(req)->vfs, h, (uint64_t)off, whence, &to);
	ops_file_end(req, h);
	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_lseek(req, (off_t)to);
}

void ops_file_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		    struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
		    size_t out_size)
{
	(void)ino;
	(void)cmd;
	(void)arg;
	(void)fi;
	(void)flags;
	(void)in;
	(void)in_size;
	(void)out_size;
	ops_reply(req, -ENOTTY);
}
