/* blaze relay grant and revoke: what a relay may read. */
#ifndef BLAZE_CLI_RELAY_GRANT_H
#define BLAZE_CLI_RELAY_GRANT_H

#include "cli/command.h"

/** Directories that may be granted at once. */
#define RELAY_GRANT_MAX 32

/**
 * In the process the person started: argv is "relay", options, and from `first` on "grant RELAY DIR...". Finds the database the
 * directories are in and has relay_grant_serve() run on it.
 */
int relay_grant_run(const struct command *c, struct out *out, int argc, char **argv, int first);
/** operands: "RELAY PATH...", paths within the database. */
int relay_grant_serve(struct service *s, struct out *out, int count, char **operands);
int relay_revoke_serve(struct service *s, struct out *out, const char *relay);

struct db;
/** What a member with the role `relay` may read, as it is called now: "notes, letters". Appends. */
void relay_grant_names(struct db *db, uint64_t actor, struct buf *out);
/** The same as a field: `"reads":["notes","letters"],`. */
void relay_grant_json(struct db *db, uint64_t actor, struct buf *out);

#endif
