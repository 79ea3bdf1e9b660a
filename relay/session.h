/*
 * One connection of the relay: handshake, then the messages of net/mail.h about one mailbox. Sans I/O: net/ws.h carries it.
 *
 *     HELLO, HANDSHAKE ──up──▶ (knocking) ──OPEN or CREATE──▶ (open) ──▶ gone
 *
 * Who has no token does not get through the handshake, but may knock where an invitation waits (relay/splice.h); who is not in the ACL gets nothing but an error. In the order of
 * importance it says: answers, receipts of what has become durable, the log, slots, and chunks that were asked for.
 */
#ifndef BLAZE_RELAY_SESSION_H
#define BLAZE_RELAY_SESSION_H

#include "net/ws.h"
#include "relay/box.h"
#include "relay/copies.h"
#include "relay/holds.h"
#include "relay/splice.h"

/** Of the log, sent and not taken. */
#define SESSION_WINDOW_BYTES (4u << 20)
/** A message is fetched whenever less than this waits to be sent. */
#define SESSION_QUEUE_BYTES 65536
#define SESSION_SLOT_BYTES_MAX (256u << 10)
/**
 * Slots that are said, for long and at once. All devices hear of all others': with many of them that is more than the log, and
 * who falls behind hears of the latest only.
 */
#define SESSION_SLOT_BYTES_S (64u << 10)
#define SESSION_SLOT_BURST (128u << 10)
/** What may go is removed when a mailbox is opened, or full: so many items at most. */
#define SESSION_TRIM_ITEMS 500

struct session;

struct session_host {
	const struct keys *keys;
	uint8_t psk[32];
	struct boxes *boxes;
	struct copies *copies;
	struct splices *splices; /**< their devices and connections are sessions */
	uint64_t rate;		 /**< items a second that a device may put, for long */
	uint64_t burst;		 /**< and at once */
	/** Wall clock. */
	uint64_t (*now_ms)(void);
	/** Number of the last batch that is on stable storage. */
	uint64_t (*durable)(void *ctx);
	/** Something was written that somebody waits for. */
	void (*written)(void *ctx);
	/** Something is new in the mailbox. */
	void (*changed)(void *ctx, struct box *b);
	/** A slot is. */
	void (*slot_changed)(void *ctx, struct box *b);
	/** session_wake_for_slots() is wanted, not at once. */
	void (*later)(void *ctx);
	void (*gone)(void *ctx, struct session *s);
	void *ctx;
};

struct session *session_create(const struct session_host *host, struct ws_conn *ws);
/** For ws_handler: its `user` is the session. closed() destroys it. */
int session_received(void *user, struct slice message);
int session_writable(void *user, struct buf *out);
void session_closed(void *user, const char *reason);
/** NULL: none is open yet. */
struct box *session_box(const struct session *s);
/** For splice_ops: says m. */
void session_say(void *session, const struct mail *m);
/** There may be something to say. */
void session_wake(void *session);
/** There may be a slot to say. */
void session_wake_for_slots(struct session *s);
void session_bye(struct session *s);

#endif
