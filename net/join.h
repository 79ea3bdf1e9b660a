/* The joining side of pairing: a small client of its own, with its own ws, for one link or code. */
#ifndef BLAZE_NET_JOIN_H
#define BLAZE_NET_JOIN_H

#include "net/net.h"

/** How long one address may take to answer. */
#define JOIN_DIAL_MS 5000
/** How long two persons may take to compare words. */
#define JOIN_PERSON_MS 300000

/** As net_pair_join(). */
int join_run(const struct pair_target *target, const struct keys *keys,
	     const struct pair_confirm *confirm, struct pair_result *ret, struct why *why);

#endif
