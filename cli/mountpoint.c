/* Mountpoints. What is mounted is asked of the kernel, which knows even when a mount does not answer. */
#include "cli/mountpoint.h"

#include "core/bytes.h"
#include "core/platform.h"

#include <dirent.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* One dead mount may hide another. */
#define DEAD_MAX 8

extern char **environ; /* NOLINT(readability-redundant-declaration): POSIX leaves it to us */

char *mountpoint_absolute(const char *dir)
{
	AUTO(free_ptr) char *copy = xstrdup(dir);
	size_t n = strlen(copy);

	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = 0;
	char *slash = strrchr(copy, '/');
	const char *base = slash ? slash + 1 : copy;
	struct stat st;

	if (!base[0] || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return realpath(dir, NULL);
	if (lstat(copy, &st) == 0 && S_ISLNK(st.st_mode))
		return realpath(dir, NULL);
	if (slash == copy)
		return xstrdup(copy);
	if (slash)
		*slash = 0;
	AUTO(free_ptr) char *parent = realpath(slash ? copy : ".", NULL);
	if (!parent)
		return NULL;
	return xasprintf("%s/%s", strcmp(parent, "/") == 0 ? "" : parent, base);
}

static bool is_empty(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e = NULL;
	bool empty = true;

	while (d && empty && (e = readdir(d)))
		empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	if (d)
		(void)closedir(d);
	return empty;
}

int mountpoint_prepare(const char *dir, bool nonempty, bool *ret_was_dead, struct why *why)
{
	struct stat st;

	*ret_was_dead = false;
	for (int i = 0; i < DEAD_MAX && platform_is_dead(dir); i++) {
		AUTO(free_ptr) char *path = mountpoint_absolute(dir);
		struct why reason = {""};

		if (!path || !platform_is_blaze(path) || mountpoint_unmount(path, true, &reason) < 0)
			return why_set(
				why, -ENOTCONN,
				"the process behind what is mounted at %s has died: unmount it with "
				"fusermount3 -uz %s",
				dir, dir);
		*ret_was_dead = true;
	}
	if (stat(dir, &st) < 0 && errno == ENOENT)
		return why_set(why, -ENOENT, "%s does not exist: create it with mkdir %s", dir, dir);
	if (stat(dir, &st) < 0)
		return why_set(why, -errno, "cannot mount on %s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return why_set(why, -ENOTDIR, "%s is not a directory: mount on an empty directory",
			       dir);
	AUTO(free_ptr) char *path = mountpoint_absolute(dir);
	if (path && platform_is_blaze(path))
		return why_set(why, -EBUSY,
			       "%s is a mounted database already: unmount it with blaze umount %s",
			       dir, dir);
	if (!nonempty && !is_empty(dir))
		return why_set(
			why, -ENOTEMPTY,
			"%s is not empty, its files would be hidden: use an empty directory, or "
			"-o nonempty",
			dir);
	return 0;
}

static int run_helper(const char *helper, const char *dir, bool lazy, struct why *why)
{
	static char unmount[] = "-u", quiet[] = "-q", detach[] = "-z", end[] = "--";
	AUTO(free_ptr) char *name = xstrdup(helper);
	AUTO(free_ptr) char *path = xstrdup(dir);
	char *argv[7] = {name, unmount, quiet};
	size_t n = 3;
	pid_t pid = 0;
	int status = 0;

	if (lazy)
		argv[n++] = detach;
	argv[n++] = end;
	argv[n] = path;
	int r = posix_spawnp(&pid, name, NULL, NULL, argv, environ);
	if (r)
		return why_set(why, -r, "cannot run %s: %s: install the package fuse3", name,
			       strerror(r));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
		/* again */
	}
	/* It says why in prose only; nearly always a program works in there. */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int mountpoint_unmount(const char *dir, bool lazy, struct why *why)
{
	const char *helper = platform_unmount_helper();
	int r = platform_unmount(dir, lazy);

	if (r == -EPERM && helper)
		r = run_helper(helper, dir, lazy, why);
	if (r == -EBUSY)
		return why_set(
			why, -EBUSY,
			"%s is in use: close what is open in it (fuser -vm %s), then try again",
			dir, dir);
	if (r < 0 && !why->text[0])
		return why_set(why, r, "cannot unmount %s: %s", dir, strerror(-r));
	return r;
}
