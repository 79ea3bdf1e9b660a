/* Mutexes, conditions and threads. A failure of any of these is a bug, and ends the process. */
#ifndef BLAZE_CORE_THREAD_H
#define BLAZE_CORE_THREAD_H

#include "core/base.h"

#include <pthread.h>

struct mutex {
	pthread_mutex_t m;
};

/** For those that live as long as the process. */
#define MUTEX_STATIC                      \
	{                                 \
		PTHREAD_MUTEX_INITIALIZER \
	}

struct cond {
	pthread_cond_t c;
};

struct thread {
	pthread_t t;
	bool running;
};

void mutex_init(struct mutex *m);
void mutex_fini(struct mutex *m);
void mutex_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);

void cond_init(struct cond *c);
void cond_fini(struct cond *c);
void cond_wait(struct cond *c, struct mutex *m);
/** Waits until monotonic time deadline_ms; false when that has passed. */
bool cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_ms);
void cond_broadcast(struct cond *c);

/** Starts a thread with all signals blocked: signals belong to the main thread. */
void thread_start(struct thread *t, const char *name, void *(*run)(void *arg), void *arg);
void thread_join(struct thread *t);
/** As thread_start, but nobody joins it. */
void thread_detach(const char *name, void *(*run)(void *arg), void *arg);

/** Ends the calling thread, wherever it is: for one that nobody waits for any more. */
void thread_exit(void) __attribute__((noreturn));

/** The calling thread, for thread_interrupt(); not to be joined. */
struct thread thread_self(void);
/** Sends a signal to a thread that has not ended. */
void thread_interrupt(const struct thread *t, int sig);

/** Milliseconds of the monotonic clock. */
uint64_t monotonic_ms(void);

#endif
