/*
 * The two clear messages before a handshake (HELLO in net/PROTOCOL.md). Both go into its prologue, so nobody can change
 * a word of them; they hold nothing that names a device.
 *
 *   hello of the initiator = u8 'B', u8 version_min, u8 version_max, u8 mode, u8 features, bytes body, more
 *     mode 1, sync:  body = 16 bytes nonce, 16 bytes hint
 *     mode 2, link:  body = 8 bytes invitation id
 *     mode 3, code:  body = varint nameplate, 16 bytes sid, 32 bytes CPace share
 *     mode 4, relay: body is empty
 *     mode 5, recover: body = 16 bytes nonce, 16 bytes hint, n * 8 bytes: those databases not
 *   hello of the responder = u8 'B', u8 version, u8 status, u8 features, 16 bytes nonce, bytes body, more
 *     mode 3, code, status 0:  body = 32 bytes CPace share
 *
 *   version: the highest that both know; with status VERSION_REFUSED the responder's highest
 *   features: bit 0 = AES instructions; the handshake uses AES-GCM when both have them
 *   more: what a later version adds; bound, and ignored
 *   hint = digest_id("blaze hint", initiator's dh_pk, responder's dh_pk, database id, nonce)
 *         recover: digest_id("blaze recover hint", account's public key, nonce): any database;
 *                  digest_id("blaze recover hint", account's public key, nonce, database id): this one
 *   those not = the first 8 bytes of digest_id("blaze recover without", database id, nonce), n <= HELLO_WITHOUT_MAX
 *   invitation id = the first 8 bytes of digest_id("blaze invite", secret)
 *
 * The responder's nonce makes a recorded first handshake message useless.
 */
#ifndef BLAZE_NET_HELLO_H
#define BLAZE_NET_HELLO_H

#include "net/cpace.h"

#include "core/keys.h"

#define HELLO_MAGIC 'B'
/** The version spoken here, and the oldest: release N talks to N - 1. */
#define HELLO_VERSION 2
#define HELLO_VERSION_MIN 2
#define HELLO_FEATURE_AES 1u
#define HELLO_NONCE_BYTES 16
#define HELLO_INVITE_BYTES 8
/** Longest hello or answer, whatever a later version puts into it. */
#define HELLO_BYTES_MAX 512
#define HELLO_NAMEPLATE_MAX 999999
#define HELLO_TAG_BYTES 8
/** Databases that who recovers can say that it does not mean. */
#define HELLO_WITHOUT_MAX 48

enum hello_mode {
	HELLO_SYNC = 1,	   /**< between members */
	HELLO_LINK = 2,	   /**< pairing: the secret is a link's */
	HELLO_CODE = 3,	   /**< pairing: the secret is made of a code's words */
	HELLO_RELAY = 4,   /**< to a relay: the secret is made of its address' token */
	HELLO_RECOVER = 5, /**< pairing: whoever has the account's words */
};

enum hello_status {
	HELLO_OK,
	HELLO_UNKNOWN, /**< no such member or invitation here */
	HELLO_USED,    /**< the invitation was used */
	HELLO_EXPIRED,
	HELLO_VOID, /**< somebody showed a wrong secret, or it was cancelled */
	HELLO_BUSY, /**< somebody is using it right now */
	HELLO_VERSION_REFUSED,
	HELLO_LATER, /**< too many handshakes failed: in a minute again */
	HELLO_STATUS_COUNT,
};

struct hello {
	uint8_t version_min;
	uint8_t version_max;
	enum hello_mode mode;
	uint8_t features;
	uint8_t nonce[HELLO_NONCE_BYTES];		     /**< sync, recover */
	struct id hint;					     /**< sync, recover */
	uint8_t without[HELLO_WITHOUT_MAX][HELLO_TAG_BYTES]; /**< recover */
	size_t without_count;
	uint8_t invite[HELLO_INVITE_BYTES]; /**< link */
	uint32_t nameplate;		    /**< code: 1 to HELLO_NAMEPLATE_MAX */
	uint8_t sid[CPACE_SID_BYTES];	    /**< code */
	uint8_t share[CPACE_SHARE_BYTES];   /**< code */
};

struct hello_answer {
	uint8_t version;
	enum hello_status status;
	uint8_t features;
	uint8_t nonce[HELLO_NONCE_BYTES];
	bool has_share;
	uint8_t share[CPACE_SHARE_BYTES]; /**< code */
};

void hello_encode(const struct hello *h, struct buf *out);
/** -EBADMSG malformed; -EPROTONOSUPPORT no version in common, or a mode of a later one. */
int hello_decode(struct slice message, struct hello *ret);
/** The version both speak, of a decoded hello. */
uint8_t hello_choose_version(const struct hello *h);
void hello_answer_encode(const struct hello_answer *a, struct buf *out);
/** -EBADMSG malformed; -EPROTONOSUPPORT it chose a version that we did not offer. */
int hello_answer_decode(struct slice message, struct hello_answer *ret);

struct id hello_hint(const uint8_t initiator_pk[KEYS_PK_BYTES],
		     const uint8_t responder_pk[KEYS_PK_BYTES], const struct id *database,
		     const uint8_t nonce[HELLO_NONCE_BYTES]);
/** database NULL: of any. */
struct id hello_recover_hint(const uint8_t account_pk[KEYS_PK_BYTES],
			     const uint8_t nonce[HELLO_NONCE_BYTES], const struct id *database);
/** Recover: does not mean this database; at most HELLO_WITHOUT_MAX times, after the nonce is there. */
void hello_add_without(struct hello *h, const struct id *database);
/** Whether who recovers by this hello means this database of this account. */
bool hello_recovers(const struct hello *h, const uint8_t account_pk[KEYS_PK_BYTES],
		    const struct id *database);
/** RECOVER's psk: no secret of the person's, but none that strangers know. */
void hello_recover_secret(const uint8_t account_pk[KEYS_PK_BYTES], uint8_t ret[32]);
void hello_invite_id(const uint8_t secret[32], uint8_t ret[HELLO_INVITE_BYTES]);

#endif
