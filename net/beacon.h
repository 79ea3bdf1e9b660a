/*
 * DNS-SD: what a device says of one database on the local network, so that its members find it and others learn no more than
 * that somebody here has Blaze. Service `_blaze._tcp` with a random name; `_blaze-pair._tcp` with a nameplate for a
 * name and no hints. TXT record, in strings "key=value" (RFC 6763):
 *
 *     v=1
 *     h= h1= h2=   base64url, to be put together: 16 bytes nonce, then of each member that is looked for 8 bytes of HINT
 *     a=           at most 4 addresses with commas: "192.168.1.5:7700,[fd00::5]:7700"
 *
 *     HINT = the beginning of digest_id("blaze nearby", speaker's dh_pk, listener's dh_pk, database id, nonce)
 *
 * Who is a member can compute it, and who was. An address is a number, so that a stranger's word makes nobody look up a
 * name, and it is no more than an address: the handshake says who is there.
 */
#ifndef BLAZE_NET_BEACON_H
#define BLAZE_NET_BEACON_H

#include "core/id.h"
#include "core/keys.h"
#include "net/endpoint.h"

#define BEACON_NONCE_BYTES 16
#define BEACON_HINT_BYTES 8
#define BEACON_HINTS_MAX 64
#define BEACON_ADDRESSES_MAX 4
#define BEACON_BYTES_MAX 4096

struct beacon {
	uint8_t nonce[BEACON_NONCE_BYTES];
	uint8_t hints[BEACON_HINTS_MAX][BEACON_HINT_BYTES];
	size_t hint_count;
	struct endpoint addresses[BEACON_ADDRESSES_MAX];
	size_t address_count;
};

/** Adds a hint, unless there are BEACON_HINTS_MAX. */
void beacon_add_hint(struct beacon *b, const uint8_t speaker_pk[KEYS_PK_BYTES],
		     const uint8_t listener_pk[KEYS_PK_BYTES], const struct id *database);
/** Whether what the speaker says is for the listener. */
bool beacon_is_for(const struct beacon *b, const uint8_t speaker_pk[KEYS_PK_BYTES],
		   const uint8_t listener_pk[KEYS_PK_BYTES], const struct id *database);
/** Adds an address that others may dial, unless there are BEACON_ADDRESSES_MAX. */
void beacon_add_address(struct beacon *b, const char *text);
/** The TXT record. */
void beacon_encode(const struct beacon *b, struct buf *out);
/** -EBADMSG. Addresses that nobody can dial are left out. */
int beacon_decode(struct slice txt, struct beacon *ret);

#endif
