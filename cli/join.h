/* `blaze pair CODE` and `blaze pair LINK`: joins the database of another device. */
#ifndef BLAZE_CLI_JOIN_H
#define BLAZE_CLI_JOIN_H

#include "cli/out.h"

struct account;

struct join_options {
	const char *device_name; /**< for a device that has no identity yet; "" = the host's name */
	const char *listen;	 /**< NULL: only dial */
	const char *at;		 /**< for a code: where the other device is; NULL = find it */
	const struct account *account; /**< joins with its words, and `at`; text is empty then. NULL else */
	int64_t timeout_ms;	       /**< to reach the other device; INT64_MAX: a sensible one */
};

/** Whether an operand of `blaze pair` invites this device, rather than naming a database. */
bool join_is_invitation(const char *text);
/**
 * Finds the link or code in text (which may be the whole command that the other device printed), joins, and
 * receives what is there. Returns an exit code. text is wiped.
 */
int join_run_with(char *text, const struct join_options *options, struct out *out);

#endif
