/* Leader, deputy and spare threads; see workers.h. */
#include "fs/workers.h"

#include "core/thread.h"

#include <fuse_lowlevel.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define WORKERS 4
/** A request that takes longer has the deputy take over. */
#define DEPUTY_MS 20

#define WAKE_SIGNAL SIGUSR2
#define WAKE_INTERVAL_MS 5

struct worker {
	struct workers *all;
	struct thread thread;
	struct fuse_buf buf;
	atomic_uint turn; /**< odd while it answers a request; only the worker itself writes it */
};

struct workers {
	struct fuse_session *se;
	_Atomic(struct worker *) leader; /**< who reads requests; NULL: whoever comes first */
	atomic_bool deputy_sleeps;	 /**< until a request is taken */
	struct mutex lock;
	struct cond deputy_wanted; /**< the deputy waits here */
	struct cond spare_wanted;  /**< the others do */
	struct cond left;	   /**< a worker has ended */
	bool has_deputy;	   /* protected by lock, as all below */
	bool ended;
	size_t running;
	int result;
	struct worker items[WORKERS];
};

/* ---- who leads ----------------------------------------------------------------------------------- */

/* The leader is about to wait: somebody else is to read. It need not be the leader any more. */
static void hand_over(void *ctx)
{
	struct worker *me = ctx;
	struct workers *w = me->all;
	struct worker *expected = me;

	if (!atomic_compare_exchange_strong(&w->leader, &expected, NULL))
		return;
	mutex_lock(&w->lock);
	cond_signal(w->has_deputy ? &w->deputy_wanted : &w->spare_wanted);
	mutex_unlock(&w->lock);
}

/*
 * The deputy's watch over the leader: sleeps while that has nothing to do, and returns when it has been at one
 * request for too long, or something has changed. The lock is held.
 */
static bool watch(struct workers *w, struct worker *leader)
{
	unsigned turn = atomic_load(&leader->turn);

	w->has_deputy = true;
	if (turn % 2 == 0) {
		atomic_store(&w->deputy_sleeps, true);
		if (atomic_load(&leader->turn) == turn)
			cond_wait(&w->deputy_wanted, &w->lock);
		atomic_store(&w->deputy_sleeps, false);
		w->has_deputy = false;
		return false;
	}
	bool signalled = cond_wait_until(&w->deputy_wanted, &w->lock, monotonic_ms() + DEPUTY_MS);
	w->has_deputy = false;
	return !signalled && atomic_load(&leader->turn) == turn;
}

/* Waits until it is this worker's turn to read. False: there is nothing to read any more. */
static bool become_leader(struct worker *me)
{
	struct workers *w = me->all;
	bool leads = false;

	mutex_lock(&w->lock);
	while (!w->ended && !leads) {
		struct worker *leader = atomic_load(&w->leader);

		if (!leader)
			leads = atomic_compare_exchange_strong(&w->leader, &leader, me);
		else if (w->has_deputy)
			cond_wait(&w->spare_wanted, &w->lock);
		else if (watch(w, leader)) /* if that ends just now, both read for a moment */
			leads = atomic_compare_exchange_strong(&w->leader, &leader, me);
	}
	if (leads && !w->has_deputy)
		cond_signal(&w->spare_wanted);
	mutex_unlock(&w->lock);
	return leads;
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void answer(struct worker *me)
{
	struct workers *w = me->all;

	(void)atomic_fetch_add(&me->turn, 1);
	if (atomic_load(&w->deputy_sleeps)) {
		mutex_lock(&w->lock);
		cond_signal(&w->deputy_wanted);
		mutex_unlock(&w->lock);
	}
	fuse_session_process_buf(w->se, &me->buf);
	(void)atomic_fetch_add(&me->turn, 1);
}

static void end(struct workers *w, int result)
{
	fuse_session_exit(w->se);
	mutex_lock(&w->lock);
	w->ended = true;
	if (result < 0)
		w->result = result;
	cond_broadcast(&w->deputy_wanted);
	cond_broadcast(&w->spare_wanted);
	mutex_unlock(&w->lock);
}

static void *work(void *arg)
{
	struct worker *me = arg;
	struct workers *w = me->all;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, WAKE_SIGNAL);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	thread_on_wait(hand_over, me);
	while (become_leader(me)) {
		while (atomic_load(&w->leader) == me && !fuse_session_exited(w->se)) {
			int r = fuse_session_receive_buf(w->se, &me->buf);

			if (r > 0)
				answer(me);
			else if (r != -EINTR && r != -EAGAIN)
				end(w, r);
		}
		if (fuse_session_exited(w->se))
			end(w, 0);
	}
	mutex_lock(&w->lock);
	w->running--;
	cond_broadcast(&w->left);
	mutex_unlock(&w->lock);
	return NULL;
}

/* ---- beginning and end ---------------------------------------------------------------------------- */

struct workers *workers_create(struct fuse_session *se)
{
	struct workers *w = xcalloc(1, sizeof(*w));

	w->se = se;
	mutex_init(&w->lock);
	cond_init(&w->deputy_wanted);
	cond_init(&w->spare_wanted);
	cond_init(&w->left);
	w->running = WORKERS;
	return w;
}

void workers_destroy(struct workers *w)
{
	if (!w)
		return;
	cond_fini(&w->left);
	cond_fini(&w->spare_wanted);
	cond_fini(&w->deputy_wanted);
	mutex_fini(&w->lock);
	free(w);
}

static void on_wake(int sig)
{
	(void)sig;
}

int workers_run(struct workers *w)
{
	/* Without SA_RESTART: it is there to interrupt. */
	struct sigaction wake = {.sa_handler = on_wake};

	(void)sigemptyset(&wake.sa_mask);
	(void)sigaction(WAKE_SIGNAL, &wake, NULL);
	mutex_lock(&w->lock); /* nobody is woken before all are there */
	for (size_t i = 0; i < WORKERS; i++) {
		w->items[i].all = w;
		thread_start(&w->items[i].thread, "worker", work, &w->items[i]);
	}
	mutex_unlock(&w->lock);
	for (size_t i = 0; i < WORKERS; i++) {
		thread_join(&w->items[i].thread);
		free(w->items[i].buf.mem);
	}
	return w->result;
}

void workers_wake(struct workers *w)
{
	mutex_lock(&w->lock);
	while (w->running > 0) {
		struct worker *leader = atomic_load(&w->leader);

		/* A signal that comes just before the leader begins to read is lost: another one follows. */
		if (!w->ended && leader)
			thread_interrupt(&leader->thread, WAKE_SIGNAL);
		(void)cond_wait_until(&w->left, &w->lock, monotonic_ms() + WAKE_INTERVAL_MS);
	}
	mutex_unlock(&w->lock);
}
