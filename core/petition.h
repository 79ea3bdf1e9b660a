/*
 * PETITION: what a device asks the person to sign with the recovery words, where its own word is not enough: because the device
 * to be removed is more senior, or has removed this one (ACCOUNT in section 2 of net/PROTOCOL.md). The words never leave the
 * terminal's process: the database's says what is to be signed, and gets signatures.
 *
 *   petition = 16 bytes database, 8 bytes device, 8 bytes seq, 8 bytes without, varint count, count * bytes operation (auth.h)
 *   signed   = petition, count * 64 bytes signature over auth_account_text()
 *
 * device and seq: in whose feed of `auth` the operations are to stand, and where; so each is good for one place. without: a new
 * epoch begins, which that device does not get; 0 = none does.
 */
#ifndef BLAZE_CORE_PETITION_H
#define BLAZE_CORE_PETITION_H

#include "core/account.h"
#include "core/db.h"

/** Operations of one. */
#define PETITION_OPS_MAX 4
/** One that asks to be admitted. */
#define PETITION_BYTES_MAX 4096

/**
 * Asks to remove a device, and to admit this one if it is out, or may not do that. Of the device's operations in `auth`, those
 * up to number `keep` count. -ENOENT no such device, -EINVAL this one, -ENOKEY the database has no account.
 */
int petition_remove(struct db *db, uint64_t actor, uint64_t keep, struct buf *ret, struct why *why);
/** Asks to admit a device as the person's own. -EBADMSG. */
int petition_admit(struct db *db, struct slice cert, struct buf *ret);
/** Appends the petition, signed. -EBADMSG malformed. */
int petition_sign(const struct account *a, struct slice petition, struct buf *ret);
/** The same for who joins: only if it asks for nothing but to admit this very device. -EBADMSG. */
int petition_sign_own(const struct account *a, struct slice petition, const struct id *db,
		      const struct keys *own, struct buf *ret);
/**
 * Does what was signed. -EACCES by another account, -EAGAIN this device has written something in `auth` since: ask again,
 * -EBADMSG, -EIO.
 */
int petition_carry_out(struct db *db, struct slice signed_petition);

#endif
