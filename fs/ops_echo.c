/*
 * Requests of the echo helper (echo.h). What it asks for has happened already, so each is answered from what is
 * there now, or, about a name that is gone, from the notice it acts on. When the namespace has moved on since,
 * the request fails, and the kernel is told in the plain way.
 */
#include "fs/echo.h"
#include "fs/ops.h"

#include <string.h>

/** What the helper is doing. */
struct act {
	struct ops_ctx *ops;
	struct vfs_notice n;
};

static void act_fini(struct act *a)
{
	vfs_notice_fini(&a->n);
}

static bool is_act(fuse_req_t req, struct act *ret)
{
	ret->ops = ops_of(req);
	return echo_is_helper(ret->ops->echo, fuse_req_ctx(req)->pid) &&
	       echo_current(ret->ops->echo, &ret->n);
}

static bool is_at(uint64_t parent, const char *name, uint64_t at, const char *at_name)
{
	return parent == at && at_name && strcmp(name, at_name) == 0;
}

/* Not to be remembered: for everybody else the answer is another. */
static void reply_absent(fuse_req_t req)
{
	const struct fuse_entry_param none = {0};

	(void)fuse_reply_entry(req, &none);
}

/* The inode that lost its name: as it is, or if it is no more, as it was. */
static void reply_lost(fuse_req_t req, const struct act *a)
{
	struct fuse_entry_param e;
	struct stat st;
	bool alive = vfs_lookup_ino(a->ops->vfs, a->n.ino, &st) == 0;

	if (!alive)
		st = (struct stat){.st_ino = a->n.ino, .st_mode = a->n.mode, .st_nlink = 1};
	ops_entry(&st, &e);
	e.entry_timeout = e.attr_timeout = 0;
	if (fuse_reply_entry(req, &e) < 0 && alive)
		vfs_forget(a->ops->vfs, st.st_ino, 1);
}

bool ops_echo_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	AUTO(act_fini) struct act a = {0};

	if (!is_act(req, &a))
		return false;
	bool here = is_at(parent, name, a.n.parent, a.n.name);
	if (here && a.n.kind == NOTICE_CREATE)
		reply_absent(req);
	else if (here && (a.n.kind == NOTICE_DELETE || a.n.kind == NOTICE_MOVE))
		reply_lost(req, &a);
	else if (a.n.kind == NOTICE_MOVE && is_at(parent, name, a.n.to_parent, a.n.to_name))
		reply_absent(req);
	else
		return false;
	return true;
}

bool ops_echo_make(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi)
{
	struct fuse_entry_param e;
	struct stat st = {0};
	AUTO(act_fini) struct act a = {0};

	if (!is_act(req, &a))
		return false;
	if (a.n.kind != NOTICE_CREATE || !is_at(parent, name, a.n.parent, a.n.name) ||
	    vfs_lookup(a.ops->vfs, parent, name, &st) < 0) {
		ops_reply(req, -ESTALE);
		return true;
	}
	if (st.st_ino != a.n.ino) {
		vfs_forget(a.ops->vfs, st.st_ino, 1);
		ops_reply(req, -ESTALE);
		return true;
	}
	if (!fi) {
		ops_reply_entry(req, 0, &st);
		return true;
	}
	ops_entry(&st, &e);
	ops_open(a.ops, OPS_ECHO, NULL, fi);
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (fuse_reply_create(req, &e, fi) < 0) {
		ops_close(a.ops, fi);
		vfs_forget(a.ops->vfs, st.st_ino, 1);
	}
	return true;
}

bool ops_echo_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	AUTO(act_fini) struct act a = {0};

	if (!is_act(req, &a))
		return false;
	bool about = a.n.kind == NOTICE_DELETE || a.n.kind == NOTICE_MOVE;
	ops_reply(req, about && is_at(parent, name, a.n.parent, a.n.name) ? 0 : -ESTALE);
	return true;
}

bool ops_echo_open(fuse_req_t req, struct fuse_file_info *fi)
{
	AUTO(act_fini) struct act a = {0};

	if (!is_act(req, &a))
		return false;
	ops_open(a.ops, OPS_ECHO, NULL, fi);
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) < 0)
		ops_close(a.ops, fi);
	return true;
}

bool ops_echo_setattr(fuse_req_t req, fuse_ino_t ino)
{
	struct stat st = {0};
	AUTO(act_fini) struct act a = {0};

	if (!is_act(req, &a))
		return false;
	int r = vfs_getattr(a.ops->vfs, ino, &st);
	ops_reply_attr(req, r, &st);
	return true;
}
