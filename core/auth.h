/*
 * Operations of the stream `auth`: who may do what (sections 1 and 2 of net/PROTOCOL.md). What they amount to, core/member.c
 * works out; here is only what they look like.
 *
 *   value of an OP_AUTH = u8 kind, then
 *     MEMBER 1   bytes certificate, u8 role, 16 bytes newest epoch that the welcome gave
 *     REMOVE 2   8 bytes device, varint count, count * (16 bytes stream, 8 bytes seq): of its feeds, no more than that
 *     EPOCH 3    16 bytes id, varint count, count * 16 bytes parent, varint count, count * (8 bytes device, sealed key)
 *     WITNESS 4  8 bytes device, 16 bytes stream, 8 bytes seq: of this feed, up to there after all
 *     SETTING 5  bytes name, bytes value
 *     SHARE 6    16 bytes epoch, 8 bytes device, sealed key: for a device that EPOCH has passed over
 *     GRANT 7    8 bytes device, 16 bytes collection, bytes name, varint count, count * (16 bytes epoch, sealed stream key):
 *                core/grant.h
 *     ACCOUNT 8  bytes operation (MEMBER, REMOVE or ROLE), 64 bytes signature of the account over auth_account_text(): as if the
 *                most senior had made it, whoever passes it on
 *     ROLE 9     8 bytes device, u8 role, varint count, count * (16 bytes stream, 8 bytes seq): what it made while it could do
 *                more counts up to there
 *     HEARD 10   varint count, count * (16 bytes stream, 8 bytes seq): where its author's feeds stood when it heard of its own
 *                removal
 *     ADOPT 11   8 bytes device, 16 bytes stream, 8 bytes seq of the first change, varint count, count * (8 bytes seq of the
 *                last, 32 bytes hash of the envelope: core/envelope.h): these envelopes beyond the cut after all, and no others
 *   sealed key = 80 bytes, see core/epoch.h
 *
 * Unknown kinds are kept and have no effect, as do malformed values.
 */
#ifndef BLAZE_CORE_AUTH_H
#define BLAZE_CORE_AUTH_H

#include "core/keys.h"

#define AUTH_SEALED_BYTES 80
/** An entry of ADOPT. */
#define AUTH_ADOPTED_BYTES (8 + DIGEST_BYTES)
#define AUTH_NAME_BYTES_MAX 255
#define AUTH_VALUE_BYTES_MAX 4096
/** Largest operation: a removal from a database with very many streams, or an epoch for very many members. */
#define AUTH_BYTES_MAX (1u << 20)

enum auth_kind {
	AUTH_MEMBER = 1,
	AUTH_REMOVE = 2,
	AUTH_EPOCH = 3,
	AUTH_WITNESS = 4,
	AUTH_SETTING = 5,
	AUTH_SHARE = 6,
	AUTH_GRANT = 7,
	AUTH_ACCOUNT = 8,
	AUTH_ROLE = 9,
	AUTH_HEARD = 10,
	AUTH_ADOPT = 11,
};

/** What a device may do: each all that those before may. */
enum member_role {
	MEMBER_RELAY = 1, /**< what it was granted, and who is a member: core/grant.h */
	MEMBER_READ = 2,
	MEMBER_WRITE = 3,
	MEMBER_MANAGE = 4, /**< admit, remove, set */
	MEMBER_OWNER = 5,
};

/** One operation; slices borrow from the encoding. */
struct auth_op {
	enum auth_kind kind;
	struct slice cert;     /**< MEMBER */
	enum member_role role; /**< MEMBER, ROLE */
	struct id epoch;       /**< MEMBER, EPOCH, SHARE */
	uint64_t device;       /**< REMOVE, WITNESS, SHARE, ROLE, GRANT, ADOPT */
	struct slice cuts;    /**< REMOVE, ROLE, HEARD: any number, WITNESS: one; auth_next_cut() */
	struct id stream;     /**< ADOPT */
	uint64_t first;	      /**< ADOPT: the first change of the first envelope */
	struct slice adopted; /**< ADOPT: any number; auth_next_adopted() */
	struct slice inner;   /**< ACCOUNT: the operation */
	struct slice signature; /**< ACCOUNT: KEYS_SIGNATURE_BYTES */
	struct slice parents;	/**< EPOCH: any number of ids */
	struct slice sealed; /**< EPOCH: any number, SHARE: one; auth_next_sealed(). GRANT: auth_next_grant() */
	struct slice name;    /**< SETTING, GRANT */
	struct id collection; /**< GRANT */
	struct slice value;   /**< SETTING */
};

/** Lists are as auth_put_cut() and auth_put_sealed() made them. */
void auth_encode(const struct auth_op *op, struct buf *out);
/** -EBADMSG malformed, -EOPNOTSUPP a kind of later. */
int auth_decode(struct slice value, struct auth_op *ret);

/**
 * What the account signs: "blaze account operation", the database's id, 8 bytes of the device in whose feed of `auth` the
 * operation stands, 8 bytes of the change's number in it, the operation. So it counts there and nowhere else: not in another
 * database, nor a second time.
 */
void auth_account_text(const struct id *db, uint64_t actor, uint64_t seq, struct slice inner,
		       struct buf *out);

void auth_put_cut(struct buf *cuts, const struct id *stream, uint64_t seq);
/** Takes the first off the list; false when it is empty. */
bool auth_next_cut(struct slice *cuts, struct id *ret_stream, uint64_t *ret_seq);
void auth_put_sealed(struct buf *sealed, uint64_t device, const uint8_t bytes[AUTH_SEALED_BYTES]);
bool auth_next_sealed(struct slice *sealed, uint64_t *ret_device, const uint8_t **ret_bytes);
void auth_put_grant(struct buf *sealed, const struct id *epoch,
		    const uint8_t bytes[AUTH_SEALED_BYTES]);
bool auth_next_grant(struct slice *sealed, struct id *ret_epoch, const uint8_t **ret_bytes);
/** Envelopes of a feed that follow on each other: each ends with this change, and has this hash of DIGEST_BYTES. */
void auth_put_adopted(struct buf *adopted, uint64_t last, const uint8_t hash[DIGEST_BYTES]);
bool auth_next_adopted(struct slice *adopted, uint64_t *ret_last, const uint8_t **ret_hash);

#endif
