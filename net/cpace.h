/*
 * CPace (draft-irtf-cfrg-cpace-21), CPACE-RISTR255-SHA512, initiator and responder: two who know the same few words
 * get a key, and who does not know them gets one guess.
 *
 *     initiator                            responder
 *        │── sid, Ya = ya·g ──────────────────▶│       g: a point made of the words, the channel's name
 *        │◀───────────────────────── Yb = yb·g │          and sid
 *        │   key: of K = ya·Yb = yb·Ya, of sid, Ya and Yb
 *
 * The names are the draft's. Nothing here is sent encrypted: the key goes into net/noise.h.
 */
#ifndef BLAZE_NET_CPACE_H
#define BLAZE_NET_CPACE_H

#include "core/bytes.h"

#define CPACE_SHARE_BYTES 32
#define CPACE_SID_BYTES 16
#define CPACE_KEY_BYTES 64

/** What both know before. Borrowed. */
struct cpace_input {
	struct slice prs; /**< the words */
	struct slice ci;  /**< who is talking to whom: the channel's name */
	uint8_t sid[CPACE_SID_BYTES];
};

/** One side's secret, and what it says. Wipe after use. */
struct cpace {
	uint8_t scalar[32];
	uint8_t share[CPACE_SHARE_BYTES];
	uint8_t sid[CPACE_SID_BYTES];
};

/** scalar: of known-answer tests; NULL = random. */
void cpace_start(struct cpace *c, const struct cpace_input *input, const uint8_t *scalar);
/** Whether it can be one side's share at all: an element of the group and not the neutral one. */
bool cpace_share_is_valid(const uint8_t share[CPACE_SHARE_BYTES]);
/**
 * What the two shares make, wiping the secret. ada and adb: what initiator and responder said with theirs. -EBADMSG: not
 * a share.
 */
int cpace_finish(struct cpace *c, bool initiator, const uint8_t theirs[CPACE_SHARE_BYTES],
		 struct slice ada, struct slice adb, uint8_t ret_key[CPACE_KEY_BYTES]);

#endif
