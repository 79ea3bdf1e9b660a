/*
 * Short names for feeds: part of core/sync.h's engine, one for each connection. A feed is named by 16 bytes of stream
 * and 8 of actor; an edit has a hundred. So each side numbers the feeds it speaks of, from 1 on:
 *
 *   feed = varint n
 *     even: the sender's number n / 2. If it is one more than any before, 16 bytes stream, 8 bytes actor follow: from
 *           here on it stands for them
 *     odd:  the receiver's own number (n - 1) / 2
 *     0:    16 bytes stream, 8 bytes actor follow, and have no number
 */
#ifndef BLAZE_CORE_SYNC_FEEDS_H
#define BLAZE_CORE_SYNC_FEEDS_H

#include "core/db.h"

/** Numbers given by each side; what comes then is spelled out. */
#define SYNC_FEEDS_MAX 65536

/** Feeds by number, and numbers by feed. */
struct sync_feeds_side {
	struct feed_pos *by_number; /**< number n is at n - 1 */
	struct feed_pos *by_feed;   /**< sorted; seq is the number */
	size_t count;
};

/** Zero-initialise. */
struct sync_feeds {
	struct sync_feeds_side ours;
	struct sync_feeds_side theirs;
};

void sync_feeds_fini(struct sync_feeds *f);
/** Appends the feed of *p. */
void sync_feeds_write(struct sync_feeds *f, const struct feed_pos *p, struct buf *out);
/** The feed, with seq 0. What cannot be makes r->bad true. */
struct feed_pos sync_feeds_read(struct sync_feeds *f, struct reader *r);

#endif
