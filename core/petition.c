/* Petitions: asked, signed, carried out. */
#include "core/petition.h"

#include "core/db_i.h"

#include <string.h>

struct petition {
	struct id db;
	uint64_t actor;
	uint64_t seq;
	uint64_t without;
	size_t count;
	struct slice ops[PETITION_OPS_MAX];
	struct slice signatures; /* empty, or one each */
	size_t len;		 /* without the signatures */
};

static int decode(struct slice bytes, bool is_signed, struct petition *ret)
{
	struct reader r = reader_init(bytes);
	struct petition p = {.db = id_read(&r)};

	p.actor = reader_be64(&r);
	p.seq = reader_be64(&r);
	p.without = reader_be64(&r);
	p.count = (size_t)reader_varint_max(&r, PETITION_OPS_MAX);
	for (size_t i = 0; i < p.count; i++)
		p.ops[i] = reader_bytes(&r, AUTH_BYTES_MAX);
	p.len = bytes.len - reader_left(&r);
	p.signatures = reader_take(&r, is_signed ? p.count * KEYS_SIGNATURE_BYTES : 0);
	if (reader_finish(&r) < 0 || p.count == 0)
		return -EBADMSG;
	*ret = p;
	return 0;
}

static uint64_t next_seq(const struct db *db)
{
	const struct feed *own = feed_find(db, &db->auth_stream, db->actor);

	return own ? own->seq + 1 : 1;
}

/* ---- asking --------------------------------------------------------------------------------- */

static void begin(const struct db *db, uint64_t without, size_t count, struct buf *out)
{
	id_write(out, &db->id);
	buf_be64(out, db->actor);
	buf_be64(out, next_seq(db));
	buf_be64(out, without);
	buf_varint(out, count);
}

static void ask(const struct auth_op *op, struct buf *out)
{
	AUTO(buf_fini) struct buf value = {0};

	auth_encode(op, &value);
	buf_bytes(out, buf_slice(&value));
}

static void ask_admission(const struct db *db, struct slice cert, struct buf *out)
{
	const struct auth_op op = {
		.kind = AUTH_MEMBER, .cert = cert, .role = MEMBER_OWNER, .epoch = epoch_newest(db)};

	ask(&op, out);
}

int petition_remove(struct db *db, uint64_t actor, uint64_t keep, struct buf *ret, struct why *why)
{
	AUTO(buf_fini) struct buf cuts = {0};
	uint8_t pk[KEYS_PK_BYTES];
	int r = 0;

	if (db_account(db, pk) < 0)
		return why_set(why, -ENOKEY, "this database was made without recovery words");
	db_lock(db);
	const struct member *m = member_find(db, actor);
	const struct member *own = member_find(db, db->actor);
	bool is_out = !own || !member_is_current(own) || own->role < MEMBER_MANAGE;
	if (!m)
		r = why_set(why, -ENOENT, "no such device");
	else if (actor == db->actor)
		r = why_set(why, -EINVAL, "this device cannot remove itself; do it on another one");
	if (r == 0) {
		member_cuts(db, actor, keep, &cuts);
		const struct auth_op op = {
			.kind = AUTH_REMOVE, .device = actor, .cuts = buf_slice(&cuts)};
		begin(db, actor, is_out ? 2 : 1, ret);
		if (is_out)
			ask_admission(db, buf_slice(&db->own_cert), ret);
		ask(&op, ret);
	}
	mutex_unlock(&db->lock);
	return r;
}

int petition_admit(struct db *db, struct slice cert, struct buf *ret)
{
	struct device d;

	if (device_from_cert(cert, &d) < 0)
		return -EBADMSG;
	db_lock(db);
	begin(db, 0, 1, ret);
	ask_admission(db, cert, ret);
	mutex_unlock(&db->lock);
	return 0;
}

/* ---- signing -------------------------------------------------------------------------------- */

int petition_sign(const struct account *a, struct slice petition, struct buf *ret)
{
	struct petition p;
	int r = decode(petition, false, &p);

	if (r < 0)
		return r;
	buf_slice_append(ret, petition);
	for (size_t i = 0; i < p.count; i++) {
		AUTO(buf_fini) struct buf text = {0};
		uint8_t signature[KEYS_SIGNATURE_BYTES];

		auth_account_text(&p.db, p.actor, p.seq, p.ops[i], &text);
		account_sign(a, buf_slice(&text), signature);
		buf_append(ret, signature, sizeof(signature));
	}
	return 0;
}

int petition_sign_own(const struct account *a, struct slice petition, const struct id *db,
		      const struct keys *own, struct buf *ret)
{
	AUTO(buf_fini) struct buf cert = {0};
	struct petition p;
	struct auth_op op;

	keys_cert(own, &cert);
	if (decode(petition, false, &p) < 0 || !id_eq(&p.db, db) || p.without != 0 ||
	    p.count != 1 || auth_decode(p.ops[0], &op) < 0 || op.kind != AUTH_MEMBER ||
	    !slice_eq(op.cert, buf_slice(&cert)))
		return -EBADMSG;
	return petition_sign(a, petition, ret);
}

/* ---- carrying out --------------------------------------------------------------------------- */

static int check(struct db *db, const struct petition *p)
{
	uint8_t pk[KEYS_PK_BYTES];

	if (!id_eq(&p->db, &db->id) || p->actor != db->actor)
		return -EBADMSG;
	if (db_account(db, pk) < 0)
		return -EACCES;
	for (size_t i = 0; i < p->count; i++) {
		AUTO(buf_fini) struct buf text = {0};

		auth_account_text(&p->db, p->actor, p->seq, p->ops[i], &text);
		if (!keys_verify(pk, buf_slice(&text), p->signatures.data + i * KEYS_SIGNATURE_BYTES))
			return -EACCES;
	}
	return 0;
}

static int put_operations(struct db *db, const struct petition *p)
{
	struct txn *t = db_begin(db);

	if (p->seq != next_seq(db)) {
		db_abort(t);
		return -EAGAIN;
	}
	for (size_t i = 0; i < p->count; i++) {
		const struct auth_op op = {
			.kind = AUTH_ACCOUNT,
			.inner = p->ops[i],
			.signature = SLICE(p->signatures.data + i * KEYS_SIGNATURE_BYTES,
					   KEYS_SIGNATURE_BYTES),
		};
		member_do(t, &op);
	}
	return db_commit(t);
}

int petition_carry_out(struct db *db, struct slice signed_petition)
{
	struct petition p;
	int r = decode(signed_petition, true, &p);

	if (r == 0)
		r = check(db, &p);
	if (r == 0)
		r = put_operations(db, &p);
	if (r < 0 || p.without == 0)
		return r;
	/* Afterwards, when this device is a member: the new key is for it, too. */
	struct txn *t = db_begin(db);
	epoch_begin(t, p.without);
	return db_commit(t);
}
