/*
 * DIAL: at which addresses a member may be found, the best first: the Unix socket of the same machine, what the local network says
 * (net/nearby.h), then what is known from earlier connections, then what the member itself says (core/contact.h): private networks before public ones, and
 * loopback last, for it may be another machine's.
 */
#ifndef BLAZE_NET_ROUTES_H
#define BLAZE_NET_ROUTES_H

#include "net/endpoint.h"

#include "core/db.h"

#define ROUTES_MAX 12
/** While one address does not answer, the next one is tried as well after so long. */
#define ROUTES_STAGGER_MS 250

struct routes {
	struct endpoint at[ROUTES_MAX];
	size_t count;
};

struct nearby;

/** Reads from the database, and looks on this machine and, if nearby is not NULL, on the local network. */
void routes_find(struct db *db, uint64_t actor, const struct nearby *nearby, struct routes *ret);
/** Adds an address at the end, unless it is there or there is no room. */
void routes_add(struct routes *r, const struct endpoint *e);

#endif
