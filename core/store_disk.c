/* What the store has on the disk: LevelDB's files, whose handle is opened here, and the ballast. */
#include "core/platform.h"
#include "core/store_i.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BALLAST_BYTES (16u << 20)
/** Below this much free space a failed store is not reopened: opening writes tables. */
#define HEAL_FREE_BYTES_MIN (12u << 20)
/** Tables are mapped, 2 MiB each, and what was read of them is resident: this bounds a walk over everything. */
#define OPEN_FILES_MAX 64

int store_error_code(char *message)
{
	int r = -EIO;

	if (strstr(message, strerror(ENOSPC)) || strstr(message, strerror(EDQUOT)))
		r = -ENOSPC;
	else if (strstr(message, "lock"))
		r = -EBUSY;
	else if (strstr(message, "Corruption") || strstr(message, "does not exist"))
		r = -EBADMSG;
	leveldb_free(message);
	return r;
}

void store_options_init(struct store *s)
{
	s->options = leveldb_options_create();
	s->cache = leveldb_cache_create_lru(4u << 20);
	s->filter = leveldb_filterpolicy_create_bloom(10);
	leveldb_options_set_paranoid_checks(s->options, 1);
	leveldb_options_set_max_open_files(s->options, OPEN_FILES_MAX);
	leveldb_options_set_write_buffer_size(s->options, 8u << 20);
	leveldb_options_set_cache(s->options, s->cache);
	leveldb_options_set_filter_policy(s->options, s->filter);
	leveldb_options_set_compression(s->options, leveldb_snappy_compression);
	s->read_options = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(s->read_options, 1);
	s->write_options = leveldb_writeoptions_create();
	s->sync_options = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(s->sync_options, 1);
}

void store_options_fini(struct store *s)
{
	leveldb_writeoptions_destroy(s->sync_options);
	leveldb_writeoptions_destroy(s->write_options);
	leveldb_readoptions_destroy(s->read_options);
	leveldb_options_destroy(s->options);
	leveldb_filterpolicy_destroy(s->filter);
	leveldb_cache_destroy(s->cache);
}

void store_ballast_make(const struct store *s)
{
	AUTO(close_fd) int fd = open(s->ballast, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (platform_reserve(fd, BALLAST_BYTES) < 0)
		(void)unlink(s->ballast);
}

bool store_has_room(const struct store *s)
{
	struct statvfs fs;

	return statvfs(s->dir, &fs) != 0 ||
	       (uint64_t)fs.f_bavail * fs.f_frsize >= HEAL_FREE_BYTES_MIN;
}

static int try_open(struct store *s, struct why *why)
{
	char *message = NULL;

	s->db = leveldb_open(s->options, s->leveldb_dir, &message);
	if (!message)
		return 0;
	s->db = NULL;
	(void)why_set(why, 0, "the store in '%s' cannot be opened: %s", s->dir, message);
	return store_error_code(message);
}

int store_handle_open(struct store *s, struct why *why)
{
	int r = try_open(s, why);

	if (r == -ENOSPC && unlink(s->ballast) == 0)
		r = try_open(s, why);
	return r;
}

/*
 * A record is in one of the log files or in a table. Tables are synced before their log is removed, so
 * flushing every log that exists now is a barrier; a log that vanishes meanwhile became a table.
 */
int store_flush_logs(struct store *s)
{
	DIR *d = opendir(s->leveldb_dir);
	struct dirent *e = NULL;
	uint64_t newest = 0;
	int r = 0;

	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d))) {
		size_t n = strlen(e->d_name);
		uint64_t number = strtoull(e->d_name, NULL, 10);

		newest = number > newest ? number : newest;
		if (n < 4 || strcmp(e->d_name + n - 4, ".log") != 0)
			continue;
		AUTO(close_fd) int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		bool flushed = fd < 0 ? errno == ENOENT : platform_sync_data(fd) == 0;
		if (!flushed)
			r = -errno;
	}
	/* LevelDB numbers its files upwards: none newer, then all their names were flushed before. */
	if (r == 0 && newest != s->newest_file) {
		r = fsync(dirfd(d)) != 0 ? -errno : 0;
		if (r == 0)
			s->newest_file = newest;
	}
	(void)closedir(d);
	return r == 0 || r == -ENOSPC ? r : -EIO;
}
