/* Waiting until the other devices have everything: shared by `wait` and `umount --wait`. */
#ifndef BLAZE_CLI_WAIT_H
#define BLAZE_CLI_WAIT_H

#include "cli/service.h"

/**
 * Waits up to timeout_ms (INT64_MAX: for ever). 0 when all is on all other devices; else an exit code, the
 * reason being said to out for command. On a terminal a line says how far it is, unless quiet. *ret_count: how many changes were made here.
 */
int wait_for_peers(struct service *s, struct out *out, const char *command, int64_t timeout_ms,
		   bool quiet, uint64_t *ret_count);

#endif
