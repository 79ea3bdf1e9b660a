/* The operations: each is one system call on one side. The current directory is the side's root. */
#include "tests/posix/lockstep.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct {
	uid_t uid;
	gid_t gid;
	gid_t other; /**< a further group; 0 = none */
} identities[] = {{0, 0, 0}, {1000, 2000, 0}, {1001, 2001, 2000}, {1002, 2002, 2001}};

size_t run_identities(void)
{
	return COUNT(identities);
}

static void must(int r, const char *what)
{
	if (r == 0)
		return;
	perror(what);
	exit(3);
}

void run_become(unsigned who)
{
	static unsigned now;

	if (who == now)
		return;
	must(seteuid(0), "seteuid");
	must(setgroups(identities[who].other ? 1 : 0, &identities[who].other), "setgroups");
	must(setegid(identities[who].gid), "setegid");
	must(seteuid(identities[who].uid), "seteuid");
	now = who;
}

static int fd_of(const struct op *o, const struct side *s, int which)
{
	return s->fds[o->slot[which]];
}

static const void *bytes_of(const struct op *o)
{
	static unsigned char bytes[DATA_BYTES];

	for (size_t i = 0; i < o->length; i++)
		bytes[i] = (unsigned char)(o->fill + i * 7 + (i >> 8));
	return bytes;
}

static long delivered(struct outcome *out, long n)
{
	out->len = n > 0 ? (size_t)n : 0;
	return n;
}

/* ---- open files --------------------------------------------------------------------------------- */

static long run_open(const struct op *o, struct side *s, struct outcome *out)
{
	int fd = open(o->path[0], o->flags, o->mode);

	(void)out;
	s->fds[o->slot[0]] = fd;
	return fd < 0 ? -1 : 0;
}

static long run_close(const struct op *o, struct side *s, struct outcome *out)
{
	int fd = fd_of(o, s, 0);

	(void)out;
	s->fds[o->slot[0]] = -1;
	return close(fd);
}

static long run_read(const struct op *o, struct side *s, struct outcome *out)
{
	return delivered(out, read(fd_of(o, s, 0), out->bytes, o->length));
}

static long run_pread(const struct op *o, struct side *s, struct outcome *out)
{
	return delivered(out, pread(fd_of(o, s, 0), out->bytes, o->length, o->offset[0]));
}

static long run_write(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return write(fd_of(o, s, 0), bytes_of(o), o->length);
}

static long run_pwrite(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return pwrite(fd_of(o, s, 0), bytes_of(o), o->length, o->offset[0]);
}

static long run_lseek(const struct op *o, struct side *s, struct outcome *out)
{
	struct stat st;

	(void)out;
	if (fstat(fd_of(o, s, 0), &st) == 0 &&
	    S_ISDIR(st.st_mode)) /* in units of the file system's own */
		return 0;
	return lseek(fd_of(o, s, 0), o->offset[0], (int)(o->fill % 3));
}

/* Where holes are is for each file system to say; only what all of them have to say is compared. */
static long run_seek_data(const struct op *o, struct side *s, struct outcome *out)
{
	int fd = fd_of(o, s, 0);
	struct stat st;
	off_t was = lseek(fd, 0, SEEK_CUR);

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	off_t data = lseek(fd, o->offset[0], SEEK_DATA);
	int data_err = errno;
	off_t hole = lseek(fd, o->offset[0], SEEK_HOLE);
	long ret = hole;
	if (hole >= 0)
		ret = hole >= o->offset[0] && hole <= st.st_size &&
				      (data >= o->offset[0] || data_err == ENXIO)
			      ? 0
			      : 1;
	out->err = errno;
	(void)lseek(fd, was, SEEK_SET);
	errno = out->err;
	return ret;
}

static long run_ftruncate(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return ftruncate(fd_of(o, s, 0), o->offset[0]);
}

static long run_fallocate(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return fallocate(fd_of(o, s, 0), o->flags, o->offset[0], (off_t)o->length);
}

static long run_copy_range(const struct op *o, struct side *s, struct outcome *out)
{
	off_t from = o->offset[0];
	off_t to = o->offset[1];
	bool here = o->fill & 1; /* at the files' own positions */

	(void)out;
	return copy_file_range(fd_of(o, s, 0), here ? NULL : &from, fd_of(o, s, 1),
			       here ? NULL : &to, o->length, 0);
}

static long run_fstat(const struct op *o, struct side *s, struct outcome *out)
{
	struct stat st;

	(void)out;
	return fstat(fd_of(o, s, 0), &st);
}

static long run_fsync(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return o->fill & 1 ? fsync(fd_of(o, s, 0)) : fdatasync(fd_of(o, s, 0));
}

static long run_append_flag(const struct op *o, struct side *s, struct outcome *out)
{
	int fd = fd_of(o, s, 0);
	int flags = fcntl(fd, F_GETFL);

	(void)out;
	return fcntl(fd, F_SETFL, flags ^ O_APPEND);
}

static long run_lock(const struct op *o, struct side *s, struct outcome *out)
{
	struct flock lock = {.l_type = (short)o->flags,
			     .l_whence = SEEK_SET,
			     .l_start = o->offset[0],
			     .l_len = (off_t)o->length};

	(void)out;
	if (o->whence)
		return flock(fd_of(o, s, 0), o->flags);
	return fcntl(fd_of(o, s, 0), o->fill & 1 ? F_OFD_SETLK : F_SETLK, &lock);
}

static long run_fchmod(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return fchmod(fd_of(o, s, 0), o->mode);
}

static long run_fchown(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return fchown(fd_of(o, s, 0), o->uid, o->gid);
}

static long run_futimens(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return futimens(fd_of(o, s, 0), o->times);
}

static long run_fsetxattr(const struct op *o, struct side *s, struct outcome *out)
{
	(void)out;
	return fsetxattr(fd_of(o, s, 0), o->name, bytes_of(o), o->length, o->flags);
}

static long run_fgetxattr(const struct op *o, struct side *s, struct outcome *out)
{
	return delivered(out, fgetxattr(fd_of(o, s, 0), o->name, out->bytes, OUT_BYTES));
}

/* ---- names -------------------------------------------------------------------------------------- */

static long run_mkdir(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return mkdir(o->path[0], o->mode);
}

static long run_mknod(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return mknod(o->path[0], o->mode, makedev(1, 3));
}

static long run_unlink(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return unlink(o->path[0]);
}

static long run_rmdir(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return rmdir(o->path[0]);
}

static long run_rename(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return renameat2(AT_FDCWD, o->path[0], AT_FDCWD, o->path[1], (unsigned)o->flags);
}

static long run_link(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return linkat(AT_FDCWD, o->path[0], AT_FDCWD, o->path[1],
		      o->fill % 4 == 0 ? AT_SYMLINK_FOLLOW : 0);
}

/* Never up: what is outside belongs to others. */
static long run_symlink(const struct op *o, struct side *s, struct outcome *out)
{
	char target[5000];
	const char *name = strrchr(o->path[0], '/');

	(void)s;
	(void)out;
	(void)snprintf(target, sizeof(target), "%s", name ? name + 1 : o->path[0]);
	if (o->fill % 40 == 0)
		memset(target, 't', o->fill & 1024 ? 4095 : 4096);
	target[o->fill & 1024 ? 4095 : 4096] = 0;
	if (o->fill % 40 == 1)
		target[0] = 0;
	if (o->fill % 40 == 2)
		(void)snprintf(target, sizeof(target), "/nowhere/at/all");
	if (target[0] == '.' && (!target[1] || strcmp(target, "..") == 0))
		target[0] = 'c';
	return symlink(target, o->path[1]);
}

static long run_readlink(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	return delivered(out, readlink(o->path[0], (char *)out->bytes, 1 + o->length));
}

static long run_truncate(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return truncate(o->path[0], options.no_open && !o->offset[0] ? 1 : o->offset[0]);
}

static long run_chmod(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return chmod(o->path[0], o->mode);
}

static long run_chown(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return fchownat(AT_FDCWD, o->path[0], o->uid, o->gid, o->flags);
}

static long run_utimens(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return utimensat(AT_FDCWD, o->path[0], o->fill % 8 ? o->times : NULL, o->flags);
}

static long run_access(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return faccessat(AT_FDCWD, o->path[0], (int)(o->fill % 8), o->fill & 8 ? AT_EACCESS : 0);
}

static long run_stat(const struct op *o, struct side *s, struct outcome *out)
{
	struct stat st;

	(void)s;
	(void)out;
	return o->fill & 1 ? stat(o->path[0], &st) : lstat(o->path[0], &st);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts `count` texts into out, each with its end. */
static void deliver_sorted(struct outcome *out, char **texts, size_t count)
{
	qsort(texts, count, sizeof(*texts), by_text);
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(texts[i]) + 1;

		if (out->len + n <= OUT_BYTES)
			memcpy(out->bytes + out->len, texts[i], n);
		out->len += out->len + n <= OUT_BYTES ? n : 0;
	}
}

static long run_list(const struct op *o, struct side *s, struct outcome *out)
{
	char *texts[512];
	size_t count = 0;
	DIR *d = opendir(o->path[0]);

	(void)s;
	if (!d)
		return -1;
	for (const struct dirent *e; (e = readdir(d)) && count < COUNT(texts);) {
		if (asprintf(&texts[count], "%s %d", e->d_name, e->d_type) > 0)
			count++;
	}
	(void)closedir(d);
	deliver_sorted(out, texts, count);
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	return 0;
}

/* ---- extended attributes ------------------------------------------------------------------------ */

static long run_setxattr(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return (o->fill & 1 ? setxattr : lsetxattr)(o->path[0], o->name, bytes_of(o), o->length,
						    o->flags);
}

static long run_getxattr(const struct op *o, struct side *s, struct outcome *out)
{
	size_t room = o->fill % 3 == 0 ? o->length : o->fill % 3 == 1 ? 0 : OUT_BYTES;
	long n = getxattr(o->path[0], o->name, out->bytes, room);

	(void)s;
	if (room)
		(void)delivered(out, n);
	return n;
}

static long run_removexattr(const struct op *o, struct side *s, struct outcome *out)
{
	(void)s;
	(void)out;
	return removexattr(o->path[0], o->name);
}

static long run_listxattr(const struct op *o, struct side *s, struct outcome *out)
{
	char list[4096];
	char *texts[64];
	size_t count = 0;
	long n = (o->fill & 1 ? listxattr : llistxattr)(
		o->path[0], list, o->fill % 3 ? sizeof(list) : o->length % 20);

	(void)s;
	for (long at = 0;
	     n > 0 && (o->fill % 3 || o->length % 20) && at < n && count < COUNT(texts);) {
		texts[count++] = list + at;
		at += (long)strlen(list + at) + 1;
	}
	deliver_sorted(out, texts, count);
	return n;
}

const struct op_kind op_kinds[] = {
	{"open", 150, USES_PATH | FREES_FD, run_open, pick_open},
	{"close", 90, USES_FD | FREES_FD, run_close, NULL},
	{"read", 30, USES_FD, run_read, NULL},
	{"pread", 30, USES_FD, run_pread, NULL},
	{"write", 60, USES_FD, run_write, NULL},
	{"pwrite", 50, USES_FD, run_pwrite, NULL},
	{"lseek", 20, USES_FD, run_lseek, NULL},
	{"seek_data", 10, USES_FD, run_seek_data, NULL},
	{"ftruncate", 20, USES_FD, run_ftruncate, NULL},
	{"fallocate", 20, USES_FD, run_fallocate, pick_fallocate},
	{"copy_file_range", 30, USES_FD | USES_OTHER_FD, run_copy_range, NULL},
	{"fstat", 5, USES_FD, run_fstat, NULL},
	{"fsync", 3, USES_FD, run_fsync, NULL},
	{"append_flag", 10, USES_FD, run_append_flag, NULL},
	{"lock", 15, USES_FD, run_lock, pick_lock},
	{"fchmod", 10, USES_FD, run_fchmod, NULL},
	{"fchown", 10, USES_FD, run_fchown, pick_chown},
	{"futimens", 10, USES_FD | SETS_TIMES, run_futimens, pick_times},
	{"fsetxattr", 8, USES_FD, run_fsetxattr, pick_xattr},
	{"fgetxattr", 5, USES_FD, run_fgetxattr, pick_xattr},
	{"mkdir", 70, USES_PATH, run_mkdir, pick_dir_mode},
	{"mknod", 20, USES_PATH, run_mknod, pick_node},
	{"unlink", 50, USES_PATH, run_unlink, NULL},
	{"rmdir", 25, USES_PATH, run_rmdir, NULL},
	{"rename", 80, USES_PATH | USES_OTHER_PATH, run_rename, pick_rename},
	{"link", 40, USES_PATH | USES_OTHER_PATH, run_link, NULL},
	{"symlink", 15, USES_OTHER_PATH, run_symlink, NULL},
	{"readlink", 10, USES_PATH, run_readlink, NULL},
	{"truncate", 15, USES_PATH, run_truncate, NULL},
	{"chmod", 30, USES_PATH, run_chmod, NULL},
	{"chown", 25, USES_PATH, run_chown, pick_chown},
	{"utimensat", 25, USES_PATH | SETS_TIMES, run_utimens, pick_times},
	{"access", 20, USES_PATH, run_access, NULL},
	{"stat", 5, USES_PATH, run_stat, NULL},
	{"readdir", 15, USES_PATH, run_list, NULL},
	{"setxattr", 25, USES_PATH, run_setxattr, pick_xattr},
	{"getxattr", 20, USES_PATH, run_getxattr, pick_xattr},
	{"removexattr", 10, USES_PATH, run_removexattr, pick_xattr},
	{"listxattr", 10, USES_PATH, run_listxattr, NULL},
};
const size_t op_kind_count = COUNT(op_kinds);
