/* Attributes: stat, chmod, truncate, times, links' targets, extended attributes, the size of the whole. */
#include "fs/ops.h"

#include <string.h>
#include <sys/statvfs.h>

void ops_attr_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ops_ctx *o = ops_of(req);
	struct stat st = {0};
	int r;

	(void)fi;
	if (special_owns(ino))
		r = special_getattr(o->special, ino, &st);
	else
		r = vfs_getattr(o->vfs, ino, &st);
	ops_reply_attr(req, r, &st);
}

static unsigned to_vfs_set(int set)
{
	static const struct {
		int fuse;
		unsigned vfs;
	} map[] = {
		{FUSE_SET_ATTR_MODE, VFS_SET_MODE},
		{FUSE_SET_ATTR_UID, VFS_SET_UID},
		{FUSE_SET_ATTR_GID, VFS_SET_GID},
		{FUSE_SET_ATTR_SIZE, VFS_SET_SIZE},
		{FUSE_SET_ATTR_ATIME, VFS_SET_ATIME},
		{FUSE_SET_ATTR_MTIME, VFS_SET_MTIME},
		{FUSE_SET_ATTR_ATIME_NOW, VFS_SET_ATIME_NOW},
		{FUSE_SET_ATTR_MTIME_NOW, VFS_SET_MTIME_NOW},
	};
	unsigned ret = 0;

	for (size_t i = 0; i < countof(map); i++) {
		if (set & map[i].fuse)
			ret |= map[i].vfs;
	}
	/* The kernel says "now" in addition to "set". */
	if (ret & VFS_SET_ATIME_NOW)
		ret &= ~VFS_SET_ATIME;
	if (ret & VFS_SET_MTIME_NOW)
		ret &= ~VFS_SET_MTIME;
	return ret;
}

void ops_attr_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int set,
		      struct fuse_file_info *fi)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);
	struct stat st = {0};

	if (special_owns(ino)) {
		ops_reply(req, -EPERM);
		return;
	}
	if (ops_echo_setattr(req, ino))
		return;
	struct vfs_handle *h = NULL;
	int r = fi ? ops_file_begin(req, ino, false, fi, &h) : 0;
	if (r == 0)
		r = vfs_setattr(o->vfs, &c, ino, h, to, to_vfs_set(set), &st);
	ops_file_end(req, h);
	ops_reply_attr(req, r, &st);
}

void ops_attr_readlink(fuse_req_t req, fuse_ino_t ino)
{
	AUTO(buf_fini) struct buf target = {0};
	struct ops_ctx *o = ops_of(req);
	int r = special_owns(ino) ? special_readlink(o->special, ino, &target)
				  : vfs_readlink(o->vfs, ino, &target);

	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_readlink(req, buf_str(&target));
}

void ops_attr_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {0};
	int r = vfs_statfs(ops_of(req)->vfs, &st);

	(void)ino;
	if (r < 0)
		ops_reply(req, r);
	else
		(void)fuse_reply_statfs(req, &st);
}

void ops_attr_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	(void)ino;
	(void)mask;
	/* default_permissions: the kernel has compared modes and owners already. */
	ops_reply(req, 0);
}

/** size: what the program has room for; 0 = it asks how much it needs. */
static void reply_xattr(fuse_req_t req, int r, const struct buf *value, size_t size)
{
	if (r < 0)
		ops_reply(req, r);
	else if (size == 0)
		(void)fuse_reply_xattr(req, value->len);
	else if (value->len > size)
		ops_reply(req, -ERANGE);
	else
		(void)fuse_reply_buf(req, (const char *)value->data, value->len);
}

void ops_attr_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	AUTO(buf_fini) struct buf value = {0};
	int r;

	/* The kernel asks for this one at the first write to each file, and in vain: nosuid. */
	if (special_owns(ino) || strcmp(name, "security.capability") == 0)
		r = -ENODATA;
	else
		r = vfs_getxattr(ops_of(req)->vfs, ino, name, &value);
	reply_xattr(req, r, &value, size);
}

void ops_attr_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	AUTO(buf_fini) struct buf names = {0};
	struct vfs_caller c = ops_caller(req);
	int r = special_owns(ino) ? 0 : vfs_listxattr(ops_of(req)->vfs, &c, ino, &names);

	reply_xattr(req, r, &names, size);
}

void ops_attr_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		       size_t size, int flags)
{
	struct slice v = SLICE(value, size);

	ops_reply(req,
		  special_owns(ino) ? -EPERM : vfs_setxattr(ops_of(req)->vfs, ino, name, v, flags));
}

void ops_attr_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	ops_reply(req, special_owns(ino) ? -EPERM : vfs_removexattr(ops_of(req)->vfs, ino, name));
}
