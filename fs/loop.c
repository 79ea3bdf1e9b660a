/* One reader, and more when it pays. */
#include "fs/loop.h"

#include "core/thread.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/**
 * More workers take turns on few processors, and each turn finds cold caches. Fewer would all wait for the disk when
 * three programs read large files.
 */
#define WORKERS 4
#define WAKE_SIGNAL SIGUSR2
#define WAKE_INTERVAL_MS 5
/** A request that is read within this time was there already: sleeping and being woken takes longer. */
#define AT_ONCE_NS 5000
/** So many requests in a row that were there before their reader: one reader more; that were not: one less. */
#define CROWD 16
/** How long a reader looks out for the next request; after how many it does so again if none came, */
#define LOOKOUT_NS 60000
#define IN_VAIN 32
/** or if somebody else ran meanwhile, for so long: who sleeps is let in sooner than who always runs. */
#define OTHERS_NS 200000
#define UNWANTED 512
/** To ask whether somebody else wants the processor costs as much as to look. */
#define LOOKS_A_TURN 8
/** The usher looks after the workers every millisecond, and sleeps after so many in which nothing came. */
#define USHER_ROUNDS 4

struct worker {
	struct loop *loop;
	struct thread thread;
	struct fuse_buf buf;
	_Atomic uint64_t busy; /**< the request it is at, while it is a reader; 0 = none */
	uint64_t seen;	       /**< the usher's: busy as it was a moment ago */
	bool running;	       /**< protected by lock */
	pid_t client; /**< whose the last request was; 0 = nobody waits for its answer, as for RELEASE */
	unsigned no_lookout; /**< for so many requests it sleeps at once */
	int crowd; /**< requests in a row that were there already; or, below 0, that were not */
};

struct loop {
	struct fuse_session *se;
	_Atomic uint64_t requests;
	atomic_bool usher_sleeps;
	struct mutex lock; /**< protects all that follows */
	struct cond may_read;
	struct cond usher;
	unsigned readers;
	atomic_uint readers_max;
	unsigned running;
	bool stop;
	int error;
	struct worker workers[WORKERS];
};

struct loop *loop_create(struct fuse_session *se)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	l->se = se;
	l->readers_max = 1;
	mutex_init(&l->lock);
	cond_init(&l->may_read);
	cond_init(&l->usher);
	return l;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	cond_fini(&l->usher);
	cond_fini(&l->may_read);
	mutex_fini(&l->lock);
	free(l);
}

static void stop_locked(struct loop *l, int error)
{
	l->stop = true;
	if (!l->error)
		l->error = error;
	fuse_session_exit(l->se);
	cond_broadcast(&l->may_read);
	cond_broadcast(&l->usher);
}

void loop_stop(struct loop *l)
{
	mutex_lock(&l->lock);
	stop_locked(l, 0);
	mutex_unlock(&l->lock);
}

/* ---- reading ------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Lets one more in, or this one out: false. */
static bool fits_the_crowd(struct worker *w)
{
	struct loop *l = w->loop;
	bool stays = true;

	if (abs(w->crowd) < CROWD)
		return true;
	mutex_lock(&l->lock);
	if (w->crowd > 0 && l->readers_max < WORKERS) {
		l->readers_max++;
		cond_broadcast(&l->may_read);
	} else if (w->crowd < 0 && l->readers_max > 1) {
		l->readers_max--;
		stays = l->readers <= l->readers_max;
		l->readers -= !stays;
	}
	mutex_unlock(&l->lock);
	w->crowd = 0;
	return stays;
}

/* The head of a request, as fuse(4) has it. */
static uint32_t head_field(const struct worker *w, size_t at)
{
	uint32_t ret = 0;

	if (w->buf.size >= at + sizeof(ret))
		memcpy(&ret, (const char *)w->buf.mem + at, sizeof(ret));
	return ret;
}

/*
 * A request that waited says that there is more than one asker, unless it is of the one just answered: that may be
 * quicker than we are. Reading ahead, the kernel asks for much at once in one thread's name.
 */
static bool is_crowd(struct worker *w)
{
	enum {
		OPCODE_AT = 4,
		PID_AT = 32,
		OPCODE_READ = 15
	};
	pid_t last = w->client;

	w->client = (pid_t)head_field(w, PID_AT);
	return w->client && last && (w->client != last || head_field(w, OPCODE_AT) == OPCODE_READ);
}

/*
 * Looks for the next request for a moment before it sleeps: to be woken on a processor that sleeps takes longer than
 * a program needs to ask again. Whoever else wants the processor gets it.
 */
static void look_out(struct worker *w, uint64_t from)
{
	struct pollfd p = {.fd = fuse_session_fd(w->loop->se), .events = POLLIN};

	if (w->loop->readers_max > 1 || w->no_lookout) {
		w->no_lookout -= w->no_lookout > 0;
		return;
	}
	uint64_t now = from, then = from;
	for (unsigned looks = 1; poll(&p, 1, 0) == 0; looks++, then = now) {
		if (looks % LOOKS_A_TURN == 0)
			(void)sched_yield();
		now = now_ns();
		if (now - then > OTHERS_NS) {
			w->no_lookout = UNWANTED;
			return;
		}
		if (now - from > LOOKOUT_NS) {
			w->no_lookout = IN_VAIN;
			return;
		}
	}
}

/* A request, or what fuse_session_receive_buf() says. */
static int receive(struct worker *w)
{
	uint64_t from = now_ns();

	look_out(w, from);
	int r = fuse_session_receive_buf(w->loop->se, &w->buf);
	bool there = now_ns() - from < AT_ONCE_NS;
	bool crowd = r > 0 && is_crowd(w);

	if (!there)
		w->crowd = w->crowd > 0 ? -1 : w->crowd - 1;
	else if (crowd)
		w->crowd = w->crowd < 0 ? 1 : w->crowd + 1;
	return r;
}

/* The usher looks after whoever is at a request; while there are none, it sleeps. */
static void tell_usher(struct loop *l)
{
	if (!atomic_load(&l->usher_sleeps))
		return;
	mutex_lock(&l->lock);
	cond_broadcast(&l->usher);
	mutex_unlock(&l->lock);
}

/* One request. False: it is no reader any more. */
static bool serve(struct worker *w)
{
	struct loop *l = w->loop;
	int r = receive(w);

	if (r == -EINTR && !fuse_session_exited(l->se))
		return true;
	if (r <= 0) {
		mutex_lock(&l->lock);
		l->readers--;
		stop_locked(l, r == -EINTR ? 0 : r);
		mutex_unlock(&l->lock);
		return false;
	}
	uint64_t request = atomic_fetch_add(&l->requests, 1) + 1;
	atomic_store(&w->busy, request);
	tell_usher(l);
	fuse_session_process_buf(l->se, &w->buf);
	return atomic_compare_exchange_strong(&w->busy, &request, 0) && fits_the_crowd(w);
}

static bool become_reader(struct loop *l)
{
	mutex_lock(&l->lock);
	while (!l->stop && l->readers >= l->readers_max)
		cond_wait(&l->may_read, &l->lock);
	bool yes = !l->stop;
	l->readers += yes;
	mutex_unlock(&l->lock);
	return yes;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, WAKE_SIGNAL);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (become_reader(w->loop)) {
		w->crowd = 0;
		while (serve(w))
			;
	}
	mutex_lock(&w->loop->lock);
	w->running = false;
	w->loop->running--;
	cond_broadcast(&w->loop->usher);
	mutex_unlock(&w->loop->lock);
	return NULL;
}

/* ---- the usher ----------------------------------------------------------------------------------- */

/* Whoever is still at the request of a moment ago reads no more: somebody else does. */
static void usher_round(struct loop *l)
{
	for (size_t i = 0; i < WORKERS; i++) {
		struct worker *w = &l->workers[i];
		uint64_t busy = atomic_load(&w->busy);

		if (busy && busy == w->seen && atomic_compare_exchange_strong(&w->busy, &busy, 0)) {
			l->readers--;
			cond_broadcast(&l->may_read);
		}
		w->seen = busy;
	}
}

static void usher(struct loop *l)
{
	uint64_t last = 0;
	unsigned quiet = 0;

	while (!l->stop) {
		uint64_t requests = atomic_load(&l->requests);

		quiet = requests == last ? quiet + 1 : 0;
		last = requests;
		if (quiet < USHER_ROUNDS) {
			(void)cond_wait_until(&l->usher, &l->lock, monotonic_ms() + 1);
		} else {
			/* What comes after this is told; what came before is seen. */
			atomic_store(&l->usher_sleeps, true);
			if (atomic_load(&l->requests) == last)
				cond_wait(&l->usher, &l->lock);
			atomic_store(&l->usher_sleeps, false);
			quiet = 0;
		}
		usher_round(l);
	}
}

static void on_wake(int sig)
{
	(void)sig;
}

int loop_run(struct loop *l)
{
	/* Without SA_RESTART: it is there to interrupt. */
	struct sigaction wake = {.sa_handler = on_wake};

	(void)sigemptyset(&wake.sa_mask);
	(void)sigaction(WAKE_SIGNAL, &wake, NULL);
	mutex_lock(&l->lock);
	for (size_t i = 0; i < WORKERS; i++) {
		struct worker *w = &l->workers[i];

		w->loop = l;
		w->running = true;
		l->running++;
		thread_start(&w->thread, "worker", work, w);
	}
	usher(l);
	/* A signal that comes just before somebody falls asleep is lost: hence more than one. */
	while (l->running) {
		for (size_t i = 0; i < WORKERS; i++) {
			if (l->workers[i].running)
				thread_interrupt(&l->workers[i].thread, WAKE_SIGNAL);
		}
		(void)cond_wait_until(&l->usher, &l->lock, monotonic_ms() + WAKE_INTERVAL_MS);
	}
	int r = l->error;
	mutex_unlock(&l->lock);
	for (size_t i = 0; i < WORKERS; i++) {
		thread_join(&l->workers[i].thread);
		free(l->workers[i].buf.mem);
	}
	return r;
}
