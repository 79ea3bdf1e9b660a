/*
 * Runs a program and stops it, with all its children, between reading a file and saving it.
 *
 *   between NAME COMMAND...	when somebody has read the file of this name, and before the next system call that
 *				writes anywhere (an open to write, a rename, link, unlink or truncate), prints
 *				"between" and goes on at the next line of standard input. COMMAND has neither.
 *
 * Exits as COMMAND does; with 200 if the moment never came.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

#define OPTIONS                                                                                   \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | \
	 PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)
#define TASKS_MAX 256
#define FDS_MAX 64

static const char *name;
static bool was_read;
static bool done;

/* Descriptors of the file: (process, number), forgotten by nobody, for numbers are only looked at when read. */
static struct {
	pid_t pid;
	int fd;
} open_fds[FDS_MAX];
static unsigned fd_count;

/* Tasks whose system call in progress opens the file. */
static pid_t opening[TASKS_MAX];

static void set_opening(pid_t pid, bool on)
{
	for (unsigned i = 0; i < TASKS_MAX; i++) {
		if (opening[i] == (on ? 0 : pid)) {
			opening[i] = on ? pid : 0;
			return;
		}
	}
}

static bool is_opening(pid_t pid)
{
	for (unsigned i = 0; i < TASKS_MAX; i++) {
		if (opening[i] == pid)
			return true;
	}
	return false;
}

static bool is_named(pid_t pid, uint64_t address)
{
	char path[4096];
	struct iovec to = {path, sizeof(path)};
	size_t n = 0;

	/* Page by page: what follows the string may not be there. */
	while (n < sizeof(path)) {
		size_t page = 4096 - (address + n) % 4096;
		struct iovec from = {(void *)(uintptr_t)(address + n),
				     page < sizeof(path) - n ? page : sizeof(path) - n};
		to = (struct iovec){path + n, from.iov_len};
		ssize_t got = process_vm_readv(pid, &to, 1, &from, 1, 0);
		if (got <= 0)
			return false;
		if (memchr(path + n, 0, (size_t)got)) {
			const char *slash = strrchr(path, '/');
			return strcmp(slash ? slash + 1 : path, name) == 0;
		}
		n += (size_t)got;
	}
	return false;
}

static bool reads(pid_t pid, int fd)
{
	for (unsigned i = 0; i < fd_count; i++) {
		if (open_fds[i].fd == fd && open_fds[i].pid == pid)
			return true;
	}
	return false;
}

/* Whether a system call about to begin writes. */
static bool saves(const struct ptrace_syscall_info *s)
{
	const unsigned modify = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;

	switch (s->entry.nr) {
#ifdef SYS_open /* newer systems only have the calls with a directory */
	case SYS_open:
		return s->entry.args[1] & modify;
	case SYS_creat:
	case SYS_rename:
	case SYS_unlink:
	case SYS_link:
		return true;
#endif
	case SYS_openat:
		return s->entry.args[2] & modify;
	case SYS_renameat:
	case SYS_renameat2:
	case SYS_unlinkat:
	case SYS_linkat:
	case SYS_truncate:
	case SYS_ftruncate:
		return true;
	default:
		return false;
	}
}

static void entered(pid_t pid, const struct ptrace_syscall_info *s)
{
	const __u64 *args = s->entry.args;
	char line[16];

	if (saves(s)) {
		if (was_read && !done) {
			done = true;
			(void)printf("between\n");
			(void)fflush(stdout);
			(void)!fgets(line, sizeof(line), stdin);
		}
		return;
	}
	switch (s->entry.nr) {
#ifdef SYS_open
	case SYS_open:
		if (is_named(pid, args[0]))
			set_opening(pid, true);
		break;
#endif
	case SYS_openat:
		if (is_named(pid, args[1]))
			set_opening(pid, true);
		break;
	case SYS_read:
	case SYS_pread64:
	case SYS_readv:
	case SYS_copy_file_range:
		was_read = was_read || reads(pid, (int)args[0]);
		break;
	case SYS_sendfile:
		was_read = was_read || reads(pid, (int)args[1]);
		break;
	case SYS_mmap:
		was_read = was_read || reads(pid, (int)args[4]);
		break;
	default:
		break;
	}
}

static void left(pid_t pid, const struct ptrace_syscall_info *s)
{
	if (!is_opening(pid))
		return;
	set_opening(pid, false);
	if (s->exit.rval >= 0 && fd_count < FDS_MAX) {
		open_fds[fd_count].pid = pid;
		open_fds[fd_count++].fd = (int)s->exit.rval;
	}
}

/* One stop of one task; what signal it is to get. */
static int stopped(pid_t pid, int status)
{
	struct ptrace_syscall_info s;
	int signal = WSTOPSIG(status);

	if (signal == (SIGTRAP | 0x80)) {
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(s), &s) <= 0)
			return 0;
		if (s.op == PTRACE_SYSCALL_INFO_ENTRY)
			entered(pid, &s);
		else if (s.op == PTRACE_SYSCALL_INFO_EXIT)
			left(pid, &s);
		return 0;
	}
	if (status >> 16) /* an event */
		return 0;
	return signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	name = argv[1];
	pid_t child = fork();
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);

		(void)dup2(null, 0);
		(void)dup2(2, 1);
		(void)ptrace(PTRACE_TRACEME, 0, 0, 0);
		(void)raise(SIGSTOP);
		(void)execvp(argv[2], argv + 2);
		_exit(127);
	}
	int status = 0;
	int result = 1;
	assert(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	assert(ptrace(PTRACE_SETOPTIONS, child, 0, OPTIONS) == 0);
	(void)ptrace(PTRACE_SYSCALL, child, 0, 0);
	for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
		if (WIFSTOPPED(status)) {
			int signal = stopped(pid, status);

			(void)ptrace(PTRACE_SYSCALL, pid, 0, signal);
		} else if (pid == child) {
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		}
	}
	return result == 0 && !done ? 200 : result;
}
