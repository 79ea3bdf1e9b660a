/*
 * KEY EPOCHs: the keys that feeds are sealed under, one after the other (section 2 of net/PROTOCOL.md). Epoch 0 is the
 * database's first key, under which the stream `auth` stays. Each removal begins a new one, whose key is sealed to the members
 * that are left:
 *
 *   sealed key = 32 bytes ephemeral X25519 key, 32 + 16 bytes XChaCha20-Poly1305 of the key (nonce: zeros; the key is used once),
 *                bound to the epoch's id
 *   its key    = digest("blaze seal to device", X25519, ephemeral key, the device's dh_pk)
 *   epoch id   = digest_id("blaze epoch", key)
 *
 * In the store: E + id: the key.
 */
#ifndef BLAZE_CORE_EPOCH_H
#define BLAZE_CORE_EPOCH_H

#include "core/auth.h"
#include "core/envelope.h"

struct db;
struct store_txn;
struct txn;

#define EPOCHS_MAX 4096

struct id epoch_id(const uint8_t key[DIGEST_BYTES]);
/** Seals a key to a device, bound to an epoch it need not be the key of; and the inverse: -EBADMSG not for us. */
void epoch_seal_bound(const uint8_t key[DIGEST_BYTES], const struct id *epoch,
		      const struct device *to, uint8_t ret[AUTH_SEALED_BYTES]);
int epoch_open_bound(const struct keys *keys, const struct id *epoch,
		     const uint8_t sealed[AUTH_SEALED_BYTES], uint8_t ret_key[DIGEST_BYTES]);
void epoch_seal(const uint8_t key[DIGEST_BYTES], const struct device *to,
		uint8_t ret[AUTH_SEALED_BYTES]);
/** -EBADMSG: not for us, or not the key of that epoch. */
int epoch_open(const struct keys *keys, const struct id *epoch,
	       const uint8_t sealed[AUTH_SEALED_BYTES], uint8_t ret_key[DIGEST_BYTES]);

/** Where a feed's envelopes belong; prev is zeros. Any thread, no lock. */
struct envelope_place epoch_place(const struct db *db, const struct id *stream, uint64_t actor);

/** Reads the keys. Before the members. */
int epoch_load(struct db *db);
void epoch_fini(struct db *db);
/** Takes what an effective operation gives this device. In memory and in the store. */
void epoch_take(struct db *db, struct store_txn *t, const struct auth_op *op);
/** Works out which one is current, after the members were worked out. */
void epoch_choose(struct db *db);
/** The newest one, as far as its key is here. */
struct id epoch_newest(const struct db *db);
/** Appends all keys but the first: varint count, 32 bytes each. */
void epoch_write_all(const struct db *db, struct buf *out);
/** Whether an operation here, effective or not, is about an epoch whose id begins so. Takes the lock. */
bool epoch_is_named(struct db *db, uint64_t id_first);
/** An operation that begins a new epoch without this device (0 = for all members that there are). */
void epoch_begin(struct txn *t, uint64_t without);
/** Whether there are several heads that this device may and should join. */
bool epoch_is_split(const struct db *db);
/** Operations that give epochs to members that were passed over, or were away. Whether there were any. */
bool epoch_share(struct txn *t);

#endif
