/*
 * The relay's mailboxes: what each holds, who may use it, and the rules for what comes in. No network, no thread.
 *
 * A mailbox is a log of items (envelopes and strata, each with a cursor from 1 and a chain, see net/mail.h), and beside it
 * chunks, by tag, and a slot for each device. Everything is sealed: the relay sees tags, numbers and sizes. What has one tag stays
 * contiguous in the log: an item that would leave a gap is refused, one that was here is a duplicate. A tag may begin with any
 * number, as a feed goes on under another one in each key epoch.
 *
 * What is written is seen at once, and durable when boxes_durable() has reached what boxes_written() said.
 *
 * RETENTION: an item may go when every device of the ACL has taken it and the mailbox is more than half full, or when it is
 * BOX_KEEP_MS old. Chunks go with age alone, slots stay.
 */
#ifndef BLAZE_RELAY_BOX_H
#define BLAZE_RELAY_BOX_H

#include "core/mailbox.h"
#include "net/mail.h"
#include "relay/store.h"

#define BOX_KEEP_MS (UINT64_C(90) * 24 * 3600 * 1000)
/** A mailbox is begun anew at most so often. */
#define BOX_REFILL_MS (UINT64_C(600) * 1000)

struct box_limits {
	uint64_t boxes;
	uint64_t box_bytes; /**< of a mailbox, all in all */
	uint64_t box_items; /**< of its log */
};

struct box_feed {
	struct id tag;
	uint64_t seq;
};

struct box_slot {
	uint8_t dh_pk[KEYS_PK_BYTES];
	uint64_t number;
};

struct box_taken {
	uint8_t dh_pk[KEYS_PK_BYTES];
	uint64_t cursor;
};

struct boxes;

/** Read-only for others. */
struct box {
	struct boxes *boxes;
	struct box *next;
	unsigned refs;
	struct id id;
	struct id log;
	uint64_t first; /**< the items up to this cursor are gone */
	uint64_t head;	/**< the last item's cursor */
	uint8_t first_chain[DIGEST_BYTES];
	uint8_t head_chain[DIGEST_BYTES];
	uint64_t bytes;	    /**< of log, chunks and slots */
	uint64_t slot_last; /**< number of the last slot */
	uint64_t begun_ms;  /**< wall clock */
	struct mail_acl acl;
	struct box_feed *feeds; /**< sorted by tag */
	size_t feed_count;
	struct box_slot *slots; /**< sorted by number */
	size_t slot_count;
	struct box_taken *taken;
	size_t taken_count;
};

/** Takes ownership of the store. */
int boxes_create(struct relay_store *store, const struct box_limits *limits, struct boxes **ret);
void boxes_destroy(struct boxes *b);
struct relay_store *boxes_store(struct boxes *b);
/** Counts batches. */
uint64_t boxes_written(const struct boxes *b);
uint64_t boxes_count(const struct boxes *b);

/** -ENOENT, -EIO. box_unref() when done. */
int box_open(struct boxes *b, const struct id *id, struct box **ret);
void box_unref(struct box *b);
/** A new one: acl is version 1 and was checked. -EDQUOT, -ENOSPC, -EIO. */
int box_create(struct boxes *b, struct slice acl, uint64_t now_ms, struct box **ret);
/** -EACCES not signed by an administrator of the one before; -ESTALE not its next; -EBADMSG. */
int box_set_acl(struct box *b, struct slice acl);

/** Puts an item in the log: 1 = at *ret_cursor, 0 = it was there; -ENOTCONN a gap before it, -EDQUOT, -ENOSPC, -EIO. */
int box_append(struct box *b, const struct mailbox_item *item, struct slice bytes, uint64_t now_ms,
	       uint64_t *ret_cursor);
/** The item at a cursor that is there. */
int box_read(struct box *b, uint64_t cursor, struct buf *ret);
/** The chain at a cursor from first to head. */
int box_chain(struct box *b, uint64_t cursor, uint8_t ret[DIGEST_BYTES]);

/** 0 also if it was there. */
int box_put_chunk(struct box *b, const struct id *tag, struct slice bytes, uint64_t now_ms);
bool box_has_chunk(struct box *b, const struct id *tag);
/** -ENOENT, -EIO. */
int box_get_chunk(struct box *b, const struct id *tag, struct buf *ret);

/** Replaces the device's; the caller has found it in the ACL. */
int box_put_slot(struct box *b, const uint8_t dh_pk[KEYS_PK_BYTES], struct slice bytes);
/** The first slot numbered above *number, which becomes its: 1, or 0. */
int box_next_slot(struct box *b, uint64_t *number, struct buf *ret);

/** What a device says it has taken. */
int box_take(struct box *b, const uint8_t dh_pk[KEYS_PK_BYTES], uint64_t cursor, uint64_t now_ms);
/** Removes what may go: at most `max` items. 1 = something went, 0, or < 0. */
int box_trim(struct box *b, size_t max, uint64_t now_ms);
/** Begins a new log, empty, if something was trimmed and the last time is long enough ago: 1, else 0. */
int box_refill(struct box *b, uint64_t now_ms);

#endif
