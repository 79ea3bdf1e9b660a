/* Names: looking up, making, moving and removing them, and the lookup counts that go with them. */
#include "fs/ops.h"

#include "core/platform.h"

#include <string.h>

#define NAME_BYTES_MAX 255
/** Forgotten under one lock. */
#define FORGETS_MAX 128

void ops_name_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct ops_ctx *o = ops_of(req);
	struct stat st = {0};

	if (ops_is_reserved(o, parent, name)) {
		ops_reply_entry(req, special_lookup(o->special, parent, name, &st), &st);
		return;
	}
	if (ops_echo_lookup(req, parent, name))
		return;
	int r = vfs_lookup(o->vfs, ops_caller(req).pid, parent, name, &st);
	if (r == -ENOENT) {
		/* An entry without an inode: the kernel remembers that there is no such name. */
		struct fuse_entry_param none = {.entry_timeout = ops_timeout(VFS_ROOT_INO)};

		(void)fuse_reply_entry(req, &none);
		return;
	}
	ops_reply_entry(req, r, &st);
}

void ops_name_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	ops_forget(ops_of(req), ino, count);
	fuse_reply_none(req);
}

void ops_name_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_forgotten list[FORGETS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (special_owns(forgets[i].ino))
			ops_forget(o, forgets[i].ino, forgets[i].nlookup);
		else
			list[n++] = (struct vfs_forgotten){.ino = forgets[i].ino,
							   .count = forgets[i].nlookup};
		if (n == FORGETS_MAX || i + 1 == count) {
			vfs_forget_many(o->vfs, list, n);
			n = 0;
		}
	}
	fuse_reply_none(req);
}

/** What all that makes a name checks first. */
static int check_new(const struct ops_ctx *o, uint64_t parent, const char *name)
{
	if (ops_is_reserved(o, parent, name))
		return -EPERM;
	return strlen(name) > NAME_BYTES_MAX ? -ENAMETOOLONG : 0;
}

void ops_name_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);
	struct stat st = {0};
	int r = check_new(o, parent, name);

	if (!r)
		r = vfs_mknod(o->vfs, &c, parent, name, mode, rdev, &st);
	ops_reply_entry(req, r, &st);
}

void ops_name_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);
	struct stat st = {0};
	int r = check_new(o, parent, name);

	if (ops_echo_make(req, parent, name, NULL))
		return;
	if (!r)
		r = vfs_mkdir(o->vfs, &c, parent, name, mode, &st);
	ops_reply_entry(req, r, &st);
}

void ops_name_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);
	struct stat st = {0};
	int r = check_new(o, parent, name);

	if (ops_echo_make(req, parent, name, NULL))
		return;
	if (!r)
		r = vfs_symlink(o->vfs, &c, target, parent, name, &st);
	ops_reply_entry(req, r, &st);
}

void ops_name_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct ops_ctx *o = ops_of(req);
	struct stat st = {0};
	int r = special_owns(ino) ? -EPERM : check_new(o, parent, name);

	if (!r)
		r = vfs_link(o->vfs, ino, parent, name, &st);
	ops_reply_entry(req, r, &st);
}

void ops_name_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		     struct fuse_file_info *fi)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);
	struct vfs_handle *h = NULL;
	struct fuse_entry_param e;
	struct stat st = {0};
	int r = check_new(o, parent, name);

	if (ops_echo_make(req, parent, name, fi))
		return;
	if (!r)
		r = vfs_create_file(o->vfs, &c, parent, name, mode, fi->flags, &h, &st);
	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	ops_entry(&st, &e);
	ops_file_policy(fi, h);
	if (o->no_open)
		vfs_created(o->vfs, h);
	else
		ops_open(o, OPS_FILE, h, fi);
	if (fuse_reply_create(req, &e, fi) < 0) {
		if (!o->no_open)
			ops_close(o, fi);
		vfs_forget(o->vfs, st.st_ino, 1);
	}
}

void ops_name_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);

	if (special_owns(parent) && o->special)
		ops_reply(req, special_unlink(o->special, parent, name));
	else if (!ops_echo_remove(req, parent, name))
		ops_reply(req, ops_is_reserved(o, parent, name)
				       ? -EPERM
				       : vfs_unlink(o->vfs, &c, parent, name));
}

void ops_name_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);

	if (!ops_echo_remove(req, parent, name))
		ops_reply(req, ops_is_reserved(o, parent, name)
				       ? -EPERM
				       : vfs_rmdir(o->vfs, &c, parent, name));
}

/* Out of .blaze/deleted/: what was deleted comes back. */
static int move_out(struct ops_ctx *o, uint64_t old_parent, const char *old_name,
		    uint64_t new_parent, const char *new_name)
{
	struct id dir;
	int r = special_owns(new_parent) ? -EPERM : check_new(o, new_parent, new_name);

	if (r == 0 && vfs_node(o->vfs, new_parent, &dir) < 0)
		r = -EXDEV; /* it stays on this device: a copy */
	return r < 0 ? r : special_move_out(o->special, old_parent, old_name, &dir, new_name);
}

void ops_name_rename(fuse_req_t req, fuse_ino_t old_parent, const char *old_name,
		     fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	struct ops_ctx *o = ops_of(req);
	struct vfs_caller c = ops_caller(req);
	int r = ops_is_reserved(o, old_parent, old_name) ? -EPERM
							 : check_new(o, new_parent, new_name);

	if (ops_echo_remove(req, old_parent, old_name))
		return;
	if (special_owns(old_parent) && o->special)
		r = move_out(o, old_parent, old_name, new_parent, new_name);
	else if (!r)
		r = vfs_rename(o->vfs, &c, old_parent, old_name, new_parent, new_name,
			       platform_rename_flags(flags));
	ops_reply(req, r);
}
