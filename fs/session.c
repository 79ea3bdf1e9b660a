/*
 * Mounting, running, stopping.
 *
 * session_stop() only sets an event, for it is called from signal handlers; a thread waits for that, sees the last
 * notification off while the workers still answer (notify.h says why), and stops the loop.
 */
#include "fs/session.h"

#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"
#include "fs/echo.h"
#include "fs/loop.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/refusal.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

struct session {
	struct ops_ctx ops;
	struct fuse_session *se;
	struct notify notify;
	char *mountpoint;
	int stop_fd; /**< readable = stop */
	struct loop *loop;
};

/* ---- what libfuse has to say ------------------------------------------------------------------ */

/** Where this thread keeps libfuse's complaints while it mounts; else NULL, and they are logged. */
static _Thread_local struct why *complaint;

/** libfuse says some sentences in several pieces. */
static void complain(const char *text)
{
	size_t n = strlen(complaint->text);

	(void)snprintf(complaint->text + n, sizeof(complaint->text) - n, "%s", text);
}

__attribute__((format(printf, 2, 0))) static void on_fuse_log(enum fuse_log_level level,
							      const char *format, va_list args)
{
	static const char prefix[] = "fuse: ";
	char line[400];

	(void)vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	const char *text = line;
	if (strncmp(line, prefix, strlen(prefix)) == 0)
		text += strlen(prefix);
	if (complaint)
		complain(text);
	else if (level <= FUSE_LOG_ERR)
		log_err("libfuse: %s", text);
	else
		log_debug("libfuse: %s", text);
}

/* ---- creating --------------------------------------------------------------------------------- */

/** Whether path is where a file system is mounted. */
static bool is_mounted_on(const char *path, const struct stat *st)
{
	AUTO(free_ptr) char *above = xasprintf("%s/..", path);
	struct stat up;

	return stat(above, &up) == 0 && up.st_dev != st->st_dev;
}

/** The commands look closer before (cli/mountpoint.h); this keeps every caller from stacking mounts. */
static int check_mountpoint(const char *dir, char **ret, struct why *why)
{
	AUTO(free_ptr) char *path = NULL;
	struct statvfs fs;
	struct stat st;

	/* statvfs, too, because the kernel answers stat for a dead mount from what it has cached. */
	if (stat(dir, &st) < 0 || statvfs(dir, &fs) < 0) {
		int r = -errno;

		if (r == -ENOENT)
			return why_set(why, r, "'%s' does not exist: create it with mkdir %s", dir,
				       dir);
		if (r == -ENOTCONN)
			return why_set(why, r,
				       "the program that served '%s' has ended: unmount it with "
				       "fusermount3 -uz %s",
				       dir, dir);
		return why_set(why, r, "cannot mount on '%s': %s", dir, strerror(-r));
	}
	if (!S_ISDIR(st.st_mode))
		return why_set(why, -ENOTDIR, "'%s' is not a directory: mount on an empty one", dir);
	path = realpath(dir, NULL);
	if (!path)
		return why_set(why, -errno, "cannot mount on '%s': %s", dir, strerror(errno));
	if (platform_is_fuse(path) && is_mounted_on(path, &st))
		return why_set(
			why, -EBUSY,
			"something is mounted at '%s' already: unmount it with blaze umount %s",
			dir, dir);
	*ret = STEAL(path);
	return 0;
}

/** The argument after -o. Commas in the database's name are escaped. */
static char *mount_options(const struct session_options *options)
{
	AUTO(free_ptr) char *fsname = xasprintf("fsname=%s", options->name);
	char *ret = NULL;
	int r = fuse_opt_add_opt(&ret, PLATFORM_FUSE_OPTIONS);

	r |= fuse_opt_add_opt_escaped(&ret, fsname);
	if (options->fuse_options && options->fuse_options[0])
		r |= fuse_opt_add_opt(&ret, options->fuse_options);
	if (r)
		abort(); /* out of memory */
	return ret;
}

static int new_fuse_session(struct session *s, const struct session_options *options,
			    struct why *why)
{
	AUTO(free_ptr) char *list = mount_options(options);
	char program[] = "blaze", flag[] = "-o";
	char *argv[] = {program, flag, list, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);

	s->se = fuse_session_new(&args, &ops_table, sizeof(ops_table), &s->ops);
	fuse_opt_free_args(&args);
	if (!s->se)
		return why_set(why, -EINVAL, "cannot mount with these options: %s", complaint->text);
	return 0;
}

static int mount_fuse_session(struct session *s, struct why *why)
{
	const char *missing = platform_no_fuse();

	if (missing)
		return why_set(why, -ENODEV, "%s", missing);
	struct refusal said;
	char text[256] = "fusermount3 does not run: install the package fuse3";
	refusal_begin(&said);
	int r = fuse_session_mount(s->se, s->mountpoint);
	refusal_end(&said, text, sizeof(text));
	if (r == 0)
		return 0;
	const char *reason = complaint->text[0] ? complaint->text : text;
	return why_set(why, -EPERM, "cannot mount on '%s': %s", s->mountpoint, reason);
}

static int mount_session(struct session *s, const struct session_options *options, struct why *why)
{
	int r = new_fuse_session(s, options, why);

	if (r < 0)
		return r;
	r = mount_fuse_session(s, why);
	if (r < 0)
		return r;
	r = init_patch_install(s->se);
	if (r < 0)
		return why_set(why, r, "cannot talk to /dev/fuse: %s", strerror(-r));
	return 0;
}

int session_create(const struct session_options *options, struct session **ret, struct why *why)
{
	struct session *s = xcalloc(1, sizeof(*s));
	struct why said = {0};

	s->stop_fd = -1;
	ops_ctx_init(&s->ops);
	s->ops.vfs = options->vfs;
	s->ops.special = options->special;
	s->ops.no_open = options->no_open;
	s->ops.init.ready = options->ready;
	s->ops.init.ctx = options->ready_ctx;
	notify_init(&s->notify, NULL);

	int r = check_mountpoint(options->mountpoint, &s->mountpoint, why);
	if (r >= 0) {
		s->stop_fd = platform_event_create();
		if (s->stop_fd < 0)
			r = why_set(why, s->stop_fd, "cannot mount: %s", strerror(-s->stop_fd));
	}
	if (r >= 0) {
		fuse_set_log_func(on_fuse_log);
		complaint = &said;
		r = mount_session(s, options, why);
		complaint = NULL;
	}
	if (r < 0) {
		session_destroy(s);
		return r;
	}
	const struct echo_options echo = {
		.helper = options->echo_helper,
		.mountpoint = s->mountpoint,
		.vfs = options->vfs,
		.failed = notify_plainly,
		.ctx = &s->notify,
	};
	s->notify.se = s->se;
	s->notify.echo = s->ops.echo = echo_create(&echo);
	vfs_set_notify(options->vfs, notify_send, &s->notify);
	*ret = s;
	return 0;
}

/* ---- running and stopping --------------------------------------------------------------------- */

void session_stop(struct session *s)
{
	platform_event_set(s->stop_fd);
}

static void *stopper(void *arg)
{
	struct session *s = arg;
	struct pollfd p = {.fd = s->stop_fd, .events = POLLIN};

	while (poll(&p, 1, -1) <= 0) {
		/* EINTR */
	}
	echo_stop(s->ops.echo);
	notify_close(&s->notify);
	loop_stop(s->loop);
	return NULL;
}

int session_run(struct session *s)
{
	struct thread stop_thread = {0};

	assert(!s->loop);
	s->loop = loop_create(s->se);
	thread_start(&stop_thread, "stop", stopper, s);
	ops_sync_start(&s->ops);

	int r = loop_run(s->loop);

	ops_sync_stop(&s->ops);
	session_stop(s);
	thread_join(&stop_thread);
	/* What an unmounting interrupted says so: only a mount that is still there has broken. */
	if (r == -ECONNABORTED && !platform_is_blaze(s->mountpoint))
		r = 0;
	return r > 0 ? 0 : r;
}

void session_destroy(struct session *s)
{
	if (!s)
		return;
	if (s->notify.se)
		vfs_set_notify(s->ops.vfs, NULL, NULL);
	echo_stop(s->ops.echo);
	notify_close(&s->notify);
	if (s->se) {
		fuse_session_unmount(s->se);
		fuse_session_destroy(s->se);
	}
	ops_ctx_fini(&s->ops);
	echo_destroy(s->ops.echo);
	notify_fini(&s->notify);
	close_fd(&s->stop_fd);
	loop_destroy(s->loop);
	free(s->mountpoint);
	free(s);
}

const char *session_mountpoint(const struct session *s)
{
	return s->mountpoint;
}
