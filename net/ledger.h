/*
 * What a device has seen of a relay's log, and what it catches the relay lying about (CHAIN in net/PROTOCOL.md). Sans I/O.
 *
 * The chain is computed again, item by item. So two devices that are shown different logs have different chains from the first
 * difference on, and a relay that has forgotten what it gave a receipt for cannot go on as if nothing had been:
 *
 *   ROLLBACK      the log ends before what was receipted
 *   FORK          another chain at the same cursor, than we saw, than a receipt says, than another device was shown
 *   WITHHOLDING   another device was shown more of the log, for LEDGER_PATIENCE_MS now
 *
 * What is kept across restarts is the last place that is durable on both sides.
 */
#ifndef BLAZE_NET_LEDGER_H
#define BLAZE_NET_LEDGER_H

#include "core/mailbox.h"
#include "net/mail.h"

/** Places whose chain is remembered. */
#define LEDGER_CHAINS 1024
#define LEDGER_PATIENCE_MS 30000
#define LEDGER_TEXT_BYTES 160

struct ledger {
	struct id log;	 /**< zeros: none was seen yet */
	uint64_t cursor; /**< seen up to here */
	uint8_t chain[DIGEST_BYTES];
	uint64_t proven; /**< durable there, and taken here */
	uint8_t proven_chain[DIGEST_BYTES];
	uint64_t receipted; /**< durable there, says a receipt of this run */
	uint64_t slots;	    /**< number of the last slot */
	struct {
		uint64_t cursor;
		uint8_t chain[DIGEST_BYTES];
	} past[LEDGER_CHAINS]; /**< by cursor modulo the size */
	struct mailbox_log said; /**< another place somebody else named, ahead of us; cursor 0 = none */
	uint64_t said_ms;	 /**< monotonic, when */
	char alarm[LEDGER_TEXT_BYTES]; /**< what it was caught at, for people; "" = nothing */
};

/** From what ledger_encode() said; anything else is a fresh one. */
void ledger_decode(struct ledger *l, const char *text);
/** One line without blanks but between its words; appends. */
void ledger_encode(const struct ledger *l, struct buf *out);

/**
 * OPENED: sets out from there. 1 = it is another log than before, or what was known is of no use: ask HAVE and begin anew;
 * 0 = it goes on. In either case alarm may be set.
 */
int ledger_open(struct ledger *l, const struct mail *opened);
/** The log's next. -EBADMSG: it is not the next. */
int ledger_next(struct ledger *l, uint64_t cursor, const uint8_t item_digest[DIGEST_BYTES]);
/** A receipt of the relay, whose signature is good; taken: our own place that is durable here. 1 = there is more to keep. */
int ledger_receipt(struct ledger *l, const struct mail *receipt, uint64_t taken);
/** Another device was shown this. Of another log: ignored. */
void ledger_compare(struct ledger *l, const struct mailbox_log *other, uint64_t now_ms);
/** Whether somebody was shown what we wait for in vain. now_ms: monotonic; patience_ms: LEDGER_PATIENCE_MS, but in tests. */
void ledger_tick(struct ledger *l, uint64_t now_ms, uint64_t patience_ms);

#endif
