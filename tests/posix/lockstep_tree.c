/* Compares the two trees as a whole: names, attributes, contents, targets, extended attributes. */
#include "tests/posix/lockstep.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

bool tree_same_stat(const struct stat *a, const struct stat *b)
{
	bool sized = S_ISREG(a->st_mode) || S_ISLNK(a->st_mode);
	bool device = S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode);

	return a->st_mode == b->st_mode && a->st_nlink == b->st_nlink && a->st_uid == b->st_uid &&
	       a->st_gid == b->st_gid && (!sized || a->st_size == b->st_size) &&
	       (!device || a->st_rdev == b->st_rdev);
}

static bool differ(const char *path, const char *what)
{
	(void)fprintf(stderr, "tree: %s: %s\n", path, what);
	return false;
}

static bool enter(int side)
{
	return fchdir(sides[side].root) == 0;
}

static long content(int side, const char *path, unsigned char **ret)
{
	struct stat st;
	int fd = enter(side) ? open(path, O_RDONLY | O_NOFOLLOW | O_NOATIME) : -1;
	long n = -1;

	*ret = NULL;
	if (fd >= 0 && fstat(fd, &st) == 0) {
		*ret = malloc((size_t)st.st_size + 1);
		n = *ret ? read(fd, *ret, (size_t)st.st_size + 1) : -1;
	}
	if (fd >= 0)
		(void)close(fd);
	return n;
}

static bool same_content(const char *path)
{
	unsigned char *bytes[SIDES];
	long n[SIDES];

	for (int s = 0; s < SIDES; s++)
		n[s] = content(s, path, &bytes[s]);
	bool same = n[0] >= 0 && n[0] == n[1] && memcmp(bytes[0], bytes[1], (size_t)n[0]) == 0;
	free(bytes[0]);
	free(bytes[1]);
	return same;
}

static bool same_target(const char *path)
{
	char targets[SIDES][PATH_BYTES * 4];
	ssize_t n[SIDES];

	for (int s = 0; s < SIDES; s++)
		n[s] = enter(s) ? readlink(path, targets[s], sizeof(targets[s])) : -1;
	return n[0] > 0 && n[0] == n[1] && memcmp(targets[0], targets[1], (size_t)n[0]) == 0;
}

static bool same_attributes(const char *path)
{
	char lists[SIDES][4096];
	char value[SIDES][OUT_BYTES];
	ssize_t n[SIDES];

	for (int s = 0; s < SIDES; s++)
		n[s] = enter(s) ? llistxattr(path, lists[s], sizeof(lists[s])) : -1;
	if (n[0] != n[1])
		return false;
	for (ssize_t at = 0; at < n[0]; at += (ssize_t)strlen(lists[0] + at) + 1) {
		ssize_t len[SIDES];

		for (int s = 0; s < SIDES; s++)
			len[s] = enter(s) ? lgetxattr(path, lists[0] + at, value[s], OUT_BYTES) : -1;
		if (len[0] != len[1] ||
		    (len[0] > 0 && memcmp(value[0], value[1], (size_t)len[0]) != 0))
			return false;
	}
	return true;
}

static bool same_file(const char *path, const struct stat st[SIDES])
{
	if (!tree_same_stat(&st[0], &st[1])) {
		(void)fprintf(
			stderr,
			"tree: %s: mode %o %o, links %lu %lu, owner %u:%u %u:%u, size %ld %ld\n",
			path, st[0].st_mode, st[1].st_mode, (unsigned long)st[0].st_nlink,
			(unsigned long)st[1].st_nlink, st[0].st_uid, st[0].st_gid, st[1].st_uid,
			st[1].st_gid, (long)st[0].st_size, (long)st[1].st_size);
		return false;
	}
	if (S_ISREG(st[0].st_mode) && !same_content(path))
		return differ(path, "content");
	if (S_ISLNK(st[0].st_mode) && !same_target(path))
		return differ(path, "target");
	return !options.xattrs || same_attributes(path) ? true : differ(path, "extended attributes");
}

static int list(int side, const char *path, struct dirent ***ret)
{
	return enter(side) ? scandir(path, ret, NULL, alphasort) : -1;
}

static bool same_below(const char *path);

static bool same_entry(const char *dir, const char *name)
{
	char path[8192];
	struct stat st[SIDES];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (int s = 0; s < SIDES; s++) {
		if (!enter(s) || fstatat(AT_FDCWD, path, &st[s], AT_SYMLINK_NOFOLLOW) < 0)
			return strlen(path) >= 4096 || differ(path, strerror(errno));
	}
	return same_file(path, st) && (!S_ISDIR(st[0].st_mode) || same_below(path));
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool same_below(const char *path)
{
	struct dirent **lists[SIDES] = {NULL, NULL};
	int n[SIDES];
	bool same = true;

	for (int s = 0; s < SIDES; s++)
		n[s] = list(s, path, &lists[s]);
	if (n[0] < 0 || n[0] != n[1])
		same = differ(path, "number of entries");
	for (int i = 0; same && i < n[0]; i++) {
		const struct dirent *a = lists[0][i];
		const struct dirent *b = lists[1][i];

		if (strcmp(a->d_name, b->d_name) != 0 || a->d_type != b->d_type)
			same = differ(path, "names");
		else if (!is_dot(a->d_name))
			same = same_entry(path, a->d_name);
	}
	for (int s = 0; s < SIDES; s++) {
		for (int i = 0; i < n[s]; i++)
			free(lists[s][i]);
		free(lists[s]);
	}
	return same;
}

bool tree_equal(void)
{
	return same_below(".");
}
