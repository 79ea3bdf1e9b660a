/* One copy on the disk. */
#include "relay/copy.h"

#include "core/compact.h"
#include "core/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_DIRECTORY "read"
/* Of the database: see check_admission(). */
#define ADMISSION_SETTING "relay.admission"
#define NEW ".new"
#define GONE ".gone"
/* After so much came, it is looked how large it has become. */
#define MEASURE_BYTES (4u << 20)

struct copy {
	struct id mailbox;
	char *dir;
	struct db *db;	    /* NULL: closed */
	uint64_t tended;    /* its generation then */
	uint64_t compacted; /* likewise: there was nothing to fold */
	size_t came;	    /* bytes since it was measured */
	bool full;
};

static struct copy *create(const char *home, const struct id *mailbox)
{
	struct copy *c = xcalloc(1, sizeof(*c));
	char hex[ID_HEX_BYTES];

	id_hex(mailbox, hex);
	c->mailbox = *mailbox;
	c->dir = xasprintf("%s/" READ_DIRECTORY "/%s", home, hex);
	return c;
}

static int sync_directory(const char *path)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int sync_parent(const struct copy *c)
{
	AUTO(free_ptr) char *parent = xstrdup(c->dir);

	*strrchr(parent, '/') = 0;
	return sync_directory(parent);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void remove_tree(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
		log_warn("%s cannot be removed: %s", path, strerror(errno));
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text);
	size_t m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

int copy_list(const char *home, struct copy ***ret, size_t *ret_count, struct why *why)
{
	AUTO(free_ptr) char *path = xasprintf("%s/" READ_DIRECTORY, home);
	const struct dirent *e = NULL;
	struct copy **list = NULL;
	size_t n = 0;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return why_set(why, -errno, "cannot make %s: %s", path, strerror(errno));
	DIR *d = opendir(path);
	if (!d)
		return why_set(why, -errno, "cannot read %s: %s", path, strerror(errno));
	while ((e = readdir(d))) {
		struct id mailbox;

		if (ends_with(e->d_name, NEW) || ends_with(e->d_name, GONE)) {
			AUTO(free_ptr) char *half = xasprintf("%s/%s", path, e->d_name);

			remove_tree(half);
		} else if (id_from_hex(e->d_name, &mailbox)) {
			list = xreallocarray(list, n + 1, sizeof(struct copy *));
			list[n++] = create(home, &mailbox);
		}
	}
	(void)closedir(d);
	*ret = list;
	*ret_count = n;
	return 0;
}

static int make(const char *path, const struct keys *keys, struct slice welcome)
{
	struct why why = {""};
	bool limited = false;
	int r = db_welcome_is_limited(welcome, &limited);

	if (r < 0)
		return r;
	if (!limited)
		return -EPERM; /* it would be all the keys: they are not ours to keep */
	remove_tree(path);
	return db_join(path, keys, welcome, &why);
}

int copy_create(const char *home, const struct keys *keys, const struct id *mailbox,
		struct slice welcome, struct copy **ret)
{
	struct copy *c = create(home, mailbox);
	AUTO(free_ptr) char *path = xasprintf("%s" NEW, c->dir);
	int r = make(path, keys, welcome);

	if (r == 0 && rename(path, c->dir) < 0)
		r = -errno;
	if (r == 0)
		r = sync_parent(c);
	if (r < 0) {
		remove_tree(path);
		copy_destroy(c);
		return r;
	}
	*ret = c;
	return 0;
}

void copy_destroy(struct copy *c)
{
	if (!c)
		return;
	copy_close(c);
	free(c->dir);
	free(c);
}

void copy_erase(struct copy *c)
{
	AUTO(free_ptr) char *path = xasprintf("%s" GONE, c->dir);

	copy_close(c);
	remove_tree(path);
	/* At once and for good, whatever happens while its files go one after the other. */
	if (rename(c->dir, path) < 0 || sync_parent(c) < 0)
		log_warn("%s cannot be taken away: %s", c->dir, strerror(errno));
	remove_tree(path);
	copy_destroy(c);
}

const struct id *copy_mailbox(const struct copy *c)
{
	return &c->mailbox;
}

/* ---- open ---------------------------------------------------------------------------------------- */

/* nftw() has no argument for its function, and there is one thread. */
static _Thread_local uint64_t measured;

static int measure_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)path;
	(void)at;
	if (type == FTW_F)
		measured += (uint64_t)st->st_blocks * 512;
	return 0;
}

static uint64_t measure(struct copy *c)
{
	measured = 0;
	c->came = 0;
	(void)nftw(c->dir, measure_one, 16, FTW_PHYS);
	return measured;
}

/*
 * The admission that the copy was begun for. When it was removed and let in again meanwhile, less may be granted now than what
 * is in here, so it is begun anew. -EBADMSG.
 */
static int check_admission(const struct copy *c)
{
	AUTO(free_ptr) char *known = NULL;
	struct opid since = db_own_admission(c->db);

	if (since.lamport == 0)
		return 0;
	AUTO(free_ptr)
	char *now = xasprintf("%016" PRIx64 "%016" PRIx64, since.lamport, since.actor);
	int r = db_get_setting(c->db, ADMISSION_SETTING, &known);
	if (r == -ENOENT)
		return db_set_setting(c->db, ADMISSION_SETTING, now);
	return r < 0 ? r : strcmp(known, now) == 0 ? 0 : -EBADMSG;
}

int copy_open(struct copy *c, const struct keys *keys, uint64_t bytes_max)
{
	struct why why = {""};

	if (c->db)
		return c->full ? -EDQUOT : 0;
	if (measure(c) > bytes_max)
		return -EDQUOT;
	int r = db_open(c->dir, keys, NULL, &c->db, &why);
	if (r == 0)
		r = check_admission(c);
	if (r < 0)
		copy_close(c);
	return r;
}

void copy_close(struct copy *c)
{
	db_close(STEAL(c->db));
	c->full = false;
	c->tended = 0;
	c->compacted = 0;
}

struct db *copy_db(const struct copy *c)
{
	return c->db;
}

void copy_came(struct copy *c, size_t bytes)
{
	c->came += bytes;
}

enum copy_state copy_tend(struct copy *c, uint64_t bytes_max)
{
	uint64_t generation = db_generation(c->db);

	if (generation == c->tended)
		return COPY_FINE;
	int r = db_sync(c->db);
	if (r < 0)
		log_warn("a copy could not be flushed: %s", strerror(-r));
	c->tended = db_generation(c->db);
	if (db_is_removed(c->db) || check_admission(c) == -EBADMSG)
		return COPY_REMOVED;
	if (c->full || c->came < MEASURE_BYTES || measure(c) <= bytes_max)
		return COPY_FINE;
	c->full = true;
	return COPY_FULL;
}

bool copy_is_restless(const struct copy *c)
{
	return db_generation(c->db) != c->tended;
}

bool copy_compact(struct copy *c)
{
	uint64_t generation = db_generation(c->db);

	if (c->compacted == generation)
		return false;
	int r = db_compact_step(c->db);
	if (r < 0)
		log_warn("a copy could not be compacted: %s", strerror(-r));
	if (r <= 0)
		c->compacted = generation;
	return r > 0;
}
