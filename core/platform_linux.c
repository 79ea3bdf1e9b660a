/* Linux. */
#include "core/platform.h"

#include "core/thread.h"

#include <fcntl.h>
#include <getopt.h>
#include <linux/magic.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MOUNT_TYPE "fuse.blaze"

static int or_errno(int r)
{
	return r < 0 ? -errno : r;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

int platform_socket(int family, int type, bool nonblocking)
{
	return or_errno(socket(family, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0));
}

int platform_socketpair(int type, int ret[2])
{
	return or_errno(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret));
}

int platform_accept(int listen_fd, bool nonblocking)
{
	return or_errno(
		accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0)));
}

int platform_peer_uid(int fd, uid_t *ret)
{
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = cred.uid;
	return 0;
}

int platform_socket_path(const char *dir, const char *name, char *path, size_t size, int *ret_dir_fd)
{
	*ret_dir_fd = -1;
	if (strlen(dir) + strlen(name) + 2 <= size) {
		(void)snprintf(path, size, "%s/%s", dir, name);
		return 0;
	}
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)snprintf(path, size, "/proc/self/fd/%d/%s", fd, name);
	*ret_dir_fd = fd;
	return 0;
}

int platform_event_create(void)
{
	return or_errno(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

void platform_event_set(int fd)
{
	static const uint64_t one = 1;
	int saved = errno;

	/* Only fails when it is readable already, for 2^64 calls. */
	(void)!write(fd, &one, sizeof(one));
	errno = saved;
}

/* ---- files ---------------------------------------------------------------------------------- */

int platform_sync_data(int fd)
{
	return or_errno(fdatasync(fd));
}

int platform_reserve(int fd, uint64_t bytes)
{
	return -posix_fallocate(fd, 0, (off_t)bytes);
}

int platform_allocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	return or_errno(fallocate(fd, mode, (off_t)offset, (off_t)length));
}

int platform_rename_new(const char *from, const char *to)
{
	return or_errno(renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE));
}

unsigned platform_rename_flags(unsigned flags)
{
	return flags;
}

int platform_watch_create(void)
{
	return or_errno(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
}

int platform_watch_add(int fd, const char *dir)
{
	const uint32_t what = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
			      IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR;
	int r = or_errno(inotify_add_watch(fd, dir, what));

	return r < 0 ? r : 0;
}

void platform_watch_drain(int fd)
{
	_Alignas(struct inotify_event) char events[4096];

	while (read(fd, events, sizeof(events)) > 0)
		;
}

bool platform_is_remote(const char *dir)
{
	static const unsigned long remote[] = {
		NFS_SUPER_MAGIC,  FUSE_SUPER_MAGIC, SMB_SUPER_MAGIC, CIFS_SUPER_MAGIC,
		SMB2_SUPER_MAGIC, V9FS_MAGIC,	    AFS_SUPER_MAGIC, AFS_FS_MAGIC,
		CODA_SUPER_MAGIC, CEPH_SUPER_MAGIC,
	};
	struct statfs fs;

	if (statfs(dir, &fs) < 0)
		return true;
	for (size_t i = 0; i < countof(remote); i++) {
		if (((unsigned long)fs.f_type & 0xffffffff) == remote[i])
			return true;
	}
	return false;
}

/* ---- mounts --------------------------------------------------------------------------------- */

bool platform_is_fuse(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		unsigned v = 0;

		if (s[0] == '\\' && sscanf(s + 1, "%3o", &v) == 1) {
			*to++ = (char)v;
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* What the table of mounts says of the topmost one exactly there: its device "0:45", and whether it is a Blaze. */
static bool find_mount(const char *path, char device[static 32], bool *ret_is_blaze)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	AUTO(free_ptr) char *line = NULL;
	size_t cap = 0;
	bool found = false;

	/* "36 35 98:0 / /mnt rw,noatime shared:1 - fuse.blaze work rw": the last match is on top. */
	while (f && getline(&line, &cap, f) > 0) {
		const char *type = strstr(line, " - ");
		char *save = NULL;
		char *field[5] = {type ? strtok_r(line, " ", &save) : NULL};

		for (size_t i = 1; field[i - 1] && i < countof(field); i++)
			field[i] = strtok_r(NULL, " ", &save);
		if (!field[4])
			continue;
		unescape(field[4]);
		if (strcmp(field[4], path) != 0)
			continue;
		found = true;
		(void)snprintf(device, 32, "%s", field[2]);
		*ret_is_blaze = strncmp(type + 3, MOUNT_TYPE " ", sizeof(MOUNT_TYPE)) == 0;
	}
	if (f)
		(void)fclose(f);
	return found;
}

bool platform_is_blaze(const char *path)
{
	char device[32];
	bool is_blaze = false;

	return find_mount(path, device, &is_blaze) && is_blaze;
}

int platform_connection_open(const char *mountpoint, struct platform_connection *ret)
{
	bool is_blaze = false;

	*ret = (struct platform_connection){.mountpoint = mountpoint, .control = -1};
	if (!find_mount(mountpoint, ret->device, &is_blaze) || !is_blaze)
		return -ENOENT;
	const char *minor = strchr(ret->device, ':');
	AUTO(free_ptr)
	char *path = xasprintf("/sys/fs/fuse/connections/%s/abort", minor ? minor + 1 : "");
	/* Open from now on: a number is given to another mount, a file that is open is not. */
	ret->control = open(path, O_WRONLY | O_CLOEXEC);
	return ret->control >= 0 || geteuid() == 0 ? 0 : -ENOTSUP;
}

void platform_connection_abort(const struct platform_connection *c)
{
	char device[32];
	bool is_blaze = false;

	if (c->control >= 0) {
		(void)!write(c->control, "1", 1);
		return;
	}
	/* Open, so that it is busy: unmounting by force then aborts, and leaves the mount in its place. */
	AUTO(close_fd)
	int busy = open(c->mountpoint, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (busy >= 0 && find_mount(c->mountpoint, device, &is_blaze) && is_blaze &&
	    strcmp(device, c->device) == 0)
		(void)umount2(c->mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW);
}

bool platform_is_dead(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

int platform_unmount(const char *path, bool lazy)
{
	if (geteuid() != 0)
		return -EPERM;
	return or_errno(umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)));
}

const char *platform_unmount_helper(void)
{
	return "fusermount3";
}

const char *platform_no_fuse(void)
{
	return access("/dev/fuse", F_OK) < 0
		       ? "this system has no /dev/fuse; load it with: modprobe fuse"
		       : NULL;
}

int platform_enter_namespace(const char *ns)
{
	AUTO(free_ptr)
	char *path =
		ns[strspn(ns, "0123456789")] == 0 ? xasprintf("/proc/%s/ns/mnt", ns) : xstrdup(ns);
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return or_errno(fd < 0 ? fd : setns(fd, CLONE_NEWNS));
}

/* ---- processes and threads ------------------------------------------------------------------ */

void platform_process(pid_t id, pid_t *ret_process, pid_t *ret_parent)
{
	AUTO(free_ptr) char *path = xasprintf("/proc/%d/status", (int)id);
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[1024];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	*ret_process = id;
	*ret_parent = 0;
	if (n <= 0)
		return;
	text[n] = 0;
	const char *process = strstr(text, "\nTgid:");
	const char *parent = strstr(text, "\nPPid:");
	if (!process || !parent)
		return;
	*ret_process = (pid_t)strtol(process + strlen("\nTgid:"), NULL, 10);
	*ret_parent = (pid_t)strtol(parent + strlen("\nPPid:"), NULL, 10);
}

/* The value of a line of /proc/PID/status that begins with `field`, in place. NULL if there is none. */
static char *status_field(char *status, const char *field)
{
	char *at = strstr(status, field);

	if (!at)
		return NULL;
	at += strlen(field);
	at += strspn(at, " \t");
	return at;
}

static ssize_t read_small(const char *path, char *ret, size_t size)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	ret[n > 0 ? n : 0] = 0;
	return n;
}

int platform_program_name(pid_t pid, char *ret, size_t size)
{
	char path[64];
	char status[1024];

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (read_small(path, status, sizeof(status)) <= 0)
		return -ESRCH;
	const char *group = status_field(status, "\nTgid:");
	if (group && strtol(group, NULL, 10) != pid) {
		(void)snprintf(path, sizeof(path), "/proc/%ld/status", strtol(group, NULL, 10));
		if (read_small(path, status, sizeof(status)) <= 0)
			return -ESRCH;
	}
	char *name = status_field(status, "Name:");
	if (!name)
		return -ESRCH;
	name[strcspn(name, "\n")] = 0;
	(void)snprintf(ret, size, "%s", name);
	return 0;
}

void platform_close_from(int fd)
{
#if HAVE_CLOSE_RANGE
	(void)close_range((unsigned)fd, ~0u, 0);
#else
	for (long n = sysconf(_SC_OPEN_MAX); fd < n; fd++)
		(void)close(fd);
#endif
}

void platform_follow_parent(const char *name)
{
	(void)prctl(PR_SET_NAME, name);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* A process whose main thread has ended is called a zombie, whatever its other threads do. */
static bool is_ending(pid_t process)
{
	AUTO(free_ptr) char *path = xasprintf("/proc/%d/stat", (int)process);
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[256];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return true;
	text[n] = 0;
	const char *name_end = strrchr(text, ')');
	return name_end && strchr("ZX", name_end[1] ? name_end[2] : 0);
}

bool platform_outlive(const char *name, pid_t parent)
{
	/* The signal comes a moment before the state changes. */
	static const struct timespec moment = {.tv_nsec = 10000000};
	sigset_t set;

	(void)prctl(PR_SET_NAME, name);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGUSR1) < 0)
		return false;
	while (getppid() == parent && !is_ending(parent)) {
		if (sigwaitinfo(&set, NULL) < 0)
			continue;
		for (int i = 0; i < 100 && !is_ending(parent); i++)
			(void)sigtimedwait(&set, NULL, &moment);
	}
	return true;
}

void platform_hide_memory(void)
{
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void platform_reset_getopt(void)
{
	optind = 0;
}

int platform_cond_init(struct cond *c)
{
	pthread_condattr_t attr;
	int r = pthread_condattr_init(&attr);

	if (r)
		return r;
	r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (r == 0)
		r = pthread_cond_init(&c->c, &attr);
	(void)pthread_condattr_destroy(&attr);
	return r;
}

int platform_cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_ms)
{
	struct timespec at = {
		.tv_sec = (time_t)(deadline_ms / 1000),
		.tv_nsec = (long)(deadline_ms % 1000) * 1000000,
	};

	return pthread_cond_timedwait(&c->c, &m->m, &at);
}

void platform_name_thread(const struct thread *t, const char *name)
{
	(void)pthread_setname_np(t->t, name);
}

/* Without the library: one datagram. */
void platform_tell_systemd(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t n = path ? strlen(path) : 0;

	if (n == 0 || n >= sizeof(address.sun_path) || !strchr("/@", path[0]))
		return;
	memcpy(address.sun_path, path, n);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	AUTO(close_fd) int fd = platform_socket(AF_UNIX, SOCK_DGRAM, false);
	if (fd >= 0)
		(void)sendto(fd, text, strlen(text), PLATFORM_SEND_FLAGS,
			     (struct sockaddr *)&address,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

/*
 * jemalloc's, where the program is linked with it: a thread of its own gives back what was not used again for half a
 * second, whichever thread had it. Few arenas, for our threads hand memory to each other all the time.
 */
extern int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len)
	__attribute__((weak));
extern const char *malloc_conf;
const char *malloc_conf = "dirty_decay_ms:500,muzzy_decay_ms:0,narenas:2";

void platform_return_memory(void)
{
	bool yes = true;

	if (mallctl)
		(void)mallctl("background_thread", NULL, NULL, &yes, sizeof(yes));
}

void platform_trim_memory(void)
{
	if (mallctl) /* 4096: MALLCTL_ARENAS_ALL */
		(void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
	else
		(void)malloc_trim(0);
}
