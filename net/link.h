/*
 * Pairing links: "blaze:pair#v1.SECRET.DEVICE.EXPIRY.ADDR[,ADDR…]".
 *
 * SECRET (32 bytes) and DEVICE (the inviter's device id) are base64url, EXPIRY is wall clock in
 * seconds, ADDR is "host:port" as in net/endpoint.h, or "ws://host:port" or "wss://host:port" for a relay where the inviter
 * waits (RENDEZVOUS).
 */
#ifndef BLAZE_NET_LINK_H
#define BLAZE_NET_LINK_H

#include "net/endpoint.h"

#include "core/digest.h"

#define LINK_SECRET_BYTES 32
#define LINK_ADDRESSES_MAX 8
#define LINK_BYTES_MAX 4096

struct link {
	uint8_t secret[LINK_SECRET_BYTES];
	uint8_t device[DIGEST_BYTES];
	uint64_t expiry_s;
	size_t address_count;					 /**< at least 1 */
	char addresses[LINK_ADDRESSES_MAX][ENDPOINT_TEXT_BYTES]; /**< for endpoint_parse_dialled() */
	bool is_relay[LINK_ADDRESSES_MAX];
};

void link_encode(const struct link *l, struct buf *out);
/** Blanks around the link are allowed. -EINVAL: not a link of this version. */
int link_decode(const char *text, struct link *ret);
/** Wipes the secret. For AUTO(). */
void link_fini(struct link *l);

#endif
