/*
 * Stands in for macOS, so that Linux can compile and link core/platform_darwin.c and see that nothing else
 * leans on Linux (cmake --preset darwin). Included before every source, without _GNU_SOURCE.
 *
 * It declares what that file uses of macOS, and forbids what glibc declares and macOS lacks.
 */
#ifndef BLAZE_TESTS_DARWIN_SHIM_H
#define BLAZE_TESTS_DARWIN_SHIM_H

/* Whatever declares the forbidden names has to be read before they are forbidden. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENOATTR 93
#define SEEK_HOLE 3
#define SEEK_DATA 4
#define SO_NOSIGPIPE 0x1022

#define F_FULLFSYNC 51
#define F_PREALLOCATE 42
#define F_ALLOCATEALL 4
#define F_PEOFPOSMODE 3

typedef struct fstore {
	unsigned fst_flags;
	int fst_posmode;
	off_t fst_offset;
	off_t fst_length;
	off_t fst_bytesalloc;
} fstore_t;

#define RENAME_SWAP 2u
#define RENAME_EXCL 4u

int renamex_np(const char *from, const char *to, unsigned flags);
int getpeereid(int fd, uid_t *uid, gid_t *gid);
int pthread_cond_timedwait_relative_np(pthread_cond_t *c, pthread_mutex_t *m,
				       const struct timespec *in);
extern int optreset;

/* With _DARWIN_C_SOURCE macOS has these; glibc only with _GNU_SOURCE. */
int vasprintf(char **ret, const char *format, va_list args);
char *strcasestr(const char *haystack, const char *needle);
void *memmem(const void *haystack, size_t n, const void *needle, size_t m);

#undef SOCK_CLOEXEC
#undef SOCK_NONBLOCK
#undef MSG_NOSIGNAL
#undef HOST_NAME_MAX
#pragma GCC poison accept4 pipe2 O_PATH O_TMPFILE fdatasync
#pragma GCC poison posix_fallocate renameat2 gettid tgkill setresuid setresgid
#pragma GCC poison pthread_setname_np pthread_condattr_setclock
#pragma GCC poison secure_getenv qsort_r ppoll sigtimedwait

#endif
