/*
 * What two devices say once an invitation's secret let them into a session, sans I/O (section 4 of net/PROTOCOL.md).
 *
 *     joiner                                   inviter
 *        │── PROOF 1: cert, signature ────────────▶│  checks
 *        │◀──────────── PROOF 1: cert, signature ──│
 *        │                                         │  pair_approve()
 *        │◀────────────── WELCOME 2: db_welcome() ─│
 *        │── JOIN 3: where it listens, or "" ─────▶│  db_admit(), or petition_carry_out()
 *        │◀────────────────────────────── DONE 4 ──│
 *
 *   message   = u8 type, content
 *   PROOF     = bytes certificate, 64 bytes signature over the role's context and the handshake hash;
 *               of a joiner that recovers, 64 bytes signature of the account over the same
 *   WELCOME   = what db_welcome() says; to a joiner that recovers, bytes petition (core/petition.h) before it
 *   JOIN      = bytes endpoint; of a joiner that recovers, 64 bytes signature of the account, of the petition
 *
 * The signature ties the Ed25519 identity to this very session, and the certificate's dh_pk must be
 * the static key of the handshake: so nobody can pass on another device's certificate.
 */
#ifndef BLAZE_NET_PAIR_H
#define BLAZE_NET_PAIR_H

#include "net/net.h"
#include "net/noise.h"

#include "core/account.h"
#include "core/status.h"

enum pair_role {
	PAIR_JOINER,
	PAIR_INVITER,
};

struct pair_options {
	enum pair_role role;
	const struct keys *keys; /**< must outlive the pair */
	uint8_t hash[NOISE_HASH_BYTES];
	uint8_t remote_pk[KEYS_PK_BYTES];
	const uint8_t *device_id; /**< joiner: who the link says the inviter is; copied. NULL: a code */
	const struct account *account; /**< joiner, recover: signs, too; must outlive the pair */
	const uint8_t *account_pk; /**< inviter, recover: whose signature lets the joiner in; copied */
	/** Inviter: called once with the proven device; < 0 ends it. Must not destroy the pair. */
	int (*admit)(void *ctx, const struct device *d, struct slice cert, const char *endpoint);
	void *ctx;
};

struct pair;

struct pair *pair_create(const struct pair_options *options);
/** Wipes the welcome. */
void pair_destroy(struct pair *p);
/** -EBADMSG malformed, -EPROTO out of turn, -EACCES not who it claims to be, or what admit said. */
int pair_receive(struct pair *p, struct slice message);
/** Puts the next message into *out (cleared first) and returns 1; 0 = nothing to say now. */
int pair_next(struct pair *p, struct buf *out);
/** Inviter: both have proven who they are, and pair_approve() was not called yet. */
bool pair_is_asking(const struct pair *p);
/** Inviter, once it is asking: gives the welcome to the joiner; petition: recover, else empty. Copied. */
void pair_approve(struct pair *p, struct slice welcome, struct slice petition);
/** Inviter, recover, from admit() on: the petition, signed. */
struct slice pair_petition(const struct pair *p);
/** The peer's certificate; valid when proven. */
struct slice pair_cert(const struct pair *p);
/** Whether the other device has proven who it is. */
bool pair_is_proven(const struct pair *p);
/** Joiner: DONE came. Inviter: DONE was handed out. */
bool pair_is_done(const struct pair *p);
/** Inviter: the welcome, and with it the database's key, has gone out. */
bool pair_welcome_is_sent(const struct pair *p);
/** Joiner: the welcome has come, and our JOIN, which makes us a member, has not been made yet. */
bool pair_is_welcome(const struct pair *p);
/** The peer; valid when proven. */
const struct device *pair_device(const struct pair *p);
/** Joiner, when done: takes the welcome out. */
void pair_take_welcome(struct pair *p, struct buf *ret);
/**
 * FOUR WORDS: "maple · thunder · acorn · velvet": the same on both sides of one session, unlikely to be so when someone is in
 * between.
 */
void pair_words(const uint8_t hash[NOISE_HASH_BYTES], char out[NET_WORDS_BYTES]);

#endif
