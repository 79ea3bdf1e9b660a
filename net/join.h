/* The joining side of pairing: a small client of its own, with its own ws, for one link. */
#ifndef BLAZE_NET_JOIN_H
#define BLAZE_NET_JOIN_H

#include "net/net.h"

/** How long one address may take to answer. */
#define JOIN_DIAL_MS 5000

/** As net_pair_join(). */
int join_run(const char *link, const struct keys *keys, uint64_t timeout_ms,
	     const struct pair_confirm *confirm, struct pair_result *ret, struct why *why);

#endif
