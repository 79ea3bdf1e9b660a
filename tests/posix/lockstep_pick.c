/* Chooses the arguments of operations: few names, so that they meet, and the values that programs get wrong. */
#include "tests/posix/lockstep.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define REMEMBERED 48
#define FILE_BYTES 40000

static uint64_t state;
static char remembered[REMEMBERED][PATH_BYTES];

void pick_seed(uint64_t seed)
{
	state = (seed + 1) * 0xd1342543de82ef95u; /* far apart for seeds that are not */
}

/* splitmix64 */
static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t pick_number(uint64_t below)
{
	return next() % below;
}

bool pick_chance(unsigned percent)
{
	return pick_number(100) < percent;
}

/* Records, names that stay on the device, names that look temporary; files and directories share them. */
static const char *const names[] = {"a.json", "b.txt", "c",	   "d",	    "e.json",
				    "x.tmp",  ".git",  "y~",	   "z.swp", "sedXy12Zq",
				    "k.bak",  "u.new", "w-journal"};

static void add_name(char *path, const char *name)
{
	size_t n = strlen(path);

	if (n + strlen(name) + 2 < PATH_BYTES)
		(void)snprintf(path + n, PATH_BYTES - n, "%s%s", n ? "/" : "", name);
}

static void add_long_name(char *path, size_t bytes)
{
	char name[300];

	memset(name, 'n', bytes);
	name[bytes] = 0;
	add_name(path, name);
}

static void add_random_name(char *path)
{
	switch (pick_number(120)) {
	case 0:
		add_long_name(path, 255);
		break;
	case 1:
		add_long_name(path, 256);
		break;
	case 2:
		add_name(path, "..");
		break;
	case 3:
		add_name(path, ".");
		break;
	default:
		add_name(path, names[pick_number(COUNT(names))]);
	}
}

static void pick_path(char *path)
{
	size_t depth = 1 + pick_number(3);

	path[0] = 0;
	if (pick_chance(65)) {
		(void)snprintf(path, PATH_BYTES, "%s", remembered[pick_number(REMEMBERED)]);
		if (pick_chance(75) && path[0])
			return;
		depth = 1;
	}
	while (depth-- > 0)
		add_random_name(path);
	if (pick_chance(1))
		add_name(path, ""); /* a slash at the end */
	if (pick_chance(1) && pick_chance(20))
		path[0] = 0;
}

/* What is outside belongs to others: no more steps up than down. No link leads up, either. */
static void stay_inside(char *path)
{
	int level = 0;

	for (const char *p = path; *p && level >= 0; p += strcspn(p, "/"), p += *p == '/') {
		size_t n = strcspn(p, "/");

		level += n == 2 && p[0] == '.' && p[1] == '.' ? -1
							      : n > 1 || (n == 1 && p[0] != '.');
	}
	if (level < 0)
		(void)snprintf(path, PATH_BYTES, "%s", names[pick_number(COUNT(names))]);
}

void pick_remember(const char *path)
{
	size_t depth = 0;

	for (const char *p = path; *p; p++)
		depth += *p == '/';
	if (*path && depth < 6 && strlen(path) < PATH_BYTES - 600)
		(void)snprintf(remembered[pick_number(REMEMBERED)], PATH_BYTES, "%s", path);
}

static off_t pick_offset(void)
{
	switch (pick_number(20)) {
	case 0:
		return 0;
	case 1:
		return (off_t)(4096 * pick_number(8));
	case 2:
		return (off_t)pick_number(FILE_BYTES);
	case 3:
		return -1;
	default:
		return (off_t)pick_number(600);
	}
}

static const struct op_kind *pick_kind(void)
{
	unsigned sum = 0;

	for (size_t i = 0; i < op_kind_count; i++)
		sum += op_kinds[i].weight;
	uint64_t at = pick_number(sum);
	for (size_t i = 0; i < op_kind_count; i++) {
		if (at < op_kinds[i].weight)
			return &op_kinds[i];
		at -= op_kinds[i].weight;
	}
	return &op_kinds[0];
}

static unsigned pick_slot(bool open)
{
	unsigned slot = (unsigned)pick_number(SLOTS);

	for (unsigned n = 0; n < SLOTS; n++, slot = (slot + 1) % SLOTS) {
		if ((sides[0].fds[slot] >= 0) == open)
			break;
	}
	return slot;
}

static mode_t pick_mode(void)
{
	static const mode_t modes[] = {0644, 0600, 0755, 0777, 0666, 0700,  0444,
				       0,    0111, 0640, 0750, 0222, 02755, 02770};

	return pick_chance(85) ? modes[pick_number(COUNT(modes))] : (mode_t)pick_number(010000);
}

void pick_op(struct op *o)
{
	static const mode_t umasks[] = {022, 0, 077, 027};

	memset(o, 0, sizeof(*o));
	o->kind = pick_kind();
	o->who = pick_chance(70) ? 0 : (unsigned)pick_number(run_identities());
	o->umask = umasks[pick_number(COUNT(umasks))];
	pick_path(o->path[0]);
	pick_path(o->path[1]);
	o->slot[0] = pick_slot(!(o->kind->uses & FREES_FD) || strcmp(o->kind->name, "close") == 0);
	o->slot[1] = pick_slot(true);
	o->mode = pick_mode();
	o->offset[0] = pick_offset();
	o->offset[1] = pick_offset();
	o->length = pick_chance(80) ? pick_number(500) : pick_number(DATA_BYTES);
	o->fill = (unsigned)next();
	o->uid = (uid_t)(pick_chance(30) ? 0 : 1000 + pick_number(3));
	o->gid = (gid_t)(pick_chance(30) ? 0 : 2000 + pick_number(3));
	if (o->kind->pick)
		o->kind->pick(o);
	stay_inside(o->path[0]);
	stay_inside(o->path[1]);
}

void pick_rename(struct op *o)
{
	static const int flags[] = {0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_EXCHANGE,
				    3};

	o->flags = flags[pick_number(COUNT(flags))];
	if (pick_chance(3))
		memcpy(o->path[1], o->path[0], PATH_BYTES);
	else if (pick_chance(5)) { /* into itself */
		memcpy(o->path[1], o->path[0], PATH_BYTES);
		add_random_name(o->path[1]);
	}
}

void pick_open(struct op *o)
{
	static const int extra[] = {O_EXCL, O_TRUNC, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW};

	/* Never waits for the other end of a FIFO. */
	o->flags = (int)pick_number(3) | O_NONBLOCK | O_CLOEXEC;
	if (pick_chance(60))
		o->flags |= O_CREAT;
	for (size_t i = 0; i < COUNT(extra); i++) {
		if (pick_chance(12))
			o->flags |= extra[i];
	}
}

void pick_node(struct op *o)
{
	static const mode_t types[] = {S_IFIFO, S_IFIFO, S_IFSOCK, S_IFSOCK,
				       S_IFREG, S_IFCHR, S_IFDIR};

	o->mode = (o->mode & 07777) | types[pick_number(COUNT(types))];
}

void pick_dir_mode(struct op *o)
{
	o->mode = pick_chance(60) ? 0777 : pick_chance(50) ? 01777 : o->mode;
}

void pick_xattr(struct op *o)
{
	static const char *const attributes[] = {"user.a", "user.b",	"user.long name",
						 "user.",  "trusted.a", "nothing.a"};

	static const int flags[] = {0, 0, 0, XATTR_CREATE, XATTR_REPLACE};

	(void)snprintf(o->name, sizeof(o->name), "%s",
		       attributes[pick_number(pick_chance(90) ? 3 : COUNT(attributes))]);
	if (pick_chance(2)) {
		memset(o->name, 'n', sizeof(o->name) - 1);
		memcpy(o->name, "user.", 5);
		o->name[pick_chance(50) ? 255 : 256] = 0;
	}
	o->flags = flags[pick_number(COUNT(flags))];
	o->length = pick_chance(70) ? pick_number(30) : pick_number(3000);
}

static struct timespec pick_time(void)
{
	static const time_t seconds[] = {0,	     -1,	 1,	      1111111111,
					 4294967296, 2147483648, -2147483649, 9999999999};
	static const long nanos[] = {0, 1, 999999999, 123456789};

	switch (pick_number(8)) {
	case 0:
		return (struct timespec){.tv_nsec = UTIME_NOW};
	case 1:
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	case 2:
		return (struct timespec){.tv_sec = 5, .tv_nsec = 1000000000};
	default:
		return (struct timespec){.tv_sec = seconds[pick_number(COUNT(seconds))],
					 .tv_nsec = nanos[pick_number(COUNT(nanos))]};
	}
}

void pick_times(struct op *o)
{
	o->times[0] = pick_time();
	o->times[1] = pick_time();
	o->flags = pick_chance(30) ? AT_SYMLINK_NOFOLLOW : 0;
}

void pick_chown(struct op *o)
{
	if (pick_chance(30))
		o->uid = (uid_t)-1;
	if (pick_chance(30))
		o->gid = (gid_t)-1;
	/* A change of nothing, of a set-user-id file of somebody else: FUSE does not ask. */
	if (o->uid == (uid_t)-1 && o->gid == (gid_t)-1 && o->who != 0)
		o->uid = 0;
	o->flags = pick_chance(40) ? AT_SYMLINK_NOFOLLOW : 0;
}

void pick_fallocate(struct op *o)
{
	static const int modes[] = {0,
				    FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_PUNCH_HOLE,
				    FALLOC_FL_COLLAPSE_RANGE};

	o->flags = modes[pick_number(COUNT(modes))];
}

void pick_lock(struct op *o)
{
	static const int whole[] = {LOCK_SH, LOCK_EX, LOCK_UN};
	static const int parts[] = {F_RDLCK, F_WRLCK, F_UNLCK};

	o->whence = pick_chance(50);
	o->flags = o->whence ? whole[pick_number(3)] | LOCK_NB : parts[pick_number(3)];
	o->offset[0] = (off_t)pick_number(4);
	o->length = 1 + pick_number(4);
}
