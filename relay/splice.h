/*
 * RENDEZVOUS at the relay: an invitation that waits, and whoever knocks with its code or link. Their messages pass through,
 * unread; the keys of that conversation are theirs alone. Sans I/O, one thread.
 *
 *     (nothing) ──WAIT──▶ WAITING ──HELLO with its nameplate or id──▶ SPLICED ──either hangs up, or a limit──▶ (nothing)
 *        ▲                   │
 *        └── UNWAIT, time ───┘
 *
 * The HELLO is the knock: who joins says to a relay what it would say to the inviter itself. A waiting is good for one knock,
 * since a code is good for one guess; the device waits again if the invitation is still good.
 *
 * Anybody may knock who can reach the relay, so that nobody has to type a relay's secret. What keeps strangers from using up
 * people's codes: nameplates of six digits, SPLICE_MISSES_MINUTE wrong ones a minute from everywhere together (in the five
 * minutes of a code that finds one of them with a chance of 1 in 1,200), and ATTEMPTS_MAX from one address (net/attempts.h). An
 * invitation's link is known by 64 bits, which nobody guesses: it does not count in the first.
 */
#ifndef BLAZE_RELAY_SPLICE_H
#define BLAZE_RELAY_SPLICE_H

#include "net/hello.h"
#include "net/mail.h"

#include "net/endpoint.h"

/** How long an invitation may wait, and a conversation last: a handshake, and two persons who compare words. */
#define SPLICE_WAIT_MS 300000
#define SPLICE_TALK_MS 360000
/** Invitations that wait or talk: in all, and of one connection. */
#define SPLICE_COUNT_MAX 4096
#define SPLICE_PER_DEVICE_MAX 32
/** Conversations at a time: in all, and from one address (loopback: in all). */
#define SPLICE_GUESTS_MAX 64
#define SPLICE_GUESTS_PER_PLACE_MAX 8
/** What passes: from who knocks, and to it (the welcome). */
#define SPLICE_GUEST_BYTES (64u << 10)
#define SPLICE_DEVICE_BYTES (5u << 20)
/** Of that, what those who knocked have not read yet, all together. */
#define SPLICE_QUEUED_BYTES (16u << 20)
/** Knocks at nameplates under which nobody waits, from everywhere. */
#define SPLICE_MISSES_MINUTE 120

struct splices;
/** One who knocked and was let through. */
struct splice_guest;

/** None of these may call back into this file. */
struct splice_ops {
	/** Tells the device that waits; m is borrowed. */
	void (*say)(void *device, const struct mail *m);
	/** splice_next() has something for the guest, or wants to end. */
	void (*wake)(void *connection);
};

struct splices *splice_create(const struct splice_ops *ops);
void splice_destroy(struct splices *v);

/** WAIT, of a device that may. Answered by WAITS. now_ms here and below: monotonic. */
void splice_wait(struct splices *v, void *device, const struct mail *m, uint64_t now_ms);
/** UNWAIT or HANG_UP. */
void splice_leave(struct splices *v, void *device, uint64_t request);
/** PASS. What is over already is ignored. */
void splice_pass(struct splices *v, void *device, const struct mail *m);
/** The device's connection is gone. */
void splice_gone(struct splices *v, void *device);

/**
 * A connection began with this HELLO, of mode CODE or LINK. HELLO_OK: *ret is the guest, until splice_end(); else what it is
 * answered.
 */
enum hello_status splice_knock(struct splices *v, struct slice hello, const struct endpoint *from,
			       void *connection, uint64_t now_ms, struct splice_guest **ret);
/** A message of the guest. < 0: close. */
int splice_receive(struct splice_guest *g, struct slice message);
/** As ws_handler.writable(). */
int splice_next(struct splice_guest *g, struct buf *out);
/** The connection is gone. */
void splice_end(struct splice_guest *g);

/** Ends what has had its time. */
void splice_tick(struct splices *v, uint64_t now_ms);
/** How many invitations wait or talk. */
size_t splice_count(const struct splices *v);

#endif
