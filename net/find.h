/*
 * FIND: where the inviter of a pairing code can be reached. On this machine, for the same user, there is a directory
 * with a file for every code that waits: named by the nameplate, it says who waits and at which addresses. On the local
 * network DNS-SD says the same (net/nearby.h).
 *
 *   $XDG_RUNTIME_DIR/blaze/pair/N, or else /tmp/blaze-UID/pair/N: "PID ADDR ADDR…\n"
 */
#ifndef BLAZE_NET_FIND_H
#define BLAZE_NET_FIND_H

#include "net/endpoint.h"

struct nearby;
struct find_ad;

/** How long the local network is asked for a code that is not of this machine. */
#define FIND_NEARBY_MS 3000

/**
 * Takes a nameplate that is free on this machine, of six digits if it is for relays too (RENDEZVOUS), and says where this
 * process can be reached. *ret_ad is what find_withdraw()
 * gets. Where nothing can be said, the nameplate is valid all the same, for who is told the address. nearby has to outlive
 * the ad.
 */
uint32_t find_publish(struct nearby *nearby, char (*addresses)[ENDPOINT_TEXT_BYTES], size_t count,
		      bool for_relays, struct find_ad **ret_ad);
/** Frees it. NULL is allowed. */
void find_withdraw(struct find_ad *ad);
/** Those that the machine's own directory names. Returns the count, 0 = nobody waits under this nameplate here. */
size_t find_lookup_here(uint32_t nameplate, char (*out)[ENDPOINT_TEXT_BYTES], size_t max);
/** Addresses of who waits under this nameplate; may take FIND_NEARBY_MS. Returns the count, 0 = nobody here. */
size_t find_lookup(uint32_t nameplate, char (*out)[ENDPOINT_TEXT_BYTES], size_t max);

#endif
