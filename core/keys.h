/*
 * A device's identity: an Ed25519 key that signs feeds and a separate X25519 key for connections.
 *
 * The secret half lives in one file of mode 0600; a laxer file is refused.
 * The public half travels as a certificate: both public keys and the device's name, signed by the
 * Ed25519 key, so whoever trusts the device id trusts the pair.
 *
 *   certificate = u8 version 1, 32 bytes sign_pk, 32 bytes dh_pk, bytes name, 64 bytes signature over
 *                 "blaze device" and all before it
 *   device id   = BLAKE2b-256("blaze device id", sign_pk, dh_pk)
 */
#ifndef BLAZE_CORE_KEYS_H
#define BLAZE_CORE_KEYS_H

#include "core/digest.h"
#include "core/why.h"

#define KEYS_PK_BYTES 32
#define KEYS_SIGNATURE_BYTES 64
#define DEVICE_NAME_BYTES_MAX 64
#define DEVICE_CERT_BYTES_MAX (1 + 32 + 32 + 1 + DEVICE_NAME_BYTES_MAX + 64)
/** "b1:name-ABCD-EFGH" and NUL. */
#define DEVICE_LABEL_BYTES (3 + DEVICE_NAME_BYTES_MAX + 10 + 1)

/** What others may know of a device. */
struct device {
	uint8_t id[DIGEST_BYTES];
	uint64_t actor; /**< first eight bytes of id, big-endian; never 0 */
	uint8_t sign_pk[KEYS_PK_BYTES];
	uint8_t dh_pk[KEYS_PK_BYTES];
	char name[DEVICE_NAME_BYTES_MAX + 1]; /**< printable UTF-8, no control characters */
};

/** The secret half. Wiped when destroyed; has no print function. */
struct keys;

/** Makes a new identity and writes it to path, which must not exist. */
int keys_create(const char *path, const char *device_name, struct keys **ret, struct why *why);
/** Reads an identity. -EACCES when the file is readable by others, -EBADMSG when damaged. */
int keys_load(const char *path, struct keys **ret, struct why *why);
void keys_destroy(struct keys *k);
const struct device *keys_device(const struct keys *k);
void keys_sign(const struct keys *k, struct slice message, uint8_t ret[KEYS_SIGNATURE_BYTES]);
bool keys_verify(const uint8_t sign_pk[KEYS_PK_BYTES], struct slice message,
		 const uint8_t signature[KEYS_SIGNATURE_BYTES]);
/** X25519 with the device's static key; -EBADMSG for a point of low order. */
int keys_dh(const struct keys *k, const uint8_t pk[KEYS_PK_BYTES], uint8_t ret[32]);

/** X25519 with a fresh key that is forgotten at once: its public half, and what it has in common with pk. */
void keys_dh_ephemeral(const uint8_t pk[KEYS_PK_BYTES], uint8_t ret_pk[KEYS_PK_BYTES],
		       uint8_t ret_shared[32]);

void keys_cert(const struct keys *k, struct buf *out);
/** Checks the signature. -EBADMSG when anything is wrong. */
int device_from_cert(struct slice cert, struct device *ret);
/** The same, of a certificate whose signature was checked before. */
int device_read_cert(struct slice cert, struct device *ret);
/** A device's label for people, such as "b1:laptop-7QXK-M2PF": name and the first 40 bits of its id. */
void device_label(const struct device *d, char out[DEVICE_LABEL_BYTES]);

#endif
