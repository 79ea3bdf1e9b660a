/* Notices of the vfs, as libfuse wants them. */
#include "fs/notify.h"

#include "core/log.h"

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

/** From the first byte to the end, and the attributes with them. */
static int drop_inode(struct fuse_session *se, uint64_t ino)
{
	return fuse_lowlevel_notify_inval_inode(se, ino, 0, 0);
}

/** A negative offset leaves the pages alone. */
static int drop_attr(struct fuse_session *se, uint64_t ino)
{
	return fuse_lowlevel_notify_inval_inode(se, ino, -1, 0);
}

static int drop_entry(struct fuse_session *se, const struct vfs_notice *notice)
{
	return fuse_lowlevel_notify_inval_entry(se, notice->parent, notice->name,
						strlen(notice->name));
}

/**
 * Raises IN_DELETE_SELF, unlike dropping the entry. The kernel refuses when the name stands for something
 * else by now, or for a directory it still knows entries of.
 */
static int drop_deleted(struct fuse_session *se, const struct vfs_notice *notice)
{
	int r = fuse_lowlevel_notify_delete(se, notice->parent, notice->ino, notice->name,
					    strlen(notice->name));

	return r < 0 ? drop_entry(se, notice) : r;
}

static int send_one(struct fuse_session *se, const struct vfs_notice *notice)
{
	int r = 0;

	switch (notice->kind) {
	case NOTICE_INODE:
		return drop_inode(se, notice->ino);
	case NOTICE_ATTR:
		return drop_attr(se, notice->ino);
	case NOTICE_ENTRY:
		r = drop_entry(se, notice);
		break;
	case NOTICE_DELETE:
		r = drop_deleted(se, notice);
		break;
	}
	/* The kernel does this by itself only when it knew the name. */
	if (r == -ENOENT)
		r = drop_attr(se, notice->parent);
	return r;
}

/** What the kernel does not know it need not forget; before the first request it knows nothing. */
static bool is_harmless(int r)
{
	return r == -ENOENT || r == -ENOTCONN || r == -ENODEV || r == -ECONNABORTED || r == -ENOSYS;
}

void notify_send(void *ctx, const struct vfs_notice *notice)
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
