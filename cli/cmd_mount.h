/* What `blaze mount` and mount.blaze share: the options and the way from them to a mount. */
#ifndef BLAZE_CLI_CMD_MOUNT_H
#define BLAZE_CLI_CMD_MOUNT_H

#include "cli/options.h"

struct cmd_mount_options {
	bool foreground;
	bool allow_other;
	bool read_only;
	bool nonempty;
	bool noopen;
	bool noexec;
	bool sync;
	bool quiet;
	bool spec_may_be_path; /**< mount(8) makes a path of a name if there is such a file */
	const char *listen;
	const char *datadir; /**< another BLAZE_HOME */
	const char *user;    /**< run as; root only */
	const char *log_level;
	const char *echo; /**< "on", "off", or NULL = on */
	int64_t uid;	  /**< -1: who mounts */
	int64_t gid;
	int64_t ready_fd; /**< -1: none */
	struct option_list o;
	char *texts[OPTION_LIST_MAX]; /**< what cmd_mount_apply() cut up, and the other fields point into */
};

#define CMD_MOUNT_OPTIONS ((struct cmd_mount_options){.uid = -1, .gid = -1, .ready_fd = -1})

/**
 * Applies each comma-separated option of the lists given with -o, and those that mount(8) deals with
 * itself are passed over. sloppy: unknown ones too. 0, or CODE_USAGE, the option being named to out.
 * cmd_mount_fini() in either case.
 */
int cmd_mount_apply(struct cmd_mount_options *options, bool sloppy, struct out *out);

void cmd_mount_fini(struct cmd_mount_options *options);

/**
 * Mounts the database spec (a name, or the path of a database's directory) at dir. fake: does everything
 * but mount. Returns an exit code.
 */
int cmd_mount_at(const char *spec, const char *dir, const struct cmd_mount_options *options,
		 bool fake, struct out *out);

#endif
