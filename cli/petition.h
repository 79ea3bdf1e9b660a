/*
 * `blaze devices remove DEVICE --words`: the account's word against a device that is more senior, or has removed this one. The
 * words are asked for here, in the person's process; the one that has the database open only says what is to be signed
 * (core/petition.h), by the hidden command `petition`.
 */
#ifndef BLAZE_CLI_PETITION_H
#define BLAZE_CLI_PETITION_H

#include "cli/out.h"

/** database: NULL = the usual one. Returns an exit code. */
int petition_run_removal(struct out *out, const char *device, const char *database);

#endif
