/*
 * Who of a database's members is on the local network, by DNS-SD: says what net/beacon.h draws, and understands what others
 * say. And the same for pairing codes. Net thread only, unless it says otherwise.
 */
#ifndef BLAZE_NET_NEARBY_H
#define BLAZE_NET_NEARBY_H

#include "net/dnssd.h"
#include "net/routes.h"

struct nearby;

struct nearby_options {
	struct db *db;
	const struct keys *keys;
	/** Any thread: nearby_woken() is to be called. */
	void (*wake)(void *ctx);
	/** This member is here: nearby_add_routes() knows where. */
	void (*found)(void *ctx, uint64_t actor);
	void *ctx;
};

/** Begins to look. Never NULL: where there is no DNS-SD, it finds nobody. */
struct nearby *nearby_create(const struct nearby_options *options);
/** Nothing is found or said any more: wake() is not called again. */
void nearby_stop(struct nearby *n);
/** NULL is allowed. */
void nearby_destroy(struct nearby *n);
/** Where this device can be reached now. Those of its loopback are of no use to others; without another one it is silent. */
void nearby_say(struct nearby *n, char (*addresses)[ENDPOINT_TEXT_BYTES], size_t count);
/** Looks at what was found. */
void nearby_woken(struct nearby *n);
/** Adds where this member was found. */
void nearby_add_routes(const struct nearby *n, uint64_t actor, struct routes *r);

/* ---- pairing codes ---------------------------------------------------------------------------- */

/** Says where the inviter of this nameplate is, until nearby_withdraw(). Any thread. */
void nearby_invite(struct nearby *n, uint32_t nameplate, char (*addresses)[ENDPOINT_TEXT_BYTES],
		   size_t count);
void nearby_withdraw(struct nearby *n, uint32_t nameplate);
/** Looks for it, for timeout_ms at most. Any thread; needs no nearby. Returns the count, 0 = nobody says so. */
size_t nearby_lookup(uint32_t nameplate, uint64_t timeout_ms, char (*out)[ENDPOINT_TEXT_BYTES],
		     size_t max);

#endif
