/* What a person decides about members on this device: who is admitted, removed, given another role; settings. */
#include "core/db_i.h"

#include <string.h>

bool member_may_manage(const struct db *db)
{
	const struct member *own = member_find(db, db->actor);

	/* Not before its own admission came: what it says has to come after that. */
	return own && member_is_current(own) && own->role >= MEMBER_MANAGE &&
	       own->since.lamport != UINT64_MAX;
}

int db_may_admit(struct db *db, enum member_role role, struct why *why)
{
	db_lock(db);
	const struct member *own = member_find(db, db->actor);
	bool may = member_may_manage(db);
	bool enough = may && own->role >= role;
	mutex_unlock(&db->lock);
	if (!may)
		return why_set(why, -EPERM,
			       "this device may not let others in; do it on one that may");
	return enough ? 0 : why_set(why, -EPERM, "this device cannot give more than it may itself");
}

int db_admit(struct db *db, const struct slice cert, enum member_role role)
{
	struct device d;

	if (device_from_cert(cert, &d) < 0)
		return -EBADMSG;
	struct txn *t = db_begin(db);
	const struct member *m = member_find(db, d.actor);
	bool known = m && member_is_current(m);
	if (known || !member_may_manage(db)) {
		db_abort(t);
		return known ? 0 : -EPERM;
	}
	const struct auth_op op = {
		.kind = AUTH_MEMBER,
		.cert = cert,
		.role = role,
		/* Who comes back is not welcomed again: it gets what it missed by SHARE. */
		.epoch = m ? (struct id){{0}} : epoch_newest(db),
	};
	member_do(t, &op);
	return db_commit(t);
}

void member_cuts(const struct db *db, uint64_t actor, uint64_t keep, struct buf *out)
{
	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];
		bool bounded = id_eq(&f->stream, &db->auth_stream) && f->sealed > keep;

		if (f->actor == actor && f->sealed > 0)
			auth_put_cut(out, &f->stream, bounded ? keep : f->sealed);
	}
}

static bool has_left(struct db *db, uint64_t actor)
{
	db_lock(db);
	const struct member *m = member_find(db, actor);
	bool gone = !m || m->removed;
	mutex_unlock(&db->lock);
	return gone;
}

int db_remove_member(struct db *db, uint64_t actor, struct why *why)
{
	AUTO(buf_fini) struct buf cuts = {0};
	struct txn *t = db_begin(db);
	const struct member *m = member_find(db, actor);
	int r = 0;

	if (!m || m->removed)
		r = why_set(why, -ENOENT, "no such device");
	else if (actor == db->actor)
		r = why_set(why, -EINVAL, "this device cannot remove itself; do it on another one");
	else if (!member_may_manage(db))
		r = why_set(
			why, -EPERM,
			"this device may not remove others; whoever has the recovery words may: --words");
	if (r < 0) {
		db_abort(t);
		return r;
	}
	member_cuts(db, actor, UINT64_MAX, &cuts);
	const struct auth_op op = {.kind = AUTH_REMOVE, .device = actor, .cuts = buf_slice(&cuts)};
	member_do(t, &op);
	epoch_begin(t, actor);
	r = db_commit(t);
	if (r < 0)
		return why_set(why, r, "cannot write to the database: %s", strerror(-r));
	return has_left(db, actor)
		       ? 0
		       : why_set(why, -EPERM,
				 "this device was removed once, and let in again by one that came after it: "
				 "its word does not count here. Do it on another one, or with --words");
}

/* Why this device cannot give that one another role; as EVALUATE would have it. */
static int check_role(const struct db *db, const struct member *m, enum member_role role,
		      struct why *why)
{
	const struct member *own = member_find(db, db->actor);

	if (!m || !member_is_current(m))
		return why_set(why, -ENOENT, "no such device");
	if (!member_may_manage(db))
		return why_set(why, -EPERM, "this device may not give others a role");
	if (m->role == MEMBER_RELAY ||
	    role == MEMBER_RELAY) /* its keys are others from the beginning */
		return why_set(why, -EINVAL,
			       "what a relay may read, blaze relay grant says: it has no other role");
	if (role > own->role)
		return why_set(why, -EPERM, "this device cannot give more than it may itself");
	if (role < m->role && m == own)
		return why_set(why, -EPERM,
			       "no device takes a right from itself; do it on another one");
	if (role < m->role && m < own)
		return why_set(
			why, -EPERM,
			"that device has been a member for longer than this one: only one that came "
			"before it can take a right from it. It can be removed");
	return 0;
}

int db_set_role(struct db *db, uint64_t actor, enum member_role role, struct why *why)
{
	AUTO(buf_fini) struct buf cuts = {0};
	struct txn *t = db_begin(db);
	const struct member *m = member_find(db, actor);
	int r = check_role(db, m, role, why);

	if (r < 0 || m->role == role) {
		db_abort(t);
		return r;
	}
	member_cuts(db, actor, UINT64_MAX, &cuts);
	const struct auth_op op = {
		.kind = AUTH_ROLE, .device = actor, .role = role, .cuts = buf_slice(&cuts)};
	member_do(t, &op);
	r = db_commit(t);
	return r < 0 ? why_set(why, r, "cannot write to the database: %s", strerror(-r)) : 0;
}
