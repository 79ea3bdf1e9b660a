/*
 * What fusermount3 says. It mounts for users, runs as a child of libfuse, and says on standard error why it
 * will not: nobody would read that in the log of a mount in the background.
 */
#ifndef BLAZE_FS_REFUSAL_H
#define BLAZE_FS_REFUSAL_H

#include <stddef.h>

struct refusal {
	int saved_fd; /**< standard error; -1 = could not be diverted */
	int read_fd;
};

/** Diverts this process' standard error. One thread at a time. */
void refusal_begin(struct refusal *r);
/** Puts it back, and what fusermount3 said, without its name, into text; what others said goes on. */
void refusal_end(struct refusal *r, char *text, size_t size);

#endif
