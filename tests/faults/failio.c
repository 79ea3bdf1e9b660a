/*
 * Makes a program's writes to disk fail while it runs: LD_PRELOAD=failio.so FAILIO_RULE=FILE.
 *
 * As long as FILE exists, it holds one rule, "CALL ERRNO PART", such as "write 5 .log": every CALL (write,
 * pwrite, fsync, fdatasync) on a descriptor whose path contains PART fails with ERRNO; with ERRNO 0 it waits for
 * as long as that is the rule, as on a disk that does not answer. Without FILE all goes through. The rule is read
 * anew at each call, so a test turns the fault on and off at any moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct rule {
	char call[16];
	int error;
	char part[32];
};

/* By system call, so that reading the rule never comes through the functions below. */
static int rule_read(struct rule *rule)
{
	const char *file = getenv("FAILIO_RULE");
	char text[80] = "";
	long fd = file ? syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0) : -1;

	if (fd < 0)
		return 0;
	long n = syscall(SYS_read, fd, text, sizeof(text) - 1);
	(void)syscall(SYS_close, fd);
	return n > 0 && sscanf(text, "%15s %d %31s", rule->call, &rule->error, rule->part) == 3;
}

static int fails(const char *call, int fd)
{
	int before = errno;
	struct rule rule;
	char link[32];
	char path[512];

	if (!rule_read(&rule) || strcmp(rule.call, call) != 0) {
		errno = before;
		return 0;
	}
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	long n = readlink(link, path, sizeof(path) - 1);

	errno = before;
	path[n > 0 ? n : 0] = 0;
	if (!strstr(path, rule.part))
		return 0;
	while (rule.error == 0 && rule_read(&rule) && strcmp(rule.call, call) == 0)
		(void)poll(NULL, 0, 5);
	errno = rule.error ? rule.error : before;
	return rule.error != 0;
}

ssize_t write(int fd, const void *data, size_t len)
{
	return fails("write", fd) ? -1 : syscall(SYS_write, fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	return fails("pwrite", fd) ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
	return fails("pwrite", fd) ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

int fsync(int fd)
{
	return fails("fsync", fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return fails("fdatasync", fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
