/*
 * LIVENESS of net/PROTOCOL.md: whether the other end of a connection is still there. Sans I/O: the times are monotonic
 * milliseconds of the caller's clock.
 *
 * After LIVENESS_QUIET_MS in which nothing came, a PING; LIVENESS_ANSWER_MS without a word after it, and the connection is
 * dead. While changes wait for the peer's acknowledgement the PING comes sooner, and is answered or the peer is in
 * doubt: other ways to it are tried, while this one is kept. A peer that owes us credit may be busy with its disk, and
 * is given more time.
 */
#ifndef BLAZE_NET_LIVENESS_H
#define BLAZE_NET_LIVENESS_H

#include "core/base.h"

#define LIVENESS_QUIET_MS 10000
#define LIVENESS_ANSWER_MS 5000
/** The side that was dialled waits so much longer: else both would ask at the same moment. */
#define LIVENESS_LAZY_MS 2000
/** While changes wait: the first PING, and how long until it is in doubt. Each further PING waits twice as long. */
#define LIVENESS_HURRY_MS 700
/** Instead of LIVENESS_ANSWER_MS when the peer has much to store. */
#define LIVENESS_BUSY_MS 30000

enum liveness_state {
	LIVENESS_GOOD,
	LIVENESS_ASK, /**< send a PING now, with `token` */
	LIVENESS_IN_DOUBT,
	LIVENESS_DEAD,
};

struct liveness {
	uint64_t heard_ms; /**< when something came last */
	uint64_t asked_ms; /**< when a PING went out that nothing has followed yet; 0 = none did */
	bool in_doubt;	   /**< was told of this PING */
	unsigned hurried;  /**< PINGs since something was said */
	uint64_t token;	   /**< of the last PING */
	bool lazy;	   /**< was dialled; set by the caller after liveness_start() */
	bool waiting;	   /**< changes wait for this peer; set by the caller */
	bool owed;	   /**< mux_is_owed(); set by the caller */
	uint64_t slack_ms; /**< an answer may take so much longer: it comes after what is on the way; set by the caller */
};

void liveness_start(struct liveness *l, uint64_t now_ms);
/** Anything came. */
void liveness_heard(struct liveness *l, uint64_t now_ms);
/** Changes were sent. */
void liveness_said(struct liveness *l);
/** A PING goes out for another reason. */
void liveness_asked(struct liveness *l, uint64_t now_ms, uint64_t token);
/** What is to be done. After LIVENESS_ASK it counts as done, with this token. */
enum liveness_state liveness_check(struct liveness *l, uint64_t now_ms, uint64_t token);
/** When liveness_check() may say something new. */
uint64_t liveness_due(const struct liveness *l);

#endif
