/*
 * CARRIER of net/PROTOCOL.md: the mount of a home that has the connections (net/trunk.h), as the other mounts of that home
 * see it, its RIDERs (net/rider.h). It passes on the messages of their lanes, which are records under keys it does not
 * have, and asks them whose an incoming lane is. Net thread only.
 */
#ifndef BLAZE_NET_CARRIER_H
#define BLAZE_NET_CARRIER_H

#include "net/trunk.h"

#include "core/why.h"

struct carrier;

struct carrier_options {
	struct trunks *trunks;
	/** A rider wants us to listen on an address: 0 and the one bound in ret_bound, or < 0. */
	int (*listen)(void *ctx, const char *address, char ret_bound[ENDPOINT_TEXT_BYTES],
		      struct why *why);
	/** No rider knows the HELLO of this lane: trunks_take() it. */
	void (*unwanted)(void *ctx, struct lane *l);
	void *ctx;
};

struct carrier *carrier_create(const struct carrier_options *options);
/** After ws_destroy(). */
void carrier_destroy(struct carrier *c);
/** For ws_handler.accepted(), of HOME/net.sock: a rider. */
void *carrier_accept(struct carrier *c, struct ws_conn *ws);
/** Asks the riders, one after the other, whether it is theirs; unwanted() follows if not, maybe at once. */
void carrier_offer(struct carrier *c, struct lane *l, struct slice hello);

#endif
