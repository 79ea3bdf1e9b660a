/*
 * The load, for scripts/bench. Every command prints one JSON line; rates are operations a second.
 *
 *   bench create DIR N THREADS	N new files of 200 bytes: open(O_CREAT | O_EXCL), write, close
 *   bench stat DIR N		fstatat of the files that create made, after one round to warm up
 *   bench read DIR N		open, read, close of them, likewise
 *   bench edit FROM TO N		N times: rewrite one record in FROM, wait until its bytes are in TO
 *   bench appear FROM TO N	N times: create a record in FROM, wait until stat finds it in TO
 *
 * The first three work in batches, of which the best and the median count: the best is the machine's
 * limit, the median what a busy one gives. Names are relative to an open directory, so that the depth of
 * the mountpoint does not count.
 *
 * The last two have both mounts in this one process. The clock starts when close() is called in FROM and
 * stops when a loop without pauses, that only yields the processor, sees the change in TO.
 */
#include "tests/bench/measure.h"

#include <pthread.h>
#include <sched.h>

#define VISIBLE_SECONDS_MAX 10

/** One thread's share of one batch. */
struct share {
	pthread_t thread;
	int dir;
	uint64_t first;
	uint64_t count;
};

static void *create_share(void *arg)
{
	const struct share *s = arg;

	for (uint64_t i = s->first; i < s->first + s->count; i++) {
		char name[NAME_BYTES], content[FILE_BYTES];

		name_of(i, name);
		content_of(i, content);
		create_file(s->dir, name, content, sizeof(content));
	}
	return NULL;
}

static uint64_t create_batch(int dir, uint64_t first, uint64_t count, size_t threads)
{
	struct share shares[THREADS_MAX];

	for (size_t t = 0; t < threads; t++) {
		uint64_t from = count * t / threads, to = count * (t + 1) / threads;

		shares[t] = (struct share){.dir = dir, .first = first + from, .count = to - from};
		if (pthread_create(&shares[t].thread, NULL, create_share, &shares[t]))
			die("pthread_create");
	}
	for (size_t t = 0; t < threads; t++)
		(void)pthread_join(shares[t].thread, NULL);
	return count;
}

static uint64_t stat_all(int dir, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		char name[NAME_BYTES];
		struct stat st;

		name_of(i, name);
		if (fstatat(dir, name, &st, 0) < 0 || st.st_size != FILE_BYTES)
			die(name);
	}
	return count;
}

static uint64_t read_all(int dir, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		char name[NAME_BYTES], content[FILE_BYTES + 1];

		name_of(i, name);
		int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, content, sizeof(content)) != FILE_BYTES || close(fd) < 0)
			die(name);
	}
	return count;
}

static void run_create(const char *path, uint64_t n, size_t threads)
{
	double rates[BATCHES];
	int dir = open_dir(path);

	for (size_t b = 0; b < BATCHES; b++) {
		uint64_t first = n * b / BATCHES, next = n * (b + 1) / BATCHES;
		uint64_t start = now_ns();

		rates[b] = rate(create_batch(dir, first, next - first, threads), start);
	}
	print_rates("create", rates, BATCHES);
	(void)close(dir);
}

static void run_warm(const char *op, uint64_t (*all)(int dir, uint64_t count), const char *path,
		     uint64_t n)
{
	double rates[BATCHES];
	int dir = open_dir(path);

	(void)all(dir, n);
	for (size_t b = 0; b < BATCHES; b++) {
		uint64_t start = now_ns();

		rates[b] = rate(all(dir, n), start);
	}
	print_rates(op, rates, BATCHES);
	(void)close(dir);
}

/* ---- from one device to the other ---------------------------------------------------------------- */

static const char edited[] = "edited.json";

static int format_record(uint64_t i, char out[FILE_BYTES])
{
	return snprintf(out, FILE_BYTES, "{\"title\":\"the same\",\"n\":%llu}\n",
			(unsigned long long)i);
}

static bool sees_edit(int dir, uint64_t i)
{
	char want[FILE_BYTES], got[FILE_BYTES];
	int n = format_record(i, want);
	int fd = openat(dir, edited, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	ssize_t r = read(fd, got, sizeof(got));
	(void)close(fd);
	return r == n && memcmp(want, got, (size_t)n) == 0;
}

static bool sees_file(int dir, uint64_t i)
{
	char name[NAME_BYTES], content[FILE_BYTES];
	struct stat st;

	name_of(i, name);
	return fstatat(dir, name, &st, 0) == 0 && st.st_size == format_record(i, content);
}

static uint64_t close_at(int fd, const char *data, int size)
{
	if (fd < 0 || write(fd, data, (size_t)size) != size)
		die("write");
	uint64_t at = now_ns();
	if (close(fd) < 0)
		die("close");
	return at;
}

static uint64_t do_edit(int dir, uint64_t i)
{
	char content[FILE_BYTES];
	int n = format_record(i, content);

	return close_at(openat(dir, edited, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644),
			content, n);
}

static uint64_t do_create(int dir, uint64_t i)
{
	char name[NAME_BYTES], content[FILE_BYTES];
	int n = format_record(i, content);

	name_of(i, name);
	return close_at(openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644), content,
			n);
}

/** Milliseconds from change(from) to sees(to). */
static double visible_ms(uint64_t (*change)(int dir, uint64_t i), bool (*sees)(int dir, uint64_t i),
			 const int dirs[2], uint64_t i)
{
	uint64_t start = change(dirs[0], i);
	uint64_t end = start + VISIBLE_SECONDS_MAX * UINT64_C(1000000000);

	while (!sees(dirs[1], i)) {
		if (now_ns() > end) {
			errno = ETIMEDOUT;
			die("the other device");
		}
		(void)sched_yield();
	}
	return (double)(now_ns() - start) / 1e6;
}

static void run_visible(bool edit, const char *from, const char *to, uint64_t n)
{
	int dirs[2] = {open_dir(from), open_dir(to)};
	double *ms = calloc(n, sizeof(*ms));

	if (!ms)
		die("calloc");
	/* The first edit creates the record; that does not count. */
	if (edit)
		(void)visible_ms(do_edit, sees_edit, dirs, n);
	for (uint64_t i = 0; i < n; i++)
		ms[i] = edit ? visible_ms(do_edit, sees_edit, dirs, i)
			     : visible_ms(do_create, sees_file, dirs, i);
	qsort(ms, n, sizeof(*ms), compare_rates);
	printf("{\"op\":\"%s\",\"n\":%llu,\"best_ms\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
	       "\"worst_ms\":%.3f}\n",
	       edit ? "edit" : "appear", (unsigned long long)n, ms[0], at_percent(ms, n, 50),
	       at_percent(ms, n, 99), ms[n - 1]);
	free(ms);
}

int main(int argc, char **argv)
{
	const char *op = argc > 1 ? argv[1] : "";
	bool two = strcmp(op, "edit") == 0 || strcmp(op, "appear") == 0;
	bool create = strcmp(op, "create") == 0;
	uint64_t n = 0, threads = 0;

	if (argc == 5 && two)
		n = strtoull(argv[4], NULL, 10);
	else if (argc >= 4)
		n = strtoull(argv[3], NULL, 10);
	if (argc == 5 && create)
		threads = strtoull(argv[4], NULL, 10);
	if (n >= 1 && two)
		run_visible(strcmp(op, "edit") == 0, argv[2], argv[3], n);
	else if (n >= BATCHES && create && threads >= 1 && threads <= THREADS_MAX)
		run_create(argv[2], n, threads);
	else if (n >= 1 && argc == 4 && strcmp(op, "stat") == 0)
		run_warm(op, stat_all, argv[2], n);
	else if (n >= 1 && argc == 4 && strcmp(op, "read") == 0)
		run_warm(op, read_all, argv[2], n);
	else
		return (void)fputs("usage: bench create DIR N THREADS | stat DIR N | read DIR N | "
				   "edit FROM TO N | appear FROM TO N\n",
				   stderr),
		       2;
	return 0;
}
