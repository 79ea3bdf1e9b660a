/* Of macOS: kqueue(2). */
#ifndef BLAZE_TESTS_DARWIN_SYS_EVENT_H
#define BLAZE_TESTS_DARWIN_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

#define EVFILT_USER (-10)
#define EV_ADD 1
#define NOTE_TRIGGER 0x01000000

struct kevent {
	uintptr_t ident;
	int16_t filter;
	uint16_t flags;
	uint32_t fflags;
	intptr_t data;
	void *udata;
};

#define EV_SET(k, i, f, fl, ff, d, u)           \
	(*(k) = (struct kevent){.ident = (i),   \
				.filter = (f),  \
				.flags = (fl),  \
				.fflags = (ff), \
				.data = (d),    \
				.udata = (u)})

int kqueue(void);
int kevent(int fd, const struct kevent *changes, int change_count, struct kevent *events,
	   int event_count, const struct timespec *timeout);

#endif
