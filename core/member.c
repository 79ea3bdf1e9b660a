/*
 * Members: the devices whose feeds are accepted, as EVALUATE (member.h) makes them of the operations of `auth`. Those come
 * with the stream; the first ones with the welcome of the device that admitted this one.
 *
 *   A lamport8 actor8   varint seq, the operation (auth.h)
 *   m founder, m own    certificates of the founder, and of this device
 */
#include "core/db_i.h"
#include "core/log.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/** Operations kept: what hostile members can make us store. */
#define ENTRIES_MAX 65536

const struct member *member_find(const struct db *db, uint64_t actor)
{
	for (size_t i = 0; i < db->member_count; i++) {
		if (db->members[i].device.actor == actor)
			return &db->members[i];
	}
	return NULL;
}

bool member_is_current(const struct member *m)
{
	return m->admitted && !m->removed;
}

bool member_may_write(const struct db *db, const struct member *m, const struct id *stream,
		      uint64_t last)
{
	if (id_eq(stream, &db->auth_stream))
		return true;
	if (!m->removed && m->role >= MEMBER_WRITE)
		return true;
	/* What it wrote while it could stays. */
	return last <= feed_pos_seq(m->cuts, m->cut_count, stream, m->device.actor);
}

/* Index of the first that is not before id. */
static size_t entry_index(const struct db *db, struct opid id)
{
	size_t lo = 0;
	size_t hi = db->auth_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (opid_cmp(db->auth[mid].id, id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool member_admits(const struct db *db, const struct member *m, const struct id *stream,
		   uint64_t last, const uint8_t hash[DIGEST_BYTES])
{
	if (member_may_write(db, m, stream, last))
		return true;
	const struct adopted *a = member_adopted(m, stream, last);
	return a && a->last == last && memcmp(a->hash, hash, sizeof(a->hash)) == 0;
}

uint64_t member_heard(const struct db *db, const struct member *m, const struct id *stream)
{
	for (size_t i = entry_index(db, m->removal); m->removed && i < db->auth_count; i++) {
		const struct auth_entry *e = &db->auth[i];
		struct auth_op op;

		if (e->id.actor != m->device.actor || auth_decode(buf_slice(&e->value), &op) < 0 ||
		    op.kind != AUTH_HEARD)
			continue;
		struct id each;
		uint64_t seq = 0;
		uint64_t found = 0;
		while (auth_next_cut(&op.cuts, &each, &seq))
			found = id_eq(&each, stream) ? seq : found;
		return found;
	}
	return UINT64_MAX;
}

/* ---- the operations ------------------------------------------------------------------------- */

static void entry_fini(struct auth_entry *e)
{
	buf_fini(&e->value);
}

void member_fini(struct db *db)
{
	for (size_t i = 0; i < db->auth_count; i++)
		entry_fini(&db->auth[i]);
	free(db->auth);
	member_list_fini(db->members, db->member_count);
	buf_fini(&db->founder);
	buf_fini(&db->own_cert);
}

void member_txn_fini(struct txn *t)
{
	for (size_t i = 0; i < t->auth_count; i++)
		entry_fini(&t->auth[i]);
	free(t->auth);
}

static bool has_entry(const struct db *db, struct opid id)
{
	size_t i = entry_index(db, id);

	return i < db->auth_count && opid_eq(db->auth[i].id, id);
}

/* Takes the value. */
static void insert_entry(struct db *db, struct auth_entry *e)
{
	size_t i = entry_index(db, e->id);

	if (i < db->auth_count && opid_eq(db->auth[i].id, e->id)) {
		entry_fini(e);
		return;
	}
	db->auth = xreallocarray(db->auth, db->auth_count + 1, sizeof(*db->auth));
	memmove(db->auth + i + 1, db->auth + i, (db->auth_count - i) * sizeof(*db->auth));
	db->auth[i] = *e;
	db->auth_count++;
	*e = (struct auth_entry){0};
}

void member_entry_encode(const struct auth_entry *e, struct buf *key, struct buf *value)
{
	buf_u8(key, 'A');
	buf_be64(key, e->id.lamport);
	buf_be64(key, e->id.actor);
	buf_varint(value, e->seq);
	buf_slice_append(value, buf_slice(&e->value));
}

bool member_op_is_valid(struct slice value)
{
	struct auth_op op;
	struct device d;
	int r = auth_decode(value, &op);

	if (r == 0 && op.kind == AUTH_ACCOUNT)
		r = auth_decode(op.inner, &op);
	if (r == 0 && op.kind == AUTH_MEMBER)
		r = device_from_cert(op.cert, &d);
	return r == 0 || r == -EOPNOTSUPP;
}

int member_put(struct txn *t, struct slice value, struct opid id, uint64_t seq)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf stored = {0};
	struct auth_op op;

	/* Without effect on every device alike; what a later version knows is kept for it. */
	if (value.len > AUTH_BYTES_MAX || !member_op_is_valid(value) || has_entry(t->db, id) ||
	    t->db->auth_count + t->auth_count >= ENTRIES_MAX)
		return 0;
	t->auth = xreallocarray(t->auth, t->auth_count + 1, sizeof(*t->auth));
	struct auth_entry *e = &t->auth[t->auth_count++];
	*e = (struct auth_entry){.id = id, .seq = seq};
	buf_slice_append(&e->value, value);
	member_entry_encode(e, &key, &stored);
	store_put(t->store, buf_slice(&key), buf_slice(&stored));
	if (auth_decode(value, &op) == 0 && (op.kind == AUTH_EPOCH || op.kind == AUTH_SHARE))
		epoch_take(t->db, t->store, &op);
	return 0;
}

void member_do(struct txn *t, const struct auth_op *op)
{
	const struct feed *own = feed_find(t->db, &t->db->auth_stream, t->db->actor);
	struct id none = {{0}};
	AUTO(buf_fini) struct buf value = {0};

	auth_encode(op, &value);
	struct op *change = txn_op(t, &t->db->auth_stream, OP_AUTH, &none);
	struct arena *arena = &txn_draft(t, &t->db->auth_stream)->ops.arena;
	change->value = arena_copy(arena, buf_slice(&value));
	(void)member_put(t, change->value, (struct opid){change->lamport, t->db->actor},
			 own ? own->seq + 1 : 1);
}

/* ---- what they make of the devices ---------------------------------------------------------- */

static void tell_changes(const struct db *db, const struct evaluation *e)
{
	for (size_t i = 0; i < e->member_count; i++) {
		const struct member *now = &e->members[i];
		const struct member *before = member_find(db, now->device.actor);
		char label[DEVICE_LABEL_BYTES];

		device_label(&now->device, label);
		if (now->removed && before && !before->removed)
			log_debug("%s was removed: what it writes is not accepted any more", label);
		else if (before && now->role < MEMBER_WRITE && before->role >= MEMBER_WRITE)
			log_debug("%s may only read now: what it writes is not accepted", label);
	}
}

static struct evaluation evaluation_of(const struct db *db)
{
	return (struct evaluation){
		.db = db->id,
		.auth_stream = db->auth_stream,
		.founder = buf_slice(&db->founder),
		.own = buf_slice(&db->own_cert),
		.entries = db->auth,
		.entry_count = db->auth_count,
	};
}

static void evaluate(struct db *db)
{
	struct evaluation e = evaluation_of(db);

	member_evaluate(&e);
	tell_changes(db, &e);
	txn_watch_members(db, &e);
	member_list_fini(db->members, db->member_count);
	db->members = e.members;
	db->member_count = e.member_count;
	const struct member *own = member_find(db, db->actor);
	atomic_store(&db->read_only, own && !own->removed && own->role < MEMBER_WRITE);
	epoch_choose(db);
	grant_refresh(db);
	db->auth_due = true;
	db->kept_due = true;
}

void member_publish(struct txn *t)
{
	struct db *db = t->db;

	if (t->auth_count == 0)
		return;
	for (size_t i = 0; i < t->auth_count; i++) {
		struct auth_op op;

		if (auth_decode(buf_slice(&t->auth[i].value), &op) == 0 &&
		    (op.kind == AUTH_EPOCH || op.kind == AUTH_SHARE))
			epoch_take(db, NULL, &op);
		insert_entry(db, &t->auth[i]);
	}
	t->auth_count = 0;
	evaluate(db);
}

struct load {
	struct db *db;
	bool bad;
};

static bool load_one(void *ctx, struct slice key, struct slice value)
{
	struct load *l = ctx;
	struct reader k = reader_init(key);
	struct reader v = reader_init(value);
	struct auth_entry e = {0};

	(void)reader_u8(&k);
	e.id.lamport = reader_be64(&k);
	e.id.actor = reader_be64(&k);
	e.seq = reader_varint(&v);
	buf_slice_append(&e.value, reader_take(&v, reader_left(&v)));
	l->bad = reader_finish(&k) < 0 || v.bad;
	if (l->bad)
		entry_fini(&e);
	else
		insert_entry(l->db, &e);
	return !l->bad;
}

int member_load(struct db *db)
{
	struct load l = {.db = db};
	int r = store_read(db->store, SLICE_STR("m founder"), &db->founder);

	if (r == 0)
		r = store_read(db->store, SLICE_STR("m own"), &db->own_cert);
	if (r == 0)
		r = epoch_load(db);
	struct store_txn *t = store_begin(db->store);
	if (r == 0)
		r = store_scan(t, SLICE_STR("A"), SLICE("", 0), load_one, &l);
	store_abort(t);
	if (r == 0 && !l.bad)
		evaluate(db);
	return r == 0 && l.bad ? -EBADMSG : r;
}

/* ---- questions ------------------------------------------------------------------------------ */

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
		const struct member *m = &db->members[i];

		if (m->device.actor != db->actor && member_is_current(m) && m->role != MEMBER_RELAY)
			list[n++] = m->device;
	}
	mutex_unlock(&db->lock);
	*ret = list;
	return n;
}

static struct member_info info_of(const struct db *db, const struct member *m)
{
	return (struct member_info){
		.device = m->device,
		.role = m->role,
		.removed = m->removed,
		.own = m->device.actor == db->actor,
		.admitted_by = m->admitted_by,
		.removed_by = m->removal.actor,
	};
}

int db_member_by_key(struct db *db, const uint8_t dh_pk[KEYS_PK_BYTES], struct member_info *ret)
{
	int r = -ENOENT;

	db_lock(db);
	for (size_t i = 0; i < db->member_count; i++) {
		const struct member *m = &db->members[i];

		if (memcmp(m->device.dh_pk, dh_pk, KEYS_PK_BYTES) != 0)
			continue;
		*ret = info_of(db, m);
		ret->removed = !member_is_current(m);
		r = 0;
	}
	mutex_unlock(&db->lock);
	return r;
}

size_t db_members(struct db *db, struct member_info **ret)
{
	db_lock(db);
	struct member_info *list = xcalloc(db->member_count, sizeof(*list));
	for (size_t i = 0; i < db->member_count; i++)
		list[i] = info_of(db, &db->members[i]);
	size_t n = db->member_count;
	mutex_unlock(&db->lock);
	*ret = list;
	return n;
}

int db_own_role(struct db *db)
{
	db_lock(db);
	const struct member *own = member_find(db, db->actor);
	int role = own && member_is_current(own) ? (int)own->role : 0;
	mutex_unlock(&db->lock);
	return role;
}

bool db_is_removed(struct db *db)
{
	db_lock(db);
	const struct member *own = member_find(db, db->actor);
	bool removed = own && own->removed;
	mutex_unlock(&db->lock);
	return removed;
}

void db_member_acts(struct db *db, uint64_t actor,
		    void (*fn)(void *ctx, const struct member_act *act), void *ctx)
{
	db_lock(db);
	for (size_t i = 0; i < db->auth_count; i++) {
		const struct auth_entry *e = &db->auth[i];
		struct auth_op op;
		struct device d = {0};

		if (e->id.actor != actor || e->seq == 0 ||
		    auth_decode(buf_slice(&e->value), &op) < 0)
			continue;
		const struct member *m = member_find(db, op.device);
		if (op.kind == AUTH_MEMBER)
			(void)device_read_cert(op.cert, &d);
		AUTO(free_ptr)
		char *name = xasprintf("%.*s", (int)op.name.len, (const char *)op.name.data);
		const struct member_act act = {
			.seq = e->seq,
			.kind = op.kind,
			.about = op.kind == AUTH_SETTING  ? name
				 : op.kind == AUTH_MEMBER ? d.name
				 : m			  ? m->device.name
							  : "",
		};
		fn(ctx, &act);
	}
	mutex_unlock(&db->lock);
}

bool db_is_read_only(const struct db *db)
{
	return atomic_load(&db->read_only);
}

int db_account(struct db *db, uint8_t ret_pk[KEYS_PK_BYTES])
{
	db_lock(db);
	const struct evaluation e = evaluation_of(db);
	int r = member_account(&e, ret_pk);
	mutex_unlock(&db->lock);
	return r;
}

/* ---- what follows by itself -------------------------------------------------------------------- */

/* Whether this device has said so before: an operation without effect is not to be repeated for ever. */
static bool was_said(const struct db *db, const struct auth_op *op)
{
	AUTO(buf_fini) struct buf value = {0};

	auth_encode(op, &value);
	for (size_t i = 0; i < db->auth_count; i++) {
		const struct auth_entry *e = &db->auth[i];

		if (e->id.actor == db->actor && slice_eq(buf_slice(&e->value), buf_slice(&value)))
			return true;
	}
	return false;
}

/* WITNESS: what was applied before this device heard of the removal stays, and all others shall have it, too. */
static bool witness(struct txn *t)
{
	const struct db *db = t->db;
	bool any = false;

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];
		const struct member *m = member_find(db, f->actor);
		AUTO(buf_fini) struct buf cut = {0};

		if (!m || m->device.actor == db->actor ||
		    member_may_write(db, m, &f->stream, f->sealed) ||
		    member_adopted(m, &f->stream, f->sealed))
			continue;
		auth_put_cut(&cut, &f->stream, f->sealed);
		const struct auth_op op = {
			.kind = AUTH_WITNESS, .device = f->actor, .cuts = buf_slice(&cut)};
		if (was_said(db, &op))
			continue;
		member_do(t, &op);
		any = true;
	}
	return any;
}

/* HEARD: how far its feeds stood; once for each removal. */
static bool say_heard(struct txn *t, const struct member *own)
{
	const struct db *db = t->db;
	AUTO(buf_fini) struct buf cuts = {0};

	for (size_t i = 0; i < db->auth_count; i++) {
		const struct auth_entry *e = &db->auth[i];
		struct auth_op op;

		if (e->id.actor == db->actor && opid_cmp(e->id, own->removal) > 0 &&
		    auth_decode(buf_slice(&e->value), &op) == 0 && op.kind == AUTH_HEARD)
			return false;
	}
	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->actor == db->actor && f->seq > 0 && !id_eq(&f->stream, &db->auth_stream))
			auth_put_cut(&cuts, &f->stream, f->seq);
	}
	const struct auth_op op = {.kind = AUTH_HEARD, .cuts = buf_slice(&cuts)};
	member_do(t, &op);
	return true;
}

int member_tend(struct db *db)
{
	struct txn *t = db_begin(db);
	const struct member *own = member_find(db, db->actor);
	bool any = false;

	db->auth_due = false;
	if (own && member_is_current(own) && own->since.lamport != UINT64_MAX) {
		any = own->role >= MEMBER_WRITE && witness(t);
		if (own->role >= MEMBER_MANAGE && epoch_is_split(db)) {
			epoch_begin(t, 0);
			any = true;
		} else if (own->role >= MEMBER_MANAGE) {
			any = epoch_share(t) || any;
			any = grant_share(t) || any;
		}
	} else if (own && own->removed) {
		any = say_heard(t, own);
	}
	if (any)
		return db_commit(t);
	db_abort(t);
	return 0;
}

/*
 * Welcome: u8 version 3, u8 1 = limited (core/grant.h), 16 bytes database id, bytes name, 32 bytes first key (limited: that of
 * `auth`), bytes founder's certificate, the other keys (epoch.h; limited: none), varint count, count * (8 bytes lamport, 8 bytes
 * actor, bytes as stored). What db_join() reads.
 */
static void welcome(struct db *db, bool limited, struct buf *out)
{
	uint8_t auth_key[DIGEST_BYTES];

	db_lock(db);
	assert(!db->limited);
	envelope_stream_key(db->root_key, &db->auth_stream, auth_key);
	buf_u8(out, DB_WELCOME_VERSION);
	buf_u8(out, limited);
	id_write(out, &db->id);
	buf_bytes(out, SLICE_STR(db->name));
	buf_append(out, limited ? auth_key : db->root_key, DIGEST_BYTES);
	wipe(auth_key, sizeof(auth_key));
	buf_bytes(out, buf_slice(&db->founder));
	if (limited)
		buf_varint(out, 0);
	else
		epoch_write_all(db, out);
	buf_varint(out, db->auth_count);
	for (size_t i = 0; i < db->auth_count; i++) {
		AUTO(buf_fini) struct buf key = BUF_SHORT;
		AUTO(buf_fini) struct buf value = {0};

		member_entry_encode(&db->auth[i], &key, &value);
		buf_append(out, key.data + 1, key.len - 1);
		buf_bytes(out, buf_slice(&value));
	}
	mutex_unlock(&db->lock);
}

void db_welcome(struct db *db, struct buf *out)
{
	welcome(db, false, out);
}

void db_welcome_relay(struct db *db, struct buf *out)
{
	welcome(db, true, out);
}
