/* Notices of the vfs, as libfuse wants them. */
#include "fs/notify.h"

#include "core/log.h"
#include "fs/echo.h"

#include <fuse_lowlevel.h>
#include <string.h>

void notify_init(struct notify *n, struct fuse_session *se)
{
	*n = (struct notify){.se = se};
	mutex_init(&n->lock);
	cond_init(&n->idle);
}

void notify_fini(struct notify *n)
{
	cond_fini(&n->idle);
	mutex_fini(&n->lock);
}

static bool enter(struct notify *n)
{
	mutex_lock(&n->lock);
	bool open = !n->closed;
	if (open)
		n->sending++;
	mutex_unlock(&n->lock);
	return open;
}

static void leave(struct notify *n)
{
	mutex_lock(&n->lock);
	assert(n->sending > 0);
	if (--n->sending == 0)
		cond_broadcast(&n->idle);
	mutex_unlock(&n->lock);
}

void notify_close(struct notify *n)
{
	mutex_lock(&n->lock);
	n->closed = true;
	while (n->sending > 0)
		cond_wait(&n->idle, &n->lock);
	mutex_unlock(&n->lock);
}

/** No name is like that; if one is, the kernel asks for it once more. */
static const char nobody[] = "\177nobody\177";

/**
 * Waits for requests that hold the inode's lock: for what they were answered before the change, the kernel takes over
 * under that lock. To drop a name in a directory takes its lock, and nothing else is done here.
 */
static void pass(struct fuse_session *se, uint64_t ino)
{
	(void)fuse_lowlevel_notify_inval_entry(se, ino, nobody, sizeof(nobody) - 1);
}

#define PAGES_TOO 0
/** A negative offset leaves the pages alone. */
#define ATTRIBUTES_ONLY (-1)

/**
 * The attributes, and the pages from the first byte to the end. An answer that is on its way makes no old attributes
 * valid again: those to LOOKUP and READDIR have a version, and so are too old for an inode that the kernel knows. One
 * that it does not know yet is about to be made from the answer, under the lock of its directory. Those to SETATTR
 * and LINK have no version, and are taken over under the lock of the inode.
 */
static int drop_inode(struct fuse_session *se, uint64_t ino, uint64_t parent, off_t offset)
{
	pass(se, ino);
	int r = fuse_lowlevel_notify_inval_inode(se, ino, offset, 0);

	if (r != -ENOENT || !parent)
		return r;
	pass(se, parent);
	return fuse_lowlevel_notify_inval_inode(se, ino, offset, 0);
}

/** The kernel drops the directory's attributes and listing by itself only when it knew the name. */
static int drop_entry(struct fuse_session *se, uint64_t parent, const char *name)
{
	int r = fuse_lowlevel_notify_inval_entry(se, parent, name, strlen(name));

	return r == -ENOENT ? fuse_lowlevel_notify_inval_inode(se, parent, PAGES_TOO, 0) : r;
}

/**
 * Raises IN_DELETE_SELF, unlike dropping the entry. The kernel refuses when the name stands for something
 * else by now, or for a directory it still knows entries of.
 */
static int drop_deleted(struct fuse_session *se, const struct vfs_notice *n)
{
	int r = n->linked ? -EBUSY
			  : fuse_lowlevel_notify_delete(se, n->parent, n->ino, n->name,
							strlen(n->name));

	return r < 0 ? drop_entry(se, n->parent, n->name) : r;
}

static int drop_moved(struct fuse_session *se, const struct vfs_notice *n)
{
	int r = drop_entry(se, n->parent, n->name);
	int s = drop_entry(se, n->to_parent, n->to_name);

	(void)drop_inode(se, n->ino, n->to_parent, ATTRIBUTES_ONLY);
	return r < 0 ? r : s;
}

static int send_one(struct fuse_session *se, const struct vfs_notice *n)
{
	switch (n->kind) {
	case NOTICE_MODIFY:
		return drop_inode(se, n->ino, n->parent, PAGES_TOO);
	case NOTICE_ATTR:
		return drop_inode(se, n->ino, n->parent, ATTRIBUTES_ONLY);
	case NOTICE_CREATE:
		return drop_entry(se, n->parent, n->name);
	case NOTICE_DELETE:
		return drop_deleted(se, n);
	case NOTICE_MOVE:
		return drop_moved(se, n);
	}
	return 0;
}

/** What the kernel does not know it need not forget; before the first request it knows nothing. */
static bool is_harmless(int r)
{
	return r == -ENOENT || r == -ENOTCONN || r == -ENODEV || r == -ECONNABORTED || r == -ENOSYS;
}

void notify_plainly(void *ctx, const struct vfs_notice *notice)
{
	struct notify *n = ctx;

	if (!enter(n))
		return;
	int r = send_one(n->se, notice);
	leave(n);
	if (r < 0 && !is_harmless(r))
		log_warn("Failed to drop cached inode %llu: %s, ignoring",
			 (unsigned long long)notice->ino, strerror(-r));
}

void notify_send(void *ctx, struct vfs_notice *notice)
{
	const struct notify *n = ctx;
	/* The echo needs the old name; whoever it wakes must not find the old content. */
	bool echo_is_enough = notice->kind == NOTICE_DELETE || notice->kind == NOTICE_MOVE;

	if (!n->echo || !echo_is_enough)
		notify_plainly(ctx, notice);
	if (!n->echo || echo_push(n->echo, notice))
		return;
	if (echo_is_enough)
		notify_plainly(ctx, notice);
}
