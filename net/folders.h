/*
 * The folder relays of a database on this device: a list of paths, a setting of this device only. Where a directory is, and
 * whether it is there at all, differs from device to device; who else writes into it, its content says.
 *
 * Threads: any.
 */
#ifndef BLAZE_NET_FOLDERS_H
#define BLAZE_NET_FOLDERS_H

#include "net/folder.h"

#define FOLDERS_MAX 4
/** What an address begins with. */
#define FOLDERS_SCHEME "folder:"
/** How long the end of one is waited for. */
#define FOLDERS_STOP_MS 3000

struct folders;

/** Starts those of the setting. */
struct folders *folders_start(struct db *db, const struct keys *keys, struct status *status);
/** Says so to all, and returns at once. */
void folders_stop(struct folders *f);
/** Waits FOLDERS_STOP_MS at most for what hangs. NULL is allowed. */
void folders_destroy(struct folders *f);
/** Copies of what is known, as many as there are; *ret is the caller's. */
size_t folders_list(struct folders *f, struct folder_info **ret);
/** path: from folder_resolve(). One that is there already begins anew. -EINVAL, -ENOSPC too many. */
int folders_add(struct folders *f, const char *path, struct why *why);
/** Leaves what is in it. -ENOENT. */
int folders_remove(struct folders *f, const char *path, struct why *why);

#endif
