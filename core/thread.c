/* The only user of pthread.h, but for what the platforms do differently. */
#include "core/thread.h"

#include "core/platform.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void must(int r, const char *what)
{
	if (r) {
		(void)fprintf(stderr, "blaze: %s: %s\n", what, strerror(r));
		abort();
	}
}

void mutex_init(struct mutex *m)
{
	must(pthread_mutex_init(&m->m, NULL), "mutex_init");
}

void mutex_fini(struct mutex *m)
{
	must(pthread_mutex_destroy(&m->m), "mutex_fini");
}

void mutex_lock(struct mutex *m)
{
	must(pthread_mutex_lock(&m->m), "mutex_lock");
}

void mutex_unlock(struct mutex *m)
{
	must(pthread_mutex_unlock(&m->m), "mutex_unlock");
}

void cond_init(struct cond *c)
{
	must(platform_cond_init(c), "cond_init");
}

void cond_fini(struct cond *c)
{
	must(pthread_cond_destroy(&c->c), "cond_fini");
}

void cond_wait(struct cond *c, struct mutex *m)
{
	must(pthread_cond_wait(&c->c, &m->m), "cond_wait");
}

bool cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_ms)
{
	int r = platform_cond_wait_until(c, m, deadline_ms);

	if (r == ETIMEDOUT)
		return false;
	must(r, "cond_wait_until");
	return true;
}

void cond_broadcast(struct cond *c)
{
	must(pthread_cond_broadcast(&c->c), "cond_broadcast");
}

void thread_start(struct thread *t, const char *name, void *(*run)(void *arg), void *arg)
{
	sigset_t all;
	sigset_t old;

	(void)sigfillset(&all);
	must(pthread_sigmask(SIG_SETMASK, &all, &old), "sigmask");
	must(pthread_create(&t->t, NULL, run, arg), "thread_start");
	must(pthread_sigmask(SIG_SETMASK, &old, NULL), "sigmask");
	platform_name_thread(t, name);
	t->running = true;
}

void thread_join(struct thread *t)
{
	if (t->running)
		must(pthread_join(t->t, NULL), "thread_join");
	t->running = false;
}

void thread_detach(const char *name, void *(*run)(void *arg), void *arg)
{
	struct thread t;

	thread_start(&t, name, run, arg);
	must(pthread_detach(t.t), "thread_detach");
}

void thread_exit(void)
{
	pthread_exit(NULL);
}

struct thread thread_self(void)
{
	return (struct thread){.t = pthread_self(), .running = true};
}

void thread_interrupt(const struct thread *t, int sig)
{
	must(pthread_kill(t->t, sig), "thread_interrupt");
}

uint64_t monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
