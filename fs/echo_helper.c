/*
 * The echo helper: performs, as ordinary system calls on our own mount, what changed on another device, so that
 * the kernel tells everybody who watches (echo.h).
 *
 * A process of its own, because a thread of the daemon that waits for the daemon's own answer keeps a killed
 * daemon from ending, and with it the mount from failing. It holds nothing open in the mount between two
 * batches: the mount can be taken away at any time.
 */
#include "core/platform.h"
#include "fs/echo_wire.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct helper {
	int socket;
	struct echo_shared *shared;
	char mountpoint[PATH_MAX];
	int root;  /**< -1 between batches */
	dev_t dev; /**< of the mount: never touch what is below or what comes after it */
};

static const struct timespec only_mtime[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

static int become(uint32_t uid, uint32_t gid)
{
	if (geteuid() == uid && getegid() == gid)
		return 0;
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		return -errno;
	return 0;
}

static int open_root(struct helper *h)
{
	struct stat st;

	if (h->root >= 0)
		return 0;
	h->root = open(h->mountpoint, PLATFORM_O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (h->root < 0 || fstat(h->root, &st) < 0)
		return -errno;
	if (h->dev == 0)
		h->dev = st.st_dev;
	return st.st_dev == h->dev ? 0 : -ENOTCONN;
}

/* Raises MODIFY and CLOSE_WRITE. Who may not write, or whose file is being executed, raises at least MODIFY. */
static int modify(int root, const char *path, int flags)
{
	AUTO(close_fd)
	int fd = openat(root, path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);

	if (fd < 0 && !flags && (errno == EACCES || errno == ETXTBSY))
		return utimensat(root, path, only_mtime, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	if (fd < 0)
		return -errno;
	return futimens(fd, only_mtime) < 0 ? -errno : 0;
}

/*
 * The directory that path is in; *ret_name is the rest. What is to be taken away is looked up anew if need be
 * (ops_echo_remove), and the directories above are not: they may be gone as well, and wait for their own echo.
 */
static int open_above(int root, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	*ret_name = slash ? slash + 1 : path;
	if (!slash)
		return dup(root);
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	return openat(root, dir, PLATFORM_O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int take_away(int root, const char *path, int flags)
{
	const char *name;
	AUTO(close_fd) int dir = open_above(root, path, &name);

	return dir < 0 ? -1 : unlinkat(dir, name, flags);
}

static int move(int root, const char *path, const char *to)
{
	const char *name;
	const char *to_name;
	AUTO(close_fd) int dir = open_above(root, path, &name);
	AUTO(close_fd) int to_dir = open_above(root, to, &to_name);

	return dir < 0 || to_dir < 0 ? -1 : renameat(dir, name, to_dir, to_name);
}

static int perform(const struct helper *h, const struct echo_request *q)
{
	static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
	int r = -1;

	switch ((enum echo_op)q->op) {
	case ECHO_CREATE:
		return modify(h->root, q->path, O_CREAT | O_EXCL);
	case ECHO_MODIFY:
		return modify(h->root, q->path, 0);
	case ECHO_MKDIR:
		r = mkdirat(h->root, q->path, 0700);
		break;
	case ECHO_SYMLINK:
		r = symlinkat(".", h->root, q->path); /* the answer says where it leads */
		break;
	case ECHO_ATTRIB:
		r = utimensat(h->root, q->path, now, AT_SYMLINK_NOFOLLOW);
		break;
	case ECHO_UNLINK:
		r = take_away(h->root, q->path, 0);
		break;
	case ECHO_RMDIR:
		r = take_away(h->root, q->path, AT_REMOVEDIR);
		break;
	case ECHO_RENAME:
		r = move(h->root, q->path, q->to);
		break;
	case ECHO_SETUP:
	case ECHO_FLUSH:
		errno = EINVAL;
		break;
	}
	return r < 0 ? -errno : 0;
}

static void finish_batch(struct helper *h)
{
	atomic_store(&h->shared->current, 0);
	close_fd(&h->root);
	h->root = -1;
	if (send(h->socket, "", 1, PLATFORM_SEND_FLAGS) < 0)
		_exit(0);
}

static void serve(struct helper *h, const struct echo_request *q)
{
	if (q->op == ECHO_SETUP) {
		(void)snprintf(h->mountpoint, sizeof(h->mountpoint), "%s", q->path);
		if (become(q->arg, q->arg2) < 0)
			_exit(1);
		return;
	}
	if (q->op == ECHO_FLUSH) {
		finish_batch(h);
		return;
	}
	atomic_store(&h->shared->current, q->seq);
	int r = open_root(h);
	if (r == 0)
		r = perform(h, q);
	atomic_store(&h->shared->results[q->seq % ECHO_BATCH_MAX], r);
}

void echo_helper_run(int fd, struct echo_shared *shared)
{
	static struct echo_request q;
	struct helper h = {.socket = fd, .shared = shared, .root = -1};

	platform_follow_parent("blaze-echo");
	/* It ends with the daemon, which a Ctrl-C at the terminal tells by itself. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)umask(0);
	for (;;) {
		ssize_t n = recv(fd, &q, sizeof(q), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		serve(&h, &q);
	}
}
