/*
 * A relay's address: "ws://host:port#k=" and base64url of 32 bytes of its X25519 key, 16 bytes of the digest of its Ed25519
 * key, and 16 bytes of token; "wss://" when the connection is inside TLS too, then perhaps followed by "&p=" and base64url of the
 * certificate's pin (net/tls.h). What says who answers is the Noise key; a certificate that is not pinned is not looked at.
 */
#ifndef BLAZE_NET_MAILADDR_H
#define BLAZE_NET_MAILADDR_H

#include "net/endpoint.h"
#include "net/mail.h"
#include "net/tls.h"

#define MAILADDR_TEXT_BYTES (ENDPOINT_TEXT_BYTES + 192)

struct mailaddr {
	bool tls;
	bool pinned; /**< pin is set */
	uint8_t pin[TLS_PIN_BYTES];
	struct endpoint endpoint;
	uint8_t dh_pk[KEYS_PK_BYTES];
	struct id sign_id; /**< mailaddr_sign_id() */
	uint8_t token[MAIL_TOKEN_BYTES];
};

/** -EINVAL, and why. */
int mailaddr_parse(const char *text, struct mailaddr *ret, struct why *why);
void mailaddr_format(const struct mailaddr *a, char out[MAILADDR_TEXT_BYTES]);
/** Whether both lead to the same place in the same way; the relay there is another matter. */
bool mailaddr_is_same_way(const struct mailaddr *a, const struct mailaddr *b);
/** Without the secret, for people: "ws://host:port". */
void mailaddr_show(const struct mailaddr *a, char out[MAILADDR_TEXT_BYTES]);
struct id mailaddr_sign_id(const uint8_t sign_pk[KEYS_PK_BYTES]);
/** What the handshake proves: that one knows the token. */
void mailaddr_psk(const uint8_t token[MAIL_TOKEN_BYTES], uint8_t ret[32]);

#endif
