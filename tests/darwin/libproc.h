/* Of macOS' <libproc.h>, what core/platform_darwin.c uses. */
#ifndef BLAZE_TESTS_DARWIN_LIBPROC_H
#define BLAZE_TESTS_DARWIN_LIBPROC_H

#include <stdint.h>

#define MAXCOMLEN 16

/** The length of the name of a process, 0 on failure. */
int proc_name(int pid, void *ret, uint32_t size);

#endif
