/*
 * The system calls on a folder: each may take for ever, so each says when it begins and ends. Links are not followed: what
 * another device or a provider put into the folder leads nowhere else.
 */
#include "core/platform.h"
#include "net/folder_i.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What somebody else's program may put into a directory. */
#define ENTRIES_MAX 1000000

static char *full(const struct folder *f, const char *path)
{
	return path[0] ? xasprintf("%s/%s", f->path, path) : xstrdup(f->path);
}

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

void folder_io_free(struct folder_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(entries[i].name);
	free(entries);
}

static bool add_entry(DIR *d, const char *name, struct folder_entry **entries, size_t count)
{
	struct stat st;

	if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return false;
	*entries = xreallocarray(*entries, count + 1, sizeof(**entries));
	(*entries)[count] = (struct folder_entry){.name = xstrdup(name),
						  .is_dir = S_ISDIR(st.st_mode),
						  .size = (uint64_t)st.st_size,
						  .mtime_ns = mtime_ns(&st)};
	return true;
}

static int list(const char *path, struct folder_entry **ret, size_t *ret_count)
{
	struct folder_entry *entries = NULL;
	size_t count = 0;
	DIR *d = opendir(path);
	int r = d ? 0 : -errno;

	while (d) {
		errno = 0;
		const struct dirent *e = readdir(d);
		if (!e) {
			r = -errno;
			break;
		}
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    count < ENTRIES_MAX)
			count += add_entry(d, e->d_name, &entries, count);
	}
	if (d)
		(void)closedir(d);
	if (r < 0) {
		folder_io_free(entries, count);
		return r;
	}
	*ret = entries;
	*ret_count = count;
	return 0;
}

int folder_io_list(struct folder *f, const char *dir, struct folder_entry **ret, size_t *ret_count)
{
	AUTO(free_ptr) char *path = full(f, dir);

	folder_call_begin(f);
	int r = list(path, ret, ret_count);
	folder_call_end(f);
	return r;
}

static int read_part(const char *path, uint64_t offset, size_t len, struct buf *ret)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (offset >= (uint64_t)st.st_size)
		return 0;
	if (len > (uint64_t)st.st_size - offset)
		len = (size_t)((uint64_t)st.st_size - offset);
	(void)buf_reserve(ret, len);
	while (ret->len < len) {
		ssize_t n =
			pread(fd, ret->data + ret->len, len - ret->len, (off_t)(offset + ret->len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		ret->len += (size_t)n;
	}
	return 0;
}

int folder_io_read(struct folder *f, const char *path, uint64_t offset, size_t len, struct buf *ret)
{
	AUTO(free_ptr) char *all = full(f, path);

	buf_clear(ret);
	folder_call_begin(f);
	int r = read_part(all, offset, len, ret);
	folder_call_end(f);
	f->down_bytes += ret->len;
	return r;
}

/* File systems that cannot sync a directory say so. */
static int sync_dir(const char *path)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP && errno != ENOSYS &&
			       errno != EBADF
		       ? -errno
		       : 0;
}

/* Others may read what is made there if they may read the folder, whatever this process' umask is: nothing in it is readable. */
static mode_t mode_of(const struct folder *f, mode_t most)
{
	struct stat st;

	return stat(f->path, &st) < 0 ? most & 0700 : st.st_mode & most;
}

static int write_file(const char *path, struct slice content, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int r = fd < 0 ? -errno : 0;
	size_t done = 0;

	if (fd >= 0)
		(void)fchmod(fd, mode); /* some file systems have none */

	while (r == 0 && done < content.len) {
		ssize_t n = write(fd, content.data + done, content.len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			r = n == 0 ? -ENOSPC : -errno;
	}
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	/* NFS tells of a full disk here. */
	if (fd >= 0 && close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

static int place(const struct folder *f, const char *dir, const char *name, struct slice content)
{
	mode_t mode = mode_of(f, 0666) | 0600;
	AUTO(free_ptr) char *to = xasprintf("%s/%s", dir, name);
	AUTO(free_ptr)
	char *beside = xasprintf("%s/.~%.*s.tmp", dir, (int)strcspn(name, "."), name);
	int r = write_file(beside, content, mode);

	if (r == -EEXIST) { /* of a process that was killed */
		(void)unlink(beside);
		r = write_file(beside, content, mode);
	}
	if (r == 0 && rename(beside, to) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(beside);
	return r < 0 ? r : sync_dir(dir);
}

int folder_io_write(struct folder *f, const char *dir, const char *name, struct slice content)
{
	AUTO(free_ptr) char *all = full(f, dir);

	folder_call_begin(f);
	int r = place(f, all, name, content);
	folder_call_end(f);
	if (r == 0)
		f->up_bytes += content.len;
	return r;
}

int folder_io_unlink(struct folder *f, const char *path)
{
	AUTO(free_ptr) char *all = full(f, path);

	folder_call_begin(f);
	int r = unlink(all) < 0 ? -errno : 0;
	folder_call_end(f);
	return r;
}

static int is_dir(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int make_dirs(const struct folder *f, char *path)
{
	int r = is_dir(f->path);
	mode_t mode = mode_of(f, 0777) | 0700;

	for (char *slash = path + strlen(f->path); r == 0 && slash;) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = 0;
		if (mkdir(path, mode) == 0)
			(void)chmod(path, mode);
		else if (errno != EEXIST)
			r = -errno;
		if (slash)
			*slash = '/';
	}
	return r == 0 ? is_dir(path) : r;
}

int folder_io_mkdir(struct folder *f, const char *dir)
{
	AUTO(free_ptr) char *path = full(f, dir);

	folder_call_begin(f);
	int r = make_dirs(f, path);
	folder_call_end(f);
	return r;
}

int folder_io_is_dir(struct folder *f, const char *dir)
{
	AUTO(free_ptr) char *path = full(f, dir);

	folder_call_begin(f);
	int r = is_dir(path);
	folder_call_end(f);
	return r;
}

void folder_io_watch(struct folder *f, const char *dir)
{
	AUTO(free_ptr) char *path = full(f, dir);

	if (f->watch < 0)
		return;
	folder_call_begin(f);
	int r = platform_watch_add(f->watch, path);
	folder_call_end(f);
	/* Too many watches on this machine: it is listed again and again. */
	if (r < 0 && r != -ENOENT)
		close_fd(&f->watch);
}

bool folder_io_is_remote(struct folder *f)
{
	folder_call_begin(f);
	bool remote = platform_is_remote(f->path);
	folder_call_end(f);
	return remote;
}

int folder_resolve(const char *path, char **ret, struct why *why)
{
	AUTO(free_ptr) char *real = realpath(path, NULL);
	AUTO(buf_fini) struct buf shown = {0};

	buf_json_string(&shown, SLICE_STR(path));
	if (!real)
		return why_set(why, -errno, "folder:%s: %s: make the directory first",
			       buf_str(&shown), strerror(errno));
	int r = is_dir(real);
	if (r < 0)
		return why_set(why, r, "folder:%s is no directory", buf_str(&shown));
	if (strlen(real) >= FOLDER_PATH_BYTES_MAX || strchr(real, '\n'))
		return why_set(why, -EINVAL, "folder:%s: choose a shorter path without line breaks",
			       buf_str(&shown));
	if (access(real, R_OK | X_OK) < 0)
		return why_set(why, -errno, "folder:%s cannot be read: %s", buf_str(&shown),
			       strerror(errno));
	*ret = STEAL(real);
	return 0;
}
