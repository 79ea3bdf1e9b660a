/*
 * sim [--histories N] [--seed S] [--jobs J] [--program P] [--verbose]
 *
 * Runs histories of the seeds S, S + 1, …, each in the way tests/sim/sim.h says, and prints how many a second. The
 * first that fails is made shorter, and printed as a program that --program runs again.
 */
#include "tests/sim/program.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 64
/** A history that takes longer hangs. */
#define HISTORY_SECONDS_MAX 20

struct options {
	uint64_t histories;
	uint64_t seed;
	unsigned jobs;
	const char *program;
	bool verbose;
};

/* What a job is at; shared with its parent, which has to know when it dies. */
struct progress {
	uint64_t seed;
	uint64_t done;
};

static char base[128];

void fail(const struct sim *s, const char *format, ...)
{
	va_list args;

	(void)s;
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	abort();
}

void tell(const struct sim *s, const char *format, ...)
{
	va_list args;

	if (!s->verbose)
		return;
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
}

/* A directory for the databases of this process. */
static void own_directory(void)
{
	char dir[160];

	(void)snprintf(dir, sizeof(dir), "%s/%d", base, (int)getpid());
	if (mkdir(dir, 0700) != 0)
		exit(2);
	family_init(dir);
}

static void job(const struct options *o, unsigned index, struct progress *at)
{
	struct program p;

	own_directory();
	for (uint64_t i = index; i < o->histories; i += o->jobs) {
		at->seed = o->seed + i;
		(void)alarm(HISTORY_SECONDS_MAX);
		program_from_seed(&p, at->seed);
		program_run(&p, o->verbose);
		at->done++;
	}
	(void)alarm(0);
	family_fini();
	exit(0);
}

/* Runs it in a process of its own, quietly. */
static bool fails(const struct program *p)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		if (!freopen("/dev/null", "w", stderr))
			exit(2);
		own_directory();
		(void)alarm(HISTORY_SECONDS_MAX);
		program_run(p, false);
		_exit(0);
	}
	assert(child > 0 && waitpid(child, &status, 0) == child);
	return status != 0;
}

static void report(uint64_t seed)
{
	AUTO(buf_fini) struct buf text = {0};
	struct program p;

	program_from_seed(&p, seed);
	size_t steps = p.length;
	program_shrink(&p, fails);
	program_print(&p, &text);
	(void)printf("FAILED: seed %llu (%zu steps), shortened to %zu:\n  --program '%s'\n",
		     (unsigned long long)seed, steps, p.length, buf_str(&text));
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of all jobs that have ended. */
static double processor_seconds(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* 0 if all histories held. */
static int run_all(const struct options *o)
{
	size_t bytes = o->jobs * sizeof(struct progress);
	struct progress *at =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double start = seconds();
	uint64_t failed = 0;
	bool any = false;
	uint64_t done = 0;
	pid_t jobs[JOBS_MAX];

	assert(at != MAP_FAILED);
	for (unsigned i = 0; i < o->jobs; i++) {
		jobs[i] = fork();
		if (jobs[i] == 0)
			job(o, i, &at[i]);
		assert(jobs[i] > 0);
	}
	for (unsigned i = 0; i < o->jobs; i++) {
		int status = 0;

		assert(waitpid(jobs[i], &status, 0) == jobs[i]);
		done += at[i].done;
		if (status != 0 && (!any || at[i].seed < failed)) {
			any = true;
			failed = at[i].seed;
		}
	}
	double took = seconds() - start;
	(void)printf(
		"%llu histories from seed %llu, %.0f a second, %.0f a second of processor time\n",
		(unsigned long long)done, (unsigned long long)o->seed, (double)done / took,
		(double)done / processor_seconds());
	(void)fflush(stdout);
	if (any)
		report(failed);
	(void)munmap(at, bytes);
	return any ? 1 : 0;
}

static int run_program(const struct options *o)
{
	struct program p;

	if (!program_parse(o->program, &p)) {
		(void)fprintf(stderr, "sim: the program is not understood\n");
		return 2;
	}
	own_directory();
	program_run(&p, o->verbose);
	family_fini();
	(void)printf("the program holds\n");
	return 0;
}

static int usage(int code)
{
	(void)fprintf(code ? stderr : stdout,
		      "usage: sim [--histories N] [--seed S] [--jobs J] [--program P] [--verbose]\n");
	return code;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"histories", required_argument, NULL, 'n'},
		{"seed", required_argument, NULL, 's'},
		{"jobs", required_argument, NULL, 'j'},
		{"program", required_argument, NULL, 'p'},
		{"verbose", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};

	for (int c = 0; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (c == 'n')
			o->histories = strtoull(optarg, NULL, 10);
		else if (c == 's')
			o->seed = strtoull(optarg, NULL, 10);
		else if (c == 'j')
			o->jobs = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'p')
			o->program = optarg;
		else if (c == 'v')
			o->verbose = true;
		else
			return false;
	}
	return optind == argc && o->jobs > 0 && o->jobs <= JOBS_MAX;
}

int main(int argc, char **argv)
{
	struct options o = {.histories = 1000, .seed = 1, .jobs = 1};
	const char *tmp = getenv("TMPDIR");

	if (!parse(argc, argv, &o))
		return usage(2);
	if (!tmp)
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	(void)snprintf(base, sizeof(base), "%s/blaze-sim-XXXXXX", tmp);
	if (!mkdtemp(base))
		return 2;
	digest_init();
	/* In a process of its own, so that its directory is removed whatever happens. */
	(void)fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		exit(o.program ? run_program(&o) : run_all(&o));
	int status = 1;
	(void)waitpid(child, &status, 0);
	AUTO(free_ptr) char *rm = xasprintf("rm -rf '%s'", base);
	(void)!system(rm);
	if (WIFSIGNALED(status))
		(void)fprintf(stderr, "sim: ended by signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
