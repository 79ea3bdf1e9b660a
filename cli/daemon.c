/* Starting, running and ending the process behind a mount. */
#include "cli/daemon.h"

#include "cli/command.h"
#include "cli/control.h"
#include "cli/home.h"
#include "cli/mountpoint.h"
#include "cli/service.h"
#include "cli/show.h"
#include "cli/version.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"
#include "fs/echo.h"
#include "fs/guard.h"
#include "fs/session.h"
#include "fs/special.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long connected peers get at the end to take what they still lack. */
#define FLUSH_MS 1000
/* A log that has grown beyond this is put aside when the daemon starts. */
#define LOG_BYTES_MAX (4 << 20)

struct daemon {
	const struct daemon_options *options;
	struct out *out; /* until ready: the person who mounts; afterwards NULL */
	struct service service;
	struct special *special;
	struct session *session;
	struct echo_helper echo;
	struct guard guard;
	struct thread signals;
	atomic_bool ended; /* the mount is gone: the signal that comes now is our own */
	int log_fd;	   /* -1: standard error is the log */
};

/* ---- this process --------------------------------------------------------------------------- */

/* The signals that end a mount; not a hangup that nohup(1) wants ignored. */
static sigset_t end_signals(void)
{
	struct sigaction hangup;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigaction(SIGHUP, NULL, &hangup) < 0 || hangup.sa_handler != SIG_IGN)
		(void)sigaddset(&set, SIGHUP);
	return set;
}

/* LeakSanitizer looks at the process as a debugger does, which an undumpable process does not allow. */
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

/* Keys and contents are in memory: no other process of the user, and no core file, may have them. */
static void harden(void)
{
	struct rlimit none = {0, 0};

	if (!UNDER_ASAN)
		platform_hide_memory();
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)umask(077);
}

/* The database keeps open many files, each client and peer one more. */
static void raise_file_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max < 65536 ? l.rlim_max : 65536;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* ---- ready ---------------------------------------------------------------------------------- */

static void write_ready_line(const struct daemon *d, const char *listen)
{
	AUTO(buf_fini) struct buf line = {0};

	if (d->options->ready_fd < 0)
		return;
	buf_printf(&line, "{\"v\":1,\"pid\":%ld,", (long)getpid());
	show_json_text(&line, "mountpoint", d->service.mountpoint);
	show_json_text(&line, "listen", listen);
	line.len--; /* the last comma */
	buf_printf(&line, "}\n");
	if (out_write_all(d->options->ready_fd, buf_slice(&line)) < 0)
		log_warn("nobody reads --ready-fd, ignoring");
	(void)close(d->options->ready_fd);
}

/*
 * Only now leaves the terminal's session: a mount that systemd's automount asked for may touch its
 * directory only from the process group that was started for it.
 */
static void detach(const struct daemon *d)
{
	AUTO(close_fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (d->options->foreground || null < 0)
		return;
	(void)setsid();
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	(void)dup2(d->log_fd >= 0 ? d->log_fd : null, STDERR_FILENO);
}

static void on_ready(void *ctx)
{
	struct daemon *d = ctx;
	char listen[ENDPOINT_BYTES_MAX + 1];
	AUTO(buf_fini) struct buf dir = {0};
	AUTO(buf_fini) struct buf state = {0};

	net_endpoint(d->service.net, listen);
	log_info("mounted %s at %s, listening on %s", d->service.name, d->service.mountpoint,
		 listen[0] ? listen : "nothing");
	show_path(&dir, d->service.mountpoint);
	AUTO(free_ptr) char *shown = show_text(d->service.mountpoint);
	if (!d->options->quiet)
		out_printf(d->out, "Mounted \"%s\" at %s  (unmount with: blaze umount %s)\n",
			   d->service.name, shown, buf_str(&dir));
	detach(d);
	write_ready_line(d, listen);
	buf_printf(&state, "READY=1\nMAINPID=%ld\nSTATUS=Mounted %s at %s, listening on %s\n",
		   (long)getpid(), d->service.name, shown, listen[0] ? listen : "nothing");
	platform_tell_systemd(buf_str(&state));
	out_exit(d->out, CODE_OK);
	if (d->out->fd >= 0) {
		(void)close(d->out->fd);
		d->out->fd = -1;
	}
	d->out->gone = true;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void *signal_thread(void *arg)
{
	struct daemon *d = arg;
	sigset_t set = end_signals();
	int sig = 0;

	(void)sigwait(&set, &sig);
	if (!atomic_load(&d->ended))
		log_info("unmounting after %s", strsignal(sig));
	session_stop(d->session);
	return NULL;
}

static int unmount(struct service *s, struct why *why)
{
	return mountpoint_unmount(s->mountpoint, false, why);
}

static void finish(struct daemon *d)
{
	struct service *s = &d->service;
	struct control *control = s->control;
	uint64_t unsent = 0;

	platform_tell_systemd("STOPPING=1\nSTATUS=Publishing what was held back\n");
	/* Before the mount is taken away: a program that watches it may then ask at once. */
	guard_reap(&d->guard);
	session_destroy(STEAL(d->session));
	echo_reap(&d->echo);
	control_stop(control);
	special_destroy(STEAL(d->special));
	if (s->vfs)
		service_close_files(s, FLUSH_MS);
	if (s->db)
		unsent = service_unsent(s);
	control_finish(control, unsent);
	if (s->db)
		log_info("unmounted %s, %" PRIu64 " changes unsent", s->name, unsent);
	service_close(s);
}

/* ---- the start ------------------------------------------------------------------------------ */

static int open_session(struct daemon *d)
{
	const struct daemon_options *o = d->options;
	struct service *s = &d->service;
	struct why why = {""};
	struct special_options special = {
		.report = service_report(s),
		.vfs = s->vfs,
		.version = BLAZE_VERSION,
		.uid = o->uid,
		.gid = o->gid,
	};
	struct session_options session = {
		.vfs = s->vfs,
		.echo_helper = &d->echo,
		.mountpoint = s->mountpoint,
		.name = s->name,
		.fuse_options = o->fuse_options,
		.no_open = o->noopen,
		.ready = on_ready,
		.ready_ctx = d,
	};

	d->special = special_create(&special);
	session.special = d->special;
	int r = session_create(&session, &d->session, &why);
	if (r < 0)
		return out_error(d->out, r == -EBUSY ? CODE_BUSY : CODE_FAILED, "mount: %s",
				 why.text);
	guard_watch(&d->guard, s->mountpoint);
	return CODE_OK;
}

static int open_all(struct daemon *d)
{
	const struct daemon_options *o = d->options;
	struct service *s = &d->service;
	struct why why = {""};
	int code = service_open(s, o->home, o->name, d->out);

	if (code != CODE_OK)
		return code;
	s->mountpoint = mountpoint_absolute(o->dir);
	if (!s->mountpoint)
		return out_error(d->out, CODE_FAILED, "mount: %s: %s", o->dir, strerror(errno));
	s->unmount = unmount;
	code = service_open_files(s, o->uid, o->gid, d->out);
	if (code == CODE_OK)
		code = service_open_net(s, o->listen, d->out);
	if (code == CODE_OK && control_start(s, &why) < 0)
		code = out_error(d->out, CODE_FAILED, "mount: %s", why.text);
	/* Warnings come before the news that it is mounted. */
	out_flush(d->out);
	return code == CODE_OK ? open_session(d) : code;
}

/* Before any thread, and before keys are in memory. */
static void start_helpers(struct daemon *d)
{
	struct why why = {""};

	if (d->options->echo && echo_spawn(&d->echo, &why) < 0)
		out_warn(d->out, "programs will not be told of changes from other devices: %s",
			 why.text);
	if (guard_spawn(&d->guard, &why) < 0)
		out_warn(d->out, "a killed daemon may leave programs hanging: %s", why.text);
}

/* The whole life of the process: returns its exit code. */
static int live(struct daemon *d)
{
	sigset_t set = end_signals();

	/* Before any thread: all of them inherit it, and the signals wait for signal_thread(). */
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	harden();
	raise_file_limit();
	start_helpers(d);
	platform_return_memory();
	int code = open_all(d);

	if (code == CODE_OK) {
		thread_start(&d->signals, "blaze-signals", signal_thread, d);
		int r = session_run(d->session);

		if (r < 0) {
			log_warn("the mount broke: %s", strerror(-r));
			code = CODE_FAILED;
		}
		atomic_store(&d->ended, true);
		(void)kill(getpid(), SIGTERM);
		thread_join(&d->signals);
	}
	finish(d);
	return code;
}

static int open_log(const struct daemon_options *o)
{
	AUTO(free_ptr) char *dir = home_database(o->home, o->name);
	AUTO(free_ptr) char *path = xasprintf("%s/log", dir);
	AUTO(free_ptr) char *old = xasprintf("%s/log.1", dir);
	struct stat st;

	if (stat(path, &st) == 0 && st.st_size > LOG_BYTES_MAX)
		(void)rename(path, old);
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* The child's whole life; never returns. */
static _Noreturn void run_child(const struct daemon_options *o, int fd)
{
	struct out out;
	struct daemon d = {.options = o, .out = &out};

	out_init_socket(&out, fd, false);
	d.log_fd = open_log(o);
	if (d.log_fd >= 0)
		(void)dup2(d.log_fd, STDERR_FILENO);
	(void)!chdir("/");
	int code = live(&d);

	out_exit(&out, code);
	out_fini(&out);
	exit(code);
}

static int run_background(const struct daemon_options *o, struct out *out)
{
	int pair[2];

	if (platform_socketpair(SOCK_STREAM, pair) < 0)
		return out_error(out, CODE_FAILED, "mount: out of file descriptors");
	out_flush(out);
	pid_t child = fork();
	if (child < 0)
		return out_error(out, CODE_FAILED, "mount: cannot start a process: %s",
				 strerror(errno));
	if (child == 0) {
		(void)close(pair[0]);
		run_child(o, pair[1]);
	}
	(void)close(pair[1]);
	if (o->ready_fd >= 0)
		(void)close(o->ready_fd);
	int code = out_relay(pair[0], out);
	(void)close(pair[0]);
	if (code < 0)
		return out_error(
			out, CODE_FAILED,
			"mount: the process behind the mount died: see the file log in %s/%s",
			o->home, o->name);
	return code;
}

int daemon_mount(const struct daemon_options *o, struct out *out)
{
	struct daemon d = {.options = o, .out = out, .log_fd = -1};

	assert(o->dir[0] == '/' && o->home[0] == '/');
	return o->foreground ? live(&d) : run_background(o, out);
}
