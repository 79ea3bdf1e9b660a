/*
 * The threads that answer the kernel's requests: one leader reads them, the others wait until it is needed.
 *
 * libfuse's own loop has all its threads wait in read(2), and the kernel wakes them in turn. For a program that
 * does one thing after the other, which is most of them, each request then finds a thread that sleeps, on a
 * processor that sleeps, with cold caches; that took longer than the answer. Here the leader does both, reading
 * and answering. Before it waits for anything (a lock that is taken, a disk) it hands the reading over to one of
 * the others, who wait outside of the kernel; core/thread.h's thread_on_wait() tells it when. Whoever waits
 * unseen is found out by a deputy, who takes the reading over when a request takes longer than some
 * milliseconds.
 */
#ifndef BLAZE_FS_WORKERS_H
#define BLAZE_FS_WORKERS_H

struct fuse_session;
struct workers;

/** The session must outlive it. */
struct workers *workers_create(struct fuse_session *se);
void workers_destroy(struct workers *w);
/** Answers requests until the session has ended: 0, or -errno when the connection to the kernel broke. */
int workers_run(struct workers *w);
/** Has workers_run() notice that fuse_session_exit() was called. Returns when it has. From any other thread. */
void workers_wake(struct workers *w);

#endif
