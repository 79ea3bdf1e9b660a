/*
 * The two clear messages before a handshake. Both go into its prologue, so nobody can change a word
 * of them; they hold nothing that names a device.
 *
 *   hello of the initiator = u8 version 1, u8 mode, u8 features, then
 *     mode 1, sync:  16 bytes nonce, 16 bytes hint
 *     mode 2, pair:  8 bytes invitation id
 *   hello of the responder = u8 version 1, u8 status, u8 features, 16 bytes nonce
 *
 *   features: bit 0 = AES instructions; the handshake uses AES-GCM when both have them
 *   hint = digest_id("blaze hint", initiator's dh_pk, responder's dh_pk, nonce)
 *   invitation id = the first 8 bytes of digest_id("blaze invite", secret)
 *
 * The responder's nonce makes a recorded first handshake message useless.
 */
#ifndef BLAZE_NET_HELLO_H
#define BLAZE_NET_HELLO_H

#include "core/keys.h"

#define HELLO_VERSION 1
#define HELLO_FEATURE_AES 1u
#define HELLO_NONCE_BYTES 16
#define HELLO_INVITE_BYTES 8
#define HELLO_BYTES_MAX (3 + HELLO_NONCE_BYTES + 16)

enum hello_mode {
	HELLO_SYNC = 1,
	HELLO_PAIR = 2,
};

enum hello_status {
	HELLO_OK,
	HELLO_UNKNOWN, /**< no such member or invitation here */
	HELLO_USED,    /**< the invitation was used */
	HELLO_EXPIRED,
	HELLO_VOID, /**< somebody showed a wrong secret, or it was cancelled */
	HELLO_BUSY, /**< somebody is using it right now */
	HELLO_VERSION_REFUSED,
	HELLO_STATUS_COUNT,
};

struct hello {
	enum hello_mode mode;
	uint8_t features;
	uint8_t nonce[HELLO_NONCE_BYTES];   /**< sync */
	struct id hint;			    /**< sync */
	uint8_t invite[HELLO_INVITE_BYTES]; /**< pair */
};

struct hello_answer {
	enum hello_status status;
	uint8_t features;
	uint8_t nonce[HELLO_NONCE_BYTES];
};

void hello_encode(const struct hello *h, struct buf *out);
/** -EBADMSG malformed; -EPROTONOSUPPORT another version. */
int hello_decode(struct slice message, struct hello *ret);
void hello_answer_encode(const struct hello_answer *a, struct buf *out);
int hello_answer_decode(struct slice message, struct hello_answer *ret);

struct id hello_hint(const uint8_t initiator_pk[KEYS_PK_BYTES],
		     const uint8_t responder_pk[KEYS_PK_BYTES],
		     const uint8_t nonce[HELLO_NONCE_BYTES]);
void hello_invite_id(const uint8_t secret[32], uint8_t ret[HELLO_INVITE_BYTES]);

#endif
