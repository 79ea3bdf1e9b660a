/* GRANT: who may read which streams, and what a limited device can open; see grant.h. */
#include "core/grant.h"

#include "core/db_i.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Collections that a device may be granted. */
#define GRANTS_MAX 1024

/* What is here of one stream. */
struct granted {
	struct id stream;
	struct envelope_ring *ring; /* stream keys */
	struct id *epochs;	    /* of each */
};

/* Replaced, never changed, and kept until the end: somebody may be using one without the lock. */
struct grants {
	struct grants *before;
	size_t count;
	struct granted items[];
};

/* ---- what a limited device can open -------------------------------------------------------------- */

static const struct granted *find_granted(const struct grants *g, const struct id *stream)
{
	for (size_t i = 0; g && i < g->count; i++) {
		if (id_eq(&g->items[i].stream, stream))
			return &g->items[i];
	}
	return NULL;
}

struct envelope_place grant_place(const struct db *db, const struct id *stream, uint64_t actor)
{
	static const struct envelope_ring none = {.count = 0};
	static const uint8_t no_key[DIGEST_BYTES] = {0};
	const struct granted *g = find_granted(atomic_load(&db->grants), stream);

	return (struct envelope_place){
		.root_key = g ? g->ring->keys[g->ring->count - 1] : no_key,
		.ring = g ? g->ring : &none,
		.granted = true,
		.stream = *stream,
		.actor = actor,
	};
}

static const uint8_t *find_key(const struct granted *g, const struct id *epoch)
{
	for (size_t i = 0; g && i < g->ring->count; i++) {
		if (id_eq(&g->epochs[i], epoch))
			return g->ring->keys[i];
	}
	return NULL;
}

static void add_key(struct granted *g, const struct id *epoch, const uint8_t *key)
{
	size_t n = g->ring ? g->ring->count : 0;

	struct envelope_ring *ring = xmalloc(sizeof(*ring) + (n + 1) * sizeof(ring->keys[0]));
	for (size_t i = 0; i < n; i++)
		ring->keys[i] = g->ring->keys[i];
	free(g->ring);
	g->ring = ring;
	g->epochs = xreallocarray(g->epochs, n + 1, sizeof(*g->epochs));
	g->ring->keys[n] = key;
	g->ring->count = n + 1;
	g->epochs[n] = *epoch;
}

static struct granted *granted_of(struct grants *g, const struct id *stream)
{
	for (size_t i = 0; i < g->count; i++) {
		if (id_eq(&g->items[i].stream, stream))
			return &g->items[i];
	}
	if (g->count >= GRANTS_MAX)
		return NULL;
	struct granted *item = &g->items[g->count++];
	*item = (struct granted){.stream = *stream};
	return item;
}

/* Opens what is new; NULL: it is not for us, or not what it says. */
static const uint8_t *open_key(struct db *db, const struct id *epoch, const uint8_t *sealed)
{
	uint8_t opened[DIGEST_BYTES];

	if (epoch_open_bound(db->keys, epoch, sealed, opened) < 0)
		return NULL;
	db->grant_keys =
		xreallocarray(db->grant_keys, db->grant_key_count + 1, sizeof(*db->grant_keys));
	uint8_t *key = xmemdup(opened, sizeof(opened));
	db->grant_keys[db->grant_key_count++] = key;
	wipe(opened, sizeof(opened));
	return key;
}

/* Keys of a grant; those that were here before are not opened again. */
static void take_grant(struct db *db, const struct grants *before, struct grants *now,
		       const struct auth_op *op)
{
	struct id stream = feed_stream_id(db, "collection", &op->collection);
	const struct granted *known = find_granted(before, &stream);
	struct slice list = op->sealed;
	const uint8_t *sealed = NULL;
	struct id epoch;

	while (auth_next_grant(&list, &epoch, &sealed)) {
		const uint8_t *key = find_key(known, &epoch);

		if (find_key(find_granted(now, &stream), &epoch))
			continue;
		if (!key)
			key = open_key(db, &epoch, sealed);
		struct granted *g = key ? granted_of(now, &stream) : NULL;
		if (g && (!g->ring || g->ring->count < EPOCHS_MAX))
			add_key(g, &epoch, key);
	}
}

/* The next operation that counts and grants something to the device since it was admitted last. */
static bool next_grant(const struct db *db, const struct member *m, size_t *at, struct auth_op *ret)
{
	for (; *at < db->auth_count; (*at)++) {
		const struct auth_entry *e = &db->auth[*at];

		if (e->effective && auth_decode(buf_slice(&e->value), ret) == 0 &&
		    ret->kind == AUTH_GRANT && ret->device == m->device.actor &&
		    opid_cmp(e->id, m->since) > 0) {
			(*at)++;
			return true;
		}
	}
	return false;
}

static size_t key_count(const struct grants *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->count; i++)
		n += g->items[i].ring->count;
	return n;
}

static void fini_items(struct grants *g)
{
	for (size_t i = 0; i < g->count; i++) {
		free(g->items[i].ring);
		free(g->items[i].epochs);
	}
}

void grant_refresh(struct db *db)
{
	const struct member *own = member_find(db, db->actor);
	const struct id none = {{0}};
	struct grants *before = atomic_load(&db->grants);
	struct auth_op op;

	if (!db->limited)
		return;
	struct grants *now = xcalloc(1, sizeof(*now) + GRANTS_MAX * sizeof(now->items[0]));
	now->before = before;
	add_key(granted_of(now, &db->auth_stream), &none, db->auth_key);
	for (size_t at = 0; own && next_grant(db, own, &at, &op);)
		take_grant(db, before, now, &op);
	if (before && key_count(before) == key_count(now)) { /* keys are not taken away */
		fini_items(now);
		free(now);
		return;
	}
	atomic_store(&db->grants, now);
}

void grant_fini(struct db *db)
{
	struct grants *g = atomic_load(&db->grants);

	while (g) {
		struct grants *before = g->before;

		fini_items(g);
		free(g);
		g = before;
	}
	for (size_t i = 0; i < db->grant_key_count; i++) {
		wipe(db->grant_keys[i], DIGEST_BYTES);
		free(db->grant_keys[i]);
	}
	free(db->grant_keys);
	wipe(db->auth_key, sizeof(db->auth_key));
}

/* ---- what others were granted -------------------------------------------------------------------- */

bool grant_covers(const struct db *db, const struct member *m, const struct id *stream)
{
	struct auth_op op;

	if (id_eq(stream, &db->auth_stream))
		return true;
	if (member_is_current(m) && m->role != MEMBER_RELAY)
		return true;
	for (size_t at = 0; member_is_current(m) && next_grant(db, m, &at, &op);) {
		struct id granted = feed_stream_id(db, "collection", &op.collection);

		if (id_eq(&granted, stream))
			return true;
	}
	return false;
}

bool db_may_have(struct db *db, uint64_t peer, const struct id *stream)
{
	db_lock(db);
	const struct member *m = member_find(db, peer);
	/* Who is no member any more hears what became of it. */
	bool may = !m || grant_covers(db, m, stream);
	mutex_unlock(&db->lock);
	return may;
}

struct opid db_own_admission(struct db *db)
{
	db_lock(db);
	const struct member *own = member_find(db, db->actor);
	bool came = own && own->since.lamport != UINT64_MAX;
	struct opid since = came ? own->since : (struct opid){0};
	mutex_unlock(&db->lock);
	return since;
}

bool db_is_limited(const struct db *db)
{
	return db->limited;
}

bool db_is_bounded(struct db *db, uint64_t peer)
{
	db_lock(db);
	const struct member *m = member_find(db, peer);
	/* Of one that was removed nothing says any more which role it had: it hears of its removal. */
	bool bounded = m && (m->role == MEMBER_RELAY || !member_is_current(m));
	mutex_unlock(&db->lock);
	return bounded;
}

uint64_t db_grant_revision(struct db *db)
{
	db_lock(db);
	uint64_t revision = db->auth_count;
	mutex_unlock(&db->lock);
	return revision;
}

size_t db_grants(struct db *db, uint64_t actor, struct grant_info **ret)
{
	struct grant_info *list = NULL;
	size_t n = 0;
	struct auth_op op;

	db_lock(db);
	const struct member *m = member_find(db, actor);
	for (size_t at = 0; m && member_is_current(m) && next_grant(db, m, &at, &op);) {
		size_t i = 0;

		while (i < n && !id_eq(&list[i].collection, &op.collection))
			i++;
		if (i == n) {
			list = xreallocarray(list, n + 1, sizeof(*list));
			list[n++].collection = op.collection;
		}
		(void)snprintf(list[i].name, sizeof(list[i].name), "%.*s", (int)op.name.len,
			       (const char *)op.name.data);
	}
	mutex_unlock(&db->lock);
	*ret = list;
	return n;
}

/* ---- granting ------------------------------------------------------------------------------------ */

static bool has_epoch(const struct db *db, const struct member *m, const struct id *collection,
		      const struct id *epoch)
{
	struct auth_op op;

	for (size_t at = 0; next_grant(db, m, &at, &op);) {
		struct slice list = op.sealed;
		const uint8_t *sealed = NULL;
		struct id each;

		while (id_eq(&op.collection, collection) && auth_next_grant(&list, &each, &sealed)) {
			if (id_eq(&each, epoch))
				return true;
		}
	}
	return false;
}

/* Grants the collection's keys of the epochs that m has none of; m NULL: of all. Whether there were any. */
static bool grant(struct txn *t, const struct device *to, const struct member *m,
		  const struct auth_op *what)
{
	AUTO(buf_fini) struct buf sealed = {0};
	const struct db *db = t->db;
	const struct envelope_ring *ring = atomic_load(&db->ring);
	struct id stream = feed_stream_id(db, "collection", &what->collection);

	for (size_t i = 0; i < ring->count; i++) {
		struct id epoch = epoch_id(ring->keys[i]);
		uint8_t key[DIGEST_BYTES];
		uint8_t bytes[AUTH_SEALED_BYTES];

		if (m && has_epoch(db, m, &what->collection, &epoch))
			continue;
		envelope_stream_key(ring->keys[i], &stream, key);
		epoch_seal_bound(key, &epoch, to, bytes);
		auth_put_grant(&sealed, &epoch, bytes);
		wipe(key, sizeof(key));
	}
	if (sealed.len == 0)
		return false;
	const struct auth_op op = {
		.kind = AUTH_GRANT,
		.device = to->actor,
		.collection = what->collection,
		.name = what->name,
		.sealed = buf_slice(&sealed),
	};
	member_do(t, &op);
	return true;
}

bool grant_share(struct txn *t)
{
	const struct db *db = t->db;
	bool any = false;

	for (size_t i = 0; i < db->member_count; i++) {
		const struct member *m = &db->members[i];
		struct auth_op op;

		if (m->role != MEMBER_RELAY || !member_is_current(m))
			continue;
		for (size_t at = 0; next_grant(db, m, &at, &op);)
			any = grant(t, &m->device, m, &op) || any;
	}
	return any;
}

int db_grant(struct db *db, struct slice cert, const struct grant_info *list, size_t count)
{
	struct device d;

	if (device_from_cert(cert, &d) < 0)
		return -EBADMSG;
	struct txn *t = db_begin(db);
	const struct member *m = member_find(db, d.actor);
	bool known = m && member_is_current(m);
	int r = 0;

	if (db->limited || !member_may_manage(db))
		r = -EPERM;
	else if (known && m->role != MEMBER_RELAY)
		r = -EEXIST;
	if (r < 0) {
		db_abort(t);
		return r;
	}
	const struct auth_op admission = {.kind = AUTH_MEMBER, .cert = cert, .role = MEMBER_RELAY};
	if (!known)
		member_do(t, &admission);
	for (size_t i = 0; i < count; i++) {
		const struct auth_op what = {.collection = list[i].collection,
					     .name = SLICE_STR(list[i].name)};

		(void)grant(t, &d, known ? m : NULL, &what);
	}
	return db_commit(t);
}
