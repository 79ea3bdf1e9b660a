/*
 * macOS, with macFUSE's or FUSE-T's libfuse3. Written from the manual pages and compiled against the
 * stand-in of tests/darwin; nobody has run it yet.
 */
#include "core/platform.h"

#include "core/thread.h"

#include <fcntl.h>
#include <getopt.h>
#include <libproc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENT_ID 1

static int or_errno(int r)
{
	return r < 0 ? -errno : r;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

/* There is no way to get a descriptor that is closed on exec from the start. */
static int prepare(int fd, bool nonblocking)
{
	int one = 1;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    (nonblocking && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	/* In the place of send(2)'s MSG_NOSIGNAL. */
	(void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof(one));
	return fd;
}

int platform_socket(int family, int type, bool nonblocking)
{
	return prepare(socket(family, type, 0), nonblocking);
}

int platform_socketpair(int type, int ret[2])
{
	if (socketpair(AF_UNIX, type, 0, ret) < 0)
		return -errno;
	(void)prepare(ret[0], false);
	(void)prepare(ret[1], false);
	return 0;
}

int platform_accept(int listen_fd, bool nonblocking)
{
	return prepare(accept(listen_fd, NULL, NULL), nonblocking);
}

int platform_peer_uid(int fd, uid_t *ret)
{
	gid_t gid;

	return or_errno(getpeereid(fd, ret, &gid));
}

int platform_socket_path(const char *dir, const char *name, char *path, size_t size, int *ret_dir_fd)
{
	*ret_dir_fd = -1;
	return snprintf(path, size, "%s/%s", dir, name) < (int)size ? 0 : -ENAMETOOLONG;
}

int platform_event_create(void)
{
	int fd = kqueue();
	struct kevent change;

	if (fd < 0)
		return -errno;
	EV_SET(&change, EVENT_ID, EVFILT_USER, EV_ADD, 0, 0, NULL);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && kevent(fd, &change, 1, NULL, 0, NULL) == 0)
		return fd;
	int r = -errno;
	(void)close(fd);
	return r;
}

void platform_event_set(int fd)
{
	struct kevent change;
	int saved = errno;

	EV_SET(&change, EVENT_ID, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
	(void)kevent(fd, &change, 1, NULL, 0, NULL);
	errno = saved;
}

/* ---- files ---------------------------------------------------------------------------------- */

int platform_sync_data(int fd)
{
	/* fsync(2) leaves the data in the drive's cache; not every volume knows better. */
	return fcntl(fd, F_FULLFSYNC) == 0 ? 0 : or_errno(fsync(fd));
}

/* Room behind the end of the file. */
static int reserve_room(int fd, uint64_t bytes)
{
	fstore_t room = {
		.fst_flags = F_ALLOCATEALL,
		.fst_posmode = F_PEOFPOSMODE,
		.fst_length = (off_t)bytes,
	};

	return or_errno(fcntl(fd, F_PREALLOCATE, &room));
}

int platform_reserve(int fd, uint64_t bytes)
{
	int r = reserve_room(fd, bytes);

	return r < 0 ? r : or_errno(ftruncate(fd, (off_t)bytes));
}

/* Holes are only punched in whole blocks here; what was there must at least read as nothing. */
static int write_zeros(int fd, uint64_t offset, uint64_t end)
{
	static const char zeros[65536];

	while (offset < end) {
		uint64_t left = end - offset;
		ssize_t n = pwrite(fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros),
				   (off_t)offset);

		if (n < 0 && errno != EINTR)
			return -errno;
		offset += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

int platform_allocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	uint64_t size = (uint64_t)st.st_size;
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		r = write_zeros(fd, offset, end < size ? end : size);
	else if (end > size)
		r = reserve_room(fd, end - size);
	if (r == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > size)
		r = or_errno(ftruncate(fd, (off_t)end));
	return r;
}

int platform_rename_new(const char *from, const char *to)
{
	return or_errno(renamex_np(from, to, RENAME_EXCL));
}

unsigned platform_rename_flags(unsigned flags)
{
	unsigned ret = flags & ~(unsigned)(RENAME_EXCL | RENAME_SWAP);

	ret |= flags & RENAME_EXCL ? RENAME_NOREPLACE : 0;
	return ret | (flags & RENAME_SWAP ? RENAME_EXCHANGE : 0);
}

/* A watch of kqueue costs an open descriptor a file: looking again and again is cheaper. */
int platform_watch_create(void)
{
	return -ENOTSUP;
}

int platform_watch_add(int fd, const char *dir)
{
	(void)fd;
	(void)dir;
	return -ENOTSUP;
}

void platform_watch_drain(int fd)
{
	(void)fd;
}

bool platform_is_remote(const char *dir)
{
	(void)dir;
	return true;
}

/* ---- mounts --------------------------------------------------------------------------------- */

/* The kernel names the driver only; a subtype such as "blaze" cannot be seen. */
static bool is_fuse_type(const char *type)
{
	return strcmp(type, "macfuse") == 0 || strcmp(type, "osxfuse") == 0 ||
	       strcmp(type, "fuse-t") == 0;
}

bool platform_is_fuse(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && is_fuse_type(fs.f_fstypename);
}

bool platform_is_blaze(const char *path)
{
	struct statfs *mounts = NULL;
	int n = getmntinfo(&mounts, MNT_NOWAIT);
	bool found = false;

	for (int i = 0; i < n; i++) {
		if (strcmp(mounts[i].f_mntonname, path) == 0)
			found = is_fuse_type(mounts[i].f_fstypename);
	}
	return found;
}

bool platform_is_dead(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) < 0 && (errno == ENXIO || errno == ENOTCONN || errno == ENODEV);
}

int platform_unmount(const char *path, bool lazy)
{
	return or_errno(unmount(path, lazy ? MNT_FORCE : 0));
}

const char *platform_unmount_helper(void)
{
	return NULL;
}

const char *platform_no_fuse(void)
{
	/* libfuse loads the driver by itself, and says why it cannot. */
	return NULL;
}

int platform_connection_open(const char *mountpoint, struct platform_connection *ret)
{
	*ret = (struct platform_connection){.mountpoint = mountpoint, .control = -1};
	return -ENOTSUP;
}

void platform_connection_abort(const struct platform_connection *c)
{
	(void)c;
}

int platform_enter_namespace(const char *ns)
{
	(void)ns;
	return -ENOTSUP;
}

/* ---- processes and threads ------------------------------------------------------------------ */

void platform_process(pid_t id, pid_t *ret_process, pid_t *ret_parent)
{
	*ret_process = id;
	*ret_parent = 0;
}

int platform_program_name(pid_t pid, char *ret, size_t size)
{
	char name[2 * MAXCOMLEN + 1];

	if (proc_name((int)pid, name, sizeof(name)) <= 0)
		return -ESRCH;
	(void)snprintf(ret, size, "%s", name);
	return 0;
}

void platform_close_from(int fd)
{
	for (long n = sysconf(_SC_OPEN_MAX); fd < n; fd++)
		(void)close(fd);
}

void platform_follow_parent(const char *name)
{
	(void)name;
}

bool platform_outlive(const char *name, pid_t parent)
{
	(void)name;
	(void)parent;
	return false;
}

void platform_hide_memory(void)
{
	(void)ptrace(PT_DENY_ATTACH, 0, NULL, 0);
}

void platform_reset_getopt(void)
{
	optind = 1;
	optreset = 1;
}

int platform_cond_init(struct cond *c)
{
	return pthread_cond_init(&c->c, NULL);
}

int platform_cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_ms)
{
	uint64_t now = monotonic_ms();
	uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
	struct timespec in = {
		.tv_sec = (time_t)(left / 1000),
		.tv_nsec = (long)(left % 1000) * 1000000,
	};

	return pthread_cond_timedwait_relative_np(&c->c, &m->m, &in);
}

void platform_name_thread(const struct thread *t, const char *name)
{
	/* Only a thread itself could set it. */
	(void)t;
	(void)name;
}

void platform_tell_systemd(const char *text)
{
	(void)text;
}

void platform_return_memory(void)
{
}

void platform_trim_memory(void)
{
}
