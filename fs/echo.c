/* The daemon's side of the echo helper: the queue, and the thread that feeds it. */
#include "fs/echo.h"

#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"
#include "fs/echo_wire.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/** inotify's own queue holds as many by default: whoever watches could not keep up with more. */
#define WAITING_MAX 16384
/** Changes of one file that wait become one; this many files are looked back at. */
#define COALESCE_SLOTS 1024

struct echo {
	struct echo_options options;
	struct thread thread;
	struct mutex lock; /* protects all below */
	struct cond changed;
	bool stop;
	bool broken;		    /**< the helper has ended */
	struct vfs_notice *waiting; /**< a ring */
	size_t first;
	size_t count;
	uint64_t modified[COALESCE_SLOTS]; /**< inodes whose NOTICE_MODIFY waits, by ino % COALESCE_SLOTS */
	struct vfs_notice batch[ECHO_BATCH_MAX];
	size_t batch_count;
	uint32_t batch_seq;	 /**< of batch[0] */
	_Atomic uint32_t looked; /**< see echo_looked(): during which seq it was last */
};

/* ---- the process -------------------------------------------------------------------------------- */

static _Noreturn void be_helper(int fd, struct echo_shared *shared)
{
	/* Everything else belongs to the daemon: a pipe held open here would keep somebody waiting. */
	if (dup2(fd, STDIN_FILENO) < 0)
		_exit(1);
	(void)close(STDOUT_FILENO);
	platform_close_from(STDERR_FILENO);
	echo_helper_run(STDIN_FILENO, shared);
}

int echo_spawn(struct echo_helper *ret, struct why *why)
{
	int pair[2];
	void *shared = mmap(NULL, sizeof(struct echo_shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	*ret = (struct echo_helper){.socket = -1};
	if (shared == MAP_FAILED)
		return why_set(why, -errno, "cannot start the echo helper: %s", strerror(errno));
	int r = platform_socketpair(SOCK_SEQPACKET, pair);
	if (r < 0) {
		(void)munmap(shared, sizeof(struct echo_shared));
		return why_set(why, r, "cannot start the echo helper: %s", strerror(-r));
	}
	pid_t pid = fork();
	if (pid == 0)
		be_helper(pair[1], shared);
	(void)close(pair[1]);
	*ret = (struct echo_helper){.pid = pid, .socket = pair[0], .shared = shared};
	if (pid > 0)
		return 0;
	r = why_set(why, -errno, "cannot start the echo helper: %s", strerror(errno));
	ret->pid = 0;
	echo_reap(ret);
	return r;
}

void echo_reap(struct echo_helper *h)
{
	if (!h->shared)
		return;
	close_fd(&h->socket);
	/* It ends by itself, unless somebody keeps a directory of the dead mount locked. */
	if (h->pid > 0) {
		(void)kill(h->pid, SIGKILL);
		(void)waitpid(h->pid, NULL, 0);
	}
	(void)munmap(h->shared, sizeof(struct echo_shared));
	*h = (struct echo_helper){.socket = -1};
}

/* ---- requests ----------------------------------------------------------------------------------- */

static int op_of(const struct vfs_notice *n)
{
	switch (n->kind) {
	case NOTICE_CREATE:
		return S_ISDIR(n->mode)	  ? ECHO_MKDIR
		       : S_ISLNK(n->mode) ? ECHO_SYMLINK
					  : ECHO_CREATE;
	case NOTICE_DELETE:
		return S_ISDIR(n->mode) ? ECHO_RMDIR : ECHO_UNLINK;
	case NOTICE_MOVE:
		return ECHO_RENAME;
	case NOTICE_MODIFY:
		return S_ISREG(n->mode) ? ECHO_MODIFY : -1;
	case NOTICE_ATTR:
		return ECHO_ATTRIB;
	}
	return -1;
}

static int put_path(const char *dir, const char *name, char ret[PATH_MAX])
{
	int n = dir ? snprintf(ret, PATH_MAX, "%s%s%s", dir, dir[0] ? "/" : "", name) : -1;

	return n < 0 ? -ENOENT : n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int send_request(const struct echo *e, const struct echo_request *q)
{
	ssize_t n = send(e->options.helper->socket, q, sizeof(*q), PLATFORM_SEND_FLAGS);

	return n == (ssize_t)sizeof(*q) ? 0 : -EPIPE;
}

static int request(const struct vfs_notice *n, struct echo_request *q)
{
	int r = put_path(n->dir, n->name, q->path);

	q->op = (uint32_t)op_of(n);
	if (r == 0 && n->kind == NOTICE_MOVE)
		r = put_path(n->to_dir, n->to_name, q->to);
	return r;
}

static int set_up(const struct echo *e, struct echo_request *q)
{
	q->op = ECHO_SETUP;
	q->arg = geteuid();
	q->arg2 = getegid();
	if (strlen(e->options.mountpoint) >= sizeof(q->path))
		return -ENAMETOOLONG;
	memcpy(q->path, e->options.mountpoint, strlen(e->options.mountpoint) + 1);
	return send_request(e, q);
}

/* ---- batches ------------------------------------------------------------------------------------ */

static void take_batch_locked(struct echo *e)
{
	e->batch_seq += ECHO_BATCH_MAX;
	e->batch_count = 0;
	while (e->count && e->batch_count < ECHO_BATCH_MAX) {
		struct vfs_notice *n = &e->waiting[e->first];

		if (n->kind == NOTICE_MODIFY)
			e->modified[n->ino % COALESCE_SLOTS] = 0;
		e->batch[e->batch_count++] = *n;
		e->first = (e->first + 1) % WAITING_MAX;
		e->count--;
	}
}

/* -errno when the helper is gone. */
static int execute_batch(struct echo *e, struct echo_request *q)
{
	_Atomic int *results = e->options.helper->shared->results;
	int r = 0;
	char done;

	for (size_t k = 0; r == 0 && k < e->batch_count; k++) {
		q->seq = e->batch_seq + (uint32_t)k;
		int err = request(&e->batch[k], q);
		atomic_store(&results[q->seq % ECHO_BATCH_MAX], err);
		if (err == 0)
			r = send_request(e, q);
	}
	q->op = ECHO_FLUSH;
	if (r == 0)
		r = send_request(e, q);
	while (r == 0) {
		ssize_t n = recv(e->options.helper->socket, &done, 1, 0);

		if (n == 1)
			return 0;
		r = n < 0 && errno == EINTR ? 0 : -EPIPE;
	}
	return r;
}

/* Nobody looks at what is no longer in e->batch: a request of the helper's may still be on its way. */
static size_t take_done(struct echo *e, struct vfs_notice *ret, bool is_broken)
{
	mutex_lock(&e->lock);
	size_t n = e->batch_count;

	memcpy(ret, e->batch, n * sizeof(*ret));
	e->batch_count = 0;
	if (is_broken && !e->broken)
		log_warn("the echo helper ended: programs are not told of changes from other "
			 "devices until the next mount");
	e->broken = e->broken || is_broken;
	mutex_unlock(&e->lock);
	return n;
}

static void settle_batch(struct echo *e, int r)
{
	const _Atomic int *results = e->options.helper->shared->results;
	struct vfs_notice done[ECHO_BATCH_MAX];
	size_t n = take_done(e, done, r < 0);

	for (size_t k = 0; k < n; k++) {
		int err = r < 0 ? r : atomic_load(&results[(e->batch_seq + k) % ECHO_BATCH_MAX]);

		if (err < 0) {
			log_debug("echo of %s: %s", done[k].name, strerror(-err));
			e->options.failed(e->options.ctx, &done[k]);
		}
	}
	vfs_told(e->options.vfs, done, n);
	for (size_t k = 0; k < n; k++)
		vfs_notice_fini(&done[k]);
}

static void *run(void *arg)
{
	struct echo *e = arg;
	struct echo_request *q = xcalloc(1, sizeof(*q));
	int r = set_up(e, q);

	mutex_lock(&e->lock);
	while (!e->stop) {
		if (e->count == 0) {
			cond_wait(&e->changed, &e->lock);
			continue;
		}
		take_batch_locked(e);
		mutex_unlock(&e->lock);
		if (r == 0)
			r = execute_batch(e, q);
		settle_batch(e, r);
		mutex_lock(&e->lock);
	}
	mutex_unlock(&e->lock);
	free(q);
	return NULL;
}

/* ---- interface ---------------------------------------------------------------------------------- */

struct echo *echo_create(const struct echo_options *options)
{
	if (!options->helper || options->helper->pid <= 0)
		return NULL;
	struct echo *e = xcalloc(1, sizeof(*e));
	e->options = *options;
	e->waiting = xcalloc(WAITING_MAX, sizeof(*e->waiting));
	mutex_init(&e->lock);
	cond_init(&e->changed);
	thread_start(&e->thread, "echo", run, e);
	return e;
}

void echo_stop(struct echo *e)
{
	if (!e)
		return;
	mutex_lock(&e->lock);
	e->stop = true;
	cond_broadcast(&e->changed);
	mutex_unlock(&e->lock);
	thread_join(&e->thread);
}

void echo_destroy(struct echo *e)
{
	if (!e)
		return;
	assert(e->stop);
	for (; e->count; e->count--) {
		vfs_notice_fini(&e->waiting[e->first]);
		e->first = (e->first + 1) % WAITING_MAX;
	}
	cond_fini(&e->changed);
	mutex_fini(&e->lock);
	free(e->waiting);
	free(e);
}

/* Whether this file's change waits already; else it does from now on. */
static bool coalesce_locked(struct echo *e, const struct vfs_notice *n)
{
	uint64_t *slot = &e->modified[n->ino % COALESCE_SLOTS];

	if (n->kind != NOTICE_MODIFY)
		return false;
	if (*slot == n->ino)
		return true;
	*slot = n->ino;
	return false;
}

bool echo_push(struct echo *e, struct vfs_notice *n)
{
	if (!e || op_of(n) < 0)
		return false;
	mutex_lock(&e->lock);
	bool taken = !e->stop && !e->broken && e->count < WAITING_MAX;
	if (taken && coalesce_locked(e, n)) {
		vfs_notice_fini(n);
	} else if (taken) {
		e->waiting[(e->first + e->count++) % WAITING_MAX] = *n;
		n->dir = n->name = n->to_dir = n->to_name = NULL;
		if (e->count == 1)
			cond_broadcast(&e->changed);
	}
	mutex_unlock(&e->lock);
	return taken;
}

bool echo_is_helper(const struct echo *e, pid_t pid)
{
	return e && pid == e->options.helper->pid;
}

bool echo_current(struct echo *e, struct vfs_notice *ret)
{
	uint32_t seq = atomic_load(&e->options.helper->shared->current);
	bool found = false;

	mutex_lock(&e->lock);
	uint32_t at = seq - e->batch_seq;
	if (seq && at < e->batch_count) {
		*ret = e->batch[at];
		ret->dir = ret->to_dir = NULL;
		ret->name = xstrdup(ret->name);
		ret->to_name = ret->to_name ? xstrdup(ret->to_name) : NULL;
		found = true;
	}
	mutex_unlock(&e->lock);
	return found;
}

void echo_looked(struct echo *e)
{
	atomic_store(&e->looked, atomic_load(&e->options.helper->shared->current));
}

bool echo_has_looked(struct echo *e)
{
	uint32_t seq = atomic_load(&e->options.helper->shared->current);

	return seq && atomic_load(&e->looked) == seq;
}
