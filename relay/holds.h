/*
 * HOLD: what a device has of a mailbox's log before it reads it, so that these items are passed over. No state but its own.
 */
#ifndef BLAZE_RELAY_HOLDS_H
#define BLAZE_RELAY_HOLDS_H

#include "core/mailbox.h"

/** Feeds in one list. */
#define HOLDS_MAX 65536

struct holds {
	struct mailbox_range *items; /**< sorted by tag; first is 1 */
	size_t count;
};

/** From a list of (tag, varint seq), sorted by tag. -EBADMSG. */
int holds_decode(struct slice list, struct holds *ret);
void holds_fini(struct holds *h);
/** Whether all of the item is held. */
bool holds_cover(const struct holds *h, const struct mailbox_item *item);

#endif
