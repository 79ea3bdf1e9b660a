/* The guard of a mount, and its end of the wire. */
#include "fs/guard.h"

#include "core/platform.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static ssize_t hear(int fd, char *ret, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, ret, size, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

static _Noreturn void be_guard(int fd, pid_t daemon)
{
	char mountpoint[PATH_MAX];
	struct platform_connection c;

	(void)setsid();
	(void)signal(SIGTERM, SIG_IGN);
	(void)!chdir("/");
	/* Everything else belongs to the daemon: a pipe held open here would keep somebody waiting. */
	if (dup2(fd, STDIN_FILENO) < 0)
		_exit(1);
	platform_close_from(STDOUT_FILENO);
	/* A daemon that ends before it has mounted anything leaves the wire closed. */
	if (hear(STDIN_FILENO, mountpoint, sizeof(mountpoint)) <= 0)
		_exit(0);
	int r = platform_connection_open(mountpoint, &c);
	if (platform_outlive("blaze-guard", daemon) && r == 0)
		platform_connection_abort(&c);
	_exit(0);
}

int guard_spawn(struct guard *ret, struct why *why)
{
	int pair[2];
	pid_t self = getpid();
	int r = platform_socketpair(SOCK_SEQPACKET, pair);

	*ret = (struct guard){.socket = -1};
	if (r < 0)
		return why_set(why, r, "cannot start the guard: %s", strerror(-r));
	pid_t pid = fork();
	if (pid == 0)
		be_guard(pair[1], self);
	r = pid < 0 ? -errno : 0;
	(void)close(pair[1]);
	if (r < 0) {
		(void)close(pair[0]);
		return why_set(why, r, "cannot start the guard: %s", strerror(-r));
	}
	*ret = (struct guard){.pid = pid, .socket = pair[0]};
	return 0;
}

void guard_watch(struct guard *g, const char *mountpoint)
{
	if (g->pid > 0)
		(void)send(g->socket, mountpoint, strlen(mountpoint) + 1, PLATFORM_SEND_FLAGS);
}

void guard_reap(struct guard *g)
{
	if (g->pid <= 0)
		return;
	(void)kill(g->pid, SIGKILL);
	(void)waitpid(g->pid, NULL, 0);
	close_fd(&g->socket);
	*g = (struct guard){.socket = -1};
}
