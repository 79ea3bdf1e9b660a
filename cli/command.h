/*
 * What a subcommand is: a name, its option table, and up to two functions.
 *
 *   run    in the process the person started. May be client_run(), which finds the database the command
 *          is about and has `serve` run on it.
 *   serve  with the database open: in the daemon when one has it mounted, else in the person's process.
 *          The very same function on the very same argv, so a command cannot tell two stories.
 *
 * Both return an exit code. What they say goes through cli/out.h.
 */
#ifndef BLAZE_CLI_COMMAND_H
#define BLAZE_CLI_COMMAND_H

#include "cli/options.h"
#include "cli/out.h"

struct service;

/** Exit codes, as in mount.blaze(8). */
enum exit_code {
	CODE_OK = 0,
	CODE_FAILED = 1,
	CODE_USAGE = 2,
	CODE_ATTENTION = 3, /**< worked, but something is unsent or wants looking at */
	CODE_TIMEOUT = 4,
	CODE_NO_DATABASE = 10,
	CODE_BUSY = 11,
	CODE_WRONG_KEY = 12,
	CODE_PAIRING = 13,
	CODE_MOUNT_FAILED = 32 /**< mount.blaze only */
};

/** The exit code for an error of opening a database or a key. */
int command_code(int r);

/** What `serve` needs besides the database when no daemon runs. */
#define COMMAND_NEEDS_FILES 1u /**< the files layer, which knows of changes not yet made */
#define COMMAND_NEEDS_NET 2u   /**< the peers */
#define COMMAND_NEEDS_MOUNT 4u /**< a daemon: elsewhere there is nothing to be told */

struct command {
	struct usage usage; /**< name, operands, summary, options */
	int (*run)(const struct command *c, struct out *out, int argc, char **argv);
	int (*serve)(struct service *s, struct out *out, int argc, char **argv);
	unsigned needs;
	bool operand_is_path;	/**< the operand is a path to a record (log), not a database */
	bool operand_is_either; /**< or else the name of a database, which stands for all of it */
	/** Which of several operands is the path or the database, from 0; count = it is left out. NULL: the first. */
	int (*path_operand)(int count, char **operands);
	bool hidden;
};

/** NULL when there is none. */
const struct command *command_find(const char *name);
/** A command that name may have been meant to be; NULL when none is near. */
const char *command_nearest(const char *name);
/** `blaze --help`. */
void command_print_all(struct out *out);

extern const struct command cmd_init;
extern const struct command cmd_mount;
extern const struct command cmd_umount;
extern const struct command cmd_pair;
extern const struct command cmd_status;
extern const struct command cmd_wait;
extern const struct command cmd_watch;
extern const struct command cmd_ping;
extern const struct command cmd_topology;
extern const struct command cmd_log;
extern const struct command cmd_diff;
extern const struct command cmd_recover;
extern const struct command cmd_restore;
extern const struct command cmd_undo;
extern const struct command cmd_conflicts;
extern const struct command cmd_deletes;
extern const struct command cmd_devices;
extern const struct command cmd_compact;
extern const struct command cmd_relay;
extern const struct command cmd_version;
extern const struct command cmd_info;
extern const struct command cmd_petition;

/** mount.blaze: mount(8)'s helper protocol; its own exit codes. */
int mount_helper_main(int argc, char **argv);

#endif
