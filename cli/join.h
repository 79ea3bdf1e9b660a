/* `blaze pair CODE` and `blaze pair LINK`: joins the database of another device. */
#ifndef BLAZE_CLI_JOIN_H
#define BLAZE_CLI_JOIN_H

#include "cli/out.h"

/** How long the other device may take to answer. */
#define JOIN_REACH_MS 30000

struct account;
struct id;
struct keys;

struct join_options {
	const char *device_name; /**< for a device that has no identity yet; "" = the host's name */
	const char *listen;	 /**< NULL: only dial */
	const char *at;		 /**< for a code: where the other device is; NULL = find it */
	/**
	 * Joins with its words, and `at`: this database of this device, which the person has said yes to. text is empty then. NULL
	 * else.
	 */
	const struct account *account;
	const struct id *database;
	const uint8_t *device_id;
	int64_t timeout_ms; /**< to reach the other device; INT64_MAX: a sensible one */
};

/** The home and the device's keys, made if they are missing: an exit code, the error being said. Caller frees both. */
int join_prepare(const char *device_name, struct out *out, char **ret_home, struct keys **ret_keys);
/** The exit code for an error of net_pair_join(). */
int join_code(int r);
/** Whether an operand of `blaze pair` invites this device, rather than naming a database. */
bool join_is_invitation(const char *text);
/**
 * Finds the link or code in text (which may be the whole command that the other device printed), joins, and
 * receives what is there. Returns an exit code. text is wiped.
 */
int join_run_with(char *text, const struct join_options *options, struct out *out);

#endif
