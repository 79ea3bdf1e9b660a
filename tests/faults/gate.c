/*
 * Holds back what a program says to the kernel through /dev/fuse: LD_PRELOAD=gate.so GATE_RULE=FILE GATE_LOG=FILE.
 *
 * As long as the first FILE exists, it holds one rule: "reply OPCODE" keeps back the first reply to such a request
 * (FUSE_LOOKUP is 1, and so on, see linux/fuse.h), "notify 0" all notifications. What is kept back goes on when the
 * rule is another. The second FILE gets a line for each thing held, "reply OPCODE" or "notify 0", and one for each
 * notification: "sends CODE" before it is sent, and "sent CODE" when the kernel has done it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define SLOTS 4096

static _Atomic unsigned opcodes[SLOTS]; /* by request */
static atomic_bool held;		/* the rule's first reply is, or was */

struct rule {
	char what[16];
	int opcode;
};

static int rule_read(struct rule *rule)
{
	const char *file = getenv("GATE_RULE");
	char text[64] = "";
	long fd = file ? syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0) : -1;
	long n = 0;

	if (fd >= 0) {
		n = syscall(SYS_read, fd, text, sizeof(text) - 1);
		(void)syscall(SYS_close, fd);
	}
	int found = n > 0 && sscanf(text, "%15s %d", rule->what, &rule->opcode) == 2;
	if (!found)
		atomic_store(&held, 0);
	return found;
}

static int is_rule(const char *what, int opcode)
{
	struct rule rule;

	return rule_read(&rule) && strcmp(rule.what, what) == 0 && rule.opcode == opcode;
}

static void say(const char *what, int number)
{
	const char *file = getenv("GATE_LOG");
	char text[64];
	int n = snprintf(text, sizeof(text), "%s %d\n", what, number);
	long fd = file ? syscall(SYS_openat, AT_FDCWD, file,
				 O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)
		       : -1;

	if (fd < 0)
		return;
	(void)syscall(SYS_write, fd, text, n);
	(void)syscall(SYS_close, fd);
}

static void hold(const char *what, int opcode)
{
	say(what, opcode);
	while (is_rule(what, opcode))
		(void)poll(NULL, 0, 2);
}

static int is_fuse(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 229);
}

/* The real functions: libfuse ends its workers by pthread_cancel() while they read. */
ssize_t read(int fd, void *data, size_t size)
{
	ssize_t (*real)(int, void *, size_t) =
		(ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
	ssize_t n = real(fd, data, size);
	const struct fuse_in_header *in = data;

	if (n >= (ssize_t)sizeof(*in) && is_fuse(fd))
		atomic_store(&opcodes[in->unique / 2 % SLOTS], in->opcode);
	return n;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	ssize_t (*real)(int, const struct iovec *, int) =
		(ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
	const struct fuse_out_header *out = count ? iov[0].iov_base : NULL;

	if (out && iov[0].iov_len >= sizeof(*out) && is_fuse(fd)) {
		int opcode = out->unique ? (int)atomic_load(&opcodes[out->unique / 2 % SLOTS]) : 0;

		if (!out->unique && is_rule("notify", 0))
			hold("notify", 0);
		else if (out->unique && is_rule("reply", opcode) && !atomic_exchange(&held, 1))
			hold("reply", opcode);
		if (!out->unique)
			say("sends", out->error);
	}
	ssize_t n = real(fd, iov, count);
	if (out && !out->unique && iov[0].iov_len >= sizeof(*out) && is_fuse(fd))
		say("sent", out->error);
	return n;
}
