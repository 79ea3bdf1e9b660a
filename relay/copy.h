/*
 * One copy: a database the relay may read some of, in a directory of its own; see copies.h. One thread.
 */
#ifndef BLAZE_RELAY_COPY_H
#define BLAZE_RELAY_COPY_H

#include "core/db.h"

struct copy;

enum copy_state {
	COPY_FINE,
	COPY_REMOVED, /**< the database has taken back what it granted: to be erased */
	COPY_FULL, /**< it has become too large; said once. Until it is closed nobody is to talk to it */
};

/** Those that are there; what was on its way in or out is swept. *ret is the caller's. -EIO and the like, and why. */
int copy_list(const char *home, struct copy ***ret, size_t *ret_count, struct why *why);
/**
 * Begins one from a welcome. -EBADMSG, -EPROTO it is none that can be understood; -EPERM it is to more than a relay shall read;
 * -ENOSPC, -EIO.
 */
int copy_create(const char *home, const struct keys *keys, const struct id *mailbox,
		struct slice welcome, struct copy **ret);
/** Closes it. NULL is allowed. */
void copy_destroy(struct copy *c);
/** Closes it and removes it from the disk. */
void copy_erase(struct copy *c);
const struct id *copy_mailbox(const struct copy *c);

/** Unless it is open. As db_open(); -EDQUOT it is larger than bytes_max. */
int copy_open(struct copy *c, const struct keys *keys, uint64_t bytes_max);
void copy_close(struct copy *c);
/** NULL: it is closed. */
struct db *copy_db(const struct copy *c);
/** So much was said to it. */
void copy_came(struct copy *c, size_t bytes);
/** Makes durable what came. */
enum copy_state copy_tend(struct copy *c, uint64_t bytes_max);
/** Whether something was changed since copy_tend(). */
bool copy_is_restless(const struct copy *c);
/** One step; whether there may be more. */
bool copy_compact(struct copy *c);

#endif
