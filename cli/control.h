/*
 * The socket through which commands reach the process that has a database open: `ctl` in the database's
 * directory, mode 0600, for the same user and root only.
 *
 * A request is a subcommand's argv; the answer its output (cli/out.h). One detached thread a client, at
 * most CONTROL_CLIENTS_MAX; a client that goes away cancels what runs for it.
 *
 *   request = 4 bytes length (big-endian), u8 version 1, u8 flags (1: standard output is a terminal),
 *             varint count, then the arguments, each varint length + bytes
 */
#ifndef BLAZE_CLI_CONTROL_H
#define BLAZE_CLI_CONTROL_H

#include "cli/service.h"

#define CONTROL_NAME "ctl"
#define CONTROL_VERSION 1
#define CONTROL_CLIENTS_MAX 32
#define CONTROL_ARGS_MAX 64
#define CONTROL_REQUEST_BYTES_MAX 65536
#define CONTROL_TTY 1u

struct control;

/** Opens the socket and starts to serve. s->control is set. */
int control_start(struct service *s, struct why *why);
/**
 * Takes no new commands, cancels those that run, and returns when all have ended but those that wait in
 * control_park(). NULL is allowed.
 */
void control_stop(struct control *c);
/** After control_stop(): lets the parked commands answer; frees c. NULL is allowed. */
void control_finish(struct control *c, uint64_t unsent);

/**
 * For `umount`: waits until the mount is gone and all is published; *ret_unsent are the changes that no or
 * not every other device has. The command's connection then stays open until the process ends.
 */
void control_park(struct service *s, struct out *out, uint64_t *ret_unsent);

/** The address of the socket in dir, whatever the length of its path. Close *ret_dir_fd after use. */
struct sockaddr_un;
int control_address(const char *dir, struct sockaddr_un *ret, int *ret_dir_fd);

#endif
