/*
 * Where a device keeps its things: $BLAZE_HOME, else $XDG_DATA_HOME/blaze, else ~/.local/share/blaze.
 *
 *   device.key       who this device is; made by the first `init` or `pair CODE`
 *   account.*        see cli/account.h
 *   net.lock         locked by the mount that has the connections of all; net.sock is its socket (net/carriage.h)
 *   NAME/            one database: format, store/, ballast (core/db.h)
 *   NAME/ctl         the socket of the daemon that has it mounted
 *   NAME/log         what that daemon logged
 *   .joining-PID/    a database that is being joined; named properly when that has worked
 *
 * All is found without any environment variable, for mount(8) and systemd.
 */
#ifndef BLAZE_CLI_HOME_H
#define BLAZE_CLI_HOME_H

#include "core/keys.h"

#include <sys/types.h>

#define HOME_NAME_BYTES_MAX 64

/** Absolute path; nothing is created. Caller frees. */
int home_find(char **ret, struct why *why);
/** Creates the directory (0700) and those above it as needed. */
int home_create(const char *home, struct why *why);
/** Letters, digits, '.', '_', '-'; begins with a letter or digit; at most HOME_NAME_BYTES_MAX. */
bool home_name_is_valid(const char *name);
/** HOME/NAME; caller frees. */
char *home_database(const char *home, const char *name);
bool home_has_database(const char *home, const char *name);
/** Names of the databases, sorted. Returns the count; home_names_free(). */
size_t home_names(const char *home, char ***ret);
void home_names_free(char **names, size_t count);

/** Loads device.key; with device_name (may be "": the host's name) creates it when it is missing. */
int home_keys(const char *home, const char *device_name, struct keys **ret, struct why *why);

/**
 * A database is used as the user it belongs to, so that root leaves no files its owner cannot read:
 * when this process is root and dir belongs to somebody else, becomes that user. Irrevocable.
 */
int home_become_owner(const char *dir, struct why *why);
/** As above, for a user by name or number. */
int home_become_user(const char *user, struct why *why);

/** Removes a directory that was being joined, with all in it. */
void home_discard(const char *dir);
/** A fresh directory name for a join; also discards what dead processes left. Caller frees. */
char *home_joining(const char *home);

#endif
