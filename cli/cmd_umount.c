/* blaze umount: takes the mount away and returns when its process is gone and the database is closed. */
#include "cli/client.h"
#include "cli/control.h"
#include "cli/mountpoint.h"
#include "cli/service.h"
#include "cli/show.h"
#include "cli/wait.h"
#include "core/platform.h"
#include "core/thread.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* How long what is held back for a moment may take to become a change before the mount is taken away. */
#define SETTLE_MS 3000
#define LOOK_MS 100

struct umount_options {
	int64_t wait_ms;
};

static const struct option_row umount_rows[] = {
	{"wait", 'w', OPTION_DURATION_OPTIONAL, "T",
	 "first wait, at most T, until the other devices have everything",
	 offsetof(struct umount_options, wait_ms), 0},
};

static void settle(struct service *s, struct out *out)
{
	uint64_t end = monotonic_ms() + SETTLE_MS;

	while (monotonic_ms() < end && !out_is_cancelled(out)) {
		if (vfs_settle(s->vfs, monotonic_ms() + LOOK_MS))
			return;
	}
}

static int umount_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct umount_options o = {.wait_ms = -1};
	AUTO(buf_fini) struct buf names = {0};
	struct why why = {""};
	uint64_t unsent = 0;
	uint64_t count = 0;
	int code = CODE_OK;

	if (!options_parse(&cmd_umount.usage, &o, argc, argv, out, &code))
		return code;
	if (!s->unmount)
		return out_error(
			out, CODE_BUSY,
			"%s is not mounted: a blaze command has it open, wait until that has ended",
			s->name);
	if (o.wait_ms >= 0) {
		code = wait_for_peers(s, out, "umount", o.wait_ms, false, &count);
		if (code != CODE_OK)
			return code;
		service_peer_names(s, false, &names);
	} else {
		settle(s, out);
	}
	int r = s->unmount(s, &why);
	/* Somebody else may have been quicker: then it is gone all the same. */
	if (r < 0 && platform_is_blaze(s->mountpoint))
		return out_error(out, r == -EBUSY ? CODE_BUSY : CODE_FAILED, "%s", why.text);
	/* From here on the service is being closed by its daemon, and not ours to use. */
	control_park(s, out, &unsent);
	if (unsent == 0) {
		if (names.len)
			out_printf(out, "All changes are on %s. ", buf_str(&names));
		out_printf(out, "Unmounted.\n");
		return CODE_OK;
	}
	out_printf(out,
		   "Unmounted. %" PRIu64
		   " change%s only on this device; %s will be sent when it is mounted "
		   "again.\n",
		   unsent, unsent == 1 ? " is" : "s are", unsent == 1 ? "it" : "they");
	return CODE_ATTENTION;
}

/* No daemon answers: what is left of a mount whose process has died, or a mount of another device. */
static int unmount_here(const char *operand, struct out *out)
{
	AUTO(free_ptr) char *dir = mountpoint_absolute(operand);
	AUTO(free_ptr) char *shown = show_text(operand);
	struct why why = {""};
	bool dead = dir && platform_is_dead(dir);

	if (!dir || !platform_is_blaze(dir))
		return out_error(out, CODE_FAILED,
				 "umount: %s is not mounted: see blaze mount for what is mounted",
				 shown);
	int r = mountpoint_unmount(dir, dead, &why);
	if (r < 0)
		return out_error(out, r == -EBUSY ? CODE_BUSY : CODE_FAILED, "%s", why.text);
	out_printf(out, dead ? "Unmounted. Its process had died; what was closed is kept.\n"
			     : "Unmounted.\n");
	return CODE_OK;
}

static int umount_run(const struct command *c, struct out *out, int argc, char **argv)
{
	struct umount_options o = {.wait_ms = -1};
	AUTO(target_fini) struct target t = {.fd = -1};
	struct out unsaid;
	int code = CODE_OK;
	int first = options_parse(&c->usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	if (first == argc)
		return out_error(out, CODE_USAGE, "umount: which one? Usage: blaze umount DIR");
	/* That no daemon is found is no failure yet. */
	out_init(&unsaid);
	code = client_find(c, argv[first], &t, &unsaid);
	out_fini(&unsaid);
	if (code == CODE_OK && t.path && t.path[0])
		return out_error(
			out, CODE_FAILED,
			"umount: nothing is mounted at %s: it is inside the mounted database %s",
			argv[first], t.name);
	if (code == CODE_OK && t.fd >= 0)
		return client_call(t.fd, out, first, argv);
	return unmount_here(argv[first], out);
}

const struct command cmd_umount = {
	.usage = {.name = "umount",
		  .operands = "DIR",
		  .operands_max = 1,
		  .summary = "Unmounts, and says what is not yet on any other device.",
		  .notes = "DIR may also be the name of the database.\n",
		  .rows = umount_rows,
		  .row_count = countof(umount_rows)},
	.run = umount_run,
	.serve = umount_serve,
};
