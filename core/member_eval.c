/* EVALUATE; see member.h. */
#include "core/member.h"

#include <stdlib.h>
#include <string.h>

/** Passes over all operations; each has what the one before has found out. */
#define PASSES_MAX 8

void member_list_fini(struct member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_fini(&members[i].cert);
		free(members[i].cuts);
	}
	free(members);
}

static struct member *find(const struct evaluation *e, uint64_t actor)
{
	for (size_t i = 0; i < e->member_count; i++) {
		if (e->members[i].device.actor == actor)
			return &e->members[i];
	}
	return NULL;
}

/* ---- who there is --------------------------------------------------------------------------- */

static void add(struct evaluation *e, const struct device *d, struct slice cert, struct opid first)
{
	for (size_t i = 0; i < e->member_count; i++) {
		const struct device *o = &e->members[i].device;

		/* A certificate with another's connection key would answer in that device's place. */
		if (o->actor == d->actor || memcmp(o->dh_pk, d->dh_pk, sizeof(d->dh_pk)) == 0)
			return;
	}
	if (e->member_count >= MEMBERS_MAX)
		return;
	e->members = xreallocarray(e->members, e->member_count + 1, sizeof(*e->members));
	struct member *m = &e->members[e->member_count++];
	*m = (struct member){.device = *d, .first = first, .since = first, .admitted = true};
	m->role = MEMBER_OWNER;
	buf_slice_append(&m->cert, cert);
}

/* Everybody somebody ever named, in order of seniority. */
static void gather(struct evaluation *e)
{
	struct device d;

	e->members = NULL;
	e->member_count = 0;
	if (device_read_cert(e->founder, &d) == 0)
		add(e, &d, e->founder, (struct opid){0});
	for (size_t i = 0; i < e->entry_count; i++) {
		struct auth_op op;

		if (auth_decode(buf_slice(&e->entries[i].value), &op) == 0 &&
		    op.kind == AUTH_MEMBER && device_read_cert(op.cert, &d) == 0)
			add(e, &d, op.cert, e->entries[i].id);
	}
}

/* ---- cuts ----------------------------------------------------------------------------------- */

static uint64_t cut_of(const struct member *m, const struct id *stream)
{
	for (size_t i = 0; i < m->cut_count; i++) {
		if (id_eq(&m->cuts[i].stream, stream))
			return m->cuts[i].seq;
	}
	return 0;
}

static int cut_cmp(const void *a, const void *b)
{
	const struct feed_pos *x = a;
	const struct feed_pos *y = b;

	return id_cmp(&x->stream, &y->stream);
}

/* What anybody held before it heard of the removal counts. */
static void raise_cut(struct member *m, const struct id *stream, uint64_t seq)
{
	for (size_t i = 0; i < m->cut_count; i++) {
		if (!id_eq(&m->cuts[i].stream, stream))
			continue;
		m->cuts[i].seq = seq > m->cuts[i].seq ? seq : m->cuts[i].seq;
		return;
	}
	m->cuts = xreallocarray(m->cuts, m->cut_count + 1, sizeof(*m->cuts));
	m->cuts[m->cut_count++] =
		(struct feed_pos){.stream = *stream, .actor = m->device.actor, .seq = seq};
	qsort(m->cuts, m->cut_count, sizeof(*m->cuts), cut_cmp);
}

static void raise_cuts(struct member *m, struct slice cuts)
{
	struct id stream;
	uint64_t seq = 0;

	while (auth_next_cut(&cuts, &stream, &seq))
		raise_cut(m, &stream, seq);
}

/* ---- one pass ------------------------------------------------------------------------------- */

/* What a pass finds out about a member; the next pass builds on it. */
struct found {
	bool admitted;
	enum member_role role;
	struct opid since;
	uint64_t admitted_by;
	struct id epoch;
};

/* How far the member's own feed of `auth` counts where only more senior devices have a say. */
struct bound {
	bool cut;
	uint64_t seq;
};

static void remove_by(struct evaluation *e, struct bound *bounds, const struct member *author,
		      struct auth_entry *entry)
{
	struct auth_op op;
	struct slice cuts;
	struct id stream;
	uint64_t seq = 0;

	if (auth_decode(buf_slice(&entry->value), &op) < 0 || op.kind != AUTH_REMOVE)
		return;
	struct member *m = find(e, op.device);
	if (!m)
		return;
	entry->effective = true;
	if (opid_cmp(entry->id, m->since) < 0)
		return; /* it was admitted again after that */
	m->removed = true;
	if (opid_cmp(entry->id, m->removal) > 0)
		m->removal = entry->id;
	raise_cuts(m, op.cuts);
	if (m < author)
		return;
	struct bound *b = &bounds[m - e->members];
	for (cuts = op.cuts; auth_next_cut(&cuts, &stream, &seq);) {
		if (id_eq(&stream, &e->auth_stream) && (!b->cut || seq > b->seq))
			b->seq = seq;
	}
	b->cut = true;
}

static void take_removals(struct evaluation *e)
{
	struct bound *bounds = xcalloc(e->member_count, sizeof(*bounds));

	for (size_t i = 0; i < e->member_count; i++) {
		const struct member *author = &e->members[i];

		for (size_t k = 0; k < e->entry_count; k++) {
			struct auth_entry *entry = &e->entries[k];

			if (entry->id.actor != author->device.actor || !author->admitted ||
			    author->role < MEMBER_MANAGE)
				continue;
			if (!bounds[i].cut || entry->seq <= bounds[i].seq)
				remove_by(e, bounds, author, entry);
		}
	}
	free(bounds);
}

/* Whether the author could do it there. */
static bool may(const struct evaluation *e, const struct auth_entry *entry,
		const struct member *author, enum auth_kind kind)
{
	enum member_role least = kind == AUTH_ADOPT ? MEMBER_WRITE : MEMBER_MANAGE;

	return author && author->admitted && author->role >= least &&
	       (!author->removed || entry->seq <= cut_of(author, &e->auth_stream));
}

static void take_other(struct evaluation *e, struct found *found, struct auth_entry *entry)
{
	const struct member *author = find(e, entry->id.actor);
	struct auth_op op;
	struct device d;

	if (auth_decode(buf_slice(&entry->value), &op) < 0 || op.kind == AUTH_REMOVE ||
	    !may(e, entry, author, op.kind))
		return;
	entry->effective = true;
	if (op.kind == AUTH_ADOPT) {
		struct member *m = find(e, op.device);

		if (m)
			raise_cuts(m, op.cuts);
	}
	if (op.kind != AUTH_MEMBER || device_read_cert(op.cert, &d) < 0)
		return;
	const struct member *m = find(e, d.actor);
	if (!m || m->first.lamport == 0)
		return; /* the founder needs nobody */
	found[m - e->members] = (struct found){
		.admitted = true,
		.role = op.role < author->role ? op.role : author->role,
		.since = entry->id,
		.admitted_by = entry->id.actor,
		.epoch = op.epoch,
	};
}

static void forget_pass(struct evaluation *e)
{
	for (size_t i = 0; i < e->entry_count; i++)
		e->entries[i].effective = false;
	for (size_t i = 0; i < e->member_count; i++) {
		struct member *m = &e->members[i];

		m->removed = false;
		m->removal = (struct opid){0};
		m->cut_count = 0;
	}
}

/* Whether something else than before was found out. */
static bool pass(struct evaluation *e)
{
	struct found *found = xcalloc(e->member_count, sizeof(*found));
	bool changed = false;

	forget_pass(e);
	take_removals(e);
	for (size_t i = 0; i < e->entry_count; i++)
		take_other(e, found, &e->entries[i]);
	for (size_t i = 0; i < e->member_count; i++) {
		struct member *m = &e->members[i];
		const struct found *f = &found[i];

		if (m->first.lamport == 0)
			continue;
		changed = changed || m->admitted != f->admitted || m->role != f->role ||
			  !opid_eq(m->since, f->since);
		m->admitted = f->admitted;
		m->role = f->role;
		m->since = f->since;
		m->admitted_by = f->admitted_by;
		m->epoch = f->epoch;
	}
	free(found);
	return changed;
}

void member_evaluate(struct evaluation *e)
{
	struct device own;

	gather(e);
	for (size_t i = 0; i < PASSES_MAX && pass(e); i++)
		;
	for (size_t i = 0; i < e->member_count; i++) {
		/* An admission that does not count: nobody has taken anything of it, or says so. */
		if (!e->members[i].admitted)
			e->members[i].removed = true;
	}
	if (device_read_cert(e->own, &own) == 0 && !find(e, own.actor))
		add(e, &own, e->own, (struct opid){.lamport = UINT64_MAX});
}
