/*
 * Members: the devices whose feeds are accepted. They come with the operations of the stream `auth`;
 * the first ones with the database itself, or with the welcome of the device that admitted this one.
 */
#include "core/db_i.h"

#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX 1024

const struct member *member_find(const struct db *db, uint64_t actor)
{
	for (size_t i = 0; i < db->member_count; i++) {
		if (db->members[i].device.actor == actor)
			return &db->members[i];
	}
	return NULL;
}

void member_fini(struct member *m)
{
	buf_fini(&m->cert);
}

static void member_add(struct member **list, size_t *count, const struct device *d,
		       struct slice cert)
{
	*list = xreallocarray(*list, *count + 1, sizeof(**list));
	struct member *m = &(*list)[(*count)++];
	*m = (struct member){.device = *d};
	buf_slice_append(&m->cert, cert);
}

int member_put(struct txn *t, struct slice cert)
{
	AUTO(buf_fini) struct buf key = {0};
	struct device d;

	if (device_from_cert(cert, &d) < 0 || member_find(t->db, d.actor) ||
	    t->db->member_count + t->member_count >= MEMBERS_MAX)
		return 0; /* without effect on every device alike */
	for (size_t i = 0; i < t->db->member_count; i++) {
		/* A certificate with another's connection key would answer in that device's place. */
		if (memcmp(t->db->members[i].device.dh_pk, d.dh_pk, sizeof(d.dh_pk)) == 0)
			return 0;
	}
	for (size_t i = 0; i < t->member_count; i++) {
		if (t->members[i].device.actor == d.actor)
			return 0;
	}
	buf_u8(&key, 'M');
	buf_be64(&key, d.actor);
	store_put(t->store, buf_slice(&key), cert);
	member_add(&t->members, &t->member_count, &d, cert);
	return 0;
}

void member_publish(struct txn *t)
{
	for (size_t i = 0; i < t->member_count; i++)
		member_add(&t->db->members, &t->db->member_count, &t->members[i].device,
			   buf_slice(&t->members[i].cert));
}

struct load {
	struct db *db;
	bool bad;
};

static bool load_one(void *ctx, struct slice key, struct slice value)
{
	struct load *l = ctx;
	struct device d;

	(void)key;
	if (device_from_cert(value, &d) < 0) {
		l->bad = true;
		return false;
	}
	member_add(&l->db->members, &l->db->member_count, &d, value);
	return true;
}

int member_load(struct db *db)
{
	struct store_txn *t = store_begin(db->store);
	struct load l = {.db = db};
	int r = store_scan(t, SLICE_STR("M"), SLICE("", 0), load_one, &l);

	store_abort(t);
	return r == 0 && l.bad ? -EBADMSG : r;
}

int db_member_locked(struct db *db, uint64_t actor, struct device *ret)
{
	const struct member *m = member_find(db, actor);

	if (!m)
		return -ENOENT;
	*ret = m->device;
	return 0;
}

int db_member(struct db *db, uint64_t actor, struct device *ret)
{
	db_lock(db);
	int r = db_member_locked(db, actor, ret);
	mutex_unlock(&db->lock);
	return r;
}

size_t db_peers(struct db *db, struct device **ret)
{
	size_t n = 0;

	db_lock(db);
	struct device *list = xcalloc(db->member_count, sizeof(*list));
	for (size_t i = 0; i < db->member_count; i++) {
		if (db->members[i].device.actor != db->actor)
			list[n++] = db->members[i].device;
	}
	mutex_unlock(&db->lock);
	*ret = list;
	return n;
}

int db_admit(struct db *db, const struct slice cert)
{
	struct device d;
	struct id none = {{0}};

	if (device_from_cert(cert, &d) < 0)
		return -EBADMSG;
	struct txn *t = db_begin(db);
	if (member_find(db, d.actor)) {
		db_abort(t);
		return 0;
	}
	struct op *op = txn_op(t, &db->auth_stream, OP_MEMBER, &none);
	op->value = arena_copy(&txn_draft(t, &db->auth_stream)->ops.arena, cert);
	int r = member_put(t, cert);
	if (r < 0) {
		db_abort(t);
		return r;
	}
	return db_commit(t);
}

/*
 * Welcome: u8 version 1, 16 bytes database id, bytes name, 32 bytes root key, varint count, bytes
 * certificate each. What db_join() reads.
 */
void db_welcome(struct db *db, struct buf *out)
{
	db_lock(db);
	buf_u8(out, 1);
	id_write(out, &db->id);
	buf_bytes(out, SLICE_STR(db->name));
	buf_append(out, db->root_key, sizeof(db->root_key));
	buf_varint(out, db->member_count);
	for (size_t i = 0; i < db->member_count; i++)
		buf_bytes(out, buf_slice(&db->members[i].cert));
	mutex_unlock(&db->lock);
}
