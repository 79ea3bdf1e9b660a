/*
 * Settings of the whole database: operations of `auth`, the last one that counts wins.
 *
 * What a limited device, or one that was removed, need not know, such as where relays are and how to get in: sealed, as a piece
 * under a key of the epoch, bound to the name. Sealed values begin with SETTING_SEALED, which no text does.
 */
#include "core/account.h"
#include "core/db_i.h"

#include <stdatomic.h>
#include <string.h>

#define SETTING_SEALED 1

static bool setting_is_open(struct slice name)
{
	return slice_eq(name, SLICE_STR(ACCOUNT_SETTING)) || slice_eq(name, SLICE_STR("topology"));
}

static void setting_key(const uint8_t epoch_key[DIGEST_BYTES], uint8_t ret[DIGEST_BYTES])
{
	const struct slice part = SLICE(epoch_key, DIGEST_BYTES);

	digest(ret, "blaze setting", &part, 1);
}

static void seal_setting(const struct db *db, struct slice name, struct slice value, struct buf *out)
{
	uint8_t key[DIGEST_BYTES];

	if (setting_is_open(name)) {
		buf_slice_append(out, value);
		return;
	}
	setting_key(atomic_load(&db->seal_key), key);
	buf_u8(out, SETTING_SEALED);
	envelope_seal_piece(key, name, value, out);
	wipe(key, sizeof(key));
}

/* -ENOKEY: it is under an epoch's key that is not here, or damaged. */
static int open_setting(const struct db *db, struct slice name, struct slice value, struct buf *ret)
{
	const struct envelope_ring *ring = atomic_load(&db->ring);
	int r = -ENOKEY;

	buf_clear(ret);
	if (value.len == 0 || value.data[0] != SETTING_SEALED) {
		buf_slice_append(ret, value);
		return 0;
	}
	for (size_t i = ring->count; r < 0 && i > 0; i--) {
		uint8_t key[DIGEST_BYTES];

		setting_key(ring->keys[i - 1], key);
		if (envelope_open_piece(key, name, SLICE(value.data + 1, value.len - 1), ret) == 0)
			r = 0;
		wipe(key, sizeof(key));
	}
	return r;
}

int db_get_shared(struct db *db, const char *name, char **ret)
{
	AUTO(buf_fini) struct buf value = {0};
	int r = -ENOENT;

	db_lock(db);
	/* The last one; or, until its key has come, the last that can be read. */
	for (size_t i = db->auth_count; r < 0 && i > 0; i--) {
		const struct auth_entry *e = &db->auth[i - 1];
		struct auth_op op;

		if (!e->effective || auth_decode(buf_slice(&e->value), &op) < 0 ||
		    op.kind != AUTH_SETTING || !slice_eq(op.name, SLICE_STR(name)) ||
		    open_setting(db, op.name, op.value, &value) < 0)
			continue;
		*ret = xstrdup(buf_str(&value));
		r = 0;
	}
	mutex_unlock(&db->lock);
	wipe(value.data, value.len);
	return r;
}

int db_set_shared(struct db *db, const char *name, const char *value)
{
	AUTO(buf_fini) struct buf sealed = {0};

	if (strlen(name) > AUTH_NAME_BYTES_MAX ||
	    strlen(value) > AUTH_VALUE_BYTES_MAX - 1 - ENVELOPE_PIECE_EXTRA_BYTES)
		return -E2BIG;
	struct txn *t = db_begin(db);
	if (!member_may_manage(db)) {
		db_abort(t);
		return -EPERM;
	}
	seal_setting(db, SLICE_STR(name), SLICE_STR(value), &sealed);
	const struct auth_op op = {
		.kind = AUTH_SETTING, .name = SLICE_STR(name), .value = buf_slice(&sealed)};
	member_do(t, &op);
	return db_commit(t);
}
