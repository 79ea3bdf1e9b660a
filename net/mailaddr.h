/*
 * A relay's address: "ws://host:port#k=" and base64url of 32 bytes of its X25519 key, 16 bytes of the digest of its Ed25519
 * key, and 16 bytes of token; "wss://" when the connection is inside TLS too. What is pinned is the Noise key: a certificate
 * is not looked at.
 */
#ifndef BLAZE_NET_MAILADDR_H
#define BLAZE_NET_MAILADDR_H

#include "net/endpoint.h"
#include "net/mail.h"

#define MAILADDR_TEXT_BYTES (ENDPOINT_TEXT_BYTES + 128)

struct mailaddr {
	bool tls;
	struct endpoint endpoint;
	uint8_t dh_pk[KEYS_PK_BYTES];
	struct id sign_id; /**< mailaddr_sign_id() */
	uint8_t token[MAIL_TOKEN_BYTES];
};

/** -EINVAL, and why. */
int mailaddr_parse(const char *text, struct mailaddr *ret, struct why *why);
void mailaddr_format(const struct mailaddr *a, char out[MAILADDR_TEXT_BYTES]);
/** Without the secret, for people: "ws://host:port". */
void mailaddr_show(const struct mailaddr *a, char out[MAILADDR_TEXT_BYTES]);
struct id mailaddr_sign_id(const uint8_t sign_pk[KEYS_PK_BYTES]);
/** What the handshake proves: that one knows the token. */
void mailaddr_psk(const uint8_t token[MAIL_TOKEN_BYTES], uint8_t ret[32]);

#endif
