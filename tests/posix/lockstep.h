/*
 * The same random operations on two directories, one after the other, compared after each: what a call
 * returned, its errno, what it delivered, and what stat says afterwards of everything it could have changed.
 *
 * lockstep.c drives and compares, lockstep_pick.c chooses arguments, lockstep_run.c makes the calls,
 * lockstep_tree.c compares whole trees.
 */
#ifndef TESTS_POSIX_LOCKSTEP_H
#define TESTS_POSIX_LOCKSTEP_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#define SIDES 2
#define SLOTS 12
#define PATH_BYTES 1200
#define DATA_BYTES 16384
#define OUT_BYTES 70000

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/** One of the two directories, with what is open in it. */
struct side {
	const char *label;
	int root;
	int fds[SLOTS]; /**< -1 = free; the same slots are open on both sides */
};

/** What an operation may use; says which files are compared afterwards. */
enum uses {
	USES_PATH = 1,
	USES_OTHER_PATH = 2,
	USES_FD = 4,
	USES_OTHER_FD = 8,
	FREES_FD = 16,
	SETS_TIMES = 32, /**< exactly: both sides have to show the same atime and mtime */
};

/** An operation with all its arguments; which of them count depends on the kind. */
struct op {
	const struct op_kind *kind;
	unsigned who; /**< index into the identities */
	mode_t umask;
	char path[2][PATH_BYTES];
	unsigned slot[2];
	int flags;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	off_t offset[2];
	size_t length;
	unsigned fill; /**< the bytes to write are made from it */
	int whence;
	struct timespec times[2];
	char name[300]; /**< of an extended attribute */
};

/** What came of it on one side. */
struct outcome {
	long ret;
	int err;
	size_t len;
	unsigned char bytes[OUT_BYTES]; /**< read, listed, ... */
};

struct op_kind {
	const char *name;
	unsigned weight;
	unsigned uses;
	long (*run)(const struct op *o, struct side *s, struct outcome *out);
	void (*pick)(struct op *o); /**< after everything was chosen at random; may be NULL */
};

struct options {
	uint64_t seed;
	unsigned long count;
	bool links; /**< hard links too */
	bool xattrs;
	bool verbose;
	bool no_open; /**< the mount is told of no opens: truncate(2) to nothing looks like one with O_TRUNC */
};

extern struct options options;
extern struct side sides[SIDES];

/* lockstep_run.c */
extern const struct op_kind op_kinds[];
extern const size_t op_kind_count;
/** As one of several users and groups; 0 is root. Dies if it cannot. */
void run_become(unsigned who);
size_t run_identities(void);

/* lockstep_pick.c */
void pick_seed(uint64_t seed);
uint64_t pick_number(uint64_t below);
bool pick_chance(unsigned percent);
void pick_op(struct op *o);
/** Something was made at this path: it will be used again. */
void pick_remember(const char *path);
void pick_rename(struct op *o);
void pick_open(struct op *o);
void pick_node(struct op *o);
void pick_dir_mode(struct op *o);
void pick_xattr(struct op *o);
void pick_times(struct op *o);
void pick_chown(struct op *o);
void pick_fallocate(struct op *o);
void pick_lock(struct op *o);

/* lockstep_tree.c */
/** True if both show the same; else says on standard error what differs. */
bool tree_equal(void);
/** Whether two files look the same, times apart. */
bool tree_same_stat(const struct stat *a, const struct stat *b);

#endif
