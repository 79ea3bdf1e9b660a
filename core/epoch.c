/* KEY EPOCHs: which there are, which is current, who gets which. */
#include "core/epoch.h"

#include "core/db_i.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static_assert(AUTH_SEALED_BYTES == KEYS_PK_BYTES + DIGEST_BYTES + 16, "the drawn layout");

/* ---- keys in boxes -------------------------------------------------------------------------- */

struct id epoch_id(const uint8_t key[DIGEST_BYTES])
{
	const struct slice part = SLICE(key, DIGEST_BYTES);

	return digest_id("blaze epoch", &part, 1);
}

static void box_key(const uint8_t shared[32], const uint8_t ephemeral[KEYS_PK_BYTES],
		    const uint8_t dh_pk[KEYS_PK_BYTES], uint8_t ret[DIGEST_BYTES])
{
	const struct slice parts[] = {
		SLICE(shared, 32),
		SLICE(ephemeral, KEYS_PK_BYTES),
		SLICE(dh_pk, KEYS_PK_BYTES),
	};

	digest(ret, "blaze seal to device", parts, countof(parts));
}

void epoch_seal(const uint8_t key[DIGEST_BYTES], const struct device *to,
		uint8_t ret[AUTH_SEALED_BYTES])
{
	struct id id = epoch_id(key);

	epoch_seal_bound(key, &id, to, ret);
}

void epoch_seal_bound(const uint8_t key[DIGEST_BYTES], const struct id *epoch,
		      const struct device *to, uint8_t ret[AUTH_SEALED_BYTES])
{
	uint8_t shared[32];
	uint8_t box[DIGEST_BYTES];

	keys_dh_ephemeral(to->dh_pk, ret, shared);
	box_key(shared, ret, to->dh_pk, box);
	envelope_seal_key(box, SLICE(epoch->b, sizeof(epoch->b)), key, ret + KEYS_PK_BYTES);
	wipe(shared, sizeof(shared));
	wipe(box, sizeof(box));
}

int epoch_open(const struct keys *keys, const struct id *epoch,
	       const uint8_t sealed[AUTH_SEALED_BYTES], uint8_t ret_key[DIGEST_BYTES])
{
	int r = epoch_open_bound(keys, epoch, sealed, ret_key);

	if (r < 0)
		return r;
	struct id id = epoch_id(ret_key);
	return id_eq(&id, epoch) ? 0 : -EBADMSG;
}

int epoch_open_bound(const struct keys *keys, const struct id *epoch,
		     const uint8_t sealed[AUTH_SEALED_BYTES], uint8_t ret_key[DIGEST_BYTES])
{
	uint8_t shared[32];
	uint8_t box[DIGEST_BYTES];
	int r = keys_dh(keys, sealed, shared);

	if (r < 0)
		return r;
	box_key(shared, sealed, keys_device(keys)->dh_pk, box);
	r = envelope_open_key(box, SLICE(epoch->b, sizeof(epoch->b)), sealed + KEYS_PK_BYTES,
			      ret_key);
	wipe(shared, sizeof(shared));
	wipe(box, sizeof(box));
	return r;
}

/* ---- the keys that are here ----------------------------------------------------------------- */

struct envelope_place epoch_place(const struct db *db, const struct id *stream, uint64_t actor)
{
	bool auth = id_eq(stream, &db->auth_stream);

	if (db->limited)
		return grant_place(db, stream, actor);
	return (struct envelope_place){
		.root_key = auth ? db->root_key : atomic_load(&db->seal_key),
		.ring = atomic_load(&db->ring),
		.stream = *stream,
		.actor = actor,
	};
}

/* NULL when it is not here. */
static const uint8_t *find_key(const struct db *db, const struct id *epoch)
{
	const struct envelope_ring *ring = atomic_load(&db->ring);

	for (size_t i = ring->count; i > 0; i--) {
		struct id id = epoch_id(ring->keys[i - 1]);

		if (id_eq(&id, epoch))
			return ring->keys[i - 1];
	}
	return NULL;
}

/* Rings are replaced, not changed, and kept: somebody may be using one without the lock. */
static void add_key(struct db *db, const uint8_t *key)
{
	const struct envelope_ring *before = atomic_load(&db->ring);
	size_t count = before ? before->count : 0;
	struct envelope_ring *ring = xmalloc(sizeof(*ring) + (count + 1) * sizeof(ring->keys[0]));

	for (size_t i = 0; i < count; i++)
		ring->keys[i] = before->keys[i];
	ring->keys[count] = key;
	ring->count = count + 1;
	db->rings = xreallocarray(db->rings, db->ring_count + 1, sizeof(*db->rings));
	db->rings[db->ring_count++] = ring;
	atomic_store(&db->ring, ring);
}

static void add_copy(struct db *db, const uint8_t key[DIGEST_BYTES])
{
	struct id id = epoch_id(key);

	if (find_key(db, &id) || db->epoch_key_count >= EPOCHS_MAX)
		return;
	db->epoch_keys =
		xreallocarray(db->epoch_keys, db->epoch_key_count + 1, sizeof(*db->epoch_keys));
	uint8_t *copy = xmemdup(key, DIGEST_BYTES);
	db->epoch_keys[db->epoch_key_count++] = copy;
	add_key(db, copy);
}

static bool load_one(void *ctx, struct slice key, struct slice value)
{
	struct db *db = ctx;

	(void)key;
	if (value.len == DIGEST_BYTES)
		add_copy(db, value.data);
	return true;
}

int epoch_load(struct db *db)
{
	struct store_txn *t = store_begin(db->store);

	add_key(db, db->root_key);
	atomic_store(&db->seal_key, db->root_key);
	int r = store_scan(t, SLICE_STR("E"), SLICE("", 0), load_one, db);
	store_abort(t);
	return r;
}

void epoch_fini(struct db *db)
{
	for (size_t i = 0; i < db->epoch_key_count; i++) {
		wipe(db->epoch_keys[i], DIGEST_BYTES);
		free(db->epoch_keys[i]);
	}
	free(db->epoch_keys);
	for (size_t i = 0; i < db->ring_count; i++)
		free(db->rings[i]);
	free(db->rings);
}

void epoch_write_all(const struct db *db, struct buf *out)
{
	const struct envelope_ring *ring = atomic_load(&db->ring);

	buf_varint(out, ring->count - 1);
	for (size_t i = 1; i < ring->count; i++)
		buf_append(out, ring->keys[i], DIGEST_BYTES);
}

void epoch_take(struct db *db, struct store_txn *t, const struct auth_op *op)
{
	struct slice list = op->sealed;
	const uint8_t *sealed = NULL;
	uint8_t key[DIGEST_BYTES];
	uint64_t device = 0;

	while (auth_next_sealed(&list, &device, &sealed)) {
		AUTO(buf_fini) struct buf at = {0};

		if (device != db->actor || epoch_open(db->keys, &op->epoch, sealed, key) < 0)
			continue;
		buf_u8(&at, 'E');
		id_write(&at, &op->epoch);
		if (t)
			store_put(t, buf_slice(&at), SLICE(key, sizeof(key)));
		else
			add_copy(db, key);
	}
	wipe(key, sizeof(key));
}

/* ---- which there are ------------------------------------------------------------------------ */

/* The next operation of this kind, from *at on. */
static bool next_any(const struct db *db, size_t *at, enum auth_kind kind, struct auth_op *ret)
{
	for (; *at < db->auth_count; (*at)++) {
		const struct auth_entry *e = &db->auth[*at];

		if (auth_decode(buf_slice(&e->value), ret) == 0 && ret->kind == kind) {
			(*at)++;
			return true;
		}
	}
	return false;
}

/* The next one that counts. */
static bool next_op(const struct db *db, size_t *at, enum auth_kind kind, struct auth_op *ret)
{
	while (next_any(db, at, kind, ret)) {
		if (db->auth[*at - 1].effective)
			return true;
	}
	return false;
}

static bool list_has(struct slice ids, const struct id *id)
{
	struct reader r = reader_init(ids);

	while (reader_left(&r)) {
		struct id each = id_read(&r);

		if (id_eq(&each, id))
			return true;
	}
	return false;
}

static bool is_parent(const struct db *db, const struct id *epoch)
{
	struct auth_op op;

	for (size_t at = 0; next_op(db, &at, AUTH_EPOCH, &op);) {
		if (list_has(op.parents, epoch))
			return true;
	}
	return false;
}

/* Those that no other has joined or followed; epoch 0 alone when there is no other. */
static size_t heads(const struct db *db, struct buf *out)
{
	struct id first = epoch_id(db->root_key);
	struct auth_op op;

	for (size_t at = 0; next_op(db, &at, AUTH_EPOCH, &op);) {
		if (!is_parent(db, &op.epoch))
			id_write(out, &op.epoch);
	}
	if (out->len == 0)
		id_write(out, &first);
	return out->len / sizeof(first.b);
}

void epoch_choose(struct db *db)
{
	AUTO(buf_fini) struct buf list = {0};
	const uint8_t *chosen = NULL;
	struct id best = {{0}};

	(void)heads(db, &list);
	struct reader r = reader_init(buf_slice(&list));
	while (reader_left(&r)) {
		struct id id = id_read(&r);
		const uint8_t *key = find_key(db, &id);

		if (key && (!chosen || id_cmp(&id, &best) > 0)) {
			chosen = key;
			best = id;
		}
	}
	/* None of them is here: this device was removed, or its share is on its way. It goes on with what it has. */
	if (chosen)
		atomic_store(&db->seal_key, chosen);
}

struct id epoch_newest(const struct db *db)
{
	return epoch_id(atomic_load(&db->seal_key));
}

bool epoch_is_named(struct db *db, uint64_t id_first)
{
	struct auth_op op;
	bool found = false;

	db_lock(db);
	for (size_t at = 0; !found && next_any(db, &at, AUTH_EPOCH, &op);) {
		struct reader r = reader_init(SLICE(op.epoch.b, sizeof(op.epoch.b)));

		found = reader_be64(&r) == id_first;
	}
	mutex_unlock(&db->lock);
	return found;
}

bool epoch_is_split(const struct db *db)
{
	AUTO(buf_fini) struct buf list = {0};
	uint64_t chosen = 0;
	struct auth_op op;

	if (heads(db, &list) < 2)
		return false;
	/* One of those who began them, so that they do not answer each other with joints for ever. */
	for (size_t at = 0; next_op(db, &at, AUTH_EPOCH, &op);) {
		uint64_t author = db->auth[at - 1].id.actor;
		const struct member *m = member_find(db, author);

		if (list_has(buf_slice(&list), &op.epoch) && m && member_is_current(m) &&
		    (!chosen || author < chosen))
			chosen = author;
	}
	return chosen == db->actor || chosen == 0;
}

/* ---- beginning and sharing ------------------------------------------------------------------ */

void epoch_begin(struct txn *t, uint64_t without)
{
	AUTO(buf_fini) struct buf parents = {0};
	AUTO(buf_fini) struct buf sealed = {0};
	uint8_t key[DIGEST_BYTES];
	const struct db *db = t->db;

	random_bytes(key, sizeof(key));
	(void)heads(db, &parents);
	for (size_t i = 0; i < db->member_count; i++) {
		const struct member *m = &db->members[i];
		uint8_t bytes[AUTH_SEALED_BYTES];

		if (!member_is_current(m) || m->device.actor == without || m->role == MEMBER_RELAY)
			continue;
		epoch_seal(key, &m->device, bytes);
		auth_put_sealed(&sealed, m->device.actor, bytes);
	}
	const struct auth_op op = {
		.kind = AUTH_EPOCH,
		.epoch = epoch_id(key),
		.parents = buf_slice(&parents),
		.sealed = buf_slice(&sealed),
	};
	member_do(t, &op);
	wipe(key, sizeof(key));
}

/* Whether `epoch` is `of`, or came before it. */
static bool is_before(const struct db *db, const struct id *epoch, const struct id *of,
		      unsigned depth)
{
	struct auth_op op;

	if (id_eq(epoch, of))
		return true;
	for (size_t at = 0; depth > 0 && next_op(db, &at, AUTH_EPOCH, &op);) {
		if (!id_eq(&op.epoch, of))
			continue;
		struct reader r = reader_init(op.parents);
		while (reader_left(&r)) {
			struct id parent = id_read(&r);

			if (is_before(db, epoch, &parent, depth - 1))
				return true;
		}
	}
	return false;
}

static bool has_sealed(const struct auth_op *op, uint64_t actor)
{
	struct slice list = op->sealed;
	const uint8_t *bytes = NULL;
	uint64_t device = 0;

	while (auth_next_sealed(&list, &device, &bytes)) {
		if (device == actor)
			return true;
	}
	return false;
}

static bool was_given(const struct db *db, const struct member *m, const struct id *epoch)
{
	struct auth_op op;

	for (size_t at = 0; next_any(db, &at, AUTH_EPOCH, &op);) {
		if (id_eq(&op.epoch, epoch) && has_sealed(&op, m->device.actor))
			return true;
	}
	for (size_t at = 0; next_op(db, &at, AUTH_SHARE, &op);) {
		if (id_eq(&op.epoch, epoch) && has_sealed(&op, m->device.actor))
			return true;
	}
	return is_before(db, epoch, &m->epoch, 64);
}

static bool share(struct txn *t, const struct id *epoch, const uint8_t *key)
{
	const struct db *db = t->db;
	bool any = false;

	for (size_t i = 0; i < db->member_count; i++) {
		const struct member *m = &db->members[i];
		AUTO(buf_fini) struct buf sealed = {0};
		uint8_t bytes[AUTH_SEALED_BYTES];

		if (m->device.actor == db->actor || !member_is_current(m) ||
		    m->role == MEMBER_RELAY || was_given(db, m, epoch))
			continue;
		epoch_seal(key, &m->device, bytes);
		auth_put_sealed(&sealed, m->device.actor, bytes);
		const struct auth_op op = {
			.kind = AUTH_SHARE, .epoch = *epoch, .sealed = buf_slice(&sealed)};
		member_do(t, &op);
		any = true;
	}
	return any;
}

bool epoch_share(struct txn *t)
{
	const struct db *db = t->db;
	struct auth_op op;
	bool any = false;

	/* Also of an epoch that turned out not to count: somebody may have sealed under it before that. */
	for (size_t at = 0; next_any(db, &at, AUTH_EPOCH, &op);) {
		const uint8_t *key = find_key(db, &op.epoch);

		if (key)
			any = share(t, &op.epoch, key) || any;
	}
	return any;
}
