/*
 * From what a person typed to the database it is about, and to the process that has it open.
 */
#ifndef BLAZE_CLI_CLIENT_H
#define BLAZE_CLI_CLIENT_H

#include "cli/command.h"

#include <limits.h>
#include <sys/types.h>

/** The database a command is about. */
struct target {
	char *home;
	char *name;
	char *path; /**< within the database, "" = all of it; only asked for by path commands */
	int fd;	    /**< connected to the daemon that has it mounted, or -1 */
};

void target_fini(struct target *t);

/**
 * Finds the database by name, by "NAME:path" or by a path inside a mount; without an operand (NULL): the
 * one the current directory is in, the only one, or the only one that is mounted. 0, or an exit code, the
 * error being said to out. target_fini() in either case.
 */
int client_find(const struct command *c, const char *operand, struct target *ret, struct out *out);

/** A command's `run`: parses, finds the database, and has `serve` run by its daemon or right here. */
int client_run(const struct command *c, struct out *out, int argc, char **argv);

/** Has the daemon at fd run argv; returns its exit code when the daemon is done with all it entails. */
int client_call(int fd, struct out *out, int argc, char *const *argv);

/** Connects to the daemon of HOME/NAME: a descriptor, -ENOENT or -ECONNREFUSED when there is none. */
int client_connect(const char *home, const char *name);

/** What a daemon says about itself. */
struct client_info {
	pid_t pid;
	char mountpoint[PATH_MAX]; /**< "" = not mounted: a command has the database open */
	char listen[300];
};

/** Asks the daemon of HOME/NAME. -ENOENT, -ECONNREFUSED when there is none. */
int client_info(const char *home, const char *name, struct client_info *ret);

#endif
