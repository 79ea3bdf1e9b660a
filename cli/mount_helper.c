/*
 * mount.blaze and mount.fuse.blaze: what mount(8) runs for `mount -t fuse.blaze` and for lines of fstab.
 *
 *   mount.blaze SPEC DIR [-sfnv] [-N ns] [-t type] [-o options]
 *
 * -s: unknown options are no mistake; -f: do all but mount; -n, -t: nothing to do; -v: say what is done.
 * Exit codes are mount(8)'s: 1 wrong usage, 32 the mount failed. The environment may be empty.
 */
#include "cli/cmd_mount.h"
#include "cli/command.h"
#include "core/log.h"
#include "core/platform.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CODE_HELPER_USAGE 1

struct helper_options {
	struct cmd_mount_options m;
	bool sloppy;
	bool fake;
	bool verbose;
	bool no_mtab;
	const char *namespace;
	const char *type;
};

#define AT(field) offsetof(struct helper_options, field)

static const struct option_row helper_rows[] = {
	{NULL, 's', OPTION_FLAG, NULL, "pass over unknown options", AT(sloppy), false},
	{NULL, 'f', OPTION_FLAG, NULL, "do everything but mount", AT(fake), false},
	{NULL, 'n', OPTION_FLAG, NULL, "for mount(8); nothing to do", AT(no_mtab), false},
	{NULL, 'v', OPTION_FLAG, NULL, "say what is done", AT(verbose), false},
	{NULL, 'N', OPTION_TEXT, "NS", "mount in this mount namespace: a file or a process id",
	 AT(namespace), false},
	{NULL, 't', OPTION_TEXT, "TYPE", "for mount(8); nothing to do", AT(type), false},
	{NULL, 'o', OPTION_LIST, "OPT[,OPT...]", "options: see mount.blaze(8)", AT(m.o), false},
};

static const struct usage helper_usage = {
	.name = "mount.blaze",
	.operands = "SPEC DIR",
	.operands_max = 2,
	.summary = "Mounts a database, for mount(8).",
	.rows = helper_rows,
	.row_count = countof(helper_rows),
};

static int enter_namespace(const char *ns, struct out *out)
{
	int r = platform_enter_namespace(ns);

	return r < 0 ? out_error(out, CODE_MOUNT_FAILED,
				 "mount.blaze: cannot enter the namespace %s: %s", ns, strerror(-r))
		     : CODE_OK;
}

static int help_or_mount(int argc, char **argv, struct out *out)
{
	struct helper_options o = {.m = CMD_MOUNT_OPTIONS};
	int code = CODE_OK;
	int first = options_parse(&helper_usage, &o, argc, argv, out, &code);

	if (!first)
		return code == CODE_OK ? CODE_OK : CODE_HELPER_USAGE;
	if (argc - first != 2)
		return out_error(
			out, CODE_HELPER_USAGE,
			"mount.blaze: usage: mount.blaze SPEC DIR [-sfnv] [-N ns] [-t type] [-o options]");
	o.m.quiet = !o.verbose;
	o.m.spec_may_be_path = true;
	if (cmd_mount_apply(&o.m, o.sloppy, out) != CODE_OK)
		code = CODE_HELPER_USAGE;
	else if ((o.namespace && enter_namespace(o.namespace, out) != CODE_OK) ||
		 cmd_mount_at(argv[first], argv[first + 1], &o.m, o.fake, out) != CODE_OK)
		code = CODE_MOUNT_FAILED;
	cmd_mount_fini(&o.m);
	return code;
}

int mount_helper_main(int argc, char **argv)
{
	struct out out;

	/* mount(8) may close them; the database must not get their numbers. */
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", O_RDWR);
	}
	out_init(&out);
	int code = help_or_mount(argc, argv, &out);
	out_flush(&out);
	out_fini(&out);
	return code;
}
