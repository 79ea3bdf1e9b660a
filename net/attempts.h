/*
 * LIMITS on handshakes that fail: who fails ATTEMPTS_MAX times in a minute is not listened to for the next one. Counted for each
 * member and address, so that one who replays another's hello from elsewhere does not lock it out. Net thread only.
 */
#ifndef BLAZE_NET_ATTEMPTS_H
#define BLAZE_NET_ATTEMPTS_H

#include "net/endpoint.h"

#define ATTEMPTS_MAX 10
#define ATTEMPTS_MS 60000
/** Of those that fail at the same time; the one that failed longest ago makes room. */
#define ATTEMPTS_COUNT 64

/** Zero-initialise. */
struct attempts {
	struct attempt_entry {
		uint64_t who;
		char address[ENDPOINT_TEXT_BYTES]; /**< "" = free */
		unsigned count;
		uint64_t since_ms; /**< of the first; when it was locked out, of that */
	} entries[ATTEMPTS_COUNT];
};

/** who: a member's actor, or 0 for those that recover. Whether it may try. */
bool attempts_may(struct attempts *a, uint64_t who, const char *address, uint64_t now_ms);
/** One has failed. true: from now on it has to wait. */
bool attempts_failed(struct attempts *a, uint64_t who, const char *address, uint64_t now_ms);
/** One that counts whether it fails or not. false: it has to wait. */
bool attempts_take(struct attempts *a, uint64_t who, const char *address, uint64_t now_ms);

#endif
