/*
 * A way to move one database's content to others that is no connection to a device: a relay. Net thread only. (A folder relay
 * has a thread of its own: net/folder.h.)
 */
#ifndef BLAZE_NET_PATH_H
#define BLAZE_NET_PATH_H

#include "core/status.h"

struct path_ops {
	const char *kind; /**< "relay" */
	/** The database changed: there may be something to put. */
	void (*changed)(void *self);
	/** Does what is due, and returns when it wants to be called again (monotonic ms). */
	uint64_t (*tick)(void *self, uint64_t now_ms);
	/** For status and topology. */
	void (*describe)(void *self, struct peer_status *ret);
	/** Says goodbye; ticks go on until it is destroyed. */
	void (*stop)(void *self);
};

#endif
