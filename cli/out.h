/*
 * What a command says: text for standard output and standard error, and its exit code. A command does not
 * know whether it speaks to this process' own streams or to a client at the other end of a socket.
 *
 * Text is collected and leaves at out_flush(), so that commands may print while they hold a lock.
 *
 * Frames on the socket:  u8 kind, 4 bytes length (big-endian), payload
 *   1 stdout, 2 stderr   text
 *   3 exit               4 bytes: the exit code
 *   4 question           text; the client answers with one byte, 'y' or 'n'
 * The other end may still close later than that: the connection's end means that the command's effects
 * are complete (umount: that the daemon is gone).
 */
#ifndef BLAZE_CLI_OUT_H
#define BLAZE_CLI_OUT_H

#include "core/bytes.h"

#include <stdatomic.h>

#define OUT_FRAME_BYTES_MAX 65536

struct out {
	struct buf frames;   /**< collected, not sent yet */
	int fd;		     /**< the socket, or -1: this process' own streams */
	bool tty;	     /**< standard output, here or at the client, is a terminal */
	bool gone;	     /**< the other end does not listen any more */
	bool follows;	     /**< what is said without end: out_relay() ends when nobody reads it */
	int error;	     /**< why it is gone: < 0, or 0 = it left */
	struct buf *capture; /**< standard output goes here instead; NULL: it does not */
	atomic_bool cancelled; /**< set by another thread: stop waiting, say so, return */
};

/** Speaks to standard output and standard error. */
void out_init(struct out *o);
/** Speaks to a connected stream socket, which stays the caller's. */
void out_init_socket(struct out *o, int fd, bool tty);
void out_fini(struct out *o);

void out_printf(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void out_text(struct out *o, struct slice text);
/** One line "blaze: …" on standard error. Returns code. */
int out_error(struct out *o, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/** The line "blaze: warning: …" on standard error. */
void out_warn(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Sends what was collected; blocks until the other end has taken it. Not while holding a lock. */
void out_flush(struct out *o);
/** Flushes, and tells the exit code. */
void out_exit(struct out *o, int code);
/** Whether to stop: cancelled, or the client went away. Cheap; ask it a few times a second. */
bool out_is_cancelled(struct out *o);

/** Waits up to timeout_ms until out_flush() of some 64 kB would not block. Whether that is so; false also if nobody is there any more. */
bool out_has_room(struct out *o, int timeout_ms);

/**
 * Asks the person at the terminal: 1 yes, 0 no, -ECANCELED nobody is there any more. Where there is no terminal, nobody wants
 * to be asked: yes. Flushes. Not while holding a lock.
 */
int out_ask(struct out *o, const char *question);

/**
 * The other end: copies frames from fd to o until fd's end. Returns the exit code, or -EPIPE when the
 * connection ended without one, -EBADMSG when it was no frame.
 */
int out_relay(int fd, struct out *o);

/** Writes all or fails; < 0 on error. Never raises SIGPIPE on a socket. */
int out_write_all(int fd, struct slice data);
/** Reads exactly len bytes: 1, or 0 at the end before the first, -EPIPE at the end in between, -errno. */
int out_read_all(int fd, void *data, size_t len);

#endif
