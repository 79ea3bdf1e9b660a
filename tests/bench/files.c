/*
 * The load of `scripts/bench files`. Every command prints one JSON line; rates are operations a second, of
 * `seqread` and `seqwrite` bytes a second.
 *
 *   files missing DIR N		fstatat of N names that do not exist, after one round to warm up
 *   files list DIR N		readdir of the N files that bench create made, and fstatat of each, likewise
 *   files cold DIR N		that, once and without warming up
 *   files replace DIR N	N times: a temporary file of 200 bytes, renamed over one of 100 records
 *   files seqwrite DIR N	N MiB into a new file, and close
 *   files seqread DIR N	read it again, from the page cache
 *   files fsync DIR N THREADS	each thread, N times: pwrite of 200 bytes into a file of its own, and fsync
 *   files leveldb DIR N THREADS	the same as synchronous puts into a LevelDB of its own: what its group commit does
 */
#include "tests/bench/measure.h"

#include <dirent.h>
#include <leveldb/c.h>
#include <pthread.h>

#define REPLACED 100
#define MIB ((size_t)1 << 20)
static const char large[] = "large.bin";

/* ---- in batches --------------------------------------------------------------------------------- */

static uint64_t stat_missing(int dir, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		char name[NAME_BYTES];
		struct stat st;

		(void)snprintf(name, sizeof(name), "missing%07llu", (unsigned long long)i);
		if (fstatat(dir, name, &st, 0) == 0 || errno != ENOENT)
			die(name);
	}
	return count;
}

static uint64_t list_all(int dir, uint64_t count)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e = NULL;
	uint64_t seen = 0;

	if (!d)
		die("opendir");
	while ((e = readdir(d))) {
		struct stat st;

		if (e->d_name[0] != 'f')
			continue;
		if (fstatat(dir, e->d_name, &st, 0) < 0 || st.st_size != FILE_BYTES)
			die(e->d_name);
		seen++;
	}
	(void)closedir(d);
	if (seen != count)
		die("not the files expected");
	return count;
}

static uint64_t replace(int dir, uint64_t count)
{
	static uint64_t serial;

	for (uint64_t i = 0; i < count; i++) {
		char name[NAME_BYTES], temporary[NAME_BYTES + 8], content[FILE_BYTES];

		name_of(i % REPLACED, name);
		(void)snprintf(temporary, sizeof(temporary), "%s.tmp", name);
		content_of(serial++, content);
		create_file(dir, temporary, content, sizeof(content));
		if (renameat(dir, temporary, dir, name) < 0)
			die(name);
	}
	return count;
}

static char *megabyte(void)
{
	static char bytes[MIB];

	memset(bytes, 'x', sizeof(bytes));
	return bytes;
}

static uint64_t write_large(int dir, uint64_t count)
{
	const char *bytes = megabyte();

	(void)unlinkat(dir, large, 0);
	int fd = openat(dir, large, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	for (uint64_t i = 0; fd >= 0 && i < count; i++) {
		if (write(fd, bytes, MIB) != (ssize_t)MIB)
			die("write");
	}
	if (fd < 0 || close(fd) < 0)
		die(large);
	return count * MIB;
}

static uint64_t read_large(int dir, uint64_t count)
{
	char *bytes = megabyte();
	int fd = openat(dir, large, O_RDONLY | O_CLOEXEC);

	for (uint64_t i = 0; fd >= 0 && i < count; i++) {
		if (read(fd, bytes, MIB) != (ssize_t)MIB)
			die("read");
	}
	if (fd < 0)
		die(large);
	(void)close(fd);
	return count * MIB;
}

static const struct load {
	const char *op;
	uint64_t (*run)(int dir, uint64_t count);
	size_t batches;
	bool warm_up;
} loads[] = {
	{"missing", stat_missing, BATCHES, true},
	{"list", list_all, BATCHES, true},
	{"cold", list_all, 1, false},
	{"replace", replace, BATCHES, true},
	{"seqwrite", write_large, 3, false},
	{"seqread", read_large, 5, true},
};

static void run_load(const struct load *l, const char *path, uint64_t n)
{
	double rates[BATCHES];
	int dir = open_dir(path);

	if (l->warm_up)
		(void)l->run(dir, n);
	for (size_t b = 0; b < l->batches; b++) {
		uint64_t start = now_ns();
		uint64_t count = l->run(dir, n);

		rates[b] = rate(count, start);
	}
	print_rates(l->op, rates, l->batches);
	(void)close(dir);
}

/* ---- durable writes of many threads -------------------------------------------------------------- */

/** One thread's share. */
struct writer {
	pthread_t thread;
	int dir;
	leveldb_t *db; /**< or NULL: files in dir */
	uint64_t number;
	uint64_t count;
};

static void *write_files(void *arg)
{
	const struct writer *w = arg;
	char name[NAME_BYTES], content[FILE_BYTES];

	name_of(w->number, name);
	int fd = openat(w->dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	for (uint64_t i = 0; fd >= 0 && i < w->count; i++) {
		content_of(w->number * 1000000 + i, content);
		if (pwrite(fd, content, sizeof(content), 0) != (ssize_t)sizeof(content) ||
		    fsync(fd) < 0)
			die("fsync");
	}
	if (fd < 0 || close(fd) < 0)
		die(name);
	return NULL;
}

static void *write_puts(void *arg)
{
	const struct writer *w = arg;
	leveldb_writeoptions_t *options = leveldb_writeoptions_create();
	char name[NAME_BYTES], content[FILE_BYTES];
	char *message = NULL;

	leveldb_writeoptions_set_sync(options, 1);
	name_of(w->number, name);
	for (uint64_t i = 0; !message && i < w->count; i++) {
		content_of(w->number * 1000000 + i, content);
		leveldb_put(w->db, options, name, strlen(name), content, sizeof(content), &message);
	}
	if (message)
		die(message);
	leveldb_writeoptions_destroy(options);
	return NULL;
}

static double run_writers(int dir, leveldb_t *db, uint64_t n, size_t threads)
{
	struct writer writers[THREADS_MAX];
	uint64_t start = now_ns();

	for (size_t t = 0; t < threads; t++) {
		writers[t] = (struct writer){.dir = dir, .db = db, .number = t, .count = n};
		if (pthread_create(&writers[t].thread, NULL, db ? write_puts : write_files,
				   &writers[t]))
			die("pthread_create");
	}
	for (size_t t = 0; t < threads; t++)
		(void)pthread_join(writers[t].thread, NULL);
	return rate(n * threads, start);
}

static void run_durable(const char *op, const char *path, uint64_t n, size_t threads)
{
	leveldb_options_t *options = leveldb_options_create();
	leveldb_t *db = NULL;
	char *message = NULL;
	double rates[3];
	int dir = open_dir(path);

	leveldb_options_set_create_if_missing(options, 1);
	if (strcmp(op, "leveldb") == 0)
		db = leveldb_open(options, path, &message);
	if (message)
		die(message);
	for (size_t b = 0; b < 3; b++)
		rates[b] = run_writers(dir, db, n, threads);
	print_rates(op, rates, 3);
	if (db)
		leveldb_close(db);
	leveldb_options_destroy(options);
	(void)close(dir);
}

int main(int argc, char **argv)
{
	const char *op = argc > 1 ? argv[1] : "";
	uint64_t n = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	uint64_t threads = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;

	for (size_t i = 0; argc == 4 && n > 0 && i < sizeof(loads) / sizeof(loads[0]); i++) {
		if (strcmp(op, loads[i].op) == 0) {
			run_load(&loads[i], argv[2], n);
			return 0;
		}
	}
	if (argc == 5 && n > 0 && threads > 0 && threads <= THREADS_MAX &&
	    (strcmp(op, "fsync") == 0 || strcmp(op, "leveldb") == 0)) {
		run_durable(op, argv[2], n, (size_t)threads);
		return 0;
	}
	(void)fputs("usage: files missing|list|cold|replace|seqwrite|seqread DIR N, or\n"
		    "       files fsync|leveldb DIR N THREADS\n",
		    stderr);
	return 2;
}
