/*
 * The relays of a database: which there are, and what is known of each. The list is the shared setting "relays" (addresses with
 * blanks between them), so that a relay added on one device is everybody's as soon as the others hear of it.
 *
 * All of them are connected. One is used (net/ranking.h): what this device makes is put there at once. The others are warm spares:
 * what they are given by others is taken from them as well, and they are given all a second later, so that the loss of a relay
 * with its disk loses nothing, and the successor needs no time.
 *
 * Threads: the network thread, but for those that say otherwise.
 */
#ifndef BLAZE_NET_RELAYS_H
#define BLAZE_NET_RELAYS_H

#include "net/relay.h"

#define RELAYS_MAX 8

struct relays;

/** rendezvous outlives it. */
struct relays *relays_create(struct db *db, const struct keys *keys, struct ws *ws,
			     struct status *status, const struct rendezvous_host *rendezvous);
/** After ws_destroy(), which ends the connections. */
void relays_destroy(struct relays *r);
/** Brings the relays in line with the setting. */
void relays_refresh(struct relays *r);
void relays_changed(struct relays *r);
/** Does what is due and sets the timer. */
void relays_tick(struct relays *r);
void relays_stop(struct relays *r);
size_t relays_count(const struct relays *r);
bool relays_are_gone(const struct relays *r);

/** Copies of what is known, as many as there are; *ret is the caller's. Any thread. */
size_t relays_list(struct relays *r, struct relay_info **ret);
/** How many the setting names, whether relays_list() knows them yet or not. Any thread. */
size_t relays_wanted(struct relays *r);
/** Changes the setting; relays_refresh() has to follow. -EINVAL, -ENOSPC too many, -EPERM. Any thread. */
int relays_add(struct relays *r, const char *address, struct why *why);
/** By address, or by the part in front of the "#". -ENOENT. Any thread. */
int relays_remove(struct relays *r, const char *address, struct why *why);

/* ---- SMART: core/grant.h ------------------------------------------------------------------------- */

/**
 * Admits the relay, if it is no member, and grants it the collections. It is asked for its certificate, so it has to be connected.
 * address: as relays_remove() takes it. -ENOENT, -ENOTCONN, -ETIMEDOUT (monotonic deadline_ms), -EBUSY somebody else is asking,
 * -EPERM, -EKEYREJECTED; and why. Any thread.
 */
int relays_grant(struct relays *r, const char *address, const struct grant_info *list, size_t count,
		 uint64_t deadline_ms, struct why *why);
/** Removes it from the members, by address or as a device is called. -ENOENT, -EPERM. Any thread. */
int relays_revoke(struct relays *r, const char *address, struct why *why);
/**
 * Waits until the relay has a copy and holds in it what is here (wanted), or until it has none. 0, -ETIMEDOUT; -ENOENT no such
 * relay. Any thread.
 */
int relays_wait_copy(struct relays *r, const char *address, bool wanted, uint64_t deadline_ms,
		     struct relay_info *ret);
/** Somebody asked: net thread. */
void relays_woken(struct relays *r);

#endif
