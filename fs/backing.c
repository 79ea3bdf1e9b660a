/* Files beside the store: names, opening, whole reads and writes, making them durable. */
#include "fs/backing.h"

#include "core/platform.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** How much is read or written at once when content moves as a whole. */
#define IO_BYTES_MAX (1u << 30)

/* DIR/files, its directory for this inode, or the file in it. */
enum part {
	PART_ALL,
	PART_GROUP,
	PART_FILE
};

static char *path_of(const struct backing_name *n, enum part part)
{
	if (part == PART_ALL)
		return xasprintf("%s/files", n->dir);
	if (part == PART_GROUP)
		return xasprintf("%s/files/%02x", n->dir, (unsigned)(n->ino & 0xff));
	return xasprintf("%s/files/%02x/%016" PRIx64 "-%016" PRIx64, n->dir,
			 (unsigned)(n->ino & 0xff), n->ino, n->number);
}

static int open_file(const struct backing_name *name, int flags, struct backing **ret)
{
	AUTO(free_ptr) char *path = path_of(name, PART_FILE);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);

	if (fd < 0)
		return -errno;
	*ret = xcalloc(1, sizeof(**ret));
	**ret = (struct backing){.name = *name, .fd = fd, .refs = 1, .fresh = true};
	return 0;
}

int backing_create(const struct backing_name *name, struct backing **ret)
{
	int r = open_file(name, O_CREAT | O_TRUNC, ret);

	if (r != -ENOENT)
		return r;
	AUTO(free_ptr) char *all = path_of(name, PART_ALL);
	AUTO(free_ptr) char *group = path_of(name, PART_GROUP);
	if (mkdir(all, 0700) != 0 && errno != EEXIST)
		return -errno;
	if (mkdir(group, 0700) != 0 && errno != EEXIST)
		return -errno;
	return open_file(name, O_CREAT | O_TRUNC, ret);
}

int backing_open(const struct backing_name *name, struct backing **ret)
{
	return open_file(name, 0, ret);
}

int backing_stat(const struct backing_name *name, struct stat *ret)
{
	AUTO(free_ptr) char *path = path_of(name, PART_FILE);

	return lstat(path, ret) == 0 ? 0 : -errno;
}

void backing_unlink(const struct backing_name *name)
{
	AUTO(free_ptr) char *path = path_of(name, PART_FILE);

	(void)unlink(path);
}

int backing_unref(struct backing *b)
{
	assert(b->refs > 0);
	if (--b->refs > 0)
		return -1;
	int fd = b->fd;
	free(b);
	return fd;
}

int backing_write(const struct backing *b, uint64_t offset, struct slice data)
{
	size_t done = 0;

	while (done < data.len) {
		size_t left = data.len - done;
		ssize_t n =
			pwrite(b->fd, data.data + done, left < IO_BYTES_MAX ? left : IO_BYTES_MAX,
			       (off_t)(offset + done));

		if (n == 0 || (n < 0 && errno != EINTR))
			return n == 0 ? -EIO : -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int backing_read(const struct backing *b, uint64_t offset, size_t size, struct buf *ret)
{
	uint8_t *to = buf_reserve(ret, size);
	size_t done = 0;

	while (done < size) {
		size_t left = size - done;
		ssize_t n = pread(b->fd, to + done, left < IO_BYTES_MAX ? left : IO_BYTES_MAX,
				  (off_t)(offset + done));

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	ret->len += done;
	return 0;
}

/* For file systems that punch holes, but do not zero ranges. */
static int zero_range(const struct backing *b, int mode, uint64_t offset, uint64_t length)
{
	struct stat st;

	int r = platform_allocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);

	if (r < 0)
		return r;
	if (fstat(b->fd, &st) != 0)
		return -errno;
	bool grows = !(mode & FALLOC_FL_KEEP_SIZE) && (uint64_t)st.st_size < offset + length;
	return grows && ftruncate(b->fd, (off_t)(offset + length)) != 0 ? -errno : 0;
}

int backing_allocate(const struct backing *b, int mode, uint64_t offset, uint64_t length)
{
	int r = platform_allocate(b->fd, mode, offset, length);

	return r == -EOPNOTSUPP && (mode & FALLOC_FL_ZERO_RANGE)
		       ? zero_range(b, mode, offset, length)
		       : r;
}

static int sync_directory(const char *path)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

int backing_sync(const struct backing *b, bool with_name)
{
	AUTO(free_ptr) char *all = path_of(&b->name, PART_ALL);
	AUTO(free_ptr) char *group = path_of(&b->name, PART_GROUP);

	int r = platform_sync_data(b->fd);
	if (r == 0 && with_name)
		r = sync_directory(group);
	if (r == 0 && with_name)
		r = sync_directory(all);
	return r == 0 && with_name ? sync_directory(b->name.dir) : r;
}

static bool list_group(const struct backing_name *group,
		       bool (*fn)(void *ctx, const struct backing_name *name), void *ctx)
{
	AUTO(free_ptr) char *path = path_of(group, PART_GROUP);
	DIR *d = opendir(path);
	const struct dirent *e = NULL;
	bool more = true;

	while (d && more && (e = readdir(d))) {
		struct backing_name n = {.dir = group->dir};
		int end = 0;

		if (sscanf(e->d_name, "%16" SCNx64 "-%16" SCNx64 "%n", &n.ino, &n.number, &end) == 2 &&
		    e->d_name[end] == 0)
			more = fn(ctx, &n);
	}
	if (d)
		(void)closedir(d);
	return more;
}

void backing_list(const char *dir, bool (*fn)(void *ctx, const struct backing_name *name), void *ctx)
{
	struct backing_name group = {.dir = dir};

	while (group.ino < 256 && list_group(&group, fn, ctx))
		group.ino++;
}
