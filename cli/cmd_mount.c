/* blaze mount: mounts a database; without arguments, lists what is mounted. */
#include "cli/cmd_mount.h"

#include "cli/client.h"
#include "cli/daemon.h"
#include "cli/home.h"
#include "cli/mountpoint.h"
#include "cli/show.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long that is waited for. */
#define ENDING_MS 3000

#define AT(field) offsetof(struct cmd_mount_options, field)

struct mount_options {
	struct cmd_mount_options m;
	bool json;
};

static const struct option_row mount_rows[] = {
	{"foreground", 'f', OPTION_FLAG, NULL, "stay in the foreground, log to standard error",
	 AT(foreground), false},
	{"listen", 'l', OPTION_TEXT, "A:P",
	 "address for other devices, port 0 is any; \"none\" (default: as last time)", AT(listen),
	 true},
	{"ready-fd", 0, OPTION_NUMBER, "N",
	 "write one line of JSON to descriptor N when it is mounted", AT(ready_fd), false},
	{NULL, 'o', OPTION_LIST, "OPT[,OPT...]", "options as in fstab: see mount.blaze(8)", AT(o),
	 false},
	{"allow-other", 0, OPTION_FLAG, NULL, "other users may use the mount (see fuse.conf)",
	 AT(allow_other), true},
	{"read-only", 'r', OPTION_FLAG, NULL, "nothing can be written through the mount",
	 AT(read_only), true},
	{"nonempty", 0, OPTION_FLAG, NULL, "hide what is in DIR", AT(nonempty), true},
	{"echo", 0, OPTION_TEXT, "on|off",
	 "inotify events for changes from other devices (default: on)", AT(echo), true},
	{"noopen", 0, OPTION_FLAG, NULL,
	 "for mounts that are mostly read: faster opens, see mount.blaze(8)", AT(noopen), true},
	{"uid", 0, OPTION_NUMBER, "UID", "owner of what other devices made (default: you)", AT(uid),
	 true},
	{"gid", 0, OPTION_NUMBER, "GID", "its group", AT(gid), true},
	{"datadir", 0, OPTION_TEXT, "PATH", "use this instead of BLAZE_HOME", AT(datadir), true},
	{"user", 0, OPTION_TEXT, "USER", "as root: become this user first", AT(user), true},
	{"log-level", 0, OPTION_TEXT, "LEVEL", "error, warning, info (default) or debug",
	 AT(log_level), true},
	{"json", 'j', OPTION_FLAG, NULL, "with no NAME: print one JSON object a mount",
	 offsetof(struct mount_options, json), false},
};

/* ---- -o ------------------------------------------------------------------------------------- */

/*
 * What mount(8), systemd and autofs deal with themselves, and what is so anyway. Some reach the helper,
 * some do not; none means anything to us.
 */
static bool is_for_others(const char *option)
{
	static const char *const names[] = {
		"_netdev",  "atime",	"auto",	       "default_permissions",
		"defaults", "dev",	"diratime",    "group",
		"iversion", "lazytime", "loud",	       "mand",
		"noatime",  "noauto",	"nodev",       "nodiratime",
		"nofail",   "nogroup",	"noiversion",  "nolazytime",
		"nomand",   "noowner",	"norelatime",  "nostrictatime",
		"nosuid",   "nouser",	"nousers",     "owner",
		"relatime", "silent",	"strictatime", "suid",
		"users",    "user",	"dirsync",
	};
	static const char *const prefixes[] = {
		"x-", "X-", "comment=", "fsname=", "subtype=", "helper="};

	for (size_t i = 0; i < countof(names); i++) {
		if (strcmp(option, names[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < countof(prefixes); i++) {
		if (strncmp(option, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	return false;
}

/* Pairs of which mount(8) passes both on, so the last one counts. */
static bool apply_pair(struct cmd_mount_options *options, const char *option)
{
	const struct {
		const char *name;
		bool *field;
		bool value;
	} pairs[] = {
		{"ro", &options->read_only, true},  {"rw", &options->read_only, false},
		{"noexec", &options->noexec, true}, {"exec", &options->noexec, false},
		{"sync", &options->sync, true},	    {"async", &options->sync, false},
	};

	for (size_t i = 0; i < countof(pairs); i++) {
		if (strcmp(option, pairs[i].name) == 0) {
			*pairs[i].field = pairs[i].value;
			return true;
		}
	}
	return false;
}

static int apply_one(struct cmd_mount_options *options, char *option, bool sloppy, struct out *out)
{
	static const char setuid_prefix[] = "setuid=";
	AUTO(free_ptr) char *shown = show_text(option);

	if (!option[0] || is_for_others(option) || apply_pair(options, option))
		return CODE_OK;
	if (strcmp(option, "auto_unmount") == 0)
		return out_error(out, CODE_USAGE,
				 "mount: no -o auto_unmount: programs would write into the directory "
				 "below; blaze mount takes a dead mount away");
	if (strncmp(option, setuid_prefix, strlen(setuid_prefix)) == 0) {
		options->user = option + strlen(setuid_prefix);
		return CODE_OK;
	}
	int r = options_apply_o(&cmd_mount.usage, options, option);
	if (r > 0 || (r == 0 && sloppy))
		return CODE_OK;
	if (r < 0)
		return out_error(out, CODE_USAGE,
				 "mount: option -o %s: not a valid value: see man mount.blaze",
				 shown);
	return out_error(out, CODE_USAGE, "mount: unknown option -o %s: see man mount.blaze", shown);
}

int cmd_mount_apply(struct cmd_mount_options *options, bool sloppy, struct out *out)
{
	for (size_t i = 0; i < options->o.count; i++) {
		char *rest = options->texts[i] = xstrdup(options->o.items[i]);

		while (rest) {
			char *option = strsep(&rest, ",");
			int code = apply_one(options, option, sloppy, out);

			if (code != CODE_OK)
				return code;
		}
	}
	return CODE_OK;
}

void cmd_mount_fini(struct cmd_mount_options *options)
{
	for (size_t i = 0; i < countof(options->texts); i++)
		free(STEAL(options->texts[i]));
}

/* ---- mounting ------------------------------------------------------------------------------- */

static int set_log_level(const char *level, struct out *out)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	bool from_environment = !level && getenv("BLAZE_LOG");

	if (from_environment)
		return CODE_OK;
	for (size_t i = 0; i < countof(names); i++) {
		if (strcmp(level ? level : "info", names[i]) == 0) {
			log_set_level((enum log_level)i);
			return CODE_OK;
		}
	}
	return out_error(out, CODE_USAGE,
			 "mount: the log level is one of error, warning, info, debug");
}

/* A read-only mount takes no system call that could be an echo. */
static int wants_echo(const struct cmd_mount_options *o, bool *ret, struct out *out)
{
	const char *text = o->echo ? o->echo : "on";

	*ret = !o->read_only && strcmp(text, "on") == 0;
	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
		return out_error(out, CODE_USAGE, "mount: echo is on or off");
	return CODE_OK;
}

/* The path of a database's directory, which says where home is as well. */
static bool locate_path(const char *spec, char **ret_home, char **ret_name)
{
	const char *slash = strrchr(spec, '/');

	if (!slash || !slash[1])
		return false;
	AUTO(free_ptr)
	char *above = slash == spec ? xstrdup("/") : strndup(spec, (size_t)(slash - spec));
	*ret_home = above ? realpath(above, NULL) : NULL;
	*ret_name = xstrdup(slash + 1);
	return true;
}

static int locate(const char *spec, const struct cmd_mount_options *o, char **ret_home,
		  char **ret_name, struct out *out)
{
	bool is_path = locate_path(spec, ret_home, ret_name);
	struct why why = {""};

	if (is_path && o->spec_may_be_path &&
	    !(*ret_home && home_has_database(*ret_home, *ret_name))) {
		free(STEAL(*ret_home));
		free(STEAL(*ret_name));
		spec = strrchr(spec, '/') + 1;
		is_path = false;
	}
	if (!is_path) {
		if (o->datadir)
			*ret_home = realpath(o->datadir, NULL);
		else if (home_find(ret_home, &why) < 0)
			return out_error(out, CODE_FAILED, "%s", why.text);
		*ret_name = xstrdup(spec);
	}
	if (*ret_home && home_has_database(*ret_home, *ret_name))
		return CODE_OK;
	AUTO(free_ptr) char *shown = show_text(spec);
	if (!*ret_home)
		return out_error(out, CODE_NO_DATABASE,
				 "mount: no database %s: the directory is not there", shown);
	return out_error(
		out, CODE_NO_DATABASE,
		"mount: no database \"%s\" in %s: make it with blaze init %s, or set BLAZE_HOME",
		shown, *ret_home, shown);
}

/* A daemon still answers for a moment after umount(8) or fusermount3 took its mount away. */
static int client_info_settled(const char *home, const char *name, struct client_info *ret)
{
	const struct timespec moment = {.tv_nsec = 20000000};
	uint64_t deadline = monotonic_ms() + ENDING_MS;
	int r;

	while ((r = client_info(home, name, ret)) >= 0 && ret->mountpoint[0] &&
	       !platform_is_blaze(ret->mountpoint) && monotonic_ms() < deadline)
		(void)nanosleep(&moment, NULL);
	return r;
}

/* Says where it is mounted already, which a plain "busy" would not. */
static int check_free(const char *home, const char *name, struct out *out)
{
	AUTO(free_ptr) struct client_info *info = xcalloc(1, sizeof(*info));

	if (client_info_settled(home, name, info) < 0)
		return CODE_OK;
	if (info->mountpoint[0])
		return out_error(
			out, CODE_BUSY,
			"mount: \"%s\" is mounted at %s already: unmount it with blaze umount %s",
			name, info->mountpoint, info->mountpoint);
	return out_error(
		out, CODE_BUSY,
		"mount: \"%s\" is in use by another blaze command (process %ld): wait until it ends",
		name, (long)info->pid);
}

static char *fuse_options(const struct cmd_mount_options *o)
{
	return xasprintf("%s%s%s%s", o->read_only ? "ro" : "rw",
			 o->allow_other ? ",allow_other" : "", o->noexec ? ",noexec" : "",
			 o->sync ? ",sync" : "");
}

static int become(const struct cmd_mount_options *o, const char *db_dir, struct out *out)
{
	struct why why = {""};
	int r = o->user ? home_become_user(o->user, &why) : 0;

	if (r >= 0 && db_dir)
		r = home_become_owner(db_dir, &why);
	return r < 0 ? out_error(out, CODE_FAILED, "mount: %s", why.text) : CODE_OK;
}

int cmd_mount_at(const char *spec, const char *dir, const struct cmd_mount_options *options,
		 bool fake, struct out *out)
{
	AUTO(free_ptr) char *home = NULL;
	AUTO(free_ptr) char *name = NULL;
	AUTO(free_ptr) char *more = fuse_options(options);
	struct why why = {""};
	bool was_dead = false;
	bool echo = true;
	int code = set_log_level(options->log_level, out);

	if (code == CODE_OK)
		code = wants_echo(options, &echo, out);
	if (code == CODE_OK)
		code = become(options, NULL, out);
	if (code == CODE_OK)
		code = locate(spec, options, &home, &name, out);
	if (code != CODE_OK)
		return code;
	AUTO(free_ptr) char *db_dir = home_database(home, name);
	code = become(options, db_dir, out);
	if (code == CODE_OK)
		code = check_free(home, name, out);
	if (code != CODE_OK)
		return code;
	int r = mountpoint_prepare(dir, options->nonempty, &was_dead, &why);
	if (r < 0)
		return out_error(out, r == -EBUSY ? CODE_BUSY : CODE_FAILED, "mount: %s", why.text);
	if (was_dead)
		out_warn(out, "took away the dead mount at %s", dir);
	AUTO(free_ptr) char *at = realpath(dir, NULL);
	if (!at)
		return out_error(out, CODE_FAILED, "mount: %s: %s", dir, strerror(errno));
	if (fake)
		return CODE_OK;
	struct daemon_options daemon = {
		.home = home,
		.name = name,
		.dir = at,
		.listen = options->listen,
		.fuse_options = more,
		.uid = options->uid < 0 ? getuid() : (uid_t)options->uid,
		.gid = options->gid < 0 ? getgid() : (gid_t)options->gid,
		.ready_fd = (int)options->ready_fd,
		.foreground = options->foreground,
		.echo = echo,
		.noopen = options->noopen,
		.quiet = options->quiet,
	};
	return daemon_mount(&daemon, out);
}

/* ---- listing -------------------------------------------------------------------------------- */

static void list_one(const char *name, const struct client_info *info, bool json, struct out *out)
{
	AUTO(buf_fini) struct buf line = {0};

	if (!json) {
		if (info->mountpoint[0])
			show_path(&line, info->mountpoint);
		out_printf(out, "%-16s  %s\n", name, line.len ? buf_str(&line) : "not mounted");
		return;
	}
	buf_printf(&line, "{\"v\":1,");
	show_json_text(&line, "database", name);
	show_json_text(&line, "mountpoint", info->mountpoint);
	show_json_text(&line, "listen", info->listen);
	out_printf(out, "%s\"pid\":%ld}\n", buf_str(&line), (long)info->pid);
}

static int list(bool json, struct out *out)
{
	AUTO(free_ptr) char *home = NULL;
	char **names = NULL;
	struct why why = {""};

	if (home_find(&home, &why) < 0)
		return out_error(out, CODE_FAILED, "%s", why.text);
	size_t n = home_names(home, &names);
	for (size_t i = 0; i < n; i++) {
		AUTO(free_ptr) struct client_info *info = xcalloc(1, sizeof(*info));

		if (client_info(home, names[i], info) < 0)
			*info = (struct client_info){0};
		list_one(names[i], info, json, out);
	}
	home_names_free(names, n);
	if (n == 0 && !json)
		out_printf(out, "No databases in %s.\nNext:  blaze init NAME\n", home);
	return CODE_OK;
}

static int mount_run(const struct command *c, struct out *out, int argc, char **argv)
{
	struct mount_options o = {.m = CMD_MOUNT_OPTIONS};
	int code = CODE_OK;
	int first = options_parse(&c->usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	if (first == argc)
		return list(o.json, out);
	if (argc - first != 2)
		return out_error(out, CODE_USAGE, "mount: where? Usage: blaze mount NAME DIR");
	if (o.m.ready_fd >= 0 &&
	    (o.m.ready_fd > 65535 || fcntl((int)o.m.ready_fd, F_SETFD, FD_CLOEXEC) < 0))
		return out_error(out, CODE_USAGE,
				 "mount: --ready-fd %" PRId64 " is not an open descriptor",
				 o.m.ready_fd);
	code = cmd_mount_apply(&o.m, false, out);
	if (code == CODE_OK)
		code = cmd_mount_at(argv[first], argv[first + 1], &o.m, false, out);
	cmd_mount_fini(&o.m);
	return code;
}

const struct command cmd_mount = {
	.usage = {.name = "mount",
		  .operands = "[NAME DIR]",
		  .operands_max = 2,
		  .summary = "Mounts a database at a directory; lists the databases.",
		  .notes = "Without NAME and DIR: lists the databases and where they are mounted.\n",
		  .rows = mount_rows,
		  .row_count = countof(mount_rows)},
	.run = mount_run,
};
