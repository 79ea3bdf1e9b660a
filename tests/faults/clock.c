/*
 * Another time of day: LD_PRELOAD=clock.so CLOCK_RULE=FILE, where FILE holds by how many seconds the program's clock
 * is ahead (below 0: behind). It is read at each look at the clock. Monotonic clocks are what they are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead(void)
{
	const char *file = getenv("CLOCK_RULE");
	FILE *f = file ? fopen(file, "re") : NULL;
	long seconds = 0;

	if (f && fscanf(f, "%ld", &seconds) != 1)
		seconds = 0;
	if (f)
		(void)fclose(f);
	return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && clock == CLOCK_REALTIME)
		ret->tv_sec += ahead();
	return r;
}

time_t time(time_t *ret)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	*ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
	return 0;
}
