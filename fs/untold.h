/*
 * Names that stand for something else by now, while the kernel has not been told. A program may remove or rename such
 * a name, and the kernel does to the inode it knows by it what was done here to another: a directory that lives
 * elsewhere would be dead, and a file's new name would show a different file until the kernel forgets it.
 *
 * So such a request is sent back (ESTALE: the kernel asks what the name stands for, and comes again), unless its thread
 * has just asked, under the lock of the directory that it holds from then to the request. The caller locks.
 */
#ifndef BLAZE_FS_UNTOLD_H
#define BLAZE_FS_UNTOLD_H

#include "core/base.h"

#include <stdint.h>
#include <sys/types.h>

#define UNTOLD_SLOTS 256

/** Zero-initialise; untold_fini(). */
struct untold {
	struct untold_name *slots[UNTOLD_SLOTS];
	size_t count;
};

/** (parent, name) changed, and a notice about that is on its way. */
void untold_add(struct untold *u, uint64_t parent, const char *name);
/** One such notice has reached the kernel. */
void untold_told(struct untold *u, uint64_t parent, const char *name);
/** Thread `tid` is answered that the name stands for ino (0: for nothing); -1 = nobody is. */
void untold_looked(struct untold *u, pid_t tid, uint64_t parent, const char *name, uint64_t ino);
/**
 * Whether a request of that thread about a name that stands for ino may go on: 0, -ESTALE: it has to ask first, or
 * -ENOENT: what it was told about is gone.
 */
int untold_check(const struct untold *u, pid_t tid, uint64_t parent, const char *name, uint64_t ino);
void untold_fini(struct untold *u);

#endif
