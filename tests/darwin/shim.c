/* What the linker asks for. The program that results is not meant to be run. */
#include <libproc.h>
#include <stdlib.h>
#include <sys/event.h>
#include <sys/mount.h>
#include <sys/ptrace.h>

int optreset;

int renamex_np(const char *from, const char *to, unsigned flags)
{
	(void)from;
	(void)to;
	(void)flags;
	abort();
}

int proc_name(int pid, void *ret, uint32_t size)
{
	(void)pid;
	(void)ret;
	(void)size;
	abort();
}

int getpeereid(int fd, uid_t *uid, gid_t *gid)
{
	(void)fd;
	(void)uid;
	(void)gid;
	abort();
}

int pthread_cond_timedwait_relative_np(pthread_cond_t *c, pthread_mutex_t *m,
				       const struct timespec *in)
{
	(void)c;
	(void)m;
	(void)in;
	abort();
}

int kqueue(void)
{
	abort();
}

int kevent(int fd, const struct kevent *changes, int change_count, struct kevent *events,
	   int event_count, const struct timespec *timeout)
{
	(void)fd;
	(void)changes;
	(void)change_count;
	(void)events;
	(void)event_count;
	(void)timeout;
	abort();
}

int statfs(const char *path, struct statfs *ret)
{
	(void)path;
	(void)ret;
	abort();
}

int getmntinfo(struct statfs **ret, int flags)
{
	(void)ret;
	(void)flags;
	abort();
}

int unmount(const char *path, int flags)
{
	(void)path;
	(void)flags;
	abort();
}

int ptrace(int request, pid_t pid, char *address, int data)
{
	(void)request;
	(void)pid;
	(void)address;
	(void)data;
	abort();
}
