/* What the load programs have in common: errors, the clock, files of a known content, rates as JSON. */
#ifndef BLAZE_TESTS_BENCH_MEASURE_H
#define BLAZE_TESTS_BENCH_MEASURE_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES 200
#define BATCHES 20
#define THREADS_MAX 64
#define NAME_BYTES 32

static inline void die(const char *what)
{
	(void)fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

static inline void name_of(uint64_t i, char out[NAME_BYTES])
{
	(void)snprintf(out, NAME_BYTES, "f%07llu.json", (unsigned long long)i);
}

/** FILE_BYTES of JSON that no two files have in common. */
static inline void content_of(uint64_t i, char out[FILE_BYTES])
{
	char head[64];
	int n = snprintf(head, sizeof(head), "{\"n\":%llu,\"text\":\"", (unsigned long long)i);

	assert(n > 0 && n < FILE_BYTES - 3);
	memset(out, 'x', FILE_BYTES);
	memcpy(out, head, (size_t)n);
	memcpy(out + FILE_BYTES - 3, "\"}\n", 3);
}

static inline void create_file(int dir, const char *name, const char *data, size_t size)
{
	int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) < 0)
		die(name);
}

static inline int compare_rates(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline double at_percent(const double *sorted, size_t n, unsigned percent)
{
	size_t i = n * percent / 100;

	return sorted[i < n ? i : n - 1];
}

static inline void print_rates(const char *op, double *rates, size_t n)
{
	printf("{\"op\":\"%s\",\"rates\":[", op);
	for (size_t i = 0; i < n; i++)
		printf("%s%.0f", i ? "," : "", rates[i]);
	qsort(rates, n, sizeof(*rates), compare_rates);
	printf("],\"best\":%.0f,\"median\":%.0f}\n", rates[n - 1], at_percent(rates, n, 50));
}

static inline double rate(uint64_t count, uint64_t start_ns)
{
	return (double)count * 1e9 / (double)(now_ns() - start_ns);
}

#endif
