/* Where devices can be reached. */
#include "core/contact.h"

#include "core/db_i.h"
#include "core/keys.h"
#include "core/store.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT 1
#define PREFIX 'N'

static void contact_key(struct buf *key, uint64_t actor)
{
	buf_u8(key, PREFIX);
	buf_be64(key, actor);
}

/* What is signed: the record up to the signature, for this database only. */
static void to_be_signed(const struct db *db, struct slice body, struct buf *out)
{
	buf_append(out, "blaze contact", strlen("blaze contact"));
	id_write(out, &db->id);
	buf_slice_append(out, body);
}

static bool is_printable(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] <= ' ' || s.data[i] > '~')
			return false;
	}
	return s.len > 0;
}

int contact_decode(struct slice record, struct contact *ret, struct slice *ret_body)
{
	struct reader r = reader_init(record);

	*ret = (struct contact){0};
	if (record.len > CONTACT_BYTES_MAX || reader_u8(&r) != FORMAT)
		return -EBADMSG;
	ret->actor = reader_be64(&r);
	ret->time_ms = reader_varint(&r);
	ret->count = reader_varint_max(&r, CONTACT_ADDRESSES_MAX);
	for (size_t i = 0; !r.bad && i < ret->count; i++) {
		struct slice a = reader_bytes(&r, CONTACT_ADDRESS_BYTES - 1);

		if (r.bad || !is_printable(a))
			return -EBADMSG;
		memcpy(ret->addresses[i], a.data, a.len);
	}
	*ret_body = SLICE(record.data, r.bad ? 0 : record.len - reader_left(&r));
	(void)reader_take(&r, KEYS_SIGNATURE_BYTES);
	return reader_finish(&r);
}

static int encode(const struct db *db, const struct contact *c, struct buf *out)
{
	AUTO(buf_fini) struct buf signed_text = {0};
	uint8_t signature[KEYS_SIGNATURE_BYTES];

	buf_u8(out, FORMAT);
	buf_be64(out, c->actor);
	buf_varint(out, c->time_ms);
	buf_varint(out, c->count);
	for (size_t i = 0; i < c->count; i++)
		buf_bytes(out, SLICE_STR(c->addresses[i]));
	to_be_signed(db, buf_slice(out), &signed_text);
	keys_sign(db->keys, buf_slice(&signed_text), signature);
	buf_append(out, signature, sizeof(signature));
	return out->len <= CONTACT_BYTES_MAX ? 0 : -E2BIG;
}

static int store_record(struct txn *t, uint64_t actor, struct slice record)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	struct db *db = t->db;

	contact_key(&key, actor);
	store_put(t->store, buf_slice(&key), record);
	__atomic_add_fetch(&db->contact_revision, 1, __ATOMIC_RELAXED);
	return db_commit_changed(t);
}

int contact_get(struct db *db, uint64_t actor, struct contact *ret)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf record = {0};
	struct slice body;

	contact_key(&key, actor);
	int r = store_read(db->store, buf_slice(&key), &record);
	return r < 0 ? r : contact_decode(buf_slice(&record), ret, &body);
}

static bool is_same(const struct contact *c, char (*addresses)[CONTACT_ADDRESS_BYTES], size_t count)
{
	bool same = c->count == count;

	for (size_t i = 0; same && i < count; i++)
		same = strcmp(c->addresses[i], addresses[i]) == 0;
	return same;
}

int contact_set_own(struct db *db, char (*addresses)[CONTACT_ADDRESS_BYTES], size_t count,
		    uint64_t now_ms)
{
	AUTO(buf_fini) struct buf record = {0};
	struct contact *c = xcalloc(1, sizeof(*c));
	uint64_t actor = db_actor(db);
	int r = contact_get(db, actor, c);

	assert(count <= CONTACT_ADDRESSES_MAX);
	if (is_same(c, addresses, count)) {
		free(c);
		return 0;
	}
	/* The clock may have gone back since: what is said now counts all the same. */
	uint64_t time_ms = r == 0 && c->time_ms >= now_ms ? c->time_ms + 1 : now_ms;
	*c = (struct contact){.actor = actor, .time_ms = time_ms, .count = count};
	for (size_t i = 0; i < count; i++)
		memcpy(c->addresses[i], addresses[i], CONTACT_ADDRESS_BYTES);
	r = encode(db, c, &record);
	free(c);
	if (r == 0)
		r = store_record(db_begin(db), actor, buf_slice(&record));
	return r < 0 ? r : 1;
}

int contact_take(struct db *db, struct slice record)
{
	AUTO(buf_fini) struct buf signed_text = {0};
	struct contact *c = xcalloc(1, sizeof(*c));
	struct slice body = {0};
	struct contact *known = xcalloc(1, sizeof(*known));
	struct device author;
	int r = contact_decode(record, c, &body);
	uint64_t actor = c->actor;
	bool news = r == 0 && actor != db_actor(db) &&
		    (contact_get(db, actor, known) < 0 || known->time_ms < c->time_ms);

	free(c);
	free(known);
	if (!news)
		return r < 0 ? r : 0;
	if (db_member(db, actor, &author) < 0)
		return -EAGAIN;
	to_be_signed(db, body, &signed_text);
	if (!keys_verify(author.sign_pk, buf_slice(&signed_text), body.data + body.len))
		return -EBADMSG;
	r = store_record(db_begin(db), actor, record);
	return r < 0 ? r : 1;
}

uint64_t contact_revision(const struct db *db)
{
	return __atomic_load_n(&db->contact_revision, __ATOMIC_RELAXED);
}

struct next {
	struct db *db;
	uint64_t *actor;
	uint64_t *time_ms;
	struct buf *record;
	bool found;
};

/* Of who was removed nothing is passed on. */
static bool take_next(void *ctx, struct slice key, struct slice value)
{
	struct next *n = ctx;
	struct reader r = reader_init(key);
	struct contact c;
	struct slice body;
	struct device member;

	(void)reader_u8(&r);
	uint64_t actor = reader_be64(&r);
	if (r.bad || contact_decode(value, &c, &body) < 0 ||
	    (actor != n->db->actor && db_member_locked(n->db, actor, &member) < 0))
		return true;
	*n->actor = actor;
	*n->time_ms = c.time_ms;
	buf_clear(n->record);
	buf_slice_append(n->record, value);
	n->found = true;
	return false;
}

int contact_next(struct db *db, uint64_t *actor, uint64_t *ret_time_ms, struct buf *ret)
{
	AUTO(buf_fini) struct buf from = {0};
	struct next n = {.db = db, .actor = actor, .time_ms = ret_time_ms, .record = ret};
	const uint8_t prefix = PREFIX;

	if (*actor == UINT64_MAX)
		return 0;
	contact_key(&from, *actor + 1);
	struct txn *t = db_begin(db);
	int r = store_scan(t->store, SLICE(&prefix, 1), buf_slice(&from), take_next, &n);
	db_abort(t);
	return r < 0 ? r : n.found;
}

void contact_digest(struct db *db, uint8_t ret[8])
{
	AUTO(buf_fini) struct buf all = {0};
	AUTO(buf_fini) struct buf record = {0};
	uint64_t actor = 0;
	uint64_t time_ms = 0;

	while (contact_next(db, &actor, &time_ms, &record) > 0) {
		buf_be64(&all, actor);
		buf_varint(&all, time_ms);
	}
	const struct slice part = buf_slice(&all);
	struct id id = digest_id("blaze contacts", &part, 1);
	memcpy(ret, id.b, 8);
}
