/* Directories to mount on: what is mounted there, whether it is alive, taking it away. */
#ifndef BLAZE_CLI_MOUNTPOINT_H
#define BLAZE_CLI_MOUNTPOINT_H

#include "core/why.h"

/**
 * Absolute and without symbolic links, but for the last component not looked at: works for a mountpoint
 * whose process has died. Caller frees; NULL when the directory above it does not exist.
 */
char *mountpoint_absolute(const char *dir);
/**
 * Readies a directory for a mount: it must exist and be an empty directory (or any, when nonempty), with
 * no Blaze on it. What a dead process left mounted is taken away first, and *ret_was_dead says so.
 * -EBUSY: a database is mounted there.
 */
int mountpoint_prepare(const char *dir, bool nonempty, bool *ret_was_dead, struct why *why);
/** Unmounts, as root directly, else through fusermount3. -EBUSY when files in it are open. */
int mountpoint_unmount(const char *dir, bool lazy, struct why *why);

#endif
