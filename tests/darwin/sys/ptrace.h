/* Of macOS: ptrace(2). */
#ifndef BLAZE_TESTS_DARWIN_SYS_PTRACE_H
#define BLAZE_TESTS_DARWIN_SYS_PTRACE_H

#include <sys/types.h>

#define PT_DENY_ATTACH 31

int ptrace(int request, pid_t pid, char *address, int data);

#endif
