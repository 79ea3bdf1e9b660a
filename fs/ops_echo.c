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

/*
 * The notice's inode as it is, or if it is no more, as it was. The kernel may keep it only if it still is what the
 * name stands for: later changes may have happened already, and have echoes of their own.
 */
static bool find(const struct act *a, bool keep, struct fuse_entry_param *ret)
{
	struct stat st;
	bool alive = vfs_lookup_ino(a->ops->vfs, a->n.ino, &st) == 0;

	if (!alive)
		st = (struct stat){.st_ino = a->n.ino, .st_mode = a->n.mode, .st_nlink = 1};
	/* The kernel will count the name that it removes. */
	if (alive && a->n.kind == NOTICE_DELETE && !S_ISDIR(st.st_mode))
		st.st_nlink++;
	ops_entry(&st, ret);
	if (!alive || !keep)
		ret->entry_timeout = ret->attr_timeout = 0;
	return alive;
}

static bool is_still_there(const struct act *a)
{
	struct stat st;

	if (vfs_lookup(a->ops->vfs, -1, a->n.parent, a->n.name, &st) < 0)
		return false;
	vfs_forget(a->ops->vfs, st.st_ino, 1);
	return st.st_ino == a->n.ino;
}

static void reply_lost(fuse_req_t req, const struct act *a)
{
	struct fuse_entry_param e;
	bool alive = find(a, false, &e);

	echo_looked(a->ops->echo);
	if (fuse_reply_entry(req, &e) < 0 && alive)
		vfs_forget(a->ops->vfs, e.ino, 1);
}

bool ops_echo_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	AUTO(act_fini) struct act a = {0};

	if (!is_act(req, &a))
		return false;
	bool here = is_at(parent, name, a.n.parent, a.n.name);
	bool absent = (here && a.n.kind == NOTICE_CREATE) ||
		      (a.n.kind == NOTICE_MOVE && is_at(parent, name, a.n.to_parent, a.n.to_name));
	bool lost = here && (a.n.kind == NOTICE_DELETE || a.n.kind == NOTICE_MOVE);
	if (absent)
		reply_absent(req);
	else if (lost)
		reply_lost(req, &a);
	return absent || lost;
}

static void open_nothing(struct ops_ctx *o, struct fuse_file_info *fi)
{
	if (!o->no_open)
		ops_open(o, OPS_ECHO, NULL, fi);
	fi->keep_cache = 1;
	fi->noflush = 1;
}

bool ops_echo_make(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi)
{
	AUTO(act_fini) struct act a = {0};
	struct fuse_entry_param e;

	if (!is_act(req, &a))
		return false;
	if (a.n.kind != NOTICE_CREATE || !is_at(parent, name, a.n.parent, a.n.name)) {
		ops_reply(req, -ESTALE);
		return true;
	}
	bool alive = find(&a, is_still_there(&a), &e);
	if (fi)
		open_nothing(a.ops, fi);
	int r = fi ? fuse_reply_create(req, &e, fi) : fuse_reply_entry(req, &e);
	if (r < 0 && fi && !a.ops->no_open)
		ops_close(a.ops, fi);
	if (r < 0 && alive)
		vfs_forget(a.ops->vfs, e.ino, 1);
	return true;
}

/*
 * The request says a name, and the kernel does to an inode what it says: a directory is dead from then on, a file has
 * a name less, and what is renamed stands for another name. By now it may know something else by that name, which was
 * made there later and is alive. So it has to have asked a moment ago, under the lock of the directory that it still
 * holds, and got the inode that the notice is about. On ESTALE it asks, and comes again.
 */
bool ops_echo_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	AUTO(act_fini) struct act a = {0};

	if (!is_act(req, &a))
		return false;
	bool about = a.n.kind == NOTICE_DELETE || a.n.kind == NOTICE_MOVE;
	about = about && is_at(parent, name, a.n.parent, a.n.name);
	ops_reply(req, about && echo_has_looked(a.ops->echo) ? 0 : -ESTALE);
	return true;
}

bool ops_echo_open(fuse_req_t req, struct fuse_file_info *fi)
{
	AUTO(act_fini) struct act a = {0};

	if (!is_act(req, &a))
		return false;
	open_nothing(a.ops, fi);
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
	if (vfs_getattr(a.ops->vfs, ino, &st) < 0)
		st = (struct stat){.st_ino = ino, .st_mode = a.n.mode, .st_nlink = 1};
	ops_reply_attr(req, 0, &st);
	return true;
}
