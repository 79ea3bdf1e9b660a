/*
 * What is said to a relay and by it: messages of mode RELAY, of both ends (MAILBOX in net/PROTOCOL.md). A connection is about
 * one mailbox.
 *
 * Each message is u8 type and the fields its row in mail.c lists, in that order. Lists are of 16-byte tags, or of tags with a
 * varint seq each (HAVE), up to the message's end.
 *
 * Sans I/O. No state, any thread.
 */
#ifndef BLAZE_NET_MAIL_H
#define BLAZE_NET_MAIL_H

#include "core/auth.h"
#include "core/mailbox.h"

#define MAIL_ACL_VERSION 1
/** Devices of a mailbox. */
#define MAIL_ACL_ENTRIES_MAX 1024
#define MAIL_TOKEN_BYTES 16
#define MAIL_LIST_TAGS_MAX 256
#define MAIL_TEXT_BYTES_MAX 200
#define MAIL_INVITE_BYTES 8

enum mail_type {
	MAIL_OPEN =
		1, /**< mailbox, log, cursor, slots, waits: where we are in which log; 1 = no PUSH before HOLD */
	MAIL_OPENED =
		2, /**< log, first, chain, cursor, version, acl, sign_pk: what follows comes after `first`, whose chain
			      is `chain`; the log ends at `cursor`; the ACL's version and mail_acl_id(); reads */
	MAIL_CREATE = 3, /**< acl. Answered by OPENED */
	MAIL_PUT = 4,	 /**< request, item */
	MAIL_RECEIPT =
		5, /**< request, mailbox, log, cursor, chain, time, durable, signature: all up to `request` is on
			      stable storage; 0: PROOF, an answer to TAKEN */
	MAIL_PUSH = 6,	    /**< cursor, item: the log's next */
	MAIL_TAKEN = 7,	    /**< cursor, first: durable here up to cursor, received up to `first` */
	MAIL_HAVE = 8,	    /**< list of (tag, seq) */
	MAIL_HAVE_ASK = 9,  /**< nothing */
	MAIL_ACL = 10,	    /**< acl: replaces the one before. Answered by ACL_SET */
	MAIL_ACL_SET = 11,  /**< version */
	MAIL_ERROR = 15,    /**< request (0 = the mailbox), code, text */
	MAIL_PLACED = 16,   /**< cursor, request: the log's next is what this PUT brought */
	MAIL_SLOT = 17,	    /**< slots, item: a slot, and its number */
	MAIL_LACK_ASK = 18, /**< list: which of these chunks are not there? */
	MAIL_LACK = 19,	    /**< list: these, of those asked last */
	MAIL_GET = 20,	    /**< list: chunks */
	MAIL_ITEM = 21,	    /**< item: one of them */
	MAIL_NONE = 22,	    /**< list: those that are not there */
	MAIL_REFILL = 23,   /**< nothing: what was trimmed is wanted again, from whoever has it */
	MAIL_PING = 24,	    /**< time, to be echoed */
	MAIL_PONG = 25,	    /**< time */

	/* SMART: a relay that was granted something. */
	MAIL_READS =
		32, /**< reads, text: whether it has a copy of the database now; the text says why not */
	MAIL_CERT_ASK = 33, /**< nothing */
	MAIL_CERT = 34,	    /**< cert: what the relay is called as a member */
	MAIL_WELCOME =
		35, /**< welcome: of an administrator, db_welcome_relay(). Answered by READS */
	MAIL_STREAM = 36, /**< stream: a message of net/smart.h, both ways */
	MAIL_HOLD =
		37, /**< list of (tag, seq), sorted: held here, and not to be pushed, of the log as it was when opened */
	MAIL_PASSED = 38, /**< cursor, stub: the log's next is held, says HOLD */

	/* RENDEZVOUS. `request` names one waiting, and the conversation that comes of it. */
	MAIL_WAIT =
		40, /**< request, nameplate, invite: an invitation waits here for who knows its code or link */
	MAIL_WAITS = 41,   /**< request, code: it does (0), or why not */
	MAIL_UNWAIT = 42,  /**< request: it does not any more */
	MAIL_KNOCK = 43,   /**< request, HELLO: somebody came */
	MAIL_PASS = 44,	   /**< request, message: of the conversation, unread; either way */
	MAIL_HANG_UP = 45, /**< request: it is over; either way */
};

enum mail_error {
	MAIL_ERROR_QUOTA = 1, /**< the mailbox is full */
	MAIL_ERROR_RATE,      /**< too much in too short a time */
	MAIL_ERROR_ACL,	      /**< this device may not */
	MAIL_ERROR_BUSY,      /**< too many connections */
	MAIL_ERROR_FULL,      /**< the disk is */
	MAIL_ERROR_UNKNOWN,   /**< there is no such mailbox */
	MAIL_ERROR_GAP,	      /**< what comes before this item is not there: ask HAVE? */
	MAIL_ERROR_TAKEN,     /**< WAIT: somebody else's code has this nameplate */
	MAIL_ERROR_COUNT,
};

/** A message, decoded; fields that its type does not have are zero. Slices are borrowed. */
struct mail {
	enum mail_type type;
	uint64_t request;
	uint64_t cursor;
	uint64_t first;
	uint64_t slots;
	uint64_t time_ms;
	uint64_t version;
	uint64_t nameplate;
	uint8_t invite[MAIL_INVITE_BYTES]; /**< invitation id, as in HELLO of mode LINK */
	struct id mailbox;
	struct id log;
	struct id acl;
	uint8_t chain[DIGEST_BYTES];
	uint8_t sign_pk[KEYS_PK_BYTES];
	uint8_t durable; /**< 1: on this disk */
	uint8_t code;	 /**< enum mail_error */
	uint8_t waits;
	uint8_t reads; /**< 1: it has a copy of the database, limited to what it was granted */
	uint8_t signature[KEYS_SIGNATURE_BYTES];
	struct slice text;
	struct slice rest; /**< item, acl, list, cert, welcome or stream */
};

/** Appends. */
void mail_encode(const struct mail *m, struct buf *out);
/** -EBADMSG. */
int mail_decode(struct slice message, struct mail *ret);

/**
 * An item without its content: what is before the sealed part, and 32 bytes digest of that part. It says as much about the chain as
 * the item does, so what is passed over cannot be another one.
 */
void mail_stub(struct slice item, struct buf *out);
/** -EBADMSG. ret->sealed is the digest. */
int mail_stub_decode(struct slice stub, struct mailbox_item *ret);
/** As mail_item_digest() of the item. */
void mail_stub_digest(const struct mailbox_item *stub, uint8_t ret[DIGEST_BYTES]);
/** Both sides compute it: the chain of `cursor`, from the one before and the item. */
void mail_item_digest(struct slice item, uint8_t ret[DIGEST_BYTES]);
void mail_chain(const uint8_t before[DIGEST_BYTES], uint64_t cursor,
		const uint8_t item_digest[DIGEST_BYTES], uint8_t ret[DIGEST_BYTES]);
/** Of cursor 0. */
void mail_chain_start(const struct id *log, uint8_t ret[DIGEST_BYTES]);
void mail_sign_receipt(const struct keys *keys, struct mail *receipt);
bool mail_receipt_is_signed(const struct mail *receipt, const uint8_t sign_pk[KEYS_PK_BYTES]);

/* ---- ACL: who may use a mailbox ------------------------------------------------------------------ */

enum mail_right {
	MAIL_GET_RIGHT = 1, /**< and say in a slot what was taken */
	MAIL_PUT_RIGHT = 2,
	MAIL_ADMIN_RIGHT = 4, /**< may replace the ACL */
};

struct mail_acl_entry {
	uint8_t dh_pk[KEYS_PK_BYTES];
	uint8_t sign_pk[KEYS_PK_BYTES];
	uint8_t rights;
};

struct mail_acl {
	struct id mailbox;
	uint64_t version;
	struct mail_acl_entry *entries; /**< sorted by dh_pk */
	size_t count;
};

/** What a member may do at a mailbox; 0 = nothing. */
uint8_t mail_rights(enum member_role role);
/** Signs it as well. Appends. */
void mail_acl_encode(const struct mail_acl *acl, const struct keys *keys, struct buf *out);
/** -EBADMSG. Free with mail_acl_fini(). */
int mail_acl_decode(struct slice bytes, struct mail_acl *ret);
bool mail_acl_is_signed(struct slice bytes, const uint8_t sign_pk[KEYS_PK_BYTES]);
void mail_acl_fini(struct mail_acl *acl);
/** NULL: not listed. */
const struct mail_acl_entry *mail_acl_find(const struct mail_acl *acl,
					   const uint8_t dh_pk[KEYS_PK_BYTES]);
void mail_acl_sort(struct mail_acl *acl);
/** Of its sorted entries: equal lists have equal ids. */
struct id mail_acl_id(const struct mail_acl *acl);

#endif
