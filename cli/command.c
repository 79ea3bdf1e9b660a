/* The table of subcommands. */
#include "cli/command.h"

#include <string.h>

static const struct command *const commands[] = {
	&cmd_init,  &cmd_mount,	    &cmd_umount,   &cmd_pair,	  &cmd_status,	&cmd_wait,
	&cmd_watch, &cmd_ping,	    &cmd_topology, &cmd_log,	  &cmd_diff,	&cmd_restore,
	&cmd_undo,  &cmd_conflicts, &cmd_deletes,  &cmd_devices,  &cmd_recover, &cmd_compact,
	&cmd_relay, &cmd_version,   &cmd_info,	   &cmd_petition,
};

const struct command *command_find(const char *name)
{
	/* What people type when they do not remember which of the two it is. */
	if (strcmp(name, "unmount") == 0)
		name = cmd_umount.usage.name;
	for (size_t i = 0; i < countof(commands); i++) {
		if (strcmp(commands[i]->usage.name, name) == 0)
			return commands[i];
	}
	return NULL;
}

const char *command_nearest(const char *name)
{
	const char *names[countof(commands)];
	size_t n = 0;

	for (size_t i = 0; i < countof(commands); i++) {
		if (!commands[i]->hidden)
			names[n++] = commands[i]->usage.name;
	}
	return options_nearest(name, names, n);
}

void command_print_all(struct out *out)
{
	out_printf(out, "Usage: blaze COMMAND [ARGUMENT]…\n"
			"Blaze mounts a synced, end-to-end encrypted database as a directory.\n\n");
	for (size_t i = 0; i < countof(commands); i++) {
		const struct usage *u = &commands[i]->usage;

		if (!commands[i]->hidden)
			out_printf(out, "  %-8s %-24s %s\n", u->name, u->operands, u->summary);
	}
	out_printf(out,
		   "\nMore on one of them: blaze COMMAND --help. The manual: man mount.blaze\n"
		   "Environment: BLAZE_HOME is where this device keeps its key and databases.\n");
}

int command_code(int r)
{
	switch (-r) {
	case ENOENT:
		return CODE_NO_DATABASE;
	case EBUSY:
		return CODE_BUSY;
	case EACCES:
	case EKEYREJECTED:
		return CODE_WRONG_KEY;
	case ETIMEDOUT:
		return CODE_TIMEOUT;
	default:
		return CODE_FAILED;
	}
}
