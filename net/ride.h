/*
 * What a RIDER and the CARRIER of its home say to each other (net/rider.h, net/carrier.h): WebSocket messages over
 * HOME/net.sock. Every message is
 *
 *   u8 kind, varint lane, content        the rider opens odd lanes, the carrier even ones
 *
 *   endpoint = bytes host, varint port, u8 1 = inside TLS
 *
 *   HELLO 1      varint version                    both, first, lane 0
 *   DIAL 2       32 bytes device, varint deadline ms, endpoint
 *   OPENED 3     endpoint                          where that has led to
 *   OFFER 4      endpoint, HELLO of the peer       is it for your database?
 *   TAKE 5, PASS 6                                 yes, and this lane is mine now; no
 *   DATA 7       a message of the lane
 *   CLOSE 8      text: why
 *   TRUST 9      32 bytes device, or none          lane_trust()
 *   DOUBT 10                                       lane_doubt()
 *   RETIRE 11                                      retired() of net/lane.h
 *   MORE 12      varint bytes                      so much more DATA may come of the rider
 *   LISTEN 13    text: address                     lane = number of the request
 *   LISTENING 14 varint errno, text: the address bound, or why not
 *
 * Lanes' messages are records under keys that the carrier does not have.
 */
#ifndef BLAZE_NET_RIDE_H
#define BLAZE_NET_RIDE_H

#include "net/endpoint.h"

#include "core/bytes.h"
#include "core/digest.h"

#define RIDE_VERSION 1
/** Of one lane, what a rider may send before the first MORE. */
#define RIDE_WINDOW 262144
/** Of one lane, what waits at the carrier for a rider that does not read; then the lane ends. */
#define RIDE_WAITING_MAX (32u << 20)

enum ride_kind {
	RIDE_HELLO = 1,
	RIDE_DIAL,
	RIDE_OPENED,
	RIDE_OFFER,
	RIDE_TAKE,
	RIDE_PASS,
	RIDE_DATA,
	RIDE_CLOSE,
	RIDE_TRUST,
	RIDE_DOUBT,
	RIDE_RETIRE,
	RIDE_MORE,
	RIDE_LISTEN,
	RIDE_LISTENING,
	RIDE_KINDS,
};

/** Which fields count depends on the kind; the rest is empty. */
struct ride {
	enum ride_kind kind;
	uint64_t lane;
	const uint8_t *device; /**< DIAL, TRUST; borrowed; NULL = none */
	struct endpoint at;    /**< DIAL, OPENED, OFFER */
	uint64_t number;       /**< version, deadline, bytes or errno */
	struct slice content;  /**< OFFER, DATA, CLOSE, LISTEN, LISTENING; borrowed */
};

/** Appends. */
void ride_encode(const struct ride *r, struct buf *out);
/** -EBADMSG. */
int ride_decode(struct slice message, struct ride *ret);

/** Messages that wait to be sent, the oldest first. Zero-initialise. */
struct ride_queue {
	struct buf *items;
	size_t at;
	size_t count; /**< with those before `at`, which are sent */
	size_t bytes;
};

void ride_queue_push(struct ride_queue *q, struct slice message);
/** The same for what is not encoded yet. */
void ride_queue_say(struct ride_queue *q, const struct ride *r);
/** Appends the oldest to *out: true, or false = there is none. */
bool ride_queue_pop(struct ride_queue *q, struct buf *out);
void ride_queue_fini(struct ride_queue *q);

#endif
