/*
 * lockstep [-s SEED] [-n COUNT] [-l] [-o] [-v] DIRECTORY REFERENCE: does COUNT random operations on both empty
 * directories, and exits with 1 at the first difference, with the operations that led to it.
 * -l: hard links too; -o: for a mount with noopen; -v: every operation. Needs root, for it acts as several users.
 *
 * Not compared: the size of directories, atime but where it was set, where holes are, inode numbers.
 */
#include "tests/posix/lockstep.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define TAIL 40
#define TREE_EVERY 4000
#define MODE_EVERY 200

struct options options = {.seed = 1, .count = 10000};
struct side sides[SIDES];

/** What stat says of a file an operation could change. */
struct seen {
	int err;
	struct stat st;
};

enum watched {
	WATCH_LINK,
	WATCH_TARGET,
	WATCH_PARENT,
	WATCH_OTHER_LINK,
	WATCH_OTHER_PARENT,
	WATCH_FD,
	WATCH_OTHER_FD,
	WATCHES
};

static const char *const watch_names[] = {
	"the path",	      "what the path leads to", "its directory",
	"the other path",     "the other directory",	"the open file",
	"the other open file"};

struct view {
	struct seen seen[WATCHES];
};

static char tail[TAIL][2 * PATH_BYTES + 400];
static struct op op;
static struct outcome outcomes[SIDES];
static struct view before[SIDES];
static struct view after[SIDES];
static struct timespec tick[SIDES]; /**< the kernel's coarse time just before the operation */

static void enter(int side)
{
	if (fchdir(sides[side].root) == 0)
		return;
	perror("fchdir");
	exit(3);
}

/* ---- looking ------------------------------------------------------------------------------------ */

static void look_at(struct seen *seen, const char *path, int flags)
{
	seen->err = fstatat(AT_FDCWD, path, &seen->st, flags) < 0 ? errno : 0;
}

static void look_at_parent(struct seen *seen, const char *path)
{
	char parent[PATH_BYTES];
	const char *slash = strrchr(path, '/');

	(void)snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) : 1,
		       slash ? path : ".");
	look_at(seen, parent, 0);
}

static void look_at_fd(struct seen *seen, int fd)
{
	seen->err = fstat(fd, &seen->st) < 0 ? errno : 0;
}

static void look(int side, struct view *v)
{
	unsigned uses = op.kind->uses;

	memset(v, 0, sizeof(*v));
	if (uses & USES_PATH) {
		look_at(&v->seen[WATCH_LINK], op.path[0], AT_SYMLINK_NOFOLLOW);
		look_at(&v->seen[WATCH_TARGET], op.path[0], 0);
		look_at_parent(&v->seen[WATCH_PARENT], op.path[0]);
	}
	if (uses & USES_OTHER_PATH) {
		look_at(&v->seen[WATCH_OTHER_LINK], op.path[1], AT_SYMLINK_NOFOLLOW);
		look_at_parent(&v->seen[WATCH_OTHER_PARENT], op.path[1]);
	}
	if (uses & USES_FD)
		look_at_fd(&v->seen[WATCH_FD], sides[side].fds[op.slot[0]]);
	if (uses & USES_OTHER_FD)
		look_at_fd(&v->seen[WATCH_OTHER_FD], sides[side].fds[op.slot[1]]);
}

/* ---- comparing ---------------------------------------------------------------------------------- */

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

enum fate {
	FATE_MODIFIED = 1,
	FATE_CHANGED = 2,
	FATE_REPLACED = 4,
	FATE_MODIFIED_UNKNOWN = 8,
	FATE_CHANGED_UNKNOWN = 16
};

/** A time that is kept may have been set to what it was, within one tick of the clock. */
static int time_fate(struct timespec was, struct timespec is, struct timespec now, int changed)
{
	bool recent =
		was.tv_sec > now.tv_sec || (was.tv_sec == now.tv_sec && was.tv_nsec >= now.tv_nsec);

	return !same_time(was, is) ? changed : recent ? changed * 8 : 0;
}

/** What happened to a file. */
static int fate(int side, int watched)
{
	const struct seen *was = &before[side].seen[watched];
	const struct seen *is = &after[side].seen[watched];

	if (was->err || is->err || was->st.st_ino == 0)
		return 0;
	if (was->st.st_ino != is->st.st_ino)
		return FATE_REPLACED;
	/* A pipe, or what a device leads to, is the kernel's own affair. */
	if (!S_ISREG(is->st.st_mode) && !S_ISDIR(is->st.st_mode) && (op.kind->uses & USES_FD))
		return 0;
	return time_fate(was->st.st_mtim, is->st.st_mtim, tick[side], FATE_MODIFIED) |
	       time_fate(was->st.st_ctim, is->st.st_ctim, tick[side], FATE_CHANGED);
}

static bool same_fate(int a, int b)
{
	int unknown = (a | b) / 8;

	return (a & ~unknown & 7) == (b & ~unknown & 7);
}

static bool say(int watched, const char *what)
{
	(void)fprintf(stderr, "\ndifference in %s: %s\n", watch_names[watched], what);
	return false;
}

static void say_stat(const char *label, const struct seen *s)
{
	if (s->err)
		(void)fprintf(stderr, "  %-9s %s\n", label, strerror(s->err));
	else
		(void)fprintf(stderr,
			      "  %-9s mode %o, links %lu, owner %u:%u, size %ld, device %lx\n",
			      label, s->st.st_mode, (unsigned long)s->st.st_nlink, s->st.st_uid,
			      s->st.st_gid, (long)s->st.st_size, (unsigned long)s->st.st_rdev);
}

static bool same_seen(int watched)
{
	const struct seen *a = &after[0].seen[watched];
	const struct seen *b = &after[1].seen[watched];

	if (a->err != b->err || (a->err == 0 && !tree_same_stat(&a->st, &b->st))) {
		(void)say(watched, "attributes");
		say_stat(sides[0].label, a);
		say_stat(sides[1].label, b);
		return false;
	}
	int fates[SIDES];
	for (int s = 0; s < SIDES; s++)
		fates[s] = fate(s, watched);
	if (same_fate(fates[0], fates[1]))
		return true;
	(void)say(watched, "what happened to it");
	for (int s = 0; s < SIDES; s++)
		(void)fprintf(stderr, "  %-9s %s mtime %s, ctime %s\n", sides[s].label,
			      fates[s] & FATE_REPLACED ? "another file," : "",
			      fates[s] & FATE_MODIFIED ? "changed" : "kept",
			      fates[s] & FATE_CHANGED ? "changed" : "kept");
	return false;
}

static bool is_exact(const struct timespec *t)
{
	return t->tv_nsec != UTIME_NOW && t->tv_nsec != UTIME_OMIT;
}

static bool same_set_times(void)
{
	int watched = op.kind->uses & USES_FD	       ? WATCH_FD
		      : op.flags & AT_SYMLINK_NOFOLLOW ? WATCH_LINK
						       : WATCH_TARGET;
	const struct stat *a = &after[0].seen[watched].st;
	const struct stat *b = &after[1].seen[watched].st;

	if (outcomes[0].ret < 0 || after[0].seen[watched].err ||
	    (!(op.kind->uses & USES_FD) && op.fill % 8 == 0))
		return true;
	if ((is_exact(&op.times[0]) && !same_time(a->st_atim, b->st_atim)) ||
	    (is_exact(&op.times[1]) && !same_time(a->st_mtim, b->st_mtim)))
		return say(watched, "times that were set");
	return true;
}

static bool same_outcome(void)
{
	const struct outcome *a = &outcomes[0];
	const struct outcome *b = &outcomes[1];

	if (a->ret != b->ret || (a->ret < 0 && a->err != b->err) || a->len != b->len) {
		(void)fprintf(stderr, "\ndifferent results\n");
		return false;
	}
	for (size_t i = 0; i < a->len; i++) {
		if (a->bytes[i] != b->bytes[i]) {
			(void)fprintf(stderr, "\ndifferent bytes from %zu of %zu on: %02x %02x\n",
				      i, a->len, a->bytes[i], b->bytes[i]);
			return false;
		}
	}
	return true;
}

static bool same_everything(void)
{
	if (!same_outcome())
		return false;
	for (int w = 0; w < WATCHES; w++) {
		if (!same_seen(w))
			return false;
	}
	return !(op.kind->uses & SETS_TIMES) || same_set_times();
}

/* ---- doing -------------------------------------------------------------------------------------- */

static void describe(unsigned long number)
{
	char *line = tail[number % TAIL];
	size_t room = sizeof(tail[0]);
	unsigned uses = op.kind->uses;
	int n = snprintf(line, room, "%lu: user %u umask %o %s", number, op.who, op.umask,
			 op.kind->name);

	if (uses & USES_PATH)
		n += snprintf(line + n, room - (size_t)n, " '%s'", op.path[0]);
	if (uses & USES_OTHER_PATH)
		n += snprintf(line + n, room - (size_t)n, " '%s'", op.path[1]);
	if (uses & (USES_FD | FREES_FD))
		n += snprintf(line + n, room - (size_t)n, " #%u", op.slot[0]);
	if (uses & USES_OTHER_FD)
		n += snprintf(line + n, room - (size_t)n, " #%u", op.slot[1]);
	n += snprintf(
		line + n, room - (size_t)n,
		" flags %o mode %o at %ld,%ld length %zu owner %d:%d fill %u times %ld.%ld %ld.%ld %.30s",
		op.flags, op.mode, (long)op.offset[0], (long)op.offset[1], op.length, (int)op.uid,
		(int)op.gid, op.fill, (long)op.times[0].tv_sec, op.times[0].tv_nsec,
		(long)op.times[1].tv_sec, op.times[1].tv_nsec, op.name);
	for (int s = 0; s < SIDES; s++)
		n += snprintf(line + n, room - (size_t)n, "\n    %-9s %ld %s", sides[s].label,
			      outcomes[s].ret, outcomes[s].ret < 0 ? strerror(outcomes[s].err) : "");
	if (options.verbose)
		(void)fprintf(stderr, "%s\n", line);
}

static void perform(int side)
{
	struct outcome *out = &outcomes[side];

	enter(side);
	look(side, &before[side]);
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &tick[side]);
	out->len = 0;
	(void)umask(op.umask);
	run_become(op.who);
	errno = 0;
	out->ret = op.kind->run(&op, &sides[side], out);
	out->err = errno;
	run_become(0);
	(void)umask(0);
	look(side, &after[side]);
}

static bool possible(void)
{
	bool open = sides[0].fds[op.slot[0]] >= 0;

	if (op.kind->uses & USES_FD && !open)
		return false;
	if ((op.kind->uses & (USES_FD | FREES_FD)) == FREES_FD && open)
		return false;
	if (op.kind->uses & USES_OTHER_FD && sides[0].fds[op.slot[1]] < 0)
		return false;
	if (!options.links && strcmp(op.kind->name, "link") == 0)
		return false;
	return options.xattrs || !strstr(op.kind->name, "xattr");
}

static bool step(unsigned long number)
{
	if (number % MODE_EVERY == 0) {
		for (int s = 0; s < SIDES; s++)
			(void)fchmod(sides[s].root, 0777);
	}
	do
		pick_op(&op);
	while (!possible());
	for (int s = 0; s < SIDES; s++)
		perform(s);
	describe(number);
	if (!same_everything())
		return false;
	if (outcomes[0].ret == 0 && op.kind->uses & USES_OTHER_PATH)
		pick_remember(op.path[1]);
	else if (outcomes[0].ret == 0 && op.kind->uses & USES_PATH && !(op.kind->uses & SETS_TIMES))
		pick_remember(op.path[0]);
	return number % TREE_EVERY != TREE_EVERY - 1 || tree_equal();
}

/** count: how many operations were done. */
static int fail(unsigned long count)
{
	unsigned long first = count > TAIL ? count - TAIL : 0;

	(void)fprintf(stderr, "\nThe last operations (lockstep -s %llu -n %lu):\n",
		      (unsigned long long)options.seed, count);
	for (unsigned long n = first; n < count; n++)
		(void)fprintf(stderr, "%s\n", tail[n % TAIL]);
	return 1;
}

/* Whether the reference has user attributes; tmpfs has had them since Linux 6.6. */
static bool has_xattrs(void)
{
	return fsetxattr(sides[1].root, "user.probe", "x", 1, 0) == 0 &&
	       fremovexattr(sides[1].root, "user.probe") == 0;
}

static int usage(void)
{
	(void)fprintf(stderr,
		      "usage: lockstep [-s SEED] [-n COUNT] [-l] [-o] [-v] DIRECTORY REFERENCE\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const char *const labels[] = {"mount", "reference"};

	for (int c; (c = getopt(argc, argv, "s:n:lov")) >= 0;) {
		if (c == 's')
			options.seed = strtoull(optarg, NULL, 10);
		else if (c == 'n')
			options.count = strtoul(optarg, NULL, 10);
		else if (c == 'l')
			options.links = true;
		else if (c == 'o')
			options.no_open = true;
		else if (c == 'v')
			options.verbose = true;
		else
			return usage();
	}
	if (argc - optind != SIDES)
		return usage();
	for (int s = 0; s < SIDES; s++) {
		sides[s].label = labels[s];
		sides[s].root = open(argv[optind + s], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		memset(sides[s].fds, 0xff, sizeof(sides[s].fds));
		if (sides[s].root < 0) {
			perror(argv[optind + s]);
			return 2;
		}
	}
	(void)signal(SIGPIPE, SIG_IGN);
	options.xattrs = has_xattrs();
	pick_seed(options.seed);
	for (unsigned long n = 0; n < options.count; n++) {
		if (!step(n))
			return fail(n + 1);
	}
	if (!tree_equal())
		return fail(options.count);
	(void)printf("%lu operations, seed %llu: no difference%s\n", options.count,
		     (unsigned long long)options.seed,
		     options.xattrs ? "" : " (without extended attributes)");
	return 0;
}
