/*
 * exerciser [-s SEED] [-n COUNT] FILE: reads, writes, maps, cuts and grows one file at random, and compares it
 * with what it has in memory; after the manner of fsx. Exits with 1 at the first difference, and says the
 * operations that led to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX 40000
#define LENGTH_MAX 12000
#define TAIL 30

static unsigned char model[FILE_BYTES_MAX];
static size_t size;
static unsigned char bytes[FILE_BYTES_MAX];
static const char *path;
static int fd = -1;
static uint64_t state;
static char tail[TAIL][120];
static unsigned long number;

/* splitmix64 */
static uint64_t random_below(uint64_t below)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

/* ---- what is expected --------------------------------------------------------------------------- */

__attribute__((noreturn)) static void fail(const char *what)
{
	int err = errno;
	unsigned long first = number + 1 > TAIL ? number + 1 - TAIL : 0;

	(void)fprintf(stderr, "%s (errno %s)\n", what, strerror(err));
	for (unsigned long n = first; n <= number; n++)
		(void)fprintf(stderr, "%lu: %s\n", n, tail[n % TAIL]);
	exit(1);
}

static void must(bool good, const char *what)
{
	if (!good)
		fail(what);
}

static void check(const unsigned char *found, size_t at, size_t n, const char *how)
{
	char text[200];

	for (size_t i = 0; i < n; i++) {
		if (found[i] == model[at + i])
			continue;
		(void)snprintf(text, sizeof(text),
			       "%s at %zu for %zu: byte %zu is %02x, not %02x; size %zu", how, at,
			       n, at + i, found[i], model[at + i], size);
		errno = 0;
		fail(text);
	}
}

/* The model grows with zeros, and what it loses is zero when it grows again. */
static void resize(size_t to)
{
	if (to > size)
		memset(model + size, 0, to - size);
	size = to;
}

static void fill(size_t n)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] = (unsigned char)random_below(256);
}

/* ---- operations --------------------------------------------------------------------------------- */

/** A range within the file, or one that may reach beyond its end. */
struct range {
	size_t at;
	size_t n;
};

static struct range inside(void)
{
	struct range r = {.at = random_below(size)};

	r.n = 1 + random_below(size - r.at < LENGTH_MAX ? size - r.at : LENGTH_MAX);
	return r;
}

static struct range anywhere(void)
{
	struct range r = {
		.at = random_below(size + 9000 < FILE_BYTES_MAX ? size + 9000 : FILE_BYTES_MAX)};

	r.n = 1 + random_below(random_below(4) ? 600 : LENGTH_MAX);
	if (r.n > FILE_BYTES_MAX - r.at)
		r.n = FILE_BYTES_MAX - r.at;
	return r;
}

static void do_read(struct range r)
{
	ssize_t want = (ssize_t)(r.at >= size ? 0 : r.n < size - r.at ? r.n : size - r.at);

	must(pread(fd, bytes, r.n, (off_t)r.at) == want, "pread");
	check(bytes, r.at, (size_t)want, "pread");
}

static void do_write(struct range r)
{
	fill(r.n);
	must(pwrite(fd, bytes, r.n, (off_t)r.at) == (ssize_t)r.n, "pwrite");
	if (r.at + r.n > size)
		resize(r.at + r.n);
	memcpy(model + r.at, bytes, r.n);
}

static void do_append(struct range r)
{
	int flags = fcntl(fd, F_GETFL);

	if (size + r.n > FILE_BYTES_MAX)
		return;
	fill(r.n);
	must(fcntl(fd, F_SETFL, flags | O_APPEND) == 0, "fcntl");
	must(lseek(fd, 0, SEEK_SET) == 0, "lseek");
	must(write(fd, bytes, r.n) == (ssize_t)r.n, "write");
	must(fcntl(fd, F_SETFL, flags) == 0, "fcntl");
	size_t at = size;
	resize(size + r.n);
	memcpy(model + at, bytes, r.n);
}

/* Maps from the page that holds the range. */
static unsigned char *map(struct range r, int protection, size_t *ret_bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t skip = r.at % page;
	unsigned char *p = mmap(NULL, skip + r.n, protection, MAP_SHARED, fd, (off_t)(r.at - skip));

	must(p != MAP_FAILED, "mmap");
	*ret_bytes = skip + r.n;
	return p;
}

static void do_mapped_read(struct range r)
{
	size_t n = 0;
	unsigned char *p = map(r, PROT_READ, &n);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	check(p + (n - r.n), r.at, r.n, "mapped read");
	/* What a page has beyond the file's end is zero. */
	if (r.at + r.n == size && size % page) {
		for (size_t i = n; i % page; i++)
			must(p[i] == 0, "not zero beyond the end");
	}
	must(munmap(p, n) == 0, "munmap");
}

static void do_mapped_write(struct range r)
{
	size_t n = 0;

	if (r.at + r.n > size) {
		must(ftruncate(fd, (off_t)(r.at + r.n)) == 0, "ftruncate");
		resize(r.at + r.n);
	}
	unsigned char *p = map(r, PROT_READ | PROT_WRITE, &n);
	fill(r.n);
	memcpy(p + (n - r.n), bytes, r.n);
	memcpy(model + r.at, bytes, r.n);
	if (random_below(2))
		must(msync(p, n, random_below(2) ? MS_SYNC : MS_ASYNC) == 0, "msync");
	must(munmap(p, n) == 0, "munmap");
}

static void do_truncate(struct range r)
{
	must((random_below(2) ? ftruncate(fd, (off_t)r.at) : truncate(path, (off_t)r.at)) == 0,
	     "truncate");
	resize(r.at);
}

static void do_allocate(struct range r)
{
	must(fallocate(fd, 0, (off_t)r.at, (off_t)r.n) == 0, "fallocate");
	if (r.at + r.n > size)
		resize(r.at + r.n);
}

/* Zeros, within the file or a little beyond; its size stays. */
static void do_punch(struct range r, int mode)
{
	must(fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)r.at, (off_t)r.n) == 0, "fallocate");
	if (r.at < size)
		memset(model + r.at, 0, r.n < size - r.at ? r.n : size - r.at);
}

static void do_copy(struct range r)
{
	size_t to = random_below(FILE_BYTES_MAX);
	off_t from_offset = (off_t)r.at;
	off_t to_offset = (off_t)to;

	if (to + r.n > FILE_BYTES_MAX || (to < r.at + r.n && r.at < to + r.n))
		return;
	ssize_t n = copy_file_range(fd, &from_offset, fd, &to_offset, r.n, 0);
	must(n > 0 && (size_t)n <= r.n, "copy_file_range");
	if (to + (size_t)n > size)
		resize(to + (size_t)n);
	memcpy(model + to, model + r.at, (size_t)n);
}

static void open_file(int flags)
{
	fd = open(path, O_RDWR | O_CLOEXEC | flags, 0644);
	must(fd >= 0, "open");
}

static void do_reopen(void)
{
	if (fd >= 0)
		must(close(fd) == 0, "close");
	open_file(0);
	do_read((struct range){0, FILE_BYTES_MAX});
}

static void do_stat(void)
{
	struct stat st;

	must((random_below(2) ? fstat(fd, &st) : stat(path, &st)) == 0, "stat");
	must(st.st_size == (off_t)size, "the size");
}

static void note(const char *what, struct range r)
{
	(void)snprintf(tail[number % TAIL], sizeof(tail[0]), "%s at %zu for %zu, size %zu", what,
		       r.at, r.n, size);
}

static void step(void)
{
	static const char *const names[] = {
		"read",	     "mapped read", "write", "append", "mapped write", "truncate",
		"fallocate", "punch",	    "zero",  "copy",   "mapped write", "read",
		"stat",	     "mapped read", "fsync", "reopen"};
	size_t what = random_below(sizeof(names) / sizeof(*names));
	bool reads = strstr(names[what], "read") || strcmp(names[what], "copy") == 0;
	struct range r = reads && size ? inside() : anywhere();

	note(names[what], r);
	if (what == 0 || what == 11)
		do_read(r);
	else if ((what == 1 || what == 13) && size)
		do_mapped_read(r);
	else if (what == 2)
		do_write(r);
	else if (what == 3)
		do_append(r);
	else if (what == 4 || what == 10)
		do_mapped_write(r);
	else if (what == 5)
		do_truncate(r);
	else if (what == 6)
		do_allocate(r);
	else if (what == 7)
		do_punch(r, FALLOC_FL_PUNCH_HOLE);
	else if (what == 8)
		do_punch(r, FALLOC_FL_ZERO_RANGE);
	else if (what == 9 && size)
		do_copy(r);
	else if (what == 14)
		must(random_below(60) || fsync(fd) == 0, "fsync");
	else if (what == 15 && random_below(3) == 0)
		do_reopen();
	do_stat();
}

int main(int argc, char **argv)
{
	unsigned long count = 10000;
	uint64_t seed = 1;

	for (int c; (c = getopt(argc, argv, "s:n:")) >= 0;) {
		if (c == '?')
			return 2;
		unsigned long value = strtoul(optarg, NULL, 10);
		if (c == 's')
			seed = value;
		else
			count = value;
	}
	if (argc - optind != 1) {
		(void)fprintf(stderr, "usage: exerciser [-s SEED] [-n COUNT] FILE\n");
		return 2;
	}
	path = argv[optind];
	state = (seed + 1) * 0xd1342543de82ef95u;
	open_file(O_CREAT | O_TRUNC);
	for (number = 0; number < count; number++)
		step();
	do_reopen();
	(void)printf("%lu operations, seed %llu: no difference\n", count, (unsigned long long)seed);
	return 0;
}
